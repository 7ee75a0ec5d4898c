//! What is wrong with a taxonomy file: every problem at once, each with its line and key.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::Serialize;

/// At most this many problems are kept; the rest are counted.
const MAX_PROBLEMS: usize = 1_000;

/// Why a taxonomy can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TaxonomyError {
    /// The file can't be read.
    #[error("{}: {problem}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// The content is at fault; printed as one line a problem.
    #[error("{0}")]
    Invalid(Problems),
}

impl TaxonomyError {
    /// Every problem found in the content, in order of line; empty if the file could not be read at all.
    pub fn problems(&self) -> &[Problem] {
        match self {
            TaxonomyError::Read { .. } => &[],
            TaxonomyError::Invalid(problems) => &problems.list,
        }
    }
}

/// One thing that is wrong in a taxonomy file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in characters, from 1; given where the TOML syntax itself is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Path of the key, as in `topics[3].parent` (entries count from 0); empty where the TOML syntax itself is broken.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// Where in the file something stands: byte offset and key path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub offset: usize,
    pub key: String,
}

/// The problems of one file, gathered while it is read and checked.
#[derive(Debug, Clone)]
pub struct Problems {
    file: String,
    line_ends: Vec<usize>,
    list: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    pub(crate) fn new(source: &str, file: &str) -> Self {
        let line_ends = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { file: file.to_owned(), line_ends, list: Vec::new(), left_out: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn report(&mut self, place: &Place, message: impl Into<String>) {
        self.report_lazily(place, || message.into());
    }

    /// Like `report`, for messages that cost something: they are not made once the list is full.
    pub(crate) fn report_lazily(&mut self, place: &Place, message: impl FnOnce() -> String) {
        if self.list.len() >= MAX_PROBLEMS {
            self.left_out += 1;
            return;
        }
        let line = self.line_of(place.offset);
        self.list.push(Problem { line, column: None, key: place.key.clone(), message: message() });
    }

    /// A broken place in the TOML itself. A parser that goes on after an error stumbles over the same line again: only the first
    /// complaint about a line is kept.
    pub(crate) fn report_syntax(&mut self, source: &str, span: Option<Range<usize>>, message: &str) {
        let mut offset = span.map_or(source.len(), |span| span.start).min(source.len());
        while !source.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line_of(offset);
        if self.list.len() >= MAX_PROBLEMS || self.list.iter().any(|problem| problem.line == line) {
            return;
        }
        let before = source.get(..offset).unwrap_or_default();
        let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
        let message = message.to_owned();
        self.list.push(Problem { line, column: Some(column), key: String::new(), message });
    }

    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.line_ends.partition_point(|end| *end < offset) + 1
    }

    /// The problems themselves, as they were gathered.
    pub(crate) fn list(&self) -> &[Problem] {
        &self.list
    }

    /// The problems in order of line.
    pub(crate) fn in_order(mut self) -> Self {
        self.list.sort();
        self
    }

    /// The error that lists them, in order of line.
    pub(crate) fn into_error(self) -> TaxonomyError {
        TaxonomyError::Invalid(self.in_order())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}", self.file, problem.line)?;
            if let Some(column) = problem.column {
                write!(f, ":{column}")?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", problem.key)?;
            }
            write!(f, ": {}", problem.message)?;
        }
        if self.left_out > 0 {
            write!(f, "\n{}: {} more problems are not shown", self.file, self.left_out)?;
        }
        Ok(())
    }
}

/// `; did you mean "money"?` if one of the candidates is close to what was given, else nothing.
pub(crate) fn did_you_mean<'c>(given: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    const ENOUGH: f64 = 0.8;
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let likeness = strsim::jaro_winkler(given, candidate);
        if likeness >= ENOUGH && best.is_none_or(|(top, _)| likeness > top) {
            best = Some((likeness, candidate));
        }
    }
    best.map_or_else(String::new, |(_, candidate)| format!("; did you mean {candidate:?}?"))
}
