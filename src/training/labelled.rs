//! Tables of labelled texts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::TrainingError;
use crate::feedback::Body;
use crate::tables::{ColumnChoice, ColumnMap, Input, ReaderOptions, RowPlace, TableReader};
use crate::tagging::heads::LabelKind;
use crate::text::prepare;

/// Columns that may hold an object with a value for each name of a label.
const LABELS: &str = "labels";

/// How a table of labelled texts is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// Name of the label: a column, or in JSON Lines also a field of the object `labels`.
    pub label: String,
    /// Column of the text; guessed if not given.
    pub text_column: Option<String>,
    /// In CSV and TSV, what stands between several labels of one text. In JSON Lines several labels are an array.
    pub separator: Option<String>,
    /// Only rows whose columns have these values.
    pub only: Vec<(String, String)>,
    /// At most this many rows.
    pub limit: Option<usize>,
}

/// One labelled text.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledRow {
    /// Row number in the table, the header of a CSV table being row 1.
    pub number: u64,
    /// The text as models see it: normalised, personal data masked.
    pub text: String,
    /// Its labels, each once.
    pub labels: Vec<String>,
}

/// Labelled texts of one table, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledTable {
    /// Whether a text has one label or any number.
    pub kind: LabelKind,
    /// The rows that have a label.
    pub rows: Vec<LabelledRow>,
    /// Rows left out because the label is absent or null.
    pub unlabelled: usize,
}

impl LabelledTable {
    /// Reads a table whole.
    ///
    /// # Errors
    /// [`TrainingError::Table`] if the table or a row can't be read, [`TrainingError::Label`] if a label is neither a text, a
    /// number, a yes or no, nor an array of those, [`TrainingError::Rows`] if no row has the label.
    pub fn read(input: &Input, options: &TableOptions) -> Result<Self, TrainingError> {
        let reading = ReaderOptions { columns: text_only(options.text_column.as_deref()), ..ReaderOptions::default() };
        let table = match input {
            Input::File(path) => path.display().to_string(),
            Input::Stdin => "standard input".to_owned(),
        };
        let mut rows = Vec::new();
        let (mut unlabelled, mut several, mut seen) = (0, options.separator.is_some(), BTreeMap::new());
        for row in TableReader::open(input, &reading)? {
            let row = row?;
            if options.limit.is_some_and(|limit| rows.len() >= limit) {
                break;
            }
            if !options.only.iter().all(|(column, value)| plain(row.columns.get(column)).as_ref() == Some(value)) {
                continue;
            }
            note_names(&row.columns, &mut seen);
            let Some(value) = label_value(&row.columns, &options.label) else {
                unlabelled += 1;
                continue;
            };
            several |= value.is_array();
            let labels = labels_of(value, options.separator.as_deref())
                .map_err(|problem| problem_of(&table, row.place, &options.label, &problem))?;
            let text = match &row.feedback.body {
                Body::Text(text) => text.clone(),
                Body::Turns(turns) => turns.iter().map(|turn| turn.text.as_str()).collect::<Vec<_>>().join("\n"),
            };
            rows.push(LabelledRow { number: row.place.number, text: prepare(&text).clean().to_owned(), labels });
        }
        if rows.is_empty() {
            let known: Vec<&str> = seen.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "no labelled columns".to_owned() } else { known.join(", ") };
            return Err(TrainingError::Rows(format!(
                "{table}: no row has a label {:?}; the rows have {known}",
                options.label
            )));
        }
        let kind = if several { LabelKind::Multi } else { LabelKind::Single };
        Ok(Self { kind, rows, unlabelled })
    }

    /// The labels that occur, sorted.
    pub fn labels(&self) -> Vec<String> {
        let mut labels: Vec<String> = self.rows.iter().flat_map(|row| row.labels.iter().cloned()).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }
}

/// Reads the text and nothing else.
pub(super) fn text_only(text_column: Option<&str>) -> ColumnMap {
    let ignored = || ColumnChoice::Ignored;
    ColumnMap {
        text: ColumnChoice::from_flag(text_column),
        id: ignored(),
        kind: ignored(),
        channel: ignored(),
        touchpoint: ignored(),
        product: ignored(),
        partner: ignored(),
        customer_id: ignored(),
        occurred_at: ignored(),
        score: ignored(),
        score_metric: None,
        score_scale: None,
    }
}

/// Names that a label could have been looked for under, for the message that it was not found.
fn note_names(columns: &Map<String, Value>, seen: &mut BTreeMap<String, ()>) {
    for (name, value) in columns {
        match value {
            Value::Object(fields) if name == LABELS => {
                seen.extend(fields.keys().map(|field| (field.clone(), ())));
            }
            _ => {
                seen.insert(name.clone(), ());
            }
        }
    }
}

