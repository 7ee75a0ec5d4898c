//! Why inputs can't be planned.
//!
//! Enters: nothing. Leaves: [`PlanError`]. Never here: looking at files.

use std::io;
use std::path::PathBuf;

use super::MAX_FILES;

/// What can be wrong with the inputs or the output.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Nothing is there.
    #[error("{input}: no such file or folder, and no pattern that any file fits")]
    NoSuchInput {
        /// The input as given.
        input: String,
    },
    /// A pattern is not one.
    #[error("{input}: {problem}")]
    Pattern {
        /// The pattern.
        input: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Folders without a table.
    #[error(
        "no table among the inputs; read are .csv, .tsv, .jsonl and .ndjson, each also with .gz or .zst, and .parquet"
    )]
    NoTables,
    /// A file's ending tells no format.
    #[error("{}: the ending tells no format; allowed: .csv, .tsv, .jsonl, .ndjson, each also with .gz or .zst, .parquet; .txt if the output is one file of another format", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// Two inputs would be written to one output.
    #[error("{} and {} would both be written as {name}; name them apart or give each run its own output", first.display(), second.display())]
    SameName {
        /// The name below the output folder.
        name: String,
        /// One input.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// More files than a run may have.
    #[error("more than {MAX_FILES} files; give each run fewer")]
    TooMany,
    /// A folder or file can't be looked at.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The output is or holds an input, or lies within one.
    #[error("{}: the output lies among the inputs; give it a place of its own", path.display())]
    OutputAmongInputs {
        /// The output.
        path: PathBuf,
    },
    /// Several inputs can't be written to one file.
    #[error("{}: is a file, and the inputs are not one file; a folder is wanted", path.display())]
    OutputIsFile {
        /// The output.
        path: PathBuf,
    },
    /// The output has no name.
    #[error("{}: names no file or folder", path.display())]
    NoName {
        /// The output.
        path: PathBuf,
    },
}
