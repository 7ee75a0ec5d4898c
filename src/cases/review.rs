//! Which cases a person should look at first.
//!
//! Enters: cases with their vectors. Leaves: the few that are worth a person's time, with a score and reasons. Two orders: what the
//! models were least sure of, and what is most worth labelling, which is unsure, stands for many others (density), and is unlike
//! what stands in the list already: a correction of it teaches most (as in Settles and Craven, "An Analysis of Active Learning
//! Strategies for Sequence Labeling Tasks", 2008).

use serde::{Deserialize, Serialize};

use super::VectoredCase;
use crate::feedback::named_enum;
use crate::tags::{ReviewReason, Tags};

/// Cases that the density of each is measured by, spread evenly over all.
const REFERENCES: usize = 256;

/// Of a cosine to something in the list, what is below this counts nothing: cosines of encoders' vectors hardly go lower.
const UNLIKE: f32 = 0.5;

/// Two teams are unclear by so much.
const TEAM_UNCLEAR: f32 = 0.25;

named_enum! {
    /// In which order cases come.
    ReviewOrder {
        /// What the models are least sure of.
        LeastSure = "least_sure",
        /// What teaches most: unsure, alike to many others, and unlike each other.
        MostWorthLabelling = "most_worth_labelling",
    }
}

named_enum! {
    /// Why a case is in the list.
    WorthReason {
        /// No topic was sure enough.
        NoTopic = "no_topic",
        /// The surest topic is not sure.
        TopicUnsure = "topic_unsure",
        /// Two teams are about equally probable.
        TeamUnclear = "team_unclear",
        /// Many other cases are like it.
        ManyAlike = "many_alike",
    }
}

/// A case that a person should look at.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewCase {
    /// The case with its vector.
    pub stored: VectoredCase,
    /// How much it should be looked at, 0 to 1.
    pub score: f32,
    /// Why, most important first.
    pub reasons: Vec<WorthReason>,
}

/// The `limit` cases that should be looked at first, in order. Takes time linear in the number of cases.
pub fn ranked(cases: Vec<VectoredCase>, order: ReviewOrder, limit: usize) -> Vec<ReviewCase> {
    let mut unsure: Vec<ReviewCase> = cases
        .into_iter()
        .map(|stored| {
            let (score, reasons) = uncertainty(&stored.case.tags);
            ReviewCase { stored, score, reasons }
        })
        .collect();
    if order == ReviewOrder::MostWorthLabelling {
        weigh_by_density(&mut unsure);
        return spread(unsure, limit);
    }
    unsure.sort_by(by_score);
    unsure.truncate(limit);
    unsure
}

fn by_score(one: &ReviewCase, other: &ReviewCase) -> std::cmp::Ordering {
    other.score.total_cmp(&one.score).then_with(|| one.stored.case.id.cmp(&other.stored.case.id))
}

/// How unsure the tags are, 0 to 1, and of what.
fn uncertainty(tags: &Tags) -> (f32, Vec<WorthReason>) {
    let mut reasons = Vec::new();
    let surest = tags.topics.iter().map(|topic| topic.confidence.get()).fold(0.0, f32::max);
    if tags.topics.is_empty() {
        reasons.push(WorthReason::NoTopic);
    } else if surest < 0.75 {
        reasons.push(WorthReason::TopicUnsure);
    }
    let unclear = tags.review.reasons.contains(&ReviewReason::TeamUnclear);
    if unclear {
        reasons.push(WorthReason::TeamUnclear);
    }
    let of_team = if unclear { TEAM_UNCLEAR } else { 0.0 };
    (((1.0 - surest) * (1.0 - TEAM_UNCLEAR) + of_team).clamp(0.0, 1.0), reasons)
}

/// Weighs each case by how like it the others are, compared with the one most like them.
fn weigh_by_density(cases: &mut [ReviewCase]) {
    let step = cases.len().div_ceil(REFERENCES).max(1);
    let references: Vec<Vec<f32>> = cases.iter().step_by(step).map(|case| case.stored.vector.clone()).collect();
    let densities: Vec<f32> = cases
        .iter()
        .map(|case| {
            let sum: f32 = references.iter().map(|other| likeness(&case.stored.vector, other)).sum();
            sum / references.len().max(1) as f32
        })
        .collect();
    let most = densities.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    for (case, density) in cases.iter_mut().zip(densities) {
        let share = density / most;
        case.score *= share;
        if share >= 0.75 {
            case.reasons.push(WorthReason::ManyAlike);
        }
    }
}

