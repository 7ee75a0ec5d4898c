//! Errors of the rooms as gRPC statuses: one table each, and the only place where a status code is chosen for them.
//!
//! A message to a caller says what was wrong and what is allowed; it never quotes what a customer wrote. Faults of the service are
//! logged with their reason and told without it.

mod taxonomy;

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt, pb};

use crate::assist::{SlotError, UsesError, WriterError};
use crate::callers::{OverBudget, Refusal, Role};
use crate::cases::CaseStoreError;
use crate::inference::LanguageModelError;
use crate::models::NO_LANGUAGE_MODEL;
use crate::prompts::{PromptError, PromptIdentity, RunError};
use crate::retag::archive::{ArchiveError, JobsError};
use crate::tagging::TaggingError;
pub(super) use taxonomy::{of_publishing, of_taxonomy};

/// When a caller may try again after being refused for load.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// More faults than this are counted, not listed: details travel in HTTP/2 headers, whose size clients bound at 8 to 16 KiB.
const LISTED_FAULTS: usize = 16;

/// What is wrong with a request, fault by fault.
#[derive(Debug, Default)]
pub(super) struct Faults {
    listed: Vec<FieldViolation>,
    more: usize,
}

impl Faults {
    pub(super) fn one(path: impl Into<String>, problem: impl Into<String>) -> Status {
        let mut faults = Self::default();
        faults.add(path, problem);
        faults.into_status()
    }

    pub(super) fn add(&mut self, path: impl Into<String>, problem: impl Into<String>) {
        if self.listed.len() < LISTED_FAULTS {
            self.listed.push(FieldViolation::new(path, problem));
        } else {
            self.more += 1;
        }
    }

    /// `value` if nothing is wrong.
    pub(super) fn or<T>(self, value: T) -> Result<T, Status> {
        if self.listed.is_empty() { Ok(value) } else { Err(self.into_status()) }
    }

    fn into_status(self) -> Status {
        let more = self.listed.len().saturating_sub(1) + self.more;
        let first =
            self.listed.first().map(|fault| format!("{}: {}", fault.field, fault.description)).unwrap_or_default();
        let message = if more == 0 { first } else { format!("{first} (and {more} more)") };
        Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request(self.listed))
    }
}

/// Name of a code, as logs and metrics have it.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "Ok",
        Code::Cancelled => "Cancelled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// RESOURCE_EXHAUSTED: the caller may try again after a moment.
pub(super) fn overloaded(message: impl Into<String>) -> Status {
    retryable(Code::ResourceExhausted, message)
}

/// UNAVAILABLE: what stands behind the service does not answer.
pub(super) fn unavailable(message: impl Into<String>) -> Status {
    retryable(Code::Unavailable, message)
}

/// DEADLINE_EXCEEDED.
pub(super) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline passed before the answer was ready")
}

/// UNAVAILABLE: this process takes no more work.
pub(super) fn shutting_down() -> Status {
    Status::unavailable("the service is shutting down")
}

/// INTERNAL: the reason is logged here and not told.
pub(super) fn internal(reason: &str) -> Status {
    tracing::error!(reason, "call failed by a fault of the service");
    Status::internal("a fault of the service; its log has the reason under the request id")
}

/// FAILED_PRECONDITION: the service keeps masked texts alone.
pub(super) fn no_originals() -> Status {
    Status::failed_precondition(
        "this service keeps no original texts; cases.texts set to original keeps those that are stored from then on",
    )
}

fn retryable(code: Code, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_retry_info(Some(RETRY_DELAY)))
}

/// UNAUTHENTICATED: the reason is logged here and not told.
pub(super) fn not_let_in(refusal: &Refusal) -> Status {
    tracing::info!(reason = refusal.reason(), "a caller is not let in");
    Status::unauthenticated(refusal.to_string())
}

/// PERMISSION_DENIED: the caller is known and lacks the role.
pub(super) fn role_missing(role: Role) -> Status {
    Status::permission_denied(format!("this call takes the role \"{role}\", which the key or token does not have"))
}

/// PERMISSION_DENIED: nobody may make this call.
pub(super) fn closed() -> Status {
    Status::permission_denied("nobody may make this call")
}

/// RESOURCE_EXHAUSTED: the tenant or caller has asked for as much as it may; the details say when there will be more.
pub(super) fn over_budget(over: &OverBudget) -> Status {
    let details = ErrorDetails::with_retry_info(Some(over.retry_after));
    Status::with_error_details(Code::ResourceExhausted, over.to_string(), details)
}

/// The status of a tagging error; `path` leads to the feedback in the request.
pub(super) fn of_tagging(error: TaggingError, path: &str) -> Status {
    match error {
        TaggingError::Invalid { field, problem } => Faults::one(format!("{path}{field}"), problem),
        TaggingError::Overloaded { .. } => overloaded(error.to_string()),
        TaggingError::DeadlineExceeded => deadline_exceeded(),
        TaggingError::Internal(reason) => internal(&reason),
    }
}

