//! Why a run stops.

use std::io;
use std::path::PathBuf;

use crate::tables::{RowPlace, TableError};
use crate::tagging::TaggingError;

use super::machines::SetAside;
use super::queue::QueueError;

/// Why files can't be tagged again.
#[derive(Debug, thiserror::Error)]
pub enum RetagError {
    /// A file can't be read as a table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file is not what it was when the run began with it.
    #[error("{}: {what} since the run began with it; put it back as it was, or begin anew with --restart", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What changed.
        what: String,
    },
    /// A file that was begun is no longer there.
    #[error("{name}: was begun and is not among the inputs any more; put it back, or begin anew with --restart")]
    Gone {
        /// The file, by its name in the run.
        name: String,
    },
    /// The run was begun with another taxonomy or another model.
    #[error("{}: {what} was {was} and is {is}; go on with what it was, or begin anew with --restart", parts.display())]
    OtherVersions {
        /// The folder of the run's parts.
        parts: PathBuf,
        /// What is another.
        what: &'static str,
        /// As the run was begun.
        was: String,
        /// As it is now.
        is: String,
    },
    /// The run was begun with other arguments.
    #[error("{}: the run was begun with {key} {was:?}, not {is:?}; give the same arguments, or begin anew with --restart", parts.display())]
    OtherSettings {
        /// The folder of the run's parts.
        parts: PathBuf,
        /// The argument.
        key: String,
        /// As the run was begun.
        was: String,
        /// As it is now.
        is: String,
    },
    /// The journal of the run can't be understood.
    #[error("{}: line {line}: {problem}; begin anew with --restart", path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A folder of the name that parts need holds something else.
    #[error("{}: holds files that are not a run's parts; move them away or choose another output", path.display())]
    NotParts {
        /// The folder.
        path: PathBuf,
    },
    /// Another process is at the same run.
    #[error("{}: another process writes this run", path.display())]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// A part that was written is not what it was.
    #[error("{}: is not what was written; delete it to tag its rows again, or begin anew with --restart", path.display())]
    DamagedPart {
        /// The part.
        path: PathBuf,
    },
    /// What is written can't be.
    #[error("{}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The tagger failed.
    #[error("{file}: {place}: {error}")]
    Tagging {
        /// The file, by its name in the run.
        file: String,
        /// The row.
        place: RowPlace,
        /// Why.
        error: TaggingError,
    },
    /// The queue does not do what it is asked.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Chunks failed too often; everything else is done.
    #[error("{count} chunks failed too often and were set aside, everything else is done:{}", listed(chunks))]
    SetAside {
        /// How many.
        count: usize,
        /// The first of them.
        chunks: Vec<SetAside>,
    },
    /// Somebody cancelled the job.
    #[error("the job {job} was cancelled; the same command begins it again")]
    Cancelled {
        /// The job.
        job: String,
    },
    /// A thread of the run ended early.
    #[error("a thread of the run ended early: {0}")]
    Thread(String),
}

impl From<tokio::task::JoinError> for RetagError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Thread(error.to_string())
    }
}

impl RetagError {
    /// True if an input is at fault, false if something broke on our side.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Table(error) => !matches!(error, TableError::Write { .. }),
            Self::Changed { .. }
            | Self::Gone { .. }
            | Self::OtherVersions { .. }
            | Self::OtherSettings { .. }
            | Self::NotParts { .. } => true,
            Self::Queue(error) => error.is_bad_input(),
            Self::Journal { .. }
            | Self::Locked { .. }
            | Self::DamagedPart { .. }
            | Self::Write { .. }
            | Self::Tagging { .. }
            | Self::SetAside { .. }
            | Self::Cancelled { .. }
            | Self::Thread(_) => false,
        }
    }

    /// True if the one file can't be read, and others perhaps can.
    pub fn is_bad_file(&self) -> bool {
        matches!(self, Self::Table(_)) && self.is_bad_input()
    }
}

/// Chunks that a message names.
const LISTED: usize = 10;

/// Chunks that were set aside, one a line.
fn listed(chunks: &[SetAside]) -> String {
    let lines: String = chunks.iter().take(LISTED).map(|chunk| format!("\n  {chunk}")).collect();
    if chunks.len() > LISTED { format!("{lines}\n  and others") } else { lines }
}
