//! A worker: leases chunks, tags them, and says what became of them.
//!
//! Enters: a queue and a tagger. Leaves: parts on the disk that all machines share, and the state of each chunk on the queue's
//! shelf: a chunk is acknowledged only after its part and its state are written. Never here: plans, outputs.

use std::future::Future;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::tables::SplitTurns;
use crate::tagging::Tagger;
use crate::telemetry::TracePlace;

use super::super::RetagError;
use super::super::journal::PartRecord;
use super::super::places::side_by_side;
use super::super::queue::{Expected, Lease, QueueError, Shelf, WorkQueue};
use super::super::versions::difference;
use super::chunk::{OpenFile, tag_chunk};
use super::job::{self, Chunk, ChunkState, ChunkStatus, FORMAT, Job, JobState, WORKER};

/// How long one question for work waits.
const LEASE_WAIT: Duration = Duration::from_secs(5);
/// Before a chunk that this worker may not do is offered again.
const REFUSAL_PAUSE: Duration = Duration::from_secs(5);
/// The first pause after a failed try; it doubles with each.
const TRY_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const MAX_TRY_PAUSE: Duration = Duration::from_secs(60);
/// A lease is extended so often within its time.
const EXTENSIONS: u32 = 3;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Its name, for people: letters, digits and `-`; no other worker has it.
    pub name: String,
    /// Chunks that it works on side by side.
    pub side_by_side: usize,
    /// How often a chunk is begun before it is set aside.
    pub max_tries: u64,
    /// How long chunks in work may take to end after it was told to stop.
    pub drain: Duration,
    /// How a conversation is split into turns.
    pub split_turns: SplitTurns,
}

/// What a worker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerSummary {
    /// Chunks whose parts it wrote.
    pub chunks: u64,
    /// Their rows.
    pub rows: u64,
    /// Tries that failed.
    pub failed_tries: u64,
}

impl AddAssign for WorkerSummary {
    fn add_assign(&mut self, more: Self) {
        self.chunks += more.chunks;
        self.rows += more.rows;
        self.failed_tries += more.failed_tries;
    }
}

/// A worker.
pub struct Worker {
    queue: Arc<dyn WorkQueue>,
    tagger: Arc<dyn Tagger>,
    options: WorkerOptions,
}

/// What a chunk's state says to one who was leased it.
enum Claim {
    /// It is this worker's; so many tries with this one.
    Begun(u64),
    /// There is nothing to be done.
    Over,
}

impl Worker {
    /// A worker.
    pub fn new(queue: Arc<dyn WorkQueue>, tagger: Arc<dyn Tagger>, options: WorkerOptions) -> Self {
        Self { queue, tagger, options }
    }

