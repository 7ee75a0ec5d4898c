//! One layer of a decoder: from the states of some new tokens to the next ones.

use std::cell::Cell;
use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::attention::{Queries, Sight, attend};
use super::cache::LayerCache;
use super::rotary::Turns;
use super::shape::{Architecture, Gate, Shape};
use super::tensors::Tensors;
use crate::inference::InferenceError;
use crate::inference::kernels::vectorise::{add, exp, sum_of_squares, vectorised};
use crate::inference::kernels::{GroupedKernel, GroupedMatrix, GroupedRows};

/// Panels of a matrix that one thread multiplies at a time when threads share the columns of a product.
const SHARED_PANELS: usize = 16;

/// Who multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    /// This thread alone: others work at other rows.
    Rows,
    /// All threads, each at some columns.
    Columns,
}

/// A matrix, and what is added to its products.
struct Linear {
    matrix: GroupedMatrix,
    bias: Option<Vec<f32>>,
}

impl Linear {
    fn take(tensors: &mut Tensors, name: &str, inputs: usize, outputs: usize) -> Result<Self, InferenceError> {
        Self::part(tensors, name, inputs, outputs, 0..outputs)
    }

    /// Some outputs of a matrix that holds those of several.
    fn part(
        tensors: &mut Tensors,
        name: &str,
        inputs: usize,
        all: usize,
        outputs: Range<usize>,
    ) -> Result<Self, InferenceError> {
        let matrix = tensors.matrix(&format!("{name}.weight"), inputs, all, outputs.clone())?;
        let bias = tensors.vector_if_any(&format!("{name}.bias"), all)?;
        let bias = bias.map(|bias| bias.get(outputs).unwrap_or_default().to_vec());
        Ok(Self { matrix, bias })
    }
}

/// A norm by the mean square.
pub(super) struct Norm {
    weight: Vec<f32>,
    epsilon: f32,
}

impl Norm {
    pub fn take(tensors: &mut Tensors, name: &str, shape: &Shape, width: usize) -> Result<Self, InferenceError> {
        let weight = tensors.vector(&format!("{name}.weight"), width)?;
        Ok(Self { weight, epsilon: shape.epsilon })
    }

    fn if_any(tensors: &mut Tensors, name: &str, shape: &Shape, width: usize) -> Result<Option<Self>, InferenceError> {
        let weight = tensors.vector_if_any(&format!("{name}.weight"), width)?;
        Ok(weight.map(|weight| Self { weight, epsilon: shape.epsilon }))
    }

    /// Normalises each run of as many numbers as there are weights.
    pub fn apply(&self, values: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || {
                for row in values.chunks_exact_mut(self.weight.len().max(1)) {
                    let mean = sum_of_squares(row) / row.len() as f32;
                    let scale = 1.0 / (mean + self.epsilon).sqrt();
                    row.iter_mut().zip(&self.weight).for_each(|(value, weight)| *value *= scale * weight);
                }
            },
        );
    }
}

/// A layer ready to run.
pub(super) struct Layer {
    attention_norm: Norm,
    query: Linear,
    key: Linear,
    value: Linear,
    query_norm: Option<Norm>,
    key_norm: Option<Norm>,
    output: Linear,
    after_attention: Option<Norm>,
    feed_norm: Norm,
    gate: Linear,
    up: Linear,
    down: Linear,
    after_feed: Option<Norm>,
    window: Option<usize>,
    heads: Heads,
    activation: Gate,
}

#[derive(Clone, Copy)]
struct Heads {
    count: usize,
    of_values: usize,
    width: usize,
}

impl Heads {
    fn query_width(self) -> usize {
        self.count * self.width
    }

    fn value_width(self) -> usize {
        self.of_values * self.width
    }
}

/// Queries, keys and values of some new tokens.
pub(super) struct Projected {
    pub queries: Vec<f32>,
    pub keys: Vec<f32>,
    pub values: Vec<f32>,
}

/// Memory of one thread.
#[derive(Default)]
struct Room {
    rows: GroupedRows,
    normed: Vec<f32>,
    attended: Vec<f32>,
    branch: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
}

thread_local! {
    static ROOM: Cell<Room> = Cell::default();
}

