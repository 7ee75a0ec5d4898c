//! Points, indexes and filters in the types of the server's protocol, and the way back.

use std::collections::{BTreeSet, HashMap};

use prost::Message;
use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::payload_index_params::IndexParams;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    Condition as ServerCondition, DenseVector, FieldCondition, FieldType, Filter, FloatIndexParams, HasIdCondition,
    IntegerIndexParams, KeywordIndexParams, ListValue, Match, NamedVectors, PayloadIndexParams, PointId, PointStruct,
    QuantizationSearchParams, Query, QueryPoints, Range, RepeatedStrings, RetrievedPoint, SearchParams,
    SparseVector as ServerWords, Struct, Value, Vector, VectorInput, Vectors, query, vector, vector_input,
    vector_output, vectors_output,
};
use serde_json::{Map, Number, Value as Json};
use uuid::Uuid;

use super::calls::CallFault;
use crate::cases::filter::{Condition, NumberRange, conditions};
use crate::cases::lexical::SparseVector;
use crate::cases::plan::StoredCase;
use crate::cases::point::{self, CASE, DENSE, Field, IndexKind, WORDS, point_id};
use crate::cases::{Case, CaseFilter, TenantId};

/// Points in one message at most, written or read.
pub(super) const MOST_POINTS: usize = 256;
/// Bytes of the points in one message that is sent at most: with what else is in it, under the 4 MiB that servers usually take.
pub(super) const MOST_BYTES_SENT: usize = 4_000_000;
/// How many more hits than wanted are looked for by quantised vectors, to be compared by the full ones.
const OVERSAMPLING: f64 = 2.0;

/// A payload field's value as the server keeps it.
pub(super) fn value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Kind::IntegerValue(whole),
            // Numbers of JSON are 64 bits at most here, so that each is a float too.
            None => Kind::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Kind::StringValue(text),
        Json::Array(values) => Kind::ListValue(ListValue { values: values.into_iter().map(value).collect() }),
        Json::Object(fields) => Kind::StructValue(Struct { fields: payload(fields) }),
    };
    Value { kind: Some(kind) }
}

/// A payload as the server keeps it.
pub(super) fn payload(fields: Map<String, Json>) -> HashMap<String, Value> {
    fields.into_iter().map(|(key, json)| (key, value(json))).collect()
}

/// The value of a payload field.
pub(super) fn json(value: Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::IntegerValue(whole)) => Json::from(whole),
        Some(Kind::DoubleValue(number)) => Number::from_f64(number).map_or(Json::Null, Json::Number),
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::StructValue(fields)) => Json::Object(fields_of(fields.fields)),
    }
}

/// The fields of a payload.
pub(super) fn fields_of(payload: HashMap<String, Value>) -> Map<String, Json> {
    payload.into_iter().map(|(key, value)| (key, json(value))).collect()
}

/// The number of a point as the server names it.
pub(super) fn id(point: Uuid) -> PointId {
    PointId { point_id_options: Some(PointIdOptions::Uuid(point.to_string())) }
}

/// The number of a point that this store named.
pub(super) fn uuid(id: Option<PointId>) -> Option<Uuid> {
    match id?.point_id_options? {
        PointIdOptions::Uuid(text) => Uuid::parse_str(&text).ok(),
        PointIdOptions::Num(_) => None,
    }
}

/// The point that holds a case.
pub(super) fn point(stored: StoredCase) -> PointStruct {
    let StoredCase { tenant, case, json, vector: dense, words, .. } = stored;
    let mut vectors = HashMap::from([(DENSE.to_owned(), vector::Vector::Dense(DenseVector { data: dense }))]);
    // A text without words has no vector of them.
    if !words.indices.is_empty() {
        let SparseVector { indices, values } = words;
        vectors.insert(WORDS.to_owned(), vector::Vector::Sparse(ServerWords { values, indices }));
    }
    named_point(point_id(&tenant, &case.id), vectors, point::payload(&tenant, &case, json))
}

/// A point that has a payload and no vectors.
pub(super) fn bare_point(point: Uuid, fields: Map<String, Json>) -> PointStruct {
    named_point(point, HashMap::new(), fields)
}

