//! Closed lists: one table of what corresponds to what.

use super::Faults;
use crate::assist::note::NoteOutcome;
use crate::assist::playbook::ReplyLanguage;
use crate::assist::promises::{PromiseKind, PromiseReason, PromiseVerdict};
use crate::assist::review::RubricPoint;
use crate::assist::{AdviceSource, DistanceBasis, DraftSource, OfferStatus, Slot, SuggestionUse};
use crate::cases::review::{ReviewOrder, WorthReason};
use crate::cases::{LinkKind, OutcomeStatus, SearchMode, TagPart, UpsertOutcome};
use crate::feedback::{FeedbackKind, ScoreMetric, Speaker};
use crate::inference::ChatRole;
use crate::prompts::PromptLanguage;
use crate::retag::archive::JobState as RetagJobState;
use crate::server::wire::v1;
use crate::tagging::Consult as LanguageModelUse;
use crate::tags::{Language, ReviewReason, SentimentLabel, TagSource};
use crate::taxonomy::versions::PublicationKind;

/// An enum of the wire with the domain's enum behind it.
pub(super) trait WireEnum: TryFrom<i32> {
    type Domain;
    const NAME: &'static str;

    /// The domain's value; `None` for `..._UNSPECIFIED`.
    fn domain(self) -> Option<Self::Domain>;
}

macro_rules! corresponding {
    ($( $Enum:ident { $($variant:ident),+ } )+) => { $(
        impl From<$Enum> for v1::$Enum {
            fn from(value: $Enum) -> Self {
                match value { $( $Enum::$variant => v1::$Enum::$variant, )+ }
            }
        }

        impl WireEnum for v1::$Enum {
            type Domain = $Enum;
            const NAME: &'static str = stringify!($Enum);

            fn domain(self) -> Option<$Enum> {
                match self {
                    v1::$Enum::Unspecified => None,
                    $( v1::$Enum::$variant => Some($Enum::$variant), )+
                }
            }
        }
    )+ };
}

corresponding! {
    FeedbackKind { Complaint, Comment, Review, Transcript, ExitInterview, Employee, Question }
    Speaker { Customer, Operator, System }
    ScoreMetric { Nps, Csat, Ces, Enps, Stars }
    TagSource { Rule, Head, Prototype, Neighbour, LanguageModel }
    SentimentLabel { Negative, Neutral, Positive }
    ReviewReason { NoTopic, NoWords, TeamUnclear, Language, Truncated, LanguageModelFailed, Instructions }
    LanguageModelUse { Never, WhenAbstaining, Always }
    Language { Russian, English, Mixed, Other, Unknown }
    UpsertOutcome { Created, Replaced }
    OutcomeStatus { Open, Solved, Rejected }
    LinkKind { Duplicate, FollowUp, SameIncident, Related }
    SearchMode { Hybrid, Meaning, Words }
    ReviewOrder { LeastSure, MostWorthLabelling }
    WorthReason { NoTopic, TopicUnsure, TeamUnclear, ManyAlike }
    ReplyLanguage { Russian, English }
    DistanceBasis { MeaningAndWords, Words }
    OfferStatus { Allowed, AskSupervisor, Refused }
    DraftSource { Template, Model }
    AdviceSource { Rules, Model }
    PublicationKind { Configured, Published, RolledBack }
    NoteOutcome { Solved, Partly, NotSolved, Unclear }
    PromiseKind { Gesture, Money, Term, Gift }
    PromiseVerdict { Allowed, NeedsSupervisor, Forbidden, NotInPlaybook }
    PromiseReason {
        AmountAbove, PercentAbove, OtherMeasure, TermTooSoon, TermUnclear, TimesUsedUp, OtherTeam, NoGesture
    }
    SuggestionUse { Accepted, Edited, Rejected }
    PromptLanguage { Russian, English }
    TagPart { Topics, Sentiment, Team, Signals }
    RetagJobState { Queued, Running, Succeeded, Failed, Cancelled }
    ChatRole { System, User, Assistant }
    RubricPoint {
        Acknowledgement, Apology, Cause, Solution, NextStep, StaysInChannel, AsksForDetails, Readability, Politeness, PlainNo,
        Promises
    }
}

impl From<Slot> for v1::SuggestionSlot {
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::Tags => Self::Tags,
            Slot::Script => Self::Script,
            Slot::Similar => Self::Similar,
            Slot::Gestures => Self::Gestures,
            Slot::Avoid => Self::Avoid,
            Slot::Draft => Self::Draft,
        }
    }
}

/// Reads a number as an enum whose `..._UNSPECIFIED` means "not known". An unknown number is a fault.
pub(super) fn optional<W: WireEnum>(number: i32, path: &str, faults: &mut Faults) -> Option<W::Domain> {
    match W::try_from(number) {
        Ok(value) => value.domain(),
        Err(_) => {
            faults.add(path, format!("must be a value of {}, not {number}", W::NAME));
            None
        }
    }
}

/// Reads a number as an enum that must be given.
pub(super) fn required<W: WireEnum>(number: i32, path: &str, faults: &mut Faults) -> Option<W::Domain> {
    if number == 0 {
        faults.add(path, format!("must be given: a value of {}", W::NAME));
        return None;
    }
    optional::<W>(number, path, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_the_domain_comes_back_from_the_wire() {
        macro_rules! check {
            ($($Enum:ident),+) => { $( for value in $Enum::ALL {
                let mut faults = Faults::default();
                let number = v1::$Enum::from(*value) as i32;
                assert_eq!(required::<v1::$Enum>(number, "field", &mut faults), Some(*value));
                faults.or(()).unwrap();
            } )+ };
        }
        check!(
            FeedbackKind,
            Speaker,
            ScoreMetric,
            TagSource,
            SentimentLabel,
            ReviewReason,
            Language,
            ReviewOrder,
            WorthReason,
            UpsertOutcome,
            OutcomeStatus,
            LinkKind,
            SearchMode,
            ReplyLanguage,
            DistanceBasis,
            OfferStatus,
            DraftSource,
            AdviceSource,
            NoteOutcome,
            PromiseKind,
            PromiseVerdict,
            PromiseReason,
            SuggestionUse,
            PromptLanguage,
            ChatRole,
            RubricPoint
        );
    }

    #[test]
    fn unknown_and_missing_values_are_faults_that_name_their_field() {
        for (number, expected) in [
            (99, "turns[1].speaker: must be a value of Speaker, not 99"),
            (-1, "turns[1].speaker: must be a value of Speaker, not -1"),
            (0, "turns[1].speaker: must be given: a value of Speaker"),
        ] {
            let mut faults = Faults::default();
            assert_eq!(required::<v1::Speaker>(number, "turns[1].speaker", &mut faults), None);
            assert_eq!(faults.or(()).unwrap_err().message(), expected);
        }
        let mut faults = Faults::default();
        assert_eq!(optional::<v1::FeedbackKind>(0, "kind", &mut faults), None);
        assert!(faults.or(()).is_ok());
    }
}
