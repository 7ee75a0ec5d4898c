//! Notes for the card: what a conversation came to, for whoever opens the card next.
//!
//! Enters: a conversation, or one text. Leaves: a [`Note`] of the issue, the steps done, the promises made, the outcome and what is
//! left to do, each part with who says it. Rules make it, of the conversation's own words; what a [`Writer`](super::Writer) writes
//! takes the place of theirs only where code finds it to rest on the conversation. Never here: personal data that leaves unmasked,
//! a promise without the words that made it, prompts, models.

mod acts;
mod card;
mod grounds;
mod merge;
mod outcome;
mod patterns;
mod rules;
#[cfg(test)]
mod table;
mod talk;
mod tense;
#[cfg(test)]
mod tests;
mod verbs;

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

pub use card::{Note, NoteLine, NoteOutcome, NotePlace, NotePromise, NoteTask};

use super::playbook::ReplyLanguage;
use super::promises::{Circumstances, PromiseCheck};
use super::suggest::{blocking, within};
use super::writer::{BriefTurn, NoteBrief, in_time};
use super::{Assistant, SlotError};
use crate::cases::TenantId;
use crate::feedback::{Body, Feedback, FeedbackKind};
use crate::tagging::{Party, Urgency};
use crate::text::parse_transcript;
use talk::Talk;

/// Most steps, promises or tasks of one note.
const MOST_LINES: usize = 20;

/// The longest line, in characters.
const LINE_CHARS: usize = 300;

/// A conversation to write down.
#[derive(Debug, Clone, PartialEq)]
pub struct NoteRequest {
    /// The conversation. A text that has speakers before its turns is read as turns.
    pub feedback: Feedback,
    /// Who asks.
    pub tenant: TenantId,
    /// True if no language model is to be asked.
    pub rules_only: bool,
    /// After it, nothing is computed.
    pub deadline: Instant,
}

impl Assistant {
    /// Writes down what a conversation came to. If a model fails, the note is the rules', with the reason in it.
    ///
    /// # Errors
    /// [`SlotError::Tagging`] if the conversation can't be tagged, [`SlotError::DeadlineExceeded`], [`SlotError::Internal`].
    pub async fn summarize(&self, request: NoteRequest) -> Result<Note, SlotError> {
        let NoteRequest { feedback, tenant, rules_only, deadline } = request;
        let feedback = blocking(move || as_turns(feedback)).await?;
        let party = Party::from(&tenant);
        let urgency = Urgency { deadline: Some(deadline), party, ..Urgency::default() };
        let tags = within(deadline, async { Ok(self.tagger.tag(feedback.clone(), urgency).await?) }).await?.tags;
        let circumstances = Circumstances { now: Some(Timestamp::now()), ..Circumstances::default() };
        let playbook = Arc::clone(&self.playbook);
        let read = blocking(move || {
            let talk = Talk::of(&feedback.body);
            let (acts, note) = rules::read(&talk, &tags, &PromiseCheck::new(&playbook, &circumstances));
            (talk, acts, note, circumstances)
        });
        let (talk, acts, mut note, circumstances) = within(deadline, read).await?;
        let Some(writer) = self.writer.as_ref().filter(|_| !rules_only) else { return Ok(note) };
        let brief = brief(&talk, &note);
        match in_time(deadline, async |due| writer.note(brief, due).await).await {
            Ok(written) => {
                let playbook = Arc::clone(&self.playbook);
                let merged = blocking(move || {
                    let check = PromiseCheck::new(&playbook, &circumstances);
                    merge::merged(note, written, &talk, &acts, &check)
                });
                within(deadline, merged).await
            }
            Err(error) => {
                note.model_error = Some(error);
                Ok(note)
            }
        }
    }
}

/// Feedback whose text is a transcript, with turns.
fn as_turns(mut feedback: Feedback) -> Feedback {
    if let Body::Text(text) = &feedback.body
        && matches!(feedback.kind, None | Some(FeedbackKind::Transcript))
        && let Some(turns) = parse_transcript(text)
    {
        feedback.body = Body::Turns(turns);
    }
    feedback
}

/// All that a writer is told.
fn brief(talk: &Talk, note: &Note) -> NoteBrief {
    let turns = talk.said.iter().map(|said| BriefTurn { speaker: said.speaker, masked_text: said.masked.text() });
    NoteBrief {
        turns: turns.filter(|turn| !turn.masked_text.trim().is_empty()).collect(),
        language: ReplyLanguage::answering(note.language),
    }
}
