//! Products of matrices by instructions that candle's kernels do not use, chosen when the process starts.
//!
//! Enters: slices of numbers with their shapes. Leaves: numbers. The only room with `unsafe`.
//! Never here: models, tensors, files.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod amx;

mod half;

pub(crate) use half::{HalfProducts, Operand, Room};
