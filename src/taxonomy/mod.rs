//! What feedback can be about and who owns it: topics, signals, teams, ownership rules and phrase rules.
//!
//! Enters: a TOML file written by people. Leaves: a [`Taxonomy`] that is checked as a whole and never changes, its
//! [`TaxonomyVersion`], the rules that fire on a text ([`RuleHit`]), the team that owns a topic ([`Owner`]), and what differs
//! between two taxonomies ([`TaxonomyDiff`]). The [`versions`] that were published lie in a folder. Never here: models, the case
//! store, the network.

mod affected;
mod checks;
mod diff;
mod entries;
pub(crate) mod fields;
mod ownership;
mod patterns;
pub(crate) mod phrases;
pub(crate) mod problems;
#[cfg(test)]
mod rule_tests;
mod rules;
mod source;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod validation_tests;
pub mod versions;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};
use toml::de::DeTable;

pub use affected::AffectedTopics;
pub use diff::{Change, EntryChange, FieldChange, SectionDiff, TaxonomyDiff, diff};
pub use entries::{Example, Localized, OwnershipRule, PhraseRule, RuleTarget, Signal, Team, Topic, Within};
pub use ownership::{Owner, OwnershipContext};
pub use phrases::MAX_GAP;
pub use problems::{Problem, Problems, TaxonomyError};
pub use rules::{RuleHit, RuleText, RuleWord};

use crate::feedback::Speaker;
use crate::tags::{SignalId, TaxonomyVersion, TeamId, TopicId};
use ownership::OwnershipTable;
use patterns::Patterns;
use problems::Place;
use rules::RuleSet;
use source::Source;

/// The default taxonomy as a file: a start for one of your own.
pub const DEFAULT_SOURCE: &str = include_str!("default.toml");

/// The name that problems of [`DEFAULT_SOURCE`] would be reported under.
const DEFAULT_FILE_NAME: &str = "default.toml";

/// A taxonomy file may have at most this many bytes.
pub const MAX_FILE_BYTES: usize = 8 << 20;

/// A taxonomy: checked, immutable. Share it in an [`Arc`](std::sync::Arc).
#[derive(Debug, Clone, Serialize)]
pub struct Taxonomy {
    version: TaxonomyVersion,
    #[serde(flatten)]
    contents: Contents,
    #[serde(skip)]
    topic_positions: HashMap<TopicId, usize>,
    #[serde(skip)]
    groups: HashSet<TopicId>,
    #[serde(skip)]
    signal_positions: HashMap<SignalId, usize>,
    #[serde(skip)]
    team_positions: HashMap<TeamId, usize>,
    #[serde(skip)]
    owners: OwnershipTable,
    #[serde(skip)]
    rule_set: RuleSet,
}

/// All that a taxonomy says. Its serialised form is what the version is the hash of, so it must not change by itself.
#[derive(Debug, Clone, Serialize)]
struct Contents {
    schema: u32,
    name: String,
    languages: Vec<String>,
    triage_team: TeamId,
    teams: Vec<Team>,
    topics: Vec<Topic>,
    signals: Vec<Signal>,
    ownership: Vec<OwnershipRule>,
    rules: Vec<PhraseRule>,
}

impl Taxonomy {
    /// Reads and checks a taxonomy. `file_name` stands before each problem and is not opened.
    ///
    /// # Errors
    /// [`TaxonomyError::Invalid`] with every problem found, each with its line and key.
    pub fn parse(source: &str, file_name: &str) -> Result<Self, TaxonomyError> {
        let mut problems = Problems::new(source, file_name);
        let whole_file = Place { offset: 0, key: String::new() };
        if source.len() > MAX_FILE_BYTES {
            problems.report(&whole_file, too_large());
            return Err(problems.into_error());
        }
        let (table, syntax_errors) = DeTable::parse_recoverable(source);
        for error in syntax_errors {
            problems.report_syntax(source, error.span(), error.message());
        }
        if !problems.is_empty() {
            return Err(problems.into_error());
        }
        let read = Source::read(table.get_ref(), &mut problems);
        checks::check(&read, &mut problems);
        if !problems.is_empty() {
            return Err(problems.into_error());
        }
        Self::build(read).map_err(|error| {
            problems.report(&whole_file, format!("no version can be computed: {error}"));
            problems.into_error()
        })
    }

