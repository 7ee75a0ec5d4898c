//! Analytic gradients against finite differences.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers between -1 and 1 that follow from `seed`.
pub(super) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// How finely a function is probed, and how far slope and difference may lie apart, as a share of the larger.
pub(super) struct Differences {
    pub step: f32,
    pub tolerance: f64,
}

impl Differences {
    /// Moves each input along random directions, and compares how `value` changes with what `gradients` say.
    pub fn check(&self, inputs: &[Vec<f32>], gradients: &[Vec<f32>], value: impl Fn(&[Vec<f32>]) -> f64) {
        assert_eq!(inputs.len(), gradients.len());
        for (index, gradient) in gradients.iter().enumerate() {
            assert_eq!(inputs[index].len(), gradient.len(), "input {index}");
            for seed in 0..4 {
                let random = noise(100 + seed, gradient.len());
                // Half of each direction follows the gradient, so that the slope is never lost in rounding.
                let size = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
                let (long, wide) = (size(gradient), size(&random));
                let direction: Vec<f32> =
                    gradient.iter().zip(&random).map(|(slope, random)| slope / long + random / wide).collect();
                let slope: f64 = gradient.iter().zip(&direction).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let moved = |step: f32| {
                    let mut inputs = inputs.to_vec();
                    inputs[index].iter_mut().zip(&direction).for_each(|(value, along)| *value += step * along);
                    value(&inputs)
                };
                let difference = (moved(self.step) - moved(-self.step)) / (2.0 * f64::from(self.step));
                let apart = (slope - difference).abs() / slope.abs().max(difference.abs()).max(1e-6);
                assert!(
                    apart <= self.tolerance,
                    "input {index}, direction {seed}: slope {slope}, difference {difference}"
                );
            }
        }
    }
}
