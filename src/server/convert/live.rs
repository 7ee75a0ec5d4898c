//! A conversation that goes on: its requests on their way in, what an operator promised on its way out.

use tonic::Status;

use super::assist::suggestion_bounds;
use super::feedback::check_id;
use super::{Faults, enums};
use crate::assist::live::{LiveStart, PromiseAdvice, TurnRefused};
use crate::cases::TenantId;
use crate::config::LimitsConfig;
use crate::feedback::{Body, Feedback, Turn};
use crate::server::wire::v1::{self, assist_response, suggest_response};

/// Checks what is known of a conversation; its `request_id` is not looked at.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn live_start(
    given: v1::AssistStart,
    tenant: TenantId,
    limits: &LimitsConfig,
) -> Result<LiveStart, Status> {
    let mut faults = Faults::default();
    let mut name = |text: String, field: &str| {
        let given = (!text.is_empty()).then_some(text)?;
        check_id(&given, &format!("start.{field}"), limits, &mut faults);
        Some(given)
    };
    let channel = name(given.channel, "channel");
    let product = name(given.product, "product");
    let partner = name(given.partner, "partner");
    let customer_id = name(given.customer_id, "customer_id");
    let kind = enums::optional::<v1::FeedbackKind>(given.kind, "start.kind", &mut faults);
    let unsaid = Feedback::new("", Body::Turns(Vec::new()));
    let feedback = faults.or(Feedback { kind, channel, product, partner, customer_id, ..unsaid })?;
    let (team, language) = suggestion_bounds(given.team_id, given.language, "start.", limits)?;
    Ok(LiveStart { feedback, tenant, team, language })
}

/// Checks a turn on its own.
///
/// # Errors
/// INVALID_ARGUMENT if nobody speaks.
pub(in crate::server) fn live_turn(given: v1::AssistTurn) -> Result<Turn, Status> {
    let mut faults = Faults::default();
    let v1::AssistTurn { speaker, text, offset_ms } = given;
    match enums::required::<v1::Speaker>(speaker, "turn.speaker", &mut faults) {
        Some(speaker) => faults.or(Turn { speaker, text, offset_ms }),
        None => Err(faults.or(()).err().unwrap_or_else(|| Faults::one("turn.speaker", "must be given"))),
    }
}

/// The status of a turn that the conversation did not take.
pub(in crate::server) fn turn_refused(refused: TurnRefused) -> Status {
    match refused {
        TurnRefused::TooMany { most } => {
            Faults::one("turn", format!("must be one of at most {most} turns (limits.max_turns)"))
        }
        TurnRefused::TooLong { most } => {
            let problem = format!("must be at most {most} characters with all turns before it (limits.max_text_chars)");
            Faults::one("turn.text", problem)
        }
    }
}

impl From<suggest_response::Result> for assist_response::Result {
    fn from(result: suggest_response::Result) -> Self {
        match result {
            suggest_response::Result::Tags(tags) => Self::Tags(tags),
            suggest_response::Result::Script(advice) => Self::Script(advice),
            suggest_response::Result::Similar(advice) => Self::Similar(advice),
            suggest_response::Result::Gestures(advice) => Self::Gestures(advice),
            suggest_response::Result::Avoid(advice) => Self::Avoid(advice),
            suggest_response::Result::Draft(draft) => Self::Draft(draft),
            suggest_response::Result::Error(error) => Self::Error(error),
        }
    }
}

impl From<PromiseAdvice> for v1::PromiseAdvice {
    fn from(advice: PromiseAdvice) -> Self {
        Self {
            turn: advice.turn,
            promises: advice.promises.into_iter().map(Into::into).collect(),
            verdict: v1::PromiseVerdict::from(advice.verdict).into(),
        }
    }
}
