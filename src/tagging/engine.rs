//! The tagger itself: one walk from feedback to tags on the compute pool.

mod anew;

use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};

use super::consult::Candidates;
use super::corrections::{Background, CorrectedCase, Corrections, CorrectionsByParty};
use super::document::{Document, Voice, Wariness};
use super::examples::ExampleVectors;
use super::heads::HeadSet;
use super::judge::{Judge, JudgeError, example_texts};
use super::reading::{Reading, rule_hits};
use super::routing::route;
use super::sentiment::{Polarity, mean_polarity, sentiment_of};
use super::signals::{has_sentiment, signals_in_turn, signals_of, without_facts};
use super::topics::topics_of;
use super::votes::{Votes, thoughts};
use super::{Lane, Party, Reading as KeptReading, Retagger, Tagged, Tagger, TaggerCounts, TaggingError, Urgency};
use crate::feedback::{Body, CharSpan, Feedback, FeedbackKind, Speaker};
use crate::inference::{
    Begun, CacheCounts, ComputePool, Depth, EncodeInput, EncodePlan, Encoder, Encoding, EncodingCache, InferenceError,
    PassOutput, PoolCounts, PoolError, Role,
};
use crate::tags::{
    Language, Provenance, Review, ReviewReason, Sentiment, SentimentTrend, SignalTag, Tags, TeamId, TopicId, TopicTag,
    TurnTags,
};
use crate::taxonomy::{RuleHit, RuleTarget, Taxonomy};
use crate::telemetry::Stage;

/// Characters of a token, at the least, in the texts that people write; for the estimate that admission works with.
pub(super) const CHARS_PER_TOKEN: usize = 3;

/// Most tokens that the first piece of work for a text computes; what is longer goes in pieces that are counted by themselves.
const FIRST_WORK_TOKENS: usize = 512;

/// Special tokens and prefix of a sequence.
pub(super) const FRAME_TOKENS: usize = 4;

/// How tags are decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaggingOptions {
    /// A topic is given from this confidence on, 0 to 1.
    pub topic_threshold: f32,
    /// At most this many topics are given.
    pub max_topics: usize,
    /// Windows of the encoder that one speaker's words may take; what is beyond is not read.
    pub max_windows: usize,
    /// Longest text, or turns together, in characters.
    pub max_text_chars: usize,
    /// Corrections that are remembered, at most; the newest are kept.
    pub max_corrections: usize,
    /// Memory for vectors of short texts that come again; 0 keeps none.
    pub cache_bytes: usize,
}

impl Default for TaggingOptions {
    fn default() -> Self {
        Self {
            topic_threshold: 0.4,
            max_topics: 5,
            max_windows: 64,
            max_text_chars: 100_000,
            max_corrections: 50_000,
            cache_bytes: 0,
        }
    }
}

/// An encoder by name and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderIdentity {
    /// Its id in the registry of models.
    pub id: String,
    /// SHA-256 of its weights, hexadecimal.
    pub sha256: String,
}

/// Why a tagger can't be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The examples could not be encoded.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The examples make no models.
    #[error(transparent)]
    Judge(#[from] JudgeError),
}

/// Sentiment of a text and at places of it; see [`TaggingEngine::sentiment_at`].
#[derive(Debug, Clone, PartialEq)]
pub struct SentimentAt {
    /// Of the whole.
    pub whole: Option<Sentiment>,
    /// Of each place.
    pub places: Vec<Option<Sentiment>>,
}

/// Tags feedback under one taxonomy with one encoder.
pub struct TaggingEngine {
    pool: Arc<ComputePool>,
    walk: Arc<Walk>,
    /// Whose corrections count where nobody says it: of a re-tagger, its party's.
    party: Party,
}

/// What every piece of feedback walks through.
struct Walk {
    encoder: Arc<Encoder>,
    cache: EncodingCache,
    judge: Judge,
    options: TaggingOptions,
    /// Without the version of the corrections.
    provenance: Provenance,
    /// Read by each text, and held alone for the milliseconds that learning takes.
    corrections: CorrectionsByParty,
}

