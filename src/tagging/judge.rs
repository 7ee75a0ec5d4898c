//! What a text says about topics, signals, sentiment and team: models made from a taxonomy's examples, and heads beside them.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::detectors::Detectors;
use super::discriminant::{Discriminant, Example, HeldOut};
use super::examples::ExampleVectors;
use super::heads::{Head, HeadSet, Lexicon, NO, NgramSpec, SENTIMENT, TEAM, TOPICS, YES};
use super::opinions::{Measured, Opinion, best_weight};
use super::sentiment::{self, Polarity, SentimentModel};
use crate::inference::Depth;
use crate::tags::{Confidence, HeadIdentity, SentimentLabel, SignalId, TagSource, TeamId, TopicId};
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
    /// What gives it.
    pub source: TagSource,
}

/// A signal that a model or a head can give.
pub(super) struct JudgedSignal {
    pub id: SignalId,
    pub threshold: f32,
    /// What gives it.
    pub source: TagSource,
    /// Its place among the detectors; a signal without examples has none.
    detector: Option<usize>,
    head: Option<Opinion>,
}

/// What a text says.
pub(super) struct Judgement {
    /// Probability of each of [`Judge::topics`]; they add up to 1 unless a head of several labels speaks.
    pub topics: Vec<f32>,
    /// Probability of each of [`Judge::signals`], apart from each other.
    pub signals: Vec<f32>,
    pub polarity: Polarity,
}

/// What the words of a text say to each head: margins, in the order of [`Judge::opinions`].
pub(super) struct Words(Vec<Vec<f32>>);

pub(super) struct Judge {
    pub taxonomy: Arc<Taxonomy>,
    pub topics: Vec<JudgedTopic>,
    pub signals: Vec<JudgedSignal>,
    topic_model: Discriminant,
    topic_head: Option<Opinion>,
    detectors: Option<Detectors>,
    sentiment: SentimentModel,
    sentiment_head: Option<Opinion>,
    teams: Vec<TeamId>,
    team_head: Option<Opinion>,
    /// The n-grams of the heads, for each way in which they are counted.
    lexicons: Vec<Lexicon>,
    heads: Vec<HeadIdentity>,
    depth: Depth,
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

/// The project's own examples of sentiment, with the index of the label.
pub(super) fn sentiment_examples() -> Result<Vec<(String, usize)>, JudgeError> {
    sentiment::examples().map_err(|error| JudgeError::Examples { models: "sentiment", problem: error.to_string() })
}

/// Vectors with their classes, and a hash of what they were.
struct Classes<'a> {
    vectors: &'a ExampleVectors,
    texts: Vec<String>,
    examples: Vec<Example<'a>>,
    hasher: Sha256,
}

impl<'a> Classes<'a> {
    fn new(vectors: &'a ExampleVectors, models: &'static str) -> Self {
        Self { vectors, texts: Vec::new(), examples: Vec::new(), hasher: Sha256::new_with_prefix(models) }
    }

    fn add(&mut self, text: &str, class: usize) -> Result<(), String> {
        let text = clean(text);
        let vector = self.vectors.get(&text).ok_or_else(|| format!("no vector of the example {text:?}"))?;
        self.hasher.update((class as u64).to_le_bytes());
        vector.iter().for_each(|value| self.hasher.update(value.to_le_bytes()));
        self.examples.push(Example { vector, class });
        self.texts.push(text);
        Ok(())
    }

    /// Examples with what was said of them unseen.
    fn measured(&self, judged: Vec<(usize, Vec<f32>)>) -> Vec<Measured<'_>> {
        let one = |(at, examples): (usize, Vec<f32>)| {
            let (text, example) = (self.texts.get(at)?, self.examples.get(at)?);
            Some(Measured { text, vector: example.vector, examples, class: example.class })
        };
        judged.into_iter().filter_map(one).collect()
    }
}

/// The models that a taxonomy's examples make, with the examples.
struct Models<'a> {
    of_topics: Classes<'a>,
    topics: Discriminant,
    /// Signals that have examples, in order.
    signals: Vec<SignalId>,
    /// Examples of those, then those of topics as texts without a signal.
    of_signals: Classes<'a>,
    detectors: Option<Detectors>,
    of_sentiment: Classes<'a>,
    sentiment: SentimentModel,
    version: String,
}

