//! The queue that many machines share, from a configuration.
//!
//! Enters: a [`Config`]. Leaves: [`JetStreamOptions`]. Never here: connections.

use std::time::Duration;

use crate::config::Config;
use crate::retag::queue::JetStreamOptions;

/// How the configured queue is reached; `None` if none is configured.
pub fn queue_options(config: &Config) -> Option<JetStreamOptions> {
    let queue = &config.queue;
    Some(JetStreamOptions {
        url: queue.url.clone()?,
        prefix: queue.prefix.clone(),
        credentials_file: queue.credentials_file.clone(),
        token_file: queue.token_file.clone(),
        lease_time: Duration::from_secs(queue.ack_wait_seconds),
        max_leased: queue.max_leased,
        max_messages: queue.max_messages,
        replicas: queue.replicas,
        patience: Duration::from_secs(queue.patience_seconds),
    })
}
