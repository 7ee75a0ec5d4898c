//! What operators did with suggestions: counted for each gesture and topic, kept on disk, and heeded in the ranking.
//!
//! Enters: that a suggested gesture was accepted, edited or rejected. Leaves: counts and a smoothed rate. Never here: who the operator
//! was, what the customer said.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::cases::TenantId;
use crate::database::FileDatabase;
use crate::feedback::named_enum;
use crate::tags::TopicId;

/// Key: tenant, gesture and topic, each behind its length. Value: accepted, edited, rejected.
const USES: TableDefinition<&str, (u64, u64, u64)> = TableDefinition::new("uses");

/// Memory that the file may take for caching, in bytes: what is counted is in memory besides.
const CACHE_BYTES: usize = 4 << 20;

/// How many imagined suggestions the rate of something unseen rests on.
const PRIOR_WEIGHT: f64 = 4.0;

/// The rate of something unseen.
const PRIOR_RATE: f64 = 0.5;

/// An edited suggestion was worth this much of an accepted one.
const EDITED_WORTH: f64 = 0.5;

named_enum! {
    /// What an operator did with a suggestion.
    SuggestionUse {
        /// Took it as it was.
        Accepted = "accepted",
        /// Took it and changed it.
        Edited = "edited",
        /// Did not want it.
        Rejected = "rejected",
    }
}

/// How often a gesture was taken when it was suggested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UseCounts {
    /// As it was.
    pub accepted: u64,
    /// Changed.
    pub edited: u64,
    /// Not at all.
    pub rejected: u64,
}

impl UseCounts {
    /// All suggestions that were told of.
    pub fn total(self) -> u64 {
        self.accepted.saturating_add(self.edited).saturating_add(self.rejected)
    }

    /// The rate at which it is taken, 0 to 1, drawn towards one half while little is known.
    pub fn rate(self) -> f64 {
        let taken = self.accepted as f64 + EDITED_WORTH * self.edited as f64;
        (taken + PRIOR_WEIGHT * PRIOR_RATE) / (self.total() as f64 + PRIOR_WEIGHT)
    }

    fn add(&mut self, other: UseCounts) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.edited = self.edited.saturating_add(other.edited);
        self.rejected = self.rejected.saturating_add(other.rejected);
    }

    fn of(done: SuggestionUse) -> Self {
        match done {
            SuggestionUse::Accepted => Self { accepted: 1, ..Self::default() },
            SuggestionUse::Edited => Self { edited: 1, ..Self::default() },
            SuggestionUse::Rejected => Self { rejected: 1, ..Self::default() },
        }
    }
}

/// Why what operators did can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum UsesError {
    /// The file can't be opened, read or written.
    #[error("{file}: {problem}")]
    Storage {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// There is no room for another pair of gesture and topic.
    #[error("uses of {limit} pairs of gesture and topic are counted already, the most allowed (assist.max_use_pairs)")]
    Full {
        /// The limit from the configuration.
        limit: usize,
    },
}

/// Counts of what operators did with suggestions. Reading is from memory; writing survives a crash once it returned, and blocks.
pub struct SuggestionUses {
    database: Option<FileDatabase>,
    file: String,
    limit: usize,
    counts: Mutex<BTreeMap<String, UseCounts>>,
}

impl SuggestionUses {
    /// Opens the counts in a file, which is made if it is not there; at most `limit` pairs of gesture and topic are counted. Blocks.
    ///
    /// # Errors
    /// [`UsesError::Storage`].
    pub fn open(path: &Path, limit: usize) -> Result<Self, UsesError> {
        let file = path.display().to_string();
        let storage = |problem: String| UsesError::Storage { file: file.clone(), problem };
        let database = FileDatabase::open(path, CACHE_BYTES).map_err(|error| storage(error.to_string()))?;
        let counts = database.with(read_all).map_err(|error| storage(error.to_string()))?;
        Ok(Self { database: Some(database), file, limit, counts: Mutex::new(counts) })
    }

    /// Counts that are gone with the process.
    pub fn in_memory(limit: usize) -> Self {
        Self { database: None, file: String::new(), limit, counts: Mutex::default() }
    }

