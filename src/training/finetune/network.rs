//! The encoder as a set of parameters: token ids to one unit vector per text, and the way back.

use std::collections::HashMap;

use crate::inference::{InferenceError, Pooling, Weights};

use super::attention::{Heads, WIDEST};
use super::dropout::Dropout;
use super::layer::{Layer, LayerCache, Linear, Norm, Pass};
use super::matrix::Matrix;
use super::norm::{self, Normalised};
use super::options::Products;
use super::parameter::{Parameter, Treatment};
use crate::inference::vectorise::{add, add_scaled, dot, vectorised};

/// An encoder being tuned.
#[derive(Debug)]
pub(super) struct Network {
    heads: Heads,
    epsilon: f32,
    pooling: Pooling,
    products: Products,
    /// Row of `tokens` for each token id in use.
    places: HashMap<u32, usize>,
    /// Rows of the ids in use only, in the order of the ids.
    tokens: Parameter,
    positions: Parameter,
    /// The row of the only token type in use; not learned.
    token_type: Vec<f32>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

/// What the backward pass needs.
#[derive(Debug)]
pub(super) struct NetworkCache {
    embedded: Normalised,
    layers: Vec<LayerCache>,
    lengths: Vec<usize>,
    /// Unit vectors, and the lengths that they had before.
    vectors: Matrix,
    sizes: Vec<f32>,
}

/// What of an encoder is brought into memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent<'a> {
    /// Token ids in use, ascending.
    pub ids: &'a [u32],
    /// Tokens of the longest text.
    pub longest: usize,
    pub pooling: Pooling,
    /// Whether the tables of tokens and positions are learned.
    pub train_embeddings: bool,
    pub products: Products,
}

impl Network {
    /// Takes the parameters out of an encoder's weights.
    pub fn new(mut weights: Weights, extent: Extent<'_>) -> Result<Self, InferenceError> {
        let shape = weights.shape;
        let hidden = shape.hidden;
        if hidden / shape.heads > WIDEST {
            let problem = format!("heads have a width of {}, allowed: 1 to {WIDEST}", hidden / shape.heads);
            return Err(candle_core::Error::Msg(problem).into());
        }
        let flat = |tensor: candle_core::Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let table = Matrix::new(hidden, flat(weights.take_table("token_embd.weight", hidden)?.whole()?)?);
        let types = Matrix::new(hidden, flat(weights.take_table("token_types.weight", hidden)?.whole()?)?);
        let all_positions = shape.first_position + shape.positions;
        let positions = flat(weights.take("position_embd.weight", &[all_positions, hidden])?)?;
        let positions: Vec<f32> =
            positions.into_iter().skip(shape.first_position * hidden).take(extent.longest * hidden).collect();
        let tokens: Vec<f32> = extent.ids.iter().flat_map(|id| table.row(*id as usize)).copied().collect();
        let embedding = |name: &str, values: Vec<f32>| {
            let value = Matrix::new(hidden, values);
            if extent.train_embeddings {
                Parameter::new(name, value, Treatment { depth: shape.layers, decays: false, head: false })
            } else {
                Parameter::frozen(name, value)
            }
        };
        let tokens = embedding("token_embd.weight", tokens);
        let positions = embedding("position_embd.weight", positions);
        let mut reader = Reader { weights: &mut weights, depth: shape.layers };
        let embedding_norm = reader.norm("token_embd_norm", hidden)?;
        let mut layers = Vec::with_capacity(shape.layers);
        for index in 0..shape.layers {
            reader.depth = shape.layers - 1 - index;
            let name = |part: &str| format!("blk.{index}.{part}");
            let parts = [name("attn_q"), name("attn_k"), name("attn_v")];
            layers.push(Layer {
                joined: reader.joined(&name(JOINED), &parts, hidden, hidden)?,
                mix: reader.linear(&name("attn_output"), hidden, hidden)?,
                mix_norm: reader.norm(&name("attn_output_norm"), hidden)?,
                up: reader.linear(&name("ffn_up"), hidden, shape.feed_forward)?,
                down: reader.linear(&name("ffn_down"), shape.feed_forward, hidden)?,
                output_norm: reader.norm(&name("layer_output_norm"), hidden)?,
            });
        }
        Ok(Self {
            heads: Heads { count: shape.heads, width: hidden / shape.heads },
            epsilon: shape.layer_norm_epsilon as f32,
            pooling: extent.pooling,
            products: extent.products,
            places: extent.ids.iter().enumerate().map(|(place, id)| (*id, place)).collect(),
            tokens,
            positions,
            token_type: types.row(0).to_vec(),
            embedding_norm,
            layers,
        })
    }

