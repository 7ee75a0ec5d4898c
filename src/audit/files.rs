//! The files of a folder, in order, and whether they are what was written.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::chain::{AuditRecord, BEGINNING};

/// What names of files begin and end with; between stands the number of the first record.
const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// The name of the file that begins with a record.
pub(super) fn name(first: u64) -> String {
    format!("{PREFIX}{first:012}{SUFFIX}")
}

/// The files of a folder, oldest first.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse::<u64>().ok());
        files.extend(number.map(|number| (number, entry.path())));
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// Files that are what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many records there are.
    pub records: u64,
    /// How many files.
    pub files: usize,
    /// Hash of the last record; 64 zeros if there is none.
    pub last_hash: String,
}

/// The first place where files are not what was written.
#[derive(Debug, thiserror::Error)]
pub enum Break {
    /// They can't be read.
    #[error("{path}: can't be read: {error}")]
    Unreadable {
        /// The file or folder.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A record is not as it was written, or another is missing before it.
    #[error("{file}:{line}: {problem}")]
    Record {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The expected hash is that of no record.
    #[error("no record has the hash {expected}: records were taken away from the end, or all of them were made anew")]
    NotThere {
        /// The hash.
        expected: String,
    },
}

/// Checks every record of a folder; `expect` is a hash that was the last one before and must still be there.
///
/// # Errors
/// [`Break`], the first.
pub fn verify(folder: &Path, expect: Option<&str>) -> Result<Verified, Break> {
    let unreadable = |path: &Path| {
        let path = path.display().to_string();
        move |error| Break::Unreadable { path, error }
    };
    let mut chain = Chain::default();
    let mut is_there = expect.is_none_or(|hash| hash == BEGINNING);
    let files = files(folder).map_err(unreadable(folder))?;
    for path in &files {
        let file = BufReader::new(File::open(path).map_err(unreadable(path))?);
        for (index, line) in file.lines().enumerate() {
            let problem =
                |problem: String| Break::Record { file: path.display().to_string(), line: index + 1, problem };
            chain.add(&line.map_err(unreadable(path))?).map_err(problem)?;
            is_there |= expect == Some(chain.hash.as_str());
        }
    }
    match expect {
        Some(expected) if !is_there => Err(Break::NotThere { expected: expected.to_owned() }),
        _ => Ok(Verified { records: chain.number, files: files.len(), last_hash: chain.hash }),
    }
}

/// Where a chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// Number of the last record.
    pub number: u64,
    /// Its hash.
    pub hash: String,
}

impl Default for Chain {
    fn default() -> Self {
        Self { number: 0, hash: BEGINNING.to_owned() }
    }
}

impl Chain {
    /// Goes on by a line.
    fn add(&mut self, line: &str) -> Result<(), String> {
        let record: AuditRecord = serde_json::from_str(line).map_err(|error| format!("is no record: {error}"))?;
        let AuditRecord { number, previous, hash, .. } = &record;
        if !record.is_sound() {
            return Err(format!("record {number} was changed: its hash is not that of what it says"));
        }
        if *number != self.number + 1 || *previous != self.hash {
            return Err(format!(
                "record {number} does not follow record {}: records are missing or were put in",
                self.number
            ));
        }
        *self = Self { number: *number, hash: hash.clone() };
        Ok(())
    }

    /// Where the last file of a folder leaves it, without looking at the others; and how many bytes of it are whole lines.
    pub fn at_end_of(path: &Path) -> io::Result<(Self, u64)> {
        let mut reader = BufReader::new(File::open(path)?);
        let (mut chain, mut whole) = (Self::default(), 0);
        let mut line = String::new();
        while reader.read_line(&mut line)? > 0 {
            // A line that a crash cut off was acknowledged to nobody.
            if !line.ends_with('\n') {
                break;
            }
            let record: AuditRecord = serde_json::from_str(line.trim_end()).map_err(io::Error::other)?;
            chain = Self { number: record.number, hash: record.hash };
            whole += line.len() as u64;
            line.clear();
        }
        Ok((chain, whole))
    }
}
