//! `otklik.v1.AssistService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tonic_types::pb;

use super::account::Account;
use super::assist_live::{self, Responses};
use super::call::{Call, Touched};
use super::convert;
use super::drain::Drain;
use super::status;
use super::wire::v1::{self, suggest_response};
use crate::assist::note::NoteRequest;
use crate::assist::playbook::ReplyLanguage;
use crate::assist::review::ReviewRequest;
use crate::assist::{Assistant, SlotContent, SlotOutcome, SuggestRequest, WriterError};
use crate::config::Config;
use crate::requests::AnsweredRequests;
use crate::serving::{Generation, Serving};
use crate::tags::{TeamId, TopicId};

/// Slots that may be ready before the caller takes them.
const READY_SLOTS: usize = 8;

/// Where the paths of faults begin for what was said.
const FEEDBACK_PATH: &str = "feedback.";

/// Help for operators.
#[derive(Clone)]
pub(super) struct AssistService {
    pub(super) config: Arc<Config>,
    pub(super) serving: Arc<Serving>,
    /// Calls that were answered.
    pub(super) requests: Arc<AnsweredRequests>,
    pub(super) drain: Drain,
}

type Suggestions = Pin<Box<dyn Stream<Item = Result<v1::SuggestResponse, Status>> + Send>>;

#[tonic::async_trait]
impl v1::assist_service_server::AssistService for AssistService {
    type SuggestStream = Suggestions;

    async fn suggest(&self, request: Request<v1::SuggestRequest>) -> Result<Response<Self::SuggestStream>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let deadline = call.due();
        let now = self.serving.current();
        let wanted = self.wanted(&now, message, &call.account, deadline);
        call.close(wanted.map(|wanted| suggestions(&now, wanted)))
    }

    type AssistStream = Responses;

    async fn assist(
        &self,
        request: Request<Streaming<v1::AssistRequest>>,
    ) -> Result<Response<Self::AssistStream>, Status> {
        let (call, requests) = Call::open(request, |_| "", &self.config)?;
        let responses = assist_live::responses(self.clone(), requests, call.account.clone(), call.deadlines);
        call.close(Ok(responses))
    }

    async fn review_reply(
        &self,
        request: Request<v1::ReviewReplyRequest>,
    ) -> Result<Response<v1::ReviewReplyResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let deadline = call.due();
        let reviewed = self.reviewed(message, &call.account, deadline).await;
        call.close(reviewed)
    }

    async fn summarize(
        &self,
        request: Request<v1::SummarizeRequest>,
    ) -> Result<Response<v1::SummarizeResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let deadline = call.due();
        let summarized = self.summarized(message, &call.account, deadline).await;
        call.close(summarized)
    }

    async fn record_suggestion_use(
        &self,
        request: Request<v1::RecordSuggestionUseRequest>,
    ) -> Result<Response<v1::RecordSuggestionUseResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let asked = message.clone();
        let record = async {
            self.record(message, &call.account).await?;
            Ok(v1::RecordSuggestionUseResponse {})
        };
        let recorded = call.once(&self.requests, "RecordSuggestionUse", &asked, record).await;
        let touched = Touched::subject(asked.gesture_id.clone());
        let recorded = call.changed("AssistService/RecordSuggestionUse", touched, recorded).await;
        call.close(recorded)
    }
}

impl AssistService {
    fn wanted(
        &self,
        now: &Generation,
        message: v1::SuggestRequest,
        account: &Account,
        deadline: Instant,
    ) -> Result<SuggestRequest, Status> {
        let v1::SuggestRequest { feedback, team_id, language, request_id: _ } = message;
        let feedback = convert::feedback(feedback, "feedback", &self.config.limits)?;
        let (team, language) = self.bounds(now, team_id, language)?;
        account.spend(feedback.body.chars())?.stands();
        Ok(SuggestRequest { feedback, tenant: account.tenant().clone(), team, language, deadline })
    }

    fn bounds(
        &self,
        now: &Generation,
        team_id: String,
        language: i32,
    ) -> Result<(Option<TeamId>, Option<ReplyLanguage>), Status> {
        let (team, language) = convert::suggestion_bounds(team_id, language, "", &self.config.limits)?;
        check_team(now, team.as_ref(), "team_id")?;
        Ok((team, language))
    }

    async fn reviewed(
        &self,
        message: v1::ReviewReplyRequest,
        account: &Account,
        deadline: Instant,
    ) -> Result<v1::ReviewReplyResponse, Status> {
        let v1::ReviewReplyRequest { feedback, reply, team_id, language, request_id: _, rules_only } = message;
        let feedback = convert::feedback(feedback, "feedback", &self.config.limits)?;
        let reply = convert::reply(reply, &self.config.limits)?;
        let now = self.serving.current();
        let (team, language) = self.bounds(&now, team_id, language)?;
        let tenant = account.tenant().clone();
        account.spend(feedback.body.chars() + reply.chars().count())?.stands();
        let request = ReviewRequest { feedback, reply, tenant, team, language, rules_only, deadline };
        let mut review = now.assistant.review(request).await.map_err(|error| status::of_slot(error, FEEDBACK_PATH))?;
        let model_error = review.model_error.take().map(model_error);
        Ok(convert::reply_review(review, now.assistant.playbook(), model_error))
    }

