//! `otklik.v1.TaggingService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

use super::account::Account;
use super::call::{Call, check_request_id};
use super::convert::{self, check_item_count};
use super::deadline::Deadlines;
use super::drain::Drain;
use super::wire::v1::{self, batch_classify_result, classify_stream_response};
use super::{status, streaming, work};
use crate::config::Config;
use crate::tagging::{Consult, Lane, Tagger, Urgency};

/// Feedback in, tags out; nothing is stored.
#[derive(Clone)]
pub(super) struct TaggingService {
    pub(super) config: Arc<Config>,
    pub(super) tagger: Arc<dyn Tagger>,
    pub(super) drain: Drain,
}

#[tonic::async_trait]
impl v1::tagging_service_server::TaggingService for TaggingService {
    async fn classify(&self, request: Request<v1::ClassifyRequest>) -> Result<Response<v1::ClassifyResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let v1::ClassifyRequest { feedback, language_model, .. } = message;
        let outcome = match self.urgency(language_model, Lane::Interactive, call.due()) {
            Ok(urgency) => self.tags_of(&*self.tagger, &call.account, feedback, "feedback", urgency, call.due()).await,
            Err(refusal) => Err(refusal),
        };
        call.close(outcome.map(|tags| v1::ClassifyResponse { tags: Some(tags) }))
    }

    type ClassifyStreamStream = Pin<Box<dyn Stream<Item = Result<v1::ClassifyStreamResponse, Status>> + Send>>;

    async fn classify_stream(
        &self,
        request: Request<Streaming<v1::ClassifyStreamRequest>>,
    ) -> Result<Response<Self::ClassifyStreamStream>, Status> {
        let (call, requests) = Call::open(request, |_| "", &self.config)?;
        let (service, account, deadlines) = (self.clone(), call.account.clone(), call.deadlines);
        let read = streaming::requests(requests, &self.config, &self.drain).enumerate();
        let answers =
            read.map(move |(index, read)| service.clone().answer(index as u64, read, account.clone(), deadlines));
        call.close(Ok(Box::pin(answers.buffered(self.config.server.stream_in_flight))))
    }

    async fn batch_classify(
        &self,
        request: Request<v1::BatchClassifyRequest>,
    ) -> Result<Response<v1::BatchClassifyResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let outcome = match self.urgency(message.language_model, Lane::Bulk, call.due()) {
            Ok(urgency) => self.results_of(&call.account, message.items, urgency, call.due()).await,
            Err(refusal) => Err(refusal),
        };
        call.close(outcome.map(|results| v1::BatchClassifyResponse { results }))
    }
}

impl TaggingService {
    /// How urgent a request is, and whether a language model is asked for it.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for an unknown number, FAILED_PRECONDITION if a model is to be asked and there is none.
    fn urgency(&self, language_model: i32, lane: Lane, due: Instant) -> Result<Urgency, Status> {
        let consult = convert::language_model_use(language_model, "language_model")?;
        if consult.is_some_and(|consult| consult != Consult::Never) && !self.tagger.consults() {
            return Err(status::no_language_model());
        }
        Ok(Urgency { deadline: Some(due), lane, consult, ..Urgency::default() })
    }

    async fn tags_of(
        &self,
        tagger: &dyn Tagger,
        account: &Account,
        feedback: Option<v1::Feedback>,
        path: &str,
        urgency: Urgency,
        due: Instant,
    ) -> Result<v1::Tags, Status> {
        let feedback = convert::feedback(feedback, path, &self.config.limits)?;
        let tagged = work::tag_with(tagger, account, feedback, &format!("{path}."), urgency, due).await?;
        Ok(tagged.tags.into())
    }

    async fn results_of(
        &self,
        account: &Account,
        items: Vec<v1::BatchClassifyItem>,
        urgency: Urgency,
        due: Instant,
    ) -> Result<Vec<v1::BatchClassifyResult>, Status> {
        check_item_count(items.len(), &self.config.limits)?;
        let tagger = &*work::pinned(&self.tagger);
        let results = stream::iter(items.into_iter().enumerate()).map(|(index, item)| async move {
            let id = convert::echoed_id(item.feedback.as_ref(), &self.config.limits);
            let path = format!("items[{index}].feedback");
            let result = match self.tags_of(tagger, account, item.feedback, &path, urgency, due).await {
                Ok(tags) => batch_classify_result::Result::Tags(tags),
                Err(error) => batch_classify_result::Result::Error(status::to_message(&error)),
            };
            v1::BatchClassifyResult { id, result: Some(result) }
        });
        Ok(results.buffered(self.config.server.batch_in_flight).collect().await)
    }

    async fn answer(
        self,
        sequence: u64,
        read: Result<v1::ClassifyStreamRequest, Status>,
        account: Account,
        deadlines: Deadlines,
    ) -> Result<v1::ClassifyStreamResponse, Status> {
        let v1::ClassifyStreamRequest { feedback, request_id, language_model } = read?;
        if let Err(fault) = check_request_id(&request_id, "request_id", &self.config) {
            let result = Some(classify_stream_response::Result::Error(status::to_message(&fault)));
            let id = convert::echoed_id(feedback.as_ref(), &self.config.limits);
            return Ok(v1::ClassifyStreamResponse { sequence, id, request_id: String::new(), result });
        }
        let span = tracing::error_span!("request", sequence, request_id);
        let id = convert::echoed_id(feedback.as_ref(), &self.config.limits);
        let due = deadlines.of_streamed_request(&self.config.server);
        let tags = async {
            let urgency = self.urgency(language_model, Lane::Bulk, due)?;
            self.tags_of(&*self.tagger, &account, feedback, "feedback", urgency, due).await
        };
        let result = match tags.instrument(span).await {
            Ok(tags) => classify_stream_response::Result::Tags(tags),
            Err(error) => classify_stream_response::Result::Error(status::to_message(&error)),
        };
        Ok(v1::ClassifyStreamResponse { sequence, id, request_id, result: Some(result) })
    }
}
