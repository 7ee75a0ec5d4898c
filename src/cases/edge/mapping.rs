//! Points, indexes and filters in the engine's own types.

use std::collections::BTreeSet;

use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    AnyVariants, Condition as EngineCondition, FieldCondition, Filter, FloatIndexParams, HasIdCondition,
    IntegerIndexParams, JsonPath, KeywordIndexParams, Match, MatchAny, Payload, PayloadFieldSchema,
    PayloadSchemaParams, PointId, PointStructPersisted, Range, SparseVector as EngineWords, VectorInternal,
    VectorStructInternal, VectorStructPersisted,
};

use super::change::StoredCase;
use crate::cases::filter::{Condition, NumberRange, conditions};
use crate::cases::lexical::SparseVector;
use crate::cases::point::{self, DENSE, Field, IndexKind, WORDS, point_id};
use crate::cases::{CaseFilter, TenantId};

/// A field as the engine names it.
pub(super) fn path(key: &str) -> JsonPath {
    JsonPath { first_key: key.to_owned(), rest: Vec::new() }
}

/// An index as the engine describes it.
pub(super) fn schema(index: IndexKind) -> PayloadFieldSchema {
    PayloadFieldSchema::FieldParams(match index {
        IndexKind::Keyword => PayloadSchemaParams::Keyword(KeywordIndexParams::default()),
        IndexKind::Tenant => {
            PayloadSchemaParams::Keyword(KeywordIndexParams { is_tenant: Some(true), ..KeywordIndexParams::default() })
        }
        IndexKind::Integer => PayloadSchemaParams::Integer(IntegerIndexParams {
            lookup: Some(false),
            range: Some(true),
            ..IntegerIndexParams::default()
        }),
        IndexKind::Float => PayloadSchemaParams::Float(FloatIndexParams::default()),
    })
}

/// Words as the engine's sparse vector.
pub(super) fn words(words: SparseVector) -> VectorInternal {
    VectorInternal::Sparse(EngineWords { indices: words.indices, values: words.values })
}

/// The point that holds a case.
pub(super) fn point(stored: StoredCase) -> PointStructPersisted {
    let StoredCase { tenant, case, json, vector, words: of_text, .. } = stored;
    let id = point_id(&tenant, &case.id);
    let vectors = [(DENSE.to_owned(), VectorInternal::Dense(vector)), (WORDS.to_owned(), words(of_text))];
    let payload = Payload(point::payload(&tenant, &case, json));
    let vector = VectorStructPersisted::from(VectorStructInternal::Named(vectors.into()));
    PointStructPersisted { id: PointId::Uuid(id), vector, payload: Some(payload) }
}

/// The engine's filter: always the tenant, then each condition that is set.
pub(super) fn engine_filter(tenant: &TenantId, filter: &CaseFilter) -> Filter {
    let (mut must, mut must_not) = (Vec::new(), Vec::new());
    for condition in conditions(tenant, filter) {
        match condition {
            Condition::OneOf(field, values) => must.push(one_of(field, values)),
            Condition::NoneOf(field, values) => must_not.push(one_of(field, values)),
            Condition::Points(points) => must.push(points_of(points)),
            Condition::Range(field, NumberRange { at_least, at_most, below }) => {
                let range = Range {
                    gte: at_least.map(OrderedFloat),
                    lte: at_most.map(OrderedFloat),
                    lt: below.map(OrderedFloat),
                    gt: None,
                };
                must.push(EngineCondition::Field(FieldCondition::new_range(path(field.key()), range)));
            }
        }
    }
    Filter { must: Some(must), must_not: Some(must_not), ..Filter::default() }
}

/// The cases of all tenants but these.
pub(super) fn of_others(tenants: &BTreeSet<TenantId>) -> Filter {
    let known = tenants.iter().map(|tenant| tenant.as_str().to_owned()).collect::<Vec<_>>();
    let must_not = if known.is_empty() { None } else { Some(vec![one_of(Field::Tenant, known)]) };
    Filter { must_not, ..Filter::default() }
}

/// The same filter without one case.
pub(super) fn leaving_out(filter: Filter, tenant: &TenantId, case_id: &str) -> Filter {
    let mut must_not = filter.must_not.unwrap_or_default();
    must_not.push(points_of(vec![point_id(tenant, case_id)]));
    Filter { must_not: Some(must_not), ..filter }
}

fn points_of(points: Vec<qdrant_edge::external::uuid::Uuid>) -> EngineCondition {
    EngineCondition::HasId(points.into_iter().map(PointId::Uuid).collect::<HasIdCondition>())
}

fn one_of(field: Field, values: Vec<String>) -> EngineCondition {
    let any = AnyVariants::Strings(values.into_iter().collect());
    EngineCondition::Field(FieldCondition::new_match(path(field.key()), Match::Any(MatchAny { any })))
}
