//! An encoder's layer in 8 bits: the same layer as the one in 32 bits, fused, as an operation of candle's.
//!
//! Weights are rounded once, each output by its own scale; every row of numbers that meets them is rounded on the way, by its own. What
//! becomes of a token depends on its sequence alone: not on the others in the batch, and not on the number of threads.

use std::cell::Cell;
use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor, bail};

use super::InferenceError;
use super::kernels::{
    Activation, AttentionRoom, HeadShape, Int8Kernel, Int8Matrix, Int8Rows, Linear, NormScale, add_and_normalise,
    attention,
};
use super::team::{Broken, Member};
use super::weights::{BertShape, Weights};

/// Tokens that go from layer's end to layer's end together: their numbers stay in the second cache, beside the weights.
const BLOCK: usize = 32;

/// Tokens whose queries, keys and values are computed together, if their sequences are shorter.
const GROUP: usize = 128;

/// Scale and shift of a norm.
pub(super) struct NormWeights {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl NormWeights {
    pub fn take(weights: &mut Weights, name: &str) -> Result<Self, InferenceError> {
        let BertShape { hidden, layer_norm_epsilon, .. } = weights.shape;
        let mut part = |kind: &str| -> Result<Vec<f32>, InferenceError> {
            Ok(weights.take(&format!("{name}.{kind}"), &[hidden])?.to_vec1()?)
        };
        Ok(Self { weight: part("weight")?, bias: part("bias")?, epsilon: layer_norm_epsilon as f32 })
    }

    pub fn scale(&self) -> NormScale<'_> {
        NormScale { weight: &self.weight, bias: &self.bias, epsilon: self.epsilon }
    }
}

/// Takes out a matrix and its bias, or several that stand side by side.
fn take_matrix(
    weights: &mut Weights,
    names: &[String],
    inputs: usize,
    outputs: usize,
) -> Result<Int8Matrix, InferenceError> {
    let (mut values, mut biases) = (Vec::new(), Vec::new());
    for name in names {
        let matrix = weights.take(&format!("{name}.weight"), &[outputs, inputs])?;
        values.extend(matrix.flatten_all()?.to_vec1::<f32>()?);
        biases.extend(weights.take(&format!("{name}.bias"), &[outputs])?.to_vec1::<f32>()?);
    }
    Ok(Int8Matrix::new(&values, inputs, &biases))
}

/// A layer ready to run.
pub(super) struct QuantisedLayer {
    kernel: Int8Kernel,
    heads: HeadShape,
    hidden: usize,
    query_key_value: Int8Matrix,
    attention_output: Int8Matrix,
    attention_norm: NormWeights,
    up: Int8Matrix,
    down: Int8Matrix,
    output_norm: NormWeights,
}

/// Memory of one thread.
#[derive(Default)]
struct Room {
    rows: Int8Rows,
    parts: Vec<f32>,
    joined: Vec<f32>,
    attention: AttentionRoom,
    attended: Vec<f32>,
    branch: Vec<f32>,
    middle: Vec<f32>,
    wide: Vec<f32>,
}

thread_local! {
    static ROOM: Cell<Room> = Cell::default();
}

impl QuantisedLayer {
    pub fn take(weights: &mut Weights, index: usize, kernel: Int8Kernel) -> Result<Self, InferenceError> {
        let BertShape { hidden, heads, feed_forward, .. } = weights.shape;
        let name = |part: &str| format!("blk.{index}.{part}");
        let joined = [name("attn_q"), name("attn_k"), name("attn_v")];
        Ok(Self {
            kernel,
            heads: HeadShape { count: heads, width: hidden / heads },
            hidden,
            query_key_value: take_matrix(weights, &joined, hidden, hidden)?,
            attention_output: take_matrix(weights, &[name("attn_output")], hidden, hidden)?,
            attention_norm: NormWeights::take(weights, &name("attn_output_norm"))?,
            up: take_matrix(weights, &[name("ffn_up")], hidden, feed_forward)?,
            down: take_matrix(weights, &[name("ffn_down")], feed_forward, hidden)?,
            output_norm: NormWeights::take(weights, &name("layer_output_norm"))?,
        })
    }

    /// States of sequences of these lengths, laid end to end, `[sum of lengths, hidden]`, to those after the layer.
    pub fn forward(&self, states: &Tensor, lengths: &[usize], member: &Member<'_>) -> candle_core::Result<Tensor> {
        states.apply_op1_no_bwd(&OnSequences { layer: self, lengths, member })
    }

    /// Whether so many members of a team can share the layer.
    pub fn can_be_shared(&self, members: usize) -> bool {
        let in_blocks = |columns: usize| columns.is_multiple_of(members * Int8Matrix::BLOCK);
        self.heads.count.is_multiple_of(members) && in_blocks(self.hidden) && in_blocks(self.up.outputs())
    }

