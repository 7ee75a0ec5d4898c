//! A decoder on candle's tensors: on an NVIDIA GPU, or in 32 bits on the processor, which is the reference for all others.
//!
//! It computes what [`super::model`] does, on the same files, and reads the tokens of a call together. On a GPU weights stay as the file
//! has them and candle multiplies them so; on the processor they are 32-bit numbers.

use candle_core::quantized::QMatMul;
use candle_core::{Device, Module, Tensor};
use candle_nn::ops::rms_norm;

use super::attention::Sight;
use super::cache::Cache;
use super::rotary::{Rotary, Turns};
use super::shape::{RotaryPairs, Shape};
use super::tensor_layer::{TensorCache, TensorLayer};
use super::tensors::{Target, Tensors, TokenTable};
use crate::inference::InferenceError;

/// A decoder's weights.
pub(super) struct TensorModel {
    shape: Shape,
    device: Device,
    tokens: TokenTable,
    layers: Vec<TensorLayer>,
    norm: Tensor,
    output: QMatMul,
    rotary: Rotary,
    rotary_sliding: Option<Rotary>,
}

/// Sines and cosines of some positions: `[positions, pairs]`.
pub(super) struct TurnTensors {
    pub sines: Tensor,
    pub cosines: Tensor,
    pub pairs: RotaryPairs,
}

impl TurnTensors {
    fn new(turns: &Turns, device: &Device) -> candle_core::Result<Self> {
        let (sines, cosines) = turns.columns();
        let shape = (turns.positions(), turns.pairs_of_position());
        Ok(Self {
            sines: Tensor::from_vec(sines, shape, device)?,
            cosines: Tensor::from_vec(cosines, shape, device)?,
            pairs: turns.pairs(),
        })
    }
}

