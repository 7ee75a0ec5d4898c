//! The two parts of a file: front matter as JSON whose keys know their lines, and the body.

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::Problems;

/// The line before and after front matter.
const FENCE: &str = "+++";

/// A file taken apart.
#[derive(Debug)]
pub(super) struct Parts<'s> {
    /// The front matter, keys in the order of the file.
    pub(super) front: Map<String, Value>,
    /// The template.
    pub(super) body: &'s str,
    /// The body's first line in the file, from 1.
    pub(super) body_line: usize,
}

/// Takes a file apart; `None` with problems reported if that can't be done.
pub(super) fn split<'s>(source: &'s str, problems: &mut Problems) -> Option<Parts<'s>> {
    let mut lines = source.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    if first.trim_end() != FENCE {
        problems.report_line(Some(1), format!("must begin with front matter: a line of {FENCE}"));
        return None;
    }
    let start = first.len();
    let mut end = start;
    let mut line = 1;
    for text in lines {
        line += 1;
        if text.trim_end() == FENCE {
            let front = table(source.get(start..end).unwrap_or_default(), problems)?;
            let body = source.get(end + text.len()..).unwrap_or_default();
            return Some(Parts { front, body, body_line: line + 1 });
        }
        end += text.len();
    }
    problems.report_line(Some(1), format!("the front matter has no end: a second line of {FENCE}"));
    None
}

fn table(toml: &str, problems: &mut Problems) -> Option<Map<String, Value>> {
    // The line of the fence comes before the first of the table.
    let line_at = |offset: usize| 2 + toml.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    match DeTable::parse(toml) {
        Ok(table) => Some(Reader { problems, line_at: &line_at }.table(table.get_ref(), "")),
        Err(error) => {
            problems.report_line(error.span().map(|span| line_at(span.start)), error.message());
            None
        }
    }
}

struct Reader<'a> {
    problems: &'a mut Problems,
    line_at: &'a dyn Fn(usize) -> usize,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, path: &str) -> Map<String, Value> {
        let mut entries: Vec<_> = table.iter().collect();
        // The parser sorts by name. What a model has to write is asked for in the order of the file.
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut read = Map::new();
        for (key, value) in entries {
            let name = key.get_ref().to_string();
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.problems.locate(&path, (self.line_at)(key.span().start));
            if let Some(value) = self.value(value, &path) {
                read.insert(name, value);
            }
        }
        read
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &str) -> Option<Value> {
        match value.get_ref() {
            DeValue::String(text) => Some(Value::String(text.to_string())),
            DeValue::Boolean(truth) => Some(Value::Bool(*truth)),
            DeValue::Integer(number) => {
                let whole = i64::from_str_radix(number.as_str(), number.radix()).ok();
                self.number(whole.map(Number::from), number.as_str(), path)
            }
            DeValue::Float(number) => {
                let finite = number.as_str().parse().ok().and_then(Number::from_f64);
                self.number(finite, number.as_str(), path)
            }
            DeValue::Array(items) => {
                let mut read = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.problems.locate(&path, (self.line_at)(item.span().start));
                    read.extend(self.value(item, &path));
                }
                Some(Value::Array(read))
            }
            DeValue::Table(table) => Some(Value::Object(self.table(table, path))),
            DeValue::Datetime(datetime) => {
                self.problems.report(path, format!("{datetime} is a date, which JSON has not: put it in quotes"));
                None
            }
        }
    }

    fn number(&mut self, number: Option<Number>, text: &str, path: &str) -> Option<Value> {
        if number.is_none() {
            self.problems.report(path, format!("{text} must be a number that fits in 64 bits"));
        }
        number.map(Value::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(source: &str) -> Vec<String> {
        let mut problems = Problems::new("f");
        let parts = split(source, &mut problems);
        let list = problems.or(parts.map(|_| ())).unwrap_err();
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keys_keep_the_order_of_the_file_and_the_body_its_line() {
        let source = "+++\nz = 1\na = -2.5\n[output]\ntype = \"object\"\n[output.properties.zebra]\ntype = \"string\"\n\
                      [output.properties.apple]\ntype = \"string\"\n+++\nbody\n+++\n";
        let mut problems = Problems::new("f");
        let parts = split(source, &mut problems).unwrap();
        let expected = r#"{"z":1,"a":-2.5,"output":{"type":"object","properties":{"zebra":{"type":"string"},"apple":{"type":"string"}}}}"#;
        assert_eq!(serde_json::to_string(&parts.front).unwrap(), expected);
        assert_eq!((parts.body, parts.body_line), ("body\n+++\n", 11));
        problems.report("output.properties.apple.type", "x");
        assert_eq!(problems.or(Some(())).unwrap_err()[0].line, Some(9));
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        assert_eq!(faults("text"), ["f:1: must begin with front matter: a line of +++"]);
        assert_eq!(faults("+++\na = 1\n"), ["f:1: the front matter has no end: a second line of +++"]);
        assert!(faults("+++\na = 1\nb = \n+++\n")[0].starts_with("f:3: "), "{:?}", faults("+++\na = 1\nb = \n+++\n"));
        assert_eq!(faults("+++\n\nday = 2026-01-01\n+++\n")[0].split(": ").next(), Some("f:3"));
        assert_eq!(faults("+++\nx = nan\n+++\n"), ["f:2: x: nan must be a number that fits in 64 bits"]);
    }
}
