//! The stages of the walk, how long each takes, and how texts go through the encoder together.
//!
//! These numbers are of the process: one walk has one set of them, whoever asks. To observe one takes less than a microsecond and
//! allocates nothing.

use std::future::Future;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use serde::{Deserialize, Serialize};

use super::trace::TracePlace;
use crate::feedback::named_enum;

named_enum! {
    /// A stage of the walk of a request, in the order that a text meets them.
    Stage {
        /// Who calls, and whether there is a place for the call.
        Admission = "admission",
        /// Waiting for a computing thread.
        Queue = "queue",
        /// Normalising, language, masking, sentences.
        Prepare = "prepare",
        /// Splitting into tokens, and planning the windows.
        Tokenise = "tokenise",
        /// Waiting for the texts of the same batch to be split into tokens.
        BatchWait = "batch_wait",
        /// The encoder's pass, of the whole batch that a text is in.
        Encode = "encode",
        /// What heads and prototypes say of the text and of each sentence.
        Heads = "heads",
        /// Phrase rules.
        Rules = "rules",
        /// Corrections of similar texts.
        Neighbours = "neighbours",
        /// Calibrated scores to topics, signals, team and abstention.
        Decide = "decide",
        /// Reading the case store: cases, similar ones, counts, pages.
        CasesRead = "cases_read",
        /// Writing to the case store: new cases, what is said of them, deletions.
        CasesWrite = "cases_write",
        /// A language model, from the question to the end of its answer, with the wait for its turn.
        LanguageModel = "language_model",
        /// The language model's way to the first token of its answer.
        PromptRead = "prompt_read",
        /// From there to the last token.
        AnswerWrite = "answer_write",
    }
}

/// Upper bounds of the times that are told apart, in seconds.
const SECONDS: [f64; 16] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// Upper bounds of the tokens of a batch.
const TOKENS: [f64; 9] = [8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0];

/// Upper bounds of the texts of a batch.
const TEXTS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StageLabels {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LaneLabels {
    lane: &'static str,
}

/// Histograms by label.
pub(super) type ByStage = Family<StageLabels, Histogram, fn() -> Histogram>;
pub(super) type ByLane = Family<LaneLabels, Histogram, fn() -> Histogram>;

/// What was observed since the process started.
pub(super) struct Walked {
    pub(super) stage_seconds: ByStage,
    pub(super) lane_seconds: ByLane,
    pub(super) batch_tokens: Histogram,
    pub(super) batch_texts: Histogram,
    /// Those of `stage_seconds`, by number, so that none has to be looked up.
    stages: Vec<Histogram>,
}

pub(super) static WALKED: LazyLock<Walked> = LazyLock::new(|| {
    let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
    let stage_seconds = ByStage::new_with_constructor(seconds);
    let stages =
        Stage::ALL.iter().map(|stage| stage_seconds.get_or_create_owned(&StageLabels { stage: stage.as_str() }));
    Walked {
        stages: stages.collect(),
        stage_seconds,
        lane_seconds: ByLane::new_with_constructor(seconds),
        batch_tokens: Histogram::new(TOKENS),
        batch_texts: Histogram::new(TEXTS),
    }
});

impl Stage {
    /// Counts a time that the stage took.
    pub fn observe(self, took: Duration) {
        if let Some(histogram) = WALKED.stages.get(self as usize) {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// The stage begins; it ends when what is given back is dropped.
    pub fn begin(self) -> Timed {
        Timed { stage: self, began: Instant::now(), place: TracePlace::begin(self.as_str()) }
    }

    /// Does the stage's work on this thread.
    pub fn time<T>(self, work: impl FnOnce() -> T) -> T {
        let timed = self.begin();
        let _here = timed.place.enter();
        work()
    }

    /// Does the stage's work.
    pub async fn watch<T>(self, work: impl Future<Output = T>) -> T {
        let timed = self.begin();
        timed.place.clone().hold(work).await
    }
}

/// A stage that began, and ends when this is dropped.
#[derive(Debug)]
#[must_use = "the stage ends when this is dropped"]
pub struct Timed {
    stage: Stage,
    began: Instant,
    place: TracePlace,
}

impl Timed {
    /// Tells how many there were of something.
    pub fn tell(&self, what: &'static str, count: usize) {
        self.place.tell(what, i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Where the stage is in its trace.
    pub(crate) fn place(&self) -> &TracePlace {
        &self.place
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.stage.observe(self.began.elapsed());
        self.place.end();
    }
}

/// Something waits for a computing thread, in a lane of this name; it waits no longer when what is given back is dropped.
pub(crate) fn queued(lane: &'static str) -> Queued {
    Queued { lane, timed: Stage::Queue.begin() }
}

/// Work that waits for a computing thread.
pub(crate) struct Queued {
    lane: &'static str,
    timed: Timed,
}

impl Drop for Queued {
    fn drop(&mut self) {
        let waited = self.timed.began.elapsed();
        WALKED.lane_seconds.get_or_create(&LaneLabels { lane: self.lane }).observe(waited.as_secs_f64());
    }
}

/// So many texts of so many tokens go through the encoder together.
pub(crate) fn batch(texts: usize, tokens: usize) {
    WALKED.batch_texts.observe(texts as f64);
    WALKED.batch_tokens.observe(tokens as f64);
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    /// How many were observed under a label, as a scrape has it; 0 if it has none. The numbers are of the process, and other tests may
    /// add to them.
    fn counted(labels: &str) -> u64 {
        let mut registry = Registry::default();
        registry.register("stage", "by stage", WALKED.stage_seconds.clone());
        registry.register("wait", "by lane", WALKED.lane_seconds.clone());
        let mut scrape = String::new();
        text::encode(&mut scrape, &registry).unwrap();
        let line = scrape.lines().find(|line| line.contains("_count{") && line.contains(labels));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    fn count(stage: Stage) -> u64 {
        counted(&format!("stage=\"{stage}\""))
    }

    #[test]
    fn each_stage_has_its_own_histogram() {
        assert_eq!(WALKED.stages.len(), Stage::ALL.len());
        for (number, stage) in Stage::ALL.iter().enumerate() {
            assert_eq!(*stage as usize, number);
        }
    }

    #[tokio::test]
    async fn what_is_timed_is_counted_also_if_it_is_given_up() {
        let before = count(Stage::AnswerWrite);
        assert_eq!(Stage::AnswerWrite.time(|| 7), 7);
        assert_eq!(Stage::AnswerWrite.watch(async { 8 }).await, 8);
        let mut given_up = Box::pin(Stage::AnswerWrite.watch(std::future::pending::<()>()));
        assert!((&mut given_up).now_or_never().is_none());
        drop(given_up);
        assert!(count(Stage::AnswerWrite) >= before + 3);
    }

    #[test]
    fn a_wait_counts_for_its_lane_and_for_the_stage() {
        let before = count(Stage::Queue);
        drop(queued("a lane of this test"));
        assert_eq!(counted("lane=\"a lane of this test\""), 1);
        assert!(count(Stage::Queue) > before);
    }
}
