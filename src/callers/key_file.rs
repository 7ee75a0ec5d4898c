//! The file of API keys: read by the service, written by the command line.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::api_key::{ApiKey, HashedKey, KeyFormatError};
use super::caller::{Caller, Role, Roles, TokenLimit, tenant};
use crate::cases::TenantId;

/// Longest name of a key, in characters.
const MAX_NAME_CHARS: usize = 128;

/// Stands at the beginning of the file.
const COMMENT: &str = "\
# API keys of otklik, kept as salted hashes: no key can be read from here. `otklik keys add`, `list` and `revoke` work on this file; a
# service that runs takes up what changes.

";

/// Why a file of keys is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It can't be read or written.
    #[error("{}: can't be {done}: {problem} (callers.keys_file)", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What was tried: `read`, `written` or `locked`.
        done: &'static str,
        /// What the system said.
        problem: std::io::Error,
    },
    /// It is not TOML, or has other keys than it should.
    #[error("the file of API keys is not valid: {0}")]
    Form(String),
    /// A record is at fault.
    #[error("the file of API keys: key {row} ({id:?}): {field}: {problem}")]
    Record {
        /// Which record, from 1.
        row: usize,
        /// Its id.
        id: String,
        /// What is at fault.
        field: &'static str,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// There is no such key.
    #[error("no key {id:?}; `otklik keys list` shows those there are")]
    Unknown {
        /// The id asked for.
        id: String,
    },
    /// What was asked for is not allowed.
    #[error("{field}: {problem}")]
    Invalid {
        /// What is at fault.
        field: &'static str,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyFormatError),
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The public part of the key.
    pub id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose data it opens.
    pub tenant: TenantId,
    /// What it may do.
    pub roles: Roles,
    /// Most model tokens a second; not set, the limit of its tenant alone counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<u32>,
    /// Most model tokens at once after a rest; not set, those of ten seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst_tokens: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked; from then on it opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// What knows it again.
    pub hashed: HashedKey,
}

impl KeyRecord {
    /// The caller that holds the key.
    pub fn caller(&self) -> Caller {
        Caller {
            id: self.id.clone(),
            tenant: self.tenant.clone(),
            roles: self.roles.clone(),
            limit: self.tokens_per_second.map(|tokens_per_second| TokenLimit {
                tokens_per_second,
                burst_tokens: self.burst_tokens.unwrap_or(tokens_per_second.saturating_mul(TokenLimit::BURST_SECONDS)),
            }),
        }
    }

    /// What is at fault, if anything: the field, and what is wrong with it.
    fn fault(&self) -> Option<(&'static str, String)> {
        if self.id.is_empty() {
            return Some(("id", "must not be empty".to_owned()));
        }
        if let Err(error) = tenant(self.tenant.as_str()) {
            return Some(("tenant", error.to_string()));
        }
        if self.roles.is_empty() {
            let all: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
            return Some(("roles", format!("must name at least one of: {}", all.join(", "))));
        }
        if self.name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > MAX_NAME_CHARS) {
            return Some(("name", format!("must have 1 to {MAX_NAME_CHARS} characters")));
        }
        if self.tokens_per_second == Some(0) {
            return Some(("tokens_per_second", "must be 1 or more".to_owned()));
        }
        if self.burst_tokens == Some(0) {
            return Some(("burst_tokens", "must be 1 or more".to_owned()));
        }
        (!self.hashed.is_whole()).then(|| ("hashed", "must be as `otklik keys add` wrote it".to_owned()))
    }
}

/// What is asked of a key that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What people call it.
    pub name: Option<String>,
    /// Whose data it opens.
    pub tenant: String,
    /// What it may do.
    pub roles: Roles,
    /// Most model tokens a second.
    pub tokens_per_second: Option<u32>,
    /// Most model tokens at once after a rest.
    pub burst_tokens: Option<u32>,
}

/// The keys of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    #[serde(default)]
    keys: Vec<KeyRecord>,
    #[serde(skip)]
    by_id: HashMap<String, usize>,
}

