//! A small server for tests: the few calls that the store makes, over the protocol, in memory; it can be stopped, slow or at fault.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use prost::Message;
use qdrant_client::qdrant::alias_operations::Action;
use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::vectors::VectorsOptions;
use qdrant_client::qdrant::{
    AliasDescription, BatchResult, ChangeAliases, CollectionConfig, CollectionDescription, CollectionExists,
    CollectionExistsRequest, CollectionExistsResponse, CollectionInfo, CollectionOperationResponse, CollectionParams,
    CountPoints, CountResponse, CountResult, CreateCollection, CreateFieldIndexCollection, DeleteCollection,
    DeletePoints, Filter, GetCollectionInfoRequest, GetCollectionInfoResponse, GetPoints, GetResponse,
    HealthCheckReply, HealthCheckRequest, ListAliasesRequest, ListAliasesResponse, ListCollectionsRequest,
    ListCollectionsResponse, ListFullSnapshotsRequest, ListSnapshotsRequest, ListSnapshotsResponse, NamedVectorsOutput,
    PayloadSchemaInfo, PointStruct, PointsOperationResponse, QueryBatchPoints, QueryBatchResponse, QueryPoints,
    RetrievedPoint, ScoredPoint, ScrollPoints, ScrollResponse, SnapshotDescription, UpdateMode, UpdateResult,
    UpdateStatus, UpsertPoints, VectorOutput, VectorsOutput, query, vector, vector_input, vector_output,
    vectors_output,
};
use serde_json::Value as Json;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use super::mapping;

/// A collection in memory.
#[derive(Default)]
struct Collection {
    made: CreateCollection,
    indexes: Vec<String>,
    points: BTreeMap<Uuid, PointStruct>,
}

#[derive(Default)]
struct State {
    collections: BTreeMap<String, Collection>,
    aliases: HashMap<String, String>,
    snapshots: Vec<String>,
    /// How often each method was called.
    calls: HashMap<String, usize>,
    /// What the next calls of a method answer instead.
    faults: HashMap<String, Vec<Status>>,
    /// How long a method takes.
    delays: HashMap<String, Duration>,
    /// The key that each call must have.
    key: Option<String>,
    /// Bytes of the longest message received.
    longest: usize,
}

/// The server. Clones are the same server.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

/// A server that listens.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

