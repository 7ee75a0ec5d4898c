//! Reads a table row by row.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

use crate::feedback::Feedback;

use super::columns::{ColumnMap, FieldNames};
use super::compression::{self, OpenFile};
use super::convert::{to_feedback, type_name};
use super::delimited::{MAX_FIELDS, Record, Records, sniff_delimiter};
use super::parquet_source::ParquetSource;
use super::source::{Line, Source};
use super::{ColumnTypes, DEFAULT_MAX_ROW_BYTES, InputFormat, RowError, RowPlace, RowProblem, TableError};

/// Where a table comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// How a table is read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderOptions {
    /// The format; told by the file's ending if not given, and on standard input by the first character: `{` begins JSON
    /// Lines, anything else plain lines.
    pub format: Option<InputFormat>,
    /// Which column holds what.
    pub columns: ColumnMap,
    /// The most bytes that a row may have.
    pub max_row_bytes: usize,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self { format: None, columns: ColumnMap::default(), max_row_bytes: DEFAULT_MAX_ROW_BYTES }
    }
}

/// Marks of a CSV table that its readers expect to find again in what is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The byte between fields.
    pub delimiter: u8,
    /// Whether the table begins with a UTF-8 byte order mark, which some spreadsheets need to show Cyrillic.
    pub bom: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { delimiter: b',', bom: false }
    }
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where it stands.
    pub place: RowPlace,
    /// What it says.
    pub feedback: Feedback,
    /// The columns as they stand in the table, in their order.
    pub columns: Map<String, Value>,
    /// Bytes of the table up to and with this row.
    pub position: u64,
}

enum Rows {
    Delimited { records: Box<Records>, header: Vec<String> },
    Objects,
    Lines,
    Parquet(Box<ParquetSource>),
}

/// A row's columns, or what is wrong with the row.
type Columns = Result<Map<String, Value>, RowProblem>;

/// A table being read. As an iterator it gives each row in order: `Ok`, or [`TableError::Row`] for a bad one after which the
/// next row can be asked for; any other error is the last item.
pub struct TableReader {
    source: Source,
    rows: Rows,
    names: FieldNames,
    format: InputFormat,
    dialect: Option<Dialect>,
    table: String,
    max_row_bytes: usize,
    rows_read: u64,
    /// Bytes of the compressed file that were read, if it is one.
    compressed_position: Option<Arc<AtomicU64>>,
    buffer: Vec<u8>,
    ended: bool,
}

impl TableReader {
    /// Opens a table and reads its header, if its format has one.
    ///
    /// # Errors
    /// [`TableError`] if the table cannot be read, its format is not told, or its header lacks a column that is needed.
    pub fn open(input: &Input, options: &ReaderOptions) -> Result<Self, TableError> {
        match input {
            Input::Stdin => Self::from_reader("standard input", Box::new(std::io::stdin()), options),
            Input::File(path) => {
                let format = options.format.or_else(|| InputFormat::of_path(path));
                let Some(format) = format else {
                    let allowed = ".csv, .tsv, .jsonl, .ndjson, .txt, each also with .gz or .zst, and .parquet";
                    return Err(TableError::UnknownFormat { path: path.clone(), allowed });
                };
                let table = path.display().to_string();
                let read_error = |reason| TableError::Read { table: table.clone(), reason };
                if format == InputFormat::Parquet {
                    return Self::from_parquet(&table, File::open(path).map_err(read_error)?, options);
                }
                let OpenFile { bytes, position } = compression::open(path).map_err(read_error)?;
                let options = ReaderOptions { format: Some(format), ..options.clone() };
                let reader = Self::from_reader(&table, bytes, &options)?;
                Ok(Self { compressed_position: position, ..reader })
            }
        }
    }

    fn from_parquet(table: &str, file: File, options: &ReaderOptions) -> Result<Self, TableError> {
        let rows = ParquetSource::open(file, table)?;
        let names = FieldNames::for_header(&options.columns, rows.header(), table)?;
        let nothing = Source::new(Box::new(std::io::empty()));
        Ok(Self {
            source: nothing.map_err(|reason| TableError::Read { table: table.to_owned(), reason })?,
            rows: Rows::Parquet(Box::new(rows)),
            names,
            format: InputFormat::Parquet,
            dialect: None,
            table: table.to_owned(),
            max_row_bytes: options.max_row_bytes,
            rows_read: 0,
            compressed_position: None,
            buffer: Vec::new(),
            ended: false,
        })
    }

