//! `otklik.v1.CaseService`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::account::Account;
use super::call::{Acted, Call, Touched};
use super::convert::{self, check_item_count};
use super::readiness::Ready;
use super::status::{self, Faults};
use super::wire::v1::{self, upsert_cases_result};
use super::work;
use crate::cases::seal::Sealer;
use crate::cases::{
    Amendment, Case, CaseLink, CaseStore, CaseStoreError, NewCase, Outcome, SimilarQuery, SimilarTo, UpsertOutcome,
};
use crate::config::Config;
use crate::feedback::Feedback;
use crate::requests::AnsweredRequests;
use crate::tagging::{Lane, Tagged, Tagger};
use crate::tags::TopicId;

/// Past feedback with its tags: kept, found, erased.
pub(super) struct CaseService {
    pub(super) config: Arc<Config>,
    pub(super) tagger: Arc<dyn Tagger>,
    pub(super) cases: Arc<dyn CaseStore>,
    /// Calls that were answered.
    pub(super) requests: Arc<AnsweredRequests>,
    /// Present if originals are kept.
    pub(super) sealer: Option<Arc<Sealer>>,
    /// Whether the store answers.
    pub(super) ready: watch::Receiver<Ready>,
}

#[tonic::async_trait]
impl v1::case_service_server::CaseService for CaseService {
    async fn upsert_cases(
        &self,
        request: Request<v1::UpsertCasesRequest>,
    ) -> Result<Response<v1::UpsertCasesResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let cases = self.of(&call);
        let outcome = cases.with_store(cases.upsert(message.items, &message.request_id, call.due())).await;
        let ids = outcome.iter().flatten().filter(|result| is_stored(result)).map(|result| result.id.clone()).collect();
        let touched = Touched { cases: ids, subject: String::new() };
        let outcome = call.changed("CaseService/UpsertCases", touched, outcome).await;
        call.close(outcome.map(|results| v1::UpsertCasesResponse { results }))
    }

    async fn get_case(&self, request: Request<v1::GetCaseRequest>) -> Result<Response<v1::Case>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let cases = self.of(&call);
        let outcome = cases.with_store(cases.get(&message.id, message.include_original)).await;
        let original = if message.include_original { "with its original" } else { "" };
        let touched = Touched { subject: original.to_owned(), ..Touched::case(&message.id) };
        let outcome = call.shown("CaseService/GetCase", touched, outcome).await;
        call.close(outcome)
    }

    async fn find_similar(
        &self,
        request: Request<v1::FindSimilarRequest>,
    ) -> Result<Response<v1::FindSimilarResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let cases = self.of(&call);
        let outcome = cases.with_store(cases.find(message, call.due())).await;
        let found = outcome.iter().flat_map(|found| &found.cases).filter_map(|found| found.case.as_ref());
        let touched = Touched { cases: found.map(|case| case.id.clone()).collect(), subject: String::new() };
        let outcome = call.shown("CaseService/FindSimilar", touched, outcome).await;
        call.close(outcome)
    }

    async fn correct_tags(&self, request: Request<v1::CorrectTagsRequest>) -> Result<Response<v1::Case>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let cases = self.of(&call);
        let id = message.case_id.clone();
        let asked = message.clone();
        let correct = cases.with_store(cases.correct(message));
        let acted = call.once_or_again(&self.requests, "CorrectTags", &asked, correct, |_| Vec::new()).await;
        let outcome = cases.as_it_is(acted, &id).await;
        let outcome = call.changed("CaseService/CorrectTags", Touched::case(&id), outcome).await;
        call.close(outcome)
    }

    async fn record_outcome(&self, request: Request<v1::RecordOutcomeRequest>) -> Result<Response<v1::Case>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let cases = self.of(&call);
        let id = message.case_id.clone();
        let asked = message.clone();
        let record = cases.with_store(cases.record(message));
        let acted = call.once_or_again(&self.requests, "RecordOutcome", &asked, record, |_| Vec::new()).await;
        let outcome = cases.as_it_is(acted, &id).await;
        let outcome = call.changed("CaseService/RecordOutcome", Touched::case(&id), outcome).await;
        call.close(outcome)
    }

    async fn list_for_review(
        &self,
        request: Request<v1::ListForReviewRequest>,
    ) -> Result<Response<v1::ListForReviewResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let cases = self.of(&call);
        let outcome = cases.with_store(cases.list_review(message)).await;
        let listed = outcome.iter().flatten().filter_map(|review| review.case.as_ref());
        let touched = Touched { cases: listed.map(|case| case.id.clone()).collect(), subject: String::new() };
        let outcome = call.shown("CaseService/ListForReview", touched, outcome).await;
        call.close(outcome.map(|cases| v1::ListForReviewResponse { cases }))
    }

    async fn delete_cases(
        &self,
        request: Request<v1::DeleteCasesRequest>,
    ) -> Result<Response<v1::DeleteCasesResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let cases = self.of(&call);
        let asked = message.clone();
        let delete = cases.with_store(cases.delete(message));
        let outcome = call.once(&self.requests, "DeleteCases", &asked, delete).await;
        let receipt = outcome.as_ref().ok().and_then(|response| response.receipt.as_ref());
        let touched = match receipt {
            Some(receipt) => Touched { cases: receipt.case_ids.clone(), subject: format!("receipt {}", receipt.id) },
            None => Touched { cases: asked.ids.clone(), subject: deleted_by(&asked).to_owned() },
        };
        let outcome = call.changed("CaseService/DeleteCases", touched, outcome).await;
        call.close(outcome)
    }
}

