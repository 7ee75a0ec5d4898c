//! The activation GELU with erf, forward and backward.

use rayon::prelude::*;

use super::matrix::Matrix;
use crate::inference::vectorise::{exp, vectorised};

/// Numbers that one task takes.
const BLOCK: usize = 16_384;

/// The normal distribution's integral up to `value`, and its density there. The integral is good to 1e-7 (Abramowitz and Stegun,
/// 7.1.26).
#[inline(always)]
fn normal(value: f32) -> (f32, f32) {
    let magnitude = value.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let bell = exp(-magnitude * magnitude);
    let term = 1.0 / (1.0 + 0.327_591_1 * magnitude);
    let mut series = 1.061_405_4f32;
    for coefficient in [-1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
        series = series * term + coefficient;
    }
    let tail = 0.5 * series * term * bell;
    let integral = if value > 0.0 { 1.0 - tail } else { tail };
    (integral, bell * 0.398_942_3)
}

/// Adds `bias` to every row of `input`, and gives what the activation makes of it.
pub(super) fn forward(input: &mut Matrix, bias: &[f32]) -> Matrix {
    let columns = input.columns();
    let mut output = Matrix::zeros(input.rows(), columns);
    let block = columns * (BLOCK / columns.max(1)).max(1);
    input.values_mut().par_chunks_mut(block).zip(output.values_mut().par_chunks_mut(block)).for_each(
        |(input, output)| {
            vectorised(
                #[inline(always)]
                || {
                    for (input, output) in input.chunks_exact_mut(columns).zip(output.chunks_exact_mut(columns)) {
                        for ((input, output), bias) in input.iter_mut().zip(output).zip(bias) {
                            *input += bias;
                            *output = *input * normal(*input).0;
                        }
                    }
                },
            );
        },
    );
    output
}

/// Turns the gradient of the activation's output into that of its input.
pub(super) fn backward(input: &Matrix, gradient: &mut Matrix) {
    gradient.values_mut().par_chunks_mut(BLOCK).zip(input.values().par_chunks(BLOCK)).for_each(|(gradient, input)| {
        vectorised(
            #[inline(always)]
            || {
                for (gradient, input) in gradient.iter_mut().zip(input) {
                    let (integral, density) = normal(*input);
                    *gradient *= integral + input * density;
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_candle_and_slopes_those_of_differences() {
        let points: Vec<f32> = (-500..=500).map(|step| step as f32 / 60.0).collect();
        let tensor = candle_core::Tensor::new(points.as_slice(), &candle_core::Device::Cpu).unwrap();
        let expected: Vec<f32> = tensor.gelu_erf().unwrap().to_vec1().unwrap();
        let value = |shift: f32| forward(&mut Matrix::new(7, points.clone()), &[shift; 7]).into_values();
        for (given, expected) in value(0.0).iter().zip(&expected) {
            assert!((given - expected).abs() < 1e-6, "{given} and {expected}");
        }
        let mut slopes = Matrix::new(7, vec![1.0; points.len()]);
        backward(&Matrix::new(7, points.clone()), &mut slopes);
        let step = 4e-3;
        for ((slope, up), down) in slopes.values().iter().zip(value(step)).zip(value(-step)) {
            let difference = (up - down) / (2.0 * step);
            assert!((slope - difference).abs() < 1e-3, "{slope} and {difference}");
        }
    }
}