    /// Length of the vectors.
    pub fn hidden(&self) -> usize {
        self.token_type.len()
    }

    pub fn places(&self) -> &HashMap<u32, usize> {
        &self.places
    }

    /// The table of tokens, a row for each id in use.
    pub fn tokens_mut(&mut self) -> &mut Parameter {
        &mut self.tokens
    }

    fn place(&self, id: u32) -> usize {
        self.places.get(&id).copied().unwrap_or(0)
    }

    fn pass<'a>(&self, lengths: &'a [usize], dropout: Dropout) -> Pass<'a> {
        Pass { lengths, heads: self.heads, epsilon: self.epsilon, dropout, products: self.products }
    }

    fn embed(&self, texts: &[&[u32]], lengths: &[usize]) -> (Matrix, Normalised) {
        let mut embedded = Matrix::zeros(lengths.iter().sum(), self.hidden());
        let ids = texts.iter().flat_map(|text| text.iter().enumerate());
        for (row, (position, id)) in embedded.values_mut().chunks_exact_mut(self.hidden()).zip(ids) {
            add(row, self.tokens.seen().row(self.place(*id)));
            add(row, self.positions.seen().row(position));
            add(row, &self.token_type);
        }
        let scale = self.embedding_norm.scale(self.epsilon);
        norm::forward(embedded, None, None, Dropout::NONE, scale)
    }

    /// Unit vectors of texts, `[texts, hidden]`, and what the way back needs.
    pub fn forward(&self, texts: &[&[u32]], dropout: Dropout) -> candle_core::Result<(Matrix, NetworkCache)> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let (mut states, embedded) = self.embed(texts, &lengths);
        let mut caches = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let (output, cache) = layer.forward(states, self.pass(&lengths, dropout.at(index as u32 + 1)))?;
            states = output;
            caches.push(cache);
        }
        let (vectors, sizes) = self.pool(&states, &lengths);
        let cache = NetworkCache { embedded, layers: caches, lengths, vectors: vectors.clone(), sizes };
        Ok((vectors, cache))
    }

    /// Unit vectors of texts, for a pass without a way back.
    pub fn vectors(&self, texts: &[&[u32]], dropout: Dropout) -> candle_core::Result<Matrix> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let (mut states, _) = self.embed(texts, &lengths);
        for (index, layer) in self.layers.iter().enumerate() {
            (states, _) = layer.forward(states, self.pass(&lengths, dropout.at(index as u32 + 1)))?;
        }
        Ok(self.pool(&states, &lengths).0)
    }

    /// Tokens of a sequence that its vector is made of.
    fn pooled(&self, length: usize) -> usize {
        match self.pooling {
            Pooling::Mean => length,
            Pooling::Cls => 1,
        }
    }

    fn pool(&self, states: &Matrix, lengths: &[usize]) -> (Matrix, Vec<f32>) {
        let hidden = self.hidden();
        let mut vectors = Matrix::zeros(lengths.len(), hidden);
        let mut sizes = Vec::with_capacity(lengths.len());
        let mut rows = states.values().chunks_exact(hidden);
        vectorised(
            #[inline(always)]
            || {
                for (vector, length) in vectors.values_mut().chunks_exact_mut(hidden).zip(lengths) {
                    let pooled = self.pooled(*length);
                    rows.by_ref()
                        .take(*length)
                        .take(pooled)
                        .for_each(|row| add_scaled(vector, 1.0 / pooled as f32, row));
                    if pooled < *length {
                        rows.by_ref().take(length - pooled).for_each(drop);
                    }
                    let size = dot(vector, vector).sqrt().max(f32::MIN_POSITIVE);
                    vector.iter_mut().for_each(|value| *value /= size);
                    sizes.push(size);
                }
            },
        );
        (vectors, sizes)
    }

    /// Adds up all gradients, from those of the vectors.
    pub fn backward(
        &mut self,
        texts: &[&[u32]],
        gradient: &Matrix,
        cache: NetworkCache,
        dropout: Dropout,
    ) -> candle_core::Result<()> {
        let NetworkCache { embedded, layers, lengths, vectors, sizes } = cache;
        let mut gradient = self.pool_backward(gradient, &vectors, &sizes, &lengths);
        let pass = self.pass(&lengths, dropout);
        for ((index, layer), cache) in self.layers.iter_mut().enumerate().zip(layers).rev() {
            let pass = Pass { dropout: dropout.at(index as u32 + 1), ..pass };
            gradient = layer.backward(gradient, cache, pass)?;
        }
        self.embedding_norm.backward(&embedded, &mut gradient);
        self.embeddings_backward(texts, &gradient);
        Ok(())
    }

    fn pool_backward(&self, gradient: &Matrix, vectors: &Matrix, sizes: &[f32], lengths: &[usize]) -> Matrix {
        let hidden = self.hidden();
        let mut result = Matrix::zeros(lengths.iter().sum(), hidden);
        let mut rows = result.values_mut().chunks_exact_mut(hidden);
        let texts = gradient.values().chunks_exact(hidden).zip(vectors.values().chunks_exact(hidden));
        vectorised(
            #[inline(always)]
            || {
                for (((gradient, vector), size), length) in texts.zip(sizes).zip(lengths) {
                    let pooled = self.pooled(*length);
                    let along = dot(gradient, vector);
                    for (index, row) in rows.by_ref().take(*length).enumerate() {
                        if index < pooled {
                            add_scaled(row, 1.0 / (pooled as f32 * size), gradient);
                            add_scaled(row, -along / (pooled as f32 * size), vector);
                        }
                    }
                }
            },
        );
        result
    }

    fn embeddings_backward(&mut self, texts: &[&[u32]], gradient: &Matrix) {
        if self.tokens.is_frozen() {
            return;
        }
        let hidden = self.hidden();
        let mut tokens = Matrix::zeros(self.tokens.value.rows(), hidden);
        let mut positions = Matrix::zeros(self.positions.value.rows(), hidden);
        let ids = texts.iter().flat_map(|text| text.iter().enumerate());
        for (row, (position, id)) in gradient.values().chunks_exact(hidden).zip(ids) {
            let start = self.place(*id) * hidden;
            add(tokens.values_mut().get_mut(start..start + hidden).unwrap_or_default(), row);
            let start = position * hidden;
            add(positions.values_mut().get_mut(start..start + hidden).unwrap_or_default(), row);
        }
        self.tokens.add_gradient(tokens);
        self.positions.add_gradient(positions);
    }

    /// Learns the matrices for which `is_short` is true by GGUF name as 4 bits will hold them.
    pub fn round(&mut self, is_short: impl Fn(&str) -> bool) {
        for parameter in self.parameters_mut() {
            if is_short(&parameter.name.replace(JOINED, "attn_q")) {
                parameter.round();
            }
        }
    }

    /// All parameters, in a fixed order.
    pub fn parameters(&self) -> Vec<&Parameter> {
        let Norm { weight, bias } = &self.embedding_norm;
        let mut all = vec![&self.tokens, &self.positions, weight, bias];
        all.extend(self.layers.iter().flat_map(Layer::parameters));
        all
    }

    /// In the order of [`Self::parameters`].
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let Norm { weight, bias } = &mut self.embedding_norm;
        let mut all = vec![&mut self.tokens, &mut self.positions, weight, bias];
        all.extend(self.layers.iter_mut().flat_map(Layer::parameters_mut));
        all
    }
}

