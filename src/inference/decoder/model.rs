//! A decoder: tokens to the scores of the token that comes next.

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::attention::Sight;
use super::cache::Cache;
use super::layer::{Layer, Multiplier, Norm, Projected, Spread};
use super::rotary::{Rotary, Turns};
use super::shape::Shape;
use super::tensors::Tensors;
use crate::inference::InferenceError;
use crate::inference::kernels::{GroupedKernel, GroupedMatrix, GroupedRows};

/// Rows up to which all threads work at the same ones; of more, each has its own.
const FEW: usize = 8;

/// Most rows that a thread takes at a time.
const CHUNK: usize = 32;

/// A decoder's weights.
pub(super) struct Model {
    shape: Shape,
    kernel: GroupedKernel,
    tokens: GroupedMatrix,
    layers: Vec<Layer>,
    norm: Norm,
    /// Where it is not the table of tokens again.
    output: Option<GroupedMatrix>,
    rotary: Rotary,
    rotary_sliding: Option<Rotary>,
}

impl Model {
    /// Reads the weights, on the threads at hand.
    pub fn load(tensors: &mut Tensors, kernel: GroupedKernel) -> Result<Self, InferenceError> {
        let shape = Shape::read(tensors.metadata()).map_err(|problem| tensors.bad(problem))?;
        let hidden = shape.hidden;
        if !shape.head_width.is_multiple_of(16) {
            return Err(tensors.bad(format!("heads of {} numbers are not a multiple of 16", shape.head_width)));
        }
        let vocabulary =
            tensors.rows("token_embd.weight").ok_or_else(|| tensors.bad("tensor token_embd.weight is missing"))?;
        let tokens = tensors.matrix("token_embd.weight", hidden, vocabulary, 0..vocabulary)?;
        let output = match tensors.has("output.weight") {
            true => Some(tensors.matrix("output.weight", hidden, vocabulary, 0..vocabulary)?),
            false => None,
        };
        let factors = tensors.vector_if_any(shape.rotary_factors(), shape.rotary_width / 2)?;
        let layers = (0..shape.layers).map(|index| Layer::take(tensors, index, &shape)).collect::<Result<_, _>>()?;
        Ok(Self {
            rotary: Rotary::new(&shape, shape.rotary_base, shape.rotary_factor, factors.as_deref()),
            rotary_sliding: shape.sliding.map(|sliding| Rotary::new(&shape, sliding.rotary_base, 1.0, None)),
            norm: Norm::take(tensors, "output_norm", &shape, hidden)?,
            kernel,
            tokens,
            layers,
            output,
            shape,
        })
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Tokens that it has scores for.
    pub fn vocabulary(&self) -> usize {
        self.tokens.outputs()
    }

    /// Reads tokens behind those in the cache: the states of the last `wanted` of them, one behind the other, ready for
    /// [`Self::scores`]. `None` if `go_on` said no between two layers; the cache then is as it was.
    pub fn read(&self, tokens: &[u32], wanted: usize, cache: &mut Cache, go_on: &dyn Fn() -> bool) -> Option<Vec<f32>> {
        let (first, count) = (cache.tokens().len(), tokens.len());
        let mut states = self.run(tokens, first..first + count, Sight::Following(first), cache, go_on)?;
        cache.note(tokens);
        states.drain(..(count - wanted.min(count)) * self.shape.hidden);
        self.norm.apply(&mut states);
        Some(states)
    }

    /// Reads tokens that continue those in the cache in different ways: the states of all, ready for [`Self::scores`]. `branches` has
    /// for each the indices of the tokens above it and last its own; those above stand first. The cache stays as it was and must have
    /// room for them. `None` if `go_on` said no between two layers.
    pub fn read_branches(
        &self,
        tokens: &[u32],
        branches: &[Vec<usize>],
        cache: &mut Cache,
        go_on: &dyn Fn() -> bool,
    ) -> Option<Vec<f32>> {
        let behind = cache.tokens().len();
        let positions = branches.iter().map(|branch| behind + branch.len().saturating_sub(1));
        let of_branch = |branch: &Vec<usize>| branch.iter().map(|index| behind + index).collect();
        let places: Vec<Vec<usize>> = branches.iter().map(of_branch).collect();
        let sight = Sight::Branching { behind, branches: &places };
        let mut states = self.run(tokens, positions, sight, cache, go_on)?;
        self.norm.apply(&mut states);
        Some(states)
    }

    /// States of tokens behind the last layer. Keys and values stand in the cache from its end on, one token behind the other.
    fn run(
        &self,
        tokens: &[u32],
        positions: impl Iterator<Item = usize> + Clone,
        sight: Sight<'_>,
        cache: &mut Cache,
        go_on: &dyn Fn() -> bool,
    ) -> Option<Vec<f32>> {
        let hidden = self.shape.hidden;
        let mut states = vec![0.0; tokens.len() * hidden];
        for (state, token) in states.chunks_exact_mut(hidden).zip(tokens) {
            self.tokens.output(*token as usize, state);
            state.iter_mut().for_each(|value| *value *= self.shape.embedding_scale);
        }
        let turns = self.rotary.turns_at(positions.clone());
        let turns_sliding = self.rotary_sliding.as_ref().map(|rotary| rotary.turns_at(positions));
        for (index, layer) in self.layers.iter().enumerate() {
            if !go_on() {
                return None;
            }
            let turns = match (&turns_sliding, self.shape.window(index)) {
                (Some(sliding), Some(_)) => sliding,
                _ => &turns,
            };
            self.run_layer(layer, index, &mut states, sight, turns, cache)?;
        }
        Some(states)
    }

    fn run_layer(
        &self,
        layer: &Layer,
        index: usize,
        states: &mut [f32],
        sight: Sight<'_>,
        turns: &Turns,
        cache: &mut Cache,
    ) -> Option<()> {
        let first = cache.tokens().len();
        let hidden = self.shape.hidden;
        let count = states.len() / hidden;
        let (rows, spread) = if count <= FEW {
            (count.max(1), Spread::Columns)
        } else {
            let of_thread = count.div_ceil(2 * rayon::current_num_threads()).next_multiple_of(FEW);
            (of_thread.min(CHUNK), Spread::Rows)
        };
        let multiplier = Multiplier { kernel: self.kernel, spread };
        let project = |(chunk, states): (usize, &[f32])| layer.project(multiplier, states, turns, chunk * rows);
        // One chunk is computed here: threads share its columns.
        let projected: Vec<Projected> = match spread {
            Spread::Columns => vec![project((0, &*states))],
            Spread::Rows => states.par_chunks(rows * hidden).enumerate().map(project).collect(),
        };
        let of_layer = cache.layer_mut(index)?;
        let width = self.shape.value_width();
        for (chunk, projected) in projected.iter().enumerate() {
            let keys_and_values = projected.keys.chunks_exact(width).zip(projected.values.chunks_exact(width));
            for (row, (keys, values)) in keys_and_values.enumerate() {
                of_layer.put(first + chunk * rows + row, keys, values);
            }
        }
        let of_layer = &*of_layer;
        let finish = |(chunk, (states, projected)): (usize, (&mut [f32], &Projected))| {
            layer.finish(multiplier, states, &projected.queries, sight.beginning_at(chunk * rows), of_layer);
        };
        match spread {
            Spread::Columns => {
                if let Some(projected) = projected.first() {
                    finish((0, (states, projected)));
                }
            }
            Spread::Rows => {
                let chunks = states.par_chunks_mut(rows * hidden).zip(projected.par_iter());
                chunks.enumerate().for_each(finish);
            }
        }
        Some(())
    }

    /// Scores of every token to come next, for each row of states.
    pub fn scores(&self, states: &[f32]) -> Vec<f32> {
        let hidden = self.shape.hidden;
        let mut rows = GroupedRows::default();
        rows.round(states, hidden);
        let mut scores = Vec::new();
        let matrix = self.output.as_ref().unwrap_or(&self.tokens);
        let multiplier = Multiplier { kernel: self.kernel, spread: Spread::Columns };
        multiplier.products(&rows, states.len() / hidden, &mut [(matrix, &mut scores)]);
        scores
    }
}
