//! Tagging one checked piece of feedback: what it costs its caller, its deadline, its panics and its errors, for every service alike.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use tonic::Status;

use super::account::Account;
use super::status;
use crate::feedback::Feedback;
use crate::tagging::{Lane, Tagged, Tagger, TaggingError, Urgency};

/// The tagger of this moment: what a call of many texts asks, so that one version of the taxonomy answers it wholly.
pub(super) fn pinned(tagger: &Arc<dyn Tagger>) -> Arc<dyn Tagger> {
    tagger.pinned().unwrap_or_else(|| Arc::clone(tagger))
}

/// Tags; `path` leads to the feedback in the request, with a dot at its end.
///
/// # Errors
/// The status of [`status::of_tagging`]; RESOURCE_EXHAUSTED if the caller has spent what it may; INTERNAL if the tagger panics.
pub(super) async fn tag(
    tagger: &dyn Tagger,
    account: &Account,
    feedback: Feedback,
    path: &str,
    lane: Lane,
    due: Instant,
) -> Result<Tagged, Status> {
    let urgency = Urgency { deadline: Some(due), lane, ..Urgency::default() };
    tag_with(tagger, account, feedback, path, urgency, due).await
}

/// Tags, as urgent as told, in the turns of the caller's tenant.
///
/// # Errors
/// Those of [`tag`].
pub(super) async fn tag_with(
    tagger: &dyn Tagger,
    account: &Account,
    feedback: Feedback,
    path: &str,
    urgency: Urgency,
    due: Instant,
) -> Result<Tagged, Status> {
    let spent = account.spend(feedback.body.chars())?;
    let urgency = Urgency { party: account.party(), ..urgency };
    let work = AssertUnwindSafe(async { tagger.tag(feedback, urgency).await }).catch_unwind();
    match tokio::time::timeout_at(due.into(), work).await {
        Ok(Ok(Ok(tagged))) => {
            account.settle(spent, u64::from(tagged.tags.tokens));
            Ok(tagged)
        }
        Ok(Ok(Err(error))) => {
            let was_computed = matches!(error, TaggingError::DeadlineExceeded | TaggingError::Internal(_));
            if was_computed {
                spent.stands()
            } else {
                account.settle(spent, 0)
            }
            Err(status::of_tagging(error, path))
        }
        Ok(Err(_)) => Err(status::internal("the tagger panicked")),
        Err(_) => Err(status::deadline_exceeded()),
    }
}
