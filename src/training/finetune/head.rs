//! The classification layer and the losses on a batch of vectors.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::matrix::Matrix;
use super::norm::{add_to_rows, column_sums};
use super::options::{Contrast, FineTuneOptions, Objective, Products};
use super::parameter::{Parameter, Treatment};

/// Logits are the products with unit vectors times this, so that weights of the usual size reach every probability.
const SCALE: f32 = 20.0;

/// A linear layer from unit vectors to one logit per class.
#[derive(Debug)]
pub(super) struct Head {
    weight: Parameter,
    bias: Parameter,
}

/// A loss, and its gradient by the vectors that it was computed from.
#[derive(Debug)]
pub(super) struct Loss {
    pub value: f64,
    pub gradient: Matrix,
}

/// Labels of a row, with its weight in the loss.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub labels: &'a [u32],
    pub weight: f32,
}

impl Head {
    pub fn new(classes: usize, hidden: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::MAX);
        let weight = (0..classes * hidden).map(|_| random.random_range(-0.02..0.02)).collect();
        let treatment = Treatment { depth: 0, decays: true, head: true };
        Self {
            weight: Parameter::new("head.weight", Matrix::new(hidden, weight), treatment),
            bias: Parameter::new("head.bias", Matrix::zeros(1, classes), Treatment { decays: false, ..treatment }),
        }
    }

    pub fn parameters(&self) -> [&Parameter; 2] {
        [&self.weight, &self.bias]
    }

    pub fn parameters_mut(&mut self) -> [&mut Parameter; 2] {
        [&mut self.weight, &mut self.bias]
    }

    /// One logit per class for each vector.
    pub fn logits(&self, vectors: &Matrix) -> candle_core::Result<Matrix> {
        let mut logits = vectors.times_transposed(&self.weight.value, Products::Exact)?;
        logits.values_mut().iter_mut().for_each(|logit| *logit *= SCALE);
        add_to_rows(&mut logits, self.bias.values());
        Ok(logits)
    }

    /// Classification loss of some rows of a batch whose weights add up to `total`; adds up the head's gradients. With
    /// [`FineTuneOptions::consistency`], every two rows are twins.
    pub fn classify(
        &mut self,
        vectors: &Matrix,
        targets: &[Target<'_>],
        total: f32,
        options: &FineTuneOptions,
    ) -> candle_core::Result<Loss> {
        let mut logits = self.logits(vectors)?;
        let mut value = 0.0;
        let mut drawn = Matrix::zeros(0, options.classes);
        if options.consistency > 0.0 {
            (value, drawn) = agree(&logits, targets, total, options);
        }
        for (row, target) in logits.values_mut().chunks_exact_mut(options.classes).zip(targets) {
            let share = target.weight / total;
            value += f64::from(share)
                * match options.objective {
                    Objective::SingleLabel => cross_entropy(row, target.labels, options.label_smoothing as f32),
                    Objective::MultiLabel => binary_cross_entropy(row, target.labels),
                };
            row.iter_mut().for_each(|slope| *slope *= share);
        }
        logits.values_mut().iter_mut().zip(drawn.values()).for_each(|(slope, drawn)| *slope += drawn);
        self.bias.add_gradient_row(column_sums(&logits));
        logits.values_mut().iter_mut().for_each(|slope| *slope *= SCALE);
        self.weight.add_gradient(logits.transposed_times(vectors, Products::Exact)?);
        Ok(Loss { value, gradient: logits.times(&self.weight.value, Products::Exact)? })
    }
}

/// Turns logits into shares that add up to 1; gives the logarithm of the sum of their exponentials.
fn softmax(row: &mut [f32]) -> f64 {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|value| *value = (*value - top).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
    f64::from(top) + f64::from(sum).ln()
}

