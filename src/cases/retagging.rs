//! Tags of a stored case made anew: which parts, what a person's word keeps, and what must not have changed meanwhile.
//!
//! Enters: a case and the tags that its text has now. Leaves: the case with those of its parts that were asked for and that no person
//! corrected. Never here: where the new tags come from.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Case, Correction};
use crate::feedback::named_enum;
use crate::tags::{Provenance, Review, ReviewReason, Tags, TurnTags};

named_enum! {
    /// A part of the tags that can be made anew without the others.
    TagPart {
        /// Topics, with their evidence and the sentiment towards each.
        Topics = "topics",
        /// The overall sentiment, and how it moves over a conversation.
        Sentiment = "sentiment",
        /// The owning team.
        Team = "team",
        /// Signals.
        Signals = "signals",
    }
}

/// What the encoder made of a case's text, as tagging packs it: tags are made anew from it without the encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseReading {
    /// SHA-256 of the encoder's weights, hexadecimal.
    pub encoder_sha256: String,
    /// The packed reading, in base64.
    pub packed: String,
}

/// A part of the tags that is older than [`Tags::provenance`] says, because the others were made anew without it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OlderPart {
    /// Which.
    pub part: TagPart,
    /// What made it.
    pub made_by: Provenance,
}

/// What a job that re-tags did with a case. A job that does the case again, because it was stopped between writing and counting, counts
/// by this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetagMark {
    /// The job.
    pub job_id: String,
    /// Whether any tag became another.
    pub changed: bool,
    /// Whether the case has no topic since.
    pub abstained: bool,
    /// Whether the encoder had to read the text.
    pub encoded: bool,
}

/// What new tags of a case rest on. If any of it is another when they are to be written, they are not.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseState {
    stored_at: Timestamp,
    text: u64,
    correction: Option<Correction>,
    retagged: Option<RetagMark>,
}

/// A case whose tags were made anew, on its way into the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Retagging {
    /// The case as it was when its tags were made.
    pub seen: CaseState,
    /// The case with the new tags. Of it are written: the tags, what made their older parts, the reading, and the job's mark.
    pub case: Case,
}

/// Tags made anew, with how.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTags {
    /// The tags.
    pub tags: Tags,
    /// Whether the encoder read the text for them.
    pub encoded: bool,
    /// What it made of the text then, if that is to be kept in the place of what was.
    pub reading: Option<CaseReading>,
}

impl From<Tags> for NewTags {
    fn from(tags: Tags) -> Self {
        Self { tags, encoded: false, reading: None }
    }
}

named_enum! {
    /// What became of new tags.
    RetagOutcome {
        /// They are written.
        Written = "written",
        /// The case changed meanwhile, and nothing is written.
        Outdated = "outdated",
        /// The case is gone.
        Gone = "gone",
    }
}

impl Case {
    /// What new tags of the case rest on.
    pub fn state(&self) -> CaseState {
        CaseState {
            stored_at: self.stored_at,
            text: xxh3_64(self.masked_text.as_bytes()),
            correction: self.correction.clone(),
            retagged: self.retagged.clone(),
        }
    }

    /// What made a part of its tags.
    pub fn made_by(&self, part: TagPart) -> &Provenance {
        let older = self.older_parts.iter().find(|older| older.part == part);
        older.map_or(&self.tags.provenance, |older| &older.made_by)
    }

    /// Whether a person said what a part of its tags should be.
    pub fn is_corrected(&self, part: TagPart) -> bool {
        let Some(correction) = &self.correction else { return false };
        match part {
            TagPart::Topics => correction.topics.is_some(),
            TagPart::Sentiment => correction.sentiment.is_some(),
            TagPart::Team => correction.team.is_some(),
            TagPart::Signals => false,
        }
    }

    /// Version of what made its tags ([`Provenance::version`]); `None` if its parts are of several.
    pub fn made_by_version(&self) -> Option<String> {
        let version = self.tags.provenance.version();
        self.older_parts.iter().all(|older| older.made_by.version() == version).then_some(version)
    }

    /// The case with these parts of its tags taken from others of the same text, and the job's mark. Whether that changed anything
    /// counts as a reader sees it: where a person named topics, team or sentiment, that is what he sees.
    #[must_use]
    pub fn retagged(self, new: NewTags, parts: &[TagPart], job_id: &str) -> Self {
        let NewTags { tags: new, encoded, reading } = new;
        let kept = TagPart::ALL.iter().filter(|part| !parts.contains(part));
        let older = kept.map(|part| OlderPart { part: *part, made_by: self.made_by(*part).clone() });
        let older_parts = older.filter(|older| older.made_by != new.provenance).collect();
        let before = self.shown();
        let mut case = Self { older_parts, reading: reading.or(self.reading), ..self };
        case.tags = with_parts(case.tags, new, parts);
        let mark = RetagMark {
            job_id: job_id.to_owned(),
            changed: case.shown() != before,
            abstained: case.topic_ids().is_empty(),
            encoded,
        };
        Self { retagged: Some(mark), ..case }
    }

