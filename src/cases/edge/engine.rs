//! The only file that calls the engine: Qdrant Edge, one shard in one folder.
//!
//! The engine panics where it can't go on (a flush that fails, a shard that is dropped while its disk is full); every call is
//! guarded, so that a broken engine is an error here and never the end of the process.
//!
//! Who may call what: [`Engine::apply`], [`Engine::flush`] and dropping belong to one thread. A flush takes two locks of the engine
//! without waiting and panics if it can't have them: that of the engine's log, which only an update takes, and that of the
//! list of segments, which reads only share. So reads may run beside a flush, updates may not.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use qdrant_edge::external::uuid::Uuid;
use qdrant_edge::{
    CountRequest, CreateIndex, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard, EdgeSparseVectorParams,
    EdgeVectorParams, FieldIndexOperations, Filter, HnswIndexConfig, Modifier, NamedQuery, OperationResult, PointId,
    PointInsertOperations, PointOperations, QueryEnum, Record, ScrollRequest, SearchRequest, UpdateOperation,
    VectorInternal, VectorStructInternal, WalOptions, WithPayloadInterface, WithVector,
};

use super::change::Change;
use super::mapping::{self, of_others, path};
use crate::cases::lexical;
use crate::cases::point::{self, BRIEF, CASE, DENSE, Field, WORDS};
use crate::cases::ranking::{self, Candidate, Fused};
use crate::cases::search::{MatchedBy, SearchMode, SimilarCase, SimilarCases, SimilarQuery};
use crate::cases::{Case, TenantId, VectoredCase};

/// Points in one update of the engine; bounds how much it holds in memory at once.
const UPSERT_CHUNK: usize = 256;
const DELETE_CHUNK: usize = 4_096;
/// Points that one page of a scan returns.
const SCAN_PAGE: usize = 10_000;
/// Tries to flush while the index is being built, and the time between them.
const FLUSH_TRIES: usize = 200;
const FLUSH_PAUSE: Duration = Duration::from_millis(5);
/// What the engine says when it panics because the index is being exchanged at the very moment of a flush.
const EXCHANGING: &str = "segment holder lock acquired";
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

/// Builds and merges indexes; says whether anything was done.
pub(super) type Optimiser = Box<dyn FnOnce() -> Result<bool, EngineFault> + Send>;

/// What the engine has to know of the vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Length of a vector.
    pub(super) dimension: usize,
    /// Size of the vectors of a part of the shard from which on an index is built for it, in kB.
    pub(super) index_from_kb: usize,
}

/// The shard that holds the cases of every tenant.
pub(super) struct Engine {
    /// `None` only while it is being dropped. Shared with the thread that builds the index.
    shard: Option<Arc<EdgeShard>>,
    folder: PathBuf,
}

impl Engine {
    /// Makes an empty shard in a new folder and writes it to disk.
    pub(super) fn create(folder: &Path, shape: Shape) -> Result<Self, EngineFault> {
        let action = "create the shard";
        fs::create_dir(folder).map_err(|error| EngineFault::new(action, error))?;
        let shard = guarded(action, || EdgeShard::new(folder, config(shape)))?;
        let engine = Self { shard: Some(Arc::new(shard)), folder: folder.to_owned() };
        engine.ensure_indexes()?;
        engine.flush()?;
        Ok(engine)
    }

    /// Loads the shard of a folder: what was flushed, and perhaps parts of what was not.
    pub(super) fn load(folder: &Path, shape: Shape) -> Result<Self, EngineFault> {
        let action = "load the shard";
        trim_log(folder).map_err(|error| EngineFault::new("trim the engine's log", error))?;
        let shard = guarded(action, || EdgeShard::load(folder, Some(config(shape))))?;
        let engine = Self { shard: Some(Arc::new(shard)), folder: folder.to_owned() };
        engine.ensure_indexes()?;
        Ok(engine)
    }

