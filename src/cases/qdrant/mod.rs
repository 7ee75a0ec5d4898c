//! The case store on a Qdrant server or cluster.
//!
//! Cases lie in a collection that holds vectors of one encoder; its name says of which. An alias with the store's own name says which
//! collection is served. A store that is open reads and writes its collection by name and never through the alias, so that vectors of
//! two encoders never meet; a probe asks whether the alias still points there.
//!
//! Acknowledged is applied: every write waits for the server to apply it, on as many copies as the options say. A call that ends as
//! `Unavailable` may have been made all the same, or in part; making it again, with the same request id, brings it to its end.
//!
//! Within one process, writes of the same case go one after another, and a deletion goes alone, so that nothing that a person said of
//! a case is lost between them; a write that has begun runs to its end even if its caller leaves. Between processes, each write of a
//! case is whole, the last one wins, and what another process said of the same case within the few milliseconds between reading and
//! writing it may be lost: send the writes of one tenant to one process where that matters.

mod calls;
mod erasures;
#[cfg(test)]
mod fake;
mod mapping;
mod migrate;
mod options;
mod points;
mod receipts;
mod schema;
mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use qdrant_client::qdrant::{HealthCheckRequest, UpdateMode};
use tokio::sync::{Mutex, OwnedSemaphorePermit, RwLock, Semaphore, TryAcquireError};
use tokio::time::timeout;
use uuid::Uuid;

use self::calls::Calls;
use self::mapping::{MOST_BYTES_SENT, of_others, server_filter};
pub use self::migrate::{Migrated, Migration, MigrationProgress, Reembed};
pub use self::options::QdrantOptions;
use self::points::{Parts, Points};
use self::receipts::Receipts;
use self::schema::Schema;
use super::checks::MAX_PAGE;
use super::edge::gate::ComputeGate;
use super::plan::{self, StoredCase, UpsertPlan};
use super::point::point_id;
use super::{
    Amendment, Case, CaseFilter, CasePage, CaseStore, CaseStoreError, Erasure, NewCase, RetagOutcome, Retagging,
    SimilarCases, SimilarQuery, TenantId, UpsertOutcome, VectoredCase, checks,
};

/// Locks among which the cases are spread.
const STRIPES: usize = 256;

/// The case store on a server.
pub struct QdrantStore {
    inner: Arc<Inner>,
}

/// What calls share, and what a write holds on to when its caller leaves.
struct Inner {
    options: QdrantOptions,
    calls: Calls,
    schema: Schema,
    points: Points,
    receipts: Receipts,
    /// Name of the collection.
    collection: String,
    gate: ComputeGate,
    /// One permit for each call that may be under way.
    inside: Arc<Semaphore>,
    stripes: Vec<Mutex<()>>,
    /// Writes of cases share it; a deletion has it alone.
    writes: RwLock<()>,
    closed: AtomicBool,
    /// Whether the last probe found that the alias points elsewhere.
    moved: AtomicBool,
}

