//! One entry of the registry: what a model is called, what it is for, which files it has and where they come from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::parts::PackageParts;
use crate::feedback::named_enum;
use crate::inference::Pooling;

named_enum! {
    /// What a model is for.
    Task {
        /// Turns text into vectors.
        Encoder = "encoder",
        /// Writes text.
        LanguageModel = "language-model",
    }
}

/// The family whose code runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// BERT.
    Bert,
    /// XLM-RoBERTa.
    XlmRoberta,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3.
    Qwen3,
    /// Gemma 3.
    Gemma3,
}

/// How weights lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightsFormat {
    /// GGUF, whole or quantised.
    Gguf,
    /// Safetensors.
    Safetensors,
}

/// What an encoder wants in front of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefixes {
    /// In front of a text that is looked up or classified.
    pub query: String,
    /// In front of a text that is looked for.
    pub passage: String,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Path inside the model's folder, with `/`.
    pub path: String,
    /// SHA-256, 64 lowercase hexadecimal digits; absent when nobody has pinned it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Size in bytes; absent when nobody has pinned it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A repository on the model hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// Owner and name.
    pub repository: String,
    /// Branch, tag or commit.
    #[serde(default = "main_branch")]
    pub revision: String,
    /// Path in the repository of each file whose path differs there, by its path here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

fn main_branch() -> String {
    "main".to_owned()
}

/// Python packages whose data files, joined in order, are one file of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSource {
    /// The model's file that the parts make.
    pub target: String,
    /// The packages, in order.
    pub packages: PackageParts,
}

/// The model comes with otklik's own repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositorySource {
    /// What it was made from, a line each.
    pub made_from: Vec<String>,
}

/// The model was tuned from another on rows of the company's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedSource {
    /// Id of the encoder that it was.
    pub from: String,
    /// SHA-256 of that encoder's weights, hexadecimal.
    pub from_sha256: String,
    /// Name of the label that it learnt.
    pub label: String,
    /// Rows that it learnt from.
    pub rows: u64,
}

/// Where a model comes from: at least one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// Python packages, by the ordinary client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pypi: Option<PackageSource>,
    /// The model hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubSource>,
    /// It is already here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositorySource>,
    /// It was tuned here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<TunedSource>,
}

/// A place that a model can be fetched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// Python packages, by the ordinary client.
    Pypi,
    /// The model hub.
    Hub,
}

impl SourceKind {
    /// The name, as the registry and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceKind::Pypi => "pypi",
            SourceKind::Hub => "hub",
        }
    }
}

impl Sources {
    /// The places to fetch from, in the order in which they are tried.
    ///
    /// Packages come first: mirrors of them are common in closed networks, mirrors of the hub are not.
    pub fn kinds(&self) -> Vec<SourceKind> {
        let pypi = self.pypi.as_ref().map(|_| SourceKind::Pypi);
        let hub = self.hub.as_ref().map(|_| SourceKind::Hub);
        pypi.into_iter().chain(hub).collect()
    }
}

/// One model of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Id: the name of the model's folder too; lowercase letters, digits, `.`, `_` and `-`.
    pub id: String,
    /// What its makers call it.
    pub name: String,
    /// What it is for.
    pub task: Task,
    /// The family whose code runs it.
    pub architecture: Architecture,
    /// How its weights lie in a file.
    pub format: WeightsFormat,
    /// How token states become one vector; encoders only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// What it wants in front of a text; encoders only, absent when it wants nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<Prefixes>,
    /// Length of its vectors; encoders only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimension: Option<u32>,
    /// The longest input, tokens.
    pub max_tokens: u32,
    /// ISO 639-1 codes, or `multilingual`.
    pub languages: Vec<String>,
    /// Licence of the weights: an SPDX id, or the name of the terms.
    pub licence: String,
    /// Memory to load and run it, megabytes; an estimate from above.
    pub memory_mb: u32,
    /// What one should know before choosing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Its files; exactly one of them holds the weights.
    pub files: Vec<ModelFile>,
    /// Where it comes from.
    pub sources: Sources,
}

impl ModelEntry {
    /// The file that holds the weights.
    pub fn weights(&self) -> Option<&ModelFile> {
        self.files.iter().find(|file| self.is_weights(&file.path))
    }

    pub(super) fn is_weights(&self, path: &str) -> bool {
        let extension = match self.format {
            WeightsFormat::Gguf => "gguf",
            WeightsFormat::Safetensors => "safetensors",
        };
        Path::new(path).extension().is_some_and(|found| found == extension)
    }

    /// Size of all files in bytes, if every one is pinned.
    pub fn size(&self) -> Option<u64> {
        self.files.iter().map(|file| file.size).sum()
    }