fn named_point(point: Uuid, vectors: HashMap<String, vector::Vector>, fields: Map<String, Json>) -> PointStruct {
    let vectors =
        vectors.into_iter().map(|(name, vector)| (name, Vector { vector: Some(vector), ..Vector::default() }));
    let named = NamedVectors { vectors: vectors.collect() };
    PointStruct {
        id: Some(id(point)),
        payload: payload(fields),
        vectors: Some(Vectors { vectors_options: Some(VectorsOptions::Vectors(named)) }),
    }
}

/// Length of a point in a message, in bytes.
pub(super) fn bytes(point: &PointStruct) -> usize {
    // The tag of the field and the length of what follows take some bytes more.
    point.encoded_len() + 8
}

/// Parts of points that each fit one message, in their order. A point that fits none is a part of its own.
pub(super) fn batches(points: Vec<PointStruct>) -> Vec<Vec<PointStruct>> {
    let mut batches: Vec<Vec<PointStruct>> = Vec::new();
    let mut filled = 0;
    for point in points {
        let bytes = bytes(&point);
        match batches.last_mut() {
            Some(batch) if batch.len() < MOST_POINTS && filled + bytes <= MOST_BYTES_SENT => {
                filled += bytes;
                batch.push(point);
            }
            _ => {
                filled = bytes;
                batches.push(vec![point]);
            }
        }
    }
    batches
}

/// A point that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadPoint {
    pub point: Uuid,
    /// The fields that were asked for and that it has.
    pub fields: Map<String, Json>,
    /// The unit vector, if it was asked for.
    pub dense: Option<Vec<f32>>,
    /// The stems of its words, rising; none if they were not asked for.
    pub stems: Vec<u32>,
}

impl ReadPoint {
    /// What the server answered; `None` for a point that no store like this wrote.
    pub(super) fn new(read: RetrievedPoint) -> Option<Self> {
        let point = uuid(read.id)?;
        let mut named = match read.vectors.and_then(|vectors| vectors.vectors_options) {
            Some(vectors_output::VectorsOptions::Vectors(named)) => named.vectors,
            _ => HashMap::new(),
        };
        let dense = match named.remove(DENSE).map(|output| output.into_vector()) {
            Some(vector_output::Vector::Dense(dense)) => Some(dense.data),
            _ => None,
        };
        let mut stems = match named.remove(WORDS).map(|output| output.into_vector()) {
            Some(vector_output::Vector::Sparse(words)) => words.indices,
            _ => Vec::new(),
        };
        stems.sort_unstable();
        Some(Self { point, fields: fields_of(read.payload), dense, stems })
    }

    /// True if it is a case of this tenant.
    pub(super) fn is_of(&self, tenant: &TenantId) -> bool {
        self.tenant() == Some(tenant.as_str())
    }

    /// Whose case it is.
    pub(super) fn tenant(&self) -> Option<&str> {
        self.fields.get(Field::Tenant.key()).and_then(Json::as_str)
    }

    /// The case as JSON.
    pub(super) fn case_json(&self) -> Option<&str> {
        self.fields.get(CASE).and_then(Json::as_str)
    }

    /// Its case.
    pub(super) fn case(&self) -> Result<Case, CallFault> {
        // What is wrong with it might repeat a part of it.
        point::case(&self.fields).map_err(|_| self.lacks("a case that can be read"))
    }

    /// The fault of a point that lacks something.
    pub(super) fn lacks(&self, what: &str) -> CallFault {
        CallFault::answer("read a case", format!("the point {} has not {what}", self.point))
    }
}

/// An index as the server describes it.
pub(super) fn index(index: IndexKind) -> (FieldType, PayloadIndexParams) {
    let keyword = KeywordIndexParams::default();
    let (kind, params) = match index {
        IndexKind::Keyword => (FieldType::Keyword, IndexParams::KeywordIndexParams(keyword)),
        IndexKind::Tenant => {
            let tenant = KeywordIndexParams { is_tenant: Some(true), ..keyword };
            (FieldType::Keyword, IndexParams::KeywordIndexParams(tenant))
        }
        IndexKind::Integer => {
            let ranges = IntegerIndexParams { lookup: Some(false), range: Some(true), ..IntegerIndexParams::default() };
            (FieldType::Integer, IndexParams::IntegerIndexParams(ranges))
        }
        IndexKind::Float => (FieldType::Float, IndexParams::FloatIndexParams(FloatIndexParams::default())),
    };
    (kind, PayloadIndexParams { index_params: Some(params) })
}