impl QdrantStore {
    /// Opens the store that the options name, or makes it: its collection, its indexes, its alias.
    ///
    /// # Errors
    /// `Open`: the options are not allowed, or the alias points to a collection of another encoder or schema, which the message says;
    /// `Unavailable`: the server can't be reached or refuses.
    pub async fn open(options: QdrantOptions) -> Result<Self, CaseStoreError> {
        let calls = Calls::new(&options)?;
        let schema = Schema::new(calls.clone(), options.clone());
        schema.open().await?;
        let collection = schema::physical_name(&options);
        let limit = options.queue_limit.min(Semaphore::MAX_PERMITS);
        let inner = Inner {
            points: Points::new(calls.clone(), collection.clone()),
            receipts: Receipts::new(Points::new(calls.clone(), schema::receipts_name(&options))),
            schema,
            calls,
            collection,
            gate: ComputeGate::new(limit),
            inside: Arc::new(Semaphore::new(limit)),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            writes: RwLock::new(()),
            closed: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            options,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes a collection for the options' encoder from the one that is served, and serves it instead. Copies every case, with its
    /// vector where the encoder is the same, else with one that `migration.reembed` computes. Search goes on in the old collection
    /// until the alias is changed, in one step, after the last case. A migration that broke off goes on where it stood when it is
    /// made again.
    ///
    /// What processes that have the old collection open write after their case was compared for the last time stays in the old
    /// collection: let them only read meanwhile. Their next probe says that the store was migrated, and their writes are refused
    /// from then on.
    ///
    /// # Errors
    /// `Open`: the options are not allowed, there is nothing to migrate, or the encoder is another and there is no `reembed`;
    /// `Invalid`: a vector that it computed is not a unit vector of the options' dimension; `Unavailable`.
    pub async fn migrate(options: QdrantOptions, migration: Migration<'_>) -> Result<Migrated, CaseStoreError> {
        migrate::migrate(options, migration).await
    }

    /// The receipts of erasures, oldest first.
    ///
    /// # Errors
    /// `Unavailable` if they can't be read; `Busy`.
    pub async fn receipts(&self) -> Result<Vec<Erasure>, CaseStoreError> {
        let _place = self.inner.enter()?;
        self.inner.receipts.all().await
    }

    /// Writes in a task of its own, which goes on when the caller leaves.
    async fn write<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(Arc<Inner>) -> F + Send + 'static,
    ) -> Result<T, CaseStoreError>
    where
        F: Future<Output = Result<T, CaseStoreError>> + Send + 'static,
    {
        let place = self.inner.enter()?;
        if self.inner.moved.load(Ordering::Relaxed) {
            return Err(self.inner.was_moved());
        }
        let inner = self.inner.clone();
        let done = tokio::spawn(async move {
            let _place = place;
            work(inner).await
        });
        done.await.unwrap_or_else(|error| Err(CaseStoreError::Unavailable(format!("a write broke off: {error}"))))
    }
}

impl Inner {
    /// Takes a place among the calls under way.
    fn enter(&self) -> Result<OwnedSemaphorePermit, CaseStoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        self.inside.clone().try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits => {
                CaseStoreError::Busy { waiting: self.options.queue_limit, limit: self.options.queue_limit }
            }
            TryAcquireError::Closed => closed(),
        })
    }

    fn was_moved(&self) -> CaseStoreError {
        CaseStoreError::Unavailable(format!(
            "the store {} was migrated and is no longer served from {}; start again with the encoder that it was migrated to",
            self.options.collection, self.collection
        ))
    }

    /// The locks of some cases, always taken in the same order.
    async fn lock(&self, points: &[Uuid]) -> Result<Vec<tokio::sync::MutexGuard<'_, ()>>, CaseStoreError> {
        let stripes: BTreeSet<usize> = points.iter().map(|point| point.as_u128() as usize % STRIPES).collect();
        let take_all = async {
            let mut held = Vec::with_capacity(stripes.len());
            for stripe in stripes.into_iter().filter_map(|stripe| self.stripes.get(stripe)) {
                held.push(stripe.lock().await);
            }
            held
        };
        self.in_time(take_all).await
    }

    /// Waits for other writes of this process, as long as a call may take.
    async fn in_time<T>(&self, wait: impl Future<Output = T>) -> Result<T, CaseStoreError> {
        let late = |_| CaseStoreError::Unavailable("other writes of the same cases took too long".to_owned());
        timeout(self.options.timeout, wait).await.map_err(late)
    }

    async fn upsert(&self, tenant: TenantId, cases: Vec<NewCase>) -> Result<Vec<UpsertOutcome>, CaseStoreError> {
        let dimension = self.options.dimension;
        let of_tenant = tenant.clone();
        let stored = self.gate.run(move || plan::stored_cases(&of_tenant, cases, dimension)).await?;
        let points: Vec<Uuid> = stored.iter().map(|stored| point_id(&tenant, &stored.case.id)).collect();
        let _shared = self.in_time(self.writes.read()).await?;
        let _alone = self.lock(&points).await?;
        let earlier = self.cases(&tenant, &points).await?;
        let (batch, outcomes) = self.gate.run(move || plan_upsert(points, stored, earlier)).await?;
        self.points.write(batch, UpdateMode::Upsert).await?;
        Ok(outcomes)
    }

    async fn amend(&self, tenant: TenantId, id: String, amendment: Amendment) -> Result<VectoredCase, CaseStoreError> {
        let point = point_id(&tenant, &id);
        let _shared = self.in_time(self.writes.read()).await?;
        let _alone = self.lock(&[point]).await?;
        let Some(VectoredCase { case, vector }) = self.vectored(&tenant, point).await? else {
            return Err(CaseStoreError::NotFound { id });
        };
        let planned = self.gate.run(move || {
            let new = NewCase { case: case.amended(amendment), vector, request_id: None };
            let stored = StoredCase::new(&tenant, new).map_err(unstorable)?;
            let amended = VectoredCase { case: stored.case.clone(), vector: stored.vector.clone() };
            let point = mapping::point(stored);
            fits(&point, || "amendment".to_owned())?;
            Ok((point, amended))
        });
        let (point, amended) = planned.await?;
        // A case that another process has deleted in the meantime stays deleted.
        self.points.write(vec![point], UpdateMode::UpdateOnly).await?;
        Ok(amended)
    }

    async fn retag(&self, tenant: TenantId, cases: Vec<Retagging>) -> Result<Vec<RetagOutcome>, CaseStoreError> {
        let points: Vec<Uuid> = cases.iter().map(|new| point_id(&tenant, &new.case.id)).collect();
        let _shared = self.in_time(self.writes.read()).await?;
        let _alone = self.lock(&points).await?;
        let mut read = self.points.read(&points, Parts::CaseAndVector).await?;
        read.retain(|_, point| point.is_of(&tenant));
        let planned = self.gate.run(move || {
            let (mut batch, mut outcomes) = (Vec::with_capacity(cases.len()), Vec::with_capacity(cases.len()));
            for (index, (point, new)) in points.into_iter().zip(cases).enumerate() {
                let stored = read.remove(&point).map(with_vector).transpose()?;
                let (write, outcome) = plan::retag(&tenant, stored, new).map_err(unstorable)?;
                if let Some(stored) = write {
                    let point = mapping::point(stored);
                    fits(&point, || format!("cases[{index}].case"))?;
                    batch.push(point);
                }
                outcomes.push(outcome);
            }
            Ok((batch, outcomes))
        });
        let (batch, outcomes) = planned.await?;
        // A case that another process has deleted in the meantime stays deleted.
        self.points.write(batch, UpdateMode::UpdateOnly).await?;
        Ok(outcomes)
    }

    async fn delete(&self, tenant: TenantId, filter: CaseFilter) -> Result<u64, CaseStoreError> {
        let filter = server_filter(&tenant, &filter);
        let _alone = self.in_time(self.writes.write()).await?;
        let count = self.points.count(filter.clone()).await?;
        if count > 0 {
            self.points.delete(filter).await?;
        }
        Ok(count)
    }

    /// The cases of those of some points that exist.
    async fn cases(&self, tenant: &TenantId, points: &[Uuid]) -> Result<HashMap<Uuid, Case>, CaseStoreError> {
        let mut read = self.points.read(points, Parts::Case).await?;
        read.retain(|_, point| point.is_of(tenant));
        if read.is_empty() {
            return Ok(HashMap::new());
        }
        let cases = move || read.into_iter().map(|(id, point)| Ok((id, point.case()?))).collect();
        self.gate.run(cases).await
    }

    /// The case of a point with its vector.
    async fn vectored(&self, tenant: &TenantId, point: Uuid) -> Result<Option<VectoredCase>, CaseStoreError> {
        let read = self.points.read(&[point], Parts::CaseAndVector).await?.remove(&point);
        match read.filter(|point| point.is_of(tenant)) {
            Some(read) => Ok(Some(with_vector(read)?)),
            None => Ok(None),
        }
    }

    async fn probe(&self) -> Result<u64, CaseStoreError> {
        let answer =
            self.calls.run("ask the server for its health", HealthCheckRequest {}, |wire, request| async move {
                calls::health(wire).health_check(request).await
            });
        answer.await?;
        let is_moved = self.schema.served().await?.as_ref() != Some(&self.collection);
        self.moved.store(is_moved, Ordering::Relaxed);
        if is_moved { Err(self.was_moved()) } else { Ok(self.points.estimate().await?) }
    }
}