    /// The case as it is now with what was made anew of it.
    #[must_use]
    pub fn taking_tags_of(&self, retagged: Case) -> Self {
        Self {
            tags: retagged.tags,
            older_parts: retagged.older_parts,
            reading: retagged.reading,
            retagged: retagged.retagged,
            ..self.clone()
        }
    }

    /// What a reader sees of the tags.
    fn shown(&self) -> (Vec<String>, String, Option<&'static str>, Vec<String>) {
        (
            self.topic_ids().into_iter().map(ToString::to_string).collect(),
            self.team_id().to_string(),
            self.sentiment_label().map(|label| label.as_str()),
            self.tags.signals.iter().map(|signal| signal.signal_id.to_string()).collect(),
        )
    }
}

/// Tags with some parts of others of the same text.
fn with_parts(old: Tags, new: Tags, parts: &[TagPart]) -> Tags {
    let takes = |part: TagPart| parts.contains(&part);
    let review = review(&old.review, &new.review, parts);
    let turns = turns(old.turns, new.turns, parts);
    Tags {
        topics: if takes(TagPart::Topics) { new.topics } else { old.topics },
        sentiment: if takes(TagPart::Sentiment) { new.sentiment } else { old.sentiment },
        sentiment_trend: if takes(TagPart::Sentiment) { new.sentiment_trend } else { old.sentiment_trend },
        team: if takes(TagPart::Team) { new.team } else { old.team },
        signals: if takes(TagPart::Signals) { new.signals } else { old.signals },
        turns,
        review,
        id: old.id,
        masked_text: old.masked_text,
        language: new.language,
        tokens: new.tokens,
        provenance: new.provenance,
    }
}

/// The tags of turns with some parts of others; both are of the same conversation.
fn turns(old: Vec<TurnTags>, new: Vec<TurnTags>, parts: &[TagPart]) -> Vec<TurnTags> {
    let takes = |part: TagPart| parts.contains(&part);
    let same_turns = old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| old.turn == new.turn);
    if !same_turns {
        // A text that is read in other turns than before has no turn to keep anything of.
        return new;
    }
    let turn = |(old, new): (TurnTags, TurnTags)| TurnTags {
        turn: new.turn,
        speaker: new.speaker,
        sentiment: if takes(TagPart::Sentiment) { new.sentiment } else { old.sentiment },
        topics: if takes(TagPart::Topics) { new.topics } else { old.topics },
        signals: if takes(TagPart::Signals) { new.signals } else { old.signals },
    };
    old.into_iter().zip(new).map(turn).collect()
}

