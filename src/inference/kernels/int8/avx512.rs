//! AVX-512 with VNNI: 6 rows by 64 columns at a time in 24 registers.

use std::arch::x86_64::{
    __m512i, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_si512, _mm512_loadu_ps,
    _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_ps,
};

use super::{Activation, Block, COLUMNS, DEPTH, Exit, Group, PANEL, PANELS, Place};
use crate::inference::kernels::vectorise::{Fused, gelu};

/// Rows that are added up at a time.
pub(super) const ROWS: usize = 6;

/// Proof that the processor has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found(());

impl Found {
    pub fn get() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }
}

/// The product of a block, all the way to its numbers in 32 bits: sums leave their registers as those.
pub(super) fn product(found: Found, block: Block<'_>, exit: &mut Exit<'_>) {
    if exit.place.columns.len() == COLUMNS {
        return product_of_whole(found, block, exit);
    }
    let mut whole = [0.0; COLUMNS * super::ROWS];
    let place = Place { columns: 0..COLUMNS, stride: COLUMNS, ..exit.place };
    product_of_whole(found, block, &mut Exit { place, into: &mut whole, ..*exit });
    for (into, whole) in exit.into.chunks_mut(exit.place.stride).zip(whole.as_chunks::<COLUMNS>().0).take(block.count) {
        let into = into.get_mut(exit.place.columns.clone()).unwrap_or_default();
        into.iter_mut().zip(whole).for_each(|(into, value)| *into = *value);
    }
}

/// Of all columns of a block.
fn product_of_whole(_: Found, block: Block<'_>, exit: &mut Exit<'_>) {
    assert!(exit.is_sound(block.count), "the scales or the room of a product are not where they should be");
    let mut first = 0;
    while first < block.count {
        let part = Part {
            rows: block.rows.as_ptr().wrapping_add(first * block.stride),
            stride: block.stride,
            panels: block.panels.as_ptr(),
            groups: block.groups(),
            scale: exit.columns.scale.as_ptr(),
            total: exit.columns.total.as_ptr(),
            bias: exit.columns.bias.as_ptr(),
            row_scale: exit.rows.scale.as_ptr().wrapping_add(first),
            row_low: exit.rows.low.as_ptr().wrapping_add(first),
            into: exit.into.as_mut_ptr().wrapping_add(first * exit.place.stride + exit.place.columns.start),
            into_stride: exit.place.stride,
            activation: exit.place.activation,
        };
        let count = (block.count - first).min(ROWS);
        // SAFETY: `Found` proves the instructions; a sound block holds `count` rows from `first` on and `PANELS` panels of so many
        // groups, and a sound exit has scales and room for them.
        unsafe {
            match count {
                1 => part.add::<1>(),
                2 => part.add::<2>(),
                3 => part.add::<3>(),
                4 => part.add::<4>(),
                5 => part.add::<5>(),
                _ => part.add::<ROWS>(),
            }
        }
        first += count;
    }
}

/// Operations of so many rounds of 24 products in registers.
pub(super) fn peak(_: Found, rounds: u32) -> u64 {
    // SAFETY: `Found` proves the instructions.
    unsafe { peak_rounds(rounds) };
    u64::from(rounds) * (ROWS * PANELS * PANEL * DEPTH * 2) as u64
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn peak_rounds(rounds: u32) {
    let mut sums = [_mm512_setzero_si512(); ROWS * PANELS];
    let numbers = std::hint::black_box(_mm512_set1_epi32(0x0101_0101));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, numbers, numbers);
        }
    }
    std::hint::black_box(sums);
}

/// Where the numbers of some rows of a block are, and where they go.
struct Part {
    rows: *const u8,
    stride: usize,
    panels: *const Group,
    groups: usize,
    scale: *const f32,
    total: *const f32,
    bias: *const f32,
    row_scale: *const f32,
    row_low: *const f32,
    into: *mut f32,
    into_stride: usize,
    activation: Activation,
}

impl Part {
    /// # Safety
    /// The instructions are there, `R` rows of `groups * 4` numbers with their scales, `PANELS` panels with theirs, and room for `R`
    /// rows of `COLUMNS` numbers.
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn add<const R: usize>(&self) {
        let mut sums = [[_mm512_setzero_si512(); PANELS]; R];
        for group in 0..self.groups {
            let mut weights = [_mm512_setzero_si512(); PANELS];
            for (panel, weights) in weights.iter_mut().enumerate() {
                let at = self.panels.wrapping_add(panel * self.groups + group);
                // SAFETY: the caller vouches for the panels; a group is 64 bytes at a multiple of 64.
                *weights = unsafe { _mm512_load_si512(at.cast()) };
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let at = self.rows.wrapping_add(row * self.stride + group * DEPTH);
                // SAFETY: the caller vouches for the rows.
                let numbers = _mm512_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() });
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm512_dpbusd_epi32(*sum, numbers, weights);
                }
            }
        }
        // SAFETY: the caller vouches for scales and room.
        unsafe { self.write(&sums) };
    }

    /// # Safety
    /// As for [`Self::add`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn write<const R: usize>(&self, sums: &[[__m512i; PANELS]; R]) {
        for panel in 0..PANELS {
            let column = panel * PANEL;
            let load = |from: *const f32| {
                // SAFETY: the caller vouches for the scales of all columns.
                unsafe { _mm512_loadu_ps(from.wrapping_add(column)) }
            };
            let (scale, total, bias) = (load(self.scale), load(self.total), load(self.bias));
            for (row, sum) in sums.iter().filter_map(|sums| sums.get(panel)).enumerate() {
                // SAFETY: the caller vouches for the scales of all rows.
                let (row_scale, low) = unsafe { (*self.row_scale.wrapping_add(row), *self.row_low.wrapping_add(row)) };
                let factor = _mm512_mul_ps(_mm512_set1_ps(row_scale), scale);
                let shift = _mm512_fmadd_ps(_mm512_set1_ps(low), total, bias);
                let value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(*sum), factor, shift);
                // SAFETY: the caller vouches for the room.
                unsafe { _mm512_storeu_ps(self.into.wrapping_add(row * self.into_stride + column), value) };
            }
        }
        if self.activation == Activation::Gelu {
            for row in 0..R {
                // SAFETY: as above; it was just written.
                let row = unsafe { &mut *self.into.wrapping_add(row * self.into_stride).cast::<[f32; COLUMNS]>() };
                row.iter_mut().for_each(|value| *value = gelu::<Fused>(*value));
            }
        }
    }
}
