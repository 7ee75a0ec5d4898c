//! The tile unit of newer Intel processors (AMX) on products of 16-bit numbers.
//!
//! Both factors are brought into tiles first: 16 rows (of the right factor: columns) of 32 numbers of the inner dimension. Then
//! blocks of 32 by 32 numbers are added up in four tile registers.

use std::arch::asm;
use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_si512, _mm512_maskz_loadu_ps, _mm512_permutexvar_epi16,
    _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::cell::Cell;
use std::mem::{ManuallyDrop, MaybeUninit, transmute};

use rayon::prelude::*;

use super::half::Operand;
use super::tiles::{Registers, SIDE, Tiles};

/// Numbers in a row of a tile.
const DEPTH: usize = 32;

/// Rows, and columns, of a block that is added up at a time.
const BLOCK: usize = 2 * SIDE;

/// Steps of the inner dimension, a tile deep each, that are taken at a time: the tiles of a block's columns then stay in the
/// innermost cache, those of a task's rows in the next.
const STEPS: usize = 16;

/// Most rows that one task takes.
const ROWS: usize = 256;

/// What a tile register holds.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Tile([[u16; DEPTH]; SIDE]);

impl Tile {
    const ZERO: Self = Self([[0; DEPTH]; SIDE]);
    const BYTES: usize = size_of::<Self>();
}

/// A block of the product where it lies.
struct Block {
    into: *mut f32,
    /// Numbers from one row to the next.
    stride: usize,
    /// Whether it counts as zero, whatever it holds.
    is_fresh: bool,
}

