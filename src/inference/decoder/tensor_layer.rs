//! One layer of a decoder on candle's tensors.

use candle_core::quantized::QMatMul;
use candle_core::{DType, Module, Tensor};
use candle_nn::ops::{rms_norm, softmax_last_dim};
use candle_nn::rotary_emb::{rope, rope_i};

use super::shape::{Architecture, Gate, RotaryPairs, Shape};
use super::tensor_model::TurnTensors;
use super::tensors::{Target, Tensors};
use crate::inference::InferenceError;

/// Positions by which the tensors of a cache grow.
const GROWTH: usize = 512;

/// Keys and values of one layer.
#[derive(Default)]
pub(in crate::inference::decoder) struct TensorCache {
    /// Each `[heads of values, capacity, width]`.
    held: Option<(Tensor, Tensor)>,
}

impl TensorCache {
    /// Takes over the keys and values of the first positions of another.
    pub fn copy_from(&mut self, other: &Self, positions: usize) -> candle_core::Result<()> {
        let Some((keys, values)) = &other.held else { return Ok(()) };
        if positions == 0 {
            return Ok(());
        }
        let first = |tensor: &Tensor| tensor.narrow(1, 0, positions)?.contiguous();
        self.hold(0, &first(keys)?, &first(values)?)
    }

    /// Puts keys and values, `[heads of values, rows, width]`, from a position on, and gives all up to their end.
    fn put(&mut self, first: usize, keys: &Tensor, values: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        self.hold(first, keys, values)?;
        let end = first + keys.dim(1)?;
        let Some((keys, values)) = &self.held else { candle_core::bail!("a cache without room") };
        Ok((keys.narrow(1, 0, end)?.contiguous()?, values.narrow(1, 0, end)?.contiguous()?))
    }

    /// Puts keys and values from a position on.
    fn hold(&mut self, first: usize, keys: &Tensor, values: &Tensor) -> candle_core::Result<()> {
        let (heads, rows, width) = keys.dims3()?;
        let end = first + rows;
        let capacity = self.held.as_ref().map_or(Ok(0), |(keys, _)| keys.dim(1))?;
        if capacity < end {
            let shape = (heads, end.next_multiple_of(GROWTH), width);
            let grown = || Tensor::zeros(shape, DType::F32, keys.device());
            let grown = (grown()?, grown()?);
            if let Some((keys, values)) = &self.held {
                grown.0.slice_set(keys, 1, 0)?;
                grown.1.slice_set(values, 1, 0)?;
            }
            self.held = Some(grown);
        }
        let Some((held_keys, held_values)) = &self.held else { candle_core::bail!("a cache without room") };
        held_keys.slice_set(keys, 1, first)?;
        held_values.slice_set(values, 1, first)
    }
}

struct Linear {
    weight: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    fn take(
        tensors: &mut Tensors,
        name: &str,
        inputs: usize,
        outputs: usize,
        target: &Target,
    ) -> Result<Self, InferenceError> {
        let weight = tensors.product(&format!("{name}.weight"), &[outputs, inputs], target)?;
        Ok(Self { weight, bias: tensors.tensor_if_any(&format!("{name}.bias"), outputs, &target.device)? })
    }

    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        let product = self.weight.forward(input)?;
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}

/// Products of one input that a file may have joined in one matrix.
enum Projections<const N: usize> {
    Apart([Linear; N]),
    /// With the outputs of each.
    Joined(Linear, [usize; N]),
}

impl<const N: usize> Projections<N> {
    fn forward(&self, input: &Tensor) -> candle_core::Result<Vec<Tensor>> {
        match self {
            Self::Apart(linears) => linears.iter().map(|linear| linear.forward(input)).collect(),
            Self::Joined(linear, outputs) => {
                let joined = linear.forward(input)?;
                let mut start = 0;
                let part = |outputs: &usize| {
                    let part = joined.narrow(1, start, *outputs)?.contiguous();
                    start += outputs;
                    part
                };
                outputs.iter().map(part).collect()
            }
        }
    }
}

/// A layer ready to run.
pub(super) struct TensorLayer {
    attention_norm: Tensor,
    query_key_value: Projections<3>,
    query_norm: Option<Tensor>,
    key_norm: Option<Tensor>,
    output: Linear,
    after_attention: Option<Tensor>,
    feed_norm: Tensor,
    gate_up: Projections<2>,
    down: Linear,
    after_feed: Option<Tensor>,
    heads: usize,
    value_heads: usize,
    width: usize,
    rotary_width: usize,
    activation: Gate,
    epsilon: f32,
}

