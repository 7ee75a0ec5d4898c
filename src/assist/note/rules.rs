//! The note by rules alone: the conversation's own words, each with its place.

use super::super::promises::terms_of;
use super::super::promises::{PromiseCheck, summary};
use super::super::reading::{Reading, Sentence};
use super::super::writer::AdviceSource;
use super::acts::{Act, Acts, Tense};
use super::card::{Note, NoteLine, NotePromise, NoteTask};
use super::outcome;
use super::patterns;
use super::talk::{Said, Talk};
use super::{LINE_CHARS, MOST_LINES};
use crate::feedback::CharSpan;
use crate::tags::{Language, Tags};

/// The fewest words of a sentence that tells a matter.
const TELLING_WORDS: usize = 3;

/// Words that join a clause to the next one and stay at its end when it is taken alone.
const JOINING: &[&str] = &[" and", " but", " so", " и", " а", " но", " поэтому"];

/// The note of a conversation.
pub(super) fn note(talk: &Talk, tags: &Tags, acts: &Acts) -> Note {
    let promises = promises(talk, acts);
    let ended = outcome::of(talk, acts, &promises);
    Note {
        language: tags.language,
        issue: issue(talk, tags),
        steps: steps(talk, acts),
        left_to_do: promises.iter().filter(|promise| !promise.is_done).map(task).take(MOST_LINES).collect(),
        promises,
        outcome: ended.outcome,
        outcome_source: AdviceSource::Rules,
        outcome_note: ended.told.and_then(|(at, span)| Some(line(talk.said.get(at)?, span))),
        refused_parts: 0,
        model_error: None,
    }
}

/// What is left to do of a promise.
pub(super) fn task(promise: &NotePromise) -> NoteTask {
    let due = if promise.what.contains(&promise.term) { String::new() } else { format!(" ({})", promise.term) };
    NoteTask { what: format!("{}{due}", promise.what), who: promise.who.clone(), source: AdviceSource::Rules }
}

/// A line of the conversation's own words.
fn line(said: &Said, span: CharSpan) -> NoteLine {
    NoteLine { text: cut(&said.words(span)), place: Some(said.place(span)), source: AdviceSource::Rules }
}

/// Words without the signs at their ends, cut after a word if they are too many.
fn cut(words: &str) -> String {
    let signs = [' ', ',', ';', ':', '.', '—', '–', '-'];
    let words = words.trim_matches(signs);
    let joined = JOINING.iter().find_map(|joining| words.strip_suffix(joining)).unwrap_or(words);
    let words = joined.trim_end_matches(signs);
    if words.chars().count() <= LINE_CHARS {
        return words.to_owned();
    }
    let start: String = words.chars().take(LINE_CHARS).collect();
    let end = start.rfind(' ').unwrap_or(start.len());
    format!("{}…", start.get(..end).unwrap_or(&start))
}

/// The customer's most telling sentence.
fn issue(talk: &Talk, tags: &Tags) -> Option<NoteLine> {
    let by_evidence = || {
        let evidence = tags.topics.first()?.evidence.iter();
        let mut places = evidence.filter_map(|evidence| {
            let (_, said) = talk.customers().find(|(_, said)| said.turn == evidence.turn)?;
            let mut sentences = said.reading.sentences().iter();
            let sentence = sentences.find(|sentence| said.reading.original(sentence.span).overlaps(evidence.span))?;
            (sentence.words.len() >= TELLING_WORDS).then(|| line(said, sentence.span))
        });
        places.next()
    };
    let sentences =
        || talk.customers().flat_map(|(_, said)| said.reading.sentences().iter().map(move |one| (said, one)));
    let is_greeting = |reading: &Reading, sentence: &Sentence| {
        let greets = patterns::GREETING.as_ref().is_some_and(|regex| regex.is_match(reading.lower(sentence.span)));
        greets && sentence.words.len() <= TELLING_WORDS + 1
    };
    let telling = |(said, sentence): &(&Said, &Sentence)| {
        sentence.words.len() >= TELLING_WORDS && !is_greeting(&said.reading, sentence)
    };
    let first = || sentences().find(telling).or_else(|| sentences().find(|(_, sentence)| !sentence.words.is_empty()));
    by_evidence().or_else(|| first().map(|(said, sentence)| line(said, sentence.span)))
}

fn steps(talk: &Talk, acts: &Acts) -> Vec<NoteLine> {
    let done = acts.all.iter().filter(|act| act.tense == Tense::Done);
    let lines = done.filter_map(|act| Some(line(talk.said.get(act.said)?, act.span)));
    lines.take(MOST_LINES).collect()
}

fn promises(talk: &Talk, acts: &Acts) -> Vec<NotePromise> {
    let promised = acts.all.iter().filter(|act| act.tense == Tense::Promised);
    let promises = promised.filter_map(|act| {
        let said = talk.said.get(act.said)?;
        let place = said.place(act.span);
        Some(NotePromise {
            what: cut(&said.words(act.span)),
            who: who(&said.reading, act),
            term: term(said, act.span),
            verdict: verdict(acts, act.said, place.span),
            is_done: acts.is_done_after(act, talk),
            place,
            source: AdviceSource::Rules,
        })
    });
    promises.take(MOST_LINES).collect()
}

/// The gravest verdict of what the playbook's check found in these words; `None` if it found nothing.
pub(super) fn verdict(acts: &Acts, said: usize, span: CharSpan) -> Option<super::super::promises::PromiseVerdict> {
    let found = acts.promises.iter().filter(|(at, promise)| *at == said && promise.span.overlaps(span));
    let found: Vec<_> = found.map(|(_, promise)| promise.clone()).collect();
    (!found.is_empty()).then(|| summary(&found))
}

/// The first term in a span of a turn's clean text, as it stands; empty if there is none.
pub(super) fn term(said: &Said, span: CharSpan) -> String {
    terms_of(&said.reading, span).first().map(|term| said.words(*term)).unwrap_or_default()
}

/// Who does it, in the words of the conversation.
fn who(reading: &Reading, act: &Act) -> String {
    if act.is_own {
        let operator = if reading.language() == Language::English { "operator" } else { "оператор" };
        return operator.to_owned();
    }
    let found = patterns::WHO.as_ref().map(|regex| reading.find(regex, act.span)).unwrap_or_default();
    found.first().map(|span| reading.lower(*span).to_owned()).unwrap_or_default()
}

/// A check of promises is made by the playbook alone: what the customer had before is not asked.
pub(super) fn read(talk: &Talk, tags: &Tags, check: &PromiseCheck<'_>) -> (Acts, Note) {
    let acts = Acts::of(talk, tags, check);
    let note = note(talk, tags, &acts);
    (acts, note)
}
