//! Tags of an earlier run, as they stand in a row, and what they are compared by.

use serde_json::{Map, Value};

use crate::cases::Case;
use crate::tables::{FLAT_COLUMNS, OutputFormat, TAGS_COLUMN, TableError};
use crate::tags::Tags;

/// What two taggings of one row are compared by.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct MainTags {
    /// Ids of the topics, most probable first.
    pub topics: Vec<String>,
    /// Confidence of the first topic.
    pub confidence: Option<f64>,
    /// Id of the team.
    pub team: Option<String>,
    /// Label of the sentiment.
    pub sentiment: Option<String>,
    /// Ids of the signals.
    pub signals: Vec<String>,
}

impl MainTags {
    /// The first topic, if there is one.
    pub fn topic(&self) -> Option<&str> {
        self.topics.first().map(String::as_str)
    }

    /// True if nothing but the confidence is another.
    pub fn same_as(&self, other: &Self) -> bool {
        let compared = |tags: &Self| Self { confidence: None, ..tags.clone() };
        compared(self) == compared(other)
    }

    /// The tags that count of a stored case: a person's, where a person named them.
    pub fn of_case(case: &Case) -> Self {
        Self {
            topics: case.topic_ids().into_iter().map(ToString::to_string).collect(),
            team: Some(case.team_id().to_string()),
            sentiment: case.sentiment_label().map(|label| label.to_string()),
            ..Self::from(&case.tags)
        }
    }

    fn of_object(tags: &Value) -> Self {
        let ids = |list: &str, id: &str| {
            let items = tags.get(list).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(|item| text(item.get(id))).collect()
        };
        Self {
            topics: ids("topics", "topic_id"),
            confidence: tags.pointer("/topics/0/confidence").and_then(Value::as_f64),
            team: text(tags.pointer("/team/team_id")),
            sentiment: text(tags.pointer("/sentiment/label")),
            signals: ids("signals", "signal_id"),
        }
    }

    fn of_columns(column: impl Fn(&str) -> Option<Value>) -> Self {
        Self {
            topics: list(column("topics")),
            confidence: list(column("topic_confidence")).first().and_then(|number| number.parse().ok()),
            team: text(column("team").as_ref()),
            sentiment: text(column("sentiment").as_ref()),
            signals: list(column("signals")),
        }
    }
}

impl From<&Tags> for MainTags {
    fn from(tags: &Tags) -> Self {
        Self {
            topics: tags.topics.iter().map(|topic| topic.topic_id.to_string()).collect(),
            confidence: tags.topics.first().map(|topic| f64::from(topic.confidence.get())),
            team: Some(tags.team.team_id.to_string()),
            sentiment: tags.sentiment.map(|sentiment| sentiment.label.to_string()),
            signals: tags.signals.iter().map(|signal| signal.signal_id.to_string()).collect(),
        }
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Several values of one column: parted by `;`, or a list of Parquet.
fn list(value: Option<Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => text.split(';').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        Some(Value::Array(items)) => {
            let item = |item: Value| match item {
                Value::String(text) => text,
                other => other.to_string(),
            };
            items.into_iter().map(item).collect()
        }
        _ => Vec::new(),
    }
}

/// The columns of tags in a table that is read, and in the one that is made of it.
#[derive(Debug, Clone)]
pub(super) struct TagColumns {
    tags: String,
    flat: Vec<String>,
    /// True if the output has one column of all tags.
    nested_output: bool,
}

impl TagColumns {
    /// The columns of tags whose names begin with `prefix`.
    pub fn new(prefix: &str, output: OutputFormat) -> Self {
        Self {
            tags: format!("{prefix}{TAGS_COLUMN}"),
            flat: FLAT_COLUMNS.iter().map(|name| format!("{prefix}{name}")).collect(),
            nested_output: output == OutputFormat::Jsonl,
        }
    }

    /// The columns of a header that are kept: those that no earlier run wrote.
    ///
    /// # Errors
    /// [`TableError::ColumnTaken`] if a column of another origin has a name that the tags need.
    pub fn kept(&self, mut header: Vec<String>) -> Result<Vec<String>, TableError> {
        if self.flat.iter().all(|name| header.contains(name)) {
            header.retain(|name| !self.flat.contains(name));
        }
        match header.iter().find(|name| self.is_needed(name)) {
            Some(column) => Err(TableError::ColumnTaken { place: None, column: column.clone() }),
            None => Ok(header),
        }
    }

