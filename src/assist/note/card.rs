//! A note for the card of a conversation, as plain data.

use serde::{Deserialize, Serialize};

use super::super::promises::PromiseVerdict;
use super::super::writer::{AdviceSource, WriterError};
use crate::feedback::{CharSpan, named_enum};
use crate::tags::Language;

named_enum! {
    /// How a conversation ended.
    NoteOutcome {
        /// Solved.
        Solved = "solved",
        /// In part, or a way is chosen and not yet gone.
        Partly = "partly",
        /// Not solved.
        NotSolved = "not_solved",
        /// It can't be told.
        Unclear = "unclear",
    }
}

/// Words of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotePlace {
    /// Index of the turn; `None` for a plain text.
    pub turn: Option<u32>,
    /// Where they stand, in characters of that turn's text as given.
    pub span: CharSpan,
}

/// A line of a note. Personal data is masked in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteLine {
    /// The line.
    pub text: String,
    /// The words of the conversation that it is; `None` for words of a model's own.
    pub place: Option<NotePlace>,
    /// Who says it.
    pub source: AdviceSource,
}

/// A promise that was made to the customer. Personal data is masked in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotePromise {
    /// What is promised.
    pub what: String,
    /// Who does it; empty if that is not said.
    pub who: String,
    /// The term in the words of the conversation; empty if none is named.
    pub term: String,
    /// The words that promise it.
    pub place: NotePlace,
    /// What the playbook says to it, without regard to what the customer had before; `None` if it knows nothing of the kind.
    pub verdict: Option<PromiseVerdict>,
    /// True if the conversation tells later that it was done.
    pub is_done: bool,
    /// Who says it.
    pub source: AdviceSource,
}

/// Something that is left to do. Personal data is masked in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteTask {
    /// What to do.
    pub what: String,
    /// Who does it; empty if that is not said.
    pub who: String,
    /// Who says it.
    pub source: AdviceSource,
}

/// What a conversation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Language of the conversation.
    pub language: Language,
    /// What the customer came with; `None` if the customer said nothing.
    pub issue: Option<NoteLine>,
    /// What has been done, in order.
    pub steps: Vec<NoteLine>,
    /// What was promised, in order.
    pub promises: Vec<NotePromise>,
    /// How it ended.
    pub outcome: NoteOutcome,
    /// Who says how it ended.
    pub outcome_source: AdviceSource,
    /// How it ended, in words; `None` if nothing tells.
    pub outcome_note: Option<NoteLine>,
    /// What is left to do.
    pub left_to_do: Vec<NoteTask>,
    /// Parts that a model wrote and that did not stand up to the checks.
    pub refused_parts: usize,
    /// Why a model's part is missing; `None` if nobody was asked or all went well.
    pub model_error: Option<WriterError>,
}