    /// Counts what was done with a gesture that was suggested for these topics; without topics, for none in particular. Blocks.
    ///
    /// # Errors
    /// [`UsesError::Full`] if it would be one pair too many, [`UsesError::Storage`].
    pub fn record(
        &self,
        tenant: &TenantId,
        gesture_id: &str,
        topics: &[TopicId],
        done: SuggestionUse,
    ) -> Result<(), UsesError> {
        let mut keys: Vec<String> = topics.iter().map(|topic| key(tenant, gesture_id, topic.as_str())).collect();
        if keys.is_empty() {
            keys.push(key(tenant, gesture_id, ""));
        }
        keys.sort();
        keys.dedup();
        // Held while writing, so that what is on disk is what is counted.
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = keys.iter().filter(|key| !counts.contains_key(*key)).count();
        if counts.len().saturating_add(new) > self.limit {
            return Err(UsesError::Full { limit: self.limit });
        }
        let updated: Vec<(String, UseCounts)> = keys
            .into_iter()
            .map(|key| {
                let mut count = counts.get(&key).copied().unwrap_or_default();
                count.add(UseCounts::of(done));
                (key, count)
            })
            .collect();
        if let Some(database) = &self.database {
            database
                .with(|database| write(database, &updated))
                .map_err(|error| UsesError::Storage { file: self.file.clone(), problem: error.to_string() })?;
        }
        counts.extend(updated);
        Ok(())
    }

    /// What was done with a gesture for any of these topics; without topics, for none in particular.
    pub fn counts(&self, tenant: &TenantId, gesture_id: &str, topics: &[&TopicId]) -> UseCounts {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = UseCounts::default();
        let mut add = |topic: &str| {
            if let Some(count) = counts.get(&key(tenant, gesture_id, topic)) {
                sum.add(*count);
            }
        };
        topics.iter().for_each(|topic| add(topic.as_str()));
        if topics.is_empty() {
            add("");
        }
        sum
    }
}

fn key(tenant: &TenantId, gesture_id: &str, topic: &str) -> String {
    let tenant = tenant.as_str();
    format!("{}:{tenant}{}:{gesture_id}{topic}", tenant.len(), gesture_id.len())
}

fn read_all(database: &Database) -> Result<BTreeMap<String, UseCounts>, redb::Error> {
    let writing = database.begin_write()?;
    writing.open_table(USES)?;
    writing.commit()?;
    let reading = database.begin_read()?;
    let table = reading.open_table(USES)?;
    let mut counts = BTreeMap::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (accepted, edited, rejected) = value.value();
        counts.insert(key.value().to_owned(), UseCounts { accepted, edited, rejected });
    }
    Ok(counts)
}

fn write(database: &Database, updated: &[(String, UseCounts)]) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    {
        let mut table = writing.open_table(USES)?;
        for (key, UseCounts { accepted, edited, rejected }) in updated {
            table.insert(key.as_str(), (*accepted, *edited, *rejected))?;
        }
    }
    writing.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_by_gesture_and_topic_and_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("assist").join("uses.redb");
        let (tenant, cards) = (TenantId::default(), TopicId::new("cards"));
        let uses = SuggestionUses::open(&path, 10).unwrap();
        for done in [SuggestionUse::Accepted, SuggestionUse::Accepted, SuggestionUse::Edited, SuggestionUse::Rejected] {
            uses.record(&tenant, "refund", std::slice::from_ref(&cards), done).unwrap();
        }
        uses.record(&tenant, "refund", &[], SuggestionUse::Rejected).unwrap();
        drop(uses);
        let uses = SuggestionUses::open(&path, 10).unwrap();
        let counts = uses.counts(&tenant, "refund", &[&cards]);
        assert_eq!(counts, UseCounts { accepted: 2, edited: 1, rejected: 1 });
        assert_eq!(uses.counts(&tenant, "refund", &[]).rejected, 1);
        assert_eq!(uses.counts(&TenantId::new("other"), "refund", &[&cards]).total(), 0);
        assert!((counts.rate() - (2.5 + 2.0) / 8.0).abs() < 1e-9);
        assert!((UseCounts::default().rate() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn pairs_are_bounded_and_known_ones_go_on() {
        let uses = SuggestionUses::in_memory(1);
        let tenant = TenantId::default();
        uses.record(&tenant, "a", &[], SuggestionUse::Accepted).unwrap();
        let refused = uses.record(&tenant, "b", &[], SuggestionUse::Accepted).unwrap_err();
        assert!(refused.to_string().contains("assist.max_use_pairs"), "{refused}");
        uses.record(&tenant, "a", &[], SuggestionUse::Accepted).unwrap();
        assert_eq!(uses.counts(&tenant, "a", &[]).accepted, 2);
    }
}
