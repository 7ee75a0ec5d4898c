//! The points of one collection: read in parts that fit a message, written in batches that fit one.

use std::collections::{HashMap, VecDeque};

use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::{
    CountPoints, DeletePoints, Filter, GetPoints, PointStruct, PointsOperationResponse, PointsSelector,
    QueryBatchPoints, QueryPoints, ScrollPoints, UpdateMode, UpdateStatus, UpsertPoints, WithPayloadSelector,
    WithVectorsSelector,
};
use uuid::Uuid;

use super::calls::{self, CallFault, Calls};
use super::mapping::{self, MOST_POINTS, ReadPoint};
use crate::cases::point::{BRIEF, CASE, DENSE, Field, WORDS};

/// What is read of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    /// Its number alone.
    Nothing,
    /// The case.
    Case,
    /// The case and its unit vector.
    CaseAndVector,
    /// What ranking has to know, with the stems of the words.
    Brief,
    /// The same with the unit vector.
    BriefAndVector,
    /// Every field.
    Fields,
}

impl Parts {
    fn payload(self) -> WithPayloadSelector {
        let tenant = Field::Tenant.key();
        match self {
            Self::Nothing => false.into(),
            Self::Case | Self::CaseAndVector => vec![CASE, tenant].into(),
            Self::Brief | Self::BriefAndVector => BRIEF.into_iter().chain([tenant]).collect::<Vec<_>>().into(),
            Self::Fields => true.into(),
        }
    }

    fn vectors(self) -> WithVectorsSelector {
        match self {
            Self::Nothing | Self::Case | Self::Fields => false.into(),
            Self::CaseAndVector => vec![DENSE].into(),
            Self::Brief => vec![WORDS].into(),
            Self::BriefAndVector => vec![DENSE, WORDS].into(),
        }
    }
}

/// A collection of the server.
#[derive(Clone)]
pub(super) struct Points {
    calls: Calls,
    collection: String,
}

impl Points {
    pub(super) fn new(calls: Calls, collection: String) -> Self {
        Self { calls, collection }
    }

