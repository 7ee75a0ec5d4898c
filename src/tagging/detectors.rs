//! Detectors of signals: for each, the probability that a sentence carries it, whatever else it carries.
//!
//! Each is a discriminant of its own examples against all others, on a covariance that all share; its margin becomes a
//! probability by a logistic curve fitted on held-out examples (Platt, "Probabilistic Outputs for Support Vector Machines",
//! 1999), so that a signal with few examples among many others is as rare as it should be.

use nalgebra::DMatrix;

use super::discriminant::{
    DiscriminantError, Example, Fold, Linear, SHRINKAGE, Whitening, class_means, folds, products,
};

/// One detector: `sigmoid(slope * margin + intercept)`.
#[derive(Debug, Clone)]
struct Detector {
    border: Border,
    slope: f32,
    intercept: f32,
}

/// What tells a signal from the rest: `weights . vector + bias` says how much more a vector looks like the signal.
#[derive(Debug, Clone)]
struct Border {
    weights: Vec<f32>,
    bias: f32,
}

impl Border {
    /// Between the classes 0, without the signal, and 1, with it.
    fn of(linear: &Linear) -> Self {
        let (weights, bias) = match (linear.weights.as_slice(), linear.biases.as_slice()) {
            ([without, with], [no, yes]) => {
                (with.iter().zip(without).map(|(with, without)| with - without).collect(), yes - no)
            }
            _ => (Vec::new(), 0.0),
        };
        Self { weights, bias }
    }
}

/// A detector for each of the classes `0..signals`; examples of the class `signals` carry no signal.
#[derive(Debug, Clone)]
pub(super) struct Detectors {
    detectors: Vec<Detector>,
    judged: Vec<Vec<(usize, f32)>>,
}

impl Detectors {
    /// Fits on examples of the classes `0..=signals`, all vectors of one length.
    pub fn fit(examples: &[Example<'_>], signals: usize) -> Result<Self, DiscriminantError> {
        let borders = fit_borders(examples, signals)?;
        let mut judged: Vec<Vec<(f32, bool)>> = vec![Vec::new(); signals];
        let mut places = Vec::with_capacity(examples.len());
        for Fold { kept, held, held_at } in folds(examples, signals + 1) {
            let borders = fit_borders(&kept, signals)?;
            for example in &held {
                let of_example = margins(borders.iter(), example.vector);
                for ((signal, margin), margins) in of_example.into_iter().enumerate().zip(&mut judged) {
                    margins.push((margin, example.class == signal));
                }
            }
            places.extend(held_at);
        }
        let (mut detectors, mut of_signals) = (Vec::with_capacity(signals), Vec::with_capacity(signals));
        for (border, margins) in borders.into_iter().zip(judged) {
            let (slope, intercept) = logistic_curve(&margins);
            let probabilities = margins.iter().map(|(margin, _)| sigmoid(slope * margin + intercept));
            of_signals.push(places.iter().copied().zip(probabilities).collect());
            detectors.push(Detector { border, slope, intercept });
        }
        Ok(Self { detectors, judged: of_signals })
    }

    /// For each signal, examples by their index with its probability in cross-validation. They are given away once.
    pub fn take_judged(&mut self) -> Vec<Vec<(usize, f32)>> {
        std::mem::take(&mut self.judged)
    }

    /// Probability of each signal.
    pub fn probabilities(&self, vector: &[f32]) -> Vec<f32> {
        let margins = margins(self.detectors.iter().map(|detector| &detector.border), vector);
        let probability = |(detector, margin): (&Detector, f32)| sigmoid(detector.slope * margin + detector.intercept);
        self.detectors.iter().zip(margins).map(probability).collect()
    }
}

fn fit_borders(examples: &[Example<'_>], signals: usize) -> Result<Vec<Border>, DiscriminantError> {
    let dimension = examples.first().map_or(0, |example| example.vector.len());
    let means = class_means(examples, signals + 1, dimension)?;
    let whitening = Whitening::fit(examples, &means, SHRINKAGE)?;
    (0..signals)
        .map(|signal| {
            let sides: Vec<Example<'_>> = examples
                .iter()
                .map(|example| Example { class: usize::from(example.class == signal), ..*example })
                .collect();
            let sides: DMatrix<f64> = class_means(&sides, 2, dimension)?;
            Ok(Border::of(&whitening.separate(sides)))
        })
        .collect()
}

/// How much more a vector looks like each signal than like the rest.
fn margins<'a>(borders: impl Iterator<Item = &'a Border> + Clone, vector: &[f32]) -> Vec<f32> {
    let mut margins = products(borders.clone().map(|border| border.weights.as_slice()), vector);
    margins.iter_mut().zip(borders).for_each(|(margin, border)| *margin += border.bias);
    margins
}

fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}

