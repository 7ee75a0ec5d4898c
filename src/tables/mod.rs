//! Tables of feedback: rows of a file or a pipe in, tagged rows out.
//!
//! Enters: CSV, TSV, JSON Lines, plain lines and Parquet, read one row at a time in bounded memory, compressed or not. Leaves: [`Row`]s with their
//! [`Feedback`](crate::feedback::Feedback) and their original columns, or a [`RowError`] that says where the row stands and
//! what is wrong with it; and, the other way, tagged rows as JSON Lines, CSV, TSV or Parquet. A bad row never ends the
//! reading by itself: the caller decides. Never here: tagging, terminals, async.

mod column_types;
mod columns;
mod compression;
mod convert;
mod delimited;
mod flat;
mod output;
mod parquet_rows;
mod parquet_source;
mod preparation;
mod reader;
mod source;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::feedback::named_enum;

use compression::Compression;

pub use column_types::ColumnTypes;
pub use columns::{ColumnChoice, ColumnMap, TEXT_NAMES};
pub use flat::FLAT_COLUMNS;
pub use output::Destination;
pub use parquet_source::parquet_row_count;
pub use preparation::{Preparation, SplitTurns};
pub use reader::{Dialect, Input, ReaderOptions, Row, TableReader, object_row};
pub use writer::{TAGS_COLUMN, TableWriter, WriterOptions};

/// The most bytes that one row (one line, or one CSV record with its line breaks) may have unless told otherwise: 8 MiB.
pub const DEFAULT_MAX_ROW_BYTES: usize = 8 * 1024 * 1024;

named_enum! {
    /// A format that tables are read from.
    InputFormat {
        /// Comma-separated values (RFC 4180) with a header; the delimiter may also be a semicolon or a tab.
        Csv = "csv",
        /// Tab-separated values with a header.
        Tsv = "tsv",
        /// One JSON object a line.
        Jsonl = "jsonl",
        /// One text a line.
        Lines = "lines",
        /// Parquet.
        Parquet = "parquet",
    }
}

named_enum! {
    /// A format that tagged tables are written in.
    OutputFormat {
        /// One JSON object a line: the original columns and an object of all tags.
        Jsonl = "jsonl",
        /// Comma-separated values: the original columns and flat columns of tags.
        Csv = "csv",
        /// Tab-separated values: the same columns as CSV.
        Tsv = "tsv",
        /// Parquet: typed columns of tags behind the original ones, which keep their types if they come of Parquet and are strings if not.
        Parquet = "parquet",
    }
}

/// The ending that tells the format, in lower case; what compresses the whole file is taken off first.
fn lower_ending(path: &Path) -> Option<String> {
    let uncompressed = Compression::of_path(path);
    let name = uncompressed.as_ref().map_or(path, |(_, name)| name);
    let ending = name.extension()?.to_str()?.to_ascii_lowercase();
    // A Parquet file is compressed inside and read from its end.
    (uncompressed.is_none() || ending != "parquet").then_some(ending)
}

impl InputFormat {
    /// The format that the name's ending tells: `.csv`, `.tsv` or `.tab`, `.jsonl` or `.ndjson`, `.txt`, each also
    /// with `.gz` or `.zst` behind it, and `.parquet`.
    pub fn of_path(path: &Path) -> Option<Self> {
        match lower_ending(path)?.as_str() {
            "csv" => Some(Self::Csv),
            "tsv" | "tab" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "txt" => Some(Self::Lines),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

impl OutputFormat {
    /// The format that the name's ending tells: `.jsonl` or `.ndjson`, `.csv`, `.tsv` or `.tab`, each also with `.gz` or
    /// `.zst` behind it, and `.parquet`.
    pub fn of_path(path: &Path) -> Option<Self> {
        match lower_ending(path)?.as_str() {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            "tsv" | "tab" => Some(Self::Tsv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Where a row stands in its table, as a person would look for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPlace {
    /// Row number from 1; the header of a CSV or TSV table is row 1, as in a spreadsheet.
    pub number: u64,
    /// The line that the row begins on, from 1; it differs from `number` after blank lines and line breaks inside quotes.
    pub line: u64,
}

impl fmt::Display for RowPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}", self.number)?;
        if self.line != self.number { write!(f, " (line {})", self.line) } else { Ok(()) }
    }
}

/// A row that could not be read; the rows after it still can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct RowError {
    /// Where the row stands.
    pub place: RowPlace,
    /// What is wrong with it.
    pub problem: RowProblem,
}

/// What can be wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowProblem {
    /// Bytes that are not UTF-8.
    #[error(
        "{}byte {byte} (0x{value:02X}) is not UTF-8; tables must be UTF-8 (a table in Windows-1251: iconv -f cp1251 -t utf-8)",
        column.as_ref().map(|name| format!("column {name:?}, ")).unwrap_or_default()
    )]
    NotUtf8 {
        /// The column, where columns are told apart.
        column: Option<String>,
        /// The first bad byte, from 1, within the column's value or else within the line.
        byte: usize,
        /// Its value.
        value: u8,
    },
    /// More or fewer fields than the header has.
    #[error("{found} fields, the header has {expected}")]
    Ragged {
        /// Fields in the row.
        found: usize,
        /// Fields in the header.
        expected: usize,
    },
    /// No text, or only spaces.
    #[error("column {column:?} is empty; a text is wanted")]
    EmptyText {
        /// The column.
        column: String,
    },
    /// The row is larger than the limit.
    #[error("longer than {limit} bytes, the limit of a row")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The table ends inside a quoted field.
    #[error("a quote (\") opened in this row is never closed")]
    UnclosedQuote,
    /// Not JSON at all.
    #[error("not JSON: {reason}")]
    Json {
        /// What the parser says, with the column in the line.
        reason: String,
    },
    /// JSON, but not an object.
    #[error("a row is a JSON object, found {found}")]
    NotAnObject {
        /// What stands there.
        found: &'static str,
    },
    /// A value of the wrong JSON type.
    #[error("field {field:?}: {wanted} is wanted, found {found}")]
    WrongType {
        /// Path of the field, as in `turns[2].speaker`.
        field: String,
        /// What is allowed.
        wanted: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A value that is not allowed.
    #[error("field {field:?}: {problem}")]
    BadValue {
        /// Path of the field.
        field: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// No field of the row holds a text.
    #[error("no text: looked for {}; the row has {}", wanted.join(", "), listed(found))]
    NoText {
        /// Fields that were looked for.
        wanted: Vec<String>,
        /// Fields of the row.
        found: Vec<String>,
    },
    /// Several fields could be the text.
    #[error("{} could each be the text; name one with the text column", found.join(", "))]
    SeveralTexts {
        /// The candidates.
        found: Vec<String>,
    },
    /// Both a text and turns.
    #[error(
        "both a text ({text:?}) and \"turns\"; one of them is wanted (naming the text column leaves the turns aside)"
    )]
    TextAndTurns {
        /// The text's field.
        text: String,
    },
}

