//! How far probabilities are from what came true.
//!
//! The expected calibration error is that of Guo et al., "On Calibration of Modern Neural Networks", 2017: bins of confidence of
//! equal width, weighted by the number of decisions in them.

use serde::Serialize;

use super::judged::{Judged, Task};

/// The least probability that the log loss takes for one, since a probability of 0 would cost infinitely much.
const LEAST_PROBABILITY: f64 = f32::EPSILON as f64;

/// Something the model gave a probability, and whether it came true.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decision {
    pub probability: f32,
    pub came_true: bool,
}

/// Single-label: that the given label is right. Multi-label: that a label is right, for each label; a right label that the model
/// does not know is one that it held to be impossible.
pub(super) fn decisions(judged: &Judged, task: Task, truth: &[usize], predicted: &[usize]) -> Vec<Decision> {
    match task {
        Task::SingleLabel => vec![Decision { probability: judged.confidence(task), came_true: truth == predicted }],
        Task::MultiLabel => {
            let known = judged.probabilities.iter().enumerate();
            let known = known.map(|(label, &probability)| Decision { probability, came_true: truth.contains(&label) });
            let unknown = truth.iter().filter(|class| **class >= judged.probabilities.len());
            known.chain(unknown.map(|_| Decision { probability: 0.0, came_true: true })).collect()
        }
    }
}

/// By how much more often than expected decisions of one row came true, in one bin of confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gap {
    pub bin: usize,
    pub excess: f64,
}

/// The gaps of one row in ascending order of bins, those of empty bins left out.
pub(super) fn gaps(decisions: &[Decision], bins: usize) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    for decision in decisions {
        let bin = bin_of(decision.probability, bins);
        let excess = f64::from(u8::from(decision.came_true)) - f64::from(decision.probability);
        match gaps.iter_mut().find(|gap| gap.bin == bin) {
            Some(gap) => gap.excess += excess,
            None => gaps.push(Gap { bin, excess }),
        }
    }
    gaps.sort_by_key(|gap| gap.bin);
    gaps
}

/// About the calibration error that these probabilities would show if they were right: by chance alone decisions of a bin come true more or
/// less often than expected. In a bin their excess is about normal, and its mean size the square root of `2 / pi` times its variance.
pub(super) fn error_by_chance<'a>(all: impl Iterator<Item = &'a Decision>, bins: usize) -> f64 {
    let mut variances = vec![0.0_f64; bins];
    let mut count = 0_usize;
    for decision in all {
        let probability = f64::from(decision.probability);
        count += 1;
        if let Some(variance) = variances.get_mut(bin_of(decision.probability, bins)) {
            *variance += probability * (1.0 - probability);
        }
    }
    let excess: f64 = variances.iter().map(|variance| (variance * std::f64::consts::FRAC_2_PI).sqrt()).sum();
    excess / count.max(1) as f64
}

fn bin_of(probability: f32, bins: usize) -> usize {
    let bin = (f64::from(probability) * bins as f64) as usize;
    bin.min(bins.saturating_sub(1))
}

/// Decisions of about one confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Least confidence of the bin, 0 to 1.
    pub low: f64,
    /// Upper end of the bin, itself in the next one.
    pub high: f64,
    /// Decisions in the bin.
    pub count: usize,
    /// Their mean confidence, 0 to 1; `None` if there are none.
    pub confidence: Option<f64>,
    /// Share of them that came true, 0 to 1; `None` if there are none.
    pub accuracy: Option<f64>,
}

/// Confidence against truth in bins of equal width.
pub(super) fn reliability<'a>(all: impl Iterator<Item = &'a Decision>, bins: usize) -> Vec<ReliabilityBin> {
    let mut sums = vec![(0_usize, 0.0_f64, 0_usize); bins];
    for decision in all {
        if let Some((count, confidence, came_true)) = sums.get_mut(bin_of(decision.probability, bins)) {
            *count += 1;
            *confidence += f64::from(decision.probability);
            *came_true += usize::from(decision.came_true);
        }
    }
    let edge = |bin: usize| bin as f64 / bins as f64;
    let bin = |(bin, (count, confidence, came_true)): (usize, (usize, f64, usize))| ReliabilityBin {
        low: edge(bin),
        high: edge(bin + 1),
        count,
        confidence: (count > 0).then(|| confidence / count as f64),
        accuracy: (count > 0).then(|| came_true as f64 / count as f64),
    };
    sums.into_iter().enumerate().map(bin).collect()
}

/// Mean negative logarithm of the probability of what came true. Single-label: over rows, of the right label's probability.
/// Multi-label: over all decisions.
pub(super) fn log_loss<'a>(rows: impl Iterator<Item = (&'a Judged, &'a [usize], &'a [Decision])>, task: Task) -> f64 {
    let (mut sum, mut count) = (0.0, 0_usize);
    let mut add = |probability: f64| {
        sum -= probability.clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY).ln();
        count += 1;
    };
    for (judged, truth, decisions) in rows {
        match task {
            Task::SingleLabel => {
                let right = truth.first().and_then(|class| judged.probabilities.get(*class));
                add(right.copied().map_or(0.0, f64::from));
            }
            Task::MultiLabel => decisions.iter().for_each(|decision| {
                let probability = f64::from(decision.probability);
                add(if decision.came_true { probability } else { 1.0 - probability });
            }),
        }
    }
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(probability: f32, came_true: bool) -> Decision {
        Decision { probability, came_true }
    }

    #[test]
    fn a_confidence_of_one_is_in_the_last_bin() {
        let bins: Vec<usize> = [0.0, 0.24, 0.25, 0.99, 1.0].iter().map(|value| bin_of(*value, 4)).collect();
        assert_eq!(bins, [0, 0, 1, 3, 3]);
    }

    #[test]
    fn gaps_add_up_by_bin() {
        let decisions = [decision(0.75, true), decision(0.125, false), decision(0.875, false)];
        assert_eq!(gaps(&decisions, 2), [Gap { bin: 0, excess: -0.125 }, Gap { bin: 1, excess: -0.625 }]);
    }

    #[test]
    fn an_empty_bin_has_no_means() {
        let bins = reliability([decision(0.75, true), decision(0.5, false)].iter(), 2);
        let empty = ReliabilityBin { low: 0.0, high: 0.5, count: 0, confidence: None, accuracy: None };
        let full = ReliabilityBin { low: 0.5, high: 1.0, count: 2, confidence: Some(0.625), accuracy: Some(0.5) };
        assert_eq!(bins, [empty, full]);
    }
}
