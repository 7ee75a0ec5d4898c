//! What `otklik train` and `otklik eval` share: labelled tables in, vectors of their texts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use otklik::assembly::LoadedEncoder;
use otklik::feedback::Body;
use otklik::inference::ComputePool;
use otklik::tables::{ColumnChoice, ColumnMap, Input, ReaderOptions, TableReader};
use otklik::tagging::ExampleVectors;
use otklik::training::{self, LabelledRow, LabelledTable, TableOptions, TrainingError};

/// Texts after which computed vectors are written to their file.
const KEPT_AFTER: usize = 2_048;

/// Texts of a table as they stand, at most so many; `-` is standard input.
pub fn texts(path: &Path, text_column: Option<&str>, limit: u64) -> Result<Vec<String>, TrainingError> {
    let input = if path.as_os_str() == "-" { Input::Stdin } else { Input::File(path.to_owned()) };
    let columns = ColumnMap { text: ColumnChoice::from_flag(text_column), ..ColumnMap::default() };
    let reader = TableReader::open(&input, &ReaderOptions { columns, ..ReaderOptions::default() })?;
    let mut texts = Vec::new();
    for row in reader {
        if texts.len() as u64 >= limit {
            break;
        }
        match row?.feedback.body {
            Body::Text(text) => texts.push(text),
            Body::Turns(turns) => {
                texts.push(turns.into_iter().map(|turn| turn.text).collect::<Vec<_>>().join("\n"));
            }
        }
    }
    if texts.is_empty() {
        return Err(TrainingError::Rows(format!("{}: there are no texts", path.display())));
    }
    Ok(texts)
}

/// How a table of labelled texts is read.
#[derive(Debug, Clone, clap::Args)]
pub struct LabelArgs {
    /// Name of the label: a column, or in JSON Lines also a field of the object `labels`
    #[arg(long, value_name = "NAME")]
    pub label: String,
    /// Column of the text; by default text, comment, review, message, текст, комментарий or отзыв if just one is there
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// In CSV and TSV: a text has several labels with this between them (in JSON Lines several labels are an array)
    #[arg(long, value_name = "SIGN")]
    pub separator: Option<String>,
    /// Keep computed vectors in this file and take them from there the next time
    #[arg(long, value_name = "FILE")]
    pub vectors: Option<PathBuf>,
    /// Draw no progress
    #[arg(short, long)]
    pub quiet: bool,
}

impl LabelArgs {
    /// Reads a table; `-` is standard input.
    pub fn read(&self, path: &Path, only: &[(String, String)]) -> Result<LabelledTable, TrainingError> {
        let input = if path.as_os_str() == "-" { Input::Stdin } else { Input::File(path.to_owned()) };
        let options = TableOptions {
            label: self.label.clone(),
            text_column: self.text_column.clone(),
            separator: self.separator.clone(),
            only: only.to_vec(),
            limit: None,
        };
        LabelledTable::read(&input, &options)
    }

    /// Vectors of all texts and of the labels' names.
    pub fn vectors_of(
        &self,
        rows: &[LabelledRow],
        loaded: &LoadedEncoder,
        pool: &ComputePool,
    ) -> anyhow::Result<ExampleVectors> {
        let mut vectors = ExampleVectors::deep(&loaded.identity.sha256, &loaded.encoder);
        if let Some(path) = self.vectors.as_ref().filter(|path| path.exists()) {
            vectors.read(path)?;
        }
        let names: BTreeSet<String> =
            rows.iter().flat_map(|row| &row.labels).map(|label| training::name_as_text(label)).collect();
        let texts: Vec<String> = rows.iter().map(|row| row.text.clone()).chain(names).collect();
        complete(&mut vectors, &texts, loaded, pool, self.vectors.as_deref(), self.quiet)?;
        Ok(vectors)
    }

    /// A bar with the time left; none if quiet or not on a terminal.
    pub fn bar(&self, what: &'static str, of: u64) -> ProgressBar {
        bar(what, of, self.quiet)
    }
}

/// Encodes texts that have no vector yet, and keeps all vectors in a file if one is named.
pub fn complete(
    vectors: &mut ExampleVectors,
    texts: &[String],
    loaded: &LoadedEncoder,
    pool: &ComputePool,
    kept: Option<&Path>,
    quiet: bool,
) -> anyhow::Result<()> {
    let mut missing: Vec<&str> =
        texts.iter().map(String::as_str).filter(|text| !text.is_empty() && vectors.get(text).is_none()).collect();
    missing.sort_unstable();
    missing.dedup();
    let bar = bar("reading texts", missing.len() as u64, quiet);
    // A run that is stopped loses one part at most, if vectors are kept.
    for (part, texts) in missing.chunks(KEPT_AFTER).enumerate() {
        let progress = |done, _| bar.set_position((part * KEPT_AFTER + done) as u64);
        vectors.complete(&loaded.encoder, pool, texts.iter().copied(), progress).map_err(TrainingError::from)?;
        if let Some(path) = kept {
            vectors.write_all(path).context("vectors can't be kept (--vectors)")?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// A bar with the time left; none if quiet or not on a terminal.
pub fn bar(what: &'static str, of: u64, quiet: bool) -> ProgressBar {
    if quiet || of == 0 {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(of).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}, {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// `COLUMN=VALUE` of a condition on rows.
pub fn condition(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(column, value)| (column.trim().to_owned(), value.trim().to_owned()))
        .filter(|(column, _)| !column.is_empty())
        .ok_or_else(|| "needs the form COLUMN=VALUE, as in split=train".to_owned())
}
