//! A [`CaseFilter`] of one tenant as a filter of the engine.

use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{AnyVariants, Condition, FieldCondition, Filter, HasIdCondition, Match, MatchAny, PointId, Range};

use super::payload::{CORRECTED, Field, point_id};
use crate::cases::{CaseFilter, TenantId};

/// The engine's filter: always the tenant, then each condition that is set.
pub(super) fn engine_filter(tenant: &TenantId, filter: &CaseFilter) -> Filter {
    let CaseFilter {
        ids,
        topics,
        teams,
        signals,
        kinds,
        channels,
        products,
        sentiments,
        customer_id,
        occurred_from,
        occurred_until,
        corrected,
    } = filter;
    let mut must = vec![one_of(Field::Tenant, [tenant.as_str()])];
    if !ids.is_empty() {
        let points = ids.iter().map(|id| PointId::Uuid(point_id(tenant, id)));
        must.push(Condition::HasId(points.collect::<HasIdCondition>()));
    }
    let mut restrict = |field: Field, values: Vec<&str>| {
        if !values.is_empty() {
            must.push(one_of(field, values));
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
    if occurred_from.is_some() || occurred_until.is_some() {
        let microseconds = |time: &jiff::Timestamp| OrderedFloat(time.as_microsecond() as f64);
        let range = Range {
            gte: occurred_from.as_ref().map(microseconds),
            lt: occurred_until.as_ref().map(microseconds),
            ..Range::default()
        };
        must.push(Condition::Field(FieldCondition::new_range(Field::OccurredAt.path(), range)));
    }
    let by_persons = one_of(Field::Corrected, [CORRECTED]);
    let must_not = match corrected {
        Some(true) => {
            must.push(by_persons);
            None
        }
        Some(false) => Some(vec![by_persons]),
        None => None,
    };
    Filter { must: Some(must), must_not, ..Filter::default() }
}

/// The same filter without one case.
pub(super) fn leaving_out(filter: Filter, tenant: &TenantId, case_id: &str) -> Filter {
    let left_out = [PointId::Uuid(point_id(tenant, case_id))].into_iter().collect::<HasIdCondition>();
    let mut must_not = filter.must_not.unwrap_or_default();
    must_not.push(Condition::HasId(left_out));
    Filter { must_not: Some(must_not), ..filter }
}

fn one_of<'a>(field: Field, values: impl IntoIterator<Item = &'a str>) -> Condition {
    let any = AnyVariants::Strings(values.into_iter().map(str::to_owned).collect());
    Condition::Field(FieldCondition::new_match(field.path(), Match::Any(MatchAny { any })))
}