/// Slope and intercept of the logistic curve under which margins give their labels, by Newton's method with Platt's smoothed
/// targets; without margins of both kinds, the plain curve.
pub(crate) fn logistic_curve(margins: &[(f32, bool)]) -> (f32, f32) {
    const STEPS: usize = 50;
    let positives = margins.iter().filter(|(_, positive)| *positive).count() as f64;
    let negatives = margins.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return (1.0, 0.0);
    }
    let target =
        |positive: bool| if positive { (positives + 1.0) / (positives + 2.0) } else { 1.0 / (negatives + 2.0) };
    let loss = |slope: f64, intercept: f64| {
        let one = |(margin, positive): &(f32, bool)| {
            let score = slope * f64::from(*margin) + intercept;
            // log(1 + exp(score)) - target * score, without overflow.
            score.max(0.0) + (-score.abs()).exp().ln_1p() - target(*positive) * score
        };
        margins.iter().map(one).sum::<f64>()
    };
    let (mut slope, mut intercept) = (0.0f64, ((positives + 1.0) / (negatives + 1.0)).ln());
    let mut current = loss(slope, intercept);
    for _ in 0..STEPS {
        let (mut gradient, mut curvature) = ([0.0f64; 2], [[1e-9, 0.0], [0.0, 1e-9]]);
        for (margin, positive) in margins {
            let margin = f64::from(*margin);
            let probability = 1.0 / (1.0 + (-(slope * margin + intercept)).exp());
            let error = probability - target(*positive);
            let weight = probability * (1.0 - probability);
            gradient = [gradient[0] + error * margin, gradient[1] + error];
            curvature[0][0] += weight * margin * margin;
            curvature[0][1] += weight * margin;
            curvature[1][1] += weight;
        }
        let determinant = curvature[0][0] * curvature[1][1] - curvature[0][1] * curvature[0][1];
        if determinant.abs() < 1e-12 {
            break;
        }
        let step = [
            (curvature[1][1] * gradient[0] - curvature[0][1] * gradient[1]) / determinant,
            (curvature[0][0] * gradient[1] - curvature[0][1] * gradient[0]) / determinant,
        ];
        // Halve the step until it helps.
        let mut scale = 1.0;
        let better = loop {
            let (next_slope, next_intercept) = (slope - scale * step[0], intercept - scale * step[1]);
            let next = loss(next_slope, next_intercept);
            if next < current {
                break Some((next_slope, next_intercept, next));
            }
            scale /= 2.0;
            if scale < 1e-6 {
                break None;
            }
        };
        let Some((next_slope, next_intercept, next)) = better else { break };
        let gain = current - next;
        (slope, intercept, current) = (next_slope, next_intercept, next);
        if gain < 1e-9 {
            break;
        }
    }
    (slope as f32, intercept as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_gives_back_the_rate_of_positives_at_a_margin() {
        // At margin 0 one in five is positive, at margin 2 four in five.
        let margins: Vec<(f32, bool)> =
            (0..200).map(|index| (0.0, index % 5 == 0)).chain((0..200).map(|index| (2.0, index % 5 != 0))).collect();
        let (slope, intercept) = logistic_curve(&margins);
        assert!((sigmoid(intercept) - 0.2).abs() < 0.02, "{}", sigmoid(intercept));
        assert!((sigmoid(2.0 * slope + intercept) - 0.8).abs() < 0.02);
        assert_eq!(logistic_curve(&[(1.0, true)]), (1.0, 0.0));
    }

    #[test]
    fn a_rare_signal_is_found_and_the_rest_stays_below_one_half() {
        let mut state = 11u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let mut points: Vec<(Vec<f32>, usize)> = Vec::new();
        for (class, count) in [(0usize, 15), (1, 15), (2, 200)] {
            for _ in 0..count {
                let mut point: Vec<f32> = (0..6).map(|_| 0.3 * noise()).collect();
                if class < 2 {
                    point[class] += 0.6;
                }
                points.push((point, class));
            }
        }
        let examples: Vec<Example<'_>> =
            points.iter().map(|(vector, class)| Example { vector, class: *class }).collect();
        let detectors = Detectors::fit(&examples, 2).unwrap();
        let right = points
            .iter()
            .filter(|(vector, class)| {
                let found: Vec<bool> = detectors.probabilities(vector).iter().map(|p| *p > 0.5).collect();
                found == [*class == 0, *class == 1]
            })
            .count();
        assert!(right >= 225, "{right} of 230");
    }
}
