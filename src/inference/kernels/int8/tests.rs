//! Every kernel against plain sums, on any shape and any numbers.

use proptest::prelude::*;

use super::*;
use crate::inference::kernels::vectorise::{Fused, gelu};

fn noise(seed: u32, count: usize, size: f32) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * size
    };
    (0..count).map(|_| next()).collect()
}

/// The product in 64 bits of what the rounded numbers stand for, with the sum of the sizes of its terms.
fn expected(values: &[f32], weights: &[f32], inputs: usize, bias: &[f32]) -> Vec<(f64, f64)> {
    let round = |value: f64, scale: f64| if scale > 0.0 { (value / scale).round_ties_even() * scale } else { 0.0 };
    let mut product = Vec::new();
    for row in values.chunks(inputs) {
        let low = row.iter().copied().fold(f32::INFINITY, f32::min);
        let scale = f64::from((row.iter().copied().fold(f32::NEG_INFINITY, f32::max) - low) / 255.0);
        for (weights, bias) in weights.chunks(inputs).zip(bias) {
            let largest = weights.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
            let column = f64::from(largest / 127.0);
            let terms = row.iter().zip(weights).map(|(value, weight)| {
                let value = f64::from(low) + round(f64::from(value - low), scale);
                value * (f64::from(*weight) / column.max(f64::MIN_POSITIVE)).round() * column
            });
            let start = (f64::from(*bias), f64::from(bias.abs()));
            product.push(terms.fold(start, |(sum, size), term| (sum + term, size + term.abs())));
        }
    }
    product
}

fn run(kernel: Int8Kernel, values: &[f32], matrix: &Int8Matrix, activation: Activation) -> Vec<f32> {
    let mut rows = Int8Rows::default();
    // What was here before must not matter.
    rows.round(&vec![9.0; 40 * (matrix.inputs() + 70)], matrix.inputs() + 70);
    rows.round(values, matrix.inputs());
    let count = values.len() / matrix.inputs();
    let mut product = vec![7.0; count * matrix.outputs()];
    kernel.linear(
        Linear { rows: &rows, range: 0..count, matrix, columns: 0..matrix.outputs(), activation },
        &mut product,
        matrix.outputs(),
    );
    product
}

#[track_caller]
fn check(values: &[f32], weights: &[f32], inputs: usize, bias: &[f32]) {
    let matrix = Int8Matrix::new(weights, inputs, bias);
    let plain = run(Int8Kernel::Plain, values, &matrix, Activation::None);
    for (place, (given, (expected, size))) in plain.iter().zip(expected(values, weights, inputs, bias)).enumerate() {
        // A number that lies in the middle between two may be rounded to either.
        let allowed = size * 1e-2 + 1e-30;
        assert!((f64::from(*given) - expected).abs() <= allowed, "{place}: {given} and {expected}, {size}");
    }
    for kernel in Int8Kernel::available() {
        assert!(run(kernel, values, &matrix, Activation::None) == plain, "{} differs", kernel.name());
        let active = run(kernel, values, &matrix, Activation::Gelu);
        for (active, plain) in active.iter().zip(&plain) {
            let expected = gelu::<Fused>(*plain);
            assert!(
                (active - expected).abs() <= 1e-5 * (1.0 + plain.abs()),
                "{}: {active} and {expected}",
                kernel.name()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn products_of_any_shape_are_those_of_plain_sums(
        (rows, inputs, outputs) in (1usize..70, 1usize..300, 1usize..150),
        size in prop_oneof![Just(1.0f32), Just(1e-12), Just(1e12), Just(0.0)],
        seed in any::<u32>(),
    ) {
        let (values, weights) = (noise(seed, rows * inputs, size), noise(seed ^ 77, inputs * outputs, 1.0));
        check(&values, &weights, inputs, &noise(seed ^ 5, outputs, size));
    }
}

#[test]
fn the_largest_numbers_of_all_do_not_overflow() {
    // Every number of a row but the first is 255, every weight 127 or -127: what saturating instructions would cut off.
    for sign in [1.0, -1.0] {
        let (inputs, outputs) = (1536, 70);
        let mut values = vec![1.0; 33 * inputs];
        values.chunks_mut(inputs).for_each(|row| row[0] = 0.0);
        check(&values, &vec![sign; inputs * outputs], inputs, &vec![0.0; outputs]);
    }
}

#[test]
fn rows_without_a_range_and_columns_without_weights_are_exact() {
    let matrix = Int8Matrix::new(&[0.0, 0.0, 0.0, 1.0, -1.0, 0.5], 3, &[4.0, 0.0]);
    for kernel in Int8Kernel::available() {
        let product = run(kernel, &[2.5, 2.5, 2.5, 0.0, 0.0, 0.0], &matrix, Activation::None);
        let half = 64.0 / 127.0;
        assert_eq!(product, [4.0, 2.5 * half, 4.0, 0.0], "{}", kernel.name());
        assert!(run(kernel, &[], &matrix, Activation::None).is_empty());
    }
}

#[test]
fn a_row_is_the_same_whatever_rows_are_beside_it() {
    let (inputs, outputs) = (390, 130);
    let values = noise(1, 77 * inputs, 3.0);
    let matrix = Int8Matrix::new(&noise(2, inputs * outputs, 1.0), inputs, &noise(3, outputs, 1.0));
    for kernel in Int8Kernel::available() {
        let together = run(kernel, &values, &matrix, Activation::Gelu);
        for (row, together) in values.chunks(inputs).zip(together.chunks(outputs)) {
            assert!(run(kernel, row, &matrix, Activation::Gelu) == together, "{}", kernel.name());
        }
        // A range of rows is that part of the product.
        let mut rows = Int8Rows::default();
        rows.round(&values, inputs);
        let mut part = vec![0.0; 9 * outputs];
        kernel.linear(
            Linear { rows: &rows, range: 32..41, matrix: &matrix, columns: 0..outputs, activation: Activation::Gelu },
            &mut part,
            outputs,
        );
        assert!(part == together[32 * outputs..41 * outputs], "{}", kernel.name());
        // So is one of columns.
        for columns in [0..64, 64..128, 64..130, 128..130] {
            let mut part = vec![0.0; 77 * columns.len()];
            kernel.linear(
                Linear {
                    rows: &rows,
                    range: 0..77,
                    matrix: &matrix,
                    columns: columns.clone(),
                    activation: Activation::Gelu,
                },
                &mut part,
                columns.len(),
            );
            for (part, whole) in part.chunks(columns.len()).zip(together.chunks(outputs)) {
                assert!(part == &whole[columns.clone()], "{} {columns:?}", kernel.name());
            }
        }
    }
}
