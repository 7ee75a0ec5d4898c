//! Small TOML records that otklik writes beside models, replaced whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ModelError;

/// Reads a record; `None` if there is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ModelError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ModelError::io("read", path)(error)),
    };
    let unreadable = |error: toml::de::Error| ModelError::Record { path: path.to_owned(), problem: error.to_string() };
    toml::from_str(&text).map(Some).map_err(unreadable)
}

/// Writes a record under a comment that says what it is, by way of a file beside it.
pub(super) fn write<T: Serialize>(path: &Path, comment: &str, record: &T) -> Result<(), ModelError> {
    let text = toml::to_string(record)
        .map_err(|error| ModelError::Record { path: path.to_owned(), problem: error.to_string() })?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let mut file = File::create(beside).map_err(ModelError::io("create", beside))?;
    write!(file, "# {comment}\n\n{text}").map_err(ModelError::io("write", beside))?;
    file.sync_all().map_err(ModelError::io("write", beside))?;
    fs::rename(beside, path).map_err(ModelError::io("replace", path))
}
