//! Cases in files, out of a store and back: JSON Lines and Parquet.
//!
//! A line of JSON Lines is the case with its vector beside it, as `{"case": {...}, "vector": [...], "encoder_sha256": "..."}`. A row of
//! Parquet has the same in the columns `case` (JSON), `vector` and `encoder_sha256`, and before them columns to look at: `id`, `kind`,
//! `channel`, `product`, `topics`, `team`, `sentiment`, `status`, `gesture_id`, `cost`, `score`, `occurred_at`, `stored_at`, `masked_text`.
//! Times are microseconds UTC. Sealed originals stay sealed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::{Case, VectoredCase};

/// Rows of one row group of Parquet.
const ROW_GROUP: usize = 5_000;

/// How cases lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferFormat {
    /// A line a case.
    JsonLines,
    /// A row a case.
    Parquet,
}

impl TransferFormat {
    /// By the ending of a name: `.jsonl`, `.ndjson` or `.parquet`.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_lowercase().as_str() {
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Why cases could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file can't be read or written.
    #[error("{file}: {problem}")]
    File {
        /// Its path.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A row is no case.
    #[error("{file}, {place}: {problem}")]
    Row {
        /// Its path.
        file: String,
        /// Line or row, from 1.
        place: String,
        /// What is wrong.
        problem: String,
    },
}

/// A case as it lies in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    case: Case,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vector: Option<Vec<f32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoder_sha256: Option<String>,
}

/// A case from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The case.
    pub case: Case,
    /// Its vector, if the file has one of the wanted encoder.
    pub vector: Option<Vec<f32>>,
}

enum Sink {
    JsonLines(BufWriter<File>),
    Parquet(Box<ArrowWriter<File>>),
}

/// Writes cases to a file, which has its name only once it is whole.
pub struct CaseWriter {
    sink: Sink,
    file: String,
    path: std::path::PathBuf,
    unfinished: std::path::PathBuf,
    encoder_sha256: String,
    waiting: Vec<VectoredCase>,
}

impl CaseWriter {
    /// A new file; `dimension` and `encoder_sha256` are of the vectors.
    ///
    /// # Errors
    /// [`TransferError::File`].
    pub fn create(
        path: &Path,
        format: TransferFormat,
        dimension: usize,
        encoder_sha256: &str,
    ) -> Result<Self, TransferError> {
        let file = path.display().to_string();
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        let unfinished = path.with_file_name(name);
        let fail = |problem: String| TransferError::File { file: file.clone(), problem };
        let target = File::create(&unfinished).map_err(|error| fail(error.to_string()))?;
        let sink = match format {
            TransferFormat::JsonLines => Sink::JsonLines(BufWriter::new(target)),
            TransferFormat::Parquet => {
                let level = ZstdLevel::try_new(3).map_err(|error| fail(error.to_string()))?;
                let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
                let schema = batch(&[], dimension, encoder_sha256).map_err(|error| fail(error.to_string()))?.schema();
                let writer = ArrowWriter::try_new(target, schema, Some(properties));
                Sink::Parquet(Box::new(writer.map_err(|error| fail(error.to_string()))?))
            }
        };
        let encoder_sha256 = encoder_sha256.to_owned();
        Ok(Self { sink, file, path: path.to_owned(), unfinished, encoder_sha256, waiting: Vec::new() })
    }

    fn fail(&self, problem: impl ToString) -> TransferError {
        TransferError::File { file: self.file.clone(), problem: problem.to_string() }
    }

    /// Writes cases.
    ///
    /// # Errors
    /// [`TransferError::File`].
    pub fn write(&mut self, cases: Vec<VectoredCase>) -> Result<(), TransferError> {
        match &mut self.sink {
            Sink::JsonLines(target) => {
                let encoder_sha256 = &self.encoder_sha256;
                let written = cases.into_iter().try_for_each(|VectoredCase { case, vector }| {
                    let line = Line { case, vector: Some(vector), encoder_sha256: Some(encoder_sha256.clone()) };
                    serde_json::to_writer(&mut *target, &line)?;
                    target.write_all(b"\n")
                });
                written.map_err(|error| self.fail(error))
            }
            Sink::Parquet(_) => {
                self.waiting.extend(cases);
                if self.waiting.len() >= ROW_GROUP { self.write_group() } else { Ok(()) }
            }
        }
    }

