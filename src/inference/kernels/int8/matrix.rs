//! Weights in 8 bits, laid out as the kernels read them.

use super::{COLUMNS, ColumnScales, DEPTH, Group, PANEL, STEP};
use crate::inference::kernels::vectorise::vectorised;

/// A layer's matrix and bias.
#[derive(Debug)]
pub(crate) struct Int8Matrix {
    inputs: usize,
    outputs: usize,
    /// Groups of a panel.
    groups: usize,
    /// Panel by panel.
    panels: Vec<Group>,
    /// By column, with zeros up to a whole block.
    scale: Vec<f32>,
    total: Vec<f32>,
    bias: Vec<f32>,
}

impl Int8Matrix {
    /// Columns that are multiplied together.
    pub const BLOCK: usize = COLUMNS;

    /// Rounds weights, `[outputs, inputs]`, to 8 bits: each output by its own scale.
    pub fn new(weights: &[f32], inputs: usize, bias: &[f32]) -> Self {
        let outputs = bias.len();
        debug_assert!(weights.len() == inputs * outputs, "weights and bias do not go together");
        let groups = inputs.div_ceil(DEPTH).next_multiple_of(STEP);
        let columns = outputs.next_multiple_of(COLUMNS);
        let mut matrix = Self {
            inputs,
            outputs,
            groups,
            panels: vec![Group([0; PANEL * DEPTH]); columns / PANEL * groups],
            scale: vec![0.0; columns],
            total: vec![0.0; columns],
            bias: bias.to_vec(),
        };
        matrix.bias.resize(columns, 0.0);
        let scales = matrix.scale.iter_mut().zip(&mut matrix.total);
        let mut rounded = vec![0i8; inputs];
        for ((column, weights), (scale, total)) in weights.chunks_exact(inputs.max(1)).enumerate().zip(scales) {
            let (largest, sum) = vectorised(
                #[inline(always)]
                || round(weights, &mut rounded),
            );
            *scale = largest / 127.0;
            *total = *scale * sum as f32;
            let panel = matrix.panels.chunks_exact_mut(groups).nth(column / PANEL).unwrap_or_default();
            for (group, rounded) in panel.iter_mut().zip(rounded.chunks(DEPTH)) {
                let places = group.0.iter_mut().skip(column % PANEL * DEPTH);
                places.zip(rounded).for_each(|(place, rounded)| *place = *rounded);
            }
        }
        matrix
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The panels of a block of columns.
    pub(super) fn panels(&self, column: usize) -> &[Group] {
        self.panels.get(column / PANEL * self.groups..).unwrap_or_default()
    }

    /// Scales and bias from a column on.
    pub(super) fn columns(&self, column: usize) -> ColumnScales<'_> {
        ColumnScales {
            scale: self.scale.get(column..).unwrap_or_default(),
            total: self.total.get(column..).unwrap_or_default(),
            bias: self.bias.get(column..).unwrap_or_default(),
        }
    }
}

/// Rounds weights to 8 bits; the largest in size, and the sum of what they were rounded to.
#[inline(always)]
fn round(weights: &[f32], rounded: &mut [i8]) -> (f32, i32) {
    let largest = weights.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    rounded.iter_mut().zip(weights).for_each(|(rounded, weight)| *rounded = (weight * inverse).round() as i8);
    (largest, rounded.iter().map(|rounded| i32::from(*rounded)).sum())
}
