//! Products of matrices by instructions that candle's kernels do not use, chosen when the process starts.
//!
//! Enters: slices of numbers with their shapes. Leaves: numbers. The only room with `unsafe`.
//! Never here: models, tensors, files.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod grouped;
mod half;
mod int8;
mod norm;
#[cfg(target_arch = "x86_64")]
mod tiles;
pub(crate) mod vectorise;

pub(crate) use attention::{AttentionRoom, HeadShape, attention};
#[allow(unused_imports)]
pub(crate) use grouped::{GroupedKernel, GroupedMatrix, GroupedRows, QuarterGroup};
pub(crate) use half::{HalfProducts, Operand, Room};
pub(crate) use int8::{Activation, Int8Kernel, Int8Matrix, Int8Rows, Linear};
pub(crate) use norm::{NormScale, add_and_normalise};