impl Registers {
    /// Adds two panels of rows times two panels of columns to a block, `steps` tiles deep.
    ///
    /// # Safety
    /// `steps` is above 0, each pointer leads to `steps` tiles, and the block has 32 rows of 32 numbers.
    unsafe fn add_product(&self, rows: [*const Tile; 2], columns: [*const Tile; 2], steps: usize, block: &Block) {
        let (top, below) = (block.into, block.into.wrapping_add(SIDE * block.stride));
        let stride = block.stride * size_of::<f32>();
        let ([upper, lower], [first, second]) = (rows, columns);
        // SAFETY: the caller vouches for the memory, `self` for the registers; the compiler keeps nothing in tile registers.
        unsafe {
            if block.is_fresh {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    options(nostack, nomem, preserves_flags)
                );
            } else {
                asm!(
                    "tileloadd tmm0, [{top} + {stride}]",
                    "tileloadd tmm1, [{top} + {stride} + 64]",
                    "tileloadd tmm2, [{below} + {stride}]",
                    "tileloadd tmm3, [{below} + {stride} + 64]",
                    top = in(reg) top,
                    below = in(reg) below,
                    stride = in(reg) stride,
                    options(nostack, readonly, preserves_flags)
                );
            }
            asm!(
                "2:",
                "tileloadd tmm6, [{first} + {row}]",
                "tileloadd tmm4, [{upper} + {row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{second} + {row}]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{lower} + {row}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {first}, {tile}",
                "add {second}, {tile}",
                "add {upper}, {tile}",
                "add {lower}, {tile}",
                "dec {steps}",
                "jnz 2b",
                first = inout(reg) first => _,
                second = inout(reg) second => _,
                upper = inout(reg) upper => _,
                lower = inout(reg) lower => _,
                steps = inout(reg) steps => _,
                row = in(reg) 2 * DEPTH,
                tile = const Tile::BYTES,
                options(nostack, readonly)
            );
            asm!(
                "tilestored [{top} + {stride}], tmm0",
                "tilestored [{top} + {stride} + 64], tmm1",
                "tilestored [{below} + {stride}], tmm2",
                "tilestored [{below} + {stride} + 64], tmm3",
                top = in(reg) top,
                below = in(reg) below,
                stride = in(reg) stride,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// Sixteen rows of sixteen pairs of 16-bit numbers.
type Pairs = [__m512i; SIDE];

/// A part of a matrix in memory that becomes a tile.
#[derive(Clone, Copy)]
struct Part {
    from: *const f32,
    stride: usize,
    rows: usize,
    columns: usize,
}

fn mask(columns: usize) -> u16 {
    ((1u32 << columns.min(16)) - 1) as u16
}

/// Pairs of neighbours in each of up to 16 rows of up to 32 numbers; the rest is zero.
///
/// # Safety
/// The part is in memory.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn pairs_within(part: Part) -> Pairs {
    let mut pairs = [_mm512_setzero_si512(); SIDE];
    let (low, high) = (mask(part.columns), mask(part.columns.saturating_sub(16)));
    for (row, pair) in pairs.iter_mut().enumerate().take(part.rows) {
        let at = part.from.wrapping_add(row * part.stride);
        // SAFETY: only numbers of the part are read; the masks leave out what lies behind a row.
        let (first, second) =
            unsafe { (_mm512_maskz_loadu_ps(low, at), _mm512_maskz_loadu_ps(high, at.wrapping_add(16))) };
        *pair = bits(_mm512_cvtne2ps_pbh(second, first));
    }
    pairs
}

/// Pairs of numbers one above the other, of up to 32 rows of up to 16 numbers; the rest is zero.
///
/// # Safety
/// The part is in memory.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn pairs_across(part: Part) -> Pairs {
    static INTERLEAVED: [u16; DEPTH] = [
        0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
        15, 31,
    ];
    // SAFETY: the order is 64 bytes long.
    let interleaved = unsafe { _mm512_loadu_si512(INTERLEAVED.as_ptr().cast()) };
    let mut pairs = [_mm512_setzero_si512(); SIDE];
    let mask = mask(part.columns);
    for (index, pair) in pairs.iter_mut().enumerate().take(part.rows.div_ceil(2)) {
        let at = part.from.wrapping_add(2 * index * part.stride);
        let has_second = 2 * index + 1 < part.rows;
        // SAFETY: only numbers of the part are read; the mask leaves out what lies behind a row.
        let (first, second) = unsafe {
            let second = if has_second { mask } else { 0 };
            (_mm512_maskz_loadu_ps(mask, at), _mm512_maskz_loadu_ps(second, at.wrapping_add(part.stride)))
        };
        *pair = _mm512_permutexvar_epi16(interleaved, bits(_mm512_cvtne2ps_pbh(second, first)));
    }
    pairs
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn bits(numbers: __m512bh) -> __m512i {
    // SAFETY: both are 512 bits without a meaning that bits could break.
    unsafe { transmute::<__m512bh, __m512i>(numbers) }
}

/// Rows become columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: Pairs) -> Pairs {
    let [a0, a1, a2, a3] = quarters([a, b, c, d]);
    let [b0, b1, b2, b3] = quarters([e, f, g, h]);
    let [c0, c1, c2, c3] = quarters([i, j, k, l]);
    let [d0, d1, d2, d3] = quarters([m, n, o, p]);
    let [r0, r4, r8, r12] = gathered([a0, b0, c0, d0]);
    let [r1, r5, r9, r13] = gathered([a1, b1, c1, d1]);
    let [r2, r6, r10, r14] = gathered([a2, b2, c2, d2]);
    let [r3, r7, r11, r15] = gathered([a3, b3, c3, d3]);
    [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15]
}

/// Transposes the four blocks of 4 by 4 in four rows: result `i` holds columns `i`, `i + 4`, `i + 8` and `i + 12`, a quarter each.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab_low, cd_low),
        _mm512_unpackhi_epi64(ab_low, cd_low),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// Result `i` holds quarter `i` of each of the four.
#[inline]
#[target_feature(enable = "avx512f")]
fn gathered([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;
    let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<EVEN>(a, b), _mm512_shuffle_i32x4::<ODD>(a, b));
    let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<EVEN>(c, d), _mm512_shuffle_i32x4::<ODD>(c, d));
    [
        _mm512_shuffle_i32x4::<EVEN>(ab_even, cd_even),
        _mm512_shuffle_i32x4::<EVEN>(ab_odd, cd_odd),
        _mm512_shuffle_i32x4::<ODD>(ab_even, cd_even),
        _mm512_shuffle_i32x4::<ODD>(ab_odd, cd_odd),
    ]
}

/// Writes a part into a tile: with pairs of neighbours `within` rows, or else one above the other; then transposed, if `turned`.
///
/// # Safety
/// The part is in memory, and the processor has the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn pack(part: Part, within: bool, turned: bool, into: &mut Tile) {
    // SAFETY: as the caller vouches.
    let pairs = unsafe { if within { pairs_within(part) } else { pairs_across(part) } };
    let pairs = if turned { transposed(pairs) } else { pairs };
    for (row, pair) in into.0.iter_mut().zip(pairs) {
        // SAFETY: a row is 64 bytes long.
        unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), pair) };
    }
}

/// One factor of a product: `outer` rows of the left one or columns of the right one, `inner` numbers each.
#[derive(Clone, Copy)]
struct Factor<'a> {
    values: &'a [f32],
    stride: usize,
    /// Whether the numbers of the inner dimension lie next to each other.
    inner_lies: bool,
    is_right: bool,
    outer: usize,
    inner: usize,
}