/// The status of an error of the case store.
pub(super) fn of_cases(error: CaseStoreError) -> Status {
    match error {
        CaseStoreError::Invalid { field, problem } => Faults::one(field, problem),
        CaseStoreError::NotFound { .. } => Status::not_found(error.to_string()),
        CaseStoreError::Busy { .. } | CaseStoreError::Full { .. } => overloaded(error.to_string()),
        CaseStoreError::Open { .. } | CaseStoreError::Unavailable(_) => {
            tracing::error!(reason = %error, "case store not available");
            retryable(Code::Unavailable, "the case store is not available")
        }
    }
}

/// The status of a slot of a suggestion that is empty; `path` leads to what was said, with a dot at its end.
pub(super) fn of_slot(error: SlotError, path: &str) -> Status {
    match error {
        SlotError::Tagging(error) => of_tagging(error, path),
        SlotError::Cases(error) => of_cases(error),
        SlotError::Writer(error) => of_writer(error),
        SlotError::DeadlineExceeded => deadline_exceeded(),
        SlotError::NoTags | SlotError::NotInPlaybook(_) => Status::failed_precondition(error.to_string()),
        SlotError::Draft(_) | SlotError::Internal(_) => internal(&error.to_string()),
    }
}

/// The status of a writer that did not write.
fn of_writer(error: WriterError) -> Status {
    match &error {
        WriterError::Overloaded(_) => overloaded(error.to_string()),
        WriterError::DeadlineExceeded => deadline_exceeded(),
        WriterError::TooLong(_) => Faults::one("feedback", error.to_string()),
        WriterError::Prompt(_) => unmet("PROMPT", "prompts.dir", error.to_string()),
        WriterError::Unusable(_) => Status::aborted(error.to_string()),
        WriterError::Failed(_) => internal(&error.to_string()),
    }
}

/// The status of counts of suggestions that can't be kept.
pub(super) fn of_uses(error: UsesError) -> Status {
    match error {
        UsesError::Full { .. } => Status::failed_precondition(error.to_string()),
        UsesError::Storage { .. } => {
            tracing::error!(reason = %error, "what operators did with suggestions can't be kept");
            retryable(Code::Unavailable, "what operators did with suggestions can't be kept")
        }
    }
}

/// The status of cases that could not be tagged anew.
pub(super) fn of_archive(error: ArchiveError) -> Status {
    match error {
        ArchiveError::Cases(error) => of_cases(error),
        ArchiveError::Tagging(error) => of_tagging(error, ""),
        ArchiveError::TooMany { .. } => Faults::one("sample", error.to_string()),
        ArchiveError::Thread(_) => internal(&error.to_string()),
    }
}

/// The status of a job that can't be had.
pub(super) fn of_jobs(error: JobsError) -> Status {
    match error {
        JobsError::Full { .. } => overloaded(error.to_string()),
        JobsError::NotFound { .. } => Status::not_found(error.to_string()),
        JobsError::Journal { .. } => {
            tracing::error!(reason = %error, "jobs can't be kept");
            retryable(Code::Unavailable, "jobs can't be kept")
        }
        JobsError::Thread(_) => internal(&error.to_string()),
    }
}

/// FAILED_PRECONDITION: what tags here can't tag stored cases anew.
pub(super) fn no_retagger() -> Status {
    Status::failed_precondition("the tagger of this service can't tag stored cases anew")
}

/// FAILED_PRECONDITION: there is no language model. The details say how to get one.
pub(super) fn no_language_model() -> Status {
    unmet("LANGUAGE_MODEL", "models.language_model", NO_LANGUAGE_MODEL.to_owned())
}

fn unmet(kind: &str, subject: &str, description: String) -> Status {
    let details = ErrorDetails::with_precondition_failure_violation(kind, subject, &description);
    Status::with_error_details(Code::FailedPrecondition, description, details)
}

/// The status of a prompt that can't be had or rendered.
pub(super) fn of_prompt(error: PromptError) -> Status {
    match &error {
        PromptError::Unknown { .. } | PromptError::Language { .. } => Status::not_found(error.to_string()),
        PromptError::Template { prompt, .. } => unmet("PROMPT", prompt, error.to_string()),
        PromptError::Input(found) => {
            let mut faults = Faults::default();
            found.iter().for_each(|fault| faults.add(&fault.field, &fault.problem));
            faults.into_status()
        }
    }
}

/// The status of a prompt without an answer.
pub(super) fn of_run(error: RunError, prompt: &PromptIdentity) -> Status {
    let model = match error {
        RunError::Model(error) => error,
        RunError::Answer(error) => return Status::aborted(error.to_string()),
        RunError::Cancelled => return Status::cancelled(RunError::Cancelled.to_string()),
        RunError::Interrupted(reason) => return internal(&reason),
    };
    match model {
        // What the request says of the choice of words was checked; what is left is the prompt's own.
        LanguageModelError::Invalid { .. } => {
            let subject = format!("{}.{}", prompt.id, prompt.language);
            let description = format!("prompt {subject} can't be answered: {model}");
            unmet("PROMPT", &subject, description)
        }
        LanguageModelError::TooLong { .. } => Faults::one("input", format!("is too long: {model}")),
        LanguageModelError::Overloaded { .. } => overloaded(model.to_string()),
        LanguageModelError::DeadlineExceeded => deadline_exceeded(),
        LanguageModelError::Failed(reason) => internal(&reason),
    }
}

