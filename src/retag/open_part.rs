//! A part while it is written: tagged rows, one JSON object a line.
//!
//! Enters: outcomes of rows, in their order. Leaves: a file that is on the disk under its name, with its hash and counts; or,
//! dropped unfinished, nothing. Never here: the journal, other parts.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::feedback::Body;
use crate::tables::{Row, RowPlace};

use super::RetagError;
use super::earlier::MainTags;
use super::identity::hex;
use super::journal::sync_folder;
use super::rows::Outcome;
use super::summary::Counts;

/// One line of a part. Tags go in as they are, and come out as the JSON that they are by then: most outputs want no other.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry<T> {
    Tagged { place: RowPlace, body: Body, columns: Map<String, Value>, tags: T },
    Failed { place: RowPlace, reason: String },
}

/// A part being written; dropped unfinished, it leaves nothing behind.
pub(super) struct OpenPart {
    out: BufWriter<File>,
    path: PathBuf,
    hash: Sha256,
    end_row: u64,
    counts: Counts,
    begun: Instant,
}

/// A part that is on the disk.
pub(super) struct WrittenPart {
    /// One past its last row.
    pub end_row: u64,
    /// SHA-256 of its file, hexadecimal.
    pub sha256: String,
    /// What was done with its rows.
    pub counts: Counts,
}

impl Drop for OpenPart {
    fn drop(&mut self) {
        // After a finished part there is nothing of this name, and a leftover is written over by the next start.
        let _ = fs::remove_file(&self.path);
    }
}

impl OpenPart {
    /// Begins a part, of the rows from `first_row` on, under the passing name `path`.
    pub fn create(path: PathBuf, first_row: u64) -> Result<Self, RetagError> {
        let file = File::create(&path).map_err(|reason| RetagError::Write { path: path.clone(), reason })?;
        let (out, begun) = (BufWriter::new(file), Instant::now());
        Ok(Self { out, path, hash: Sha256::new(), end_row: first_row, counts: Counts::default(), begun })
    }

    /// Adds a row.
    pub fn add(&mut self, outcome: Outcome) -> Result<(), RetagError> {
        let entry = match outcome.result {
            Ok(tagged) => {
                self.counts.count(tagged.earlier.as_ref(), &MainTags::from(&tagged.tags));
                let Row { place, feedback, columns, .. } = tagged.row;
                Entry::Tagged { place, body: feedback.body, columns, tags: Box::new(tagged.tags) }
            }
            Err(reason) => {
                self.counts.count_failed();
                Entry::Failed { place: outcome.place, reason }
            }
        };
        let path = &self.path;
        let io = |reason| RetagError::Write { path: path.clone(), reason };
        let mut line = serde_json::to_vec(&entry).map_err(|error| io(error.into()))?;
        line.push(b'\n');
        self.hash.update(&line);
        self.out.write_all(&line).map_err(io)?;
        self.end_row = outcome.index + 1;
        Ok(())
    }

    /// What was done with its rows until now.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Time since it was begun.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Ends the part: when this returns, its file is on the disk under the name `path`.
    pub fn end(mut self, path: &Path) -> Result<WrittenPart, RetagError> {
        let write = |part: &mut Self| -> io::Result<()> {
            part.out.flush()?;
            part.out.get_ref().sync_all()?;
            fs::rename(&part.path, path)?;
            path.parent().map_or(Ok(()), sync_folder)
        };
        write(&mut self).map_err(|reason| RetagError::Write { path: self.path.clone(), reason })?;
        let sha256 = hex(&std::mem::take(&mut self.hash).finalize());
        Ok(WrittenPart { end_row: self.end_row, sha256, counts: std::mem::take(&mut self.counts) })
    }
}
