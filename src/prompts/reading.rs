//! What a file says, key by key, before it is a prompt.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::PromptLanguage;
use super::front_matter::Parts;
use super::problems::{Problems, did_you_mean};
use super::prompt::PromptExample;
use super::schema::{self, Node, Schema, Side};
use super::template::Template;

/// Most tokens that a prompt may let an answer have.
const MAX_TOKENS: u64 = 16_384;

/// The keys of front matter.
const KEYS: [&str; 10] =
    ["id", "language", "version", "title", "purpose", "max_tokens", "tried_on", "input", "output", "examples"];

/// The keys of an example.
const EXAMPLE_KEYS: [&str; 3] = ["name", "input", "output"];

/// What a file says, before it is a prompt.
pub(super) struct Read {
    pub(super) version: u64,
    pub(super) title: String,
    pub(super) purpose: String,
    pub(super) max_tokens: usize,
    pub(super) tried_on: Vec<String>,
    pub(super) input: Schema,
    pub(super) output: Option<Schema>,
    pub(super) examples: Vec<PromptExample>,
    pub(super) template: Template,
}

/// Reads front matter and body, and reports every problem of them.
pub(super) struct Reader<'a> {
    pub(super) front: &'a Map<String, Value>,
    pub(super) problems: &'a mut Problems,
}

impl Reader<'_> {
    /// Reads all of it, so that every problem is found, and gives it if nothing is missing.
    pub(super) fn read(mut self, parts: &Parts<'_>, id: &str, language: PromptLanguage) -> Option<Read> {
        self.check_keys(self.front, &KEYS, "");
        self.check_name("id", id);
        self.check_name("language", language.as_str());
        let (version, max_tokens) = (self.whole("version", u64::from(u32::MAX)), self.whole("max_tokens", MAX_TOKENS));
        let (title, purpose) = (self.text("title", 100), self.text("purpose", 1_000));
        let tried_on = self.texts("tried_on");
        let examples = self.examples();
        let input = match self.front.get("input") {
            Some(schema) => Schema::read(schema, Side::Input, self.problems),
            None => {
                self.problems.report("input", "must be given: a JSON Schema");
                None
            }
        };
        let output = self.front.get("output").map(|schema| Schema::read(schema, Side::Output, self.problems));
        if let (Some(input), Some(Some(output))) = (&input, &output) {
            schema::check_choices(output, input, self.problems);
        }
        let input = input?;
        let fields: BTreeSet<&str> = match &input.root {
            Node::Object(fields) => fields.keys().map(String::as_str).collect(),
            _ => BTreeSet::new(),
        };
        let template = Template::compile(parts.body, parts.body_line, &fields, self.problems)?;
        Some(Read {
            version: version?,
            title: title?,
            purpose: purpose?,
            max_tokens: usize::try_from(max_tokens?).ok()?,
            tried_on: tried_on?,
            input,
            output: match output {
                Some(output) => Some(output?),
                None => None,
            },
            examples: examples?,
            template,
        })
    }

    fn check_keys(&mut self, table: &Map<String, Value>, known: &[&str], path: &str) {
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            let hint = did_you_mean(key, known.iter().copied());
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.problems.report(&path, format!("there is no such key; allowed: {}{hint}", known.join(", ")));
        }
    }

    /// A key that says what the file's name says too.
    fn check_name(&mut self, key: &str, named: &str) {
        if self.front.get(key).and_then(Value::as_str) != Some(named) {
            self.problems.report(key, format!("must be {named:?}, as in the file's name"));
        }
    }

    fn whole(&mut self, key: &str, most: u64) -> Option<u64> {
        let number = self.front.get(key).and_then(Value::as_u64).filter(|number| (1..=most).contains(number));
        if number.is_none() {
            self.problems.report(key, format!("must be a whole number from 1 to {most}"));
        }
        number
    }

    fn text(&mut self, key: &str, most: usize) -> Option<String> {
        let fits = |text: &&str| !text.trim().is_empty() && text.chars().count() <= most;
        let text = self.front.get(key).and_then(Value::as_str).filter(fits).map(str::to_owned);
        if text.is_none() {
            self.problems.report(key, format!("must be a text of 1 to {most} characters"));
        }
        text
    }

    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let list = self.front.get(key).and_then(Value::as_array);
        let texts = list.and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        if texts.is_none() {
            self.problems.report(key, "must be a list of texts; it may be empty");
        }
        texts
    }

    fn examples(&mut self) -> Option<Vec<PromptExample>> {
        let list = self.front.get("examples").and_then(Value::as_array).filter(|list| !list.is_empty());
        let Some(list) = list else {
            self.problems.report("examples", "must have at least one entry: [[examples]] with name, input and output");
            return None;
        };
        let mut examples: Vec<PromptExample> = Vec::new();
        for (index, example) in list.iter().enumerate() {
            let path = format!("examples[{index}]");
            let Some(table) = example.as_object() else {
                self.problems.report(&path, "must be a table");
                continue;
            };
            self.check_keys(table, &EXAMPLE_KEYS, &path);
            let name = table.get("name").and_then(Value::as_str).unwrap_or_default();
            if name.trim().is_empty() || examples.iter().any(|other| other.name == name) {
                self.problems.report(&format!("{path}.name"), "must be a text that no other example has");
            }
            for key in ["input", "output"] {
                if !table.contains_key(key) {
                    self.problems.report(&format!("{path}.{key}"), "must be given");
                }
            }
            let value = |key: &str| table.get(key).cloned().unwrap_or_default();
            examples.push(PromptExample { name: name.to_owned(), input: value("input"), output: value("output") });
        }
        Some(examples)
    }
}
