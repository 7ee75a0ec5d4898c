//! Tables of feedback, read and prepared as `classify` and `retag` do.
//!
//! The first byte chooses: its remainder by 5 the format (CSV, TSV, JSON Lines, plain lines, told by the content), and whether it is a
//! capital letter a limit of 64 bytes a row.

use std::io::Read;

use otklik::feedback::{Body, Feedback};
use otklik::tables::{
    ColumnMap, InputFormat, Preparation, ReaderOptions, RowPlace, TableError, TableReader, object_row,
};
use otklik::text::parse_transcript;
use serde_json::{Map, Value};

/// What a row said, or what was wrong with it.
type Seen = Result<(RowPlace, Feedback, Map<String, Value>, u64), String>;

/// Reads the bytes behind the first as a table. True if there was a row.
pub fn run(bytes: &[u8]) -> bool {
    let Some((choice, table)) = bytes.split_first() else { return false };
    let format = match choice % 5 {
        0 => Some(InputFormat::Csv),
        1 => Some(InputFormat::Tsv),
        2 => Some(InputFormat::Jsonl),
        3 => Some(InputFormat::Lines),
        _ => None,
    };
    let max_row_bytes = if choice.is_ascii_uppercase() { 64 } else { 4096 };
    let options = ReaderOptions { format, columns: ColumnMap::default(), max_row_bytes };
    let rows = read(table.to_vec(), 1 << 16, &options);
    for pieces in [1, 7] {
        let again = read(table.to_vec(), pieces, &options);
        assert_eq!(rows, again, "a table is the same in whatever pieces it comes");
    }
    let mut last = None;
    for (place, mut feedback, columns, position) in rows.into_iter().flatten().flatten() {
        assert!(last < Some((place.number, position)), "rows follow one another");
        assert!(position <= table.len() as u64, "no row ends behind the table");
        last = Some((place.number, position));
        check_text(&feedback.body);
        printed(&columns, &feedback, format);
        let preparation = Preparation {
            kind: None,
            channel: None,
            product: None,
            partner: None,
            transcript: false,
            split_turns: parse_transcript,
        };
        preparation.apply(&mut feedback).expect("only what must be a conversation can fail to be one");
        check_text(&feedback.body);
    }
    last.is_some()
}

fn read(table: Vec<u8>, pieces: usize, options: &ReaderOptions) -> Result<Vec<Seen>, String> {
    let reader = Box::new(Pieces { table, position: 0, pieces });
    let rows = TableReader::from_reader("fuzzed", reader, options).map_err(|error| error.to_string())?;
    Ok(rows
        .map(|row| match row {
            Ok(row) => Ok((row.place, row.feedback, row.columns, row.position)),
            Err(error) => {
                assert!(matches!(error, TableError::Row(_)), "memory is read without errors: {error}");
                Err(error.to_string())
            }
        })
        .collect())
}

fn check_text(body: &Body) {
    match body {
        Body::Text(text) => assert!(!text.trim().is_empty(), "a row has a text"),
        Body::Turns(turns) => assert!(!turns.is_empty(), "a conversation has turns"),
    }
}

/// What was read of JSON, printed as JSON, says the same again.
fn printed(columns: &Map<String, Value>, feedback: &Feedback, format: Option<InputFormat>) {
    if format != Some(InputFormat::Jsonl) {
        return;
    }
    let json = Value::Object(columns.clone()).to_string();
    let again = object_row(json.as_bytes(), &ColumnMap::default(), &feedback.id);
    let again = again.expect("a row that was read can be printed and read").feedback;
    assert_eq!((&again.id, &again.body, again.kind), (&feedback.id, &feedback.body, feedback.kind));
}

/// Bytes that come a few at a time, as from a slow pipe.
struct Pieces {
    table: Vec<u8>,
    position: usize,
    pieces: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.table.get(self.position..).unwrap_or_default();
        let count = left.len().min(self.pieces).min(buffer.len());
        buffer.iter_mut().zip(left).take(count).for_each(|(into, byte)| *into = *byte);
        self.position += count;
        Ok(count)
    }
}
