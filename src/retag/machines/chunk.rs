//! The rows of one chunk: read, tagged, written as a part.
//!
//! Enters: a [`Chunk`] and a tagger. Leaves: its part on the disk under a name of its own, and the record of it. Done twice, even
//! by two machines at once, it does the same. Never here: the queue.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::tables::{Input, ReaderOptions, TableError, TableReader};
use crate::tagging::Tagger;

use super::super::RetagError;
use super::super::earlier::TagColumns;
use super::super::identity::FileIdentity;
use super::super::journal::PartRecord;
use super::super::open_part::{OpenPart, WrittenPart};
use super::super::parts::PartFiles;
use super::super::rows::{Numbered, Outcome, RetagOptions, WAITING};
use super::super::sample::Draw;
use super::job::Chunk;

/// A file that is open, and how far it is read: the next chunk of the same file need not begin at its first row.
pub(super) struct OpenFile {
    job: String,
    path: PathBuf,
    identity: FileIdentity,
    reader: TableReader,
    next_row: u64,
}

/// The file of a chunk's part. The rows are part of its name, so that what another start of the job planned is another file.
pub(super) fn part_path(parts: &Path, chunk: &str, first_row: u64, end_row: u64) -> PathBuf {
    parts.join(format!("{chunk}-{first_row}-{end_row}.jsonl"))
}

/// The name of a chunk in its job.
pub(super) fn name(parts: &Path, file: &str, number: u32) -> String {
    let path = PartFiles::new(parts, file).part(number);
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Tags a chunk and writes its part; when this returns, it is on the disk. `open` is the file that was read last.
pub(super) async fn tag_chunk(
    chunk: &Chunk,
    options: &RetagOptions,
    draw: Draw,
    tagger: &Arc<dyn Tagger>,
    open: &mut Option<OpenFile>,
) -> Result<PartRecord, RetagError> {
    let (rows_in, rows) = mpsc::channel(WAITING);
    let (planned, reading, before) = (chunk.clone(), options.reading.clone(), open.take());
    let read = spawn_blocking(move || read_rows(&planned, &reading, before, draw, &rows_in));
    let path = part_path(&chunk.parts, &chunk.name, chunk.first_row, chunk.end_row);
    // Another who does the same chunk at this moment has another passing name.
    let passing = path.with_extension(format!("{}.partial", Uuid::new_v4().simple()));
    let first_row = chunk.first_row;
    let (to_part, outcomes) = mpsc::channel(WAITING);
    let written = spawn_blocking(move || write_part(passing, &path, first_row, outcomes));
    let columns = TagColumns::new(&options.tag_prefix, chunk.output);
    let mut is_written = true;
    {
        let mut tagged = pin!(options.tag_rows(&chunk.file, rows, &columns, tagger));
        while let Some(outcome) = tagged.next().await {
            if to_part.send(Some(outcome?)).await.is_err() {
                is_written = false;
                break;
            }
        }
    }
    if !is_written {
        // What the writer returns says why.
        written.await??;
        return Err(RetagError::Thread("the part was given up".to_owned()));
    }
    // The reader ends before its channel does, so this waits for nobody.
    *open = Some(read.await??);
    // Only now is every row there.
    let _ = to_part.send(None).await;
    let part = written.await??;
    refuse_changed(chunk, chunk.identity.looks_the_same(&chunk.path))?;
    Ok(PartRecord {
        file: chunk.file.clone(),
        identity: chunk.identity.clone(),
        number: chunk.number,
        first_row: chunk.first_row,
        end_row: chunk.end_row,
        sha256: part.sha256,
        counts: part.counts,
    })
}

/// Reads the chunk's rows and gives back the file, open behind them.
fn read_rows(
    chunk: &Chunk,
    reading: &ReaderOptions,
    before: Option<OpenFile>,
    draw: Draw,
    rows: &mpsc::Sender<Numbered>,
) -> Result<OpenFile, RetagError> {
    let mut open = open_at(chunk, reading, before)?;
    while open.next_row < chunk.end_row {
        let row = open.reader.next().ok_or_else(|| RetagError::Changed {
            path: chunk.path.clone(),
            what: format!("it ends at row {}", open.next_row),
        })?;
        let index = open.next_row;
        open.next_row += 1;
        let number = match &row {
            Ok(row) => Some(row.place.number),
            Err(TableError::Row(error)) => Some(error.place.number),
            Err(_) => None,
        };
        let is_passed_over = number.is_some_and(|number| index < chunk.first_row || !draw.takes(&chunk.file, number));
        if !is_passed_over && rows.blocking_send((index, row)).is_err() {
            return Err(RetagError::Thread("the rows were not wanted any more".to_owned()));
        }
        if number.is_none() {
            // The error went with the rows.
            return Err(RetagError::Thread(format!("the reader of {}", chunk.file)));
        }
    }
    Ok(open)
}

fn open_at(chunk: &Chunk, reading: &ReaderOptions, before: Option<OpenFile>) -> Result<OpenFile, RetagError> {
    let goes_on = |open: &OpenFile| {
        open.job == chunk.job
            && open.path == chunk.path
            && open.identity == chunk.identity
            && open.next_row <= chunk.first_row
    };
    if let Some(open) = before.filter(goes_on) {
        refuse_changed(chunk, chunk.identity.looks_the_same(&chunk.path))?;
        return Ok(open);
    }
    let found = FileIdentity::of(&chunk.path);
    refuse_changed(chunk, found.map(|found| chunk.identity.difference(&found).is_none()))?;
    let options = ReaderOptions { format: Some(chunk.input), ..reading.clone() };
    let reader = TableReader::open(&Input::File(chunk.path.clone()), &options)?;
    let (job, path, identity) = (chunk.job.clone(), chunk.path.clone(), chunk.identity.clone());
    Ok(OpenFile { job, path, identity, reader, next_row: 0 })
}

fn refuse_changed(chunk: &Chunk, is_the_same: io::Result<bool>) -> Result<(), RetagError> {
    let what = match is_the_same {
        Ok(true) => return Ok(()),
        Ok(false) => "its size, time or content changed".to_owned(),
        Err(error) => format!("it can't be read on this machine ({error})"),
    };
    Err(RetagError::Changed { path: chunk.path.clone(), what })
}

/// Writes outcomes until told that all are there; if the channel closes before that, the unfinished part is dropped.
fn write_part(
    passing: PathBuf,
    path: &Path,
    first_row: u64,
    mut outcomes: mpsc::Receiver<Option<Outcome>>,
) -> Result<WrittenPart, RetagError> {
    let mut part = OpenPart::create(passing, first_row)?;
    while let Some(next) = outcomes.blocking_recv() {
        match next {
            Some(outcome) => part.add(outcome)?,
            None => return part.end(path),
        }
    }
    Err(RetagError::Thread("the part was given up".to_owned()))
}
