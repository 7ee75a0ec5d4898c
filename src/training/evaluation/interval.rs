//! How much the figures would vary had other rows of the same kind been judged: the percentile bootstrap over rows (Efron and
//! Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::outcome::Outcome;
use super::score::{Scores, Tally};

/// Ends of the middle 95 % of the resamplings.
const TAILS: [f64; 2] = [0.025, 0.975];

/// The middle 95 % of what resamplings of the rows give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The 95 % intervals of the headline figures.
///
/// Those of `ece` lean upwards and those of the F1 figures a little downwards: to draw rows twice makes bins noisier and leaves
/// rare labels out. With few rows a figure may even lie outside its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Intervals {
    /// Of the accuracy.
    pub accuracy: Interval,
    /// Of the share of right labels among the three most probable.
    pub top3: Interval,
    /// Of the macro F1.
    pub macro_f1: Interval,
    /// Of the weighted F1.
    pub weighted_f1: Interval,
    /// Of the expected calibration error.
    pub ece: Interval,
}

/// Draws as many rows as there are, with replacement, `rounds` times. `None` for no rounds or no rows.
pub(super) fn bootstrap(outcomes: &[Outcome<'_>], mut tally: Tally, rounds: usize, seed: u64) -> Option<Intervals> {
    if rounds == 0 || outcomes.is_empty() {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut times = vec![0_usize; outcomes.len()];
    let mut drawn: Vec<Scores> = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        times.fill(0);
        for _ in 0..outcomes.len() {
            if let Some(times) = times.get_mut(random.random_range(0..outcomes.len())) {
                *times += 1;
            }
        }
        tally.clear();
        let chosen = outcomes.iter().zip(&times).filter(|(_, times)| **times > 0);
        chosen.for_each(|(outcome, times)| tally.add(outcome, *times));
        drawn.push(tally.scores());
    }
    let interval = |of: fn(&Scores) -> f64| middle(drawn.iter().map(of).collect());
    Some(Intervals {
        accuracy: interval(|scores| scores.accuracy),
        top3: interval(|scores| scores.top3),
        macro_f1: interval(|scores| scores.macro_f1),
        weighted_f1: interval(|scores| scores.weighted_f1),
        ece: interval(|scores| scores.ece),
    })
}

fn middle(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    let [low, high] = TAILS.map(|tail| quantile(&values, tail));
    Interval { low, high }
}

/// Between two values in proportion, as numpy's default does.
fn quantile(sorted: &[f64], at: f64) -> f64 {
    let place = at * sorted.len().saturating_sub(1) as f64;
    let below = place.floor() as usize;
    let value = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(0.0);
    value(below) + (value(below + 1) - value(below)) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_values_in_proportion() {
        let values = [0.0, 1.0, 2.0, 4.0];
        let cases = [(0.0, 0.0), (0.5, 1.5), (0.75, 2.5), (1.0, 4.0)];
        for (at, expected) in cases {
            assert_eq!(quantile(&values, at), expected, "{at}");
        }
        assert_eq!(quantile(&[3.0], 0.975), 3.0);
    }
}
