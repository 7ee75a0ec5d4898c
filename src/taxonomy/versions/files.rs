//! The files of a folder of versions: its lock, its sources, and how they are written.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Publication, SourcedTaxonomy, VersionsError};
use crate::taxonomy::MAX_FILE_BYTES;

const LOCK: &str = "LOCK";

/// Ending of a file that is not yet whole.
const UNFINISHED: &str = "unfinished";

/// Digits of the source's hash in its file's name.
const DIGITS: usize = 12;

/// SHA-256, hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes the folder if it is missing, and takes its lock.
pub(super) fn lock(folder: &Path) -> Result<File, VersionsError> {
    fs::create_dir_all(folder).map_err(|problem| VersionsError::Io { path: folder.to_owned(), problem })?;
    let path = folder.join(LOCK);
    let io = |problem| VersionsError::Io { path: path.clone(), problem };
    let lock = File::options().write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(VersionsError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(problem)) => Err(io(problem)),
    }
}

/// Removes files whose writing was interrupted. Only the holder of the lock may.
pub(super) fn remove_unfinished(folder: &Path) -> Result<(), VersionsError> {
    let of_folder = |problem| VersionsError::Io { path: folder.to_owned(), problem };
    for entry in fs::read_dir(folder).map_err(of_folder)? {
        let path = entry.map_err(of_folder)?.path();
        if path.extension().is_some_and(|ending| ending == UNFINISHED) {
            fs::remove_file(&path).map_err(|problem| VersionsError::Io { path, problem })?;
        }
    }
    Ok(())
}

/// Writes a file so that it is there whole or not at all, also after a power cut.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), VersionsError> {
    let unfinished = path.with_extension(UNFINISHED);
    let written = (|| -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        // Only Unix opens folders as files; elsewhere the file system looks after its names.
        match path.parent() {
            Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    })();
    written.map_err(|problem| VersionsError::Io { path: path.to_owned(), problem })
}

/// The file of a publication's source. Its name is made of its content, so that a file never changes.
pub(super) fn source_path(folder: &Path, publication: &Publication) -> PathBuf {
    let version = publication.version.as_str().rsplit(':').next().unwrap_or_default();
    let version: String = version.chars().filter(char::is_ascii_alphanumeric).collect();
    let source = publication.source_sha256.get(..DIGITS).unwrap_or(&publication.source_sha256);
    folder.join(format!("{version}-{source}.toml"))
}

pub(super) fn keep_source(folder: &Path, publication: &Publication, source: &str) -> Result<(), VersionsError> {
    let path = source_path(folder, publication);
    let is_there = fs::read(&path).is_ok_and(|bytes| bytes == source.as_bytes());
    if is_there { Ok(()) } else { write_whole(&path, source.as_bytes()) }
}

/// Removes the sources that no publication needs any more. The journal does not name them: one that stays takes room and nothing else.
pub(super) fn forget_sources(folder: &Path, dropped: &[Publication], kept: &[Publication]) {
    let needed: Vec<PathBuf> = kept.iter().map(|publication| source_path(folder, publication)).collect();
    for path in dropped.iter().map(|publication| source_path(folder, publication)) {
        if needed.contains(&path) {
            continue;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "the source of a version no longer kept can't be removed");
            }
            _ => {}
        }
    }
}

/// Reads the source of a publication and checks that it is what was published.
pub(super) fn load(folder: &Path, publication: &Publication) -> Result<SourcedTaxonomy, VersionsError> {
    let path = source_path(folder, publication);
    let damaged = |problem: String| VersionsError::Damaged { path: path.clone(), problem };
    let size = match fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(damaged(format!("it is missing, and the journal names it for {}", publication.version)));
        }
        Err(problem) => return Err(VersionsError::Io { path, problem }),
    };
    if size > MAX_FILE_BYTES as u64 {
        return Err(damaged(format!("it has {size} bytes; a taxonomy has at most {MAX_FILE_BYTES}")));
    }
    let bytes = fs::read(&path).map_err(|problem| VersionsError::Io { path: path.clone(), problem })?;
    let source = String::from_utf8(bytes).map_err(|_| damaged("it is not UTF-8 text".to_owned()))?;
    checked(source, publication, &path)
}

/// A source as a taxonomy, if it is what was published.
pub(super) fn checked(
    source: String,
    publication: &Publication,
    path: &Path,
) -> Result<SourcedTaxonomy, VersionsError> {
    let damaged = |problem: String| VersionsError::Damaged { path: path.to_owned(), problem };
    let found = sha256(source.as_bytes());
    if found != publication.source_sha256 {
        return Err(damaged(format!("its SHA-256 is {found}, published was {}", publication.source_sha256)));
    }
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let sourced = SourcedTaxonomy::parse(source, &file_name).map_err(VersionsError::Invalid)?;
    if *sourced.taxonomy.version() != publication.version {
        let problem = format!("it is version {}, published was {}", sourced.taxonomy.version(), publication.version);
        return Err(damaged(problem));
    }
    Ok(sourced)
}
