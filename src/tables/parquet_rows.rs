//! Tagged rows as Parquet: the input's columns as strings, the tags' columns with their types.

use std::io;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float32Builder, ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value};

use super::flat::{FlatTags, Layout, cell};
use super::output::Output;

/// Rows and bytes that are gathered before they are encoded.
const BATCH_ROWS: usize = 1024;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Rows and encoded bytes of a row group: what a reader must hold at once.
const ROW_GROUP_ROWS: usize = 65_536;
const ROW_GROUP_BYTES: usize = 64 * 1024 * 1024;

/// Writes tagged rows as Parquet, Zstandard-compressed.
pub(super) struct ParquetRows {
    writer: ArrowWriter<Output>,
    schema: SchemaRef,
    layout: Layout,
    batch: Batch,
}

#[derive(Default)]
struct Batch {
    rows: usize,
    bytes: usize,
    originals: Vec<StringBuilder>,
    more: StringBuilder,
    topics: ListBuilder<StringBuilder>,
    topic_confidence: ListBuilder<Float32Builder>,
    evidence: ListBuilder<StringBuilder>,
    sentiment: StringBuilder,
    sentiment_score: Float32Builder,
    team: StringBuilder,
    team_reason: StringBuilder,
    signals: ListBuilder<StringBuilder>,
    review_needed: BooleanBuilder,
    review_reasons: ListBuilder<StringBuilder>,
    language: StringBuilder,
    taxonomy_version: StringBuilder,
    encoder: StringBuilder,
}

impl ParquetRows {
    /// Begins a Parquet file of `layout` on `output`.
    pub fn new(output: Output, layout: Layout) -> io::Result<Self> {
        let schema = Arc::new(schema(&layout));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(from_parquet)?))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_created_by(format!("otklik {}", env!("CARGO_PKG_VERSION")))
            .build();
        let writer = ArrowWriter::try_new(output, schema.clone(), Some(properties)).map_err(from_parquet)?;
        let batch = Batch::new(layout.originals.len());
        Ok(Self { writer, schema, layout, batch })
    }

    /// Adds a row.
    pub fn write(&mut self, columns: &Map<String, Value>, tags: &FlatTags<'_>) -> io::Result<()> {
        self.batch.push(&self.layout, columns, tags);
        if self.batch.rows >= BATCH_ROWS || self.batch.bytes >= BATCH_BYTES { self.write_batch() } else { Ok(()) }
    }

    /// Writes what is left and the footer, and gives back the output.
    pub fn finish(mut self) -> io::Result<Output> {
        self.write_batch()?;
        self.writer.into_inner().map_err(from_parquet)
    }

    fn write_batch(&mut self) -> io::Result<()> {
        if self.batch.rows == 0 {
            return Ok(());
        }
        let columns = self.batch.finish(self.layout.open);
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(from_arrow)?;
        self.writer.write(&batch).map_err(from_parquet)
    }
}

impl Batch {
    fn new(originals: usize) -> Self {
        Self { originals: (0..originals).map(|_| StringBuilder::new()).collect(), ..Self::default() }
    }

    fn push(&mut self, layout: &Layout, columns: &Map<String, Value>, tags: &FlatTags<'_>) {
        self.rows += 1;
        for (name, builder) in layout.originals.iter().zip(&mut self.originals) {
            let value = columns.get(name).filter(|value| !value.is_null()).map(cell);
            self.bytes += value.as_ref().map_or(0, String::len);
            builder.append_option(value);
        }
        if layout.open {
            let more = Some(layout.more(columns)).filter(|more| !more.is_empty());
            self.bytes += more.as_ref().map_or(0, String::len);
            self.more.append_option(more);
        }
        self.bytes += tags.evidence.iter().map(String::len).sum::<usize>();
        append_all(&mut self.topics, &tags.topics);
        self.topic_confidence.append_value(tags.topic_confidence.iter().map(|&confidence| Some(confidence)));
        append_all(&mut self.evidence, &tags.evidence);
        self.sentiment.append_option(tags.sentiment);
        self.sentiment_score.append_option(tags.sentiment_score);
        self.team.append_value(tags.team);
        self.team_reason.append_value(tags.team_reason);
        append_all(&mut self.signals, &tags.signals);
        self.review_needed.append_value(tags.review_needed);
        append_all(&mut self.review_reasons, &tags.review_reasons);
        self.language.append_value(tags.language);
        self.taxonomy_version.append_value(tags.taxonomy_version);
        self.encoder.append_value(tags.encoder);
    }

    fn finish(&mut self, open: bool) -> Vec<ArrayRef> {
        self.rows = 0;
        self.bytes = 0;
        let mut columns: Vec<ArrayRef> = Vec::new();
        columns.extend(self.originals.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef));
        if open {
            columns.push(Arc::new(self.more.finish()));
        }
        columns.push(Arc::new(self.topics.finish()));
        columns.push(Arc::new(self.topic_confidence.finish()));
        columns.push(Arc::new(self.evidence.finish()));
        columns.push(Arc::new(self.sentiment.finish()));
        columns.push(Arc::new(self.sentiment_score.finish()));
        columns.push(Arc::new(self.team.finish()));
        columns.push(Arc::new(self.team_reason.finish()));
        columns.push(Arc::new(self.signals.finish()));
        columns.push(Arc::new(self.review_needed.finish()));
        columns.push(Arc::new(self.review_reasons.finish()));
        columns.push(Arc::new(self.language.finish()));
        columns.push(Arc::new(self.taxonomy_version.finish()));
        columns.push(Arc::new(self.encoder.finish()));
        columns
    }
}

fn append_all<T: AsRef<str>>(builder: &mut ListBuilder<StringBuilder>, values: &[T]) {
    builder.append_value(values.iter().map(|value| Some(value.as_ref())));
}

fn schema(layout: &Layout) -> Schema {
    let list = |kind: DataType| DataType::List(Arc::new(Field::new_list_field(kind, true)));
    let added = layout.added().into_iter().map(|name| {
        let own_name = name.strip_prefix(layout.prefix()).unwrap_or(&name);
        let (kind, nullable) = match own_name {
            "topics" | "evidence" | "signals" | "review_reasons" => (list(DataType::Utf8), false),
            "topic_confidence" => (list(DataType::Float32), false),
            "sentiment_score" => (DataType::Float32, true),
            "review_needed" => (DataType::Boolean, false),
            "team" | "team_reason" | "language" | "taxonomy_version" | "encoder" => (DataType::Utf8, false),
            _ => (DataType::Utf8, true),
        };
        Field::new(name, kind, nullable)
    });
    let originals = layout.originals.iter().map(|name| Field::new(name, DataType::Utf8, true));
    Schema::new(originals.chain(added).collect::<Vec<_>>())
}

/// Keeps a broken pipe or a full disk recognisable behind Parquet's own error.
fn from_parquet(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    }
}

fn from_arrow(error: ArrowError) -> io::Error {
    io::Error::other(error)
}