/// What twins say differently: half the sum of the divergences of each from the other, times its weight, and the gradient by logits.
fn agree(logits: &Matrix, targets: &[Target<'_>], total: f32, options: &FineTuneOptions) -> (f64, Matrix) {
    let classes = options.classes;
    let mut slopes = Matrix::zeros(logits.rows(), classes);
    let mut value = 0.0;
    let pairs = logits.values().chunks_exact(2 * classes).zip(slopes.values_mut().chunks_exact_mut(2 * classes));
    for ((logits, slopes), twins) in pairs.zip(targets.chunks_exact(2)) {
        let (one, other) = logits.split_at(classes);
        let (slopes_of_one, slopes_of_other) = slopes.split_at_mut(classes);
        let (p, q) = (shares(one, options.objective), shares(other, options.objective));
        let weight = twins.iter().map(|twin| twin.weight).sum::<f32>() / total * options.consistency as f32 / 2.0;
        // The divergences add up to the sum of (p - q) times the difference of the logits.
        let apart: Vec<f32> = one.iter().zip(other).map(|(one, other)| one - other).collect();
        let sum: f32 = p.iter().zip(&q).zip(&apart).map(|((p, q), apart)| (p - q) * apart).sum();
        value += f64::from(weight * sum);
        for (slopes, own, of_twin, sign) in [(slopes_of_one, &p, &q, 1.0), (slopes_of_other, &q, &p, -1.0)] {
            let mean: f32 = own.iter().zip(&apart).map(|(share, apart)| share * apart).sum();
            for (((slope, own), of_twin), apart) in slopes.iter_mut().zip(own).zip(of_twin).zip(&apart) {
                let moved = match options.objective {
                    Objective::SingleLabel => own * (apart - mean),
                    Objective::MultiLabel => own * (1.0 - own) * apart,
                };
                *slope = weight * (own - of_twin + sign * moved);
            }
        }
    }
    (value, slopes)
}

/// Probabilities of a row.
fn shares(logits: &[f32], objective: Objective) -> Vec<f32> {
    let mut shares = logits.to_vec();
    match objective {
        Objective::SingleLabel => {
            softmax(&mut shares);
        }
        Objective::MultiLabel => shares.iter_mut().for_each(|logit| *logit = 1.0 / (1.0 + (-*logit).exp())),
    }
    shares
}

/// Loss of a row; its logits become their gradient.
fn cross_entropy(row: &mut [f32], labels: &[u32], smoothing: f32) -> f64 {
    let label = labels.first().map_or(0, |label| *label as usize);
    let mean = row.iter().map(|logit| f64::from(*logit)).sum::<f64>() / row.len() as f64;
    let right = f64::from(row.get(label).copied().unwrap_or_default());
    let log_sum = softmax(row);
    let spread = smoothing / row.len() as f32;
    row.iter_mut().for_each(|slope| *slope -= spread);
    if let Some(slope) = row.get_mut(label) {
        *slope -= 1.0 - smoothing;
    }
    log_sum - (1.0 - f64::from(smoothing)) * right - f64::from(smoothing) * mean
}

/// Loss of a row, summed over classes; its logits become their gradient.
fn binary_cross_entropy(row: &mut [f32], labels: &[u32]) -> f64 {
    let mut loss = 0.0;
    for (class, logit) in (0u32..).zip(row) {
        let wanted = if labels.contains(&class) { 1.0 } else { 0.0 };
        loss += f64::from(logit.max(0.0) - *logit * wanted) + f64::from((-logit.abs()).exp()).ln_1p();
        *logit = 1.0 / (1.0 + (-*logit).exp()) - wanted;
    }
    loss
}

/// Supervised contrastive loss of a whole batch, with its gradient. Rows that have no like in the batch take no part as anchors.
pub(super) fn contrast(vectors: &Matrix, targets: &[Target<'_>], options: Contrast) -> candle_core::Result<Loss> {
    let temperature = options.temperature as f32;
    let mut slopes = vectors.times_transposed(vectors, Products::Exact)?;
    let like = |one: usize, other: usize| {
        one != other
            && matches!((targets.get(one), targets.get(other)), (Some(one), Some(other)) if one.labels == other.labels)
    };
    let likes: Vec<usize> =
        (0..targets.len()).map(|row| (0..targets.len()).filter(|other| like(row, *other)).count()).collect();
    let anchors = likes.iter().filter(|count| **count > 0).count();
    let mut value = 0.0;
    for (anchor, (row, count)) in slopes.values_mut().chunks_exact_mut(targets.len().max(1)).zip(&likes).enumerate() {
        if *count == 0 {
            row.fill(0.0);
            continue;
        }
        let factor = (options.weight / anchors as f64) as f32;
        row.iter_mut().for_each(|cosine| *cosine /= temperature);
        let drawn: f64 =
            (0..).zip(row.iter()).filter(|(other, _)| like(anchor, *other)).map(|(_, s)| f64::from(*s)).sum();
        if let Some(own) = row.get_mut(anchor) {
            *own = f32::NEG_INFINITY;
        }
        let log_sum = softmax(row);
        value += f64::from(factor) * (log_sum - drawn / *count as f64);
        for (other, slope) in row.iter_mut().enumerate() {
            let wanted = if like(anchor, other) { 1.0 / *count as f32 } else { 0.0 };
            *slope = (*slope - wanted) * factor / temperature;
        }
    }
    let mut gradient = slopes.times(vectors, Products::Exact)?;
    let back = slopes.transposed_times(vectors, Products::Exact)?;
    super::norm::add_matrix(&mut gradient, &back);
    Ok(Loss { value, gradient })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::finetune::check::{Differences, noise};

    fn targets(labels: &[Vec<u32>]) -> Vec<Target<'_>> {
        labels
            .iter()
            .zip([1.0, 0.5, 2.0].iter().cycle())
            .map(|(labels, weight)| Target { labels, weight: *weight })
            .collect()
    }

    #[test]
    fn gradients_of_the_classification_losses_are_those_of_differences() {
        let (rows, hidden, classes) = (6, 8, 5);
        let single: Vec<Vec<u32>> = [0, 1, 4, 4, 2, 1].into_iter().map(|label| vec![label]).collect();
        let many = vec![vec![], vec![0, 3], vec![1], vec![0, 1, 2, 3, 4], vec![2], vec![4, 1]];
        for (objective, labels, label_smoothing, consistency) in [
            (Objective::SingleLabel, &single, 0.0, 0.0),
            (Objective::SingleLabel, &single, 0.2, 0.0),
            (Objective::MultiLabel, &many, 0.0, 0.0),
            (Objective::SingleLabel, &single, 0.2, 0.7),
            (Objective::MultiLabel, &many, 0.0, 0.7),
        ] {
            let options = FineTuneOptions { objective, label_smoothing, consistency, ..FineTuneOptions::full(classes) };
            let run = |inputs: &[Vec<f32>]| {
                let mut head = Head::new(classes, hidden, 1);
                let vectors = Matrix::new(hidden, inputs[0].clone());
                for (parameter, values) in head.parameters_mut().into_iter().zip(&inputs[1..]) {
                    parameter.value.values_mut().copy_from_slice(values);
                }
                let loss = head.classify(&vectors, &targets(labels), 7.0, &options).unwrap();
                (loss, head)
            };
            let inputs = [
                noise(1, rows * hidden).iter().map(|value| value * 0.1).collect(),
                noise(2, classes * hidden),
                noise(3, classes),
            ];
            let (loss, head) = run(&inputs);
            let gradient = |parameter: &Parameter| parameter.gradient().unwrap().values().to_vec();
            let gradients = [loss.gradient.into_values(), gradient(&head.weight), gradient(&head.bias)];
            Differences { step: 3e-3, tolerance: 3e-3 }.check(&inputs, &gradients, |inputs| run(inputs).0.value);
        }
    }

    #[test]
    fn gradients_of_the_contrastive_loss_are_those_of_differences() {
        let (rows, hidden) = (7, 6);
        let labels: Vec<Vec<u32>> = [0, 1, 0, 2, 1, 0, 3].into_iter().map(|label| vec![label]).collect();
        let options = Contrast { weight: 0.7, temperature: 0.5, rows_per_class: 2 };
        let run = |inputs: &[Vec<f32>]| {
            contrast(&Matrix::new(hidden, inputs[0].clone()), &targets(&labels), options).unwrap()
        };
        let inputs = [noise(1, rows * hidden)];
        let gradient = run(&inputs).gradient.into_values();
        Differences { step: 3e-3, tolerance: 3e-3 }.check(&inputs, &[gradient], |inputs| run(inputs).value);
    }

    #[test]
    fn a_batch_without_likes_has_no_contrast() {
        let labels: Vec<Vec<u32>> = (0..4).map(|label| vec![label]).collect();
        let options = Contrast { weight: 1.0, temperature: 0.1, rows_per_class: 2 };
        let loss = contrast(&Matrix::new(3, noise(1, 12)), &targets(&labels), options).unwrap();
        assert_eq!(loss.value, 0.0);
        assert!(loss.gradient.values().iter().all(|slope| *slope == 0.0));
    }
}