impl TensorModel {
    /// Reads the weights onto a device.
    pub fn load(tensors: &mut Tensors, target: &Target) -> Result<Self, InferenceError> {
        let shape = Shape::read(tensors.metadata()).map_err(|problem| tensors.bad(problem))?;
        let hidden = shape.hidden;
        let vocabulary =
            tensors.rows("token_embd.weight").ok_or_else(|| tensors.bad("tensor token_embd.weight is missing"))?;
        let tokens = tensors.token_table("token_embd.weight", hidden, vocabulary)?;
        let output = if tensors.has("output.weight") { "output.weight" } else { "token_embd.weight" };
        let output = tensors.product(output, &[vocabulary, hidden], target)?;
        let factors = tensors.vector_if_any(shape.rotary_factors(), shape.rotary_width / 2)?;
        let layers = (0..shape.layers)
            .map(|index| TensorLayer::take(tensors, index, &shape, target))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            rotary: Rotary::new(&shape, shape.rotary_base, shape.rotary_factor, factors.as_deref()),
            rotary_sliding: shape.sliding.map(|sliding| Rotary::new(&shape, sliding.rotary_base, 1.0, None)),
            norm: tensors.tensor("output_norm.weight", hidden, &target.device)?,
            tokens,
            layers,
            output,
            device: target.device.clone(),
            shape,
        })
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Tokens that it has scores for.
    pub fn vocabulary(&self) -> usize {
        self.tokens.len()
    }

    /// An empty cache; its tensors grow as they are filled.
    pub fn cache(&self) -> Cache {
        Cache::on_tensors(self.layers.iter().map(|_| TensorCache::default()).collect())
    }

    /// As [`super::model::Model::read`].
    pub fn read(
        &self,
        tokens: &[u32],
        wanted: usize,
        cache: &mut Cache,
        go_on: &dyn Fn() -> bool,
    ) -> candle_core::Result<Option<Vec<f32>>> {
        let (first, count) = (cache.tokens().len(), tokens.len());
        let states = self.run(tokens, first..first + count, Sight::Following(first), cache, go_on)?;
        let Some(states) = states else { return Ok(None) };
        cache.note(tokens);
        let wanted = wanted.min(count);
        self.finished(&states.narrow(0, count - wanted, wanted)?).map(Some)
    }

    /// As [`super::model::Model::read_branches`].
    pub fn read_branches(
        &self,
        tokens: &[u32],
        branches: &[Vec<usize>],
        cache: &mut Cache,
        go_on: &dyn Fn() -> bool,
    ) -> candle_core::Result<Option<Vec<f32>>> {
        let behind = cache.tokens().len();
        let positions = branches.iter().map(|branch| behind + branch.len().saturating_sub(1));
        let of_branch = |branch: &Vec<usize>| branch.iter().map(|index| behind + index).collect();
        let places: Vec<Vec<usize>> = branches.iter().map(of_branch).collect();
        let sight = Sight::Branching { behind, branches: &places };
        let states = self.run(tokens, positions, sight, cache, go_on)?;
        states.map(|states| self.finished(&states)).transpose()
    }

    fn finished(&self, states: &Tensor) -> candle_core::Result<Vec<f32>> {
        if states.elem_count() == 0 {
            return Ok(Vec::new());
        }
        rms_norm(&states.contiguous()?, &self.norm, self.shape.epsilon)?.flatten_all()?.to_vec1()
    }

    fn run(
        &self,
        tokens: &[u32],
        positions: impl Iterator<Item = usize> + Clone,
        sight: Sight<'_>,
        cache: &mut Cache,
        go_on: &dyn Fn() -> bool,
    ) -> candle_core::Result<Option<Tensor>> {
        let (count, first) = (tokens.len(), cache.tokens().len());
        let states = self.tokens.rows(tokens)?;
        let states = Tensor::from_vec(states, (count, self.shape.hidden), &self.device)?;
        let mut states = (states * f64::from(self.shape.embedding_scale))?;
        let turns_of = |rotary: &Rotary| TurnTensors::new(&rotary.turns_at(positions.clone()), &self.device);
        let sight_of = |window| self.mask(sight, window, count, first + count);
        let (turns, seen) = (turns_of(&self.rotary)?, sight_of(None)?);
        let sliding = match (&self.rotary_sliding, self.shape.sliding) {
            (Some(rotary), Some(sliding)) => Some((turns_of(rotary)?, sight_of(Some(sliding.window))?)),
            _ => None,
        };
        for (index, layer) in self.layers.iter().enumerate() {
            if !go_on() {
                return Ok(None);
            }
            let (turns, seen) = match (&sliding, self.shape.window(index)) {
                (Some((turns, seen)), Some(_)) => (turns, seen),
                _ => (&turns, &seen),
            };
            let Some(cache) = cache.tensors_mut(index) else { candle_core::bail!("a cache of another model") };
            states = layer.run(&states, turns, seen, first, cache)?;
        }
        Ok(Some(states))
    }

    /// What is added to products of queries and keys, `[rows, places]`: nothing where a row sees a place, minus infinity where not.
    fn mask(&self, sight: Sight<'_>, window: Option<usize>, rows: usize, places: usize) -> candle_core::Result<Tensor> {
        let mut mask = vec![f32::NEG_INFINITY; rows * places];
        for (row, mask) in mask.chunks_exact_mut(places.max(1)).enumerate() {
            let (seen, single) = sight.of_row(row, window);
            mask.get_mut(seen).unwrap_or_default().fill(0.0);
            for place in single {
                if let Some(of_place) = mask.get_mut(*place) {
                    *of_place = 0.0;
                }
            }
        }
        Tensor::from_vec(mask, (rows, places), &self.device)
    }

    /// As [`super::model::Model::scores`].
    pub fn scores(&self, states: &[f32]) -> candle_core::Result<Vec<f32>> {
        let hidden = self.shape.hidden;
        let states = Tensor::from_slice(states, (states.len() / hidden.max(1), hidden), &self.device)?;
        self.output.forward(&states)?.flatten_all()?.to_vec1()
    }
}
