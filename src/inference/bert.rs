//! The BERT encoder on candle. Its layers compute in 32 bits, which is the reference, or in 8.
//!
//! Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2019), post-norm, GELU with erf. A batch is one run of
//! tokens without padding, `[tokens, hidden]`; attention looks at one sequence at a time.

use candle_core::{D, Device, Tensor, bail};
use candle_nn::ops::{layer_norm, softmax_last_dim};

use super::InferenceError;
use super::kernels::{Int8Kernel, add_and_normalise};
use super::quantised::{NormWeights, QuantisedLayer};
use super::team::Member;
use super::weights::{BertShape, Table, Weights};

/// Where the weights of a layer come from, and where they go.
struct From<'a> {
    weights: &'a mut Weights,
    device: &'a Device,
}

impl From<'_> {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, InferenceError> {
        Ok(self.weights.take(name, shape)?.to_device(self.device)?)
    }
}

struct Linear {
    /// `[in, out]`, contiguous.
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn take(from: &mut From<'_>, name: &str, inputs: usize, outputs: usize) -> Result<Self, InferenceError> {
        let weight = from.take(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = from.take(&format!("{name}.bias"), &[outputs])?;
        Ok(Self { weight: weight.t()?.contiguous()?, bias })
    }

    /// Several layers on one input, side by side.
    fn join(layers: &[&Linear]) -> candle_core::Result<Self> {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let biases: Vec<&Tensor> = layers.iter().map(|layer| &layer.bias).collect();
        Ok(Self { weight: Tensor::cat(&weights, 1)?.contiguous()?, bias: Tensor::cat(&biases, 0)? })
    }

    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        input.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl Norm {
    fn take(from: &mut From<'_>, name: &str) -> Result<Self, InferenceError> {
        let BertShape { hidden, layer_norm_epsilon, .. } = from.weights.shape;
        Ok(Self {
            weight: from.take(&format!("{name}.weight"), &[hidden])?,
            bias: from.take(&format!("{name}.bias"), &[hidden])?,
            epsilon: layer_norm_epsilon as f32,
        })
    }

    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        layer_norm(input, &self.weight, &self.bias, self.epsilon)
    }
}

/// A layer in 32 bits.
struct FullLayer {
    query_key_value: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

enum Layer {
    Full(FullLayer),
    Quantised(Box<QuantisedLayer>),
}

impl FullLayer {
    fn take(from: &mut From<'_>, index: usize) -> Result<Self, InferenceError> {
        let BertShape { hidden, feed_forward, .. } = from.weights.shape;
        let name = |part: &str| format!("blk.{index}.{part}");
        let query = Linear::take(from, &name("attn_q"), hidden, hidden)?;
        let key = Linear::take(from, &name("attn_k"), hidden, hidden)?;
        let value = Linear::take(from, &name("attn_v"), hidden, hidden)?;
        Ok(Self {
            query_key_value: Linear::join(&[&query, &key, &value])?,
            attention_output: Linear::take(from, &name("attn_output"), hidden, hidden)?,
            attention_norm: Norm::take(from, &name("attn_output_norm"))?,
            up: Linear::take(from, &name("ffn_up"), hidden, feed_forward)?,
            down: Linear::take(from, &name("ffn_down"), feed_forward, hidden)?,
            output_norm: Norm::take(from, &name("layer_output_norm"))?,
        })
    }

