//! Writes an `f32` as the shortest decimal that means it: widened to `f64`, 0.9 would be written as 0.8999999761581421.

use serde::Serializer;

/// The nearest `f64` to the shortest decimal that means `value`.
fn widened(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

pub(super) fn shortest<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(widened(*value))
}

pub(super) fn shortest_if_any<S: Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_some(&widened(*value)),
        None => serializer.serialize_none(),
    }
}
