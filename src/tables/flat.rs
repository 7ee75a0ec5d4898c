//! Tags as flat columns, for formats that have no nested values.

use serde_json::{Map, Value};

use crate::feedback::Body;
use crate::tags::{Evidence, Tags};

use super::{RowPlace, TableError};

/// Columns of tags in a flat table, in order. `topics`, `topic_confidence` and `evidence` go together: one value a topic.
pub const FLAT_COLUMNS: [&str; 13] = [
    "topics",
    "topic_confidence",
    "evidence",
    "sentiment",
    "sentiment_score",
    "team",
    "team_reason",
    "signals",
    "review_needed",
    "review_reasons",
    "language",
    "taxonomy_version",
    "encoder",
];

/// The column that keeps, as a JSON object, what the first row has no column for.
const MORE_COLUMNS: &str = "more_columns";

/// The columns of a flat table: those of the input, then those of the tags.
pub(super) struct Layout {
    /// The input's columns.
    pub originals: Vec<String>,
    /// True if rows may have columns beyond `originals`.
    pub open: bool,
    prefix: String,
}

impl Layout {
    /// The layout of rows that all have the columns of `header`.
    pub fn of_header(header: Vec<String>, prefix: &str) -> Result<Self, TableError> {
        Self { originals: header, open: false, prefix: prefix.to_owned() }.checked()
    }

    /// The layout of rows with columns of their own, after their first row.
    pub fn of_first_row(columns: &Map<String, Value>, prefix: &str) -> Result<Self, TableError> {
        Self { originals: columns.keys().cloned().collect(), open: true, prefix: prefix.to_owned() }.checked()
    }

    /// What the names of the tags' columns begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The names of the columns that are added to the input's.
    pub fn added(&self) -> Vec<String> {
        let more = self.open.then_some(MORE_COLUMNS);
        more.into_iter().chain(FLAT_COLUMNS).map(|name| format!("{}{name}", self.prefix)).collect()
    }

    /// What the row has beyond the layout, as a JSON object; empty if nothing.
    pub fn more(&self, columns: &Map<String, Value>) -> String {
        let more: Map<String, Value> = columns
            .iter()
            .filter(|(name, _)| !self.originals.contains(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if more.is_empty() { String::new() } else { Value::Object(more).to_string() }
    }

    fn checked(self) -> Result<Self, TableError> {
        match self.added().into_iter().find(|name| self.originals.contains(name)) {
            Some(column) => Err(TableError::ColumnTaken { place: None::<RowPlace>, column }),
            None => Ok(self),
        }
    }
}

/// The values of [`FLAT_COLUMNS`] for one row.
pub(super) struct FlatTags<'a> {
    pub topics: Vec<&'a str>,
    pub topic_confidence: Vec<f32>,
    pub evidence: Vec<String>,
    pub sentiment: Option<&'a str>,
    pub sentiment_score: Option<f32>,
    pub team: &'a str,
    pub team_reason: &'a str,
    pub signals: Vec<&'a str>,
    pub review_needed: bool,
    pub review_reasons: Vec<&'a str>,
    pub language: &'a str,
    pub taxonomy_version: &'a str,
    pub encoder: &'a str,
}

impl<'a> FlatTags<'a> {
    /// The values for `tags` of `body`.
    pub fn new(tags: &'a Tags, body: &Body) -> Self {
        Self {
            topics: tags.topics.iter().map(|topic| topic.topic_id.as_str()).collect(),
            topic_confidence: tags.topics.iter().map(|topic| topic.confidence.get()).collect(),
            evidence: tags.topics.iter().map(|topic| strongest_words(&topic.evidence, body)).collect(),
            sentiment: tags.sentiment.map(|sentiment| sentiment.label.as_str()),
            sentiment_score: tags.sentiment.map(|sentiment| sentiment.score),
            team: tags.team.team_id.as_str(),
            team_reason: &tags.team.reason,
            signals: tags.signals.iter().map(|signal| signal.signal_id.as_str()).collect(),
            review_needed: tags.review.needed,
            review_reasons: tags.review.reasons.iter().map(|reason| reason.as_str()).collect(),
            language: tags.language.as_str(),
            taxonomy_version: tags.provenance.taxonomy_version.as_str(),
            encoder: &tags.provenance.encoder_id,
        }
    }

    /// The values as text: several topics or signals parted by `;`, their evidence by ` | `, what was not evaluated empty.
    pub fn cells(&self) -> [String; FLAT_COLUMNS.len()] {
        let confidences: Vec<String> =
            self.topic_confidence.iter().map(|confidence| format!("{confidence:.3}")).collect();
        [
            self.topics.join(";"),
            confidences.join(";"),
            self.evidence.join(" | "),
            self.sentiment.unwrap_or_default().to_owned(),
            self.sentiment_score.map(|score| format!("{score:.3}")).unwrap_or_default(),
            self.team.to_owned(),
            self.team_reason.to_owned(),
            self.signals.join(";"),
            self.review_needed.to_string(),
            self.review_reasons.join(";"),
            self.language.to_owned(),
            self.taxonomy_version.to_owned(),
            self.encoder.to_owned(),
        ]
    }
}

/// The words of the strongest evidence, on one line.
fn strongest_words(evidence: &[Evidence], body: &Body) -> String {
    let Some(first) = evidence.first() else { return String::new() };
    let text = match (body, first.turn) {
        (Body::Text(text), _) => text.as_str(),
        (Body::Turns(turns), turn) => {
            turns.get(turn.unwrap_or_default() as usize).map(|turn| turn.text.as_str()).unwrap_or_default()
        }
    };
    first.span.slice(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value of the input as text: strings as they are, nothing for null, other values as JSON.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
