//! What a model said, as an answer: parsed by the schema that it was asked with, bounded, and masked again.

use std::collections::HashMap;

use serde_json::Value;

use super::error::AnswerError;
use super::faults;
use super::input::PromptLimits;
use super::prompt::RenderedPrompt;
use super::schema::{self, Node, Text};
use crate::feedback::CharSpan;
use crate::inference::{Answer, FinishReason};
use crate::text::{MaskedKind, prepare};

/// An answer, ready to be shown.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerContent {
    /// What the prompt's output schema allows, but for personal data, which placeholders stand for.
    Json(Value),
    /// Free text, trimmed; placeholders stand for personal data.
    Text(String),
}

/// Reads an answer. Personal data is masked after the schema was checked, so a text may be longer than its `maxLength` by what its
/// placeholders are longer.
pub(super) fn read(
    rendered: &RenderedPrompt,
    answer: &Answer,
    limits: &PromptLimits,
) -> Result<AnswerContent, AnswerError> {
    let text = answer.text.trim();
    let mut masking = Masking { rendered, answer: text, placeholders: HashMap::new() };
    let (Some(schema), Some(node)) = (&rendered.output_schema, rendered.output_node()) else {
        let chars = text.chars().count();
        return match chars {
            0 => Err(AnswerError::Empty),
            chars if chars > limits.max_answer_chars => {
                Err(AnswerError::TooLong { chars, most: limits.max_answer_chars })
            }
            _ => Ok(AnswerContent::Text(masking.mask(text))),
        };
    };
    if answer.finish == FinishReason::Length {
        return Err(AnswerError::CutShort { max_tokens: rendered.max_tokens });
    }
    let value: Value = serde_json::from_str(text).map_err(|error| AnswerError::NotJson(error.to_string()))?;
    let validator = schema::validator(schema)
        .map_err(|error| AnswerError::NotJson(format!("its schema can't be used: {}", error.masked())))?;
    let faults = faults::of(&validator, &value, "output");
    if !faults.is_empty() {
        return Err(AnswerError::NotAllowed(faults));
    }
    Ok(AnswerContent::Json(masking.value(value, node)))
}

/// Masks the texts of one answer: the same value has the same placeholder in all of them.
struct Masking<'r> {
    rendered: &'r RenderedPrompt,
    answer: &'r str,
    placeholders: HashMap<(MaskedKind, String), String>,
}

impl Masking<'_> {
    fn value(&mut self, value: Value, node: &Node) -> Value {
        match (value, node) {
            (Value::String(text), Node::Text(Text::Written | Text::Trusted)) => Value::String(self.mask(&text)),
            (Value::Array(items), Node::List(entry)) => {
                Value::Array(items.into_iter().map(|item| self.value(item, entry)).collect())
            }
            (Value::Object(fields), Node::Object(nodes)) => {
                let masked = fields.into_iter().map(|(name, value)| match nodes.get(&name) {
                    Some(node) => {
                        let value = self.value(value, node);
                        (name, value)
                    }
                    None => (name, value),
                });
                Value::Object(masked.collect())
            }
            (other, _) => other,
        }
    }

    /// The text as it stands, but with placeholders for personal data.
    fn mask(&mut self, text: &str) -> String {
        let prepared = prepare(text);
        let mut spans: Vec<(CharSpan, String)> = Vec::new();
        for item in prepared.masked_items() {
            let placeholder = self.placeholder(item.kind(), item.value());
            let originals = item.spans().iter().map(|span| prepared.to_original(*span));
            spans.extend(originals.map(|span| (span, placeholder.clone())));
        }
        spans.sort_by_key(|(span, _)| span.start);
        let mut masked = String::with_capacity(text.len());
        let mut spans = spans.into_iter().peekable();
        let mut hidden_until = 0;
        for (at, character) in (0_u32..).zip(text.chars()) {
            if let Some((span, placeholder)) = spans.next_if(|(span, _)| span.start <= at) {
                masked.push_str(&placeholder);
                hidden_until = span.end.max(hidden_until);
            }
            if at >= hidden_until {
                masked.push(character);
            }
        }
        masked
    }

    /// What stands for a value: a placeholder that neither the messages nor the answer had for another.
    fn placeholder(&mut self, kind: MaskedKind, value: &str) -> String {
        let key = (kind, value.to_owned());
        if let Some(known) = self.placeholders.get(&key) {
            return known.clone();
        }
        let is_free = |placeholder: &String| {
            let in_messages = self.rendered.messages.iter().any(|message| message.content.contains(placeholder));
            let is_written = in_messages || self.answer.contains(placeholder);
            !is_written && !self.placeholders.values().any(|used| used == placeholder)
        };
        // Among one more than are taken, one is free; no text has so many.
        let mut numbered = (1..=u32::MAX).map(|number| format!("[{kind}_{number}]"));
        let placeholder = numbered.find(is_free);
        let placeholder = placeholder.unwrap_or_else(|| format!("[{kind}]"));
        self.placeholders.insert(key, placeholder.clone());
        placeholder
    }
}