#[async_trait]
impl CaseStore for QdrantStore {
    async fn upsert(&self, tenant: &TenantId, cases: Vec<NewCase>) -> Result<Vec<UpsertOutcome>, CaseStoreError> {
        if cases.is_empty() {
            return Ok(Vec::new());
        }
        let tenant = tenant.clone();
        self.write(move |inner| async move { inner.upsert(tenant, cases).await }).await
    }

    async fn amend(&self, tenant: &TenantId, id: &str, amendment: Amendment) -> Result<VectoredCase, CaseStoreError> {
        checks::amendment(&amendment)?;
        let (tenant, id) = (tenant.clone(), id.to_owned());
        self.write(move |inner| async move { inner.amend(tenant, id, amendment).await }).await
    }

    async fn retag(&self, tenant: &TenantId, cases: Vec<Retagging>) -> Result<Vec<RetagOutcome>, CaseStoreError> {
        checks::retaggings(&cases)?;
        if cases.is_empty() {
            return Ok(Vec::new());
        }
        let tenant = tenant.clone();
        self.write(move |inner| async move { inner.retag(tenant, cases).await }).await
    }

    async fn page(
        &self,
        tenant: &TenantId,
        filter: &CaseFilter,
        from: Option<&str>,
        limit: usize,
    ) -> Result<CasePage, CaseStoreError> {
        checks::limit(limit, MAX_PAGE)?;
        let from = from.map(Uuid::parse_str).transpose();
        let from = from.map_err(|error| checks::invalid("from", format!("names no part: {error}")))?;
        let _place = self.inner.enter()?;
        let filter = server_filter(tenant, filter);
        let (read, next) = self.inner.points.page(&filter, from, limit, Parts::CaseAndVector).await?;
        let cases = self.inner.gate.run(move || read.into_iter().map(with_vector).collect()).await?;
        Ok(CasePage { cases, next: next.map(|point| point.to_string()) })
    }