/// The cases of one tenant: whatever is done with cases is done here, so that none can be reached without saying whose.
pub(super) struct TenantCases<'a> {
    service: &'a CaseService,
    pub(super) account: &'a Account,
}

impl Deref for TenantCases<'_> {
    type Target = CaseService;

    fn deref(&self) -> &CaseService {
        self.service
    }
}

impl CaseService {
    fn of<'a>(&'a self, call: &'a Call) -> TenantCases<'a> {
        TenantCases { service: self, account: &call.account }
    }
}

fn is_stored(result: &v1::UpsertCasesResult) -> bool {
    matches!(result.result, Some(upsert_cases_result::Result::Stored(_)))
}

/// What a deletion goes by, where that is not ids.
fn deleted_by(asked: &v1::DeleteCasesRequest) -> &'static str {
    match (&asked.filter, asked.customer_id.is_empty()) {
        (Some(_), _) => "by a filter",
        (None, false) => "of a customer",
        (None, true) => "",
    }
}

/// An item of an upsert, checked.
struct Item {
    feedback: Feedback,
    outcome: Option<Outcome>,
    links: Vec<CaseLink>,
}

/// What is to be done with an item.
enum Planned {
    /// The same call has stored it before.
    Done(UpsertOutcome, Box<Case>),
    Store(Box<NewCase>),
    Refused(Status),
}

