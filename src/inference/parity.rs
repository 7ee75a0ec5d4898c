//! The kernels of this processor against the plain ones, on numbers of the caller's choice.
//!
//! Enters: factors of a product, or what attention takes, in 32 bits. Leaves: nothing, or the first number in which two kernels differ
//! by more than they may. Never here: models, files.

use std::ops::Range;

use super::kernels::vectorise::{Fused, gelu};
use super::kernels::{
    Activation, AttentionRoom, GroupedKernel, GroupedMatrix, GroupedRows, HeadShape, Int8Kernel, Int8Matrix, Int8Rows,
    Linear, QuarterGroup, attention,
};

/// Weights that share a scale in a [`GroupedMatrix`].
const GROUP: usize = 32;

/// The largest number of a weight in 4 bits.
const QUARTER_MOST: f32 = 15.0;

/// Numbers beyond it may become infinite on the way, at another place with each kernel.
const LARGE: f32 = 1e36;

/// The factors of a product of rows with a matrix, each dimension at least 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    values: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

/// Two kernels that differ.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("kernel {kernel}: number {index} of {product} is {given}, expected {expected}, at most {allowed} apart")]
pub struct Disparity {
    /// The kernel that differs from the plain one.
    pub kernel: &'static str,
    /// What was computed.
    pub product: &'static str,
    /// Index of the number, row by row.
    pub index: usize,
    /// What the kernel gave.
    pub given: f32,
    /// What was expected of it.
    pub expected: f32,
    /// How far the two may be apart; 0 is bit for bit.
    pub allowed: f32,
}

impl Factors {
    /// Rows `[rows, inputs]`, weights `[outputs, inputs]` and a bias `[outputs]`; `None` if they do not go together.
    pub fn new(values: Vec<f32>, weights: Vec<f32>, bias: Vec<f32>, inputs: usize) -> Option<Self> {
        let fits = inputs > 0
            && !values.is_empty()
            && values.len().is_multiple_of(inputs)
            && !bias.is_empty()
            && weights.len() == inputs.checked_mul(bias.len())?;
        fits.then_some(Self { values, weights, bias, inputs })
    }

    fn rows(&self) -> usize {
        self.values.len() / self.inputs.max(1)
    }

    fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Products in 8 bits: the same bits with every kernel, whole and in parts; through GELU, 1e-5 of the number apart.
    ///
    /// # Errors
    /// The first number that differs.
    pub fn check_int8(&self) -> Result<(), Disparity> {
        let matrix = Int8Matrix::new(&self.weights, self.inputs, &self.bias);
        let mut rows = Int8Rows::default();
        rows.round(&self.values, self.inputs);
        let run = |kernel: Int8Kernel, range: Range<usize>, activation: Activation| {
            let columns = 0..self.outputs();
            let mut product = vec![0.0; range.len() * self.outputs()];
            kernel.linear(
                Linear { rows: &rows, range, matrix: &matrix, columns, activation },
                &mut product,
                self.outputs(),
            );
            product
        };
        let all = 0..self.rows();
        let plain = run(Int8Kernel::Plain, all.clone(), Activation::None);
        for kernel in Int8Kernel::available() {
            let compared = Compared { kernel: kernel.name(), product: "the product in 8 bits" };
            compared.same(&run(kernel, all.clone(), Activation::None), &plain)?;
            let last = all.end - 1..all.end;
            let of_last = plain.get(last.start * self.outputs()..).unwrap_or_default();
            let compared = Compared { product: "the last row of the product in 8 bits", ..compared };
            compared.same(&run(kernel, last, Activation::None), of_last)?;
            let compared = Compared { product: "GELU of the product in 8 bits", ..compared };
            let active = run(kernel, all.clone(), Activation::Gelu);
            compared.near(&active, plain.iter().map(|value| (gelu::<Fused>(*value), 1e-5 * (1.0 + value.abs()))))?;
        }
        Ok(())
    }

