use half::f16;
use proptest::prelude::*;

use super::*;

/// Numbers that look random and are the same every time.
fn numbers(count: usize, seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as f32 / (1u64 << 31) as f32) * 2.0 - 1.0
    })
}

fn of_floats(inputs: usize, outputs: usize, weights: &[f32]) -> GroupedMatrix {
    let of = |output: usize, into: &mut [f32]| -> Result<(), ()> {
        into.copy_from_slice(&weights[output * inputs..][..inputs]);
        Ok(())
    };
    GroupedMatrix::of_floats(inputs, outputs, of).unwrap()
}

fn matrix(width: GroupWidth, inputs: usize, outputs: usize, seed: u64) -> GroupedMatrix {
    match width {
        GroupWidth::Eight => of_floats(inputs, outputs, &numbers(inputs * outputs, seed).collect::<Vec<_>>()),
        GroupWidth::Four => {
            let groups = inputs.div_ceil(GROUP);
            let mut values = numbers(outputs * groups * (GROUP + 2), seed);
            let mut next = move || values.next().unwrap_or(0.0);
            let group = |_| QuarterGroup {
                numbers: std::array::from_fn(|_| ((next() + 1.0) * 7.99) as u8),
                scale: f16::from_f32(next().abs() / 8.0).to_f32(),
                low: f16::from_f32(next()).to_f32(),
            };
            let all: Vec<QuarterGroup> = (0..outputs * groups).map(group).collect();
            let of = |output: usize| Ok::<_, ()>(all[output * groups..][..groups].iter().copied());
            GroupedMatrix::of_quarters(inputs, outputs, of).unwrap()
        }
    }
}

fn product(kernel: GroupedKernel, rows: &GroupedRows, count: usize, matrix: &GroupedMatrix) -> Vec<f32> {
    let mut output = vec![f32::NAN; count * matrix.outputs()];
    kernel.multiply(rows, 0..count, matrix, 0..matrix.panels(), &mut output, matrix.outputs());
    output
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn kernels_give_what_the_plain_one_does(
        four: bool, rows in 1usize..20, inputs in 1usize..300, outputs in 1usize..70, size in -8i32..8, seed: u64,
    ) {
        let width = if four { GroupWidth::Four } else { GroupWidth::Eight };
        let matrix = matrix(width, inputs, outputs, seed);
        let values: Vec<f32> = numbers(rows * inputs, !seed).map(|value| value * 10f32.powi(size)).collect();
        let mut rounded = GroupedRows::default();
        rounded.round(&values, inputs);
        let expected = product(GroupedKernel::Plain, &rounded, rows, &matrix);
        let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        for kernel in GroupedKernel::available() {
            for (given, expected) in product(kernel, &rounded, rows, &matrix).iter().zip(&expected) {
                prop_assert!((given - expected).abs() <= 1e-5 * largest, "{}: {given} and {expected}", kernel.name());
            }
        }
    }

    #[test]
    fn a_product_is_near_that_of_32_bits(four: bool, inputs in 1usize..300, outputs in 1usize..40, seed: u64) {
        let width = if four { GroupWidth::Four } else { GroupWidth::Eight };
        let matrix = matrix(width, inputs, outputs, seed);
        let values: Vec<f32> = numbers(inputs, !seed).collect();
        let mut rounded = GroupedRows::default();
        rounded.round(&values, inputs);
        let given = product(GroupedKernel::best(), &rounded, 1, &matrix);
        let mut weights = vec![0.0; inputs];
        for (output, given) in given.iter().enumerate() {
            matrix.output(output, &mut weights);
            let expected: f32 = weights.iter().zip(&values).map(|(weight, value)| weight * value).sum();
            let size: f32 = weights.iter().map(|weight| weight.abs()).sum();
            prop_assert!((given - expected).abs() <= size / 200.0 + 1e-6, "{given} and {expected} of {size}");
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_neighbours_nor_on_the_part_it_is_computed_in() {
    let matrix = matrix(GroupWidth::Four, 96, 50, 7);
    let values: Vec<f32> = numbers(11 * 96, 3).collect();
    let mut rounded = GroupedRows::default();
    rounded.round(&values, 96);
    for kernel in GroupedKernel::available() {
        let together = product(kernel, &rounded, 11, &matrix);
        for (row, expected) in together.chunks(50).enumerate() {
            let mut alone = vec![0.0; 50];
            kernel.multiply(&rounded, row..row + 1, &matrix, 0..2, &mut alone, 50);
            let mut behind = vec![0.0; 18];
            kernel.multiply(&rounded, row..row + 1, &matrix, 2..4, &mut behind, 18);
            alone.splice(32.., behind);
            assert_eq!(alone, expected, "{}", kernel.name());
        }
    }
}

#[test]
fn eight_bits_keep_weights_to_half_a_step() {
    let weights: Vec<f32> = numbers(40 * 20, 5).collect();
    let matrix = of_floats(40, 20, &weights);
    let mut kept = vec![0.0; 40];
    for (output, weights) in weights.chunks(40).enumerate() {
        matrix.output(output, &mut kept);
        assert!(kept.iter().zip(weights).all(|(kept, weight)| (kept - weight).abs() < 1.01 / 254.0));
    }
    assert_eq!(matrix.panels(), 2);
}

#[test]
fn a_matrix_that_cannot_be_filled_is_none() {
    assert_eq!(
        GroupedMatrix::of_floats(8, 40, |output, _| if output == 33 { Err(output) } else { Ok(()) }).err(),
        Some(33)
    );
}

#[test]
fn zeros_stay_zeros() {
    let matrix = matrix(GroupWidth::Eight, 64, 16, 1);
    let mut rounded = GroupedRows::default();
    rounded.round(&[0.0; 64], 64);
    for kernel in GroupedKernel::available() {
        assert!(product(kernel, &rounded, 1, &matrix).iter().all(|value| *value == 0.0));
    }
}
