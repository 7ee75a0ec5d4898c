//! What an operator has just promised, checked by the playbook.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::LiveStart;
use crate::assist::playbook::Playbook;
use crate::assist::promises::{Circumstances, Promise, PromiseCheck, PromiseVerdict, summary};
use crate::assist::suggest::{blocking, within};
use crate::assist::{Assistant, SlotError};

/// What an operator promised in one turn.
#[derive(Debug, Clone, PartialEq)]
pub struct PromiseAdvice {
    /// The turn, from 0.
    pub turn: u32,
    /// What it promises, each with a verdict; places count within the turn's text.
    pub promises: Vec<Promise>,
    /// The gravest of the verdicts.
    pub verdict: PromiseVerdict,
}

/// A turn of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// Its number, from 0.
    pub(super) turn: u32,
    pub(super) text: String,
}

/// A turn that was checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) turn: u32,
    pub(super) result: Result<PromiseAdvice, SlotError>,
}

/// Checks turns in order. A promise that is allowed only if the customer has not had it too often is an error while that can't be
/// learnt; of several the first has the error.
pub(super) async fn check(assistant: Arc<Assistant>, start: LiveStart, said: Vec<Said>, due: Instant) -> Vec<Checked> {
    let used = match start.feedback.customer_id {
        Some(customer_id) => within(due, assistant.used_by(&start.tenant, customer_id)).await,
        None => Ok(Vec::new()),
    };
    let (used, mut unknown) = match used {
        Ok(used) => (used, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let last = said.last().map_or(0, |said| said.turn);
    let is_past_known = unknown.is_none();
    let circumstances = Circumstances { team: start.team, used, now: Some(Timestamp::now()) };
    let playbook = Arc::clone(assistant.playbook());
    let judged = blocking(move || {
        let check = PromiseCheck::new(&playbook, &circumstances);
        let judge = |said: Said| {
            let promises = check.check(&said.text);
            let is_sure = is_past_known || !promises.iter().any(|promise| is_allowed_by_past(&playbook, promise));
            let advice = PromiseAdvice { turn: said.turn, verdict: summary(&promises), promises };
            (advice, is_sure)
        };
        said.into_iter().map(judge).collect::<Vec<_>>()
    });
    match within(due, judged).await {
        Ok(judged) => {
            let checked = |(advice, is_sure): (PromiseAdvice, bool)| {
                let turn = advice.turn;
                let result = if is_sure { Ok(advice) } else { Err(unknown.take()?) };
                Some(Checked { turn, result })
            };
            judged.into_iter().filter_map(checked).collect()
        }
        Err(error) => vec![Checked { turn: last, result: Err(error) }],
    }
}

/// True if it was allowed by how often the customer has had the gesture.
fn is_allowed_by_past(playbook: &Playbook, promise: &Promise) -> bool {
    let gesture = promise.gesture_id.as_deref().and_then(|id| playbook.gesture(id));
    promise.verdict == PromiseVerdict::Allowed && gesture.is_some_and(|gesture| gesture.limit.times.is_some())
}
