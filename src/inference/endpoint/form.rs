//! The form of an answer: how an endpoint is asked for it, and whether what came back has it.

use jsonschema::Validator;
use regex::Regex;
use serde_json::{Value, json};

use super::super::{AnswerForm, LanguageModelError};
use super::invalid;

/// The one field of the JSON that a choice or a text of a pattern comes in.
const FIELD: &str = "answer";

/// Tokens of that JSON beside the text.
const WRAPPING_TOKENS: usize = 16;

/// A form that can be asked for.
pub(super) enum Form {
    Free,
    Json { schema: Value, validator: Box<Validator> },
    Regex { pattern: String, whole: Regex },
    Choice(Vec<String>),
}

impl Form {
    /// Makes a form ready, beside the async threads.
    pub(super) async fn new(form: AnswerForm) -> Result<Self, LanguageModelError> {
        let made = tokio::task::spawn_blocking(move || Self::ready(form)).await;
        made.unwrap_or_else(|error| Err(LanguageModelError::Failed(format!("the form of the answer: {error}"))))
    }

    fn ready(form: AnswerForm) -> Result<Self, LanguageModelError> {
        match form {
            AnswerForm::Free => Ok(Self::Free),
            AnswerForm::Json(schema) => match jsonschema::draft202012::new(&schema) {
                Ok(validator) => Ok(Self::Json { schema, validator: Box::new(validator) }),
                Err(_) => {
                    Err(invalid("form.json", "must be a JSON schema of draft 2020-12 without references elsewhere"))
                }
            },
            AnswerForm::Regex(pattern) => match Regex::new(&format!(r"\A(?:{pattern})\z")) {
                Ok(whole) => Ok(Self::Regex { pattern, whole }),
                Err(_) => Err(invalid("form.regex", "must be a regular expression")),
            },
            AnswerForm::Choice(choices) if choices.is_empty() => {
                Err(invalid("form.choice", "must have at least one choice"))
            }
            AnswerForm::Choice(choices) => Ok(Self::Choice(choices)),
        }
    }

    /// True if the text comes in JSON that is not part of the answer.
    pub(super) fn is_wrapped(&self) -> bool {
        matches!(self, Self::Regex { .. } | Self::Choice(_))
    }

    /// Tokens that the form adds to those of the answer.
    pub(super) fn added_tokens(&self) -> usize {
        if self.is_wrapped() { WRAPPING_TOKENS } else { 0 }
    }

    /// The schema that the endpoint holds the answer to.
    pub(super) fn schema(&self) -> Option<Value> {
        let wrapped = |text: Value| json!({"type": "object", "properties": {FIELD: text}, "required": [FIELD], "additionalProperties": false});
        match self {
            Self::Free => None,
            Self::Json { schema, .. } => Some(schema.clone()),
            Self::Regex { pattern, .. } => {
                Some(wrapped(json!({"type": "string", "pattern": format!("^(?:{pattern})$")})))
            }
            Self::Choice(choices) => Some(wrapped(json!({"type": "string", "enum": choices}))),
        }
    }

    /// The answer in a whole text, if it has the form.
    pub(super) fn read(&self, text: String) -> Option<String> {
        let unwrapped = |text: &str| match serde_json::from_str(text) {
            Ok(Value::Object(mut fields)) => match fields.remove(FIELD) {
                Some(Value::String(text)) if fields.is_empty() => Some(text),
                _ => None,
            },
            _ => None,
        };
        match self {
            Self::Free => Some(text),
            Self::Json { validator, .. } => {
                let value = serde_json::from_str(&text).ok()?;
                validator.is_valid(&value).then_some(text)
            }
            Self::Regex { whole, .. } => unwrapped(&text).filter(|text| whole.is_match(text)),
            Self::Choice(choices) => unwrapped(&text).filter(|text| choices.contains(text)),
        }
    }
}
