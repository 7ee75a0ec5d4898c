//! The schemas of inputs and answers: the part of JSON Schema that constrained decoding follows, and two keywords of our own.
//!
//! A schema is read into a tree of [`Node`]s, which say what each value is; whether a value goes by it is left to a JSON Schema
//! validator.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::faults::{self, InputFault};
use super::problems::{Problems, did_you_mean};

/// Marks a text of an input as the company's own words.
const TRUSTED: &str = "x-trusted";

/// Says where the input lists what a text of the answer may be.
const ENUM_FROM: &str = "x-enum-from";

/// Keywords that every type has, and those of each.
const COMMON_KEYWORDS: [&str; 2] = ["type", "description"];
const KEYWORDS: [(&str, &[&str]); 6] = [
    ("object", &["properties", "required", "additionalProperties"]),
    ("array", &["items", "minItems", "maxItems"]),
    ("string", &["enum", "minLength", "maxLength", TRUSTED, ENUM_FROM]),
    ("integer", &["minimum", "maximum"]),
    ("number", &["minimum", "maximum"]),
    ("boolean", &[]),
];

/// Schemas nest no deeper than this.
const MAX_DEPTH: usize = 16;

/// What a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Input,
    Output,
}

impl Side {
    pub(super) fn key(self) -> &'static str {
        match self {
            Side::Input => "input",
            Side::Output => "output",
        }
    }
}

/// What a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// Whatever somebody wrote.
    Written,
    /// The company's own words.
    Trusted,
    /// One of a list that stands in the schema.
    Chosen,
    /// One of a list that stands in the input.
    ChosenFrom(Choices),
}

/// Where the input lists what a text of the answer may be: texts, or a text of each object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choices {
    pub(super) list: String,
    pub(super) field: Option<String>,
}

impl Choices {
    fn read(path: &str) -> Self {
        match path.split_once('.') {
            Some((list, field)) => Self { list: list.to_owned(), field: Some(field.to_owned()) },
            None => Self { list: path.to_owned(), field: None },
        }
    }
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Text(Text),
    Number,
    Truth,
    List(Box<Node>),
    Object(BTreeMap<String, Node>),
}

/// A checked schema.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) source: Value,
    pub(super) root: Node,
    validator: Validator,
}

impl Schema {
    /// Reads and checks a schema; `None` with problems reported if it can't be used.
    pub(super) fn read(source: &Value, side: Side, problems: &mut Problems) -> Option<Self> {
        let before = problems.count();
        let root = Reader { side, problems }.node(source, side.key(), 0)?;
        if !matches!(root, Node::Object(_)) {
            problems.report(&format!("{}.type", side.key()), "must be \"object\"");
        }
        if problems.count() > before {
            return None;
        }
        match validator(source) {
            Ok(validator) => Some(Self { source: source.clone(), root, validator }),
            Err(error) => {
                let path = faults::path(side.key(), error.instance_path());
                problems.report(&path, error.masked().to_string());
                None
            }
        }
    }

    /// What is wrong with a value; paths begin with `input` or `output`.
    pub(super) fn faults(&self, value: &Value, root: &str) -> Vec<InputFault> {
        faults::of(&self.validator, value, root)
    }
}

/// What checks values by a schema.
pub(super) fn validator(schema: &Value) -> Result<Validator, jsonschema::ValidationError<'static>> {
    jsonschema::draft202012::meta::validate(schema).map_err(jsonschema::ValidationError::to_owned)?;
    jsonschema::draft202012::new(schema)
}

struct Reader<'p> {
    side: Side,
    problems: &'p mut Problems,
}