    async fn tenants(&self) -> Result<Vec<TenantId>, CaseStoreError> {
        let _place = self.inner.enter()?;
        let mut known = BTreeSet::new();
        loop {
            let (read, _) = self.inner.points.page(&of_others(&known), None, 1, Parts::Fields).await?;
            let Some(read) = read.first() else { return Ok(known.into_iter().collect()) };
            let tenant = TenantId::new(read.tenant().ok_or_else(|| read.lacks("a tenant"))?);
            if !known.insert(tenant) {
                return Err(read.lacks("another tenant than those left out").into());
            }
        }
    }

    async fn get(&self, tenant: &TenantId, id: &str) -> Result<Case, CaseStoreError> {
        let _place = self.inner.enter()?;
        let point = point_id(tenant, id);
        let case = self.inner.cases(tenant, &[point]).await?.remove(&point);
        case.ok_or_else(|| CaseStoreError::NotFound { id: id.to_owned() })
    }

    async fn get_many(&self, tenant: &TenantId, ids: &[String]) -> Result<Vec<Case>, CaseStoreError> {
        let _place = self.inner.enter()?;
        let points: Vec<Uuid> = ids.iter().map(|id| point_id(tenant, id)).collect();
        Ok(self.inner.cases(tenant, &points).await?.into_values().collect())
    }

