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

/// Whether a conversation of which the rules can't tell how it ended bears a model's word that it is solved.
///
/// It does not while something promised is not told as done, and not before the customer has been answered, unless the customer says that
/// it is solved. Otherwise it is for the customer's words after our last act to tell: a word that it is not solved, that the customer
/// waits, or a question at the end speaks against it; a word that it is solved for it; so do thanks and consent, unless the customer was
/// sent elsewhere; other words do if something was done. A customer who says nothing after our last act bears it out only if something
/// was done, the customer is not asked to try it, and has not said before that it is not solved.
pub(super) fn bears_solved(talk: &Talk, acts: &Acts, promises: &[NotePromise]) -> bool {
    if promises.iter().any(|promise| !promise.is_done) {
        return false;
    }
    let Some(answered) = first_answer(talk) else {
        let last = talk.customers().next_back().map(|(_, said)| words(said)).unwrap_or_default();
        return last.contains(&Word::Solved) && !last.contains(&Word::NotSolved);
    };
    let done = acts.all.iter().filter(|act| act.tense == Tense::Done).map(|act| act.said).max();
    let acted = done.map_or(answered, |done| done.max(answered));
    let last = talk.customers().filter(|(at, _)| *at > acted).map(|(_, said)| said).collect::<Vec<_>>();
    let Some(latest) = last.last() else {
        let mut before = talk.customers().filter(|(at, _)| *at > answered);
        let is_denied = before.next_back().is_some_and(|(_, said)| words(said).contains(&Word::NotSolved));
        let asks = talk.ours().last().is_some_and(|(_, said)| asks_to_try(said) || sends_elsewhere(said));
        return done.is_some() && !is_denied && !asks;
    };
    let said: Vec<Word> = last.iter().rev().take(LAST_TURNS).flat_map(|said| words(said)).collect();
    if said.contains(&Word::NotSolved) || said.contains(&Word::Waits) || ends_with_question(latest) {
        return false;
    }
    if said.contains(&Word::Solved) {
        return true;
    }
    let is_sent_elsewhere = talk.ours().last().is_some_and(|(_, said)| sends_elsewhere(said));
    !is_sent_elsewhere && (done.is_some() || !said.is_empty())
}

/// What the sentences of a turn say of the end.
fn words(said: &Said) -> Vec<Word> {
    said.reading.sentences().iter().filter_map(|sentence| word(said, sentence.span)).collect()
}

fn ends_with_question(said: &Said) -> bool {
    said.reading.lower(said.reading.whole()).trim_end().ends_with('?')
}

fn has(pattern: &Pattern, text: &str) -> bool {
    pattern.as_ref().is_some_and(|regex| regex.is_match(text))
}

fn sends_elsewhere(said: &Said) -> bool {
    has(&patterns::ELSEWHERE, said.reading.lower(said.reading.whole()))
}

/// True if a turn of ours asks whether it is solved now, or something else that is not mere courtesy.
fn asks_to_try(said: &Said) -> bool {
    said.reading
        .sentences()
        .iter()
        .map(|sentence| said.reading.lower(sentence.span))
        .any(|text| has(&patterns::TRY_IT, text) || (text.trim_end().ends_with('?') && !has(&patterns::COURTESY, text)))
}

/// Position of the operator's first turn after a turn of the customer: before it, nothing can have ended.
fn first_answer(talk: &Talk) -> Option<usize> {
    let (first, _) = talk.customers().next()?;
    talk.ours().find(|(at, said)| *at > first && said.speaker == Speaker::Operator).map(|(at, _)| at)
}

fn word(said: &Said, span: CharSpan) -> Option<Word> {
    let text = said.reading.lower(span);
    let has = |pattern: &Pattern| has(pattern, text);
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
