//! Multi-head attention within each sequence of a batch laid end to end, forward and backward.
//!
//! A row of the joined input holds query, key and value of all heads. The attention matrix is never kept: the backward pass
//! computes it again, so that memory between the passes grows with the length of a text and not with its square.

mod half;

use rayon::prelude::*;

use super::matrix::Matrix;
use super::options::Products;
use crate::inference::vectorise::{LANES, dot, exp, largest, sum, vectorised};

/// How the columns of a row are shared out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub count: usize,
    pub width: usize,
}

impl Heads {
    fn hidden(self) -> usize {
        self.count * self.width
    }

    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

#[inline(always)]
fn part(row: &[f32], start: usize, width: usize) -> &[f32] {
    row.get(start..start + width).unwrap_or_default()
}

#[inline(always)]
fn part_mut(row: &mut [f32], start: usize, width: usize) -> &mut [f32] {
    row.get_mut(start..start + width).unwrap_or_default()
}

/// The rows of each sequence.
fn split<'a>(mut values: &'a [f32], lengths: &[usize], columns: usize) -> Vec<&'a [f32]> {
    let mut parts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (head, tail) = values.split_at_checked(length * columns).unwrap_or_default();
        parts.push(head);
        values = tail;
    }
    parts
}

fn split_mut<'a>(mut values: &'a mut [f32], lengths: &[usize], columns: usize) -> Vec<&'a mut [f32]> {
    let mut parts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (head, tail) = values.split_at_mut_checked(length * columns).unwrap_or_default();
        parts.push(head);
        values = tail;
    }
    parts
}

/// Widest head.
pub(super) const WIDEST: usize = 256;

/// Runs a function with the first of some fixed widths that a head fits in.
macro_rules! with_width {
    ($heads:expr, $function:ident($($argument:expr),*)) => {
        match $heads.width {
            0..=16 => $function::<16>($($argument),*),
            17..=32 => $function::<32>($($argument),*),
            33..=64 => $function::<64>($($argument),*),
            65..=128 => $function::<128>($($argument),*),
            _ => $function::<WIDEST>($($argument),*),
        }
    };
}

/// `[tokens, 3 * hidden]` to `[tokens, hidden]`.
pub(super) fn forward(joined: &Matrix, lengths: &[usize], heads: Heads, products: Products) -> Matrix {
    let hidden = heads.hidden();
    let mut output = Matrix::zeros(joined.rows(), hidden);
    let inputs = split(joined.values(), lengths, 3 * hidden);
    let outputs = split_mut(output.values_mut(), lengths, hidden);
    let half = products.half();
    inputs.into_par_iter().zip(outputs).for_each(|(input, output)| {
        if let Some(half) = half {
            return half::forward(half, input, heads, output);
        }
        for head in 0..heads.count {
            with_width!(heads, head_forward(input, heads, head, output));
        }
    });
    output
}

/// The gradient of the joined input from that of the output.
pub(super) fn backward(
    joined: &Matrix,
    lengths: &[usize],
    heads: Heads,
    gradient: &Matrix,
    products: Products,
) -> Matrix {
    let hidden = heads.hidden();
    let mut result = Matrix::zeros(joined.rows(), 3 * hidden);
    let inputs = split(joined.values(), lengths, 3 * hidden);
    let gradients = split(gradient.values(), lengths, hidden);
    let results = split_mut(result.values_mut(), lengths, 3 * hidden);
    let half = products.half();
    inputs.into_par_iter().zip(gradients).zip(results).for_each(|((input, gradient), result)| {
        if let Some(half) = half {
            return half::backward(half, input, gradient, heads, result);
        }
        for head in 0..heads.count {
            with_width!(heads, head_backward(input, gradient, heads, head, result));
        }
    });
    result
}

/// One head's part of each row, filled up with zeros.
#[inline(always)]
fn gather<const W: usize>(rows: &[f32], row_width: usize, start: usize, width: usize, scale: f32) -> Vec<[f32; W]> {
    rows.chunks_exact(row_width)
        .map(|row| {
            let mut own = [0.0; W];
            own.iter_mut().zip(part(row, start, width)).for_each(|(own, value)| *own = value * scale);
            own
        })
        .collect()
}

/// Writes one head's part of each row.
#[inline(always)]
fn scatter<const W: usize>(from: &[[f32; W]], row_width: usize, start: usize, width: usize, into: &mut [f32]) {
    for (row, from) in into.chunks_exact_mut(row_width).zip(from) {
        part_mut(row, start, width).iter_mut().zip(from).for_each(|(into, value)| *into = *value);
    }
}

/// One column per token, padded to whole vectors: `[W, padded]`.
#[inline(always)]
fn columns<const W: usize>(rows: &[[f32; W]], padded: usize) -> Vec<f32> {
    let mut columns = vec![0.0; W * padded];
    for (index, row) in rows.iter().enumerate() {
        for (column, value) in columns.chunks_exact_mut(padded).zip(row) {
            if let Some(slot) = column.get_mut(index) {
                *slot = *value;
            }
        }
    }
    columns
}

/// `into = row · columns`, four columns at a time.
#[inline(always)]
fn row_times_columns<const W: usize>(row: &[f32; W], columns: &[f32], padded: usize, into: &mut [f32]) {
    into.fill(0.0);
    let (factors, _) = row.as_chunks::<4>();
    for ([a, b, c, d], block) in factors.iter().zip(columns.chunks_exact(4 * padded)) {
        let (first, rest) = block.split_at_checked(padded).unwrap_or_default();
        let (second, rest) = rest.split_at_checked(padded).unwrap_or_default();
        let (third, fourth) = rest.split_at_checked(padded).unwrap_or_default();
        for ((((into, first), second), third), fourth) in into.iter_mut().zip(first).zip(second).zip(third).zip(fourth)
        {
            *into += (a * first + b * second) + (c * third + d * fourth);
        }
    }
}

