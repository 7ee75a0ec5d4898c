//! What assist wants of a language model, in plain domain types. Whoever implements it knows prompts and models; assist knows neither.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::note::NoteOutcome;
use super::playbook::ReplyLanguage;
use super::review::{PointScore, RubricPoint};
use crate::cases::OutcomeStatus;
use crate::feedback::{Speaker, named_enum};

/// Time that is kept of a deadline for checking what was written, and for sending it.
const CHECKING_TIME: Duration = Duration::from_millis(250);

named_enum! {
    /// Who says a part of a review or of a note.
    AdviceSource {
        /// Rules.
        Rules = "rules",
        /// A language model; code has checked it.
        Model = "model",
    }
}

/// What a draft is made from. Personal data is masked in all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DraftBrief {
    /// What the customer said, masked.
    pub masked_text: String,
    /// True if everybody will read the reply, as under a review.
    pub is_public: bool,
    /// The language of the draft.
    pub language: ReplyLanguage,
    /// Names of the topics, surest first.
    pub topics: Vec<String>,
    /// Names of the signals, surest first.
    pub signals: Vec<String>,
    /// What the script says, if it covers the matter.
    pub script: Option<String>,
    /// Gestures that the operator may make without asking, best first, each with its limit in words.
    pub gestures: Vec<BriefGesture>,
    /// What to avoid.
    pub avoid: Vec<String>,
    /// Similar cases, likest first.
    pub similar: Vec<BriefCase>,
    /// The draft from the playbook's template.
    pub template: String,
}

/// A gesture as whoever writes sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BriefGesture {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What is done.
    pub description: String,
    /// When it is fitting; empty if always.
    pub condition: String,
    /// Its limit in words; empty if there is none.
    pub limit: String,
}

/// A similar case as whoever writes sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BriefCase {
    /// What that customer said, masked.
    pub masked_text: String,
    /// Where it stands.
    pub status: OutcomeStatus,
    /// What was done, if that is known.
    pub resolution: Option<String>,
}

/// What a note is made from. Personal data is masked in all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct NoteBrief {
    /// The conversation, in order; no turn is empty.
    pub turns: Vec<BriefTurn>,
    /// The language of the note.
    pub language: ReplyLanguage,
}

/// A turn as whoever writes sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BriefTurn {
    /// Who speaks.
    pub speaker: Speaker,
    /// What is said, masked.
    pub masked_text: String,
}

/// A note as it was written; nothing of it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenNote {
    /// What the customer came with.
    pub issue: String,
    /// What has been done.
    pub steps: Vec<String>,
    /// What was promised.
    pub promises: Vec<WrittenPromise>,
    /// How it ended.
    pub outcome: NoteOutcome,
    /// How it ended, in words.
    pub outcome_note: String,
    /// What is left to do.
    pub left_to_do: Vec<WrittenTask>,
}

/// A promise as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPromise {
    /// What is promised.
    pub what: String,
    /// Who does it; empty if that is not said.
    pub who: String,
    /// The term; empty if none is named.
    pub term: String,
    /// The words of the conversation.
    pub quote: String,
}

/// Something left to do, as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenTask {
    /// What to do.
    pub what: String,
    /// Who does it; empty if that is not said.
    pub who: String,
}

/// What a review is made from. Personal data is masked in all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewBrief {
    /// What the customer said, masked.
    pub masked_text: String,
    /// True if everybody will read the reply, as under a review.
    pub is_public: bool,
    /// The reply, masked.
    pub masked_reply: String,
    /// The language of the remarks.
    pub language: ReplyLanguage,
    /// Gestures that the operator may make without asking, best first.
    pub gestures: Vec<BriefGesture>,
}

/// A point of a review as it was written; nothing of it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPoint {
    /// The point.
    pub point: RubricPoint,
    /// How well the reply meets it.
    pub score: PointScore,
    /// The words of the reply that earned or lost it; empty if there are none.
    pub quote: String,
    /// What to change; empty if nothing.
    pub change: String,
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriterError {
    /// Too many wait for the model already.
    #[error("the language model is busy: {0}")]
    Overloaded(String),
    /// The deadline passed.
    #[error("the deadline passed before the language model had answered")]
    DeadlineExceeded,
    /// The model can't read so much.
    #[error("it is too long for the language model: {0}")]
    TooLong(String),
    /// The prompt can't be used with what assist has to say.
    #[error("the language model can't be asked: {0}")]
    Prompt(String),
    /// What it said can't be used.
    #[error("what the language model said can't be used: {0}")]
    Unusable(String),
    /// It broke.
    #[error("the language model failed: {0}")]
    Failed(String),
}

/// Writes words, by a language model. What it writes is checked by code before anybody sees it.
#[async_trait]
pub trait Writer: Send + Sync + 'static {
    /// Writes a draft of a reply.
    ///
    /// # Errors
    /// [`WriterError`]; see its variants.
    async fn draft(&self, brief: DraftBrief, deadline: Instant) -> Result<String, WriterError>;

    /// Writes down what a conversation came to.
    ///
    /// # Errors
    /// [`WriterError`]; see its variants.
    async fn note(&self, brief: NoteBrief, deadline: Instant) -> Result<WrittenNote, WriterError>;

    /// Judges a reply by the rubric; a point may be missing.
    ///
    /// # Errors
    /// [`WriterError`]; see its variants.
    async fn review(&self, brief: ReviewBrief, deadline: Instant) -> Result<Vec<WrittenPoint>, WriterError>;
}

/// What a writer writes, if it does so early enough for an answer that is due at `due` to be sent without it.
pub(super) async fn in_time<T>(
    due: Instant,
    write: impl AsyncFnOnce(Instant) -> Result<T, WriterError>,
) -> Result<T, WriterError> {
    let Some(due) = due.checked_sub(CHECKING_TIME).filter(|due| *due > Instant::now()) else {
        return Err(WriterError::DeadlineExceeded);
    };
    tokio::time::timeout_at(due.into(), write(due)).await.unwrap_or(Err(WriterError::DeadlineExceeded))
}
