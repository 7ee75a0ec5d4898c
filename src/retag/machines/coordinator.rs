//! The coordinator at work: publishes chunks, watches what becomes of them, makes the outputs of files that are whole.
//!
//! Enters: a run, its job and a queue. Leaves: finished files, and chunks that were set aside. Never here: how a job begins and
//! ends, tagging.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use super::super::RetagError;
use super::super::journal::PartRecord;
use super::super::queue::{Change, Expected, Shelf, Work, WorkQueue};
use super::super::run::{RetagRun, on_thread};
use super::super::summary::{BadFile, Counts, Summary, Watch};
use super::coordinate::MachinesOptions;
use super::file::{FileWork, Slot};
use super::job::{self, CHUNK, Chunk, ChunkState, ChunkStatus, Job, JobState, NAMED, SetAside, WORKER};

/// How often the job's value is brought up to date, and a cancellation is looked for.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// After so long without news the shelf is read anew and lost chunks are published again: a stream of changes may have broken off
/// in silence, and a server that lost its power may have forgotten its last messages.
const NEWS_PATIENCE: Duration = Duration::from_secs(60);
/// After so long without any chunk done, people are told how to start a worker.
const WORKER_PATIENCE: Duration = Duration::from_secs(15);

/// A run while others do its chunks.
pub(super) struct Coordinator<'a> {
    pub queue: Arc<dyn WorkQueue>,
    pub options: MachinesOptions,
    pub watch: &'a mut dyn Watch,
    pub job: Job,
    pub summary: Summary,
    /// Indices of files that are still to be planned.
    pub to_plan: VecDeque<usize>,
    /// Files that are planned and not finished, by their index.
    pub files: BTreeMap<usize, FileWork>,
    /// File and chunk of what is still to be published.
    pub to_publish: VecDeque<(usize, Chunk)>,
    /// File and index of each chunk that is published, by its key.
    pub published: BTreeMap<String, (usize, usize, String)>,
    pub bytes_finished: u64,
    pub set_aside: usize,
}

