//! The heads that serve, by what they tell: those that come with the encoder, and the user's own.

use std::path::{Path, PathBuf};

use super::{Head, HeadCard, HeadError, LabelKind, NgramSpec};
use crate::inference::Depth;
use crate::tagging::EncoderIdentity;
use crate::tags::{HeadIdentity, SentimentLabel, SignalId, TaxonomyVersion, TeamId};
use crate::taxonomy::Taxonomy;

/// Name of the head that tells sentiment.
pub const SENTIMENT: &str = "sentiment";
/// Name of the head that tells topics.
pub const TOPICS: &str = "topics";
/// Name of the head that tells the owning team.
pub const TEAM: &str = "team";

/// Labels of a head that tells a signal.
pub const YES: &str = "yes";
/// See [`YES`].
pub const NO: &str = "no";

/// The file in the folder that `otklik train` writes.
const HEAD_FILE: &str = "head.safetensors";

/// Ending of a head's file.
const ENDING: &str = "safetensors";

/// Most labels that a message lists.
const SHOWN_LABELS: usize = 8;

/// One head that serves.
#[derive(Debug, Clone)]
pub struct ServingHead {
    /// What it tells: `sentiment`, `topics`, `team` or the id of a signal.
    pub name: String,
    /// The head.
    pub head: Head,
    /// SHA-256 of its file, hexadecimal.
    pub sha256: String,
    /// True for a head of the user's, false for one that comes with the encoder.
    pub own: bool,
    /// Its file.
    pub path: PathBuf,
}

/// The heads that serve, each name once.
#[derive(Debug, Clone, Default)]
pub struct HeadSet {
    heads: Vec<ServingHead>,
}

impl HeadSet {
    /// Reads the heads of two folders; of two with one name the user's own serves. A head is named after its file, or after its
    /// folder where that holds a `head.safetensors`.
    ///
    /// Of the shipped heads those are left out that say nothing about this taxonomy: of topics or teams of another version, of
    /// signals that it lacks. A shipped folder that is not there is empty.
    ///
    /// # Errors
    /// [`HeadError::File`] if a folder or file can't be read, [`HeadError::Format`] if a file is damaged,
    /// [`HeadError::OtherEncoder`], and [`HeadError::NoUse`] for a head of the user's that tells nothing of this taxonomy.
    pub fn load(
        shipped: &Path,
        own: Option<&Path>,
        encoder: &EncoderIdentity,
        taxonomy: &Taxonomy,
    ) -> Result<Self, HeadError> {
        let mut heads = Vec::new();
        if let Some(folder) = own {
            let files = head_files(folder)?;
            if files.is_empty() {
                let problem =
                    format!("holds no head: `*.{ENDING}`, or folders with a `{HEAD_FILE}` as `otklik train` writes it");
                return Err(HeadError::Format { path: folder.to_owned(), problem });
            }
            for (name, path) in files {
                let (head, sha256) = Head::load_hashed(&path, encoder)?;
                if let Err(problem) = fits(&name, head.card(), taxonomy) {
                    return Err(HeadError::NoUse {
                        path,
                        name,
                        labels: shown(head.card().labels.iter().map(String::as_str)),
                        problem,
                    });
                }
                if heads.iter().any(|known: &ServingHead| known.name == name) {
                    let problem = format!("there is another head named {name:?} in {}", folder.display());
                    return Err(HeadError::Format { path, problem });
                }
                heads.push(ServingHead { name, head, sha256, own: true, path });
            }
        }
        let files = if shipped.is_dir() { head_files(shipped)? } else { Vec::new() };
        for (name, path) in files {
            if heads.iter().any(|known| known.name == name) {
                continue;
            }
            let (head, sha256) = Head::load_hashed(&path, encoder)?;
            if is_made_for(head.card(), taxonomy.version()) && fits(&name, head.card(), taxonomy).is_ok() {
                heads.push(ServingHead { name, head, sha256, own: false, path });
            }
        }
        heads.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { heads })
    }

    /// The head of a name.
    pub fn get(&self, name: &str) -> Option<&ServingHead> {
        self.heads.iter().find(|head| head.name == name)
    }

    /// All heads, by name.
    pub fn heads(&self) -> &[ServingHead] {
        &self.heads
    }

    /// Name and content of each, by name.
    pub fn identities(&self) -> Vec<HeadIdentity> {
        let identity = |head: &ServingHead| HeadIdentity { name: head.name.clone(), sha256: head.sha256.clone() };
        self.heads.iter().map(identity).collect()
    }

    /// Adds a head, in place of one with the same name.
    pub fn insert(&mut self, head: ServingHead) {
        self.heads.retain(|known| known.name != head.name);
        self.heads.push(head);
        self.heads.sort_by(|one, other| one.name.cmp(&other.name));
    }

    /// How much of the encoder's states the heads look at.
    pub fn depth(&self) -> Depth {
        if self.heads.iter().any(|head| head.head.card().vector_parts > 1) { Depth::Deep } else { Depth::Top }
    }

    /// Each of the ways in which n-grams must be counted for the heads, once.
    pub fn specs(&self) -> Vec<NgramSpec> {
        let mut specs = Vec::new();
        for head in &self.heads {
            if !specs.contains(&head.head.card().ngrams) {
                specs.push(head.head.card().ngrams);
            }
        }
        specs
    }
}

