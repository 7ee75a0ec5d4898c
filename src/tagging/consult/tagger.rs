//! A tagger that asks a language model as well.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::{
    Calibration, Candidates, Chooser, Chosen, Consult, ConsultOptions, LabelledText, Making, Menus, labelled_texts,
};
use crate::feedback::Feedback;
use crate::inference::{LanguageModel, LanguageModelError};
use crate::prompts::PromptLanguage;
use crate::tagging::corrections::CorrectedCase;
use crate::tagging::routing::route;
use crate::tagging::{Lane, Tagged, Tagger, TaggerCounts, TaggingError, Urgency};
use crate::tags::{
    Confidence, Language, LanguageModelIdentity, Provenance, Review, ReviewReason, TagSource, Tags, TeamId, TopicId,
    TopicTag,
};
use crate::taxonomy::Taxonomy;

/// Of the time that is left, the part that is kept for what follows the model's answer; at most [`MOST_KEPT`].
const KEPT_PART: u32 = 10;
const MOST_KEPT: Duration = Duration::from_millis(500);

/// How often a calibration is begun that fails.
const MAX_ATTEMPTS: usize = 3;

/// Tags by the models of `inner`, and asks a language model when that is wanted.
pub struct ConsultingTagger {
    inner: Arc<dyn Candidates>,
    taxonomy: Arc<Taxonomy>,
    consulting: Arc<Consulting>,
}

/// What is asked, and what makes probabilities of the answers.
struct Consulting {
    model: Arc<dyn LanguageModel>,
    /// One a language.
    choosers: Vec<Chooser>,
    texts: Vec<LabelledText>,
    options: ConsultOptions,
    calibration: RwLock<Arc<Calibration>>,
    is_making: AtomicBool,
    attempts: AtomicUsize,
    /// One text in bulk at a time, so that single requests wait for one at most.
    in_bulk: Semaphore,
}

/// What came of asking.
enum Advice {
    Topic(Box<TopicTag>),
    /// Not sure enough of any.
    Nothing,
}

