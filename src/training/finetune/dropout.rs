//! Dropout whose choices follow from counters, so that a backward or repeated pass finds them again without storing them.

/// Which numbers are dropped at one place of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dropout {
    key: u32,
    /// Hashes below it are dropped.
    threshold: u32,
    scale: f32,
}

impl Dropout {
    /// Drops nothing.
    pub const NONE: Self = Self { key: 0, threshold: 0, scale: 1.0 };

    /// Drops a share of `rate` (0 to below 1), chosen by `seed` and `step`.
    pub fn new(rate: f64, seed: u64, step: u64) -> Self {
        if rate <= 0.0 {
            return Self::NONE;
        }
        let mixed = (seed ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        Self {
            key: mix((mixed >> 32) as u32 ^ mixed as u32),
            threshold: (rate * f64::from(u32::MAX)) as u32,
            scale: (1.0 / (1.0 - rate)) as f32,
        }
    }

    /// The choices at another place of the same step.
    pub fn at(self, place: u32) -> Self {
        Self { key: mix(self.key ^ place.wrapping_mul(0x85EB_CA6B)), ..self }
    }

    pub fn is_none(self) -> bool {
        self.threshold == 0
    }

    /// Drops or scales up `values`, the first of which is number `first` at this place.
    #[inline(always)]
    pub fn apply(self, values: &mut [f32], first: usize) {
        if self.is_none() {
            return;
        }
        for (index, value) in (first as u32..).zip(values) {
            let kept = mix(index ^ self.key) >= self.threshold;
            *value *= if kept { self.scale } else { 0.0 };
        }
    }
}

/// The finaliser of MurmurHash3.
#[inline(always)]
fn mix(value: u32) -> u32 {
    let value = (value ^ (value >> 16)).wrapping_mul(0x85EB_CA6B);
    let value = (value ^ (value >> 13)).wrapping_mul(0xC2B2_AE35);
    value ^ (value >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_holds_the_mean_stays_and_places_differ() {
        let drop = |dropout: Dropout| {
            let mut values = vec![1.0f32; 100_000];
            dropout.apply(&mut values, 0);
            values
        };
        let dropout = Dropout::new(0.2, 7, 3);
        let values = drop(dropout.at(1));
        let dropped = values.iter().filter(|value| **value == 0.0).count();
        assert!((19_000..21_000).contains(&dropped), "{dropped}");
        let mean = values.iter().sum::<f32>() / 100_000.0;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert_eq!(values, drop(dropout.at(1)));
        assert_ne!(values, drop(dropout.at(2)));
        assert_ne!(values, drop(Dropout::new(0.2, 7, 4).at(1)));
        assert!(drop(Dropout::new(0.0, 7, 3)).iter().all(|value| *value == 1.0));
        let mut later = vec![1.0f32; 10];
        dropout.at(1).apply(&mut later, 500);
        assert_eq!(later, values[500..510]);
    }
}
