//! The folder of a store: its lock, and the file that says what is in it.
//!
//! `LOCK` is held by the one process that has the store open. `store.toml` names the encoder whose vectors lie in the store;
//! vectors of another are refused. `journal.redb` and `shard/` are the store itself.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cases::CaseStoreError;

/// Format of the store that this version writes and reads.
const FORMAT: u32 = 2;

const DESCRIPTION: &str = "store.toml";
const LOCK: &str = "LOCK";

/// True for what in a store's folder belongs to it alone and to no copy: the lock, and the list of its snapshots.
pub(super) fn is_of_one_process(name: &OsStr) -> bool {
    name == LOCK || name == "snapshots.jsonl"
}

/// What `store.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    /// Format of the store.
    format: u32,
    /// Length of the vectors.
    dimension: usize,
    /// SHA-256 of the encoder's weights.
    encoder_sha256: String,
    /// False until the store was wholly written for the first time.
    complete: bool,
}

/// The folder of a store, locked for this process as long as this value lives.
pub(super) struct StoreFolder {
    path: PathBuf,
    description: Description,
    _lock: File,
}

impl StoreFolder {
    /// Locks the folder of a store that is there, whatever encoder and format it is of.
    pub(super) fn lock_as_it_is(path: &Path) -> Result<Self, CaseStoreError> {
        if !path.join(DESCRIPTION).exists() {
            return Err(open_error(path, format!("there is no store: it has no {DESCRIPTION}")));
        }
        let nothing = Description { format: 0, dimension: 0, encoder_sha256: String::new(), complete: false };
        let mut folder = Self { path: path.to_owned(), description: nothing, _lock: take_lock(path)? };
        if let Some(found) = folder.read_description()? {
            folder.description = found;
        }
        if folder.description.format > FORMAT {
            return Err(folder.error(format!(
                "it is of format {}, this version writes format {FORMAT}; a newer version made it",
                folder.description.format
            )));
        }
        Ok(folder)
    }

    /// True if a store of this encoder can be opened as it is.
    pub(super) fn serves(&self, dimension: usize, encoder_sha256: &str) -> bool {
        self.description.format == FORMAT && self.has_vectors_of(dimension, encoder_sha256)
    }

    /// True if its vectors are of this encoder.
    pub(super) fn has_vectors_of(&self, dimension: usize, encoder_sha256: &str) -> bool {
        (self.description.dimension, self.description.encoder_sha256.as_str()) == (dimension, encoder_sha256)
    }

    /// Notes that the store is of this version's format and of this encoder now.
    pub(super) fn now_serves(&mut self, dimension: usize, encoder_sha256: &str) -> Result<(), CaseStoreError> {
        self.description =
            Description { format: FORMAT, dimension, encoder_sha256: encoder_sha256.to_owned(), complete: true };
        self.write_description()
    }

