//! The embedded case store: Qdrant Edge in a folder, behind a journal.
//!
//! A write is checked and serialised on the compute pool, waits in a bounded queue, and is journalled (fsync), applied and answered
//! by the owner thread. A read runs on the compute pool, beside other reads. Opening replays what the journal still holds. One
//! process at a time: the folder is locked.
//!
//! An index over the vectors (HNSW) is built by a thread of its own beside all that; what is not in it yet is searched one by one.

mod change;
mod engine;
mod folder;
pub(super) mod gate;
mod journal;
mod mapping;
mod migrate;
mod opening;
mod owner;
mod records;
mod room;
#[cfg(test)]
pub(crate) mod sample;
mod snapshot;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use qdrant_edge::external::uuid::Uuid;
use tokio::sync::oneshot;

use self::engine::{Engine, EngineFault, Shape};
use self::folder::StoreFolder;
use self::gate::ComputeGate;
use self::mapping::{engine_filter, leaving_out};
pub use self::migrate::{Embed, migrate};
use self::owner::{Command, CopyFolder, Owner, Rhythm, Shared};
pub use self::records::SnapshotRecord;
use self::room::Room;
use super::point::point_id;
use super::{
    Amendment, Case, CaseFilter, CasePage, CaseStore, CaseStoreError, Erasure, NewCase, RetagOutcome, Retagging,
    SimilarCases, SimilarQuery, SimilarTo, TenantId, UpsertOutcome, VectoredCase, checks, plan,
};

pub use super::checks::{MAX_BATCH, MAX_PAGE, MAX_SIMILAR};

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
    /// Cases written or deleted after which the index is seen to.
    pub index_after_ops: usize,
    /// Size of the vectors of a part of the store from which on an index is built for it, in kB: searching less one by one is as
    /// fast. Not 0.
    pub index_from_kb: usize,
    /// Bytes that the disk keeps free: storing is refused as `Full` before it would have less.
    pub reserve_bytes: u64,
}

impl EdgeOptions {
    /// The usual options for an encoder: 256 calls may wait, a flush every 10 seconds or 10,000 cases, 128 MB of the disk stay
    /// free.
    pub fn new(dimension: usize, encoder_sha256: impl Into<String>) -> Self {
        Self {
            dimension,
            encoder_sha256: encoder_sha256.into(),
            queue_limit: 256,
            flush_every: Duration::from_secs(10),
            flush_after_ops: 10_000,
            index_after_ops: 5_000,
            index_from_kb: 10_000,
            reserve_bytes: 128 << 20,
        }
    }

