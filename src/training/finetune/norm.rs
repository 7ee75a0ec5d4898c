//! A residual connection and the layer norm behind it, forward and backward.

use rayon::prelude::*;

use super::dropout::Dropout;
use super::matrix::Matrix;
use crate::inference::vectorise::{add, dot, sum, vectorised};

/// Rows that one task takes.
const ROWS: usize = 32;

/// What the backward pass needs.
#[derive(Debug)]
pub(super) struct Normalised {
    /// Rows with mean 0 and deviation 1, before scale and shift.
    rows: Matrix,
    /// One over the deviation of each row.
    inverse: Vec<f32>,
}

/// Scale, shift and what is added below the root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub epsilon: f32,
}

/// `norm(dropout(branch + branch_bias) + residual)`.
pub(super) fn forward(
    mut branch: Matrix,
    branch_bias: Option<&[f32]>,
    residual: Option<&Matrix>,
    dropout: Dropout,
    scale: Scale<'_>,
) -> (Matrix, Normalised) {
    let columns = branch.columns();
    let mut output = Matrix::zeros(branch.rows(), columns);
    let mut inverse = vec![0.0; branch.rows()];
    let block = ROWS * columns;
    let residual = residual.map(Matrix::values).unwrap_or_default();
    branch
        .values_mut()
        .par_chunks_mut(block)
        .zip(output.values_mut().par_chunks_mut(block))
        .zip(inverse.par_chunks_mut(ROWS))
        .enumerate()
        .for_each(|(task, ((branch, output), inverse))| {
            let first = task * block;
            let residual = residual.get(first..first + branch.len()).unwrap_or_default();
            vectorised(
                #[inline(always)]
                || {
                    if let Some(bias) = branch_bias {
                        branch.chunks_exact_mut(columns).for_each(|row| add(row, bias));
                    }
                    dropout.apply(branch, first);
                    add(branch, residual);
                    for ((row, output), inverse) in
                        branch.chunks_exact_mut(columns).zip(output.chunks_exact_mut(columns)).zip(inverse)
                    {
                        *inverse = normalise(row, scale.epsilon);
                        for (((output, value), weight), bias) in
                            output.iter_mut().zip(row).zip(scale.weight).zip(scale.bias)
                        {
                            *output = *value * weight + bias;
                        }
                    }
                },
            );
        });
    (output, Normalised { rows: branch, inverse })
}

/// Brings a row to mean 0 and deviation 1; gives one over the deviation that it had.
#[inline(always)]
fn normalise(row: &mut [f32], epsilon: f32) -> f32 {
    let count = row.len() as f32;
    let mean = sum(row) / count;
    row.iter_mut().for_each(|value| *value -= mean);
    let inverse = 1.0 / (dot(row, row) / count + epsilon).sqrt();
    row.iter_mut().for_each(|value| *value *= inverse);
    inverse
}