impl TaggingEngine {
    /// Encodes the examples that `vectors` does not know and says how many those were; `progress` is told after each batch how
    /// many are done, and of how many.
    ///
    /// # Errors
    /// [`EngineError::Inference`] if an example can't be encoded, [`EngineError::Judge`] if the sentiment examples can't be read.
    pub fn complete_vectors(
        encoder: &Encoder,
        pool: &ComputePool,
        taxonomy: &Taxonomy,
        vectors: &mut ExampleVectors,
        progress: impl FnMut(usize, usize),
    ) -> Result<usize, EngineError> {
        let texts = example_texts(taxonomy)?;
        Ok(vectors.complete(encoder, pool, texts.iter().map(String::as_str), progress)?)
    }

    /// Texts whose vectors the models of a taxonomy are made from.
    ///
    /// # Errors
    /// [`EngineError::Judge`] if the sentiment examples can't be read.
    pub fn example_texts(taxonomy: &Taxonomy) -> Result<Vec<String>, EngineError> {
        Ok(example_texts(taxonomy)?)
    }

    /// Makes the models from the vectors of the examples (see [`TaggingEngine::complete_vectors`]) and puts the heads beside them.
    ///
    /// # Errors
    /// [`EngineError::Judge`] if the vectors are not complete or the taxonomy has too few topics.
    pub fn new(
        encoder: Arc<Encoder>,
        identity: EncoderIdentity,
        taxonomy: Arc<Taxonomy>,
        vectors: &ExampleVectors,
        heads: &HeadSet,
        pool: Arc<ComputePool>,
        options: TaggingOptions,
    ) -> Result<Self, EngineError> {
        let examples = example_texts(&taxonomy)?;
        let background = Background::of(examples.iter().filter_map(|text| vectors.get(text)));
        let corrections = CorrectionsByParty::new(options.max_corrections, background);
        let judge = Judge::new(taxonomy, vectors, heads)?;
        let [topics, sentiment] = judge.held_out();
        tracing::info!(
            topic_accuracy = topics.accuracy,
            topic_log_loss = topics.log_loss,
            sentiment_accuracy = sentiment.accuracy,
            sentiment_log_loss = sentiment.log_loss,
            "models made from examples, judged on those held out"
        );
        let cache = EncodingCache::new(options.cache_bytes);
        let provenance = Provenance {
            otklik_version: env!("CARGO_PKG_VERSION").to_owned(),
            taxonomy_version: judge.taxonomy.version().clone(),
            encoder_id: identity.id,
            encoder_sha256: identity.sha256,
            prototypes_version: judge.version().to_owned(),
            heads: judge.heads().to_vec(),
            corrections_version: String::new(),
            language_model: None,
        };
        let walk = Walk { encoder, cache, judge, options, provenance, corrections };
        Ok(Self { pool, walk: Arc::new(walk), party: Party::SERVICE })
    }

    /// The taxonomy that tags are made under.
    pub fn taxonomy(&self) -> &Arc<Taxonomy> {
        &self.walk.judge.taxonomy
    }

    /// The encoder that vectors come from.
    pub fn identity(&self) -> EncoderIdentity {
        let Provenance { encoder_id, encoder_sha256, .. } = &self.walk.provenance;
        EncoderIdentity { id: encoder_id.clone(), sha256: encoder_sha256.clone() }
    }

    /// Sentiment of a text as a whole, and towards what stands at places of it (characters of the text): that of the sentences
    /// there. `None` for a place without a sentence that was read, and for a text without words.
    ///
    /// # Errors
    /// [`TaggingError::Invalid`] if the text is empty or too long, [`TaggingError::Internal`] if the encoder fails.
    pub fn sentiment_at(&self, text: &str, places: &[CharSpan]) -> Result<SentimentAt, TaggingError> {
        let feedback = Feedback::new(String::new(), Body::Text(text.to_owned()));
        check(&feedback, self.walk.options.max_text_chars)?;
        self.pool.run_blocking(|| {
            let document = Document::new(&Feedback { kind: Some(FeedbackKind::Comment), ..feedback }, Wariness::Usual);
            let Walk { encoder, judge, .. } = &*self.walk;
            let inputs = self.walk.inputs(&document);
            let encodings = encoder.encode_to(&inputs, judge.depth()).map_err(failure)?;
            let reading = Reading::new(&self.walk.judge, &document, &encodings);
            let at = |place: &CharSpan| mean_polarity(reading.polarities_at(*place).into_iter()).map(sentiment_of);
            Ok(SentimentAt {
                whole: overall_polarity(&reading).map(sentiment_of),
                places: places.iter().map(at).collect(),
            })
        })
    }

