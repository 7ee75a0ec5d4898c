//! The jobs on disk: a record each, written whole in one transaction.

use std::path::Path;

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::job::Record;
use super::jobs::JobsError;
use crate::database::FileDatabase;

/// Key: id of the job. Value: its record as JSON.
const JOBS: TableDefinition<&str, &[u8]> = TableDefinition::new("jobs");

/// The file in the folder of jobs.
const FILE: &str = "jobs.redb";

/// Memory that the file may take for caching, in bytes: jobs are few.
const CACHE_BYTES: usize = 4 << 20;

/// The jobs of a folder.
pub(super) struct Journal {
    database: FileDatabase,
    file: String,
}

impl Journal {
    /// Opens the journal of a folder, which is made if it is not there, and says what is in it, oldest first. Blocks.
    pub fn open(folder: &Path) -> Result<(Self, Vec<Record>), JobsError> {
        let path = folder.join(FILE);
        let file = path.display().to_string();
        let fault = |problem: String| JobsError::Journal { file: file.clone(), problem };
        let database = FileDatabase::open(&path, CACHE_BYTES).map_err(|error| fault(error.to_string()))?;
        let journal = Self { database, file: file.clone() };
        let records = journal.read().map_err(fault)?;
        Ok((journal, records))
    }

    fn read(&self) -> Result<Vec<Record>, String> {
        let all = self.database.with(|database| {
            let transaction = database.begin_read()?;
            let table = match transaction.open_table(JOBS) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let entries = table.iter()?.map(|entry| {
                let (id, json) = entry?;
                Ok((id.value().to_owned(), json.value().to_vec()))
            });
            entries.collect::<Result<Vec<_>, redb::Error>>()
        });
        let all = all.map_err(|error| error.to_string())?;
        let read = |(id, json): (String, Vec<u8>)| {
            serde_json::from_slice(&json).map_err(|error| format!("the job {id} can't be read: {error}"))
        };
        all.into_iter().map(read).collect()
    }

    /// Keeps a record in the place of what was known of its job. When this returns, it survives a crash. Blocks.
    pub fn keep(&self, record: &Record) -> Result<(), JobsError> {
        let json = serde_json::to_vec(record).map_err(|error| self.fault(&error))?;
        let written = self.database.with(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(JOBS)?.insert(record.job.id.as_str(), json.as_slice())?;
            Ok(transaction.commit()?)
        });
        written.map_err(|error| self.fault(&error))
    }

    /// Forgets jobs. Blocks.
    pub fn forget(&self, ids: &[String]) -> Result<(), JobsError> {
        let written = self.database.with(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(JOBS)?;
                for id in ids {
                    table.remove(id.as_str())?;
                }
            }
            Ok(transaction.commit()?)
        });
        written.map_err(|error| self.fault(&error))
    }

    fn fault(&self, problem: &dyn std::fmt::Display) -> JobsError {
        JobsError::Journal { file: self.file.clone(), problem: problem.to_string() }
    }
}