    /// A name within the folder.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Locks a folder, which is made if only it is missing, and checks that its store, if it has one, is of this encoder.
    pub(super) fn lock(path: &Path, dimension: usize, encoder_sha256: &str) -> Result<Self, CaseStoreError> {
        let fail = |problem: String| open_error(path, problem);
        match fs::create_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(fail("the folder that it should lie in does not exist; create that one first".to_owned()));
            }
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(fail(format!(
                    "the folder can't be created ({error}); choose one that otklik may write to"
                )));
            }
            _ => {}
        }
        let lock = take_lock(path)?;
        let wanted =
            Description { format: FORMAT, dimension, encoder_sha256: encoder_sha256.to_owned(), complete: false };
        let mut folder = Self { path: path.to_owned(), description: wanted, _lock: lock };
        match folder.read_description()? {
            Some(found) => {
                folder.check(&found)?;
                folder.description = found;
            }
            None => {
                for part in [folder.shard(), folder.journal()] {
                    if part.exists() {
                        return Err(fail(format!(
                            "it holds {} but no {DESCRIPTION}, so what the vectors mean is unknown; put the file back, or give \
                             the store another folder",
                            part.display()
                        )));
                    }
                }
                folder.write_description()?;
            }
        }
        Ok(folder)
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of the engine's shard.
    pub(super) fn shard(&self) -> PathBuf {
        self.path.join("shard")
    }

    /// The journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal.redb")
    }

    /// True if the store was wholly written once; false if it is new, or its making was interrupted before anything was stored.
    pub(super) fn is_complete(&self) -> bool {
        self.description.complete
    }

    /// Removes what an interrupted making left.
    pub(super) fn clear(&self) -> Result<(), CaseStoreError> {
        let removed = [fs::remove_dir_all(self.shard()), fs::remove_file(self.journal())];
        for error in removed.into_iter().filter_map(Result::err) {
            if error.kind() != ErrorKind::NotFound {
                return Err(self.error(format!("what an interrupted start left there can't be removed: {error}")));
            }
        }
        Ok(())
    }

    /// Notes that the store is wholly written.
    pub(super) fn complete(&mut self) -> Result<(), CaseStoreError> {
        self.description.complete = true;
        self.write_description()
    }

    /// An error about this folder.
    pub(super) fn error(&self, problem: impl Display) -> CaseStoreError {
        open_error(&self.path, problem)
    }

    fn check(&self, found: &Description) -> Result<(), CaseStoreError> {
        let wanted = &self.description;
        if found.format < wanted.format {
            return Err(self.error(format!(
                "it is of format {}, this version reads format {}; `otklik cases migrate` brings it there, after a backup",
                found.format, wanted.format
            )));
        }
        if found.format != wanted.format {
            return Err(self.error(format!(
                "it is of format {}, this version reads format {}; open it with the version that made it",
                found.format, wanted.format
            )));
        }
        if (found.dimension, &found.encoder_sha256) != (wanted.dimension, &wanted.encoder_sha256) {
            return Err(self.error(format!(
                "it holds vectors of encoder sha256:{} ({} numbers each), but the configured encoder is sha256:{} ({} numbers \
                 each); configure that encoder again, give the new one an empty folder, or let `otklik cases migrate` compute the \
                 vectors anew",
                found.encoder_sha256, found.dimension, wanted.encoder_sha256, wanted.dimension
            )));
        }
        Ok(())
    }

    fn read_description(&self) -> Result<Option<Description>, CaseStoreError> {
        let path = self.path.join(DESCRIPTION);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error(format!("{} can't be read: {error}", path.display()))),
        };
        let description = toml::from_str(&text).map_err(|error| {
            let problem = error.message();
            self.error(format!("{} is damaged ({problem}); put it back from a backup", path.display()))
        })?;
        Ok(Some(description))
    }

    fn write_description(&self) -> Result<(), CaseStoreError> {
        let fail = |error: &dyn Display| self.error(format!("{DESCRIPTION} can't be written: {error}"));
        let text = toml::to_string(&self.description).map_err(|error| fail(&error))?;
        let draft = self.path.join("store.toml.new");
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, self.path.join(DESCRIPTION))?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|error: std::io::Error| fail(&error))
    }
}

fn open_error(folder: &Path, problem: impl Display) -> CaseStoreError {
    CaseStoreError::Open { folder: folder.display().to_string(), problem: problem.to_string() }
}

fn take_lock(folder: &Path) -> Result<File, CaseStoreError> {
    let path = folder.join(LOCK);
    let fail = |error: std::io::Error| {
        let problem =
            format!("{} can't be written ({error}); otklik must be allowed to write to this folder", path.display());
        open_error(folder, problem)
    };
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let holder = match file.read_to_string(&mut holder) {
                Ok(_) if !holder.trim().is_empty() => format!(" (pid {})", holder.trim()),
                _ => String::new(),
            };
            let problem = format!("another otklik{holder} has it open; stop that one, or give this one another folder");
            return Err(open_error(folder, problem));
        }
        Err(TryLockError::Error(error)) => return Err(fail(error)),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(pid.as_bytes())).map_err(fail)?;
    Ok(file)
}
