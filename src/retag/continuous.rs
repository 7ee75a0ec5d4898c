//! Continuous tagging: feedback that comes on a subject is tagged and published on another.
//!
//! Enters: messages, each one JSON object as a row of JSON Lines that `otklik classify` reads. Leaves: the same object with its
//! tags, under the id of the feedback, acknowledged only after it is published; what can't be tagged is set aside with the reason.
//! A message may come twice and is then published twice under the same id: the server keeps one of them for as long as it remembers
//! ids, and a reader that knows ids sees each once for ever. Never here: NATS, models.

use std::future::Future;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::tables::{ColumnMap, OutputFormat, Preparation, Row, TAGS_COLUMN, object_row};
use crate::tagging::{Tagger, TaggingError, tag_patiently};
use crate::telemetry::TracePlace;

use super::RetagError;
use super::earlier::TagColumns;
use super::places::side_by_side;
use super::queue::{Feed, FeedMessage, QueueError};

/// How long one question for a message waits.
const NEXT_WAIT: Duration = Duration::from_secs(5);
/// Before a message that could not be tagged comes again.
const TRY_PAUSE: Duration = Duration::from_secs(2);
/// A message is held so often within the time of its lease.
const EXTENSIONS: u32 = 3;

/// How messages are tagged.
#[derive(Debug, Clone)]
pub struct ContinuousOptions {
    /// Messages that are tagged side by side.
    pub side_by_side: usize,
    /// How often a message that is no fault of its own is tried before it is set aside.
    pub max_tries: u64,
    /// How long messages in work may take to end after it was told to stop.
    pub drain: Duration,
    /// Which field of the object holds what.
    pub columns: ColumnMap,
    /// What is done to feedback before it is tagged.
    pub preparation: Preparation,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContinuousSummary {
    /// Messages that were tagged and published.
    pub tagged: u64,
    /// Messages that were set aside.
    pub set_aside: u64,
}

impl AddAssign for ContinuousSummary {
    fn add_assign(&mut self, more: Self) {
        self.tagged += more.tagged;
        self.set_aside += more.set_aside;
    }
}

/// A message that was tagged, or why it was not.
enum Answer {
    Tagged { id: String, payload: Vec<u8> },
    Invalid { id: String, reason: String },
    Failed { id: String, reason: String },
}

/// Tags what comes until `stop` resolves, then ends what is in work; what takes longer than may be comes again later.
///
/// # Errors
/// [`RetagError`] if messages can't be taken or published any longer.
pub async fn tag_continuously(
    feed: Arc<dyn Feed>,
    tagger: Arc<dyn Tagger>,
    options: ContinuousOptions,
    stop: impl Future<Output = ()>,
) -> Result<ContinuousSummary, RetagError> {
    let places = options.side_by_side;
    let place = |stopped| work(Arc::clone(&feed), Arc::clone(&tagger), options.clone(), stopped);
    side_by_side(places, "messages", place, stop).await
}

/// One place: one message at a time.
async fn work(
    feed: Arc<dyn Feed>,
    tagger: Arc<dyn Tagger>,
    options: ContinuousOptions,
    mut stopped: watch::Receiver<bool>,
) -> Result<ContinuousSummary, RetagError> {
    let mut summary = ContinuousSummary::default();
    while !*stopped.borrow() {
        let next = tokio::select! {
            next = feed.next(NEXT_WAIT) => next?,
            _ = stopped.changed() => break,
        };
        let Some(message) = next else { continue };
        let drained = async {
            if stopped.wait_for(|told| *told).await.is_ok() {
                tokio::time::sleep(options.drain).await;
            }
        };
        let place = TracePlace::of_message("tag feedback", message.trace_parent.as_deref());
        place.tell("messaging.message.id", message.place.clone());
        place.tell("deliveries", i64::try_from(message.deliveries).unwrap_or(i64::MAX));
        tokio::select! {
            attended = place.clone().hold(attend(&*feed, &*tagger, &options, message)) => {
                let (outcome, is_failure) = match &attended {
                    Ok(ContinuousSummary { tagged: 1.., .. }) => ("tagged", false),
                    Ok(ContinuousSummary { set_aside: 1.., .. }) => ("set_aside", false),
                    Ok(_) => ("given_back", true),
                    Err(_) => ("lost", true),
                };
                place.message_ended(outcome, is_failure);
                summary += attended?;
            }
            // Dropped without an answer, the message comes again.
            () = drained => break,
        }
    }
    Ok(summary)
}

async fn attend(
    feed: &dyn Feed,
    tagger: &dyn Tagger,
    options: &ContinuousOptions,
    message: FeedMessage,
) -> Result<ContinuousSummary, RetagError> {
    let answer = while_extending(feed, &message, answer(tagger, options, &message)).await;
    let FeedMessage { place, deliveries, lease, .. } = message;
    match answer {
        Answer::Tagged { id, payload } => {
            if let Err(error) = feed.publish(&id, payload).await {
                return failed(feed, options, &place, &id, error.to_string(), deliveries, lease).await;
            }
            answered(lease.acknowledge().await);
            tracing::debug!(place, "a message is tagged");
            Ok(ContinuousSummary { tagged: 1, set_aside: 0 })
        }
        Answer::Invalid { id, reason } => {
            // The reason may hold words of the message, which the log never does.
            tracing::warn!(place, "a message can't be read as feedback and is set aside");
            feed.set_aside(&id, &reason, lease.payload.clone()).await?;
            answered(lease.acknowledge().await);
            Ok(ContinuousSummary { tagged: 0, set_aside: 1 })
        }
        Answer::Failed { id, reason } => failed(feed, options, &place, &id, reason, deliveries, lease).await,
    }
}

async fn failed(
    feed: &dyn Feed,
    options: &ContinuousOptions,
    place: &str,
    id: &str,
    reason: String,
    deliveries: u64,
    lease: super::queue::Lease,
) -> Result<ContinuousSummary, RetagError> {
    tracing::warn!(place, deliveries, reason, "a message could not be tagged");
    if deliveries < options.max_tries {
        answered(lease.give_back(TRY_PAUSE).await);
        return Ok(ContinuousSummary::default());
    }
    feed.set_aside(id, &format!("{deliveries} tries failed, the last: {reason}"), lease.payload.clone()).await?;
    answered(lease.acknowledge().await);
    Ok(ContinuousSummary { tagged: 0, set_aside: 1 })
}

async fn answer(tagger: &dyn Tagger, options: &ContinuousOptions, message: &FeedMessage) -> Answer {
    let fallback = message.id.clone().unwrap_or_else(|| message.place.clone());
    let invalid = |id: &str, reason: String| Answer::Invalid { id: id.to_owned(), reason };
    if message.deliveries > options.max_tries {
        let reason = format!("it came {} times and was never answered", message.deliveries);
        return invalid(&fallback, reason);
    }
    let mut row: Row = match object_row(&message.lease.payload, &options.columns, &fallback) {
        Ok(row) => row,
        Err(problem) => return invalid(&fallback, problem.to_string()),
    };
    let id = row.feedback.id.clone();
    let columns = TagColumns::new("", OutputFormat::Jsonl);
    let prepared = columns.take(&mut row.columns).and_then(|_| options.preparation.apply(&mut row.feedback));
    if let Err(reason) = prepared {
        return invalid(&id, reason);
    }
    let tagged = match tag_patiently(&row.feedback, tagger).await {
        Ok(tagged) => tagged,
        Err(error @ TaggingError::Invalid { .. }) => return invalid(&id, error.to_string()),
        Err(error) => return Answer::Failed { id, reason: error.to_string() },
    };
    let written = serde_json::to_value(&tagged.tags).and_then(|tags| {
        row.columns.insert(TAGS_COLUMN.to_owned(), tags);
        serde_json::to_vec(&Value::Object(row.columns))
    });
    match written {
        Ok(payload) => Answer::Tagged { id, payload },
        Err(error) => Answer::Failed { id, reason: error.to_string() },
    }
}

/// Does the work and keeps the message meanwhile.
async fn while_extending<T>(feed: &dyn Feed, message: &FeedMessage, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(feed.lease_time() / EXTENSIONS) => answered(message.lease.extend().await),
        }
    }
}

/// A message whose answer did not reach the server comes again.
fn answered(answer: Result<(), QueueError>) {
    if let Err(error) = answer {
        tracing::debug!(%error, "an answer to a message was lost");
    }
}

#[cfg(test)]
mod tests;