    fn write_group(&mut self) -> Result<(), TransferError> {
        let waiting = std::mem::take(&mut self.waiting);
        let (Sink::Parquet(writer), Some(first)) = (&mut self.sink, waiting.first()) else { return Ok(()) };
        let rows = batch(&waiting, first.vector.len(), &self.encoder_sha256).map_err(|error| error.to_string());
        let written =
            rows.and_then(|rows| writer.write(&rows).and_then(|()| writer.flush()).map_err(|error| error.to_string()));
        written.map_err(|problem| self.fail(problem))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`TransferError::File`].
    pub fn finish(mut self) -> Result<(), TransferError> {
        self.write_group()?;
        let Self { sink, file, path, unfinished, .. } = self;
        let written = match sink {
            Sink::JsonLines(target) => target.into_inner().map_err(|error| error.into_error().to_string()),
            Sink::Parquet(writer) => writer.into_inner().map_err(|error| error.to_string()),
        };
        let finished = written.and_then(|target| {
            target.sync_all().and_then(|()| std::fs::rename(&unfinished, &path)).map_err(|error| error.to_string())
        });
        finished.map_err(|problem| TransferError::File { file, problem })
    }
}

fn batch(
    cases: &[VectoredCase],
    dimension: usize,
    encoder_sha256: &str,
) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    let text = |of: &dyn Fn(&Case) -> Option<String>| -> ArrayRef {
        Arc::new(cases.iter().map(|stored| of(&stored.case)).collect::<StringArray>())
    };
    let number = |of: &dyn Fn(&Case) -> Option<f64>| -> ArrayRef {
        Arc::new(cases.iter().map(|stored| of(&stored.case)).collect::<Float64Array>())
    };
    let time = |of: &dyn Fn(&Case) -> Option<jiff::Timestamp>| -> ArrayRef {
        let times = cases.iter().map(|stored| of(&stored.case).map(|time| time.as_microsecond()));
        Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let mut topics = ListBuilder::new(StringBuilder::new());
    let dimension = i32::try_from(dimension)?;
    let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), dimension);
    for VectoredCase { case, vector } in cases {
        topics.append_value(case.topic_ids().into_iter().map(|topic| Some(topic.as_str())));
        vectors.values().append_slice(vector);
        vectors.append(true);
    }
    let json: Vec<String> = cases.iter().map(|stored| serde_json::to_string(&stored.case)).collect::<Result<_, _>>()?;
    let outcome = |case: &Case| case.outcome.clone();
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("id", text(&|case| Some(case.id.clone())), false),
        ("kind", text(&|case| case.kind.map(|kind| kind.to_string())), true),
        ("channel", text(&|case| case.channel.clone()), true),
        ("product", text(&|case| case.product.clone()), true),
        ("topics", Arc::new(topics.finish()), false),
        ("team", text(&|case| Some(case.team_id().to_string())), false),
        ("sentiment", text(&|case| case.sentiment_label().map(|label| label.to_string())), true),
        ("status", text(&|case| Some(case.status().to_string())), false),
        ("gesture_id", text(&|case| outcome(case).and_then(|outcome| outcome.gesture_id)), true),
        ("cost", number(&|case| outcome(case).and_then(|outcome| outcome.cost)), true),
        ("score", number(&|case| case.score.map(|score| score.value)), true),
        ("occurred_at", time(&|case| case.occurred_at), true),
        ("stored_at", time(&|case| Some(case.stored_at)), false),
        ("masked_text", text(&|case| Some(case.masked_text.clone())), false),
        ("case", Arc::new(StringArray::from(json)), false),
        ("vector", Arc::new(vectors.finish()), false),
        ("encoder_sha256", text(&|_| Some(encoder_sha256.to_owned())), false),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// Reads the cases of a file one after another.
pub struct CaseReader {
    rows: Box<dyn Iterator<Item = Result<Imported, TransferError>>>,
}

impl CaseReader {
    /// Opens a file; vectors of another encoder than `encoder_sha256` are left out.
    ///
    /// # Errors
    /// [`TransferError::File`].
    pub fn open(path: &Path, format: TransferFormat, encoder_sha256: &str) -> Result<Self, TransferError> {
        let file = path.display().to_string();
        let fail = |problem: String| TransferError::File { file: file.clone(), problem };
        let source = File::open(path).map_err(|error| fail(error.to_string()))?;
        let wanted = encoder_sha256.to_owned();
        let rows: Box<dyn Iterator<Item = Result<Imported, TransferError>>> = match format {
            TransferFormat::JsonLines => Box::new(json_rows(source, file, wanted)),
            TransferFormat::Parquet => {
                let reader = ParquetRecordBatchReaderBuilder::try_new(source).and_then(|builder| builder.build());
                let reader = reader.map_err(|error| fail(error.to_string()))?;
                Box::new(parquet_rows(reader, file, wanted))
            }
        };
        Ok(Self { rows })
    }
}