    async fn summarized(
        &self,
        message: v1::SummarizeRequest,
        account: &Account,
        deadline: Instant,
    ) -> Result<v1::SummarizeResponse, Status> {
        let v1::SummarizeRequest { feedback, rules_only, request_id: _ } = message;
        let feedback = convert::feedback(feedback, "feedback", &self.config.limits)?;
        account.spend(feedback.body.chars())?.stands();
        let request = NoteRequest { feedback, tenant: account.tenant().clone(), rules_only, deadline };
        let assistant = Arc::clone(&self.serving.current().assistant);
        let mut note = assistant.summarize(request).await.map_err(|error| status::of_slot(error, FEEDBACK_PATH))?;
        let error = note.model_error.take().map(model_error);
        Ok(convert::note(note, assistant.playbook(), error))
    }

    async fn record(&self, message: v1::RecordSuggestionUseRequest, account: &Account) -> Result<(), Status> {
        let now = self.serving.current();
        let knows_topic = |topic: &TopicId| now.tagger.knows_topic(topic);
        let playbook = now.assistant.playbook();
        let (gesture, topics, done) = convert::suggestion_use(message, playbook, knows_topic, &self.config.limits)?;
        let (uses, tenant) = (Arc::clone(now.assistant.uses()), account.tenant().clone());
        let written = tokio::task::spawn_blocking(move || uses.record(&tenant, &gesture, &topics, done)).await;
        let written = written.map_err(|error| status::internal(&error.to_string()))?;
        written.map_err(status::of_uses)
    }
}

/// Checks that the taxonomy has a team, if one is given.
pub(super) fn check_team(now: &Generation, team: Option<&TeamId>, path: &str) -> Result<(), Status> {
    match team {
        Some(team) if !now.tagger.knows_team(team) => Err(status::Faults::one(path, "must be a team of the taxonomy")),
        _ => Ok(()),
    }
}

/// The slots as they are ready. The work is done while the stream is read, and dropped with it.
fn suggestions(now: &Generation, wanted: SuggestRequest) -> Suggestions {
    let (sender, receiver) = mpsc::channel(READY_SLOTS);
    let assistant = Arc::clone(&now.assistant);
    let mut shown = Shown::new(&assistant, wanted.language);
    let work = async move { assistant.suggest(wanted, sender).await };
    let work = work.into_stream().filter_map(|()| async { None });
    let slots = ReceiverStream::new(receiver);
    Box::pin(stream::select(slots, work).map(move |outcome| Ok(shown.response(outcome))))
}

/// Why a model's part is missing, for an answer that is whole without it.
fn model_error(error: WriterError) -> pb::Status {
    status::to_message(&status::of_slot(error.into(), FEEDBACK_PATH))
}

/// What is known by the slots that were sent: later ones are shown by it.
pub(super) struct Shown {
    assistant: Arc<Assistant>,
    /// The language that was asked for.
    asked: Option<ReplyLanguage>,
    /// The language of what was said last.
    said: ReplyLanguage,
    topics: Vec<TopicId>,
}

impl Shown {
    pub(super) fn new(assistant: &Arc<Assistant>, asked: Option<ReplyLanguage>) -> Self {
        Self { assistant: Arc::clone(assistant), asked, said: ReplyLanguage::Russian, topics: Vec::new() }
    }

    fn response(&mut self, outcome: SlotOutcome) -> v1::SuggestResponse {
        let (slot, result) = self.slot(outcome, FEEDBACK_PATH);
        v1::SuggestResponse { slot: slot.into(), result: Some(result) }
    }

    /// A slot on the wire; `path` leads to what was said, for its faults.
    pub(super) fn slot(&mut self, outcome: SlotOutcome, path: &str) -> (v1::SuggestionSlot, suggest_response::Result) {
        let result = match outcome.result {
            Ok(content) => self.content(content),
            Err(error) => suggest_response::Result::Error(status::to_message(&status::of_slot(error, path))),
        };
        (v1::SuggestionSlot::from(outcome.slot), result)
    }

    fn content(&mut self, content: SlotContent) -> suggest_response::Result {
        use suggest_response::Result as Shown;
        let language = self.asked.unwrap_or(self.said);
        match content {
            SlotContent::Tags(tags) => {
                self.topics = tags.topics.iter().map(|topic| topic.topic_id.clone()).collect();
                self.said = ReplyLanguage::answering(tags.language);
                Shown::Tags((*tags).into())
            }
            SlotContent::Script(advice) => Shown::Script(advice.into()),
            SlotContent::Similar(advice) => Shown::Similar(convert::similar_advice(advice, &self.topics)),
            SlotContent::Gestures(offers) => {
                Shown::Gestures(convert::gesture_advice(offers, self.assistant.playbook(), language))
            }
            SlotContent::Avoid(avoidances) => Shown::Avoid(convert::avoid_advice(avoidances, language)),
            SlotContent::Draft(draft) => Shown::Draft(draft.into()),
        }
    }
}