    /// Tags, without what a wary reader leaves out, and whether one more wary would leave out more.
    async fn walk_through(
        &self,
        feedback: Feedback,
        urgency: Urgency,
        wariness: Wariness,
    ) -> Result<(Tagged, bool), TaggingError> {
        let (deadline, place) = (urgency.deadline, urgency.place());
        let tokens = feedback.body.chars() / CHARS_PER_TOKEN + FRAME_TOKENS;
        let walk = Arc::clone(&self.walk);
        // A text of one pass, as most are, is one piece of work.
        let party = urgency.party;
        let begin = move || walk.begin(feedback, party, wariness);
        let begun = self.pool.encode(place, tokens.min(FIRST_WORK_TOKENS), deadline, &self.walk.encoder, begin);
        let work = match begun.await.map_err(refusal)?? {
            Outcome::Tagged { tagged, has_suspects } => return Ok((*tagged, has_suspects)),
            Outcome::Passes(work) => work,
        };
        // A long text queues anew for each pass, so that others go between and a caller that leaves stops it.
        let passes = (0..work.plan.passes()).map(|pass| {
            let plan = Arc::clone(&work.plan);
            let tokens = plan.tokens(pass);
            let begin = move || Begun::Encode { plan, pass, finish: Box::new(|output| output) };
            self.pool.encode(place, tokens, deadline, &self.walk.encoder, begin)
        });
        let states: Vec<PassOutput> = futures_util::stream::iter(passes)
            .buffered(self.pool.threads())
            .map(|pass| pass.map_err(refusal)?.map_err(failure))
            .try_collect()
            .await?;
        let (walk, has_suspects) = (Arc::clone(&self.walk), work.document.has_suspects);
        let finished = self.pool.run(place, FRAME_TOKENS, deadline, move || walk.finish(&work, states));
        Ok((finished.await.map_err(refusal)?, has_suspects))
    }

    /// Length of the vectors that come with tags.
    pub fn dimension(&self) -> usize {
        self.walk.encoder.dimension()
    }
}

#[async_trait]
impl Tagger for TaggingEngine {
    async fn tag(&self, feedback: Feedback, urgency: Urgency) -> Result<Tagged, TaggingError> {
        check(&feedback, self.walk.options.max_text_chars)?;
        let (tagged, has_suspects) = self.walk_through(feedback.clone(), urgency, Wariness::Usual).await?;
        if !has_suspects {
            return Ok(tagged);
        }
        // What may be an order to a machine must not decide: if it does, tags are those of all else that is said.
        let (mut strict, _) = self.walk_through(feedback, urgency, Wariness::Strict).await?;
        if !is_moved(&strict.tags, &tagged.tags) {
            return Ok(tagged);
        }
        strict.tags.tokens += tagged.tags.tokens;
        Ok(strict)
    }

    async fn learn(&self, party: Party, cases: Vec<CorrectedCase>) -> Result<(), TaggingError> {
        let walk = Arc::clone(&self.walk);
        // What a person said is in the store already: no deadline makes it undone.
        self.pool.run(Lane::Interactive, FRAME_TOKENS, None, move || walk.learn(party, cases)).await.map_err(refusal)
    }

    async fn forget(&self, party: Party, case_ids: Vec<String>) -> Result<(), TaggingError> {
        let walk = Arc::clone(&self.walk);
        let forgotten = self.pool.run(Lane::Interactive, FRAME_TOKENS, None, move || {
            walk.corrections.change(party, |corrections| corrections.forget(&case_ids))
        });
        forgotten.await.map(|_| ()).map_err(refusal)
    }

    fn knows_topic(&self, id: &TopicId) -> bool {
        self.walk.judge.topics.iter().any(|topic| topic.id == *id)
    }

