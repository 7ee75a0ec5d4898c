//! Typed reading of the named values of a GGUF file.
//!
//! Enters: the values. Leaves: those of the kind that is wanted, or an error that names the key. Never here: what they mean.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;

/// The named values of a GGUF file, as candle reads them.
pub type Metadata = HashMap<String, Value>;

/// A value of a GGUF file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct MetadataError {
    /// Name of the value.
    pub key: String,
    /// What is wrong with it, and what is expected.
    pub problem: String,
}

impl MetadataError {
    /// An error.
    pub(in super::super) fn new(key: &str, problem: impl Into<String>) -> Self {
        Self { key: key.to_owned(), problem: problem.into() }
    }
}

/// A text, if there is one.
pub(in super::super) fn text<'a>(metadata: &'a Metadata, key: &str) -> Result<Option<&'a str>, MetadataError> {
    match metadata.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(MetadataError::new(key, "must be a text")),
    }
}

/// A flag, if there is one.
pub(super) fn flag(metadata: &Metadata, key: &str) -> Result<Option<bool>, MetadataError> {
    match metadata.get(key) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(MetadataError::new(key, "must be true or false")),
    }
}

/// Id of a token below `count`, if there is one.
pub(super) fn token(metadata: &Metadata, key: &str, count: usize) -> Result<Option<u32>, MetadataError> {
    let Some(value) = metadata.get(key) else { return Ok(None) };
    match whole(value).and_then(|id| u32::try_from(id).ok()) {
        Some(id) if (id as usize) < count => Ok(Some(id)),
        _ => Err(MetadataError::new(key, format!("must be the number of one of the {count} tokens, counted from 0"))),
    }
}

/// Name of a token; empty if there is none.
pub(in super::super) fn token_name(metadata: &Metadata, id: Option<u32>) -> Result<String, MetadataError> {
    let tokens = texts(metadata, super::TOKENS)?.unwrap_or_default();
    Ok(id.and_then(|id| tokens.get(id as usize)).copied().unwrap_or_default().to_owned())
}

/// A list of texts, if there is one.
pub(super) fn texts<'a>(metadata: &'a Metadata, key: &str) -> Result<Option<Vec<&'a str>>, MetadataError> {
    list(metadata, key, "a text", |value| match value {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    })
}

/// A list of whole numbers, if there is one.
pub(super) fn integers(metadata: &Metadata, key: &str) -> Result<Option<Vec<i64>>, MetadataError> {
    list(metadata, key, "a whole number", whole)
}

/// A list of numbers, if there is one.
pub(super) fn numbers(metadata: &Metadata, key: &str) -> Result<Option<Vec<f32>>, MetadataError> {
    list(metadata, key, "a number", |value| match value {
        Value::F32(number) if !number.is_nan() => Some(*number),
        Value::F64(number) if !number.is_nan() => Some(*number as f32),
        _ => None,
    })
}

fn list<'a, T>(
    metadata: &'a Metadata,
    key: &str,
    kind: &str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Option<Vec<T>>, MetadataError> {
    match metadata.get(key) {
        None => Ok(None),
        Some(Value::Array(values)) => {
            let wrong = |entry| MetadataError::new(key, format!("entry {entry} must be {kind}"));
            let read = |(entry, value)| read(value).ok_or_else(|| wrong(entry));
            values.iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(MetadataError::new(key, "must be a list")),
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::U8(number) => Some((*number).into()),
        Value::I8(number) => Some((*number).into()),
        Value::U16(number) => Some((*number).into()),
        Value::I16(number) => Some((*number).into()),
        Value::U32(number) => Some((*number).into()),
        Value::I32(number) => Some((*number).into()),
        Value::U64(number) => i64::try_from(*number).ok(),
        Value::I64(number) => Some(*number),
        _ => None,
    }
}
