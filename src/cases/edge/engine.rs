//! The only file that calls the engine: Qdrant Edge, one shard in one folder.
//!
//! The engine panics where it can't go on (a flush that fails, a shard that is dropped while its disk is full); every call is
//! guarded, so that a broken engine is an error here and never the end of the process.
//!
//! Who may call what: [`Engine::apply`], [`Engine::flush`] and dropping belong to one thread. A flush takes two locks of the engine
//! without waiting and panics if it can't have them: that of the engine's log, which only an update takes, and that of the
//! list of segments, which reads only share. So reads may run beside a flush, updates may not.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use qdrant_edge::external::uuid::Uuid;
use qdrant_edge::{
    CountRequest, CreateIndex, Distance, EdgeConfig, EdgeShard, EdgeVectorParams, FieldIndexOperations, Filter,
    NamedQuery, OperationResult, PointId, PointInsertOperations, PointOperations, QueryEnum, ScrollRequest,
    SearchRequest, UpdateOperation, VectorInternal, WalOptions, WithPayloadInterface, WithVector,
};

use super::change::Change;
use super::payload::{self, DENSE, Field};
use crate::cases::{Case, Correction, SimilarCase, VectoredCase};

/// Points in one update of the engine; bounds how much it holds in memory at once.
const UPSERT_CHUNK: usize = 256;
const DELETE_CHUNK: usize = 4_096;
/// Points that one page of a scan returns.
const SCAN_PAGE: usize = 10_000;
/// Size of one file of the engine's log, in bytes.
const LOG_FILE_BYTES: usize = 8 << 20;
/// Size at which the engine's log is worth cutting, in bytes.
const LOG_LIMIT_BYTES: u64 = 256 << 20;

/// The engine failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {action}: {problem}")]
pub(super) struct EngineFault {
    action: &'static str,
    problem: String,
}

impl EngineFault {
    pub(super) fn new(action: &'static str, problem: impl Display) -> Self {
        Self { action, problem: problem.to_string() }
    }
}

/// The shard that holds the cases of every tenant.
pub(super) struct Engine {
    /// `None` only while it is being dropped.
    shard: Option<EdgeShard>,
    folder: PathBuf,
}

impl Engine {
    /// Makes an empty shard in a new folder and writes it to disk.
    pub(super) fn create(folder: &Path, dimension: usize) -> Result<Self, EngineFault> {
        let action = "create the shard";
        fs::create_dir(folder).map_err(|error| EngineFault::new(action, error))?;
        let shard = guarded(action, || EdgeShard::new(folder, config(dimension)))?;
        let engine = Self { shard: Some(shard), folder: folder.to_owned() };
        engine.ensure_indexes()?;
        engine.flush()?;
        Ok(engine)
    }

    /// Loads the shard of a folder: what was flushed, and perhaps parts of what was not.
    pub(super) fn load(folder: &Path, dimension: usize) -> Result<Self, EngineFault> {
        let action = "load the shard";
        trim_log(folder).map_err(|error| EngineFault::new("trim the engine's log", error))?;
        let shard = guarded(action, || EdgeShard::load(folder, Some(config(dimension))))?;
        let engine = Self { shard: Some(shard), folder: folder.to_owned() };
        engine.ensure_indexes()?;
        Ok(engine)
    }

    fn shard(&self) -> Result<&EdgeShard, EngineFault> {
        self.shard.as_ref().ok_or_else(|| EngineFault::new("reach the shard", "it is closed"))
    }

    fn with<T>(
        &self,
        action: &'static str,
        call: impl FnOnce(&EdgeShard) -> OperationResult<T>,
    ) -> Result<T, EngineFault> {
        let shard = self.shard()?;
        guarded(action, || call(shard))
    }

    fn ensure_indexes(&self) -> Result<(), EngineFault> {
        let present = self.with("list the payload indexes", |shard| Ok(shard.info().payload_schema))?;
        for field in Field::ALL {
            if !present.contains_key(&field.path()) {
                let create = CreateIndex { field_name: field.path(), field_schema: Some(field.schema()) };
                let operation = UpdateOperation::FieldIndexOperation(FieldIndexOperations::CreateIndex(create));
                self.with("create a payload index", |shard| shard.update(operation))?;
            }
        }
        Ok(())
    }

    /// Applies a write; repeating it changes nothing.
    pub(super) fn apply(&self, change: Change) -> Result<(), EngineFault> {
        match change {
            Change::Upsert(mut cases) => {
                while !cases.is_empty() {
                    let points = cases.drain(..cases.len().min(UPSERT_CHUNK)).map(payload::point).collect();
                    let upsert = PointOperations::UpsertPoints(PointInsertOperations::PointsList(points));
                    self.with("store cases", |shard| shard.update(UpdateOperation::PointOperation(upsert)))?;
                }
            }
            Change::Delete(points) => {
                for chunk in points.chunks(DELETE_CHUNK) {
                    let delete =
                        PointOperations::DeletePoints { ids: chunk.iter().copied().map(PointId::Uuid).collect() };
                    self.with("delete cases", |shard| shard.update(UpdateOperation::PointOperation(delete)))?;
                }
            }
        }
        Ok(())
    }

