//! The one team that owns a case, and the others that could.

use crate::feedback::Feedback;
use crate::tags::{Confidence, TeamCandidate, TeamId, TeamTag, TopicTag};
use crate::taxonomy::{Owner, OwnershipContext, Taxonomy};

/// With less confidence than this, the first of several teams is a guess.
const GUESS: f32 = 0.35;

/// Two teams are about equally probable when the second is at least this share of the first.
const UNCLEAR_SHARE: f32 = 0.9;

/// Teams that a head names beside the first, at most, and how probable they are at least.
const MOST_ALTERNATIVES: usize = 3;
const WORTH_NAMING: f32 = 0.1;

struct Claim {
    owner: Owner,
    /// Weight of all topics that point to the team.
    weight: f32,
    /// Confidence of the surest of them.
    confidence: f32,
}

/// Routes by the owners of the topics: each speaks with its confidence, louder when the customer is unhappy about it. Without
/// a topic a head decides, if one is there and sure enough, else the triage team takes the case; `by_head` has its teams, most
/// probable first. True beside the team if another is about as probable.
pub(super) fn route(
    taxonomy: &Taxonomy,
    feedback: &Feedback,
    topics: &[TopicTag],
    by_head: impl FnOnce() -> Vec<(TeamId, f32)>,
) -> (TeamTag, bool) {
    let context = OwnershipContext {
        product: feedback.product.as_deref(),
        channel: feedback.channel.as_deref(),
        partner: feedback.partner.as_deref(),
    };
    let mut claims: Vec<Claim> = Vec::new();
    for topic in topics {
        let owner = taxonomy.owner(&topic.topic_id, &context);
        let confidence = topic.confidence.get();
        let weight = confidence * (1.0 + (-topic.sentiment.score).max(0.0));
        match claims.iter_mut().find(|claim| claim.owner.team == owner.team) {
            Some(claim) => {
                claim.weight += weight;
                claim.confidence = claim.confidence.max(confidence);
            }
            None => claims.push(Claim { owner, weight, confidence }),
        }
    }
    // The sort is stable, so the owner of the surer topic stays first among equals.
    claims.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    let total: f32 = claims.iter().map(|claim| claim.weight).sum();
    let share = |claim: &Claim| Confidence::new(claim.confidence * claim.weight / total);
    let mut claims = claims.into_iter();
    let Some(first) = claims.next() else {
        return named_by_head(taxonomy, by_head()).unwrap_or_else(|| (triage(taxonomy), false));
    };
    let alternatives: Vec<TeamCandidate> = claims
        .map(|claim| TeamCandidate { confidence: share(&claim), team_id: claim.owner.team, reason: claim.owner.reason })
        .collect();
    let confidence = share(&first);
    let unclear = alternatives
        .first()
        .is_some_and(|second| confidence.get() < GUESS || second.confidence.get() >= confidence.get() * UNCLEAR_SHARE);
    let team = TeamTag {
        team_id: first.owner.team,
        confidence,
        reason: first.owner.reason,
        rule_id: first.owner.rule_id,
        escalates_to: first.owner.escalates_to,
        alternatives,
        neighbour_case_ids: Vec::new(),
    };
    (team, unclear)
}

/// The team that a head names, if it is sure enough, and whether another is about as probable.
fn named_by_head(taxonomy: &Taxonomy, teams: Vec<(TeamId, f32)>) -> Option<(TeamTag, bool)> {
    let reason = || "no topic was sure enough: the head of teams".to_owned();
    let mut teams = teams.into_iter();
    let (team_id, probability) = teams.next().filter(|(_, probability)| *probability >= GUESS)?;
    let alternatives: Vec<TeamCandidate> = teams
        .take(MOST_ALTERNATIVES)
        .filter(|(_, probability)| *probability >= WORTH_NAMING)
        .map(|(team_id, probability)| TeamCandidate {
            team_id,
            confidence: Confidence::new(probability),
            reason: reason(),
        })
        .collect();
    let unclear = alternatives.first().is_some_and(|second| second.confidence.get() >= probability * UNCLEAR_SHARE);
    let team = TeamTag {
        neighbour_case_ids: Vec::new(),
        escalates_to: taxonomy.team(&team_id).and_then(|team| team.escalates_to.clone()),
        team_id,
        confidence: Confidence::new(probability),
        reason: reason(),
        rule_id: None,
        alternatives,
    };
    Some((team, unclear))
}

fn triage(taxonomy: &Taxonomy) -> TeamTag {
    let team_id: TeamId = taxonomy.triage_team().clone();
    TeamTag {
        escalates_to: taxonomy.team(&team_id).and_then(|team| team.escalates_to.clone()),
        team_id,
        confidence: Confidence::ZERO,
        reason: "no topic was sure enough: triage".to_owned(),
        rule_id: None,
        alternatives: Vec::new(),
        neighbour_case_ids: Vec::new(),
    }
}
