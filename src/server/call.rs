//! What every call has: a caller, a request id, checked and echoed, and a deadline.

use std::time::Instant;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Response, Status};
use tracing::Span;
use uuid::Uuid;

use super::account::Account;
use super::deadline::Deadlines;
use super::status::{self, Faults};
use crate::cases::TenantId;
use crate::config::Config;

/// The metadata of a response that carries the request id.
const REQUEST_ID: &str = "x-request-id";

/// One call in work.
pub(super) struct Call {
    request_id: MetadataValue<Ascii>,
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
        let message = request.into_inner();
        check_request_id(id_of(&message), "request_id", config)?;
        let request_id = match id_of(&message) {
            "" => Uuid::now_v7().to_string(),
            given => given.to_owned(),
        };
        Span::current().record("request_id", request_id.as_str());
        let request_id = MetadataValue::try_from(request_id.as_str());
        let request_id = request_id.map_err(|_| Faults::one("request_id", "must be visible ASCII characters"))?;
        Ok((Self { request_id, account, deadlines }, message))
    }

    /// Whose data the call sees.
    pub(super) fn tenant(&self) -> &TenantId {
        self.account.tenant()
    }

    /// When the answer is due.
    pub(super) fn due(&self) -> Instant {
        self.deadlines.answer
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