/// Reasons for a review: each from those tags that its part was taken from.
fn review(old: &Review, new: &Review, parts: &[TagPart]) -> Review {
    let holds = |reason: &ReviewReason| {
        let from = match reason {
            ReviewReason::NoTopic if !parts.contains(&TagPart::Topics) => old,
            ReviewReason::TeamUnclear if !parts.contains(&TagPart::Team) => old,
            _ => new,
        };
        from.reasons.contains(reason)
    };
    let mut reasons: Vec<ReviewReason> = new.reasons.iter().chain(&old.reasons).copied().collect();
    reasons.sort_by_key(|reason| ReviewReason::ALL.iter().position(|known| known == reason));
    reasons.dedup();
    reasons.retain(holds);
    Review { needed: !reasons.is_empty(), reasons }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::edge::sample;
    use crate::feedback::CharSpan;
    use crate::tags::{
        Confidence, Evidence, Sentiment, SentimentLabel, SignalId, SignalTag, TagSource, TaxonomyVersion, TeamId,
        TopicId, TopicTag,
    };

    fn newer(id: &str) -> Tags {
        let case = sample::case(id);
        let sentiment = Sentiment { label: SentimentLabel::Positive, score: 0.5, confidence: Confidence::new(0.7) };
        let evidence = vec![Evidence { turn: None, span: CharSpan::new(0, 6), weight: Confidence::ONE }];
        let topic = TopicTag {
            topic_id: TopicId::new("mobile_app"),
            parent_id: None,
            confidence: Confidence::new(0.8),
            sentiment,
            source: TagSource::Prototype,
            rule_id: None,
            neighbour_case_ids: vec![],
            evidence: evidence.clone(),
        };
        let signal = SignalTag {
            signal_id: SignalId::new("outage"),
            confidence: Confidence::ONE,
            source: TagSource::Rule,
            rule_id: None,
            detail: None,
            evidence,
        };
        let mut tags = case.tags;
        tags.provenance.taxonomy_version = TaxonomyVersion::new("sha256:ffff");
        tags.team.team_id = TeamId::new("mobile");
        Tags { topics: vec![topic], signals: vec![signal], sentiment: Some(sentiment), ..tags }
    }

    fn correction() -> Correction {
        Correction {
            topics: Some(vec![TopicId::new("cards")]),
            team: None,
            sentiment: None,
            corrected_by: None,
            corrected_at: Timestamp::UNIX_EPOCH,
            note: None,
        }
    }

    #[test]
    fn only_the_parts_asked_for_become_others_and_the_rest_says_what_made_it() {
        let old = sample::case("1");
        for part in TagPart::ALL {
            let case = old.clone().retagged(newer("1").into(), &[*part], "job");
            let came = [
                case.tags.topics == newer("1").topics,
                case.tags.sentiment == newer("1").sentiment,
                case.tags.team == newer("1").team,
                case.tags.signals == newer("1").signals,
            ];
            let expected: Vec<bool> = TagPart::ALL.iter().map(|other| other == part).collect();
            assert_eq!(expected, came, "{part}");
            assert_eq!(case.made_by(*part), &newer("1").provenance);
            assert_eq!(case.older_parts.len(), 3);
            assert!(case.older_parts.iter().all(|older| older.made_by == old.tags.provenance && older.part != *part));
            assert_eq!(case.made_by_version(), None);
            assert!(case.retagged.as_ref().unwrap().changed, "{part}");
        }
        let whole = old.clone().retagged(newer("1").into(), TagPart::ALL, "job");
        assert_eq!((whole.older_parts.as_slice(), &whole.tags), (&[][..], &newer("1")));
        assert_eq!(whole.made_by_version(), Some(newer("1").provenance.version()));
        // The rest, later: nothing is older any more.
        let first = old.retagged(newer("1").into(), &[TagPart::Topics], "job");
        let rest = [TagPart::Sentiment, TagPart::Team, TagPart::Signals];
        assert_eq!(first.retagged(newer("1").into(), &rest, "job").tags, whole.tags);
    }

    #[test]
    fn a_change_that_a_correction_hides_is_none_and_abstention_heeds_it() {
        let corrected = Case { correction: Some(correction()), ..sample::case("1") };
        assert!(corrected.is_corrected(TagPart::Topics) && !corrected.is_corrected(TagPart::Team));
        let case = corrected.clone().retagged(newer("1").into(), &[TagPart::Topics], "job");
        let mark = case.retagged.clone().unwrap();
        assert_eq!((mark.changed, mark.abstained), (false, false));
        assert_eq!(case.correction, corrected.correction);
        let same = sample::case("1").retagged(sample::case("1").tags.into(), TagPart::ALL, "job").retagged.unwrap();
        assert_eq!((same.changed, same.abstained, same.encoded), (false, true, false));
    }

    #[test]
    fn reasons_for_a_review_come_from_the_part_that_they_are_about() {
        let of = |reasons: &[ReviewReason]| Review { needed: !reasons.is_empty(), reasons: reasons.to_vec() };
        let (old, new) = (of(&[ReviewReason::NoTopic]), of(&[ReviewReason::TeamUnclear, ReviewReason::Truncated]));
        let reasons = |parts: &[TagPart]| review(&old, &new, parts).reasons;
        assert_eq!(reasons(TagPart::ALL), [ReviewReason::TeamUnclear, ReviewReason::Truncated]);
        assert_eq!(reasons(&[TagPart::Topics]), [ReviewReason::Truncated]);
        assert_eq!(
            reasons(&[TagPart::Team]),
            [ReviewReason::NoTopic, ReviewReason::TeamUnclear, ReviewReason::Truncated]
        );
    }

    #[test]
    fn the_state_tells_every_change_that_tags_rest_on() {
        let case = sample::case("1");
        let others = [
            Case { masked_text: "другое".to_owned(), ..case.clone() },
            Case { stored_at: Timestamp::UNIX_EPOCH, ..case.clone() },
            Case { correction: Some(correction()), ..case.clone() },
            case.clone().retagged(newer("1").into(), TagPart::ALL, "job"),
        ];
        assert!(others.iter().all(|other| other.state() != case.state()));
        let open = Case { links: vec![], customer_id: Some("c".to_owned()), ..case.clone() };
        assert_eq!(open.state(), case.state());
    }
}
