//! From the collection that is served to one of another encoder or schema.
//!
//! Each page of the old collection is compared with what the new one has of it, and what differs is written; so copying again
//! changes nothing, and a migration that broke off goes on where it stood. What is no longer in the old collection is then deleted
//! from the new one, and the alias is changed.

use futures_util::future::BoxFuture;
use qdrant_client::qdrant::{Filter, PointStruct, UpdateMode};
use uuid::Uuid;

use super::calls::{CallFault, Calls};
use super::mapping::{self, MOST_POINTS, ReadPoint};
use super::options::QdrantOptions;
use super::points::{Parts, Points};
use super::schema::{self, Schema};
use crate::cases::plan;
use crate::cases::point::point_id;
use crate::cases::{CaseStoreError, NewCase, TenantId, VectoredCase};

/// How often the whole collection is compared, at most: a further time catches what was written while the time before went on.
const MOST_ROUNDS: usize = 3;

/// Computes the unit vectors of masked texts with the encoder that is migrated to: one of its dimension for each text, in their
/// order. An error ends the migration, which can be made again.
pub type Reembed<'a> = dyn Fn(Vec<String>) -> BoxFuture<'a, Result<Vec<Vec<f32>>, CaseStoreError>> + Send + Sync + 'a;

/// How a migration is made.
pub struct Migration<'a> {
    /// Computes the vectors of another encoder; `None` where the encoder stays the same.
    pub reembed: Option<&'a Reembed<'a>>,
    /// Hears how far it is, after every page.
    pub progress: &'a mut (dyn FnMut(MigrationProgress) + Send),
    /// Whether the old collection is deleted in the end.
    pub drop_old: bool,
}

/// How far a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationProgress {
    /// Cases that were looked at in this round.
    pub seen: u64,
    /// Cases in the old collection when the migration began.
    pub total: u64,
    /// Cases that were written to the new collection, of all rounds.
    pub copied: u64,
    /// The round, from 1. A first one that copied something is followed by another, to catch what was written meanwhile.
    pub round: usize,
}

/// What a migration came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The collection that was served before.
    pub from: String,
    /// The collection that is served now: the same, if there was nothing to do.
    pub to: String,
    /// Cases that were written to the new collection.
    pub copied: u64,
    /// Cases that an earlier try had copied and that are no longer in the old collection.
    pub removed: u64,
}

pub(super) async fn migrate(options: QdrantOptions, migration: Migration<'_>) -> Result<Migrated, CaseStoreError> {
    let Migration { reembed, progress, drop_old } = migration;
    let calls = Calls::new(&options)?;
    let schema = Schema::new(calls.clone(), options.clone());
    let to = schema::physical_name(&options);
    let Some(from) = schema.served().await? else {
        return Err(options.open_error("there is no such store on the server; opening it makes an empty one"));
    };
    schema.make(&to).await?;
    if from == to {
        return Ok(Migrated { from, to, copied: 0, removed: 0 });
    }
    let old = schema.describe(&from).await?;
    let Some(old_encoder) = old.and_then(|old| old.encoder_sha256) else {
        return Err(options.open_error(format!("the collection {from} does not say of which encoder its vectors are")));
    };
    let is_same_encoder = old_encoder.eq_ignore_ascii_case(&options.encoder_sha256);
    if !is_same_encoder && reembed.is_none() {
        return Err(options.open_error(format!(
            "the collection {from} holds vectors of the encoder {old_encoder}; those of another must be computed anew"
        )));
    }
    let copy = Copy {
        old: Points::new(calls.clone(), from.clone()),
        new: Points::new(calls, to.clone()),
        reembed: reembed.filter(|_| !is_same_encoder),
        dimension: options.dimension,
    };
    let total = copy.old.count(Filter::default()).await?;
    let mut copied = 0;
    for round in 1..=MOST_ROUNDS {
        let before = copied;
        let mut seen = 0;
        let mut next = None;
        loop {
            let (page, after) = copy.old.page(&Filter::default(), next, MOST_POINTS, Parts::CaseAndVector).await?;
            seen += page.len() as u64;
            copied += copy.page(page).await?;
            progress(MigrationProgress { seen, total, copied, round });
            match after {
                Some(after) => next = Some(after),
                None => break,
            }
        }
        if copied == before {
            break;
        }
    }
    let removed = copy.remove_what_is_gone().await?;
    schema.serve(&to, Some(&from)).await?;
    tracing::info!(from, to, copied, removed, "migrated the case store");
    if drop_old {
        schema.drop_collection(&from).await?;
    }
    Ok(Migrated { from, to, copied, removed })
}