impl<'a> Factor<'a> {
    fn new(operand: Operand<'a>, is_right: bool, inner: usize) -> Self {
        let (rows, columns) = operand.shape();
        Self {
            values: operand.values(),
            stride: operand.stride(),
            inner_lies: operand.is_turned() == is_right,
            is_right,
            outer: if is_right { columns } else { rows },
            inner,
        }
    }

    /// Writes the tiles of 16 rows or columns.
    fn pack_panel(&self, tiles: Tiles, panel: usize, into: &mut [Tile]) {
        for (step, tile) in into.iter_mut().enumerate() {
            self.pack(tiles, panel * SIDE, step * DEPTH, tile);
        }
    }

    /// Writes the tile that begins at `outer` and `inner`; zeros beyond the matrix.
    fn pack(&self, _: Tiles, outer: usize, inner: usize, into: &mut Tile) {
        let (side, depth) = (self.outer.saturating_sub(outer).min(SIDE), self.inner.saturating_sub(inner).min(DEPTH));
        let (row, column, rows, columns) =
            if self.inner_lies { (outer, inner, side, depth) } else { (inner, outer, depth, side) };
        let start = row * self.stride + column;
        // Nothing is read of an empty part, and nothing beyond the last number of one that is not.
        let end = if rows == 0 || columns == 0 { start } else { start + (rows - 1) * self.stride + columns };
        let (rows, columns, values) = match self.values.get(start..end) {
            Some(values) if end > start => (rows, columns, values),
            _ => (0, 0, self.values),
        };
        let part = Part { from: values.as_ptr(), stride: self.stride, rows, columns };
        // SAFETY: the slice holds the part from its first to its last number; `Tiles` is only there with the vector instructions.
        unsafe { pack(part, self.inner_lies, self.inner_lies == self.is_right, into) };
    }
}

/// Memory for tiles.
#[derive(Default)]
pub(super) struct Room {
    left: Vec<Tile>,
    right: Vec<Tile>,
}

thread_local! {
    /// Of large products on this thread. It is taken for the time of a product, in which the thread may be given another.
    static ROOM: Cell<Room> = const { Cell::new(Room { left: Vec::new(), right: Vec::new() }) };
}

/// The factors of `left · right` with the shape of the product; `None` if there is nothing to add up.
fn factors<'a>(left: Operand<'a>, right: Operand<'a>) -> (usize, usize, Option<(Factor<'a>, Factor<'a>)>) {
    let ((rows, inner), (other_inner, columns)) = (left.shape(), right.shape());
    debug_assert_eq!(inner, other_inner, "the inner dimensions of a product differ");
    let inner = inner.min(other_inner);
    let is_empty = rows == 0 || columns == 0 || inner == 0;
    let factors = || (Factor::new(left, false, inner), Factor::new(right, true, inner));
    (rows, columns, (!is_empty).then(factors))
}

/// Panels of 16 columns, an even number of them.
fn panels(columns: usize) -> usize {
    columns.div_ceil(BLOCK) * 2
}

/// `left · right`.
pub(super) fn multiply(tiles: Tiles, left: Operand<'_>, right: Operand<'_>) -> Vec<f32> {
    let (rows, columns, factors) = factors(left, right);
    let Some((left, right)) = factors else { return vec![0.0; rows * columns] };
    let mut product: Vec<MaybeUninit<f32>> = Vec::with_capacity(rows * columns);
    // SAFETY: numbers that may be uninitialised need no initialisation.
    unsafe { product.set_len(rows * columns) };
    let steps = right.inner.div_ceil(DEPTH);
    let mut packed = ROOM.take().right;
    packed.resize(panels(columns) * steps, Tile::ZERO);
    packed.par_chunks_mut(steps).enumerate().for_each(|(panel, into)| right.pack_panel(tiles, panel, into));
    let share = rows.div_ceil(rayon::current_num_threads()).next_multiple_of(BLOCK).min(ROWS);
    product.par_chunks_mut(share * columns).enumerate().for_each(|(task, into)| {
        let mut room = ROOM.take();
        task_product(tiles, left, task * share, &packed, &mut room.left, into, columns);
        ROOM.set(room);
    });
    ROOM.set(Room { right: packed, ..ROOM.take() });
    initialised(product)
}

/// A product after the tasks have written all of it.
fn initialised(product: Vec<MaybeUninit<f32>>) -> Vec<f32> {
    let mut product = ManuallyDrop::new(product);
    // SAFETY: the memory is that of a vector of numbers as large and as aligned, which is not dropped; every block was written.
    unsafe { Vec::from_raw_parts(product.as_mut_ptr().cast(), product.len(), product.capacity()) }
}

