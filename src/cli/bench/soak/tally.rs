//! How calls ended and how long they took, apart for quiet times and times of a fault.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::super::quantile;

/// Latencies of one RPC that are kept; of more, every other one is forgotten.
const KEPT: usize = 100_000;

/// When a call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// No fault from its beginning to its end.
    Quiet,
    /// A fault was, began or had just ended.
    Fault,
}

/// Whether there is a fault: an even number is quiet, an odd one is a fault.
#[derive(Default)]
pub(super) struct Phases(AtomicU64);

impl Phases {
    /// A fault begins, or ends.
    pub fn turn(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// The number of now.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// The phase of something that began then and ends now.
    pub fn since(&self, then: u64) -> Phase {
        if then.is_multiple_of(2) && then == self.now() { Phase::Quiet } else { Phase::Fault }
    }
}

/// How the calls of one kind ended.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Ended {
    pub phase: Phase,
    pub rpc: &'static str,
    /// `Ok`, another gRPC code, or `connection` for a connection that broke.
    pub code: String,
    pub calls: u64,
}

/// How long the answered calls of an RPC took in quiet times, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Latency {
    pub rpc: &'static str,
    pub calls: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

#[derive(Default)]
struct Latencies {
    calls: u64,
    max_ms: f32,
    kept: Vec<f32>,
    /// One of so many is kept.
    every: u64,
}

impl Latencies {
    fn note(&mut self, ms: f32) {
        self.calls += 1;
        self.max_ms = self.max_ms.max(ms);
        let every = self.every.max(1);
        if !self.calls.is_multiple_of(every) {
            return;
        }
        self.kept.push(ms);
        if self.kept.len() >= KEPT {
            let mut is_kept = false;
            self.kept.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.every = every * 2;
        }
    }
}

/// Everything that ended.
#[derive(Default)]
pub(super) struct Tally {
    ended: Mutex<BTreeMap<(Phase, &'static str, String), u64>>,
    latencies: Mutex<BTreeMap<&'static str, Latencies>>,
    /// Calls that were due and not made, as too many were under way on this side.
    unsent: AtomicU64,
    answered: AtomicU64,
}

impl Tally {
    /// Notes a call.
    pub fn note(&self, rpc: &'static str, phase: Phase, code: String, took: Duration) {
        if code == "Ok" {
            self.answered.fetch_add(1, Ordering::Relaxed);
            if phase == Phase::Quiet {
                lock(&self.latencies).entry(rpc).or_default().note(took.as_secs_f32() * 1e3);
            }
        }
        *lock(&self.ended).entry((phase, rpc, code)).or_default() += 1;
    }

    /// Notes a call that was due and not made.
    pub fn note_unsent(&self) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls that were due and not made.
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Calls that were answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// How calls ended.
    pub fn ended(&self) -> Vec<Ended> {
        let ended = lock(&self.ended);
        let ended = ended.iter().map(|((phase, rpc, code), calls)| Ended {
            phase: *phase,
            rpc,
            code: code.clone(),
            calls: *calls,
        });
        ended.collect()
    }

    /// How long they took in quiet times.
    pub fn latencies(&self) -> Vec<Latency> {
        let latencies = lock(&self.latencies);
        let latencies = latencies.iter().map(|(rpc, latencies)| {
            let mut rising: Vec<f64> = latencies.kept.iter().map(|ms| f64::from(*ms)).collect();
            rising.sort_by(f64::total_cmp);
            Latency {
                rpc,
                calls: latencies.calls,
                p50_ms: quantile(&rising, 0.5),
                p99_ms: quantile(&rising, 0.99),
                max_ms: f64::from(latencies.max_ms),
            }
        });
        latencies.collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_a_fault_touches_is_of_the_fault() {
        let phases = Phases::default();
        let before = phases.now();
        assert_eq!(phases.since(before), Phase::Quiet);
        phases.turn();
        assert_eq!(phases.since(before), Phase::Fault);
        let during = phases.now();
        phases.turn();
        assert_eq!(phases.since(during), Phase::Fault);
        assert_eq!(phases.since(before), Phase::Fault, "a whole fault lay between");
        assert_eq!(phases.since(phases.now()), Phase::Quiet);
    }

    #[test]
    fn only_answered_calls_of_quiet_times_have_a_latency() {
        let tally = Tally::default();
        let took = Duration::from_millis(7);
        tally.note("Classify", Phase::Quiet, "Ok".into(), took);
        tally.note("Classify", Phase::Fault, "Ok".into(), took);
        tally.note("Classify", Phase::Quiet, "Unavailable".into(), took);
        let latencies = tally.latencies();
        assert_eq!(latencies.iter().map(|one| (one.rpc, one.calls)).collect::<Vec<_>>(), [("Classify", 1)]);
        assert_eq!((tally.answered(), tally.ended().len()), (2, 3));
    }
}