impl Running {
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks off whatever it is doing, and its connections.
    pub(super) fn stop(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Fake {
    /// Listens at a port that is free, or at the one of before.
    pub(super) async fn start(&self, address: Option<SocketAddr>) -> Running {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = address.unwrap_or(([127, 0, 0, 1], 0).into());
        let listener = loop {
            // The port of one that was stopped is free a moment later.
            let bound = runtime.spawn(TcpListener::bind(address)).await.unwrap();
            match bound {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let address = listener.local_addr().unwrap();
        let fake = self.clone();
        let serve = Server::builder()
            .add_service(PointsService(fake.clone()))
            .add_service(CollectionsService(fake.clone()))
            .add_service(SnapshotsService(fake.clone()))
            .add_service(HealthService(fake))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(async move { serve.await.unwrap() });
        Running { address, runtime: Some(runtime) }
    }

    pub(super) fn fail(&self, method: &str, codes: &[Code]) {
        let faults = codes.iter().map(|code| Status::new(*code, "secret words")).collect();
        self.0.lock().unwrap().faults.insert(method.to_owned(), faults);
    }

    pub(super) fn delay(&self, method: &str, delay: Duration) {
        self.0.lock().unwrap().delays.insert(method.to_owned(), delay);
    }

    pub(super) fn ask_for_key(&self, key: &str) {
        self.0.lock().unwrap().key = Some(key.to_owned());
    }

    /// How often a method was called since this was asked last.
    pub(super) fn calls(&self, method: &str) -> usize {
        self.0.lock().unwrap().calls.remove(method).unwrap_or(0)
    }

    pub(super) fn add_snapshot(&self, name: &str) {
        self.0.lock().unwrap().snapshots.push(name.to_owned());
    }

    pub(super) fn longest(&self) -> usize {
        self.0.lock().unwrap().longest
    }

    /// Has the alias point elsewhere.
    pub(super) fn point(&self, alias: &str, collection: &str) {
        self.0.lock().unwrap().aliases.insert(alias.to_owned(), collection.to_owned());
    }

    /// The collections with how many points each has.
    pub(super) fn collections(&self) -> Vec<(String, usize)> {
        let state = self.0.lock().unwrap();
        state.collections.iter().map(|(name, collection)| (name.clone(), collection.points.len())).collect()
    }

    pub(super) fn made(&self, collection: &str) -> (CreateCollection, Vec<String>) {
        let state = self.0.lock().unwrap();
        let collection = &state.collections[collection];
        (collection.made.clone(), collection.indexes.clone())
    }

    /// Deletes a point behind the store's back.
    pub(super) fn remove(&self, collection: &str, point: Uuid) {
        self.0.lock().unwrap().collections.get_mut(collection).unwrap().points.remove(&point);
    }

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        let path = request.uri().path().to_owned();
        let method = path.rsplit('/').next().unwrap().to_owned();
        let (fault, delay, key) = {
            let mut state = self.0.lock().unwrap();
            *state.calls.entry(method.clone()).or_default() += 1;
            let faults = state.faults.get_mut(&method);
            let fault = faults.filter(|faults| !faults.is_empty()).map(|faults| faults.remove(0));
            (fault, state.delays.get(&method).copied(), state.key.clone())
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        if let Some(fault) = fault {
            return fault.into_http();
        }
        if key
            .is_some_and(|key| request.headers().get("api-key").is_none_or(|given| given.as_bytes() != key.as_bytes()))
        {
            return Status::permission_denied("no key").into_http();
        }
        match path.as_str() {
            "/qdrant.Qdrant/HealthCheck" => {
                self.unary(request, |_, _: HealthCheckRequest| Ok(HealthCheckReply::default())).await
            }
            "/qdrant.Collections/ListAliases" => self.unary(request, list_aliases).await,
            "/qdrant.Collections/UpdateAliases" => self.unary(request, update_aliases).await,
            "/qdrant.Collections/CollectionExists" => self.unary(request, exists).await,
            "/qdrant.Collections/Create" => self.unary(request, create).await,
            "/qdrant.Collections/Delete" => self.unary(request, drop_collection).await,
            "/qdrant.Collections/Get" => self.unary(request, describe).await,
            "/qdrant.Collections/List" => self.unary(request, list).await,
            "/qdrant.Points/CreateFieldIndex" => self.unary(request, create_index).await,
            "/qdrant.Points/Upsert" => self.unary(request, upsert).await,
            "/qdrant.Points/Delete" => self.unary(request, delete).await,
            "/qdrant.Points/Get" => self.unary(request, get).await,
            "/qdrant.Points/Scroll" => self.unary(request, scroll).await,
            "/qdrant.Points/Count" => self.unary(request, count).await,
            "/qdrant.Points/QueryBatch" => self.unary(request, query_batch).await,
            "/qdrant.Snapshots/List" => {
                self.unary(request, |_, _: ListSnapshotsRequest| Ok(ListSnapshotsResponse::default())).await
            }
            "/qdrant.Snapshots/ListFull" => self.unary(request, list_full).await,
            _ => Status::unimplemented(path).into_http(),
        }
    }

    async fn unary<Q, R>(
        &self,
        request: http::Request<Body>,
        mut handle: impl FnMut(&mut State, Q) -> Result<R, Status> + Send + 'static,
    ) -> http::Response<Body>
    where
        Q: Message + Default + 'static,
        R: Message + Default + 'static,
    {
        let state = self.0.clone();
        let service = tower::service_fn(move |request: Request<Q>| {
            let mut state = state.lock().unwrap();
            let request = request.into_inner();
            state.longest = state.longest.max(request.encoded_len());
            ready(handle(&mut state, request).map(Response::new))
        });
        let mut grpc = Grpc::new(ProstCodec::<R, Q>::default())
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        grpc.unary(service, request).await
    }
}

macro_rules! service {
    ($name:ident, $path:literal) => {
        #[derive(Clone)]
        struct $name(Fake);

        impl NamedService for $name {
            const NAME: &'static str = $path;
        }

        impl tower::Service<http::Request<Body>> for $name {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Self::Future {
                let fake = self.0.clone();
                Box::pin(async move { Ok(fake.answer(request).await) })
            }
        }
    };
}

service!(PointsService, "qdrant.Points");
service!(CollectionsService, "qdrant.Collections");
service!(SnapshotsService, "qdrant.Snapshots");
service!(HealthService, "qdrant.Qdrant");

impl State {
    fn of(&mut self, name: &str) -> Result<&mut Collection, Status> {
        let name = self.aliases.get(name).cloned().unwrap_or_else(|| name.to_owned());
        self.collections.get_mut(&name).ok_or_else(|| Status::not_found("no such collection"))
    }
}

fn list_aliases(state: &mut State, _: ListAliasesRequest) -> Result<ListAliasesResponse, Status> {
    let alias = |(alias, collection): (&String, &String)| AliasDescription {
        alias_name: alias.clone(),
        collection_name: collection.clone(),
    };
    Ok(ListAliasesResponse { aliases: state.aliases.iter().map(alias).collect(), time: 0.0 })
}

fn done() -> CollectionOperationResponse {
    CollectionOperationResponse { result: true, time: 0.0 }
}

fn update_aliases(state: &mut State, request: ChangeAliases) -> Result<CollectionOperationResponse, Status> {
    for action in request.actions {
        match action.action.unwrap() {
            Action::CreateAlias(create) => {
                assert!(state.collections.contains_key(&create.collection_name));
                state.aliases.insert(create.alias_name, create.collection_name);
            }
            Action::DeleteAlias(delete) => drop(state.aliases.remove(&delete.alias_name)),
            Action::RenameAlias(_) => return Err(Status::unimplemented("rename")),
        }
    }
    Ok(done())
}

fn exists(state: &mut State, request: CollectionExistsRequest) -> Result<CollectionExistsResponse, Status> {
    let exists = state.of(&request.collection_name).is_ok();
    Ok(CollectionExistsResponse { result: Some(CollectionExists { exists }), time: 0.0 })
}

fn create(state: &mut State, request: CreateCollection) -> Result<CollectionOperationResponse, Status> {
    if state.collections.contains_key(&request.collection_name) {
        return Err(Status::already_exists("there is one"));
    }
    let name = request.collection_name.clone();
    state.collections.insert(name, Collection { made: request, ..Collection::default() });
    Ok(done())
}

fn drop_collection(state: &mut State, request: DeleteCollection) -> Result<CollectionOperationResponse, Status> {
    state.collections.remove(&request.collection_name).map(|_| done()).ok_or_else(|| Status::not_found("none"))
}

fn describe(state: &mut State, request: GetCollectionInfoRequest) -> Result<GetCollectionInfoResponse, Status> {
    let collection = state.of(&request.collection_name)?;
    let params = CollectionParams { vectors_config: collection.made.vectors_config.clone(), ..Default::default() };
    let metadata = collection.made.metadata.clone();
    let config = CollectionConfig { params: Some(params), metadata, ..Default::default() };
    let payload_schema = collection.indexes.iter().map(|key| (key.clone(), PayloadSchemaInfo::default())).collect();
    let info = CollectionInfo { config: Some(config), payload_schema, ..Default::default() };
    Ok(GetCollectionInfoResponse { result: Some(info), time: 0.0 })
}

fn list(state: &mut State, _: ListCollectionsRequest) -> Result<ListCollectionsResponse, Status> {
    let collections = state.collections.keys().map(|name| CollectionDescription { name: name.clone() }).collect();
    Ok(ListCollectionsResponse { collections, time: 0.0 })
}

fn list_full(state: &mut State, _: ListFullSnapshotsRequest) -> Result<ListSnapshotsResponse, Status> {
    let described = |name: &String| SnapshotDescription { name: name.clone(), ..Default::default() };
    Ok(ListSnapshotsResponse { snapshot_descriptions: state.snapshots.iter().map(described).collect(), time: 0.0 })
}

fn completed() -> PointsOperationResponse {
    let result = UpdateResult { operation_id: None, status: UpdateStatus::Completed.into() };
    PointsOperationResponse { result: Some(result), ..Default::default() }
}

fn create_index(state: &mut State, request: CreateFieldIndexCollection) -> Result<PointsOperationResponse, Status> {
    state.of(&request.collection_name)?.indexes.push(request.field_name);
    Ok(completed())
}

fn upsert(state: &mut State, request: UpsertPoints) -> Result<PointsOperationResponse, Status> {
    assert_eq!(request.wait, Some(true));
    let only_update = request.update_mode == Some(UpdateMode::UpdateOnly.into());
    let collection = state.of(&request.collection_name)?;
    for point in request.points {
        let id = mapping::uuid(point.id.clone()).unwrap();
        if !only_update || collection.points.contains_key(&id) {
            collection.points.insert(id, point);
        }
    }
    Ok(completed())
}

fn delete(state: &mut State, request: DeletePoints) -> Result<PointsOperationResponse, Status> {
    assert_eq!(request.wait, Some(true));
    let Some(PointsSelectorOneOf::Filter(filter)) = request.points.unwrap().points_selector_one_of else {
        return Err(Status::unimplemented("points"));
    };
    state.of(&request.collection_name)?.points.retain(|id, point| !matches(&filter, *id, point));
    Ok(completed())
}

fn get(state: &mut State, request: GetPoints) -> Result<GetResponse, Status> {
    let collection = state.of(&request.collection_name)?;
    let ids = request.ids.into_iter().map(|id| mapping::uuid(Some(id)).unwrap());
    let found = ids.filter_map(|id| collection.points.get(&id).cloned()).map(retrieved).collect();
    Ok(GetResponse { result: found, ..Default::default() })
}

fn scroll(state: &mut State, request: ScrollPoints) -> Result<ScrollResponse, Status> {
    let filter = request.filter.unwrap_or_default();
    let from = mapping::uuid(request.offset).unwrap_or(Uuid::nil());
    let collection = state.of(&request.collection_name)?;
    let matching = collection.points.range(from..).filter(|(id, point)| matches(&filter, **id, point));
    let mut found: Vec<PointStruct> =
        matching.map(|(_, point)| point.clone()).take(request.limit.unwrap() as usize + 1).collect();
    let next = if found.len() > request.limit.unwrap() as usize { found.pop().unwrap().id } else { None };
    let result = found.into_iter().map(retrieved).collect();
    Ok(ScrollResponse { next_page_offset: next, result, ..Default::default() })
}

fn count(state: &mut State, request: CountPoints) -> Result<CountResponse, Status> {
    let filter = request.filter.unwrap_or_default();
    let collection = state.of(&request.collection_name)?;
    let count = collection.points.iter().filter(|(id, point)| matches(&filter, **id, point)).count() as u64;
    Ok(CountResponse { result: Some(CountResult { count }), ..Default::default() })
}

fn query_batch(state: &mut State, request: QueryBatchPoints) -> Result<QueryBatchResponse, Status> {
    let collection = state.of(&request.collection_name)?;
    let result = request.query_points.into_iter().map(|query| nearest(collection, query)).collect();
    Ok(QueryBatchResponse { result, ..Default::default() })
}

fn nearest(collection: &Collection, query: QueryPoints) -> BatchResult {
    let filter = query.filter.unwrap();
    let Some(query::Variant::Nearest(wanted)) = query.query.unwrap().variant else { panic!("another query") };
    let mut hits: Vec<ScoredPoint> = Vec::new();
    for (id, point) in collection.points.iter().filter(|(id, point)| matches(&filter, **id, point)) {
        let Some(own) = named(point).remove(query.using.as_ref().unwrap()) else { continue };
        let score = match (wanted.variant.as_ref().unwrap(), own) {
            (vector_input::Variant::Dense(one), vector::Vector::Dense(other)) => {
                Some(one.data.iter().zip(&other.data).map(|(one, other)| one * other).sum())
            }
            (vector_input::Variant::Sparse(one), vector::Vector::Sparse(other)) => {
                let common = other.indices.iter().zip(&other.values).filter(|(index, _)| one.indices.contains(index));
                let score: f32 = common.map(|(_, weight)| weight).sum();
                (score > 0.0).then_some(score)
            }
            _ => panic!("vectors of two kinds"),
        };
        hits.extend(score.map(|score| ScoredPoint { id: Some(mapping::id(*id)), score, ..Default::default() }));
    }
    hits.sort_by(|one, other| other.score.total_cmp(&one.score));
    hits.truncate(query.limit.unwrap() as usize);
    BatchResult { result: hits }
}

fn named(point: &PointStruct) -> HashMap<String, vector::Vector> {
    match point.vectors.clone().and_then(|vectors| vectors.vectors_options) {
        Some(VectorsOptions::Vectors(named)) => {
            named.vectors.into_iter().filter_map(|(name, vector)| Some((name, vector.vector?))).collect()
        }
        _ => panic!("a point without named vectors"),
    }
}

/// A point as it is read; whole, whatever was asked for.
pub(super) fn retrieved(point: PointStruct) -> RetrievedPoint {
    let output = |vector| match vector {
        vector::Vector::Dense(dense) => vector_output::Vector::Dense(dense),
        vector::Vector::Sparse(words) => vector_output::Vector::Sparse(words),
        _ => panic!("a vector of another kind"),
    };
    let vectors = named(&point)
        .into_iter()
        .map(|(name, vector)| (name, VectorOutput { vector: Some(output(vector)), ..Default::default() }));
    let named = NamedVectorsOutput { vectors: vectors.collect() };
    let vectors = VectorsOutput { vectors_options: Some(vectors_output::VectorsOptions::Vectors(named)) };
    RetrievedPoint { id: point.id, payload: point.payload, vectors: Some(vectors), ..Default::default() }
}

/// Whether a filter, of the kinds that the store sends, matches a point.
pub(super) fn matches(filter: &Filter, id: Uuid, point: &PointStruct) -> bool {
    let holds = |condition: &ConditionOneOf| match condition {
        ConditionOneOf::HasId(ids) => ids.has_id.contains(&mapping::id(id)),
        ConditionOneOf::Field(field) => {
            let values = match point.payload.get(&field.key).cloned().map(mapping::json) {
                None => return false,
                Some(Json::Array(values)) => values,
                Some(value) => vec![value],
            };
            match (field.r#match.as_ref().and_then(|found| found.match_value.as_ref()), &field.range) {
                (Some(MatchValue::Keywords(any)), _) => {
                    values.iter().filter_map(Json::as_str).any(|value| any.strings.iter().any(|one| one == value))
                }
                (None, Some(range)) => values.iter().filter_map(Json::as_f64).any(|value| {
                    range.gte.is_none_or(|least| value >= least)
                        && range.lte.is_none_or(|most| value <= most)
                        && range.lt.is_none_or(|below| value < below)
                }),
                _ => panic!("another condition"),
            }
        }
        _ => panic!("another condition"),
    };
    let all = |conditions: &[qdrant_client::qdrant::Condition], wanted: bool| {
        conditions.iter().all(|condition| holds(condition.condition_one_of.as_ref().unwrap()) == wanted)
    };
    all(&filter.must, true) && all(&filter.must_not, false)
}
