//! Re-tagging: of files, and of the cases in the store ([`archive`]); plans, previews and runs that go on where they were stopped.
//!
//! Enters: names of files, folders and patterns, and a tagger. Leaves: the same tables with new tags, written part by part so that
//! a run that is killed loses no finished part; or a [`Preview`] of what would change, with nothing written. With a queue
//! ([`queue`]) the parts are made by workers on many machines ([`machines`]), and feedback that comes one by one is tagged as it
//! comes ([`continuous`]). Never here: protobuf, terminals, models.

pub mod archive;
pub mod continuous;
mod earlier;
mod error;
mod identity;
mod journal;
pub mod machines;
mod open_part;
mod parts;
mod places;
mod plan;
mod plan_error;
mod preview;
pub mod queue;
mod rows;
mod run;
mod sample;
mod summary;
#[cfg(test)]
mod tests;
mod versions;

pub use error::RetagError;
pub use identity::FileIdentity;
pub use plan::{Outputs, Plan, PlanError, PlannedFile, Target};
pub use preview::{Move, Preview, preview};
pub use rows::RetagOptions;
pub use run::{RetagRun, Start};
pub use sample::{Sample, UnknownSample};
pub use summary::{BadFile, Counts, Summary, Watch};

/// The most files of one run.
pub const MAX_FILES: usize = 1_000_000;

/// Rows of a part unless told otherwise: what a run that is killed tags again at most.
pub const DEFAULT_PART_ROWS: u64 = 2_000;