/// The server's filter: always the tenant, then each condition that is set.
pub(super) fn server_filter(tenant: &TenantId, filter: &CaseFilter) -> Filter {
    let (mut must, mut must_not) = (Vec::new(), Vec::new());
    for condition in conditions(tenant, filter) {
        match condition {
            Condition::OneOf(field, values) => must.push(one_of(field, values)),
            Condition::NoneOf(field, values) => must_not.push(one_of(field, values)),
            Condition::Points(points) => must.push(points_of(points)),
            Condition::Range(field, NumberRange { at_least, at_most, below }) => {
                let range = Range { gte: at_least, lte: at_most, lt: below, gt: None };
                must.push(of_field(FieldCondition {
                    key: field.key().to_owned(),
                    range: Some(range),
                    ..FieldCondition::default()
                }));
            }
        }
    }
    Filter { must, must_not, ..Filter::default() }
}

/// The same filter without one case.
pub(super) fn leaving_out(mut filter: Filter, tenant: &TenantId, case_id: &str) -> Filter {
    filter.must_not.push(points_of(vec![point_id(tenant, case_id)]));
    filter
}

/// The cases of all tenants but these.
pub(super) fn of_others(tenants: &BTreeSet<TenantId>) -> Filter {
    let known: Vec<String> = tenants.iter().map(|tenant| tenant.as_str().to_owned()).collect();
    let must_not = if known.is_empty() { Vec::new() } else { vec![one_of(Field::Tenant, known)] };
    Filter { must_not, ..Filter::default() }
}

/// Some points and no others, whosever they are.
pub(super) fn only(points: Vec<Uuid>) -> Filter {
    Filter { must: vec![points_of(points)], ..Filter::default() }
}

fn points_of(points: Vec<Uuid>) -> ServerCondition {
    let has_id = HasIdCondition { has_id: points.into_iter().map(id).collect() };
    ServerCondition { condition_one_of: Some(ConditionOneOf::HasId(has_id)) }
}

fn one_of(field: Field, values: Vec<String>) -> ServerCondition {
    let any = Match { match_value: Some(MatchValue::Keywords(RepeatedStrings { strings: values })) };
    of_field(FieldCondition { key: field.key().to_owned(), r#match: Some(any), ..FieldCondition::default() })
}

fn of_field(condition: FieldCondition) -> ServerCondition {
    ServerCondition { condition_one_of: Some(ConditionOneOf::Field(condition)) }
}

/// A search by meaning.
pub(super) fn by_meaning(vector: Vec<f32>, filter: Filter, limit: usize, quantised: bool) -> QueryPoints {
    let quantization = QuantizationSearchParams { ignore: None, rescore: Some(true), oversampling: Some(OVERSAMPLING) };
    let params = SearchParams { quantization: Some(quantization), ..SearchParams::default() };
    let vector = vector_input::Variant::Dense(DenseVector { data: vector });
    QueryPoints { params: quantised.then_some(params), ..nearest(vector, DENSE, filter, limit) }
}

/// A search by words.
pub(super) fn by_words(words: SparseVector, filter: Filter, limit: usize) -> QueryPoints {
    let SparseVector { indices, values } = words;
    nearest(vector_input::Variant::Sparse(ServerWords { values, indices }), WORDS, filter, limit)
}

fn nearest(vector: vector_input::Variant, name: &str, filter: Filter, limit: usize) -> QueryPoints {
    QueryPoints {
        query: Some(Query { variant: Some(query::Variant::Nearest(VectorInput { variant: Some(vector) })) }),
        using: Some(name.to_owned()),
        filter: Some(filter),
        limit: Some(limit as u64),
        with_payload: Some(false.into()),
        with_vectors: Some(false.into()),
        ..QueryPoints::default()
    }
}
