//! The journal in front of the engine: what was acknowledged and is not yet flushed.
//!
//! The engine does not replay its own log after a crash, so every write goes here first, with fsync, and is replayed when the
//! store is opened. A flush of the engine makes the journal's content redundant, and then it is cut.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError};

const CHANGES: TableDefinition<u64, &[u8]> = TableDefinition::new("changes");

/// Memory that the journal may use for caching, in bytes; it is written in order and read once.
const CACHE_BYTES: usize = 8 << 20;

/// The journal can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct JournalFault(String);

impl JournalFault {
    /// The journal is not open.
    pub(super) fn closed() -> Self {
        Self("it is not open".to_owned())
    }

    /// The journal's database panicked.
    pub(super) fn panicked() -> Self {
        Self("its database panicked; the file is probably damaged".to_owned())
    }
}

impl From<redb::Error> for JournalFault {
    fn from(error: redb::Error) -> Self {
        Self(error.to_string())
    }
}

/// Records in the order in which they were acknowledged.
pub(super) struct Journal {
    database: Database,
    next: u64,
    bytes: u64,
}

impl Journal {
    /// Makes an empty journal.
    pub(super) fn create(path: &Path) -> Result<Self, JournalFault> {
        let database = builder().create(path).map_err(redb::Error::from)?;
        Ok(Self { database, next: 0, bytes: 0 })
    }

    /// Opens a journal that exists; a damaged one is an error.
    pub(super) fn open(path: &Path) -> Result<Self, JournalFault> {
        // The file may be damaged in ways that the database did not foresee.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let database = builder().open(path).map_err(redb::Error::from)?;
            let mut journal = Self { database, next: 0, bytes: 0 };
            let (mut next, mut bytes) = (0, 0);
            journal.for_each(|sequence, record| {
                next = sequence + 1;
                bytes += record.len() as u64;
                Ok::<_, JournalFault>(())
            })?;
            (journal.next, journal.bytes) = (next, bytes);
            Ok(journal)
        }));
        opened.unwrap_or_else(|_| Err(JournalFault::panicked()))
    }

    /// Adds records in one transaction. When this returns, they survive a crash.
    pub(super) fn append(&mut self, records: &[Vec<u8>]) -> Result<(), JournalFault> {
        self.insert(records)?;
        self.next += records.len() as u64;
        self.bytes += records.iter().map(|record| record.len() as u64).sum::<u64>();
        Ok(())
    }

    fn insert(&self, records: &[Vec<u8>]) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut changes = transaction.open_table(CHANGES)?;
            for (sequence, record) in (self.next..).zip(records) {
                changes.insert(sequence, record.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Shows every record, oldest first, until one is refused.
    pub(super) fn for_each<E: From<JournalFault>>(
        &self,
        mut show: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let fault = |error: redb::Error| E::from(JournalFault::from(error));
        let transaction = self.database.begin_read().map_err(|error| fault(error.into()))?;
        let changes = match transaction.open_table(CHANGES) {
            Ok(changes) => changes,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(fault(error.into())),
        };
        for entry in changes.iter().map_err(|error| fault(error.into()))? {
            let (sequence, record) = entry.map_err(|error| fault(error.into()))?;
            show(sequence.value(), record.value())?;
        }
        Ok(())
    }

    /// Forgets every record: the engine has them on disk.
    pub(super) fn cut(&mut self) -> Result<(), JournalFault> {
        self.remove_all()?;
        (self.next, self.bytes) = (0, 0);
        Ok(())
    }

    fn remove_all(&self) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.delete_table(CHANGES)?;
        Ok(transaction.commit()?)
    }

    /// True if there is nothing to replay.
    pub(super) fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Total length of the records, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(journal: &Journal) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let show = |_, record: &[u8]| {
            records.push(record.to_vec());
            Ok::<_, JournalFault>(())
        };
        journal.for_each(show).unwrap();
        records
    }

    #[test]
    fn records_come_back_in_order_and_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let mut journal = Journal::create(&path).unwrap();
        assert!(journal.is_empty());
        journal.append(&[b"one".to_vec(), b"two".to_vec()]).unwrap();
        drop(journal);

        let mut journal = Journal::open(&path).unwrap();
        journal.append(&[b"three".to_vec()]).unwrap();
        assert_eq!(records(&journal), [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        assert_eq!((journal.is_empty(), journal.bytes()), (false, 11));
        journal.cut().unwrap();
        assert_eq!(records(&journal), Vec::<Vec<u8>>::new());
        drop(journal);

        let journal = Journal::open(&path).unwrap();
        assert!(journal.is_empty());
    }

    #[test]
    fn a_journal_that_is_missing_empty_cut_short_or_overwritten_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        assert!(Journal::open(&path).is_err());
        let mut journal = Journal::create(&path).unwrap();
        journal.append(&[vec![7; 100_000]]).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for len in [0, 1, 100, 4_096, whole.len() / 2, whole.len() - 4_096] {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(Journal::open(&path).is_err(), "{len} of {} bytes", whole.len());
        }
        std::fs::write(&path, vec![0x5a; whole.len()]).unwrap();
        assert!(Journal::open(&path).is_err());
    }
}
