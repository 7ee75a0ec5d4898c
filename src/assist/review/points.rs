//! How a reply stands against each point of the rubric. What rules can't tell is said to be not evaluated, never missed.

use super::MOST_SPANS;
use super::facts::Facts;
use super::remarks::Remark;
use super::rubric::Standing;
use super::situation::{Happened, Situation};
use crate::assist::promises::{Promise, PromiseKind, PromiseVerdict};
use crate::assist::reading::Reading;
use crate::feedback::CharSpan;
use crate::tags::Language;

/// Shared particulars that show that the feedback was read.
const SHARED_PARTICULARS: usize = 2;
/// From this many apologies on a reply is servile.
const MANY_APOLOGIES: usize = 3;

/// A reply beside what it answers.
pub(super) struct Points<'a> {
    pub(super) situation: &'a Situation,
    pub(super) facts: &'a Facts,
    pub(super) reading: &'a Reading,
}

impl Points<'_> {
    /// Where the first of some spans stand in the reply as given.
    fn places(&self, spans: &[CharSpan]) -> Vec<CharSpan> {
        spans.iter().take(MOST_SPANS).map(|span| self.reading.original(*span)).collect()
    }

    /// Missed if the reply says nothing of the matter at all; else rules can't tell.
    fn missing(&self, remark: Remark) -> Standing {
        match (self.situation.happened, self.facts.is_telling) {
            (Happened::Yes, false) => Standing::missed(Vec::new(), remark),
            _ => Standing::NotEvaluated(Remark::CannotTell),
        }
    }

    pub(super) fn acknowledgement(&self) -> Standing {
        let (situation, facts) = (self.situation, self.facts);
        if situation.vague == Some(true) || situation.particulars.is_empty() {
            return Standing::DoesNotApply;
        }
        let shared = facts.particulars.iter().filter(|(_, stem)| situation.particulars.contains(stem));
        let shared: Vec<&(CharSpan, String)> = shared.collect();
        let mut stems: Vec<&str> = shared.iter().map(|(_, stem)| stem.as_str()).collect();
        stems.sort_unstable();
        stems.dedup();
        let spans = self.places(&shared.iter().map(|(span, _)| *span).collect::<Vec<_>>());
        let is_other_language = matches!(
            (situation.language, self.reading.language()),
            (Language::Russian, Language::English) | (Language::English, Language::Russian)
        );
        match stems.len() {
            found if found >= SHARED_PARTICULARS.min(situation.particulars.len()) => Standing::met(spans),
            _ if is_other_language => Standing::NotEvaluated(Remark::CannotTell),
            0 if !facts.is_telling => Standing::missed(Vec::new(), Remark::NameTheProblem),
            0 => Standing::NotEvaluated(Remark::CannotTell),
            _ => Standing::partial(spans, Remark::NameMoreOfTheProblem),
        }
    }

    pub(super) fn apology(&self) -> Standing {
        let apologies = self.places(&self.facts.apologies);
        match (self.situation.happened, apologies.is_empty()) {
            (Happened::Yes, false) => Standing::met(apologies),
            (Happened::Yes, true) if !self.facts.sympathies.is_empty() => {
                Standing::partial(self.places(&self.facts.sympathies), Remark::Apologise)
            }
            (Happened::Yes, true) => Standing::missed(Vec::new(), Remark::Apologise),
            (Happened::No, false) => Standing::missed(apologies, Remark::ApologyWithoutFact),
            (Happened::No, true) => Standing::DoesNotApply,
            (Happened::Unclear, _) => Standing::NotEvaluated(Remark::UnclearWhetherItHappened),
        }
    }

    pub(super) fn cause(&self) -> Standing {
        match (self.facts.causes.is_empty(), self.situation.happened) {
            (_, Happened::No) => Standing::DoesNotApply,
            (false, _) => Standing::met(self.places(&self.facts.causes)),
            (true, _) => self.missing(Remark::SayTheCause),
        }
    }

    /// `gestures` are the places of gestures of the playbook that the reply promises.
    pub(super) fn solution(&self, gestures: &[CharSpan]) -> Standing {
        let (situation, facts) = (self.situation, self.facts);
        if situation.praise || situation.vague == Some(true) {
            return Standing::DoesNotApply;
        }
        // A gesture that is only a call or a check, or is to be had elsewhere, settles nothing yet.
        let checks = self.places(&facts.checking);
        let (steps, solving) = (self.places(&facts.steps), self.places(&facts.solving));
        let meets = |spans: &[CharSpan], gesture: CharSpan| spans.iter().any(|span| span.overlaps(gesture));
        let is_here = facts.elsewhere.is_empty();
        let settles = |gesture: &&CharSpan| meets(&solving, **gesture) || (is_here && !meets(&steps, **gesture));
        let gestures = gestures.iter().filter(settles);
        let mut spans: Vec<CharSpan> = [&facts.done, &facts.solving, &facts.choices]
            .into_iter()
            .flat_map(|spans| self.places(spans))
            .chain(gestures.copied())
            .collect();
        spans.sort();
        spans.dedup();
        match (spans.is_empty(), facts.checking.is_empty()) {
            (false, _) => Standing::met(spans),
            (true, false) => Standing::partial(checks, Remark::MoreThanACheck),
            (true, true) if facts.plain_no.is_empty() => self.missing(Remark::OfferASolution),
            (true, true) => Standing::NotEvaluated(Remark::CannotTell),
        }
    }

    pub(super) fn next_step(&self) -> Standing {
        let (situation, facts) = (self.situation, self.facts);
        if !facts.steps.is_empty() {
            let mut spans = self.places(&facts.steps);
            if !facts.terms.is_empty() {
                spans.extend(self.places(&facts.terms));
                spans.sort();
                spans.dedup();
                return Standing::met(spans);
            }
            if !facts.empty_terms.is_empty() {
                return Standing::partial(self.places(&facts.empty_terms), Remark::NameARealTerm);
            }
            return Standing::partial(spans, Remark::NameATerm);
        }
        if !facts.done.is_empty() || situation.praise {
            return Standing::DoesNotApply;
        }
        if !facts.requests.is_empty() {
            return Standing::partial(self.places(&facts.requests), Remark::SayTheNextStep);
        }
        let is_in_other_words = facts.is_committed || !facts.choices.is_empty() || !facts.plain_no.is_empty();
        match (situation.happened, is_in_other_words) {
            (Happened::No, false) => Standing::DoesNotApply,
            (_, false) => self.missing(Remark::SayTheNextStep),
            (_, true) => Standing::NotEvaluated(Remark::CannotTell),
        }
    }

    pub(super) fn stays_in_channel(&self) -> Standing {
        let elsewhere = &self.facts.elsewhere;
        let spans = self.places(&elsewhere.iter().map(|one| one.span).collect::<Vec<_>>());
        if spans.is_empty() {
            return Standing::met(spans);
        }
        let is_settled_here =
            !(self.facts.steps.is_empty() && self.facts.done.is_empty() && self.facts.choices.is_empty());
        match is_settled_here && elsewhere.iter().all(|one| one.is_choice) {
            true => Standing::partial(spans, Remark::ElsewhereOnlyAsAChoice),
            false => Standing::missed(spans, Remark::SettleItHere),
        }
    }

    pub(super) fn asks_for_details(&self) -> Standing {
        match (self.situation.vague, self.facts.requests.is_empty()) {
            (None, _) => Standing::NotEvaluated(Remark::NoSuchSignal),
            (Some(false), _) => Standing::DoesNotApply,
            (Some(true), false) => Standing::met(self.places(&self.facts.requests)),
            (Some(true), true) => Standing::missed(Vec::new(), Remark::AskForDetails),
        }
    }

    pub(super) fn politeness(&self) -> Standing {
        let facts = self.facts;
        if !facts.rude.is_empty() {
            return Standing::missed(self.places(&facts.rude), Remark::TakeBackRudeness);
        }
        if !facts.denials.is_empty() {
            return Standing::missed(self.places(&facts.denials), Remark::DoNotDeny);
        }
        if !facts.servile.is_empty() {
            return Standing::partial(self.places(&facts.servile), Remark::LessServility);
        }
        if facts.apologies.len() >= MANY_APOLOGIES {
            return Standing::partial(self.places(&facts.apologies), Remark::LessServility);
        }
        Standing::met(Vec::new())
    }

    pub(super) fn plain_no(&self) -> Standing {
        let facts = self.facts;
        if !facts.plain_no.is_empty() {
            return Standing::met(self.places(&facts.plain_no));
        }
        if !facts.formal_no.is_empty() {
            return Standing::partial(self.places(&facts.formal_no), Remark::SayNoPlainly);
        }
        let is_settled = !(facts.solving.is_empty() && facts.done.is_empty());
        match facts.hidden_no.is_empty() || is_settled || self.situation.happened != Happened::Yes {
            true => Standing::DoesNotApply,
            false => Standing::missed(self.places(&facts.hidden_no), Remark::SayNoPlainly),
        }
    }
}

