//! What is looked at when somebody scrapes: numbers that others keep.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;

use super::drift::Drift;
use crate::requests::{AnsweredRequests, RequestCounts};
use crate::retag::archive::{JobFigures, RetagJobs};
use crate::tagging::{Tagger, TaggerCounts};
use crate::tags::Provenance;

/// What a service looks at when somebody scrapes.
#[derive(Clone)]
pub struct Observed {
    /// What computes, uncounted.
    pub tagger: Arc<dyn Tagger>,
    /// The jobs that re-tag the archive.
    pub retag_jobs: RetagJobs,
    /// Calls that were answered.
    pub requests: Arc<AnsweredRequests>,
}

fn identity(provenance: &Provenance) -> Vec<(&'static str, String)> {
    vec![
        ("version", provenance.otklik_version.clone()),
        ("taxonomy_version", provenance.taxonomy_version.as_str().to_owned()),
        ("encoder", provenance.encoder_id.clone()),
        ("encoder_sha256", provenance.encoder_sha256.clone()),
    ]
}

/// What is observed, as it is at the moment of a scrape.
pub(super) struct AtScrape(pub(super) Observed);

impl fmt::Debug for AtScrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AtScrape").field(&self.0.tagger.counts()).finish()
    }
}

impl Collector for AtScrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Observed { tagger, retag_jobs, requests } = &self.0;
        let program = Info::new(identity(&tagger.provenance()));
        program.encode(encoder.encode_descriptor("program", "What serves", None, program.metric_type())?)?;
        let TaggerCounts { queued_tokens, batches, batch_tokens, cache_hits, cache_misses } = tagger.counts();
        let JobFigures { waiting, running, read, changed, failed } = retag_jobs.figures();
        let RequestCounts { kept, again } = requests.counts();
        let counters = [
            ("batches", "Batches that went through the encoder", batches),
            ("batch_tokens", "Tokens of those batches", batch_tokens),
            ("cache_hits", "Short texts whose vectors were known from before", cache_hits),
            ("cache_misses", "Short texts whose vectors were not", cache_misses),
            ("retag_cases_read", "Cases that jobs of re-tagging read", read),
            ("retag_cases_changed", "Cases whose tags those changed", changed),
            ("retag_cases_failed", "Cases that those could not tag", failed),
            ("requests_again", "Calls that came again under an id, and were answered as the first time", again),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let queue = gauge(queued_tokens as u64);
        let help = "Tokens that wait or are computed";
        queue.encode(encoder.encode_descriptor("queue_tokens", help, None, queue.metric_type())?)?;
        let jobs = gauge(waiting);
        let help = "Jobs of re-tagging that wait";
        jobs.encode(encoder.encode_descriptor("retag_jobs_waiting", help, None, jobs.metric_type())?)?;
        let jobs = gauge(running);
        let help = "Jobs of re-tagging at work";
        jobs.encode(encoder.encode_descriptor("retag_jobs_running", help, None, jobs.metric_type())?)?;
        let answers = gauge(kept);
        let help = "Answered calls that are kept, to be answered alike when they come again";
        answers.encode(encoder.encode_descriptor("requests_kept", help, None, answers.metric_type())?)
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The drift of tags, as it is at the moment of a scrape; what is not known is not told.
#[derive(Debug)]
pub(super) struct DriftAtScrape(pub(super) Arc<Mutex<Drift>>);

impl Collector for DriftAtScrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner).indexes();
        for (name, help, index) in indexes {
            let Some(index) = index else { continue };
            let drift = ConstGauge::new(index);
            drift.encode(encoder.encode_descriptor(name, help, None, drift.metric_type())?)?;
        }
        Ok(())
    }
}
