//! Products of rows of 8-bit numbers with a matrix of 8-bit weights, added up in 32 bits.
//!
//! Rows are unsigned, each with its own scale and lowest value; weights are signed, with a scale for each column of the product.
//! All instruction sets give the same sums, bit for bit.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
mod rows;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub(crate) use matrix::Int8Matrix;
pub(crate) use rows::Int8Rows;

use super::half::HalfProducts;
#[cfg(target_arch = "x86_64")]
use super::tiles::{Registers, SIDE, Tiles};
use super::vectorise::{MulAdd, fused_or_split};

/// Numbers of a row that are multiplied and added at once, and lie together in [`Group`].
const DEPTH: usize = 4;

/// Columns of a panel.
const PANEL: usize = 16;

/// Panels of a block of columns.
const PANELS: usize = 4;

/// Columns of a block.
const COLUMNS: usize = PANEL * PANELS;

/// Most rows of a block.
const ROWS: usize = 32;

/// Groups that belong together: what lies behind the last number of a row or a column is zero up to a multiple of them.
const STEP: usize = 16;

/// Weights of [`PANEL`] columns, [`DEPTH`] rows of the matrix deep, column by column.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Group([i8; PANEL * DEPTH]);

/// Sums of one block, row by row.
#[derive(Clone)]
#[repr(C, align(64))]
struct Sums([[i32; COLUMNS]; ROWS]);

/// A block of rows and one of columns to multiply.
#[derive(Clone, Copy)]
struct Block<'a> {
    /// From the first row on, `stride` numbers each.
    rows: &'a [u8],
    stride: usize,
    /// At most [`ROWS`].
    count: usize,
    /// [`PANELS`] panels, `stride / DEPTH` groups each.
    panels: &'a [Group],
}

impl Block<'_> {
    fn groups(&self) -> usize {
        self.stride / DEPTH
    }

    /// Whether memory is as the fields say, and so many rows are there: what every kernel builds on.
    fn is_sound(&self, rows: usize) -> bool {
        self.count <= ROWS
            && self.stride.is_multiple_of(STEP * DEPTH)
            && self.rows.len() >= rows * self.stride
            && self.panels.len() >= PANELS * self.groups()
    }
}

/// Instructions that multiply 8-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Int8Kernel {
    /// Tiles (AMX).
    #[cfg(target_arch = "x86_64")]
    Amx(Tiles),
    /// AVX-512 with VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Found),
    /// AVX2 with VNNI.
    #[cfg(target_arch = "x86_64")]
    AvxVnni(avx2::FoundVnni),
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Found),
    /// NEON with the dot product.
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Found),
    /// None in particular.
    Plain,
}

impl Int8Kernel {
    /// Those that this processor has, the fastest first.
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let special = [
            Tiles::of_bytes().map(Self::Amx),
            avx512::Found::get().map(Self::Avx512),
            avx2::FoundVnni::get().map(Self::AvxVnni),
            avx2::Found::get().map(Self::Avx2),
        ];
        #[cfg(target_arch = "aarch64")]
        let special = [neon::Found::get().map(Self::Neon)];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let special: [Option<Self>; 0] = [];
        special.into_iter().flatten().chain([Self::Plain]).collect()
    }

    /// The products of 16-bit numbers that go with it.
    pub fn half(self) -> Option<HalfProducts> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx(_) => HalfProducts::get(),
            _ => None,
        }
    }

    /// What configuration and reports call it.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx(_) => "amx-int8",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni(_) => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon-dotprod",
            Self::Plain => "plain",
        }
    }

    /// Operations done in registers alone; see [`measure`](crate::inference::measure).
    pub fn peak_operations(self, rounds: u32) -> Option<u64> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx(tiles) => Some(amx::peak(&Registers::lay_out(tiles), rounds)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(found) => Some(avx512::peak(found, rounds)),
            _ => None,
        }
    }

    /// `rows · matrix + bias` through the activation, into rows of `output`, one every `stride` numbers.
    pub fn linear(self, linear: Linear<'_>, output: &mut [f32], stride: usize) {
        let plain = Rows { most: ROWS, multiple: 1 };
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx(tiles) => {
                let registers = Registers::lay_out(tiles);
                // Whole tiles are read.
                let rows = Rows { most: ROWS, multiple: SIDE };
                let product = |block: Block<'_>, sums: &mut Sums| amx::product(&registers, block, sums);
                linear.run(rows, through_sums(product), output, stride);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(found) => {
                let rows = Rows { most: avx512::ROWS * 4, multiple: 1 };
                let whole = |block: Block<'_>, exit: &mut Exit<'_>| avx512::product(found, block, exit);
                linear.run(rows, whole, output, stride);
            }
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni(found) => {
                let product = |block: Block<'_>, sums: &mut Sums| avx2::product_vnni(found, block, sums);
                linear.run(plain, through_sums(product), output, stride);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(found) => {
                let product = |block: Block<'_>, sums: &mut Sums| avx2::product(found, block, sums);
                linear.run(plain, through_sums(product), output, stride);
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon(found) => {
                let product = |block: Block<'_>, sums: &mut Sums| neon::product(found, block, sums);
                linear.run(plain, through_sums(product), output, stride);
            }
            Self::Plain => linear.run(plain, through_sums(plain::product), output, stride),
        }
    }
}

/// How a kernel takes rows.
#[derive(Clone, Copy)]
struct Rows {
    /// Most of a block, at most [`ROWS`].
    most: usize,
    /// So many, or a multiple, are read of memory.
    multiple: usize,
}

/// A part of a product: of a range of rows and a range of columns.
#[derive(Debug, Clone)]
pub(crate) struct Linear<'a> {
    pub rows: &'a Int8Rows,
    pub range: Range<usize>,
    pub matrix: &'a Int8Matrix,
    /// Begins at a multiple of [`Int8Matrix::BLOCK`], and ends at one or with the matrix.
    pub columns: Range<usize>,
    pub activation: Activation,
}

