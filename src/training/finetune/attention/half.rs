//! Attention of one sequence by products of 16-bit numbers. The attention matrix of one head at a time is in memory.

use crate::inference::{HalfProducts, Operand, Room};

use super::{Heads, part_mut};
use crate::inference::vectorise::{add_scaled, dot, exp, largest, sum, vectorised};

/// Query, key and value of one head.
#[derive(Clone, Copy)]
struct Head<'a> {
    query: Operand<'a>,
    key: Operand<'a>,
    value: Operand<'a>,
}

impl<'a> Head<'a> {
    fn of(input: &'a [f32], heads: Heads, head: usize) -> Self {
        let (hidden, width) = (heads.hidden(), heads.width);
        let part = |index: usize| Operand::part(input, 3 * hidden, index * hidden + head * width, width);
        Self { query: part(0), key: part(1), value: part(2) }
    }
}

/// Products on one thread, and memory for them.
struct Products {
    half: HalfProducts,
    room: Room,
}

impl Products {
    fn multiply(&mut self, left: Operand<'_>, right: Operand<'_>, product: &mut Vec<f32>) {
        self.half.multiply_here(left, right, &mut self.room, product);
    }

    /// What each token of a sequence takes of each other: `[length, length]`.
    fn shares(&mut self, head: Head<'_>, scale: f32, shares: &mut Vec<f32>) {
        self.multiply(head.query, head.key.turned(), shares);
        let length = head.key.shape().0.max(1);
        vectorised(
            #[inline(always)]
            || shares.chunks_exact_mut(length).for_each(|row| softmax(row, scale)),
        );
    }
}

/// Scores times `scale` to shares that add up to 1.
#[inline(always)]
fn softmax(scores: &mut [f32], scale: f32) {
    let top = largest(scores);
    scores.iter_mut().for_each(|score| *score = exp((*score - top) * scale));
    let factor = 1.0 / sum(scores);
    scores.iter_mut().for_each(|score| *score *= factor);
}

/// Writes `factor` times `[length, width]` into a part of each row.
fn scatter(from: &[f32], factor: f32, heads: Heads, stride: usize, start: usize, into: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            for (row, from) in into.chunks_exact_mut(stride).zip(from.chunks_exact(heads.width)) {
                let part = part_mut(row, start, heads.width);
                part.fill(0.0);
                add_scaled(part, factor, from);
            }
        },
    );
}

/// `[length, 3 * hidden]` to `[length, hidden]`.
pub(super) fn forward(half: HalfProducts, input: &[f32], heads: Heads, output: &mut [f32]) {
    let mut products = Products { half, room: Room::default() };
    let (mut shares, mut mixed) = (Vec::new(), Vec::new());
    for index in 0..heads.count {
        let head = Head::of(input, heads, index);
        products.shares(head, heads.scale(), &mut shares);
        let length = head.key.shape().0;
        products.multiply(Operand::new(&shares, length), head.value, &mut mixed);
        scatter(&mixed, 1.0, heads, heads.hidden(), index * heads.width, output);
    }
}

/// The gradient of the input from that of the output.
pub(super) fn backward(half: HalfProducts, input: &[f32], gradient: &[f32], heads: Heads, result: &mut [f32]) {
    let mut products = Products { half, room: Room::default() };
    let (mut shares, mut slopes, mut of_part) = (Vec::new(), Vec::new(), Vec::new());
    let hidden = heads.hidden();
    for index in 0..heads.count {
        let head = Head::of(input, heads, index);
        let start = index * heads.width;
        let length = head.key.shape().0;
        let gradient = Operand::part(gradient, hidden, start, heads.width);
        products.shares(head, heads.scale(), &mut shares);
        products.multiply(Operand::new(&shares, length).turned(), gradient, &mut of_part);
        scatter(&of_part, 1.0, heads, 3 * hidden, 2 * hidden + start, result);

        products.multiply(gradient, head.value.turned(), &mut slopes);
        vectorised(
            #[inline(always)]
            || {
                let length = length.max(1);
                for (slopes, shares) in slopes.chunks_exact_mut(length).zip(shares.chunks_exact(length)) {
                    let along = dot(shares, slopes);
                    slopes.iter_mut().zip(shares).for_each(|(slope, share)| *slope = share * (*slope - along));
                }
            },
        );
        let slopes = Operand::new(&slopes, length);
        products.multiply(slopes, head.key, &mut of_part);
        scatter(&of_part, heads.scale(), heads, 3 * hidden, start, result);
        products.multiply(slopes.turned(), head.query, &mut of_part);
        scatter(&of_part, heads.scale(), heads, 3 * hidden, hidden + start, result);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Matrix, Products, backward, forward};
    use super::*;
    use crate::training::finetune::check::noise;

    #[test]
    fn numbers_are_those_of_32_bits_but_for_rounding() {
        let lengths = [1, 5, 40, 2, 300];
        let tokens: usize = lengths.iter().sum();
        for heads in [(3, 6), (2, 32), (1, 130)].map(|(count, width)| Heads { count, width }) {
            let hidden = heads.hidden();
            let joined = Matrix::new(3 * hidden, noise(1, tokens * 3 * hidden));
            let gradient = Matrix::new(hidden, noise(2, tokens * hidden));
            let run = |products: Products| {
                let output = forward(&joined, &lengths, heads, products).into_values();
                (output, backward(&joined, &lengths, heads, &gradient, products).into_values())
            };
            let (exact, fast) = (run(Products::Exact), run(Products::Fast));
            for (exact, fast) in [(exact.0, fast.0), (exact.1, fast.1)] {
                let size = (exact.iter().map(|value| value * value).sum::<f32>() / exact.len() as f32).sqrt();
                let worst = exact.iter().zip(&fast).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
                assert!(worst < 0.1 * size, "{worst} beside {size}");
            }
        }
    }
}
