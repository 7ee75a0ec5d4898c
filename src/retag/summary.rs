//! What a run counts, and what it tells while it goes on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::earlier::MainTags;

/// What was done with rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Rows read (of a sample: drawn): the tagged and the failed.
    pub rows_read: u64,
    /// Rows with new tags.
    pub tagged: u64,
    /// Rows whose topics, team, sentiment or signals are not those of an earlier run.
    pub changed: u64,
    /// Rows whose tags are those of an earlier run.
    pub unchanged: u64,
    /// Tagged rows that were given no topic.
    pub abstained: u64,
    /// Rows that could not be tagged; the file of errors says why.
    pub failed: u64,
    /// Rows by their first topic.
    pub topics: BTreeMap<String, u64>,
}

impl Counts {
    pub(super) fn count(&mut self, earlier: Option<&MainTags>, now: &MainTags) {
        self.rows_read += 1;
        self.tagged += 1;
        match earlier.map(|earlier| earlier.same_as(now)) {
            Some(true) => self.unchanged += 1,
            Some(false) => self.changed += 1,
            None => {}
        }
        match now.topic() {
            Some(topic) => *self.topics.entry(topic.to_owned()).or_default() += 1,
            None => self.abstained += 1,
        }
    }

    pub(super) fn count_failed(&mut self) {
        self.rows_read += 1;
        self.failed += 1;
    }

    /// Adds what others counted.
    pub fn add(&mut self, other: &Self) {
        self.rows_read += other.rows_read;
        self.tagged += other.tagged;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.abstained += other.abstained;
        self.failed += other.failed;
        for (topic, rows) in &other.topics {
            *self.topics.entry(topic.clone()).or_default() += rows;
        }
    }

    /// Topics by their rows, the most frequent first.
    pub fn top_topics(&self) -> Vec<(&str, u64)> {
        let mut topics: Vec<_> = self.topics.iter().map(|(topic, rows)| (topic.as_str(), *rows)).collect();
        topics.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
        topics
    }
}

/// A file that could not be read, and was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadFile {
    /// The file, by its name in the run.
    pub name: String,
    /// Why it can't be read.
    pub reason: String,
}

/// What a run did when it ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// All rows, with those that an earlier start of the run had done.
    pub counts: Counts,
    /// Rows that this start tagged or found bad.
    pub rows_now: u64,
    /// Files whose output is whole.
    pub files: usize,
    /// Files that were passed over.
    pub bad_files: Vec<BadFile>,
}

/// Is told how far a run or a preview is.
pub trait Watch: Send {
    /// So many bytes of all inputs are done; `counts` of all rows until now.
    fn advanced(&mut self, file: &str, bytes: u64, counts: &Counts);

    /// A file is passed over.
    fn passed_over(&mut self, file: &BadFile);
    /// Something that a person should know while the run goes on.
    fn told(&mut self, line: &str) {
        tracing::warn!(line, "of the run");
    }
}
