//! What a call to a case store must keep to, whichever store it is.

use std::collections::HashSet;

use super::{Amendment, CaseFilter, CaseStoreError, NewCase, Outcome, Retagging, SimilarQuery, SimilarTo};

/// The most cases that one upsert may hold.
pub const MAX_BATCH: usize = 10_000;
/// The most cases that one search may return.
pub const MAX_SIMILAR: usize = 10_000;
/// The most cases that one part of a scan may hold.
pub const MAX_PAGE: usize = 10_000;

/// How far from 1 the length of a unit vector may be; half-precision vectors stay within it.
const UNIT_TOLERANCE: f64 = 0.01;

pub(super) fn new_cases(cases: &[NewCase], dimension: usize) -> Result<(), CaseStoreError> {
    if cases.len() > MAX_BATCH {
        return Err(invalid("cases", format!("{} cases in one call; at most {MAX_BATCH} are allowed", cases.len())));
    }
    let mut ids = HashSet::with_capacity(cases.len());
    for (index, new) in cases.iter().enumerate() {
        let field = |name: &str| format!("cases[{index}].{name}");
        if new.case.id.is_empty() {
            return Err(invalid(field("id"), "is empty; every case needs an id"));
        }
        if !ids.insert(new.case.id.as_str()) {
            return Err(invalid(field("id"), format!("{:?} stands twice in one call", new.case.id)));
        }
        vector(&new.vector, dimension).map_err(|problem| invalid(field("vector"), problem))?;
        if let Some(found) = &new.case.outcome {
            outcome(found).map_err(|(name, problem)| invalid(field(&format!("outcome.{name}")), problem))?;
        }
    }
    Ok(())
}

pub(super) fn retaggings(cases: &[Retagging]) -> Result<(), CaseStoreError> {
    if cases.len() > MAX_BATCH {
        return Err(invalid("cases", format!("{} cases in one call; at most {MAX_BATCH} are allowed", cases.len())));
    }
    let mut ids = HashSet::with_capacity(cases.len());
    for (index, retagging) in cases.iter().enumerate() {
        let id = retagging.case.id.as_str();
        if !ids.insert(id) {
            return Err(invalid(format!("cases[{index}].id"), format!("{id:?} stands twice in one call")));
        }
    }
    Ok(())
}

pub(super) fn amendment(amendment: &Amendment) -> Result<(), CaseStoreError> {
    match amendment {
        Amendment::Correction(_) => Ok(()),
        Amendment::Outcome { outcome: found, .. } => {
            outcome(found).map_err(|(name, problem)| invalid(format!("outcome.{name}"), problem))
        }
    }
}

fn outcome(outcome: &Outcome) -> Result<(), (&'static str, &'static str)> {
    if outcome.cost.is_some_and(|cost| !cost.is_finite() || cost < 0.0) {
        return Err(("cost", "must be a finite number, 0 or more"));
    }
    if outcome.score_after.is_some_and(|score| !score.value.is_finite() || !score.scale_max.is_finite()) {
        return Err(("score_after", "must be finite numbers"));
    }
    Ok(())
}

pub(super) fn query(query: &SimilarQuery, dimension: usize) -> Result<(), CaseStoreError> {
    limit(query.limit, MAX_SIMILAR)?;
    if let Some(score) = query.min_score.filter(|score| !(-1.0..=1.0).contains(score)) {
        return Err(invalid("min_score", format!("{score} is not allowed; -1 to 1 is")));
    }
    if let Some(days) = query.preferences.half_life_days.filter(|days| !(days.is_finite() && *days > 0.0)) {
        return Err(invalid("preferences.half_life_days", format!("{days} is not allowed; a number above 0 is")));
    }
    match &query.to {
        SimilarTo::Text { vector: given, .. } => vector(given, dimension).map_err(|problem| invalid("vector", problem)),
        SimilarTo::CaseId(_) => Ok(()),
    }
}

pub(super) fn limit(limit: usize, most: usize) -> Result<(), CaseStoreError> {
    if (1..=most).contains(&limit) {
        return Ok(());
    }
    Err(invalid("limit", format!("{limit} is not allowed; 1 to {most} is")))
}

pub(super) fn deletion(filter: &CaseFilter) -> Result<(), CaseStoreError> {
    if *filter != CaseFilter::default() {
        return Ok(());
    }
    Err(invalid("filter", "the empty filter would delete every case of the tenant; set at least one condition"))
}

pub(super) fn customer(customer_id: &str) -> Result<(), CaseStoreError> {
    if customer_id.is_empty() { Err(invalid("customer_id", "is empty; name the customer")) } else { Ok(()) }
}

/// What is wrong with a vector that should be a unit vector of a dimension.
fn vector(vector: &[f32], dimension: usize) -> Result<(), String> {
    if vector.len() != dimension {
        return Err(format!("has {} numbers; vectors of this store have {dimension}", vector.len()));
    }
    if let Some(index) = vector.iter().position(|value| !value.is_finite()) {
        return Err(format!("number {index} is not finite"));
    }
    let norm = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if (norm - 1.0).abs() > UNIT_TOLERANCE {
        return Err(format!("has length {norm:.4}; a unit vector is needed"));
    }
    Ok(())
}

pub(super) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> CaseStoreError {
    CaseStoreError::Invalid { field: field.into(), problem: problem.into() }
}