/// Gradients of a norm's scale and shift.
pub(super) struct ScaleGradient {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// Turns the gradient of the norm's output into that of the sum that it normalised.
pub(super) fn backward(normalised: &Normalised, weight: &[f32], gradient: &mut Matrix) -> ScaleGradient {
    let columns = gradient.columns();
    let block = ROWS * columns;
    let parts: Vec<ScaleGradient> = gradient
        .values_mut()
        .par_chunks_mut(block)
        .zip(normalised.rows.values().par_chunks(block))
        .zip(normalised.inverse.par_chunks(ROWS))
        .map(|((gradient, rows), inverse)| {
            let mut part = ScaleGradient { weight: vec![0.0; columns], bias: vec![0.0; columns] };
            vectorised(
                #[inline(always)]
                || {
                    for ((gradient, row), inverse) in
                        gradient.chunks_exact_mut(columns).zip(rows.chunks_exact(columns)).zip(inverse)
                    {
                        add(&mut part.bias, gradient);
                        for ((part, gradient), value) in part.weight.iter_mut().zip(gradient.iter()).zip(row) {
                            *part += gradient * value;
                        }
                        row_backward(row, *inverse, weight, gradient);
                    }
                },
            );
            part
        })
        .collect();
    let mut whole = ScaleGradient { weight: vec![0.0; columns], bias: vec![0.0; columns] };
    for part in &parts {
        add(&mut whole.weight, &part.weight);
        add(&mut whole.bias, &part.bias);
    }
    whole
}

#[inline(always)]
fn row_backward(row: &[f32], inverse: f32, weight: &[f32], gradient: &mut [f32]) {
    let count = row.len() as f32;
    for (gradient, weight) in gradient.iter_mut().zip(weight) {
        *gradient *= weight;
    }
    let mean = sum(gradient) / count;
    let along = dot(gradient, row) / count;
    for (gradient, value) in gradient.iter_mut().zip(row) {
        *gradient = (*gradient - mean - value * along) * inverse;
    }
}

/// Sum of each column, added up in a fixed order.
pub(super) fn column_sums(matrix: &Matrix) -> Vec<f32> {
    let columns = matrix.columns();
    let parts: Vec<Vec<f32>> = matrix
        .values()
        .par_chunks(ROWS * columns)
        .map(|rows| {
            let mut part = vec![0.0; columns];
            vectorised(
                #[inline(always)]
                || rows.chunks_exact(columns).for_each(|row| add(&mut part, row)),
            );
            part
        })
        .collect();
    let mut whole = vec![0.0; columns];
    parts.iter().for_each(|part| add(&mut whole, part));
    whole
}

/// Adds `row` to every row.
pub(super) fn add_to_rows(matrix: &mut Matrix, row: &[f32]) {
    let columns = matrix.columns();
    let rows = matrix.values_mut().par_chunks_mut(ROWS * columns);
    rows.for_each(|rows| {
        vectorised(
            #[inline(always)]
            || rows.chunks_exact_mut(columns).for_each(|values| add(values, row)),
        )
    });
}

/// `matrix += other`.
pub(super) fn add_matrix(matrix: &mut Matrix, other: &Matrix) {
    let block = ROWS * matrix.columns();
    let blocks = matrix.values_mut().par_chunks_mut(block).zip(other.values().par_chunks(block));
    blocks.for_each(|(matrix, other)| {
        vectorised(
            #[inline(always)]
            || add(matrix, other),
        )
    });
}

/// Applies dropout to a gradient, row-major as the forward pass did.
pub(super) fn dropped(gradient: &Matrix, dropout: Dropout) -> Matrix {
    let mut gradient = gradient.clone();
    if !dropout.is_none() {
        let block = ROWS * gradient.columns();
        gradient.values_mut().par_chunks_mut(block).enumerate().for_each(|(task, values)| {
            vectorised(
                #[inline(always)]
                || dropout.apply(values, task * block),
            )
        });
    }
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::finetune::check::{Differences, noise};

    #[test]
    fn gradients_are_those_of_differences() {
        let (rows, columns) = (37, 20);
        let dropout = Dropout::new(0.3, 1, 1);
        let inputs = [
            noise(1, rows * columns),
            noise(2, columns),
            noise(3, rows * columns),
            noise(4, columns),
            noise(5, columns),
        ];
        let slopes = noise(6, rows * columns);
        let run = |inputs: &[Vec<f32>]| {
            let [branch, branch_bias, residual, weight, bias] = inputs else { panic!("five inputs") };
            let residual = Matrix::new(columns, residual.clone());
            let scale = Scale { weight, bias, epsilon: 1e-5 };
            forward(Matrix::new(columns, branch.clone()), Some(branch_bias), Some(&residual), dropout, scale)
        };
        let value = |inputs: &[Vec<f32>]| {
            let (output, _) = run(inputs);
            output.values().iter().zip(&slopes).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let (_, cache) = run(&inputs);
        let mut gradient = Matrix::new(columns, slopes.clone());
        let scale = backward(&cache, &inputs[3], &mut gradient);
        let branch = dropped(&gradient, dropout);
        let branch_bias = column_sums(&branch);
        let gradients = [branch.into_values(), branch_bias, gradient.into_values(), scale.weight, scale.bias];
        Differences { step: 1e-2, tolerance: 2e-3 }.check(&inputs, &gradients, value);
    }
}
