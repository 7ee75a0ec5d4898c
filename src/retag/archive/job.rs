//! A job: what it is asked to do, how far it is, what it counted.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ArchivePlan;
use crate::cases::{Case, CaseFilter, RetagMark, TagPart, TenantId};
use crate::feedback::named_enum;
use crate::tags::Provenance;

/// The highest priority of a job.
pub const MAX_PRIORITY: u8 = 9;

/// What is to be tagged anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArchiveRequest {
    /// Which cases.
    pub filter: CaseFilter,
    /// Which parts of their tags.
    pub parts: Vec<TagPart>,
    /// Whether only parts made by another taxonomy, encoder or other heads than those of now are made anew.
    pub only_older: bool,
    /// Which of the jobs that wait goes first: the highest, and of those the oldest; 0 to [`MAX_PRIORITY`].
    pub priority: u8,
    /// Most cases a second, 1 or more; `None` is as fast as it goes.
    pub cases_per_second: Option<u32>,
}

impl ArchiveRequest {
    /// The cases that the job has to look at, where tags are made by this version now.
    pub(super) fn selection(&self, version: &str) -> CaseFilter {
        let not_made_by = self.only_older.then(|| version.to_owned());
        CaseFilter { not_made_by, ..self.filter.clone() }
    }

    /// The parts of a case that are to be made anew: those asked for that no person corrected, and of these, if so asked, the older.
    pub(super) fn parts_of(&self, case: &Case, version: &str) -> Vec<TagPart> {
        let wanted = self.parts.iter().copied().filter(|part| !case.is_corrected(*part));
        wanted.filter(|part| !self.only_older || case.made_by(*part).version() != version).collect()
    }
}

named_enum! {
    /// Where a job stands.
    JobState {
        /// It waits for others.
        Queued = "queued",
        /// It is at work, or was when the process ended and goes on when the next one starts.
        Running = "running",
        /// It did all its cases.
        Succeeded = "succeeded",
        /// It could not go on; its reason says why. What it did stays.
        Failed = "failed",
        /// Somebody ended it. What it did stays.
        Cancelled = "cancelled",
    }
}

impl JobState {
    /// True if nothing more happens to the job.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What a job did with cases: `read` is the sum of `changed`, `unchanged`, `skipped` and `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArchiveCounts {
    /// Cases read.
    pub read: u64,
    /// Cases whose topics, team, sentiment or signals are others now.
    pub changed: u64,
    /// Cases with new tags that say the same.
    pub unchanged: u64,
    /// Of the changed and the unchanged, those without a topic.
    pub abstained: u64,
    /// Cases left as they were: a person corrected all that was asked for, nothing of it was older, or they changed or went while they
    /// were tagged.
    pub skipped: u64,
    /// Cases that could not be tagged.
    pub failed: u64,
    /// Of the changed and the unchanged, those tagged from what was kept of them.
    pub reused: u64,
    /// Of the changed and the unchanged, those whose text the encoder read.
    pub encoded: u64,
}

impl ArchiveCounts {
    /// Counts a case that was written.
    pub(super) fn count(&mut self, mark: &RetagMark) {
        let of = |holds: bool| u64::from(holds);
        self.changed += of(mark.changed);
        self.unchanged += of(!mark.changed);
        self.abstained += of(mark.abstained);
        self.encoded += of(mark.encoded);
        self.reused += of(!mark.encoded);
    }

    /// Adds what was counted elsewhere.
    pub(super) fn add(&mut self, other: Self) {
        self.read += other.read;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.abstained += other.abstained;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.reused += other.reused;
        self.encoded += other.encoded;
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id: later jobs have greater ones.
    pub id: String,
    /// Whose cases it is about.
    pub tenant: TenantId,
    /// How the call that started it named itself, if it did.
    pub request_id: Option<String>,
    /// What it was asked to do.
    pub request: ArchiveRequest,
    /// What was foretold when it was asked.
    pub plan: ArchivePlan,
    /// Where it stands.
    pub state: JobState,
    /// What makes its tags; `None` before it began.
    pub made_by: Option<Provenance>,
    /// What it did.
    pub counts: ArchiveCounts,
    /// Why it failed.
    pub reason: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// Where the next page begins; `None` at the very beginning.
    pub next: Option<String>,
    /// A page that was begun, and may be written in part.
    pub begun: Option<BegunPage>,
}

/// A page that was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BegunPage {
    /// Ids of its cases.
    pub ids: Vec<String>,
    /// Where the page after it begins; `None` if it is the last.
    pub after: Option<String>,
}

/// A job with how far it is, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub job: Job,
    pub place: Place,
}