/// Heads in a folder by name, in order of their names.
fn head_files(folder: &Path) -> Result<Vec<(String, PathBuf)>, HeadError> {
    let failed = |source| HeadError::File { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_head = path.extension().is_some_and(|ending| ending == ENDING);
        let file = match path.is_dir() {
            true => path.join(HEAD_FILE),
            false => path.clone(),
        };
        let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
        if let Some(name) = name.filter(|_| file.is_file() && (is_head || path.is_dir())) {
            files.push((name.to_string_lossy().into_owned(), file));
        }
    }
    files.sort();
    Ok(files)
}

fn is_made_for(card: &HeadCard, version: &TaxonomyVersion) -> bool {
    card.taxonomy_version.as_ref().is_none_or(|made_for| made_for == version.as_str())
}

/// Whether a head can tell something of a taxonomy; if not, why.
fn fits(name: &str, card: &HeadCard, taxonomy: &Taxonomy) -> Result<(), String> {
    let unknown = |what: &str, known: &dyn Fn(&str) -> bool| {
        let unknown: Vec<&str> = card.labels.iter().map(String::as_str).filter(|label| !known(label)).collect();
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(format!("{} {what}", shown(unknown.into_iter()))),
        }
    };
    let exactly = |labels: &[&str]| {
        let same = labels.len() == card.labels.len() && card.labels.iter().all(|own| labels.contains(&own.as_str()));
        match same && card.kind == LabelKind::Single {
            true => Ok(()),
            false => Err(format!("it needs exactly the labels {}, one a text", labels.join(", "))),
        }
    };
    match name {
        SENTIMENT => exactly(&SentimentLabel::ALL.iter().copied().map(SentimentLabel::as_str).collect::<Vec<&str>>()),
        TOPICS => unknown("is no topic with examples in the taxonomy", &|label| {
            taxonomy.taggable_topics().any(|topic| topic.id.as_str() == label)
        }),
        TEAM => match card.kind {
            LabelKind::Multi => Err("it must give one label a text".to_owned()),
            LabelKind::Single => {
                unknown("is no team of the taxonomy", &|label| taxonomy.team(&TeamId::new(label)).is_some())
            }
        },
        signal if taxonomy.signal(&SignalId::new(signal)).is_some() => exactly(&[YES, NO]),
        _ => Err(format!(
            "a head is named after what it tells: {SENTIMENT}, {TOPICS}, {TEAM} or a signal of the taxonomy ({})",
            taxonomy.signals().iter().map(|signal| signal.id.as_str()).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// The first of some labels, for a message.
fn shown<'a>(labels: impl Iterator<Item = &'a str>) -> String {
    let labels: Vec<&str> = labels.collect();
    let first = labels.get(..SHOWN_LABELS).unwrap_or(&labels).join(", ");
    match labels.len().saturating_sub(SHOWN_LABELS) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