    fn forward(&self, states: &Tensor, lengths: &[usize], heads: usize) -> candle_core::Result<Tensor> {
        let joined = self.query_key_value.forward(states)?;
        let mut attended = Vec::with_capacity(lengths.len());
        let mut start = 0;
        for length in lengths {
            attended.push(attention(&joined.narrow(0, start, *length)?, heads)?);
            start += length;
        }
        let attended = Tensor::cat(&attended, 0)?;
        let states = self.attention_norm.forward(&(self.attention_output.forward(&attended)? + states)?)?;
        let widened = self.up.forward(&states)?.gelu_erf()?;
        self.output_norm.forward(&(self.down.forward(&widened)? + &states)?)
    }
}

/// Multi-head attention of one sequence: `[length, 3 * hidden]` to `[length, hidden]`.
fn attention(joined: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (length, hidden) = (joined.dim(0)?, joined.dim(1)? / 3);
    let width = hidden / heads;
    let part = |index: usize| {
        joined.narrow(1, index * hidden, hidden)?.reshape((length, heads, width))?.transpose(0, 1)?.contiguous()
    };
    let (query, key, value) = (part(0)?, part(1)?, part(2)?);
    let scores = (query.matmul(&key.transpose(D::Minus1, D::Minus2)?)? * (width as f64).powf(-0.5))?;
    let mixed = softmax_last_dim(&scores)?.matmul(&value)?;
    mixed.transpose(0, 1)?.contiguous()?.reshape((length, hidden))
}

/// An encoder ready to run.
pub(super) struct Bert {
    shape: BertShape,
    token_table: Table,
    /// Position and token-type rows added up, `[positions, hidden]`.
    position_table: Vec<f32>,
    embedding_norm: NormWeights,
    layers: Vec<Layer>,
    /// Where the layers are.
    device: Device,
}

impl Bert {
    /// In 8 bits with a kernel; without, in 32 on a device.
    pub fn new(mut weights: Weights, kernel: Option<Int8Kernel>, device: Device) -> Result<Self, InferenceError> {
        let shape = weights.shape;
        let hidden = shape.hidden;
        let token_table = weights.take_table("token_embd.weight", hidden)?;
        let types = weights.take_table("token_types.weight", hidden)?.whole()?;
        let positions = weights
            .take("position_embd.weight", &[shape.first_position + shape.positions, hidden])?
            .narrow(0, shape.first_position, shape.positions)?;
        let position_table = positions.broadcast_add(&types.narrow(0, 0, 1)?)?.flatten_all()?.to_vec1()?;
        let embedding_norm = NormWeights::take(&mut weights, "token_embd_norm")?;
        let mut layers = Vec::with_capacity(shape.layers);
        for index in 0..shape.layers {
            layers.push(match kernel {
                Some(kernel) => Layer::Quantised(Box::new(QuantisedLayer::take(&mut weights, index, kernel)?)),
                None => Layer::Full(FullLayer::take(&mut From { weights: &mut weights, device: &device }, index)?),
            });
        }
        Ok(Self { shape, token_table, position_table, embedding_norm, layers, device })
    }

    pub fn hidden(&self) -> usize {
        self.shape.hidden
    }

    /// Longest sequence, in tokens.
    pub fn positions(&self) -> usize {
        self.shape.positions
    }

    pub fn vocabulary(&self) -> usize {
        self.token_table.rows()
    }

    /// Whether so many threads can share a batch.
    pub fn can_be_shared(&self, members: usize) -> bool {
        let shares = |layer: &Layer| matches!(layer, Layer::Quantised(layer) if layer.can_be_shared(members));
        self.layers.iter().all(shares)
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// States after so many layers as `below` says, rising, and after the last one, for sequences laid end to end: of each
    /// `[sum of lengths, hidden]`, row-major. `between` is called before each layer: a place for others to go between. All members
    /// of a team do the same.
    pub fn forward(
        &self,
        sequences: &[&[u32]],
        below: &[usize],
        member: &Member<'_>,
        between: &dyn Fn(),
    ) -> candle_core::Result<Vec<Vec<f32>>> {
        let ids: Vec<u32> = sequences.iter().flat_map(|sequence| sequence.iter().copied()).collect();
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
        let mut states = self.embed(&ids, &lengths)?.to_device(&self.device)?;
        let mut kept = Vec::with_capacity(below.len() + 1);
        for (done, layer) in self.layers.iter().enumerate() {
            if below.contains(&done) {
                kept.push(states.flatten_all()?.to_vec1()?);
            }
            between();
            states = match layer {
                Layer::Full(layer) => layer.forward(&states, &lengths, self.shape.heads)?,
                Layer::Quantised(layer) => layer.forward(&states, &lengths, member)?,
            };
        }
        kept.push(states.flatten_all()?.to_vec1()?);
        Ok(kept)
    }

    /// States before the first layer.
    fn embed(&self, ids: &[u32], lengths: &[usize]) -> candle_core::Result<Tensor> {
        let hidden = self.shape.hidden;
        let mut tokens = self.token_table.lookup(ids)?.flatten_all()?.to_vec1()?;
        let mut positions = Vec::with_capacity(tokens.len());
        for length in lengths {
            let Some(rows) = self.position_table.get(..length * hidden) else {
                bail!("a sequence has {length} tokens, at most {} are allowed", self.shape.positions);
            };
            positions.extend_from_slice(rows);
        }
        let mut states = vec![0.0; tokens.len()];
        add_and_normalise(&mut tokens, &positions, self.embedding_norm.scale(), &mut states);
        Tensor::from_vec(states, (ids.len(), hidden), &Device::Cpu)
    }
}
