//! A run: files one after another, each in parts that last, then its output under its name.
//!
//! What lasts, lasts in this order: a part's file, its line in the journal; a file's output, its line in the journal. So whatever
//! moment a run is killed at, what the journal says is true, and the next start does the rest.

use std::collections::BTreeMap;
use std::fs;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::tables::{TableError, TableReader, WriterOptions};
use crate::tagging::Tagger;
use crate::tags::Provenance;

use super::RetagError;
use super::earlier::{MainTags, TagColumns};
use super::identity::FileIdentity;
use super::journal::{Begun, Event, Finished, History, Journal, PartRecord};
use super::parts::{PartFiles, PartWriter, assemble, is_whole, locked, write_errors};
use super::plan::{Outputs, Plan, PlannedFile, Target};
use super::rows::{Outcome, RetagOptions, WAITING};
use super::sample::Draw;
use super::summary::{BadFile, Counts, Summary, Watch};
use super::versions::refuse_others;

/// Where a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first row.
    Anew,
    /// After what an earlier start did.
    GoesOn {
        /// Rows that are done.
        rows: u64,
        /// Files that are done.
        files: usize,
    },
}

/// A run that is ready to begin, or to go on.
#[derive(Debug)]
pub struct RetagRun {
    pub(super) plan: Plan,
    pub(super) outputs: Outputs,
    pub(super) options: RetagOptions,
    pub(super) draw: Draw,
    pub(super) journal: Arc<Mutex<Journal>>,
    pub(super) history: History,
    /// True if what an earlier start did, if there was one, is forgotten.
    pub(super) is_new: bool,
}

impl RetagRun {
    /// Opens the run's journal and checks that a run that was begun can go on: with the same `settings` (arguments that decide
    /// about the output), the same makers of tags, and inputs as they were. With `restart`, forgets what was begun. Blocks.
    ///
    /// # Errors
    /// [`RetagError`]; see its variants.
    pub fn prepare(
        plan: Plan,
        outputs: Outputs,
        options: RetagOptions,
        mut settings: BTreeMap<String, String>,
        made_by: Provenance,
        restart: bool,
    ) -> Result<Self, RetagError> {
        let (mut journal, mut history) = Journal::open(&outputs.parts)?;
        let sample = options.sample.map_or_else(|| "all rows".to_owned(), |sample| sample.to_string());
        settings.insert("--sample".to_owned(), sample);
        settings.insert("--seed".to_owned(), options.seed.to_string());
        settings.insert("--tag-prefix".to_owned(), options.tag_prefix.clone());
        let begun = Begun::new(settings, made_by);
        let complete_of_another = history.complete && history.begun.as_ref() != Some(&begun);
        let is_new = restart || complete_of_another || history.begun.is_none();
        if is_new {
            journal.clear()?;
            journal.add(&Event::Begun(begun.clone()))?;
            history = History { begun: Some(begun), ..History::default() };
        } else if let Some(was) = &history.begun {
            refuse_others(was, &begun, &outputs.parts)?;
        }
        let draw = Draw::new(options.sample, options.seed, &plan, &options.reading);
        let journal = Arc::new(Mutex::new(journal));
        let mut run = Self { plan, outputs, options, draw, journal, history, is_new };
        run.check_history()?;
        Ok(run)
    }

    /// Where the run begins.
    pub fn start(&self) -> Start {
        let (rows, files) = (self.done_counts().rows_read, self.history.finished.len());
        if rows == 0 && files == 0 { Start::Anew } else { Start::GoesOn { rows, files } }
    }

    /// Runs to the end. When it stops before, by an error or by being dropped, what is done stays and the next start goes on.
    ///
    /// # Errors
    /// [`RetagError`]; see its variants.
    pub async fn run(mut self, tagger: Arc<dyn Tagger>, watch: &mut dyn Watch) -> Result<Summary, RetagError> {
        let mut summary = Summary { counts: self.done_counts(), ..Summary::default() };
        let mut bytes = 0;
        let files = self.plan.files.clone();
        for (file, target) in files.iter().zip(self.outputs.targets.clone()) {
            if !self.history.finished.contains_key(&file.name) {
                match self.do_file(file, &target, &tagger, bytes, &mut summary, watch).await {
                    Err(error) if error.is_bad_file() && self.options.skip_bad_files => {
                        let bad = BadFile { name: file.name.clone(), reason: error.to_string() };
                        watch.passed_over(&bad);
                        summary.bad_files.push(bad);
                    }
                    done => done?,
                }
            }
            bytes += file.bytes;
            watch.advanced(&file.name, bytes, &summary.counts);
        }
        self.complete(summary).await
    }

