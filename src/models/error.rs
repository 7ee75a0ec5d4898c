//! What can be wrong with a model, its registry entry or its fetching.

use std::io;
use std::path::{Path, PathBuf};

/// Why a model could not be found, checked or fetched.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A registry is wrong.
    #[error("{registry}, line {line}: {problem}")]
    Registry {
        /// File, or `built-in registry`.
        registry: String,
        /// Line, from 1.
        line: usize,
        /// The key, what is wrong with it and what is allowed.
        problem: String,
    },
    /// No registry has this id.
    #[error("there is no model \"{id}\"{}", suggestion(nearest.as_deref(), known))]
    Unknown {
        /// The id asked for.
        id: String,
        /// The known id that is nearest to it, if one is near.
        nearest: Option<String>,
        /// Every known id.
        known: Vec<String>,
    },
    /// No folder of models was found.
    #[error("no folder with models was found; looked for {}", list_paths(looked))]
    NoModelsDir {
        /// The folders looked for, in order.
        looked: Vec<PathBuf>,
    },
    /// A file of a model is not there.
    #[error("model \"{id}\": {file} is missing from {}; {remedy}", dir.display())]
    MissingFile {
        /// The model.
        id: String,
        /// The file, relative to `dir`.
        file: String,
        /// The folder looked in.
        dir: PathBuf,
        /// How to get it.
        remedy: String,
    },
    /// A file of a model is shorter or longer than it must be.
    #[error("model \"{id}\": {} is damaged: it has {found} bytes and must have {expected}; {remedy}", path.display())]
    WrongSize {
        /// The model.
        id: String,
        /// The file.
        path: PathBuf,
        /// The size it must have, bytes.
        expected: u64,
        /// The size it has, bytes.
        found: u64,
        /// How to repair it.
        remedy: String,
    },
    /// A file of a model has other bytes than it must have.
    #[error("model \"{id}\": {} is damaged: its sha256 is {found} and must be {expected}; {remedy}", path.display())]
    WrongHash {
        /// The model.
        id: String,
        /// The file.
        path: PathBuf,
        /// The hash it must have.
        expected: String,
        /// The hash it has.
        found: String,
        /// How to repair it.
        remedy: String,
    },
    /// The files are there, but nothing says what they must be.
    #[error(
        "model \"{id}\": the registry pins no sha256 of {file} and none was recorded in {}; `otklik models pull {id}` records it",
        dir.display()
    )]
    Unpinned {
        /// The model.
        id: String,
        /// The first such file, relative to `dir`.
        file: String,
        /// The model's folder.
        dir: PathBuf,
    },
    /// A record that otklik wrote beside a model cannot be read.
    #[error("{} cannot be read: {problem}; remove it to start over", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Something would have to be fetched, and this run may not.
    #[error(
        "model \"{id}\": {file} would have to be fetched, and this is an offline run (--offline or OTKLIK_OFFLINE)"
    )]
    Offline {
        /// The model.
        id: String,
        /// The first file that is missing or damaged.
        file: String,
    },
    /// The registry names no place to fetch this model from.
    #[error("model \"{id}\" cannot be fetched{}: {remedy}", wanted.map(|s| format!(" from \"{s}\"")).unwrap_or_default())]
    NoSource {
        /// The model.
        id: String,
        /// The source asked for, if one was.
        wanted: Option<&'static str>,
        /// What can be done instead.
        remedy: String,
    },
    /// Another process is fetching the same model.
    #[error("model \"{id}\" is being fetched by another process")]
    Busy {
        /// The model.
        id: String,
    },
    /// The disk is too full.
    #[error("{} has {available} bytes free and {needed} are needed", dir.display())]
    DiskSpace {
        /// A folder on the disk.
        dir: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        available: u64,
    },
    /// No Python package client was found.
    #[error("no pip was found (tried {tried}): install Python 3 with pip, or choose another source")]
    NoPip {
        /// The commands tried.
        tried: String,
    },
    /// A download failed; what was finished is kept.
    #[error("{what} could not be fetched: {problem}")]
    Download {
        /// The package or the file.
        what: String,
        /// What the client said.
        problem: String,
    },
    /// A download succeeded and is not what it must be; nothing was put in place.
    #[error("{what} is not what it must be: {problem}; nothing was put in place")]
    Untrusted {
        /// The package or the file.
        what: String,
        /// Expected and found.
        problem: String,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl ModelError {
    /// An error of the file system, for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ModelError {
        let path = path.to_owned();
        move |source| ModelError::Io { action, path, source }
    }
}

fn suggestion(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean \"{nearest}\"?"),
        None => format!("; known: {}", known.join(", ")),
    }
}

fn list_paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