/// Name of query, key and value together.
pub(super) const JOINED: &str = "attn_qkv";

struct Reader<'a> {
    weights: &'a mut Weights,
    /// Layers above what is read.
    depth: usize,
}

impl Reader<'_> {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, InferenceError> {
        Ok(self.weights.take(name, shape)?.flatten_all()?.to_vec1()?)
    }

    fn parameter(&self, name: String, columns: usize, values: Vec<f32>, decays: bool) -> Parameter {
        Parameter::new(name, Matrix::new(columns, values), Treatment { depth: self.depth, decays, head: false })
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, InferenceError> {
        self.joined(name, &[name.to_owned()], inputs, outputs)
    }

    /// Linear layers on one input, side by side, each of `outputs`.
    fn joined(
        &mut self,
        name: &str,
        parts: &[String],
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, InferenceError> {
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for part in parts {
            weight.extend(self.values(&format!("{part}.weight"), &[outputs, inputs])?);
            bias.extend(self.values(&format!("{part}.bias"), &[outputs])?);
        }
        Ok(Linear {
            weight: self.parameter(format!("{name}.weight"), inputs, weight, true),
            bias: self.parameter(format!("{name}.bias"), bias.len(), bias, false),
        })
    }

    fn norm(&mut self, name: &str, size: usize) -> Result<Norm, InferenceError> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let weight_values = self.values(&weight, &[size])?;
        let bias_values = self.values(&bias, &[size])?;
        Ok(Norm {
            weight: self.parameter(weight, size, weight_values, false),
            bias: self.parameter(bias, size, bias_values, false),
        })
    }
}
