//! Rows of numbers in 8 bits.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::{DEPTH, RowScales, STEP};

/// Bytes that lie together in memory and begin at a multiple of their number.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; Line::BYTES]);

impl Line {
    const BYTES: usize = STEP * DEPTH;
}

/// Rows in 8 bits: number `n` of a row stands for `low + scale * n`.
#[derive(Debug, Default)]
pub(crate) struct Int8Rows {
    inputs: usize,
    lines: Vec<Line>,
    scale: Vec<f32>,
    low: Vec<f32>,
}

impl Int8Rows {
    /// Rounds rows of `inputs` numbers to 8 bits, in place of the rows that were here.
    pub fn round(&mut self, values: &[f32], inputs: usize) {
        let rows = values.len() / inputs.max(1);
        self.inputs = inputs;
        let lines = inputs.div_ceil(Line::BYTES);
        // Kernels read whole sixteens of rows.
        self.lines.resize(rows.next_multiple_of(16) * lines, Line([0; Line::BYTES]));
        self.scale.resize(rows, 0.0);
        self.low.resize(rows, 0.0);
        let scales = self.scale.iter_mut().zip(&mut self.low);
        let rows = values.chunks_exact(inputs.max(1)).zip(self.lines.chunks_exact_mut(lines.max(1)));
        for ((values, lines), (scale, low)) in rows.zip(scales) {
            (*scale, *low) = Arch::new().dispatch(RoundRow { values, lines });
        }
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn stride(&self) -> usize {
        self.inputs.next_multiple_of(Line::BYTES)
    }

    /// Memory from a row on.
    pub(super) fn bytes_from(&self, row: usize) -> &[u8] {
        let lines = self.lines.get(row * (self.stride() / Line::BYTES)..).unwrap_or_default();
        // SAFETY: a line is nothing but its bytes.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines)) }
    }

    pub(super) fn scales(&self, range: Range<usize>) -> RowScales<'_> {
        RowScales {
            scale: self.scale.get(range.clone()).unwrap_or_default(),
            low: self.low.get(range).unwrap_or_default(),
        }
    }
}

/// Rounds a row to 8 bits and gives its scale and lowest value.
struct RoundRow<'a> {
    values: &'a [f32],
    lines: &'a mut [Line],
}

impl WithSimd for RoundRow<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f32, f32) {
        round_row(simd, self.values, self.lines)
    }
}

#[inline(always)]
fn round_row<S: Simd>(simd: S, values: &[f32], lines: &mut [Line]) -> (f32, f32) {
    let (low, high) = bounds(simd, values);
    let scale = (high - low) / 255.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let (whole, rest) = values.as_chunks::<{ Line::BYTES }>();
    for (line, values) in lines.iter_mut().zip(whole) {
        for (place, value) in line.0.iter_mut().zip(values) {
            *place = rounded((value - low) * inverse);
        }
    }
    if let Some(line) = lines.get_mut(whole.len()) {
        for (place, value) in line.0.iter_mut().zip(rest) {
            *place = rounded((value - low) * inverse);
        }
    }
    (scale, low)
}

/// The nearest whole number of one from 0 to 255.
#[inline(always)]
fn rounded(value: f32) -> u8 {
    /// Adding it rounds to a whole number and leaves that number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    (value + ROUND).to_bits() as u8
}

/// Least and largest.
#[inline(always)]
fn bounds<S: Simd>(simd: S, values: &[f32]) -> (f32, f32) {
    let (whole, rest) = S::as_simd_f32s(values);
    let (mut low, mut high) = (simd.splat_f32s(f32::INFINITY), simd.splat_f32s(f32::NEG_INFINITY));
    for part in whole {
        low = simd.min_f32s(low, *part);
        high = simd.max_f32s(high, *part);
    }
    let start = (simd.reduce_min_f32s(low), simd.reduce_max_f32s(high));
    rest.iter().fold(start, |(low, high), value| (low.min(*value), high.max(*value)))
}
