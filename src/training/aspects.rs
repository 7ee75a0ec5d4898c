//! Texts in which people marked what is spoken of, and how: several topics of one text, each with a sentiment of its own.

use serde_json::{Map, Value};

use super::TrainingError;
use super::labelled::{plain, text_only};
use crate::feedback::{Body, CharSpan, UnknownName};
use crate::tables::{Input, ReaderOptions, RowPlace, TableReader};
use crate::tags::SentimentLabel;

/// Most mentions of one text.
const MOST_MENTIONS: usize = 10_000;

/// What stands for a mention with praise and blame at once.
const BOTH: &str = "both";

/// Something that a text speaks of.
#[derive(Debug, Clone, PartialEq)]
pub struct Mention {
    /// The topic it belongs to.
    pub topic: String,
    /// Where its words stand in the text; `None` if they are not found there.
    pub place: Option<CharSpan>,
    /// What the text says of it; `None` for praise and blame at once.
    pub sentiment: Option<SentimentLabel>,
}

/// A text with its mentions.
#[derive(Debug, Clone, PartialEq)]
pub struct AspectRow {
    /// Row number in the table.
    pub number: u64,
    /// The text as it was written.
    pub text: String,
    /// What it speaks of, in the order of the table.
    pub mentions: Vec<Mention>,
}

/// Reads a table whose column `name` holds mentions: a list of `[topic, words, sentiment]`, or of objects with these keys.
/// Sentiments are `negative`, `neutral`, `positive` and `both`. A name with dots leads into objects: `meta.aspects`.
///
/// # Errors
/// [`TrainingError::Table`] if the table or a row can't be read, [`TrainingError::Label`] for mentions of another form,
/// [`TrainingError::Rows`] if no row has any.
pub fn read_aspects(
    input: &Input,
    name: &str,
    text_column: Option<&str>,
    only: &[(String, String)],
) -> Result<Vec<AspectRow>, TrainingError> {
    let reading = ReaderOptions { columns: text_only(text_column), ..ReaderOptions::default() };
    let table = match input {
        Input::File(path) => path.display().to_string(),
        Input::Stdin => "standard input".to_owned(),
    };
    let mut rows = Vec::new();
    for row in TableReader::open(input, &reading)? {
        let row = row?;
        if !only.iter().all(|(column, value)| plain(row.columns.get(column)).as_ref() == Some(value)) {
            continue;
        }
        let (Some(value), Body::Text(text)) = (at_path(&row.columns, name), row.feedback.body) else { continue };
        let wrong = |place: RowPlace, problem: String| TrainingError::Label {
            table: table.clone(),
            place,
            problem: format!("{name}: {problem}"),
        };
        let mentions = mentions_of(value, &text).map_err(|problem| wrong(row.place, problem))?;
        if !mentions.is_empty() {
            rows.push(AspectRow { number: row.place.number, text, mentions });
        }
    }
    if rows.is_empty() {
        return Err(TrainingError::Rows(format!(
            "{table}: no row has mentions in {name:?}: a list of [topic, words, sentiment]"
        )));
    }
    Ok(rows)
}

/// A column, a field of the object `labels`, or what a path with dots leads to.
fn at_path<'a>(columns: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let nested = || columns.get("labels")?.as_object()?.get(name);
    let by_path = || {
        let mut parts = name.split('.');
        let first = columns.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.as_object()?.get(part))
    };
    columns.get(name).or_else(nested).or_else(by_path).filter(|value| !value.is_null())
}

fn mentions_of(value: &Value, text: &str) -> Result<Vec<Mention>, String> {
    let list = value.as_array().ok_or("a list of [topic, words, sentiment] is wanted")?;
    if list.len() > MOST_MENTIONS {
        return Err(format!("{} mentions are more than {MOST_MENTIONS}", list.len()));
    }
    let mut found = Finder { text, from: Vec::new() };
    list.iter().map(|mention| mention_of(mention, &mut found)).collect()
}

fn mention_of(value: &Value, finder: &mut Finder<'_>) -> Result<Mention, String> {
    let part = |index: usize, key: &str| {
        let field = match value {
            Value::Array(parts) => parts.get(index),
            other => other.get(key),
        };
        field.and_then(Value::as_str).ok_or_else(|| format!("{value} has no text for {key}"))
    };
    let (topic, words, sentiment) = (part(0, "topic")?, part(1, "words")?, part(2, "sentiment")?);
    let sentiment = match sentiment {
        BOTH => None,
        name => Some(name.parse().map_err(|error: UnknownName| format!("the sentiment {error}, {BOTH}"))?),
    };
    Ok(Mention { topic: topic.to_owned(), place: finder.next(words), sentiment })
}

/// Finds words in a text, the same words again behind where they stood before.
struct Finder<'a> {
    text: &'a str,
    /// Words that were found, and the byte behind them.
    from: Vec<(String, usize)>,
}

impl Finder<'_> {
    fn next(&mut self, words: &str) -> Option<CharSpan> {
        if words.is_empty() {
            return None;
        }
        let known = self.from.iter().position(|(known, _)| known == words);
        let from = known.and_then(|at| self.from.get(at)).map_or(0, |(_, from)| *from);
        let start = match self.text.get(from..).and_then(|rest| rest.find(words)) {
            Some(offset) => from + offset,
            None => self.text.find(words)?,
        };
        let end = start + words.len();
        match known.and_then(|at| self.from.get_mut(at)) {
            Some((_, from)) => *from = end,
            None => self.from.push((words.to_owned(), end)),
        }
        let chars = |bytes: &str| bytes.chars().count() as u32;
        let before = chars(self.text.get(..start)?);
        Some(CharSpan::new(before, before + chars(words)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<Vec<AspectRow>, TrainingError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, content).unwrap();
        read_aspects(&Input::File(path), "meta.aspects", None, &[])
    }

    #[test]
    fn the_same_words_are_found_one_behind_the_other() {
        let rows = read(
            "{\"text\":\"Суп вкусный. Суп холодный!\",\"meta\":{\"aspects\":[[\"food\",\"Суп\",\"positive\"],\
             {\"topic\":\"food\",\"words\":\"Суп\",\"sentiment\":\"negative\"},[\"food\",\"чай\",\"both\"]]}}\n\
             {\"text\":\"Ничего\",\"meta\":{}}\n",
        )
        .unwrap();
        assert_eq!(rows.len(), 1);
        let mentions: Vec<_> = rows[0].mentions.iter().map(|mention| (mention.place, mention.sentiment)).collect();
        let expected = [
            (Some(CharSpan::new(0, 3)), Some(SentimentLabel::Positive)),
            (Some(CharSpan::new(13, 16)), Some(SentimentLabel::Negative)),
            (None, None),
        ];
        assert_eq!(mentions, expected);
    }

    #[test]
    fn mentions_of_another_form_are_named_by_row() {
        let message = |aspects: &str| {
            read(&format!("{{\"text\":\"Суп\",\"meta\":{{\"aspects\":{aspects}}}}}\n")).unwrap_err().to_string()
        };
        let wrong = message("[[\"food\",\"Суп\",\"great\"]]");
        assert!(
            wrong.contains("row 1")
                && wrong.contains("\"great\" is not known; allowed: negative, neutral, positive, both"),
            "{wrong}"
        );
        assert!(message("[[\"food\"]]").contains("has no text for words"));
        assert!(message("5").contains("a list of [topic, words, sentiment] is wanted"));
        assert!(message("[]").contains("no row has mentions"));
    }
}
