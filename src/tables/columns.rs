//! Which column holds what.

use serde::{Deserialize, Serialize};

use crate::feedback::ScoreMetric;

use super::{TableError, listed};

/// Names that a column of texts is looked for under when none is given.
pub const TEXT_NAMES: &[&str] = &["text", "comment", "review", "message", "текст", "комментарий", "отзыв"];

/// Where a field of feedback is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnChoice {
    /// The column of the field's own name, if there is one.
    #[default]
    Guess,
    /// This column; a CSV or TSV table must have it.
    Named(String),
    /// No column.
    Ignored,
}

impl ColumnChoice {
    /// A choice as given on a command line: nothing, a name, or an empty name for no column.
    pub fn from_flag(flag: Option<&str>) -> Self {
        match flag {
            None => Self::Guess,
            Some("") => Self::Ignored,
            Some(name) => Self::Named(name.to_owned()),
        }
    }
}

/// Which column holds which field of feedback.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ColumnMap {
    /// The text; guessed among [`TEXT_NAMES`] if exactly one of them is there. `Ignored` is the same as `Guess`.
    pub text: ColumnChoice,
    /// The id; the row number where there is none.
    pub id: ColumnChoice,
    /// The kind of feedback.
    pub kind: ColumnChoice,
    /// The channel.
    pub channel: ColumnChoice,
    /// The touchpoint or survey mechanic.
    pub touchpoint: ColumnChoice,
    /// The product.
    pub product: ColumnChoice,
    /// The partner.
    pub partner: ColumnChoice,
    /// The customer's id.
    pub customer_id: ColumnChoice,
    /// When it was said: RFC 3339, or a date with or without a time, in UTC.
    pub occurred_at: ColumnChoice,
    /// The score: a number, or in JSON Lines also an object of `metric`, `value` and `scale_max`.
    pub score: ColumnChoice,
    /// What a bare number in the score column answers; bare numbers are left alone when this is not given.
    pub score_metric: Option<ScoreMetric>,
    /// Top of the scale of a bare number; by default 10 for NPS and eNPS, 5 for CSAT and stars, 7 for CES.
    pub score_scale: Option<f64>,
}

/// Column names settled for one table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FieldNames {
    /// Candidates for the text; exactly one of them must be there.
    pub text: Vec<String>,
    /// False if the text's column was named, so that turns are not looked for.
    pub turns: bool,
    pub id: Option<String>,
    pub kind: Option<String>,
    pub channel: Option<String>,
    pub touchpoint: Option<String>,
    pub product: Option<String>,
    pub partner: Option<String>,
    pub customer_id: Option<String>,
    pub occurred_at: Option<String>,
    pub score: Option<String>,
    pub score_metric: Option<ScoreMetric>,
    pub score_scale: Option<f64>,
}

impl FieldNames {
    /// Names for rows that are objects with fields of their own: a field that is not there is not there.
    pub fn for_objects(map: &ColumnMap) -> Self {
        let name_or = |choice: &ColumnChoice, own: &str| match choice {
            ColumnChoice::Guess => Some(own.to_owned()),
            ColumnChoice::Named(name) => Some(name.clone()),
            ColumnChoice::Ignored => None,
        };
        let text = match &map.text {
            ColumnChoice::Named(name) => vec![name.clone()],
            ColumnChoice::Guess | ColumnChoice::Ignored => TEXT_NAMES.iter().map(|&name| name.to_owned()).collect(),
        };
        Self::build(map, text, name_or)
    }

