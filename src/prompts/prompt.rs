//! One prompt: a file of `prompts/`, read and checked as a whole.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::PromptLanguage;
use super::data::has_marks;
use super::error::PromptError;
use super::faults;
use super::front_matter::{self, Parts};
use super::input::{Context, PromptLimits};
use super::problems::{Problem, Problems, did_you_mean};
use super::schema::{self, Node, Schema, Side};
use super::template::{Printed, Template};
use crate::inference::{AnswerForm, ChatMessage, ChatRole};

/// A file of a prompt may have at most this many bytes.
pub const MAX_FILE_BYTES: usize = 256 << 10;

/// Most tokens that a prompt may let an answer have.
const MAX_TOKENS: u64 = 16_384;

/// The keys of front matter.
const KEYS: [&str; 10] =
    ["id", "language", "version", "title", "purpose", "max_tokens", "tried_on", "input", "output", "examples"];

/// The keys of an example.
const EXAMPLE_KEYS: [&str; 3] = ["name", "input", "output"];

/// Where a prompt comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptOrigin {
    /// It is built into the program.
    BuiltIn,
    /// This file.
    File(PathBuf),
}

/// Which prompt exactly: what an answer's provenance names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PromptIdentity {
    /// Its id.
    pub id: String,
    /// Language of its instructions.
    pub language: PromptLanguage,
    /// Its version, from 1.
    pub version: u64,
    /// Hash of its file, in hexadecimal digits.
    pub sha256: String,
}

/// An input with the answer that it deserves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PromptExample {
    /// Its name.
    pub name: String,
    /// The input.
    pub input: Value,
    /// The answer: an object, or a text where the answer is free.
    pub output: Value,
}

/// A prompt: checked, immutable.
#[derive(Debug)]
pub struct Prompt {
    identity: PromptIdentity,
    origin: PromptOrigin,
    title: String,
    purpose: String,
    max_tokens: usize,
    tried_on: Vec<String>,
    input: Schema,
    output: Option<Schema>,
    examples: Vec<PromptExample>,
    template: Template,
    source: String,
}

