//! Help while a conversation lasts: turns in, slots of suggestions out, each when its content changed.
//!
//! Enters: what is known at the start ([`LiveStart`]), then turns ([`Conversation::take`]). Leaves: [`LiveOutcome`]s, one at a time
//! ([`Conversation::next`]). Turns that come while a suggestion is made wait for the next, which is made from all of them: there is
//! never a queue of suggestions. Dropping the conversation drops its work. Never here: transport, and when a conversation is over.

mod changes;
mod pass;
mod promised;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::playbook::ReplyLanguage;
use super::suggestion::{Slot, SlotError, SlotOutcome, SuggestRequest};
use super::{Assistant, SlotContent};
use crate::cases::TenantId;
use crate::feedback::{Body, Feedback, Speaker, Turn};
use crate::tags::TeamId;
use changes::Sent;
use pass::Pass;
pub use promised::PromiseAdvice;
use promised::{Checked, Said};

/// What is known of a conversation when it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveStart {
    /// Everything but the turns, which take the place of its body.
    pub feedback: Feedback,
    /// Whose cases are searched.
    pub tenant: TenantId,
    /// The operator's team; without it, gestures of every team count as the operator's own.
    pub team: Option<TeamId>,
    /// The language of names and drafts; without it, that of the conversation.
    pub language: Option<ReplyLanguage>,
}

/// What a conversation may hold and how long its suggestions may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveLimits {
    /// Most turns.
    pub max_turns: usize,
    /// Most characters of all turns together.
    pub max_text_chars: usize,
    /// How long one suggestion may take.
    pub suggestion_time: Duration,
    /// After it, nothing is computed any more.
    pub end: Option<Instant>,
}

/// Why a turn is not taken. The conversation stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TurnRefused {
    /// There are as many turns as there may be.
    #[error("a conversation has at most {most} turns")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// The turns together would be too long.
    #[error("the turns of a conversation have at most {most} characters together")]
    TooLong {
        /// The limit, in characters.
        most: usize,
    },
}

/// A part of the help that is new.
#[derive(Debug)]
pub struct LiveOutcome {
    /// How many turns of the conversation it was made from.
    pub revision: u32,
    /// What it is.
    pub content: LiveContent,
}

/// What takes the place of what was told before.
#[derive(Debug)]
pub enum LiveContent {
    /// A slot of the suggestion after what the customer said.
    Suggestion(SlotOutcome),
    /// What the operator promised in one turn.
    Promises(Result<PromiseAdvice, SlotError>),
}

/// A conversation that goes on.
pub struct Conversation {
    assistant: Arc<Assistant>,
    start: LiveStart,
    limits: LiveLimits,
    turns: Vec<Turn>,
    chars: usize,
    /// The customer has said what no suggestion was begun from.
    is_behind: bool,
    pass: Option<Pass>,
    /// What the operator said and nobody has checked: every turn is, and there are not more than turns.
    unchecked: Vec<Said>,
    check: Option<BoxFuture<'static, Vec<Checked>>>,
    /// What was checked together and is not told yet.
    checked: VecDeque<Checked>,
    sent: Sent,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("turns", &self.turns.len()).finish_non_exhaustive()
    }
}

/// What came of waiting.
enum Event {
    Checked(Vec<Checked>),
    Slot(Option<SlotOutcome>),
}

impl Conversation {
    /// A conversation without turns.
    pub fn new(assistant: Arc<Assistant>, start: LiveStart, limits: LiveLimits) -> Self {
        Self {
            assistant,
            start,
            limits,
            turns: Vec::new(),
            chars: 0,
            is_behind: false,
            pass: None,
            unchecked: Vec::new(),
            check: None,
            checked: VecDeque::new(),
            sent: Sent::default(),
        }
    }