impl Linear<'_> {
    /// Block by block.
    fn run(&self, of: Rows, mut product: impl FnMut(Block<'_>, &mut Exit<'_>), output: &mut [f32], stride: usize) {
        let Self { rows, range, matrix, columns, activation } = self;
        debug_assert!(rows.inputs() == matrix.inputs(), "rows and matrix differ in their inner dimension");
        debug_assert!(columns.start.is_multiple_of(COLUMNS) && columns.end <= matrix.outputs());
        for column in columns.clone().step_by(COLUMNS) {
            for first in range.clone().step_by(of.most) {
                let count = of.most.min(range.end - first);
                let block =
                    Block { rows: rows.bytes_from(first), stride: rows.stride(), count, panels: matrix.panels(column) };
                let is_sound = block.is_sound(count.next_multiple_of(of.multiple));
                assert!(is_sound, "the rows or panels of a product are not where they should be");
                let start = column - columns.start;
                let mut exit = Exit {
                    rows: rows.scales(first..first + count),
                    columns: matrix.columns(column),
                    place: Place {
                        columns: start..columns.len().min(start + COLUMNS),
                        stride,
                        activation: *activation,
                    },
                    into: output.get_mut((first - range.start) * stride..).unwrap_or_default(),
                };
                product(block, &mut exit);
            }
        }
    }
}

/// A product that leaves its sums in memory, and what becomes of them.
fn through_sums(product: impl Fn(Block<'_>, &mut Sums)) -> impl FnMut(Block<'_>, &mut Exit<'_>) {
    let mut sums = Sums([[0; COLUMNS]; ROWS]);
    move |block, exit| {
        product(block, &mut sums);
        let Exit { rows, columns, place, into } = exit;
        fused_or_split!(write(&sums, *rows, *columns, place, into));
    }
}

/// Where the sums of a block go, and through what.
struct Exit<'a> {
    rows: RowScales<'a>,
    columns: ColumnScales<'a>,
    place: Place,
    /// From the first row of the block on.
    into: &'a mut [f32],
}

#[cfg(target_arch = "x86_64")]
impl Exit<'_> {
    /// Whether there are scales for so many rows and all columns of a block, and room for them.
    fn is_sound(&self, rows: usize) -> bool {
        let of_columns = [self.columns.scale, self.columns.total, self.columns.bias];
        let end = rows.saturating_sub(1) * self.place.stride + self.place.columns.start + COLUMNS;
        self.rows.scale.len() >= rows
            && self.rows.low.len() >= rows
            && of_columns.iter().all(|scales| scales.len() >= COLUMNS)
            && self.into.len() >= end
    }
}

/// What a product goes through on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    /// GELU with erf, to 1e-5.
    Gelu,
}

/// Where a block goes.
#[derive(Clone)]
struct Place {
    /// Of a row, as far as there are so many.
    columns: Range<usize>,
    /// From one row to the next.
    stride: usize,
    activation: Activation,
}

/// Scale and lowest value of rows.
#[derive(Clone, Copy)]
struct RowScales<'a> {
    scale: &'a [f32],
    low: &'a [f32],
}

/// Of some columns: scale, scale times the sum of the weights, and bias.
#[derive(Clone, Copy)]
struct ColumnScales<'a> {
    scale: &'a [f32],
    total: &'a [f32],
    bias: &'a [f32],
}

/// Turns sums into numbers.
#[inline(always)]
fn write<M: MulAdd>(sums: &Sums, rows: RowScales<'_>, columns: ColumnScales<'_>, place: &Place, into: &mut [f32]) {
    let (Some(scale), Some(total), Some(bias)) =
        (columns.scale.first_chunk(), columns.total.first_chunk(), columns.bias.first_chunk())
    else {
        return;
    };
    let columns = (scale, total, bias);
    for (((sums, into), scale), low) in sums.0.iter().zip(into.chunks_mut(place.stride)).zip(rows.scale).zip(rows.low) {
        let into = into.get_mut(place.columns.clone()).unwrap_or_default();
        if let Ok(into) = <&mut [f32; COLUMNS]>::try_from(&mut *into) {
            write_row::<M>(sums, (*scale, *low), columns, place.activation, into);
        } else {
            let mut whole = [0.0; COLUMNS];
            write_row::<M>(sums, (*scale, *low), columns, place.activation, &mut whole);
            into.iter_mut().zip(whole).for_each(|(into, value)| *into = value);
        }
    }
}

#[inline(always)]
fn write_row<M: MulAdd>(
    sums: &[i32; COLUMNS],
    (row_scale, low): (f32, f32),
    (scale, total, bias): (&[f32; COLUMNS], &[f32; COLUMNS], &[f32; COLUMNS]),
    activation: Activation,
    into: &mut [f32; COLUMNS],
) {
    for ((into, sum), ((scale, total), bias)) in into.iter_mut().zip(sums).zip(scale.iter().zip(total).zip(bias)) {
        *into = M::mul_add(*sum as f32, row_scale * scale, M::mul_add(low, *total, *bias));
    }
    if activation == Activation::Gelu {
        into.iter_mut().for_each(|value| *value = super::vectorise::gelu::<M>(*value));
    }
}
