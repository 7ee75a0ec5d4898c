//! How a conversation ended, by what the customer said last.

use super::acts::{Acts, Tense};
use super::card::{NoteOutcome, NotePromise};
use super::patterns::{self, Pattern};
use super::talk::{Said, Talk};
use crate::feedback::{CharSpan, Speaker};

/// Turns of the customer, from the end, that tell how it ended.
const LAST_TURNS: usize = 3;

/// How it ended, and the sentence that tells it: the turn's position and the span of its clean text.
pub(super) struct Ended {
    pub(super) outcome: NoteOutcome,
    pub(super) told: Option<(usize, CharSpan)>,
}

/// What a sentence of the customer says of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Solved,
    NotSolved,
    Waits,
    Agrees,
    Thanks,
}

pub(super) fn of(talk: &Talk, acts: &Acts, promises: &[NotePromise]) -> Ended {
    let unclear = Ended { outcome: NoteOutcome::Unclear, told: None };
    let Some(answered) = first_answer(talk) else { return unclear };
    let last = talk.customers().filter(|(at, _)| *at > answered).collect::<Vec<_>>();
    let mut found: Vec<(usize, CharSpan, Word)> = Vec::new();
    for (at, said) in last.into_iter().rev().take(LAST_TURNS) {
        for sentence in said.reading.sentences().iter().rev() {
            found.extend(word(said, sentence.span).map(|word| (at, sentence.span, word)));
        }
    }
    let of = |wanted: Word| found.iter().find(|(_, _, word)| *word == wanted);
    let is_after = |at: usize| acts.all.iter().any(|act| act.tense == Tense::Done && act.said > at);
    let is_pending = promises.iter().any(|promise| !promise.is_done);
    let has_steps = acts.all.iter().any(|act| act.tense == Tense::Done);
    let ended = |outcome, told: &(usize, CharSpan, Word)| Ended { outcome, told: Some((told.0, told.1)) };
    let partly_if = |pending: bool, otherwise: NoteOutcome| if pending { NoteOutcome::Partly } else { otherwise };
    match (of(Word::Solved), of(Word::NotSolved)) {
        // Of two words the later counts; in one turn each tells a part.
        (Some(solved), Some(not)) if solved.0 == not.0 => ended(NoteOutcome::Partly, not),
        (Some(solved), not) if not.is_none_or(|not| not.0 < solved.0) => {
            ended(partly_if(is_pending, NoteOutcome::Solved), solved)
        }
        // What was done after the customer said so may have solved it.
        (_, Some(not)) if is_after(not.0) => ended(NoteOutcome::Unclear, not),
        (_, Some(not)) => ended(NoteOutcome::NotSolved, not),
        _ => match (of(Word::Waits), of(Word::Thanks), of(Word::Agrees)) {
            (Some(waits), ..) => ended(partly_if(is_pending || has_steps, NoteOutcome::NotSolved), waits),
            (None, Some(thanks), _) if is_pending => ended(NoteOutcome::Partly, thanks),
            (None, Some(thanks), _) if has_steps => ended(NoteOutcome::Solved, thanks),
            (None, _, Some(agrees)) if is_pending || has_steps => ended(NoteOutcome::Partly, agrees),
            (None, thanks, agrees) => match thanks.or(agrees) {
                Some(told) => ended(NoteOutcome::Unclear, told),
                None => unclear,
            },
        },
    }
}

/// Position of the operator's first turn after a turn of the customer: before it, nothing can have ended.
fn first_answer(talk: &Talk) -> Option<usize> {
    let (first, _) = talk.customers().next()?;
    talk.ours().find(|(at, said)| *at > first && said.speaker == Speaker::Operator).map(|(at, _)| at)
}

fn word(said: &Said, span: CharSpan) -> Option<Word> {
    let text = said.reading.lower(span);
    let has = |pattern: &Pattern| pattern.as_ref().is_some_and(|regex| regex.is_match(text));
    // A question tells no end: "когда заработает?", "will it work?".
    if text.trim_end().ends_with('?') {
        return None;
    }
    match () {
        () if has(&patterns::NOT_SOLVED) => Some(Word::NotSolved),
        () if has(&patterns::SOLVED) => Some(Word::Solved),
        () if has(&patterns::WAITING) => Some(Word::Waits),
        () if has(&patterns::THANKS) => Some(Word::Thanks),
        () if has(&patterns::AGREED) => Some(Word::Agrees),
        () => None,
    }
}
