//! What a playbook is made of: gestures, script intents, avoidances and draft templates, as plain data.

use serde::{Deserialize, Serialize};

use crate::feedback::{FeedbackKind, named_enum};
use crate::tags::{Language, SignalId, TeamId, TopicId};

named_enum! {
    /// The languages that the playbook and all that is made from it speak.
    ReplyLanguage {
        /// Russian.
        Russian = "ru",
        /// English.
        English = "en",
    }
}

impl ReplyLanguage {
    /// The language that an answer to a text takes: English to English, Russian to everything else.
    pub fn answering(language: Language) -> Self {
        match language {
            Language::English => Self::English,
            Language::Russian | Language::Mixed | Language::Other | Language::Unknown => Self::Russian,
        }
    }
}

/// A text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wording {
    /// In Russian.
    pub ru: String,
    /// In English.
    pub en: String,
}

impl Wording {
    /// The text in one language.
    pub fn get(&self, language: ReplyLanguage) -> &str {
        match language {
            ReplyLanguage::Russian => &self.ru,
            ReplyLanguage::English => &self.en,
        }
    }
}

named_enum! {
    /// What becomes of a gesture that goes above its limit.
    Above {
        /// The supervisor decides.
        Supervisor = "supervisor",
        /// Nobody may.
        Never = "never",
    }
}

/// How far a gesture may go without asking. What is `None` is not limited.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Limit {
    /// Most money, in the playbook's currency. A bonus point counts as one unit of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<f64>,
    /// Largest discount, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// How often for one customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
    /// The soonest term that may be promised, in hours: a sooner one can't be kept for sure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soonest_hours: Option<f64>,
}

impl Limit {
    /// True if nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// So many times in so many days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// How often, 1 or more.
    pub count: u32,
    /// Within how many days, 1 or more.
    pub days: u32,
}

/// Something that an operator may do for a customer beyond the script.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gesture {
    /// Its id, unique among gestures; outcomes of cases name it.
    pub id: String,
    /// Its name.
    pub name: Wording,
    /// What is done.
    pub description: Wording,
    /// When it is fitting.
    pub condition: Wording,
    /// Topics and groups that it fits; without any it fits all.
    pub topics: Vec<TopicId>,
    /// Teams that may offer it without asking; without any, all may.
    pub teams: Vec<TeamId>,
    /// Signals that it fits especially.
    pub signals: Vec<SignalId>,
    /// How far it may go.
    pub limit: Limit,
    /// What it costs on average, in the playbook's currency.
    pub cost: f64,
    /// Who decides above the limit.
    pub above: Above,
    /// Phrases by which a text promises it, as in phrase rules of a taxonomy.
    pub phrases: Vec<String>,
}

/// Something that the script covers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Intent {
    /// Its id, unique among intents.
    pub id: String,
    /// Its name.
    pub name: Wording,
    /// How customers say it.
    pub examples: Vec<IntentExample>,
    /// What the script says.
    pub script: Wording,
}

/// One way in which customers say an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IntentExample {
    /// Its language.
    pub language: ReplyLanguage,
    /// The sentence.
    pub text: String,
}

/// When an entry applies: each list that is not empty must have a value in common with the tags.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Occasion {
    /// Topics and groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<TopicId>,
    /// Signals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<SignalId>,
    /// Kinds of feedback.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<FeedbackKind>,
}

impl Occasion {
    /// True if it always applies.
    pub fn is_always(&self) -> bool {
        self.topics.is_empty() && self.signals.is_empty() && self.kinds.is_empty()
    }

    /// True if all that it asks for is there.
    pub fn applies(&self, topics: &[&TopicId], signals: &[&SignalId], kind: Option<FeedbackKind>) -> bool {
        (self.topics.is_empty() || self.topics.iter().any(|wanted| topics.contains(&wanted)))
            && (self.signals.is_empty() || self.signals.iter().any(|wanted| signals.contains(&wanted)))
            && (self.kinds.is_empty() || kind.is_some_and(|kind| self.kinds.contains(&kind)))
    }

    /// How much it asks for: an occasion that asks for more is more particular. Signals say more than topics, topics more than kinds.
    pub fn particularity(&self) -> u32 {
        u32::from(!self.signals.is_empty()) * 4
            + u32::from(!self.topics.is_empty()) * 2
            + u32::from(!self.kinds.is_empty())
    }
}

/// Something that an operator had better not say or do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Avoidance {
    /// Its id, unique among avoidances.
    pub id: String,
    /// When it is to be heeded.
    pub when: Occasion,
    /// What to avoid.
    pub text: Wording,
    /// Why.
    pub why: Wording,
    /// Phrases by which a text does it, as in phrase rules of a taxonomy.
    pub patterns: Vec<String>,
}

/// A template of a reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DraftTemplate {
    /// Its id, unique among templates.
    pub id: String,
    /// When it is fitting; the most particular one that applies is taken.
    pub when: Occasion,
    /// The template's text.
    pub text: Wording,
}
