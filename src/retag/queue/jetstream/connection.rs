//! The connection to a NATS server, and patience with one that is away for a while.
//!
//! Enters: [`JetStreamOptions`]. Leaves: a connection that comes back by itself. Never here: streams, work.

use std::fmt::Display;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, ServerAddr};

use super::super::QueueError;

/// Longest time that one request may take before it is sent again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may be away when a program starts: one that is restarted comes back.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// Before a request that failed is sent again.
const PAUSE: Duration = Duration::from_millis(250);

/// How the queue is reached, and its limits.
#[derive(Debug, Clone, PartialEq)]
pub struct JetStreamOptions {
    /// Addresses of the servers, parted by commas: `nats://` or `tls://`, a host and a port.
    pub url: String,
    /// What the names of streams, buckets and subjects begin with: letters, digits, `-` and `_`.
    pub prefix: String,
    /// A file of credentials, as `nsc` writes them.
    pub credentials_file: Option<PathBuf>,
    /// A file that holds a token.
    pub token_file: Option<PathBuf>,
    /// The time after which silent work is leased to another.
    pub lease_time: Duration,
    /// Most work of all workers together that is leased at once.
    pub max_leased: usize,
    /// Most messages of a stream.
    pub max_messages: usize,
    /// Copies of streams and buckets in a cluster of servers.
    pub replicas: usize,
    /// How long a server may be away.
    pub patience: Duration,
}

/// The addresses as they may be shown: without name and password.
pub(super) fn shown(url: &str) -> String {
    let one = |address: &str| match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => address.to_owned(),
    };
    url.split(',').map(|address| one(address.trim())).collect::<Vec<_>>().join(",")
}

/// Begins something with a server that may be starting at this moment.
pub(super) async fn begin<T, F>(mut begun: impl FnMut() -> F) -> Result<T, QueueError>
where
    F: Future<Output = Result<T, QueueError>>,
{
    let give_up = Instant::now() + START_PATIENCE;
    loop {
        match begun().await {
            Err(QueueError::Unreachable { .. } | QueueError::Refused { .. }) if Instant::now() < give_up => {
                tokio::time::sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

/// Opens a connection.
pub(super) async fn connect(options: &JetStreamOptions) -> Result<Context, QueueError> {
    let setting = |key, problem| QueueError::Setting { key, problem };
    let mut addresses = Vec::new();
    for address in options.url.split(',') {
        let parsed = address.trim().parse::<ServerAddr>();
        addresses.push(parsed.map_err(|error| setting("queue.url", format!("{}: {error}", shown(address))))?);
    }
    let mut how = ConnectOptions::new().name("otklik").request_timeout(Some(REQUEST_TIMEOUT));
    if let Some(path) = &options.credentials_file {
        let key = "queue.credentials_file";
        let text = read(key, path)?;
        how = how.credentials(&text).map_err(|error| setting(key, format!("{}: {error}", path.display())))?;
    }
    if let Some(path) = &options.token_file {
        how = how.token(read("queue.token_file", path)?.trim().to_owned());
    }
    how = how.event_callback(|event| async move {
        match event {
            async_nats::Event::Disconnected => tracing::warn!("the queue's server is away"),
            async_nats::Event::Connected => tracing::info!("connected with the queue's server"),
            other => tracing::debug!(event = %other, "the queue's connection"),
        }
    });
    let reached = how.connect(addresses).await;
    let client =
        reached.map_err(|error| QueueError::Unreachable { url: shown(&options.url), reason: whole_reason(&error) })?;
    let mut context = jetstream::new(client);
    context.set_timeout(REQUEST_TIMEOUT);
    Ok(context)
}

/// A file that is read once at the start, and small.
fn read(key: &'static str, path: &Path) -> Result<String, QueueError> {
    let problem = |error| QueueError::Setting { key, problem: format!("{}: {error}", path.display()) };
    std::fs::read_to_string(path).map_err(problem)
}

/// An error with what it came from.
pub(super) fn whole_reason(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        source = error.source();
    }
    reason
}

/// Sends a request until it is answered, or patience is over; an answer that `is_final` is not asked for again.
pub(super) async fn patiently<T, E, F>(
    what: &'static str,
    patience: Duration,
    is_final: impl Fn(&E) -> bool + Send,
    mut request: impl FnMut() -> F + Send,
) -> Result<T, QueueError>
where
    T: Send,
    E: Display + Send,
    F: Future<Output = Result<T, E>> + Send,
{
    let give_up = Instant::now() + patience;
    loop {
        match request().await {
            Ok(answer) => return Ok(answer),
            Err(error) if is_final(&error) || Instant::now() >= give_up => {
                return Err(QueueError::Refused { what, reason: error.to_string() });
            }
            Err(error) => {
                tracing::debug!(what, %error, "the queue is asked again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("nats://me:secret@host:4222, tls://b"), "nats://host:4222,tls://b");
        assert_eq!(shown("nats://host:4222"), "nats://host:4222");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_away_is_waited_for_and_a_refusal_is_not() {
        let mut calls = 0;
        let answer = patiently(
            "count",
            Duration::from_secs(60),
            |_: &String| false,
            || {
                calls += 1;
                let answer = if calls < 4 { Err("away".to_owned()) } else { Ok(calls) };
                async move { answer }
            },
        );
        assert_eq!(answer.await, Ok(4));
        let refused =
            patiently("count", Duration::from_secs(60), |_: &String| true, || async { Err::<u8, _>("no".to_owned()) });
        assert_eq!(refused.await, Err(QueueError::Refused { what: "count", reason: "no".into() }));
    }
}
