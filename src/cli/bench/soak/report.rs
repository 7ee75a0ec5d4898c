//! What a run came to, for people and for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::faults::Done;
use super::memory::Growth;
use super::promises::{Breach, Checked};
use super::tally::{Ended, Latency, Phase};

/// Everything that was seen.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub seed: u64,
    pub minutes: f64,
    /// Calls a second of the mix that were answered when each caller waited.
    pub capacity_calls_per_s: f64,
    /// Calls a second that were made.
    pub rate_calls_per_s: f64,
    pub promises: Vec<Checked>,
    pub breaches: Vec<Breach>,
    pub faults: Vec<Done>,
    pub ended: Vec<Ended>,
    pub latencies: Vec<Latency>,
    /// Calls that were due and not made, as too many were under way.
    pub unsent: u64,
    pub memory: Growth,
    pub cases: usize,
    /// Records of the audit log, whose chain was verified.
    pub audit_records: u64,
    /// False if the run came to its end too soon.
    pub whole: bool,
}

impl Report {
    /// True if no promise was broken.
    pub fn held(&self) -> bool {
        self.whole && self.promises.iter().all(|checked| checked.broken == 0)
    }

    /// Share of failed calls of a phase.
    fn failed_share(&self, phase: Phase) -> Option<f64> {
        let of = |ended: &&Ended| ended.phase == phase;
        let all: u64 = self.ended.iter().filter(of).map(|ended| ended.calls).sum();
        let failed: u64 =
            self.ended.iter().filter(of).filter(|ended| ended.code != "Ok").map(|ended| ended.calls).sum();
        (all > 0).then(|| failed as f64 / all as f64)
    }

    /// Prints it as tables.
    pub fn print(&self) {
        let Self { seed, minutes, capacity_calls_per_s, rate_calls_per_s, .. } = self;
        anstream::println!(
            "soaked for {minutes:.1} min at {rate_calls_per_s:.0} calls/s of {capacity_calls_per_s:.0} (seed {seed})\n"
        );
        anstream::println!("promise                                     checks     broken");
        for checked in &self.promises {
            anstream::println!("{:<40}{:>10}{:>11}", checked.promise.words(), checked.checks, checked.broken);
        }
        anstream::println!("{:<40}{:>10}\n", "records of the audit log, verified", self.audit_records);
        anstream::println!("fault             at, s  lasted, s  what came of it");
        for done in &self.faults {
            let fault = format!("{:?}", done.fault);
            anstream::println!("{fault:<14}{:>9.0}{:>11.1}  {}", done.at_s, done.lasted_s, done.came_of_it);
        }
        self.print_calls();
        self.print_memory();
        for breach in &self.breaches {
            anstream::println!("BROKEN at {:.1} s: {}: {}", breach.at_s, breach.promise.words(), breach.evidence);
        }
        anstream::println!("{}", if self.held() { "every promise was kept" } else { "PROMISES WERE BROKEN" });
    }

    fn print_calls(&self) {
        anstream::println!("\nanswered in quiet times   calls   p50, ms   p99, ms   max, ms");
        for latency in &self.latencies {
            let Latency { rpc, calls, p50_ms, p99_ms, max_ms } = latency;
            anstream::println!("{rpc:<22}{calls:>9}{p50_ms:>10.1}{p99_ms:>10.1}{max_ms:>10.1}");
        }
        for (phase, words) in [(Phase::Quiet, "quiet times"), (Phase::Fault, "times of faults")] {
            let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
            for ended in self.ended.iter().filter(|ended| ended.phase == phase) {
                *codes.entry(&ended.code).or_default() += ended.calls;
            }
            let codes: Vec<String> = codes.iter().map(|(code, calls)| format!("{code} {calls}")).collect();
            let share = self.failed_share(phase).map_or("-".to_owned(), |share| format!("{:.3} %", 100.0 * share));
            anstream::println!("failed in {words}: {share} ({})", codes.join(", "));
        }
        anstream::println!("calls not made, as too many were under way: {}", self.unsent);
    }

    fn print_memory(&self) {
        anstream::println!("\nlife  lasted, s  most, MB  last, MB  slope, MB/h after {:.0} s", self.memory.warm_up_s);
        for life in &self.memory.lives {
            let slope = life.slope_mb_per_h.map_or("-".to_owned(), |slope| format!("{slope:.1}"));
            let super::memory::Life { life, lasted_s, most_mb, last_mb, .. } = life;
            anstream::println!("{life:>4}{lasted_s:>11.0}{most_mb:>10.0}{last_mb:>10.0}{slope:>13}");
        }
        match (self.memory.slope_mb_per_h, self.memory.slope_error_mb_per_h) {
            (Some(slope), Some(error)) => anstream::println!(
                "memory grew by {slope:.1} ± {error:.1} MB/h over {:.0} s of all lives, each from a height of its own",
                self.memory.looked_at_s
            ),
            _ => anstream::println!("no life was long enough to tell how memory grows"),
        }
    }
}
