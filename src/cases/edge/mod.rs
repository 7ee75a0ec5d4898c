//! The embedded case store: Qdrant Edge in a folder, behind a journal.
//!
//! A write is checked and serialised on the compute pool, waits in a bounded queue, and is journalled (fsync), applied and answered
//! by the owner thread. A read runs on the compute pool, beside other reads. Opening replays what the journal still holds. One
//! process at a time: the folder is locked.
//!
//! Searches compare with every case that the filter leaves: exact, and linear in their number.

mod change;
mod engine;
mod filter;
mod folder;
mod gate;
mod journal;
mod owner;
mod payload;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use qdrant_edge::external::uuid::Uuid;
use tokio::sync::oneshot;

use self::change::{Change, StoredCase};
use self::engine::{Engine, EngineFault};
use self::filter::{engine_filter, leaving_out};
use self::folder::StoreFolder;
use self::gate::ComputeGate;
use self::journal::{Journal, JournalFault};
use self::owner::{Command, Owner, Shared};
use self::payload::point_id;
use super::{
    Case, CaseFilter, CasePage, CaseStore, CaseStoreError, Correction, NewCase, SimilarCase, SimilarQuery, SimilarTo,
    TenantId, UpsertOutcome, VectoredCase,
};

/// The most cases that one upsert may hold.
pub const MAX_BATCH: usize = 10_000;
/// The most cases that one search may return.
pub const MAX_SIMILAR: usize = 10_000;

/// The most cases that one part of a scan may hold.
pub const MAX_PAGE: usize = 10_000;

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeOptions {
    /// Length of the encoder's vectors, 1 or more.
    pub dimension: usize,
    /// SHA-256 of the encoder's weights, hexadecimal: vectors of different encoders can't be compared.
    pub encoder_sha256: String,
    /// Writes that may wait, and reads that may wait, 1 or more each; one more is refused as `Busy`.
    pub queue_limit: usize,
    /// How long a write may stay in the journal alone. Longer makes writing cheaper and opening after a crash slower.
    pub flush_every: Duration,
    /// Cases written or deleted after which the journal is flushed earlier.
    pub flush_after_ops: usize,
}

impl EdgeOptions {
    /// The usual options for an encoder: 256 calls may wait, a flush every 10 seconds or 10,000 cases.
    pub fn new(dimension: usize, encoder_sha256: impl Into<String>) -> Self {
        Self {
            dimension,
            encoder_sha256: encoder_sha256.into(),
            queue_limit: 256,
            flush_every: Duration::from_secs(10),
            flush_after_ops: 10_000,
        }
    }
}

/// The embedded case store.
///
/// [`CaseStore::close`] it before the process ends. Dropping it without closing loses nothing either; it blocks until what waits
/// is written and flushed.
pub struct EdgeStore {
    shared: Arc<Shared>,
    gate: ComputeGate,
    /// `None` only while the store is being dropped.
    commands: Option<SyncSender<Command>>,
    owner: Mutex<Option<JoinHandle<()>>>,
    dimension: usize,
    queue_limit: usize,
}

impl EdgeStore {
    /// Opens the store of a folder, or makes it; replays what a crash left in the journal. Blocks: milliseconds, or seconds after a
    /// crash. The folder is made if only it is missing.
    ///
    /// # Errors
    /// `Open`: the folder can't be made or written, another process has it open, it holds vectors of another encoder, or it is
    /// damaged.
    pub fn open(folder: &Path, options: EdgeOptions) -> Result<EdgeStore, CaseStoreError> {
        let EdgeOptions { dimension, encoder_sha256, queue_limit, flush_every, flush_after_ops } = options;
        let mut folder = StoreFolder::lock(folder, dimension, &encoder_sha256)?;
        let (engine, journal) =
            if folder.is_complete() { load(&folder, dimension)? } else { create(&mut folder, dimension)? };
        let queue_limit = queue_limit.max(1);
        let (commands, receiver) = sync_channel(queue_limit);
        let shared = Arc::new(Shared::new(engine));
        let owner = Owner::new(shared.clone(), receiver, journal, folder, dimension, (flush_every, flush_after_ops));
        let owner = std::thread::Builder::new()
            .name("case-store".to_owned())
            .spawn(move || owner.run())
            .map_err(|error| CaseStoreError::Unavailable(format!("no thread for the case store: {error}")))?;
        Ok(Self {
            shared,
            gate: ComputeGate::new(queue_limit),
            commands: Some(commands),
            owner: Mutex::new(Some(owner)),
            dimension,
            queue_limit,
        })
    }

