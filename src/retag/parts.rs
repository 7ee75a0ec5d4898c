//! Parts: tagged rows of one file on the disk, and the output that is made of them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::feedback::Feedback;
use crate::tables::{Destination, Row, TableWriter, WriterOptions};

use super::RetagError;
use super::identity::{FileIdentity, hex};
use super::journal::{Event, Journal, PartRecord, sync_folder};
use super::open_part::{Entry, OpenPart, WrittenPart};
use super::plan::{PlannedFile, Target};
use super::rows::Outcome;

/// A part ends after this time even if it has few rows.
const PART_TIME: Duration = Duration::from_secs(20);

/// Names the files of one input in the folder of parts.
#[derive(Debug, Clone)]
pub(super) struct PartFiles {
    folder: PathBuf,
    stem: String,
}

impl PartFiles {
    pub fn new(folder: &Path, file: &str) -> Self {
        let hash = hex(&Sha256::digest(file.as_bytes()));
        Self { folder: folder.to_owned(), stem: hash.get(..16).unwrap_or(&hash).to_owned() }
    }

    pub fn part(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{}-{number:06}.jsonl", self.stem))
    }

    /// Rows of the file that could not be tagged, ready for the file of errors.
    pub fn errors(&self) -> PathBuf {
        self.folder.join(format!("{}-errors.jsonl", self.stem))
    }

    /// The whole output before it gets its name; its ending tells the compression.
    fn output(&self, target: &Path) -> PathBuf {
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.folder.join(format!("{}-{name}", self.stem))
    }
}

/// The journal, behind a lock: an input's parts are written on a thread of their own.
pub(super) fn locked(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes parts of one file.
pub(super) struct PartWriter {
    pub journal: Arc<Mutex<Journal>>,
    pub files: PartFiles,
    pub file: PlannedFile,
    pub identity: FileIdentity,
    /// Number and first row of the next part.
    pub number: u32,
    pub first_row: u64,
    pub part_rows: u64,
    pub open: Option<OpenPart>,
    /// The parts that were written.
    pub written: Vec<PartRecord>,
}

impl PartWriter {
    /// Adds a row, and ends the part if it is full.
    pub fn add(&mut self, outcome: Outcome) -> Result<(), RetagError> {
        if self.open.is_none() {
            let path = self.files.part(self.number).with_extension("partial");
            self.open = Some(OpenPart::create(path, self.first_row)?);
        }
        let Some(part) = &mut self.open else { return Ok(()) };
        part.add(outcome)?;
        if part.counts().rows_read >= self.part_rows || part.age() >= PART_TIME { self.end() } else { Ok(()) }
    }

    /// Ends the part that is open: its file is on the disk under its name before the journal says so.
    pub fn end(&mut self) -> Result<(), RetagError> {
        let Some(part) = self.open.take() else { return Ok(()) };
        let WrittenPart { end_row, sha256, counts } = part.end(&self.files.part(self.number))?;
        let changed = |what: String| RetagError::Changed { path: self.file.path.clone(), what };
        match self.identity.looks_the_same(&self.file.path) {
            Ok(true) => {}
            Ok(false) => return Err(changed("its size or time changed".to_owned())),
            Err(error) => return Err(changed(format!("it can't be read ({error})"))),
        }
        let record = PartRecord {
            file: self.file.name.clone(),
            identity: self.identity.clone(),
            number: self.number,
            first_row: self.first_row,
            end_row,
            sha256,
            counts,
        };
        self.number += 1;
        self.first_row = record.end_row;
        locked(&self.journal).add(&Event::Part(record.clone()))?;
        self.written.push(record);
        Ok(())
    }
}

/// True if the part's file is what was written.
pub(super) fn is_whole(files: &PartFiles, part: &PartRecord) -> bool {
    let hashed = File::open(files.part(part.number)).and_then(|mut file| {
        let mut hash = Sha256::new();
        io::copy(&mut file, &mut hash)?;
        Ok(hex(&hash.finalize()))
    });
    hashed.is_ok_and(|sha256| sha256 == part.sha256)
}

/// Makes a file's output of its parts and gives it its name; leaves its failed rows in a file of their own. Tells the output's
/// size in bytes. Done twice, it does the same.
pub(super) fn assemble(
    files: &PartFiles,
    parts: &[PartRecord],
    file: &str,
    target: &Target,
    writing: WriterOptions,
) -> Result<u64, RetagError> {
    let whole = files.output(&target.path);
    let mut table = TableWriter::create(&Destination::File(whole.clone()), target.format, writing)?;
    let errors = files.errors();
    let errors_io = |reason| RetagError::Write { path: errors.clone(), reason };
    let mut failed = BufWriter::new(File::create(&errors).map_err(errors_io)?);
    for part in parts {
        let path = files.part(part.number);
        let damaged = || RetagError::DamagedPart { path: path.clone() };
        let read_io = |reason| RetagError::Write { path: path.clone(), reason };
        let mut lines = BufReader::new(File::open(&path).map_err(read_io)?);
        let mut hash = Sha256::new();
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(read_io)? > 0 {
            hash.update(&line);
            match serde_json::from_slice::<Entry<Box<RawValue>>>(&line).map_err(|_| damaged())? {
                Entry::Tagged { place, body, columns, tags } => {
                    let row = Row { place, feedback: Feedback::new("", body), columns, position: 0 };
                    table.write_json(&row, &tags)?;
                }
                Entry::Failed { place, reason } => {
                    let row = json!({"file": file, "row": place.number, "line": place.line, "reason": reason});
                    writeln!(failed, "{row}").map_err(errors_io)?;
                }
            }
            line.clear();
        }
        if hex(&hash.finalize()) != part.sha256 {
            return Err(damaged());
        }
    }
    table.finish()?;
    failed.into_inner().map_err(|error| errors_io(error.into_error()))?.sync_all().map_err(errors_io)?;
    let name = || -> io::Result<u64> {
        // A link is followed, so that the file behind it is replaced and not the link.
        let target = target.path.canonicalize().unwrap_or_else(|_| target.path.clone());
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let bytes = fs::metadata(&whole)?.len();
        fs::rename(&whole, &target)?;
        sync_folder(folder)?;
        sync_folder(&files.folder)?;
        Ok(bytes)
    };
    name().map_err(|reason| RetagError::Write { path: target.path.clone(), reason })
}

/// Writes the failed rows of all files, in their order, to `target`; with none, removes what an earlier run left there.
pub(super) fn write_errors(folder: &Path, names: &[&str], target: &Path) -> Result<(), RetagError> {
    let io = |reason| RetagError::Write { path: target.to_owned(), reason };
    let temporary = folder.join("all-errors.jsonl");
    let write = || -> io::Result<u64> {
        let mut out = BufWriter::new(File::create(&temporary)?);
        let mut bytes = 0;
        for name in names {
            let path = PartFiles::new(folder, name).errors();
            bytes += io::copy(&mut File::open(path)?, &mut out)?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(bytes)
    };
    if write().map_err(io)? > 0 {
        return fs::rename(&temporary, target).map_err(io);
    }
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io(error)),
        _ => Ok(()),
    }
}
