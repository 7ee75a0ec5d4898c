//! Why the queue does not do what it is asked.

/// Why the queue does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// A setting can't be used.
    #[error("{key}: {problem}")]
    Setting {
        /// The key of the configuration.
        key: &'static str,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// No server answers.
    #[error("queue.url: {url} can't be reached: {reason}")]
    Unreachable {
        /// The address, without a password.
        url: String,
        /// Why.
        reason: String,
    },
    /// The server answers, and does not do it.
    #[error("the queue does not {what}: {reason}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// A value on the shelf can't be understood.
    #[error("the queue's value of {key}: {problem}; was it written by another version of otklik?")]
    Damaged {
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl QueueError {
    /// True for what the caller can mend.
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::Setting { .. } | Self::Unreachable { .. })
    }
}
