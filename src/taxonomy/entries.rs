//! What a taxonomy is made of: topics, signals, teams, ownership rules and phrase rules, as plain data.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::feedback::{Speaker, named_enum};
use crate::tags::{Confidence, SentimentLabel, SignalId, TeamId, TopicId};

/// A text in several languages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Localized {
    /// Language code and text, in the order of the taxonomy's languages.
    texts: Vec<(String, String)>,
}

impl Localized {
    pub(super) fn new(texts: Vec<(String, String)>) -> Self {
        Self { texts }
    }

    /// The text in exactly this language (`ru`, `en`, ...).
    pub fn get(&self, language: &str) -> Option<&str> {
        self.texts.iter().find(|(code, _)| code == language).map(|(_, text)| text.as_str())
    }

    /// The text in this language, else in the taxonomy's first one; empty if there is no text at all.
    pub fn in_language(&self, language: &str) -> &str {
        self.get(language).or_else(|| self.texts.first().map(|(_, text)| text.as_str())).unwrap_or_default()
    }

    /// Language code and text, in the order of the taxonomy's languages.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(code, text)| (code.as_str(), text.as_str()))
    }

    /// True if there is no text in any language.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

impl Serialize for Localized {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.texts.len()))?;
        for (code, text) in &self.texts {
            map.serialize_entry(code, text)?;
        }
        map.end()
    }
}

/// A sentence of the kind that people write about a topic, or that carries a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Code of its language (`ru`, `en`, ...).
    pub language: String,
    /// The sentence.
    pub text: String,
}

/// Examples stand in files by language: `{"ru": [...], "en": [...]}`.
fn by_language<S: Serializer>(examples: &[Example], serializer: S) -> Result<S::Ok, S::Error> {
    let mut languages: Vec<(&str, Vec<&str>)> = Vec::new();
    for example in examples {
        match languages.iter_mut().find(|(language, _)| *language == example.language) {
            Some((_, texts)) => texts.push(&example.text),
            None => languages.push((&example.language, vec![&example.text])),
        }
    }
    serializer.collect_map(languages)
}

/// What feedback can be about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topic {
    /// Its id, unique among topics.
    pub id: TopicId,
    /// The group it stands in; `None` on the first level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<TopicId>,
    /// Names by language; the taxonomy's first language is always there.
    #[serde(rename = "name")]
    pub names: Localized,
    /// One-line descriptions by language; may be empty.
    #[serde(rename = "description", skip_serializing_if = "Localized::is_empty")]
    pub descriptions: Localized,
    /// The only sentiment that the topic is given with: praise is none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentiment: Option<SentimentLabel>,
    /// Examples in the order of the taxonomy's languages; empty exactly for groups, that is topics with topics below them.
    #[serde(serialize_with = "by_language", skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

/// Something that feedback shows beside its topics, such as a risk to lose the customer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signal {
    /// Its id, unique among signals.
    pub id: SignalId,
    /// Names by language; the taxonomy's first language is always there.
    #[serde(rename = "name")]
    pub names: Localized,
    /// One-line descriptions by language; may be empty.
    #[serde(rename = "description", skip_serializing_if = "Localized::is_empty")]
    pub descriptions: Localized,
    /// Whose words can carry it; never empty, each at most once.
    pub speakers: Vec<Speaker>,
    /// How sure closeness to the examples must be before the signal is given; the service decides if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_confidence: Option<Confidence>,
    /// Examples in the order of the taxonomy's languages; may be empty if a phrase rule gives the signal.
    #[serde(serialize_with = "by_language", skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

/// Who can own a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Team {
    /// Its id, unique among teams.
    pub id: TeamId,
    /// Names by language; the taxonomy's first language is always there.
    #[serde(rename = "name")]
    pub names: Localized,
    /// One-line descriptions by language; may be empty.
    #[serde(rename = "description", skip_serializing_if = "Localized::is_empty")]
    pub descriptions: Localized,
    /// Where a case goes when this team does not solve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalates_to: Option<TeamId>,
}

/// Which team owns a topic, perhaps only for a product, a channel or a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnershipRule {
    /// Its id, unique among ownership rules.
    pub id: String,
    /// The topic; a group stands for all topics in it that no rule of their own decides.
    pub topic: TopicId,
    /// Only this product, upper or lower case; `*` is any product given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Only this channel, upper or lower case; `*` is any channel given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Only this partner, upper or lower case; `*` is any partner given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// The team that owns it.
    pub team: TeamId,
}

/// What a phrase rule gives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleTarget {
    /// A topic.
    Topic(TopicId),
    /// A signal.
    Signal(SignalId),
}

impl fmt::Display for RuleTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuleTarget::Topic(id) => write!(f, "topic {id}"),
            RuleTarget::Signal(id) => write!(f, "signal {id}"),
        }
    }
}

named_enum! {
    /// Where the parts of a phrase rule must stand together.
    Within {
        /// In one sentence.
        Sentence = "sentence",
        /// Anywhere in what the rule's speaker said: the whole text, or all turns of the conversation.
        Text = "text",
    }
}

/// A sure sign of a topic or a signal, put before any model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhraseRule {
    /// Its id, unique among phrase rules.
    pub id: String,
    /// What it gives.
    #[serde(flatten)]
    pub target: RuleTarget,
    /// Only turns of this speaker; `None` is whoever can carry the signal, and anybody for a topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker: Option<Speaker>,
    /// Where the parts must stand together.
    pub within: Within,
    /// At least one of these phrases must match, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<String>,
    /// Each of these phrases must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub all_of: Vec<String>,
    /// None of these phrases may match.
    #[serde(rename = "not", skip_serializing_if = "Vec::is_empty")]
    pub none_of: Vec<String>,
    /// A regular expression that must match the lower-case text as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// How sure the sign is.
    pub confidence: Confidence,
}