/// Why a model that was asked gave no topic to go by.
#[derive(Debug, thiserror::Error)]
enum ConsultError {
    #[error(transparent)]
    Model(#[from] LanguageModelError),
    #[error("the evidence could not be found: {0}")]
    Evidence(#[from] TaggingError),
}

impl ConsultingTagger {
    /// Puts a model beside a tagger. A calibration that was kept is taken from its folder; else one is made when the model is first
    /// asked, in the background, or by [`Self::prepare`]. Reads a file.
    pub fn new(
        inner: Arc<dyn Candidates>,
        model: Arc<dyn LanguageModel>,
        taxonomy: Arc<Taxonomy>,
        options: ConsultOptions,
    ) -> Self {
        let chooser =
            |language: &PromptLanguage| Chooser::new(Arc::clone(&model), Menus::of_taxonomy(&taxonomy, *language));
        let consulting = Consulting {
            choosers: PromptLanguage::ALL.iter().map(chooser).collect(),
            texts: labelled_texts(&taxonomy, options.calibration_rows, options.seed),
            model,
            options,
            calibration: RwLock::default(),
            is_making: AtomicBool::new(false),
            attempts: AtomicUsize::new(0),
            in_bulk: Semaphore::new(1),
        };
        consulting.take_kept();
        Self { inner, taxonomy, consulting: Arc::new(consulting) }
    }

    /// Makes the calibration if none was kept; `progress` is told how many questions the model has answered, and of how many.
    ///
    /// # Errors
    /// [`LanguageModelError`] of a question without an answer.
    pub async fn prepare(&self, progress: impl FnMut(usize, usize) + Send) -> Result<(), LanguageModelError> {
        if self.consulting.is_calibrated() { Ok(()) } else { self.consulting.make(progress).await }
    }

    /// How probabilities are made of what the model says.
    pub fn calibration(&self) -> Arc<Calibration> {
        self.consulting.calibration()
    }

    /// Whether the model is asked about a text with these tags.
    fn is_wanted(&self, urgency: Urgency, tags: &Tags) -> bool {
        let default = match urgency.lane {
            Lane::Interactive => Consult::Never,
            Lane::Bulk => self.consulting.options.in_bulk,
        };
        let has_words = !tags.review.reasons.contains(&ReviewReason::NoWords);
        has_words
            && match urgency.consult.unwrap_or(default) {
                Consult::Never => false,
                Consult::WhenAbstaining => tags.topics.is_empty(),
                Consult::Always => true,
            }
    }

    async fn advice(
        &self,
        feedback: &Feedback,
        text: &str,
        language: Language,
        calibration: &Calibration,
        urgency: Urgency,
    ) -> Result<Advice, ConsultError> {
        let chosen = self.consulting.ask(text, language, calibration, urgency).await?;
        let least = self.consulting.options.topic_threshold.max(calibration.threshold());
        let Some((topic, confidence)) = chosen.best().filter(|(_, confidence)| *confidence >= least) else {
            return Ok(Advice::Nothing);
        };
        let candidate = self.inner.candidate(feedback.clone(), topic, urgency).await?;
        Ok(match candidate {
            Some(candidate) => Advice::Topic(Box::new(TopicTag {
                confidence: Confidence::new(confidence),
                source: TagSource::LanguageModel,
                rule_id: None,
                neighbour_case_ids: Vec::new(),
                ..candidate
            })),
            None => Advice::Nothing,
        })
    }

    /// Tags with one topic more, and the team that follows from it.
    fn with_topic(&self, tags: &mut Tags, feedback: &Feedback, topic: TopicTag) {
        if tags.topics.iter().any(|known| known.topic_id == topic.topic_id) {
            return;
        }
        tags.topics.push(topic);
        tags.topics.sort_by(|one, other| {
            other.confidence.get().total_cmp(&one.confidence.get()).then_with(|| one.topic_id.cmp(&other.topic_id))
        });
        tags.topics.truncate(self.consulting.options.max_topics);
        drop_reason(&mut tags.review, ReviewReason::NoTopic);
        // Where persons decided for cases like it, they know better.
        if tags.team.neighbour_case_ids.is_empty() {
            let (team, is_unclear) = route(&self.taxonomy, feedback, &tags.topics, Vec::new);
            tags.team = team;
            drop_reason(&mut tags.review, ReviewReason::TeamUnclear);
            if is_unclear {
                add_reason(&mut tags.review, ReviewReason::TeamUnclear);
            }
        }
    }
}

fn drop_reason(review: &mut Review, reason: ReviewReason) {
    review.reasons.retain(|known| *known != reason);
    review.needed = !review.reasons.is_empty();
}

/// Adds a reason in its place: they stand in the order of their importance.
fn add_reason(review: &mut Review, reason: ReviewReason) {
    if !review.reasons.contains(&reason) {
        review.reasons.push(reason);
        review.reasons.sort_by_key(|known| ReviewReason::ALL.iter().position(|of_all| of_all == known));
    }
    review.needed = true;
}

/// The beginning of a text, and whether there is more of it.
fn beginning(text: &str, most: usize) -> (&str, bool) {
    match text.char_indices().nth(most) {
        Some((end, _)) => (text.get(..end).unwrap_or(text), true),
        None => (text, false),
    }
}

impl Consulting {
    fn calibration(&self) -> Arc<Calibration> {
        Arc::clone(&self.calibration.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_calibrated(&self) -> bool {
        *self.calibration() != Calibration::default()
    }

    fn making(&self) -> Making<'_> {
        Making { choosers: &self.choosers, texts: &self.texts, patience: self.options.patience }
    }

    fn file(&self, made_of: &str) -> PathBuf {
        self.options.folder.join(format!("consult-{made_of}.json"))
    }

    fn take_kept(&self) {
        let made_of = self.making().made_of(self.model.sha256());
        match Calibration::load(&self.file(&made_of), &made_of) {
            Ok(Some(calibration)) => self.serve(calibration),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a kept calibration is not used; another is made"),
        }
    }

    fn serve(&self, calibration: Calibration) {
        tracing::info!(
            model = self.model.id(),
            version = calibration.version(),
            rows = calibration.rows(),
            temperature = calibration.temperature(),
            threshold = calibration.threshold(),
            "calibration of the language model's topics is ready"
        );
        *self.calibration.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(calibration);
    }

    async fn make(&self, progress: impl FnMut(usize, usize) + Send) -> Result<(), LanguageModelError> {
        let calibration = self.making().make(progress).await?;
        let made_of = self.making().made_of(self.model.sha256());
        let (path, kept) = (self.file(&made_of), calibration.clone());
        let saved = tokio::task::spawn_blocking(move || kept.save(&path, &made_of)).await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the calibration can't be kept; it is made again after a restart"),
            Err(error) => tracing::warn!(%error, "the calibration was not kept"),
        }
        self.serve(calibration);
        Ok(())
    }

    /// Makes the calibration beside the work, unless it is there or being made.
    fn make_in_background(self: &Arc<Self>) {
        if self.is_calibrated() || self.attempts.load(Ordering::Acquire) >= MAX_ATTEMPTS {
            return;
        }
        if self.is_making.swap(true, Ordering::AcqRel) {
            return;
        }
        self.attempts.fetch_add(1, Ordering::AcqRel);
        let consulting = Arc::clone(self);
        tokio::spawn(async move {
            tracing::info!(texts = consulting.texts.len(), "the language model's topics are being calibrated");
            let told = |done: usize, of: usize| {
                if done % 10 == 0 {
                    tracing::info!(done, of, "calibrating the language model's topics");
                }
            };
            if let Err(error) = consulting.make(told).await {
                tracing::warn!(%error, "the language model's topics could not be calibrated");
            }
            consulting.is_making.store(false, Ordering::Release);
        });
    }

    async fn ask(
        &self,
        text: &str,
        language: Language,
        calibration: &Calibration,
        urgency: Urgency,
    ) -> Result<Chosen, LanguageModelError> {
        let wanted = match language {
            Language::English => PromptLanguage::English,
            Language::Russian | Language::Mixed | Language::Other | Language::Unknown => PromptLanguage::Russian,
        };
        let chooser = self.choosers.iter().find(|chooser| chooser.menus().language() == wanted);
        let chooser = chooser.ok_or_else(|| LanguageModelError::Failed(format!("no topics are listed in {wanted}")))?;
        // Part of the caller's time is kept for what follows.
        let before = urgency.deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            deadline.checked_sub((left / KEPT_PART).min(MOST_KEPT)).unwrap_or(deadline)
        });
        let asked = async {
            let _turn = match urgency.lane {
                Lane::Interactive => None,
                Lane::Bulk => Some(self.in_bulk.acquire().await),
            };
            // The wait for others is not this text's.
            let patience = Instant::now() + self.options.patience;
            let due = before.map_or(patience, |before| before.min(patience));
            let answer = tokio::time::timeout_at(due.into(), chooser.choose(text, calibration, Some(due)));
            answer.await.unwrap_or(Err(LanguageModelError::DeadlineExceeded))
        };
        match before {
            Some(before) => {
                let in_time = tokio::time::timeout_at(before.into(), asked).await;
                in_time.unwrap_or(Err(LanguageModelError::DeadlineExceeded))
            }
            None => asked.await,
        }
    }
}

