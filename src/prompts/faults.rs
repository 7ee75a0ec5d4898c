//! What is wrong with a value that goes by a schema, field by field, without a word of what stands in it.

use jsonschema::Validator;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use serde_json::Value;

/// More faults of one value than this are not listed.
const MAX_FAULTS: usize = 50;

/// One thing wrong with the input of a prompt, or with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InputFault {
    /// Path of the field, as in `input.topics[2].id`.
    pub field: String,
    /// What is wrong, and what is allowed. It never quotes the value.
    pub problem: String,
}

impl InputFault {
    pub(super) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// What is wrong with a value; paths begin with `root`.
pub(super) fn of(validator: &Validator, value: &Value, root: &str) -> Vec<InputFault> {
    let mut faults = Vec::new();
    for error in validator.iter_errors(value) {
        let path = path(root, error.instance_path());
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                faults.push(InputFault::new(format!("{path}.{}", plain(property)), "must be given"));
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let count = unexpected.len();
                faults.push(InputFault::new(
                    &path,
                    format!("has {count} fields that are not declared: {}", names(unexpected)),
                ));
            }
            kind => faults.push(InputFault::new(path, problem(kind).unwrap_or_else(|| error.masked().to_string()))),
        }
        if faults.len() == MAX_FAULTS {
            break;
        }
    }
    faults
}

/// The names of fields that are names; others are text that somebody wrote.
fn names(unexpected: &[String]) -> String {
    let is_name = |name: &&String| {
        name.len() <= 64 && name.chars().all(|character| character.is_ascii_alphanumeric() || "_-".contains(character))
    };
    let names: Vec<&str> = unexpected.iter().filter(is_name).take(5).map(String::as_str).collect();
    if names.is_empty() {
        "names of other characters than letters, digits, '_' and '-'".to_owned()
    } else {
        names.join(", ")
    }
}

fn problem(kind: &ValidationErrorKind) -> Option<String> {
    Some(match kind {
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => format!("must be of type {kind}"),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> = options.as_array().into_iter().flatten().map(plain).collect();
            format!("must be one of: {}", options.join(", "))
        }
        ValidationErrorKind::MinLength { limit } => format!("must have at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} entries"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} entries"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        _ => return None,
    })
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A place in a value as people write it: `input.topics[2].id`.
pub(super) fn path(root: &str, location: &Location) -> String {
    let mut path = root.to_owned();
    for segment in location {
        match segment {
            LocationSegment::Property(name) => {
                path.push('.');
                path.push_str(&name);
            }
            LocationSegment::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}