    /// Products with weights in groups of 8 and of 4 bits: 1e-5 of the size of what is added up apart.
    ///
    /// # Errors
    /// The first number that differs.
    pub fn check_grouped(&self) -> Result<(), Disparity> {
        let of_row =
            |output: usize| self.weights.get(output * self.inputs..(output + 1) * self.inputs).unwrap_or_default();
        let eights = GroupedMatrix::of_floats(self.inputs, self.outputs(), |output, into: &mut [f32]| {
            into.iter_mut().zip(of_row(output)).for_each(|(into, weight)| *into = *weight);
            Ok::<_, std::convert::Infallible>(())
        });
        let quarters = GroupedMatrix::of_quarters(self.inputs, self.outputs(), |output| {
            Ok::<_, std::convert::Infallible>(of_row(output).chunks(GROUP).map(quarter_group))
        });
        let mut rows = GroupedRows::default();
        rows.round(&self.values, self.inputs);
        for (matrix, product) in
            [(eights, "the product in groups of 8 bits"), (quarters, "the product in groups of 4 bits")]
        {
            let Ok(matrix) = matrix;
            let run = |kernel: GroupedKernel| {
                let mut output = vec![0.0; self.rows() * self.outputs()];
                kernel.multiply(&rows, 0..self.rows(), &matrix, 0..matrix.panels(), &mut output, self.outputs());
                output
            };
            let expected: Vec<(f32, f32)> = run(GroupedKernel::Plain)
                .into_iter()
                .zip(self.sizes())
                .map(|(value, size)| (value, 1e-5 * size))
                .collect();
            for kernel in GroupedKernel::available() {
                Compared { kernel: kernel.name(), product }.near(&run(kernel), expected.iter().copied())?;
            }
        }
        Ok(())
    }

    /// For each number of the product, no less than the sizes of all that is added up for it.
    fn sizes(&self) -> Vec<f32> {
        let of_group = |values: &[f32], weights: &[f32]| {
            let largest = weights.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
            // A weight of 4 bits is a multiple of the scale, less the lowest of its group.
            3.0 * largest * values.iter().map(|value| value.abs()).sum::<f32>()
        };
        let mut sizes = Vec::with_capacity(self.rows() * self.outputs());
        for values in self.values.chunks_exact(self.inputs) {
            for weights in self.weights.chunks_exact(self.inputs) {
                let groups = values.chunks(GROUP).zip(weights.chunks(GROUP));
                sizes.push(groups.map(|(values, weights)| of_group(values, weights)).sum());
            }
        }
        sizes
    }
}

/// Weights in 4 bits, from the least to the largest.
fn quarter_group(weights: &[f32]) -> QuarterGroup {
    let least = weights.iter().copied().fold(0.0f32, f32::min);
    let largest = weights.iter().copied().fold(0.0f32, f32::max);
    let scale = (largest - least) / QUARTER_MOST;
    let mut numbers = [0; GROUP];
    for (number, weight) in numbers.iter_mut().zip(weights) {
        *number = if scale > 0.0 { ((weight - least) / scale).round().clamp(0.0, QUARTER_MOST) as u8 } else { 0 };
    }
    QuarterGroup { numbers, scale, low: -least }
}

/// Attention of one sequence, `[length, 3 * heads * width]`, against plain sums in 64 bits: 1e-4 apart for numbers up to 2 in size.
///
/// # Errors
/// The first number that differs.
pub fn check_attention(joined: &[f32], heads: usize, width: usize) -> Result<(), Disparity> {
    let shape = HeadShape { count: heads, width };
    let hidden = heads * width;
    if hidden == 0 {
        return Ok(());
    }
    let rows: Vec<&[f32]> = joined.chunks_exact(3 * hidden).collect();
    let mut given = vec![0.0; rows.len() * hidden];
    attention(joined, shape, None, &mut AttentionRoom::default(), &mut given);
    let part = |row: &[f32], index: usize, head: usize| -> Vec<f64> {
        let values = row.get(index * hidden + head * width..).unwrap_or_default();
        values.iter().take(width).map(|value| f64::from(*value)).collect()
    };
    let mut expected = Vec::with_capacity(given.len());
    for row in &rows {
        for head in 0..heads {
            let query = part(row, 0, head);
            let share = |other: &&[f32]| {
                let dot: f64 = query.iter().zip(part(other, 1, head)).map(|(query, key)| query * key).sum();
                (dot / (width as f64).sqrt()).exp()
            };
            let shares: Vec<f64> = rows.iter().map(share).collect();
            let mut mixed = vec![0.0; width];
            for (other, share) in rows.iter().zip(&shares) {
                mixed.iter_mut().zip(part(other, 2, head)).for_each(|(mixed, value)| *mixed += share * value);
            }
            let total: f64 = shares.iter().sum();
            expected.extend(mixed.into_iter().map(|mixed| ((mixed / total) as f32, 1e-4)));
        }
    }
    Compared { kernel: "of this processor", product: "attention" }.near(&given, expected.into_iter())
}

