//! Products of rows with a matrix whose weights have 4 or 8 bits, 32 of an output's weights by a scale of their own: the way in which
//! language models are stored.
//!
//! Rows are rounded to 8 bits in groups of 32 too. A group's products are added up in 32 bits, and groups in 32-bit floating point in
//! their order: what becomes of a row depends on nothing but the row, and all instruction sets give the same to the last bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod matrix;
mod plain;
mod rows;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub(crate) use matrix::{GroupWidth, GroupedMatrix, QuarterGroup};
pub(crate) use rows::GroupedRows;

/// Weights of an output that share a scale, and numbers of a row that do.
pub(crate) const GROUP: usize = 32;

/// Outputs whose weights lie together.
pub(crate) const PANEL: usize = 16;

/// Inputs of an output that lie together.
const DEPTH: usize = 4;

/// Most rows that are multiplied at a time.
const ROWS: usize = 8;

/// Bytes as a vector register holds them.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; PANEL * DEPTH]);

/// Some rows and one panel of a matrix.
struct Block<'a> {
    /// From the first row on, `groups * GROUP` numbers each.
    numbers: &'a [i8],
    /// Scale of each group of each row.
    scales: &'a [f32],
    /// Sum of the numbers of each group of each row.
    sums: &'a [i32],
    groups: usize,
    /// The panel's weights, group by group.
    lines: &'a [Line],
    /// The panel's scales as 16-bit numbers, [`PANEL`] a group.
    factors: &'a [u16],
    /// What is taken off, in the same way; only of weights in 4 bits.
    lows: &'a [u16],
    width: GroupWidth,
}

impl Block<'_> {
    /// Whether memory is as the fields say for so many rows: what every kernel builds on.
    fn is_sound(&self, rows: usize) -> bool {
        let of_lows = if self.width == GroupWidth::Four { self.groups * PANEL } else { 0 };
        self.numbers.len() >= rows * self.groups * GROUP
            && self.scales.len() >= rows * self.groups
            && self.sums.len() >= rows * self.groups
            && self.lines.len() >= self.groups * self.width.lines()
            && self.factors.len() >= self.groups * PANEL
            && self.lows.len() >= of_lows
    }
}

/// Instructions that multiply grouped numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupedKernel {
    /// AVX-512 with VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Found),
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Found),
    /// None in particular.
    Plain,
}

impl GroupedKernel {
    /// Those that this processor has, the fastest first.
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let special = [avx512::Found::get().map(Self::Avx512), avx2::Found::get().map(Self::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let special: [Option<Self>; 0] = [];
        special.into_iter().flatten().chain([Self::Plain]).collect()
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Self::available().into_iter().next().unwrap_or(Self::Plain)
    }

    /// What reports call it.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            Self::Plain => "plain",
        }
    }

    /// Products of some rows with some panels of a matrix, into rows of `output`, one every `stride` numbers, which begin with the
    /// first of these panels.
    pub fn multiply(
        self,
        rows: &GroupedRows,
        range: Range<usize>,
        matrix: &GroupedMatrix,
        panels: Range<usize>,
        output: &mut [f32],
        stride: usize,
    ) {
        debug_assert!(rows.inputs() == matrix.inputs(), "rows and matrix differ in their inner dimension");
        let first_output = panels.start * PANEL;
        let width = matrix.outputs().min(panels.end * PANEL).saturating_sub(first_output);
        for panel in panels {
            let column = panel * PANEL - first_output;
            let columns = column..width.min(column + PANEL);
            for first in range.clone().step_by(ROWS) {
                let count = ROWS.min(range.end - first);
                let block = Block {
                    numbers: rows.numbers_from(first),
                    scales: rows.scales_from(first),
                    sums: rows.sums_from(first),
                    groups: matrix.groups(),
                    lines: matrix.lines(panel),
                    factors: matrix.factors(panel),
                    lows: matrix.lows(panel),
                    width: matrix.width(),
                };
                assert!(block.is_sound(count), "the rows or the panel of a product are not where they should be");
                let mut products = [[0.0; PANEL]; ROWS];
                match self {
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx512(found) => avx512::products(found, &block, count, &mut products),
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx2(found) => avx2::products(found, &block, count, &mut products),
                    Self::Plain => plain::products(&block, count, &mut products),
                }
                let into = output.get_mut((first - range.start) * stride..).unwrap_or_default();
                for (products, into) in products.iter().take(count).zip(into.chunks_mut(stride)) {
                    let into = into.get_mut(columns.clone()).unwrap_or_default();
                    into.copy_from_slice(products.get(..into.len()).unwrap_or_default());
                }
            }
        }
    }
}