    /// Writes the file of errors and takes the parts away, when every file's output is under its name or passed over.
    pub(super) async fn complete(mut self, mut summary: Summary) -> Result<Summary, RetagError> {
        let files = self.plan.files.clone();
        summary.files = files.len() - summary.bad_files.len();
        // What was tagged of files that are passed over is not in any output.
        self.history.parts.clear();
        summary.counts = self.done_counts();
        let complete = self.history.complete;
        let bad: Vec<String> = summary.bad_files.iter().map(|bad| bad.name.clone()).collect();
        on_thread(move || {
            let good = files.iter().map(|file| file.name.as_str()).filter(|name| !bad.iter().any(|bad| bad == name));
            let mut journal = locked(&self.journal);
            if !complete {
                write_errors(&self.outputs.parts, &good.collect::<Vec<_>>(), &self.outputs.errors)?;
                journal.add(&Event::Complete)?;
            }
            journal.remove()
        })
        .await?;
        Ok(summary)
    }

    pub(super) fn done_counts(&self) -> Counts {
        let mut counts = Counts::default();
        let finished = self.history.finished.values().map(|finished| &finished.counts);
        for done in finished.chain(self.history.parts.values().flatten().map(|part| &part.counts)) {
            counts.add(done);
        }
        counts
    }

    /// Compares what the journal says with what is there.
    fn check_history(&mut self) -> Result<(), RetagError> {
        if self.history.complete {
            return Ok(());
        }
        let begun: BTreeMap<String, FileIdentity> = (self.history.parts.iter())
            .filter_map(|(name, parts)| Some((name.clone(), parts.first()?.identity.clone())))
            .chain(self.history.finished.iter().map(|(name, finished)| (name.clone(), finished.identity.clone())))
            .collect();
        for (name, was) in begun {
            let found = self.plan.files.iter().zip(&self.outputs.targets).find(|(file, _)| file.name == name);
            let (file, target) = found.ok_or_else(|| RetagError::Gone { name: name.clone() })?;
            refuse_changed(file, &was)?;
            let files = PartFiles::new(&self.outputs.parts, &name);
            if let Some(parts) = self.history.parts.get_mut(&name) {
                // A part that was lost is tagged again, and those after it.
                let whole = parts.iter().take_while(|part| is_whole(&files, part)).count();
                parts.truncate(whole);
            }
            let output_is_there = |finished: &Finished| {
                let same_size = fs::metadata(&target.path).is_ok_and(|output| output.len() == finished.output_bytes);
                same_size && files.errors().exists()
            };
            if self.history.finished.get(&name).is_some_and(|done| !output_is_there(done)) {
                self.history.finished.remove(&name);
            }
        }
        Ok(())
    }

    async fn do_file(
        &mut self,
        file: &PlannedFile,
        target: &Target,
        tagger: &Arc<dyn Tagger>,
        bytes_before: u64,
        summary: &mut Summary,
        watch: &mut dyn Watch,
    ) -> Result<(), RetagError> {
        let (planned, options) = (file.clone(), self.options.clone());
        let (reader, identity) = on_thread(move || {
            let reader = options.open(&planned)?;
            Ok((reader, identity_of(&planned)?))
        })
        .await?;
        let columns = TagColumns::new(&self.options.tag_prefix, target.format);
        let header =
            reader.header().map(|header| columns.kept(header)).transpose().map_err(|error| named(file, error))?;
        let writing = WriterOptions {
            header,
            types: reader.types(),
            dialect: reader.dialect(),
            tag_prefix: self.options.tag_prefix.clone(),
        };
        let mut parts = self.history.parts.remove(&file.name).unwrap_or_default();
        // Hours may have gone by since the history was checked.
        if let Some(what) = parts.first().and_then(|part| part.identity.difference(&identity)) {
            return Err(RetagError::Changed { path: file.path.clone(), what });
        }
        let writer = PartWriter {
            journal: Arc::clone(&self.journal),
            files: PartFiles::new(&self.outputs.parts, &file.name),
            file: file.clone(),
            identity: identity.clone(),
            number: u32::try_from(parts.len()).unwrap_or(u32::MAX),
            first_row: parts.last().map_or(0, |part| part.end_row),
            part_rows: self.options.part_rows.max(1),
            open: None,
            written: Vec::new(),
        };
        let mut tell = |outcome: &Outcome| {
            summary.rows_now += 1;
            match &outcome.result {
                Ok(tagged) => {
                    summary.counts.count(tagged.earlier.as_ref(), &MainTags::from(&tagged.tags));
                    watch.advanced(&file.name, bytes_before + tagged.row.position, &summary.counts);
                }
                Err(_) => summary.counts.count_failed(),
            }
        };
        parts.extend(self.tag_rows(file, reader, &columns, tagger, writer, &mut tell).await?);
        let (file, target, journal) = (file.clone(), target.clone(), Arc::clone(&self.journal));
        let files = PartFiles::new(&self.outputs.parts, &file.name);
        let finish = move || finish_file(&file, identity, &parts, &files, &target, writing, &journal);
        let finished = on_thread(finish).await?;
        self.history.finished.insert(finished.file.clone(), finished);
        Ok(())
    }

