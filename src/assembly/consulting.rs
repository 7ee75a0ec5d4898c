//! A language model beside the tagger.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::inference::LanguageModel;
use crate::tagging::TaggingEngine;
use crate::tagging::consult::{ConsultOptions, ConsultingTagger};

/// Draws the examples that the model's probabilities are fitted to.
const SEED: u64 = 1;

/// The tagger with a language model that it can ask, as configured. Reads a kept calibration, if there is one.
pub fn consulting(config: &Config, engine: Arc<TaggingEngine>, model: Arc<dyn LanguageModel>) -> ConsultingTagger {
    let taxonomy = Arc::clone(engine.taxonomy());
    let options = ConsultOptions {
        in_bulk: config.tagging.consult,
        patience: Duration::from_millis(config.tagging.consult_timeout_ms),
        max_text_chars: config.tagging.consult_chars,
        calibration_rows: config.tagging.consult_rows,
        seed: SEED,
        folder: config.tagging.examples_dir.clone(),
        topic_threshold: config.tagging.topic_threshold,
        max_topics: config.tagging.max_topics,
    };
    ConsultingTagger::new(engine, model, taxonomy, options)
}
