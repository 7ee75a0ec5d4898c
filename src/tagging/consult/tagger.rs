//! A tagger that asks a language model as well.

use std::sync::Arc;

use async_trait::async_trait;

use super::asking::Consulting;
use super::{Calibration, Candidates, Consult, ConsultOptions};
use crate::feedback::Feedback;
use crate::inference::{LanguageModel, LanguageModelError};
use crate::tagging::corrections::CorrectedCase;
use crate::tagging::routing::route;
use crate::tagging::{Lane, Party, Retagger, Tagged, Tagger, TaggerCounts, TaggingError, Urgency};
use crate::tags::{
    Confidence, Language, LanguageModelIdentity, Provenance, Review, ReviewReason, TagSource, Tags, TeamId, TopicId,
    TopicTag,
};
use crate::taxonomy::Taxonomy;

/// Tags by the models of `inner`, and asks a language model when that is wanted.
pub struct ConsultingTagger {
    inner: Arc<dyn Candidates>,
    taxonomy: Arc<Taxonomy>,
    consulting: Arc<Consulting>,
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
        let consulting = Consulting::new(model, &taxonomy, options);
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
            Lane::Bulk => self.consulting.options().in_bulk,
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
        let least = self.consulting.options().topic_threshold.max(calibration.threshold());
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
        tags.topics.truncate(self.consulting.options().max_topics);
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

#[async_trait]
impl Tagger for ConsultingTagger {
    async fn tag(&self, feedback: Feedback, urgency: Urgency) -> Result<Tagged, TaggingError> {
        let mut tagged = self.inner.tag(feedback.clone(), urgency).await?;
        if !self.is_wanted(urgency, &tagged.tags) {
            return Ok(tagged);
        }
        let calibration = self.consulting.calibration();
        let tags = &mut tagged.tags;
        let (text, is_cut) = beginning(&tags.masked_text, self.consulting.options().max_text_chars);
        match self.advice(&feedback, text, tags.language, &calibration, urgency).await {
            Ok(Advice::Topic(topic)) => self.with_topic(tags, &feedback, *topic),
            Ok(Advice::Nothing) => {}
            Err(error) => {
                tracing::warn!(%error, model = self.consulting.model().id(), "the language model gave no topic");
                add_reason(&mut tags.review, ReviewReason::LanguageModelFailed);
            }
        }
        if is_cut {
            add_reason(&mut tags.review, ReviewReason::Truncated);
        }
        let model = self.consulting.model();
        tags.provenance.language_model = Some(LanguageModelIdentity {
            id: model.id().to_owned(),
            sha256: model.sha256().to_owned(),
            calibration_version: calibration.version(),
        });
        // Whoever asked first does not wait for it.
        self.consulting.make_in_background();
        Ok(tagged)
    }

    async fn learn(&self, party: Party, cases: Vec<CorrectedCase>) -> Result<(), TaggingError> {
        self.inner.learn(party, cases).await
    }

    async fn forget(&self, party: Party, case_ids: Vec<String>) -> Result<(), TaggingError> {
        self.inner.forget(party, case_ids).await
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

    fn retagger(&self, party: Party) -> Option<Arc<dyn Retagger>> {
        self.inner.retagger(party)
    }

    fn counts(&self) -> TaggerCounts {
        self.inner.counts()
    }
}
