//! The callers: as many calls as the service can answer, to know how many that is; and then calls at a rate, however it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::run::Run;

/// Callers that together find out the capacity.
const CLOSED: usize = 16;

/// Calls under way at once at most; one more that is due is not made, and counted.
const OPEN: usize = 2_048;

/// What is asked, and how often of the sum of all.
const MIX: [(Ask, u32); 11] = [
    (Ask::Classify, 36),
    (Ask::Reference, 16),
    (Ask::Batch, 4),
    (Ask::Stream, 3),
    (Ask::Twin, 8),
    (Ask::Upsert, 8),
    (Ask::Correct, 4),
    (Ask::Delete, 2),
    (Ask::Get, 12),
    (Ask::Suggest, 3),
    (Ask::Follow, 2),
];

/// Cases for review are asked for once in so many calls: each such call reads thousands.
const REVIEW_ONE_OF: u32 = 200;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Classify,
    Reference,
    Batch,
    Stream,
    Twin,
    Upsert,
    Correct,
    Delete,
    Get,
    Suggest,
    Follow,
    Review,
}

impl Ask {
    fn any(random: &mut ChaCha8Rng) -> Self {
        if random.random_ratio(1, REVIEW_ONE_OF) {
            return Self::Review;
        }
        let all: u32 = MIX.iter().map(|(_, weight)| weight).sum();
        let mut rest = random.random_range(0..all);
        for (ask, weight) in MIX {
            match rest.checked_sub(weight) {
                Some(less) => rest = less,
                None => return ask,
            }
        }
        Self::Classify
    }

    async fn make(self, run: &Run, random: &mut ChaCha8Rng) {
        match self {
            Self::Classify => run.classify(random).await,
            Self::Reference => run.classify_reference(random).await,
            Self::Batch => run.batch(random).await,
            Self::Stream => run.stream(random).await,
            Self::Twin => run.find_twin(random).await,
            Self::Upsert => run.upsert(random).await,
            Self::Correct => run.correct(random).await,
            Self::Delete => run.delete(random).await,
            Self::Get => run.get(random).await,
            Self::Suggest => run.suggest(random).await,
            Self::Follow => run.follow(random).await,
            Self::Review => run.list_for_review(random).await,
        }
    }
}

/// Stores and corrects cases for a while: a service that has its cases answers fewer calls than an empty one.
pub(super) async fn fill(run: &Arc<Run>, seed: u64, lasts: Duration) {
    closed(run, seed, lasts, |random| if random.random_ratio(1, 3) { Ask::Correct } else { Ask::Upsert }).await;
}

/// Calls a second that the service answers when each caller waits for its answer.
pub(super) async fn capacity(run: &Arc<Run>, seed: u64, lasts: Duration) -> f64 {
    let (before, began) = (run.tally.answered(), Instant::now());
    closed(run, seed, lasts, Ask::any).await;
    (run.tally.answered() - before) as f64 / began.elapsed().as_secs_f64()
}

/// Callers of which each makes a call when its last was answered.
async fn closed(run: &Arc<Run>, seed: u64, lasts: Duration, ask: fn(&mut ChaCha8Rng) -> Ask) {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CLOSED {
        let run = Arc::clone(run);
        callers.spawn(async move {
            let mut random = ChaCha8Rng::seed_from_u64(seed ^ (caller as u64 + 1) << 32);
            while began.elapsed() < lasts {
                ask(&mut random).make(&run, &mut random).await;
            }
        });
    }
    while callers.join_next().await.is_some() {}
}

/// Calls at a rate that can be changed.
pub(super) struct Load {
    /// Calls a second, in thousandths.
    rate: AtomicU64,
    /// Simple calls a second beside them, in thousandths.
    flood: AtomicU64,
    stopped: AtomicBool,
}

impl Load {
    /// None yet.
    pub fn new() -> Self {
        Self { rate: AtomicU64::new(0), flood: AtomicU64::new(0), stopped: AtomicBool::new(false) }
    }

    /// Sets the rate of all calls together.
    pub fn set_rate(&self, calls_per_s: f64) {
        self.rate.store((calls_per_s * 1e3) as u64, Ordering::Relaxed);
    }

    /// Sets the rate of simple calls beside them.
    pub fn set_flood(&self, calls_per_s: f64) {
        self.flood.store((calls_per_s * 1e3) as u64, Ordering::Relaxed);
    }

    /// Ends it.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// True once it was told to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Makes calls when they are due, whether those before were answered or not, until it is stopped; then waits for those under way.
    pub async fn make(&self, run: Arc<Run>, seed: u64) {
        const LONGEST_PAUSE: Duration = Duration::from_millis(100);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let places = Arc::new(Semaphore::new(OPEN));
        let mut calls = JoinSet::new();
        let mut due = Instant::now();
        while !self.is_stopped() {
            let (rate, flood) = (self.rate.load(Ordering::Relaxed), self.flood.load(Ordering::Relaxed));
            let all = rate + flood;
            if all == 0 {
                tokio::time::sleep(LONGEST_PAUSE).await;
                due = Instant::now();
                continue;
            }
            // Arrivals that know nothing of each other are exponentially apart.
            let pause = -f64::ln(1.0 - random.random_range(0.0..1.0)) * 1e3 / all as f64;
            due += Duration::from_secs_f64(pause.min(LONGEST_PAUSE.as_secs_f64()));
            tokio::time::sleep_until(due.into()).await;
            while calls.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                run.tally.note_unsent();
                continue;
            };
            let ask = if random.random_range(0..all) < flood { Ask::Classify } else { Ask::any(&mut random) };
            let (run, mut random) = (Arc::clone(&run), ChaCha8Rng::seed_from_u64(random.random()));
            calls.spawn(async move {
                ask.make(&run, &mut random).await;
                drop(place);
            });
        }
        while calls.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_asked_some_time() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let asked: Vec<Ask> = (0..5_000).map(|_| Ask::any(&mut random)).collect();
        assert!(MIX.iter().all(|(ask, _)| asked.contains(ask)));
        assert!(asked.contains(&Ask::Review));
    }
}
