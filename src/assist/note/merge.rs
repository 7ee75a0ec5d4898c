//! A model's note over the note of the rules, slot by slot, as far as it stands up to checks by code.

use super::super::masked::masked;
use super::super::promises::PromiseCheck;
use super::super::reading::Reading;
use super::super::writer::{AdviceSource, WrittenNote, WrittenPromise, WrittenTask};
use super::acts::{Acts, Tense};
use super::card::{Note, NoteLine, NoteOutcome, NotePlace, NotePromise, NoteTask};
use super::grounds::Grounds;
use super::outcome::bears_solved;
use super::patterns;
use super::rules::{task, verdict};
use super::talk::{Said, Talk};
use super::{LINE_CHARS, MOST_LINES};
use crate::feedback::CharSpan;

/// The fewest words of a quotation that shows a promise.
const QUOTE_WORDS: usize = 2;
/// The longest name of who does something, in characters.
const WHO_CHARS: usize = 60;
/// Letters by which two forms of a word are taken to be of one word.
const COMMON_LETTERS: usize = 4;

/// The note of both. What the model left out or told wrongly stays the rules'.
pub(super) fn merged(mut note: Note, written: WrittenNote, talk: &Talk, acts: &Acts, check: &PromiseCheck<'_>) -> Note {
    let grounds = Grounds::of(talk, acts, check);
    let WrittenNote { issue, steps, promises, outcome, outcome_note, left_to_do } = written;
    let mut refused = 0;
    let mut kept = |text: &str, bears: &dyn Fn(&str) -> bool| {
        let text = one_line(text);
        if text.is_empty() {
            return None;
        }
        let line = (text.chars().count() <= LINE_CHARS && bears(&text)).then_some(NoteLine {
            text,
            place: None,
            source: AdviceSource::Model,
        });
        refused += usize::from(line.is_none());
        line
    };

    note.issue = kept(&issue, &|text| grounds.bear_issue(text)).or(note.issue);
    let has_ours = talk.ours().next().is_some();
    let steps = steps.iter().take(MOST_LINES).filter(|_| has_ours);
    let steps: Vec<NoteLine> = steps.filter_map(|step| kept(step, &|text| grounds.bear_step(text))).collect();
    if !steps.is_empty() {
        note.steps = steps;
    }
    let tasks = left_to_do.into_iter().take(MOST_LINES);
    let tasks: Vec<NoteTask> = tasks
        .filter_map(|WrittenTask { what, who }| {
            let line = kept(&what, &|text| grounds.bear_task(text))?;
            Some(NoteTask { what: line.text, who: who_of(&who), source: AdviceSource::Model })
        })
        .collect();
    let told = kept(&outcome_note, &|text| grounds.bear_end(text));

    let written = promises.into_iter().take(MOST_LINES).map(|promise| promised(promise, talk, acts, &grounds));
    let (found, lost): (Vec<_>, Vec<_>) = written.partition(Option::is_some);
    refused += lost.len();
    note.promises = with_left_out(found.into_iter().flatten().collect(), note.promises);

    let is_open = outcome == NoteOutcome::Solved && note.outcome == NoteOutcome::Unclear;
    if contradicts(note.outcome, outcome) || (is_open && !bears_solved(talk, acts, &note.promises)) {
        refused += 1;
    } else {
        note.outcome_note = told.or(note.outcome_note);
        (note.outcome, note.outcome_source) = (outcome, AdviceSource::Model);
    }
    note.left_to_do = left(tasks, &note.promises);
    note.refused_parts = refused;
    note
}