    /// Puts a command into the queue and waits for its answer.
    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, CaseStoreError>>) -> Command,
    ) -> Result<T, CaseStoreError> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or_else(closed)?;
        commands.try_send(command(reply)).map_err(|error| match error {
            TrySendError::Full(_) => CaseStoreError::Busy { waiting: self.queue_limit, limit: self.queue_limit },
            TrySendError::Disconnected(_) => closed(),
        })?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Reads on the compute pool.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, EngineFault> + Send + 'static,
    ) -> Result<T, CaseStoreError> {
        let shared = self.shared.clone();
        self.gate.run(move || shared.read(read)).await
    }

    fn join_owner(&self) {
        let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(owner) = owner {
            // A panic there has been reported where it happened.
            let _ = owner.join();
        }
    }
}

#[async_trait]
impl CaseStore for EdgeStore {
    async fn upsert(&self, tenant: &TenantId, cases: Vec<NewCase>) -> Result<Vec<UpsertOutcome>, CaseStoreError> {
        if cases.is_empty() {
            return Ok(Vec::new());
        }
        let (tenant, dimension) = (tenant.clone(), self.dimension);
        let cases = self.gate.run(move || check_cases(&tenant, cases, dimension)).await?;
        self.ask(|reply| Command::Upsert { cases, reply }).await
    }

    async fn correct(
        &self,
        tenant: &TenantId,
        id: &str,
        correction: Correction,
    ) -> Result<VectoredCase, CaseStoreError> {
        let (tenant, id, correction) = (tenant.clone(), id.to_owned(), Box::new(correction));
        self.ask(|reply| Command::Correct { tenant, id, correction, reply }).await
    }

