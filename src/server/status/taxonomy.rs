//! Statuses of taxonomies that were not put in force.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{Faults, deadline_exceeded, internal, overloaded, unavailable, unmet};
use crate::serving::{MakeError, PublishError};
use crate::taxonomy::TaxonomyError;
use crate::taxonomy::versions::VersionsError;

/// Longest description of one problem of a taxonomy, in characters: details travel in headers.
const DESCRIPTION_CHARS: usize = 240;

/// Who says the reasons of `google.rpc.ErrorInfo`.
const DOMAIN: &str = "otklik";

/// INVALID_ARGUMENT with the problems of a taxonomy whose source was sent under `path`.
pub(in crate::server) fn of_taxonomy(error: &TaxonomyError, path: &str) -> Status {
    let mut faults = Faults::default();
    for problem in error.problems() {
        let key = if problem.key.is_empty() { String::new() } else { format!(".{}", problem.key) };
        let description: String = problem.message.chars().take(DESCRIPTION_CHARS).collect();
        faults.add(format!("{path}{key}"), format!("line {}: {description}", problem.line));
    }
    faults.into_status()
}

/// The status of a taxonomy that was not put in force, or not found.
pub(in crate::server) fn of_publishing(error: PublishError) -> Status {
    match &error {
        PublishError::Invalid(problems) => of_taxonomy(problems, "source"),
        PublishError::Conflict { expected, current } => aborted(
            "TAXONOMY_VERSION_CONFLICT",
            [("expected_version", expected.as_str()), ("current_version", current.as_str())],
            &error,
        ),
        PublishError::Busy => aborted("TAXONOMY_PUBLICATION_IN_WORK", [], &error),
        PublishError::Make(MakeError::Unfit { key, problem }) => unmet("TAXONOMY", key, problem.clone()),
        PublishError::Make(MakeError::Unusable(problem)) => unmet("TAXONOMY", "source", problem.clone()),
        PublishError::Make(MakeError::Overloaded(_)) => overloaded(error.to_string()),
        PublishError::Make(MakeError::Unavailable(_)) => {
            tracing::error!(%error, "a taxonomy can't be made ready");
            unavailable("the case store, whose corrections are recalled, is not available")
        }
        PublishError::DeadlineExceeded => deadline_exceeded(),
        PublishError::Versions(VersionsError::Unknown { .. }) => Status::not_found(error.to_string()),
        PublishError::Versions(VersionsError::Invalid(_)) => unmet("TAXONOMY", "version", error.to_string()),
        // A disk that is full, or a folder that is gone, may be there again.
        PublishError::Versions(VersionsError::Io { .. }) => {
            tracing::error!(%error, "the versions of the taxonomy can't be read or written");
            unavailable("the versions of the taxonomy can't be read or written")
        }
        PublishError::Versions(_) | PublishError::Make(MakeError::Failed(_)) | PublishError::Failed(_) => {
            internal(&error.to_string())
        }
    }
}

/// ABORTED, with the reason in words that a program can read.
fn aborted<const N: usize>(reason: &str, metadata: [(&str, &str); N], error: &PublishError) -> Status {
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(Code::Aborted, error.to_string(), details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags::TaxonomyVersion;

    #[test]
    fn each_refusal_has_its_code_and_faults_of_the_service_keep_their_reason() {
        let version = || TaxonomyVersion::new("sha256:00");
        let unfit = MakeError::Unfit { key: "assist.playbook", problem: "no such topic".into() };
        let io = VersionsError::Io { path: "secret".into(), problem: std::io::Error::other("secret") };
        let table = [
            (PublishError::Conflict { expected: version(), current: version() }, Code::Aborted, "sha256:00"),
            (PublishError::Busy, Code::Aborted, "another publication"),
            (PublishError::Make(unfit), Code::FailedPrecondition, "no such topic"),
            (PublishError::Make(MakeError::Unusable("too few".into())), Code::FailedPrecondition, "too few"),
            (PublishError::Make(MakeError::Overloaded("full".into())), Code::ResourceExhausted, "full"),
            (PublishError::Make(MakeError::Unavailable("secret".into())), Code::Unavailable, "not available"),
            (PublishError::Make(MakeError::Failed("secret".into())), Code::Internal, "a fault of the service"),
            (PublishError::DeadlineExceeded, Code::DeadlineExceeded, "deadline"),
            (
                PublishError::Versions(VersionsError::Unknown { version: version(), known: vec![] }),
                Code::NotFound,
                "not kept",
            ),
            (PublishError::Versions(io), Code::Unavailable, "can't be read or written"),
            (PublishError::Failed("secret".into()), Code::Internal, "a fault of the service"),
        ];
        for (error, code, part) in table {
            let status = of_publishing(error);
            assert_eq!(status.code(), code, "{status:?}");
            assert!(status.message().contains(part) && !status.message().contains("secret"), "{status:?}");
        }
    }
}
