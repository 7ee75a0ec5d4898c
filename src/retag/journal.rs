//! The journal of a run: what is done, one line an event, each on the disk before the run goes on.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::tags::Provenance;

use super::RetagError;
use super::identity::FileIdentity;
use super::summary::Counts;

/// The journal's name in the folder of parts.
pub(super) const JOURNAL: &str = "journal.jsonl";

/// What this version writes.
const FORMAT: u32 = 1;

/// How often the folder of parts is emptied before that counts as a failure.
const REMOVALS: usize = 20;

/// What a run was begun with; it goes on only with the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Begun {
    pub format: u32,
    /// Arguments that decide about the output.
    pub settings: BTreeMap<String, String>,
    /// What makes the tags.
    pub made_by: Provenance,
}

impl Begun {
    pub fn new(settings: BTreeMap<String, String>, made_by: Provenance) -> Self {
        Self { format: FORMAT, settings, made_by }
    }
}

/// Rows that are tagged and lie in a part's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PartRecord {
    /// The input, by its name.
    pub file: String,
    /// The input as it was.
    pub identity: FileIdentity,
    /// The part's number in its file, from 0; part 0 begins the file anew.
    pub number: u32,
    /// The first row of the file that it covers, from 0.
    pub first_row: u64,
    /// One past the last row that it covers.
    pub end_row: u64,
    /// SHA-256 of the part's file, hexadecimal.
    pub sha256: String,
    /// What was done with its rows.
    pub counts: Counts,
}

/// A file whose output is whole and under its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Finished {
    pub file: String,
    pub identity: FileIdentity,
    pub output_bytes: u64,
    pub counts: Counts,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    Begun(Begun),
    Part(PartRecord),
    Finished(Finished),
    /// Every output is under its name; only parts are left to be removed.
    Complete,
}

/// What a journal says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct History {
    pub begun: Option<Begun>,
    /// Parts of files that are not finished, by the file's name.
    pub parts: BTreeMap<String, Vec<PartRecord>>,
    pub finished: BTreeMap<String, Finished>,
    pub complete: bool,
}

impl History {
    fn add(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Begun(begun) if begun.format != FORMAT => {
                return Err(format!("format {}; this version reads {FORMAT}", begun.format));
            }
            Event::Begun(begun) => *self = Self { begun: Some(begun), ..Self::default() },
            Event::Part(part) => {
                self.finished.remove(&part.file);
                let parts = self.parts.entry(part.file.clone()).or_default();
                // Parts from this number on were lost and are made anew.
                parts.truncate(part.number as usize);
                let end = parts.last().map_or(0, |last| last.end_row);
                if parts.len() != part.number as usize || part.first_row != end {
                    return Err(format!("part {} of {} does not follow what was before it", part.number, part.file));
                }
                parts.push(part);
            }
            Event::Finished(finished) => {
                self.parts.remove(&finished.file);
                self.finished.insert(finished.file.clone(), finished);
            }
            Event::Complete => self.complete = true,
        }
        Ok(())
    }
}

