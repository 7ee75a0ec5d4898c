//! Which cases a call is about: what a caller may say, and the conditions on points that it comes to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::point::{CORRECTED, Field, point_id};
use super::{OutcomeStatus, TenantId};
use crate::feedback::{FeedbackKind, ScoreMetric};
use crate::tags::{SentimentLabel, SignalId, TeamId, TopicId};

/// Which cases a call is about. Conditions of different fields are joined by AND, values of one field by OR; the empty filter
/// is every case of the tenant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CaseFilter {
    /// Cases with one of these ids.
    pub ids: Vec<String>,
    /// Cases with one of these topics among theirs: a person's topics, where a person named them.
    pub topics: Vec<TopicId>,
    /// Cases owned by one of these teams: a person's choice, where there is one.
    pub teams: Vec<TeamId>,
    /// Cases with one of these signals.
    pub signals: Vec<SignalId>,
    /// Cases of one of these kinds.
    pub kinds: Vec<FeedbackKind>,
    /// True for cases whose kind is not known.
    pub kind_unknown: bool,
    /// Cases of one of these channels.
    pub channels: Vec<String>,
    /// Cases of one of these products.
    pub products: Vec<String>,
    /// Cases with one of these overall sentiments: a person's word, where there is one.
    pub sentiments: Vec<SentimentLabel>,
    /// Cases of this customer.
    pub customer_id: Option<String>,
    /// Cases said at this time or later, to the microsecond.
    pub occurred_from: Option<Timestamp>,
    /// Cases said before this time, to the microsecond.
    pub occurred_until: Option<Timestamp>,
    /// Cases that stand at one of these; a case of which nothing is known is open.
    pub statuses: Vec<OutcomeStatus>,
    /// Cases for which one of these gestures was made.
    pub gestures: Vec<String>,
    /// Cases whose customers gave a score in this range.
    pub score: Option<ScoreRange>,
    /// Cases stored before this time, to the microsecond.
    pub stored_until: Option<Timestamp>,
    /// True for cases that a person corrected, false for the others.
    pub corrected: Option<bool>,
    /// Cases with tags of another version than this ([`Provenance::version`](crate::tags::Provenance::version)); those stored before
    /// versions were kept match always.
    pub not_made_by: Option<String>,
    /// Cases of which it is kept what this encoder made of them: SHA-256 of its weights.
    pub read_by: Option<String>,
}

/// Scores from one value to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScoreRange {
    /// What was asked; scores of different scales can't be compared.
    pub metric: ScoreMetric,
    /// Least value.
    pub at_least: Option<f64>,
    /// Highest value.
    pub at_most: Option<f64>,
}

/// One condition on a point; all of a list hold together.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    /// The field has one of these values.
    OneOf(Field, Vec<String>),
    /// It has none of these values.
    NoneOf(Field, Vec<String>),
    /// The point is one of these.
    Points(Vec<Uuid>),
    /// The field's number lies in a range.
    Range(Field, NumberRange),
}

/// A range of numbers; `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct NumberRange {
    pub at_least: Option<f64>,
    pub at_most: Option<f64>,
    pub below: Option<f64>,
}

/// What a filter of a tenant comes to: always the tenant first, then each condition that is set.
pub(super) fn conditions(tenant: &TenantId, filter: &CaseFilter) -> Vec<Condition> {
    let CaseFilter {
        ids,
        topics,
        teams,
        signals,
        kinds,
        kind_unknown,
        channels,
        products,
        sentiments,
        customer_id,
        occurred_from,
        occurred_until,
        statuses,
        gestures,
        score,
        stored_until,
        corrected,
        not_made_by,
        read_by,
    } = filter;
    let mut conditions = vec![Condition::OneOf(Field::Tenant, vec![tenant.as_str().to_owned()])];
    if !ids.is_empty() {
        conditions.push(Condition::Points(ids.iter().map(|id| point_id(tenant, id)).collect()));
    }
    let mut restrict = |field: Field, values: Vec<&str>| {
        if !values.is_empty() {
            conditions.push(Condition::OneOf(field, values.into_iter().map(str::to_owned).collect()));
        }
    };
    restrict(Field::Topics, topics.iter().map(|topic| topic.as_str()).collect());
    restrict(Field::Team, teams.iter().map(|team| team.as_str()).collect());
    restrict(Field::Signals, signals.iter().map(|signal| signal.as_str()).collect());
    restrict(Field::Kind, kinds.iter().map(|kind| kind.as_str()).collect());
    restrict(Field::Channel, channels.iter().map(String::as_str).collect());
    restrict(Field::Product, products.iter().map(String::as_str).collect());
    restrict(Field::Sentiment, sentiments.iter().map(|sentiment| sentiment.as_str()).collect());
    restrict(Field::CustomerId, customer_id.iter().map(String::as_str).collect());
    restrict(Field::Status, statuses.iter().map(|status| status.as_str()).collect());
    restrict(Field::Gesture, gestures.iter().map(String::as_str).collect());
    restrict(Field::ReadBy, read_by.iter().map(String::as_str).collect());
    if let Some(ScoreRange { metric, at_least, at_most }) = *score {
        restrict(Field::ScoreMetric, vec![metric.as_str()]);
        if at_least.is_some() || at_most.is_some() {
            conditions.push(Condition::Range(Field::Score, NumberRange { at_least, at_most, below: None }));
        }
    }
    let microseconds = |time: &Timestamp| time.as_microsecond() as f64;
    if occurred_from.is_some() || occurred_until.is_some() {
        let range = NumberRange {
            at_least: occurred_from.as_ref().map(microseconds),
            at_most: None,
            below: occurred_until.as_ref().map(microseconds),
        };
        conditions.push(Condition::Range(Field::OccurredAt, range));
    }
    if let Some(until) = stored_until {
        let range = NumberRange { below: Some(microseconds(until)), ..NumberRange::default() };
        conditions.push(Condition::Range(Field::StoredAt, range));
    }
    if *kind_unknown {
        let known = FeedbackKind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
        conditions.push(Condition::NoneOf(Field::Kind, known));
    }
    match corrected {
        Some(true) => conditions.push(Condition::OneOf(Field::Corrected, vec![CORRECTED.to_owned()])),
        Some(false) => conditions.push(Condition::NoneOf(Field::Corrected, vec![CORRECTED.to_owned()])),
        None => {}
    }
    if let Some(version) = not_made_by {
        conditions.push(Condition::NoneOf(Field::MadeBy, vec![version.clone()]));
    }
    conditions
}