impl TensorLayer {
    pub fn take(tensors: &mut Tensors, index: usize, shape: &Shape, target: &Target) -> Result<Self, InferenceError> {
        let Shape { hidden, feed_forward, heads, value_heads, head_width: width, .. } = *shape;
        let (queries, values) = (heads * width, value_heads * width);
        let name = |part: &str| format!("blk.{index}.{part}");
        let norm = |part: &str| format!("blk.{index}.{part}.weight");
        let device = &target.device;
        let is_joined = shape.architecture == Architecture::Phi3;
        let mut linear = |part: &str, inputs, outputs| Linear::take(tensors, &name(part), inputs, outputs, target);
        let query_key_value = match is_joined {
            true => Projections::Joined(linear("attn_qkv", hidden, queries + 2 * values)?, [queries, values, values]),
            false => Projections::Apart([
                linear("attn_q", hidden, queries)?,
                linear("attn_k", hidden, values)?,
                linear("attn_v", hidden, values)?,
            ]),
        };
        let gate_up = match is_joined {
            true => Projections::Joined(linear("ffn_up", hidden, 2 * feed_forward)?, [feed_forward; 2]),
            false => {
                Projections::Apart([linear("ffn_gate", hidden, feed_forward)?, linear("ffn_up", hidden, feed_forward)?])
            }
        };
        Ok(Self {
            query_key_value,
            gate_up,
            output: linear("attn_output", queries, hidden)?,
            down: linear("ffn_down", feed_forward, hidden)?,
            attention_norm: tensors.tensor(&norm("attn_norm"), hidden, device)?,
            query_norm: tensors.tensor_if_any(&norm("attn_q_norm"), width, device)?,
            key_norm: tensors.tensor_if_any(&norm("attn_k_norm"), width, device)?,
            after_attention: tensors.tensor_if_any(&norm("post_attention_norm"), hidden, device)?,
            feed_norm: tensors.tensor(&norm("ffn_norm"), hidden, device)?,
            after_feed: tensors.tensor_if_any(&norm("post_ffw_norm"), hidden, device)?,
            heads,
            value_heads,
            width,
            rotary_width: shape.rotary_width,
            activation: shape.gate,
            epsilon: shape.epsilon,
        })
    }

    /// States, `[rows, hidden]`, of tokens from the place `first` on, to the next ones; `seen` is added to products of queries and keys.
    pub fn run(
        &self,
        states: &Tensor,
        turns: &TurnTensors,
        seen: &Tensor,
        first: usize,
        cache: &mut TensorCache,
    ) -> candle_core::Result<Tensor> {
        let attended =
            self.attend(&rms_norm(states, &self.attention_norm, self.epsilon)?, turns, seen, first, cache)?;
        let branch = self.normed(self.output.forward(&attended)?, self.after_attention.as_ref())?;
        let states = (states + branch)?;
        let normed = rms_norm(&states, &self.feed_norm, self.epsilon)?;
        let mut gate_up = self.gate_up.forward(&normed)?.into_iter();
        let (Some(gate), Some(up)) = (gate_up.next(), gate_up.next()) else { candle_core::bail!("no gate") };
        let gate = match self.activation {
            Gate::Silu => gate.silu()?,
            Gate::Gelu => gate.gelu()?,
        };
        let branch = self.normed(self.down.forward(&(gate * up)?)?, self.after_feed.as_ref())?;
        states + branch
    }

    fn normed(&self, states: Tensor, norm: Option<&Tensor>) -> candle_core::Result<Tensor> {
        norm.map_or(Ok(states.clone()), |norm| rms_norm(&states, norm, self.epsilon))
    }

    fn attend(
        &self,
        input: &Tensor,
        turns: &TurnTensors,
        seen: &Tensor,
        first: usize,
        cache: &mut TensorCache,
    ) -> candle_core::Result<Tensor> {
        let rows = input.dim(0)?;
        let mut projected = self.query_key_value.forward(input)?.into_iter();
        let (Some(queries), Some(keys), Some(values)) = (projected.next(), projected.next(), projected.next()) else {
            candle_core::bail!("no queries")
        };
        let of_heads = |tensor: Tensor, heads: usize| tensor.reshape((rows, heads, self.width));
        let by_head = |tensor: Tensor| tensor.transpose(0, 1)?.contiguous();
        let queries = self.normed(of_heads(queries, self.heads)?, self.query_norm.as_ref())?;
        let keys = self.normed(of_heads(keys, self.value_heads)?, self.key_norm.as_ref())?;
        let queries = self.turned(by_head(queries)?, turns)?;
        let keys = self.turned(by_head(keys)?, turns)?;
        let (keys, values) = cache.put(first, &keys, &by_head(of_heads(values, self.value_heads)?)?)?;
        // The queries that look at one head of keys and values lie behind one another.
        let group = self.heads / self.value_heads.max(1);
        let queries = (queries * (1.0 / (self.width as f64).sqrt()))?;
        let queries = queries.reshape((self.value_heads, group * rows, self.width))?;
        let scores = queries.matmul(&keys.transpose(1, 2)?.contiguous()?)?;
        let places = scores.dim(2)?;
        let scores = scores.reshape((self.heads, rows, places))?.broadcast_add(seen)?;
        let shares = softmax_last_dim(&scores)?.reshape((self.value_heads, group * rows, places))?;
        let found = shares.matmul(&values)?.reshape((self.heads, rows, self.width))?;
        found.transpose(0, 1)?.contiguous()?.reshape((rows, self.heads * self.width))
    }

    /// Heads, `[heads, rows, width]`, turned by the positions of their rows.
    fn turned(&self, heads: Tensor, turns: &TurnTensors) -> candle_core::Result<Tensor> {
        let turn = |heads: &Tensor| {
            let heads = heads.unsqueeze(0)?;
            let turned = match turns.pairs {
                RotaryPairs::Halves => rope(&heads, &turns.cosines, &turns.sines),
                RotaryPairs::Neighbours => rope_i(&heads, &turns.cosines, &turns.sines),
            };
            turned?.squeeze(0)
        };
        if self.rotary_width == self.width {
            return turn(&heads);
        }
        let turned = turn(&heads.narrow(2, 0, self.rotary_width)?.contiguous()?)?;
        let rest = heads.narrow(2, self.rotary_width, self.width - self.rotary_width)?;
        Tensor::cat(&[turned, rest.contiguous()?], 2)
    }
}
