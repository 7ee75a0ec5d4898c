//! The text side of a language model: its tokens, its way to write a chat, the form that an answer is held to, and the choice of the
//! next token.
//!
//! Enters: the named values of a GGUF file, messages, scores of tokens. Leaves: token ids and text. Never here: tasks, prompts,
//! transport.

mod chat;
mod grammar;
mod sampling;
mod vocabulary;

pub use chat::{ChatForm, ChatTemplate, MAX_MESSAGES};
pub use grammar::{Grammar, GrammarEnv, MAX_CHOICES, MAX_DEPTH, MAX_PATTERN_BYTES, MAX_SCHEMAS, TokenMask};
pub use sampling::{Sampler, StopWatch};
pub use vocabulary::{Decoder, Metadata, MetadataError, Segment, Vocabulary};
