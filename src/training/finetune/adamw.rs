//! The optimiser AdamW and its learning rate (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).

use rayon::prelude::*;

use super::options::{Decay, FineTuneOptions};
use super::parameter::Parameter;
use crate::inference::vectorise::{dot, vectorised};

const FIRST_KEPT: f64 = 0.9;
const SECOND_KEPT: f64 = 0.999;
const EPSILON: f32 = 1e-8;

/// Numbers that one task takes.
pub(super) const BLOCK: usize = 65_536;

/// Share of the highest learning rate at a step, 0 to 1.
pub(super) fn rate_share(options: &FineTuneOptions, step: u64, steps: u64) -> f64 {
    let warm = (options.warm_up * steps as f64).ceil();
    let at = step as f64;
    if at < warm {
        return (at + 1.0) / warm;
    }
    let left = 1.0 - (at - warm) / (steps as f64 - warm).max(1.0);
    match options.decay {
        Decay::Linear => left,
        Decay::Cosine => 0.5 - 0.5 * (std::f64::consts::PI * left).cos(),
    }
}

/// Norm of all gradients together.
pub(super) fn gradient_norm(parameters: &[&mut Parameter]) -> f64 {
    let squares = |values: &[f32]| -> f64 {
        // Collected before they are added, so that the order of additions is fixed.
        let parts: Vec<f64> = values
            .par_chunks(BLOCK)
            .map(|part| {
                f64::from(vectorised(
                    #[inline(always)]
                    || dot(part, part),
                ))
            })
            .collect();
        parts.iter().sum()
    };
    parameters
        .iter()
        .filter_map(|parameter| parameter.gradient())
        .map(|gradient| squares(gradient.values()))
        .sum::<f64>()
        .sqrt()
}

/// One update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub options: &'a FineTuneOptions,
    /// Steps done before.
    pub step: u64,
    /// Share of the highest learning rate.
    pub rate_share: f64,
    /// Factor on all gradients.
    pub gradient_scale: f64,
}

impl Step<'_> {
    fn learning_rate(&self, parameter: &Parameter) -> f64 {
        let options = self.options;
        self.rate_share
            * if parameter.treatment.head {
                options.head_learning_rate
            } else {
                options.learning_rate * options.layer_decay.powi(parameter.treatment.depth as i32)
            }
    }

    /// Moves a parameter along its gradient, which is used up.
    pub fn apply(&self, parameter: &mut Parameter) {
        let Some(gradient) = parameter.take_gradient() else { return };
        let rate = self.learning_rate(parameter);
        let count = self.step as i32 + 1;
        let (first_share, second_share) = (1.0 - FIRST_KEPT.powi(count), 1.0 - SECOND_KEPT.powi(count));
        let size = (rate / first_share) as f32;
        let root = (1.0 / second_share).sqrt() as f32;
        let kept = if parameter.treatment.decays { (1.0 - rate * self.options.weight_decay) as f32 } else { 1.0 };
        let scale = self.gradient_scale as f32;
        let (old_first, new_first) = (FIRST_KEPT as f32, (1.0 - FIRST_KEPT) as f32);
        let (old_second, new_second) = (SECOND_KEPT as f32, (1.0 - SECOND_KEPT) as f32);
        let Parameter { value, first_moment, second_moment, .. } = parameter;
        value
            .values_mut()
            .par_chunks_mut(BLOCK)
            .zip(first_moment.par_chunks_mut(BLOCK))
            .zip(second_moment.par_chunks_mut(BLOCK))
            .zip(gradient.values().par_chunks(BLOCK))
            .for_each(|(((value, first), second), gradient)| {
                vectorised(
                    #[inline(always)]
                    || {
                        for (((value, first), second), gradient) in
                            value.iter_mut().zip(first).zip(second).zip(gradient)
                        {
                            let gradient = gradient * scale;
                            *first = old_first * *first + new_first * gradient;
                            *second = old_second * *second + new_second * gradient * gradient;
                            *value = *value * kept - size * *first / (second.sqrt() * root + EPSILON);
                        }
                    },
                );
            });
        parameter.refresh();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::finetune::matrix::Matrix;
    use crate::training::finetune::parameter::Treatment;

    #[test]
    fn the_rate_rises_and_falls_to_nothing() {
        for decay in [Decay::Linear, Decay::Cosine] {
            let options = FineTuneOptions { warm_up: 0.1, decay, ..FineTuneOptions::full(2) };
            let shares: Vec<f64> = (0..100).map(|step| rate_share(&options, step, 100)).collect();
            assert!(
                (shares[0] - 0.1).abs() < 1e-9 && (shares[9] - 1.0).abs() < 1e-9 && (shares[10] - 1.0).abs() < 1e-9
            );
            assert!(shares[11..].windows(2).all(|pair| pair[1] < pair[0]));
            assert!(shares[99] > 0.0 && shares[99] < 0.02, "{}", shares[99]);
        }
        let options = FineTuneOptions { warm_up: 0.0, ..FineTuneOptions::full(2) };
        assert_eq!(rate_share(&options, 0, 10), 1.0);
    }

    #[test]
    fn a_step_is_that_of_the_paper() {
        let options =
            FineTuneOptions { learning_rate: 0.1, layer_decay: 0.5, weight_decay: 0.2, ..FineTuneOptions::full(2) };
        let gradients = [0.5f64, -2.0, 0.25];
        for (decays, depth) in [(true, 0), (false, 2)] {
            let treatment = Treatment { depth, decays, head: false };
            let mut parameter = Parameter::new("weight", Matrix::new(1, vec![3.0]), treatment);
            let rate = 0.1 * 0.5f64.powi(depth as i32);
            let (mut value, mut first, mut second) = (3.0f64, 0.0f64, 0.0f64);
            for (step, gradient) in gradients.into_iter().enumerate() {
                parameter.add_gradient_row(vec![2.0 * gradient as f32]);
                Step { options: &options, step: step as u64, rate_share: 1.0, gradient_scale: 0.5 }
                    .apply(&mut parameter);
                first = 0.9 * first + 0.1 * gradient;
                second = 0.999 * second + 0.001 * gradient * gradient;
                let count = step as i32 + 1;
                let (mean, square) = (first / (1.0 - 0.9f64.powi(count)), second / (1.0 - 0.999f64.powi(count)));
                let decay = if decays { rate * 0.2 * value } else { 0.0 };
                value -= decay + rate * mean / (square.sqrt() + 1e-8);
                let given = f64::from(parameter.values()[0]);
                assert!((given - value).abs() < 1e-5, "step {step}: {given} and {value}");
            }
        }
    }
}
