//! Re-tagging of the case store: jobs that outlive the process, with a plan before they begin and a preview that writes nothing.
//!
//! Enters: which cases, which parts of their tags, a case store, and what makes tags now. Leaves: the same cases with new tags in the
//! store, jobs with counts, or a [`Preview`](super::Preview). What a person said of a case is never touched. Never here: protobuf, how
//! tags are made, how cases are stored.
//!
//! A job goes over the cases in the store's own order, a page at a time. Before a page is tagged, the job's journal says which cases it
//! holds; after it is written, the next page's line says that it is done. A job that was killed between the two does the page again, and
//! counts a case that it had written by the mark that it left there. So its result is that of a job that was left alone.
//!
//! A job works to its end with what made tags when it began, whatever is published meanwhile. That is gone when the process ends: if the
//! next one makes tags with another taxonomy, encoder or heads, the job fails and says so; what it did stays.

mod doing;
mod estimate;
mod job;
mod jobs;
mod journal;
mod preview;
#[cfg(test)]
mod tests;
mod work;

pub use estimate::{ArchivePlan, plan};
pub use job::{ArchiveCounts, ArchiveRequest, Job, JobState, MAX_PRIORITY};
pub use jobs::{JobFigures, JobLimits, JobsError, RetagJobs};
pub use preview::{ArchivePreview, preview};
pub use work::{ArchiveError, Resources};
