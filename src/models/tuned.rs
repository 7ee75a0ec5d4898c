//! Encoders tuned here, made known to the registry of their folder.

use std::path::Path;

use serde::Serialize;

use super::entry::{ModelEntry, ModelFile, Sources, TunedSource, WeightsFormat};
use super::error::ModelError;
use super::record;
use super::verify::hash_file;

const COMMENT: &str = "Encoders tuned here. The folder can be given as --models-dir.";

/// Bytes of an encoder's memory for each byte of its file, from above: weights stand in memory with 32 bits.
const MEMORY_OF_FILE: u64 = 6;

#[derive(Serialize)]
struct RegistryFile {
    model: [ModelEntry; 1],
}

/// Writes `registry.toml` into `folder` for the encoder whose files lie in `folder/id`. `from` is the entry of the encoder that was
/// tuned.
///
/// # Errors
/// [`ModelError::Io`] if a file can't be read or written.
pub fn register_tuned(
    folder: &Path,
    id: &str,
    from: &ModelEntry,
    source: TunedSource,
) -> Result<ModelEntry, ModelError> {
    let mut files = Vec::new();
    for name in ["config.json", "model.gguf", "tokenizer.json"] {
        let path = folder.join(id).join(name);
        if path.is_file() {
            let (sha256, size) = hash_file(&path)?;
            files.push(ModelFile { path: name.to_owned(), sha256: Some(sha256), size: Some(size) });
        }
    }
    let bytes = files.iter().filter_map(|file| file.size).sum::<u64>();
    let entry = ModelEntry {
        id: id.to_owned(),
        name: format!("{} tuned on {}", from.name, source.label),
        format: WeightsFormat::Gguf,
        memory_mb: u32::try_from((bytes * MEMORY_OF_FILE).div_ceil(1 << 20)).unwrap_or(u32::MAX),
        note: None,
        files,
        sources: Sources { tuned: Some(source), ..Sources::default() },
        ..from.clone()
    };
    entry.check().map_err(|problem| ModelError::Registry {
        registry: folder.join("registry.toml").display().to_string(),
        line: 1,
        problem: format!("model \"{id}\": {problem}"),
    })?;
    record::write(&folder.join("registry.toml"), COMMENT, &RegistryFile { model: [entry.clone()] })?;
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Registry, verify};

    #[test]
    fn a_tuned_encoder_is_known_and_checked_like_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("topic-tuned");
        std::fs::create_dir_all(&model).unwrap();
        for name in ["model.gguf", "tokenizer.json", "config.json"] {
            std::fs::write(model.join(name), name).unwrap();
        }
        let builtin = Registry::builtin().unwrap();
        let from = builtin.get("e5-small-ru-en").unwrap();
        let source =
            TunedSource { from: from.id.clone(), from_sha256: "ab".repeat(32), label: "topic".to_owned(), rows: 12 };
        register_tuned(folder.path(), "topic-tuned", from, source).unwrap();
        let registry = Registry::load(folder.path()).unwrap();
        let entry = registry.get("topic-tuned").unwrap();
        assert_eq!(entry.prefixes, from.prefixes);
        assert!(verify(folder.path(), entry).is_ok());
        std::fs::write(model.join("model.gguf"), "model.GGUF").unwrap();
        let damaged = verify(folder.path(), entry).unwrap_err().to_string();
        assert!(damaged.contains("sha256") && damaged.contains("train it anew"), "{damaged}");
    }
}
