//! Classes from a few examples each: shrinkage linear discriminant analysis on encoder vectors, with calibrated probabilities.
//!
//! Encoder vectors of one language, length or tone lie close together whatever they are about. The covariance within classes
//! knows those directions; dividing by it leaves what tells the classes apart (Fisher 1936; shrinkage towards a sphere after
//! Friedman, "Regularized Discriminant Analysis", 1989). Logits are linear in the vector, so judging costs one dot product a
//! class. The temperature of the softmax is fitted on examples that the judging model had not seen (Guo et al., "On
//! Calibration of Modern Neural Networks", 2017).

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use pulp::Arch;

use crate::inference::vectorise::dot;

/// Weight of the sphere against the measured covariance, 0 to 1. More examples a class would want less.
pub(super) const SHRINKAGE: f64 = 0.5;

/// Parts of the cross-validation that fits the temperature.
const FOLDS: usize = 5;

/// One example: a unit vector and the class it stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Example<'a> {
    pub vector: &'a [f32],
    pub class: usize,
}

/// Why no model can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DiscriminantError {
    #[error("at least two classes are needed, there are {0}")]
    TooFewClasses(usize),
    #[error("class {0} has no examples")]
    EmptyClass(usize),
    #[error("the examples' vectors are not finite or differ in length")]
    BadVectors,
}

/// The directions in which examples of one class differ, as a factor of their shrunk covariance.
pub(super) struct Whitening {
    factor: Cholesky<f64, Dyn>,
}