    /// Reads a table from bytes; `table` names it in messages. Parquet is read from its end, so only from a file.
    ///
    /// # Errors
    /// As [`TableReader::open`].
    pub fn from_reader(table: &str, reader: Box<dyn Read + Send>, options: &ReaderOptions) -> Result<Self, TableError> {
        // The header's delimiter is told by all of it, line breaks between quotes included.
        let source =
            if options.format == Some(InputFormat::Csv) { Source::quoted(reader) } else { Source::new(reader) };
        let mut source = source.map_err(|reason| TableError::Read { table: table.to_owned(), reason })?;
        if source.is_utf16() {
            return Err(TableError::Utf16 { table: table.to_owned() });
        }
        let sniffed = || {
            if source.head().trim_ascii_start().starts_with(b"{") { InputFormat::Jsonl } else { InputFormat::Lines }
        };
        let format = options.format.unwrap_or_else(sniffed);
        let delimiter = match format {
            InputFormat::Csv => Some(sniff_delimiter(source.head())),
            InputFormat::Tsv => Some(b'\t'),
            InputFormat::Jsonl | InputFormat::Lines => None,
            InputFormat::Parquet => {
                let problem = "Parquet is read from a file, not from a pipe".to_owned();
                return Err(TableError::Header { table: table.to_owned(), problem });
            }
        };
        let dialect = delimiter.map(|delimiter| Dialect { delimiter, bom: source.has_bom() });
        let (rows, names, rows_read) = match (format, delimiter) {
            (_, Some(delimiter)) => {
                let mut records = Records::new(delimiter);
                let header = read_header(&mut records, &mut source, table, options.max_row_bytes)?;
                let names = FieldNames::for_header(&options.columns, &header, table)?;
                (Rows::Delimited { records: Box::new(records), header }, names, 1)
            }
            (InputFormat::Lines, None) => (Rows::Lines, FieldNames::for_lines(), 0),
            (_, None) => (Rows::Objects, FieldNames::for_objects(&options.columns), 0),
        };
        let table = table.to_owned();
        let max_row_bytes = options.max_row_bytes;
        Ok(Self {
            source,
            rows,
            names,
            format,
            dialect,
            table,
            max_row_bytes,
            rows_read,
            compressed_position: None,
            buffer: Vec::new(),
            ended: false,
        })
    }

    /// The format that is read.
    pub fn format(&self) -> InputFormat {
        self.format
    }

    /// The columns of every row, in order; `None` if each row has columns of its own (JSON Lines).
    pub fn header(&self) -> Option<Vec<String>> {
        match &self.rows {
            Rows::Delimited { header, .. } => Some(header.clone()),
            Rows::Lines => Some(self.names.text.clone()),
            Rows::Parquet(rows) => Some(rows.header().to_vec()),
            Rows::Objects => None,
        }
    }

    /// The types of the columns, for Parquet; none for other formats.
    pub fn types(&self) -> ColumnTypes {
        match &self.rows {
            Rows::Parquet(rows) => rows.types().clone(),
            Rows::Delimited { .. } | Rows::Lines | Rows::Objects => ColumnTypes::default(),
        }
    }

