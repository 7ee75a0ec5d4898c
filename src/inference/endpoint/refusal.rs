//! What an endpoint's refusal means.

use http::StatusCode;
use serde::Deserialize;

use super::connection::Body;
use super::{EndpointModel, LanguageModelError, failed};
use crate::inference::Generation;

/// Characters of a token, where the endpoint does not say how many tokens the messages have.
const CHARS_PER_TOKEN: usize = 3;

/// The body of a refusal: servers put the fault under `error`, or at the top.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Option<Fault>,
    #[serde(flatten)]
    top: Fault,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fault {
    message: Option<String>,
    #[serde(rename = "type")]
    kind: Option<serde_json::Value>,
    code: Option<serde_json::Value>,
    n_prompt_tokens: Option<usize>,
    n_ctx: Option<usize>,
}

/// The error that a status other than OK means. Its message is read for what it is about and not told: it may quote a customer.
pub(super) async fn of(
    model: &EndpointModel,
    status: StatusCode,
    body: &mut Body,
    generation: &Generation,
) -> LanguageModelError {
    let code = status.as_u16();
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            tracing::warn!(code, "the endpoint takes no more calls");
            return model.overloaded();
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => return LanguageModelError::DeadlineExceeded,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return failed(&format!(
                "refused the key (HTTP {code}): endpoint.api_key_file must name the file of one that it knows"
            ));
        }
        StatusCode::NOT_FOUND => {
            return failed("has nothing there (HTTP 404): endpoint.url or endpoint.model is wrong");
        }
        status if status.is_redirection() => {
            return failed(&format!(
                "sends elsewhere (HTTP {code}), which is not followed: endpoint.url must be where it leads"
            ));
        }
        _ => {}
    }
    // A refusal that can't be read is one without a reason.
    let told = body.whole().await.ok().and_then(|bytes| serde_json::from_slice::<Refusal>(&bytes).ok());
    let fault = told.map(|told| told.error.unwrap_or(told.top)).unwrap_or_default();
    if status.is_client_error() && fault.is_about_length() {
        return too_long(model, &fault, generation);
    }
    let names = [&fault.kind, &fault.code].map(|name| name.as_ref().and_then(|name| plain(name.as_str()?)));
    match names.into_iter().flatten().next() {
        Some(name) => failed(&format!("refused (HTTP {code}, {name})")),
        None => failed(&format!("refused (HTTP {code})")),
    }
}

impl Fault {
    fn is_about_length(&self) -> bool {
        let names = [&self.kind, &self.code].into_iter().flatten().filter_map(serde_json::Value::as_str);
        let is_named =
            names.into_iter().any(|name| ["context_length_exceeded", "exceed_context_size_error"].contains(&name));
        is_named || self.message.as_deref().is_some_and(|message| message.contains("maximum context length"))
    }
}

fn too_long(model: &EndpointModel, fault: &Fault, generation: &Generation) -> LanguageModelError {
    let chars: usize = generation.messages.iter().map(|message| message.content.chars().count()).sum();
    LanguageModelError::TooLong {
        prompt_tokens: fault.n_prompt_tokens.unwrap_or(chars / CHARS_PER_TOKEN),
        answer_tokens: generation.max_tokens,
        context: fault.n_ctx.unwrap_or(model.context),
    }
}

/// Names that servers of this interface give to faults and to ends of answers.
const NAMES: [&str; 30] = [
    "BadRequestError",
    "InternalServerError",
    "NotFoundError",
    "api_error",
    "authentication_error",
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "exceed_context_size_error",
    "function_call",
    "insufficient_quota",
    "internal_error",
    "internal_server_error",
    "invalid_prompt",
    "invalid_request_error",
    "invalid_value",
    "length",
    "missing_required_parameter",
    "model_not_found",
    "not_found_error",
    "not_supported_error",
    "overloaded_error",
    "permission_error",
    "rate_limit_error",
    "rate_limit_exceeded",
    "server_error",
    "tool_calls",
    "unavailable_error",
    "unsupported_parameter",
    "unsupported_value",
];

/// A name that is known; any other word is not told, it may be a customer's.
pub(super) fn plain(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|known| *known == name)
}
