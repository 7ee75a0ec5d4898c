//! What the service promises, how often each promise was looked at, and each time that one was broken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// Broken promises whose evidence is kept; more are counted.
const KEPT: usize = 100;

/// Something that the service promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Promise {
    /// The same text under the same versions has the same tags.
    SameAnswer,
    /// A search finds the stored twin of what is looked for.
    TwinFound,
    /// What was acknowledged is there, and nothing else.
    WriteKept,
    /// A call that comes twice under one name acts once.
    ActsOnce,
    /// Nobody sees another tenant's cases.
    TenantsApart,
    /// A call fails only in the ways that are told.
    KnownErrors,
    /// Files that are not valid leave in force what was before.
    FormerKept,
    /// Connections that break leave nothing behind.
    NothingLeft,
    /// A service that is told to stop ends in order, one that is started answers, and one whose disk was full stores again.
    LivesAgain,
}

impl Promise {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SameAnswer,
        Self::TwinFound,
        Self::WriteKept,
        Self::ActsOnce,
        Self::TenantsApart,
        Self::KnownErrors,
        Self::FormerKept,
        Self::NothingLeft,
        Self::LivesAgain,
    ];

    /// What is promised.
    pub fn words(self) -> &'static str {
        match self {
            Self::SameAnswer => "same text, same versions, same tags",
            Self::TwinFound => "a search finds the stored twin",
            Self::WriteKept => "what was acknowledged is kept",
            Self::ActsOnce => "a named call acts once",
            Self::TenantsApart => "tenants see their own cases alone",
            Self::KnownErrors => "calls fail in known ways alone",
            Self::FormerKept => "broken files leave the former in force",
            Self::NothingLeft => "broken connections leave nothing",
            Self::LivesAgain => "it stops in order and starts again",
        }
    }
}

/// A broken promise.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Breach {
    pub promise: Promise,
    /// Seconds since the run began.
    pub at_s: f64,
    /// What was seen and what was promised.
    pub evidence: String,
}

/// How often a promise was looked at.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Checked {
    pub promise: Promise,
    pub checks: u64,
    pub broken: u64,
}

#[derive(Default)]
struct Count {
    checks: AtomicU64,
    broken: AtomicU64,
}

/// All promises of a run.
pub(super) struct Promises {
    began: std::time::Instant,
    counts: [Count; Promise::ALL.len()],
    breaches: Mutex<Vec<Breach>>,
}

impl Promises {
    pub fn new() -> Self {
        Self { began: std::time::Instant::now(), counts: Default::default(), breaches: Mutex::default() }
    }

    /// Notes that a promise was looked at, and whether it held; if not, with what was seen.
    pub fn check(&self, promise: Promise, held: bool, evidence: impl FnOnce() -> String) {
        let place = Promise::ALL.iter().position(|one| *one == promise);
        let Some(count) = place.and_then(|place| self.counts.get(place)) else { return };
        count.checks.fetch_add(1, Ordering::Relaxed);
        if held {
            return;
        }
        count.broken.fetch_add(1, Ordering::Relaxed);
        let mut breaches = self.breaches.lock().unwrap_or_else(PoisonError::into_inner);
        if breaches.len() < KEPT {
            breaches.push(Breach { promise, at_s: self.began.elapsed().as_secs_f64(), evidence: evidence() });
        }
    }

    /// How often each was looked at.
    pub fn checked(&self) -> Vec<Checked> {
        let counts = Promise::ALL.iter().zip(&self.counts);
        let checked = counts.map(|(promise, count)| Checked {
            promise: *promise,
            checks: count.checks.load(Ordering::Relaxed),
            broken: count.broken.load(Ordering::Relaxed),
        });
        checked.collect()
    }

    /// What was broken so far.
    pub fn broken(&self) -> u64 {
        self.counts.iter().map(|count| count.broken.load(Ordering::Relaxed)).sum()
    }

    /// The evidence.
    pub fn breaches(&self) -> Vec<Breach> {
        self.breaches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_promise_is_counted_apart() {
        let promises = Promises::new();
        promises.check(Promise::WriteKept, true, String::new);
        promises.check(Promise::WriteKept, false, || "case 1 is gone".to_owned());
        let checked = promises.checked();
        let of = |promise| checked.iter().find(|one| one.promise == promise).map(|one| (one.checks, one.broken));
        assert_eq!(of(Promise::WriteKept), Some((2, 1)));
        assert_eq!(of(Promise::ActsOnce), Some((0, 0)));
        assert_eq!(promises.broken(), 1);
        assert_eq!(promises.breaches().len(), 1);
    }
}
