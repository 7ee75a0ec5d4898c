//! What the service tells of itself in numbers, for Prometheus.
//!
//! Enters: how calls ended, what was tagged, and a look at what computes. Leaves: the text of a scrape in the OpenMetrics format.
//! Never here: anything that a customer wrote; labels are names of this program and of the taxonomy, so that there are few of them.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, text,
};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::tagging::{Tagger, TaggerCounts};
use crate::tags::{Provenance, Tags};

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
struct ReasonLabels {
    reason: &'static str,
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
}

impl Metrics {
    /// Everything at 0, with a look at what computes at each scrape.
    pub fn new(tagger: &Arc<dyn Tagger>) -> Self {
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
        registry.register_collector(Box::new(Computing(Arc::clone(tagger))));
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

fn identity(provenance: &Provenance) -> Vec<(&'static str, String)> {
    vec![
        ("version", provenance.otklik_version.clone()),
        ("taxonomy_version", provenance.taxonomy_version.as_str().to_owned()),
        ("encoder", provenance.encoder_id.clone()),
        ("encoder_sha256", provenance.encoder_sha256.clone()),
    ]
}

/// What computes, as it is at the moment of a scrape.
struct Computing(Arc<dyn Tagger>);

impl fmt::Debug for Computing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Computing").field(&self.0.counts()).finish()
    }
}

impl Collector for Computing {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let program = Info::new(identity(&self.0.provenance()));
        program.encode(encoder.encode_descriptor("program", "What serves", None, program.metric_type())?)?;
        let TaggerCounts { queued_tokens, batches, batch_tokens, cache_hits, cache_misses } = self.0.counts();
        let counters = [
            ("batches", "Batches that went through the encoder", batches),
            ("batch_tokens", "Tokens of those batches", batch_tokens),
            ("cache_hits", "Short texts whose vectors were known from before", cache_hits),
            ("cache_misses", "Short texts whose vectors were not", cache_misses),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let queue = ConstGauge::new(u32::try_from(queued_tokens).unwrap_or(u32::MAX));
        let help = "Tokens that wait or are computed";
        queue.encode(encoder.encode_descriptor("queue_tokens", help, None, queue.metric_type())?)
    }
}
