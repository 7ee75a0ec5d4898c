//! Calls to the server: each with a deadline, made again a bounded number of times where that can help.
//!
//! Every call that is made here changes nothing when it is made twice: points are named by their cases, deletions by their filters.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::Uri;
use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::points_client::PointsClient;
use qdrant_client::qdrant::qdrant_client::QdrantClient;
use qdrant_client::qdrant::snapshots_client::SnapshotsClient;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::codec::CompressionEncoding;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use super::options::QdrantOptions;
use crate::cases::CaseStoreError;

/// The longest answer that is read, in bytes; what would be longer is read in parts.
pub(super) const MOST_BYTES_READ: usize = 5_000_000;

/// The pause before a first retry is at most this, before each further one twice as much.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The longest that connecting may take.
const LONGEST_CONNECT: Duration = Duration::from_secs(3);
/// How often an idle connection is tried, and how long an answer to that may take.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Characters of what a server says that are repeated.
const MOST_SAID: usize = 300;

/// The way to the server, with the key that it asks for.
pub(super) type Wire = InterceptedService<Channel, ApiKey>;

/// Puts the key on each call.
#[derive(Clone)]
pub(super) struct ApiKey(Option<MetadataValue<Ascii>>);

impl Interceptor for ApiKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("api-key", key.clone());
        }
        Ok(request)
    }
}

/// The server's service for points.
pub(super) fn points(wire: Wire) -> PointsClient<Wire> {
    PointsClient::new(wire)
        .max_decoding_message_size(MOST_BYTES_READ)
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip)
}

/// The server's service for collections.
pub(super) fn collections(wire: Wire) -> CollectionsClient<Wire> {
    CollectionsClient::new(wire).max_decoding_message_size(MOST_BYTES_READ)
}

/// The server's service for snapshots.
pub(super) fn snapshots(wire: Wire) -> SnapshotsClient<Wire> {
    SnapshotsClient::new(wire).max_decoding_message_size(MOST_BYTES_READ)
}

/// The server's service for its health.
pub(super) fn health(wire: Wire) -> QdrantClient<Wire> {
    QdrantClient::new(wire)
}

/// A call to the server failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {action}: {problem}")]
pub(super) struct CallFault {
    action: &'static str,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    /// The server, or the way to it, gave this back after so many tries.
    Status { status: Status, tries: u32 },
    /// It gave no answer in time; what it said before, if it did.
    Late { timeout: Duration, before: Option<Status> },
    /// What it answered is not what was asked.
    Answer(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, tries: 1 } => formatter.write_str(&said(status)),
            Self::Status { status, tries } => write!(formatter, "{} (tried {tries} times)", said(status)),
            Self::Late { timeout, before: None } => write!(formatter, "no answer within {timeout:?}"),
            Self::Late { timeout, before: Some(status) } => {
                write!(formatter, "no answer within {timeout:?}; before that: {}", said(status))
            }
            Self::Answer(problem) => formatter.write_str(problem),
        }
    }
}

/// What a failure says. A server that finds a request at fault may repeat what was in it, which is not passed on.
fn said(status: &Status) -> String {
    if status.code() == Code::InvalidArgument {
        return "the server finds the request at fault".to_owned();
    }
    let message: String = status.message().chars().take(MOST_SAID).collect();
    // The innermost cause says most of a connection that failed.
    let mut cause = status.source();
    while let Some(next) = cause.and_then(Error::source) {
        cause = Some(next);
    }
    match cause.map(ToString::to_string).filter(|cause| !message.contains(cause.as_str())) {
        Some(cause) => format!("{}: {message}: {cause}", status.code()),
        None => format!("{}: {message}", status.code()),
    }
}

impl CallFault {
    /// An answer that is not what was asked; `problem` holds nothing of what a customer said.
    pub(super) fn answer(action: &'static str, problem: impl Into<String>) -> Self {
        Self { action, problem: Problem::Answer(problem.into()) }
    }

    fn status(&self) -> Option<&Status> {
        match &self.problem {
            Problem::Status { status, .. } => Some(status),
            _ => None,
        }
    }

    fn has_code(&self, code: Code) -> bool {
        self.status().is_some_and(|status| status.code() == code)
    }

    /// True if what was asked for is not there.
    pub(super) fn is_not_found(&self) -> bool {
        self.has_code(Code::NotFound)
    }

    /// True if what was to be made is there already.
    pub(super) fn is_already_there(&self) -> bool {
        let said = |status: &Status| status.message().contains("already exists");
        // Some servers say it in words alone.
        self.has_code(Code::AlreadyExists) || self.status().is_some_and(said)
    }

