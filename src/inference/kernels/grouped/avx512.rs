//! AVX-512 with VNNI: up to 8 rows by 16 outputs at a time.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _mm256_loadu_si256, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_cvtph_ps,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_load_si512, _mm512_mul_ps, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps,
};

use super::{Block, DEPTH, GROUP, GroupWidth, PANEL, ROWS};

/// Proof that the processor has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found(());

impl Found {
    pub fn get() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }
}

pub(super) fn products(_: Found, block: &Block<'_>, rows: usize, products: &mut [[f32; PANEL]; ROWS]) {
    // SAFETY: `Found` proves the instructions; the caller has seen that the block is sound for so many rows, at most `ROWS`.
    unsafe {
        match rows {
            0 => {}
            1 => add::<1>(block, products),
            2 => add::<2>(block, products),
            3 => add::<3>(block, products),
            4 => add::<4>(block, products),
            5 => add::<5>(block, products),
            6 => add::<6>(block, products),
            7 => add::<7>(block, products),
            _ => add::<ROWS>(block, products),
        }
    }
}

/// # Safety
/// The instructions are there, and the block is sound for `R` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn add<const R: usize>(block: &Block<'_>, products: &mut [[f32; PANEL]; ROWS]) {
    let groups = block.groups;
    let mut sums = [_mm512_setzero_ps(); R];
    let halves = _mm512_set1_epi8(15);
    for group in 0..groups {
        let lines = block.lines.as_ptr().wrapping_add(group * block.width.lines());
        // SAFETY: a sound block has these lines, each 64 bytes at a multiple of 64.
        let line = |at: usize| -> __m512i { unsafe { _mm512_load_si512(lines.wrapping_add(at).cast()) } };
        // SAFETY: a sound block has so many numbers of each row.
        let four = |row: usize, at: usize| -> __m512i {
            let place = block.numbers.as_ptr().wrapping_add((row * groups + group) * GROUP + at * DEPTH);
            _mm512_set1_epi32(unsafe { place.cast::<i32>().read_unaligned() })
        };
        // SAFETY: a sound block has scale and sum of each group of each row.
        let of_row = |row: usize| unsafe {
            (*block.scales.get_unchecked(row * groups + group), *block.sums.get_unchecked(row * groups + group))
        };
        let mut dots = [_mm512_setzero_si512(); R];
        match block.width {
            GroupWidth::Four => {
                for at in 0..GROUP / DEPTH / 2 {
                    let both = line(at);
                    let low = _mm512_and_si512(both, halves);
                    let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), halves);
                    for (row, dot) in dots.iter_mut().enumerate() {
                        *dot = _mm512_dpbusd_epi32(*dot, low, four(row, 2 * at));
                        *dot = _mm512_dpbusd_epi32(*dot, high, four(row, 2 * at + 1));
                    }
                }
            }
            GroupWidth::Eight => {
                for (row, dot) in dots.iter_mut().enumerate() {
                    *dot = _mm512_set1_epi32(-128 * of_row(row).1);
                }
                for at in 0..GROUP / DEPTH {
                    let weights = line(at);
                    for (row, dot) in dots.iter_mut().enumerate() {
                        *dot = _mm512_dpbusd_epi32(*dot, weights, four(row, at));
                    }
                }
            }
        }
        // SAFETY: a sound block has the scales of each group, and what is taken off in 4 bits.
        let factors = unsafe { widened(block.factors.as_ptr().wrapping_add(group * PANEL)) };
        for (row, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
            let scale = _mm512_mul_ps(factors, _mm512_set1_ps(of_row(row).0));
            *sum = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot), *sum);
        }
        if block.width == GroupWidth::Four {
            // SAFETY: as above.
            let lows = unsafe { widened(block.lows.as_ptr().wrapping_add(group * PANEL)) };
            for (row, sum) in sums.iter_mut().enumerate() {
                let (scale, total) = of_row(row);
                *sum = _mm512_fnmadd_ps(lows, _mm512_set1_ps(scale * total as f32), *sum);
            }
        }
    }
    for (sum, products) in sums.into_iter().zip(products) {
        // SAFETY: a row of products is 16 numbers.
        unsafe { _mm512_storeu_ps(products.as_mut_ptr(), sum) };
    }
}

/// 16 numbers of 16 bits in 32.
///
/// # Safety
/// The instructions are there, and 32 bytes at this place.
#[target_feature(enable = "avx512f")]
unsafe fn widened(place: *const u16) -> __m512 {
    // SAFETY: the caller vouches for the bytes.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(place.cast::<__m256i>()) })
}
