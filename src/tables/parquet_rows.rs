//! Tagged rows as Parquet: the input's columns with the types that they had in Parquet, or as strings, and the tags' columns with theirs.

use std::io;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float32Builder, ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_json::reader::{Decoder, ReaderBuilder};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value};

use super::ColumnTypes;
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

/// A column of the input.
enum Original {
    /// Of strings.
    Text(StringBuilder),
    /// With a type of its own; values wait as JSON until the batch is whole.
    Typed { decoder: Box<Decoder>, values: Vec<Map<String, Value>> },
}

#[derive(Default)]
struct Batch {
    rows: usize,
    bytes: usize,
    originals: Vec<Original>,
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
    pub fn new(output: Output, layout: Layout, types: &ColumnTypes) -> io::Result<Self> {
        let schema = Arc::new(schema(&layout, types));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(from_parquet)?))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_created_by(format!("otklik {}", env!("CARGO_PKG_VERSION")))
            .build();
        let writer = ArrowWriter::try_new(output, schema.clone(), Some(properties)).map_err(from_parquet)?;
        let batch = Batch::new(&layout, types).map_err(from_arrow)?;
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
        let columns = self.batch.finish(self.layout.open).map_err(from_arrow)?;
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(from_arrow)?;
        self.writer.write(&batch).map_err(from_parquet)
    }
}

impl Batch {
    fn new(layout: &Layout, types: &ColumnTypes) -> Result<Self, ArrowError> {
        let originals = layout.originals.iter().map(|name| Original::new(types.get(name)));
        Ok(Self { originals: originals.collect::<Result<_, _>>()?, ..Self::default() })
    }

    fn push(&mut self, layout: &Layout, columns: &Map<String, Value>, tags: &FlatTags<'_>) {
        self.rows += 1;
        for (name, builder) in layout.originals.iter().zip(&mut self.originals) {
            self.bytes += builder.push(name, columns.get(name).filter(|value| !value.is_null()));
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

    fn finish(&mut self, open: bool) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows = 0;
        self.bytes = 0;
        let mut columns: Vec<ArrayRef> = Vec::new();
        for original in &mut self.originals {
            columns.push(original.finish()?);
        }
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
        Ok(columns)
    }
}

impl Original {
    fn new(field: Option<&FieldRef>) -> Result<Self, ArrowError> {
        let Some(field) = field else { return Ok(Self::Text(StringBuilder::new())) };
        let schema = Schema::new(vec![Arc::clone(field)]);
        let decoder = ReaderBuilder::new(Arc::new(schema)).with_batch_size(BATCH_ROWS).build_decoder()?;
        Ok(Self::Typed { decoder: Box::new(decoder), values: Vec::new() })
    }

    /// Adds a value; its bytes, about.
    fn push(&mut self, name: &str, value: Option<&Value>) -> usize {
        match self {
            Self::Text(builder) => {
                let value = value.map(cell);
                builder.append_option(value.as_ref());
                value.map_or(0, |value| value.len())
            }
            Self::Typed { values, .. } => {
                let bytes = match value {
                    Some(Value::String(text)) => text.len(),
                    Some(value @ (Value::Array(_) | Value::Object(_))) => value.to_string().len(),
                    Some(_) | None => size_of::<Value>(),
                };
                values.push(value.map(|value| (name.to_owned(), value.clone())).into_iter().collect());
                bytes
            }
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let (decoder, values) = match self {
            Self::Text(builder) => return Ok(Arc::new(builder.finish())),
            Self::Typed { decoder, values } => (decoder, values),
        };
        decoder.serialize(values)?;
        values.clear();
        let column = decoder.flush()?.and_then(|batch| batch.columns().first().cloned());
        column.ok_or_else(|| ArrowError::ParseError("a column has no values".to_owned()))
    }
}

fn append_all<T: AsRef<str>>(builder: &mut ListBuilder<StringBuilder>, values: &[T]) {
    builder.append_value(values.iter().map(|value| Some(value.as_ref())));
}

fn schema(layout: &Layout, types: &ColumnTypes) -> Schema {
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
    let text = |name: &String| Arc::new(Field::new(name, DataType::Utf8, true));
    let originals = layout.originals.iter().map(|name| types.get(name).cloned().unwrap_or_else(|| text(name)));
    Schema::new(originals.chain(added.map(Arc::new)).collect::<Vec<_>>())
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