    /// Takes the next turn. A turn without words counts and asks for nothing.
    ///
    /// # Errors
    /// [`TurnRefused`] if it is one too many or too long.
    pub fn take(&mut self, turn: Turn) -> Result<(), TurnRefused> {
        let LiveLimits { max_turns, max_text_chars, .. } = self.limits;
        if self.turns.len() >= max_turns {
            return Err(TurnRefused::TooMany { most: max_turns });
        }
        let chars = self.chars.saturating_add(turn.text.chars().count());
        if chars > max_text_chars {
            return Err(TurnRefused::TooLong { most: max_text_chars });
        }
        let has_words = !turn.text.trim().is_empty();
        match turn.speaker {
            Speaker::Customer if has_words => {
                self.is_behind = true;
                // What a language model still writes would answer words that are no longer the last.
                self.pass.take_if(|pass| pass.is_writing());
            }
            Speaker::Operator if has_words => {
                self.unchecked.push(Said { turn: self.revision(), text: turn.text.clone() });
            }
            _ => {}
        }
        self.chars = chars;
        self.turns.push(turn);
        Ok(())
    }

    /// What is new, as soon as there is any; `None` when nothing is in work. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<LiveOutcome> {
        loop {
            while let Some(Checked { turn, result }) = self.checked.pop_front() {
                if self.sent.is_news_of_promises(&result) {
                    let content = LiveContent::Promises(result);
                    return Some(LiveOutcome { revision: turn.saturating_add(1), content });
                }
            }
            self.begin();
            if self.check.is_none() && self.pass.is_none() {
                return None;
            }
            let event = tokio::select! {
                biased;
                checked = done(self.check.as_mut()) => Event::Checked(checked),
                slot = next_slot(self.pass.as_mut()) => Event::Slot(slot),
            };
            match event {
                Event::Checked(checked) => {
                    self.check = None;
                    self.checked.extend(checked);
                }
                Event::Slot(Some(outcome)) => {
                    if let Some(told) = self.told(outcome) {
                        return Some(told);
                    }
                }
                Event::Slot(None) => self.pass = None,
            }
        }
    }

    /// A slot with its revision, if it is news.
    fn told(&mut self, outcome: SlotOutcome) -> Option<LiveOutcome> {
        let revision = self.pass.as_ref()?.revision();
        // The draft of the template is the last that does not wait for a language model.
        if outcome.slot == Slot::Draft && self.is_behind {
            self.pass = None;
        }
        if let (Ok(SlotContent::Tags(tags)), None) = (&outcome.result, self.start.language) {
            self.sent.speak(ReplyLanguage::answering(tags.language));
        }
        self.sent.is_news(&outcome).then_some(LiveOutcome { revision, content: LiveContent::Suggestion(outcome) })
    }

    /// Begins the work that is due.
    fn begin(&mut self) {
        if self.check.is_none() && !self.unchecked.is_empty() {
            let said = std::mem::take(&mut self.unchecked);
            let start = self.start.clone();
            self.check = Some(promised::check(Arc::clone(&self.assistant), start, said, self.due()).boxed());
        }
        if self.pass.is_none() && std::mem::take(&mut self.is_behind) {
            let LiveStart { feedback, tenant, team, language } = self.start.clone();
            let feedback = Feedback { body: Body::Turns(self.turns.clone()), ..feedback };
            let request = SuggestRequest { feedback, tenant, team, language, deadline: self.due() };
            self.pass = Some(Pass::start(Arc::clone(&self.assistant), request, self.revision()));
        }
    }

    /// How many turns there are.
    fn revision(&self) -> u32 {
        u32::try_from(self.turns.len()).unwrap_or(u32::MAX)
    }

    /// When work is due that begins now.
    fn due(&self) -> Instant {
        let due = Instant::now() + self.limits.suggestion_time;
        self.limits.end.map_or(due, |end| end.min(due))
    }
}

/// What was checked; never, if nothing is.
async fn done(check: Option<&mut BoxFuture<'static, Vec<Checked>>>) -> Vec<Checked> {
    match check {
        Some(check) => check.await,
        None => std::future::pending().await,
    }
}

/// The next slot of a pass, `None` after its last; never, if there is no pass.
async fn next_slot(pass: Option<&mut Pass>) -> Option<SlotOutcome> {
    match pass {
        Some(pass) => pass.next().await,
        None => std::future::pending().await,
    }
}
