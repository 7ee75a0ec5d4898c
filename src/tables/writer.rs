//! Writes a table of tagged rows.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::tags::Tags;

use super::flat::{FlatTags, Layout, cell};
use super::output::Output;
use super::parquet_rows::ParquetRows;
use super::{ColumnTypes, Destination, Dialect, OutputFormat, Row, TableError};

/// The column of all tags in JSON Lines.
pub const TAGS_COLUMN: &str = "tags";

/// How a table is written.
#[derive(Debug, Clone, Default)]
pub struct WriterOptions {
    /// The columns of every row; `None` if each row has columns of its own, when CSV, TSV and Parquet take those of the first
    /// row and keep others in a column `more_columns`.
    pub header: Option<Vec<String>>,
    /// Types of the input's columns, for Parquet; a column without one is of strings.
    pub types: ColumnTypes,
    /// The input's delimiter and byte order mark, kept in CSV made of CSV.
    pub dialect: Option<Dialect>,
    /// What the names of the tags' columns begin with.
    pub tag_prefix: String,
}

enum Encoder {
    Objects(Output),
    Delimited {
        csv: Box<csv::Writer<Output>>,
        layout: Layout,
    },
    Parquet(Box<ParquetRows>),
    /// A flat table whose columns its first row will tell.
    Unsettled(Option<Output>),
}

/// A table being written. A file gets its name only in [`TableWriter::finish`]; dropped before that, it leaves nothing behind.
pub struct TableWriter {
    encoder: Encoder,
    format: OutputFormat,
    options: WriterOptions,
    table: String,
}

