//! Tagging one checked piece of feedback: its deadline, its panics and its errors, for every service alike.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use tonic::Status;

use super::status;
use crate::feedback::Feedback;
use crate::tagging::{Lane, Tagged, Tagger, Urgency};

/// The tagger of this moment: what a call of many texts asks, so that one version of the taxonomy answers it wholly.
pub(super) fn pinned(tagger: &Arc<dyn Tagger>) -> Arc<dyn Tagger> {
    tagger.pinned().unwrap_or_else(|| Arc::clone(tagger))
}

/// Tags; `path` leads to the feedback in the request, with a dot at its end.
///
/// # Errors
/// The status of [`status::of_tagging`]; INTERNAL if the tagger panics.
pub(super) async fn tag(
    tagger: &dyn Tagger,
    feedback: Feedback,
    path: &str,
    lane: Lane,
    due: Instant,
) -> Result<Tagged, Status> {
    tag_with(tagger, feedback, path, Urgency { deadline: Some(due), lane, consult: None }, due).await
}

/// Tags, as urgent as told.
///
/// # Errors
/// Those of [`tag`].
pub(super) async fn tag_with(
    tagger: &dyn Tagger,
    feedback: Feedback,
    path: &str,
    urgency: Urgency,
    due: Instant,
) -> Result<Tagged, Status> {
    let work = AssertUnwindSafe(async { tagger.tag(feedback, urgency).await }).catch_unwind();
    match tokio::time::timeout_at(due.into(), work).await {
        Ok(Ok(outcome)) => outcome.map_err(|error| status::of_tagging(error, path)),
        Ok(Err(_)) => Err(status::internal("the tagger panicked")),
        Err(_) => Err(status::deadline_exceeded()),
    }
}