    /// Reads and checks the taxonomy in a file.
    ///
    /// # Errors
    /// [`TaxonomyError::Read`] if the file can't be read, [`TaxonomyError::Invalid`] with every problem found in it.
    pub fn load(path: &Path) -> Result<Self, TaxonomyError> {
        Self::load_with_source(path).map(|(taxonomy, _)| taxonomy)
    }

    /// The same, with the text of the file.
    ///
    /// # Errors
    /// Those of [`Taxonomy::load`].
    pub fn load_with_source(path: &Path) -> Result<(Self, String), TaxonomyError> {
        let read_error = |problem| TaxonomyError::Read { path: path.to_owned(), problem };
        let mut bytes = Vec::new();
        let limit = MAX_FILE_BYTES as u64 + 1;
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(read_error)?;
        let file_name = path.display().to_string();
        let invalid = |source: &str, offset: usize, message: String| {
            let mut problems = Problems::new(source, &file_name);
            problems.report(&Place { offset, key: String::new() }, message);
            Err(problems.into_error())
        };
        if bytes.len() > MAX_FILE_BYTES {
            return invalid("", 0, too_large());
        }
        match String::from_utf8(bytes) {
            Ok(source) => Ok((Self::parse(&source, &file_name)?, source)),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes());
                invalid(&text, offset, format!("is not UTF-8 text: bad byte at offset {offset}"))
            }
        }
    }

    /// The taxonomy that comes with otklik, [`DEFAULT_SOURCE`].
    ///
    /// # Errors
    /// Like [`Taxonomy::parse`]; the taxonomy that comes with a release has no problems.
    pub fn default_taxonomy() -> Result<Self, TaxonomyError> {
        Self::parse(DEFAULT_SOURCE, DEFAULT_FILE_NAME)
    }

    fn build(source: Source<'_>) -> Result<Self, serde_json::Error> {
        let rules: Vec<(PhraseRule, Patterns)> = source.rules.into_iter().map(|entry| entry.value).collect();
        let contents = Contents {
            schema: 1,
            name: source.name,
            languages: source.languages,
            triage_team: source.triage_team.value,
            teams: source.teams.into_iter().map(|entry| entry.value).collect(),
            topics: source.topics.into_iter().map(|entry| entry.value).collect(),
            signals: source.signals.into_iter().map(|entry| entry.value).collect(),
            ownership: source.ownership.into_iter().map(|entry| entry.value).collect(),
            rules: rules.iter().map(|(rule, _)| rule.clone()).collect(),
        };
        let speakers_of = |target: &RuleTarget| match target {
            RuleTarget::Topic(_) => Speaker::ALL.to_vec(),
            RuleTarget::Signal(id) => {
                let signal = contents.signals.iter().find(|signal| signal.id == *id);
                signal.map(|signal| signal.speakers.clone()).unwrap_or_default()
            }
        };
        Ok(Self {
            version: contents.version()?,
            topic_positions: positions(&contents.topics, |topic| topic.id.clone()),
            groups: contents.topics.iter().filter_map(|topic| topic.parent.clone()).collect(),
            signal_positions: positions(&contents.signals, |signal| signal.id.clone()),
            team_positions: positions(&contents.teams, |team| team.id.clone()),
            owners: OwnershipTable::new(&contents.ownership),
            rule_set: RuleSet::new(rules, speakers_of),
            contents,
        })
    }

    /// The hash of all that the taxonomy says. Comments, white space and the order of keys don't count; the order of entries
    /// does.
    pub fn version(&self) -> &TaxonomyVersion {
        &self.version
    }

    /// Its short name.
    pub fn name(&self) -> &str {
        &self.contents.name
    }

    /// Codes of the languages of names and examples (`ru`, `en`, ...); the first stands in for the others. Never empty.
    pub fn languages(&self) -> &[String] {
        &self.contents.languages
    }

    /// All topics, groups among them, in the order of the file.
    pub fn topics(&self) -> &[Topic] {
        &self.contents.topics
    }

    /// One topic.
    pub fn topic(&self, id: &TopicId) -> Option<&Topic> {
        self.topic_positions.get(id).and_then(|position| self.contents.topics.get(*position))
    }

    /// True for a topic with topics below it, which itself is never given.
    pub fn is_group(&self, id: &TopicId) -> bool {
        self.groups.contains(id)
    }

    /// The topics that feedback is tagged with: those without topics below them, in the order of the file.
    pub fn taggable_topics(&self) -> impl Iterator<Item = &Topic> {
        self.contents.topics.iter().filter(|topic| !self.is_group(&topic.id))
    }

    /// All signals, in the order of the file.
    pub fn signals(&self) -> &[Signal] {
        &self.contents.signals
    }

    /// One signal.
    pub fn signal(&self, id: &SignalId) -> Option<&Signal> {
        self.signal_positions.get(id).and_then(|position| self.contents.signals.get(*position))
    }

    /// All teams, in the order of the file.
    pub fn teams(&self) -> &[Team] {
        &self.contents.teams
    }

    /// One team.
    pub fn team(&self, id: &TeamId) -> Option<&Team> {
        self.team_positions.get(id).and_then(|position| self.contents.teams.get(*position))
    }

    /// The team that takes what no topic decided.
    pub fn triage_team(&self) -> &TeamId {
        &self.contents.triage_team
    }

    /// All ownership rules, in the order of the file.
    pub fn ownership_rules(&self) -> &[OwnershipRule] {
        &self.contents.ownership
    }

    /// All phrase rules, in the order of the file.
    pub fn phrase_rules(&self) -> &[PhraseRule] {
        &self.contents.rules
    }

    /// The one team that owns a topic in a context: that of the most specific ownership rule. A group without a rule of its own,
    /// or a topic of another taxonomy, goes to the triage team.
    pub fn owner(&self, topic: &TopicId, context: &OwnershipContext<'_>) -> Owner {
        let parent = self.topic(topic).and_then(|topic| topic.parent.as_ref());
        let (team, rule_id, reason) = match self.owners.decide(topic, parent, context) {
            Some(rule) => (rule.team.clone(), Some(rule.id.clone()), ownership::reason(rule, context)),
            None => (self.triage_team().clone(), None, format!("no ownership rule for topic {topic}")),
        };
        let escalates_to = self.team(&team).and_then(|team| team.escalates_to.clone());
        Owner { team, rule_id, reason, escalates_to }
    }

    /// The phrase rules that fire on the texts of one piece of feedback (one text, or the turns of a conversation), in the order of
    /// the file. A rule `within = "text"` looks over all texts of its speakers, any other within one sentence.
    pub fn match_rules(&self, texts: &[RuleText<'_>]) -> Vec<RuleHit> {
        self.rule_set.match_rules(texts)
    }
}

impl Contents {
    fn version(&self) -> Result<TaxonomyVersion, serde_json::Error> {
        const DIGITS: usize = 16;
        let mut hasher = Sha256::new();
        serde_json::to_writer(&mut hasher, self)?;
        let digits: String = hasher.finalize().iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
        Ok(TaxonomyVersion::new(format!("sha256:{digits}")))
    }
}

fn positions<T, I: std::hash::Hash + Eq>(entries: &[T], id_of: impl Fn(&T) -> I) -> HashMap<I, usize> {
    entries.iter().enumerate().map(|(position, entry)| (id_of(entry), position)).collect()
}

fn too_large() -> String {
    format!("the file has more than {} MiB, the most allowed", MAX_FILE_BYTES >> 20)
}
