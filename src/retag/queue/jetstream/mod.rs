//! The queue on NATS JetStream, for any number of machines.
//!
//! Enters and leaves: as [`WorkQueue`] says. Work lies in a stream of work-queue retention with one durable consumer that all
//! workers pull from; values lie in two key-value buckets. Never here: what work is.

mod connection;
mod feed;

use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config as PullConfig;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer};
use async_nats::jetstream::kv::{self, EntryErrorKind, Operation, UpdateErrorKind};
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, Stream,
};
use async_nats::jetstream::{AckKind, Context, Message};
use async_nats::{HeaderMap, header};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};

use self::connection::{begin, connect, patiently, whole_reason};
use super::{Change, Expected, Hold, Lease, QueueError, Shelf, Stored, Work, WorkQueue};

pub use self::connection::JetStreamOptions;
pub use self::feed::{Feed, FeedMessage, FeedSubjects, JetStreamFeed};

/// How long a publisher's id is known again.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// How much longer than asked for an answer to a pull may take.
const PULL_GRACE: Duration = Duration::from_secs(2);
/// Pulls that may wait at the server at once.
const MAX_PULLS: i64 = 4_096;
/// Longest time of one answer to a lease.
const ACK_PATIENCE: Duration = Duration::from_secs(10);

/// The queue on a NATS server.
pub struct JetStreamQueue {
    context: Context,
    options: JetStreamOptions,
    work: Stream,
    workers: PullConsumer,
    jobs: kv::Store,
    chunks: kv::Store,
}

impl JetStreamQueue {
    /// Connects, and makes the stream, the consumer and the buckets where they are not there.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    pub async fn connect(options: JetStreamOptions) -> Result<Self, QueueError> {
        begin(|| Self::open(options.clone())).await
    }

    async fn open(options: JetStreamOptions) -> Result<Self, QueueError> {
        let context = connect(&options).await?;
        let prefix = &options.prefix;
        let stream = StreamConfig {
            name: format!("{prefix}-chunks"),
            subjects: vec![format!("{prefix}.chunks.>")],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_messages: i64::try_from(options.max_messages).unwrap_or(i64::MAX),
            duplicate_window: DUPLICATE_WINDOW,
            num_replicas: options.replicas,
            description: Some("Chunks of tables to be tagged".to_owned()),
            ..StreamConfig::default()
        };
        let work = context.get_or_create_stream(stream).await.map_err(|error| refused("make its stream", &error))?;
        let workers = context
            .create_consumer_on_stream(
                consumer(format!("{prefix}-workers"), String::new(), &options),
                work.cached_info().config.name.clone(),
            )
            .await
            .map_err(|error| refused("make its consumer", &error))?;
        let jobs = bucket(&context, format!("{prefix}-jobs"), "Jobs of re-tagging", &options).await?;
        let chunks = bucket(&context, format!("{prefix}-chunk-states"), "What became of chunks", &options).await?;
        Ok(Self { context, options, work, workers, jobs, chunks })
    }

    fn shelf(&self, shelf: Shelf) -> &kv::Store {
        match shelf {
            Shelf::Jobs => &self.jobs,
            Shelf::Chunks => &self.chunks,
        }
    }

    fn subject(&self, work: &Work) -> String {
        format!("{}.chunks.{}.{}", self.options.prefix, work.job, work.name)
    }

    /// True if the work is in the stream: it waits, or is leased.
    async fn holds(&self, work: &Work) -> Result<bool, QueueError> {
        let subject = self.subject(work);
        let found = patiently(
            "say whether work waits",
            self.options.patience,
            |_: &String| false,
            || async {
                match self.work.get_last_raw_message_by_subject(&subject).await {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(false),
                    Err(error) => Err(whole_reason(&error)),
                }
            },
        );
        found.await
    }

    /// Deletes the work of these subjects, one by one: servers before 2.10 pass over the work of others when a consumer's stream is purged
    /// by subject.
    async fn delete_all(&self, filter: &str) -> Result<(), String> {
        let listed = self.work.info_with_subjects(filter).await.map_err(|error| whole_reason(&error))?;
        let subjects: Vec<(String, usize)> = listed.try_collect().await.map_err(|error| whole_reason(&error))?;
        for (subject, count) in subjects {
            for _ in 0..count {
                let last = match self.work.get_last_raw_message_by_subject(&subject).await {
                    Ok(last) => last,
                    Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => break,
                    Err(error) => return Err(whole_reason(&error)),
                };
                // What a worker acknowledged meanwhile is gone already.
                if let Err(error) = self.work.delete_message(last.sequence).await
                    && !matches!(self.work.get_raw_message(last.sequence).await, Err(gone) if gone.kind() == LastRawMessageErrorKind::NoMessageFound)
                {
                    return Err(whole_reason(&error));
                }
            }
        }
        Ok(())
    }
}