/// What is compared.
#[derive(Clone, Copy)]
struct Compared {
    kernel: &'static str,
    product: &'static str,
}

impl Compared {
    /// Bit for bit; any NaN is like any other.
    fn same(self, given: &[f32], expected: &[f32]) -> Result<(), Disparity> {
        let differs = |(given, expected): (&f32, &f32)| {
            given.to_bits() != expected.to_bits() && !(given.is_nan() && expected.is_nan())
        };
        match given.iter().zip(expected).position(differs) {
            Some(index) => Err(self.disparity(index, given, expected.get(index).map(|expected| (*expected, 0.0)))),
            None => Ok(()),
        }
    }

    /// At most so far apart. Where numbers are not finite, or near to it, there is nothing to compare.
    fn near(self, given: &[f32], expected: impl Iterator<Item = (f32, f32)>) -> Result<(), Disparity> {
        for (index, (value, (expected, allowed))) in given.iter().zip(expected).enumerate() {
            let is_compared = expected.is_finite() && allowed.is_finite() && allowed < LARGE;
            // Written so that a NaN differs.
            let is_near = (value - expected).abs() <= allowed + f32::MIN_POSITIVE;
            if is_compared && !is_near {
                return Err(self.disparity(index, given, Some((expected, allowed))));
            }
        }
        Ok(())
    }

    fn disparity(self, index: usize, given: &[f32], expected: Option<(f32, f32)>) -> Disparity {
        let (expected, allowed) = expected.unwrap_or_default();
        let given = given.get(index).copied().unwrap_or_default();
        Disparity { kernel: self.kernel, product: self.product, index, given, expected, allowed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors() -> Factors {
        let numbers = |count: usize| (0..count).map(|at| ((at * 37 % 101) as f32 - 50.0) / 25.0).collect::<Vec<f32>>();
        Factors::new(numbers(5 * 70), numbers(70 * 33), numbers(33), 70).unwrap()
    }

    #[test]
    fn the_kernels_of_this_machine_agree() {
        factors().check_int8().unwrap();
        factors().check_grouped().unwrap();
        check_attention(&factors().values[..4 * 3 * 2 * 8], 2, 8).unwrap();
    }

    #[test]
    fn numbers_that_differ_are_told() {
        let compared = Compared { kernel: "k", product: "p" };
        assert_eq!(compared.same(&[1.0, f32::NAN], &[1.0, -f32::NAN]), Ok(()));
        let disparity = compared.same(&[1.0, 0.0], &[1.0, -0.0]).unwrap_err();
        assert_eq!((disparity.index, disparity.allowed), (1, 0.0));
        assert_eq!(compared.near(&[1.0, f32::INFINITY], [(1.5, 0.5), (f32::INFINITY, 1.0)].into_iter()), Ok(()));
        let disparity = compared.near(&[f32::NAN], [(2.0, 0.5)].into_iter()).unwrap_err();
        assert_eq!(disparity.to_string(), "kernel k: number 0 of p is NaN, expected 2, at most 0.5 apart");
    }

    #[test]
    fn factors_that_do_not_go_together_are_none() {
        let of = |values: usize, weights: usize, bias: usize, inputs: usize| {
            Factors::new(vec![0.0; values], vec![0.0; weights], vec![0.0; bias], inputs).is_some()
        };
        assert!(of(6, 12, 4, 3));
        assert!(![of(6, 12, 4, 0), of(5, 12, 4, 3), of(6, 11, 4, 3), of(0, 12, 4, 3), of(6, 0, 0, 3)].contains(&true));
    }
}
