//! Limits by code: what a text promises, and whether the playbook allows it.
//!
//! Enters: a text that an operator, a template or a model wrote, and what is known of the operator and the customer. Leaves: each
//! promise of money, of a discount, of a term, of something for nothing or of a gesture, with its place and a verdict. Nothing that is above a limit leaves
//! unmarked: in doubt a promise is marked. Never here: a decision to send or to hold a text back.

mod amounts;
pub(super) mod clauses;
mod gifts;
#[cfg(test)]
mod tests;
mod verdict;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::playbook::{Gesture, Playbook, tightness};
use super::reading::{Reading, Sentence};
use crate::feedback::{CharSpan, named_enum};
use crate::tagging::terms;
use crate::tags::TeamId;
pub use amounts::{Amount, Unit};
use clauses::Clauses;
use verdict::judge;
pub use verdict::{hours_of, summary};

named_enum! {
    /// What is promised.
    PromiseKind {
        /// A gesture of the playbook.
        Gesture = "gesture",
        /// Money, points or a discount that belong to no gesture.
        Money = "money",
        /// A term that belongs to no gesture.
        Term = "term",
        /// Something for nothing that belongs to no gesture.
        Gift = "gift",
    }
}

named_enum! {
    /// Whether a promise may be made.
    PromiseVerdict {
        /// The operator may make it without asking.
        Allowed = "allowed",
        /// The supervisor decides.
        NeedsSupervisor = "needs_supervisor",
        /// It is above a limit that nobody may exceed.
        Forbidden = "forbidden",
        /// No gesture of the playbook covers it.
        NotInPlaybook = "not_in_playbook",
    }
}

named_enum! {
    /// Why a promise may not be made without asking.
    PromiseReason {
        /// The amount is above the limit.
        AmountAbove = "amount_above",
        /// The discount is above the limit.
        PercentAbove = "percent_above",
        /// The amount is in another currency or measure than the limit.
        OtherMeasure = "other_measure",
        /// The term is sooner than the playbook promises.
        TermTooSoon = "term_too_soon",
        /// How soon the term is can't be told from the words.
        TermUnclear = "term_unclear",
        /// The customer has had the gesture as often as the limit allows.
        TimesUsedUp = "times_used_up",
        /// The gesture is another team's.
        OtherTeam = "other_team",
        /// No gesture of the playbook covers it.
        NoGesture = "no_gesture",
    }
}

/// A promise found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    /// What is promised.
    pub kind: PromiseKind,
    /// Where it stands, in characters of the text as given.
    pub span: CharSpan,
    /// The gesture, if it is one.
    pub gesture_id: Option<String>,
    /// The amount, if one is named.
    pub amount: Option<Amount>,
    /// The term as it stands in the text, if one is named.
    pub term: Option<String>,
    /// Whether it may be made.
    pub verdict: PromiseVerdict,
    /// Why not, if not; empty for what is allowed.
    pub reasons: Vec<PromiseReason>,
}

/// A gesture that was made for a customer before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GestureUse {
    /// The gesture.
    pub gesture_id: String,
    /// When; one of unknown time counts as recent.
    pub at: Option<Timestamp>,
}

/// What a promise is judged by beside the playbook.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Circumstances {
    /// The operator's team; without it, gestures of every team count as the operator's own.
    pub team: Option<TeamId>,
    /// Gestures made for the customer before.
    pub used: Vec<GestureUse>,
    /// The time that days are counted back from.
    pub now: Option<Timestamp>,
}

impl Circumstances {
    /// How often a gesture was made for the customer within the last days.
    pub fn times_used(&self, gesture_id: &str, days: u32) -> u32 {
        let recent = |at: Option<Timestamp>| match (at, self.now) {
            (Some(at), Some(now)) => now.as_second().saturating_sub(at.as_second()) <= i64::from(days) * 86_400,
            _ => true,
        };
        let uses = self.used.iter().filter(|used| used.gesture_id == gesture_id && recent(used.at));
        u32::try_from(uses.count()).unwrap_or(u32::MAX)
    }
}

/// Checks promises against a playbook.
#[derive(Debug, Clone, Copy)]
pub struct PromiseCheck<'p> {
    playbook: &'p Playbook,
    circumstances: &'p Circumstances,
}

