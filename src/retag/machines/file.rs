//! One file of a job, as its coordinator sees it: its chunks, and its output when all of them are done.
//!
//! Enters: a planned file, and what became of its chunks. Leaves: chunks to be published, and the finished output. Never here: the
//! queue.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::tables::{TableError, WriterOptions};

use super::super::RetagError;
use super::super::earlier::TagColumns;
use super::super::identity::FileIdentity;
use super::super::journal::{Event, Finished, Journal, PartRecord};
use super::super::parts::{PartFiles, is_whole, locked};
use super::super::plan::{PlannedFile, Target};
use super::super::rows::RetagOptions;
use super::super::run::{finish_file, identity_of, named};
use super::chunk::{name, part_path};
use super::job::{Chunk, FORMAT};

/// What a chunk of a file has come to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Slot {
    /// To be done.
    Open,
    /// Its part is on the disk.
    Done(PartRecord),
    /// It failed too often.
    SetAside,
}

/// A file whose chunks are done by others.
#[derive(Debug)]
pub(super) struct FileWork {
    pub file: PlannedFile,
    target: Target,
    pub identity: FileIdentity,
    writing: WriterOptions,
    files: PartFiles,
    parts: PathBuf,
    /// Parts that an earlier start left in the journal.
    before: Vec<PartRecord>,
    /// The first row and one past the last row of each chunk.
    pub ranges: Vec<(u64, u64)>,
    pub slots: Vec<Slot>,
}

/// Where the parts of a file lie.
#[derive(Debug, Clone)]
pub(super) struct PartPlace {
    files: PartFiles,
    parts: PathBuf,
}

impl PartPlace {
    /// True if the part of a record is on the disk; it gets the name that the journal knows it by. Blocks.
    pub fn adopt(&self, record: &PartRecord) -> bool {
        if is_whole(&self.files, record) {
            return true;
        }
        let chunk = name(&self.parts, &record.file, record.number);
        let path = part_path(&self.parts, &chunk, record.first_row, record.end_row);
        // A start that was killed may be renaming it at this moment; what counts is whether it is there.
        let _ = fs::rename(path, self.files.part(record.number));
        is_whole(&self.files, record)
    }
}

impl FileWork {
    /// Reads a file to know its rows, and plans its chunks behind the parts that are there from `before`. Blocks.
    pub fn plan(
        file: PlannedFile,
        target: Target,
        options: &RetagOptions,
        parts: PathBuf,
        before: Vec<PartRecord>,
    ) -> Result<Self, RetagError> {
        let identity = identity_of(&file)?;
        if let Some(what) = before.first().and_then(|part| part.identity.difference(&identity)) {
            return Err(RetagError::Changed { path: file.path.clone(), what });
        }
        let reader = options.open(&file)?;
        let columns = TagColumns::new(&options.tag_prefix, target.format);
        let header =
            reader.header().map(|header| columns.kept(header)).transpose().map_err(|error| named(&file, error))?;
        let writing = WriterOptions {
            header,
            types: reader.types(),
            dialect: reader.dialect(),
            tag_prefix: options.tag_prefix.clone(),
        };
        let mut rows = 0;
        for row in reader {
            match row {
                Ok(_) | Err(TableError::Row(_)) => rows += 1,
                Err(error) => return Err(error.into()),
            }
        }
        let mut ranges = Vec::new();
        let mut first_row = before.last().map_or(0, |part| part.end_row);
        while first_row < rows {
            let end_row = rows.min(first_row.saturating_add(options.part_rows.max(1)));
            ranges.push((first_row, end_row));
            first_row = end_row;
        }
        let files = PartFiles::new(&parts, &file.name);
        let slots = vec![Slot::Open; ranges.len()];
        Ok(Self { file, target, identity, writing, files, parts, before, ranges, slots })
    }

    /// The chunk of an index, in the given round.
    pub fn chunk(&self, index: usize, job: &str, round: &str) -> Option<Chunk> {
        let (first_row, end_row) = *self.ranges.get(index)?;
        let number = self.number(index);
        Some(Chunk {
            format: FORMAT,
            job: job.to_owned(),
            name: name(&self.parts, &self.file.name, number),
            round: round.to_owned(),
            file: self.file.name.clone(),
            path: std::path::absolute(&self.file.path).unwrap_or_else(|_| self.file.path.clone()),
            input: self.file.format,
            output: self.target.format,
            identity: self.identity.clone(),
            number,
            first_row,
            end_row,
            parts: self.parts.clone(),
        })
    }

    fn number(&self, index: usize) -> u32 {
        u32::try_from(self.before.len().saturating_add(index)).unwrap_or(u32::MAX)
    }

    /// The index of the chunk that a record is of, if it is of one of this plan.
    pub fn index_of(&self, record: &PartRecord) -> Option<usize> {
        let index = usize::try_from(record.number).ok()?.checked_sub(self.before.len())?;
        let is_planned = self.ranges.get(index) == Some(&(record.first_row, record.end_row));
        (is_planned && record.file == self.file.name && record.identity == self.identity).then_some(index)
    }

    /// Where its parts lie.
    pub fn place(&self) -> PartPlace {
        PartPlace { files: self.files.clone(), parts: self.parts.clone() }
    }

    /// True if every chunk is done.
    pub fn is_done(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot, Slot::Done(_)))
    }

    /// True if a chunk is still to be done.
    pub fn is_open(&self) -> bool {
        self.slots.contains(&Slot::Open)
    }

    /// The share of its rows that are done, in bytes of the file.
    pub fn bytes_done(&self) -> u64 {
        let rows: u64 = self.ranges.last().map_or(0, |(_, end)| *end);
        let open = self.ranges.iter().zip(&self.slots).filter(|(_, slot)| **slot == Slot::Open);
        let open: u64 = open.map(|((from, to), _)| to - from).sum();
        let done = 1.0 - open as f64 / rows.max(1) as f64;
        (self.file.bytes as f64 * done) as u64
    }

    /// Writes the parts into the journal and makes the output of them. Blocks.
    pub fn finish(self, journal: &Arc<Mutex<Journal>>) -> Result<Finished, RetagError> {
        let mut parts = self.before;
        for slot in self.slots {
            if let Slot::Done(record) = slot {
                locked(journal).add(&Event::Part(record.clone()))?;
                parts.push(record);
            }
        }
        finish_file(&self.file, self.identity, &parts, &self.files, &self.target, self.writing, journal)
    }
}
