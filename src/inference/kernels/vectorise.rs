//! Loops over 32-bit numbers, compiled for the widest vectors that the processor at hand has.

/// Lanes of the widest vector.
pub(crate) const LANES: usize = 16;

/// Runs `work` compiled for the instruction set found at run time. What it calls must be inlined to profit.
#[inline(always)]
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// How a product is added to a sum: in one step on processors that do so, in two on others, where one step would be slow.
pub(crate) trait MulAdd {
    /// `one * other + sum`.
    fn mul_add(one: f32, other: f32, sum: f32) -> f32;
}

/// Rounded once.
pub(crate) struct Fused;

impl MulAdd for Fused {
    #[inline(always)]
    fn mul_add(one: f32, other: f32, sum: f32) -> f32 {
        one.mul_add(other, sum)
    }
}

/// Rounded twice.
pub(crate) struct Split;

impl MulAdd for Split {
    #[inline(always)]
    fn mul_add(one: f32, other: f32, sum: f32) -> f32 {
        one * other + sum
    }
}

/// Whether this processor adds products in one step.
#[inline(always)]
pub(crate) fn is_fused() -> bool {
    !cfg!(target_arch = "x86_64") || !matches!(pulp::Arch::new(), pulp::Arch::Scalar)
}

/// Calls `work::<Fused>` or `work::<Split>`, whichever this processor does well, compiled for its instruction set.
macro_rules! fused_or_split {
    ($work:ident($($argument:expr),* $(,)?)) => {
        if $crate::inference::kernels::vectorise::is_fused() {
            $crate::inference::kernels::vectorise::vectorised(
                #[inline(always)]
                || $work::<$crate::inference::kernels::vectorise::Fused>($($argument),*),
            )
        } else {
            $crate::inference::kernels::vectorise::vectorised(
                #[inline(always)]
                || $work::<$crate::inference::kernels::vectorise::Split>($($argument),*),
            )
        }
    };
}
pub(crate) use fused_or_split;

/// The activation GELU with erf, to 5e-6: a polynomial in the square of the value, fitted to the least largest error of the result.
#[inline(always)]
pub(crate) fn gelu<M: MulAdd>(value: f32) -> f32 {
    /// Beyond, the normal distribution's integral is 0 or 1.
    const END: f32 = 4.8;
    let near = if value > -END { value } else { -END };
    let near = if near < END { near } else { END };
    let square = M::mul_add(near * near, 2.0 / (END * END), -1.0);
    let mut series = 1.443_755_6e-3;
    for term in [
        -4.194_626e-3,
        5.392_305_6e-3,
        -7.443_361e-3,
        1.386_413_2e-2,
        -2.218_754_8e-2,
        3.072_081_1e-2,
        -4.056_592_7e-2,
        5.290_41e-2,
        -7.297_976e-2,
        0.147_212_79,
    ] {
        series = M::mul_add(series, square, term);
    }
    value * M::mul_add(near, series, 0.5)
}

/// e to the power of what is not above 0, to 3e-7 and the value's own rounding (1e-7 of it); 0 becomes 1, and nothing less than
/// 1e-38.
#[inline(always)]
pub(crate) fn exp_below<M: MulAdd>(value: f32) -> f32 {
    /// Adding it rounds to a whole number and leaves that number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let power = value * std::f32::consts::LOG2_E;
    let power = if power > -126.0 { power } else { -126.0 };
    let shifted = power + ROUND;
    let rest = power - (shifted - ROUND);
    let mut series = 1.327_647_1e-3;
    for term in [9.675_541e-3, 5.550_713e-2, 2.402_212e-1, 0.693_146_94, 1.0] {
        series = M::mul_add(series, rest, term);
    }
    f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Sum, in a fixed order of additions.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Sum of the squares, in a fixed order of additions.
#[inline(always)]
pub(crate) fn sum_of_squares(values: &[f32]) -> f32 {
    dot(values, values)
}

/// Inner product, in a fixed order of additions.
#[inline(always)]
pub(crate) fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (ones, others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest: f32 = ones.remainder().iter().zip(others.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in ones.zip(others) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Largest value; negative infinity if there is none.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, greater);
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*value, *lane);
        }
    }
    lanes.into_iter().fold(rest, greater)
}

/// `into += factor * from`.
#[inline(always)]
pub(crate) fn add_scaled(into: &mut [f32], factor: f32, from: &[f32]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += factor * from;
    }
}

/// `into += from`.
#[inline(always)]
pub(crate) fn add(into: &mut [f32], from: &[f32]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += from;
    }
}

/// e to the power of `value`, to 2 units in the last place between -87 and 88, clamped beyond (Cephes, `expf`).
#[inline(always)]
pub(crate) fn exp(value: f32) -> f32 {
    /// Adding it rounds to a whole number and leaves that number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let value = if value > -87.0 { value } else { -87.0 };
    let value = if value < 88.0 { value } else { 88.0 };
    let shifted = value * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = value - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let mut series = 1.987_569_1e-4;
    for term in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        series = series * rest + term;
    }
    let mantissa = series * rest * rest + rest + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    mantissa * f32::from_bits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exp() {
        for step in -8_600..8_700 {
            let value = step as f32 / 100.0;
            let (given, expected) = (exp(value), f64::from(value).exp());
            assert!((f64::from(given) / expected - 1.0).abs() < 3e-7, "{value}: {given} and {expected}");
        }
        assert!(exp(-1e9) < 1e-37);
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(1e9).is_finite());
    }

    #[test]
    fn gelu_is_gelu() {
        let points: Vec<f32> = (-9_000..=9_000).map(|step| step as f32 / 1_000.0).collect();
        let tensor = candle_core::Tensor::new(points.as_slice(), &candle_core::Device::Cpu).unwrap();
        let expected: Vec<f32> = tensor.gelu_erf().unwrap().to_vec1().unwrap();
        for (point, expected) in points.iter().zip(expected) {
            for given in [gelu::<Fused>(*point), gelu::<Split>(*point)] {
                assert!((given - expected).abs() < 6e-6, "{point}: {given} and {expected}");
            }
        }
        assert_eq!((gelu::<Fused>(1e30), gelu::<Fused>(f32::NEG_INFINITY).abs() < 1e-5), (1e30, false));
    }

    #[test]
    fn sums_and_largest_count_the_rest_behind_whole_vectors() {
        for length in [0, 1, 15, 16, 17, 40] {
            let values: Vec<f32> = (0..length).map(|index| index as f32 - 3.0).collect();
            let expected: f32 = values.iter().sum();
            assert_eq!(
                vectorised(
                    #[inline(always)]
                    || sum(&values)
                ),
                expected
            );
            assert_eq!(
                vectorised(
                    #[inline(always)]
                    || dot(&values, &values)
                ),
                values.iter().map(|value| value * value).sum::<f32>()
            );
            assert_eq!(largest(&values), values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