    /// Works until `stop` resolves, then ends what it is at; what takes too long for that goes back to the queue.
    ///
    /// # Errors
    /// [`RetagError`] if the queue can't be used any longer.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<WorkerSummary, RetagError> {
        let worker = Arc::new(self);
        let place = |stopped| Arc::clone(&worker).work(stopped);
        side_by_side(worker.options.side_by_side, "chunks", place, stop).await
    }

    /// One place: one chunk at a time.
    async fn work(self: Arc<Self>, mut stopped: watch::Receiver<bool>) -> Result<WorkerSummary, RetagError> {
        let mut summary = WorkerSummary::default();
        let mut open = None;
        while !*stopped.borrow() {
            let leased = tokio::select! {
                leased = self.queue.lease(LEASE_WAIT) => leased?,
                _ = stopped.changed() => break,
            };
            if let Some(lease) = leased {
                self.attend(lease, &mut open, &mut stopped, &mut summary).await?;
            }
        }
        Ok(summary)
    }

    async fn attend(
        &self,
        lease: Lease,
        open: &mut Option<OpenFile>,
        stopped: &mut watch::Receiver<bool>,
        summary: &mut WorkerSummary,
    ) -> Result<(), RetagError> {
        let chunk: Chunk = match job::read("a chunk", &lease.payload) {
            Ok(chunk) => chunk,
            Err(error) => {
                // Another version of otklik may understand it.
                tracing::warn!(%error, "a chunk can't be understood and is left to others");
                return answered(lease.give_back(REFUSAL_PAUSE).await);
            }
        };
        let job = match job::job(&*self.queue, &chunk.job).await {
            Ok(Some(job)) if job.state == JobState::Running => job,
            Ok(_) => return answered(lease.acknowledge().await),
            Err(error @ QueueError::Damaged { .. }) => {
                tracing::warn!(%error, "a job can't be understood and is left to others");
                return answered(lease.give_back(REFUSAL_PAUSE).await);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(reason) = self.refusal(&chunk, &job) {
            tracing::warn!(job = job.id, reason, "this worker may not do the job");
            let key = format!("{}.{WORKER}.{}", job.id, self.options.name);
            self.queue.put(Shelf::Chunks, &key, reason.into_bytes(), Expected::Anything).await?;
            return answered(lease.give_back(REFUSAL_PAUSE).await);
        }
        let tries = match self.claim(&chunk, &job).await {
            Ok(Claim::Begun(tries)) => tries,
            Ok(Claim::Over) => return answered(lease.acknowledge().await),
            Err(RetagError::Queue(error @ QueueError::Damaged { .. })) => {
                tracing::warn!(%error, "a chunk's state can't be understood and is left to others");
                return answered(lease.give_back(REFUSAL_PAUSE).await);
            }
            Err(error) => return Err(error),
        };
        let options = job.rules.options(self.options.split_turns);
        // The span is of the chunk; its thousands of rows make none.
        let place = TracePlace::of_message("tag chunk", None);
        place.tell("job", chunk.job.clone());
        place.tell("chunk", chunk.name.clone());
        place.tell("tries", i64::try_from(tries).unwrap_or(i64::MAX));
        let tagged = {
            let tagging = tag_chunk(&chunk, &options, job.rules.draw, &self.tagger, open);
            self.while_extending(&lease, tagging, stopped).await
        };
        let Some(tagged) = tagged else {
            place.message_ended("given_back", false);
            *open = None;
            // It was not the chunk's fault.
            self.settle(&chunk, tries - 1, ChunkStatus::Open { last_reason: None }).await?;
            return answered(lease.give_back(Duration::ZERO).await);
        };
        match tagged {
            Ok(record) => {
                place.tell("rows", i64::try_from(record.counts.rows_read).unwrap_or(i64::MAX));
                place.message_ended("tagged", false);
                summary.chunks += 1;
                summary.rows += record.counts.rows_read;
                self.done(&chunk, tries, record).await?;
                answered(lease.acknowledge().await)
            }
            Err(error) => {
                place.message_ended("failed", true);
                *open = None;
                summary.failed_tries += 1;
                self.failed(&chunk, tries, &error, lease).await
            }
        }
    }

    /// Why this worker may not do the job.
    fn refusal(&self, chunk: &Chunk, job: &Job) -> Option<String> {
        if chunk.format != FORMAT || job.format != FORMAT {
            return Some(format!("the job is of format {}; this worker does {FORMAT}", job.format));
        }
        let (what, was, is) = difference(&job.made_by, &self.tagger.provenance())?;
        Some(format!("{what} of the job is {was:?}, this worker's is {is:?}"))
    }

    /// Takes the chunk, unless it is done, set aside, or of an earlier round.
    async fn claim(&self, chunk: &Chunk, job: &Job) -> Result<Claim, RetagError> {
        let key = chunk.key();
        loop {
            let stored = self.queue.get(Shelf::Chunks, &key).await?;
            let found: Option<ChunkState> = stored.as_ref().map(|stored| job::read(&key, &stored.value)).transpose()?;
            let (tries, last_reason) = match &found {
                None if chunk.round == job.life => (0, None),
                Some(ChunkState { round, tries, status: ChunkStatus::Open { last_reason }, .. })
                    if *round == chunk.round =>
                {
                    (*tries, last_reason.clone())
                }
                _ => return Ok(Claim::Over),
            };
            let is_poison = tries >= self.options.max_tries;
            let status = if is_poison {
                let lost = || format!("{tries} tries were begun and none ended: each worker was lost over it");
                let reason = last_reason.unwrap_or_else(lost);
                tracing::error!(job = job.id, chunk = chunk.name, tries, reason, "a chunk is set aside");
                ChunkStatus::SetAside { reason }
            } else {
                ChunkStatus::Open { last_reason }
            };
            let tries = if is_poison { tries } else { tries + 1 };
            let state = ChunkState { round: chunk.round.clone(), tries, worker: self.options.name.clone(), status };
            let expected = stored.map_or(Expected::Absent, |stored| Expected::Revision(stored.revision));
            if self.queue.put(Shelf::Chunks, &key, job::write(&key, &state)?, expected).await? {
                return Ok(if is_poison { Claim::Over } else { Claim::Begun(tries) });
            }
        }
    }

    async fn done(&self, chunk: &Chunk, tries: u64, record: PartRecord) -> Result<(), RetagError> {
        let rows = record.counts.rows_read;
        tracing::info!(job = chunk.job, chunk = chunk.name, rows, tries, "a chunk is done");
        self.settle(chunk, tries, ChunkStatus::Done { record }).await
    }

    async fn failed(&self, chunk: &Chunk, tries: u64, error: &RetagError, lease: Lease) -> Result<(), RetagError> {
        let reason = error.to_string();
        tracing::warn!(job = chunk.job, chunk = chunk.name, tries, reason, "a chunk failed");
        if tries >= self.options.max_tries {
            tracing::error!(job = chunk.job, chunk = chunk.name, tries, reason, "a chunk is set aside");
            self.settle(chunk, tries, ChunkStatus::SetAside { reason }).await?;
            return answered(lease.acknowledge().await);
        }
        self.settle(chunk, tries, ChunkStatus::Open { last_reason: Some(reason) }).await?;
        let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        answered(lease.give_back((TRY_PAUSE * 2_u32.pow(doublings)).min(MAX_TRY_PAUSE)).await)
    }

    /// Writes what became of a chunk, unless another worker ended it, or it is of an earlier round.
    async fn settle(&self, chunk: &Chunk, tries: u64, status: ChunkStatus) -> Result<(), RetagError> {
        let key = chunk.key();
        let state = ChunkState { round: chunk.round.clone(), tries, worker: self.options.name.clone(), status };
        let value = job::write(&key, &state)?;
        loop {
            let Some(stored) = self.queue.get(Shelf::Chunks, &key).await? else { return Ok(()) };
            let found: ChunkState = job::read(&key, &stored.value)?;
            let is_open = matches!(found.status, ChunkStatus::Open { .. });
            let is_done = matches!(state.status, ChunkStatus::Done { .. });
            let was_given_up = matches!(found.status, ChunkStatus::SetAside { .. });
            if found.round != chunk.round || !(is_open || is_done && was_given_up) {
                return Ok(());
            }
            let expected = Expected::Revision(stored.revision);
            if self.queue.put(Shelf::Chunks, &key, value.clone(), expected).await? {
                return Ok(());
            }
        }
    }

    /// Does the work and keeps the lease meanwhile; `None` if it was told to stop and the work took too long to end.
    async fn while_extending<T>(
        &self,
        lease: &Lease,
        work: impl Future<Output = T>,
        stopped: &mut watch::Receiver<bool>,
    ) -> Option<T> {
        let mut extend = interval(self.queue.lease_time() / EXTENSIONS);
        extend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let drain = async {
            // The sender lives until every place has ended.
            if stopped.wait_for(|told| *told).await.is_ok() {
                tokio::time::sleep(self.options.drain).await;
            }
        };
        let (mut work, mut drain) = (std::pin::pin!(work), std::pin::pin!(drain));
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                () = &mut drain => return None,
                _ = extend.tick() => {
                    // At worst another worker does the same, to the same end.
                    match timeout(self.queue.lease_time(), lease.extend()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%error, "a lease was not extended"),
                        Err(_) => tracing::debug!("a lease was not extended in time"),
                    }
                }
            }
        }
    }
}

/// A lease whose answer did not reach the queue comes again, and is then answered by what the shelf says.
fn answered(answer: Result<(), QueueError>) -> Result<(), RetagError> {
    if let Err(error) = answer {
        tracing::debug!(%error, "an answer to a lease was lost");
    }
    Ok(())
}
