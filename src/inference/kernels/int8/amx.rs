//! The tile unit (AMX): 32 rows by 32 columns at a time in four tile registers, or 16 rows by 64.

use std::arch::asm;

use super::{Block, COLUMNS, DEPTH, Group, PANEL, STEP, Sums};
use crate::inference::kernels::tiles::{Registers, SIDE};

/// Bytes of a tile of weights.
const TILE: usize = STEP * size_of::<Group>();

/// Bytes from one row of sums to the next.
const SUMS_ROW: usize = COLUMNS * size_of::<i32>();

/// Bytes of a tile's row, of numbers or of sums.
const TILE_ROW: usize = STEP * DEPTH;

pub(super) fn product(registers: &Registers, block: Block<'_>, sums: &mut Sums) {
    let panel = |index: usize| block.panels.as_ptr().wrapping_add(index * block.groups()).cast::<u8>();
    let (rows, stride, steps) = (block.rows.as_ptr(), block.stride, block.groups() / STEP);
    let into = sums.0.as_mut_ptr().cast::<u8>();
    if steps == 0 {
        sums.0.iter_mut().take(block.count).for_each(|row| *row = [0; COLUMNS]);
    } else if block.count <= SIDE {
        // SAFETY: a sound block holds 16 rows and four panels of so many tiles; the sums have 16 rows; the registers are laid out.
        unsafe { registers.add_row_of_tiles(rows, stride, [0, 1, 2, 3].map(panel), steps, into) };
    } else {
        for first in [0, 2] {
            let into = into.wrapping_add(first * PANEL * size_of::<i32>());
            // SAFETY: a sound block of so many rows holds 32 of them, and the panels; the sums have 32 rows.
            unsafe { registers.add_square_of_tiles(rows, stride, [panel(first), panel(first + 1)], steps, into) };
        }
    }
}

/// Operations of so many rounds of four products of tiles in registers.
pub(super) fn peak(_: &Registers, rounds: u32) -> u64 {
    // SAFETY: the registers are laid out; the compiler keeps nothing in them.
    unsafe {
        asm!(
            "tilezero tmm4",
            "tilezero tmm5",
            "tilezero tmm6",
            "tilezero tmm7",
            "2:",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "dec {rounds:e}",
            "jnz 2b",
            rounds = inout(reg) rounds.max(1) => _,
            options(nostack, nomem)
        );
    }
    u64::from(rounds.max(1)) * (4 * SIDE * PANEL * TILE_ROW * 2) as u64
}

impl Registers {
    /// # Safety
    /// `steps` is above 0; there are 32 rows, two panels of so many tiles, and 32 rows of sums from `into` on.
    unsafe fn add_square_of_tiles(
        &self,
        rows: *const u8,
        stride: usize,
        [first, second]: [*const u8; 2],
        steps: usize,
        into: *mut u8,
    ) {
        // SAFETY: the caller vouches for the memory, `self` for the registers; the compiler keeps nothing in tile registers.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm6, [{first} + {row}]",
                "tileloadd tmm4, [{upper} + {stride}]",
                "tdpbusd tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{second} + {row}]",
                "tdpbusd tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{lower} + {stride}]",
                "tdpbusd tmm2, tmm5, tmm6",
                "tdpbusd tmm3, tmm5, tmm7",
                "add {first}, {tile}",
                "add {second}, {tile}",
                "add {upper}, {tile_row}",
                "add {lower}, {tile_row}",
                "dec {steps}",
                "jnz 2b",
                first = inout(reg) first => _,
                second = inout(reg) second => _,
                upper = inout(reg) rows => _,
                lower = inout(reg) rows.wrapping_add(SIDE * stride) => _,
                steps = inout(reg) steps => _,
                row = in(reg) TILE_ROW,
                stride = in(reg) stride,
                tile = const TILE,
                tile_row = const TILE_ROW,
                options(nostack, readonly)
            );
            asm!(
                "tilestored [{upper} + {row}], tmm0",
                "tilestored [{upper} + {row} + 64], tmm1",
                "tilestored [{lower} + {row}], tmm2",
                "tilestored [{lower} + {row} + 64], tmm3",
                upper = in(reg) into,
                lower = in(reg) into.wrapping_add(SIDE * SUMS_ROW),
                row = in(reg) SUMS_ROW,
                options(nostack, preserves_flags)
            );
        }
    }

    /// # Safety
    /// `steps` is above 0; there are 16 rows, four panels of so many tiles, and 16 rows of sums from `into` on.
    unsafe fn add_row_of_tiles(
        &self,
        rows: *const u8,
        stride: usize,
        [first, second, third, fourth]: [*const u8; 4],
        steps: usize,
        into: *mut u8,
    ) {
        // SAFETY: the caller vouches for the memory, `self` for the registers; the compiler keeps nothing in tile registers.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{rows} + {stride}]",
                "tileloadd tmm5, [{first} + {row}]",
                "tdpbusd tmm0, tmm4, tmm5",
                "tileloadd tmm6, [{second} + {row}]",
                "tdpbusd tmm1, tmm4, tmm6",
                "tileloadd tmm7, [{third} + {row}]",
                "tdpbusd tmm2, tmm4, tmm7",
                "tileloadd tmm5, [{fourth} + {row}]",
                "tdpbusd tmm3, tmm4, tmm5",
                "add {first}, {tile}",
                "add {second}, {tile}",
                "add {third}, {tile}",
                "add {fourth}, {tile}",
                "add {rows}, {tile_row}",
                "dec {steps}",
                "jnz 2b",
                first = inout(reg) first => _,
                second = inout(reg) second => _,
                third = inout(reg) third => _,
                fourth = inout(reg) fourth => _,
                rows = inout(reg) rows => _,
                steps = inout(reg) steps => _,
                row = in(reg) TILE_ROW,
                stride = in(reg) stride,
                tile = const TILE,
                tile_row = const TILE_ROW,
                options(nostack, readonly)
            );
            asm!(
                "tilestored [{into} + {row}], tmm0",
                "tilestored [{into} + {row} + 64], tmm1",
                "tilestored [{into} + {row} + 128], tmm2",
                "tilestored [{into} + {row} + 192], tmm3",
                into = in(reg) into,
                row = in(reg) SUMS_ROW,
                options(nostack, preserves_flags)
            );
        }
    }
}