impl Whitening {
    /// Measures the covariance of examples around the mean (a column of `means`) of their own class.
    pub fn fit(examples: &[Example<'_>], means: &DMatrix<f64>, shrinkage: f64) -> Result<Self, DiscriminantError> {
        let dimension = means.nrows();
        let mut centred = DMatrix::<f64>::zeros(dimension, examples.len());
        for (mut column, example) in centred.column_iter_mut().zip(examples) {
            let mean = means.column(example.class);
            column
                .iter_mut()
                .zip(example.vector)
                .zip(mean.iter())
                .for_each(|((out, value), mean)| *out = f64::from(*value) - mean);
        }
        let freedom = examples.len().saturating_sub(means.ncols()).max(1) as f64;
        let mut covariance = (&centred * centred.transpose()) / freedom;
        let sphere = (covariance.trace() / dimension as f64).max(1e-9);
        covariance.scale_mut(1.0 - shrinkage);
        for diagonal in 0..dimension {
            if let Some(value) = covariance.get_mut((diagonal, diagonal)) {
                *value += shrinkage * sphere;
            }
        }
        Cholesky::new(covariance).map(|factor| Self { factor }).ok_or(DiscriminantError::BadVectors)
    }

    /// Rows that tell classes with these means (columns) apart.
    pub fn separate(&self, mut means: DMatrix<f64>) -> Linear {
        let middle: DVector<f64> = means.column_mean();
        for mut column in means.column_iter_mut() {
            column -= &middle;
        }
        let solved = self.factor.solve(&means);
        let mut weights = Vec::with_capacity(means.ncols());
        let mut biases = Vec::with_capacity(means.ncols());
        for (weight, mean) in solved.column_iter().zip(means.column_iter()) {
            // The logit is weight . (vector - middle) - weight . mean / 2.
            biases.push((-0.5 * weight.dot(&mean) - weight.dot(&middle)) as f32);
            weights.push(weight.iter().map(|value| *value as f32).collect());
        }
        Linear { weights, biases }
    }
}

/// Mean of each class, one a column.
pub(super) fn class_means(
    examples: &[Example<'_>],
    classes: usize,
    dimension: usize,
) -> Result<DMatrix<f64>, DiscriminantError> {
    let mut means = DMatrix::<f64>::zeros(dimension, classes);
    let mut counts = vec![0usize; classes];
    for example in examples {
        let count = counts.get_mut(example.class).ok_or(DiscriminantError::BadVectors)?;
        *count += 1;
        let mut column = means.column_mut(example.class);
        column.iter_mut().zip(example.vector).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    for (class, count) in counts.iter().enumerate() {
        if *count == 0 {
            return Err(DiscriminantError::EmptyClass(class));
        }
        means.column_mut(class).scale_mut(1.0 / *count as f64);
    }
    Ok(means)
}

/// A linear classifier: one row of weights and a bias a class.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// `[class][dimension]`
    pub weights: Vec<Vec<f32>>,
    pub biases: Vec<f32>,
}

impl Linear {
    /// The discriminant of examples of the classes `0..classes`, under this weight of the sphere against the measured covariance.
    pub fn fit(
        examples: &[Example<'_>],
        classes: usize,
        dimension: usize,
        shrinkage: f64,
    ) -> Result<Self, DiscriminantError> {
        let means = class_means(examples, classes, dimension)?;
        Ok(Whitening::fit(examples, &means, shrinkage)?.separate(means))
    }

    pub fn logits(&self, vector: &[f32]) -> Vec<f32> {
        let mut logits = products(self.weights.iter().map(Vec::as_slice), vector);
        logits.iter_mut().zip(&self.biases).for_each(|(logit, bias)| *logit += bias);
        logits
    }
}

/// Inner product of each row with a vector, of which as much counts as the row is long.
pub(super) fn products<'a>(rows: impl Iterator<Item = &'a [f32]>, vector: &[f32]) -> Vec<f32> {
    let product = |row: &[f32]| vector.get(..row.len()).map_or(0.0, |vector| dot(row, vector));
    Arch::new().dispatch(|| rows.map(product).collect())
}

/// How well probabilities fit, on examples the judging model had not seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct HeldOut {
    /// Share of examples whose most probable class is their own, 0 to 1.
    pub accuracy: f32,
    /// Mean negative logarithm of the probability of the right class.
    pub log_loss: f32,
}

/// A calibrated classifier made from examples.
#[derive(Debug, Clone)]
pub(super) struct Discriminant {
    linear: Linear,
    temperature: f32,
    held_out: HeldOut,
    judged: Vec<(usize, Vec<f32>)>,
}

impl Discriminant {
    /// Fits on examples of the classes `0..classes`, all vectors of one length.
    pub fn fit(examples: &[Example<'_>], classes: usize) -> Result<Self, DiscriminantError> {
        if classes < 2 {
            return Err(DiscriminantError::TooFewClasses(classes));
        }
        let dimension = examples.first().map_or(0, |example| example.vector.len());
        let sound = |vector: &[f32]| vector.len() == dimension && vector.iter().all(|value| value.is_finite());
        if dimension == 0 || !examples.iter().all(|example| sound(example.vector)) {
            return Err(DiscriminantError::BadVectors);
        }
        let linear = Linear::fit(examples, classes, dimension, SHRINKAGE)?;
        let (temperature, held_out, mut judged) = calibrate(examples, classes, dimension)?;
        judged.iter_mut().for_each(|(_, logits)| *logits = softmax(logits, temperature));
        Ok(Self { linear, temperature, held_out, judged })
    }

    /// Probability of each class; they add up to 1.
    pub fn probabilities(&self, vector: &[f32]) -> Vec<f32> {
        softmax(&self.linear.logits(vector), self.temperature)
    }

    /// Accuracy and log loss in cross-validation.
    pub fn held_out(&self) -> HeldOut {
        self.held_out
    }

    /// Examples by their index with their probabilities in cross-validation. They are given away once.
    pub fn take_judged(&mut self) -> Vec<(usize, Vec<f32>)> {
        std::mem::take(&mut self.judged)
    }
}

/// One part of a cross-validation.
pub(super) struct Fold<'a> {
    /// What is fitted on.
    pub kept: Vec<Example<'a>>,
    /// What is judged then.
    pub held: Vec<Example<'a>>,
    /// Index of each of those among all examples.
    pub held_at: Vec<usize>,
}

/// Splits examples into parts that each have all classes in proportion: the n-th example of a class goes to part n modulo their
/// number. Empty if a class has only one example, which can't be judged without it.
pub(super) fn folds<'a>(examples: &[Example<'a>], classes: usize) -> Vec<Fold<'a>> {
    let mut seen = vec![0usize; classes];
    let mut parts = Vec::with_capacity(examples.len());
    for example in examples {
        if let Some(count) = seen.get_mut(example.class) {
            parts.push(*count % FOLDS);
            *count += 1;
        }
    }
    if seen.iter().any(|count| *count < 2) {
        return Vec::new();
    }
    (0..FOLDS)
        .map(|fold| {
            let of = |held: bool| {
                let chosen = examples.iter().zip(&parts).filter(move |(_, part)| (**part == fold) == held);
                chosen.map(|(example, _)| *example).collect()
            };
            let held_at = (0..parts.len()).filter(|at| parts.get(*at) == Some(&fold)).collect();
            Fold { kept: of(false), held: of(true), held_at }
        })
        .collect()
}

