//! AVX2, with VNNI where it is: a few rows by 16 columns at a time.

use std::arch::x86_64::{
    __m256i, _mm_load_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_dpbusd_avx_epi32, _mm256_hadd_epi32,
    _mm256_load_si256, _mm256_madd_epi16, _mm256_permute4x64_epi64, _mm256_set1_epi32, _mm256_set1_epi64x,
    _mm256_setzero_si256, _mm256_store_si256,
};

use super::{Block, DEPTH, Group, PANEL, PANELS, Sums};

/// Rows that are added up at a time.
const ROWS: usize = 4;
const ROWS_VNNI: usize = 6;

/// Proof that the processor has AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found(());

impl Found {
    pub fn get() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

/// Proof that the processor has AVX2 and, apart from AVX-512, VNNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundVnni(());

impl FoundVnni {
    pub fn get() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni")).then_some(Self(()))
    }
}

pub(super) fn product(_: Found, block: Block<'_>, sums: &mut Sums) {
    each::<ROWS>(block, sums, |part, count| {
        // SAFETY: `Found` proves the instructions; `each` gives parts that hold `count` rows.
        unsafe {
            match count {
                1 => part.add::<1>(),
                2 => part.add::<2>(),
                3 => part.add::<3>(),
                _ => part.add::<ROWS>(),
            }
        }
    });
}

pub(super) fn product_vnni(_: FoundVnni, block: Block<'_>, sums: &mut Sums) {
    each::<ROWS_VNNI>(block, sums, |part, count| {
        // SAFETY: `FoundVnni` proves the instructions; `each` gives parts that hold `count` rows.
        unsafe {
            match count {
                1 => part.add_vnni::<1>(),
                2 => part.add_vnni::<2>(),
                3 => part.add_vnni::<3>(),
                4 => part.add_vnni::<4>(),
                5 => part.add_vnni::<5>(),
                _ => part.add_vnni::<ROWS_VNNI>(),
            }
        }
    });
}

/// Some rows of a block and one of its panels.
struct Part {
    rows: *const u8,
    stride: usize,
    panel: *const Group,
    groups: usize,
    /// The panel's sums of the first row; those of the next lie [`PANELS`] further on.
    into: *mut [i32; PANEL],
}

/// Takes a sound block apart: `add` is given parts with the number of their rows, at most `MOST`.
fn each<const MOST: usize>(block: Block<'_>, sums: &mut Sums, add: impl Fn(&Part, usize)) {
    for panel in 0..PANELS {
        for first in (0..block.count).step_by(MOST) {
            let part = Part {
                rows: block.rows.as_ptr().wrapping_add(first * block.stride),
                stride: block.stride,
                panel: block.panels.as_ptr().wrapping_add(panel * block.groups()),
                groups: block.groups(),
                into: sums.0.as_mut_ptr().cast::<[i32; PANEL]>().wrapping_add(first * PANELS + panel),
            };
            add(&part, MOST.min(block.count - first));
        }
    }
}

impl Part {
    /// Four numbers of a row, as they lie.
    ///
    /// # Safety
    /// The part has the row and the group.
    #[inline]
    unsafe fn numbers(&self, row: usize, group: usize) -> i32 {
        // SAFETY: as the caller vouches.
        unsafe { self.rows.wrapping_add(row * self.stride + group * DEPTH).cast::<i32>().read_unaligned() }
    }

    /// # Safety
    /// The instructions are there, `R` rows, the panel, and room for the sums.
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn add_vnni<const R: usize>(&self) {
        let mut sums = [[_mm256_setzero_si256(); 2]; R];
        for group in 0..self.groups {
            let at = self.panel.wrapping_add(group).cast::<__m256i>();
            // SAFETY: the caller vouches for the panel; a group is 64 bytes at a multiple of 64.
            let weights = unsafe { [_mm256_load_si256(at), _mm256_load_si256(at.wrapping_add(1))] };
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the rows.
                let numbers = _mm256_set1_epi32(unsafe { self.numbers(row, group) });
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm256_dpbusd_avx_epi32(*sum, numbers, weights);
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            // SAFETY: the caller vouches for the room.
            unsafe { self.store(row, sums) };
        }
    }

    /// In 16 bits, whose products are added in pairs without loss: those of 8 bits would be cut off where they are large.
    ///
    /// # Safety
    /// The instructions are there, `R` rows, the panel, and room for the sums.
    #[target_feature(enable = "avx2")]
    unsafe fn add<const R: usize>(&self) {
        // Two sums a column, of four columns a register; half of a panel at a time, so that they all fit.
        let mut halves = [[_mm256_setzero_si256(); 2]; R];
        for half in 0..2 {
            let mut sums = [[_mm256_setzero_si256(); 2]; R];
            for group in 0..self.groups {
                let at = self.panel.wrapping_add(group).cast::<std::arch::x86_64::__m128i>().wrapping_add(half * 2);
                // SAFETY: the caller vouches for the panel; a group is 64 bytes at a multiple of 64.
                let weights = unsafe { [_mm_load_si128(at), _mm_load_si128(at.wrapping_add(1))] };
                let weights = weights.map(
                    #[inline(always)]
                    |weights| _mm256_cvtepi8_epi16(weights),
                );
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: the caller vouches for the rows.
                    let numbers = widened(unsafe { self.numbers(row, group) });
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(numbers, weights));
                    }
                }
            }
            for (halves, [first, second]) in halves.iter_mut().zip(sums) {
                // Columns 0 1 4 5 2 3 6 7, then in order.
                let added = _mm256_hadd_epi32(first, second);
                let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(added);
                if let Some(place) = halves.get_mut(half) {
                    *place = ordered;
                }
            }
        }
        for (row, sums) in halves.into_iter().enumerate() {
            // SAFETY: the caller vouches for the room.
            unsafe { self.store(row, sums) };
        }
    }

    /// # Safety
    /// There is room for the row.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store(&self, row: usize, sums: [__m256i; 2]) {
        let [first, second] = sums;
        let at = self.into.wrapping_add(row * PANELS).cast::<__m256i>();
        // SAFETY: as the caller vouches; the sums of a panel begin at a multiple of 64 bytes.
        unsafe {
            _mm256_store_si256(at, first);
            _mm256_store_si256(at.wrapping_add(1), second);
        }
    }
}

/// Four numbers of 8 bits in 16 bits each, four times.
#[inline]
#[target_feature(enable = "avx2")]
fn widened(numbers: i32) -> __m256i {
    let bytes = u64::from(numbers as u32);
    let spread = (bytes | bytes << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    _mm256_set1_epi64x(spread as i64)
}
