//! Attention of new positions to those before them, one head of keys and values at a time.

use std::ops::Range;

use super::cache::BLOCK;
use crate::inference::kernels::vectorise::{MulAdd, exp_below, fused_or_split, largest, sum};

/// Queries that meet a key at a time.
const TILE: usize = 4;

/// Numbers of a value that are added up at a time.
const LANES: usize = 16;

/// What rows look back at.
#[derive(Clone, Copy)]
pub(super) enum Sight<'a> {
    /// Rows follow each other, the first in this place: each sees all before it, and itself.
    Following(usize),
    /// Rows continue the first `behind` places in different ways: each sees those and its own branch.
    Branching {
        /// Places that all rows continue.
        behind: usize,
        /// Of each row, the places of its branch: of the rows above it, and last its own.
        branches: &'a [Vec<usize>],
    },
}

impl<'a> Sight<'a> {
    /// That of the rows from this one on.
    pub fn beginning_at(self, row: usize) -> Self {
        match self {
            Self::Following(first) => Self::Following(first + row),
            Self::Branching { behind, branches } => {
                Self::Branching { behind, branches: branches.get(row..).unwrap_or_default() }
            }
        }
    }

    /// The places that a row sees: some that follow each other, and single ones behind them.
    pub fn of_row(self, row: usize, window: Option<usize>) -> (Range<usize>, &'a [usize]) {
        match self {
            Self::Following(first) => {
                let end = first + row + 1;
                (window.map_or(0, |window| end.saturating_sub(window))..end, &[])
            }
            Self::Branching { behind, branches } => {
                let branch = branches.get(row).map(Vec::as_slice).unwrap_or_default();
                let unseen = window.map_or(0, |window| (behind + branch.len()).saturating_sub(window));
                (unseen.min(behind)..behind, branch.get(unseen.saturating_sub(behind)..).unwrap_or_default())
            }
        }
    }
}

/// The queries of one head of keys and values.
pub(super) struct Queries<'a> {
    /// Rows of all heads' queries.
    pub rows: &'a [f32],
    /// Numbers of a row.
    pub stride: usize,
    /// Where the first of these queries begins in a row.
    pub start: usize,
    /// Queries in a row that look at this head.
    pub group: usize,
    /// Numbers of a query; a multiple of [`LANES`].
    pub width: usize,
    /// What the rows look back at.
    pub sight: Sight<'a>,
    /// Positions that a row looks back at, its own included; `None` is all.
    pub window: Option<usize>,
    /// What products of queries and keys are multiplied by.
    pub scale: f32,
}

/// What the queries find: `group * width` numbers a row.
pub(super) fn attend(queries: &Queries<'_>, keys: &[f32], values: &[f32]) -> Vec<f32> {
    fused_or_split!(attend_as(queries, keys, values))
}

#[inline(always)]
fn attend_as<M: MulAdd>(queries: &Queries<'_>, keys: &[f32], values: &[f32]) -> Vec<f32> {
    let Queries { rows, stride, start, group, width, sight, window, scale } = *queries;
    let count = rows.len() / stride.max(1) * group;
    let mut found = vec![0.0; count * width];
    let mut scores: [Vec<f32>; TILE] = Default::default();
    for (tile, found) in found.chunks_mut((TILE * width).max(1)).enumerate() {
        let number = |at: usize| (tile * TILE + at).min(count.saturating_sub(1));
        let query = |at: usize| {
            let (row, place) = (number(at) / group.max(1), number(at) % group.max(1));
            rows.get(row * stride + start + place * width..).and_then(|row| row.get(..width)).unwrap_or_default()
        };
        let tile_queries: [&[f32]; TILE] = std::array::from_fn(query);
        let seen: [(Range<usize>, &[usize]); TILE] =
            std::array::from_fn(|at| sight.of_row(number(at) / group.max(1), window));
        let from = seen.iter().map(|(seen, _)| seen.start).min().unwrap_or(0) / BLOCK;
        let end = |(seen, branch): &(Range<usize>, &[usize])| branch.last().map_or(seen.end, |last| last + 1);
        let to = seen.iter().map(end).max().unwrap_or(0).div_ceil(BLOCK);
        for scores in &mut scores {
            scores.clear();
            scores.resize((to - from) * BLOCK, 0.0);
        }
        score::<M>(tile_queries, keys, from..to, width, scale, &mut scores);
        for (scores, (seen, branch)) in scores.iter_mut().zip(&seen) {
            weigh::<M>(scores, seen.start - from * BLOCK..seen.end - from * BLOCK, branch, from * BLOCK);
        }
        let values = values.get(from * BLOCK * width..to * BLOCK * width).unwrap_or_default();
        gather::<M>(&scores, values, width, found);
    }
    found
}

