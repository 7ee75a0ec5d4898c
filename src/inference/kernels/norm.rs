//! A residual connection and the layer norm behind it.

use pulp::{Arch, Simd, WithSimd};

/// Scale and shift of a norm, and what is added to the variance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormScale<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub epsilon: f32,
}

/// `norm(branch + residual)`, row by row; `branch` is used up.
pub(crate) fn add_and_normalise(branch: &mut [f32], residual: &[f32], scale: NormScale<'_>, output: &mut [f32]) {
    Arch::new().dispatch(AddAndNormalise { branch, residual, scale, output });
}

struct AddAndNormalise<'a> {
    branch: &'a mut [f32],
    residual: &'a [f32],
    scale: NormScale<'a>,
    output: &'a mut [f32],
}

impl WithSimd for AddAndNormalise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { branch, residual, scale, output } = self;
        let columns = scale.weight.len().max(1);
        let rows = branch.chunks_exact_mut(columns).zip(residual.chunks_exact(columns));
        for ((row, residual), output) in rows.zip(output.chunks_exact_mut(columns)) {
            row.iter_mut().zip(residual).for_each(|(value, residual)| *value += residual);
            let mean = sum_of(simd, row, |simd, sum, value| simd.add_f32s(sum, value)) / columns as f32;
            row.iter_mut().for_each(|value| *value -= mean);
            let squares = sum_of(simd, row, |simd, sum, value| simd.mul_add_e_f32s(value, value, sum));
            let inverse = 1.0 / (squares / columns as f32 + scale.epsilon).sqrt();
            for (((output, value), weight), bias) in output.iter_mut().zip(row).zip(scale.weight).zip(scale.bias) {
                *output = *value * inverse * weight + bias;
            }
        }
    }
}

/// Sum of what `add` makes of each value, in a fixed order of additions.
#[inline(always)]
fn sum_of<S: Simd>(simd: S, values: &[f32], add: impl Fn(S, S::f32s, S::f32s) -> S::f32s) -> f32 {
    let (whole, rest) = S::as_simd_f32s(values);
    let total = whole.iter().fold(simd.splat_f32s(0.0), |sum, part| add(simd, sum, *part));
    // A part that is no whole vector, with zeros behind.
    let rest = simd.partial_load_f32s(rest);
    simd.reduce_sum_f32s(add(simd, total, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_get_mean_and_deviation_of_the_norm() {
        for columns in [1, 5, 16, 39, 384] {
            let value = |index: usize| ((index * 37 % 101) as f32 - 50.0) / 7.0;
            let (branch, residual): (Vec<f32>, Vec<f32>) = (0..3 * columns).map(|i| (value(i), value(i + 13))).unzip();
            let (weight, bias): (Vec<f32>, Vec<f32>) = (0..columns).map(|i| (value(i + 5), value(i + 7))).unzip();
            let scale = NormScale { weight: &weight, bias: &bias, epsilon: 1e-5 };
            let mut output = vec![0.0; 3 * columns];
            add_and_normalise(&mut branch.clone(), &residual, scale, &mut output);
            for (row, given) in output.chunks(columns).enumerate() {
                let sums: Vec<f64> = (row * columns..(row + 1) * columns)
                    .map(|place| f64::from(branch[place]) + f64::from(residual[place]))
                    .collect();
                let mean = sums.iter().sum::<f64>() / columns as f64;
                let variance = sums.iter().map(|sum| (sum - mean).powi(2)).sum::<f64>() / columns as f64;
                for (column, given) in given.iter().enumerate() {
                    let unit = (sums[column] - mean) / (variance + 1e-5).sqrt();
                    let expected = unit * f64::from(weight[column]) + f64::from(bias[column]);
                    assert!((f64::from(*given) - expected).abs() < 1e-4, "{columns}: {given} and {expected}");
                }
            }
        }
    }
}