impl TableWriter {
    /// Opens the destination, and writes the header if the columns are known.
    ///
    /// # Errors
    /// [`TableError::Write`] if it cannot be written to; [`TableError::ColumnTaken`] if the input has a column of a name that
    /// the tags need.
    pub fn create(destination: &Destination, format: OutputFormat, options: WriterOptions) -> Result<Self, TableError> {
        let table = match destination {
            Destination::File(path) => path.display().to_string(),
            Destination::Stdout => "standard output".to_owned(),
        };
        let write_error = |reason| TableError::Write { table: table.clone(), reason };
        let layout = match (&options.header, format) {
            (Some(header), OutputFormat::Jsonl) => {
                refuse_tags_column(header.iter(), &options.tag_prefix, None)?;
                None
            }
            (Some(header), _) => Some(Layout::of_header(header.clone(), &options.tag_prefix)?),
            (None, _) => None,
        };
        let output = Output::create(destination).map_err(write_error)?;
        let encoder = match (format, layout) {
            (OutputFormat::Jsonl, _) => Encoder::Objects(output),
            (_, None) => Encoder::Unsettled(Some(output)),
            (_, Some(layout)) => Encoder::begin(output, format, layout, &options).map_err(write_error)?,
        };
        Ok(Self { encoder, format, options, table })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// As [`TableWriter::create`].
    pub fn write(&mut self, row: &Row, tags: &Tags) -> Result<(), TableError> {
        if matches!(self.encoder, Encoder::Unsettled(_)) {
            self.settle(row)?;
        }
        let written = match &mut self.encoder {
            Encoder::Objects(_) => return self.write_object(row, tags),
            Encoder::Delimited { csv, layout } => {
                let originals = layout.originals.iter().map(|name| row.columns.get(name).map(cell).unwrap_or_default());
                let more = layout.open.then(|| layout.more(&row.columns));
                let flat = FlatTags::new(tags, &row.feedback.body).cells();
                csv.write_record(originals.chain(more).chain(flat)).map_err(from_csv)
            }
            Encoder::Parquet(rows) => rows.write(&row.columns, &FlatTags::new(tags, &row.feedback.body)),
            Encoder::Unsettled(_) => Ok(()),
        };
        written.map_err(|reason| self.write_error(reason))
    }

    /// Adds a row whose tags are JSON already; where JSON is written, as it stands.
    ///
    /// # Errors
    /// As [`TableWriter::create`]; [`TableError::Write`] for JSON that is not of tags, where it must be taken apart.
    pub fn write_json(&mut self, row: &Row, tags: &RawValue) -> Result<(), TableError> {
        if let Encoder::Objects(_) = self.encoder {
            return self.write_object(row, &tags);
        }
        let tags: Tags = serde_json::from_str(tags.get()).map_err(|error| self.write_error(error.into()))?;
        self.write(row, &tags)
    }

    /// Adds a row to JSON Lines; of other formats this is not asked.
    fn write_object(&mut self, row: &Row, tags: &impl Serialize) -> Result<(), TableError> {
        refuse_tags_column(row.columns.keys(), &self.options.tag_prefix, Some(row))?;
        let Encoder::Objects(output) = &mut self.encoder else { return Ok(()) };
        let object = TaggedObject { columns: &row.columns, prefix: &self.options.tag_prefix, tags };
        let written = serde_json::to_writer(&mut *output, &object).map_err(io::Error::from);
        written.and_then(|()| output.write_all(b"\n")).map_err(|reason| self.write_error(reason))
    }

    /// Writes out what is buffered, so that the reader of a pipe sees it; Parquet has nothing to show before its end.
    ///
    /// # Errors
    /// [`TableError::Write`].
    pub fn flush(&mut self) -> Result<(), TableError> {
        let flushed = match &mut self.encoder {
            Encoder::Objects(output) => output.flush(),
            Encoder::Delimited { csv, .. } => csv.flush(),
            Encoder::Parquet(_) | Encoder::Unsettled(_) => Ok(()),
        };
        flushed.map_err(|reason| self.write_error(reason))
    }

    /// Ends the table and gives the file its name.
    ///
    /// # Errors
    /// [`TableError::Write`].
    pub fn finish(self) -> Result<(), TableError> {
        let Self { encoder, format, options, table } = self;
        let write_error = |reason| TableError::Write { table, reason };
        match encoder {
            // Not a row was written: a table of the tags' columns alone.
            Encoder::Unsettled(Some(output)) => {
                let layout = Layout::of_header(Vec::new(), &options.tag_prefix)?;
                Encoder::begin(output, format, layout, &options).and_then(Encoder::finish).map_err(write_error)
            }
            settled => settled.finish().map_err(write_error),
        }
    }

    fn settle(&mut self, row: &Row) -> Result<(), TableError> {
        let layout = Layout::of_first_row(&row.columns, &self.options.tag_prefix).map_err(|error| match error {
            TableError::ColumnTaken { column, .. } => TableError::ColumnTaken { place: Some(row.place), column },
            other => other,
        })?;
        let Encoder::Unsettled(pending) = &mut self.encoder else { return Ok(()) };
        if let Some(output) = pending.take() {
            let begun = Encoder::begin(output, self.format, layout, &self.options);
            self.encoder = begun.map_err(|reason| self.write_error(reason))?;
        }
        Ok(())
    }

    fn write_error(&self, reason: io::Error) -> TableError {
        TableError::Write { table: self.table.clone(), reason }
    }
}

impl Encoder {
    fn begin(mut output: Output, format: OutputFormat, layout: Layout, options: &WriterOptions) -> io::Result<Self> {
        let dialect = options.dialect;
        let delimiter = match (format, dialect) {
            (OutputFormat::Parquet, _) => {
                return Ok(Self::Parquet(Box::new(ParquetRows::new(output, layout, &options.types)?)));
            }
            (OutputFormat::Tsv, _) => b'\t',
            (_, Some(Dialect { delimiter: b';', .. })) => b';',
            _ => b',',
        };
        if dialect.is_some_and(|dialect| dialect.bom) {
            output.write_all("\u{feff}".as_bytes())?;
        }
        let mut csv = csv::WriterBuilder::new().delimiter(delimiter).from_writer(output);
        csv.write_record(layout.originals.iter().chain(&layout.added())).map_err(from_csv)?;
        Ok(Self::Delimited { csv: Box::new(csv), layout })
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Objects(output) => output.commit(),
            Self::Unsettled(output) => output.map_or(Ok(()), Output::commit),
            Self::Delimited { csv, .. } => csv.into_inner().map_err(|error| error.into_error())?.commit(),
            Self::Parquet(rows) => rows.finish()?.commit(),
        }
    }
}

fn refuse_tags_column<'a>(
    mut names: impl Iterator<Item = &'a String>,
    prefix: &str,
    row: Option<&Row>,
) -> Result<(), TableError> {
    let taken = |name: &&String| name.strip_prefix(prefix) == Some(TAGS_COLUMN);
    match names.find(taken) {
        Some(column) => Err(TableError::ColumnTaken { place: row.map(|row| row.place), column: column.clone() }),
        None => Ok(()),
    }
}

