//! How long a turn takes, to tell beforehand which texts it would finish too late.
//!
//! A queue that is full for long holds texts that are nearly out of time when their turn comes. Computing those would be for nobody, so a
//! turn leaves out what it can't finish in time. The estimate is the mean time of a token in the turns before; whenever it leaves a text
//! out it sinks, so that an estimate that was once too high does not keep texts out for good.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Of the difference between a turn and the mean, this part goes into the mean.
const PART: u64 = 8;

/// A turn that took longer than so many times the mean, as when the machine stood still, counts as this many times.
const MOST_TIMES: u64 = 4;

/// Mean time of a token, in nanoseconds; 0 until it is known.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    /// How long a turn of so many tokens will take.
    pub fn of(&self, tokens: usize) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed).saturating_mul(tokens as u64))
    }

    /// A turn of so many tokens took so long.
    pub fn note(&self, tokens: usize, took: Duration) {
        let Some(token) = (took.as_nanos() as u64).checked_div(tokens as u64) else { return };
        self.update(|mean| match mean {
            0 => token,
            mean => {
                let token = token.min(mean.saturating_mul(MOST_TIMES));
                mean - mean / PART + token / PART
            }
        });
    }

    /// Something was left out by the estimate.
    pub fn sink(&self) {
        self.update(|mean| mean - mean / PART);
    }

    fn update(&self, change: impl Fn(u64) -> u64) {
        // Turns that end at once may undo each other's change; a mean bears that.
        self.0.store(change(self.0.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_the_turns_and_one_that_stood_still_counts_little() {
        let pace = Pace::default();
        assert_eq!(pace.of(1_000), Duration::ZERO, "nothing is known, so nothing is left out");
        pace.note(100, Duration::from_millis(10));
        assert_eq!(pace.of(50), Duration::from_millis(5));
        pace.note(100, Duration::from_secs(60));
        assert!(pace.of(100) < Duration::from_millis(15), "{:?}", pace.of(100));
        for _ in 0..100 {
            pace.note(100, Duration::from_millis(2));
        }
        assert!(pace.of(100) < Duration::from_millis(3), "{:?}", pace.of(100));
        pace.note(0, Duration::from_secs(1));
    }

    #[test]
    fn an_estimate_that_keeps_texts_out_sinks() {
        let pace = Pace::default();
        pace.note(1, Duration::from_secs(1));
        for _ in 0..60 {
            pace.sink();
        }
        assert!(pace.of(1) < Duration::from_millis(1), "{:?}", pace.of(1));
    }
}
