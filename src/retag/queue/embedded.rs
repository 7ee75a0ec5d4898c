//! The queue within one process: for a program that is machine enough by itself, and for tests of what is done over a queue.
//!
//! Enters and leaves: as [`WorkQueue`] says. Never here: anything that outlives the process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Change, Expected, Hold, Lease, QueueError, Shelf, Stored, Work, WorkQueue};

/// The embedded queue.
#[derive(Debug, Clone)]
pub struct EmbeddedQueue {
    state: Arc<Mutex<State>>,
    /// Told at every change of work or values.
    changed: Arc<watch::Sender<()>>,
    lease_time: Duration,
    max_waiting: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Work to be leased, each from a time on.
    waiting: VecDeque<(Instant, Work)>,
    /// Work that is leased, with the end of the lease, by the lease's number.
    leased: HashMap<u64, (Instant, Work)>,
    leases: u64,
    values: BTreeMap<(Shelf, String), Stored>,
    revision: u64,
}

impl State {
    /// Work whose lease is over is to be leased again.
    fn take_back(&mut self, now: Instant) {
        let over: Vec<u64> = self.leased.iter().filter(|(_, (end, _))| *end <= now).map(|(lease, _)| *lease).collect();
        for lease in over {
            if let Some((_, work)) = self.leased.remove(&lease) {
                self.waiting.push_front((now, work));
            }
        }
    }

    /// The next moment at which work can be leased that can't be now.
    fn next_moment(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|(from, _)| *from);
        waiting.chain(self.leased.values().map(|(end, _)| *end)).min()
    }

    fn holds(&self, work: &Work) -> bool {
        let waiting = self.waiting.iter().map(|(_, other)| other);
        let same = |other: &Work| other.job == work.job && other.name == work.name;
        waiting.chain(self.leased.values().map(|(_, other)| other)).any(same)
    }
}

impl EmbeddedQueue {
    /// A queue of at most `max_waiting` pieces of work, each leased for `lease_time`.
    pub fn new(lease_time: Duration, max_waiting: usize) -> Self {
        let (changed, _) = watch::channel(());
        Self { state: Arc::default(), changed: Arc::new(changed), lease_time, max_waiting }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lease by its number. When its time is over, its answers change nothing.
struct EmbeddedHold {
    queue: EmbeddedQueue,
    lease: u64,
}

#[async_trait]
impl Hold for EmbeddedHold {
    async fn extend(&self) -> Result<(), QueueError> {
        let until = Instant::now() + self.queue.lease_time;
        if let Some((end, _)) = self.queue.state().leased.get_mut(&self.lease) {
            *end = until;
        }
        Ok(())
    }

    async fn acknowledge(&self) -> Result<(), QueueError> {
        self.queue.state().leased.remove(&self.lease);
        Ok(())
    }

    async fn give_back(&self, pause: Duration) -> Result<(), QueueError> {
        {
            let mut state = self.queue.state();
            if let Some((_, work)) = state.leased.remove(&self.lease) {
                state.waiting.push_back((Instant::now() + pause, work));
            }
        }
        self.queue.changed.send_replace(());
        Ok(())
    }
}

#[async_trait]
impl WorkQueue for EmbeddedQueue {
    async fn publish(&self, work: &Work) -> Result<(), QueueError> {
        {
            let mut state = self.state();
            if state.holds(work) {
                return Ok(());
            }
            if state.waiting.len() >= self.max_waiting {
                let reason = format!("{} pieces wait, the most that may", self.max_waiting);
                return Err(QueueError::Refused { what: "take more work", reason });
            }
            state.waiting.push_back((Instant::now(), work.clone()));
        }
        self.changed.send_replace(());
        Ok(())
    }

    async fn lease(&self, wait: Duration) -> Result<Option<Lease>, QueueError> {
        let give_up = Instant::now() + wait;
        let mut changed = self.changed.subscribe();
        loop {
            let now = Instant::now();
            let next = {
                let mut state = self.state();
                state.take_back(now);
                if let Some(ready) = state.waiting.iter().position(|(from, _)| *from <= now)
                    && let Some((_, work)) = state.waiting.remove(ready)
                {
                    state.leases += 1;
                    let lease = state.leases;
                    let payload = work.payload.clone();
                    state.leased.insert(lease, (now + self.lease_time, work));
                    return Ok(Some(Lease { payload, hold: Box::new(EmbeddedHold { queue: self.clone(), lease }) }));
                }
                state.next_moment().map_or(give_up, |moment| moment.min(give_up))
            };
            if now >= give_up {
                return Ok(None);
            }
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                // The sender lives as long as this queue does.
                _ = changed.changed() => {}
            }
        }
    }

    fn lease_time(&self) -> Duration {
        self.lease_time
    }

    async fn get(&self, shelf: Shelf, key: &str) -> Result<Option<Stored>, QueueError> {
        Ok(self.state().values.get(&(shelf, key.to_owned())).cloned())
    }

    async fn put(&self, shelf: Shelf, key: &str, value: Vec<u8>, expected: Expected) -> Result<bool, QueueError> {
        {
            let mut state = self.state();
            let place = (shelf, key.to_owned());
            let found = state.values.get(&place).map(|stored| stored.revision);
            let is_expected = match expected {
                Expected::Anything => true,
                Expected::Absent => found.is_none(),
                Expected::Revision(revision) => found == Some(revision),
            };
            if !is_expected {
                return Ok(false);
            }
            state.revision += 1;
            let revision = state.revision;
            state.values.insert(place, Stored { value, revision });
        }
        self.changed.send_replace(());
        Ok(true)
    }

    async fn keys(&self, shelf: Shelf) -> Result<Vec<String>, QueueError> {
        let state = self.state();
        Ok(state.values.keys().filter(|(of, _)| *of == shelf).map(|(_, key)| key.clone()).collect())
    }

    async fn watch(&self, job: &str) -> Result<BoxStream<'static, Change>, QueueError> {
        let (queue, prefix) = (self.clone(), format!("{job}."));
        let changed = self.changed.subscribe();
        let changes =
            stream::unfold((queue, prefix, changed, 0), |(queue, prefix, mut changed, mut seen)| async move {
                loop {
                    let new: Vec<(u64, Change)> = {
                        let state = queue.state();
                        let of_job = (state.values.iter())
                            .filter(|((shelf, key), stored)| {
                                *shelf == Shelf::Chunks && key.starts_with(&prefix) && stored.revision > seen
                            })
                            .map(|((_, key), stored)| {
                                (stored.revision, Change { key: key.clone(), value: stored.value.clone() })
                            });
                        of_job.collect()
                    };
                    if let Some(newest) = new.iter().map(|(revision, _)| *revision).max() {
                        seen = newest;
                        return Some((new, (queue, prefix, changed, seen)));
                    }
                    changed.changed().await.ok()?;
                }
            });
        Ok(changes.flat_map(|new| stream::iter(new.into_iter().map(|(_, change)| change))).boxed())
    }

    async fn withdraw(&self, job: &str) -> Result<(), QueueError> {
        let mut state = self.state();
        let prefix = format!("{job}.");
        state.waiting.retain(|(_, work)| work.job != job);
        state.leased.retain(|_, (_, work)| work.job != job);
        state.values.retain(|(shelf, key), _| *shelf != Shelf::Chunks || !key.starts_with(&prefix));
        Ok(())
    }
}
