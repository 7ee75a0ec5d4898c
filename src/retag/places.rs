//! Places that work side by side until they are told to stop, and what they did together.

use std::future::Future;
use std::ops::AddAssign;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::RetagError;

/// Runs so many places until each has ended, and adds up what they did. When `stop` resolves, all are told; `what` they then end first.
///
/// # Errors
/// That of the first place that fails; the others are given up.
pub(super) async fn side_by_side<S, F>(
    places: usize,
    what: &'static str,
    place: impl Fn(watch::Receiver<bool>) -> F,
    stop: impl Future<Output = ()>,
) -> Result<S, RetagError>
where
    S: AddAssign + Default + Send + 'static,
    F: Future<Output = Result<S, RetagError>> + Send + 'static,
{
    let (stopping, stopped) = watch::channel(false);
    let mut working = JoinSet::new();
    for _ in 0..places.max(1) {
        working.spawn(place(stopped.clone()));
    }
    let mut summary = S::default();
    let mut stop = std::pin::pin!(stop);
    let mut is_told = false;
    loop {
        let ended = tokio::select! {
            ended = working.join_next() => ended,
            () = &mut stop, if !is_told => {
                is_told = true;
                tracing::info!("stopping: {what} in work are ended first");
                stopping.send_replace(true);
                continue;
            }
        };
        let Some(ended) = ended else { return Ok(summary) };
        summary += ended??;
    }
}