/// A gesture that a sentence names.
struct Named<'p> {
    gesture: &'p Gesture,
    span: CharSpan,
    committed: bool,
    amount: Option<(CharSpan, Amount)>,
    term: Option<CharSpan>,
}

impl<'p> PromiseCheck<'p> {
    /// A check for one operator and one customer.
    pub fn new(playbook: &'p Playbook, circumstances: &'p Circumstances) -> Self {
        Self { playbook, circumstances }
    }

    /// The promises of a text, in order.
    pub fn check(&self, text: &str) -> Vec<Promise> {
        self.check_beside(text, &[])
    }

    /// The promises of a text that quotes a customer; what the customer said is no promise of ours.
    pub fn check_beside(&self, text: &str, quoted: &[&str]) -> Vec<Promise> {
        let reading = Reading::new(text);
        self.check_reading(&reading, quoted)
    }

    pub(super) fn check_reading(&self, reading: &Reading, quoted: &[&str]) -> Vec<Promise> {
        let quoted = quoted_spans(reading, quoted);
        let mut promises: Vec<Promise> =
            reading.sentences().iter().flat_map(|sentence| self.of_sentence(reading, sentence, &quoted)).collect();
        promises.sort_by_key(|promise| promise.span);
        promises
    }

    fn of_sentence(&self, reading: &Reading, sentence: &Sentence, quoted: &[CharSpan]) -> Vec<Promise> {
        let clauses = Clauses::of(reading, sentence);
        let is_ours = |span: CharSpan| !quoted.iter().any(|quote| quote.overlaps(span)) && !clauses.is_negated(span);
        let mut amounts = amounts::amounts(reading, sentence);
        amounts.retain(|(span, _)| is_ours(*span));
        let mut named = self.named(reading, sentence, &clauses);
        named.retain(|named| is_ours(named.span));
        let mut terms = terms_of(reading, sentence.span);
        terms.retain(|span| is_ours(*span));

        attach(&mut named, &mut amounts, &clauses, |named, (span, amount)| {
            let limit = &named.gesture.limit;
            let fits = match amount.unit {
                Unit::Percent => limit.percent.is_some(),
                Unit::Money(_) | Unit::BareMoney | Unit::Points => limit.amount.is_some(),
            };
            let free = fits && named.amount.is_none();
            if free {
                named.amount = Some((*span, amount.clone()));
            }
            free
        });
        attach(&mut named, &mut terms, &clauses, |named, term| {
            let free = named.term.is_none();
            if free {
                named.term = Some(*term);
            }
            free
        });
        named.retain(|named| named.committed || named.amount.is_some());
        let gifts = gifts::gifts(reading, sentence.span).into_iter().filter(|span| {
            is_ours(*span) && clauses.is_committed(*span) && !named.iter().any(|named| clauses.same(named.span, *span))
        });
        let gifts: Vec<CharSpan> = gifts.collect();

        let mut promises: Vec<Promise> = named.into_iter().map(|named| self.gesture(reading, named)).collect();
        let alone = |kind, span, amount: Option<Amount>, term| Promise {
            kind,
            span: reading.original(span),
            gesture_id: None,
            amount,
            term,
            verdict: PromiseVerdict::NotInPlaybook,
            reasons: vec![PromiseReason::NoGesture],
        };
        for (span, amount) in amounts.into_iter().filter(|(span, _)| clauses.is_committed(*span)) {
            promises.push(alone(PromiseKind::Money, span, Some(amount), None));
        }
        for span in terms.into_iter().filter(|span| clauses.is_committed(*span)) {
            promises.push(alone(PromiseKind::Term, span, None, Some(reading.text(span).to_owned())));
        }
        promises.extend(gifts.into_iter().map(|span| alone(PromiseKind::Gift, span, None, None)));
        promises
    }