impl Prompt {
    /// Reads and checks a prompt. `file` stands before each problem and is not opened; `id` and `language` are those of its name.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn parse(
        source: &str,
        file: &str,
        id: &str,
        language: PromptLanguage,
        origin: PromptOrigin,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::new(file);
        if source.len() > MAX_FILE_BYTES {
            problems.report_line(None, format!("has more than {} KiB, the most allowed", MAX_FILE_BYTES >> 10));
            return problems.or(None);
        }
        if has_marks(source) {
            problems.report_line(None, "must not contain U+F8F0 or U+F8F1");
        }
        let plain = source.trim_start_matches('\u{FEFF}').replace("\r\n", "\n");
        let Some(parts) = front_matter::split(&plain, &mut problems) else { return problems.or(None) };
        let prompt = Reader { front: &parts.front, problems: &mut problems }.prompt(&parts, id, language);
        let prompt = prompt.map(|read| Self {
            identity: PromptIdentity { id: id.to_owned(), language, version: read.version, sha256: sha256(source) },
            origin,
            source: source.to_owned(),
            title: read.title,
            purpose: read.purpose,
            max_tokens: read.max_tokens,
            tried_on: read.tried_on,
            input: read.input,
            output: read.output,
            examples: read.examples,
            template: read.template,
        });
        if let Some(prompt) = prompt.as_ref().filter(|_| problems.count() == 0) {
            prompt.check_examples(&mut problems);
        }
        problems.or(prompt)
    }

    /// Each example goes by the schemas, and the body renders with it.
    fn check_examples(&self, problems: &mut Problems) {
        let limits = PromptLimits::default();
        for (index, example) in self.examples.iter().enumerate() {
            let root = format!("examples[{index}]");
            let context = match Context::of(&example.input, &self.input, &format!("{root}.input"), &limits) {
                Ok(context) => context,
                Err(faults) => {
                    faults.into_iter().for_each(|fault| problems.report(&fault.field, fault.problem));
                    continue;
                }
            };
            self.check_output(example, &root, problems);
            let rendered = self.template.check_outside(context.variables.clone());
            let rendered = rendered
                .and_then(|()| self.template.render(context.variables, &context.texts, limits.max_message_chars));
            if let Err(fault) = rendered {
                let problem = format!("with example {:?}: {}", example.name, fault.problem);
                problems.report_line(fault.line, problem);
            }
        }
    }

    fn check_output(&self, example: &PromptExample, root: &str, problems: &mut Problems) {
        let path = format!("{root}.output");
        let Some(output) = &self.output else {
            if example.output.as_str().is_none_or(|text| text.trim().is_empty()) {
                problems.report(&path, "must be a text: the prompt has no [output], so its answer is free");
            }
            return;
        };
        match schema::specialised(&output.source, &example.input) {
            Err(fault) => problems.report(&format!("{root}.{}", fault.field), fault.problem),
            Ok(schema) => match schema::validator(&schema) {
                Err(error) => problems.report("output", error.masked().to_string()),
                Ok(validator) => faults::of(&validator, &example.output, &path)
                    .into_iter()
                    .for_each(|fault| problems.report(&fault.field, fault.problem)),
            },
        }
    }

    /// Which prompt it is.
    pub fn identity(&self) -> &PromptIdentity {
        &self.identity
    }

    /// Where it comes from.
    pub fn origin(&self) -> &PromptOrigin {
        &self.origin
    }

    /// A few words for a list.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Who uses it, for what, and what comes out.
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// Most tokens of an answer.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Ids of models that it was tried on.
    pub fn tried_on(&self) -> &[String] {
        &self.tried_on
    }

    /// JSON Schema of the input, with the keywords of our own.
    pub fn input_schema(&self) -> &Value {
        &self.input.source
    }

    /// JSON Schema of the answer, with the keywords of our own; `None` if the answer is free text.
    pub fn output_schema(&self) -> Option<&Value> {
        self.output.as_ref().map(|output| &output.source)
    }

    /// The examples, in the order of the file. Never empty.
    pub fn examples(&self) -> &[PromptExample] {
        &self.examples
    }

    /// The file as it stands.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What a model is to read, and the form of its answer.
    ///
    /// # Errors
    /// [`PromptError::Input`] with each fault of the input, [`PromptError::Template`] if the template can't be rendered with it.
    pub fn render(self: &Arc<Self>, input: &Value, limits: &PromptLimits) -> Result<RenderedPrompt, PromptError> {
        let context = Context::of(input, &self.input, Side::Input.key(), limits).map_err(PromptError::Input)?;
        let output_schema = match &self.output {
            Some(output) => {
                let schema = schema::specialised(&output.source, input);
                Some(schema.map_err(|fault| PromptError::Input(vec![fault]))?)
            }
            None => None,
        };
        let printed = self.template.render(context.variables, &context.texts, limits.max_message_chars);
        let Printed { system, user } = printed.map_err(|fault| PromptError::Template {
            prompt: format!("{}.{}", self.identity.id, self.identity.language),
            line: fault.line,
            problem: fault.problem,
        })?;
        let messages = vec![ChatMessage::new(ChatRole::System, system), ChatMessage::new(ChatRole::User, user)];
        Ok(RenderedPrompt { prompt: Arc::clone(self), messages, output_schema, max_tokens: self.max_tokens })
    }
}

/// What a model is to read, and how it may answer.
#[derive(Debug, Clone)]
pub struct RenderedPrompt {
    prompt: Arc<Prompt>,
    /// The messages: that of the system, then that of the user.
    pub messages: Vec<ChatMessage>,
    /// JSON Schema that the answer goes by, without keywords of our own; `None` for free text.
    pub output_schema: Option<Value>,
    /// Most tokens of the answer.
    pub max_tokens: usize,
}

impl RenderedPrompt {
    /// Which prompt was rendered.
    pub fn identity(&self) -> &PromptIdentity {
        &self.prompt.identity
    }

    /// The form that the answer is held to.
    pub fn form(&self) -> AnswerForm {
        self.output_schema.clone().map_or(AnswerForm::Free, AnswerForm::Json)
    }

    pub(super) fn output_node(&self) -> Option<&Node> {
        self.prompt.output.as_ref().map(|output| &output.root)
    }
}

/// What a file says, before it is a prompt.
struct Read {
    version: u64,
    title: String,
    purpose: String,
    max_tokens: usize,
    tried_on: Vec<String>,
    input: Schema,
    output: Option<Schema>,
    examples: Vec<PromptExample>,
    template: Template,
}

struct Reader<'a> {
    front: &'a Map<String, Value>,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    /// Reads all of it, so that every problem is found, and gives it if nothing is missing.
    fn prompt(mut self, parts: &Parts<'_>, id: &str, language: PromptLanguage) -> Option<Read> {
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

fn sha256(source: &str) -> String {
    Sha256::digest(source.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
