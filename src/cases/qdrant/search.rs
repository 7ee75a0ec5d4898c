//! Finding similar cases: two lists in one round trip, what ranking has to know of the best in a second, their cases in a third.

use std::collections::HashMap;

use futures_util::future::try_join;
use qdrant_client::qdrant::Filter;
use uuid::Uuid;

use super::Inner;
use super::mapping::{self, ReadPoint, leaving_out, server_filter};
use super::points::Parts;
use crate::cases::lexical::{self, SparseVector};
use crate::cases::point::{self, point_id};
use crate::cases::ranking::{self, Candidate, Fused, Ranking};
use crate::cases::search::{MatchedBy, SearchMode, SimilarCase, SimilarCases, SimilarQuery, SimilarTo};
use crate::cases::{Case, CaseStoreError, TenantId, VectoredCase};

impl Inner {
    pub(super) async fn find_similar(
        &self,
        tenant: &TenantId,
        query: SimilarQuery,
    ) -> Result<SimilarCases, CaseStoreError> {
        let filter = server_filter(tenant, &query.filter);
        match query.to.clone() {
            SimilarTo::Text { vector, masked_text } => self.similar(tenant, query, vector, masked_text, filter).await,
            SimilarTo::CaseId(id) => match self.vectored(tenant, point_id(tenant, &id)).await? {
                Some(VectoredCase { case, vector }) => {
                    let filter = leaving_out(filter, tenant, &id);
                    self.similar(tenant, query, vector, case.masked_text, filter).await
                }
                None => Err(CaseStoreError::NotFound { id }),
            },
        }
    }

    /// The cases most like a text, best first.
    async fn similar(
        &self,
        tenant: &TenantId,
        query: SimilarQuery,
        vector: Vec<f32>,
        masked_text: String,
        filter: Filter,
    ) -> Result<SimilarCases, CaseStoreError> {
        let wanted = self.gate.run(move || Ok(lexical::query(&masked_text))).await?;
        let (by_meaning, by_words) = self.lists(&query, &vector, &wanted, filter).await?;
        let fuse = move || {
            let fused = ranking::fuse(&query, &by_meaning, &by_words);
            Ok((query, fused))
        };
        let (query, fused) = self.gate.run(fuse).await?;
        let read = self.briefs(tenant, &fused).await?;
        let ranking = self.gate.run(move || Ok(ranking::rank(&query, candidates(fused, read, &vector)?))).await?;
        let points: Vec<Uuid> = ranking.hits.iter().map(|hit| hit.fused.point).collect();
        let cases = self.cases(tenant, &points).await?;
        self.gate.run(move || Ok(found(ranking, cases, &wanted))).await
    }

    /// The nearest by meaning and the best by words, best first; none of what the query does not ask for.
    async fn lists(
        &self,
        query: &SimilarQuery,
        vector: &[f32],
        wanted: &SparseVector,
        filter: Filter,
    ) -> Result<(Vec<(Uuid, f32)>, Vec<(Uuid, f32)>), CaseStoreError> {
        let length = ranking::list_length(query);
        let has_meaning = query.mode != SearchMode::Words;
        let has_words = query.mode != SearchMode::Meaning && !wanted.indices.is_empty();
        let mut queries = Vec::with_capacity(2);
        if has_meaning {
            queries.push(mapping::by_meaning(vector.to_vec(), filter.clone(), length, self.options.quantised));
        }
        if has_words {
            queries.push(mapping::by_words(wanted.clone(), filter, length));
        }
        let mut lists = self.points.search(queries).await?.into_iter();
        let by_meaning = if has_meaning { lists.next() } else { None };
        let by_words = if has_words { lists.next() } else { None };
        Ok((by_meaning.unwrap_or_default(), by_words.unwrap_or_default()))
    }

    /// What ranking has to know of each fused point; the vector only where the cosine is not known yet.
    async fn briefs(&self, tenant: &TenantId, fused: &[Fused]) -> Result<HashMap<Uuid, ReadPoint>, CaseStoreError> {
        let (known, unknown): (Vec<&Fused>, Vec<&Fused>) = fused.iter().partition(|fused| fused.cosine.is_some());
        let points = |fused: Vec<&Fused>| fused.into_iter().map(|fused| fused.point).collect::<Vec<Uuid>>();
        let (known, unknown) = (points(known), points(unknown));
        let (mut read, more) =
            try_join(self.points.read(&known, Parts::Brief), self.points.read(&unknown, Parts::BriefAndVector)).await?;
        read.extend(more);
        read.retain(|_, point| point.is_of(tenant));
        Ok(read)
    }
}

/// The fused points with what ranking has to know of them, in their order. A case that was deleted in the meantime is none.
fn candidates(
    fused: Vec<Fused>,
    mut read: HashMap<Uuid, ReadPoint>,
    vector: &[f32],
) -> Result<Vec<Candidate>, CaseStoreError> {
    let candidates = fused.into_iter().filter_map(|fused| Some((fused, read.remove(&fused.point)?)));
    candidates
        .map(|(fused, read)| {
            let (brief, id) = point::brief(&read.fields);
            let cosine = match (fused.cosine, &read.dense) {
                (Some(cosine), _) => cosine,
                (None, Some(own)) => ranking::cosine(vector, own),
                (None, None) => return Err(read.lacks("a vector").into()),
            };
            Ok(Candidate { fused, brief, id, cosine, stems: read.stems })
        })
        .collect()
}

fn found(ranking: Ranking, mut cases: HashMap<Uuid, Case>, wanted: &SparseVector) -> SimilarCases {
    // A case that was deleted in the meantime is no hit.
    let hits = ranking.hits.into_iter().filter_map(|hit| {
        let case = cases.remove(&hit.fused.point)?;
        let words = lexical::matches(&case.masked_text, &wanted.indices);
        let Fused { score, meaning_rank, words_rank, .. } = hit.fused;
        let matched_by = MatchedBy { meaning_rank, words_rank, words };
        Some(SimilarCase { case, score: hit.cosine, rank_score: score, matched_by, duplicate_ids: hit.duplicate_ids })
    });
    SimilarCases { hits: hits.collect(), outcomes: ranking.outcomes, considered: ranking.considered }
}
