//! What otklik says about a piece of feedback: the output of tagging.
//!
//! Every tag carries where it came from, how sure it is, and the words that it rests on.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::feedback::{CharSpan, Speaker, named_enum};

#[cfg(test)]
pub(crate) mod sample;

/// Defines a string newtype for an id.
macro_rules! id_type {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps an id.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

id_type! {
    /// Id of a topic in a taxonomy.
    TopicId
}
id_type! {
    /// Id of a team in a taxonomy.
    TeamId
}
id_type! {
    /// Id of a signal in a taxonomy.
    SignalId
}
id_type! {
    /// Content hash of a taxonomy: `sha256:` and the first 16 hexadecimal digits.
    TaxonomyVersion
}

/// A probability, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confidence(f32);

impl Confidence {
    /// No confidence at all.
    pub const ZERO: Confidence = Confidence(0.0);
    /// Certainty.
    pub const ONE: Confidence = Confidence(1.0);

    /// A confidence from a number: clamped to 0..=1, NaN becomes 0.
    pub fn new(value: f32) -> Self {
        if value.is_nan() { Self(0.0) } else { Self(value.clamp(0.0, 1.0)) }
    }

    /// The number, 0 to 1.
    pub fn get(self) -> f32 {
        self.0
    }
}

named_enum! {
    /// What made a tag.
    TagSource {
        /// A phrase rule or an ownership rule of the taxonomy.
        Rule = "rule",
        /// A trained head, together with the taxonomy's own examples where it has any.
        Head = "head",
        /// Closeness to the taxonomy's own examples.
        Prototype = "prototype",
        /// Cases like it that persons corrected.
        Neighbour = "neighbour",
        /// A language model that was asked which topic a text has.
        LanguageModel = "language_model",
    }
}

named_enum! {
    /// How the customer feels about something.
    SentimentLabel {
        /// Dissatisfied.
        Negative = "negative",
        /// Neither, or facts only.
        Neutral = "neutral",
        /// Satisfied.
        Positive = "positive",
    }
}

/// Sentiment of a text, a turn or a topic.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sentiment {
    /// The most probable label.
    pub label: SentimentLabel,
    /// P(positive) minus P(negative), -1 to 1.
    pub score: f32,
    /// Probability of the label.
    pub confidence: Confidence,
}

/// The words that a tag rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Index of the turn, for transcripts; the span counts within that turn's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// Where the words stand in the original text.
    pub span: CharSpan,
    /// How strongly they speak for the tag, 0 to 1.
    pub weight: Confidence,
}

/// One topic of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicTag {
    /// The topic.
    pub topic_id: TopicId,
    /// The topic above it, on the first level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<TopicId>,
    /// Calibrated probability that the text is about this topic.
    pub confidence: Confidence,
    /// Sentiment towards this topic, from its evidence alone.
    pub sentiment: Sentiment,
    /// What decided.
    pub source: TagSource,
    /// The rule that fired, when `source` is a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// Ids of corrected cases like this one that have the topic, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbour_case_ids: Vec<String>,
    /// The words it rests on, strongest first; never empty.
    pub evidence: Vec<Evidence>,
}

/// One signal beside the topics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalTag {
    /// The signal.
    pub signal_id: SignalId,
    /// Calibrated probability.
    pub confidence: Confidence,
    /// What decided.
    pub source: TagSource,
    /// The rule that fired, when `source` is a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// What goes with the signal: the term of a `promise` ("by 23:00"), the reason of a `churn_risk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The words it rests on, strongest first; never empty.
    pub evidence: Vec<Evidence>,
}

/// A team that could own the case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TeamCandidate {
    /// The team.
    pub team_id: TeamId,
    /// Probability that this team is the right one.
    pub confidence: Confidence,
    /// Why: the ownership rule and what it matched, in words.
    pub reason: String,
}

/// The one team that owns the case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TeamTag {
    /// The team.
    pub team_id: TeamId,
    /// Probability that this team is the right one.
    pub confidence: Confidence,
    /// Why: the ownership rule and what it matched, in words.
    pub reason: String,
    /// The ownership rule that decided; `None` when the taxonomy's triage team takes what nothing decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// Where the case goes when the team does not solve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_to: Option<TeamId>,
    /// Other teams that topics of this text point to, most probable first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<TeamCandidate>,
    /// Ids of corrected cases like this one that overrode the ownership rules, nearest first; empty if they did not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbour_case_ids: Vec<String>,
}

/// What was found in one turn of a transcript.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnTags {
    /// Index of the turn, from 0.
    pub turn: u32,
    /// Who speaks.
    pub speaker: Speaker,
    /// Sentiment of the turn; `None` where it was not evaluated (an operator's or a machine's turn, or no words).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentiment: Option<Sentiment>,
    /// Topics of the turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<TopicId>,
    /// Signals of the turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<SignalId>,
}