impl Reader<'_> {
    fn node(&mut self, schema: &Value, path: &str, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            self.problems.report(path, format!("nests deeper than {MAX_DEPTH} levels"));
            return None;
        }
        let Some(schema) = schema.as_object() else {
            self.problems.report(path, "must be a table: a JSON Schema");
            return None;
        };
        let kinds = || KEYWORDS.map(|(kind, _)| kind).join(", ");
        let Some(kind) = schema.get("type").and_then(Value::as_str) else {
            self.problems.report(&format!("{path}.type"), format!("must be given: one of {}", kinds()));
            return None;
        };
        let Some((_, keywords)) = KEYWORDS.iter().find(|(known, _)| *known == kind) else {
            self.problems.report(&format!("{path}.type"), format!("{kind:?} must be one of {}", kinds()));
            return None;
        };
        self.check_keywords(schema, kind, keywords, path);
        match kind {
            "object" => self.object(schema, path, depth),
            "array" => match schema.get("items") {
                Some(items) => Some(Node::List(Box::new(self.node(items, &format!("{path}.items"), depth + 1)?))),
                None => {
                    self.problems.report(&format!("{path}.items"), "must be given");
                    None
                }
            },
            "string" => self.text(schema, path).map(Node::Text),
            "boolean" => Some(Node::Truth),
            _ => Some(Node::Number),
        }
    }

    fn check_keywords(&mut self, schema: &Map<String, Value>, kind: &str, keywords: &[&str], path: &str) {
        for keyword in schema.keys() {
            let ours_elsewhere = match self.side {
                Side::Input => ENUM_FROM,
                Side::Output => TRUSTED,
            };
            let allowed = || COMMON_KEYWORDS.iter().chain(keywords).copied().filter(|known| *known != ours_elsewhere);
            if !allowed().any(|known| known == keyword) {
                let hint = did_you_mean(keyword, allowed());
                let list: Vec<&str> = allowed().collect();
                let side = self.side.key();
                self.problems.report(
                    &format!("{path}.{keyword}"),
                    format!("is not a keyword of type {kind:?} of the {side}; allowed: {}{hint}", list.join(", ")),
                );
            }
        }
    }

    fn object(&mut self, schema: &Map<String, Value>, path: &str, depth: usize) -> Option<Node> {
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            let why = "must be false: the name of a field that nobody declared would be text that nobody checked";
            self.problems.report(&format!("{path}.additionalProperties"), why);
        }
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            self.problems.report(&format!("{path}.properties"), "must be a table of fields");
            return None;
        };
        let mut fields = BTreeMap::new();
        for (name, field) in properties {
            let path = format!("{path}.properties.{name}");
            let is_name =
                |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
            if name.is_empty() || !name.chars().all(is_name) || name.starts_with(|first: char| first.is_ascii_digit()) {
                self.problems
                    .report(&path, "the name of a field must be of a-z, 0-9 and '_' and not begin with a digit");
            }
            if let Some(field) = self.node(field, &path, depth + 1) {
                fields.insert(name.clone(), field);
            }
        }
        let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (index, name) in required.iter().enumerate() {
            if !name.as_str().is_some_and(|name| properties.contains_key(name)) {
                let hint = did_you_mean(name.as_str().unwrap_or_default(), properties.keys().map(String::as_str));
                self.problems
                    .report(&format!("{path}.required[{index}]"), format!("{name} is not in properties{hint}"));
            }
        }
        Some(Node::Object(fields))
    }

    fn text(&mut self, schema: &Map<String, Value>, path: &str) -> Option<Text> {
        let trusted = schema.get(TRUSTED);
        let choices = schema.get(ENUM_FROM);
        if trusted.is_some_and(|trusted| *trusted != Value::Bool(true)) {
            self.problems.report(&format!("{path}.{TRUSTED}"), "must be true, or left out");
        }
        if let Some(choices) = choices {
            for other in ["enum", "minLength", "maxLength"] {
                if schema.contains_key(other) {
                    self.problems.report(&format!("{path}.{other}"), format!("must be left out beside {ENUM_FROM}"));
                }
            }
            let Some(choices) = choices.as_str() else {
                self.problems.report(&format!("{path}.{ENUM_FROM}"), "must be a text, as in \"topics.id\"");
                return None;
            };
            return Some(Text::ChosenFrom(Choices::read(choices)));
        }
        Some(match (schema.contains_key("enum"), trusted.is_some()) {
            (true, _) => Text::Chosen,
            (false, true) => Text::Trusted,
            (false, false) => Text::Written,
        })
    }
}