impl Coordinator<'_> {
    /// Runs until nothing is left to be done but what was set aside.
    pub async fn run(&mut self, run: &mut RetagRun) -> Result<(), RetagError> {
        tracing::info!(job = self.job.id, "the job is on the queue");
        let mut changes = self.queue.watch(&self.job.id).await?;
        let mut tick = interval(TELL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut news_until = Instant::now() + NEWS_PATIENCE;
        let mut worker_until = Some(Instant::now() + WORKER_PATIENCE);
        loop {
            self.publish(run).await?;
            self.finish_files(run).await?;
            if self.to_plan.is_empty() && self.to_publish.is_empty() && !self.files.values().any(FileWork::is_open) {
                return self.tell().await;
            }
            tokio::select! {
                change = changes.next() => match change {
                    Some(change) => {
                        news_until = Instant::now() + NEWS_PATIENCE;
                        if self.take(&change).await? {
                            worker_until = None;
                        }
                    }
                    None => changes = self.queue.watch(&self.job.id).await?,
                },
                _ = tick.tick() => {
                    if Instant::now() >= news_until {
                        changes = self.queue.watch(&self.job.id).await?;
                        self.publish_again().await?;
                        news_until = Instant::now() + NEWS_PATIENCE;
                    }
                    if worker_until.is_some_and(|until| Instant::now() >= until) {
                        worker_until = None;
                        self.watch.told("no chunk is done yet; `otklik worker` on any machine takes them");
                    }
                    self.tell().await?;
                }
            }
        }
    }

    /// Publishes what is not in the queue any more and was not answered.
    async fn publish_again(&self) -> Result<(), RetagError> {
        for (file, index, round) in self.published.values() {
            self.put_in_queue(*file, *index, round).await?;
        }
        Ok(())
    }

    async fn put_in_queue(&self, file: usize, index: usize, round: &str) -> Result<(), RetagError> {
        let chunk = self.files.get(&file).and_then(|work| work.chunk(index, &self.job.id, round));
        let Some(chunk) = chunk else { return Ok(()) };
        let payload = job::write(&chunk.key(), &chunk)?;
        let work = Work { job: chunk.job, name: chunk.name, round: chunk.round, payload };
        Ok(self.queue.publish(&work).await?)
    }

    /// Begins a round of a chunk, whatever became of an earlier one.
    async fn begin_round(&self, key: &str, round: &str) -> Result<(), RetagError> {
        let status = ChunkStatus::Open { last_reason: None };
        let state = ChunkState { round: round.to_owned(), tries: 0, worker: String::new(), status };
        self.queue.put(Shelf::Chunks, key, job::write(key, &state)?, Expected::Anything).await?;
        Ok(())
    }

    /// Plans files and publishes chunks, as long as not too many wait.
    async fn publish(&mut self, run: &mut RetagRun) -> Result<(), RetagError> {
        while self.published.len() < self.options.max_chunks {
            if let Some((file, chunk)) = self.to_publish.pop_front() {
                self.publish_one(file, chunk).await?;
            } else if let Some(index) = self.to_plan.pop_front() {
                self.plan(run, index).await?;
            } else {
                break;
            }
        }
        Ok(())
    }

    async fn plan(&mut self, run: &mut RetagRun, index: usize) -> Result<(), RetagError> {
        let (Some(file), Some(target)) = (run.plan.files.get(index), run.outputs.targets.get(index)) else {
            return Ok(());
        };
        let (file, target, options) = (file.clone(), target.clone(), run.options.clone());
        let (name, bytes) = (file.name.clone(), file.bytes);
        let parts = run.outputs.parts.clone();
        let before = run.history.parts.get(&name).cloned().unwrap_or_default();
        let planned = on_thread(move || FileWork::plan(file, target, &options, parts, before)).await;
        match planned {
            Ok(work) => {
                for chunk in (0..work.ranges.len()).filter_map(|chunk| work.chunk(chunk, &self.job.id, &self.job.life))
                {
                    self.to_publish.push_back((index, chunk));
                }
                self.files.insert(index, work);
                Ok(())
            }
            Err(error) if error.is_bad_file() && run.options.skip_bad_files => {
                let bad = BadFile { name, reason: error.to_string() };
                self.watch.passed_over(&bad);
                self.summary.bad_files.push(bad);
                self.bytes_finished += bytes;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Publishes a chunk, unless an earlier start did, or it is done.
    async fn publish_one(&mut self, file: usize, mut chunk: Chunk) -> Result<(), RetagError> {
        let key = chunk.key();
        let Some(work) = self.files.get(&file) else { return Ok(()) };
        let Some(index) = work.ranges.iter().position(|range| *range == (chunk.first_row, chunk.end_row)) else {
            return Ok(());
        };
        if let Some(stored) = self.queue.get(Shelf::Chunks, &key).await? {
            let state: ChunkState = job::read(&key, &stored.value)?;
            match state.status {
                ChunkStatus::Open { .. } => chunk.round = state.round,
                ChunkStatus::Done { record }
                    if work.index_of(&record) == Some(index) && self.adopt(file, &record).await? =>
                {
                    // It was done before this start.
                    self.keep(file, index, record);
                    return Ok(());
                }
                // What was lost or failed is done anew.
                ChunkStatus::Done { .. } | ChunkStatus::SetAside { .. } => {
                    chunk.round = Uuid::new_v4().to_string();
                    self.begin_round(&key, &chunk.round).await?;
                }
            }
        }
        let round = chunk.round;
        self.published.insert(key, (file, index, round.clone()));
        self.put_in_queue(file, index, &round).await
    }

    /// Takes note of a change; true if a chunk is done.
    async fn take(&mut self, change: &Change) -> Result<bool, RetagError> {
        let mut parts = change.key.splitn(3, '.');
        let (_, kind, name) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        if kind == Some(WORKER) {
            let reason = String::from_utf8_lossy(&change.value).into_owned();
            if self.job.refusals.len() < NAMED && self.job.refusals.get(name) != Some(&reason) {
                self.watch.told(&format!("worker {name} leaves the job alone: {reason}"));
                self.job.refusals.insert(name.to_owned(), reason);
            }
            return Ok(false);
        }
        if kind != Some(CHUNK) {
            return Ok(false);
        }
        let Some((file, index, round)) = self.published.get(&change.key).cloned() else { return Ok(false) };
        let state: ChunkState = job::read(&change.key, &change.value)?;
        if state.round != round {
            self.begin_anew(&change.key, file, index, &round).await?;
            return Ok(false);
        }
        match state.status {
            ChunkStatus::Open { .. } => Ok(false),
            ChunkStatus::Done { record } => {
                self.published.remove(&change.key);
                if self.files.get(&file).and_then(|work| work.index_of(&record)) == Some(index)
                    && self.adopt(file, &record).await?
                {
                    self.summary.rows_now += record.counts.rows_read;
                    self.keep(file, index, record);
                    return Ok(true);
                }
                // The worker says that it wrote a part, and this machine does not find it.
                let name = self.files.get(&file).map(|work| work.file.name.clone()).unwrap_or_default();
                let reason =
                    format!("worker {} wrote its part, and it is not in the folder of parts here", state.worker);
                self.put_aside(file, index, &name, state.tries, reason);
                Ok(false)
            }
            ChunkStatus::SetAside { reason } => {
                self.published.remove(&change.key);
                let name = self.files.get(&file).map(|work| work.file.name.clone()).unwrap_or_default();
                self.put_aside(file, index, &name, state.tries, reason);
                Ok(false)
            }
        }
    }

    /// A worker of an earlier life of the job may have written over a chunk's round in the moment that it began.
    async fn begin_anew(&self, key: &str, file: usize, index: usize, round: &str) -> Result<(), RetagError> {
        let stored = self.queue.get(Shelf::Chunks, key).await?;
        let now: Option<ChunkState> = stored.map(|stored| job::read(key, &stored.value)).transpose()?;
        // Most often it is only old news.
        if now.is_some_and(|now| now.round != round) {
            self.begin_round(key, round).await?;
            self.put_in_queue(file, index, round).await?;
        }
        Ok(())
    }

    async fn adopt(&self, file: usize, record: &PartRecord) -> Result<bool, RetagError> {
        let Some(work) = self.files.get(&file) else { return Ok(false) };
        let (work, record) = (work.place(), record.clone());
        on_thread(move || Ok(work.adopt(&record))).await
    }

    fn keep(&mut self, file: usize, index: usize, record: PartRecord) {
        self.summary.counts.add(&record.counts);
        if let Some(slot) = self.files.get_mut(&file).and_then(|work| work.slots.get_mut(index)) {
            *slot = Slot::Done(record);
        }
        self.advanced(file);
    }

    fn put_aside(&mut self, file: usize, index: usize, name: &str, tries: u64, reason: String) {
        let Some(work) = self.files.get_mut(&file) else { return };
        let (first_row, end_row) = work.ranges.get(index).copied().unwrap_or_default();
        if let Some(slot) = work.slots.get_mut(index) {
            *slot = Slot::SetAside;
        }
        self.set_aside += 1;
        let aside = SetAside { file: name.to_owned(), first_row, end_row, tries, reason };
        self.watch.told(&format!("{aside}"));
        if self.job.set_aside.len() < NAMED {
            self.job.set_aside.push(aside);
        }
    }

    fn advanced(&mut self, file: usize) {
        let bytes = self.bytes_finished + self.files.values().map(FileWork::bytes_done).sum::<u64>();
        let name = self.files.get(&file).map(|work| work.file.name.clone()).unwrap_or_default();
        self.watch.advanced(&name, bytes, &self.summary.counts);
    }

    /// Makes the outputs of files whose chunks are all done.
    async fn finish_files(&mut self, run: &mut RetagRun) -> Result<(), RetagError> {
        let done: Vec<usize> = self.files.iter().filter(|(_, work)| work.is_done()).map(|(index, _)| *index).collect();
        for index in done {
            let Some(work) = self.files.remove(&index) else { continue };
            let (bytes, journal) = (work.file.bytes, Arc::clone(&run.journal));
            let finished = on_thread(move || work.finish(&journal)).await?;
            run.history.parts.remove(&finished.file);
            run.history.finished.insert(finished.file.clone(), finished);
            self.bytes_finished += bytes;
        }
        Ok(())
    }

    /// Brings the job's value up to date, unless somebody cancelled the job.
    async fn tell(&mut self) -> Result<(), RetagError> {
        let Counts { rows_read, failed, .. } = self.summary.counts;
        let stored = self.queue.get(Shelf::Jobs, &self.job.id).await?;
        let found: Option<Job> = stored.as_ref().map(|stored| job::read(&self.job.id, &stored.value)).transpose()?;
        if found.is_some_and(|job| job.state == JobState::Cancelled) {
            return Err(RetagError::Cancelled { job: self.job.id.clone() });
        }
        let open = self.files.len() + self.to_plan.len() + self.summary.bad_files.len();
        self.job.files_done = self.job.files.saturating_sub(open);
        (self.job.rows_done, self.job.rows_failed) = (rows_read, failed);
        self.job.chunks_open = self.published.len();
        self.job.told_at = Timestamp::now();
        let expected = stored.map_or(Expected::Absent, |stored| Expected::Revision(stored.revision));
        let value = job::write(&self.job.id, &self.job)?;
        // Whoever wrote it meanwhile is read the next time.
        self.queue.put(Shelf::Jobs, &self.job.id, value, expected).await?;
        Ok(())
    }
}