impl Layer {
    pub fn take(tensors: &mut Tensors, index: usize, shape: &Shape) -> Result<Self, InferenceError> {
        let Shape { hidden, feed_forward, .. } = *shape;
        let heads = Heads { count: shape.heads, of_values: shape.value_heads, width: shape.head_width };
        let (queries, values) = (heads.query_width(), heads.value_width());
        let name = |part: &str| format!("blk.{index}.{part}");
        let joined = name("attn_qkv");
        let all = queries + 2 * values;
        let [query, key, value] = if shape.architecture == Architecture::Phi3 {
            let mut part = |outputs: Range<usize>| Linear::part(tensors, &joined, hidden, all, outputs);
            [part(0..queries)?, part(queries..queries + values)?, part(queries + values..all)?]
        } else {
            [
                Linear::take(tensors, &name("attn_q"), hidden, queries)?,
                Linear::take(tensors, &name("attn_k"), hidden, values)?,
                Linear::take(tensors, &name("attn_v"), hidden, values)?,
            ]
        };
        let [gate, up] = if shape.architecture == Architecture::Phi3 {
            let mut part = |outputs| Linear::part(tensors, &name("ffn_up"), hidden, 2 * feed_forward, outputs);
            [part(0..feed_forward)?, part(feed_forward..2 * feed_forward)?]
        } else {
            [
                Linear::take(tensors, &name("ffn_gate"), hidden, feed_forward)?,
                Linear::take(tensors, &name("ffn_up"), hidden, feed_forward)?,
            ]
        };
        Ok(Self {
            attention_norm: Norm::take(tensors, &name("attn_norm"), shape, hidden)?,
            query,
            key,
            value,
            query_norm: Norm::if_any(tensors, &name("attn_q_norm"), shape, heads.width)?,
            key_norm: Norm::if_any(tensors, &name("attn_k_norm"), shape, heads.width)?,
            output: Linear::take(tensors, &name("attn_output"), queries, hidden)?,
            after_attention: Norm::if_any(tensors, &name("post_attention_norm"), shape, hidden)?,
            feed_norm: Norm::take(tensors, &name("ffn_norm"), shape, hidden)?,
            gate,
            up,
            down: Linear::take(tensors, &name("ffn_down"), feed_forward, hidden)?,
            after_feed: Norm::if_any(tensors, &name("post_ffw_norm"), shape, hidden)?,
            window: shape.window(index),
            heads,
            activation: shape.gate,
        })
    }

    /// Queries, keys and values of rows of states; `turns` begin with the first row's.
    pub fn project(&self, multiplier: Multiplier, states: &[f32], turns: &Turns, from: usize) -> Projected {
        let mut room = ROOM.take();
        room.normed.clear();
        room.normed.extend_from_slice(states);
        self.attention_norm.apply(&mut room.normed);
        let mut projected = Projected { queries: Vec::new(), keys: Vec::new(), values: Vec::new() };
        let Projected { queries, keys, values } = &mut projected;
        let jobs = &mut [(&self.query, queries), (&self.key, keys), (&self.value, values)];
        multiplier.run(&mut room.rows, &room.normed, jobs);
        for (values, norm, width) in [
            (&mut projected.queries, &self.query_norm, self.heads.query_width()),
            (&mut projected.keys, &self.key_norm, self.heads.value_width()),
        ] {
            if let Some(norm) = norm {
                norm.apply(values);
            }
            turns.apply(values, width, from);
        }
        ROOM.set(room);
        projected
    }

    /// The rest of the layer, in place.
    pub fn finish(
        &self,
        multiplier: Multiplier,
        states: &mut [f32],
        queries: &[f32],
        sight: Sight<'_>,
        cache: &LayerCache,
    ) {
        let mut room = ROOM.take();
        let Room { rows, attended, branch, normed, gate, up } = &mut room;
        self.attend(multiplier, queries, sight, cache, attended);
        multiplier.run(rows, attended, &mut [(&self.output, branch)]);
        add_normed(states, branch, self.after_attention.as_ref());
        normed.clear();
        normed.extend_from_slice(states);
        self.feed_norm.apply(normed);
        multiplier.run(rows, normed, &mut [(&self.gate, gate), (&self.up, up)]);
        activate(self.activation, gate, up);
        multiplier.run(rows, gate, &mut [(&self.down, branch)]);
        add_normed(states, branch, self.after_feed.as_ref());
        ROOM.set(room);
    }

    fn attend(
        &self,
        multiplier: Multiplier,
        queries: &[f32],
        sight: Sight<'_>,
        cache: &LayerCache,
        attended: &mut Vec<f32>,
    ) {
        let Heads { count, of_values, width } = self.heads;
        let group = count / of_values.max(1);
        let stride = self.heads.query_width();
        let of_head = |head: usize| {
            let queries = Queries {
                rows: queries,
                stride,
                start: head * group * width,
                group,
                width,
                sight,
                window: self.window,
                scale: 1.0 / (width as f32).sqrt(),
            };
            attend(&queries, cache.keys(head), cache.values(head))
        };
        let found: Vec<Vec<f32>> = match multiplier.spread {
            Spread::Rows => (0..of_values).map(of_head).collect(),
            Spread::Columns => (0..of_values).into_par_iter().map(of_head).collect(),
        };
        attended.resize(queries.len(), 0.0);
        let part = (group * width).max(1);
        for (head, found) in found.iter().enumerate() {
            for (attended, found) in attended.chunks_exact_mut(stride.max(1)).zip(found.chunks_exact(part)) {
                if let Some(place) = attended.get_mut(head * part..(head + 1) * part) {
                    place.copy_from_slice(found);
                }
            }
        }
    }
}