impl<'a> Models<'a> {
    fn fit(taxonomy: &Taxonomy, vectors: &'a ExampleVectors) -> Result<Self, JudgeError> {
        let failed = |models: &'static str| move |problem: String| JudgeError::Examples { models, problem };

        let mut of_topics = Classes::new(vectors, "topics");
        for (class, topic) in taxonomy.taggable_topics().enumerate() {
            for example in &topic.examples {
                of_topics.add(&example.text, class).map_err(failed("topic"))?;
            }
        }
        let topics = Discriminant::fit(&of_topics.examples, taxonomy.taggable_topics().count())
            .map_err(|error| failed("topic")(error.to_string()))?;

        let mut signals = Vec::new();
        let mut of_signals = Classes::new(vectors, "signals");
        for signal in taxonomy.signals().iter().filter(|signal| !signal.examples.is_empty()) {
            for example in &signal.examples {
                of_signals.add(&example.text, signals.len()).map_err(failed("signal"))?;
            }
            signals.push(signal.id.clone());
        }
        // Examples of topics stand for texts without a signal. A few do carry one; the margin's curve takes that in.
        let without = signals.len();
        of_signals.examples.extend(of_topics.examples.iter().map(|example| Example { class: without, ..*example }));
        of_signals.texts.extend(of_topics.texts.iter().cloned());
        let detectors = match signals.is_empty() {
            true => None,
            false => Some(
                Detectors::fit(&of_signals.examples, without).map_err(|error| failed("signal")(error.to_string()))?,
            ),
        };

        let mut of_sentiment = Classes::new(vectors, "sentiment");
        for (text, label) in sentiment_examples()? {
            of_sentiment.add(&text, label).map_err(failed("sentiment"))?;
        }
        let sentiment =
            SentimentModel::fit(&of_sentiment.examples).map_err(|error| failed("sentiment")(error.to_string()))?;

        let mut hasher = Sha256::new();
        for part in [&of_topics.hasher, &of_signals.hasher, &of_sentiment.hasher] {
            hasher.update(part.clone().finalize());
        }
        let digits: String = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let version = format!("sha256:{digits}");
        Ok(Self { of_topics, topics, signals, of_signals, detectors, of_sentiment, sentiment, version })
    }

    /// Examples of a signal and of its absence, as the detectors judged them unseen.
    fn measured_signal(&self, signal: usize, judged: Vec<(usize, f32)>) -> Vec<Measured<'_>> {
        let judged = judged.into_iter().map(|(at, probability)| (at, sides(probability))).collect();
        let mut measured = self.of_signals.measured(judged);
        measured.iter_mut().for_each(|one| one.class = usize::from(one.class == signal));
        measured
    }
}

/// Place of a label of a head that tells a signal.
fn side(label: &str) -> Option<usize> {
    [NO, YES].iter().position(|known| *known == label)
}

/// Place of a label of a head that tells sentiment.
fn polarity_place(label: &str) -> Option<usize> {
    sentiment::LABELS.iter().position(|known| known.as_str() == label)
}

/// What a head said of a text that it had not seen.
pub(crate) struct Unseen<'a> {
    /// The text as the encoder reads it.
    pub text: &'a str,
    /// Probability of each of the head's labels.
    pub probabilities: &'a [f32],
    /// Index of the right one.
    pub label: usize,
}

