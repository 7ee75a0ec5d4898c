//! What was told last, and whether something else is news.

use std::collections::BTreeMap;

use super::promised::PromiseAdvice;
use crate::assist::playbook::ReplyLanguage;
use crate::assist::suggestion::{Slot, SlotContent, SlotError, SlotOutcome};
use crate::assist::writer::WriterError;
use crate::cases::{CaseStoreError, OutcomeGroup};
use crate::tagging::TaggingError;
use crate::tags::Tags;

/// What a slot was last told to hold; of an error, what its caller hears of it.
type Told<T> = Result<T, String>;

/// What was told last, slot by slot.
#[derive(Debug, Default)]
pub(super) struct Sent {
    slots: BTreeMap<Slot, Told<SlotContent>>,
    promises: Option<Told<PromiseAdvice>>,
    language: Option<ReplyLanguage>,
}

impl Sent {
    /// From now on names are told in this language: what was told in another is told anew.
    pub(super) fn speak(&mut self, language: ReplyLanguage) {
        if self.language.replace(language).is_some_and(|before| before != language) {
            self.slots.clear();
        }
    }

    /// True if the slot differs from what was told for it last; from now on it is what was told.
    pub(super) fn is_news(&mut self, outcome: &SlotOutcome) -> bool {
        let is_known = match (self.slots.get(&outcome.slot), &outcome.result) {
            (Some(Ok(before)), Ok(content)) => is_same(before, content),
            (Some(Err(before)), Err(error)) => *before == hearable(error),
            _ => false,
        };
        if !is_known {
            let told = outcome.result.as_ref().cloned().map_err(hearable);
            self.slots.insert(outcome.slot, told);
        }
        !is_known
    }

    /// The same for what an operator promised. Turns without a promise are alike; each with one is news.
    pub(super) fn is_news_of_promises(&mut self, result: &Result<PromiseAdvice, SlotError>) -> bool {
        let is_known = match (&self.promises, result) {
            (Some(Ok(before)), Ok(advice)) => {
                before == advice || (before.promises.is_empty() && advice.promises.is_empty())
            }
            (Some(Err(before)), Err(error)) => *before == hearable(error),
            _ => false,
        };
        if !is_known {
            self.promises = Some(result.as_ref().cloned().map_err(hearable));
        }
        !is_known
    }
}

/// What a caller hears of an error: figures that change by the moment and faults of the service are not told.
fn hearable(error: &SlotError) -> String {
    match error {
        SlotError::Tagging(TaggingError::Overloaded { .. })
        | SlotError::Cases(CaseStoreError::Busy { .. })
        | SlotError::Writer(WriterError::Overloaded(_)) => "overloaded".to_owned(),
        SlotError::Cases(
            CaseStoreError::Open { .. } | CaseStoreError::Full { .. } | CaseStoreError::Unavailable(_),
        ) => "not available".to_owned(),
        SlotError::Tagging(TaggingError::DeadlineExceeded)
        | SlotError::Writer(WriterError::DeadlineExceeded)
        | SlotError::DeadlineExceeded => "too late".to_owned(),
        SlotError::Tagging(TaggingError::Internal(_))
        | SlotError::Writer(WriterError::Failed(_))
        | SlotError::Draft(_)
        | SlotError::Internal(_) => "a fault of the service".to_owned(),
        SlotError::Writer(WriterError::TooLong(_)) => "too long".to_owned(),
        SlotError::Writer(WriterError::Prompt(_) | WriterError::Unusable(_)) => "no words of use".to_owned(),
        SlotError::Tagging(TaggingError::Invalid { .. })
        | SlotError::Cases(CaseStoreError::Invalid { .. } | CaseStoreError::NotFound { .. })
        | SlotError::NoTags
        | SlotError::NotInPlaybook(_) => error.to_string(),
    }
}

/// True if a reader would see the same. Figures that move with every turn, such as confidences and distances, are left out.
fn is_same(one: &SlotContent, other: &SlotContent) -> bool {
    match (one, other) {
        (SlotContent::Tags(one), SlotContent::Tags(other)) => are_same_tags(one, other),
        (SlotContent::Script(one), SlotContent::Script(other)) => {
            one.cover.covered == other.cover.covered
                && one.cover.nearest_intent_id == other.cover.nearest_intent_id
                && one.cover.nearer_for == other.cover.nearer_for
                && one.script == other.script
        }
        (SlotContent::Similar(one), SlotContent::Similar(other)) => {
            let outcome = |group: &OutcomeGroup| (group.status, group.gesture_id.clone(), group.count);
            one.cases.iter().map(|hit| &hit.case.id).eq(other.cases.iter().map(|hit| &hit.case.id))
                && one.outcomes.iter().map(outcome).eq(other.outcomes.iter().map(outcome))
        }
        (SlotContent::Gestures(one), SlotContent::Gestures(other)) => {
            let offers = one.iter().map(|offer| (&offer.gesture.id, offer.status, &offer.reasons));
            offers.eq(other.iter().map(|offer| (&offer.gesture.id, offer.status, &offer.reasons)))
        }
        (SlotContent::Avoid(one), SlotContent::Avoid(other)) => {
            one.iter().map(|avoidance| &avoidance.id).eq(other.iter().map(|avoidance| &avoidance.id))
        }
        (SlotContent::Draft(one), SlotContent::Draft(other)) => one.text == other.text,
        _ => false,
    }
}

fn are_same_tags(one: &Tags, other: &Tags) -> bool {
    let topics = |tags: &Tags| -> Vec<_> {
        tags.topics.iter().map(|topic| (topic.topic_id.clone(), topic.sentiment.label)).collect()
    };
    let signals = |tags: &Tags| -> Vec<_> {
        tags.signals.iter().map(|signal| (signal.signal_id.clone(), signal.detail.clone())).collect()
    };
    let label = |tags: &Tags| tags.sentiment.map(|sentiment| sentiment.label);
    topics(one) == topics(other)
        && signals(one) == signals(other)
        && label(one) == label(other)
        && one.team.team_id == other.team.team_id
        && one.language == other.language
        && one.review == other.review
}