/// How the customer's sentiment moved over a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SentimentTrend {
    /// Mean score of the first third of the customer's turns, -1 to 1.
    pub first: f32,
    /// Mean score of the last third, -1 to 1.
    pub last: f32,
    /// `last - first`, -2 to 2: above zero, the customer leaves happier.
    pub change: f32,
}

named_enum! {
    /// Why a person should look at the tags.
    ReviewReason {
        /// No topic was sure enough.
        NoTopic = "no_topic",
        /// The text has no words to judge by.
        NoWords = "no_words",
        /// Two teams are about equally probable.
        TeamUnclear = "team_unclear",
        /// The text is in a language the models were not made for.
        Language = "language",
        /// The text was longer than what was read.
        Truncated = "truncated",
        /// A language model was to be asked, and gave no answer in time or at all: the other tags are those without it.
        LanguageModelFailed = "language_model_failed",
        /// A part of the text speaks to a machine rather than to people; topics, sentiment and team were told without it, unless there is nothing else.
        Instructions = "instructions",
    }
}

/// Whether a person should look, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Review {
    /// True if otklik abstains from at least one decision.
    pub needed: bool,
    /// Each reason, most important first; empty when no review is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReviewReason>,
}

named_enum! {
    /// Language of a text.
    Language {
        /// Russian.
        Russian = "ru",
        /// English.
        English = "en",
        /// Russian and English in one text.
        Mixed = "mixed",
        /// Another language.
        Other = "other",
        /// No letters to judge by.
        Unknown = "unknown",
    }
}

/// What made the tags, so that the same answer can be had again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of otklik.
    pub otklik_version: String,
    /// Version of the taxonomy.
    pub taxonomy_version: TaxonomyVersion,
    /// Id of the encoder.
    pub encoder_id: String,
    /// SHA-256 of the encoder's weights, hexadecimal.
    pub encoder_sha256: String,
    /// Content hash of the prototypes and of the sentiment model made from examples: `sha256:` and 16 digits.
    pub prototypes_version: String,
    /// The trained heads that were asked, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadIdentity>,
    /// Version of the corrections in force: how many, and a hash of what was learnt of them, in order; empty if there were none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub corrections_version: String,
    /// The language model that was asked for a topic; `None` if none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language_model: Option<LanguageModelIdentity>,
}

impl Provenance {
    /// Version of what makes the tags: of the taxonomy, the encoder, the prototypes and the heads together; `sha256:` and 16 digits.
    /// Corrections, a language model and the program itself are not in it.
    pub fn version(&self) -> String {
        let Self { taxonomy_version, encoder_sha256, prototypes_version, heads, .. } = self;
        let of_heads = heads.iter().flat_map(|head| [head.name.as_str(), head.sha256.as_str()]);
        let mut hasher = Sha256::new();
        for part in [taxonomy_version.as_str(), encoder_sha256, prototypes_version].into_iter().chain(of_heads) {
            // The length goes first, so that no two lists are hashed alike.
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let digits: String = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{digits}")
    }
}

/// A language model by name and content, with how its answers were made probabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanguageModelIdentity {
    /// Its id in the registry of models.
    pub id: String,
    /// SHA-256 of its weights, hexadecimal.
    pub sha256: String,
    /// Version of the calibration: `sha256:` and 16 digits; `default` before one was made.
    pub calibration_version: String,
}

/// A trained head by name and content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadIdentity {
    /// What it tells: `sentiment`, `topics`, `team` or the id of a signal.
    pub name: String,
    /// SHA-256 of its file, hexadecimal.
    pub sha256: String,
}

/// All that otklik says about one piece of feedback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tags {
    /// The feedback's id.
    pub id: String,
    /// Language of the whole.
    pub language: Language,
    /// Topics, most probable first; empty is an abstention, with its reason in `review`.
    pub topics: Vec<TopicTag>,
    /// Overall sentiment of the customer; `None` if there were no words of a customer to judge.
    pub sentiment: Option<Sentiment>,
    /// The one owning team.
    pub team: TeamTag,
    /// Signals, most probable first.
    pub signals: Vec<SignalTag>,
    /// Per turn, for transcripts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<TurnTags>,
    /// For transcripts with at least two turns of the customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentiment_trend: Option<SentimentTrend>,
    /// Whether a person should look.
    pub review: Review,
    /// The text with personal data replaced by typed placeholders; turns are joined by line breaks, each behind its speaker.
    pub masked_text: String,
    /// Tokens that the encoder read.
    pub tokens: u32,
    /// What made the tags.
    pub provenance: Provenance,
}