/// Products of queries with the keys of some blocks.
#[inline(always)]
fn score<M: MulAdd>(
    queries: [&[f32]; TILE],
    keys: &[f32],
    blocks: std::ops::Range<usize>,
    width: usize,
    scale: f32,
    scores: &mut [Vec<f32>; TILE],
) {
    let [a, b, c, d] = queries;
    let keys = keys.get(blocks.start * BLOCK * width..blocks.end * BLOCK * width).unwrap_or_default();
    for (at, block) in keys.chunks_exact((BLOCK * width).max(1)).enumerate() {
        let mut sums = [[0.0f32; BLOCK]; TILE];
        let numbers = a.iter().zip(b).zip(c.iter().zip(d));
        for (keys, ((a, b), (c, d))) in block.as_chunks::<BLOCK>().0.iter().zip(numbers) {
            for (sums, number) in sums.iter_mut().zip([*a, *b, *c, *d]) {
                for (sum, key) in sums.iter_mut().zip(keys) {
                    *sum = M::mul_add(number, *key, *sum);
                }
            }
        }
        for (scores, sums) in scores.iter_mut().zip(sums) {
            if let Some(scores) = scores.get_mut(at * BLOCK..(at + 1) * BLOCK) {
                scores.iter_mut().zip(sums).for_each(|(score, sum)| *score = sum * scale);
            }
        }
    }
}

/// Scores of what is seen to shares that add up to 1; nothing of what is not. The first score is that of the place `first`, by which
/// `branch` is counted.
#[inline(always)]
fn weigh<M: MulAdd>(scores: &mut [f32], seen: Range<usize>, branch: &[usize], first: usize) {
    let (before, behind) = (seen.start, seen.end);
    let mut single: Vec<f32> =
        branch.iter().map(|place| scores.get(place - first).copied().unwrap_or(f32::NEG_INFINITY)).collect();
    if let Some(scores) = scores.get_mut(seen) {
        let most = single.iter().copied().fold(largest(scores), f32::max);
        for part in [&mut *scores, single.as_mut_slice()] {
            part.iter_mut().for_each(|score| *score = exp_below::<M>(*score - most));
        }
        let share = 1.0 / (sum(scores) + single.iter().sum::<f32>());
        for part in [&mut *scores, single.as_mut_slice()] {
            part.iter_mut().for_each(|score| *score *= share);
        }
    }
    scores.get_mut(..before).unwrap_or_default().fill(0.0);
    scores.get_mut(behind..).unwrap_or_default().fill(0.0);
    for (place, share) in branch.iter().zip(single) {
        if let Some(score) = scores.get_mut(place - first) {
            *score = share;
        }
    }
}

/// Values, each by its share.
#[inline(always)]
fn gather<M: MulAdd>(shares: &[Vec<f32>; TILE], values: &[f32], width: usize, found: &mut [f32]) {
    let [a, b, c, d] = shares.each_ref().map(Vec::as_slice);
    for part in (0..width).step_by(LANES) {
        let mut sums = [[0.0f32; LANES]; TILE];
        let shares = a.iter().zip(b).zip(c.iter().zip(d));
        for (values, ((a, b), (c, d))) in values.chunks_exact(width.max(1)).zip(shares) {
            let Some(values) = values.get(part..).and_then(|values| values.first_chunk::<LANES>()) else { continue };
            for (sums, share) in sums.iter_mut().zip([*a, *b, *c, *d]) {
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = M::mul_add(share, *value, *sum);
                }
            }
        }
        for (found, sums) in found.chunks_exact_mut(width.max(1)).zip(&sums) {
            if let Some(found) = found.get_mut(part..part + LANES) {
                found.copy_from_slice(sums);
            }
        }
    }
}
