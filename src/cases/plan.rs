//! What a write does to one case, given what is stored of it. Pure, so that every store decides alike.

use super::lexical::SparseVector;
use super::{
    Case, CaseStoreError, NewCase, RequestMark, RetagOutcome, Retagging, TenantId, UpsertOutcome, VectoredCase, checks,
    point,
};

/// A case with its vector, checked and ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredCase {
    /// Whose it is.
    pub(super) tenant: TenantId,
    /// The case.
    pub(super) case: Case,
    /// The case as JSON: what is stored and read back.
    pub(super) json: String,
    /// The vector.
    pub(super) vector: Vec<f32>,
    /// The words of the case; they follow from it and are not journalled.
    pub(super) words: SparseVector,
    /// How the call that stores it names itself; what the case remembers of that is in the case.
    pub(super) request_id: Option<String>,
}

impl StoredCase {
    /// A case on its way into the store; says what is wrong with a case that could not be read back.
    pub(super) fn new(tenant: &TenantId, new: NewCase) -> Result<Self, String> {
        let json = json_of(&new.case)?;
        let words = point::words(&new.case);
        let NewCase { case, vector, request_id } = new;
        Ok(Self { tenant: tenant.clone(), case, json, vector, words, request_id })
    }

    /// The same with another state of the case, whose text is the same.
    pub(super) fn with(self, case: Case) -> Result<Self, String> {
        Ok(Self { json: json_of(&case)?, case, ..self })
    }
}

fn json_of(case: &Case) -> Result<String, String> {
    let json = serde_json::to_string(case).map_err(|error| error.to_string())?;
    // JSON has no NaN and no infinity: they are written as null, and are noticed only when read.
    serde_json::from_str::<Case>(&json).map_err(|error| error.to_string())?;
    Ok(json)
}

/// The cases of a call, checked and ready to be written.
///
/// # Errors
/// `Invalid`, as for [`super::CaseStore::upsert`].
pub(super) fn stored_cases(
    tenant: &TenantId,
    cases: Vec<NewCase>,
    dimension: usize,
) -> Result<Vec<StoredCase>, CaseStoreError> {
    checks::new_cases(&cases, dimension)?;
    let stored = cases.into_iter().enumerate().map(|(index, new)| {
        let stored = StoredCase::new(tenant, new);
        stored.map_err(|problem| checks::invalid(format!("cases[{index}].case"), format!("can't be stored: {problem}")))
    });
    stored.collect()
}

/// What an upsert does with one case.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum UpsertPlan {
    /// Nothing: the same call stored it already, and did this.
    Done(UpsertOutcome),
    /// The case is to be written like this.
    Write(Box<StoredCase>, UpsertOutcome),
}

/// What an upsert does with a case in the place of an earlier one of the same id.
///
/// # Errors
/// What is wrong with a case that could not be read back.
pub(super) fn upsert(earlier: Option<&Case>, mut stored: StoredCase) -> Result<UpsertPlan, String> {
    let request_id = stored.request_id.take();
    let done = earlier.zip(request_id.as_ref()).and_then(|(case, request)| case.done_by(request));
    if let Some(outcome) = done {
        return Ok(UpsertPlan::Done(outcome));
    }
    let outcome = if earlier.is_some() { UpsertOutcome::Replaced } else { UpsertOutcome::Created };
    let mut case = stored.case.clone();
    case.requests.extend(request_id.map(|request_id| RequestMark { request_id, outcome }));
    if let Some(earlier) = earlier {
        case = case.replacing(earlier);
    }
    let stored = if case == stored.case { stored } else { stored.with(case)? };
    Ok(UpsertPlan::Write(Box::new(stored), outcome))
}

/// What new tags do with a case as it is stored: the case to be written, if any, and the outcome.
///
/// # Errors
/// What is wrong with a case that could not be read back.
pub(super) fn retag(
    tenant: &TenantId,
    stored: Option<VectoredCase>,
    new: Retagging,
) -> Result<(Option<StoredCase>, RetagOutcome), String> {
    let Some(VectoredCase { case, vector }) = stored else { return Ok((None, RetagOutcome::Gone)) };
    if case.state() != new.seen {
        return Ok((None, RetagOutcome::Outdated));
    }
    let case = case.taking_tags_of(new.case);
    let stored = StoredCase::new(tenant, NewCase { case, vector, request_id: None })?;
    Ok((Some(stored), RetagOutcome::Written))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::edge::sample;
    use crate::cases::{Outcome, OutcomeStatus};

    #[test]
    fn a_number_that_json_can_not_hold_is_refused() {
        let mut case = sample::case("1");
        case.tags.sentiment.as_mut().unwrap().score = f32::NAN;
        let problem =
            StoredCase::new(&TenantId::default(), NewCase { case, vector: vec![1.0], request_id: None }).unwrap_err();
        assert!(problem.contains("null"), "{problem}");
    }

    #[test]
    fn a_case_stored_anew_keeps_what_was_said_of_it_and_a_call_made_again_does_nothing() {
        let new = |request: &str| {
            let request_id = Some(request.to_owned());
            StoredCase::new(&TenantId::default(), NewCase { case: sample::case("1"), vector: vec![1.0], request_id })
                .unwrap()
        };
        let UpsertPlan::Write(first, UpsertOutcome::Created) = upsert(None, new("a")).unwrap() else { panic!() };
        assert_eq!(first.case.done_by("a"), Some(UpsertOutcome::Created));
        assert_eq!(serde_json::from_str::<Case>(&first.json).unwrap(), first.case);
        let solved = Outcome {
            status: OutcomeStatus::Solved,
            resolution: None,
            gesture_id: None,
            cost: None,
            score_after: None,
            decided_at: None,
            decided_by: None,
        };
        let earlier = Case { outcome: Some(solved), ..first.case };
        assert_eq!(upsert(Some(&earlier), new("a")).unwrap(), UpsertPlan::Done(UpsertOutcome::Created));
        let UpsertPlan::Write(again, UpsertOutcome::Replaced) = upsert(Some(&earlier), new("b")).unwrap() else {
            panic!()
        };
        assert_eq!(again.case.status(), OutcomeStatus::Solved);
        assert_eq!(again.case.done_by("b"), Some(UpsertOutcome::Replaced));
    }
}
