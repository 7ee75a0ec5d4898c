//! `otklik.v1.CaseService`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::call::Call;
use super::convert::{self, check_item_count};
use super::status::{self, Faults};
use super::wire::v1::{self, upsert_cases_result};
use super::work;
use crate::cases::{Case, CaseStore, NewCase, SimilarQuery, SimilarTo, TenantId, UpsertOutcome};
use crate::config::Config;
use crate::feedback::Feedback;
use crate::tagging::{Lane, Tagged, Tagger};

/// Past feedback with its tags: kept, found, erased.
pub(super) struct CaseService {
    pub(super) config: Arc<Config>,
    pub(super) tagger: Arc<dyn Tagger>,
    pub(super) cases: Arc<dyn CaseStore>,
    pub(super) tenant: TenantId,
}

#[tonic::async_trait]
impl v1::case_service_server::CaseService for CaseService {
    async fn upsert_cases(
        &self,
        request: Request<v1::UpsertCasesRequest>,
    ) -> Result<Response<v1::UpsertCasesResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let outcome = self.upsert(message.items, call.due()).await;
        call.close(outcome.map(|results| v1::UpsertCasesResponse { results }))
    }

    async fn get_case(&self, request: Request<v1::GetCaseRequest>) -> Result<Response<v1::Case>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        call.close(self.get(&message.id).await)
    }

    async fn find_similar(
        &self,
        request: Request<v1::FindSimilarRequest>,
    ) -> Result<Response<v1::FindSimilarResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let outcome = self.find(message, call.due()).await;
        call.close(outcome.map(|cases| v1::FindSimilarResponse { cases }))
    }

    async fn correct_tags(&self, request: Request<v1::CorrectTagsRequest>) -> Result<Response<v1::Case>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        call.close(self.correct(message).await)
    }

    async fn list_for_review(
        &self,
        request: Request<v1::ListForReviewRequest>,
    ) -> Result<Response<v1::ListForReviewResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let outcome = self.list_review(message).await;
        call.close(outcome.map(|cases| v1::ListForReviewResponse { cases }))
    }

    async fn delete_cases(
        &self,
        request: Request<v1::DeleteCasesRequest>,
    ) -> Result<Response<v1::DeleteCasesResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let outcome = self.delete(message).await;
        call.close(outcome.map(|deleted_count| v1::DeleteCasesResponse { deleted_count }))
    }
}

impl CaseService {
    async fn upsert(
        &self,
        items: Vec<v1::UpsertCasesItem>,
        due: Instant,
    ) -> Result<Vec<v1::UpsertCasesResult>, Status> {
        check_item_count(items.len(), &self.config.limits)?;
        let checked = self.with_ids(items);
        let tagged = stream::iter(checked.into_iter().enumerate()).map(|(index, (id, feedback))| async move {
            let new_case = match feedback {
                Ok(feedback) => self.tag(feedback, index, due).await,
                Err(fault) => Err(fault),
            };
            (id, new_case)
        });
        let tagged: Vec<_> = tagged.buffered(self.config.server.batch_in_flight).collect().await;

        let sound: Vec<NewCase> = tagged.iter().filter_map(|(_, new_case)| new_case.as_ref().ok().cloned()).collect();
        let expected = sound.len();
        let outcomes = if sound.is_empty() {
            Vec::new()
        } else {
            self.cases.upsert(&self.tenant, sound).await.map_err(status::of_cases)?
        };
        if outcomes.len() != expected {
            return Err(status::internal("the case store answered for another number of cases than it was given"));
        }
        let stored = tagged.iter().filter_map(|(id, new_case)| new_case.as_ref().ok().map(|_| id)).zip(&outcomes);
        let replaced = stored.filter(|(_, outcome)| **outcome == UpsertOutcome::Replaced).map(|(id, _)| id.clone());
        self.learn_again(replaced.collect()).await;
        let mut outcomes = outcomes.into_iter();
        let results = tagged.into_iter().map(|(id, new_case)| {
            let stored = new_case.and_then(|new_case| match outcomes.next() {
                Some(outcome) => Ok(convert::stored_case(outcome, new_case.case.tags)),
                None => Err(status::internal("the case store answered for fewer cases than it was given")),
            });
            let result = match stored {
                Ok(stored) => upsert_cases_result::Result::Stored(stored),
                Err(error) => upsert_cases_result::Result::Error(status::to_message(&error)),
            };
            v1::UpsertCasesResult { id, result: Some(result) }
        });
        Ok(results.collect())
    }

