//! What machines tell each other of a job: the job, its chunks, and what became of each.
//!
//! Enters and leaves: values on the queue's shelf, as JSON. Never here: doing the work.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::feedback::{FeedbackKind, named_enum};
use crate::tables::{ColumnMap, InputFormat, OutputFormat, Preparation, ReaderOptions, SplitTurns};
use crate::tags::Provenance;

use super::super::identity::FileIdentity;
use super::super::journal::PartRecord;
use super::super::queue::{Expected, QueueError, Shelf, WorkQueue};
use super::super::rows::RetagOptions;
use super::super::sample::Draw;

/// What this version writes and reads.
pub(super) const FORMAT: u32 = 1;
/// The most chunks set aside, and the most refusals, that a job's value names.
pub(super) const NAMED: usize = 100;

named_enum! {
    /// Where a job stands.
    JobState {
        /// Chunks wait, or are worked on.
        Running = "running",
        /// Every output is under its name.
        Complete = "complete",
        /// Nothing is left to be done but what was set aside.
        Failed = "failed",
        /// Somebody ended it; what is done stays.
        Cancelled = "cancelled",
    }
}

/// A chunk that failed too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// The file, by its name in the run.
    pub file: String,
    /// The first row of the file that it covers, from 0.
    pub first_row: u64,
    /// One past the last row that it covers.
    pub end_row: u64,
    /// How often it was tried.
    pub tries: u64,
    /// Why the last try failed.
    pub reason: String,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, first_row, end_row, tries, reason } = self;
        write!(f, "{file}: the data rows {} to {end_row} were set aside after {tries} tries: {reason}", first_row + 1)
    }
}

/// A job, as every machine sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The format of this value.
    pub format: u32,
    /// Its id: the same when the same command is given again.
    pub id: String,
    /// Tells this life of the job from an earlier one of the same id.
    pub life: String,
    /// Where it stands.
    pub state: JobState,
    /// Its outputs.
    pub output: String,
    /// What makes the tags; a worker with anything else leaves the job's chunks alone.
    pub made_by: Provenance,
    /// How rows are read and tagged.
    pub(super) rules: Rules,
    /// Files of the job.
    pub files: usize,
    /// Files whose output is under its name.
    pub files_done: usize,
    /// Rows that are done.
    pub rows_done: u64,
    /// Rows of these that could not be tagged.
    pub rows_failed: u64,
    /// Chunks that wait or are worked on.
    pub chunks_open: usize,
    /// Chunks that failed too often; at most 100 are named.
    pub set_aside: Vec<SetAside>,
    /// Workers that may not do the work, with the reason.
    pub refusals: BTreeMap<String, String>,
    /// When this life of the job began.
    pub begun_at: Timestamp,
    /// When this value was written; an old time on a running job says that nobody coordinates it.
    pub told_at: Timestamp,
}

/// How rows of a job are read and tagged, on any machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Rules {
    columns: ColumnMap,
    max_row_bytes: usize,
    kind: Option<FeedbackKind>,
    channel: Option<String>,
    product: Option<String>,
    partner: Option<String>,
    transcript: bool,
    tag_prefix: String,
    pub draw: Draw,
}

impl Rules {
    pub fn of(options: &RetagOptions, draw: Draw) -> Self {
        let Preparation { kind, channel, product, partner, transcript, split_turns: _ } = options.preparation.clone();
        Self {
            columns: options.reading.columns.clone(),
            max_row_bytes: options.reading.max_row_bytes,
            kind,
            channel,
            product,
            partner,
            transcript,
            tag_prefix: options.tag_prefix.clone(),
            draw,
        }
    }