/// What all workers pull from; a new start of a worker brings its settings up to date.
fn consumer(name: String, filter_subject: String, options: &JetStreamOptions) -> PullConfig {
    PullConfig {
        durable_name: Some(name),
        ack_policy: AckPolicy::Explicit,
        ack_wait: options.lease_time,
        // Tries are counted by who does the work: what is handed to a machine that may not do it is no try.
        max_deliver: -1,
        max_ack_pending: i64::try_from(options.max_leased).unwrap_or(i64::MAX),
        max_waiting: MAX_PULLS,
        filter_subject,
        ..PullConfig::default()
    }
}

async fn bucket(
    context: &Context,
    name: String,
    description: &str,
    options: &JetStreamOptions,
) -> Result<kv::Store, QueueError> {
    if let Ok(found) = context.get_key_value(&name).await {
        return Ok(found);
    }
    // The stream of a bucket is made here: the client asks for the account first, and does not understand what servers before 2.10 say.
    let config = StreamConfig {
        name: format!("KV_{name}"),
        description: Some(description.to_owned()),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        num_replicas: options.replicas,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        discard: DiscardPolicy::New,
        ..StreamConfig::default()
    };
    let made = context.create_stream(config).await;
    // Another machine may have made it in between.
    let found = context.get_key_value(&name).await;
    found.map_err(|missing| refused("make its bucket", made.as_ref().err().map_or(&missing as _, |error| error)))
}

fn refused(what: &'static str, error: &dyn std::error::Error) -> QueueError {
    QueueError::Refused { what, reason: whole_reason(error) }
}

/// Pulls one message, or none after `wait`. A server that is away gives none.
async fn pull(consumer: &PullConsumer, wait: Duration) -> Option<Message> {
    let pulled = async {
        let mut messages =
            consumer.batch().max_messages(1).expires(wait).messages().await.map_err(|error| whole_reason(&error))?;
        messages.next().await.transpose().map_err(|error| error.to_string())
    };
    match tokio::time::timeout(wait + PULL_GRACE, pulled).await {
        Ok(Ok(message)) => message,
        Ok(Err(error)) => {
            tracing::debug!(error, "nothing was pulled");
            tokio::time::sleep(Duration::from_millis(200)).await;
            None
        }
        // An answer that comes now is lost, and its work is leased again when the time of that lease is over.
        Err(_) => None,
    }
}

struct MessageHold(Message);

#[async_trait]
impl Hold for MessageHold {
    async fn extend(&self) -> Result<(), QueueError> {
        let refused =
            |error: async_nats::Error| QueueError::Refused { what: "extend a lease", reason: error.to_string() };
        self.0.ack_with(AckKind::Progress).await.map_err(refused)
    }

    async fn acknowledge(&self) -> Result<(), QueueError> {
        patiently("take an acknowledgement", ACK_PATIENCE, |_: &async_nats::Error| false, || self.0.double_ack()).await
    }

    async fn give_back(&self, pause: Duration) -> Result<(), QueueError> {
        let refused =
            |error: async_nats::Error| QueueError::Refused { what: "take work back", reason: error.to_string() };
        self.0.ack_with(AckKind::Nak(Some(pause))).await.map_err(refused)
    }
}

