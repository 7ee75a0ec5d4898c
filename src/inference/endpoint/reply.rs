//! What an endpoint says: an answer at once or in pieces.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::form::Form;
use super::refusal::plain;
use super::{Answer, LanguageModelError, Listener, Usage, failed};
use crate::inference::FinishReason;

/// A response, or one event of it.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    choices: Vec<ReplyChoice>,
    #[serde(default)]
    usage: Option<ReplyUsage>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct ReplyChoice {
    #[serde(default)]
    message: Option<ReplyMessage>,
    #[serde(default)]
    delta: Option<ReplyMessage>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct ReplyMessage {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Deserialize)]
struct ReplyUsage {
    #[serde(default)]
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
    #[serde(default)]
    prompt_tokens_details: Option<ReplyPromptUsage>,
}

#[derive(Deserialize)]
struct ReplyPromptUsage {
    #[serde(default)]
    cached_tokens: Option<usize>,
}

/// What was said so far.
pub(super) struct Said {
    text: String,
    finish: Option<FinishReason>,
    usage: Usage,
    asked_at: Instant,
    listener: Option<Listener>,
    /// Pieces are told as they come, else the whole at the end.
    is_streamed: bool,
}

impl Said {
    pub(super) fn new(listener: Option<Listener>, is_streamed: bool) -> Self {
        let (text, usage) = (String::new(), Usage::default());
        Self { text, finish: None, usage, asked_at: Instant::now(), listener, is_streamed }
    }

    /// Takes a response, or one event of it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), LanguageModelError> {
        // What the reader says of a fault may quote the answer: only its place is told.
        let reply: Reply = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            failed(&format!("gave no chat completion: what it said is not one at line {line}, column {column}"))
        })?;
        if reply.error.is_some() {
            return Err(failed("broke its answer off with an error"));
        }
        if let Some(ReplyUsage { prompt_tokens, completion_tokens, prompt_tokens_details }) = reply.usage {
            let cached = prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or_default();
            let figures =
                Usage { prompt_tokens, cached_tokens: cached, answer_tokens: completion_tokens, ..self.usage };
            self.usage = figures;
        }
        let Some(choice) = reply.choices.into_iter().next() else { return Ok(()) };
        let said = choice.delta.or(choice.message).and_then(|message| message.content).unwrap_or_default();
        if !said.is_empty() {
            if self.text.is_empty() {
                self.usage.prefill_ms = self.asked_at.elapsed().as_secs_f64() * 1e3;
            }
            self.text.push_str(&said);
            if self.is_streamed {
                self.tell(&said);
            }
        }
        match choice.finish_reason.as_deref() {
            None => {}
            Some("stop") => self.finish = self.finish.or(Some(FinishReason::Stop)),
            Some("length") => self.finish = self.finish.or(Some(FinishReason::Length)),
            Some(other) => {
                let reason = plain(other).unwrap_or("one that it gives no name");
                return Err(failed(&format!("ended its answer for another reason: {reason}")));
            }
        }
        Ok(())
    }

    fn tell(&mut self, piece: &str) {
        if let Some(ControlFlow::Break(())) = self.listener.as_mut().map(|listener| listener(piece)) {
            self.finish = Some(FinishReason::Cancelled);
        }
    }

    /// True if whoever asked wants no more.
    pub(super) fn is_unwanted(&self) -> bool {
        self.finish == Some(FinishReason::Cancelled)
    }

    /// The answer, if it has the form that was asked for.
    pub(super) async fn answer(mut self, form: Arc<Form>) -> Result<Answer, LanguageModelError> {
        let finish = self.finish.ok_or_else(|| failed("broke off before its answer was whole"))?;
        let is_partial = finish == FinishReason::Cancelled || (finish == FinishReason::Length && !form.is_wrapped());
        let text = std::mem::take(&mut self.text);
        let text = if is_partial {
            text
        } else {
            let read = tokio::task::spawn_blocking(move || form.read(text)).await;
            let read = read.map_err(|error| failed(&format!("gave an answer that can't be read: {error}")))?;
            read.ok_or_else(|| {
                failed("gave an answer of another form than was asked for; its server must know response_format json_schema")
            })?
        };
        if !self.is_streamed {
            self.tell(&text);
        }
        let mut usage = self.usage;
        usage.decode_ms = (self.asked_at.elapsed().as_secs_f64() * 1e3 - usage.prefill_ms).max(0.0);
        Ok(Answer { text, finish, usage })
    }
}
