//! What every call has: a caller, a request id, checked and echoed, and a deadline.

use std::future::Future;
use std::time::Instant;

use jiff::Timestamp;
use prost::Message;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Response, Status};
use tracing::Span;
use uuid::Uuid;

use super::account::Account;
use super::deadline::Deadlines;
use super::status::{self, Faults};
use crate::audit::Event;
use crate::cases::TenantId;
use crate::config::Config;
use crate::requests::{Answered, AnsweredRequests, NamedRequest, OnceError};
use crate::telemetry::TracePlace;

/// The metadata of a response that carries the request id.
const REQUEST_ID: &str = "x-request-id";

/// One call in work.
pub(super) struct Call {
    request_id: MetadataValue<Ascii>,
    /// As the caller gave it; empty if it was made here.
    given_id: String,
    pub(super) account: Account,
    pub(super) deadlines: Deadlines,
}

impl Call {
    /// Takes a request apart and names the call in the log.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a request id that is too long or not visible ASCII; INTERNAL for a call that came past the guard.
    pub(super) fn open<T>(request: Request<T>, id_of: fn(&T) -> &str, config: &Config) -> Result<(Self, T), Status> {
        let deadlines = request.extensions().get::<Deadlines>().copied();
        let deadlines = deadlines.unwrap_or_else(|| Deadlines::from_now(request.metadata().as_ref(), &config.server));
        let account = request.extensions().get::<Account>().cloned();
        let account = account.ok_or_else(|| status::internal("a call came past the guard"))?;
        let trace = request.extensions().get::<TracePlace>().cloned().unwrap_or_default();
        let message = request.into_inner();
        check_request_id(id_of(&message), "request_id", config)?;
        let given_id = id_of(&message).to_owned();
        let request_id = if given_id.is_empty() { Uuid::now_v7().to_string() } else { given_id.clone() };
        Span::current().record("request_id", request_id.as_str());
        trace.tell("request_id", request_id.clone());
        let request_id = MetadataValue::try_from(request_id.as_str());
        let request_id = request_id.map_err(|_| Faults::one("request_id", "must be visible ASCII characters"))?;
        Ok((Self { request_id, given_id, account, deadlines }, message))
    }

    /// Whose data the call sees.
    pub(super) fn tenant(&self) -> &TenantId {
        self.account.tenant()
    }

    /// When the answer is due.
    pub(super) fn due(&self) -> Instant {
        self.deadlines.answer
    }

    /// Notes a change, good or bad, before anybody hears of it.
    ///
    /// # Errors
    /// Those of the outcome; UNAVAILABLE if what was done could not be noted: who calls again under the same id is answered as the first
    /// time.
    pub(super) async fn changed<T>(
        &self,
        rpc: &str,
        touched: Touched,
        outcome: Result<T, Status>,
    ) -> Result<T, Status> {
        let Some(audit) = self.account.audit() else { return outcome };
        let noted = audit.note(self.event(rpc, touched, outcome.as_ref().err())).await;
        noted.map_err(|error| status::unavailable(error.to_string()))?;
        outcome
    }

    /// Notes what was shown.
    ///
    /// # Errors
    /// Those of the outcome; UNAVAILABLE if nothing can be noted.
    pub(super) async fn shown<T>(&self, rpc: &str, touched: Touched, outcome: Result<T, Status>) -> Result<T, Status> {
        let Some(audit) = self.account.audit() else { return outcome };
        let noted = audit.note_soon(self.event(rpc, touched, outcome.as_ref().err())).await;
        noted.map_err(|error| status::unavailable(error.to_string()))?;
        outcome
    }

    fn event(&self, rpc: &str, touched: Touched, fault: Option<&Status>) -> Event {
        let Touched { cases, subject } = touched;
        let event = Event {
            at: Timestamp::now(),
            tenant: self.tenant().as_str().to_owned(),
            caller: self.account.caller_id().to_owned(),
            rpc: rpc.to_owned(),
            request_id: self.request_id.to_str().unwrap_or_default().to_owned(),
            code: format!("{:?}", fault.map_or(Code::Ok, Status::code)),
            cases: Vec::new(),
            case_count: 0,
            subject,
        };
        event.about(cases)
    }

