//! One call of `AssistService.Assist`: requests in, slots out, until both have ended.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tonic::{Status, Streaming};
use tracing::{Instrument, Span};

use super::account::Account;
use super::assist_service::{AssistService, Shown, check_team};
use super::call::check_request_id;
use super::deadline::Deadlines;
use super::status::{self, Faults};
use super::wire::v1::{self, assist_request, assist_response};
use super::{convert, streaming};
use crate::assist::live::{Conversation, LiveContent, LiveLimits, LiveOutcome};

/// Where the paths of faults begin for what is not the request's but the conversation's.
const TURNS_PATH: &str = "";

/// What callers are sent.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<v1::AssistResponse, Status>> + Send>>;

type Requests = Pin<Box<dyn Stream<Item = Result<v1::AssistRequest, Status>> + Send>>;

/// A call in work. Its work is done while responses are read, and dropped with it.
struct LiveCall {
    service: AssistService,
    account: Account,
    deadlines: Deadlines,
    requests: Requests,
    /// From `start` on.
    live: Option<Live>,
    /// How the call ends once what is in work was sent; until it is known, requests are read.
    end: Option<Result<(), Status>>,
}

/// A conversation, and how it is shown.
struct Live {
    conversation: Conversation,
    shown: Shown,
    span: Span,
}

/// What came of waiting.
enum Event {
    Request(Option<Result<v1::AssistRequest, Status>>),
    Outcome(Option<LiveOutcome>),
}

/// The responses of a call. Requests are read first, so that a suggestion is made from all that was said.
pub(super) fn responses(
    service: AssistService,
    requests: Streaming<v1::AssistRequest>,
    account: Account,
    deadlines: Deadlines,
) -> Responses {
    let requests = Box::pin(streaming::requests(requests, &service.config, &service.drain));
    let call = LiveCall { service, account, deadlines, requests, live: None, end: None };
    Box::pin(stream::unfold(Some(call), |call| async move { call?.next().await }))
}

impl LiveCall {
    async fn next(mut self) -> Option<(Result<v1::AssistResponse, Status>, Option<Self>)> {
        loop {
            let is_over = self.end.is_some();
            let event = tokio::select! {
                biased;
                request = self.requests.next(), if !is_over => Event::Request(request),
                outcome = next_outcome(self.live.as_mut(), is_over) => Event::Outcome(outcome),
            };
            match event {
                Event::Request(Some(Ok(request))) => self.end = self.take(request).err().map(Err),
                Event::Request(Some(Err(end))) => self.end = Some(Err(end)),
                Event::Request(None) => self.end = Some(Ok(())),
                Event::Outcome(Some(outcome)) => {
                    let response = self.live.as_mut()?.response(outcome);
                    return Some((Ok(response), Some(self)));
                }
                Event::Outcome(None) => return self.end?.err().map(|end| (Err(end), None)),
            }
        }
    }

    fn take(&mut self, request: v1::AssistRequest) -> Result<(), Status> {
        match (request.part, &mut self.live) {
            (Some(assist_request::Part::Start(start)), None) => {
                self.live = Some(self.begun(start)?);
                Ok(())
            }
            (Some(assist_request::Part::Start(_)), Some(_)) => {
                Err(Faults::one("start", "must be given once, in the first request"))
            }
            (Some(assist_request::Part::Turn(turn)), Some(live)) => {
                let turn = convert::live_turn(turn)?;
                self.account.spend(turn.text.chars().count())?.stands();
                live.conversation.take(turn).map_err(convert::turn_refused)
            }
            (Some(assist_request::Part::Turn(_)), None) => {
                Err(Faults::one("start", "must be given in the first request"))
            }
            (None, _) => Err(Faults::one("part", "must be given: start or turn")),
        }
    }

    fn begun(&self, start: v1::AssistStart) -> Result<Live, Status> {
        let config = &self.service.config;
        check_request_id(&start.request_id, "start.request_id", config)?;
        let request_id = start.request_id.clone();
        let start = convert::live_start(start, self.account.tenant().clone(), &config.limits)?;
        // A conversation ends on the taxonomy that it began with.
        let now = self.service.serving.current();
        check_team(&now, start.team.as_ref(), "start.team_id")?;
        let limits = LiveLimits {
            max_turns: config.limits.max_turns,
            max_text_chars: config.limits.max_text_chars,
            suggestion_time: Duration::from_millis(config.server.default_deadline_ms),
            end: self.deadlines.call,
        };
        let shown = Shown::new(&now.assistant, start.language);
        let conversation = Conversation::new(Arc::clone(&now.assistant), start, limits);
        Ok(Live { conversation, shown, span: tracing::error_span!("conversation", request_id) })
    }
}

/// What is new; `None` if nothing is in work and the call is over, else it is waited for.
async fn next_outcome(live: Option<&mut Live>, is_over: bool) -> Option<LiveOutcome> {
    let outcome = match live {
        Some(Live { conversation, span, .. }) => conversation.next().instrument(span.clone()).await,
        None => None,
    };
    match outcome {
        None if !is_over => std::future::pending().await,
        outcome => outcome,
    }
}

impl Live {
    fn response(&mut self, outcome: LiveOutcome) -> v1::AssistResponse {
        let _entered = self.span.enter();
        let (slot, result) = match outcome.content {
            LiveContent::Suggestion(outcome) => {
                let (slot, result) = self.shown.slot(outcome, TURNS_PATH);
                (slot, result.into())
            }
            LiveContent::Promises(Ok(advice)) => {
                (v1::SuggestionSlot::Promises, assist_response::Result::Promises(advice.into()))
            }
            LiveContent::Promises(Err(error)) => {
                let error = status::to_message(&status::of_slot(error, TURNS_PATH));
                (v1::SuggestionSlot::Promises, assist_response::Result::Error(error))
            }
        };
        v1::AssistResponse { slot: slot.into(), result: Some(result), revision: outcome.revision }
    }
}
