//! Is a model here, and is every byte of it what it must be.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::entry::ModelEntry;
use super::error::ModelError;
use super::lock::{Expected, FilesLock};

/// A model whose every byte was checked.
#[derive(Debug, Clone)]
pub struct VerifiedModel {
    /// What the registry says of it.
    pub entry: ModelEntry,
    /// Its folder.
    pub dir: PathBuf,
    /// Its files, in the order of the registry.
    pub files: Vec<VerifiedFile>,
    /// Where its weights are.
    pub weights: PathBuf,
    /// SHA-256 of its weights, hexadecimal.
    pub weights_sha256: String,
}

/// A file that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedFile {
    /// Path inside the model's folder, as the registry writes it.
    pub path: String,
    /// Where it is.
    pub location: PathBuf,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
}

impl VerifiedModel {
    /// Where a file is, by its path in the registry.
    pub fn file(&self, path: &str) -> Option<&Path> {
        self.files.iter().find(|file| file.path == path).map(|file| file.location.as_path())
    }
}

/// Reads every byte of a model and checks it against the registry, or against what was recorded when it first came.
///
/// # Errors
/// [`ModelError::MissingFile`], [`ModelError::WrongSize`], [`ModelError::WrongHash`], [`ModelError::Unpinned`]; each names the file.
pub fn verify(models_dir: &Path, entry: &ModelEntry) -> Result<VerifiedModel, ModelError> {
    let dir = models_dir.join(&entry.id);
    let lock = FilesLock::read(&dir)?;
    if let Some(missing) = entry.files.iter().find(|file| !dir.join(&file.path).is_file()) {
        return Err(missing_file(entry, &missing.path, &dir));
    }
    let mut files = Vec::with_capacity(entry.files.len());
    for file in &entry.files {
        let location = dir.join(&file.path);
        let expected = lock.expected(entry, &file.path).ok_or_else(|| ModelError::Unpinned {
            id: entry.id.clone(),
            file: file.path.clone(),
            dir: dir.clone(),
        })?;
        let Expected { sha256, size } = &expected;
        match check_file(&location, &expected)? {
            FileCheck::Good => {
                let (sha256, size) = (sha256.clone(), *size);
                files.push(VerifiedFile { path: file.path.clone(), location, sha256, size });
            }
            FileCheck::Missing => return Err(missing_file(entry, &file.path, &dir)),
            FileCheck::WrongSize { found } => {
                let (id, remedy) = (entry.id.clone(), entry.remedy());
                return Err(ModelError::WrongSize { id, path: location, expected: *size, found, remedy });
            }
            FileCheck::WrongHash { found } => {
                let (id, remedy) = (entry.id.clone(), entry.remedy());
                return Err(ModelError::WrongHash { id, path: location, expected: sha256.clone(), found, remedy });
            }
        }
    }
    let weights = files.iter().find(|file| entry.is_weights(&file.path)).cloned();
    let weights = weights.ok_or_else(|| missing_file(entry, "the file of weights", &dir))?;
    Ok(VerifiedModel { entry: entry.clone(), dir, weights: weights.location, weights_sha256: weights.sha256, files })
}

fn missing_file(entry: &ModelEntry, file: &str, dir: &Path) -> ModelError {
    ModelError::MissingFile { id: entry.id.clone(), file: file.to_owned(), dir: dir.to_owned(), remedy: entry.remedy() }
}

/// How a model looks without reading it: presence and sizes only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelState {
    /// Every file is here and of the right size.
    Here,
    /// No file is here.
    Absent,
    /// Every file is here, and nothing says what they must be.
    Unrecorded,
    /// Some file is missing or of a wrong size.
    Damaged {
        /// Which file, and what is wrong with it.
        problem: String,
    },
}

impl ModelState {
    /// One word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            ModelState::Here => "here",
            ModelState::Absent => "absent",
            ModelState::Unrecorded => "unrecorded",
            ModelState::Damaged { .. } => "damaged",
        }
    }
}

/// How a model looks without reading it; [`verify`] reads every byte.
///
/// # Errors
/// [`ModelError::Record`] or [`ModelError::Io`].
pub fn state(models_dir: &Path, entry: &ModelEntry) -> Result<ModelState, ModelError> {
    let dir = models_dir.join(&entry.id);
    let lock = FilesLock::read(&dir)?;
    let mut present = 0;
    let mut recorded = true;
    let mut problem = None;
    for file in &entry.files {
        let path = dir.join(&file.path);
        let expected = lock.expected(entry, &file.path);
        recorded &= expected.is_some();
        match (fs::metadata(&path), expected) {
            (Ok(found), Some(expected)) if found.len() != expected.size => {
                present += 1;
                problem = Some(format!("{} has {} bytes and must have {}", file.path, found.len(), expected.size));
            }
            (Ok(_), _) => present += 1,
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
                problem = problem.or(Some(format!("{} is missing", file.path)));
            }
            (Err(error), _) => return Err(ModelError::io("look at", &path)(error)),
        }
    }
    Ok(match problem {
        _ if present == 0 => ModelState::Absent,
        Some(problem) => ModelState::Damaged { problem },
        None if recorded => ModelState::Here,
        None => ModelState::Unrecorded,
    })
}

/// What checking one file found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileCheck {
    Good,
    Missing,
    WrongSize { found: u64 },
    WrongHash { found: String },
}

