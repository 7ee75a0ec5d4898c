//! The requests of a stream, as every service of streams takes them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tonic::{Status, Streaming};

use super::drain::Drain;
use super::status;
use crate::config::Config;

/// The requests of a stream until its caller is done, it fails, idles too long, or the service drains; all but the first end it with
/// a status.
pub(super) fn requests<T: Send + 'static>(
    requests: Streaming<T>,
    config: &Arc<Config>,
    drain: &Drain,
) -> impl Stream<Item = Result<T, Status>> + Send + use<T> {
    let (config, drain) = (Arc::clone(config), drain.clone());
    let idle = Duration::from_millis(config.server.stream_idle_ms);
    stream::unfold(Some(requests), move |state| {
        let (config, drain) = (Arc::clone(&config), drain.clone());
        async move {
            let mut requests = state?;
            let read = tokio::select! {
                biased;
                () = drain.begun() => Err(status::shutting_down()),
                read = tokio::time::timeout(idle, requests.message()) => match read {
                    Ok(read) => read.map_err(|error| status::of_reading(error, config.server.max_message_bytes)),
                    Err(_) => Err(Status::deadline_exceeded(format!(
                        "no request came for {} ms (server.stream_idle_ms)",
                        config.server.stream_idle_ms
                    ))),
                },
            };
            match read {
                Ok(Some(request)) => Some((Ok(request), Some(requests))),
                Ok(None) => None,
                Err(end) => Some((Err(end), None)),
            }
        }
    })
}