/// `into += factor * from`.
#[inline(always)]
fn add_times<const W: usize>(into: &mut [f32; W], factor: f32, from: &[f32; W]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += factor * from;
    }
}

/// Scores to shares that add up to 1; what lies behind `length` becomes 0.
#[inline(always)]
fn softmax(scores: &mut [f32], length: usize) {
    let top = largest(part(scores, 0, length));
    scores.iter_mut().for_each(|score| *score = exp(*score - top));
    scores.iter_mut().skip(length).for_each(|score| *score = 0.0);
    let factor = 1.0 / sum(scores);
    scores.iter_mut().for_each(|score| *score *= factor);
}

fn head_forward<const W: usize>(input: &[f32], heads: Heads, head: usize, output: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            let (hidden, width, start) = (heads.hidden(), heads.width, head * heads.width);
            let queries: Vec<[f32; W]> = gather(input, 3 * hidden, start, width, heads.scale());
            let keys: Vec<[f32; W]> = gather(input, 3 * hidden, hidden + start, width, 1.0);
            let values: Vec<[f32; W]> = gather(input, 3 * hidden, 2 * hidden + start, width, 1.0);
            let padded = keys.len().next_multiple_of(LANES);
            let keys = columns(&keys, padded);
            let mut shares = vec![0.0; padded];
            for (query, row) in queries.iter().zip(output.chunks_exact_mut(hidden)) {
                row_times_columns(query, &keys, padded, &mut shares);
                softmax(&mut shares, values.len());
                let mut mixed = [0.0; W];
                for (share, value) in shares.iter().zip(&values) {
                    add_times(&mut mixed, *share, value);
                }
                part_mut(row, start, width).iter_mut().zip(mixed).for_each(|(into, value)| *into = value);
            }
        },
    );
}

fn head_backward<const W: usize>(input: &[f32], gradient: &[f32], heads: Heads, head: usize, result: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            let (hidden, width, start) = (heads.hidden(), heads.width, head * heads.width);
            let queries: Vec<[f32; W]> = gather(input, 3 * hidden, start, width, heads.scale());
            let keys: Vec<[f32; W]> = gather(input, 3 * hidden, hidden + start, width, 1.0);
            let values: Vec<[f32; W]> = gather(input, 3 * hidden, 2 * hidden + start, width, 1.0);
            let gradients: Vec<[f32; W]> = gather(gradient, hidden, start, width, 1.0);
            let padded = keys.len().next_multiple_of(LANES);
            let (key_columns, value_columns) = (columns(&keys, padded), columns(&values, padded));
            let (mut shares, mut slopes) = (vec![0.0; padded], vec![0.0; padded]);
            let mut key_slopes = vec![[0.0; W]; keys.len()];
            let mut value_slopes = vec![[0.0; W]; keys.len()];
            let mut query_slopes = Vec::with_capacity(keys.len());
            for (query, gradient) in queries.iter().zip(&gradients) {
                row_times_columns(query, &key_columns, padded, &mut shares);
                softmax(&mut shares, keys.len());
                row_times_columns(gradient, &value_columns, padded, &mut slopes);
                let along = dot(&shares, &slopes);
                slopes.iter_mut().zip(&shares).for_each(|(slope, share)| *slope = share * (*slope - along));
                let mut query_slope = [0.0; W];
                let slots = key_slopes.iter_mut().zip(&mut value_slopes);
                for (((slope, share), key), (key_slope, value_slope)) in
                    slopes.iter().zip(&shares).zip(&keys).zip(slots)
                {
                    add_times(value_slope, *share, gradient);
                    add_times(key_slope, *slope, query);
                    add_times(&mut query_slope, *slope, key);
                }
                query_slopes.push(query_slope.map(|slope| slope * heads.scale()));
            }
            scatter(&query_slopes, 3 * hidden, start, width, result);
            scatter(&key_slopes, 3 * hidden, hidden + start, width, result);
            scatter(&value_slopes, 3 * hidden, 2 * hidden + start, width, result);
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::finetune::check::{Differences, noise};

    #[test]
    fn gradients_are_those_of_differences() {
        let lengths = [1, 5, 19, 2];
        let tokens: usize = lengths.iter().sum();
        for heads in [(3, 6), (2, 16), (1, 26), (1, 64), (1, 80), (1, 130)].map(|(count, width)| Heads { count, width })
        {
            let hidden = heads.hidden();
            let inputs = [noise(1, tokens * 3 * hidden)];
            let slopes = noise(2, tokens * hidden);
            let value = |inputs: &[Vec<f32>]| {
                let output = forward(&Matrix::new(3 * hidden, inputs[0].clone()), &lengths, heads, Products::Exact);
                output.values().iter().zip(&slopes).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let joined = Matrix::new(3 * hidden, inputs[0].clone());
            let gradient = backward(&joined, &lengths, heads, &Matrix::new(hidden, slopes.clone()), Products::Exact);
            Differences { step: 1e-2, tolerance: 2e-3 }.check(&inputs, &[gradient.into_values()], value);
        }
    }

    #[test]
    fn a_sequence_does_not_see_its_neighbours() {
        let heads = Heads { count: 2, width: 16 };
        let rows = noise(3, 30 * 96);
        for products in [Products::Exact, Products::Fast] {
            let whole = forward(&Matrix::new(96, rows.clone()), &[7, 23], heads, products);
            let alone = forward(&Matrix::new(96, rows[7 * 96..].to_vec()), &[23], heads, products);
            assert_eq!(whole.values()[7 * 32..], alone.values()[..]);
        }
    }
}
