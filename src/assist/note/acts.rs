//! What the operator, or the service itself, tells of acts: those that were done, and those that are promised.

use std::sync::LazyLock;

use super::super::promises::clauses::Clauses;
use super::super::promises::{Promise, PromiseCheck};
use super::super::reading::{Reading, Sentence};
use super::patterns::{self, Pattern, begins_with_customer};
use super::talk::{Said, Talk};
use super::{tense, verbs};
use crate::feedback::CharSpan;
use crate::tagging::terms;
use crate::tags::Tags;

/// The signal of a promise with a term.
const PROMISE: &str = "promise";

/// Whether something was done or is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tense {
    Done,
    Promised,
}

/// A part of a sentence that tells of one act, or of several of the same tense.
#[derive(Debug, Clone)]
pub(super) struct Act {
    /// Position of the turn.
    pub(super) said: usize,
    /// Where it stands in the turn's clean text.
    pub(super) span: CharSpan,
    pub(super) tense: Tense,
    /// True if the speaker does it.
    pub(super) is_own: bool,
    /// The words that tell it, in lower case.
    verb: String,
}

impl Act {
    /// What the words that tell it are compared by.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> + '_ {
        verbs::keys(&self.verb)
    }
}

/// The acts of one conversation, in order.
pub(super) struct Acts {
    pub(super) all: Vec<Act>,
    /// What the playbook's check found in each turn of ours, by the turn's position.
    pub(super) promises: Vec<(usize, Promise)>,
}

impl Acts {
    pub(super) fn of(talk: &Talk, tags: &Tags, check: &PromiseCheck<'_>) -> Self {
        let mut acts = Self { all: Vec::new(), promises: Vec::new() };
        for (at, said) in talk.ours() {
            let promises = check.check_reading(&said.reading, &[]);
            let marked: Vec<CharSpan> =
                promises.iter().map(|promise| promise.span).chain(signalled(said, tags)).collect();
            for sentence in said.reading.sentences() {
                acts.all.extend(of_sentence(at, said, sentence, &marked));
            }
            acts.promises.extend(promises.into_iter().map(|promise| (at, promise)));
        }
        acts
    }

    /// True if something told after the promise says that it was done: the same act, and of the same amount where both name one.
    pub(super) fn is_done_after(&self, promise: &Act, talk: &Talk) -> bool {
        let after = |act: &&Act| (act.said, act.span.start) > (promise.said, promise.span.start);
        let mut done = self.all.iter().filter(|act| act.tense == Tense::Done).filter(after);
        let amounts = |act: &Act| {
            let said = talk.said.get(act.said);
            said.map(|said| tense::amounts(said.reading.lower(act.span))).unwrap_or_default()
        };
        let (wanted, promised): (Vec<String>, _) = (promise.keys().collect(), amounts(promise));
        done.any(|act| act.keys().any(|key| wanted.contains(&key)) && tense::may_be_one(&amounts(act), &promised))
    }
}

/// Where the tagger saw a promise in a turn, in characters of the turn as given.
fn signalled<'a>(said: &'a Said, tags: &'a Tags) -> impl Iterator<Item = CharSpan> + 'a {
    let signals = tags.signals.iter().filter(|signal| signal.signal_id.as_str() == PROMISE);
    let evidence = signals.flat_map(|signal| &signal.evidence);
    evidence.filter(|evidence| evidence.turn == said.turn).map(|evidence| evidence.span)
}

/// The acts of one sentence. A question tells none.
fn of_sentence(at: usize, said: &Said, sentence: &Sentence, marked: &[CharSpan]) -> Vec<Act> {
    let reading = &said.reading;
    if reading.lower(sentence.span).trim_end().ends_with('?') {
        return Vec::new();
    }
    let mut acts: Vec<Act> = Vec::new();
    let mut is_open = false;
    let mut lead = sentence.span.start;
    for (span, is_negated) in Clauses::of(reading, sentence).iter() {
        let found = if is_negated { None } else { of_clause(reading, span, marked) };
        match (found, acts.last_mut().filter(|_| is_open)) {
            (Some((tense, verb, _)), Some(act)) if act.tense == tense => {
                act.span.end = span.end;
                act.verb.push(' ');
                act.verb.push_str(&verb);
            }
            (Some((tense, verb, is_own)), _) => {
                let start = if is_open { span.start } else { lead };
                acts.push(Act { said: at, span: CharSpan::new(start, span.end), tense, is_own, verb });
                is_open = true;
            }
            (None, Some(_)) if is_negated => {
                is_open = false;
                lead = span.end;
            }
            (None, Some(act)) => act.span.end = span.end,
            (None, None) if is_negated => lead = span.end,
            (None, None) => {}
        }
    }
    acts
}