    fn knows_team(&self, id: &TeamId) -> bool {
        self.walk.judge.taxonomy.team(id).is_some()
    }

    fn provenance(&self) -> Provenance {
        self.walk.provenance_for(self.party)
    }

    fn retagger(&self, party: Party) -> Option<Arc<dyn Retagger>> {
        Some(Arc::new(Self { pool: Arc::clone(&self.pool), walk: Arc::clone(&self.walk), party }))
    }

    fn counts(&self) -> TaggerCounts {
        let PoolCounts { queued_tokens, batches, batch_tokens } = self.pool.counts();
        let CacheCounts { hits, misses } = self.walk.cache.counts();
        TaggerCounts { queued_tokens, batches, batch_tokens, cache_hits: hits, cache_misses: misses }
    }
}

#[async_trait]
impl Candidates for TaggingEngine {
    async fn candidate(
        &self,
        feedback: Feedback,
        topic: &TopicId,
        urgency: Urgency,
    ) -> Result<Option<TopicTag>, TaggingError> {
        check(&feedback, self.walk.options.max_text_chars)?;
        let tokens = (feedback.body.chars() / CHARS_PER_TOKEN + FRAME_TOKENS).min(FIRST_WORK_TOKENS);
        let (walk, topic) = (Arc::clone(&self.walk), topic.clone());
        let work = move || walk.candidate(&feedback, &topic);
        self.pool.run(urgency.place(), tokens, urgency.deadline, work).await.map_err(refusal)?
    }
}

/// True if what was left out of the first would have moved what an order to a machine is after: the first topic, the team, or a mood that
/// it makes better. Threats of going to court make it worse, and read much like orders.
fn is_moved(without: &Tags, with: &Tags) -> bool {
    let topic = |tags: &Tags| tags.topics.first().map(|tag| tag.topic_id.clone());
    let is_better = match (&without.sentiment, &with.sentiment) {
        (Some(without), Some(with)) => without.label != with.label && with.score > without.score,
        _ => false,
    };
    topic(without) != topic(with) || without.team.team_id != with.team.team_id || is_better
}

pub(super) fn refusal(error: PoolError) -> TaggingError {
    match error {
        PoolError::Full { queued, limit } => TaggingError::Overloaded { queued, limit },
        PoolError::DeadlineExceeded => TaggingError::DeadlineExceeded,
        PoolError::Panicked => TaggingError::Internal("the computation panicked".to_owned()),
    }
}

fn failure(error: InferenceError) -> TaggingError {
    TaggingError::Internal(error.to_string())
}

fn check(feedback: &Feedback, max_text_chars: usize) -> Result<(), TaggingError> {
    let invalid = |field: &str, problem: &str| {
        Err(TaggingError::Invalid { field: field.to_owned(), problem: problem.to_owned() })
    };
    let chars = feedback.body.chars();
    if chars > max_text_chars {
        let field = if matches!(feedback.body, Body::Text(_)) { "text" } else { "turns" };
        let problem = format!("has {chars} characters; at most {max_text_chars} are allowed (limits.max_text_chars)");
        return invalid(field, &problem);
    }
    match &feedback.body {
        Body::Text(text) if text.trim().is_empty() => invalid("text", "is empty; a text or turns are needed"),
        Body::Turns(turns) if turns.iter().all(|turn| turn.text.trim().is_empty()) => {
            invalid("turns", "hold no text; at least one turn with text is needed")
        }
        _ => Ok(()),
    }
}

/// What one piece of work made of a text.
enum Outcome {
    Tagged {
        tagged: Box<Tagged>,
        /// As [`Document::has_suspects`].
        has_suspects: bool,
    },
    /// It is too long for one.
    Passes(Arc<Work>),
}

/// Feedback on its way through the model.
struct Work {
    feedback: Feedback,
    /// Whose corrections count.
    party: Party,
    document: Document,
    /// For each voice, what the model said of it before, if it did.
    known: Vec<Option<Arc<Encoding>>>,
    /// Of the others.
    plan: Arc<EncodePlan>,
}

