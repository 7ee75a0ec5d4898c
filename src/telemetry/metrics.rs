//! Everything that is counted, and the text of a scrape.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::at_scrape::{AtScrape, DriftAtScrape, Observed};
use super::drift::Drift;
use super::language_model::{ASKED, ReasonLabels};
use super::stages::{ByLane, ByStage, WALKED};
use crate::tags::Tags;

/// Begins every name.
const PREFIX: &str = "otklik";

/// Upper bounds of the latencies that are told apart, in seconds.
const LATENCY_BOUNDS: [f64; 14] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Content type of a scrape.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A name as the value of a label; shared, since every call has some.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name(Arc<str>);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&&*self.0, encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    rpc: Name,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    rpc: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabels {
    topic: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TeamLabels {
    team: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LanguageLabels {
    language: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: &'static str,
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    call_seconds: Family<RpcLabels, Histogram, fn() -> Histogram>,
    tagged: Family<LanguageLabels, Counter>,
    tokens: Counter,
    topics: Family<TopicLabels, Counter>,
    teams: Family<TeamLabels, Counter>,
    reviews: Family<ReasonLabels, Counter>,
    ready: Family<ServiceLabels, Gauge>,
    stage_seconds: ByStage,
    lane_seconds: ByLane,
    texts_of_batches: Histogram,
    tokens_of_batches: Histogram,
    store_up: Gauge,
    store_probe_seconds: Gauge<f64, AtomicU64>,
    store_cases: Gauge,
    model_in_work: Gauge,
    model_prompt_tokens: Counter,
    model_cached_tokens: Counter,
    model_answer_tokens: Counter,
    model_first_token_seconds: Histogram,
    model_refusals: Family<ReasonLabels, Counter>,
    drift: Arc<Mutex<Drift>>,
}

impl Metrics {
    /// Everything at 0, with a look at what is observed at each scrape. What is counted of the process goes on from where it is: stages,
    /// batches and the language model.
    pub fn new(observed: Observed) -> Self {
        let latencies: fn() -> Histogram = || Histogram::new(LATENCY_BOUNDS);
        let mut metrics = Self {
            registry: Registry::default(),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(latencies),
            tagged: Family::default(),
            tokens: Counter::default(),
            topics: Family::default(),
            teams: Family::default(),
            reviews: Family::default(),
            ready: Family::default(),
            stage_seconds: WALKED.stage_seconds.clone(),
            lane_seconds: WALKED.lane_seconds.clone(),
            texts_of_batches: WALKED.batch_texts.clone(),
            tokens_of_batches: WALKED.batch_tokens.clone(),
            store_up: Gauge::default(),
            store_probe_seconds: Gauge::default(),
            store_cases: Gauge::default(),
            model_in_work: ASKED.in_work.clone(),
            model_prompt_tokens: ASKED.prompt_tokens.clone(),
            model_cached_tokens: ASKED.cached_tokens.clone(),
            model_answer_tokens: ASKED.answer_tokens.clone(),
            model_first_token_seconds: ASKED.first_token_seconds.clone(),
            model_refusals: ASKED.refusals.clone(),
            drift: Arc::default(),
        };
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register("calls", "Calls that ended, by RPC and gRPC code", metrics.calls.clone());
        registry.register("call_duration_seconds", "How long calls took", metrics.call_seconds.clone());
        registry.register("tagged", "Texts and conversations tagged, by language", metrics.tagged.clone());
        registry.register("tagged_tokens", "Tokens of what was tagged", metrics.tokens.clone());
        registry.register("topics", "Topics given", metrics.topics.clone());
        registry.register("teams", "Owning teams given", metrics.teams.clone());
        registry.register("reviews", "Reasons why a person should look", metrics.reviews.clone());
        registry.register("ready", "1 while the service answers", metrics.ready.clone());
        registry.register("stage_duration_seconds", "How long stages took", metrics.stage_seconds.clone());
        registry.register("queue_wait_seconds", "How long work waited for a thread", metrics.lane_seconds.clone());
        registry.register("texts_per_batch", "Texts that a batch had", metrics.texts_of_batches.clone());
        registry.register("tokens_per_batch", "Tokens that a batch had", metrics.tokens_of_batches.clone());
        registry.register("store_up", "1 if the case store answered its last probe", metrics.store_up.clone());
        registry.register("store_probe_seconds", "How long the last probe took", metrics.store_probe_seconds.clone());
        registry.register("store_cases", "About how many cases there are, all tenants'", metrics.store_cases.clone());
        let help = "Calls that the language model answers or that wait for it";
        registry.register("language_model_in_work", help, metrics.model_in_work.clone());
        let help = "Tokens of prompts, those remembered from before among them";
        registry.register("language_model_prompt_tokens", help, metrics.model_prompt_tokens.clone());
        let help = "Tokens of prompts that were remembered from before";
        registry.register("language_model_cached_tokens", help, metrics.model_cached_tokens.clone());
        let help = "Tokens of answers";
        registry.register("language_model_answer_tokens", help, metrics.model_answer_tokens.clone());
        let help = "How long it took until the first token of an answer";
        registry.register("language_model_first_token_seconds", help, metrics.model_first_token_seconds.clone());
        let help = "Questions without an answer, by reason";
        registry.register("language_model_refusals", help, metrics.model_refusals.clone());
        registry.register_collector(Box::new(AtScrape(observed)));
        registry.register_collector(Box::new(DriftAtScrape(Arc::clone(&metrics.drift))));
        metrics.registry = registry;
        metrics
    }

    /// A call ended: `rpc` is its path as in `otklik.v1.TaggingService/Classify`, `code` its gRPC code.
    pub fn call_ended(&self, rpc: &Arc<str>, code: &'static str, seconds: f64) {
        let rpc = Name(Arc::clone(rpc));
        self.call_seconds.get_or_create(&RpcLabels { rpc: rpc.clone() }).observe(seconds);
        self.calls.get_or_create(&CallLabels { rpc, code }).inc();
    }

    /// Something was tagged.
    pub fn tagged(&self, tags: &Tags) {
        self.tagged.get_or_create(&LanguageLabels { language: tags.language.as_str() }).inc();
        self.tokens.inc_by(u64::from(tags.tokens));
        for topic in &tags.topics {
            self.topics.get_or_create(&TopicLabels { topic: Name(topic.topic_id.as_str().into()) }).inc();
        }
        self.teams.get_or_create(&TeamLabels { team: Name(tags.team.team_id.as_str().into()) }).inc();
        for reason in &tags.review.reasons {
            self.reviews.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
        }
        self.drift.lock().unwrap_or_else(PoisonError::into_inner).tagged(tags);
    }

    /// What came of a probe of the case store, after so long: about how many cases there are, if it lives and told.
    pub fn store_probed(&self, is_up: bool, took: Duration, cases: Option<u64>) {
        self.store_up.set(i64::from(is_up));
        self.store_probe_seconds.set(took.as_secs_f64());
        if let Some(cases) = cases {
            self.store_cases.set(i64::try_from(cases).unwrap_or(i64::MAX));
        }
    }

    /// Whether a service answers.
    pub fn ready(&self, service: &'static str, ready: bool) {
        self.ready.get_or_create(&ServiceLabels { service }).set(i64::from(ready));
    }

    /// The text of a scrape.
    ///
    /// # Errors
    /// Never in practice: the text is written to memory.
    pub fn scrape(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
