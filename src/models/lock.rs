//! `files.lock`: what a model's files were when they first came, for files whose hash the registry does not pin.
//!
//! The first fetch is trusted and recorded; every later load, and every later fetch, is held to the record.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::entry::{ModelEntry, is_sha256};
use super::error::ModelError;
use super::record;

/// Name of the record inside a model's folder.
pub(super) const FILE_NAME: &str = "files.lock";

const COMMENT: &str =
    "What these files were when they first came. otklik holds every later load to it; remove it to trust anew.";

/// One recorded file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Path inside the model's folder.
    pub path: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
    /// Where it came from.
    pub origin: String,
}

/// The record of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilesLock {
    /// Its files.
    #[serde(default)]
    pub(super) file: Vec<LockedFile>,
}

impl FilesLock {
    pub(super) fn read(model_dir: &Path) -> Result<Self, ModelError> {
        let path = model_dir.join(FILE_NAME);
        let lock: Self = record::read(&path)?.unwrap_or_default();
        match lock.file.iter().find(|file| !is_sha256(&file.sha256)) {
            Some(file) => Err(ModelError::Record { path, problem: format!("the sha256 of {} is not one", file.path) }),
            None => Ok(lock),
        }
    }

    pub(super) fn write(&self, model_dir: &Path) -> Result<(), ModelError> {
        record::write(&model_dir.join(FILE_NAME), COMMENT, self)
    }

    /// What a file of `entry` must be: as the registry pins it, or else as it was recorded.
    pub(super) fn expected(&self, entry: &ModelEntry, path: &str) -> Option<Expected> {
        let pinned = entry.files.iter().find(|file| file.path == path).and_then(|file| {
            let (sha256, size) = file.sha256.clone().zip(file.size)?;
            Some(Expected { sha256, size })
        });
        pinned.or_else(|| {
            let locked = self.file.iter().find(|file| file.path == path)?;
            Some(Expected { sha256: locked.sha256.clone(), size: locked.size })
        })
    }
}

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) sha256: String,
    pub(super) size: u64,
}