    /// Takes the tags of an earlier run out of a row.
    ///
    /// # Errors
    /// A message if a column of another origin has a name that the tags need.
    pub fn take(&self, columns: &mut Map<String, Value>) -> Result<Option<MainTags>, String> {
        let mut earlier = None;
        if columns.get(&self.tags).is_some_and(|tags| tags.get("topics").is_some() && tags.get("provenance").is_some())
        {
            earlier = columns.shift_remove(&self.tags).map(|tags| MainTags::of_object(&tags));
        }
        if self.flat.iter().all(|name| columns.contains_key(name)) {
            let column = |own: &str| {
                let name = FLAT_COLUMNS.iter().zip(&self.flat).find(|(flat, _)| **flat == own).map(|(_, name)| name);
                name.and_then(|name| columns.get(name)).cloned()
            };
            let flat = MainTags::of_columns(column);
            earlier.get_or_insert(flat);
            columns.retain(|name, _| !self.flat.contains(name));
        }
        match columns.keys().find(|name| self.is_needed(name)) {
            Some(name) => Err(format!(
                "the row has a column {name:?} that no run of otklik wrote; give the tags' columns a prefix"
            )),
            None => Ok(earlier),
        }
    }

    fn is_needed(&self, name: &String) -> bool {
        if self.nested_output { *name == self.tags } else { self.flat.contains(name) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Map<String, Value> {
        let Value::Object(columns) = value else { panic!("an object") };
        columns
    }

    fn flat_row() -> Map<String, Value> {
        let mut columns = row(json!({"text": "a"}));
        columns.extend(FLAT_COLUMNS.iter().map(|name| ((*name).to_owned(), json!(""))));
        columns.insert("topics".to_owned(), json!("cards;fees"));
        columns.insert("topic_confidence".to_owned(), json!("0.900;0.400"));
        columns.insert("team".to_owned(), json!("lending"));
        columns.insert("signals".to_owned(), json!(["outage"]));
        columns
    }

    #[test]
    fn tags_of_an_earlier_run_are_taken_out_of_the_row() {
        let expected = MainTags {
            topics: vec!["cards".into(), "fees".into()],
            confidence: Some(0.9),
            team: Some("lending".into()),
            sentiment: None,
            signals: vec!["outage".into()],
        };
        let mut flat = flat_row();
        let taken = TagColumns::new("", OutputFormat::Csv).take(&mut flat).unwrap();
        assert_eq!((taken, Value::Object(flat)), (Some(expected.clone()), json!({"text": "a"})));

        let mut nested = row(json!({"text": "a", "t_tags": {
            "topics": [{"topic_id": "cards", "confidence": 0.9}, {"topic_id": "fees", "confidence": 0.4}],
            "team": {"team_id": "lending"}, "sentiment": null, "signals": [{"signal_id": "outage"}], "provenance": {}},
            "z": 1}));
        let taken = TagColumns::new("t_", OutputFormat::Jsonl).take(&mut nested).unwrap();
        assert_eq!((taken, Value::Object(nested)), (Some(expected), json!({"text": "a", "z": 1})));
    }

    #[test]
    fn columns_of_another_origin_are_neither_taken_nor_overwritten() {
        let columns = TagColumns::new("", OutputFormat::Jsonl);
        let mut own = row(json!({"text": "a", "tags": ["vip"]}));
        assert!(columns.take(&mut own).unwrap_err().contains("\"tags\""));
        let mut own = row(json!({"text": "a", "team": "north"}));
        assert_eq!(columns.take(&mut own), Ok(None));
        let columns = TagColumns::new("", OutputFormat::Csv);
        assert!(columns.take(&mut own).unwrap_err().contains("\"team\""));
        let header = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert!(columns.kept(header(&["text", "team"])).is_err());
        assert_eq!(columns.kept(flat_row().keys().cloned().collect()).unwrap(), ["text"]);
    }

    #[test]
    fn confidence_alone_is_no_change() {
        let tags = MainTags { topics: vec!["a".into()], confidence: Some(0.5), ..MainTags::default() };
        assert!(tags.same_as(&MainTags { confidence: None, ..tags.clone() }));
        assert!(!tags.same_as(&MainTags { team: Some("b".into()), ..tags.clone() }));
    }
}