impl Iterator for CaseReader {
    type Item = Result<Imported, TransferError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

fn json_rows(source: File, file: String, wanted: String) -> impl Iterator<Item = Result<Imported, TransferError>> {
    BufReader::new(source).lines().zip(1u64..).filter_map(move |(line, number)| {
        let row = |problem: String| TransferError::Row { file: file.clone(), place: format!("line {number}"), problem };
        let parsed = line.and_then(|line| {
            if line.trim().is_empty() {
                Ok(None)
            } else {
                serde_json::from_str(&line).map(Some).map_err(io::Error::other)
            }
        });
        match parsed {
            Ok(None) => None,
            Ok(Some(Line { case, vector, encoder_sha256 })) => {
                let vector = vector.filter(|_| encoder_sha256.as_ref() == Some(&wanted));
                Some(Ok(Imported { case, vector }))
            }
            Err(error) => Some(Err(row(error.to_string()))),
        }
    })
}

fn parquet_rows(
    reader: ParquetRecordBatchReader,
    file: String,
    wanted: String,
) -> impl Iterator<Item = Result<Imported, TransferError>> {
    let mut before = 0;
    reader.flat_map(move |rows| {
        let first = before;
        let imported = match rows {
            Ok(rows) => {
                before += rows.num_rows();
                imported(&rows, &file, first, &wanted)
            }
            Err(error) => vec![Err(TransferError::File { file: file.clone(), problem: error.to_string() })],
        };
        imported.into_iter()
    })
}

fn imported(rows: &RecordBatch, file: &str, first: usize, wanted: &str) -> Vec<Result<Imported, TransferError>> {
    let Some(cases) = rows.column_by_name("case").and_then(|column| column.as_string_opt::<i32>()) else {
        let problem = "has no column `case` of text; files of `otklik cases export` have one".to_owned();
        return vec![Err(TransferError::File { file: file.to_owned(), problem })];
    };
    let encoders = rows.column_by_name("encoder_sha256").and_then(|column| column.as_string_opt::<i32>());
    let vectors = rows.column_by_name("vector").and_then(|column| column.as_fixed_size_list_opt());
    let row = |index: usize| {
        let place = format!("row {}", first + index + 1);
        let fail = |problem: String| TransferError::Row { file: file.to_owned(), place: place.clone(), problem };
        if cases.is_null(index) {
            return Err(fail("has no case".to_owned()));
        }
        let case = serde_json::from_str(cases.value(index)).map_err(|error| fail(error.to_string()))?;
        let is_wanted = encoders.is_some_and(|encoders| encoders.is_valid(index) && encoders.value(index) == wanted);
        let vector = vectors.filter(|vectors| is_wanted && vectors.is_valid(index)).and_then(|vectors| {
            vectors.value(index).as_primitive_opt::<Float32Type>().map(|values| values.values().to_vec())
        });
        Ok(Imported { case, vector })
    };
    (0..rows.num_rows()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::edge::sample;
    use crate::cases::{Outcome, OutcomeStatus};

    fn cases() -> Vec<VectoredCase> {
        let mut solved = sample::case("solved");
        solved.outcome = Some(Outcome {
            status: OutcomeStatus::Solved,
            resolution: Some("вернули".into()),
            gesture_id: Some("refund".into()),
            cost: Some(12.5),
            score_after: None,
            decided_at: None,
            decided_by: None,
        });
        let cases = [sample::case("plain"), solved].into_iter();
        cases.map(|case| VectoredCase { case, vector: vec![0.6, -0.8] }).collect()
    }

    #[test]
    fn cases_come_back_whole_from_both_formats() {
        let folder = tempfile::tempdir().unwrap();
        for (name, format) in [("a.jsonl", TransferFormat::JsonLines), ("a.parquet", TransferFormat::Parquet)] {
            let path = folder.path().join(name);
            assert_eq!(TransferFormat::of_path(&path), Some(format));
            let mut writer = CaseWriter::create(&path, format, 2, "ab").unwrap();
            writer.write(cases()).unwrap();
            assert!(!path.exists());
            writer.finish().unwrap();
            let read = |encoder: &str| -> Vec<Imported> {
                CaseReader::open(&path, format, encoder).unwrap().collect::<Result<_, _>>().unwrap()
            };
            let expected = |vectors: bool| -> Vec<Imported> {
                let whole =
                    |stored: VectoredCase| Imported { case: stored.case, vector: vectors.then_some(stored.vector) };
                cases().into_iter().map(whole).collect()
            };
            assert_eq!(read("ab"), expected(true), "{name}");
            assert_eq!(read("cd"), expected(false), "{name}");
        }
    }

    #[test]
    fn a_row_that_is_no_case_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "\n{\"case\": {}}\n").unwrap();
        let error = CaseReader::open(&path, TransferFormat::JsonLines, "ab").unwrap().next().unwrap().unwrap_err();
        assert!(error.to_string().contains("a.jsonl, line 2: missing field `id`"), "{error}");
        let cut = folder.path().join("cut.parquet");
        let mut writer = CaseWriter::create(&cut, TransferFormat::Parquet, 2, "ab").unwrap();
        writer.write(cases()).unwrap();
        writer.finish().unwrap();
        let whole = std::fs::read(&cut).unwrap();
        std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
        assert!(
            CaseReader::open(&cut, TransferFormat::Parquet, "ab").err().unwrap().to_string().contains("cut.parquet")
        );
    }
}
