//! What is kept beside a store's cases: which snapshots were made of it, and receipts of erasures. A line of JSON each, appended.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cases::Erasure;

const SNAPSHOTS: &str = "snapshots.jsonl";
const ERASURES: &str = "erasures.jsonl";

/// A snapshot that was made of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// Its folder.
    pub folder: PathBuf,
    /// When it was made.
    pub made_at: Timestamp,
}

/// Notes a snapshot of the store in `folder`.
pub(super) fn note_snapshot(folder: &Path, record: &SnapshotRecord) -> Result<(), String> {
    append(&folder.join(SNAPSHOTS), record)
}

/// The snapshots made of the store in `folder` that are still there, oldest first.
pub(super) fn snapshots(folder: &Path) -> Result<Vec<SnapshotRecord>, String> {
    let all: Vec<SnapshotRecord> = lines(&folder.join(SNAPSHOTS))?;
    Ok(all.into_iter().filter(|record| record.folder.exists()).collect())
}

/// Keeps the receipt of an erasure.
pub(super) fn keep_receipt(folder: &Path, erasure: &Erasure) -> Result<(), String> {
    append(&folder.join(ERASURES), erasure)
}

/// The receipts of the store in `folder`, oldest first.
pub(super) fn receipts(folder: &Path) -> Result<Vec<Erasure>, String> {
    lines(&folder.join(ERASURES))
}

fn append(path: &Path, record: &impl Serialize) -> Result<(), String> {
    let fail = |error: &dyn std::fmt::Display| format!("{} can't be written: {error}", path.display());
    let mut line = serde_json::to_string(record).map_err(|error| fail(&error))?;
    line.push('\n');
    let is_new = !path.exists();
    let write = || {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        match path.parent().filter(|_| is_new) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|error: std::io::Error| fail(&error))
}

/// The lines of a file; one that a crash cut short is the last, was never acknowledged, and is left out.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, String> {
    let fail = |error: &dyn std::fmt::Display| format!("{} can't be read: {error}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(&error)),
    };
    let lines: Vec<String> = BufReader::new(file).lines().collect::<Result<_, _>>().map_err(|error| fail(&error))?;
    let mut records = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(record) => records.push(record),
            Err(_) if index + 1 == lines.len() => {}
            Err(error) => return Err(fail(&format!("line {}: {error}", index + 1))),
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::TenantId;

    #[test]
    fn records_come_back_and_a_line_cut_short_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(receipts(folder.path()).unwrap(), []);
        let receipt = |id: &str| Erasure::new(&TenantId::default(), id, vec!["b".into(), "a".into()], vec![]);
        let all = [receipt("customer-1"), receipt("customer-2")];
        for receipt in &all {
            keep_receipt(folder.path(), receipt).unwrap();
        }
        assert_eq!(receipts(folder.path()).unwrap(), all);
        assert_eq!(all[0].case_ids, ["a", "b"]);
        let path = folder.path().join(ERASURES);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("customer-1"));
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        assert_eq!(receipts(folder.path()).unwrap(), all[..1]);
        std::fs::write(&path, text.replacen('{', "x", 1)).unwrap();
        assert!(receipts(folder.path()).unwrap_err().contains("line 1"));
    }

    #[test]
    fn a_snapshot_that_was_removed_is_no_longer_listed() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str| SnapshotRecord { folder: folder.path().join(name), made_at: Timestamp::UNIX_EPOCH };
        std::fs::create_dir(folder.path().join("one")).unwrap();
        note_snapshot(folder.path(), &made("one")).unwrap();
        note_snapshot(folder.path(), &made("two")).unwrap();
        assert_eq!(snapshots(folder.path()).unwrap(), [made("one")]);
    }
}