/// Whether a clause tells of an act, by which words, and whether it is the speaker's own.
fn of_clause(reading: &Reading, span: CharSpan, marked: &[CharSpan]) -> Option<(Tense, String, bool)> {
    let first = |pattern: &Pattern| {
        let found = LazyLock::force(pattern).as_ref().map(|regex| reading.find(regex, span)).unwrap_or_default();
        found.into_iter().next()
    };
    let has_term = || !terms::terms(reading.lower(span)).is_empty();
    if let Some(found) = first(&patterns::WILL_OWN) {
        // The word after "I'll" tells the act.
        let told = reading.lower(CharSpan::new(found.start, span.end));
        let verb =
            if told.is_ascii() { told.split_whitespace().take(3).collect::<Vec<_>>().join(" ") } else { String::new() };
        let verb = if verb.is_empty() { reading.lower(found).to_owned() } else { verb };
        return Some((Tense::Promised, verb, true));
    }
    if let Some(found) = first(&patterns::WILL_OTHERS).filter(|found| !begins_with_customer(reading.lower(*found))) {
        let told = reading.lower(CharSpan::new(found.start, span.end));
        return Some((Tense::Promised, told.to_owned(), false));
    }
    if let Some(found) = first(&patterns::DONE) {
        let words = reading.lower(found);
        return (!begins_with_customer(words)).then(|| (Tense::Done, words.to_owned(), true));
    }
    let is_marked = marked.iter().any(|place| place.overlaps(reading.original(span)));
    let is_promised = first(&patterns::WILL_WITH_TERM).is_some() || is_marked;
    (is_promised && has_term()).then(|| (Tense::Promised, reading.lower(span).to_owned(), false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assist::playbook::Playbook;
    use crate::assist::promises::Circumstances;
    use crate::feedback::{Body, Speaker, Turn};
    use crate::taxonomy::Taxonomy;

    /// Acts of one turn of the operator: `+` was done, `>` is promised.
    fn told(text: &str) -> Vec<String> {
        let playbook = Playbook::default_playbook(&Taxonomy::default_taxonomy().unwrap()).unwrap();
        let turn = Turn { speaker: Speaker::Operator, text: text.into(), offset_ms: None };
        let talk = Talk::of(&Body::Turns(vec![turn]));
        let tags = super::super::tests::tags();
        let acts = Acts::of(&talk, &tags, &PromiseCheck::new(&playbook, &Circumstances::default()));
        let sign = |act: &Act| if act.tense == Tense::Done { '+' } else { '>' };
        acts.all.iter().map(|act| format!("{}{}", sign(act), talk.said[act.said].words(act.span))).collect()
    }

    #[test]
    fn what_was_done_is_told_from_what_is_promised() {
        let table: &[(&str, &[&str])] = &[
            ("Проверила, заявка оформлена.", &["+Проверила, заявка оформлена."]),
            ("Оформила замену, курьер приедет завтра.", &["+Оформила замену,", ">курьер приедет завтра."]),
            ("Я вам перезвоню в течение часа.", &[">Я вам перезвоню в течение часа."]),
            ("Деньги вернутся на карту, в течение трёх дней.", &[">Деньги вернутся на карту, в течение трёх дней."]),
            ("Вы оформили заказ вчера.", &[]),
            ("Проверили ли вы роутер?", &[]),
            ("Сегодня не вернём.", &[]),
            ("Здравствуйте, слушаю вас.", &[]),
            ("Ремонт займёт 2 дня.", &[">Ремонт займёт 2 дня."]),
            ("I've refunded the fee.", &["+I've refunded the fee."]),
            (
                "The order has been cancelled, and we'll send a new one by Friday.",
                &["+The order has been cancelled, and", ">we'll send a new one by Friday."],
            ),
            ("The courier will come tomorrow.", &[">The courier will come tomorrow."]),
            ("You will need a passport.", &[]),
            ("You will get the money by Friday.", &[">You will get the money by Friday."]),
            ("We can't refund it today.", &[]),
        ];
        let wrong: Vec<_> = table
            .iter()
            .map(|(text, acts)| (*text, *acts, told(text)))
            .filter(|(_, acts, found)| acts != found)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
