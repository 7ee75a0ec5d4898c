//! Messages that come on a subject, to be answered on another.
//!
//! Enters: the names of subjects. Leaves: messages, each until it is acknowledged; and what is published, which the server keeps
//! once for each id. Never here: what a message says.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, RetentionPolicy};
use async_nats::{HeaderMap, header};
use async_trait::async_trait;

use super::super::{Lease, QueueError};
use super::connection::{JetStreamOptions, begin, connect, patiently, whole_reason};
use super::{DUPLICATE_WINDOW, MessageHold, consumer, pull, refused};
use crate::telemetry::{TRACE_PARENT, TracePlace};

/// How long answers and what was set aside are kept in streams that are made here.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Header of a message that was set aside: why.
const REASON: &str = "Otklik-Reason";
/// Longest reason in a header, in characters.
const REASON_CHARS: usize = 500;

/// The subjects of continuous tagging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSubjects {
    /// Feedback comes on it.
    pub input: String,
    /// Tagged feedback is published on it.
    pub output: String,
    /// What can't be tagged is published on it, with the reason.
    pub set_aside: String,
}

/// A message that came.
pub struct FeedMessage {
    /// The id that its publisher gave it.
    pub id: Option<String>,
    /// Where it lies: the stream and the number in it. The same each time it comes.
    pub place: String,
    /// How often it came, this time counted.
    pub deliveries: u64,
    /// The place in a trace that its publisher was at, as the header `traceparent` names it.
    pub trace_parent: Option<String>,
    /// Its payload, and the hold on it.
    pub lease: Lease,
}

/// Messages in, messages out.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// The next message, or none after `wait`.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    async fn next(&self, wait: Duration) -> Result<Option<FeedMessage>, QueueError>;

    /// Publishes an answer; the server keeps one of each id for as long as it remembers ids.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    async fn publish(&self, id: &str, payload: Vec<u8>) -> Result<(), QueueError>;

    /// Publishes what can't be answered, as it came, with the reason.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    async fn set_aside(&self, id: &str, reason: &str, payload: Vec<u8>) -> Result<(), QueueError>;

    /// The time after which a silent message comes again.
    fn lease_time(&self) -> Duration;
}

/// Messages of a NATS server.
pub struct JetStreamFeed {
    context: Context,
    options: JetStreamOptions,
    subjects: FeedSubjects,
    messages: PullConsumer,
}

impl JetStreamFeed {
    /// Connects. A subject that no stream keeps gets one: input that waits is kept until it is tagged, and when it is full the
    /// publisher is refused; output is kept for seven days.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    pub async fn connect(options: JetStreamOptions, subjects: FeedSubjects) -> Result<Self, QueueError> {
        begin(|| Self::open(options.clone(), subjects.clone())).await
    }

    async fn open(options: JetStreamOptions, subjects: FeedSubjects) -> Result<Self, QueueError> {
        let context = connect(&options).await?;
        let prefix = &options.prefix;
        let limits = StreamConfig {
            max_messages: i64::try_from(options.max_messages).unwrap_or(i64::MAX),
            num_replicas: options.replicas,
            duplicate_window: DUPLICATE_WINDOW,
            ..StreamConfig::default()
        };
        let input = StreamConfig {
            name: format!("{prefix}-feedback-in"),
            subjects: vec![subjects.input.clone()],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            ..limits.clone()
        };
        let output = |name: &str, subject: &str| StreamConfig {
            name: format!("{prefix}-{name}"),
            subjects: vec![subject.to_owned()],
            max_age: KEPT,
            ..limits.clone()
        };
        let stream = keep(&context, input).await?;
        keep(&context, output("feedback-out", &subjects.output)).await?;
        keep(&context, output("feedback-aside", &subjects.set_aside)).await?;
        let pulled = consumer(format!("{prefix}-tagger"), subjects.input.clone(), &options);
        let messages = context.create_consumer_on_stream(pulled, stream).await;
        let messages = messages.map_err(|error| refused("make its consumer", &error))?;
        Ok(Self { context, options, subjects, messages })
    }

    async fn send(&self, subject: &str, headers: HeaderMap, payload: Vec<u8>) -> Result<(), QueueError> {
        let sent = patiently(
            "take a message",
            self.options.patience,
            // What is too long for the server stays too long.
            |error: &Unsent| error.is_final,
            || async {
                let unsent = |error: async_nats::jetstream::context::PublishError| Unsent {
                    is_final: error.kind() == async_nats::jetstream::context::PublishErrorKind::MaxPayloadExceeded,
                    reason: whole_reason(&error),
                };
                let sent =
                    self.context.publish_with_headers(subject.to_owned(), headers.clone(), payload.clone().into());
                sent.await.map_err(unsent)?.await.map(|_| ()).map_err(unsent)
            },
        );
        sent.await
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
struct Unsent {
    is_final: bool,
    reason: String,
}

/// The name of the stream that keeps the subject of `config`; made by `config` if there is none.
async fn keep(context: &Context, config: StreamConfig) -> Result<String, QueueError> {
    let subject = config.subjects.first().cloned().unwrap_or_default();
    if let Ok(name) = context.stream_by_subject(subject).await {
        return Ok(name);
    }
    let made = context.get_or_create_stream(config).await.map_err(|error| refused("make a stream", &error))?;
    Ok(made.cached_info().config.name.clone())
}

/// Headers of what is published under an id: whoever reads it goes on with the trace.
fn headers(id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::NATS_MESSAGE_ID, on_one_line(id));
    if let Some(place) = TracePlace::current().trace_parent() {
        headers.insert(TRACE_PARENT, place);
    }
    headers
}

/// A reason as a header can hold it.
fn on_one_line(reason: &str) -> String {
    reason.chars().take(REASON_CHARS).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[async_trait]
impl Feed for JetStreamFeed {
    async fn next(&self, wait: Duration) -> Result<Option<FeedMessage>, QueueError> {
        let Some(message) = pull(&self.messages, wait).await else { return Ok(None) };
        let (place, deliveries) = match message.info() {
            Ok(info) => {
                (format!("{}-{}", info.stream, info.stream_sequence), u64::try_from(info.delivered).unwrap_or(1))
            }
            Err(error) => return Err(QueueError::Refused { what: "number a message", reason: error.to_string() }),
        };
        let headers = message.headers.as_ref();
        let id = headers.and_then(|headers| headers.get(header::NATS_MESSAGE_ID)).map(|id| id.as_str().to_owned());
        let trace_parent = headers.and_then(|headers| headers.get(TRACE_PARENT)).map(|place| place.as_str().to_owned());
        let lease = Lease { payload: message.payload.to_vec(), hold: Box::new(MessageHold(message)) };
        Ok(Some(FeedMessage { id, place, deliveries, trace_parent, lease }))
    }

    async fn publish(&self, id: &str, payload: Vec<u8>) -> Result<(), QueueError> {
        let headers = headers(id);
        self.send(&self.subjects.output, headers, payload).await
    }

    async fn set_aside(&self, id: &str, reason: &str, payload: Vec<u8>) -> Result<(), QueueError> {
        let mut headers = headers(id);
        headers.insert(REASON, on_one_line(reason));
        self.send(&self.subjects.set_aside, headers, payload).await
    }

    fn lease_time(&self) -> Duration {
        self.options.lease_time
    }
}
