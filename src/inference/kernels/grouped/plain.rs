//! The products as one would write them down: the reference for all other kernels, and the way on processors that have none of them.

use half::f16;

use super::{Block, DEPTH, GROUP, GroupWidth, PANEL, ROWS};
use crate::inference::kernels::vectorise::vectorised;

pub(super) fn products(block: &Block<'_>, rows: usize, products: &mut [[f32; PANEL]; ROWS]) {
    vectorised(
        #[inline(always)]
        || {
            let groups = block.groups.max(1);
            let numbers = block.numbers.chunks_exact(groups * GROUP);
            let scales = block.scales.chunks_exact(groups).zip(block.sums.chunks_exact(groups));
            for ((products, numbers), (scales, sums)) in products.iter_mut().zip(numbers).zip(scales).take(rows) {
                *products = row(block, numbers, scales, sums);
            }
        },
    );
}

#[inline(always)]
fn row(block: &Block<'_>, numbers: &[i8], scales: &[f32], sums: &[i32]) -> [f32; PANEL] {
    let mut products = [0.0f32; PANEL];
    let numbers = numbers.as_chunks::<GROUP>().0;
    let lines = block.lines.chunks_exact(block.width.lines());
    let factors = block.factors.as_chunks::<PANEL>().0;
    let mut lows = block.lows.as_chunks::<PANEL>().0.iter();
    let of_groups = numbers.iter().zip(lines).zip(factors).zip(scales.iter().zip(sums));
    for (((numbers, lines), factors), (scale, sum)) in of_groups {
        let mut dots = [0i32; PANEL];
        let mut add = |numbers: &[i8], weights: &dyn Fn(usize) -> u8| {
            for (lane, dot) in dots.iter_mut().enumerate() {
                for (depth, number) in numbers.iter().enumerate() {
                    *dot += i32::from(weights(lane * DEPTH + depth)) * i32::from(*number);
                }
            }
        };
        let byte = |line: &super::Line, at: usize| line.0.get(at).copied().unwrap_or(0);
        match block.width {
            GroupWidth::Four => {
                for (line, numbers) in lines.iter().zip(numbers.as_chunks::<{ 2 * DEPTH }>().0) {
                    let (low, high) = numbers.split_at(DEPTH);
                    add(low, &|at| byte(line, at) & 15);
                    add(high, &|at| byte(line, at) >> 4);
                }
            }
            GroupWidth::Eight => {
                for (line, numbers) in lines.iter().zip(numbers.as_chunks::<DEPTH>().0) {
                    add(numbers, &|at| byte(line, at));
                }
                dots.iter_mut().for_each(|dot| *dot -= 128 * sum);
            }
        }
        for ((product, dot), factor) in products.iter_mut().zip(dots).zip(factors) {
            *product = (f16::from_bits(*factor).to_f32() * scale).mul_add(dot as f32, *product);
        }
        if block.width == GroupWidth::Four {
            let taken = scale * *sum as f32;
            for (product, low) in products.iter_mut().zip(lows.next().into_iter().flatten()) {
                *product = (-f16::from_bits(*low).to_f32()).mul_add(taken, *product);
            }
        }
    }
    products
}
