//! Linear classifiers, one against the rest, for all labels at once.
//!
//! Dual coordinate descent for the squared hinge (Hsieh et al., "A Dual Coordinate Descent Method for Large-scale Linear SVM",
//! 2008), which walks all rows for one label, then for the next. Here a row is visited once for all labels: their weights lie side
//! by side, so a row's features are read once and the arithmetic goes over labels in vectors.

use pulp::Arch;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::features::{FeatureRow, FeatureRows};

/// Labels are padded to whole vectors.
const LANES: usize = 16;

/// Walks over the rows, at most.
const MAX_WALKS: usize = 60;

/// A walk that moves less than this share of all there is ends the descent.
const STILL: f64 = 0.01;

/// Weights of all labels. Matrices are row by row, a column a label, padded to `width`.
pub(crate) struct Weights {
    labels: usize,
    width: usize,
    dense: Vec<f32>,
    sparse: Vec<f32>,
    bias: Vec<f32>,
}

/// What is asked of a classifier.
pub(crate) struct Wanted<'a> {
    /// Number of labels.
    pub labels: usize,
    /// Labels of each of `rows`.
    pub truth: &'a [Vec<usize>],
    /// Cost of an error on a row against the size of the weights.
    pub costs: &'a [f32],
    /// Seed of the order in which rows are visited.
    pub seed: u64,
}

impl Weights {
    /// Fits the weights to `which` of the rows.
    pub fn fit(rows: &FeatureRows, which: &[usize], wanted: &Wanted<'_>) -> Self {
        let width = wanted.labels.next_multiple_of(LANES);
        let mut weights = Self {
            labels: wanted.labels,
            width,
            dense: vec![0.0; rows.dimension * width],
            sparse: vec![0.0; rows.columns * width],
            bias: vec![0.0; width],
        };
        let mut duals: Vec<Dual<'_>> = which
            .iter()
            .filter_map(|row| {
                let features = rows.rows.get(*row)?;
                let mut signs = vec![-1.0; width];
                for label in wanted.truth.get(*row)? {
                    if let Some(sign) = signs.get_mut(*label) {
                        *sign = 1.0;
                    }
                }
                Some(Dual {
                    features,
                    signs,
                    values: vec![0.0; width],
                    square: features.square() + 1.0,
                    softness: 0.5 / wanted.costs.get(*row)?,
                })
            })
            .collect();
        let mut order: Vec<usize> = (0..duals.len()).collect();
        let mut random = ChaCha8Rng::seed_from_u64(wanted.seed);
        let mut margins = vec![0.0; width];
        let mut steps = vec![0.0; width];
        for _ in 0..MAX_WALKS {
            order.shuffle(&mut random);
            let mut moved = 0.0;
            Arch::new().dispatch(|| {
                for at in &order {
                    let Some(dual) = duals.get_mut(*at) else { continue };
                    weights.margins_into(dual.features, &mut margins);
                    let step = dual.step(&margins, &mut steps);
                    if step > 0.0 {
                        weights.add(dual.features, &steps);
                        moved += f64::from(step);
                    }
                }
            });
            let total: f64 = duals.iter().map(|dual| f64::from(dual.values.iter().sum::<f32>())).sum();
            if moved <= STILL * total {
                break;
            }
        }
        weights
    }

    /// Distance of a row from the border of each label.
    pub fn margins(&self, row: &FeatureRow) -> Vec<f32> {
        let mut margins = vec![0.0; self.width];
        Arch::new().dispatch(|| self.margins_into(row, &mut margins));
        margins.truncate(self.labels);
        margins
    }

    /// Adds this much of other weights of the first dense numbers.
    pub fn add_linear(&mut self, share: f32, of_labels: &[Vec<f32>], biases: &[f32]) {
        let width = self.width;
        for (label, (weights, bias)) in of_labels.iter().zip(biases).enumerate() {
            for (to, weight) in self.dense.iter_mut().skip(label).step_by(width).zip(weights) {
                *to += share * weight;
            }
            if let Some(to) = self.bias.get_mut(label) {
                *to += share * bias;
            }
        }
    }

    /// Adds this much of the n-grams' part of other weights, for rows whose n-grams are `scale` times as long.
    pub fn add_sparse(&mut self, share: f32, scale: f32, other: &Self) {
        self.sparse.iter_mut().zip(&other.sparse).for_each(|(to, weight)| *to += share * weight / scale);
        self.bias.iter_mut().zip(&other.bias).for_each(|(to, bias)| *to += share * bias);
    }

    /// Weights of the dense part without the padding: `[dimension][labels]`.
    pub fn dense(&self) -> impl Iterator<Item = f32> + '_ {
        self.unpadded(&self.dense)
    }

    /// Weights of the n-grams without the padding: `[columns][labels]`.
    pub fn sparse(&self) -> impl Iterator<Item = f32> + '_ {
        self.unpadded(&self.sparse)
    }

    /// Added to each margin: `[labels]`.
    pub fn bias(&self) -> impl Iterator<Item = f32> + '_ {
        self.unpadded(&self.bias)
    }

    fn unpadded<'a>(&'a self, matrix: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        matrix.chunks_exact(self.width).flat_map(|row| row.iter().take(self.labels).copied())
    }

    #[inline(always)]
    fn margins_into(&self, row: &FeatureRow, margins: &mut [f32]) {
        margins.copy_from_slice(&self.bias);
        for (value, weights) in row.dense.iter().zip(self.dense.chunks_exact(self.width)) {
            margins.iter_mut().zip(weights).for_each(|(margin, weight)| *margin += value * weight);
        }
        for (column, value) in &row.sparse {
            let at = *column as usize * self.width;
            let weights = self.sparse.get(at..at + self.width).unwrap_or_default();
            margins.iter_mut().zip(weights).for_each(|(margin, weight)| *margin += value * weight);
        }
    }

    #[inline(always)]
    fn add(&mut self, row: &FeatureRow, steps: &[f32]) {
        self.bias.iter_mut().zip(steps).for_each(|(bias, step)| *bias += step);
        for (value, weights) in row.dense.iter().zip(self.dense.chunks_exact_mut(self.width)) {
            weights.iter_mut().zip(steps).for_each(|(weight, step)| *weight += value * step);
        }
        for (column, value) in &row.sparse {
            let at = *column as usize * self.width;
            let weights = self.sparse.get_mut(at..at + self.width).unwrap_or_default();
            weights.iter_mut().zip(steps).for_each(|(weight, step)| *weight += value * step);
        }
    }
}

