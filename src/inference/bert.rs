//! The BERT encoder in 32 bits on candle: the reference that every faster path is compared with.
//!
//! Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2019), post-norm, GELU with erf. A batch is one run of
//! tokens without padding, `[tokens, hidden]`; attention looks at one sequence at a time.

use candle_core::{D, Device, Tensor};
use candle_nn::ops::{layer_norm, softmax_last_dim};

use super::InferenceError;
use super::weights::{BertShape, Weights};

struct Linear {
    /// `[in, out]`, contiguous.
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn take(weights: &mut Weights, name: &str, inputs: usize, outputs: usize) -> Result<Self, InferenceError> {
        let weight = weights.take(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = weights.take(&format!("{name}.bias"), &[outputs])?;
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
    fn take(weights: &mut Weights, name: &str) -> Result<Self, InferenceError> {
        let BertShape { hidden, layer_norm_epsilon, .. } = weights.shape;
        Ok(Self {
            weight: weights.take(&format!("{name}.weight"), &[hidden])?,
            bias: weights.take(&format!("{name}.bias"), &[hidden])?,
            epsilon: layer_norm_epsilon as f32,
        })
    }

    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        layer_norm(input, &self.weight, &self.bias, self.epsilon)
    }
}

struct Layer {
    query_key_value: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

/// An encoder ready to run.
pub(super) struct Bert {
    shape: BertShape,
    token_table: Tensor,
    /// Position and token-type rows added up, `[positions, hidden]`.
    position_table: Tensor,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

impl Bert {
    pub fn new(mut weights: Weights) -> Result<Self, InferenceError> {
        let shape = weights.shape;
        let hidden = shape.hidden;
        let token_table = weights.take_table("token_embd.weight", hidden)?;
        let types = weights.take_table("token_types.weight", hidden)?;
        let positions = weights
            .take("position_embd.weight", &[shape.first_position + shape.positions, hidden])?
            .narrow(0, shape.first_position, shape.positions)?;
        let position_table = positions.broadcast_add(&types.narrow(0, 0, 1)?)?;
        let embedding_norm = Norm::take(&mut weights, "token_embd_norm")?;
        let mut layers = Vec::with_capacity(shape.layers);
        for index in 0..shape.layers {
            let name = |part: &str| format!("blk.{index}.{part}");
            let query = Linear::take(&mut weights, &name("attn_q"), hidden, hidden)?;
            let key = Linear::take(&mut weights, &name("attn_k"), hidden, hidden)?;
            let value = Linear::take(&mut weights, &name("attn_v"), hidden, hidden)?;
            layers.push(Layer {
                query_key_value: Linear::join(&[&query, &key, &value])?,
                attention_output: Linear::take(&mut weights, &name("attn_output"), hidden, hidden)?,
                attention_norm: Norm::take(&mut weights, &name("attn_output_norm"))?,
                up: Linear::take(&mut weights, &name("ffn_up"), hidden, shape.feed_forward)?,
                down: Linear::take(&mut weights, &name("ffn_down"), shape.feed_forward, hidden)?,
                output_norm: Norm::take(&mut weights, &name("layer_output_norm"))?,
            });
        }
        Ok(Self { shape, token_table, position_table, embedding_norm, layers })
    }

    pub fn hidden(&self) -> usize {
        self.shape.hidden
    }

    /// Longest sequence, in tokens.
    pub fn positions(&self) -> usize {
        self.shape.positions
    }

    pub fn vocabulary(&self) -> usize {
        self.token_table.dims().first().copied().unwrap_or(0)
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// States of the last layer for sequences laid end to end: `[sum of lengths, hidden]`, row-major. `below` adds the states
    /// after so many layers, rising, in front of them: `[sum of lengths, (below + 1) * hidden]`.
    pub fn forward(&self, sequences: &[&[u32]], below: &[usize]) -> candle_core::Result<Vec<f32>> {
        let ids: Vec<u32> = sequences.iter().flat_map(|sequence| sequence.iter().copied()).collect();
        let positions: Vec<u32> = sequences.iter().flat_map(|sequence| 0..sequence.len() as u32).collect();
        let total = ids.len();
        let ids = Tensor::from_vec(ids, total, &Device::Cpu)?;
        let positions = Tensor::from_vec(positions, total, &Device::Cpu)?;
        let embedded = (self.token_table.index_select(&ids, 0)? + self.position_table.index_select(&positions, 0)?)?;
        let mut states = self.embedding_norm.forward(&embedded)?;
        let mut kept = Vec::with_capacity(below.len() + 1);
        for (done, layer) in self.layers.iter().enumerate() {
            if below.contains(&done) {
                kept.push(states.clone());
            }
            states = self.layer_forward(layer, &states, sequences)?;
        }
        if kept.is_empty() {
            return states.flatten_all()?.to_vec1();
        }
        kept.push(states);
        Tensor::cat(&kept, 1)?.flatten_all()?.to_vec1()
    }

    fn layer_forward(&self, layer: &Layer, states: &Tensor, sequences: &[&[u32]]) -> candle_core::Result<Tensor> {
        let joined = layer.query_key_value.forward(states)?;
        let mut attended = Vec::with_capacity(sequences.len());
        let mut start = 0;
        for sequence in sequences {
            attended.push(self.attention(&joined.narrow(0, start, sequence.len())?)?);
            start += sequence.len();
        }
        let attended = Tensor::cat(&attended, 0)?;
        let states = layer.attention_norm.forward(&(layer.attention_output.forward(&attended)? + states)?)?;
        let widened = layer.up.forward(&states)?.gelu_erf()?;
        layer.output_norm.forward(&(layer.down.forward(&widened)? + &states)?)
    }

    /// Multi-head attention of one sequence: `[length, 3 * hidden]` to `[length, hidden]`.
    fn attention(&self, joined: &Tensor) -> candle_core::Result<Tensor> {
        let BertShape { hidden, heads, .. } = self.shape;
        let length = joined.dim(0)?;
        let width = hidden / heads;
        let part = |index: usize| {
            joined.narrow(1, index * hidden, hidden)?.reshape((length, heads, width))?.transpose(0, 1)?.contiguous()
        };
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let scores = (query.matmul(&key.transpose(D::Minus1, D::Minus2)?)? * (width as f64).powf(-0.5))?;
        let mixed = softmax_last_dim(&scores)?.matmul(&value)?;
        mixed.transpose(0, 1)?.contiguous()?.reshape((length, hidden))
    }
}