/// Brings cases from one collection to another.
struct Copy<'a> {
    old: Points,
    new: Points,
    /// `None` where vectors stay as they are.
    reembed: Option<&'a Reembed<'a>>,
    dimension: usize,
}

impl Copy<'_> {
    /// Copies those of a page's cases that the new collection has not, or has otherwise; says how many.
    async fn page(&self, page: Vec<ReadPoint>) -> Result<u64, CaseStoreError> {
        let ids: Vec<Uuid> = page.iter().map(|read| read.point).collect();
        let there = self.new.read(&ids, Parts::Case).await?;
        let is_there =
            |read: &ReadPoint| there.get(&read.point).is_some_and(|there| there.case_json() == read.case_json());
        let missing: Vec<ReadPoint> = page.into_iter().filter(|read| !is_there(read)).collect();
        if missing.is_empty() {
            return Ok(0);
        }
        let reembeds = self.reembed.is_some();
        let cases = blocking(move || missing.into_iter().map(|read| case_of(read, reembeds)).collect()).await?;
        let cases: Vec<(TenantId, VectoredCase)> = cases;
        let vectors = match self.reembed {
            Some(reembed) => {
                Some(reembed(cases.iter().map(|(_, found)| found.case.masked_text.clone()).collect()).await?)
            }
            None => None,
        };
        let dimension = self.dimension;
        let points = blocking(move || points_of(cases, vectors, dimension)).await?;
        let count = points.len() as u64;
        self.new.write(points, UpdateMode::Upsert).await?;
        Ok(count)
    }

    /// Deletes from the new collection what the old one no longer has; says how many.
    async fn remove_what_is_gone(&self) -> Result<u64, CaseStoreError> {
        let mut removed = 0;
        let mut next = None;
        loop {
            let (page, after) = self.new.page(&Filter::default(), next, MOST_POINTS, Parts::Nothing).await?;
            let ids: Vec<Uuid> = page.iter().map(|read| read.point).collect();
            let there = self.old.read(&ids, Parts::Nothing).await?;
            let gone: Vec<Uuid> = ids.into_iter().filter(|id| !there.contains_key(id)).collect();
            if !gone.is_empty() {
                removed += gone.len() as u64;
                self.new.delete(mapping::only(gone)).await?;
            }
            match after {
                Some(after) => next = Some(after),
                None => return Ok(removed),
            }
        }
    }
}

/// The case of a point, whose it is, and its vector if that is to be kept.
fn case_of(read: ReadPoint, reembeds: bool) -> Result<(TenantId, VectoredCase), CaseStoreError> {
    let tenant = TenantId::new(read.tenant().ok_or_else(|| read.lacks("a tenant"))?);
    let case = read.case()?;
    if point_id(&tenant, &case.id) != read.point {
        return Err(read.lacks("the number of its case").into());
    }
    let lack = read.lacks("a vector");
    let vector = if reembeds { Vec::new() } else { read.dense.ok_or(lack)? };
    Ok((tenant, VectoredCase { case, vector }))
}

/// The points of cases, with other vectors where there are any.
fn points_of(
    cases: Vec<(TenantId, VectoredCase)>,
    vectors: Option<Vec<Vec<f32>>>,
    dimension: usize,
) -> Result<Vec<PointStruct>, CaseStoreError> {
    let count = cases.len();
    let mut vectors = match vectors {
        Some(vectors) if vectors.len() != count => {
            let problem = format!("{} vectors for {count} texts", vectors.len());
            return Err(CallFault::answer("compute vectors", problem).into());
        }
        vectors => vectors.map(Vec::into_iter),
    };
    let mut points = Vec::with_capacity(count);
    for (tenant, VectoredCase { case, vector }) in cases {
        let vector = vectors.as_mut().map_or(Some(vector), Iterator::next).unwrap_or_default();
        let stored = plan::stored_cases(&tenant, vec![NewCase { case, vector, request_id: None }], dimension)?;
        points.extend(stored.into_iter().map(mapping::point));
    }
    Ok(points)
}

/// Computes off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CaseStoreError> + Send + 'static,
) -> Result<T, CaseStoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(CaseStoreError::Unavailable(format!("a migration broke off: {error}"))))
}
