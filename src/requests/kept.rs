//! Answers on disk: the newest, for so long.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{Hash, StorageError};
use crate::database::FileDatabase;

/// When a call was answered (in microseconds), the hash of what it asked, and the answer.
type Answered = (i64, &'static [u8; 32], &'static [u8]);

/// Key: hash of a call's name.
const ANSWERS: TableDefinition<&[u8; 32], Answered> = TableDefinition::new("answers");

/// Key: when (in microseconds) which call was answered.
const ORDER: TableDefinition<(i64, &[u8; 32]), ()> = TableDefinition::new("order");

/// Old ones that one write forgets at most: more than it adds, so that they grow fewer.
const FORGOTTEN_AT_ONCE: usize = 64;

/// Memory that the file may take for caching, in bytes: answers are written once and seldom read.
const CACHE_BYTES: usize = 16 << 20;

/// How many answers are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptLimits {
    /// At most so many.
    pub most: u64,
    /// For so long.
    pub time: SignedDuration,
}

/// The file.
pub(super) struct Kept {
    database: FileDatabase,
    file: String,
    limits: KeptLimits,
    /// How many there are, for those who must not wait for the file.
    count: AtomicU64,
}

impl Kept {
    pub fn open(path: &Path, limits: KeptLimits) -> Result<Self, StorageError> {
        let file = path.display().to_string();
        let fault = |problem: String| StorageError { file: file.clone(), problem };
        let database = FileDatabase::open(path, CACHE_BYTES).map_err(|error| fault(error.to_string()))?;
        let make = || {
            database.with(|database| {
                let transaction = database.begin_write()?;
                let count = transaction.open_table(ANSWERS)?.len()?;
                transaction.open_table(ORDER)?;
                transaction.commit()?;
                Ok(count)
            })
        };
        let count = make().map_err(|error| fault(error.to_string()))?.into();
        Ok(Self { database, file, limits, count })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// What a call asked, as a hash, and its answer.
    pub fn get(&self, key: &Hash) -> Result<Option<(Hash, Vec<u8>)>, StorageError> {
        let found = self.database.with(|database| {
            let answers = database.begin_read()?.open_table(ANSWERS)?;
            let found = answers.get(key)?;
            Ok(found.map(|found| {
                let (_, fingerprint, answer) = found.value();
                (*fingerprint, answer.to_vec())
            }))
        });
        found.map_err(|error| self.fault(&error))
    }

    /// Keeps an answer. When this returns, it survives a crash.
    pub fn put(&self, key: &Hash, fingerprint: &Hash, answer: &[u8], now: Timestamp) -> Result<(), StorageError> {
        let count = self.database.with(|database| {
            let transaction = database.begin_write()?;
            let count = {
                let mut answers = transaction.open_table(ANSWERS)?;
                let mut order = transaction.open_table(ORDER)?;
                let at = now.as_microsecond();
                if let Some(before) = answers.insert(key, (at, fingerprint, answer))? {
                    order.remove((before.value().0, key))?;
                }
                order.insert((at, key), ())?;
                let oldest = now.saturating_sub(self.limits.time).map_or(i64::MIN, Timestamp::as_microsecond);
                for _ in 0..FORGOTTEN_AT_ONCE {
                    let is_over = answers.len()? > self.limits.most;
                    let first = order.first()?.map(|(first, _)| {
                        let (at, key) = first.value();
                        (at, *key)
                    });
                    let Some((at, key)) = first.filter(|(at, _)| is_over || *at < oldest) else { break };
                    order.remove((at, &key))?;
                    answers.remove(&key)?;
                }
                answers.len()?
            };
            transaction.commit()?;
            Ok(count)
        });
        let count = count.map_err(|error| self.fault(&error))?;
        self.count.store(count, Ordering::Relaxed);
        Ok(())
    }

    pub fn fault(&self, problem: &dyn std::fmt::Display) -> StorageError {
        StorageError { file: self.file.clone(), problem: problem.to_string() }
    }
}
