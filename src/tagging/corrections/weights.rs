//! The weights of all labels, side by side, as sums over what is remembered.

use pulp::Arch;

use super::text::{COLUMNS, Numbers};

/// Labels are padded to whole vectors.
const LANES: usize = 16;

/// Matrices are row by row, a column a label, padded to `width`.
pub(super) struct Weights {
    dimension: usize,
    width: usize,
    dense: Vec<f32>,
    sparse: Vec<f32>,
    bias: Vec<f32>,
}

impl Weights {
    pub fn new(dimension: usize, labels: usize) -> Self {
        let width = labels.next_multiple_of(LANES);
        Self {
            dimension,
            width,
            dense: vec![0.0; dimension * width],
            sparse: vec![0.0; COLUMNS * width],
            bias: vec![0.0; width],
        }
    }

    /// Labels that there is room for.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Makes room for more labels.
    pub fn widen(&mut self, labels: usize) {
        let mut wider = Self::new(self.dimension, labels);
        let matrices =
            [(&self.dense, &mut wider.dense), (&self.sparse, &mut wider.sparse), (&self.bias, &mut wider.bias)];
        for (old, new) in matrices {
            for (old, new) in old.chunks_exact(self.width).zip(new.chunks_exact_mut(wider.width)) {
                new.iter_mut().zip(old).for_each(|(new, old)| *new = *old);
            }
        }
        *self = wider;
    }

    /// Gives one label the weights of another.
    pub fn copy(&mut self, from: usize, to: usize) {
        for matrix in [&mut self.dense, &mut self.sparse, &mut self.bias] {
            for row in matrix.chunks_exact_mut(self.width) {
                if let (Some(value), true) = (row.get(from).copied(), to < row.len())
                    && let Some(slot) = row.get_mut(to)
                {
                    *slot = value;
                }
            }
        }
    }

    pub fn clear(&mut self) {
        for matrix in [&mut self.dense, &mut self.sparse, &mut self.bias] {
            matrix.fill(0.0);
        }
    }

    /// Distance of a text from the border of each label: `[width]`.
    pub fn margins(&self, text: &Numbers) -> Vec<f32> {
        let mut margins = self.bias.clone();
        Arch::new().dispatch(|| {
            for (value, weights) in text.dense.iter().zip(self.dense.chunks_exact(self.width)) {
                add(&mut margins, *value, weights);
            }
            for (column, value) in &text.sparse {
                let at = usize::from(*column) * self.width;
                add(&mut margins, *value, self.sparse.get(at..at + self.width).unwrap_or_default());
            }
        });
        margins
    }

    /// Adds a text's numbers times `steps`, one a label: `[width]`.
    pub fn add(&mut self, text: &Numbers, steps: &[f32]) {
        let width = self.width;
        Arch::new().dispatch(|| {
            add(&mut self.bias, 1.0, steps);
            for (value, weights) in text.dense.iter().zip(self.dense.chunks_exact_mut(width)) {
                add(weights, *value, steps);
            }
            for (column, value) in &text.sparse {
                let at = usize::from(*column) * width;
                add(self.sparse.get_mut(at..at + width).unwrap_or_default(), *value, steps);
            }
        });
    }
}

#[inline(always)]
fn add(sums: &mut [f32], value: f32, weights: &[f32]) {
    sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
}