    /// The gestures that a sentence names: of those that overlap the tightest, then the first of the playbook.
    fn named(&self, reading: &Reading, sentence: &Sentence, clauses: &Clauses) -> Vec<Named<'p>> {
        let words = reading.rule_words(sentence);
        let mut found: Vec<(usize, Named<'p>)> = Vec::new();
        for (gesture, phrases) in self.playbook.promised_by() {
            for range in phrases.find(&words) {
                let (Some(first), Some(last)) = (words.get(range.start), words.get(range.end.saturating_sub(1))) else {
                    continue;
                };
                let span = CharSpan::new(first.span.start, last.span.end);
                let committed = clauses.is_committed(span);
                found.push((range.len(), Named { gesture, span, committed, amount: None, term: None }));
            }
        }
        found.sort_by_key(|(words, _)| tightness(words));
        let mut named: Vec<Named<'p>> = Vec::new();
        for (_, candidate) in found {
            let taken = |known: &Named<'p>| {
                known.span.overlaps(candidate.span)
                    || (known.gesture.id == candidate.gesture.id && clauses.same(known.span, candidate.span))
            };
            if !named.iter().any(taken) {
                named.push(candidate);
            }
        }
        named.sort_by_key(|named| named.span);
        named
    }

    fn gesture(&self, reading: &Reading, named: Named<'_>) -> Promise {
        let Named { gesture, span, amount, term, .. } = named;
        let words = term.map(|span| reading.text(span).to_owned());
        let (verdict, reasons) = judge(
            gesture,
            self.playbook.currency(),
            self.circumstances,
            amount.as_ref().map(|(_, amount)| amount),
            term.map(|span| reading.lower(span)),
        );
        let parts = [amount.as_ref().map(|(span, _)| *span), term];
        let whole = parts
            .into_iter()
            .flatten()
            .fold(span, |hull, part| CharSpan::new(hull.start.min(part.start), hull.end.max(part.end)));
        Promise {
            kind: PromiseKind::Gesture,
            span: reading.original(whole),
            gesture_id: Some(gesture.id.clone()),
            amount: amount.map(|(_, amount)| amount),
            term: words,
            verdict,
            reasons,
        }
    }
}

/// The terms inside a span of a reading's clean text.
pub(super) fn terms_of(reading: &Reading, span: CharSpan) -> Vec<CharSpan> {
    let offset = reading.byte_of(span.start);
    let found = terms::terms(reading.lower(span)).into_iter();
    found.map(|term| reading.span_of(term.start + offset..term.end + offset)).collect()
}

/// A thing with a place.
trait Placed {
    fn span(&self) -> CharSpan;
}

impl Placed for CharSpan {
    fn span(&self) -> CharSpan {
        *self
    }
}

impl Placed for (CharSpan, Amount) {
    fn span(&self) -> CharSpan {
        self.0
    }
}

/// Gives each thing to the nearest gesture that takes it, those of the same clause first; what none takes is left.
fn attach<T: Placed>(
    named: &mut [Named<'_>],
    things: &mut Vec<T>,
    clauses: &Clauses,
    mut take: impl FnMut(&mut Named<'_>, &T) -> bool,
) {
    let gap = |one: CharSpan, other: CharSpan| one.start.max(other.start).saturating_sub(one.end.min(other.end));
    for same_clause in [true, false] {
        things.retain(|thing| {
            let span = thing.span();
            let mut order: Vec<usize> = (0..named.len()).collect();
            order.sort_by_key(|at| named.get(*at).map_or(u32::MAX, |named| gap(named.span, span)));
            !order.into_iter().any(|at| {
                let candidate = named.get_mut(at).filter(|named| clauses.same(named.span, span) == same_clause);
                candidate.is_some_and(|named| take(named, thing))
            })
        });
    }
}

/// Where the customer's own words stand in the text.
fn quoted_spans(reading: &Reading, quoted: &[&str]) -> Vec<CharSpan> {
    let text = reading.lower(reading.whole());
    let quotes = quoted.iter().map(|quote| Reading::new(quote)).filter(|quote| !quote.whole().is_empty());
    quotes
        .flat_map(|quote| {
            let needle = quote.lower(quote.whole()).to_owned();
            let places = text.match_indices(&needle).map(|(at, found)| at..at + found.len()).collect::<Vec<_>>();
            places.into_iter().map(|place| reading.span_of(place)).collect::<Vec<_>>()
        })
        .collect()
}
