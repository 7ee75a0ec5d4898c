//! Loops over 32-bit numbers, compiled for the widest vectors that the processor at hand has.

/// Lanes of the widest vector.
pub(super) const LANES: usize = 16;

/// Runs `work` compiled for the instruction set found at run time. What it calls must be inlined to profit.
#[inline(always)]
pub(super) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Sum, in a fixed order of additions.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
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

/// Inner product, in a fixed order of additions.
#[inline(always)]
pub(super) fn dot(one: &[f32], other: &[f32]) -> f32 {
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
pub(super) fn largest(values: &[f32]) -> f32 {
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
pub(super) fn add_scaled(into: &mut [f32], factor: f32, from: &[f32]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += factor * from;
    }
}

/// `into += from`.
#[inline(always)]
pub(super) fn add(into: &mut [f32], from: &[f32]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += from;
    }
}

/// e to the power of `value`, to 2 units in the last place between -87 and 88, clamped beyond (Cephes, `expf`).
#[inline(always)]
pub(super) fn exp(value: f32) -> f32 {
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