/// Standard deviation of margins over labels.
pub(crate) fn spread(margins: &[f32]) -> f32 {
    let count = margins.len().max(1) as f32;
    let mean = margins.iter().sum::<f32>() / count;
    (margins.iter().map(|margin| (margin - mean).powi(2)).sum::<f32>() / count).sqrt()
}

/// A row's part in the weights of each label.
struct Dual<'a> {
    features: &'a FeatureRow,
    /// 1 for labels that the row has, -1 for the others.
    signs: Vec<f32>,
    /// How much of the row is in each label's weights, 0 or more.
    values: Vec<f32>,
    /// Squared length of the features, with the bias.
    square: f32,
    /// What a value costs by itself.
    softness: f32,
}

impl Dual<'_> {
    /// Moves each value to its best place while all others stand; says how far they moved together.
    #[inline(always)]
    fn step(&mut self, margins: &[f32], steps: &mut [f32]) -> f32 {
        let steepness = self.square + self.softness;
        let mut moved = 0.0;
        for (((step, value), sign), margin) in steps.iter_mut().zip(&mut self.values).zip(&self.signs).zip(margins) {
            let slope = sign * margin - 1.0 + *value * self.softness;
            let best = (*value - slope / steepness).max(0.0);
            *step = (best - *value) * sign;
            moved += step.abs();
            *value = best;
        }
        moved
    }
}

impl FeatureRow {
    fn square(&self) -> f32 {
        let dense: f32 = self.dense.iter().map(|value| value * value).sum();
        dense + self.sparse.iter().map(|(_, value)| value * value).sum::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows around two points of the dense part, with an n-gram for every third row.
    fn rows() -> (FeatureRows, Vec<Vec<usize>>) {
        let mut state = 7u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let (mut rows, mut truth) = (Vec::new(), Vec::new());
        for row in 0..90 {
            let label = row % 2;
            let side = if label == 0 { 0.6 } else { -0.6 };
            let dense = vec![side + noise(), noise(), noise()];
            let sparse = if row % 3 == 0 { vec![(1, 0.8)] } else { vec![(0, 0.5), (2, 0.5)] };
            rows.push(FeatureRow { dense, sparse });
            // Label 2 goes along with the n-gram, whatever else the row has.
            truth.push(if row % 3 == 0 { vec![label, 2] } else { vec![label] });
        }
        (FeatureRows { rows, dimension: 3, columns: 3 }, truth)
    }

    fn fitted(cost: f32) -> (FeatureRows, Vec<Vec<usize>>, Weights) {
        let (rows, truth) = rows();
        let which: Vec<usize> = (0..90).collect();
        let wanted = Wanted { labels: 3, truth: &truth, costs: &[cost; 90], seed: 1 };
        let weights = Weights::fit(&rows, &which, &wanted);
        (rows, truth, weights)
    }

    #[test]
    fn labels_that_can_be_told_are_told() {
        let (rows, truth, weights) = fitted(1.0);
        let right = |row: usize| {
            let margins = weights.margins(&rows.rows[row]);
            assert_eq!(margins.len(), 3);
            (0..3).all(|label| (margins[label] > 0.0) == truth[row].contains(&label))
        };
        let right = (0..90).filter(|row| right(*row)).count();
        assert!(right >= 80, "{right} of 90");
    }

    /// At the optimum the weights are what the rows inside the margin add up to: `w = 2 C sum(max(0, 1 - y m) y x)`.
    #[test]
    fn the_weights_are_near_the_optimum() {
        let cost = 0.5;
        let (rows, truth, weights) = fitted(cost);
        for label in 0..3 {
            let mut pulled = [0.0f32; 3];
            for (row, labels) in rows.rows.iter().zip(&truth) {
                let sign = if labels.contains(&label) { 1.0 } else { -1.0 };
                let pull = 2.0 * cost * (1.0 - sign * weights.margins(row)[label]).max(0.0) * sign;
                pulled.iter_mut().zip(&row.dense).for_each(|(sum, value)| *sum += pull * value);
            }
            let fitted: Vec<f32> = weights.dense().skip(label).step_by(3).collect();
            for (fitted, pulled) in fitted.iter().zip(pulled) {
                assert!((fitted - pulled).abs() < 0.1 * (1.0 + fitted.abs()), "label {label}: {fitted} and {pulled}");
            }
        }
    }

    #[test]
    fn a_row_that_costs_more_is_heeded_more() {
        let (rows, mut truth) = rows();
        // One row with the wrong label.
        truth[0] = vec![1];
        let which: Vec<usize> = (0..90).collect();
        let margin = |cost: f32| {
            let mut costs = [1.0; 90];
            costs[0] = cost;
            let weights = Weights::fit(&rows, &which, &Wanted { labels: 3, truth: &truth, costs: &costs, seed: 1 });
            weights.margins(&rows.rows[0])[1]
        };
        assert!(margin(100.0) > margin(1.0) + 0.1);
    }
}