    fn shard(&self) -> Result<&EdgeShard, EngineFault> {
        self.shard.as_deref().ok_or_else(|| EngineFault::new("reach the shard", "it is closed"))
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
            if !present.contains_key(&path(field.key())) {
                let schema = Some(mapping::schema(field.index()));
                let create = CreateIndex { field_name: path(field.key()), field_schema: schema };
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
                    let points = cases.drain(..cases.len().min(UPSERT_CHUNK)).map(mapping::point).collect();
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
        let mut tries = 0;
        loop {
            let flushed = self.with("flush the shard", |shard| {
                shard.flush();
                Ok(())
            });
            match flushed {
                Err(fault) if fault.problem.contains(EXCHANGING) && tries < FLUSH_TRIES => {
                    tries += 1;
                    std::thread::sleep(FLUSH_PAUSE);
                }
                other => break other?,
            }
        }
        // The engine syncs its files; files that it made since the last flush are safe once their folders are synced too.
        sync_folders(&self.folder).map_err(|error| EngineFault::new("sync the folders of the shard", error))
    }

    /// What builds and merges indexes as far as it is worth it. Running it takes seconds to minutes, beside reads and writes.
    pub(super) fn optimiser(&self) -> Result<Optimiser, EngineFault> {
        let shard = self.shard.clone().ok_or_else(|| EngineFault::new("reach the shard", "it is closed"))?;
        Ok(Box::new(move || {
            let done = guarded("build the index", || shard.optimize());
            // Dropping the last hold of a shard flushes it, which may panic. What that leaves behind is in the journal.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(shard)));
            done
        }))
    }

    /// True if the engine's log has grown so much that the shard should be loaded again, which trims it.
    pub(super) fn log_is_long(&self) -> bool {
        closed_log_files(&self.folder).is_ok_and(|files| {
            files.iter().filter_map(|(_, path)| path.metadata().ok()).map(|file| file.len()).sum::<u64>()
                > LOG_LIMIT_BYTES
        })
    }

    /// The ids of the cases that a filter matches.
    pub(super) fn ids(&self, filter: &Filter) -> Result<Vec<String>, EngineFault> {
        let points = self.matching(filter)?;
        let mut ids = Vec::with_capacity(points.len());
        for chunk in points.chunks(SCAN_PAGE) {
            let records = self.retrieve(chunk, &BRIEF, None)?;
            let fields = records.iter().filter_map(|record| record.payload.as_ref());
            ids.extend(fields.map(|payload| point::brief(&payload.0).1));
        }
        Ok(ids)
    }

    /// The cases of those of some points that exist.
    pub(super) fn cases(&self, points: &[Uuid]) -> Result<HashMap<Uuid, Case>, EngineFault> {
        if points.is_empty() {
            return Ok(HashMap::new());
        }
        let records = self.retrieve(points, &[CASE], None)?;
        records
            .iter()
            .filter_map(|record| Some((uuid(record.id)?, record)))
            .map(|(id, record)| Ok((id, case(record)?)))
            .collect()
    }

    fn retrieve(&self, points: &[Uuid], fields: &[&str], vectors: Option<&[&str]>) -> Result<Vec<Record>, EngineFault> {
        let ids: Vec<PointId> = points.iter().copied().map(PointId::Uuid).collect();
        let fields = WithPayloadInterface::Fields(fields.iter().map(|field| path(field)).collect());
        let vectors = vectors.map(|names| WithVector::Selector(names.iter().map(|name| (*name).to_owned()).collect()));
        self.with("read cases", |shard| shard.retrieve(&ids, Some(fields), vectors))
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
            with_payload: Some(WithPayloadInterface::Fields(vec![path(CASE)])),
            with_vector: WithVector::Selector(vec![DENSE.to_owned()]),
            order_by: None,
        };
        let (records, next) = self.with("list cases", |shard| shard.scroll(request))?;
        let cases =
            records.into_iter().map(|record| Ok(VectoredCase { case: case(&record)?, vector: dense(record.vector)? }));
        Ok((cases.collect::<Result<_, _>>()?, next.and_then(uuid)))
    }

