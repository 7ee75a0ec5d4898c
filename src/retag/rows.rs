//! Rows of one file, tagged side by side and given in their order.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::tables::{Input, Preparation, ReaderOptions, Row, RowPlace, TableError, TableReader};
use crate::tagging::{TEXTS_IN_FLIGHT, Tagger, TaggingError, tag_patiently};
use crate::tags::Tags;

use super::RetagError;
use super::earlier::{MainTags, TagColumns};
use super::plan::PlannedFile;
use super::sample::{Draw, Sample};

/// Rows that wait before those that are tagged, and behind them.
pub(super) const WAITING: usize = 64;

/// How files are tagged again.
#[derive(Debug, Clone)]
pub struct RetagOptions {
    /// How the tables are read; each file's format is its own.
    pub reading: ReaderOptions,
    /// What is done to each row before it is tagged.
    pub preparation: Preparation,
    /// What the names of the tags' columns begin with.
    pub tag_prefix: String,
    /// Which rows are drawn; all if not given.
    pub sample: Option<Sample>,
    /// What the draw depends on.
    pub seed: u64,
    /// Rows of a part.
    pub part_rows: u64,
    /// True to pass over files that can't be read.
    pub skip_bad_files: bool,
}

/// A row with its new tags.
pub(super) struct TaggedRow {
    /// The row, without the tags of an earlier run.
    pub row: Row,
    /// Those tags.
    pub earlier: Option<MainTags>,
    /// The new tags.
    pub tags: Tags,
}

/// What became of a row.
pub(super) struct Outcome {
    /// The row's number in its file, from 0, bad rows and rows not drawn counted.
    pub index: u64,
    /// Where it stands.
    pub place: RowPlace,
    /// The tagged row, or why there is none.
    pub result: Result<Box<TaggedRow>, String>,
}

impl RetagOptions {
    /// Opens a file.
    pub(super) fn open(&self, file: &PlannedFile) -> Result<TableReader, TableError> {
        let options = ReaderOptions { format: Some(file.format), ..self.reading.clone() };
        TableReader::open(&Input::File(file.path.clone()), &options)
    }

    /// Tags the rows of a file that are drawn, from the row `from` on.
    pub(super) fn tag_file<'a>(
        &'a self,
        file: &'a PlannedFile,
        reader: TableReader,
        from: u64,
        draw: Draw,
        columns: &'a TagColumns,
        tagger: &'a Arc<dyn Tagger>,
    ) -> Result<impl Stream<Item = Result<Outcome, RetagError>> + 'a, RetagError> {
        let whole = Arc::new(AtomicBool::new(false));
        let rows = read_on_a_thread(reader, from, draw, file.name.clone(), Arc::clone(&whole))?;
        // A reader that fell over must not look like the end of the file.
        let check = stream::once(async move { whole.load(Ordering::Acquire) }).filter_map(|whole| {
            let fell_over = || Err(RetagError::Thread(format!("the reader of {}", file.name)));
            ready((!whole).then(fell_over))
        });
        Ok(self.tag_rows(&file.name, rows, columns, tagger).chain(check))
    }

    /// Tags rows of the file `file` side by side; they leave in the order that they came in.
    pub(super) fn tag_rows<'a>(
        &'a self,
        file: &'a str,
        rows: mpsc::Receiver<Numbered>,
        columns: &'a TagColumns,
        tagger: &'a Arc<dyn Tagger>,
    ) -> impl Stream<Item = Result<Outcome, RetagError>> + 'a {
        let tag = move |(index, row)| async move {
            let mut row: Row = match row {
                Ok(row) => row,
                Err(TableError::Row(error)) => {
                    return Ok(Outcome { index, place: error.place, result: Err(error.problem.to_string()) });
                }
                Err(error) => return Err(RetagError::Table(error)),
            };
            let place = row.place;
            let failed = |reason| Ok(Outcome { index, place, result: Err(reason) });
            let earlier = match columns.take(&mut row.columns) {
                Ok(earlier) => earlier,
                Err(reason) => return failed(reason),
            };
            if let Err(reason) = self.preparation.apply(&mut row.feedback) {
                return failed(reason);
            }
            match tag_patiently(&row.feedback, tagger.as_ref()).await {
                Ok(tagged) => {
                    let tagged = TaggedRow { row, earlier, tags: tagged.tags };
                    Ok(Outcome { index, place, result: Ok(Box::new(tagged)) })
                }
                Err(error @ TaggingError::Invalid { .. }) => failed(error.to_string()),
                Err(error) => Err(RetagError::Tagging { file: file.to_owned(), place, error }),
            }
        };
        ReceiverStream::new(rows).map(tag).buffered(TEXTS_IN_FLIGHT)
    }
}

/// A row with its number in its file, or what is wrong with it.
pub(super) type Numbered = (u64, Result<Row, TableError>);

fn read_on_a_thread(
    reader: TableReader,
    from: u64,
    draw: Draw,
    file: String,
    whole: Arc<AtomicBool>,
) -> Result<mpsc::Receiver<Numbered>, RetagError> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let read = move || {
        for (index, row) in (0_u64..).zip(reader) {
            let number = match &row {
                Ok(row) => Some(row.place.number),
                Err(TableError::Row(error)) => Some(error.place.number),
                Err(_) => None,
            };
            let is_done = number.is_some_and(|number| index < from || !draw.takes(&file, number));
            if !is_done && sender.blocking_send((index, row)).is_err() {
                return;
            }
        }
        whole.store(true, Ordering::Release);
    };
    let spawned = thread::Builder::new().name("read-table".to_owned()).spawn(read);
    spawned.map_err(|error| RetagError::Thread(error.to_string()))?;
    Ok(receiver)
}
