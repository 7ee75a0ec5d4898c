//! Why versions can't be read or published.

use std::io;
use std::path::PathBuf;

use crate::tags::TaxonomyVersion;
use crate::taxonomy::TaxonomyError;

/// Most versions that a message lists.
const LISTED: usize = 8;

/// Why versions of a taxonomy can't be read or published.
#[derive(Debug, thiserror::Error)]
pub enum VersionsError {
    /// Another process publishes in the folder.
    #[error(
        "taxonomy.dir: {} is in use: a service or another command publishes there; call its TaxonomyService, or stop it first",
        folder.display()
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The version in force is not the one that the caller knows.
    #[error(
        "the version in force is {current}, not {expected}; look at what changed, and publish again expecting {current}"
    )]
    Conflict {
        /// What the caller expected.
        expected: TaxonomyVersion,
        /// What is in force.
        current: TaxonomyVersion,
    },
    /// No publication of this version is kept.
    #[error("version {version} is not kept; kept are: {}", listed(known))]
    Unknown {
        /// What was asked for.
        version: TaxonomyVersion,
        /// The versions that are kept, newest first.
        known: Vec<TaxonomyVersion>,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {problem}; put back a copy of taxonomy.dir, or move the folder away to begin anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A kept version has problems by the rules of this release.
    #[error("a kept version can't be used by this release: {0}")]
    Invalid(TaxonomyError),
    /// A file can't be read or written.
    #[error("taxonomy.dir: {}: {problem}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: io::Error,
    },
    /// There is no publication at all.
    #[error("{} holds no version", folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
}

fn listed(versions: &[TaxonomyVersion]) -> String {
    let mut different: Vec<&str> = Vec::new();
    for version in versions {
        if !different.contains(&version.as_str()) {
            different.push(version.as_str());
        }
    }
    let more = different.len().saturating_sub(LISTED);
    different.truncate(LISTED);
    let more = if more > 0 { format!(" and {more} older") } else { String::new() };
    format!("{}{more}", different.join(", "))
}
