//! What is asked of assist, and what it answers: slots, each with its own content or its own error.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::gestures::OfferedGesture;
use super::playbook::{Avoidance, DraftError, ReplyLanguage};
use super::promises::{Promise, PromiseVerdict};
use super::script::ScriptCover;
use super::writer::WriterError;
use crate::cases::{CaseStoreError, OutcomeGroup, SimilarCase, TenantId};
use crate::feedback::{CharSpan, Feedback, named_enum};
use crate::tagging::TaggingError;
use crate::tags::{Tags, TeamId};

named_enum! {
    /// The parts of a suggestion.
    Slot {
        /// Topics, sentiment, signals, owning team.
        Tags = "tags",
        /// Whether the script covers the matter.
        Script = "script",
        /// Similar cases and what closed them.
        Similar = "similar",
        /// What the operator may offer.
        Gestures = "gestures",
        /// What to avoid.
        Avoid = "avoid",
        /// A draft of a reply.
        Draft = "draft",
    }
}

/// What suggestions are wanted for.
#[derive(Debug, Clone, PartialEq)]
pub struct SuggestRequest {
    /// What the customer said, or the conversation so far.
    pub feedback: Feedback,
    /// Whose cases are searched.
    pub tenant: TenantId,
    /// The operator's team; without it, gestures of every team count as the operator's own.
    pub team: Option<TeamId>,
    /// The language of names and drafts; without it, that of the text.
    pub language: Option<ReplyLanguage>,
    /// After it, nothing is computed.
    pub deadline: Instant,
}

/// One slot as it is ready.
#[derive(Debug)]
pub struct SlotOutcome {
    /// Which slot.
    pub slot: Slot,
    /// Its content, or why there is none.
    pub result: Result<SlotContent, SlotError>,
}

/// The content of a slot.
#[derive(Debug, Clone, PartialEq)]
pub enum SlotContent {
    /// [`Slot::Tags`].
    Tags(Box<Tags>),
    /// [`Slot::Script`].
    Script(ScriptAdvice),
    /// [`Slot::Similar`].
    Similar(SimilarAdvice),
    /// [`Slot::Gestures`].
    Gestures(Vec<OfferedGesture>),
    /// [`Slot::Avoid`].
    Avoid(Vec<Avoidance>),
    /// [`Slot::Draft`].
    Draft(Draft),
}

/// Whether the script covers the matter, and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct ScriptAdvice {
    /// How near the script is.
    pub cover: ScriptCover,
    /// Name of the nearest intent.
    pub intent_name: String,
    /// What the script says to it; also given when the matter is outside the script, as the nearest that there is.
    pub script: String,
}

/// Similar cases and how such cases ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SimilarAdvice {
    /// The likest, best first.
    pub cases: Vec<SimilarCase>,
    /// How the cases that were considered ended, most frequent first.
    pub outcomes: Vec<OutcomeGroup>,
}

named_enum! {
    /// Who wrote a draft.
    DraftSource {
        /// A template of the playbook.
        Template = "template",
        /// A language model.
        Model = "model",
    }
}

/// A draft of a reply, with what it promises.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The reply.
    pub text: String,
    /// Its language.
    pub language: ReplyLanguage,
    /// Who wrote it.
    pub source: DraftSource,
    /// The template that it was made from or began as.
    pub template_id: String,
    /// What it promises, each with a verdict.
    pub promises: Vec<Promise>,
    /// The gravest of the verdicts.
    pub verdict: PromiseVerdict,
    /// Where it does what the playbook says to avoid.
    pub avoided: Vec<AvoidedWords>,
}

/// Words that do what the playbook says to avoid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvoidedWords {
    /// The avoidance.
    pub avoidance_id: String,
    /// Where they stand, in characters of the text.
    pub span: CharSpan,
}

/// Why a slot is empty.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The text could not be tagged.
    #[error(transparent)]
    Tagging(#[from] TaggingError),
    /// The case store did not answer.
    #[error(transparent)]
    Cases(#[from] CaseStoreError),
    /// The language model did not write.
    #[error(transparent)]
    Writer(#[from] WriterError),
    /// A template can't be rendered.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// It needs tags, and there are none.
    #[error("there are no tags to go by: the text could not be tagged")]
    NoTags,
    /// The playbook has nothing for it.
    #[error("the playbook has no {0}")]
    NotInPlaybook(&'static str),
    /// The deadline passed.
    #[error("the deadline passed before the suggestion was ready")]
    DeadlineExceeded,
    /// Something broke on our side.
    #[error("the suggestion failed: {0}")]
    Internal(String),
}