    async fn page(
        &self,
        tenant: &TenantId,
        filter: &CaseFilter,
        from: Option<&str>,
        limit: usize,
    ) -> Result<CasePage, CaseStoreError> {
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(invalid("limit", format!("{limit} is not allowed; 1 to {MAX_PAGE} is")));
        }
        let from = from.map(Uuid::parse_str).transpose();
        let from = from.map_err(|error| invalid("from", format!("names no part: {error}")))?;
        let filter = engine_filter(tenant, filter);
        let (cases, next) = self.read(move |engine| engine.page(filter, from, limit)).await?;
        Ok(CasePage { cases, next: next.map(|point| point.to_string()) })
    }

    async fn get(&self, tenant: &TenantId, id: &str) -> Result<Case, CaseStoreError> {
        let point = point_id(tenant, id);
        let case = self.read(move |engine| engine.case(point)).await?;
        case.ok_or_else(|| CaseStoreError::NotFound { id: id.to_owned() })
    }

    async fn find_similar(&self, tenant: &TenantId, query: SimilarQuery) -> Result<Vec<SimilarCase>, CaseStoreError> {
        let SimilarQuery { to, filter, limit, min_score } = query;
        if !(1..=MAX_SIMILAR).contains(&limit) {
            return Err(invalid("limit", format!("{limit} is not allowed; 1 to {MAX_SIMILAR} is")));
        }
        if let Some(score) = min_score.filter(|score| !(-1.0..=1.0).contains(score)) {
            return Err(invalid("min_score", format!("{score} is not allowed; -1 to 1 is")));
        }
        let filter = engine_filter(tenant, &filter);
        match to {
            SimilarTo::Vector(vector) => {
                check_vector(&vector, self.dimension).map_err(|problem| invalid("vector", problem))?;
                self.read(move |engine| engine.similar(vector, filter, limit, min_score)).await
            }
            SimilarTo::CaseId(id) => {
                let point = point_id(tenant, &id);
                let filter = leaving_out(filter, tenant, &id);
                let hits = self.read(move |engine| match engine.vector(point)? {
                    Some(vector) => engine.similar(vector, filter, limit, min_score).map(Some),
                    None => Ok(None),
                });
                hits.await?.ok_or(CaseStoreError::NotFound { id })
            }
        }
    }

    async fn count(&self, tenant: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError> {
        let filter = engine_filter(tenant, filter);
        self.read(move |engine| engine.count(filter)).await
    }

    async fn delete(&self, tenant: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError> {
        if *filter == CaseFilter::default() {
            let problem = "the empty filter would delete every case of the tenant; set at least one condition";
            return Err(invalid("filter", problem));
        }
        let filter = Box::new(engine_filter(tenant, filter));
        self.ask(|reply| Command::Delete { filter, reply }).await
    }

    async fn probe(&self) -> Result<(), CaseStoreError> {
        self.read(Engine::probe).await
    }

    async fn close(&self) -> Result<(), CaseStoreError> {
        let commands = self.commands.clone().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        // The queue may be full, and closing waits for its place in it.
        let sent = tokio::task::spawn_blocking(move || commands.send(Command::Close { reply })).await;
        match sent {
            Ok(Ok(())) => answer.await.unwrap_or_else(|_| Err(closed())),
            // Closed before.
            Ok(Err(_)) => Ok(()),
            Err(error) => Err(CaseStoreError::Unavailable(error.to_string())),
        }
    }
}

impl Drop for EdgeStore {
    fn drop(&mut self) {
        drop(self.commands.take());
        self.join_owner();
    }
}

/// Makes an empty store; until it is noted as complete, nothing can have been stored in it.
fn create(folder: &mut StoreFolder, dimension: usize) -> Result<(Engine, Journal), CaseStoreError> {
    folder.clear()?;
    let engine = Engine::create(&folder.shard(), dimension).map_err(|fault| folder.error(fault))?;
    let journal = Journal::create(&folder.journal());
    let journal = journal.map_err(|fault| folder.error(format!("the journal can't be created: {fault}")))?;
    folder.complete()?;
    Ok((engine, journal))
}

/// Loads a store and brings it to where the journal ends.
fn load(folder: &StoreFolder, dimension: usize) -> Result<(Engine, Journal), CaseStoreError> {
    let mut journal = Journal::open(&folder.journal()).map_err(|fault| {
        folder.error(format!(
            "the journal {} can't be read ({fault}); put the whole folder back from a backup",
            folder.journal().display()
        ))
    })?;
    let engine = Engine::load(&folder.shard(), dimension).map_err(|fault| {
        folder.error(format!(
            "the shard {} can't be loaded ({fault}); put the whole folder back from a backup",
            folder.shard().display()
        ))
    })?;
    if !journal.is_empty() {
        replay(&engine, &mut journal).map_err(|problem| {
            folder.error(format!("the journal could not be replayed ({problem}); nothing is lost: the journal is kept"))
        })?;
    }
    Ok((engine, journal))
}

fn replay(engine: &Engine, journal: &mut Journal) -> Result<(), ReplayFault> {
    let mut replayed = 0_u64;
    journal.for_each(|sequence, record| {
        let change = Change::decode(record).map_err(|error| ReplayFault(format!("record {sequence}: {error}")))?;
        replayed += 1;
        engine.apply(change).map_err(|fault| ReplayFault(format!("record {sequence}: {fault}")))
    })?;
    engine.flush().map_err(|fault| ReplayFault(fault.to_string()))?;
    journal.cut()?;
    tracing::info!(records = replayed, "replayed the journal of the case store");
    Ok(())
}

/// Why a journal could not be replayed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ReplayFault(String);

impl From<JournalFault> for ReplayFault {
    fn from(fault: JournalFault) -> Self {
        Self(fault.to_string())
    }
}

fn check_cases(tenant: &TenantId, cases: Vec<NewCase>, dimension: usize) -> Result<Vec<StoredCase>, CaseStoreError> {
    if cases.len() > MAX_BATCH {
        return Err(invalid("cases", format!("{} cases in one call; at most {MAX_BATCH} are allowed", cases.len())));
    }
    let mut ids = HashSet::with_capacity(cases.len());
    let mut checked = Vec::with_capacity(cases.len());
    for (index, new) in cases.into_iter().enumerate() {
        let field = |name: &str| format!("cases[{index}].{name}");
        if new.case.id.is_empty() {
            return Err(invalid(field("id"), "is empty; every case needs an id"));
        }
        if !ids.insert(new.case.id.clone()) {
            return Err(invalid(field("id"), format!("{:?} stands twice in one call", new.case.id)));
        }
        check_vector(&new.vector, dimension).map_err(|problem| invalid(field("vector"), problem))?;
        let stored = StoredCase::new(tenant, new);
        checked.push(stored.map_err(|problem| invalid(field("case"), format!("can't be stored: {problem}")))?);
    }
    Ok(checked)
}

/// What is wrong with a vector that should be a unit vector of a dimension.
fn check_vector(vector: &[f32], dimension: usize) -> Result<(), String> {
    if vector.len() != dimension {
        return Err(format!("has {} numbers; vectors of this store have {dimension}", vector.len()));
    }
    if let Some(index) = vector.iter().position(|value| !value.is_finite()) {
        return Err(format!("number {index} is not finite"));
    }
    let norm = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if (norm - 1.0).abs() > UNIT_TOLERANCE {
        return Err(format!("has length {norm:.4}; a unit vector is needed"));
    }
    Ok(())
}

/// How far from 1 the length of a unit vector may be; half-precision vectors stay within it.
const UNIT_TOLERANCE: f64 = 0.01;

fn invalid(field: impl Into<String>, problem: impl Into<String>) -> CaseStoreError {
    CaseStoreError::Invalid { field: field.into(), problem: problem.into() }
}

fn closed() -> CaseStoreError {
    CaseStoreError::Unavailable("the store is closed".to_owned())
}