    /// Tags what is left of a file's rows; tells the parts that were written. Rows before an error are kept in a part.
    async fn tag_rows(
        &self,
        file: &PlannedFile,
        reader: TableReader,
        columns: &TagColumns,
        tagger: &Arc<dyn Tagger>,
        writer: PartWriter,
        tell: &mut (dyn FnMut(&Outcome) + Send),
    ) -> Result<Vec<PartRecord>, RetagError> {
        let from = writer.first_row;
        let (to_parts, rows) = mpsc::channel(WAITING);
        let written = spawn_blocking(move || write_parts(writer, rows));
        let mut outcomes = pin!(self.options.tag_file(file, reader, from, self.draw, columns, tagger)?);
        let mut stopped = None;
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(outcome) => {
                    tell(&outcome);
                    if to_parts.send(ToParts::Row(Box::new(outcome))).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
        }
        // If nobody takes it, what the writer returns says why.
        let _ = to_parts.send(ToParts::End).await;
        let written = written.await??;
        stopped.map_or(Ok(written), Err)
    }
}

enum ToParts {
    Row(Box<Outcome>),
    End,
}

/// Writes rows until told to end; if the channel closes before that, the unfinished part is dropped.
fn write_parts(mut writer: PartWriter, mut rows: mpsc::Receiver<ToParts>) -> Result<Vec<PartRecord>, RetagError> {
    while let Some(next) = rows.blocking_recv() {
        match next {
            ToParts::Row(outcome) => writer.add(*outcome)?,
            ToParts::End => {
                writer.end()?;
                break;
            }
        }
    }
    Ok(writer.written)
}

pub(super) fn finish_file(
    file: &PlannedFile,
    identity: FileIdentity,
    parts: &[PartRecord],
    files: &PartFiles,
    target: &Target,
    writing: WriterOptions,
    journal: &Mutex<Journal>,
) -> Result<Finished, RetagError> {
    refuse_changed(file, &identity)?;
    let output_bytes = assemble(files, parts, &file.name, target, writing)?;
    let mut counts = Counts::default();
    for part in parts {
        counts.add(&part.counts);
    }
    let finished = Finished { file: file.name.clone(), identity, output_bytes, counts };
    locked(journal).add(&Event::Finished(finished.clone()))?;
    for part in parts {
        // What is left here goes with the folder in the end.
        let _ = fs::remove_file(files.part(part.number));
    }
    Ok(finished)
}

pub(super) fn identity_of(file: &PlannedFile) -> Result<FileIdentity, RetagError> {
    let read_error = |reason| TableError::Read { table: file.path.display().to_string(), reason };
    Ok(FileIdentity::of(&file.path).map_err(read_error)?)
}

fn refuse_changed(file: &PlannedFile, was: &FileIdentity) -> Result<(), RetagError> {
    let changed = |what: String| RetagError::Changed { path: file.path.clone(), what };
    match FileIdentity::of(&file.path) {
        Ok(is) => was.difference(&is).map_or(Ok(()), |what| Err(changed(what))),
        Err(error) => Err(changed(format!("it can't be read ({error})"))),
    }
}

/// Names the file in an error of its columns, which does not do so itself.
pub(super) fn named(file: &PlannedFile, error: TableError) -> TableError {
    match error {
        taken @ TableError::ColumnTaken { .. } => {
            TableError::Header { table: file.path.display().to_string(), problem: taken.to_string() }
        }
        other => other,
    }
}

pub(super) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RetagError> + Send + 'static,
) -> Result<T, RetagError> {
    spawn_blocking(work).await?
}