    /// Writes everything that was applied to disk, with fsync.
    pub(super) fn flush(&self) -> Result<(), EngineFault> {
        self.with("flush the shard", |shard| {
            shard.flush();
            Ok(())
        })?;
        // The engine syncs its files; files that it made since the last flush are safe once their folders are synced too.
        sync_folders(&self.folder).map_err(|error| EngineFault::new("sync the folders of the shard", error))
    }

    /// True if the engine's log has grown so much that the shard should be loaded again, which trims it.
    pub(super) fn log_is_long(&self) -> bool {
        closed_log_files(&self.folder).is_ok_and(|files| {
            files.iter().filter_map(|(_, path)| path.metadata().ok()).map(|file| file.len()).sum::<u64>()
                > LOG_LIMIT_BYTES
        })
    }

    /// Those of some points that exist.
    pub(super) fn existing(&self, points: &[Uuid]) -> Result<HashSet<Uuid>, EngineFault> {
        let ids: Vec<PointId> = points.iter().copied().map(PointId::Uuid).collect();
        let nothing = Some(WithPayloadInterface::Bool(false));
        let records = self.with("look up cases", |shard| shard.retrieve(&ids, nothing, None))?;
        Ok(records.into_iter().filter_map(|record| uuid(record.id)).collect())
    }

    /// What persons said of some points, where they did.
    pub(super) fn corrections(&self, points: &[Uuid]) -> Result<HashMap<Uuid, Correction>, EngineFault> {
        if points.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<PointId> = points.iter().copied().map(PointId::Uuid).collect();
        let fields = Some(WithPayloadInterface::Fields(vec![Field::Corrected.path(), payload::case_path()]));
        let records = self.with("read corrections", |shard| shard.retrieve(&ids, fields, None))?;
        let mut corrections = HashMap::new();
        for record in records.iter().filter(|record| payload::is_corrected(record.payload.as_ref())) {
            let correction = payload::case(record.payload.as_ref())?.correction;
            if let (Some(point), Some(correction)) = (uuid(record.id), correction) {
                corrections.insert(point, correction);
            }
        }
        Ok(corrections)
    }

    /// A part of the cases that a filter matches, with their vectors, and the point that the next part begins with.
    pub(super) fn page(
        &self,
        filter: Filter,
        from: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<VectoredCase>, Option<Uuid>), EngineFault> {
        let request = ScrollRequest {
            offset: from.map(PointId::Uuid),
            limit: Some(limit),
            filter: Some(filter),
            with_payload: Some(WithPayloadInterface::Fields(vec![payload::case_path()])),
            with_vector: WithVector::Selector(vec![DENSE.to_owned()]),
            order_by: None,
        };
        let (records, next) = self.with("list cases", |shard| shard.scroll(request))?;
        let cases = records.into_iter().map(|record| {
            let case = payload::case(record.payload.as_ref())?;
            Ok(VectoredCase { case, vector: payload::dense(record.vector)? })
        });
        Ok((cases.collect::<Result<_, _>>()?, next.and_then(uuid)))
    }

