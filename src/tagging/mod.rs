//! Text and taxonomy in, tags out.
//!
//! Enters: [`Feedback`] and a loaded taxonomy; a language model, if one is to be asked as well ([`consult`]). Leaves: [`Tags`] with evidence, provenance and abstention, and the vector that
//! the case store keeps. Never here: protobuf, storage engines, candle.

pub mod consult;
pub mod corrections;
mod detectors;
mod discriminant;
mod document;
mod engine;
mod examples;
pub mod heads;
mod judge;
mod kept;
mod opinions;
mod patience;
mod reading;
mod routing;
mod sentiment;
mod signals;
pub(crate) mod terms;
mod topics;
mod votes;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub(crate) use detectors::logistic_curve;
pub(crate) use discriminant::{Example, Linear};
pub use engine::{EncoderIdentity, EngineError, SentimentAt, TaggingEngine, TaggingOptions};
pub use examples::{ExampleVectors, ExamplesError};
pub use judge::JudgeError;
pub(crate) use judge::{Unseen, weight_beside_examples};
pub use kept::Reading;
pub use patience::tag_patiently;
pub(crate) use sentiment::labelled_examples as sentiment_examples;

use crate::cases::{Case, TenantId, VectoredCase};
use crate::feedback::{Feedback, named_enum};
use crate::inference::Place;
pub use crate::inference::{Lane, Party};
use crate::tags::{Provenance, Tags, TeamId, TopicId};
use corrections::CorrectedCase;

/// Tokens that a text of so many characters is likely to have, as admission counts them before it is read.
pub fn estimated_tokens(chars: usize) -> usize {
    chars / engine::CHARS_PER_TOKEN + engine::FRAME_TOKENS
}

/// Texts of a table that are tagged side by side: as many short ones as make whole turns of bulk on a few threads, while as many wait.
pub const TEXTS_IN_FLIGHT: usize = 384;

/// Tags, and the vector of the whole text that they were made from.
#[derive(Debug, Clone)]
pub struct Tagged {
    /// The tags.
    pub tags: Tags,
    /// The encoder's vector of the whole text, unit length: `[hidden]`.
    pub vector: Vec<f32>,
    /// What the encoder made of the text, to be kept beside it; `None` from a tagger without an encoder.
    pub reading: Option<Reading>,
}

/// Why a piece of feedback could not be tagged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaggingError {
    /// The feedback itself is at fault; `field` is its path in [`Feedback`], as in `text` or `turns[3].text`.
    #[error("{field}: {problem}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// The compute queue is full; the work was not begun.
    #[error("the queue holds {queued} of at most {limit} tokens; try again later")]
    Overloaded {
        /// Tokens waiting now.
        queued: usize,
        /// The limit from the configuration.
        limit: usize,
    },
    /// The deadline passed before the work was done.
    #[error("the deadline passed before the text was tagged")]
    DeadlineExceeded,
    /// Something broke on our side.
    #[error("tagging failed: {0}")]
    Internal(String),
}

/// What a tagger did since it started, and has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaggerCounts {
    /// Tokens that wait or are computed.
    pub queued_tokens: usize,
    /// Batches that went through the encoder.
    pub batches: u64,
    /// Tokens of those batches.
    pub batch_tokens: u64,
    /// Short texts whose vectors were known from before.
    pub cache_hits: u64,
    /// Short texts whose vectors were not.
    pub cache_misses: u64,
}

named_enum! {
    /// When a language model is asked which topic a text has.
    Consult {
        /// Never.
        Never = "never",
        /// When no topic was sure enough.
        WhenAbstaining = "abstaining",
        /// For each text.
        Always = "always",
    }
}

impl From<&TenantId> for Party {
    fn from(tenant: &TenantId) -> Self {
        Self::named(tenant.as_str())
    }
}

/// When tags are wanted, and how much may be spent on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Urgency {
    /// After it, not at all.
    pub deadline: Option<Instant>,
    /// Before or after the work of others.
    pub lane: Lane,
    /// Whose turns it takes, and whose corrections count.
    pub party: Party,
    /// Whether a language model is asked, which takes seconds; `None` is as configured for bulk, and never for others.
    pub consult: Option<Consult>,
}

impl Urgency {
    /// Nobody waits for it.
    pub const BULK: Self = Self { deadline: None, lane: Lane::Bulk, party: Party::SERVICE, consult: None };

    /// Where its work waits.
    pub fn place(&self) -> Place {
        Place { lane: self.lane, party: self.party }
    }
}

/// Anything that tags. The service is written against this, so that its tests can use a tagger that is slow or fails.
#[async_trait]
pub trait Tagger: Send + Sync + 'static {
    /// Tags one piece of feedback.
    ///
    /// The work is dropped unstarted if its deadline passes or the returned future is dropped while it waits in the queue.
    ///
    /// # Errors
    /// [`TaggingError`]; see its variants.
    async fn tag(&self, feedback: Feedback, urgency: Urgency) -> Result<Tagged, TaggingError>;

    /// Learns what persons of a party corrected, the oldest first; when this returns, the party's next text profits, and no other's. A later correction of the same
    /// case takes the place of the earlier.
    ///
    /// # Errors
    /// [`TaggingError::Overloaded`], [`TaggingError::Internal`].
    async fn learn(&self, party: Party, cases: Vec<CorrectedCase>) -> Result<(), TaggingError>;

    /// Forgets the corrections of these cases of a party, as when they are erased.
    ///
    /// # Errors
    /// [`TaggingError::Overloaded`], [`TaggingError::Internal`].
    async fn forget(&self, party: Party, case_ids: Vec<String>) -> Result<(), TaggingError>;

    /// True if there is a language model that [`Urgency::consult`] can ask for.
    fn consults(&self) -> bool {
        false
    }

    /// The tagger of this moment, for work of many texts that must all be tagged alike; `None` if it is this one, for ever.
    fn pinned(&self) -> Option<Arc<dyn Tagger>> {
        None
    }

    /// True if the taxonomy has a topic that texts can be given.
    fn knows_topic(&self, id: &TopicId) -> bool;

    /// True if the taxonomy has a team.
    fn knows_team(&self, id: &TeamId) -> bool;

    /// What makes the tags at the moment, of texts that are no party's.
    fn provenance(&self) -> Provenance;

    /// What tags stored cases of a party anew, with all that makes tags at this moment: it stays the same, whatever serves later. `None` if this
    /// tagger can't.
    fn retagger(&self, _party: Party) -> Option<Arc<dyn Retagger>> {
        None
    }

    /// What was done, and waits.
    fn counts(&self) -> TaggerCounts;
}

/// Tags stored cases anew, in bulk. A language model is not asked.
#[async_trait]
pub trait Retagger: Send + Sync + 'static {
    /// What makes the tags. But for corrections, which are learnt all the time, it stays the same.
    fn provenance(&self) -> Provenance;

    /// Tags of cases from what is kept of them ([`Case::reading`]), without the encoder; in their order. `None` for each whose text has
    /// to be read anew: nothing is kept of it, or what another encoder made of it.
    ///
    /// # Errors
    /// [`TaggingError::Overloaded`] if the queue stays full for long, [`TaggingError::Internal`].
    async fn by_kept(&self, cases: Arc<Vec<VectoredCase>>) -> Result<Vec<Option<Tags>>, TaggingError>;

    /// Tags of a case from its masked text, which the encoder reads. Evidence is in characters of that.
    ///
    /// # Errors
    /// As [`Tagger::tag`]; [`TaggingError::Overloaded`] only if the queue stays full for long.
    async fn anew(&self, case: &Case) -> Result<Tagged, TaggingError>;
}
