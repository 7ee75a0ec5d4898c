//! Which rows are drawn: by a hash of their place, so that the same rows are drawn each time.

use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::tables::{Input, ReaderOptions, TableError, TableReader};

use super::plan::Plan;

/// The most rows that a sample may have.
const MAX_SAMPLE_ROWS: usize = 10_000_000;

/// How many rows are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sample {
    /// A share of the rows, above 0 and at most 1.
    Share(f64),
    /// So many rows of all files together.
    Rows(usize),
}

/// A text that names no sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no sample; allowed: a share as in 1% (above 0, at most 100%), or a number of rows from 1 to {MAX_SAMPLE_ROWS}"
)]
pub struct UnknownSample(String);

impl FromStr for Sample {
    type Err = UnknownSample;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sample = match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse().ok().map(|percent: f64| Self::Share(percent / 100.0)),
            None => text.parse().ok().map(Self::Rows),
        };
        sample
            .filter(|sample| match sample {
                Self::Share(share) => *share > 0.0 && *share <= 1.0,
                Self::Rows(rows) => (1..=MAX_SAMPLE_ROWS).contains(rows),
            })
            .ok_or_else(|| UnknownSample(text.to_owned()))
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{}%", share * 100.0),
            Self::Rows(rows) => write!(f, "{rows}"),
        }
    }
}

/// Decides for each row whether it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Draw {
    seed: u64,
    /// The highest hash that is drawn.
    highest: u64,
}

impl Draw {
    /// The draw of a sample. For a number of rows all files are read once, so this blocks.
    pub fn new(sample: Option<Sample>, seed: u64, plan: &Plan, reading: &ReaderOptions) -> Self {
        let highest = match sample {
            None => u64::MAX,
            Some(Sample::Share(share)) => (share * u64::MAX as f64) as u64,
            Some(Sample::Rows(rows)) => highest_of(rows, seed, plan, reading),
        };
        Self { seed, highest }
    }

    /// True if the row is drawn.
    pub fn takes(&self, file: &str, row: u64) -> bool {
        self.highest == u64::MAX || hash(self.seed, file, row) <= self.highest
    }
}

fn hash(seed: u64, file: &str, row: u64) -> u64 {
    xxh3_64_with_seed(format!("{file}\0{row}").as_bytes(), seed)
}

/// The highest of the `rows` lowest hashes of all rows.
fn highest_of(rows: usize, seed: u64, plan: &Plan, reading: &ReaderOptions) -> u64 {
    let mut lowest = BinaryHeap::new();
    for file in &plan.files {
        let options = ReaderOptions { format: Some(file.format), ..reading.clone() };
        // What is wrong with a file is told when its turn comes.
        let Ok(reader) = TableReader::open(&Input::File(file.path.clone()), &options) else { continue };
        for row in reader {
            let number = match row {
                Ok(row) => row.place.number,
                Err(TableError::Row(error)) => error.place.number,
                Err(_) => break,
            };
            lowest.push(hash(seed, &file.name, number));
            if lowest.len() > rows {
                lowest.pop();
            }
        }
    }
    if lowest.len() < rows { u64::MAX } else { lowest.peek().copied().unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_shown() {
        assert_eq!("1%".parse(), Ok(Sample::Share(0.01)));
        assert_eq!("1000".parse(), Ok(Sample::Rows(1000)));
        assert_eq!(Sample::Share(0.25).to_string(), "25%");
        for bad in ["0", "0%", "101%", "-1", "x", "", "nan%", "10000001"] {
            assert!(bad.parse::<Sample>().is_err(), "{bad}");
        }
    }

    #[test]
    fn draws_are_the_same_each_time_and_other_for_another_seed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let rows: String = (0..1000).map(|row| format!("word {row}\n")).collect();
        std::fs::write(&path, format!("text\n{rows}")).unwrap();
        let plan = Plan::new(&[path.display().to_string()]).unwrap();
        let drawn = |sample: &str, seed: u64| -> Vec<u64> {
            let draw = Draw::new(Some(sample.parse().unwrap()), seed, &plan, &ReaderOptions::default());
            (2..1002).filter(|&row| draw.takes("a.csv", row)).collect()
        };
        assert_eq!(drawn("100", 1).len(), 100);
        assert_eq!(drawn("100", 1), drawn("100", 1));
        assert_ne!(drawn("100", 1), drawn("100", 2));
        assert_eq!(drawn("5000", 1).len(), 1000);
        assert!((50..200).contains(&drawn("10%", 3).len()));
        assert_eq!(drawn("100%", 3).len(), 1000);
    }
}