impl TenantCases<'_> {
    /// Does what needs the store, as long as that answers its probes: nobody waits for one that is lost until his deadline.
    async fn with_store<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let mut ready = self.ready.clone();
        tokio::select! {
            biased;
            Ok(_) = ready.wait_for(|ready| ready.store_is_lost()) => {
                Err(status::of_cases(CaseStoreError::Unavailable("it does not answer its probes".to_owned())))
            }
            outcome = work => outcome,
        }
    }

    /// The case that a call is answered with. Of one that had acted before it is the state of now: nothing is kept of a case beside the
    /// store, so that what is erased there is erased.
    async fn as_it_is(&self, acted: Result<Acted<v1::Case>, Status>, id: &str) -> Result<v1::Case, Status> {
        match acted? {
            Acted::Now(case) => Ok(case),
            Acted::Before(_) => self.with_store(self.get(id, false)).await,
        }
    }

    async fn upsert(
        &self,
        items: Vec<v1::UpsertCasesItem>,
        request_id: &str,
        due: Instant,
    ) -> Result<Vec<v1::UpsertCasesResult>, Status> {
        check_item_count(items.len(), &self.config.limits)?;
        let checked = self.with_ids(items, request_id);
        let mut done = self.done_before(&checked, request_id).await?;
        let tagger = &*work::pinned(&self.tagger);
        let planned = checked.into_iter().enumerate().map(|(index, (id, item))| {
            let done = done.remove(&id);
            async move {
                let planned = match (item, done) {
                    (Ok(_), Some((outcome, case))) => Planned::Done(outcome, Box::new(case)),
                    (Ok(item), None) => match self.tag(tagger, item, request_id, index, due).await {
                        Ok(new_case) => Planned::Store(Box::new(new_case)),
                        Err(fault) => Planned::Refused(fault),
                    },
                    (Err(fault), _) => Planned::Refused(fault),
                };
                (id, planned)
            }
        });
        let planned: Vec<_> = stream::iter(planned).buffered(self.config.server.batch_in_flight).collect().await;

        let sound = |planned: &Planned| match planned {
            Planned::Store(new_case) => Some(NewCase::clone(new_case)),
            Planned::Done(..) | Planned::Refused(_) => None,
        };
        let sound: Vec<NewCase> = planned.iter().filter_map(|(_, planned)| sound(planned)).collect();
        let expected = sound.len();
        let outcomes = if sound.is_empty() {
            Vec::new()
        } else {
            self.cases.upsert(self.account.tenant(), sound).await.map_err(status::of_cases)?
        };
        if outcomes.len() != expected {
            return Err(status::internal("the case store answered for another number of cases than it was given"));
        }
        let mut outcomes = outcomes.into_iter();
        let mut replaced = Vec::new();
        let results = planned.into_iter().map(|(id, planned)| {
            let stored = match planned {
                Planned::Done(outcome, case) => Ok(convert::stored_case(outcome, case.tags)),
                Planned::Store(new_case) => match outcomes.next() {
                    Some(outcome) => {
                        if outcome == UpsertOutcome::Replaced {
                            replaced.push(id.clone());
                        }
                        Ok(convert::stored_case(outcome, new_case.case.tags))
                    }
                    None => Err(status::internal("the case store answered for fewer cases than it was given")),
                },
                Planned::Refused(fault) => Err(fault),
            };
            let result = match stored {
                Ok(stored) => upsert_cases_result::Result::Stored(stored),
                Err(error) => upsert_cases_result::Result::Error(status::to_message(&error)),
            };
            v1::UpsertCasesResult { id, result: Some(result) }
        });
        let results = results.collect();
        self.learn_again(replaced).await;
        Ok(results)
    }

    /// What a call of this id has stored before.
    async fn done_before(
        &self,
        checked: &[(String, Result<Item, Status>)],
        request_id: &str,
    ) -> Result<HashMap<String, (UpsertOutcome, Case)>, Status> {
        if request_id.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<String> = checked.iter().filter(|(_, item)| item.is_ok()).map(|(id, _)| id.clone()).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let stored = self.cases.get_many(self.account.tenant(), &ids).await.map_err(status::of_cases)?;
        let done = stored.into_iter().filter_map(|case| Some((case.id.clone(), (case.done_by(request_id)?, case))));
        Ok(done.collect())
    }

    /// Checks each item, makes ids where there are none, and refuses an id that stands in an item before.
    fn with_ids(&self, items: Vec<v1::UpsertCasesItem>, request_id: &str) -> Vec<(String, Result<Item, Status>)> {
        let limits = &self.config.limits;
        let mut seen = HashMap::new();
        let checked = items.into_iter().enumerate().map(|(index, item)| {
            let path = format!("items[{index}]");
            let echoed = convert::echoed_id(item.feedback.as_ref(), limits);
            let mut feedback = match convert::feedback(item.feedback, &format!("{path}.feedback"), limits) {
                Ok(feedback) => feedback,
                Err(fault) => return (echoed, Err(fault)),
            };
            let mut faults = Faults::default();
            let outcome =
                item.outcome.and_then(|given| convert::outcome(given, &format!("{path}.outcome"), limits, &mut faults));
            let links = convert::links(item.links, &format!("{path}.links"), &feedback.id, limits, &mut faults);
            if let Err(fault) = faults.or(()) {
                return (echoed, Err(fault));
            }
            if feedback.id.is_empty() {
                feedback.id = self.made_id(request_id, index);
            }
            match seen.entry(feedback.id.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(index);
                    (feedback.id.clone(), Ok(Item { feedback, outcome, links }))
                }
                Entry::Occupied(first) => {
                    let problem = format!("must stand in one item only, and stands in items[{}] already", first.get());
                    (feedback.id, Err(Faults::one(format!("{path}.feedback.id"), problem)))
                }
            }
        });
        checked.collect()
    }

    /// An id for an item without one: the same again for the same item of the same call.
    fn made_id(&self, request_id: &str, index: usize) -> String {
        if request_id.is_empty() {
            return Uuid::now_v7().to_string();
        }
        let tenant = Uuid::new_v5(&Uuid::NAMESPACE_OID, self.account.tenant().as_str().as_bytes());
        Uuid::new_v5(&tenant, format!("{index} {request_id}").as_bytes()).to_string()
    }

    async fn tag(
        &self,
        tagger: &dyn Tagger,
        item: Item,
        request_id: &str,
        index: usize,
        due: Instant,
    ) -> Result<NewCase, Status> {
        let path = format!("items[{index}].feedback.");
        let Item { feedback, outcome, links } = item;
        let tagged = work::tag(tagger, self.account, feedback.clone(), &path, Lane::Bulk, due).await?;
        let sealed_text = match &self.sealer {
            Some(sealer) => {
                let sealed = sealer.seal(self.account.tenant(), &feedback.id, &feedback.body.to_plain());
                Some(sealed.map_err(|error| status::internal(&error.to_string()))?)
            }
            None => None,
        };
        let Tagged { tags, vector, reading } = tagged;
        let most = self.config.cases.kept_reading_bytes;
        let reading = reading.filter(|reading| reading.kept_bytes() <= most).map(|reading| reading.to_case());
        let case = Case::new(feedback, tags, Timestamp::now());
        let request_id = (!request_id.is_empty()).then(|| request_id.to_owned());
        Ok(NewCase { case: Case { outcome, links, sealed_text, reading, ..case }, vector, request_id })
    }

    async fn get(&self, id: &str, include_original: bool) -> Result<v1::Case, Status> {
        let mut faults = Faults::default();
        convert::check_id(id, "id", &self.config.limits, &mut faults);
        faults.or(())?;
        let sealer = match (&self.sealer, include_original) {
            (None, true) => return Err(status::no_originals()),
            (sealer, _) => sealer.as_ref().filter(|_| include_original),
        };
        let case = self.cases.get(self.account.tenant(), id).await.map_err(status::of_cases)?;
        let sealed = case.sealed_text.clone();
        let mut answer = v1::Case::from(case);
        if let (Some(sealer), Some(sealed)) = (sealer, sealed) {
            let opened = sealer.open(self.account.tenant(), id, &sealed);
            answer.original_text = opened.map_err(|error| Status::failed_precondition(error.to_string()))?;
        }
        Ok(answer)
    }

    async fn find(&self, message: v1::FindSimilarRequest, due: Instant) -> Result<v1::FindSimilarResponse, Status> {
        let (wanted, bounds) = convert::similar_search(message, &self.config.limits)?;
        let (to, topics) = match wanted {
            convert::Wanted::CaseId(id) => {
                let case = self.cases.get(self.account.tenant(), &id).await.map_err(status::of_cases)?;
                (SimilarTo::CaseId(id), case.topic_ids().into_iter().cloned().collect())
            }
            convert::Wanted::Text(text) => {
                let feedback = Feedback::from_text(String::new(), text);
                let Tagged { tags, vector, .. } =
                    work::tag(&*self.tagger, self.account, feedback, "", Lane::Interactive, due).await?;
                let topics: Vec<TopicId> = tags.topics.into_iter().map(|topic| topic.topic_id).collect();
                (SimilarTo::Text { vector, masked_text: tags.masked_text }, topics)
            }
        };
        let convert::SimilarBounds { filter, limit, min_score, mode, preferences, fold_duplicates } = bounds;
        let query =
            SimilarQuery { filter, min_score, mode, preferences, fold_duplicates, ..SimilarQuery::new(to, limit) };
        let found = self.cases.find_similar(self.account.tenant(), query).await.map_err(status::of_cases)?;
        Ok(v1::FindSimilarResponse {
            cases: found.hits.into_iter().map(|hit| convert::similar_case(hit, &topics)).collect(),
            outcomes: found.outcomes.into_iter().map(Into::into).collect(),
            considered_count: u32::try_from(found.considered).unwrap_or(u32::MAX),
        })
    }

    async fn record(&self, message: v1::RecordOutcomeRequest) -> Result<v1::Case, Status> {
        let (id, outcome, links) = convert::recorded_outcome(message, &self.config.limits)?;
        let amendment = Amendment::Outcome { outcome, links };
        let stored = self.cases.amend(self.account.tenant(), &id, amendment).await.map_err(status::of_cases)?;
        Ok(stored.case.into())
    }

    async fn delete(&self, message: v1::DeleteCasesRequest) -> Result<v1::DeleteCasesResponse, Status> {
        let erased = message.customer_id.clone();
        let filter = convert::deletion(message, &self.config.limits)?;
        let corrected = self.corrected_ids(&filter).await?;
        let response = if erased.is_empty() {
            let deleted_count = self.cases.delete(self.account.tenant(), &filter).await.map_err(status::of_cases)?;
            v1::DeleteCasesResponse { deleted_count, receipt: None }
        } else {
            let erasure = self.cases.erase(self.account.tenant(), &erased).await.map_err(status::of_cases)?;
            v1::DeleteCasesResponse { deleted_count: erasure.case_ids.len() as u64, receipt: Some(erasure.into()) }
        };
        if !corrected.is_empty() {
            self.tagger.forget(self.account.party(), corrected).await.map_err(|error| status::of_tagging(error, ""))?;
        }
        Ok(response)
    }
}