    /// The tenants that have cases: one after another, each found among the cases of those not known yet.
    pub(super) fn tenants(&self) -> Result<BTreeSet<TenantId>, EngineFault> {
        let mut known = BTreeSet::new();
        loop {
            let request = ScrollRequest {
                offset: None,
                limit: Some(1),
                filter: Some(of_others(&known)),
                with_payload: Some(WithPayloadInterface::Fields(vec![path(Field::Tenant.key())])),
                with_vector: WithVector::Bool(false),
                order_by: None,
            };
            let (records, _) = self.with("list tenants", |shard| shard.scroll(request))?;
            let Some(record) = records.into_iter().next() else { return Ok(known) };
            let tenant = record.payload.as_ref().and_then(|payload| point::tenant(&payload.0));
            let tenant = tenant.ok_or_else(|| incomplete("its tenant"))?;
            if !known.insert(tenant) {
                return Err(incomplete("another tenant than those left out"));
            }
        }
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
        Ok(self.cases(&[point])?.remove(&point))
    }

    /// The case of a point with its vector.
    pub(super) fn vectored(&self, point: Uuid) -> Result<Option<VectoredCase>, EngineFault> {
        let record = self.retrieve(&[point], &[CASE], Some(&[DENSE]))?.into_iter().next();
        record.map(|record| Ok(VectoredCase { case: case(&record)?, vector: dense(record.vector)? })).transpose()
    }

    /// The cases, with their vectors, of those of some points that exist.
    pub(super) fn vectored_cases(&self, points: &[Uuid]) -> Result<HashMap<Uuid, VectoredCase>, EngineFault> {
        let records = self.retrieve(points, &[CASE], Some(&[DENSE]))?;
        let read = records.into_iter().filter_map(|record| Some((uuid(record.id)?, record)));
        read.map(|(id, record)| Ok((id, VectoredCase { case: case(&record)?, vector: dense(record.vector)? })))
            .collect()
    }

    /// The cases most like a text, best first.
    pub(super) fn similar(
        &self,
        query: &SimilarQuery,
        vector: Vec<f32>,
        masked_text: &str,
        filter: Filter,
    ) -> Result<SimilarCases, EngineFault> {
        let length = ranking::list_length(query);
        let wanted = lexical::query(masked_text);
        let by_words = if query.mode == SearchMode::Meaning || wanted.indices.is_empty() {
            Vec::new()
        } else {
            self.nearest(mapping::words(wanted.clone()), WORDS, &filter, length)?
        };
        let by_meaning = if query.mode == SearchMode::Words {
            Vec::new()
        } else {
            self.nearest(VectorInternal::Dense(vector.clone()), DENSE, &filter, length)?
        };
        let ranking = ranking::rank(query, self.candidates(ranking::fuse(query, &by_meaning, &by_words), &vector)?);
        let points: Vec<Uuid> = ranking.hits.iter().map(|hit| hit.fused.point).collect();
        let mut cases = self.cases(&points)?;
        // A case that was deleted in the meantime is no hit.
        let hits = ranking.hits.into_iter().filter_map(|hit| {
            let case = cases.remove(&hit.fused.point)?;
            let words = lexical::matches(&case.masked_text, &wanted.indices);
            let Fused { score, meaning_rank, words_rank, .. } = hit.fused;
            let matched_by = MatchedBy { meaning_rank, words_rank, words };
            Some(SimilarCase {
                case,
                score: hit.cosine,
                rank_score: score,
                matched_by,
                duplicate_ids: hit.duplicate_ids,
            })
        });
        Ok(SimilarCases { hits: hits.collect(), outcomes: ranking.outcomes, considered: ranking.considered })
    }

