//! What an endpoint is sent.

use std::path::PathBuf;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Map, Value, json};

use super::form::Form;
use super::{EndpointError, EndpointModel, failed, invalid};
use crate::inference::{Generation, LanguageModelError, Sampling};

/// Who asks.
const AGENT: &str = concat!("otklik/", env!("CARGO_PKG_VERSION"));

/// The longest file that a key is looked for in, in bytes.
const KEY_BYTES: usize = 8 << 10;

/// The header of the key in a file; no log and no debug output shows it.
///
/// # Errors
/// [`EndpointError::KeyFile`], [`EndpointError::Key`].
pub(super) fn authorisation(path: PathBuf) -> Result<HeaderValue, EndpointError> {
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(problem) => return Err(EndpointError::KeyFile { path, problem }),
    };
    let key = text.trim();
    let is_key = !key.is_empty() && key.len() <= KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_graphic());
    let header = is_key.then(|| HeaderValue::try_from(format!("Bearer {key}")).ok()).flatten();
    let mut header = header.ok_or(EndpointError::Key { path })?;
    header.set_sensitive(true);
    Ok(header)
}

/// The request for an answer.
///
/// # Errors
/// [`LanguageModelError::Invalid`] for what such endpoints have no common name for, [`LanguageModelError::TooLong`] if the answer alone
/// would not fit.
pub(super) fn request(
    model: &EndpointModel,
    generation: &Generation,
    form: &Form,
    is_streamed: bool,
) -> Result<Request<Full<Bytes>>, LanguageModelError> {
    let Generation { messages, sampling, max_tokens, stops, .. } = generation;
    if messages.is_empty() {
        return Err(invalid("messages", "must say something"));
    }
    if *max_tokens == 0 {
        return Err(invalid("max_tokens", "must be at least 1"));
    }
    if *max_tokens >= model.context {
        let (answer_tokens, context) = (*max_tokens, model.context);
        return Err(LanguageModelError::TooLong { prompt_tokens: 0, answer_tokens, context });
    }
    check(sampling)?;
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    set("model", json!(model.model));
    let messages: Vec<Value> =
        messages.iter().map(|message| json!({"role": message.role.as_str(), "content": message.content})).collect();
    set("messages", Value::Array(messages));
    set("temperature", json!(sampling.temperature));
    set("top_p", json!(sampling.top_p));
    set("max_tokens", json!(max_tokens.saturating_add(form.added_tokens())));
    // Servers read a seed as a signed number.
    set("seed", json!(sampling.seed & i64::MAX as u64));
    if !stops.is_empty() {
        set("stop", json!(stops));
    }
    if let Some(schema) = form.schema() {
        let named = json!({"name": "answer", "strict": true, "schema": schema});
        set("response_format", json!({"type": "json_schema", "json_schema": named}));
    }
    set("stream", json!(is_streamed));
    if is_streamed {
        set("stream_options", json!({"include_usage": true}));
    }
    let body = serde_json::to_vec(&Value::Object(body)).map_err(|error| failed(&format!("can't be asked: {error}")))?;
    let address = model.connector.address();
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(address.path.as_str())
        .header(HOST, address.authority.as_str())
        .header(USER_AGENT, AGENT)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, if is_streamed { "text/event-stream" } else { "application/json" });
    if let Some(authorisation) = &model.authorisation {
        request = request.header(AUTHORIZATION, authorisation.clone());
    }
    request.body(Full::from(body)).map_err(|error| failed(&format!("can't be asked: {error}")))
}

/// Refuses what can't be asked for, rather than leaving it out.
fn check(sampling: &Sampling) -> Result<(), LanguageModelError> {
    let none = Sampling::default();
    let no_setting = |field: &str, value: f32| {
        Err(invalid(&format!("sampling.{field}"), &format!("must be {value}: an endpoint has no such setting")))
    };
    if sampling.top_k != none.top_k {
        return no_setting("top_k", 0.0);
    }
    if sampling.min_p != none.min_p {
        return no_setting("min_p", none.min_p);
    }
    if sampling.repetition_penalty != none.repetition_penalty {
        return no_setting("repetition_penalty", none.repetition_penalty);
    }
    Ok(())
}
