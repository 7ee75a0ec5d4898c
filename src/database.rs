//! A small database in a file that goes on after its disk took nothing for a while.
//!
//! Enters: what is to be read or written in one go. Leaves: what came of it. Never here: what is kept. The database refuses everything once
//! a read or write of its file failed, until it is opened again; here that happens with the next call.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError, Error};

/// How long is waited from one try to open it again to the next: it may take a while.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// The database.
pub(crate) struct FileDatabase {
    open: Open,
    /// `None` while it could not be opened again.
    database: RwLock<Option<Database>>,
    /// When it was opened last, or could not be.
    opened: Mutex<Option<Instant>>,
}

impl FileDatabase {
    /// Opens the file, which is made if it is not there, with memory for caching in bytes. Blocks.
    ///
    /// # Errors
    /// What the file or its folder refuses.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, Error> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let path: PathBuf = path.to_owned();
        Self::opened_by(Box::new(move || Database::builder().set_cache_size(cache_bytes).create(&path)))
    }

    fn opened_by(open: Open) -> Result<Self, Error> {
        let database = RwLock::new(Some(open()?));
        Ok(Self { open, database, opened: Mutex::default() })
    }

    /// Does something with it, whole or not at all; once more if it had to be opened again first. Blocks.
    ///
    /// # Errors
    /// Those of the work, and [`Error::PreviousIo`] while it can't be opened again.
    pub fn with<T>(&self, work: impl Fn(&Database) -> Result<T, Error>) -> Result<T, Error> {
        match self.with_open(&work) {
            Err(Error::PreviousIo) => {
                self.reopen()?;
                self.with_open(&work)
            }
            done => done,
        }
    }

    fn with_open<T>(&self, work: impl Fn(&Database) -> Result<T, Error>) -> Result<T, Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        work(database.as_ref().ok_or(Error::PreviousIo)?)
    }

    fn reopen(&self) -> Result<(), Error> {
        // Whoever waited here finds it open, or learns that it can't be.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.is_some_and(|at| at.elapsed() < REOPEN_EVERY) {
            return Ok(());
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // The file can be open once only.
        drop(database.take());
        let again = (self.open)();
        *opened = Some(Instant::now());
        *database = Some(again?);
        tracing::info!("a database was opened again after its file could not be read or written");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::backends::FileBackend;
    use redb::{ReadableDatabase, ReadableTableMetadata, StorageBackend, TableDefinition};

    use super::*;

    const WORDS: TableDefinition<&str, &str> = TableDefinition::new("words");

    /// A file on a disk that can be full.
    #[derive(Debug)]
    struct Disk(FileBackend, Arc<AtomicBool>);

    impl Disk {
        fn room(&self) -> io::Result<()> {
            match self.1.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.room()?;
            self.0.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.room()?;
            self.0.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.0.close()
        }
    }

    fn put(database: &FileDatabase, word: &str) -> Result<(), Error> {
        database.with(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(WORDS)?.insert(word, "")?;
            Ok(transaction.commit()?)
        })
    }

    #[test]
    fn it_goes_on_with_all_that_it_kept_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, is_full) = (folder.path().join("words.redb"), Arc::new(AtomicBool::new(false)));
        let disk = Arc::clone(&is_full);
        let open: Open = Box::new(move || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let file = file.map_err(redb::StorageError::from)?;
            Database::builder().create_with_backend(Disk(FileBackend::new(file)?, Arc::clone(&disk)))
        });
        let database = FileDatabase::opened_by(open).unwrap();
        put(&database, "one").unwrap();
        is_full.store(true, Ordering::Relaxed);
        assert!(matches!(put(&database, "two"), Err(Error::Io(_))));
        // It can't be opened again either.
        assert!(put(&database, "two").is_err());
        assert!(matches!(put(&database, "two"), Err(Error::PreviousIo)), "not tried at once again");
        is_full.store(false, Ordering::Relaxed);
        *database.opened.lock().unwrap() = None;
        put(&database, "three").unwrap();
        let count = database.with(|database| Ok(database.begin_read()?.open_table(WORDS)?.len()?)).unwrap();
        assert_eq!(count, 2);
    }
}
