//! How much the corrections count beside the model, and how sure they make an answer: learnt from how well they foretold each
//! other. Every correction is foretold before it is learnt, so these are answers about texts not seen.

use std::collections::VecDeque;

/// Answers that are kept to learn from.
const KEPT: usize = 512;

/// What the weights are before there is anything to learn from, in the order of [`Signs::features`].
const PRIOR: [f64; 4] = [1.0, 6.0, -0.5, 0.0];

/// How firmly: each weight's prior is that of a normal distribution with this inverse variance.
const PRIOR_PRECISION: f64 = 4.0;

/// A model that is surer than this counts as just so sure: about the topics of one taxonomy, models are hardly ever right to be.
const LEAST_THOUGHT: f32 = 0.03;

/// Steps of Newton's method; it starts from the weights before and converges in two or three.
const STEPS: usize = 6;

/// What speaks for and against a label of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Signs {
    /// Distance from the label's border.
    pub margin: f32,
    /// Squared likeness of the nearest correction with the label, less that of the nearest one without: -1 to 1.
    pub nearness: f32,
    /// How far the corrections have a say at all about this text, 0 to 1.
    pub say: f32,
    /// What the model thinks, if there is one, 0 to 1.
    pub model: Option<f32>,
}

impl Signs {
    fn features(&self) -> [f64; 4] {
        [f64::from(self.margin), f64::from(self.nearness), 1.0, -self.model_log_odds()]
            .map(|feature| feature * f64::from(self.say))
    }

    fn model_log_odds(&self) -> f64 {
        self.model.map_or(0.0, |model| {
            let model = f64::from(model.clamp(LEAST_THOUGHT, 1.0 - LEAST_THOUGHT));
            (model / (1.0 - model)).ln()
        })
    }
}

/// The weights and what they are learnt from.
pub(super) struct Mix {
    weights: [f64; 4],
    answers: VecDeque<Vec<(Signs, bool)>>,
}

impl Mix {
    pub fn new() -> Self {
        Self { weights: PRIOR, answers: VecDeque::new() }
    }

    /// Probability of a label.
    pub fn probability(&self, signs: &Signs) -> f32 {
        let learnt: f64 = self.weights.iter().zip(signs.features()).map(|(weight, feature)| weight * feature).sum();
        logistic(signs.model_log_odds() + learnt) as f32
    }

    /// Learns from what was foretold of one correction and what came true.
    pub fn observe(&mut self, answer: Vec<(Signs, bool)>) {
        self.answers.push_back(answer);
        if self.answers.len() > KEPT {
            self.answers.pop_front();
        }
    }

    /// Fits the weights to the answers kept: logistic regression around the model's own log odds.
    pub fn fit(&mut self) {
        for _ in 0..STEPS {
            let mut gradient = [0.0f64; 4];
            let mut curvature = [[0.0f64; 4]; 4];
            for ((slot, weight), prior) in gradient.iter_mut().zip(self.weights).zip(PRIOR) {
                *slot = PRIOR_PRECISION * (weight - prior);
            }
            for (at, row) in curvature.iter_mut().enumerate() {
                row.iter_mut().skip(at).take(1).for_each(|slot| *slot = PRIOR_PRECISION);
            }
            for (signs, truth) in self.answers.iter().flatten() {
                let features = signs.features();
                let learnt: f64 = self.weights.iter().zip(features).map(|(weight, feature)| weight * feature).sum();
                let probability = logistic(signs.model_log_odds() + learnt);
                let miss = probability - f64::from(u8::from(*truth));
                let steepness = probability * (1.0 - probability);
                for ((slot, row), feature) in gradient.iter_mut().zip(&mut curvature).zip(features) {
                    *slot += miss * feature;
                    row.iter_mut().zip(features).for_each(|(slot, other)| *slot += steepness * feature * other);
                }
            }
            let step = solved(curvature, gradient);
            self.weights.iter_mut().zip(step).for_each(|(weight, step)| *weight -= step.clamp(-4.0, 4.0));
            if step.iter().all(|step| step.abs() < 1e-4) {
                break;
            }
        }
        // Corrections never speak against themselves, whatever a few odd answers say.
        self.weights.iter_mut().take(2).for_each(|weight| *weight = weight.max(0.0));
        self.weights.iter_mut().skip(3).for_each(|weight| *weight = weight.clamp(0.0, 1.0));
    }
}

fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Solves a symmetric positive definite system by elimination.
fn solved(mut matrix: [[f64; 4]; 4], mut right: [f64; 4]) -> [f64; 4] {
    for at in 0..4 {
        let (Some(pivot_row), Some(pivot_right)) = (matrix.get(at).copied(), right.get(at).copied()) else { continue };
        let pivot = pivot_row.get(at).copied().unwrap_or(1.0);
        for ((index, row), value) in matrix.iter_mut().enumerate().zip(&mut right) {
            if index == at {
                continue;
            }
            let factor = row.get(at).copied().unwrap_or(0.0) / pivot;
            row.iter_mut().zip(pivot_row).for_each(|(slot, pivot)| *slot -= factor * pivot);
            *value -= factor * pivot_right;
        }
    }
    let mut solution = right;
    for (at, (slot, row)) in solution.iter_mut().zip(&matrix).enumerate() {
        *slot /= row.get(at).copied().unwrap_or(1.0);
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(margin: f32, nearness: f32, say: f32, model: Option<f32>) -> Signs {
        Signs { margin, nearness, say, model }
    }

    #[test]
    fn a_system_is_solved() {
        let matrix = [[4.0, 1.0, 0.0, 0.5], [1.0, 3.0, 0.2, 0.0], [0.0, 0.2, 2.0, 0.1], [0.5, 0.0, 0.1, 5.0]];
        let expected = [1.0, -2.0, 0.5, 3.0];
        let mut right = [0.0; 4];
        for (slot, row) in right.iter_mut().zip(matrix) {
            *slot = row.iter().zip(expected).map(|(one, other)| one * other).sum();
        }
        for (found, expected) in solved(matrix, right).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} and {expected}");
        }
    }

    #[test]
    fn where_corrections_have_no_say_the_model_stands() {
        let mut mix = Mix::new();
        for _ in 0..50 {
            mix.observe(vec![(signs(1.0, 0.8, 1.0, Some(0.2)), true), (signs(-1.0, -0.5, 1.0, Some(0.9)), false)]);
        }
        mix.fit();
        let kept = mix.probability(&signs(1.0, 0.8, 0.0, Some(0.2)));
        assert!((kept - 0.2).abs() < 1e-6, "{kept}");
    }

    #[test]
    fn what_foretold_well_counts_for_more() {
        let mut mix = Mix::new();
        let question = signs(0.5, 0.0, 1.0, Some(0.5));
        let before = mix.probability(&question);
        for round in 0..200u32 {
            let right = round % 2 == 0;
            let side = if right { 0.5 } else { -0.5 };
            mix.observe(vec![(signs(side, 0.0, 1.0, Some(0.5)), right)]);
        }
        mix.fit();
        assert!(mix.probability(&question) > before + 0.2);
        assert_eq!(mix.answers.len(), 200);
    }
}
