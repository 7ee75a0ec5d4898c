//! The playbook: what operators may do and say beyond the script, and what the script covers.
//!
//! Enters: a TOML file of the company's, and the taxonomy whose topics, signals and teams it names. Leaves: a [`Playbook`] that is
//! checked as a whole and never changes, with a [`PlaybookVersion`]. Never here: models, storage, decisions about one customer.

mod drafts;
mod entries;
mod limits;
mod phrases;
mod source;
#[cfg(test)]
mod tests;
mod wording;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::de::DeTable;

use crate::taxonomy::problems::Place;
pub use crate::taxonomy::{Problem, Problems};
use crate::taxonomy::{Taxonomy, TaxonomyError};
pub use drafts::{DraftContext, DraftError, DraftGesture, render};
pub use entries::{
    Above, Avoidance, DraftTemplate, Gesture, Intent, IntentExample, Limit, Occasion, ReplyLanguage, Times, Wording,
};
pub(crate) use phrases::{PhraseSet, tightness};
pub use wording::limit_in_words;

/// The default playbook as a file: a start for one of your own.
pub const DEFAULT_SOURCE: &str = include_str!("../default_playbook.toml");

/// The name that problems of [`DEFAULT_SOURCE`] would be reported under.
const DEFAULT_FILE_NAME: &str = "default_playbook.toml";

/// A playbook file may have at most this many bytes.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// Content hash of a playbook: `sha256:` and the first 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlaybookVersion(String);

impl PlaybookVersion {
    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PlaybookVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a playbook can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaybookError {
    /// The file can't be read.
    #[error("{}: {problem}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// The content is at fault; printed as one line a problem.
    #[error("{0}")]
    Invalid(Problems),
}

impl PlaybookError {
    /// Every problem found in the content, in order of line; empty if the file could not be read at all.
    pub fn problems(&self) -> &[Problem] {
        match self {
            PlaybookError::Read { .. } => &[],
            PlaybookError::Invalid(problems) => problems.list(),
        }
    }
}

/// A playbook: checked, immutable. Share it in an [`Arc`](std::sync::Arc).
#[derive(Debug, Clone, Serialize)]
pub struct Playbook {
    version: PlaybookVersion,
    #[serde(flatten)]
    contents: Contents,
    #[serde(skip)]
    gesture_phrases: Vec<PhraseSet>,
    #[serde(skip)]
    avoidance_patterns: Vec<PhraseSet>,
}

/// All that a playbook says. Its serialised form is what the version is the hash of, so it must not change by itself.
#[derive(Debug, Clone, Serialize)]
struct Contents {
    schema: u32,
    name: String,
    edition: String,
    currency: String,
    gestures: Vec<Gesture>,
    intents: Vec<Intent>,
    avoid: Vec<Avoidance>,
    drafts: Vec<DraftTemplate>,
}

impl Playbook {
    /// Reads and checks a playbook. `file_name` stands before each problem and is not opened.
    ///
    /// # Errors
    /// [`PlaybookError::Invalid`] with every problem found, each with its line and key.
    pub fn parse(source: &str, file_name: &str, taxonomy: &Taxonomy) -> Result<Self, PlaybookError> {
        let mut problems = Problems::new(source, file_name);
        let whole_file = Place { offset: 0, key: String::new() };
        let invalid = |problems: Problems| PlaybookError::Invalid(problems.in_order());
        if source.len() > MAX_FILE_BYTES {
            problems.report(&whole_file, too_large());
            return Err(invalid(problems));
        }
        let (table, syntax_errors) = DeTable::parse_recoverable(source);
        for error in syntax_errors {
            problems.report_syntax(source, error.span(), error.message());
        }
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        let read = source::read(table.get_ref(), taxonomy, &mut problems);
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        Self::build(read).map_err(|error| {
            problems.report(&whole_file, format!("no version can be computed: {error}"));
            invalid(problems)
        })
    }

