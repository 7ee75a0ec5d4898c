//! Memory of the service over time: how fast it grows.
//!
//! A process that was started again begins with little, so lives are looked at apart. Of each life the warm-up is left out; then a line
//! is laid through its samples by least squares. The slope of all lives together has one slope and a height for each life: ages and
//! memory are taken from their means within each life, and the line goes through all of those differences.

use std::time::Duration;

use serde::Serialize;

/// Samples of a life after its warm-up without which no line is laid.
const LEAST_SAMPLES: usize = 8;

/// One look.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Sample {
    /// Which life, from 1.
    pub life: usize,
    /// Its age, in seconds.
    pub age_s: f64,
    /// Memory in use, in MB.
    pub rss_mb: f64,
}

/// What came of one life.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Life {
    pub life: usize,
    pub lasted_s: f64,
    pub most_mb: f64,
    pub last_mb: f64,
    /// MB an hour after the warm-up; none of a life that was too short.
    pub slope_mb_per_h: Option<f64>,
}

/// What came of all.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Growth {
    pub lives: Vec<Life>,
    /// What was left out of each life, in seconds.
    pub warm_up_s: f64,
    /// Seconds after the warm-up, of all lives that count.
    pub looked_at_s: f64,
    /// MB an hour, of all lives that count.
    pub slope_mb_per_h: Option<f64>,
    /// How far off it may be: its standard error.
    pub slope_error_mb_per_h: Option<f64>,
}

/// The growth of samples in the order in which they were taken.
pub(super) fn growth(samples: &[Sample], warm_up: Duration) -> Growth {
    let warm_up_s = warm_up.as_secs_f64();
    let mut numbers: Vec<usize> = samples.iter().map(|sample| sample.life).collect();
    numbers.dedup();
    let (mut lives, mut all, mut heights, mut looked_at_s) = (Vec::new(), Sums::default(), 0, 0.0);
    for life in numbers {
        let of_life: Vec<Sample> = samples.iter().filter(|sample| sample.life == life).copied().collect();
        let warm: Vec<Sample> = of_life.iter().filter(|sample| sample.age_s >= warm_up_s).copied().collect();
        let sums = (warm.len() >= LEAST_SAMPLES).then(|| Sums::of(&warm));
        if let (Some(sums), Some(first), Some(last)) = (&sums, warm.first(), warm.last()) {
            all.add(sums);
            heights += 1;
            looked_at_s += last.age_s - first.age_s;
        }
        lives.push(Life {
            life,
            lasted_s: of_life.last().map_or(0.0, |sample| sample.age_s),
            most_mb: of_life.iter().map(|sample| sample.rss_mb).fold(0.0, f64::max),
            last_mb: of_life.last().map_or(0.0, |sample| sample.rss_mb),
            slope_mb_per_h: sums.as_ref().and_then(Sums::slope).map(per_hour),
        });
    }
    let (slope, error) = (all.slope(), all.error(heights));
    Growth {
        lives,
        warm_up_s,
        looked_at_s,
        slope_mb_per_h: slope.map(per_hour),
        slope_error_mb_per_h: error.map(per_hour),
    }
}

fn per_hour(per_second: f64) -> f64 {
    per_second * 3_600.0
}

/// Sums of products of differences from the means of a life.
#[derive(Debug, Default)]
struct Sums {
    samples: usize,
    age_age: f64,
    age_mb: f64,
    mb_mb: f64,
}

impl Sums {
    fn of(samples: &[Sample]) -> Self {
        let count = samples.len().max(1) as f64;
        let age = samples.iter().map(|sample| sample.age_s).sum::<f64>() / count;
        let mb = samples.iter().map(|sample| sample.rss_mb).sum::<f64>() / count;
        let mut sums = Self { samples: samples.len(), ..Self::default() };
        for sample in samples {
            let (age, mb) = (sample.age_s - age, sample.rss_mb - mb);
            sums.age_age += age * age;
            sums.age_mb += age * mb;
            sums.mb_mb += mb * mb;
        }
        sums
    }

    fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        self.age_age += other.age_age;
        self.age_mb += other.age_mb;
        self.mb_mb += other.mb_mb;
    }

    fn slope(&self) -> Option<f64> {
        (self.age_age > 0.0).then(|| self.age_mb / self.age_age)
    }

    /// The standard error of the slope, where each of so many lives has a height of its own.
    fn error(&self, heights: usize) -> Option<f64> {
        let slope = self.slope()?;
        let free = self.samples.checked_sub(heights + 1).filter(|free| *free > 0)?;
        let left = (self.mb_mb - slope * self.age_mb).max(0.0);
        Some((left / free as f64 / self.age_age).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(life: usize, from_mb: f64, mb_per_s: f64, seconds: usize) -> Vec<Sample> {
        let at = |second: usize| Sample { life, age_s: second as f64, rss_mb: from_mb + mb_per_s * second as f64 };
        (0..seconds).step_by(5).map(at).collect()
    }

    #[test]
    fn lives_of_other_heights_have_one_slope() {
        let samples = [life(1, 300.0, 0.01, 600), life(2, 500.0, 0.01, 300)].concat();
        let growth = growth(&samples, Duration::from_secs(60));
        assert!((growth.slope_mb_per_h.unwrap() - 36.0).abs() < 1e-6, "{growth:?}");
        assert!(growth.slope_error_mb_per_h.unwrap() < 1e-3, "{growth:?}");
        assert_eq!(growth.lives.len(), 2);
    }

    #[test]
    fn a_life_that_ends_in_its_warm_up_says_nothing_of_growth() {
        let growth = growth(&life(1, 300.0, 5.0, 60), Duration::from_secs(60));
        assert_eq!((growth.slope_mb_per_h, growth.lives.first().unwrap().slope_mb_per_h), (None, None));
        assert!(growth.lives.first().unwrap().most_mb > 500.0);
    }
}