#[async_trait]
impl Tagger for ConsultingTagger {
    async fn tag(&self, feedback: Feedback, urgency: Urgency) -> Result<Tagged, TaggingError> {
        let mut tagged = self.inner.tag(feedback.clone(), urgency).await?;
        if !self.is_wanted(urgency, &tagged.tags) {
            return Ok(tagged);
        }
        let calibration = self.consulting.calibration();
        let tags = &mut tagged.tags;
        let (text, is_cut) = beginning(&tags.masked_text, self.consulting.options.max_text_chars);
        match self.advice(&feedback, text, tags.language, &calibration, urgency).await {
            Ok(Advice::Topic(topic)) => self.with_topic(tags, &feedback, *topic),
            Ok(Advice::Nothing) => {}
            Err(error) => {
                tracing::warn!(%error, model = self.consulting.model.id(), "the language model gave no topic");
                add_reason(&mut tags.review, ReviewReason::LanguageModelFailed);
            }
        }
        if is_cut {
            add_reason(&mut tags.review, ReviewReason::Truncated);
        }
        tags.provenance.language_model = Some(LanguageModelIdentity {
            id: self.consulting.model.id().to_owned(),
            sha256: self.consulting.model.sha256().to_owned(),
            calibration_version: calibration.version(),
        });
        // Whoever asked first does not wait for it.
        self.consulting.make_in_background();
        Ok(tagged)
    }

    async fn learn(&self, cases: Vec<CorrectedCase>) -> Result<(), TaggingError> {
        self.inner.learn(cases).await
    }

    async fn forget(&self, case_ids: Vec<String>) -> Result<(), TaggingError> {
        self.inner.forget(case_ids).await
    }

    fn consults(&self) -> bool {
        true
    }

    fn knows_topic(&self, id: &TopicId) -> bool {
        self.inner.knows_topic(id)
    }

    fn knows_team(&self, id: &TeamId) -> bool {
        self.inner.knows_team(id)
    }

    fn provenance(&self) -> Provenance {
        self.inner.provenance()
    }

    fn counts(&self) -> TaggerCounts {
        self.inner.counts()
    }
}
