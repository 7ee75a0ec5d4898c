//! Attention of one sequence, in 32 bits; or, where the processor multiplies 16-bit numbers (bfloat16) so much faster, with scores and
//! shares rounded to those.

use pulp::{Arch, Simd, WithSimd};

use super::half::{HalfProducts, Operand, Room};
use super::vectorise::{Fused, Split, exp_below, is_fused};

/// Rows that are multiplied at a time, with two vectors of columns: as many sums as registers hold.
const ROWS: usize = 6;

/// What widths of matrices are rounded up to: two of the widest vectors.
const WIDTH: usize = 32;

/// Number and width of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadShape {
    pub count: usize,
    pub width: usize,
}

impl HeadShape {
    /// What scores are multiplied by.
    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

/// Tokens from which on 16-bit products are worth the packing.
const LEAST_HALF: usize = 32;

/// Memory that is used again and again.
#[derive(Default)]
pub(crate) struct AttentionRoom {
    half: Room,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    shares: Vec<f32>,
    mixed: Vec<f32>,
}

/// Of each token, query, key and value of all heads, side by side, `[length, 3 * hidden]`, to what it takes of all others,
/// `[length, hidden]`.
pub(crate) fn attention(
    joined: &[f32],
    shape: HeadShape,
    half: Option<HalfProducts>,
    room: &mut AttentionRoom,
    output: &mut [f32],
) {
    let length = output.len() / (shape.count * shape.width).max(1);
    match half.filter(|_| length >= LEAST_HALF) {
        Some(half) => in_half(half, joined, shape, room, output),
        None => Arch::new().dispatch(Attention { joined, shape, room, output }),
    }
}

/// One head after the other, all its scores at once.
fn in_half(half: HalfProducts, joined: &[f32], shape: HeadShape, room: &mut AttentionRoom, output: &mut [f32]) {
    let hidden = shape.count * shape.width;
    let AttentionRoom { queries: totals, half: half_room, shares, mixed, .. } = room;
    for head in 0..shape.count {
        let part = |index: usize| Operand::part(joined, 3 * hidden, index * hidden + head * shape.width, shape.width);
        half.multiply_here(part(0), part(1).turned(), half_room, shares);
        let length = output.len() / hidden;
        Arch::new().dispatch(AllPowers { scores: shares, length, scale: shape.scale(), totals });
        half.multiply_here(Operand::new(shares, length), part(2), half_room, mixed);
        let rows = output.chunks_exact_mut(hidden).zip(mixed.chunks_exact(shape.width)).zip(totals.iter());
        for ((into, mixed), total) in rows {
            let factor = 1.0 / total;
            let into = into.get_mut(head * shape.width..(head + 1) * shape.width).unwrap_or_default();
            into.iter_mut().zip(mixed).for_each(|(into, value)| *into = value * factor);
        }
    }
}

/// Turns rows of scores into shares of the largest, and writes down their sums.
struct AllPowers<'a> {
    scores: &'a mut [f32],
    length: usize,
    scale: f32,
    totals: &'a mut Vec<f32>,
}

impl WithSimd for AllPowers<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.totals.clear();
        for row in self.scores.chunks_exact_mut(self.length) {
            self.totals.push(powers(simd, row, self.scale));
        }
    }
}

struct Attention<'a> {
    joined: &'a [f32],
    shape: HeadShape,
    room: &'a mut AttentionRoom,
    output: &'a mut [f32],
}

