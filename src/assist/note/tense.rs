//! Words of a model held against tense: nothing is told as done that was only promised, and nothing as left to do that was done.
//!
//! Two tellings are of one act if they have the act of a verb in common (see [`verbs`]). Of several tellings of one act, the one that
//! shares the most of a text's other words is the one that the text is of; what is done goes first among equals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::super::promises::clauses::Clauses;
use super::super::reading::{Reading, pattern};
use super::acts::{Acts, Tense};
use super::talk::{Said, Talk};
use super::{grounds, patterns, verbs};
use crate::feedback::CharSpan;

/// What an amount that two tellings share counts for, in words.
const AMOUNT_WEIGHT: usize = 2;

/// An amount of money or of points.
static MONEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"(?:[$€£₽]\s?)?\b\d[\d\s]*(?:[.,]\d+)?\s*(?:руб|р\b|₽|бонус|балл|евро|доллар|rub|usd|eur|dollar|euro|pound|point|\$|€|£)|[$€£]\s?\d[\d,]*",
    )
});

/// Words after which nothing is told as it is: a wish, a condition, a question.
const NOT_SO: &[&str] = &["чтобы", "бы", "если", "пока", "if", "whether", "once", "until", "unless"];

/// Amounts of a text, as digits.
pub(super) fn amounts(text: &str) -> BTreeSet<String> {
    let found = MONEY.iter().flat_map(|regex| regex.find_iter(text));
    found.map(|amount| amount.as_str().chars().filter(char::is_ascii_digit).collect()).collect()
}

/// True if what was done may be what was promised, as far as amounts tell.
pub(super) fn may_be_one(one: &BTreeSet<String>, other: &BTreeSet<String>) -> bool {
    one.is_empty() || other.is_empty() || !one.is_disjoint(other)
}

/// One telling of acts.
#[derive(Debug)]
struct Telling {
    /// The turn and the place in it; both 0 for a model's.
    place: (usize, u32),
    is_customers: bool,
    acts: BTreeSet<String>,
    /// Beginnings of the longer words, each with the act that it tells, if it tells one.
    words: BTreeMap<String, Option<&'static str>>,
    amounts: BTreeSet<String>,
}

impl Telling {
    fn new(place: (usize, u32), is_customers: bool, acts: BTreeSet<String>, clause: &str) -> Self {
        let longer = verbs::words(clause).into_iter().filter(|word| grounds::is_longer(word));
        let words = longer.filter(|word| !grounds::is_note_word(word));
        let words = words.map(|word| (grounds::beginning(word), verbs::act(word))).collect();
        Self { place, is_customers, acts, words, amounts: amounts(clause) }
    }

    /// How much two tellings share beside an act.
    fn likeness(&self, other: &Self, act: &str) -> usize {
        let words = self.words.iter().filter(|(word, own)| **own != Some(act) && other.words.contains_key(*word));
        words.count() + AMOUNT_WEIGHT * self.amounts.intersection(&other.amounts).count()
    }

    fn tells(&self, act: &str) -> bool {
        self.acts.contains(act)
    }
}

/// What a conversation tells as done, and what as promised.
pub(super) struct Tenses {
    done: Vec<Telling>,
    promised: Vec<Telling>,
}

impl Tenses {
    pub(super) fn of(talk: &Talk, acts: &Acts) -> Self {
        let mut done = Vec::new();
        for (at, said) in talk.said.iter().enumerate() {
            done.extend(told_as_done(&said.reading, at, !said.is_ours()));
        }
        let promised = acts.all.iter().filter(|act| act.tense == Tense::Promised);
        let promised =
            promised.filter_map(|act| Some(promise((act.said, act.span), act.keys(), talk.said.get(act.said)?)));
        Self { done, promised: promised.collect() }
    }

    /// False if a text tells as done what was only promised.
    pub(super) fn bear_done(&self, text: &str) -> bool {
        let told = told_as_done(&Reading::new(text), 0, false);
        told.iter().all(|telling| telling.acts.iter().all(|act| self.bears_done(telling, act)))
    }