    fn shape(&self) -> Shape {
        Shape { dimension: self.dimension, index_from_kb: self.index_from_kb }
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
    folder: PathBuf,
    /// Taken while a line is written beside the store.
    records: Arc<Mutex<()>>,
}

impl EdgeStore {
    /// Opens the store of a folder, or makes it; replays what a crash left in the journal. Blocks: milliseconds, or seconds after a
    /// crash. The folder is made if only it is missing.
    ///
    /// # Errors
    /// `Open`: the folder can't be made or written, another process has it open, it holds vectors of another encoder, it is damaged,
    /// or its disk is full.
    pub fn open(folder: &Path, options: EdgeOptions) -> Result<EdgeStore, CaseStoreError> {
        let path = folder.to_owned();
        let shape = options.shape();
        let EdgeOptions {
            dimension,
            encoder_sha256,
            queue_limit,
            flush_every,
            flush_after_ops,
            index_after_ops,
            reserve_bytes,
            ..
        } = options;
        let mut folder = StoreFolder::lock(folder, dimension, &encoder_sha256)?;
        let mut room = Room::new(folder.path(), reserve_bytes);
        opening::check_room(&folder, &mut room)?;
        let (engine, journal) = match folder.is_complete() {
            true => opening::load(&folder, shape)?,
            false => opening::create(&mut folder, shape)?,
        };
        let queue_limit = queue_limit.max(1);
        let (commands, receiver) = sync_channel(queue_limit);
        let shared = Arc::new(Shared::new(engine));
        let rhythm = Rhythm { flush_every, flush_after_ops, index_after_ops };
        let owner = Owner::new(shared.clone(), receiver, journal, folder, room, shape, rhythm);
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
            folder: path,
            records: Arc::default(),
        })
    }

    /// Copies the store to a new folder, while it serves; writes wait meanwhile, and so does what builds the index.
    ///
    /// # Errors
    /// `Unavailable`, with the reason.
    pub async fn snapshot(&self, to: &Path) -> Result<SnapshotRecord, CaseStoreError> {
        let to = std::path::absolute(to).map_err(|error| CaseStoreError::Unavailable(error.to_string()))?;
        let record = SnapshotRecord { folder: to.clone(), made_at: Timestamp::now() };
        let noted = record.clone();
        let copy: CopyFolder = Box::new(move |folder| {
            snapshot::copy(folder.path(), &to, noted.made_at)?;
            records::note_snapshot(folder.path(), &noted)
        });
        self.ask(|reply| Command::Copy { copy, reply }).await?;
        Ok(record)
    }

    /// Puts a snapshot, every byte of it checked, in a new or empty folder, and says when it was made.
    ///
    /// # Errors
    /// `Open`: there is no such snapshot, it is damaged, or the folder holds something.
    pub fn restore(snapshot: &Path, folder: &Path) -> Result<Timestamp, CaseStoreError> {
        snapshot::restore(snapshot, folder)
            .map_err(|problem| CaseStoreError::Open { folder: folder.display().to_string(), problem })
    }

    /// Writes out what is pending and waits until the index is built as far as it is worth it. Writes wait meanwhile.
    ///
    /// # Errors
    /// `Busy`, `Unavailable`.
    pub async fn settle(&self) -> Result<(), CaseStoreError> {
        self.ask(|reply| Command::Copy { copy: Box::new(|_| Ok(())), reply }).await
    }

    /// The receipts of erasures, oldest first.
    ///
    /// # Errors
    /// `Unavailable` if they can't be read.
    pub fn receipts(&self) -> Result<Vec<Erasure>, CaseStoreError> {
        records::receipts(&self.folder).map_err(CaseStoreError::Unavailable)
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
        let cases = self.gate.run(move || plan::stored_cases(&tenant, cases, dimension)).await?;
        self.ask(|reply| Command::Upsert { cases, reply }).await
    }

    async fn amend(&self, tenant: &TenantId, id: &str, amendment: Amendment) -> Result<VectoredCase, CaseStoreError> {
        checks::amendment(&amendment)?;
        let (tenant, id, amendment) = (tenant.clone(), id.to_owned(), Box::new(amendment));
        self.ask(|reply| Command::Amend { tenant, id, amendment, reply }).await
    }

    async fn retag(&self, tenant: &TenantId, cases: Vec<Retagging>) -> Result<Vec<RetagOutcome>, CaseStoreError> {
        checks::retaggings(&cases)?;
        if cases.is_empty() {
            return Ok(Vec::new());
        }
        let tenant = tenant.clone();
        self.ask(|reply| Command::Retag { tenant, cases, reply }).await
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
        let filter = engine_filter(tenant, filter);
        let (cases, next) = self.read(move |engine| engine.page(filter, from, limit)).await?;
        Ok(CasePage { cases, next: next.map(|point| point.to_string()) })
    }

    async fn get(&self, tenant: &TenantId, id: &str) -> Result<Case, CaseStoreError> {
        let point = point_id(tenant, id);
        let case = self.read(move |engine| engine.case(point)).await?;
        case.ok_or_else(|| CaseStoreError::NotFound { id: id.to_owned() })
    }

    async fn get_many(&self, tenant: &TenantId, ids: &[String]) -> Result<Vec<Case>, CaseStoreError> {
        let points: Vec<Uuid> = ids.iter().map(|id| point_id(tenant, id)).collect();
        self.read(move |engine| Ok(engine.cases(&points)?.into_values().collect())).await
    }

    async fn find_similar(&self, tenant: &TenantId, query: SimilarQuery) -> Result<SimilarCases, CaseStoreError> {
        checks::query(&query, self.dimension)?;
        let filter = engine_filter(tenant, &query.filter);
        match query.to.clone() {
            SimilarTo::Text { vector, masked_text } => {
                self.read(move |engine| engine.similar(&query, vector, &masked_text, filter)).await
            }
            SimilarTo::CaseId(id) => {
                let point = point_id(tenant, &id);
                let filter = leaving_out(filter, tenant, &id);
                let hits = self.read(move |engine| match engine.vectored(point)? {
                    Some(VectoredCase { case, vector }) => {
                        engine.similar(&query, vector, &case.masked_text, filter).map(Some)
                    }
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

    async fn tenants(&self) -> Result<Vec<TenantId>, CaseStoreError> {
        Ok(self.read(Engine::tenants).await?.into_iter().collect())
    }

    async fn delete(&self, tenant: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError> {
        checks::deletion(filter)?;
        let filter = Box::new(engine_filter(tenant, filter));
        self.ask(|reply| Command::Delete { filter, reply }).await
    }

    async fn erase(&self, tenant: &TenantId, customer_id: &str) -> Result<Erasure, CaseStoreError> {
        checks::customer(customer_id)?;
        let filter = CaseFilter { customer_id: Some(customer_id.to_owned()), ..CaseFilter::default() };
        let of_customer = engine_filter(tenant, &filter);
        let case_ids = self.read(move |engine| engine.ids(&of_customer)).await?;
        self.delete(tenant, &filter).await?;
        let (tenant, customer_id, folder) = (tenant.clone(), customer_id.to_owned(), self.folder.clone());
        let records = self.records.clone();
        let kept = self.gate.run(move || {
            // Lines of two receipts must not mix.
            let _alone = records.lock().unwrap_or_else(PoisonError::into_inner);
            let snapshots = records::snapshots(&folder).map_err(CaseStoreError::Unavailable)?;
            let snapshots = snapshots.into_iter().map(|snapshot| snapshot.folder.display().to_string()).collect();
            let erasure = Erasure::new(&tenant, &customer_id, case_ids, snapshots);
            records::keep_receipt(&folder, &erasure).map_err(CaseStoreError::Unavailable)?;
            Ok(erasure)
        });
        kept.await
    }

    async fn probe(&self) -> Result<u64, CaseStoreError> {
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

fn closed() -> CaseStoreError {
    CaseStoreError::Unavailable("the store is closed".to_owned())
}