    /// What brings a missing or damaged file back, as a clause of a message.
    pub(super) fn remedy(&self) -> String {
        if let Some(tuned) = &self.sources.tuned {
            format!("it was tuned on {:?}: train it anew, or restore its folder", tuned.label)
        } else if self.sources.kinds().is_empty() {
            format!("it comes with otklik's repository: restore the folder models/{} from there", self.id)
        } else {
            format!("`otklik models pull {}` gets it", self.id)
        }
    }

    /// Checks what the types cannot say; the error begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        let id_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if !self.id.starts_with(|c: char| c.is_ascii_alphanumeric()) || !self.id.chars().all(id_char) {
            return Err("id: must start with a letter or a digit; allowed are a-z, 0-9, '.', '_', '-'".to_owned());
        }
        self.check_task()?;
        for (key, empty) in [
            ("max_tokens", self.max_tokens == 0),
            ("memory_mb", self.memory_mb == 0),
            ("languages", self.languages.is_empty()),
            ("licence", self.licence.trim().is_empty()),
        ] {
            if empty {
                return Err(format!("{key}: must not be empty or 0"));
            }
        }
        self.check_files()?;
        self.check_sources()
    }

    fn check_task(&self) -> Result<(), String> {
        let encoder_architecture = matches!(self.architecture, Architecture::Bert | Architecture::XlmRoberta);
        match self.task {
            Task::Encoder if !encoder_architecture => {
                Err("architecture: an encoder is \"bert\" or \"xlm-roberta\"".to_owned())
            }
            Task::Encoder if self.pooling.is_none() => Err("pooling: an encoder needs \"mean\" or \"cls\"".to_owned()),
            Task::Encoder if self.dimension.is_none_or(|dimension| dimension == 0) => {
                Err("dimension: an encoder needs the length of its vectors".to_owned())
            }
            Task::LanguageModel if encoder_architecture => {
                Err("architecture: a language model is \"qwen2\", \"qwen3\" or \"gemma3\"".to_owned())
            }
            Task::LanguageModel if self.pooling.is_some() || self.prefixes.is_some() || self.dimension.is_some() => {
                Err("pooling, prefixes, dimension: only an encoder has them".to_owned())
            }
            Task::Encoder | Task::LanguageModel => Ok(()),
        }
    }

    fn check_files(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (at, file) in self.files.iter().enumerate() {
            if !is_plain_path(&file.path) || file.path == super::lock::FILE_NAME {
                return Err(format!(
                    "files[{at}].path: \"{}\" must be a relative path with '/', without '.' and '..'",
                    file.path
                ));
            }
            if !seen.insert(&file.path) {
                return Err(format!("files[{at}].path: \"{}\" is listed twice", file.path));
            }
            if file.sha256.as_deref().is_some_and(|sha256| !is_sha256(sha256)) {
                return Err(format!("files[{at}].sha256: must be 64 lowercase hexadecimal digits"));
            }
            if file.sha256.is_some() != file.size.is_some() {
                return Err(format!("files[{at}]: sha256 and size are given together or not at all"));
            }
        }
        match self.files.iter().filter(|file| self.is_weights(&file.path)).count() {
            1 => Ok(()),
            count => Err(format!("files: {count} files of the given format; exactly one must hold the weights")),
        }
    }

    fn check_sources(&self) -> Result<(), String> {
        let listed = |path: &str| self.files.iter().any(|file| file.path == path);
        let sources = &self.sources;
        if sources.kinds().is_empty() && sources.repository.is_none() && sources.tuned.is_none() {
            return Err("sources: at least one of pypi, hub, repository, tuned".to_owned());
        }
        if (sources.repository.is_some() || sources.tuned.is_some())
            && self.files.iter().any(|file| file.sha256.is_none())
        {
            return Err("files: a model that comes with the repository or was tuned has every sha256".to_owned());
        }
        if let Some(pypi) = &sources.pypi {
            pypi.packages.expand().map_err(|problem| format!("sources.pypi.packages.{problem}"))?;
            if !listed(&pypi.target) {
                return Err(format!("sources.pypi.target: \"{}\" is not in files", pypi.target));
            }
            if self.files.len() != 1 {
                return Err("sources.pypi: fits a model of one file only".to_owned());
            }
        }
        if let Some(hub) = &sources.hub {
            if hub.repository.split('/').filter(|part| !part.is_empty()).count() != 2 {
                return Err(format!("sources.hub.repository: \"{}\" must be OWNER/NAME", hub.repository));
            }
            if hub.revision.is_empty() {
                return Err("sources.hub.revision: must not be empty".to_owned());
            }
            if let Some(path) = hub.files.keys().find(|path| !listed(path)) {
                return Err(format!("sources.hub.files: \"{path}\" is not in files"));
            }
        }
        Ok(())
    }
}

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

pub(super) fn is_plain_path(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', ':'])
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}
