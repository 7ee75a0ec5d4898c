//! The best tokens by their number or by their share of probability, without sorting the rest.
//!
//! Enters: scores of all tokens. Leaves: the few that are kept. Never here: chance.
//!
//! Scores are counted by how far they lie below the best. The band in which a limit falls is then sorted by itself: all of those above
//! it are kept, none of those below.

/// Scores that are worked on together.
pub(super) const CHUNK: usize = 1_024;

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

/// Powers of e, for numbers that are not positive: within 3e-7 of the true value, in steps that compile to vectors; 0 from -87 down.
/// The reduction and coefficients are those of Cephes' `expf`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let counts = x > -87.0;
    let x = if counts { x } else { 0.0 };
    let scaled = x * std::f32::consts::LOG2_E;
    // Rounds to the nearest whole number, which is not positive.
    let whole = (scaled - 0.5) as i32;
    let rest = x - whole as f32 * 0.693_359_4 + whole as f32 * 2.121_944_4e-4;
    let series = 1.987_569_1e-4;
    let series = series * rest + 1.398_199_9e-3;
    let series = series * rest + 8.333_452e-3;
    let series = series * rest + 4.166_579_6e-2;
    let series = series * rest + 1.666_666_5e-1;
    let series = series * rest + 0.5;
    let value = series * rest * rest + rest + 1.0;
    let power = f32::from_bits(((whole + 127) << 23) as u32);
    if counts { value * power } else { 0.0 }
}

/// Which band a score falls into: 0 holds the best. The last holds all that lie deeper.
#[inline(always)]
fn band(score: f32, top: f32) -> usize {
    let band = (top - score) * (BANDS as f32 / DEPTH);
    // A cast ends at the limits of the kind.
    (band as usize).min(BANDS - 1)
}

/// Better scores first; of equals, the lower token.
fn order(one: &Scored, other: &Scored) -> std::cmp::Ordering {
    other.score.total_cmp(&one.score).then(one.token.cmp(&other.token))
}

/// The `count` tokens with the best scores, best first. Those without a score are none.
pub(super) fn best(scores: &[f32], top: f32, count: usize) -> Vec<Scored> {
    let mut counts = vec![0_usize; BANDS];
    for score in scores {
        if let Some(place) = counts.get_mut(band(*score, top)) {
            *place += 1;
        }
    }
    let mut before = 0;
    let last = counts.iter().position(|counted| {
        before += counted;
        before >= count
    });
    let mut kept = within(scores, top, last.unwrap_or(BANDS - 1));
    if kept.len() > count {
        kept.select_nth_unstable_by(count - 1, order);
        kept.truncate(count);
    }
    kept.sort_unstable_by(order);
    kept
}

/// The best tokens that together have at least this share of all probability; at least one.
pub(super) fn heaviest(scores: &[f32], top: f32, share: f32) -> Vec<Scored> {
    let mut weights = vec![0_f64; BANDS];
    let mut powers = [0_f32; CHUNK];
    for chunk in scores.chunks(CHUNK) {
        for (power, score) in powers.iter_mut().zip(chunk) {
            *power = exp(*score - top);
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
    let (mut kept, mut edge): (Vec<_>, Vec<_>) =
        within(scores, top, last).into_iter().partition(|scored| band(scored.score, top) < last);
    edge.sort_unstable_by(order);
    keep_until(&mut edge, top, wanted - before);
    kept.append(&mut edge);
    kept
}

/// Of tokens in order, keeps the first that together have this share of the probability of them all; at least one.
pub(super) fn keep_share(kept: &mut Vec<Scored>, top: f32, share: f32) {
    let total: f64 = kept.iter().map(|scored| f64::from(exp(scored.score - top))).sum();
    keep_until(kept, top, total * f64::from(share));
}

fn keep_until(kept: &mut Vec<Scored>, top: f32, wanted: f64) {
    let mut sum = 0.0;
    let enough = kept.iter().position(|scored| {
        sum += f64::from(exp(scored.score - top));
        sum >= wanted
    });
    if let Some(last) = enough {
        kept.truncate(last + 1);
    }
}

/// Tokens with a score in this band or a better one.
fn within(scores: &[f32], top: f32, last: usize) -> Vec<Scored> {
    let scored = (0_u32..).zip(scores).map(|(token, score)| Scored { token, score: *score });
    scored.filter(|scored| scored.score > f32::NEG_INFINITY && band(scored.score, top) <= last).collect()
}