    /// Those of some points that exist.
    pub(super) async fn read(&self, points: &[Uuid], parts: Parts) -> Result<HashMap<Uuid, ReadPoint>, CallFault> {
        let mut found = HashMap::with_capacity(points.len());
        let mut rest: VecDeque<&[Uuid]> = points.chunks(MOST_POINTS).collect();
        while let Some(part) = rest.pop_front() {
            let request = GetPoints {
                collection_name: self.collection.clone(),
                ids: part.iter().copied().map(mapping::id).collect(),
                with_payload: Some(parts.payload()),
                with_vectors: Some(parts.vectors()),
                timeout: Some(self.calls.seconds()),
                ..GetPoints::default()
            };
            let answer = self
                .calls
                .run("read cases", request, |wire, request| async move { calls::points(wire).get(request).await });
            match answer.await {
                Ok(answer) => {
                    let read = answer.result.into_iter().filter_map(ReadPoint::new);
                    found.extend(read.map(|read| (read.point, read)));
                }
                Err(fault) if fault.is_too_long() && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    rest.push_front(second);
                    rest.push_front(first);
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(found)
    }

    /// A part of the points that a filter matches, at most `limit`, and the point that the next part begins with.
    pub(super) async fn page(
        &self,
        filter: &Filter,
        from: Option<Uuid>,
        limit: usize,
        parts: Parts,
    ) -> Result<(Vec<ReadPoint>, Option<Uuid>), CallFault> {
        let mut read = Vec::new();
        let mut next = from;
        let mut most = if parts == Parts::Nothing { limit } else { limit.min(MOST_POINTS) };
        loop {
            let wanted = most.min(limit.saturating_sub(read.len()));
            let request = ScrollPoints {
                collection_name: self.collection.clone(),
                filter: Some(filter.clone()),
                offset: next.map(mapping::id),
                limit: Some(u32::try_from(wanted).unwrap_or(u32::MAX)),
                with_payload: Some(parts.payload()),
                with_vectors: Some(parts.vectors()),
                timeout: Some(self.calls.seconds()),
                ..ScrollPoints::default()
            };
            let answer = self
                .calls
                .run("list cases", request, |wire, request| async move { calls::points(wire).scroll(request).await });
            match answer.await {
                Ok(answer) => {
                    read.extend(answer.result.into_iter().filter_map(ReadPoint::new));
                    next = mapping::uuid(answer.next_page_offset);
                    if next.is_none() || read.len() >= limit {
                        return Ok((read, next));
                    }
                }
                Err(fault) if fault.is_too_long() && most > 1 => most = wanted.div_ceil(2).min(most - 1),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// The points nearest to each query, nearest first, with their scores: one list a query.
    pub(super) async fn search(&self, queries: Vec<QueryPoints>) -> Result<Vec<Vec<(Uuid, f32)>>, CallFault> {
        let wanted = queries.len();
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let of_collection = |query: QueryPoints| QueryPoints { collection_name: self.collection.clone(), ..query };
        let request = QueryBatchPoints {
            collection_name: self.collection.clone(),
            query_points: queries.into_iter().map(of_collection).collect(),
            timeout: Some(self.calls.seconds()),
            ..QueryBatchPoints::default()
        };
        let answer = self
            .calls
            .run("search", request, |wire, request| async move { calls::points(wire).query_batch(request).await });
        let lists = answer.await?.result;
        if lists.len() != wanted {
            return Err(CallFault::answer("search", format!("{} lists for {wanted} queries", lists.len())));
        }
        let hits = |list: Vec<_>| list.into_iter().filter_map(scored).collect();
        Ok(lists.into_iter().map(|list| hits(list.result)).collect())
    }

    /// How many points a filter matches, exactly.
    pub(super) async fn count(&self, filter: Filter) -> Result<u64, CallFault> {
        self.counted(Some(filter), true).await
    }

    /// About how many points there are, as the server knows without counting them.
    pub(super) async fn estimate(&self) -> Result<u64, CallFault> {
        self.counted(None, false).await
    }

    async fn counted(&self, filter: Option<Filter>, exact: bool) -> Result<u64, CallFault> {
        let request = CountPoints {
            collection_name: self.collection.clone(),
            filter,
            exact: Some(exact),
            timeout: Some(self.calls.seconds()),
            ..CountPoints::default()
        };
        let answer = self
            .calls
            .run("count cases", request, |wire, request| async move { calls::points(wire).count(request).await });
        let result = answer.await?.result;
        result.map(|result| result.count).ok_or_else(|| CallFault::answer("count cases", "an answer without a count"))
    }

    /// Writes points, batch by batch, each once the one before is applied.
    pub(super) async fn write(&self, points: Vec<PointStruct>, mode: UpdateMode) -> Result<(), CallFault> {
        for batch in mapping::batches(points) {
            let request = UpsertPoints {
                collection_name: self.collection.clone(),
                wait: Some(true),
                points: batch,
                timeout: Some(self.calls.seconds()),
                update_mode: (mode != UpdateMode::Upsert).then_some(mode.into()),
                ..UpsertPoints::default()
            };
            let answer = self
                .calls
                .run("store cases", request, |wire, request| async move { calls::points(wire).upsert(request).await });
            applied("store cases", answer.await?)?;
        }
        Ok(())
    }

    /// Deletes what a filter matches.
    pub(super) async fn delete(&self, filter: Filter) -> Result<(), CallFault> {
        let request = DeletePoints {
            collection_name: self.collection.clone(),
            wait: Some(true),
            points: Some(PointsSelector { points_selector_one_of: Some(PointsSelectorOneOf::Filter(filter)) }),
            timeout: Some(self.calls.seconds()),
            ..DeletePoints::default()
        };
        let answer = self
            .calls
            .run("delete cases", request, |wire, request| async move { calls::points(wire).delete(request).await });
        applied("delete cases", answer.await?)
    }
}

fn scored(hit: qdrant_client::qdrant::ScoredPoint) -> Option<(Uuid, f32)> {
    Some((mapping::uuid(hit.id)?, hit.score))
}

/// Fails unless a write is applied; one that was only received may still be lost to a reader.
fn applied(action: &'static str, answer: PointsOperationResponse) -> Result<(), CallFault> {
    match answer.result.map(|result| result.status()) {
        Some(UpdateStatus::Completed) => Ok(()),
        status => {
            let status = status.map_or("nothing", |status| status.as_str_name());
            Err(CallFault::answer(action, format!("the server did not apply it in time and answers {status}")))
        }
    }
}
