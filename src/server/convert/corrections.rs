//! What persons say of tags, and what they should look at.

use jiff::Timestamp;
use tonic::Status;

use super::cases::filter;
use super::feedback::check_id;
use super::{Faults, enums, time};
use crate::cases::review::{ReviewCase, ReviewOrder};
use crate::cases::{CaseFilter, Correction};
use crate::config::LimitsConfig;
use crate::server::wire::v1;
use crate::tags::{TeamId, TopicId};
use crate::text::prepare;

/// How many cases are listed when a request does not say.
const DEFAULT_LISTED: usize = 10;

/// The most cases that one call may list.
const MAX_LISTED: usize = 100;

/// The most topics that one correction may name.
const MAX_TOPICS: usize = 100;

/// What a review is about.
#[derive(Debug, PartialEq)]
pub(in crate::server) struct ReviewBounds {
    pub(in crate::server) filter: CaseFilter,
    pub(in crate::server) limit: usize,
    pub(in crate::server) order: ReviewOrder,
}

/// Checks a correction, all but whether the taxonomy knows what it names; gives back the case's id too.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn correction(
    message: v1::CorrectTagsRequest,
    limits: &LimitsConfig,
    now: Timestamp,
) -> Result<(String, Correction), Status> {
    let mut faults = Faults::default();
    check_id(&message.case_id, "case_id", limits, &mut faults);
    if message.topics.is_none() && message.team_id.is_none() && message.sentiment.is_none() {
        faults.add("topics", "must be given, or team_id, or sentiment: there is nothing to correct");
    }
    let topics = message.topics.map(|set| topics(set.topic_ids, limits, &mut faults));
    if let Some(team) = &message.team_id {
        check_id(team, "team_id", limits, &mut faults);
    }
    let sentiment =
        message.sentiment.and_then(|label| enums::required::<v1::SentimentLabel>(label, "sentiment", &mut faults));
    let most = limits.max_attribute_chars;
    if message.note.chars().nth(most).is_some() {
        faults.add("note", format!("must be at most {most} characters (limits.max_attribute_chars)"));
    }
    if !message.corrected_by.is_empty() {
        check_id(&message.corrected_by, "corrected_by", limits, &mut faults);
    }
    let given = |text: String| (!text.trim().is_empty()).then_some(text);
    let correction = Correction {
        topics,
        team: message.team_id.map(TeamId::new),
        sentiment,
        corrected_by: given(message.corrected_by),
        corrected_at: now,
        note: given(message.note).map(|note| prepare(&note).clean().to_owned()),
    };
    faults.or((message.case_id, correction))
}

fn topics(ids: Vec<String>, limits: &LimitsConfig, faults: &mut Faults) -> Vec<TopicId> {
    let path = "topics.topic_ids";
    if ids.len() > MAX_TOPICS {
        faults.add(path, format!("must be at most {MAX_TOPICS} topics, not {}", ids.len()));
        return Vec::new();
    }
    let mut topics: Vec<TopicId> = Vec::with_capacity(ids.len());
    for (index, id) in ids.into_iter().enumerate() {
        check_id(&id, &format!("{path}[{index}]"), limits, faults);
        let topic = TopicId::new(id);
        if topics.contains(&topic) {
            faults.add(format!("{path}[{index}]"), format!("{topic:?} stands there twice"));
        }
        topics.push(topic);
    }
    topics
}

/// Checks a request for cases to review.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn review(
    message: v1::ListForReviewRequest,
    limits: &LimitsConfig,
) -> Result<ReviewBounds, Status> {
    let mut faults = Faults::default();
    let filter = filter(message.filter.unwrap_or_default(), "filter", limits, &mut faults);
    if filter.corrected.is_some() {
        faults.add("filter.corrected", "must not be given: corrected cases are never listed");
    }
    let limit = match usize::try_from(message.limit) {
        Ok(0) => DEFAULT_LISTED,
        Ok(limit) if limit <= MAX_LISTED => limit,
        _ => {
            faults.add("limit", format!("must be from 1 to {MAX_LISTED}"));
            0
        }
    };
    let order = enums::required::<v1::ReviewOrder>(message.order, "order", &mut faults);
    faults.or(ReviewBounds { filter, limit, order: order.unwrap_or(ReviewOrder::LeastSure) })
}

impl From<Correction> for v1::Correction {
    fn from(correction: Correction) -> Self {
        let set = |topics: Vec<TopicId>| v1::TopicSet { topic_ids: topics.iter().map(ToString::to_string).collect() };
        Self {
            topics: correction.topics.map(set),
            team_id: correction.team.map(|team| team.to_string()),
            sentiment: correction.sentiment.map(|label| v1::SentimentLabel::from(label).into()),
            corrected_by: correction.corrected_by.unwrap_or_default(),
            corrected_at: Some(time::to_wire(correction.corrected_at)),
            note: correction.note.unwrap_or_default(),
        }
    }
}

impl From<ReviewCase> for v1::ReviewCase {
    fn from(listed: ReviewCase) -> Self {
        let reasons = listed.reasons.into_iter().map(|reason| v1::WorthReason::from(reason).into());
        Self { case: Some(listed.stored.case.into()), score: listed.score, reasons: reasons.collect() }
    }
}