/// A row with its tags behind its own columns. Written value by value, as numbers of 32 bits would grow false digits on the
/// way through [`Value`].
struct TaggedObject<'a, T> {
    columns: &'a Map<String, Value>,
    prefix: &'a str,
    tags: &'a T,
}

impl<T: Serialize> Serialize for TaggedObject<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len() + 1))?;
        for (name, value) in self.columns {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry(&format!("{}{TAGS_COLUMN}", self.prefix), self.tags)?;
        map.end()
    }
}

fn from_csv(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(source) => source,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Cursor;
    use std::path::Path;
    use std::sync::Arc;

    use arrow_array::builder::{Int32Builder, ListBuilder};
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float32Type, Int32Type};
    use arrow_array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int64Array,
        RecordBatch, StringArray, StructArray, TimestampMillisecondArray, TimestampNanosecondArray,
    };
    use arrow_schema::{DataType, Field};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use serde_json::json;

    use super::super::{FLAT_COLUMNS, Input, InputFormat, ReaderOptions, TableReader};
    use super::*;

    fn tags(topics: Value, sentiment: Value) -> Tags {
        serde_json::from_value(json!({
            "id": "1", "language": "ru", "topics": topics, "sentiment": sentiment,
            "team": {"team_id": "partnerships", "confidence": 0.9, "reason": "owner of \"partner\", always"},
            "signals": [
                {"signal_id": "handoff_loop", "confidence": 0.97, "source": "rule", "rule_id": "r", "evidence": []},
                {"signal_id": "outage", "confidence": 0.6, "source": "prototype", "evidence": []}
            ],
            "review": {"needed": true, "reasons": ["team_unclear", "truncated"]},
            "masked_text": "", "tokens": 9,
            "provenance": {"otklik_version": "0.1.0", "taxonomy_version": "sha256:ab", "encoder_id": "e5",
                           "encoder_sha256": "ff", "prototypes_version": "sha256:cd"}
        }))
        .unwrap()
    }

    fn full() -> Tags {
        let topic = |id: &str, confidence: f32, start: u32, end: u32| {
            json!({"topic_id": id, "confidence": confidence, "source": "prototype",
                   "sentiment": {"label": "negative", "score": -0.8, "confidence": 0.9},
                   "evidence": [{"span": {"start": start, "end": end}, "weight": 1.0}]})
        };
        tags(
            json!([topic("equipment", 0.93, 0, 5), topic("partner", 0.7, 6, 10)]),
            json!({"label": "negative", "score": -0.81, "confidence": 0.9}),
        )
    }

    fn bare() -> Tags {
        tags(json!([]), Value::Null)
    }

    struct Table {
        text: &'static str,
        format: InputFormat,
    }

    const CSV: Table =
        Table { text: "\u{feff}id;text\n7;\"Касса\nбанк\"\n8;\"а;б\"\n", format: InputFormat::Csv };
    const JSONL: Table = Table {
        text: "{\"text\":\"Касса банк\",\"n\":{\"a\":[1,null]},\"z\":null}\n{\"text\":\"б\",\"late\":0.1}\n",
        format: InputFormat::Jsonl,
    };

    fn write(table: &Table, path: &Path, prefix: &str) -> Result<(), TableError> {
        let options = ReaderOptions { format: Some(table.format), ..ReaderOptions::default() };
        let reader = TableReader::from_reader("t", Box::new(Cursor::new(table.text)), &options)?;
        let options = WriterOptions {
            header: reader.header(),
            types: reader.types(),
            dialect: reader.dialect(),
            tag_prefix: prefix.to_owned(),
        };
        let format = OutputFormat::of_path(path).unwrap();
        let mut writer = TableWriter::create(&Destination::File(path.to_owned()), format, options)?;
        for (row, tags) in reader.zip([full(), bare()]) {
            writer.write(&row?, &tags)?;
        }
        writer.finish()
    }

    fn written(table: &Table, name: &str, prefix: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        write(table, &path, prefix).unwrap();
        fs::read_to_string(&path).unwrap()
    }

    #[test]
    fn json_lines_keep_the_row_and_read_back_as_the_same_tags() {
        let text = written(&JSONL, "out.jsonl", "");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert!(text.starts_with("{\"text\":\"Касса банк\",\"n\":{\"a\":[1,null]},\"z\":null,\"tags\":{\"id\":\"1\""));
        assert!(text.contains("\"confidence\":0.93,"), "no false digits: {text}");
        assert_eq!(serde_json::from_value::<Tags>(lines[0]["tags"].clone()).unwrap(), full());
        assert_eq!(serde_json::from_value::<Tags>(lines[1]["tags"].clone()).unwrap(), bare());
    }

    #[test]
    fn csv_keeps_delimiter_and_mark_and_reads_back() {
        let text = written(&CSV, "out.csv", "");
        let head = "\u{feff}id;text;topics;topic_confidence;evidence;sentiment;sentiment_score;team;team_reason;signals;\
                    review_needed;review_reasons;language;taxonomy_version;encoder\n";
        assert!(text.starts_with(head), "{text}");
        let mut csv = csv::ReaderBuilder::new().delimiter(b';').from_reader(text.as_bytes());
        let rows: Vec<Vec<String>> =
            csv.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
        let reason = "owner of \"partner\", always";
        let last =
            ["partnerships", reason, "handoff_loop;outage", "true", "team_unclear;truncated", "ru", "sha256:ab", "e5"];
        let first = ["7", "Касса\nбанк", "equipment;partner", "0.930;0.700", "Касса | банк", "negative", "-0.810"];
        assert_eq!(rows[0], [first.as_slice(), last.as_slice()].concat());
        assert_eq!(rows[1], [["8", "а;б", "", "", "", "", ""].as_slice(), last.as_slice()].concat());
    }

    #[test]
    fn flat_tables_of_objects_lose_no_column() {
        let text = written(&JSONL, "out.tsv", "");
        let mut csv = csv::ReaderBuilder::new().delimiter(b'\t').from_reader(text.as_bytes());
        assert_eq!(
            csv.headers().unwrap().iter().take(5).collect::<Vec<_>>(),
            ["text", "n", "z", "more_columns", "topics"]
        );
        let rows: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
        assert_eq!(rows[0].iter().take(4).collect::<Vec<_>>(), ["Касса банк", "{\"a\":[1,null]}", "", ""]);
        assert_eq!(rows[1].iter().take(4).collect::<Vec<_>>(), ["б", "", "", "{\"late\":0.1}"]);
    }

    #[test]
    fn parquet_reads_back_with_its_types() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.parquet");
        write(&JSONL, &path, "o_").unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        assert!(builder.metadata().row_groups().iter().all(|group| {
            group.columns().iter().all(|column| matches!(column.compression(), parquet::basic::Compression::ZSTD(_)))
        }));
        let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
        let [batch] = batches.as_slice() else { panic!("one batch") };
        let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        let added = ["more_columns"].into_iter().chain(FLAT_COLUMNS).map(|name| format!("o_{name}"));
        assert_eq!(names, ["text", "n", "z"].map(str::to_owned).into_iter().chain(added).collect::<Vec<_>>());

        let strings = |name: &str| {
            let column = batch.column_by_name(name).unwrap().as_string::<i32>();
            column.iter().map(|value| value.map(str::to_owned)).collect::<Vec<_>>()
        };
        let list = |name: &str, row: usize| {
            let values = batch.column_by_name(name).unwrap().as_list::<i32>().value(row);
            values.as_string::<i32>().iter().map(|value| value.unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(strings("text"), [Some("Касса банк".to_owned()), Some("б".to_owned())]);
        assert_eq!(strings("z"), [None, None]);
        assert_eq!(strings("o_more_columns"), [None, Some("{\"late\":0.1}".to_owned())]);
        assert_eq!(strings("o_sentiment"), [Some("negative".to_owned()), None]);
        assert_eq!(list("o_topics", 0), ["equipment", "partner"]);
        assert_eq!(list("o_evidence", 0), ["Касса", "банк"]);
        assert_eq!(list("o_topics", 1), Vec::<String>::new());
        assert_eq!(list("o_signals", 1), ["handoff_loop", "outage"]);
        let confidences = batch.column_by_name("o_topic_confidence").unwrap().as_list::<i32>().value(0);
        assert_eq!(confidences.as_primitive::<Float32Type>().values().to_vec(), [0.93, 0.7]);
        assert!(batch.column_by_name("o_review_needed").unwrap().as_boolean().value(0));
    }

    #[test]
    fn parquet_of_parquet_keeps_the_types_of_its_columns() {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in.parquet"), folder.path().join("out.parquet"));
        let mut list = ListBuilder::new(Int32Builder::new());
        list.append_value([Some(1), None]);
        list.append_null();
        let inner: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None]));
        let nested = StructArray::from(vec![(Arc::new(Field::new("vip", DataType::Boolean, true)), inner)]);
        let channel: DictionaryArray<Int32Type> = [Some("chat"), Some("call")].into_iter().collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(vec![i64::MAX, -8]))),
            ("text", Arc::new(StringArray::from(vec!["касса", "банк"]))),
            ("score", Arc::new(Float32Array::from(vec![Some(0.1), None]))),
            ("weight", Arc::new(Float64Array::from(vec![f64::MAX, 1e-300]))),
            ("sum", Arc::new(Decimal128Array::from(vec![Some(12_345), None]).with_precision_and_scale(12, 2).unwrap())),
            ("channel", Arc::new(channel)),
            ("day", Arc::new(Date32Array::from(vec![19_874, -1]))),
            ("at", Arc::new(TimestampMillisecondArray::from(vec![1_717_171_200_500, 0]).with_timezone("UTC"))),
            ("exactly", Arc::new(TimestampNanosecondArray::from(vec![1_717_171_200_000_000_001, 0]))),
            ("list", Arc::new(list.finish())),
            ("client", Arc::new(nested)),
            ("paid", Arc::new(BooleanArray::from(vec![true, false]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&input).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();

        let reader = TableReader::open(&Input::File(input), &ReaderOptions::default()).unwrap();
        let options = WriterOptions { header: reader.header(), types: reader.types(), ..WriterOptions::default() };
        let mut writer =
            TableWriter::create(&Destination::File(output.clone()), OutputFormat::Parquet, options).unwrap();
        for row in reader {
            writer.write(&row.unwrap(), &bare()).unwrap();
        }
        writer.finish().unwrap();
        let written = ParquetRecordBatchReaderBuilder::try_new(File::open(&output).unwrap()).unwrap().build().unwrap();
        let written: Vec<RecordBatch> = written.map(Result::unwrap).collect();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let again = written[0].column_by_name(field.name()).unwrap();
            if field.name() == "channel" {
                // What a dictionary says, without it.
                assert_eq!(again.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("chat"), Some("call")]);
            } else {
                assert_eq!(again, column, "{}", field.name());
            }
        }
    }

    #[test]
    fn row_groups_of_parquet_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.parquet");
        let rows = "слово\n".repeat(70_000);
        let options = ReaderOptions { format: Some(InputFormat::Lines), ..ReaderOptions::default() };
        let reader = TableReader::from_reader("t", Box::new(Cursor::new(rows)), &options).unwrap();
        let writer_options = WriterOptions { header: reader.header(), ..WriterOptions::default() };
        let destination = Destination::File(path.clone());
        let mut writer = TableWriter::create(&destination, OutputFormat::Parquet, writer_options).unwrap();
        let tags = bare();
        for row in reader {
            writer.write(&row.unwrap(), &tags).unwrap();
        }
        writer.finish().unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        let groups: Vec<i64> = builder.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [65_536, 4_464]);
    }

    #[test]
    fn tables_without_rows_have_their_header() {
        let empty = |format, text| Table { text, format };
        assert!(written(&empty(InputFormat::Csv, "id,text\n"), "out.csv", "").starts_with("id,text,topics,"));
        assert!(written(&empty(InputFormat::Jsonl, ""), "out.csv", "").starts_with("topics,topic_confidence,"));
        assert_eq!(written(&empty(InputFormat::Jsonl, ""), "out.jsonl", ""), "");
    }

    #[test]
    fn columns_of_the_input_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            ("out.csv", "text,team\na,b\n", InputFormat::Csv, "the input has a column \"team\" of its own"),
            ("out.jsonl", "text,tags\na,b\n", InputFormat::Csv, "the input has a column \"tags\" of its own"),
            ("out.jsonl", "{\"text\":\"a\",\"tags\":1}", InputFormat::Jsonl, "row 1: the input has a column \"tags\""),
            (
                "out.parquet",
                "{\"text\":\"a\",\"topics\":1}",
                InputFormat::Jsonl,
                "row 1: the input has a column \"topics\"",
            ),
        ];
        for (name, text, format, message) in cases {
            let table = Table { text, format };
            let path = folder.path().join(name);
            let error = write(&table, &path, "").unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing half-done is left");
            write(&table, &path, "o_").unwrap();
            fs::remove_file(&path).unwrap();
        }
    }
}