    /// Checks each item, makes ids where there are none, and refuses an id that stands in an item before.
    fn with_ids(&self, items: Vec<v1::UpsertCasesItem>) -> Vec<(String, Result<Feedback, Status>)> {
        let mut seen = HashMap::new();
        let checked = items.into_iter().enumerate().map(|(index, item)| {
            let echoed = convert::echoed_id(item.feedback.as_ref(), &self.config.limits);
            let mut feedback =
                match convert::feedback(item.feedback, &format!("items[{index}].feedback"), &self.config.limits) {
                    Ok(feedback) => feedback,
                    Err(fault) => return (echoed, Err(fault)),
                };
            if feedback.id.is_empty() {
                feedback.id = Uuid::now_v7().to_string();
            }
            match seen.entry(feedback.id.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(index);
                    (feedback.id.clone(), Ok(feedback))
                }
                Entry::Occupied(first) => {
                    let problem = format!("must stand in one item only, and stands in items[{}] already", first.get());
                    (feedback.id, Err(Faults::one(format!("items[{index}].feedback.id"), problem)))
                }
            }
        });
        checked.collect()
    }

    async fn tag(&self, feedback: Feedback, index: usize, due: Instant) -> Result<NewCase, Status> {
        let path = format!("items[{index}].feedback.");
        let tagged = work::tag(&*self.tagger, feedback.clone(), &path, Lane::Bulk, due).await?;
        Ok(new_case(feedback, tagged))
    }

    async fn get(&self, id: &str) -> Result<v1::Case, Status> {
        let mut faults = Faults::default();
        convert::check_id(id, "id", &self.config.limits, &mut faults);
        faults.or(())?;
        self.cases.get(&self.tenant, id).await.map(v1::Case::from).map_err(status::of_cases)
    }

    async fn find(&self, message: v1::FindSimilarRequest, due: Instant) -> Result<Vec<v1::SimilarCase>, Status> {
        let (wanted, bounds) = convert::similar_search(message, &self.config.limits)?;
        let to = match wanted {
            convert::Wanted::CaseId(id) => SimilarTo::CaseId(id),
            convert::Wanted::Text(text) => {
                let feedback = Feedback::from_text(String::new(), text);
                SimilarTo::Vector(work::tag(&*self.tagger, feedback, "", Lane::Interactive, due).await?.vector)
            }
        };
        let convert::SimilarBounds { filter, limit, min_score } = bounds;
        let query = SimilarQuery { to, filter, limit, min_score };
        let found = self.cases.find_similar(&self.tenant, query).await.map_err(status::of_cases)?;
        Ok(found.into_iter().map(v1::SimilarCase::from).collect())
    }

    async fn delete(&self, message: v1::DeleteCasesRequest) -> Result<u64, Status> {
        let filter = convert::deletion(message, &self.config.limits)?;
        let corrected = self.corrected_ids(&filter).await?;
        let deleted = self.cases.delete(&self.tenant, &filter).await.map_err(status::of_cases)?;
        if !corrected.is_empty() {
            self.tagger.forget(corrected).await.map_err(|error| status::of_tagging(error, ""))?;
        }
        Ok(deleted)
    }
}

/// The case to keep: everything but the text, of which only the masked one stays.
fn new_case(feedback: Feedback, tagged: Tagged) -> NewCase {
    let case = Case {
        id: feedback.id,
        kind: feedback.kind,
        masked_text: tagged.tags.masked_text.clone(),
        channel: feedback.channel,
        touchpoint: feedback.touchpoint,
        product: feedback.product,
        partner: feedback.partner,
        customer_id: feedback.customer_id,
        score: feedback.score,
        occurred_at: feedback.occurred_at,
        stored_at: Timestamp::now(),
        tags: tagged.tags,
        correction: None,
        attributes: feedback.attributes,
    };
    NewCase { case, vector: tagged.vector }
}
