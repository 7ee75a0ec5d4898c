//! Language models: messages in, an answer out, token by token.
//!
//! Enters: a GGUF file, then chats with the form that an answer must have. Leaves: texts. Of its files, `shape` and `tensors` read the
//! weights, `model`, `layer`, `attention`, `rotary` and `cache` compute in 8 bits on the processor, `tensor_model` and `tensor_layer` on
//! candle's tensors, `vocabulary`, `chat`, `grammar` and `sampling` turn texts to tokens
//! and scores to text, and `engine` is the thread that does it all. Never here: tasks, prompts, transport.

mod attention;
mod cache;
mod chat;
mod computing;
mod engine;
mod grammar;
mod layer;
mod model;
mod rotary;
mod sampling;
mod shape;
mod tensor_layer;
mod tensor_model;
mod tensors;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use chat::{ChatForm, ChatTemplate, MAX_MESSAGES};
pub use engine::{LocalModel, LocalModelOptions, Measured};
pub use grammar::{Grammar, GrammarEnv, MAX_CHOICES, MAX_DEPTH, MAX_PATTERN_BYTES, MAX_SCHEMAS, TokenMask};
pub use sampling::{Sampler, StopWatch};
pub use shape::Architecture;
pub use vocabulary::{Decoder, Metadata, MetadataError, Segment, TokeniserAlgorithm, Vocabulary};