    /// The delimiter and the byte order mark, for CSV and TSV.
    pub fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }

    /// Bytes of the file up to and with the last row.
    fn bytes_read(&self) -> u64 {
        match (&self.rows, &self.compressed_position) {
            (Rows::Parquet(rows), _) => rows.position(),
            (_, Some(position)) => position.load(Ordering::Relaxed),
            (_, None) => self.source.position(),
        }
    }

    /// The next row's columns with its place, or the problem; `None` at the end.
    fn next_columns(&mut self) -> std::io::Result<Option<(RowPlace, Columns)>> {
        let limit = self.max_row_bytes;
        match &mut self.rows {
            Rows::Delimited { records, header } => {
                records.skip_blank_lines(&mut self.source)?;
                let line = self.source.line();
                let columns = match records.read(&mut self.source, limit)? {
                    Record::End => return Ok(None),
                    Record::Whole => record_columns(records, header),
                    Record::TooLong => Err(RowProblem::TooLong { limit }),
                    Record::UnclosedQuote => Err(RowProblem::UnclosedQuote),
                };
                self.rows_read += 1;
                Ok(Some((RowPlace { number: self.rows_read, line }, columns)))
            }
            Rows::Parquet(rows) => {
                let Some(columns) = rows.next()? else { return Ok(None) };
                self.rows_read += 1;
                Ok(Some((RowPlace { number: self.rows_read, line: self.rows_read }, columns)))
            }
            Rows::Objects | Rows::Lines => loop {
                let number = self.source.line();
                let place = RowPlace { number, line: number };
                match self.source.read_line(&mut self.buffer, limit)? {
                    Line::End => return Ok(None),
                    Line::TooLong => return Ok(Some((place, Err(RowProblem::TooLong { limit })))),
                    // A blank line parts rows; it is not one.
                    Line::Whole if self.buffer.trim_ascii().is_empty() => {}
                    Line::Whole => {
                        let text = utf8(&self.buffer, None);
                        let columns = match &self.rows {
                            Rows::Lines => text.map(|text| Map::from_iter([("text".to_owned(), Value::from(text))])),
                            _ => text.and_then(object),
                        };
                        return Ok(Some((place, columns)));
                    }
                }
            },
        }
    }
}

impl Iterator for TableReader {
    type Item = Result<Row, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let (place, columns) = match self.next_columns() {
            Ok(Some(next)) => next,
            Ok(None) => {
                self.ended = true;
                return None;
            }
            Err(reason) => {
                self.ended = true;
                return Some(Err(TableError::Read { table: self.table.clone(), reason }));
            }
        };
        let row = columns.and_then(|columns| {
            let feedback = to_feedback(&columns, &self.names, || place.number.to_string())?;
            Ok(Row { place, feedback, columns, position: self.bytes_read() })
        });
        Some(row.map_err(|problem| RowError { place, problem }.into()))
    }
}

/// The row of one JSON object, as of a table of JSON Lines; `fallback_id` is the feedback's id if the object has none. Line breaks
/// within it are allowed.
///
/// # Errors
/// [`RowProblem`]: it is no object, too long, or has no feedback in it.
pub fn object_row(bytes: &[u8], columns: &ColumnMap, fallback_id: &str) -> Result<Row, RowProblem> {
    if bytes.len() > DEFAULT_MAX_ROW_BYTES {
        return Err(RowProblem::TooLong { limit: DEFAULT_MAX_ROW_BYTES });
    }
    let columns_of_row = object(utf8(bytes, None)?)?;
    let feedback = to_feedback(&columns_of_row, &FieldNames::for_objects(columns), || fallback_id.to_owned())?;
    let place = RowPlace { number: 1, line: 1 };
    Ok(Row { place, feedback, columns: columns_of_row, position: bytes.len() as u64 })
}

fn utf8<'a>(bytes: &'a [u8], column: Option<&String>) -> Result<&'a str, RowProblem> {
    std::str::from_utf8(bytes).map_err(|error| RowProblem::NotUtf8 {
        column: column.cloned(),
        byte: error.valid_up_to() + 1,
        value: bytes.get(error.valid_up_to()).copied().unwrap_or_default(),
    })
}

fn record_columns(records: &Records, header: &[String]) -> Result<Map<String, Value>, RowProblem> {
    if records.count() != header.len() {
        return Err(RowProblem::Ragged { found: records.count(), expected: header.len() });
    }
    header
        .iter()
        .zip(records.fields())
        .map(|(name, field)| Ok((name.clone(), utf8(field, Some(name))?.into())))
        .collect()
}

fn object(line: &str) -> Result<Map<String, Value>, RowProblem> {
    match serde_json::from_str(line) {
        Ok(Value::Object(columns)) => Ok(columns),
        Ok(other) => Err(RowProblem::NotAnObject { found: type_name(&other) }),
        Err(error) => {
            // Each line is a document of its own, so the parser's "line 1" would mislead.
            Err(RowProblem::Json { reason: error.to_string().replace(" at line 1 column ", " at column ") })
        }
    }
}