/// Why a table cannot be read or written on.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// One row is bad; reading can go on.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The table cannot be opened or read.
    #[error("{table}: {reason}")]
    Read {
        /// The table's name.
        table: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The output cannot be created or written.
    #[error("{table}: {reason}")]
    Write {
        /// The output's name.
        table: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The name's ending tells no format.
    #[error("{}: the ending tells no format; allowed: {allowed}, or name the format", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Endings that are known.
        allowed: &'static str,
    },
    /// The table is in UTF-16.
    #[error("{table}: the table is in UTF-16; save it as UTF-8")]
    Utf16 {
        /// The table's name.
        table: String,
    },
    /// The header cannot be used.
    #[error("{table}: {problem}")]
    Header {
        /// The table's name.
        table: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// The input has a column of a name that the tags need.
    #[error("{}the input has a column {column:?} of its own; give the tags' columns a prefix", place.map(|place| format!("{place}: ")).unwrap_or_default())]
    ColumnTaken {
        /// The row, where rows have columns of their own.
        place: Option<RowPlace>,
        /// The column.
        column: String,
    },
    /// The output is the input.
    #[error("{}: the output is the input; give it another name", path.display())]
    SameFile {
        /// The file.
        path: PathBuf,
    },
}

impl TableError {
    /// True if the reader of our output has gone away.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write { reason, .. } if reason.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// The most columns, and the most characters of each, that a message shows: a header may be a whole row of data.
const LISTED_COLUMNS: usize = 30;
const LISTED_CHARS: usize = 40;

/// Column names for a message.
fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "no columns".to_owned();
    }
    let mut text = names
        .iter()
        .take(LISTED_COLUMNS)
        .map(|name| match name.char_indices().nth(LISTED_CHARS) {
            Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
            None => name.clone(),
        })
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > LISTED_COLUMNS {
        text.push_str(&format!(" and {} more", names.len() - LISTED_COLUMNS));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_formats() {
        let input = |name: &str| InputFormat::of_path(Path::new(name));
        let output = |name: &str| OutputFormat::of_path(Path::new(name));
        assert_eq!(input("a.CSV"), Some(InputFormat::Csv));
        assert_eq!(input("b/a.ndjson"), Some(InputFormat::Jsonl));
        assert_eq!(input("a.txt"), Some(InputFormat::Lines));
        assert_eq!(input("a.tsv"), Some(InputFormat::Tsv));
        assert_eq!(input("a.csv.gz"), Some(InputFormat::Csv));
        assert_eq!(input("a.JSONL.ZST"), Some(InputFormat::Jsonl));
        assert_eq!(input("a.parquet"), Some(InputFormat::Parquet));
        assert_eq!((input("a.parquet.gz"), output("a.parquet.zst"), input("a.gz")), (None, None, None));
        assert_eq!(output("a.tsv.gz"), Some(OutputFormat::Tsv));
        assert_eq!(input("a.xlsx"), None);
        assert_eq!(input("csv"), None);
        assert_eq!(output("a.parquet"), Some(OutputFormat::Parquet));
        assert_eq!(output("a.txt"), None);
    }

    #[test]
    fn long_headers_are_listed_in_short() {
        assert_eq!(listed(&[]), "no columns");
        assert_eq!(listed(&["id".to_owned(), "текст".to_owned()]), "id, текст");
        let many: Vec<String> = (0..35).map(|number| format!("c{number}")).collect();
        assert!(listed(&many).ends_with("c29 and 5 more"));
        assert_eq!(listed(&["щ".repeat(50)]), format!("{}…", "щ".repeat(40)));
    }
}