    /// The points nearest to a vector, nearest first.
    fn nearest(
        &self,
        vector: VectorInternal,
        name: &str,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<(Uuid, f32)>, EngineFault> {
        let request = SearchRequest {
            query: QueryEnum::Nearest(NamedQuery::new(vector, name)),
            filter: Some(filter.clone()),
            params: None,
            limit,
            offset: 0,
            with_payload: Some(WithPayloadInterface::Bool(false)),
            with_vector: None,
            score_threshold: None,
        };
        let hits = self.with("search", |shard| shard.search(request))?;
        Ok(hits.into_iter().filter_map(|hit| Some((uuid(hit.id)?, hit.score))).collect())
    }

    /// What ranking has to know of each fused point, in their order.
    fn candidates(&self, fused: Vec<Fused>, vector: &[f32]) -> Result<Vec<Candidate>, EngineFault> {
        let points: Vec<Uuid> = fused.iter().map(|fused| fused.point).collect();
        let records = self.retrieve(&points, &BRIEF, Some(&[DENSE, WORDS]))?;
        let mut records: HashMap<Uuid, Record> =
            records.into_iter().filter_map(|record| Some((uuid(record.id)?, record))).collect();
        let candidates = fused.into_iter().filter_map(|fused| Some((fused, records.remove(&fused.point)?)));
        candidates
            .map(|(fused, record)| {
                let fields = record.payload.as_ref().map(|payload| &payload.0);
                let (brief, id) = fields.map(point::brief).ok_or_else(|| incomplete("its fields"))?;
                let mut vectors = named(record.vector)?;
                let stems = match vectors.remove(WORDS) {
                    Some(VectorInternal::Sparse(words)) => words.indices,
                    // A text without words has none.
                    _ => Vec::new(),
                };
                let cosine = match (fused.cosine, vectors.remove(DENSE)) {
                    (Some(cosine), _) => cosine,
                    (None, Some(VectorInternal::Dense(own))) => ranking::cosine(vector, &own),
                    (None, _) => return Err(incomplete("its vector")),
                };
                Ok(Candidate { fused, brief, id, cosine, stems })
            })
            .collect()
    }

    /// How many points a filter matches, exactly.
    pub(super) fn count(&self, filter: Filter) -> Result<u64, EngineFault> {
        let request = CountRequest { filter: Some(filter), exact: true };
        self.with("count cases", |shard| shard.count(request)).map(|count| count as u64)
    }

    /// About how many points there are; fails if the engine does not answer.
    pub(super) fn probe(&self) -> Result<u64, EngineFault> {
        self.with("ask the shard for its state", |shard| Ok(shard.info())).map(|info| info.points_count as u64)
    }
}

/// A shard of any format, to be read once.
pub(super) struct OldShard(Option<EdgeShard>);

impl OldShard {
    pub(super) fn load(folder: &Path) -> Result<Self, EngineFault> {
        Ok(Self(Some(guarded("load the shard", || EdgeShard::load(folder, None))?)))
    }

    fn with<T>(&self, call: impl FnOnce(&EdgeShard) -> OperationResult<T>) -> Result<T, EngineFault> {
        let shard = self.0.as_ref().ok_or_else(|| EngineFault::new("reach the shard", "it is closed"))?;
        guarded("read the shard", || call(shard))
    }

    /// How many cases it has.
    pub(super) fn count(&self) -> Result<u64, EngineFault> {
        self.with(|shard| shard.count(CountRequest { filter: None, exact: true })).map(|count| count as u64)
    }