impl WithSimd for Attention<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { joined, shape, room, output } = self;
        let hidden = shape.count * shape.width;
        let length = output.len() / hidden.max(1);
        for head in 0..shape.count {
            room.fill(joined, shape, head, length);
            let (mut queries, mut output) = (room.queries.as_slice(), &mut *output);
            while !output.is_empty() {
                let count = ROWS.min(output.len() / hidden);
                let (of_block, behind) = queries.split_at(count * shape.width);
                let (into, rest) = output.split_at_mut(count * hidden);
                (queries, output) = (behind, rest);
                let padded = length.next_multiple_of(WIDTH);
                multiply(simd, (of_block, shape.width), (&room.keys, padded), &mut room.shares);
                let mut sums = [0.0; ROWS];
                for (row, total) in room.shares.chunks_exact_mut(padded).take(count).zip(&mut sums) {
                    *total = powers(simd, row.get_mut(..length).unwrap_or_default(), 1.0);
                }
                let wide = shape.width.next_multiple_of(WIDTH);
                let shares = room.shares.get(..count * padded).unwrap_or_default();
                multiply(simd, (shares, padded), (&room.values, wide), &mut room.mixed);
                let rows = into.chunks_exact_mut(hidden).zip(room.mixed.chunks_exact(wide)).zip(sums);
                for ((into, mixed), total) in rows {
                    let factor = 1.0 / total;
                    let into = into.get_mut(head * shape.width..(head + 1) * shape.width).unwrap_or_default();
                    into.iter_mut().zip(mixed).for_each(|(into, value)| *into = value * factor);
                }
            }
        }
    }
}

impl AttentionRoom {
    /// Brings one head's queries (scaled), keys (as columns) and values together, the latter two with zeros up to whole vectors.
    #[inline(always)]
    fn fill(&mut self, joined: &[f32], shape: HeadShape, head: usize, length: usize) {
        let HeadShape { count, width } = shape;
        let hidden = count * width;
        let (padded, wide) = (length.next_multiple_of(WIDTH), width.next_multiple_of(WIDTH));
        self.queries.resize(length * width, 0.0);
        self.shares.resize(ROWS * padded, 0.0);
        self.mixed.resize(ROWS * wide, 0.0);
        // What lies behind the last number of a row may be of a sequence before; it must be zero.
        for (matrix, size) in [(&mut self.keys, width * padded), (&mut self.values, length * wide)] {
            if matrix.len() != size || head == 0 {
                matrix.clear();
                matrix.resize(size, 0.0);
            }
        }
        let scale = shape.scale();
        let queries = self.queries.chunks_exact_mut(width);
        let values = self.values.chunks_exact_mut(wide);
        for (token, ((row, query), value)) in joined.chunks_exact(3 * hidden).zip(queries).zip(values).enumerate() {
            let of = |index: usize| {
                let start = index * hidden + head * width;
                row.get(start..start + width).unwrap_or_default()
            };
            query.iter_mut().zip(of(0)).for_each(|(into, value)| *into = value * scale);
            let column = self.keys.get_mut(token..).unwrap_or_default().iter_mut().step_by(padded);
            column.zip(of(1)).for_each(|(place, key)| *place = *key);
            value.iter_mut().zip(of(2)).for_each(|(into, value)| *into = *value);
        }
    }
}

/// Scores times `scale` to their powers of e, as shares of the largest; gives their sum.
#[inline(always)]
fn powers<S: Simd>(simd: S, scores: &mut [f32], scale: f32) -> f32 {
    let (whole, rest) = S::as_simd_f32s(scores);
    let top = whole.iter().fold(simd.splat_f32s(f32::NEG_INFINITY), |top, part| simd.max_f32s(top, *part));
    let top = rest.iter().copied().fold(simd.reduce_max_f32s(top), f32::max);
    if is_fused() {
        scores.iter_mut().for_each(|score| *score = exp_below::<Fused>((*score - top) * scale));
    } else {
        scores.iter_mut().for_each(|score| *score = exp_below::<Split>((*score - top) * scale));
    }
    let (whole, rest) = S::as_simd_f32s(scores);
    let total = whole.iter().fold(simd.splat_f32s(0.0), |total, part| simd.add_f32s(total, *part));
    rest.iter().fold(simd.reduce_sum_f32s(total), |total, share| total + share)
}

/// `left · right` for at most [`ROWS`] rows. Both come with the length of their rows; that of the right is a multiple of [`WIDTH`].
/// Rows of the left that are longer than the right has rows end there.
#[inline(always)]
fn multiply<S: Simd>(simd: S, left: (&[f32], usize), right: (&[f32], usize), product: &mut [f32]) {
    match left.0.len() / left.1.max(1) {
        0 => {}
        1 => multiply_rows::<S, 1>(simd, left, right, product),
        2 => multiply_rows::<S, 2>(simd, left, right, product),
        3 => multiply_rows::<S, 3>(simd, left, right, product),
        4 => multiply_rows::<S, 4>(simd, left, right, product),
        5 => multiply_rows::<S, 5>(simd, left, right, product),
        _ => multiply_rows::<S, ROWS>(simd, left, right, product),
    }
}