/// Checks that the input has what the answer's texts are to be chosen from.
pub(super) fn check_choices(output: &Schema, input: &Schema, problems: &mut Problems) {
    visit_choices(&output.source, "output", &mut |choices, path| {
        if let Err(problem) = choices_in(&input.root, choices) {
            problems.report(&format!("{path}.{ENUM_FROM}"), problem);
        }
    });
}

fn choices_in(input: &Node, choices: &Choices) -> Result<(), String> {
    let Choices { list, field } = choices;
    let entry = match input {
        Node::Object(fields) => match fields.get(list) {
            Some(Node::List(entry)) => entry,
            Some(_) => return Err(format!("input.properties.{list} must be a list")),
            None => {
                return Err(format!(
                    "the input has no {list:?}{}",
                    did_you_mean(list, fields.keys().map(String::as_str))
                ));
            }
        },
        _ => return Err("the input must be an object".to_owned()),
    };
    let text = match (&**entry, field) {
        (Node::Object(fields), Some(field)) => {
            fields.get(field).ok_or_else(|| format!("the entries of {list:?} have no {field:?}"))?
        }
        (Node::Object(_), None) => return Err(format!("must name a text of the entries, as in \"{list}.id\"")),
        (entry, None) => entry,
        (_, Some(_)) => return Err(format!("the entries of {list:?} must be objects to have a field")),
    };
    match text {
        Node::Text(Text::Trusted | Text::Chosen) => Ok(()),
        Node::Text(_) => Err(format!("the texts must be {TRUSTED}: they become part of what the answer may be")),
        _ => Err("must lead to texts".to_owned()),
    }
}

/// Calls `found` with each `x-enum-from` of a schema and the path of what it stands in.
fn visit_choices(schema: &Value, path: &str, found: &mut dyn FnMut(&Choices, &str)) {
    if let Some(choices) = schema.get(ENUM_FROM).and_then(Value::as_str) {
        found(&Choices::read(choices), path);
    }
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        visit_choices(field, &format!("{path}.properties.{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        visit_choices(items, &format!("{path}.items"), found);
    }
}

/// A schema of plain JSON Schema: without our own keywords, each `x-enum-from` replaced by what this input allows.
///
/// # Errors
/// A fault of the input that has nothing to choose from.
pub(super) fn specialised(output: &Value, input: &Value) -> Result<Value, InputFault> {
    let mut schema = Map::new();
    for (keyword, value) in output.as_object().into_iter().flatten() {
        match keyword.as_str() {
            TRUSTED => {}
            ENUM_FROM => {
                let choices = Choices::read(value.as_str().unwrap_or_default());
                schema.insert("enum".to_owned(), allowed_by(input, &choices)?.into());
            }
            "properties" => {
                let mut fields = Map::new();
                for (name, field) in value.as_object().into_iter().flatten() {
                    fields.insert(name.clone(), specialised(field, input)?);
                }
                schema.insert(keyword.clone(), fields.into());
            }
            "items" => {
                schema.insert(keyword.clone(), specialised(value, input)?);
            }
            _ => {
                schema.insert(keyword.clone(), value.clone());
            }
        }
    }
    Ok(schema.into())
}

/// The texts that an input lists, each once, in its order.
fn allowed_by(input: &Value, choices: &Choices) -> Result<Vec<String>, InputFault> {
    let Choices { list, field } = choices;
    let entries = input.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |entry: &Value| match field {
        Some(field) => entry.get(field).and_then(Value::as_str).map(str::to_owned),
        None => entry.as_str().map(str::to_owned),
    };
    let mut seen = std::collections::HashSet::new();
    let allowed: Vec<String> = entries.iter().filter_map(text).filter(|text| seen.insert(text.clone())).collect();
    if allowed.is_empty() {
        let what = field.as_ref().map_or_else(|| "an entry".to_owned(), |field| format!("an entry with {field:?}"));
        return Err(InputFault::new(
            format!("input.{list}"),
            format!("must have {what}: the answer is chosen among them"),
        ));
    }
    Ok(allowed)
}