    /// The options of a run with these rules. Which rows are drawn is the rules' own.
    pub fn options(&self, split_turns: SplitTurns) -> RetagOptions {
        RetagOptions {
            reading: ReaderOptions { format: None, columns: self.columns.clone(), max_row_bytes: self.max_row_bytes },
            preparation: Preparation {
                kind: self.kind,
                channel: self.channel.clone(),
                product: self.product.clone(),
                partner: self.partner.clone(),
                transcript: self.transcript,
                split_turns,
            },
            tag_prefix: self.tag_prefix.clone(),
            sample: None,
            seed: 0,
            part_rows: 1,
            skip_bad_files: false,
        }
    }
}

/// Rows of one file, to be tagged by one worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub format: u32,
    /// The job's id.
    pub job: String,
    /// Name of the chunk in the job.
    pub name: String,
    /// Tells this round of the chunk from an earlier one.
    pub round: String,
    /// The file, by its name in the run.
    pub file: String,
    /// Where the file lies.
    pub path: PathBuf,
    pub input: InputFormat,
    pub output: OutputFormat,
    pub identity: FileIdentity,
    /// Number of the part in its file.
    pub number: u32,
    pub first_row: u64,
    pub end_row: u64,
    /// The folder of parts.
    pub parts: PathBuf,
}

impl Chunk {
    /// The key of what became of it.
    pub fn key(&self) -> String {
        format!("{}.{CHUNK}.{}", self.job, self.name)
    }
}

/// The second part of the key of a chunk's state.
pub(super) const CHUNK: &str = "c";
/// The second part of the key of a worker's refusal.
pub(super) const WORKER: &str = "w";

/// What became of a chunk. One that nobody began has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ChunkState {
    pub round: String,
    /// How often it was begun.
    pub tries: u64,
    /// Who began it last.
    pub worker: String,
    pub status: ChunkStatus,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChunkStatus {
    /// To be done, or worked on; with the reason why the last try failed.
    Open { last_reason: Option<String> },
    /// Its part is on the disk.
    Done { record: PartRecord },
    /// It failed too often.
    SetAside { reason: String },
}

/// Reads a value of the shelf.
pub(super) fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, QueueError> {
    let damaged = |error: serde_json::Error| QueueError::Damaged { key: key.to_owned(), problem: error.to_string() };
    serde_json::from_slice(value).map_err(damaged)
}

/// A value for the shelf.
pub(super) fn write<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, QueueError> {
    let damaged = |error: serde_json::Error| QueueError::Damaged { key: key.to_owned(), problem: error.to_string() };
    serde_json::to_vec(value).map_err(damaged)
}

/// The job of an id, if there is one.
pub(super) async fn job(queue: &dyn WorkQueue, id: &str) -> Result<Option<Job>, QueueError> {
    let stored = queue.get(Shelf::Jobs, id).await?;
    stored.map(|stored| read(id, &stored.value)).transpose()
}

/// Tells all machines of a job.
pub(super) async fn tell(queue: &dyn WorkQueue, job: &Job) -> Result<(), QueueError> {
    queue.put(Shelf::Jobs, &job.id, write(&job.id, job)?, Expected::Anything).await.map(|_| ())
}

/// Every job that the queue knows of, in the order of their ids.
///
/// # Errors
/// [`QueueError`]; see its variants.
pub async fn jobs(queue: &dyn WorkQueue) -> Result<Vec<Job>, QueueError> {
    let mut jobs = Vec::new();
    for id in queue.keys(Shelf::Jobs).await? {
        jobs.extend(job(queue, &id).await?);
    }
    Ok(jobs)
}

/// Ends a job: its waiting chunks leave the queue, and its coordinator stops. False if there is no such job.
///
/// # Errors
/// [`QueueError`]; see its variants.
pub async fn cancel(queue: &dyn WorkQueue, id: &str) -> Result<bool, QueueError> {
    let Some(mut job) = job(queue, id).await? else { return Ok(false) };
    job.state = JobState::Cancelled;
    job.chunks_open = 0;
    job.told_at = Timestamp::now();
    tell(queue, &job).await?;
    queue.withdraw(id).await?;
    Ok(true)
}