/// Picks the best, then the best of what is unlike what was picked, and so on.
fn spread(mut cases: Vec<ReviewCase>, limit: usize) -> Vec<ReviewCase> {
    cases.sort_by(by_score);
    let mut novelty = vec![1.0f32; cases.len()];
    let mut picked: Vec<ReviewCase> = Vec::new();
    while picked.len() < limit && !cases.is_empty() {
        let worth = cases.iter().zip(&novelty).map(|(case, novelty)| case.score * novelty).enumerate();
        // Of equally good ones the first.
        let best = worth.reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((at, worth)) = best else { break };
        let mut case = cases.remove(at);
        novelty.remove(at);
        case.score = worth;
        for (other, novelty) in cases.iter().zip(&mut novelty) {
            *novelty = novelty.min(1.0 - likeness(&case.stored.vector, &other.stored.vector));
        }
        picked.push(case);
    }
    picked
}

/// 0 for what has nothing in common, 1 for the same.
fn likeness(one: &[f32], other: &[f32]) -> f32 {
    let cosine: f32 = one.iter().zip(other).map(|(one, other)| one * other).sum();
    ((cosine - UNLIKE) / (1.0 - UNLIKE)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::edge::sample;
    use crate::feedback::CharSpan;
    use crate::tags::{Confidence, Evidence, Sentiment, SentimentLabel, TagSource, TopicId, TopicTag};

    /// A case with one topic of this confidence, at an angle.
    fn stored(id: &str, confidence: f32, degrees: f32) -> VectoredCase {
        let mut case = sample::case(id);
        let sentiment = Sentiment { label: SentimentLabel::Neutral, score: 0.0, confidence: Confidence::ONE };
        case.tags.topics = vec![TopicTag {
            topic_id: TopicId::new("t"),
            parent_id: None,
            confidence: Confidence::new(confidence),
            sentiment,
            source: TagSource::Prototype,
            rule_id: None,
            neighbour_case_ids: vec![],
            evidence: vec![Evidence { turn: None, span: CharSpan::new(0, 1), weight: Confidence::ONE }],
        }];
        let angle = degrees.to_radians();
        VectoredCase { case, vector: vec![angle.cos(), angle.sin()] }
    }

    fn ids(cases: &[ReviewCase]) -> Vec<&str> {
        cases.iter().map(|case| case.stored.case.id.as_str()).collect()
    }

    #[test]
    fn the_least_sure_come_first_with_their_reasons() {
        let mut none = stored("none", 1.0, 0.0);
        none.case.tags.topics.clear();
        let cases = vec![stored("sure", 0.95, 0.0), stored("unsure", 0.45, 0.0), none];
        let ranked = ranked(cases, ReviewOrder::LeastSure, 2);
        assert_eq!(ids(&ranked), ["none", "unsure"]);
        assert_eq!(ranked[0].reasons, [WorthReason::NoTopic]);
        assert_eq!(ranked[1].reasons, [WorthReason::TopicUnsure]);
    }

    #[test]
    fn what_is_most_worth_labelling_stands_for_many_and_nothing_comes_twice() {
        let mut cases: Vec<VectoredCase> =
            (0..20).map(|id| stored(&format!("crowd{id:02}"), 0.5, id as f32 / 100.0)).collect();
        cases.push(stored("alone", 0.45, 170.0));
        cases.extend((0..5).map(|id| stored(&format!("few{id}"), 0.5, 90.0 + id as f32 / 100.0)));
        let ranked = ranked(cases, ReviewOrder::MostWorthLabelling, 3);
        let of = |prefix: &str| ids(&ranked).iter().filter(|id| id.starts_with(prefix)).count();
        assert!(ids(&ranked)[0].starts_with("crowd"), "{:?}", ids(&ranked));
        assert!(ranked[0].reasons.contains(&WorthReason::ManyAlike));
        assert_eq!((of("crowd"), of("few"), of("alone")), (1, 1, 1), "{:?}", ids(&ranked));
    }
}
