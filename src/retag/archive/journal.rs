//! The jobs on disk: a record each, written whole in one transaction.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::job::Record;
use super::jobs::JobsError;

/// Key: id of the job. Value: its record as JSON.
const JOBS: TableDefinition<&str, &[u8]> = TableDefinition::new("jobs");

/// The file in the folder of jobs.
const FILE: &str = "jobs.redb";

/// The jobs of a folder.
pub(super) struct Journal {
    database: Database,
    file: String,
}

impl Journal {
    /// Opens the journal of a folder, which is made if it is not there, and says what is in it, oldest first. Blocks.
    pub fn open(folder: &Path) -> Result<(Self, Vec<Record>), JobsError> {
        let path = folder.join(FILE);
        let file = path.display().to_string();
        let fault = |problem: String| JobsError::Journal { file: file.clone(), problem };
        std::fs::create_dir_all(folder).map_err(|error| fault(error.to_string()))?;
        let database = Database::create(&path).map_err(|error| fault(error.to_string()))?;
        let journal = Self { database, file: file.clone() };
        let records = journal.read().map_err(fault)?;
        Ok((journal, records))
    }

    fn read(&self) -> Result<Vec<Record>, String> {
        let transaction = self.database.begin_read().map_err(|error| error.to_string())?;
        let table = match transaction.open_table(JOBS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.to_string()),
        };
        let mut records = Vec::new();
        for entry in table.iter().map_err(|error| error.to_string())? {
            let (id, json) = entry.map_err(|error| error.to_string())?;
            let record = serde_json::from_slice(json.value());
            records.push(record.map_err(|error| format!("the job {} can't be read: {error}", id.value()))?);
        }
        Ok(records)
    }

    /// Keeps a record in the place of what was known of its job. When this returns, it survives a crash. Blocks.
    pub fn keep(&self, record: &Record) -> Result<(), JobsError> {
        let json = serde_json::to_vec(record).map_err(|error| self.fault(&error))?;
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(JOBS)?.insert(record.job.id.as_str(), json.as_slice())?;
            Ok(transaction.commit()?)
        };
        write().map_err(|error| self.fault(&error))
    }

    /// Forgets jobs. Blocks.
    pub fn forget(&self, ids: &[String]) -> Result<(), JobsError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut table = transaction.open_table(JOBS)?;
                for id in ids {
                    table.remove(id.as_str())?;
                }
            }
            Ok(transaction.commit()?)
        };
        write().map_err(|error| self.fault(&error))
    }

    fn fault(&self, problem: &dyn std::fmt::Display) -> JobsError {
        JobsError::Journal { file: self.file.clone(), problem: problem.to_string() }
    }
}