    /// Does what a call asks, once for each id that its caller gave it: of one that came before, this is the answer of then. The answer
    /// is kept, so it must not hold what a customer said.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if another request had the id; UNAVAILABLE if it can't be known; those of `act`.
    pub(super) async fn once<M: Message, T: Message + Default>(
        &self,
        requests: &AnsweredRequests,
        rpc: &str,
        message: &M,
        act: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        match self.once_or_again(requests, rpc, message, act, |answer| answer.encode_to_vec()).await? {
            Acted::Now(answer) => Ok(answer),
            Acted::Before(answer) => T::decode(answer.as_slice()).map_err(|error| status::internal(&error.to_string())),
        }
    }

    /// Does what a call asks, once for each id that its caller gave it, and keeps of the answer what `kept` says.
    ///
    /// # Errors
    /// Those of [`Call::once`].
    pub(super) async fn once_or_again<M: Message, T>(
        &self,
        requests: &AnsweredRequests,
        rpc: &str,
        message: &M,
        act: impl Future<Output = Result<T, Status>>,
        kept: impl FnOnce(&T) -> Vec<u8>,
    ) -> Result<Acted<T>, Status> {
        if self.given_id.is_empty() {
            return act.await.map(Acted::Now);
        }
        let message = message.encode_to_vec();
        let named = NamedRequest { tenant: self.tenant(), rpc, id: &self.given_id, message: &message };
        let mut now = None;
        let acting = async {
            let answer = act.await?;
            let keep = kept(&answer);
            now = Some(answer);
            Ok(keep)
        };
        match (requests.once(named, acting).await, now) {
            (Ok(Answered::Now(_)), Some(answer)) => Ok(Acted::Now(answer)),
            (Ok(Answered::Before(answer)), _) => Ok(Acted::Before(answer)),
            (Err(OnceError::Act(status)), _) => Err(status),
            (Err(OnceError::OtherRequest), _) => Err(Faults::one("request_id", "was given to another request before")),
            (Err(OnceError::Storage(error)), _) => Err(status::unavailable(error.to_string())),
            (Ok(Answered::Now(_)), None) => Err(status::internal("a call has no answer")),
        }
    }

    /// Gives the outcome, good or bad, its request id.
    pub(super) fn close<T>(self, outcome: Result<T, Status>) -> Result<Response<T>, Status> {
        match outcome {
            Ok(message) => {
                let mut response = Response::new(message);
                response.metadata_mut().insert(REQUEST_ID, self.request_id);
                Ok(response)
            }
            Err(mut status) => {
                status.metadata_mut().insert(REQUEST_ID, self.request_id);
                Err(status)
            }
        }
    }
}

/// What is noted of a call beside who made it and how it ended.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// The cases that it changed or showed.
    pub cases: Vec<String>,
    /// What else it was about.
    pub subject: String,
}

impl Touched {
    /// One case.
    pub(super) fn case(id: &str) -> Self {
        Self { cases: vec![id.to_owned()], subject: String::new() }
    }

    /// Something else than a case.
    pub(super) fn subject(subject: impl Into<String>) -> Self {
        Self { cases: Vec::new(), subject: subject.into() }
    }
}

/// What a call with an id came to.
pub(super) enum Acted<T> {
    /// It acted.
    Now(T),
    /// It had acted before; this was kept of its answer.
    Before(Vec<u8>),
}

/// Checks a request id; empty is not given.
///
/// # Errors
/// INVALID_ARGUMENT under `path`.
pub(super) fn check_request_id(id: &str, path: &str, config: &Config) -> Result<(), Status> {
    let most = config.limits.max_id_chars;
    if id.len() <= most && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Faults::one(path, format!("must be at most {most} visible ASCII characters")))
}
