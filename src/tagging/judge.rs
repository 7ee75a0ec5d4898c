//! The models of a taxonomy, made from its examples: what a vector says about topics, signals and sentiment.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::detectors::Detectors;
use super::discriminant::{Discriminant, Example, HeldOut};
use super::examples::ExampleVectors;
use super::sentiment::{self, Polarity, SentimentModel};
use crate::tags::{Confidence, SentimentLabel, SignalId, TopicId};
use crate::taxonomy::Taxonomy;
use crate::text::prepare;

/// Given to signals whose taxonomy names no threshold of their own.
const SIGNAL_THRESHOLD: f32 = 0.5;

/// Why the models can't be made.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The taxonomy has too little to judge by.
    #[error("no {models} model can be made from the examples: {problem}")]
    Examples {
        /// Which model.
        models: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// A topic that can be given.
pub(super) struct JudgedTopic {
    pub id: TopicId,
    pub parent: Option<TopicId>,
    /// The only sentiment that it is given with.
    pub sentiment: Option<SentimentLabel>,
}

/// A signal that closeness to examples can give.
pub(super) struct JudgedSignal {
    pub id: SignalId,
    pub threshold: f32,
}

/// What a vector says.
pub(super) struct Judgement {
    /// Probability of each of [`Judge::topics`]; they add up to 1.
    pub topics: Vec<f32>,
    /// Probability of each of [`Judge::signals`], apart from each other.
    pub signals: Vec<f32>,
    pub polarity: Polarity,
}

pub(super) struct Judge {
    pub taxonomy: Arc<Taxonomy>,
    pub topics: Vec<JudgedTopic>,
    pub signals: Vec<JudgedSignal>,
    topic_model: Discriminant,
    detectors: Option<Detectors>,
    sentiment: SentimentModel,
    version: String,
}

/// Every text that the models of a taxonomy are made from, as the encoder reads it.
pub(super) fn example_texts(taxonomy: &Taxonomy) -> Result<Vec<String>, JudgeError> {
    let of_topics = taxonomy.taggable_topics().flat_map(|topic| &topic.examples);
    let of_signals = taxonomy.signals().iter().flat_map(|signal| &signal.examples);
    let of_taxonomy = of_topics.chain(of_signals).map(|example| clean(&example.text));
    let of_sentiment = sentiment_examples()?.into_iter().map(|(text, _)| clean(&text));
    Ok(of_taxonomy.chain(of_sentiment).collect())
}

fn clean(text: &str) -> String {
    prepare(text).clean().to_owned()
}

fn sentiment_examples() -> Result<Vec<(String, usize)>, JudgeError> {
    sentiment::examples().map_err(|error| JudgeError::Examples { models: "sentiment", problem: error.to_string() })
}

/// Vectors with their classes, and a hash of what they were.
struct Classes<'a> {
    vectors: &'a ExampleVectors,
    examples: Vec<Example<'a>>,
    hasher: Sha256,
}

impl<'a> Classes<'a> {
    fn new(vectors: &'a ExampleVectors, models: &'static str) -> Self {
        Self { vectors, examples: Vec::new(), hasher: Sha256::new_with_prefix(models) }
    }

    fn add(&mut self, text: &str, class: usize) -> Result<(), String> {
        let text = clean(text);
        let vector = self.vectors.get(&text).ok_or_else(|| format!("no vector of the example {text:?}"))?;
        self.hasher.update((class as u64).to_le_bytes());
        vector.iter().for_each(|value| self.hasher.update(value.to_le_bytes()));
        self.examples.push(Example { vector, class });
        Ok(())
    }
}

impl Judge {
    /// Makes the models; `vectors` must have all of [`example_texts`].
    pub fn new(taxonomy: Arc<Taxonomy>, vectors: &ExampleVectors) -> Result<Self, JudgeError> {
        let failed = |models: &'static str| move |problem: String| JudgeError::Examples { models, problem };

        let mut topics = Vec::new();
        let mut of_topics = Classes::new(vectors, "topics");
        for (class, topic) in taxonomy.taggable_topics().enumerate() {
            for example in &topic.examples {
                of_topics.add(&example.text, class).map_err(failed("topic"))?;
            }
            topics.push(JudgedTopic { id: topic.id.clone(), parent: topic.parent.clone(), sentiment: topic.sentiment });
        }
        let topic_model =
            Discriminant::fit(&of_topics.examples, topics.len()).map_err(|error| failed("topic")(error.to_string()))?;

        let mut signals = Vec::new();
        let mut of_signals = Classes::new(vectors, "signals");
        for signal in taxonomy.signals().iter().filter(|signal| !signal.examples.is_empty()) {
            for example in &signal.examples {
                of_signals.add(&example.text, signals.len()).map_err(failed("signal"))?;
            }
            let threshold = signal.min_confidence.map_or(SIGNAL_THRESHOLD, Confidence::get);
            signals.push(JudgedSignal { id: signal.id.clone(), threshold });
        }
        let detectors = if signals.is_empty() {
            None
        } else {
            // Examples of topics stand for texts without a signal. A few do carry one; the margin's curve takes that in.
            let without = signals.len();
            let mut examples = of_signals.examples.clone();
            examples.extend(of_topics.examples.iter().map(|example| Example { class: without, ..*example }));
            Some(Detectors::fit(&examples, without).map_err(|error| failed("signal")(error.to_string()))?)
        };

        let mut of_sentiment = Classes::new(vectors, "sentiment");
        for (text, label) in sentiment_examples()? {
            of_sentiment.add(&text, label).map_err(failed("sentiment"))?;
        }
        let sentiment =
            SentimentModel::fit(&of_sentiment.examples).map_err(|error| failed("sentiment")(error.to_string()))?;

        let mut hasher = Sha256::new();
        for part in [of_topics.hasher, of_signals.hasher, of_sentiment.hasher] {
            hasher.update(part.finalize());
        }
        let digits: String = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { version: format!("sha256:{digits}"), taxonomy, topics, signals, topic_model, detectors, sentiment })
    }

    pub fn judge(&self, vector: &[f32]) -> Judgement {
        Judgement {
            topics: self.topic_model.probabilities(vector),
            signals: self.detectors.as_ref().map(|detectors| detectors.probabilities(vector)).unwrap_or_default(),
            polarity: self.sentiment.polarity(vector),
        }
    }

    /// Hash of the examples' vectors and classes.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How well topics and sentiment are told on examples held out.
    pub fn held_out(&self) -> [HeldOut; 2] {
        [self.topic_model.held_out(), self.sentiment.held_out()]
    }
}
