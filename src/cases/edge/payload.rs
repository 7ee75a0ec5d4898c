//! How a case lies in the engine: its point id, its payload fields and their indexes, and the way back.

use qdrant_edge::external::serde_json::{Map, Value};
use qdrant_edge::external::uuid::Uuid;
use qdrant_edge::{
    IntegerIndexParams, JsonPath, KeywordIndexParams, Payload, PayloadFieldSchema, PayloadSchemaParams, PointId,
    PointStructPersisted, VectorInternal, VectorStructInternal, VectorStructPersisted,
};

use super::change::StoredCase;
use super::engine::EngineFault;
use crate::cases::{Case, TenantId};
use crate::tags::TopicId;

/// Name of the dense vector.
pub(super) const DENSE: &str = "dense";

/// Namespace of the point ids; changing it makes every stored case unreachable.
const POINT_NAMESPACE: Uuid = Uuid::from_u128(0x0b1f_5a52_9d4e_5c0e_8f6b_3c5e_7d21_a490);

/// A payload field that a filter can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Tenant,
    Kind,
    Topics,
    Team,
    Signals,
    Sentiment,
    Channel,
    Product,
    CustomerId,
    OccurredAt,
    Corrected,
}

impl Field {
    /// Every field, in the order in which their indexes are made.
    pub(super) const ALL: [Field; 11] = [
        Field::Tenant,
        Field::Kind,
        Field::Topics,
        Field::Team,
        Field::Signals,
        Field::Sentiment,
        Field::Channel,
        Field::Product,
        Field::CustomerId,
        Field::OccurredAt,
        Field::Corrected,
    ];

    fn key(self) -> &'static str {
        match self {
            Field::Tenant => "tenant",
            Field::Kind => "kind",
            Field::Topics => "topics",
            Field::Team => "team",
            Field::Signals => "signals",
            Field::Sentiment => "sentiment",
            Field::Channel => "channel",
            Field::Product => "product",
            Field::CustomerId => "customer_id",
            Field::OccurredAt => "occurred_at",
            Field::Corrected => "corrected",
        }
    }

    /// The field as the engine names it.
    pub(super) fn path(self) -> JsonPath {
        path(self.key())
    }

    /// The index that makes filtering by this field fast.
    pub(super) fn schema(self) -> PayloadFieldSchema {
        PayloadFieldSchema::FieldParams(match self {
            Field::OccurredAt => PayloadSchemaParams::Integer(IntegerIndexParams {
                lookup: Some(false),
                range: Some(true),
                ..IntegerIndexParams::default()
            }),
            Field::Tenant => PayloadSchemaParams::Keyword(KeywordIndexParams {
                is_tenant: Some(true),
                ..KeywordIndexParams::default()
            }),
            _ => PayloadSchemaParams::Keyword(KeywordIndexParams::default()),
        })
    }
}

/// What stands in [`Field::Corrected`] of a case that a person corrected; others have no such field.
pub(super) const CORRECTED: &str = "yes";

/// Fields that are kept but not filtered by.
const ID: &str = "id";
const LANGUAGE: &str = "language";
const STORED_AT: &str = "stored_at";
const CASE: &str = "case";

fn path(key: &str) -> JsonPath {
    JsonPath { first_key: key.to_owned(), rest: Vec::new() }
}

/// The field that holds the whole case.
pub(super) fn case_path() -> JsonPath {
    path(CASE)
}

/// The id of a case's point: the same for the same tenant and case id, on every machine.
pub(super) fn point_id(tenant: &TenantId, case_id: &str) -> Uuid {
    let tenant = tenant.as_str();
    // The length goes first, so that no two pairs of tenant and id make the same name.
    let mut name = (tenant.len() as u64).to_le_bytes().to_vec();
    name.extend_from_slice(tenant.as_bytes());
    name.extend_from_slice(case_id.as_bytes());
    Uuid::new_v5(&POINT_NAMESPACE, &name)
}

/// The point that holds a case.
pub(super) fn point(stored: StoredCase) -> PointStructPersisted {
    let id = point_id(&stored.tenant, &stored.case.id);
    let payload = payload(&stored.tenant, &stored.case, stored.json);
    let vector = VectorStructInternal::Named([(DENSE.to_owned(), VectorInternal::Dense(stored.vector))].into());
    PointStructPersisted { id: PointId::Uuid(id), vector: VectorStructPersisted::from(vector), payload: Some(payload) }
}

fn payload(tenant: &TenantId, case: &Case, json: String) -> Payload {
    let tags = &case.tags;
    let mut fields = Map::new();
    let mut keep = |key: &str, value: Value| {
        fields.insert(key.to_owned(), value);
    };
    keep(Field::Tenant.key(), tenant.as_str().into());
    keep(ID, case.id.as_str().into());
    keep(Field::Topics.key(), case.topic_ids().into_iter().map(TopicId::as_str).collect());
    keep(Field::Team.key(), case.team_id().as_str().into());
    keep(Field::Signals.key(), tags.signals.iter().map(|signal| signal.signal_id.as_str()).collect());
    keep(LANGUAGE, tags.language.as_str().into());
    keep(STORED_AT, case.stored_at.as_microsecond().into());
    let optional: [(&str, Option<Value>); 7] = [
        (Field::Kind.key(), case.kind.map(|kind| kind.as_str().into())),
        (Field::Sentiment.key(), case.sentiment_label().map(|label| label.as_str().into())),
        (Field::Channel.key(), case.channel.as_deref().map(Value::from)),
        (Field::Product.key(), case.product.as_deref().map(Value::from)),
        (Field::CustomerId.key(), case.customer_id.as_deref().map(Value::from)),
        (Field::Corrected.key(), case.correction.as_ref().map(|_| CORRECTED.into())),
        (Field::OccurredAt.key(), case.occurred_at.map(|time| time.as_microsecond().into())),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            keep(key, value);
        }
    }
    keep(CASE, json.into());
    Payload(fields)
}

/// The case that a point's payload holds.
pub(super) fn case(payload: Option<&Payload>) -> Result<Case, EngineFault> {
    let json = payload.and_then(|payload| payload.0.get(CASE)).and_then(Value::as_str);
    let json = json.ok_or_else(|| EngineFault::new("read a case", "a point without its case"))?;
    serde_json::from_str(json).map_err(|error| EngineFault::new("read a case", error))
}

/// True if a person corrected the case of a point.
pub(super) fn is_corrected(payload: Option<&Payload>) -> bool {
    payload.is_some_and(|payload| payload.0.contains_key(Field::Corrected.key()))
}

/// The dense vector of a point.
pub(super) fn dense(vector: Option<VectorStructInternal>) -> Result<Vec<f32>, EngineFault> {
    if let Some(VectorStructInternal::Named(mut vectors)) = vector
        && let Some(VectorInternal::Dense(dense)) = vectors.remove(DENSE)
    {
        return Ok(dense);
    }
    Err(EngineFault::new("read a vector", "a point without its vector"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn point_ids_are_stable_and_do_not_mix_up_tenant_and_id() {
        let id = |tenant: &str, case: &str| point_id(&TenantId::new(tenant), case);
        assert_eq!(id("default", "1"), id("default", "1"));
        assert_ne!(id("default", "1"), id("default", "2"));
        assert_ne!(id("ab", "c"), id("a", "bc"));
        // What is on disks already depends on this value.
        assert_eq!(id("default", "case-1").to_string(), "bedc467a-7e99-53fc-8bb5-cad3c3562c4a");
    }
}
