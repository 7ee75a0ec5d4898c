//! What a language model does for the rest of the house: an answer to messages, piece by piece, within a schema if one is given.
//!
//! Rooms that want words written see this trait alone: not which model it is, nor how it computes.

use std::ops::ControlFlow;
use std::time::Instant;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::feedback::named_enum;

named_enum! {
    /// Who says a message.
    ChatRole {
        /// Whoever set the task.
        System = "system",
        /// Whoever asks.
        User = "user",
        /// The model.
        Assistant = "assistant",
    }
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who says it.
    pub role: ChatRole,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// A message.
    pub fn new(role: ChatRole, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// The form that an answer is held to, token by token: it can't be left.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerForm {
    /// Any text.
    Free,
    /// A JSON value that the schema allows.
    Json(serde_json::Value),
    /// A text that matches the whole of a regular expression.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
}

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 takes the most probable token each time; 1 draws by the model's own probabilities.
    pub temperature: f32,
    /// Draws among so many of the most probable; 0 is all.
    pub top_k: usize,
    /// Draws among the most probable that together have this probability; 1 is all.
    pub top_p: f32,
    /// Leaves out what is less probable than this share of the most probable; 0 leaves nothing out.
    pub min_p: f32,
    /// Divides the score of tokens that stand among the last 64; 1 is none.
    pub repetition_penalty: f32,
    /// Same seed, same text.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 }
    }
}

/// What is asked of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The chat so far; the model says the next message.
    pub messages: Vec<ChatMessage>,
    /// The form of the answer.
    pub form: AnswerForm,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens of the answer.
    pub max_tokens: usize,
    /// Texts at which a free answer ends; they don't belong to it.
    pub stops: Vec<String>,
    /// After it, nothing is computed.
    pub deadline: Option<Instant>,
}

named_enum! {
    /// Why an answer ended.
    FinishReason {
        /// The model ended it, or its form was complete.
        Stop = "stop",
        /// It had as many tokens as it may have. An answer in JSON is not complete then.
        Length = "length",
        /// Whoever asked wanted no more.
        Cancelled = "cancelled",
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What the model said.
    pub text: String,
    /// Why it ended there.
    pub finish: FinishReason,
    /// What it cost.
    pub usage: Usage,
}

/// What an answer cost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Tokens of the messages, as the chat template writes them.
    pub prompt_tokens: usize,
    /// Those that a call before had computed already.
    pub cached_tokens: usize,
    /// Tokens of the answer.
    pub answer_tokens: usize,
    /// Until the first token of the answer, in milliseconds.
    pub prefill_ms: f64,
    /// From there to the last, in milliseconds.
    pub decode_ms: f64,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LanguageModelError {
    /// What is asked can't be: `field` is its path in [`Generation`].
    #[error("{field}: {problem}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// Messages and answer don't fit.
    #[error(
        "the messages have {prompt_tokens} tokens and the answer may have {answer_tokens}; the model reads {context}"
    )]
    TooLong {
        /// Tokens of the messages.
        prompt_tokens: usize,
        /// Most tokens of the answer.
        answer_tokens: usize,
        /// Tokens that the model reads.
        context: usize,
    },
    /// Too many wait already.
    #[error("{waiting} of at most {limit} wait for the language model; try again later")]
    Overloaded {
        /// Calls that wait.
        waiting: usize,
        /// The limit.
        limit: usize,
    },
    /// The deadline passed before the answer was whole.
    #[error("the deadline passed before the answer was whole")]
    DeadlineExceeded,
    /// Something broke.
    #[error("the language model failed: {0}")]
    Failed(String),
}

/// Takes the pieces of an answer as they are made, and says whether more are wanted. It is called on the thread that computes and must
/// not wait.
pub type Listener = Box<dyn FnMut(&str) -> ControlFlow<()> + Send>;

/// A language model that answers. The service is written against this, so that its tests can use one that says what they want.
#[async_trait]
pub trait LanguageModel: Send + Sync + 'static {
    /// Name of the model in the registry, or of the one behind an endpoint.
    fn id(&self) -> &str;

    /// Hash of its weights, in hexadecimal digits; empty if they are not known.
    fn sha256(&self) -> &str;

    /// Tokens that it reads, the answer's included.
    fn context(&self) -> usize;

    /// Answers. `listener` hears the pieces; together they are the answer's text. Dropping the future ends the work before its next
    /// token.
    ///
    /// # Errors
    /// [`LanguageModelError`]; see its variants.
    async fn answer(&self, generation: Generation, listener: Option<Listener>) -> Result<Answer, LanguageModelError>;

    /// Probability of each of these answers among them all, by one pass over what they share. An answer is weighed by its words up to
    /// those that no other begins with, so a long one is not the less probable for its length. A
    /// model that can't weigh answers gives 1 to the one that it chooses, and says so in its documentation.
    ///
    /// # Errors
    /// [`LanguageModelError`]; see its variants.
    async fn choose(
        &self,
        messages: Vec<ChatMessage>,
        choices: Vec<String>,
        deadline: Option<Instant>,
    ) -> Result<Vec<f32>, LanguageModelError>;
}