impl Walk {
    fn provenance_for(&self, party: Party) -> Provenance {
        Provenance { corrections_version: self.corrections.version(party), ..self.provenance.clone() }
    }

    fn provenance_with(&self, corrections: &Corrections) -> Provenance {
        Provenance { corrections_version: corrections.version(), ..self.provenance.clone() }
    }

    fn learn(&self, party: Party, cases: Vec<CorrectedCase>) {
        // A vector of another length can't be compared; the store keeps none.
        let cases = cases.into_iter().filter(|case| case.vector.len() == self.encoder.dimension());
        let mut cases: Vec<_> = cases
            .map(|case| {
                let thoughts = thoughts(&self.judge, &case.tags, &case.masked_text, &case.vector);
                (case, thoughts)
            })
            .collect();
        self.corrections.change(party, |corrections| match (cases.pop(), cases.is_empty()) {
            (Some((case, thoughts)), true) => corrections.learn(case, thoughts),
            (Some(last), false) => {
                cases.push(last);
                corrections.learn_many(cases);
            }
            (None, _) => {}
        });
    }

    /// Makes the text ready; if it needs one pass through the model, what comes of that is its tags.
    fn begin(
        self: Arc<Self>,
        feedback: Feedback,
        party: Party,
        wariness: Wariness,
    ) -> Begun<Result<Outcome, TaggingError>> {
        let document = Stage::Prepare.time(|| Document::new(&feedback, wariness));
        let inputs = self.inputs(&document);
        let known: Vec<_> = inputs.iter().map(|input| self.cache.get(input, self.judge.depth())).collect();
        let unknown: Vec<EncodeInput<'_>> =
            inputs.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(input, _)| *input).collect();
        let plan = match Stage::Tokenise.time(|| self.encoder.plan(&unknown, self.judge.depth())) {
            Ok(plan) => Arc::new(plan),
            Err(error) => return Begun::Done(Err(failure(error))),
        };
        let work = Work { feedback, party, document, known, plan: Arc::clone(&plan) };
        let tagged = |walk: &Self, work: &Work, states| Outcome::Tagged {
            tagged: Box::new(walk.finish(work, states)),
            has_suspects: work.document.has_suspects,
        };
        match plan.passes() {
            0 => Begun::Done(Ok(tagged(&self, &work, Vec::new()))),
            1 => {
                let finish = move |output: Result<PassOutput, InferenceError>| {
                    Ok(tagged(&self, &work, vec![output.map_err(failure)?]))
                };
                Begun::Encode { plan, pass: 0, finish: Box::new(finish) }
            }
            _ => Begun::Done(Ok(Outcome::Passes(Arc::new(work)))),
        }
    }

    fn inputs<'a>(&self, document: &'a Document) -> Vec<EncodeInput<'a>> {
        let input = |voice: &'a Voice| EncodeInput {
            text: &voice.text,
            role: Role::Query,
            spans: &voice.spans,
            max_windows: self.options.max_windows,
        };
        document.voices.iter().map(input).collect()
    }

    /// What the model says of each voice, now or before.
    fn encodings(&self, work: &Work, passes: Vec<PassOutput>) -> Vec<Encoding> {
        let mut new = self.encoder.finish(&work.plan, passes).into_iter();
        let inputs = self.inputs(&work.document);
        let of_voice = |(input, known): (&EncodeInput<'_>, &Option<Arc<Encoding>>)| match known {
            Some(known) => Some(Encoding::clone(known)),
            None => {
                let encoding = new.next()?;
                self.cache.insert(input, self.judge.depth(), &encoding);
                Some(encoding)
            }
        };
        inputs.iter().zip(&work.known).filter_map(of_voice).collect()
    }

    /// The tag that a text would have for a topic, whatever its probability.
    fn candidate(&self, feedback: &Feedback, topic: &TopicId) -> Result<Option<TopicTag>, TaggingError> {
        let document = Document::new(feedback, Wariness::Usual);
        let inputs = self.inputs(&document);
        let of_input = |input: &EncodeInput<'_>| -> Result<Encoding, TaggingError> {
            if let Some(known) = self.cache.get(input, self.judge.depth()) {
                return Ok(Encoding::clone(&known));
            }
            let encoded = self.encoder.encode_to(std::slice::from_ref(input), self.judge.depth()).map_err(failure)?;
            encoded.into_iter().next().ok_or_else(|| TaggingError::Internal("a text has no encoding".to_owned()))
        };
        let encodings = inputs.iter().map(of_input).collect::<Result<Vec<Encoding>, _>>()?;
        let reading = Reading::new(&self.judge, &document, &encodings);
        let hits = rule_hits(&self.judge, &document);
        let speaker = document.voices.first().map_or(Speaker::Customer, |voice| voice.speaker);
        let all = topics_of(&self.judge, &reading, speaker, &hits, 0.0, usize::MAX);
        Ok(all.into_iter().find(|tag| tag.topic_id == *topic))
    }

    /// Tags from what all passes gave.
    fn finish(&self, work: &Work, passes: Vec<PassOutput>) -> Tagged {
        let Work { feedback, party, document, .. } = work;
        let mut encodings = self.encodings(work, passes);
        let tags = self.tags(feedback, *party, document, &encodings);
        let (dimension, encoder) = (self.encoder.dimension(), &self.provenance.encoder_sha256);
        let reading = KeptReading::pack(document, &encodings, dimension, encoder);
        let mut vector = if encodings.is_empty() { Vec::new() } else { encodings.swap_remove(0).vector };
        // A deep vector begins with the one that texts are compared by.
        vector.truncate(dimension);
        Tagged { tags, vector, reading: Some(reading) }
    }

    /// Length of the vectors that the heads look at.
    fn vector_length(&self) -> usize {
        match self.judge.depth() {
            Depth::Top => self.encoder.dimension(),
            Depth::Deep => self.encoder.deep_dimension(),
        }
    }

    /// All that follows from what the encoder says, now or before; the encodings are those of the document's voices.
    fn tags(&self, feedback: &Feedback, party: Party, document: &Document, encodings: &[Encoding]) -> Tags {
        let reading = Stage::Heads.time(|| Reading::new(&self.judge, document, encodings));
        let hits = Stage::Rules.time(|| rule_hits(&self.judge, document));

        let speaker = document.voices.first().map_or(Speaker::Customer, |voice| voice.speaker);
        let masked_text = document.masked_text();
        let corrections = self.corrections.of(party);
        let corrections = corrections.read().unwrap_or_else(PoisonError::into_inner);
        let vector = encodings.first().and_then(|encoding| encoding.vector.get(..self.encoder.dimension()));
        let vector = vector.unwrap_or_default();
        let votes = Stage::Neighbours.time(|| Votes::new(&corrections, &masked_text, vector));
        let _deciding = Stage::Decide.begin();
        let said = |speaker| {
            let TaggingOptions { topic_threshold, max_topics, .. } = self.options;
            let of = |threshold, most| topics_of(&self.judge, &reading, speaker, &hits, threshold, most);
            match &votes {
                None => of(topic_threshold, max_topics),
                Some(votes) => {
                    let bounds = (topic_threshold, max_topics);
                    let polarity = overall_polarity(&reading);
                    votes.on_topics(&self.judge, &reading, speaker, polarity, of(0.0, usize::MAX), bounds)
                }
            }
        };
        let has_words = document.has_words();
        let topics = if has_words { said(speaker) } else { Vec::new() };
        let signals = signals_of(&self.judge, &reading, &hits, &topics);
        let topics = without_facts(topics, &signals);
        let by_head = || match (document.voices.first(), encodings.first()) {
            (Some(voice), Some(encoding)) if has_words => self.judge.teams(&encoding.vector, &voice.text),
            _ => Vec::new(),
        };
        let (mut team, mut team_unclear) = route(&self.judge.taxonomy, feedback, &topics, by_head);
        if let Some(votes) = votes.as_ref().filter(|_| has_words) {
            let overridden;
            (team, overridden) = votes.on_team(&self.judge.taxonomy, team);
            team_unclear &= !overridden;
        }
        let language = document.language();
        let truncated = encodings.iter().any(|encoding| encoding.truncated);
        let tokens = encodings.iter().map(|encoding| encoding.tokens as u32).sum();
        let turns = if document.is_transcript { self.turn_tags(&reading, &hits, &signals) } else { Vec::new() };
        Tags {
            sentiment: overall_polarity(&reading).map(sentiment_of),
            sentiment_trend: trend(&turns),
            review: review(document, &topics, team_unclear, language, truncated),
            provenance: self.provenance_with(&corrections),
            masked_text,
            id: feedback.id.clone(),
            language,
            topics,
            team,
            signals,
            turns,
            tokens,
        }
    }

    fn turn_tags(&self, reading: &Reading<'_>, hits: &[RuleHit], signals: &[SignalTag]) -> Vec<TurnTags> {
        let mut by_turn: Vec<TurnTags> = Vec::with_capacity(reading.document.texts.len());
        for (index, text) in reading.document.texts.iter().enumerate() {
            let Some(turn) = text.turn else { continue };
            let sentences = || {
                reading
                    .spoken_by(text.speaker)
                    .into_iter()
                    .flat_map(|spoken| spoken.judged())
                    .filter(move |(sentence, _)| sentence.text == index)
            };
            let polarity =
                mean_polarity(sentences().map(|(sentence, judgement)| (judgement.polarity, sentence.words as f32)));
            let mut topics: Vec<TopicId> = hits
                .iter()
                .filter(|hit| hit.spans.iter().any(|(text, _)| *text == index))
                .filter_map(|hit| match &hit.target {
                    RuleTarget::Topic(id) => Some(id.clone()),
                    RuleTarget::Signal(_) => None,
                })
                .collect();
            for (sentence, judgement) in sentences() {
                let telling = self.judge.topics.iter().zip(&judgement.topics).filter(|(_, probability)| {
                    sentence.words >= reading.document.telling_words() && **probability >= self.options.topic_threshold
                });
                topics.extend(telling.map(|(topic, _)| topic.id.clone()));
            }
            topics.sort();
            topics.dedup();
            by_turn.push(TurnTags {
                turn,
                speaker: text.speaker,
                sentiment: polarity.filter(|_| has_sentiment(text.speaker)).map(sentiment_of),
                topics,
                signals: signals_in_turn(signals, turn),
            });
        }
        by_turn
    }
}

