//! One prompt: a file of `prompts/`, read and checked as a whole.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::PromptLanguage;
use super::data::has_marks;
use super::error::PromptError;
use super::faults;
use super::front_matter;
use super::input::{Context, PromptLimits};
use super::problems::{Problem, Problems};
use super::reading::Reader;
use super::schema::{self, Node, Schema, Side};
use super::template::{Printed, Template};
use crate::inference::{AnswerForm, ChatMessage, ChatRole};

/// A file of a prompt may have at most this many bytes.
pub const MAX_FILE_BYTES: usize = 256 << 10;

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
        let prompt = Reader { front: &parts.front, problems: &mut problems }.read(&parts, id, language);
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

fn sha256(source: &str) -> String {
    Sha256::digest(source.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