/// `left · right` on this thread.
pub(super) fn multiply_here(
    tiles: Tiles,
    left: Operand<'_>,
    right: Operand<'_>,
    room: &mut Room,
    product: &mut Vec<f32>,
) {
    let (rows, columns, factors) = factors(left, right);
    product.clear();
    let Some((left, right)) = factors else { return product.resize(rows * columns, 0.0) };
    product.reserve(rows * columns);
    let steps = right.inner.div_ceil(DEPTH);
    room.right.resize(panels(columns) * steps, Tile::ZERO);
    for (panel, into) in room.right.chunks_exact_mut(steps).enumerate() {
        right.pack_panel(tiles, panel, into);
    }
    let whole = product.spare_capacity_mut().get_mut(..rows * columns).unwrap_or_default();
    for (task, into) in whole.chunks_mut(ROWS * columns).enumerate() {
        task_product(tiles, left, task * ROWS, &room.right, &mut room.left, into, columns);
    }
    // SAFETY: there is room for so many, and the tasks have written every block of them.
    unsafe { product.set_len(rows * columns) };
}

/// Writes rows of the product from `first` on, as many as `into` has.
fn task_product(
    tiles: Tiles,
    left: Factor<'_>,
    first: usize,
    right: &[Tile],
    packed: &mut Vec<Tile>,
    into: &mut [MaybeUninit<f32>],
    columns: usize,
) {
    let steps = left.inner.div_ceil(DEPTH);
    // The most steps that are taken at a time, of the left factor's panels.
    let deep = steps.min(STEPS);
    packed.resize((into.len() / columns).div_ceil(BLOCK) * 2 * deep, Tile::ZERO);
    for from in (0..steps).step_by(deep) {
        let now = (steps - from).min(deep);
        for (panel, into) in packed.chunks_exact_mut(deep).enumerate() {
            for (step, tile) in into.iter_mut().enumerate().take(now) {
                left.pack(tiles, first + panel * SIDE, (from + step) * DEPTH, tile);
            }
        }
        let registers = Registers::lay_out(tiles);
        for (column, pair) in right.chunks_exact(2 * steps).enumerate() {
            let (one, other) = pair.split_at(steps);
            let (Some(one), Some(other)) = (one.get(from..from + now), other.get(from..from + now)) else { continue };
            for (row, pair) in packed.chunks_exact(2 * deep).enumerate() {
                let (upper, lower) = pair.split_at(deep);
                let place = Place { row: row * BLOCK, column: column * BLOCK, is_fresh: from == 0 };
                place.add(&registers, [upper, lower], [one, other], into, columns);
            }
        }
    }
}

/// Where a block of 32 by 32 numbers lies.
struct Place {
    row: usize,
    column: usize,
    is_fresh: bool,
}

impl Place {
    fn add(
        &self,
        registers: &Registers,
        [upper, lower]: [&[Tile]; 2],
        [one, other]: [&[Tile]; 2],
        into: &mut [MaybeUninit<f32>],
        columns: usize,
    ) {
        let steps = upper.len().min(lower.len()).min(one.len()).min(other.len());
        let (rows_of, columns_of) = ([upper.as_ptr(), lower.as_ptr()], [one.as_ptr(), other.as_ptr()]);
        let start = self.row * columns + self.column;
        let whole = start..start + (BLOCK - 1) * columns + BLOCK;
        if self.column + BLOCK <= columns
            && let Some(whole) = into.get_mut(whole)
        {
            let block = Block { into: whole.as_mut_ptr().cast(), stride: columns, is_fresh: self.is_fresh };
            // SAFETY: there are at least `steps` tiles in each panel, at least one, and the slice holds the block.
            unsafe { registers.add_product(rows_of, columns_of, steps, &block) };
            return;
        }
        let mut whole = [MaybeUninit::<f32>::uninit(); BLOCK * BLOCK];
        let here = self.column..columns.min(self.column + BLOCK);
        for (row, whole) in into.chunks_exact(columns).skip(self.row).zip(whole.chunks_exact_mut(BLOCK)) {
            let here = row.get(here.clone()).unwrap_or_default();
            whole.iter_mut().zip(here).for_each(|(whole, value)| *whole = *value);
        }
        let block = Block { into: whole.as_mut_ptr().cast(), stride: BLOCK, is_fresh: self.is_fresh };
        // SAFETY: there are at least `steps` tiles in each panel, at least one, and the array is the block.
        unsafe { registers.add_product(rows_of, columns_of, steps, &block) };
        for (row, whole) in into.chunks_exact_mut(columns).skip(self.row).zip(whole.chunks_exact(BLOCK)) {
            let here = row.get_mut(here.clone()).unwrap_or_default();
            here.iter_mut().zip(whole).for_each(|(value, whole)| *value = *whole);
        }
    }
}
