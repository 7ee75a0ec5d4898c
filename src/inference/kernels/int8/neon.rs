//! NEON with the dot product of signed numbers: 4 rows by 16 columns at a time.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vaddq_s32, vdupq_n_s8, vdupq_n_s32, veorq_s8, vld1q_s8, vreinterpretq_s8_s32, vshlq_n_s32,
    vst1q_s32,
};
use std::arch::asm;

use super::{Block, DEPTH, Group, PANEL, PANELS, Sums};

/// Rows that are added up at a time.
const ROWS: usize = 4;

/// Registers that a group of weights, or the sums of a panel, take.
const PARTS: usize = PANEL / 4;

/// Proof that the processor has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found(());

impl Found {
    pub fn get() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("dotprod").then_some(Self(()))
    }
}

pub(super) fn product(_: Found, block: Block<'_>, sums: &mut Sums) {
    for panel in 0..PANELS {
        for first in (0..block.count).step_by(ROWS) {
            let part = Part {
                rows: block.rows.as_ptr().wrapping_add(first * block.stride),
                stride: block.stride,
                panel: block.panels.as_ptr().wrapping_add(panel * block.groups()),
                groups: block.groups(),
                into: sums.0.as_mut_ptr().cast::<[i32; PANEL]>().wrapping_add(first * PANELS + panel),
            };
            // SAFETY: `Found` proves the instructions; a sound block holds so many rows from `first` on and the panel, and the sums
            // have as many rows.
            unsafe {
                match block.count - first {
                    1 => part.add::<1>(),
                    2 => part.add::<2>(),
                    3 => part.add::<3>(),
                    _ => part.add::<ROWS>(),
                }
            }
        }
    }
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

impl Part {
    /// The instruction takes signed numbers: 128 is taken off each number of a row, and 128 times the weights added in the end.
    ///
    /// # Safety
    /// The instructions are there, `R` rows, the panel, and room for the sums.
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn add<const R: usize>(&self) {
        let mut sums = [[vdupq_n_s32(0); PARTS]; R];
        let mut totals = [vdupq_n_s32(0); PARTS];
        let (ones, top) = (vdupq_n_s8(1), vdupq_n_s8(i8::MIN));
        for group in 0..self.groups {
            let at = self.panel.wrapping_add(group).cast::<i8>();
            let mut weights = [ones; PARTS];
            for (part, weights) in weights.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the panel.
                *weights = unsafe { vld1q_s8(at.wrapping_add(part * 16)) };
            }
            for (total, weights) in totals.iter_mut().zip(weights) {
                *total = dot(*total, weights, ones);
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let at = self.rows.wrapping_add(row * self.stride + group * DEPTH);
                // SAFETY: the caller vouches for the rows.
                let four = vdupq_n_s32(unsafe { at.cast::<i32>().read_unaligned() });
                let numbers = veorq_s8(vreinterpretq_s8_s32(four), top);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = dot(*sum, weights, numbers);
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let into = self.into.wrapping_add(row * PANELS).cast::<i32>();
            for (part, (sum, total)) in sums.into_iter().zip(totals).enumerate() {
                // SAFETY: the caller vouches for the room.
                unsafe { vst1q_s32(into.wrapping_add(part * 4), vaddq_s32(sum, vshlq_n_s32::<7>(total))) };
            }
        }
    }
}

/// Adds to each of four sums the products of four pairs.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(sum: int32x4_t, one: int8x16_t, other: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction is there, as the feature says, and touches registers only.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {one:v}.16b, {other:v}.16b",
            sum = inout(vreg) sum,
            one = in(vreg) one,
            other = in(vreg) other,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}