/// The status of a message that could not be read: a message over the limit is the request's fault, which the transport tells by
/// OUT_OF_RANGE, or by RESOURCE_EXHAUSTED for one that grows too long when decompressed.
pub(super) fn of_reading(status: Status, max_message_bytes: usize) -> Status {
    let too_long = match status.code() {
        Code::OutOfRange => true,
        Code::ResourceExhausted => status.details().is_empty(),
        _ => false,
    };
    if too_long {
        let problem = format!("the message must be at most {max_message_bytes} bytes long (server.max_message_bytes)");
        return Faults::one("message", problem);
    }
    status
}

/// A status as a message, for errors that stay with their item.
pub(super) fn to_message(status: &Status) -> pb::Status {
    let with_details = (!status.details().is_empty()).then(|| pb::Status::decode(status.details()).ok()).flatten();
    with_details.unwrap_or_else(|| pb::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_code_and_what_a_client_can_act_on() {
        let invalid = || TaggingError::Invalid { field: "turns[3].text".into(), problem: "must not be so".into() };
        let table = [
            (
                of_tagging(invalid(), "items[7].feedback."),
                Code::InvalidArgument,
                "items[7].feedback.turns[3].text: must not be so",
            ),
            (
                of_tagging(TaggingError::Overloaded { queued: 9, limit: 8 }, ""),
                Code::ResourceExhausted,
                "9 of at most 8 tokens",
            ),
            (of_tagging(TaggingError::DeadlineExceeded, ""), Code::DeadlineExceeded, "deadline"),
            (of_tagging(TaggingError::Internal("secret".into()), ""), Code::Internal, "a fault of the service"),
            (of_writer(WriterError::Overloaded("9 wait".into())), Code::ResourceExhausted, "is busy"),
            (of_writer(WriterError::DeadlineExceeded), Code::DeadlineExceeded, "deadline"),
            (of_writer(WriterError::TooLong("9 tokens".into())), Code::InvalidArgument, "feedback: it is too long"),
            (of_writer(WriterError::Prompt("no".into())), Code::FailedPrecondition, "can't be asked"),
            (of_writer(WriterError::Unusable("no".into())), Code::Aborted, "can't be used"),
            (of_writer(WriterError::Failed("secret".into())), Code::Internal, "a fault of the service"),
            (of_cases(CaseStoreError::NotFound { id: "a".into() }), Code::NotFound, "no case \"a\""),
            (of_cases(CaseStoreError::Busy { waiting: 2, limit: 2 }), Code::ResourceExhausted, "busy"),
            (of_cases(CaseStoreError::Full { free_mb: 1, needed_mb: 2 }), Code::ResourceExhausted, "1 MB are free"),
            (of_cases(CaseStoreError::Unavailable("secret".into())), Code::Unavailable, "not available"),
            (
                of_cases(CaseStoreError::Open { folder: "secret".into(), problem: String::new() }),
                Code::Unavailable,
                "not available",
            ),
            (
                of_cases(CaseStoreError::Invalid { field: "vector".into(), problem: "must be finite".into() }),
                Code::InvalidArgument,
                "vector: must be finite",
            ),
        ];
        for (status, code, part) in table {
            assert_eq!(status.code(), code, "{status:?}");
            assert!(status.message().contains(part), "{status:?}");
            assert!(!status.message().contains("secret"), "{status:?}");
            let retry = matches!(code, Code::ResourceExhausted | Code::Unavailable);
            assert_eq!(status.get_details_retry_info().is_some(), retry, "{status:?}");
            assert_eq!(status.get_details_bad_request().is_some(), code == Code::InvalidArgument, "{status:?}");
        }
    }

    #[test]
    fn many_faults_are_counted_and_not_all_listed() {
        let mut faults = Faults::default();
        for index in 0..1_000 {
            faults.add(format!("turns[{index}].speaker"), "must be given");
        }
        let status = faults.or(()).unwrap_err();
        assert_eq!(status.message(), "turns[0].speaker: must be given (and 999 more)");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations.len(), LISTED_FAULTS);
    }

    #[test]
    fn an_item_keeps_code_message_and_details() {
        let message = to_message(&Faults::one("a", "must be b"));
        assert_eq!((message.code, message.message.as_str(), message.details.len()), (3, "a: must be b", 1));
        let message = to_message(&deadline_exceeded());
        assert_eq!((message.code, message.details.len()), (4, 0));
    }

    #[test]
    fn only_a_message_too_long_is_retold() {
        assert_eq!(of_reading(Status::out_of_range("found 9 bytes"), 8).code(), Code::InvalidArgument);
        assert_eq!(of_reading(Status::resource_exhausted("while decompressing"), 8).code(), Code::InvalidArgument);
        assert_eq!(of_reading(overloaded("queue full"), 8).code(), Code::ResourceExhausted);
        assert_eq!(of_reading(Status::internal("failed to decode"), 8).code(), Code::Internal);
    }
}