/// The open journal. No other process writes it while it is open.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens or makes the journal of a folder of parts, and reads it; a last line that was torn is taken off.
    pub fn open(parts: &Path) -> Result<(Self, History), RetagError> {
        let path = parts.join(JOURNAL);
        let io = |reason| RetagError::Write { path: path.clone(), reason };
        if !path.exists() && fs::read_dir(parts).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(RetagError::NotParts { path: parts.to_owned() });
        }
        fs::create_dir_all(parts).map_err(io)?;
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RetagError::Locked { path }),
            Err(TryLockError::Error(reason)) => return Err(io(reason)),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(io)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        text.truncate(whole);
        let mut history = History::default();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            let bad = |problem: String| RetagError::Journal { path: path.clone(), line: index + 1, problem };
            let event = serde_json::from_slice(line).map_err(|error| bad(error.to_string()))?;
            history.add(event).map_err(bad)?;
        }
        file.set_len(whole as u64).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok((Self { file, path }, history))
    }

    /// Forgets all and removes every other file of the folder.
    pub fn clear(&mut self) -> Result<(), RetagError> {
        let io = |reason| RetagError::Write { path: self.path.clone(), reason };
        self.file.set_len(0).map_err(io)?;
        self.file.seek(SeekFrom::Start(0)).map_err(io)?;
        self.file.sync_all().map_err(io)?;
        self.remove_others()
    }

    /// Adds an event; it is on the disk when this returns.
    pub fn add(&mut self, event: &Event) -> Result<(), RetagError> {
        let io = |reason: io::Error| RetagError::Write { path: self.path.clone(), reason };
        let mut line = serde_json::to_vec(event).map_err(|error| io(error.into()))?;
        line.push(b'\n');
        let begin = self.file.stream_position().map_err(io)?;
        if let Err(reason) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            // Half a line must not stand before a whole one; if this fails too, the next start takes the torn line off.
            let _ = self.file.set_len(begin).and_then(|()| self.file.seek(SeekFrom::Start(begin)));
            return Err(io(reason));
        }
        Ok(())
    }

    /// Removes the folder of parts, the journal last.
    pub fn remove(&self) -> Result<(), RetagError> {
        self.remove_others()?;
        let io = |reason| RetagError::Write { path: self.path.clone(), reason };
        fs::remove_file(&self.path).map_err(io)?;
        let Some(folder) = self.path.parent() else { return Ok(()) };
        for _ in 0..REMOVALS {
            match fs::remove_dir(folder) {
                // A worker that was late may have begun a part in between.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => self.remove_others()?,
                removed => return removed.map_err(io),
            }
        }
        fs::remove_dir(folder).map_err(io)
    }

    fn remove_others(&self) -> Result<(), RetagError> {
        let Some(folder) = self.path.parent() else { return Ok(()) };
        let io = |reason| RetagError::Write { path: folder.to_owned(), reason };
        for entry in fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path != self.path {
                match fs::remove_file(&path) {
                    // Its writer was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.map_err(|reason| RetagError::Write { path: path.clone(), reason })?,
                }
            }
        }
        Ok(())
    }
}

/// Makes a rename within a folder last through a power cut.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Only Unix opens folders as files; elsewhere the file system looks after its names.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, first_row: u64, end_row: u64) -> Event {
        let identity = FileIdentity { size: 1, modified_ns: 2, ends_sha256: "ab".into() };
        let counts = Counts { tagged: end_row - first_row, ..Counts::default() };
        let file = "a.csv".to_owned();
        Event::Part(PartRecord { file, identity, number, first_row, end_row, sha256: "cd".into(), counts })
    }

    #[test]
    fn a_torn_line_is_taken_off_and_events_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().join("out.parts");
        let (mut journal, history) = Journal::open(&parts).unwrap();
        assert_eq!(history, History::default());
        assert!(matches!(Journal::open(&parts), Err(RetagError::Locked { .. })));
        for event in [part(0, 0, 10), part(1, 10, 15), part(1, 10, 20)] {
            journal.add(&event).unwrap();
        }
        drop(journal);
        let whole = fs::read(parts.join(JOURNAL)).unwrap();
        for torn in ["{\"part\":{\"fi", "x"] {
            fs::write(parts.join(JOURNAL), [&whole, torn.as_bytes()].concat()).unwrap();
            let (_, history) = Journal::open(&parts).unwrap();
            let ends: Vec<u64> = history.parts["a.csv"].iter().map(|part| part.end_row).collect();
            assert_eq!(ends, [10, 20]);
            assert_eq!(fs::read(parts.join(JOURNAL)).unwrap(), whole);
        }
        fs::write(parts.join(JOURNAL), [&whole, b"nonsense\n".as_slice()].concat()).unwrap();
        let error = Journal::open(&parts).unwrap_err().to_string();
        assert!(error.contains("line 4"), "{error}");
    }

    #[test]
    fn parts_that_leave_rows_out_are_refused() {
        let mut history = History::default();
        history.add(part(0, 0, 10)).unwrap();
        assert!(history.add(part(1, 11, 20)).is_err());
        assert!(history.add(part(2, 10, 20)).is_err());
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.txt"), "x").unwrap();
        assert!(matches!(Journal::open(folder.path()), Err(RetagError::NotParts { .. })));
        let parts = folder.path().join("p");
        let (mut journal, _) = Journal::open(&parts).unwrap();
        fs::write(parts.join("x-0.jsonl"), "x").unwrap();
        journal.clear().unwrap();
        assert_eq!(fs::read_dir(&parts).unwrap().count(), 1);
        journal.remove().unwrap();
        assert!(!parts.exists());
    }
}