    /// A part of its cases, and where the next begins.
    #[expect(clippy::type_complexity, reason = "a list and a place, taken apart at once")]
    pub(super) fn page(
        &self,
        from: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<(TenantId, Case, Vec<f32>)>, Option<Uuid>), EngineFault> {
        let request = ScrollRequest {
            offset: from.map(PointId::Uuid),
            limit: Some(limit),
            filter: None,
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: WithVector::Selector(vec![DENSE.to_owned()]),
            order_by: None,
        };
        let (records, next) = self.with(|shard| shard.scroll(request))?;
        let cases = records.into_iter().map(|record| {
            let tenant = record.payload.as_ref().and_then(|payload| point::tenant(&payload.0));
            let tenant = tenant.ok_or_else(|| incomplete("its tenant"))?;
            Ok((tenant, case(&record)?, dense(record.vector)?))
        });
        Ok((cases.collect::<Result<_, _>>()?, next.and_then(uuid)))
    }
}

impl Drop for OldShard {
    fn drop(&mut self) {
        let shard = self.0.take();
        // Dropping a shard flushes it, which may panic; nothing was written to this one.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(shard)));
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

fn config(Shape { dimension, index_from_kb }: Shape) -> EdgeConfig {
    let wal_options = WalOptions { segment_capacity: LOG_FILE_BYTES, ..WalOptions::default() };
    // The index is built by one thread: what is being served goes first.
    let hnsw = HnswIndexConfig { max_indexing_threads: 1, ..HnswIndexConfig::default() };
    let optimizers =
        EdgeOptimizersConfig { indexing_threshold: Some(index_from_kb), ..EdgeOptimizersConfig::default() };
    EdgeConfig::builder()
        .vector(DENSE, EdgeVectorParams::builder(dimension, Distance::Cosine).on_disk(true).build())
        .sparse_vector(WORDS, EdgeSparseVectorParams::builder().modifier(Modifier::Idf).on_disk(true).build())
        .on_disk_payload(true)
        .hnsw_config(hnsw)
        .optimizers(optimizers)
        .wal_options(wal_options)
        .build()
}

fn incomplete(lack: &str) -> EngineFault {
    EngineFault::new("read a case", format!("a point without {lack}"))
}

fn case(record: &Record) -> Result<Case, EngineFault> {
    let fields = record.payload.as_ref().map(|payload| &payload.0).ok_or_else(|| incomplete("its case"))?;
    point::case(fields).map_err(|problem| EngineFault::new("read a case", problem))
}

fn named(vector: Option<VectorStructInternal>) -> Result<HashMap<String, VectorInternal>, EngineFault> {
    match vector {
        Some(VectorStructInternal::Named(vectors)) => Ok(vectors),
        _ => Err(incomplete("its vectors")),
    }
}

fn dense(vector: Option<VectorStructInternal>) -> Result<Vec<f32>, EngineFault> {
    match named(vector)?.remove(DENSE) {
        Some(VectorInternal::Dense(dense)) => Ok(dense),
        _ => Err(incomplete("its vector")),
    }
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

/// Syncs a folder and those in it. One that goes while this runs is of a part of the index that has just been replaced.
fn sync_folders(folder: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let inside =
            entry.file_type().and_then(|kind| if kind.is_dir() { sync_folders(&entry.path()) } else { Ok(()) });
        gone(inside)?;
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::edge::change::StoredCase;
    use crate::cases::edge::mapping::engine_filter;
    use crate::cases::edge::sample;
    use crate::cases::{CaseFilter, NewCase, TenantId};

    const SHAPE: Shape = Shape { dimension: 2, index_from_kb: 10_000 };

    #[test]
    fn loading_trims_the_log_and_later_writes_still_count_as_later() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("shard");
        let tenant = TenantId::default();
        let long_text = "x".repeat(1 << 20);
        let upsert = |id: usize, text: &str| {
            let mut case = sample::case(&id.to_string());
            case.masked_text = text.to_owned();
            Change::Upsert(vec![
                StoredCase::new(&tenant, NewCase { case, vector: vec![1.0, 0.0], request_id: None }).unwrap(),
            ])
        };
        let engine = Engine::create(&folder, SHAPE).unwrap();
        for id in 0..30 {
            engine.apply(upsert(id, &long_text)).unwrap();
        }
        engine.flush().unwrap();
        assert!(closed_log_files(&folder).unwrap().len() >= 3);
        drop(engine);

        for round in 0..3 {
            let engine = Engine::load(&folder, SHAPE).unwrap();
            assert_eq!(closed_log_files(&folder).unwrap().len(), 1);
            assert_eq!(engine.count(engine_filter(&tenant, &CaseFilter::default())).unwrap(), 30);
            let text = format!("round {round}");
            engine.apply(upsert(7, &text)).unwrap();
            let stored = engine.case(point::point_id(&tenant, "7")).unwrap().unwrap();
            assert_eq!(stored.masked_text, text);
        }
    }

    #[test]
    fn a_panic_of_the_engine_is_a_fault() {
        let fault = guarded::<()>("do it", || panic!("no {}", "way")).unwrap_err();
        assert_eq!(fault.to_string(), "could not do it: no way");
    }
}
