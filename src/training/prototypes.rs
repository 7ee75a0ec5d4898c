//! Prototypes of labels: where the vectors of their rows lie, under the covariance that all labels share.
//!
//! Borders between labels (a support vector machine) need rows to be drawn; means of labels are sound from the first row on. With
//! few rows a label the two together tell more than either. Both are linear in the vector, so a head carries their sum.

use super::TrainingError;
use super::features::{FeatureRow, FeatureRows};
use super::solver::{Weights, spread};
use crate::tagging::{Example, Linear};

/// Weight of the sphere against the measured covariance: with few rows a label little of it is known.
const SHRINKAGE: f64 = 0.7;

/// Rows that sizes of margins are compared on, at most.
const COMPARED_ROWS: usize = 2_000;

/// The discriminant of the labels.
pub(super) struct Prototypes {
    /// Labels that have a prototype, rising.
    labels: Vec<usize>,
    /// One of each of them.
    linear: Linear,
    /// Number of all labels.
    all: usize,
}

impl Prototypes {
    /// Fits to some rows by the first of their labels. Of the dense numbers the first `block` count.
    pub fn fit(
        features: &FeatureRows,
        which: &[usize],
        truth: &[Vec<usize>],
        all: usize,
        block: usize,
    ) -> Result<Self, TrainingError> {
        let label_of = |row: &usize| truth.get(*row)?.first().copied();
        let mut labels: Vec<usize> = which.iter().filter_map(label_of).collect();
        labels.sort_unstable();
        labels.dedup();
        let examples: Vec<Example<'_>> = which
            .iter()
            .filter_map(|row| {
                let vector = features.rows.get(*row)?.dense.get(..block.min(features.dimension))?;
                Some(Example { vector, class: labels.binary_search(&label_of(row)?).ok()? })
            })
            .collect();
        let linear = Linear::fit(&examples, labels.len(), block.min(features.dimension), SHRINKAGE)
            .map_err(|error| TrainingError::Rows(format!("no prototypes can be made: {error}")))?;
        Ok(Self { labels, linear, all })
    }

    /// What makes the margins of these prototypes as large as those of `weights`.
    pub fn ratio(&self, weights: &Weights, features: &FeatureRows, which: &[usize]) -> f32 {
        let step = which.len().div_ceil(COMPARED_ROWS).max(1);
        let (mut of_borders, mut of_prototypes) = (0.0, 0.0);
        for row in which.iter().step_by(step).filter_map(|row| features.rows.get(*row)) {
            of_borders += spread(&weights.margins(row));
            of_prototypes += spread(&self.linear.logits(self.block_of(row)));
        }
        if of_prototypes > 0.0 { of_borders / of_prototypes } else { 0.0 }
    }

    /// Margins of a row with so much of these prototypes' added. A label without a prototype counts as the farthest.
    pub fn beside(&self, mut margins: Vec<f32>, row: &FeatureRow, share: f32) -> Vec<f32> {
        let logits = self.linear.logits(self.block_of(row));
        let least = logits.iter().copied().fold(f32::INFINITY, f32::min);
        let mut known = self.labels.iter().zip(&logits).peekable();
        for (label, margin) in margins.iter_mut().enumerate() {
            let logit = known.next_if(|(known, _)| **known == label).map_or(least, |(_, logit)| *logit);
            *margin += share * logit;
        }
        margins
    }

    /// Adds so much of these prototypes to weights. All labels must have one.
    pub fn add_to(&self, weights: &mut Weights, share: f32) {
        debug_assert_eq!(self.labels.len(), self.all);
        weights.add_linear(share, &self.linear.weights, &self.linear.biases);
    }

    fn block_of<'a>(&self, row: &'a FeatureRow) -> &'a [f32] {
        let block = self.linear.weights.first().map_or(0, Vec::len);
        row.dense.get(..block).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::solver::Wanted;

    #[test]
    fn weights_carry_prototypes_and_labels_without_rows_are_farthest() {
        let points = [[1.0, 0.1], [0.9, -0.1], [-1.0, 0.2], [-0.8, -0.2]];
        let rows = points.map(|point| FeatureRow { dense: [point.as_slice(), &[7.0]].concat(), sparse: Vec::new() });
        let features = FeatureRows { rows: rows.into(), dimension: 3, columns: 0 };
        let which = [0, 1, 2, 3];
        let truth = [vec![0], vec![0], vec![1], vec![1]];
        let wanted = Wanted { labels: 2, truth: &truth, costs: &[1.0; 4], seed: 1 };
        let mut weights = Weights::fit(&features, &which, &wanted);
        let before: Vec<Vec<f32>> = features.rows.iter().map(|row| weights.margins(row)).collect();
        let prototypes = Prototypes::fit(&features, &which, &truth, 2, 2).unwrap();
        let share = prototypes.ratio(&weights, &features, &which);
        assert!(share > 0.0);
        prototypes.add_to(&mut weights, share);
        for (row, before) in features.rows.iter().zip(before) {
            let (carried, beside) = (weights.margins(row), prototypes.beside(before, row, share));
            assert!(carried.iter().zip(&beside).all(|(a, b)| (a - b).abs() < 1e-4), "{carried:?} {beside:?}");
        }

        let truth = [vec![0], vec![0], vec![2], vec![2]];
        let prototypes = Prototypes::fit(&features, &which, &truth, 3, 2).unwrap();
        let margins = prototypes.beside(vec![0.0; 3], &features.rows[0], 1.0);
        assert!(margins[0] > margins[2] && margins[1] == margins[2], "{margins:?}");
    }
}
