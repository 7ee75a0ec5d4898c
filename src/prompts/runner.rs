//! A rendered prompt answered by a language model.

use std::sync::Arc;
use std::time::Instant;

use super::answer::{self, AnswerContent};
use super::error::RunError;
use super::input::PromptLimits;
use super::prompt::{PromptIdentity, RenderedPrompt};
use crate::inference::{FinishReason, Generation, LanguageModel, LanguageModelError, Listener, Sampling, Usage};

/// How an answer is made.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RunOptions {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// After it, nothing is computed.
    pub deadline: Option<Instant>,
}

/// An answer and what made it.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptAnswer {
    /// The answer.
    pub content: AnswerContent,
    /// Why it ended there. Only free text may have been cut by length.
    pub finish: FinishReason,
    /// What it cost.
    pub usage: Usage,
    /// The prompt.
    pub prompt: PromptIdentity,
    /// Id of the model.
    pub model_id: String,
    /// Hash of its weights, in hexadecimal digits.
    pub model_sha256: String,
}

/// Answers prompts with one language model.
#[derive(Clone)]
pub struct PromptRunner {
    model: Arc<dyn LanguageModel>,
    limits: PromptLimits,
}

impl PromptRunner {
    /// A runner of prompts with this model.
    pub fn new(model: Arc<dyn LanguageModel>, limits: PromptLimits) -> Self {
        Self { model, limits }
    }

    /// Answers. `listener` hears the pieces as the model makes them: neither checked nor masked. Dropping the future ends the work
    /// before its next token.
    ///
    /// # Errors
    /// [`RunError`]; see its variants.
    pub async fn run(
        &self,
        rendered: RenderedPrompt,
        options: RunOptions,
        listener: Option<Listener>,
    ) -> Result<PromptAnswer, RunError> {
        let generation = Generation {
            messages: rendered.messages.clone(),
            form: rendered.form(),
            sampling: options.sampling,
            max_tokens: rendered.max_tokens,
            stops: Vec::new(),
            deadline: options.deadline,
        };
        let answering = self.model.answer(generation, listener);
        let answer = match options.deadline {
            Some(due) => tokio::time::timeout_at(due.into(), answering)
                .await
                .map_err(|_| RunError::Model(LanguageModelError::DeadlineExceeded))?,
            None => answering.await,
        }?;
        if answer.finish == FinishReason::Cancelled {
            return Err(RunError::Cancelled);
        }
        let (finish, usage, prompt) = (answer.finish, answer.usage, rendered.identity().clone());
        let limits = self.limits;
        let content = tokio::task::spawn_blocking(move || answer::read(&rendered, &answer, &limits))
            .await
            .map_err(|error| RunError::Interrupted(error.to_string()))??;
        Ok(PromptAnswer {
            content,
            finish,
            usage,
            prompt,
            model_id: self.model.id().to_owned(),
            model_sha256: self.model.sha256().to_owned(),
        })
    }
}
