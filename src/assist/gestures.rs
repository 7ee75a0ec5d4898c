//! Which gestures to offer, and in what order.
//!
//! The score of a gesture is its fit (topics by their confidence, signals, the owning team) times how often similar cases that had it
//! were solved, times how often operators took it. Both rates are smoothed, so that what is unknown is neither praised nor punished.
//! A gesture that the operator may not make alone stands in the list with the reason, and is never left out.

use serde::{Deserialize, Serialize};

use super::playbook::{Above, Gesture, Playbook};
use super::promises::{Circumstances, PromiseReason};
use super::uses::{SuggestionUses, UseCounts};
use crate::cases::{OutcomeGroup, OutcomeStatus, TenantId};
use crate::feedback::named_enum;
use crate::tags::{SignalId, Tags, TopicId};

/// Fit of a gesture that no topic of the text narrows down.
const GENERAL_FIT: f32 = 0.2;

/// What a signal that the gesture is made for adds.
const SIGNAL_FIT: f32 = 0.5;

/// What it adds that the owning team offers the gesture.
const OWNER_FIT: f32 = 0.1;

/// From this fit on a gesture stands in a draft.
pub(super) const DRAFT_FIT: f32 = 0.4;

/// How many imagined cases the solved rate of an unseen gesture rests on, half of them solved.
const PRIOR_CASES: f32 = 2.0;

named_enum! {
    /// Whether the operator may make a gesture.
    OfferStatus {
        /// Without asking, within its limit.
        Allowed = "allowed",
        /// The supervisor decides.
        AskSupervisor = "ask_supervisor",
        /// Nobody may at the moment.
        Refused = "refused",
    }
}

/// A gesture that could help, with all that speaks for and against it.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedGesture {
    /// The gesture.
    pub gesture: Gesture,
    /// Whether the operator may make it.
    pub status: OfferStatus,
    /// Why not without asking; empty if allowed.
    pub reasons: Vec<PromiseReason>,
    /// How much it should be offered; comparable within one list only.
    pub score: f32,
    /// How well it fits the text, 0 or more.
    pub fit: f32,
    /// Topics that it was found by.
    pub topics: Vec<TopicId>,
    /// Signals that it was found by.
    pub signals: Vec<SignalId>,
    /// Similar cases in which it was made.
    pub similar_cases: u32,
    /// Those of them that were solved.
    pub similar_solved: u32,
    /// What operators did with it on these topics.
    pub uses: UseCounts,
}

/// What gestures are ranked by.
pub(super) struct Ranking<'a> {
    pub(super) playbook: &'a Playbook,
    pub(super) tenant: &'a TenantId,
    pub(super) tags: Option<&'a Tags>,
    pub(super) outcomes: &'a [OutcomeGroup],
    pub(super) circumstances: &'a Circumstances,
    pub(super) uses: &'a SuggestionUses,
}

impl Ranking<'_> {
    /// All gestures that fit at all: first those that are allowed, then those to ask for; within each the best first.
    pub(super) fn offers(&self) -> Vec<OfferedGesture> {
        let mut offers: Vec<OfferedGesture> =
            self.playbook.gestures().iter().filter_map(|gesture| self.offer(gesture)).collect();
        offers.sort_by(|one, other| {
            one.status
                .cmp(&other.status)
                .then(other.score.total_cmp(&one.score))
                .then_with(|| one.gesture.id.cmp(&other.gesture.id))
        });
        offers
    }

    fn offer(&self, gesture: &Gesture) -> Option<OfferedGesture> {
        let (mut fit, mut topics, mut signals) = (0.0_f32, Vec::new(), Vec::new());
        for tag in self.tags.iter().flat_map(|tags| &tags.topics) {
            let parent = tag.parent_id.as_ref().is_some_and(|parent| gesture.topics.contains(parent));
            if parent || gesture.topics.contains(&tag.topic_id) {
                fit = fit.max(tag.confidence.get());
                topics.push(tag.topic_id.clone());
            }
        }
        for tag in self.tags.iter().flat_map(|tags| &tags.signals) {
            if gesture.signals.contains(&tag.signal_id) {
                fit += SIGNAL_FIT * tag.confidence.get();
                signals.push(tag.signal_id.clone());
            }
        }
        if gesture.topics.is_empty() {
            fit += GENERAL_FIT;
        }
        // Signals alone don't bring in what is made for other topics.
        let fits = gesture.topics.is_empty() || !topics.is_empty();
        if !fits {
            return None;
        }
        if self.tags.is_some_and(|tags| gesture.teams.contains(&tags.team.team_id)) {
            fit += OWNER_FIT;
        }
        let count = |solved: bool| {
            let of = self.outcomes.iter().filter(|group| group.gesture_id.as_deref() == Some(gesture.id.as_str()));
            let of = of.filter(|group| !solved || group.status == OutcomeStatus::Solved);
            u32::try_from(of.map(|group| group.count).sum::<usize>()).unwrap_or(u32::MAX)
        };
        let (similar_cases, similar_solved) = (count(false), count(true));
        let solved_rate = (similar_solved as f32 + PRIOR_CASES / 2.0) / (similar_cases as f32 + PRIOR_CASES);
        let topic_ids: Vec<&TopicId> =
            self.tags.iter().flat_map(|tags| &tags.topics).map(|tag| &tag.topic_id).collect();
        let uses = self.uses.counts(self.tenant, &gesture.id, &topic_ids);
        let (status, reasons) = self.status(gesture);
        Some(OfferedGesture {
            gesture: gesture.clone(),
            status,
            reasons,
            score: fit * (0.5 + solved_rate) * (0.5 + uses.rate() as f32),
            fit,
            topics,
            signals,
            similar_cases,
            similar_solved,
            uses,
        })
    }

    fn status(&self, gesture: &Gesture) -> (OfferStatus, Vec<PromiseReason>) {
        let mut reasons = Vec::new();
        let mut status = OfferStatus::Allowed;
        if let Some(team) = &self.circumstances.team
            && !gesture.teams.is_empty()
            && !gesture.teams.contains(team)
        {
            reasons.push(PromiseReason::OtherTeam);
            status = OfferStatus::AskSupervisor;
        }
        if let Some(times) = gesture.limit.times
            && self.circumstances.times_used(&gesture.id, times.days) >= times.count
        {
            reasons.push(PromiseReason::TimesUsedUp);
            status = match gesture.above {
                Above::Supervisor => OfferStatus::AskSupervisor,
                Above::Never => OfferStatus::Refused,
            };
        }
        (status, reasons)
    }
}