/// The label's value; none if it is absent, null or empty.
fn label_value<'a>(columns: &'a Map<String, Value>, label: &str) -> Option<&'a Value> {
    let nested = || columns.get(LABELS)?.as_object()?.get(label);
    let value = columns.get(label).or_else(nested)?;
    let empty = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
    (!empty).then_some(value)
}

/// A value as the name of a label.
pub(super) fn plain(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn labels_of(value: &Value, separator: Option<&str>) -> Result<Vec<String>, String> {
    let wrong = |found: &Value| format!("a text, a number, true or false is wanted, found {found}");
    let mut labels = match (value, separator) {
        (Value::Array(values), _) => {
            values.iter().map(|value| plain(Some(value)).ok_or_else(|| wrong(value))).collect::<Result<_, _>>()?
        }
        (Value::String(text), Some(separator)) => text.split(separator).map(|part| part.trim().to_owned()).collect(),
        _ => vec![plain(Some(value)).ok_or_else(|| wrong(value))?],
    };
    labels.retain(|label: &String| !label.is_empty());
    labels.sort_unstable();
    labels.dedup();
    Ok(labels)
}

fn problem_of(table: &str, place: RowPlace, label: &str, problem: &str) -> TrainingError {
    TrainingError::Label { table: table.to_owned(), place, problem: format!("label {label:?}: {problem}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str, options: &TableOptions) -> Result<LabelledTable, TrainingError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        LabelledTable::read(&Input::File(path), options)
    }

    fn of(label: &str) -> TableOptions {
        TableOptions { label: label.to_owned(), ..TableOptions::default() }
    }

    #[test]
    fn labels_stand_in_columns_or_in_an_object_of_labels() {
        let json = "{\"text\":\"Касса не работает\",\"labels\":{\"topic\":\"cash\"},\"split\":\"train\"}\n\
                    {\"text\":\"Спасибо\",\"labels\":{\"topic\":null},\"split\":\"train\"}\n\
                    {\"text\":\"Всё плохо\",\"topic\":5,\"split\":\"test\"}\n";
        let table = read("a.jsonl", json, &of("topic")).unwrap();
        assert_eq!((table.kind, table.unlabelled), (LabelKind::Single, 1));
        assert_eq!(table.labels(), ["5", "cash"]);
        assert_eq!(table.rows.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 3]);
        let only = TableOptions { only: vec![("split".to_owned(), "test".to_owned())], ..of("topic") };
        assert_eq!(read("a.jsonl", json, &only).unwrap().labels(), ["5"]);
    }

    #[test]
    fn several_labels_are_arrays_or_parts_of_a_cell() {
        let json = "{\"text\":\"да\",\"themes\":[\"b\",\"a\",\"b\"]}\n{\"text\":\"нет\",\"themes\":[]}\n";
        let table = read("a.jsonl", json, &of("themes")).unwrap();
        assert_eq!(table.kind, LabelKind::Multi);
        assert_eq!(table.rows[0].labels, ["a", "b"]);
        assert!(table.rows[1].labels.is_empty(), "no theme is an answer too");
        let csv = "text,themes\nда,b; a\nнет,a\n";
        let parted = TableOptions { separator: Some(";".to_owned()), ..of("themes") };
        let table = read("a.csv", csv, &parted).unwrap();
        assert_eq!((table.kind, table.rows[0].labels.len()), (LabelKind::Multi, 2));
        assert_eq!(read("a.csv", csv, &of("themes")).unwrap().rows[0].labels, ["b; a"]);
    }

    #[test]
    fn what_can_not_be_used_is_named() {
        let message = |content: &str, label: &str| read("a.jsonl", content, &of(label)).unwrap_err().to_string();
        let wrong = message("{\"text\":\"да\",\"topic\":{\"id\":1}}\n", "topic");
        assert!(
            wrong.ends_with("row 1: label \"topic\": a text, a number, true or false is wanted, found {\"id\":1}"),
            "{wrong}"
        );
        let absent = message("{\"text\":\"да\",\"labels\":{\"owner\":\"x\"}}\n", "topic");
        assert!(absent.ends_with("no row has a label \"topic\"; the rows have owner, text"), "{absent}");
        let broken = message("{\"text\":\"да\",\"topic\":\"x\"}\nnot json\n", "topic");
        assert!(broken.contains("row 2"), "{broken}");
    }

    #[test]
    fn texts_are_as_models_see_them() {
        let table = read("a.jsonl", "{\"text\":\"Пишите  на a.b@mail.ru\",\"topic\":\"x\"}\n", &of("topic")).unwrap();
        assert_eq!(table.rows[0].text, "Пишите на [EMAIL_1]");
    }
}
