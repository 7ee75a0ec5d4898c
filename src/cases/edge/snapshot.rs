//! Snapshots: a whole copy of a store's folder, with a list of its files by which each byte is checked before it is restored.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::folder::is_of_one_process;

/// The list of a snapshot's files.
const MANIFEST: &str = "snapshot.json";
const FORMAT: u32 = 1;

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    made_at: Timestamp,
    /// Paths within the folder, with `/`.
    files: BTreeMap<String, FileSum>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileSum {
    bytes: u64,
    sha256: String,
}

/// Copies the folder of a store that holds still to a new folder. What an interrupted copy leaves has another name.
pub(super) fn copy(store: &Path, to: &Path, made_at: Timestamp) -> Result<(), String> {
    let fail = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    if to.exists() {
        return Err(fail(to, &"is there already; a snapshot is made in a new folder"));
    }
    let unfinished = beside(to, "unfinished")?;
    remove(&unfinished).map_err(|error| fail(&unfinished, &error))?;
    let mut files = BTreeMap::new();
    copy_tree(store, &unfinished, Path::new(""), &mut files).map_err(|error| fail(&unfinished, &error))?;
    let manifest = Manifest { format: FORMAT, made_at, files };
    let write = || -> io::Result<()> {
        let path = unfinished.join(MANIFEST);
        let mut file = File::create(&path)?;
        file.write_all(serde_json::to_string_pretty(&manifest).map_err(io::Error::other)?.as_bytes())?;
        file.sync_all()?;
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, to)?;
        File::open(to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|error| fail(to, &error))
}

/// Checks every byte of a snapshot and copies it to a new folder of a store.
pub(super) fn restore(snapshot: &Path, store: &Path) -> Result<Timestamp, String> {
    let fail = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let path = snapshot.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => fail(snapshot, &format!("is no snapshot: it has no {MANIFEST}")),
        _ => fail(&path, &error),
    })?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| fail(&path, &error))?;
    if manifest.format != FORMAT {
        return Err(fail(&path, &format!("is of format {}, this version reads format {FORMAT}", manifest.format)));
    }
    if store.exists() && fs::read_dir(store).map_err(|error| fail(store, &error))?.next().is_some() {
        return Err(fail(store, &"is not empty; move what is there away first"));
    }
    let unfinished = beside(store, "restoring")?;
    remove(&unfinished).map_err(|error| fail(&unfinished, &error))?;
    fs::create_dir_all(&unfinished).map_err(|error| fail(&unfinished, &error))?;
    for (name, sum) in &manifest.files {
        let relative = Path::new(name);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(fail(&path, &format!("names a file outside the snapshot: {name:?}")));
        }
        let (from, to) = (snapshot.join(relative), unfinished.join(relative));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(|error| fail(parent, &error))?;
        }
        let found = copy_file(&from, &to).map_err(|error| fail(&from, &error))?;
        if found != *sum {
            return Err(fail(&from, &"is damaged: it is not what the snapshot was made of; nothing was restored"));
        }
    }
    let finish = || -> io::Result<()> {
        if store.exists() {
            fs::remove_dir(store)?;
        }
        fs::rename(&unfinished, store)?;
        File::open(store)?.sync_all()
    };
    finish().map_err(|error| fail(store, &error))?;
    Ok(manifest.made_at)
}

/// A name beside a folder, for what is not whole yet.
fn beside(folder: &Path, ending: &str) -> Result<PathBuf, String> {
    let name = folder.file_name().ok_or_else(|| format!("{}: has no name", folder.display()))?;
    let mut name = name.to_owned();
    name.push(format!(".{ending}"));
    Ok(folder.with_file_name(name))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy_tree(from: &Path, to: &Path, relative: &Path, files: &mut BTreeMap<String, FileSum>) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, target) = (relative.join(entry.file_name()), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target, &name, files)?;
        } else if relative.as_os_str().is_empty() && is_of_one_process(&entry.file_name()) {
            // The lock, and what is said of this folder alone.
        } else {
            let sum = copy_file(&entry.path(), &target)?;
            let parts: Vec<_> = name.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
            files.insert(parts.join("/"), sum);
        }
    }
    File::open(to)?.sync_all()
}

/// Copies a file, and says what it was.
fn copy_file(from: &Path, to: &Path) -> io::Result<FileSum> {
    let (mut source, mut target) = (File::open(from)?, File::create(to)?);
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0u64;
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let part = buffer.get(..read).unwrap_or_default();
        digest.update(part);
        target.write_all(part)?;
        bytes += read as u64;
    }
    target.sync_all()?;
    Ok(FileSum { bytes, sha256: digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect() })
}
