//! How a case lies in a store as a point: its id, its vectors, its payload, the indexes of that, and the way back.

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::lexical::{self, SparseVector};
use super::{Case, OutcomeStatus, TenantId};
use crate::tags::TopicId;

/// Name of the dense vector.
pub(super) const DENSE: &str = "dense";
/// Name of the sparse vector.
pub(super) const WORDS: &str = "words";

/// Namespace of the point ids; changing it makes every stored case unreachable.
const POINT_NAMESPACE: Uuid = Uuid::from_u128(0x0b1f_5a52_9d4e_5c0e_8f6b_3c5e_7d21_a490);

/// How a field is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexKind {
    /// By its words as they are.
    Keyword,
    /// The same, and by it the points are grouped on disk.
    Tenant,
    /// By ranges of whole numbers.
    Integer,
    /// By ranges of numbers.
    Float,
}

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
    StoredAt,
    Corrected,
    Status,
    Gesture,
    ScoreMetric,
    Score,
    MadeBy,
    ReadBy,
}

impl Field {
    /// Every field, in the order in which their indexes are made.
    pub(super) const ALL: [Field; 18] = [
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
        Field::StoredAt,
        Field::Corrected,
        Field::Status,
        Field::Gesture,
        Field::ScoreMetric,
        Field::Score,
        Field::MadeBy,
        Field::ReadBy,
    ];

    pub(super) const fn key(self) -> &'static str {
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
            Field::StoredAt => "stored_at",
            Field::Corrected => "corrected",
            Field::Status => "status",
            Field::Gesture => "gesture",
            Field::ScoreMetric => "score_metric",
            Field::Score => "score",
            Field::MadeBy => "made_by",
            Field::ReadBy => "read_by",
        }
    }

    /// The index that makes filtering by this field fast.
    pub(super) fn index(self) -> IndexKind {
        match self {
            Field::Tenant => IndexKind::Tenant,
            Field::OccurredAt | Field::StoredAt => IndexKind::Integer,
            Field::Score => IndexKind::Float,
            _ => IndexKind::Keyword,
        }
    }
}

/// What stands in [`Field::Corrected`] of a case that a person corrected; others have no such field.
pub(super) const CORRECTED: &str = "yes";

/// What stands in [`Field::MadeBy`] of a case whose tags are of several versions.
const SEVERAL: &str = "several";

/// Fields that are kept but not filtered by.
const ID: &str = "id";
const LANGUAGE: &str = "language";
const COST: &str = "cost";
/// The field that holds the whole case.
pub(super) const CASE: &str = "case";

/// The fields that [`Brief`] is made of.
pub(super) const BRIEF: [&str; 5] = [ID, Field::Status.key(), Field::Gesture.key(), COST, Field::OccurredAt.key()];

/// The id of a case's point: the same for the same tenant and case id, on every machine.
pub(super) fn point_id(tenant: &TenantId, case_id: &str) -> Uuid {
    let tenant = tenant.as_str();
    // The length goes first, so that no two pairs of tenant and id make the same name.
    let mut name = (tenant.len() as u64).to_le_bytes().to_vec();
    name.extend_from_slice(tenant.as_bytes());
    name.extend_from_slice(case_id.as_bytes());
    Uuid::new_v5(&POINT_NAMESPACE, &name)
}

/// The sparse vector of a case.
pub(super) fn words(case: &Case) -> SparseVector {
    lexical::document(&case.masked_text)
}

/// The payload of a case's point; `json` is the case as JSON.
pub(super) fn payload(tenant: &TenantId, case: &Case, json: String) -> Map<String, Value> {
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
    keep(Field::StoredAt.key(), case.stored_at.as_microsecond().into());
    keep(Field::Status.key(), case.status().as_str().into());
    keep(Field::MadeBy.key(), case.made_by_version().unwrap_or_else(|| SEVERAL.to_owned()).into());
    let outcome = case.outcome.as_ref();
    let optional: [(&str, Option<Value>); 12] = [
        (Field::Kind.key(), case.kind.map(|kind| kind.as_str().into())),
        (Field::Sentiment.key(), case.sentiment_label().map(|label| label.as_str().into())),
        (Field::Channel.key(), case.channel.as_deref().map(Value::from)),
        (Field::Product.key(), case.product.as_deref().map(Value::from)),
        (Field::CustomerId.key(), case.customer_id.as_deref().map(Value::from)),
        (Field::Corrected.key(), case.correction.as_ref().map(|_| CORRECTED.into())),
        (Field::OccurredAt.key(), case.occurred_at.map(|time| time.as_microsecond().into())),
        (Field::Gesture.key(), outcome.and_then(|outcome| outcome.gesture_id.as_deref()).map(Value::from)),
        (COST, outcome.and_then(|outcome| outcome.cost).map(Value::from)),
        (Field::ScoreMetric.key(), case.score.map(|score| score.metric.as_str().into())),
        (Field::Score.key(), case.score.map(|score| score.value.into())),
        (Field::ReadBy.key(), case.reading.as_ref().map(|reading| reading.encoder_sha256.as_str().into())),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            keep(key, value);
        }
    }
    keep(CASE, json.into());
    fields
}

/// Whose case a payload belongs to.
pub(super) fn tenant(payload: &Map<String, Value>) -> Option<TenantId> {
    payload.get(Field::Tenant.key()).and_then(Value::as_str).map(TenantId::new)
}

/// The case that a point's payload holds.
///
/// # Errors
/// What is wrong with the payload.
pub(super) fn case(payload: &Map<String, Value>) -> Result<Case, String> {
    let json = payload.get(CASE).and_then(Value::as_str).ok_or("a point without its case")?;
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// What ranking has to know of a case.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Brief {
    pub status: OutcomeStatus,
    pub gesture_id: Option<String>,
    pub cost: Option<f64>,
    pub occurred_at: Option<Timestamp>,
}

/// What ranking has to know of the case that a payload belongs to, and its id.
pub(super) fn brief(payload: &Map<String, Value>) -> (Brief, String) {
    let text = |key: &str| payload.get(key).and_then(Value::as_str);
    let occurred_at = payload.get(Field::OccurredAt.key()).and_then(Value::as_i64);
    let brief = Brief {
        status: text(Field::Status.key()).and_then(|status| status.parse().ok()).unwrap_or(OutcomeStatus::Open),
        gesture_id: text(Field::Gesture.key()).map(str::to_owned),
        cost: payload.get(COST).and_then(Value::as_f64),
        occurred_at: occurred_at.and_then(|microseconds| Timestamp::from_microsecond(microseconds).ok()),
    };
    (brief, text(ID).unwrap_or_default().to_owned())
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