fn read_header(
    records: &mut Records,
    source: &mut Source,
    table: &str,
    max_row_bytes: usize,
) -> Result<Vec<String>, TableError> {
    let header_error = |problem: String| TableError::Header { table: table.to_owned(), problem };
    let read_error = |reason| TableError::Read { table: table.to_owned(), reason };
    records.skip_blank_lines(source).map_err(read_error)?;
    match records.read(source, max_row_bytes).map_err(read_error)? {
        Record::Whole => {}
        Record::End => return Err(header_error("the table is empty; a header is wanted".to_owned())),
        Record::TooLong => return Err(header_error(format!("the header is longer than {max_row_bytes} bytes"))),
        Record::UnclosedQuote => return Err(header_error(format!("the header: {}", RowProblem::UnclosedQuote))),
    }
    if records.count() > MAX_FIELDS {
        return Err(header_error(format!("{} columns; at most {MAX_FIELDS} are allowed", records.count())));
    }
    let mut header: Vec<String> = Vec::with_capacity(records.count());
    let mut seen = HashSet::with_capacity(records.count());
    for (index, field) in records.fields().enumerate() {
        let name = utf8(field, None).map_err(|problem| header_error(format!("the header: {problem}")))?;
        let name = if name.trim().is_empty() { format!("column_{}", index + 1) } else { name.to_owned() };
        if !seen.insert(name.clone()) {
            return Err(header_error(format!("two columns are named {name:?}; each needs a name of its own")));
        }
        header.push(name);
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor};

    use super::*;
    use crate::feedback::Body;

    fn open(bytes: &[u8], format: Option<InputFormat>) -> Result<TableReader, TableError> {
        let options = ReaderOptions { format, max_row_bytes: 1000, ..ReaderOptions::default() };
        TableReader::from_reader("t", Box::new(Cursor::new(bytes.to_vec())), &options)
    }

    /// Each row as `number:id:text`, or its error.
    fn read(bytes: &[u8], format: Option<InputFormat>) -> Vec<String> {
        let reader = match open(bytes, format) {
            Ok(reader) => reader,
            Err(error) => return vec![error.to_string()],
        };
        reader
            .map(|row| match row {
                Ok(row) => {
                    let Body::Text(text) = &row.feedback.body else { panic!("text") };
                    format!("{}:{}:{text}", row.place.number, row.feedback.id)
                }
                Err(error) => error.to_string(),
            })
            .collect()
    }

    #[test]
    fn rows_and_errors_of_each_format() {
        use InputFormat::{Csv, Jsonl, Lines, Tsv};
        let long = "я".repeat(501);
        type Case = (&'static str, Option<InputFormat>, Vec<u8>, Vec<&'static str>);
        let cases: Vec<Case> = vec![
            ("plain", Some(Csv), b"id,text\n1,a\n2,b\n".to_vec(), vec!["2:1:a", "3:2:b"]),
            ("mark and semicolons", Some(Csv), "\u{feff}текст;id\nда, нет;x\n".into(), vec!["2:x:да, нет"]),
            ("tabs in .csv", Some(Csv), b"id\ttext\r\n1\ta\r\n".to_vec(), vec!["2:1:a"]),
            ("tsv", Some(Tsv), b"text\tn\na,b;c\t1\n".to_vec(), vec!["2:2:a,b;c"]),
            (
                "quotes with line breaks, then a bad row",
                Some(Csv),
                b"text,n\n\"a\nb \"\"c\"\"\",1\n\n,2\nd,3".to_vec(),
                vec!["2:2:a\nb \"c\"", "row 3 (line 5): column \"text\" is empty; a text is wanted", "4:4:d"],
            ),
            (
                "Windows-1251",
                Some(Csv),
                b"text,n\n\xCF\xEB\xEE\xF5\xEE,1\nok \xFF,2\nfine,3\n".to_vec(),
                vec![
                    "row 2: column \"text\", byte 1 (0xCF) is not UTF-8; tables must be UTF-8 (a table in Windows-1251: iconv -f cp1251 -t utf-8)",
                    "row 3: column \"text\", byte 4 (0xFF) is not UTF-8; tables must be UTF-8 (a table in Windows-1251: iconv -f cp1251 -t utf-8)",
                    "4:4:fine",
                ],
            ),
            (
                "ragged",
                Some(Csv),
                b"id,text\n1,a,b\n2\n3,c\n".to_vec(),
                vec!["row 2: 3 fields, the header has 2", "row 3: 1 fields, the header has 2", "4:3:c"],
            ),
            (
                "open quote",
                Some(Csv),
                b"id,text\n1,a\n2,\"b\n3,c\n".to_vec(),
                vec!["2:1:a", "row 3: a quote (\") opened in this row is never closed"],
            ),
            (
                "long",
                Some(Csv),
                format!("id,text\n1,{long}\n2,b\n").into(),
                vec!["row 2: longer than 1000 bytes, the limit of a row", "3:2:b"],
            ),
            ("empty", Some(Csv), b"".to_vec(), vec!["t: the table is empty; a header is wanted"]),
            ("header only", Some(Csv), b"id,text\n".to_vec(), vec![]),
            (
                "same names",
                Some(Csv),
                b"text,a,a\n".to_vec(),
                vec!["t: two columns are named \"a\"; each needs a name of its own"],
            ),
            ("utf-16", Some(Tsv), b"\xFF\xFEt\0e\0".to_vec(), vec!["t: the table is in UTF-16; save it as UTF-8"]),
            (
                "json lines",
                Some(Jsonl),
                b"\xEF\xBB\xBF{\"id\":1,\"text\":\"a\"}\n\n{\"text\":\"b\"}\r\n".to_vec(),
                vec!["1:1:a", "3:3:b"],
            ),
            (
                "bad json",
                Some(Jsonl),
                b"{\"text\":\"a\"\n[1]\n{\"text\":7}\n{\"text\":\"\xCF\"}\n{\"text\":\"b\"}".to_vec(),
                vec![
                    "row 1: not JSON: EOF while parsing an object at column 11",
                    "row 2: a row is a JSON object, found an array",
                    "row 3: field \"text\": a string is wanted, found a number",
                    "row 4: byte 10 (0xCF) is not UTF-8; tables must be UTF-8 (a table in Windows-1251: iconv -f cp1251 -t utf-8)",
                    "5:5:b",
                ],
            ),
            (
                "long json",
                Some(Jsonl),
                format!("{{\"text\":\"{long}\"}}\n{{\"text\":\"b\"}}").into(),
                vec!["row 1: longer than 1000 bytes, the limit of a row", "2:2:b"],
            ),
            ("lines", Some(Lines), "раз, два\r\n\n {три}\n".into(), vec!["1:1:раз, два", "3:3: {три}"]),
            ("sniffed json", None, b"\n {\"text\":\"a\"}\n".to_vec(), vec!["2:2:a"]),
            ("sniffed lines", None, b"id,text\n".to_vec(), vec!["1:1:id,text"]),
            ("no input", None, b"".to_vec(), vec![]),
        ];
        for (case, format, bytes, expected) in cases {
            assert_eq!(read(&bytes, format), expected, "{case}");
        }
    }

    #[test]
    fn columns_keep_their_order_and_unnamed_ones_get_a_name() {
        let mut reader = open("б;;text;а\n1;2;3;4\n".as_bytes(), Some(InputFormat::Csv)).unwrap();
        assert_eq!(reader.header().unwrap(), ["б", "column_2", "text", "а"]);
        assert_eq!(reader.dialect(), Some(Dialect { delimiter: b';', bom: false }));
        let row = reader.next().unwrap().unwrap();
        assert_eq!(serde_json::to_string(&row.columns).unwrap(), r#"{"б":"1","column_2":"2","text":"3","а":"4"}"#);
        assert_eq!(row.position, 20);
    }

    #[test]
    fn a_table_whose_reading_breaks_ends_with_that_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let bytes = Cursor::new(b"first\nsecond\n".to_vec()).chain(Broken);
        let mut reader = TableReader::from_reader("t", Box::new(bytes), &ReaderOptions::default()).unwrap();
        assert!(reader.next().unwrap().is_ok());
        assert!(reader.next().unwrap().is_ok());
        assert_eq!(reader.next().unwrap().unwrap_err().to_string(), "t: the disk is gone");
        assert!(reader.next().is_none());
    }

    #[test]
    fn files_of_unknown_ending_and_missing_files_are_told() {
        let open = |name: &str| {
            TableReader::open(&Input::File(name.into()), &ReaderOptions::default()).map(|_| ()).unwrap_err().to_string()
        };
        assert_eq!(
            open("a.xlsx"),
            "a.xlsx: the ending tells no format; allowed: .csv, .tsv, .jsonl, .ndjson, .txt, each also with .gz or .zst, and .parquet, or name the format"
        );
        assert!(open("no/such.csv").starts_with("no/such.csv: "));
    }
}