/// What the customer feels on the whole: half from the text as one, half from its sentences by their words.
fn overall_polarity(reading: &Reading<'_>) -> Option<Polarity> {
    let spoken = reading.spoken_by(Speaker::Customer)?;
    let whole = spoken.whole().polarity;
    let sentences =
        mean_polarity(spoken.judged().map(|(sentence, judgement)| (judgement.polarity, sentence.words as f32)));
    mean_polarity([(whole, 1.0)].into_iter().chain(sentences.map(|polarity| (polarity, 1.0))))
}

/// From the first to the last third of the customer's turns that have a sentiment.
fn trend(turns: &[TurnTags]) -> Option<SentimentTrend> {
    let scores: Vec<f32> = turns.iter().filter_map(|turn| turn.sentiment.map(|sentiment| sentiment.score)).collect();
    if scores.len() < 2 {
        return None;
    }
    let third = scores.len().div_ceil(3);
    let mean = |scores: &mut dyn Iterator<Item = &f32>| scores.sum::<f32>() / third as f32;
    let first = mean(&mut scores.iter().take(third));
    let last = mean(&mut scores.iter().rev().take(third));
    Some(SentimentTrend { first, last, change: last - first })
}

fn review(document: &Document, topics: &[TopicTag], team_unclear: bool, language: Language, truncated: bool) -> Review {
    let has_words = document.has_words();
    let reasons: Vec<ReviewReason> = [
        (ReviewReason::NoWords, !has_words),
        (ReviewReason::NoTopic, has_words && topics.is_empty()),
        (ReviewReason::TeamUnclear, team_unclear),
        (ReviewReason::Language, language == Language::Other),
        (ReviewReason::Truncated, truncated),
        (ReviewReason::Instructions, document.has_instructions),
    ]
    .into_iter()
    .filter_map(|(reason, holds)| holds.then_some(reason))
    .collect();
    Review { needed: !reasons.is_empty(), reasons }
}
