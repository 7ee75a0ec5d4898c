//! What assist wants of a language model, in plain domain types. Whoever implements it knows prompts and models; assist knows neither.

use std::time::Instant;

use async_trait::async_trait;

use super::playbook::ReplyLanguage;

/// What a draft is made from. Personal data is masked in all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DraftBrief {
    /// What the customer said, masked.
    pub masked_text: String,
    /// The language of the draft.
    pub language: ReplyLanguage,
    /// Names of the topics, surest first.
    pub topics: Vec<String>,
    /// Names of the signals, surest first.
    pub signals: Vec<String>,
    /// What the script says, if it covers the matter.
    pub script: Option<String>,
    /// Gestures that the operator may make without asking, best first, each with its limit in words.
    pub gestures: Vec<BriefGesture>,
    /// What to avoid.
    pub avoid: Vec<String>,
    /// What closed similar cases, likest first.
    pub resolutions: Vec<String>,
    /// The draft from the playbook's template.
    pub template: String,
}

/// A gesture as whoever writes sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BriefGesture {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What is done.
    pub description: String,
    /// Its limit in words; empty if there is none.
    pub limit: String,
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriterError {
    /// Too many wait for the model already.
    #[error("the language model is busy: {0}")]
    Overloaded(String),
    /// The deadline passed.
    #[error("the deadline passed before the language model had answered")]
    DeadlineExceeded,
    /// It broke, or said what can't be used.
    #[error("the language model failed: {0}")]
    Failed(String),
}

/// Writes words, by a language model. What it writes is checked by code before anybody sees it.
#[async_trait]
pub trait Writer: Send + Sync + 'static {
    /// Writes a draft of a reply.
    ///
    /// # Errors
    /// [`WriterError`]; see its variants.
    async fn draft(&self, brief: DraftBrief, deadline: Instant) -> Result<String, WriterError>;
}
