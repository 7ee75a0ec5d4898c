//! What a model said, as an answer: parsed by the schema that it was asked with, bounded, and masked again.

use std::collections::HashMap;

use serde_json::Value;

use super::data::{BLOCK, BLOCK_END};
use super::error::AnswerError;
use super::faults;
use super::input::PromptLimits;
use super::prompt::RenderedPrompt;
use super::schema::{self, Node, Text};
use crate::feedback::CharSpan;
use crate::inference::{Answer, ChatRole, FinishReason};
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
    let mut masking = Masking::new(rendered, text);
    let (Some(schema), Some(node)) = (&rendered.output_schema, rendered.output_node()) else {
        let chars = text.chars().count();
        return match chars {
            0 => Err(AnswerError::Empty),
            chars if chars > limits.max_answer_chars => {
                Err(AnswerError::TooLong { chars, most: limits.max_answer_chars })
            }
            _ => {
                masking.learn(text);
                Ok(AnswerContent::Text(masking.mask(text)))
            }
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
    masking.learn_all(&value);
    Ok(AnswerContent::Json(masking.value(value, node)))
}

/// Masks the texts of one answer: the same value has the same placeholder in all of them, and what is personal data in the prompt's
/// input or in one text of the answer is so in every other, whatever stands around it there.
struct Masking<'r> {
    rendered: &'r RenderedPrompt,
    answer: &'r str,
    known: Vec<(MaskedKind, String)>,
    placeholders: HashMap<(MaskedKind, String), String>,
}

impl<'r> Masking<'r> {
    /// For an answer to this prompt.
    fn new(rendered: &'r RenderedPrompt, answer: &'r str) -> Self {
        let mut masking = Self { rendered, answer, known: Vec::new(), placeholders: HashMap::new() };
        let asked = rendered.messages.iter().filter(|message| message.role == ChatRole::User);
        asked.for_each(|message| masking.learn(&message.content));
        masking
    }

    /// Notes the personal data of a text.
    fn learn(&mut self, text: &str) {
        for item in prepare(text).masked_items() {
            let known = (item.kind(), item.value().to_owned());
            if !self.known.contains(&known) {
                self.known.push(known);
            }
        }
    }

    /// Notes that of all texts of a value.
    fn learn_all(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.learn(text),
            Value::Array(items) => items.iter().for_each(|item| self.learn_all(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.learn_all(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

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

    /// The text as it stands, but without marks of data blocks, and with placeholders for personal data.
    fn mask(&mut self, text: &str) -> String {
        let text = &without_block_marks(text);
        let prepared = prepare(text);
        let mut spans: Vec<(CharSpan, String)> = Vec::new();
        for item in prepared.masked_items() {
            let placeholder = self.placeholder(item.kind(), item.value());
            let originals = item.spans().iter().map(|span| prepared.to_original(*span));
            spans.extend(originals.map(|span| (span, placeholder.clone())));
        }
        for (kind, value) in self.known.clone() {
            for span in occurrences(text, &value) {
                if !spans.iter().any(|(hidden, _)| hidden.overlaps(span)) {
                    spans.push((span, self.placeholder(kind, &value)));
                }
            }
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

/// Where a value stands in a text as words of their own.
fn occurrences(text: &str, value: &str) -> Vec<CharSpan> {
    let is_apart = |start: usize, end: usize| {
        let before = text.get(..start).and_then(|before| before.chars().next_back());
        let after = text.get(end..).and_then(|after| after.chars().next());
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    };
    let found = text.match_indices(value).filter(|(start, found)| is_apart(*start, start + found.len()));
    let length = value.chars().count() as u32;
    found
        .map(|(start, _)| {
            let start = text.get(..start).unwrap_or_default().chars().count() as u32;
            CharSpan::new(start, start + length)
        })
        .filter(|_| length > 0)
        .collect()
}

/// A text without the marks that data blocks begin and end with: a model that copies its prompt copies them too.
fn without_block_marks(text: &str) -> String {
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = [BLOCK, BLOCK_END].iter().filter_map(|mark| rest.find(mark)).min() {
        let (before, mark) = rest.split_at(start);
        left.push_str(before);
        // A mark that was cut goes as far as the text does.
        rest = mark.split_once('>').map_or("", |(_, behind)| behind);
    }
    left.push_str(rest);
    if left.len() == text.len() { left } else { left.trim().to_owned() }
}