    async fn find_similar(&self, tenant: &TenantId, query: SimilarQuery) -> Result<SimilarCases, CaseStoreError> {
        checks::query(&query, self.inner.options.dimension)?;
        let _place = self.inner.enter()?;
        self.inner.find_similar(tenant, query).await
    }

    async fn count(&self, tenant: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError> {
        let _place = self.inner.enter()?;
        Ok(self.inner.points.count(server_filter(tenant, filter)).await?)
    }

    async fn delete(&self, tenant: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError> {
        checks::deletion(filter)?;
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.write(move |inner| async move { inner.delete(tenant, filter).await }).await
    }

    /// Deletes the customer's cases from every collection of the store, those kept after a migration and those of one that broke off
    /// among them. The receipt names the snapshots that the server which answers has; a cluster keeps them on each node.
    async fn erase(&self, tenant: &TenantId, customer_id: &str) -> Result<Erasure, CaseStoreError> {
        checks::customer(customer_id)?;
        let (tenant, customer_id) = (tenant.clone(), customer_id.to_owned());
        self.write(move |inner| async move { inner.erase(tenant, customer_id).await }).await
    }

    async fn probe(&self) -> Result<u64, CaseStoreError> {
        let _place = self.inner.enter()?;
        self.inner.probe().await
    }

    /// Nothing is pending but the calls under way, which are waited for as long as a call may take.
    async fn close(&self) -> Result<(), CaseStoreError> {
        if self.inner.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let all = self.inner.options.queue_limit.min(Semaphore::MAX_PERMITS);
        let all = u32::try_from(all).unwrap_or(u32::MAX);
        let idle = timeout(self.inner.options.timeout, self.inner.inside.acquire_many(all)).await;
        let late = |_| CaseStoreError::Unavailable("calls were still under way when the store was closed".to_owned());
        idle.map(|_| ()).map_err(late)
    }
}

/// The points that an upsert writes, and what it does to each case.
fn plan_upsert(
    points: Vec<Uuid>,
    cases: Vec<StoredCase>,
    earlier: HashMap<Uuid, Case>,
) -> Result<(Vec<qdrant_client::qdrant::PointStruct>, Vec<UpsertOutcome>), CaseStoreError> {
    let (mut written, mut outcomes) = (Vec::with_capacity(cases.len()), Vec::with_capacity(cases.len()));
    for (index, (point, stored)) in points.into_iter().zip(cases).enumerate() {
        match plan::upsert(earlier.get(&point), stored).map_err(unstorable)? {
            UpsertPlan::Done(outcome) => outcomes.push(outcome),
            UpsertPlan::Write(stored, outcome) => {
                let point = mapping::point(*stored);
                fits(&point, || format!("cases[{index}].case"))?;
                outcomes.push(outcome);
                written.push(point);
            }
        }
    }
    Ok((written, outcomes))
}

/// Refuses a case that fits no message to the server.
fn fits(point: &qdrant_client::qdrant::PointStruct, field: impl FnOnce() -> String) -> Result<(), CaseStoreError> {
    let bytes = mapping::bytes(point);
    if bytes <= MOST_BYTES_SENT {
        return Ok(());
    }
    Err(checks::invalid(field(), format!("the case takes {bytes} bytes; at most {MOST_BYTES_SENT} can be stored")))
}

fn with_vector(read: mapping::ReadPoint) -> Result<VectoredCase, CaseStoreError> {
    let case = read.case()?;
    let lack = read.lacks("a vector");
    Ok(VectoredCase { case, vector: read.dense.ok_or(lack)? })
}

fn unstorable(problem: String) -> CaseStoreError {
    CaseStoreError::Unavailable(format!("could not store a case: {problem}"))
}

fn closed() -> CaseStoreError {
    CaseStoreError::Unavailable("the store is closed".to_owned())
}
