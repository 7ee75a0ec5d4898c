//! A language model whose work is counted and traced.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::Stage;
use crate::inference::{Answer, ChatMessage, Generation, LanguageModel, LanguageModelError, Listener, Usage};

/// Upper bounds of the times to a first token, in seconds.
const FIRST_TOKEN_SECONDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    pub(super) reason: &'static str,
}

/// What was asked of language models since the process started.
pub(super) struct Asked {
    pub(super) in_work: Gauge,
    pub(super) prompt_tokens: Counter,
    pub(super) cached_tokens: Counter,
    pub(super) answer_tokens: Counter,
    pub(super) first_token_seconds: Histogram,
    pub(super) refusals: Family<ReasonLabels, Counter>,
}

pub(super) static ASKED: LazyLock<Asked> = LazyLock::new(|| Asked {
    in_work: Gauge::default(),
    prompt_tokens: Counter::default(),
    cached_tokens: Counter::default(),
    answer_tokens: Counter::default(),
    first_token_seconds: Histogram::new(FIRST_TOKEN_SECONDS),
    refusals: Family::default(),
});

/// Does what a language model does, and counts it.
pub struct MeteredModel {
    inner: Arc<dyn LanguageModel>,
}

impl MeteredModel {
    /// Counts what a model does.
    pub fn new(inner: Arc<dyn LanguageModel>) -> Self {
        Self { inner }
    }
}

/// A question in work; no longer when it is dropped.
struct InWork;

impl InWork {
    fn begin() -> Self {
        ASKED.in_work.inc();
        Self
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        ASKED.in_work.dec();
    }
}

fn refused(error: &LanguageModelError) {
    let reason = match error {
        LanguageModelError::Invalid { .. } => "invalid",
        LanguageModelError::TooLong { .. } => "too_long",
        LanguageModelError::Overloaded { .. } => "overloaded",
        LanguageModelError::DeadlineExceeded => "deadline_exceeded",
        LanguageModelError::Failed(_) => "failed",
    };
    ASKED.refusals.get_or_create(&ReasonLabels { reason }).inc();
}

fn milliseconds(of: f64) -> Duration {
    Duration::try_from_secs_f64(of / 1_000.0).unwrap_or_default()
}

#[async_trait]
impl LanguageModel for MeteredModel {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn sha256(&self) -> &str {
        self.inner.sha256()
    }

    fn context(&self) -> usize {
        self.inner.context()
    }

    async fn answer(&self, generation: Generation, listener: Option<Listener>) -> Result<Answer, LanguageModelError> {
        let (_in_work, stage, began) = (InWork::begin(), Stage::LanguageModel.begin(), Instant::now());
        let work = self.inner.answer(generation, listener);
        let answered = stage.place().clone().hold(work).await.inspect_err(refused)?;
        let Usage { prompt_tokens, cached_tokens, answer_tokens, decode_ms, .. } = answered.usage;
        ASKED.prompt_tokens.inc_by(prompt_tokens as u64);
        ASKED.cached_tokens.inc_by(cached_tokens as u64);
        ASKED.answer_tokens.inc_by(answer_tokens as u64);
        let writing = milliseconds(decode_ms);
        // What the caller waits for: its turn, and the reading of the prompt.
        let first_token = began.elapsed().saturating_sub(writing);
        ASKED.first_token_seconds.observe(first_token.as_secs_f64());
        Stage::PromptRead.observe(first_token);
        Stage::AnswerWrite.observe(writing);
        stage.tell("prompt_tokens", prompt_tokens);
        stage.tell("cached_tokens", cached_tokens);
        stage.tell("answer_tokens", answer_tokens);
        stage.tell("first_token_ms", usize::try_from(first_token.as_millis()).unwrap_or(usize::MAX));
        Ok(answered)
    }

    async fn choose(
        &self,
        messages: Vec<ChatMessage>,
        choices: Vec<String>,
        deadline: Option<Instant>,
    ) -> Result<Vec<f32>, LanguageModelError> {
        let (_in_work, stage) = (InWork::begin(), Stage::LanguageModel.begin());
        stage.tell("choices", choices.len());
        let work = self.inner.choose(messages, choices, deadline);
        stage.place().clone().hold(work).await.inspect_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::{AnswerForm, FinishReason, Sampling};

    /// Answers the first question and refuses the others.
    struct Once(std::sync::atomic::AtomicBool);

    #[async_trait]
    impl LanguageModel for Once {
        fn id(&self) -> &str {
            "once"
        }

        fn sha256(&self) -> &str {
            ""
        }

        fn context(&self) -> usize {
            64
        }

        async fn answer(&self, _: Generation, _: Option<Listener>) -> Result<Answer, LanguageModelError> {
            assert!(ASKED.in_work.get() >= 1);
            if self.0.swap(true, std::sync::atomic::Ordering::SeqCst) {
                return Err(LanguageModelError::Overloaded { waiting: 1, limit: 1 });
            }
            let usage =
                Usage { prompt_tokens: 40, cached_tokens: 30, answer_tokens: 7, prefill_ms: 1.0, decode_ms: 1.0 };
            Ok(Answer { text: "да".to_owned(), finish: FinishReason::Stop, usage })
        }

        async fn choose(
            &self,
            _: Vec<ChatMessage>,
            choices: Vec<String>,
            _: Option<Instant>,
        ) -> Result<Vec<f32>, LanguageModelError> {
            Ok(vec![1.0; choices.len()])
        }
    }

    #[tokio::test]
    async fn tokens_and_refusals_are_counted() {
        let model = MeteredModel::new(Arc::new(Once(false.into())));
        let generation = Generation {
            messages: vec![],
            form: AnswerForm::Free,
            sampling: Sampling::default(),
            max_tokens: 8,
            stops: vec![],
            deadline: None,
        };
        assert_eq!(model.answer(generation.clone(), None).await.unwrap().text, "да");
        assert!(model.answer(generation, None).await.is_err());
        assert_eq!(model.choose(vec![], vec!["a".into()], None).await.unwrap(), [1.0]);
        // No other test of the library counts a model.
        assert_eq!((ASKED.prompt_tokens.get(), ASKED.cached_tokens.get(), ASKED.answer_tokens.get()), (40, 30, 7));
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register("first", "seconds", ASKED.first_token_seconds.clone());
        let mut scrape = String::new();
        prometheus_client::encoding::text::encode(&mut scrape, &registry).unwrap();
        assert!(scrape.contains("first_count 1\n"), "{scrape}");
        let overloaded = ASKED.refusals.get_or_create(&ReasonLabels { reason: "overloaded" }).get();
        assert_eq!((overloaded, ASKED.in_work.get()), (1, 0));
    }
}