#[inline(always)]
fn multiply_rows<S: Simd, const R: usize>(
    simd: S,
    (left, inner): (&[f32], usize),
    (right, columns): (&[f32], usize),
    product: &mut [f32],
) {
    let mut rows: [&[f32]; R] = [&[]; R];
    for (row, values) in rows.iter_mut().zip(left.chunks_exact(inner)) {
        *row = values;
    }
    for start in (0..columns).step_by(2 * S::F32_LANES) {
        let mut sums = [[simd.splat_f32s(0.0); 2]; R];
        for (index, values) in right.chunks_exact(columns).take(inner).enumerate() {
            let (vectors, _) = S::as_simd_f32s(values.get(start..start + 2 * S::F32_LANES).unwrap_or_default());
            let [first, second] = vectors else { continue };
            for (sums, row) in sums.iter_mut().zip(rows) {
                let factor = simd.splat_f32s(row.get(index).copied().unwrap_or_default());
                let [one, other] = *sums;
                *sums = [simd.mul_add_e_f32s(factor, *first, one), simd.mul_add_e_f32s(factor, *second, other)];
            }
        }
        for (row, sums) in product.chunks_exact_mut(columns).zip(sums) {
            let (into, _) = S::as_mut_simd_f32s(row.get_mut(start..start + 2 * S::F32_LANES).unwrap_or_default());
            into.iter_mut().zip(sums).for_each(|(into, sum)| *into = sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed | 1;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// As one would write it down, in 64 bits.
    fn plain(joined: &[f32], shape: HeadShape) -> Vec<f64> {
        let hidden = shape.count * shape.width;
        let rows: Vec<&[f32]> = joined.chunks(3 * hidden).collect();
        let mut output = vec![0.0; rows.len() * hidden];
        for (token, row) in rows.iter().enumerate() {
            for head in 0..shape.count {
                let at = |row: &[f32], index: usize, place: usize| {
                    f64::from(row[index * hidden + head * shape.width + place])
                };
                let score = |other: &[f32]| {
                    let dot: f64 = (0..shape.width).map(|place| at(row, 0, place) * at(other, 1, place)).sum();
                    (dot / (shape.width as f64).sqrt()).exp()
                };
                let shares: Vec<f64> = rows.iter().map(|other| score(other)).collect();
                let total: f64 = shares.iter().sum();
                for place in 0..shape.width {
                    let mixed: f64 = rows.iter().zip(&shares).map(|(other, share)| share * at(other, 2, place)).sum();
                    output[token * hidden + head * shape.width + place] = mixed / total;
                }
            }
        }
        output
    }

    #[test]
    fn attention_of_any_length_and_width_is_that_of_plain_sums() {
        // One room for all: what a longer sequence or a wider head left behind must not matter.
        let mut room = AttentionRoom::default();
        for (count, width) in [(3, 26), (2, 32), (1, 64), (5, 1), (1, 130)] {
            let shape = HeadShape { count, width };
            for length in [70, 1, 2, 33, 6, 7, 64] {
                let joined = noise(length as u32, length * 3 * count * width);
                let mut output = vec![7.0; length * count * width];
                attention(&joined, shape, None, &mut room, &mut output);
                for (given, expected) in output.iter().zip(plain(&joined, shape)) {
                    assert!((f64::from(*given) - expected).abs() < 1e-5, "{length}, {shape:?}: {given} and {expected}");
                }
                attention(&joined, shape, HalfProducts::get(), &mut room, &mut output);
                for (given, expected) in output.iter().zip(plain(&joined, shape)) {
                    assert!((f64::from(*given) - expected).abs() < 0.04, "{length}, {shape:?}: {given} and {expected}");
                }
            }
        }
    }
}