    /// The points that a filter matches.
    pub(super) fn matching(&self, filter: &Filter) -> Result<Vec<Uuid>, EngineFault> {
        let mut found = Vec::new();
        let mut offset = None;
        loop {
            let request = ScrollRequest {
                offset,
                limit: Some(SCAN_PAGE),
                filter: Some(filter.clone()),
                with_payload: Some(WithPayloadInterface::Bool(false)),
                with_vector: WithVector::Bool(false),
                order_by: None,
            };
            let (records, next) = self.with("list cases", |shard| shard.scroll(request))?;
            found.extend(records.into_iter().filter_map(|record| uuid(record.id)));
            match next {
                Some(next) => offset = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// The case of a point.
    pub(super) fn case(&self, point: Uuid) -> Result<Option<Case>, EngineFault> {
        let case_only = Some(WithPayloadInterface::Fields(vec![payload::case_path()]));
        let records = self.with("read a case", |shard| shard.retrieve(&[PointId::Uuid(point)], case_only, None))?;
        records.first().map(|record| payload::case(record.payload.as_ref())).transpose()
    }

    /// The vector of a point.
    pub(super) fn vector(&self, point: Uuid) -> Result<Option<Vec<f32>>, EngineFault> {
        let nothing = Some(WithPayloadInterface::Bool(false));
        let vector = Some(WithVector::Selector(vec![DENSE.to_owned()]));
        let records = self.with("read a vector", |shard| shard.retrieve(&[PointId::Uuid(point)], nothing, vector))?;
        records.into_iter().next().map(|record| payload::dense(record.vector)).transpose()
    }

    /// The cases nearest to a vector, nearest first.
    pub(super) fn similar(
        &self,
        vector: Vec<f32>,
        filter: Filter,
        limit: usize,
        min_score: Option<f32>,
    ) -> Result<Vec<SimilarCase>, EngineFault> {
        let request = SearchRequest {
            query: QueryEnum::Nearest(NamedQuery::new(VectorInternal::Dense(vector), DENSE)),
            filter: Some(filter),
            params: None,
            limit,
            offset: 0,
            with_payload: Some(WithPayloadInterface::Fields(vec![payload::case_path()])),
            with_vector: None,
            score_threshold: min_score,
        };
        let hits = self.with("search", |shard| shard.search(request))?;
        hits.into_iter()
            .map(|hit| {
                let case = payload::case(hit.payload.as_ref())?;
                // Rounding may carry a cosine a little past its ends.
                Ok(SimilarCase { case, score: hit.score.clamp(-1.0, 1.0) })
            })
            .collect()
    }

    /// How many points a filter matches, exactly.
    pub(super) fn count(&self, filter: Filter) -> Result<u64, EngineFault> {
        let request = CountRequest { filter: Some(filter), exact: true };
        self.with("count cases", |shard| shard.count(request)).map(|count| count as u64)
    }

    /// Fails if the engine does not answer.
    pub(super) fn probe(&self) -> Result<(), EngineFault> {
        self.with("ask the shard for its state", |shard| Ok(shard.info())).map(|_| ())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Dropping a shard flushes it, which may panic. What that leaves behind is in the journal.
        let shard = self.shard.take();
        if catch_unwind(AssertUnwindSafe(|| drop(shard))).is_err() {
            tracing::error!(folder = %self.folder.display(), "the shard could not be flushed when it was closed");
        }
    }
}

fn config(dimension: usize) -> EdgeConfig {
    let wal_options = WalOptions { segment_capacity: LOG_FILE_BYTES, ..WalOptions::default() };
    EdgeConfig::builder()
        .vector(DENSE, EdgeVectorParams::builder(dimension, Distance::Cosine).on_disk(true).build())
        .on_disk_payload(true)
        .wal_options(wal_options)
        .build()
}

fn uuid(id: PointId) -> Option<Uuid> {
    match id {
        PointId::Uuid(uuid) => Some(uuid),
        PointId::NumId(_) => None,
    }
}

/// Runs a call of the engine; its error and its panic are both a fault.
fn guarded<T>(action: &'static str, call: impl FnOnce() -> OperationResult<T>) -> Result<T, EngineFault> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| EngineFault::new(action, error)),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(EngineFault::new(action, message.unwrap_or("the engine panicked")))
        }
    }
}

/// Deletes the files of the engine's log that it never reads again. The engine appends to its log for ever and replays nothing
/// of it; the newest closed file stays, because the numbering of operations goes on from it.
fn trim_log(folder: &Path) -> io::Result<()> {
    let files = closed_log_files(folder)?;
    for (_, path) in files.iter().rev().skip(1).rev() {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// The closed files of the engine's log with the number of their first operation, oldest first.
fn closed_log_files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder.join("wal"))? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(start) = name.to_str().and_then(|name| name.strip_prefix("closed-")?.parse().ok()) {
            files.push((start, entry.path()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::edge::change::StoredCase;
    use crate::cases::edge::filter::engine_filter;
    use crate::cases::edge::sample;
    use crate::cases::{CaseFilter, NewCase, TenantId};

    #[test]
    fn loading_trims_the_log_and_later_writes_still_count_as_later() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("shard");
        let tenant = TenantId::default();
        let long_text = "x".repeat(1 << 20);
        let upsert = |id: usize, text: &str| {
            let mut case = sample::case(&id.to_string());
            case.masked_text = text.to_owned();
            Change::Upsert(vec![StoredCase::new(&tenant, NewCase { case, vector: vec![1.0, 0.0] }).unwrap()])
        };
        let engine = Engine::create(&folder, 2).unwrap();
        for id in 0..30 {
            engine.apply(upsert(id, &long_text)).unwrap();
        }
        engine.flush().unwrap();
        assert!(closed_log_files(&folder).unwrap().len() >= 3);
        drop(engine);

        for round in 0..3 {
            let engine = Engine::load(&folder, 2).unwrap();
            assert_eq!(closed_log_files(&folder).unwrap().len(), 1);
            assert_eq!(engine.count(engine_filter(&tenant, &CaseFilter::default())).unwrap(), 30);
            let text = format!("round {round}");
            engine.apply(upsert(7, &text)).unwrap();
            let stored = engine.case(payload::point_id(&tenant, "7")).unwrap().unwrap();
            assert_eq!(stored.masked_text, text);
        }
    }

    #[test]
    fn a_panic_of_the_engine_is_a_fault() {
        let fault = guarded::<()>("do it", || panic!("no {}", "way")).unwrap_err();
        assert_eq!(fault.to_string(), "could not do it: no way");
    }
}
