//! What a customer (or an employee) told us: the input of everything else.
//!
//! Plain data, no I/O. Offsets everywhere in the project count Unicode scalar values ("characters") of the original text,
//! from 0, end exclusive.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A half-open range of characters (Unicode scalar values) in a text: `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CharSpan {
    /// First character, from 0.
    pub start: u32,
    /// One past the last character.
    pub end: u32,
}

impl CharSpan {
    /// A span from `start` to `end`; `end` is lifted to `start` if it lies before it.
    pub fn new(start: u32, end: u32) -> Self {
        Self { start, end: end.max(start) }
    }

    /// Length in characters.
    pub fn len(self) -> u32 {
        self.end - self.start
    }

    /// True for a span of no characters.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// True if the two spans share at least one character.
    pub fn overlaps(self, other: CharSpan) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// True if `other` lies wholly inside this span.
    pub fn contains(self, other: CharSpan) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The part of `text` that the span covers; what lies past the end of `text` is left out.
    pub fn slice(self, text: &str) -> &str {
        let byte_at = |character: u32| text.char_indices().nth(character as usize).map_or(text.len(), |(byte, _)| byte);
        text.get(byte_at(self.start)..byte_at(self.end)).unwrap_or_default()
    }
}

/// Defines an enum whose variants have stable lower-case names for files, flags and logs.
macro_rules! named_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_meta])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every value, in order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The stable lower-case name.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::feedback::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok($name::$variant),)+
                    _ => Err(crate::feedback::UnknownName {
                        given: text.to_owned(),
                        allowed: &[$($text),+],
                    }),
                }
            }
        }
    };
}
pub(crate) use named_enum;

/// A name that is not one of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not known; allowed: {}", allowed.join(", "))]
pub struct UnknownName {
    /// What was given.
    pub given: String,
    /// What is allowed.
    pub allowed: &'static [&'static str],
}

named_enum! {
    /// Where feedback comes from; it decides which measure counts it and who reads it.
    FeedbackKind {
        /// A complaint or appeal (обращение).
        Complaint = "complaint",
        /// A comment left in a survey.
        Comment = "comment",
        /// A public review or mention.
        Review = "review",
        /// A conversation with an operator.
        Transcript = "transcript",
        /// Why a customer leaves, asked at the first sign of it.
        ExitInterview = "exit_interview",
        /// Feedback of an employee.
        Employee = "employee",
        /// A question or an idea.
        Question = "question",
    }
}

named_enum! {
    /// Who says a turn of a transcript.
    Speaker {
        /// The customer.
        Customer = "customer",
        /// The company's operator (agent).
        Operator = "operator",
        /// A machine: greeting, queue notice, bot.
        System = "system",
    }
}

named_enum! {
    /// The metric that a score belongs to.
    ScoreMetric {
        /// Net Promoter Score question, 0 to 10.
        Nps = "nps",
        /// Customer satisfaction.
        Csat = "csat",
        /// Customer effort score.
        Ces = "ces",
        /// Net Promoter Score asked of employees, 0 to 10.
        Enps = "enps",
        /// Stars of a review.
        Stars = "stars",
    }
}

/// One turn of a transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub speaker: Speaker,
    /// What was said, as recognised or typed.
    pub text: String,
    /// Milliseconds from the start of the conversation, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_ms: Option<u64>,
}

/// What was said: one text, or the turns of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// One text by one person.
    Text(String),
    /// A conversation, in order.
    Turns(Vec<Turn>),
}

impl Body {
    /// All of it as one text: turns are joined by line breaks, each behind its speaker.
    pub fn to_plain(&self) -> String {
        match self {
            Body::Text(text) => text.clone(),
            Body::Turns(turns) => {
                let lines: Vec<String> = turns.iter().map(|turn| format!("{}: {}", turn.speaker, turn.text)).collect();
                lines.join("\n")
            }
        }
    }

    /// Total length in characters.
    pub fn chars(&self) -> usize {
        match self {
            Body::Text(text) => text.chars().count(),
            Body::Turns(turns) => turns.iter().map(|turn| turn.text.chars().count()).sum(),
        }
    }
}

/// A score that the customer gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What was asked.
    pub metric: ScoreMetric,
    /// What was answered, 0 to `scale_max`.
    pub value: f64,
    /// The top of the scale (10 for NPS, 5 for stars, ...).
    pub scale_max: f64,
}

/// One piece of feedback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// The caller's id; made by the service when empty.
    pub id: String,
    /// Where it comes from, if known.
    pub kind: Option<FeedbackKind>,
    /// What was said.
    pub body: Body,
    /// Channel: `call`, `chat`, `email`, `app_store`, ... free names of the company.
    pub channel: Option<String>,
    /// Touchpoint or survey mechanic: `push`, `popup`, `success_screen`, ...
    pub touchpoint: Option<String>,
    /// The score given along with it.
    pub score: Option<Score>,
    /// The customer's id in the company's systems.
    pub customer_id: Option<String>,
    /// The product it is about.
    pub product: Option<String>,
    /// The partner involved, where the company knows.
    pub partner: Option<String>,
    /// When it was said.
    pub occurred_at: Option<Timestamp>,
    /// Anything else the company wants to keep beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Feedback {
    /// Feedback of one text and nothing known about it.
    pub fn from_text(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(id, Body::Text(text.into()))
    }

    /// Feedback of a body and nothing known about it.
    pub fn new(id: impl Into<String>, body: Body) -> Self {
        Self {
            id: id.into(),
            kind: None,
            body,
            channel: None,
            touchpoint: None,
            score: None,
            customer_id: None,
            product: None,
            partner: None,
            occurred_at: None,
            attributes: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_slices_by_characters() {
        let text = "Ёж и 🦔!";
        assert_eq!(CharSpan::new(0, 2).slice(text), "Ёж");
        assert_eq!(CharSpan::new(5, 6).slice(text), "🦔");
        assert_eq!(CharSpan::new(6, 99).slice(text), "!");
        assert_eq!(CharSpan::new(50, 99).slice(text), "");
    }

    #[test]
    fn names_round_trip_and_unknown_names_list_what_is_allowed() {
        for kind in FeedbackKind::ALL {
            assert_eq!(kind.as_str().parse::<FeedbackKind>(), Ok(*kind));
        }
        let error = "shout".parse::<Speaker>().unwrap_err().to_string();
        assert_eq!(error, "\"shout\" is not known; allowed: customer, operator, system");
    }
}
