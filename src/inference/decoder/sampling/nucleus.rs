//! The best tokens by their number or by their share of probability, without sorting the rest.
//!
//! Enters: scores of all tokens. Leaves: the few that are kept. Never here: chance.
//!
//! The best of each chunk of scores say which chunks can hold one of the best of all: the others are not looked at again. Where a
//! share of probability takes too many tokens for that, scores are counted by how far they lie below the best, and only the band in
//! which the limit falls is sorted.

use crate::inference::vectorise::{LANES, exp, vectorised};

/// Scores that are worked on together.
pub(super) const CHUNK: usize = 128;

/// How many tokens are looked at before a share of probability is taken for one that many tokens have.
const GUESSES: [usize; 2] = [64, 1_024];

/// Bands of scores.
const BANDS: usize = 1_024;

/// Scores further below the best have no share that a 32-bit number could show, even all together.
const DEPTH: f32 = 32.0;

/// A token with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scored {
    pub token: u32,
    pub score: f32,
}

/// How much a token weighs against the best, by how far its score lies below: e to that power, and 0 where that is as good as nothing.
#[inline(always)]
pub(super) fn weight(below: f32) -> f32 {
    let power = exp(below);
    if below > -87.0 { power } else { 0.0 }
}

/// Weight of a few tokens together, in a fixed order of additions.
#[inline(always)]
fn weight_of(scores: &[f32], top: f32, scale: f32) -> f32 {
    let mut sums = [0_f32; LANES];
    let blocks = scores.chunks_exact(LANES);
    let rest: f32 = blocks.remainder().iter().map(|score| weight((score - top) * scale)).sum();
    for block in blocks {
        for (sum, score) in sums.iter_mut().zip(block) {
            *sum += weight((score - top) * scale);
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Which band a score falls into: 0 holds the best. The last holds all that lie deeper.
#[inline(always)]
fn band(score: f32, top: f32) -> usize {
    let band = (top - score) * (BANDS as f32 / DEPTH);
    // A cast ends at the limits of the kind.
    (band as i32).clamp(0, BANDS as i32 - 1) as usize
}

/// Better scores first; of equals, the lower token.
fn order(one: &Scored, other: &Scored) -> std::cmp::Ordering {
    other.score.total_cmp(&one.score).then(one.token.cmp(&other.token))
}

/// Scores of all tokens, with what was seen when they were first walked.
pub(super) struct Survey<'a> {
    scores: &'a [f32],
    /// The best of each chunk.
    maxima: Vec<f32>,
    /// The best of all, the first of equals.
    pub top: Scored,
}

impl<'a> Survey<'a> {
    /// Walks the scores. Those that are no number, or infinite, are overwritten with minus infinity: they would leave no probability
    /// to compare. `None` if no token has a score.
    pub(super) fn new(scores: &'a mut [f32]) -> Option<Self> {
        let maximum = |chunk: &mut [f32]| {
            let mut maximum = f32::NEG_INFINITY;
            for score in chunk {
                *score = if *score < f32::INFINITY { *score } else { f32::NEG_INFINITY };
                maximum = if *score > maximum { *score } else { maximum };
            }
            maximum
        };
        let maxima: Vec<f32> = vectorised(|| scores.chunks_mut(CHUNK).map(maximum).collect());
        let best = maxima.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let chunk = maxima.iter().position(|maximum| *maximum == best)?;
        let mut tokens = (0_u32..).zip(scores.iter()).skip(chunk * CHUNK);
        let (token, score) = tokens.find(|(_, score)| **score == best && best > f32::NEG_INFINITY)?;
        let top = Scored { token, score: *score };
        Some(Self { scores, maxima, top })
    }

    /// The `count` tokens with the best scores, best first. Those without a score are none.
    pub(super) fn best(&self, count: usize) -> Vec<Scored> {
        // So many chunks have a score at least as good as this, so the last of the best is no worse.
        let mut maxima = self.maxima.clone();
        let least = match count.checked_sub(1) {
            Some(last) if last < maxima.len() => {
                *maxima.select_nth_unstable_by(last, |one, other| other.total_cmp(one)).1
            }
            _ => f32::NEG_INFINITY,
        };
        let mut kept = self.above(least);
        if kept.len() > count {
            kept.select_nth_unstable_by(count.saturating_sub(1), order);
            kept.truncate(count);
        }
        kept.sort_unstable_by(order);
        kept
    }

    /// Tokens with a score that is no worse than `least`, in order of their ids.
    pub(super) fn above(&self, least: f32) -> Vec<Scored> {
        let good = self.chunks().zip(&self.maxima).filter(|(_, maximum)| **maximum >= least);
        let scored = good.flat_map(|(chunk, _)| chunk);
        scored.filter(|scored| scored.score >= least && scored.score > f32::NEG_INFINITY).collect()
    }

    /// Tokens with their scores, chunk by chunk.
    pub(super) fn chunks(&self) -> impl Iterator<Item = impl Iterator<Item = Scored>> {
        let scored = |(token, score): (u32, &f32)| Scored { token, score: *score };
        let firsts = (0_u32..).step_by(CHUNK);
        self.scores.chunks(CHUNK).zip(firsts).map(move |(chunk, first)| (first..).zip(chunk).map(scored))
    }

    /// The best tokens that together have at least this share of all probability; at least one.
    pub(super) fn heaviest(&self, share: f32) -> Vec<Scored> {
        let wanted = self.weights(1.0).into_iter().map(f64::from).sum::<f64>() * f64::from(share);
        for count in GUESSES {
            let mut kept = self.best(count);
            let all = kept.len() < count;
            if keep_until(&mut kept, self.top.score, wanted) || all {
                return kept;
            }
        }
        self.heaviest_by_bands(share)
    }

    /// The same for many tokens of nearly equal scores.
    fn heaviest_by_bands(&self, share: f32) -> Vec<Scored> {
        let top = self.top.score;
        let mut weights = vec![0_f64; BANDS];
        let mut powers = [0_f32; CHUNK];
        for chunk in self.scores.chunks(CHUNK) {
            for (power, score) in powers.iter_mut().zip(chunk) {
                *power = weight(*score - top);
            }
            for (power, score) in powers.iter().zip(chunk) {
                if let Some(place) = weights.get_mut(band(*score, top)) {
                    *place += f64::from(*power);
                }
            }
        }
        let wanted = weights.iter().sum::<f64>() * f64::from(share);
        let mut before = 0.0;
        let mut last = 0;
        for weight in &weights {
            if before + weight >= wanted {
                break;
            }
            before += weight;
            last += 1;
        }
        let last = last.min(BANDS - 1);
        let reached = self.above(f32::NEG_INFINITY).into_iter().filter(|scored| band(scored.score, top) <= last);
        let (mut kept, mut edge): (Vec<_>, Vec<_>) = reached.partition(|scored| band(scored.score, top) < last);
        edge.sort_unstable_by(order);
        keep_until(&mut edge, top, wanted - before);
        kept.append(&mut edge);
        kept
    }

    /// Weight of each chunk, if scores are multiplied by `scale`.
    pub(super) fn weights(&self, scale: f32) -> Vec<f32> {
        let top = self.top.score;
        let mut weights = vec![0.0; self.maxima.len()];
        vectorised(
            #[inline(always)]
            || {
                for (weight, chunk) in weights.iter_mut().zip(self.scores.chunks(CHUNK)) {
                    *weight = weight_of(chunk, top, scale);
                }
            },
        );
        weights
    }
}

/// Of tokens in order, keeps the first that together have this share of the probability of them all; at least one.
pub(super) fn keep_share(kept: &mut Vec<Scored>, top: f32, share: f32) {
    let total: f64 = kept.iter().map(|scored| f64::from(weight(scored.score - top))).sum();
    keep_until(kept, top, total * f64::from(share));
}

/// Whether they have it.
fn keep_until(kept: &mut Vec<Scored>, top: f32, wanted: f64) -> bool {
    let mut sum = 0.0;
    let enough = kept.iter().position(|scored| {
        sum += f64::from(weight(scored.score - top));
        sum >= wanted
    });
    if let Some(last) = enough {
        kept.truncate(last + 1);
    }
    enough.is_some()
}