impl KeyFile {
    /// Reads what a file says.
    ///
    /// # Errors
    /// [`KeyFileError::Form`], [`KeyFileError::Record`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KeyFileError::Form("it is not UTF-8".to_owned()))?;
        let mut read: Self = toml::from_str(text).map_err(|error| KeyFileError::Form(error.to_string()))?;
        for (index, record) in read.keys.iter().enumerate() {
            let at_fault =
                |field, problem| KeyFileError::Record { row: index + 1, id: record.id.clone(), field, problem };
            if let Some((field, problem)) = record.fault() {
                return Err(at_fault(field, problem));
            }
            if read.by_id.insert(record.id.clone(), index).is_some() {
                return Err(at_fault("id", "must stand in one record only".to_owned()));
            }
        }
        Ok(read)
    }

    /// Reads a file; `None` if there is none. Blocks.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn read(path: &Path) -> Result<Option<Self>, KeyFileError> {
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(&bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(problem) => Err(KeyFileError::Io { file: path.to_owned(), done: "read", problem }),
        }
    }

    /// The records, the oldest first.
    pub fn records(&self) -> &[KeyRecord] {
        &self.keys
    }

    /// The record of a key by its id.
    pub fn find(&self, id: &str) -> Option<&KeyRecord> {
        self.by_id.get(id).and_then(|index| self.keys.get(*index))
    }

    /// Makes a key and keeps its hash in the file, which is made if it is not there. The key is given back this once. Blocks.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn add(path: &Path, wanted: NewKey, now: Timestamp) -> Result<(ApiKey, KeyRecord), KeyFileError> {
        let _alone = lock(path)?;
        let mut file = Self::read(path)?.unwrap_or_default();
        let key = loop {
            let key = ApiKey::generate()?;
            if file.find(key.id()).is_none() {
                break key;
            }
        };
        let NewKey { name, tenant, roles, tokens_per_second, burst_tokens } = wanted;
        let record = KeyRecord {
            id: key.id().to_owned(),
            name,
            tenant: TenantId::new(tenant),
            roles,
            tokens_per_second,
            burst_tokens,
            created_at: now,
            revoked_at: None,
            hashed: key.hashed()?,
        };
        if let Some((field, problem)) = record.fault() {
            return Err(KeyFileError::Invalid { field, problem });
        }
        file.keys.push(record.clone());
        file.write(path)?;
        Ok((key, record))
    }

    /// Revokes a key for good. One that was revoked before stays as it is. Blocks.
    ///
    /// # Errors
    /// [`KeyFileError::Unknown`], and those of reading and writing.
    pub fn revoke(path: &Path, id: &str, now: Timestamp) -> Result<KeyRecord, KeyFileError> {
        let _alone = lock(path)?;
        let unknown = || KeyFileError::Unknown { id: id.to_owned() };
        let mut file = Self::read(path)?.ok_or_else(unknown)?;
        let record = file.keys.iter_mut().find(|record| record.id == id).ok_or_else(unknown)?;
        record.revoked_at.get_or_insert(now);
        let revoked = record.clone();
        file.write(path)?;
        Ok(revoked)
    }

    /// Writes the file whole under another name, and then in its place: whoever reads it sees the old or the new.
    fn write(&self, path: &Path) -> Result<(), KeyFileError> {
        let text = toml::to_string(self).map_err(|error| KeyFileError::Form(error.to_string()))?;
        let failed = |problem| KeyFileError::Io { file: path.to_owned(), done: "written", problem };
        let new = beside(path, "new");
        let mut file = private(&new).map_err(failed)?;
        file.write_all(format!("{COMMENT}{text}").as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&new, path).map_err(failed)
    }
}

/// Holds the file for one writer, until it is dropped.
fn lock(path: &Path) -> Result<File, KeyFileError> {
    let failed = |problem| KeyFileError::Io { file: path.to_owned(), done: "locked", problem };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(beside(path, "lock")).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

/// A new file that its owner alone can read and write.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        // A writer that was killed has left it; the lock says that there is no other.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            options.open(path)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests;
