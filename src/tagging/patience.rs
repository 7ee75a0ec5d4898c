//! Tagging for work in bulk, where nobody waits for a single text.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::feedback::Feedback;

use super::{Tagged, Tagger, TaggingError, Urgency};

/// How long one text may be turned away by a full queue before that counts as a failure.
const OVERLOAD_PATIENCE: Duration = Duration::from_secs(120);

/// Tags a row of a table in bulk. A full queue is no reason to give up: nobody waits for a row of a table as a caller waits for an
/// answer.
///
/// # Errors
/// As [`Tagger::tag`]; [`TaggingError::Overloaded`] only if the queue stays full for two minutes.
pub async fn tag_patiently(feedback: &Feedback, tagger: &dyn Tagger) -> Result<Tagged, TaggingError> {
    patiently(|| tagger.tag(feedback.clone(), Urgency::BULK)).await
}

/// Does some work, and again as long as a full queue turns it away.
pub(super) async fn patiently<T, F>(mut work: impl FnMut() -> F) -> Result<T, TaggingError>
where
    F: Future<Output = Result<T, TaggingError>>,
{
    let give_up = Instant::now() + OVERLOAD_PATIENCE;
    let mut pause = Duration::from_millis(10);
    loop {
        match work().await {
            Err(TaggingError::Overloaded { .. }) if Instant::now() < give_up => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            other => return other,
        }
    }
}