/// Finds the temperature under which held-out examples are most probable.
fn calibrate(examples: &[Example<'_>], classes: usize, dimension: usize) -> Result<Calibrated, DiscriminantError> {
    let mut judged: Vec<(Vec<f32>, usize)> = Vec::with_capacity(examples.len());
    let mut places: Vec<usize> = Vec::with_capacity(examples.len());
    for Fold { kept, held, held_at } in folds(examples, classes) {
        let linear = Linear::fit(&kept, classes, dimension, SHRINKAGE)?;
        judged.extend(held.into_iter().map(|example| (linear.logits(example.vector), example.class)));
        places.extend(held_at);
    }
    if judged.is_empty() {
        return Ok((1.0, HeldOut { accuracy: 0.0, log_loss: (classes as f32).ln() }, Vec::new()));
    }
    let loss = |temperature: f32| {
        let sum: f32 = judged
            .iter()
            .map(|(logits, class)| {
                let right = softmax(logits, temperature).get(*class).copied().unwrap_or(0.0);
                -right.max(1e-9).ln()
            })
            .sum();
        sum / judged.len() as f32
    };
    // The loss has one minimum in the temperature; a walk over its logarithm finds it to 4 %.
    let (temperature, log_loss) = (0..=160)
        .map(|step| 0.1 * (step as f32 * 0.04).exp())
        .map(|temperature| (temperature, loss(temperature)))
        .min_by(|one, other| one.1.total_cmp(&other.1))
        .unwrap_or((1.0, f32::MAX));
    let right = judged.iter().filter(|(logits, class)| arg_max(logits) == Some(*class)).count();
    let held_out = HeldOut { accuracy: right as f32 / judged.len() as f32, log_loss };
    Ok((temperature, held_out, places.into_iter().zip(judged).map(|(at, (logits, _))| (at, logits)).collect()))
}

/// The temperature, how well it fits, and the logits of examples, by their index, by models that had not seen them.
type Calibrated = (f32, HeldOut, Vec<(usize, Vec<f32>)>);

/// Index of the largest value.
pub(super) fn arg_max(values: &[f32]) -> Option<usize> {
    values.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1)).map(|(index, _)| index)
}

fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| ((logit - top) / temperature).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points of three classes along the first axes, with a far stronger spread along the last axis that means nothing.
    fn points() -> Vec<(Vec<f32>, usize)> {
        let mut state = 7u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..90)
            .map(|index| {
                let class = index % 3;
                let mut point: Vec<f32> = (0..8).map(|_| 0.2 * noise()).collect();
                point[class] += 0.5;
                point[7] += 6.0 * noise();
                (point, class)
            })
            .collect()
    }

    #[test]
    fn classes_are_found_under_a_stronger_direction_that_means_nothing() {
        let points = points();
        let examples: Vec<Example<'_>> =
            points.iter().map(|(vector, class)| Example { vector, class: *class }).collect();
        let model = Discriminant::fit(&examples, 3).unwrap();
        assert!(model.held_out().accuracy > 0.95, "{:?}", model.held_out());
        let mut probe = vec![0.0f32; 8];
        probe[1] = 0.5;
        probe[7] = 2.5;
        let probabilities = model.probabilities(&probe);
        assert_eq!(arg_max(&probabilities), Some(1));
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn confidence_falls_when_labels_are_noise() {
        let points = points();
        let noise: Vec<Example<'_>> =
            points.iter().enumerate().map(|(index, (vector, _))| Example { vector, class: (index / 3) % 3 }).collect();
        let model = Discriminant::fit(&noise, 3).unwrap();
        let mean_top: f32 =
            points.iter().map(|(vector, _)| model.probabilities(vector).into_iter().fold(0.0, f32::max)).sum::<f32>()
                / points.len() as f32;
        assert!(mean_top < 0.5, "{mean_top}");
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let vector = vec![1.0f32, 0.0];
        let broken = vec![f32::NAN, 0.0];
        let short = vec![1.0f32];
        let example = |vector, class| Example { vector, class };
        let table = [
            (vec![example(&vector, 0)], 1, DiscriminantError::TooFewClasses(1)),
            (vec![example(&vector, 0)], 2, DiscriminantError::EmptyClass(1)),
            (vec![example(&vector, 0), example(&broken, 1)], 2, DiscriminantError::BadVectors),
            (vec![example(&vector, 0), example(&short, 1)], 2, DiscriminantError::BadVectors),
        ];
        for (examples, classes, expected) in table {
            assert_eq!(Discriminant::fit(&examples, classes).err(), Some(expected));
        }
    }
}