    /// Reads and checks the playbook in a file.
    ///
    /// # Errors
    /// [`PlaybookError::Read`] if the file can't be read or is no text, [`PlaybookError::Invalid`] with every problem found in it.
    pub fn load(path: &Path, taxonomy: &Taxonomy) -> Result<Self, PlaybookError> {
        let read_error = |problem| PlaybookError::Read { path: path.to_owned(), problem };
        let mut text = String::new();
        let limit = MAX_FILE_BYTES as u64 + 1;
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)).map_err(read_error)?;
        Self::parse(&text, &path.display().to_string(), taxonomy)
    }

    /// The playbook that comes with otklik, [`DEFAULT_SOURCE`], for a taxonomy that has the topics, signals and teams that it names.
    ///
    /// # Errors
    /// Like [`Playbook::parse`]. With the default taxonomy it has no problems.
    pub fn default_playbook(taxonomy: &Taxonomy) -> Result<Self, PlaybookError> {
        Self::parse(DEFAULT_SOURCE, DEFAULT_FILE_NAME, taxonomy)
    }

    /// The playbook that comes with otklik, without the entries that name a topic, signal or team that a taxonomy does not have; and how many
    /// those were. For a company that has a taxonomy of its own and no playbook yet.
    ///
    /// # Errors
    /// Like [`Playbook::parse`]; what comes with a release has no problems.
    pub fn default_for(taxonomy: &Taxonomy) -> Result<(Self, usize), PlaybookError> {
        let whole = Taxonomy::default_taxonomy().map_err(|error| match error {
            TaxonomyError::Read { path, problem } => PlaybookError::Read { path, problem },
            TaxonomyError::Invalid(problems) => PlaybookError::Invalid(problems),
        })?;
        let Self { contents, gesture_phrases, avoidance_patterns, .. } = Self::default_playbook(&whole)?;
        let before = contents.gestures.len() + contents.avoid.len() + contents.drafts.len();
        let knows = |occasion: &Occasion| {
            occasion.topics.iter().all(|topic| taxonomy.topic(topic).is_some())
                && occasion.signals.iter().all(|signal| taxonomy.signal(signal).is_some())
        };
        let fits = |gesture: &Gesture| {
            let (topics, signals) = (gesture.topics.clone(), gesture.signals.clone());
            knows(&Occasion { topics, signals, kinds: Vec::new() })
                && gesture.teams.iter().all(|team| taxonomy.team(team).is_some())
        };
        let source = source::Source {
            gestures: contents.gestures.into_iter().zip(gesture_phrases).filter(|(entry, _)| fits(entry)).collect(),
            avoid: contents.avoid.into_iter().zip(avoidance_patterns).filter(|(entry, _)| knows(&entry.when)).collect(),
            drafts: contents.drafts.into_iter().filter(|entry| knows(&entry.when)).collect(),
            intents: contents.intents,
            name: contents.name,
            edition: contents.edition,
            currency: contents.currency,
        };
        let left_out = before - source.gestures.len() - source.avoid.len() - source.drafts.len();
        let fitting = Self::build(source).map_err(|error| {
            let mut problems = Problems::new(DEFAULT_SOURCE, DEFAULT_FILE_NAME);
            let whole_file = Place { offset: 0, key: String::new() };
            problems.report(&whole_file, format!("no version can be computed: {error}"));
            PlaybookError::Invalid(problems)
        })?;
        Ok((fitting, left_out))
    }

    fn build(source: source::Source) -> Result<Self, serde_json::Error> {
        let source::Source { name, edition, currency, gestures, intents, avoid, drafts } = source;
        let (gestures, gesture_phrases) = gestures.into_iter().unzip();
        let (avoid, avoidance_patterns) = avoid.into_iter().unzip();
        let contents = Contents { schema: 1, name, edition, currency, gestures, intents, avoid, drafts };
        Ok(Self { version: contents.version()?, contents, gesture_phrases, avoidance_patterns })
    }

    /// The hash of all that the playbook says. Comments and white space don't count; the order of entries does.
    pub fn version(&self) -> &PlaybookVersion {
        &self.version
    }

    /// Its short name.
    pub fn name(&self) -> &str {
        &self.contents.name
    }

    /// The company's own name of this edition.
    pub fn edition(&self) -> &str {
        &self.contents.edition
    }

    /// The currency of limits and costs: a code of three letters, as in `RUB`.
    pub fn currency(&self) -> &str {
        &self.contents.currency
    }

    /// All gestures, in the order of the file.
    pub fn gestures(&self) -> &[Gesture] {
        &self.contents.gestures
    }

    /// One gesture.
    pub fn gesture(&self, id: &str) -> Option<&Gesture> {
        self.contents.gestures.iter().find(|gesture| gesture.id == id)
    }

    /// All intents of the script, in the order of the file.
    pub fn intents(&self) -> &[Intent] {
        &self.contents.intents
    }

    /// All avoidances, in the order of the file.
    pub fn avoidances(&self) -> &[Avoidance] {
        &self.contents.avoid
    }

    /// All templates, in the order of the file.
    pub fn drafts(&self) -> &[DraftTemplate] {
        &self.contents.drafts
    }

    /// Gestures with the phrases by which a text promises them.
    pub(crate) fn promised_by(&self) -> impl Iterator<Item = (&Gesture, &PhraseSet)> {
        self.contents.gestures.iter().zip(&self.gesture_phrases)
    }

    /// Avoidances with the phrases by which a text does what is to be avoided.
    pub(crate) fn avoided_by(&self) -> impl Iterator<Item = (&Avoidance, &PhraseSet)> {
        self.contents.avoid.iter().zip(&self.avoidance_patterns)
    }
}

impl Contents {
    fn version(&self) -> Result<PlaybookVersion, serde_json::Error> {
        const DIGITS: usize = 16;
        let mut hasher = Sha256::new();
        serde_json::to_writer(&mut hasher, self)?;
        let digits: String = hasher.finalize().iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
        Ok(PlaybookVersion(format!("sha256:{digits}")))
    }
}

fn too_large() -> String {
    format!("the file has more than {} MiB, the most allowed", MAX_FILE_BYTES >> 20)
}