/// Checks one file: its size first, for that costs nothing.
pub(super) fn check_file(path: &Path, expected: &Expected) -> Result<FileCheck, ModelError> {
    match fs::metadata(path) {
        Ok(found) if found.len() != expected.size => return Ok(FileCheck::WrongSize { found: found.len() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FileCheck::Missing),
        Err(error) => return Err(ModelError::io("look at", path)(error)),
    }
    let (found, _) = hash_file(path)?;
    Ok(if found == expected.sha256 { FileCheck::Good } else { FileCheck::WrongHash { found } })
}

/// SHA-256, hexadecimal, and size in bytes.
pub(super) fn hash_file(path: &Path) -> Result<(String, u64), ModelError> {
    let file = File::open(path).map_err(ModelError::io("open", path))?;
    let mut hash = Sha256::new();
    let size = each_block(file, |block| {
        hash.update(block);
        Ok(())
    })
    .map_err(ModelError::io("read", path))?;
    Ok((hexadecimal(&hash.finalize()), size))
}

/// Hands a reader's bytes on in blocks of up to a mebibyte; says how many there were.
pub(super) fn each_block(mut reader: impl Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut block = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        match reader.read(&mut block) {
            Ok(0) => return Ok(size),
            Ok(read) => {
                take(block.get(..read).unwrap_or_default())?;
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::entry::ModelFile;
    use super::super::lock::LockedFile;
    use super::super::registry::Registry;
    use super::*;

    // sha256 of the bytes "weights".
    const WEIGHTS: &str = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c";

    fn fake(models_dir: &Path) -> ModelEntry {
        let mut entry = Registry::builtin().unwrap().get("rubert-tiny2").unwrap().clone();
        entry.id = "fake".to_owned();
        let pinned =
            |path: &str, sha256: &str, size| ModelFile { path: path.into(), sha256: Some(sha256.into()), size };
        let (config, _) = written(models_dir, "config.json", b"{}");
        let (weights, _) = written(models_dir, "model.safetensors", b"weights");
        entry.files = vec![pinned("config.json", &config, Some(2)), pinned("model.safetensors", &weights, Some(7))];
        entry
    }

    fn written(models_dir: &Path, name: &str, bytes: &[u8]) -> (String, u64) {
        let dir = models_dir.join("fake");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), bytes).unwrap();
        hash_file(&dir.join(name)).unwrap()
    }

    #[test]
    fn a_whole_model_is_verified() {
        let root = tempfile::tempdir().unwrap();
        let entry = fake(root.path());
        let model = verify(root.path(), &entry).unwrap();
        assert_eq!(model.weights_sha256.len(), 64);
        assert_eq!(model.weights_sha256, hash_file(&model.weights).unwrap().0);
        assert_eq!(model.file("config.json"), Some(root.path().join("fake/config.json").as_path()));
        assert_eq!(state(root.path(), &entry).unwrap(), ModelState::Here);
    }

    #[test]
    fn the_hash_is_sha256() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(written(root.path(), "model.safetensors", b"weights"), (WEIGHTS.to_owned(), 7));
    }

    #[test]
    fn damage_is_named() {
        let table = [
            ("model.safetensors", Some(&b"weightz"[..]), "here", vec!["model.safetensors", "sha256", WEIGHTS]),
            ("model.safetensors", Some(b"weight"), "damaged", vec!["model.safetensors", "has 6 bytes", "must have 7"]),
            ("config.json", None, "damaged", vec!["config.json is missing from", "otklik models pull fake"]),
        ];
        for (name, bytes, seen, said) in table {
            let root = tempfile::tempdir().unwrap();
            let entry = fake(root.path());
            match bytes {
                Some(bytes) => fs::write(root.path().join("fake").join(name), bytes).unwrap(),
                None => fs::remove_file(root.path().join("fake").join(name)).unwrap(),
            }
            let error = verify(root.path(), &entry).unwrap_err().to_string();
            assert!(said.iter().all(|part| error.contains(part)), "{error}");
            assert_eq!(state(root.path(), &entry).unwrap().as_str(), seen);
        }
    }

    #[test]
    fn an_unpinned_file_is_held_to_its_record() {
        let root = tempfile::tempdir().unwrap();
        let mut entry = fake(root.path());
        entry.files[1] = ModelFile { path: "model.safetensors".into(), sha256: None, size: None };
        assert!(matches!(verify(root.path(), &entry), Err(ModelError::Unpinned { .. })));
        assert_eq!(state(root.path(), &entry).unwrap(), ModelState::Unrecorded);

        let (path, origin) = ("model.safetensors".to_owned(), "test".to_owned());
        let lock = FilesLock { file: vec![LockedFile { path, sha256: WEIGHTS.to_owned(), size: 7, origin }] };
        lock.write(&root.path().join("fake")).unwrap();
        assert_eq!(verify(root.path(), &entry).unwrap().weights_sha256, WEIGHTS);

        written(root.path(), "model.safetensors", b"weightz");
        assert!(matches!(verify(root.path(), &entry), Err(ModelError::WrongHash { .. })));
    }

    #[test]
    fn the_shipped_encoder_is_whole() {
        let models_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let registry = Registry::load(&models_dir).unwrap();
        verify(&models_dir, registry.get("e5-small-ru-en").unwrap()).unwrap();
    }
}