/// How the promises of a reply stand. `is_past_known` if it is known which gestures the customer has had.
pub(super) fn promises(promises: &[Promise], verdict: PromiseVerdict, is_past_known: bool) -> Standing {
    let of = |verdict: PromiseVerdict| {
        let found = promises.iter().filter(|promise| promise.verdict == verdict);
        found.map(|promise| promise.span).collect::<Vec<CharSpan>>()
    };
    let is_only = |kinds: &[PromiseKind]| {
        let mut outside = promises.iter().filter(|promise| promise.verdict == PromiseVerdict::NotInPlaybook);
        outside.all(|promise| kinds.contains(&promise.kind))
    };
    match verdict {
        PromiseVerdict::Allowed if !is_past_known && !promises.is_empty() => {
            Standing::NotEvaluated(Remark::PastGesturesUnknown)
        }
        PromiseVerdict::Allowed => Standing::met(of(verdict)),
        PromiseVerdict::NeedsSupervisor => Standing::partial(of(verdict), Remark::AskTheSupervisor),
        // A good reply names a term, and the playbook can't know of each.
        PromiseVerdict::NotInPlaybook if is_only(&[PromiseKind::Term]) => {
            Standing::partial(of(verdict), Remark::MakeSureOfTheTerm)
        }
        // Something for nothing may be a courtesy or a costly gift: the supervisor can tell.
        PromiseVerdict::NotInPlaybook if is_only(&[PromiseKind::Term, PromiseKind::Gift]) => {
            Standing::partial(of(verdict), Remark::AskTheSupervisor)
        }
        PromiseVerdict::Forbidden | PromiseVerdict::NotInPlaybook => {
            Standing::missed(of(verdict), Remark::TakeBackThePromise)
        }
    }
}