    /// True if the answer was longer than is read.
    pub(super) fn is_too_long(&self) -> bool {
        self.status().is_some_and(is_too_long)
    }

    /// The same, with what the server says of a request at fault; for requests that hold nothing of a customer.
    pub(super) fn in_full(&self) -> String {
        match self.status().filter(|status| status.code() == Code::InvalidArgument) {
            Some(status) => {
                let message: String = status.message().chars().take(MOST_SAID).collect();
                format!("could not {}: {message}", self.action)
            }
            None => self.to_string(),
        }
    }
}

impl From<CallFault> for CaseStoreError {
    fn from(fault: CallFault) -> Self {
        CaseStoreError::Unavailable(fault.to_string())
    }
}

/// True if the client stopped reading an answer because of its length.
fn is_too_long(status: &Status) -> bool {
    match status.code() {
        Code::OutOfRange => status.message().contains("message length too large"),
        Code::ResourceExhausted => status.message().starts_with("Error decompressing: size limit"),
        _ => false,
    }
}

/// True if the same call may well pass in a moment: the server was not reached, broke off, or is overloaded.
fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        Code::ResourceExhausted => !is_too_long(status),
        // What the server itself says has no source; a connection that broke has.
        Code::Unknown | Code::Internal | Code::Cancelled => status.source().is_some(),
        _ => false,
    }
}

/// How long the server asks to be left alone.
fn asked_pause(status: &Status) -> Duration {
    let seconds = status.metadata().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

/// The pause before the next try after `tried` of them: any part of a longest one, which grows with each.
pub(super) fn pause(tried: u32, part: f64) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << tried.min(16)).min(LONGEST_PAUSE);
    longest.mul_f64(part.clamp(0.0, 1.0))
}

/// A random number, 0 to 1.
fn any_part() -> f64 {
    const BITS: i32 = 48;
    (Uuid::new_v4().as_u128() >> (128 - BITS)) as f64 / 2f64.powi(BITS)
}

/// Makes calls to one server.
#[derive(Clone)]
pub(super) struct Calls {
    wire: Wire,
    timeout: Duration,
    retries: u32,
}

impl Calls {
    /// Calls to the server that the options name. Nothing is sent; the connection is made by the first call, and again by the first
    /// one after it broke.
    ///
    /// # Errors
    /// `Open` for options that are not allowed.
    pub(super) fn new(options: &QdrantOptions) -> Result<Self, CaseStoreError> {
        let uri: Uri = options.checked()?;
        let is_tls = uri.scheme_str() == Some("https");
        let mut endpoint = Endpoint::from(uri)
            .connect_timeout(options.timeout.min(LONGEST_CONNECT))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if is_tls {
            endpoint = endpoint
                .tls_config(ClientTlsConfig::new().with_native_roots())
                .map_err(|error| options.open_error(format!("no TLS: {error}")))?;
        }
        let key = options.api_key.as_ref().map(|key| {
            // The error would repeat the key.
            let value = key.parse::<MetadataValue<Ascii>>();
            let mut value =
                value.map_err(|_| options.open_error("the key holds characters that no header may hold"))?;
            value.set_sensitive(true);
            Ok::<_, CaseStoreError>(value)
        });
        let wire = InterceptedService::new(endpoint.connect_lazy(), ApiKey(key.transpose()?));
        Ok(Self { wire, timeout: options.timeout, retries: options.retries })
    }

    /// How long a call may take, in whole seconds, as servers are told it.
    pub(super) fn seconds(&self) -> u64 {
        self.timeout.as_secs().max(1)
    }

    /// Makes a call, which must change nothing when it is made twice.
    pub(super) async fn run<Q, R, F>(
        &self,
        action: &'static str,
        request: Q,
        send: impl Fn(Wire, Q) -> F + Send + Sync,
    ) -> Result<R, CallFault>
    where
        Q: Clone + Send + Sync,
        F: Future<Output = Result<Response<R>, Status>> + Send,
    {
        let deadline = Instant::now() + self.timeout;
        let fault = |problem| Err(CallFault { action, problem });
        let mut before = None;
        let mut tries = 0;
        loop {
            let attempt = send(self.wire.clone(), request.clone());
            let status = match timeout_at(deadline, attempt).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => return fault(Problem::Late { timeout: self.timeout, before }),
            };
            let pause = pause(tries, any_part()).max(asked_pause(&status));
            tries += 1;
            if tries > self.retries || !may_pass(&status) || Instant::now() + pause >= deadline {
                return fault(Problem::Status { status, tries });
            }
            tracing::debug!(action, tries, code = ?status.code(), "a call to the case store's server is made again");
            before = Some(status);
            sleep(pause).await;
        }
    }
}