    /// [`Self::forward`] from slice to slice.
    fn run(&self, states: &[f32], lengths: &[usize], member: &Member<'_>, output: &mut [f32]) -> Result<(), Broken> {
        let mut room = ROOM.take();
        let (mut states, mut output, mut lengths) = (states, output, lengths);
        while !lengths.is_empty() {
            let (count, tokens) = group(lengths);
            let (of_group, states_behind) = states.split_at(tokens * self.hidden);
            let (into, output_behind) = output.split_at_mut(tokens * self.hidden);
            let (group, lengths_behind) = lengths.split_at(count);
            self.run_group(of_group, group, member, &mut room, into)?;
            (states, output, lengths) = (states_behind, output_behind, lengths_behind);
        }
        ROOM.set(room);
        Ok(())
    }

    fn run_group(
        &self,
        states: &[f32],
        lengths: &[usize],
        member: &Member<'_>,
        room: &mut Room,
        output: &mut [f32],
    ) -> Result<(), Broken> {
        let Self { kernel, hidden, .. } = *self;
        let Room { rows, parts, joined, attention: attention_room, attended, branch, middle, wide } = room;
        let tokens = states.len() / hidden;
        // This member's heads: their queries, keys and values, side by side.
        rows.round(states, hidden);
        let heads = HeadShape { count: self.heads.count / member.count(), width: self.heads.width };
        let columns = member.part(hidden);
        let own = columns.len();
        parts.resize(tokens * own, 0.0);
        joined.resize(tokens * 3 * own, 0.0);
        let matrix = &self.query_key_value;
        let mut linear = |columns: Range<usize>, place: usize| {
            let into = joined.get_mut(place..).unwrap_or_default();
            let linear = Linear { rows, range: 0..tokens, matrix, columns, activation: Activation::None };
            kernel.linear(linear, into, 3 * own);
        };
        if member.count() == 1 {
            linear(0..3 * hidden, 0);
        } else {
            // A layer that can be shared has parts that are whole blocks.
            (0..3).for_each(|index| linear(index * hidden + columns.start..index * hidden + columns.end, index * own));
        }
        let mut start = 0;
        for length in lengths {
            let end = start + length;
            let joined = joined.get(start * 3 * own..end * 3 * own).unwrap_or_default();
            let into = parts.get_mut(start * own..end * own).unwrap_or_default();
            attention(joined, heads, kernel.half(), attention_room, into);
            start = end;
        }
        member.exchange(parts, tokens, attended)?;
        let blocks = states.chunks(BLOCK * hidden).zip(attended.chunks(BLOCK * hidden));
        for ((states, attended), output) in blocks.zip(output.chunks_mut(BLOCK * hidden)) {
            let count = states.len() / hidden;
            let mut linear = |rows: &Int8Rows, matrix: &Int8Matrix, activation, output: &mut Vec<f32>| {
                let columns = member.part(matrix.outputs());
                let width = columns.len();
                parts.resize(count * width, 0.0);
                kernel.linear(Linear { rows, range: 0..count, matrix, columns, activation }, parts, width);
                member.exchange(parts, count, output)
            };
            rows.round(attended, hidden);
            linear(rows, &self.attention_output, Activation::None, branch)?;
            middle.resize(states.len(), 0.0);
            add_and_normalise(branch, states, self.attention_norm.scale(), middle);
            rows.round(middle, hidden);
            linear(rows, &self.up, Activation::Gelu, wide)?;
            rows.round(wide, self.up.outputs());
            linear(rows, &self.down, Activation::None, branch)?;
            add_and_normalise(branch, middle, self.output_norm.scale(), output);
        }
        Ok(())
    }
}

/// The first sequences, up to [`GROUP`] tokens: how many, and of how many tokens.
fn group(lengths: &[usize]) -> (usize, usize) {
    let (mut count, mut tokens) = (0, 0);
    for length in lengths {
        if count > 0 && tokens + length > GROUP {
            break;
        }
        (count, tokens) = (count + 1, tokens + length);
    }
    (count, tokens)
}

/// A layer on a batch.
struct OnSequences<'a> {
    layer: &'a QuantisedLayer,
    lengths: &'a [usize],
    member: &'a Member<'a>,
}

impl CustomOp1 for OnSequences<'_> {
    fn name(&self) -> &'static str {
        "quantised-encoder-layer"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let CpuStorage::F32(values) = storage else { bail!("the states of an encoder's layer must have 32 bits") };
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("the states of an encoder's layer must be contiguous")
        };
        let tokens: usize = self.lengths.iter().sum();
        let states = values.get(start..end).unwrap_or_default();
        if states.len() != tokens * self.layer.hidden {
            bail!("{} states do not go with {tokens} tokens of {}", states.len(), self.layer.hidden);
        }
        let mut output = vec![0.0; states.len()];
        if self.layer.run(states, self.lengths, self.member, &mut output).is_err() {
            bail!("another thread that shared the batch failed");
        }
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}