/// A text of a model on one line, without personal data.
fn one_line(text: &str) -> String {
    masked(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Who does something: words of a role. Anything else is left out.
fn who_of(who: &str) -> String {
    let who = one_line(who);
    let is_role = who.chars().count() <= WHO_CHARS && who.chars().all(|c| c.is_alphabetic() || [' ', '-'].contains(&c));
    if is_role { who } else { String::new() }
}

/// A promise whose quotation stands in a turn of ours that promises something; the turn's own words where the model's do not rest on it.
fn promised(promise: WrittenPromise, talk: &Talk, acts: &Acts, grounds: &Grounds<'_>) -> Option<NotePromise> {
    let WrittenPromise { what, who, term, quote } = promise;
    if quote.split_whitespace().count() < QUOTE_WORDS {
        return None;
    }
    let mut places = talk.ours().filter_map(|(at, said)| Some((at, said, said.masked.find(&quote)?)));
    let (at, said, span) = places.find(|(at, said, span)| is_promise(*at, said, *span, acts))?;
    let words = said.words_at(span);
    let what = one_line(&what);
    let is_told = !what.is_empty() && what.chars().count() <= LINE_CHARS && grounds.bear_retelling(&what, said);
    let term = said.masked.find(&term).map(|span| said.words_at(span)).unwrap_or_else(|| {
        let reading = Reading::new(&words);
        let found = super::super::promises::terms_of(&reading, reading.whole()).into_iter().next();
        found.map(|span| reading.text(span).to_owned()).unwrap_or_default()
    });
    let act = acts.all.iter().find(|act| act.said == at && said.reading.original(act.span).overlaps(span));
    Some(NotePromise {
        what: if is_told { what } else { words },
        who: who_of(&who),
        term,
        verdict: verdict(acts, at, span),
        is_done: act.is_some_and(|act| acts.is_done_after(act, talk)),
        place: NotePlace { turn: said.turn, span },
        source: AdviceSource::Model,
    })
}

/// True if the words are said to come, not asked, not refused, and not told as done.
fn is_promise(at: usize, said: &Said, span: CharSpan, acts: &Acts) -> bool {
    let mut here = acts.all.iter().filter(|act| act.said == at && said.reading.original(act.span).overlaps(span));
    if here.any(|act| act.tense == Tense::Promised) {
        return true;
    }
    let sentence = said.reading.sentences().iter().find(|one| said.reading.original(one.span).overlaps(span));
    let Some(sentence) = sentence else { return false };
    let text = said.reading.lower(sentence.span);
    let clauses = super::super::promises::clauses::Clauses::of(&said.reading, sentence);
    let is_done = patterns::DONE.as_ref().is_some_and(|regex| regex.is_match(text));
    !text.trim_end().ends_with('?') && clauses.commit() && !is_done
}

/// The model's promises, and those of the rules that it left out, in order.
fn with_left_out(found: Vec<NotePromise>, rules: Vec<NotePromise>) -> Vec<NotePromise> {
    let is_same = |one: &NotePromise, other: &NotePromise| {
        one.place.turn == other.place.turn && one.place.span.overlaps(other.place.span)
    };
    let mut promises: Vec<NotePromise> = Vec::new();
    for promise in found.into_iter().chain(rules) {
        let is_known = match promise.source {
            AdviceSource::Model => promises.iter().any(|known| known.place == promise.place),
            AdviceSource::Rules => promises.iter().any(|known| is_same(known, &promise)),
        };
        if !is_known {
            promises.push(promise);
        }
    }
    promises.sort_by_key(|promise| promise.place);
    promises
}

/// True if the model calls solved what the customer called unsolved, or the other way round.
fn contradicts(rules: NoteOutcome, model: NoteOutcome) -> bool {
    match (rules, model) {
        (NoteOutcome::Unclear, _) => false,
        (NoteOutcome::Solved, model) => model == NoteOutcome::NotSolved,
        (NoteOutcome::NotSolved, model) => model != NoteOutcome::NotSolved,
        (NoteOutcome::Partly, model) => model == NoteOutcome::Solved,
    }
}

/// The model's tasks, and one for each promise that none of them tells.
fn left(mut tasks: Vec<NoteTask>, promises: &[NotePromise]) -> Vec<NoteTask> {
    for promise in promises.iter().filter(|promise| !promise.is_done) {
        let wanted = beginnings(&promise.what);
        let tells = |task: &NoteTask| {
            let known = beginnings(&task.what);
            let shared = wanted.iter().filter(|word| known.contains(word)).count();
            shared > 0 && 2 * shared >= wanted.len().min(known.len())
        };
        if tasks.len() < MOST_LINES && !tasks.iter().any(tells) {
            tasks.push(NoteTask { source: promise.source, ..task(promise) });
        }
    }
    tasks
}

/// Beginnings of the longer words.
fn beginnings(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphabetic()).filter(|word| word.chars().count() >= COMMON_LETTERS);
    words.map(|word| word.chars().take(COMMON_LETTERS).collect()).collect()
}
