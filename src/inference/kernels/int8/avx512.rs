//! AVX-512 with VNNI: 6 rows by 64 columns at a time in 24 registers.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_load_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_store_si512,
};

use super::{Block, DEPTH, Group, PANEL, PANELS, Sums};

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

pub(super) fn product(_: Found, block: Block<'_>, sums: &mut Sums) {
    let mut first = 0;
    while first < block.count {
        let rows = block.rows.as_ptr().wrapping_add(first * block.stride);
        let into = sums.0.as_mut_ptr().wrapping_add(first).cast();
        let part = Part { rows, stride: block.stride, panels: block.panels.as_ptr(), groups: block.groups(), into };
        let count = (block.count - first).min(ROWS);
        // SAFETY: `Found` proves the instructions; a sound block holds `count` rows from `first` on, `PANELS` panels of so many
        // groups, and the sums have as many rows.
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

/// Where the numbers of some rows of a block are.
struct Part {
    rows: *const u8,
    stride: usize,
    panels: *const Group,
    groups: usize,
    into: *mut [i32; PANEL],
}

impl Part {
    /// # Safety
    /// The instructions are there, `R` rows of `groups * 4` numbers, `PANELS` panels, and room for `R` rows of sums.
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
        for (index, sum) in sums.as_flattened().iter().enumerate() {
            // SAFETY: the caller vouches for the room; sums begin at a multiple of 64 bytes.
            unsafe { _mm512_store_si512(self.into.wrapping_add(index).cast::<__m512i>(), *sum) };
        }
    }
}
