//! AVX2: one row by 16 outputs at a time, in 16-bit steps that can't overflow.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_loadu_si128, _mm_set1_epi32, _mm256_add_epi32, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_cvtph_ps,
    _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_hadd_epi32, _mm256_load_si256,
    _mm256_madd_epi16, _mm256_permute4x64_epi64, _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_sub_epi32,
};

use super::{Block, DEPTH, GROUP, GroupWidth, PANEL, ROWS};

/// Proof that the processor has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found(());

impl Found {
    pub fn get() -> Option<Self> {
        let has =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

pub(super) fn products(_: Found, block: &Block<'_>, rows: usize, products: &mut [[f32; PANEL]; ROWS]) {
    for (row, products) in products.iter_mut().take(rows).enumerate() {
        // SAFETY: `Found` proves the instructions; the caller has seen that the block is sound for so many rows.
        unsafe { add(block, row, products) };
    }
}

/// # Safety
/// The instructions are there, and the block is sound for this row.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add(block: &Block<'_>, row: usize, products: &mut [f32; PANEL]) {
    let groups = block.groups;
    let mut sums = [_mm256_setzero_ps(); 2];
    let halves = _mm256_set1_epi8(15);
    for group in 0..groups {
        let at_row = row * groups + group;
        let lines = block.lines.as_ptr().wrapping_add(group * block.width.lines()).cast::<__m256i>();
        // SAFETY: a sound block has these lines, each two halves of 32 bytes at multiples of 32.
        let half_line = |at: usize| -> __m256i { unsafe { _mm256_load_si256(lines.wrapping_add(at)) } };
        // SAFETY: a sound block has so many numbers of each row.
        let four = |at: usize| -> __m256i {
            let place = block.numbers.as_ptr().wrapping_add(at_row * GROUP + at * DEPTH);
            _mm256_cvtepi8_epi16(_mm_set1_epi32(unsafe { place.cast::<i32>().read_unaligned() }))
        };
        // SAFETY: a sound block has scale and sum of each group of each row.
        let (scale, total) = unsafe { (*block.scales.get_unchecked(at_row), *block.sums.get_unchecked(at_row)) };
        // For each half of the outputs, sums of two neighbouring inputs each: four outputs in each of two vectors.
        let mut dots = [[_mm256_setzero_si256(); 2]; 2];
        for at in 0..GROUP / DEPTH {
            let numbers = four(at);
            for (half, dots) in dots.iter_mut().enumerate() {
                let bytes = match block.width {
                    GroupWidth::Four if at % 2 == 0 => _mm256_and_si256(half_line(at / 2 * 2 + half), halves),
                    GroupWidth::Four => _mm256_and_si256(_mm256_srli_epi16::<4>(half_line(at / 2 * 2 + half)), halves),
                    GroupWidth::Eight => half_line(at * 2 + half),
                };
                let parts = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
                for (dot, part) in dots.iter_mut().zip(parts) {
                    *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(_mm256_cvtepu8_epi16(part), numbers));
                }
            }
        }
        let taken = match block.width {
            GroupWidth::Four => 0,
            GroupWidth::Eight => 128 * total,
        };
        for (half, (sum, [first, second])) in sums.iter_mut().zip(dots).enumerate() {
            // Neighbours are added, then the quarters stand in the order of outputs again.
            let dot = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(first, second));
            let dot = _mm256_sub_epi32(dot, _mm256_set1_epi32(taken));
            let place = group * PANEL + half * PANEL / 2;
            // SAFETY: a sound block has the scales of each group, and what is taken off in 4 bits.
            let factors = unsafe { widened(block.factors.as_ptr().wrapping_add(place)) };
            let factors = std::arch::x86_64::_mm256_mul_ps(factors, _mm256_set1_ps(scale));
            *sum = _mm256_fmadd_ps(factors, _mm256_cvtepi32_ps(dot), *sum);
            if block.width == GroupWidth::Four {
                // SAFETY: as above.
                let lows = unsafe { widened(block.lows.as_ptr().wrapping_add(place)) };
                *sum = _mm256_fnmadd_ps(lows, _mm256_set1_ps(scale * total as f32), *sum);
            }
        }
    }
    for (sum, products) in sums.into_iter().zip(products.as_chunks_mut::<{ PANEL / 2 }>().0) {
        // SAFETY: half a row of products is 8 numbers.
        unsafe { _mm256_storeu_ps(products.as_mut_ptr(), sum) };
    }
}

/// 8 numbers of 16 bits in 32.
///
/// # Safety
/// The instructions are there, and 16 bytes at this place.
#[target_feature(enable = "avx2,f16c")]
unsafe fn widened(place: *const u16) -> __m256 {
    // SAFETY: the caller vouches for the bytes.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(place.cast::<__m128i>()) })
}