    fn bears_done(&self, told: &Telling, act: &str) -> bool {
        let promised = || self.promised.iter().filter(|promise| promise.tells(act));
        let Some(first) = promised().map(|promise| promise.place).min() else { return true };
        // What customers tell before there is a promise is what they came with.
        let done = || self.done.iter().filter(|done| done.tells(act) && (!done.is_customers || done.place > first));
        let is_kept = |promise: &&Telling| {
            done().any(|done| done.place > promise.place && may_be_one(&done.amounts, &promise.amounts))
        };
        let likest_open =
            promised().filter(|promise| !is_kept(promise)).map(|promise| told.likeness(promise, act)).max();
        let likest_done = done().map(|done| told.likeness(done, act)).max();
        match (likest_open, likest_done) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(open), Some(done)) => done >= open,
        }
    }

    /// False if a text tells as left to do what was done: an act of ours, with all that the text says beside it, and no promise of
    /// the same act that is still open.
    pub(super) fn bear_left(&self, text: &str) -> bool {
        let lower = text.to_lowercase().replace('ё', "е");
        let words = verbs::words(&lower);
        // A task begins with what is to be done; acts named after it belong to what it is about.
        let Some(act) = verbs::open(&words).next() else { return true };
        let told = Telling::new((0, 0), false, BTreeSet::new(), &lower);
        let besides = told.words.values().filter(|own| **own != Some(act)).count();
        let all = besides + AMOUNT_WEIGHT * told.amounts.len();
        let ours = || self.ours().filter(|done| done.tells(act));
        let is_open = |promise: &Telling| {
            !ours().any(|done| done.place > promise.place && may_be_one(&done.amounts, &promise.amounts))
        };
        let has_open = self.promised.iter().any(|promise| promise.tells(act) && is_open(promise));
        let is_done = all > 0 && !has_open && ours().any(|done| told.likeness(done, act) >= all);
        !is_done
    }

    /// True if a text tells of amounts, all of which were told by us as done by an act that the text tells, too.
    pub(super) fn tell_amounts_of(&self, text: &str) -> bool {
        let lower = text.to_lowercase().replace('ё', "е");
        let words = verbs::words(&lower);
        let (acts, told) = (verbs::over(&words).into_iter().chain(verbs::open(&words)), amounts(&lower));
        let acts: Vec<&str> = acts.collect();
        let is_of = |done: &Telling| acts.iter().any(|act| done.tells(act)) && told.is_subset(&done.amounts);
        !told.is_empty() && self.ours().any(is_of)
    }

    /// What we tell as done.
    fn ours(&self) -> impl Iterator<Item = &Telling> {
        self.done.iter().filter(|done| !done.is_customers)
    }
}

/// What a text tells as done, clause by clause.
fn told_as_done(reading: &Reading, at: usize, is_customers: bool) -> Vec<Telling> {
    let mut told = Vec::new();
    for sentence in reading.sentences() {
        if reading.lower(sentence.span).trim_end().ends_with('?') {
            continue;
        }
        for (span, is_negated) in Clauses::of(reading, sentence).iter() {
            let clause = reading.lower(span);
            let words = verbs::words(clause);
            if is_negated || words.iter().any(|word| NOT_SO.contains(word)) {
                continue;
            }
            let mut acts: BTreeSet<String> = verbs::over(&words).into_iter().map(str::to_owned).collect();
            let matched = patterns::DONE.as_ref().map(|regex| reading.find(regex, span)).unwrap_or_default();
            let others = matched.iter().map(|found| reading.lower(*found));
            let ours = others.filter(|words| !patterns::begins_with_customer(words));
            acts.extend(ours.flat_map(verbs::other_keys));
            if !acts.is_empty() {
                told.push(Telling::new((at, span.start), is_customers, acts, clause));
            }
        }
    }
    told
}

fn promise((at, span): (usize, CharSpan), keys: impl Iterator<Item = String>, said: &Said) -> Telling {
    let clause = said.reading.lower(span);
    let words = verbs::words(clause);
    let acts = verbs::open(&words).map(str::to_owned).chain(keys).collect();
    Telling::new((at, span.start), false, acts, clause)
}