/// `states += norm(branch)`.
fn add_normed(states: &mut [f32], branch: &mut [f32], norm: Option<&Norm>) {
    if let Some(norm) = norm {
        norm.apply(branch);
    }
    vectorised(
        #[inline(always)]
        || add(states, branch),
    );
}

/// `gate = activation(gate) * up`.
fn activate(activation: Gate, gate: &mut [f32], up: &[f32]) {
    /// Twice the square root of two over pi.
    const TANH: f32 = 1.595_769;
    vectorised(
        #[inline(always)]
        || match activation {
            Gate::Silu => {
                gate.iter_mut().zip(up).for_each(|(gate, up)| *gate = *gate / (1.0 + exp(-*gate)) * up);
            }
            Gate::Gelu => gate.iter_mut().zip(up).for_each(|(gate, up)| {
                let inner = TANH * (*gate + 0.044_715 * *gate * *gate * *gate);
                *gate = *gate / (1.0 + exp(-inner)) * up;
            }),
        },
    );
}

/// How products are made.
#[derive(Clone, Copy)]
pub(super) struct Multiplier {
    pub kernel: GroupedKernel,
    pub spread: Spread,
}

impl Multiplier {
    /// Rows times each of some matrices.
    fn run(self, rounded: &mut GroupedRows, rows: &[f32], jobs: &mut [(&Linear, &mut Vec<f32>)]) {
        let Some(inputs) = jobs.first().map(|(linear, _)| linear.matrix.inputs()) else { return };
        rounded.round(rows, inputs);
        let count = rows.len() / inputs.max(1);
        let mut products: Vec<(&GroupedMatrix, &mut Vec<f32>)> =
            jobs.iter_mut().map(|(linear, output)| (&linear.matrix, &mut **output)).collect();
        self.products(rounded, count, &mut products);
        for (linear, output) in jobs {
            let Some(bias) = &linear.bias else { continue };
            for output in output.chunks_exact_mut(bias.len().max(1)) {
                output.iter_mut().zip(bias).for_each(|(output, bias)| *output += bias);
            }
        }
    }

    /// Products of rounded rows with matrices.
    pub fn products(self, rows: &GroupedRows, count: usize, jobs: &mut [(&GroupedMatrix, &mut Vec<f32>)]) {
        let kernel = self.kernel;
        for (matrix, output) in jobs.iter_mut() {
            output.resize(count * matrix.outputs(), 0.0);
        }
        if self.spread == Spread::Rows {
            for (matrix, output) in jobs {
                kernel.multiply(rows, 0..count, matrix, 0..matrix.panels(), output, matrix.outputs());
            }
            return;
        }
        let parts = |matrix: &GroupedMatrix| {
            let panels = matrix.panels();
            (0..panels).step_by(SHARED_PANELS).map(move |first| first..panels.min(first + SHARED_PANELS))
        };
        let width = SHARED_PANELS * GroupedMatrix::PANEL;
        if count == 1 {
            // A part of the columns of one row lies together.
            let tasks: Vec<_> = jobs
                .iter_mut()
                .flat_map(|(matrix, output)| {
                    let matrix = *matrix;
                    parts(matrix).zip(output.chunks_mut(width)).map(move |(panels, output)| (matrix, panels, output))
                })
                .collect();
            tasks.into_par_iter().for_each(|(matrix, panels, output)| {
                let stride = output.len();
                kernel.multiply(rows, 0..1, matrix, panels, output, stride);
            });
            return;
        }
        for (matrix, output) in jobs {
            let tasks: Vec<Range<usize>> = parts(matrix).collect();
            let made: Vec<Vec<f32>> = tasks
                .into_par_iter()
                .map(|panels| {
                    let first = panels.start * GroupedMatrix::PANEL;
                    let stride = (matrix.outputs() - first).min(panels.len() * GroupedMatrix::PANEL);
                    let mut part = vec![0.0; count * stride];
                    kernel.multiply(rows, 0..count, matrix, panels, &mut part, stride);
                    part
                })
                .collect();
            for (output, row) in output.chunks_exact_mut(matrix.outputs().max(1)).zip(0..count) {
                for (output, part) in output.chunks_mut(width).zip(&made) {
                    let stride = output.len();
                    output.copy_from_slice(part.get(row * stride..(row + 1) * stride).unwrap_or_default());
                }
            }
        }
    }
}