/// The weight that a head deserves beside the models of a taxonomy's examples, measured on texts that it had not seen; the models
/// judge their own examples unseen too. `None` if there is nothing to measure on.
///
/// # Errors
/// [`JudgeError`] as for [`Judge::new`].
pub(crate) fn weight_beside_examples(
    taxonomy: &Taxonomy,
    vectors: &ExampleVectors,
    name: &str,
    labels: &[String],
    unseen: &[Unseen<'_>],
) -> Result<Option<f32>, JudgeError> {
    let mut models = Models::fit(taxonomy, vectors)?;
    let ids: Vec<&str> = taxonomy.taggable_topics().map(|topic| topic.id.as_str()).collect();
    let place = |label: &String| match name {
        TOPICS => ids.iter().position(|id| id == label),
        SENTIMENT => polarity_place(label),
        _ => side(label),
    };
    let Some(places) = labels.iter().map(place).collect::<Option<Vec<usize>>>() else { return Ok(None) };
    let (judged, detector) = match name {
        TOPICS => (models.topics.take_judged(), None),
        SENTIMENT => (models.sentiment.take_judged(), None),
        signal => {
            let Some(at) = models.signals.iter().position(|id| id.as_str() == signal) else { return Ok(None) };
            let judged = models.detectors.as_mut().map(Detectors::take_judged).unwrap_or_default();
            let judged = judged.into_iter().nth(at).unwrap_or_default();
            (judged.into_iter().map(|(row, probability)| (row, sides(probability))).collect(), Some(at))
        }
    };
    let examples = match name {
        TOPICS => &models.of_topics,
        SENTIMENT => &models.of_sentiment,
        _ => &models.of_signals,
    };
    let mut known: HashMap<&str, Vec<f32>> =
        judged.into_iter().filter_map(|(row, said)| Some((examples.texts.get(row)?.as_str(), said))).collect();
    let mut rows = Vec::new();
    for one in unseen {
        let said = known.remove(one.text).or_else(|| {
            let vector = vectors.get(one.text)?;
            Some(match (name, detector) {
                (TOPICS, _) => models.topics.probabilities(vector),
                (_, Some(at)) => sides(models.detectors.as_ref()?.probabilities(vector).get(at).copied()?),
                _ => models.sentiment.polarity(vector).to_vec(),
            })
        });
        if let (Some(said), Some(place)) = (said, places.get(one.label)) {
            rows.push((one.probabilities, said, *place));
        }
    }
    Ok(best_weight(rows.iter().map(|(head, said, place)| (*head, said.as_slice(), *place)), &places))
}

/// Probabilities of a signal's absence and presence.
fn sides(probability: f32) -> Vec<f32> {
    vec![1.0 - probability, probability]
}

impl Judge {
    /// Makes the models; `vectors` must have all of [`example_texts`].
    pub fn new(taxonomy: Arc<Taxonomy>, vectors: &ExampleVectors, heads: &HeadSet) -> Result<Self, JudgeError> {
        let mut models = Models::fit(&taxonomy, vectors)?;
        let ids: Vec<&TopicId> = taxonomy.taggable_topics().map(|topic| &topic.id).collect();

        let mut topic_head = Opinion::of(heads, TOPICS, |label| ids.iter().position(|id| id.as_str() == label));
        let judged = models.topics.take_judged();
        if let Some(head) = &mut topic_head {
            head.weigh(&models.of_topics.measured(judged));
        }
        let mut sentiment_head = Opinion::of(heads, SENTIMENT, polarity_place);
        let judged = models.sentiment.take_judged();
        if let Some(head) = &mut sentiment_head {
            head.weigh(&models.of_sentiment.measured(judged));
        }
        let mut judged = models.detectors.as_mut().map(Detectors::take_judged).unwrap_or_default();
        let mut signals = Vec::new();
        for signal in taxonomy.signals() {
            let detector = models.signals.iter().position(|id| *id == signal.id);
            let mut head = Opinion::of(heads, signal.id.as_str(), side);
            if let (Some(head), Some(at)) = (&mut head, detector) {
                let judged = judged.get_mut(at).map(std::mem::take).unwrap_or_default();
                head.weigh(&models.measured_signal(at, judged));
            }
            if detector.is_none() && head.is_none() {
                continue;
            }
            let threshold = signal.min_confidence.map_or(SIGNAL_THRESHOLD, Confidence::get);
            let source = if head.is_some() { TagSource::Head } else { TagSource::Prototype };
            signals.push(JudgedSignal { id: signal.id.clone(), threshold, source, detector, head });
        }
        let topics = taxonomy.taggable_topics().enumerate().map(|(place, topic)| JudgedTopic {
            id: topic.id.clone(),
            parent: topic.parent.clone(),
            sentiment: topic.sentiment,
            source: match &topic_head {
                Some(head) if head.knows(place) => TagSource::Head,
                _ => TagSource::Prototype,
            },
        });
        let teams: Vec<TeamId> = match heads.get(TEAM) {
            Some(serving) => serving.head.card().labels.iter().map(TeamId::new).collect(),
            None => Vec::new(),
        };
        let team_head = Opinion::of(heads, TEAM, |label| teams.iter().position(|team| team.as_str() == label));
        let mut judge = Self {
            topics: topics.collect(),
            signals,
            topic_head,
            sentiment_head,
            teams,
            team_head,
            lexicons: Vec::new(),
            heads: heads.identities(),
            depth: heads.depth(),
            topic_model: models.topics,
            detectors: models.detectors,
            sentiment: models.sentiment,
            version: models.version,
            taxonomy,
        };
        let lexicon = |spec: NgramSpec| {
            let counting = judge.heads_counting(spec);
            (!counting.is_empty()).then(|| Lexicon::of(spec, &counting))
        };
        judge.lexicons = heads.specs().into_iter().filter_map(lexicon).collect();
        Ok(judge)
    }

    /// What the words of a text, in its clean form, say to each head.
    pub fn words(&self, text: &str) -> Words {
        let of_lexicon =
            |lexicon: &Lexicon| lexicon.word_margins(&self.heads_counting(lexicon.spec()), text).into_iter();
        let mut margins: Vec<_> = self.lexicons.iter().map(|lexicon| (lexicon.spec(), of_lexicon(lexicon))).collect();
        let of_opinion = |opinion: &Opinion| {
            let spec = opinion.head().card().ngrams;
            margins.iter_mut().find(|(of, _)| *of == spec)?.1.next()
        };
        Words(self.opinions().map(of_opinion).map(Option::unwrap_or_default).collect())
    }

    /// Those heads that count n-grams so, in the order of [`Judge::opinions`].
    fn heads_counting(&self, spec: NgramSpec) -> Vec<&Head> {
        self.opinions().map(Opinion::head).filter(|head| head.card().ngrams == spec).collect()
    }

    /// The heads beside the models of examples: of topics, of sentiment, and of signals in their order.
    fn opinions(&self) -> impl Iterator<Item = &Opinion> {
        let of_signals = self.signals.iter().filter_map(|signal| signal.head.as_ref());
        self.topic_head.iter().chain(&self.sentiment_head).chain(of_signals)
    }

    /// Judges a text by its vector and its words.
    pub fn judge(&self, vector: &[f32], words: &Words) -> Judgement {
        let mut words = words.0.iter().map(Vec::as_slice);
        let mut blend = |head: &Opinion, examples: &mut [f32]| {
            head.blend(examples, vector, words.next().unwrap_or_default());
        };
        let mut topics = self.topic_model.probabilities(vector);
        if let Some(head) = &self.topic_head {
            blend(head, &mut topics);
        }
        let mut polarity = self.sentiment.polarity(vector);
        if let Some(head) = &self.sentiment_head {
            blend(head, &mut polarity);
        }
        let detected = self.detectors.as_ref().map(|detectors| detectors.probabilities(vector)).unwrap_or_default();
        let signal = |signal: &JudgedSignal| {
            let detected = signal.detector.map(|at| detected.get(at).copied().unwrap_or(0.0));
            let Some(head) = &signal.head else { return detected.unwrap_or(0.0) };
            let mut sides = detected.map_or([0.5, 0.5], |probability| [1.0 - probability, probability]);
            blend(head, &mut sides);
            let [_, yes] = sides;
            yes
        };
        Judgement { topics, signals: self.signals.iter().map(signal).collect(), polarity }
    }

    /// Teams that a head names for a text, most probable first; none without such a head.
    pub fn teams(&self, vector: &[f32], text: &str) -> Vec<(TeamId, f32)> {
        let Some(head) = &self.team_head else { return Vec::new() };
        let probabilities = head.probabilities(vector, text);
        let mut teams: Vec<(TeamId, f32)> = self.teams.iter().cloned().zip(probabilities).collect();
        teams.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        teams
    }

    /// How much of the encoder's states the heads look at. Deep vectors begin with those that everything else looks at.
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// Hash of the examples' vectors and classes.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The heads that are asked, by name.
    pub fn heads(&self) -> &[HeadIdentity] {
        &self.heads
    }

    /// How well topics and sentiment are told by their models alone on examples held out.
    pub fn held_out(&self) -> [HeldOut; 2] {
        [self.topic_model.held_out(), self.sentiment.held_out()]
    }
}