    /// Names for a table with a header, in which a named column must stand; guesses do not look at case.
    pub fn for_header(map: &ColumnMap, header: &[String], table: &str) -> Result<Self, TableError> {
        let header_error = |problem: String| TableError::Header { table: table.to_owned(), problem };
        let missing = [
            ("text", &map.text),
            ("id", &map.id),
            ("kind", &map.kind),
            ("channel", &map.channel),
            ("touchpoint", &map.touchpoint),
            ("product", &map.product),
            ("partner", &map.partner),
            ("customer id", &map.customer_id),
            ("time", &map.occurred_at),
            ("score", &map.score),
        ]
        .into_iter()
        .find_map(|(field, choice)| match choice {
            ColumnChoice::Named(name) if !header.contains(name) => Some((field, name)),
            _ => None,
        });
        if let Some((field, name)) = missing {
            let there = listed(header);
            return Err(header_error(format!("no column {name:?} for the {field}; columns: {there}")));
        }
        let text = match &map.text {
            ColumnChoice::Named(name) => name.clone(),
            ColumnChoice::Guess | ColumnChoice::Ignored => guess_text(header).map_err(header_error)?,
        };
        let name_or = |choice: &ColumnChoice, own: &str| match choice {
            ColumnChoice::Guess => header.iter().find(|column| same_name(column, own)).cloned(),
            ColumnChoice::Named(name) => Some(name.clone()),
            ColumnChoice::Ignored => None,
        };
        Ok(Self { turns: false, ..Self::build(map, vec![text], name_or) })
    }

    /// Names for plain lines: nothing but the text.
    pub fn for_lines() -> Self {
        let none = |_: &ColumnChoice, _: &str| None;
        Self { turns: false, ..Self::build(&ColumnMap::default(), vec!["text".to_owned()], none) }
    }

    fn build(map: &ColumnMap, text: Vec<String>, name_or: impl Fn(&ColumnChoice, &str) -> Option<String>) -> Self {
        Self {
            text,
            turns: !matches!(map.text, ColumnChoice::Named(_)),
            id: name_or(&map.id, "id"),
            kind: name_or(&map.kind, "kind"),
            channel: name_or(&map.channel, "channel"),
            touchpoint: name_or(&map.touchpoint, "touchpoint"),
            product: name_or(&map.product, "product"),
            partner: name_or(&map.partner, "partner"),
            customer_id: name_or(&map.customer_id, "customer_id"),
            occurred_at: name_or(&map.occurred_at, "occurred_at"),
            score: name_or(&map.score, "score"),
            score_metric: map.score_metric,
            score_scale: map.score_scale,
        }
    }
}

fn same_name(column: &str, name: &str) -> bool {
    column.trim().to_lowercase() == name
}

fn guess_text(header: &[String]) -> Result<String, String> {
    if let [only] = header {
        return Ok(only.clone());
    }
    let candidates: Vec<String> =
        header.iter().filter(|column| TEXT_NAMES.iter().any(|name| same_name(column, name))).cloned().collect();
    match candidates.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(format!("which column holds the text? name it; columns: {}", listed(header))),
        several => Err(format!("which column holds the text? name one of {}", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn text_is_guessed_only_when_one_column_fits() {
        let cases: &[(&[&str], Result<&str, &str>)] = &[
            (&["id", "Text"], Ok("Text")),
            (&["дата", "ОТЗЫВ", "балл"], Ok("ОТЗЫВ")),
            (&["что угодно"], Ok("что угодно")),
            (&["id", "body"], Err("t: which column holds the text? name it; columns: id, body")),
            (&["text", "comment"], Err("t: which column holds the text? name one of text, comment")),
        ];
        for (columns, expected) in cases {
            let names = FieldNames::for_header(&ColumnMap::default(), &header(columns), "t");
            match (names, expected) {
                (Ok(names), Ok(text)) => assert_eq!(names.text, [*text]),
                (Err(error), Err(message)) => assert_eq!(error.to_string(), *message),
                (result, _) => panic!("{columns:?}: {result:?}"),
            }
        }
    }

    #[test]
    fn named_columns_must_stand_in_the_header_and_ignored_ones_are_not_taken() {
        let map = ColumnMap { channel: ColumnChoice::Named("канал".to_owned()), ..ColumnMap::default() };
        let error = FieldNames::for_header(&map, &header(&["text", "chan"]), "t").unwrap_err();
        assert_eq!(error.to_string(), "t: no column \"канал\" for the channel; columns: text, chan");

        let map = ColumnMap { kind: ColumnChoice::from_flag(Some("")), ..ColumnMap::default() };
        let names = FieldNames::for_header(&map, &header(&["text", "kind", "ID"]), "t").unwrap();
        assert_eq!((names.kind, names.id.as_deref(), names.channel), (None, Some("ID"), None));
    }
}
