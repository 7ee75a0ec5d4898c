//! Why a taxonomy was not put in force.

use crate::cases::CaseStoreError;
use crate::tagging::TaggingError;
use crate::tags::TaxonomyVersion;
use crate::taxonomy::TaxonomyError;
use crate::taxonomy::versions::VersionsError;

/// Why nothing that serves can be made of a taxonomy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MakeError {
    /// Something of the company's own does not go with it; `key` is the key of the configuration that names it.
    #[error("{key}: {problem}")]
    Unfit {
        /// The key of the configuration.
        key: &'static str,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// Models can't be made of it.
    #[error("{0}")]
    Unusable(String),
    /// The service has too much to do.
    #[error("{0}")]
    Overloaded(String),
    /// The store whose corrections it recalls does not answer; it may be tried again.
    #[error("{0}")]
    Unavailable(String),
    /// Something broke on our side.
    #[error("{0}")]
    Failed(String),
}

impl From<CaseStoreError> for MakeError {
    fn from(error: CaseStoreError) -> Self {
        match error {
            CaseStoreError::Busy { .. } | CaseStoreError::Full { .. } => Self::Overloaded(error.to_string()),
            CaseStoreError::Open { .. } | CaseStoreError::Unavailable(_) => Self::Unavailable(error.to_string()),
            CaseStoreError::Invalid { .. } | CaseStoreError::NotFound { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl From<TaggingError> for MakeError {
    fn from(error: TaggingError) -> Self {
        match error {
            TaggingError::Overloaded { .. } => Self::Overloaded(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Why a taxonomy was not put in force. What served before serves on.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The source has problems.
    #[error(transparent)]
    Invalid(TaxonomyError),
    /// The version in force is not the one that the caller knows.
    #[error("the version in force is {current}, not {expected}")]
    Conflict {
        /// What the caller expected.
        expected: TaxonomyVersion,
        /// What is in force.
        current: TaxonomyVersion,
    },
    /// Another publication is in work.
    #[error("another publication is in work; look at what it changes, and publish again after it")]
    Busy,
    /// Nothing that serves can be made of it.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// The deadline passed before it was put in force.
    #[error("the deadline passed before the taxonomy was put in force")]
    DeadlineExceeded,
    /// A version is not kept, or the folder of versions can't be read or written.
    #[error(transparent)]
    Versions(VersionsError),
    /// Something broke on our side.
    #[error("{0}")]
    Failed(String),
}

impl From<VersionsError> for PublishError {
    fn from(error: VersionsError) -> Self {
        match error {
            VersionsError::Conflict { expected, current } => Self::Conflict { expected, current },
            other => Self::Versions(other),
        }
    }
}