#[async_trait]
impl WorkQueue for JetStreamQueue {
    async fn publish(&self, work: &Work) -> Result<(), QueueError> {
        if self.holds(work).await? {
            return Ok(());
        }
        let subject = self.subject(work);
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, format!("{}.{}.{}", work.job, work.name, work.round));
        let published = patiently(
            "take more work",
            self.options.patience,
            |_: &String| false,
            || async {
                let sent =
                    self.context.publish_with_headers(subject.clone(), headers.clone(), work.payload.clone().into());
                let sent = sent.await.map_err(|error| whole_reason(&error))?;
                sent.await.map(|_| ()).map_err(|error| whole_reason(&error))
            },
        );
        published.await
    }

    async fn lease(&self, wait: Duration) -> Result<Option<Lease>, QueueError> {
        let message = pull(&self.workers, wait).await;
        Ok(message.map(|message| Lease { payload: message.payload.to_vec(), hold: Box::new(MessageHold(message)) }))
    }

    fn lease_time(&self) -> Duration {
        self.options.lease_time
    }

    async fn get(&self, shelf: Shelf, key: &str) -> Result<Option<Stored>, QueueError> {
        let store = self.shelf(shelf);
        let is_final = |error: &kv::EntryError| error.kind() == EntryErrorKind::InvalidKey;
        let entry = patiently("give a value", self.options.patience, is_final, || store.entry(key)).await?;
        let written = entry.filter(|entry| entry.operation == Operation::Put);
        Ok(written.map(|entry| Stored { value: entry.value.to_vec(), revision: entry.revision }))
    }

    async fn put(&self, shelf: Shelf, key: &str, value: Vec<u8>, expected: Expected) -> Result<bool, QueueError> {
        let store = self.shelf(shelf);
        let was_written = patiently(
            "take a value",
            self.options.patience,
            |_: &String| false,
            || async {
                let written = match expected {
                    Expected::Anything => {
                        return store
                            .put(key, value.clone().into())
                            .await
                            .map(|_| true)
                            .map_err(|error| whole_reason(&error));
                    }
                    Expected::Absent => store.update(key, value.clone().into(), 0).await,
                    Expected::Revision(revision) => store.update(key, value.clone().into(), revision).await,
                };
                match written {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
                    Err(error) => Err(whole_reason(&error)),
                }
            },
        )
        .await?;
        if was_written {
            return Ok(true);
        }
        // The answer to a first sending may have been lost: then what stands there is ours.
        let stored = self.get(shelf, key).await?;
        Ok(stored.is_some_and(|stored| stored.value == value))
    }

    async fn keys(&self, shelf: Shelf) -> Result<Vec<String>, QueueError> {
        let store = self.shelf(shelf);
        let listed = patiently(
            "list its keys",
            self.options.patience,
            |_: &String| false,
            || async {
                let keys = store.keys().await.map_err(|error| whole_reason(&error))?;
                keys.try_collect::<Vec<String>>().await.map_err(|error| whole_reason(&error))
            },
        );
        let mut keys = listed.await?;
        keys.sort();
        Ok(keys)
    }

    async fn watch(&self, job: &str) -> Result<BoxStream<'static, Change>, QueueError> {
        let key = format!("{job}.>");
        let is_final = |_: &kv::WatchError| false;
        let changes =
            patiently("tell of changes", self.options.patience, is_final, || self.chunks.watch_with_history(&key))
                .await?;
        let changes = changes.take_while(|change| std::future::ready(change.is_ok())).filter_map(|change| async move {
            let entry = change.ok().filter(|entry| entry.operation == Operation::Put)?;
            Some(Change { key: entry.key, value: entry.value.to_vec() })
        });
        Ok(changes.boxed())
    }

    async fn withdraw(&self, job: &str) -> Result<(), QueueError> {
        let filter = format!("{}.chunks.{job}.>", self.options.prefix);
        let is_final = |_: &String| false;
        patiently("take work out", self.options.patience, is_final, || self.delete_all(&filter)).await?;
        let filter = format!("{}{job}.>", self.chunks.prefix);
        patiently("forget values", self.options.patience, is_final, || async {
            self.chunks.stream.purge().filter(filter.clone()).await.map(|_| ()).map_err(|error| whole_reason(&error))
        })
        .await
    }
}
