//! What corrected cases make of the tags of a text like them.

use super::corrections::{Corrections, Foretold, TextFeatures, model_teams};
use super::judge::Judge;
use super::reading::Reading;
use super::sentiment::{Polarity, sentiment_of};
use super::topics::MAX_EVIDENCE;
use crate::feedback::Speaker;
use crate::tags::{Confidence, Evidence, TagSource, Tags, TeamCandidate, TeamId, TeamTag, TopicId, TopicTag};
use crate::taxonomy::Taxonomy;

/// The corrections' say about one text.
pub(super) struct Votes<'a> {
    corrections: &'a Corrections,
    text: TextFeatures,
}

impl<'a> Votes<'a> {
    /// `None` if there are no corrections, or nothing of the text to compare with them.
    pub fn new(corrections: &'a Corrections, masked_text: &str, vector: &[f32]) -> Option<Self> {
        let some = !corrections.is_empty() && !vector.is_empty();
        some.then(|| Self { corrections, text: TextFeatures::of(masked_text, vector.to_vec()) })
    }

    /// Topics after the vote, most probable first, all at or above `threshold`. `candidates` are the topics that the models could
    /// give at all, with their evidence and confidence however low.
    pub fn on_topics(
        &self,
        judge: &Judge,
        reading: &Reading<'_>,
        speaker: Speaker,
        polarity: Option<Polarity>,
        candidates: Vec<TopicTag>,
        (threshold, max_topics): (f32, usize),
    ) -> Vec<TopicTag> {
        let model: Vec<(String, f32)> =
            candidates.iter().map(|tag| (tag.topic_id.to_string(), tag.confidence.get())).collect();
        let foretold = self.corrections.topics(&self.text, &model);
        let mut candidates = candidates;
        let mut tags = Vec::new();
        for (label, probability) in &foretold.labels {
            let known = candidates.iter().position(|tag| tag.topic_id.as_str() == label);
            let known = known.map(|at| candidates.swap_remove(at));
            let thought = known.as_ref().map_or(0.0, |tag| tag.confidence.get());
            let voters = if foretold.say > 0.0 { foretold.voters(label) } else { Vec::new() };
            let given_by_vote = *probability >= threshold && thought < threshold;
            // Without a case to show for it, corrections don't give a topic.
            if *probability < threshold || given_by_vote && voters.is_empty() {
                continue;
            }
            let Some(mut tag) = known.or_else(|| new_tag(judge, reading, speaker, polarity, label, *probability))
            else {
                continue;
            };
            tag.confidence = Confidence::new(*probability);
            if given_by_vote {
                tag.source = TagSource::Neighbour;
                tag.rule_id = None;
            }
            tag.neighbour_case_ids = voters;
            tags.push(tag);
        }
        tags.truncate(max_topics);
        tags
    }

    /// The team after the vote, and whether it was overridden.
    pub fn on_team(&self, taxonomy: &Taxonomy, tags_so_far: TeamTag) -> (TeamTag, bool) {
        let mut team = tags_so_far;
        let foretold = self.corrections.teams(&self.text, &model_teams(&team));
        if foretold.say <= 0.0 {
            return (team, false);
        }
        let of = |id: &TeamId| foretold.labels.iter().find(|(label, _)| label == id.as_str()).map_or(0.0, |(_, p)| *p);
        let routed = of(&team.team_id);
        let best = foretold.labels.iter().find_map(|(label, probability)| {
            let id = TeamId::new(label.clone());
            let voters = foretold.voters(label);
            let elected = id == team.team_id || !voters.is_empty();
            (elected && taxonomy.team(&id).is_some()).then_some((id, *probability, voters))
        });
        match best {
            Some((id, probability, voters)) if id != team.team_id && probability > routed => {
                let before = TeamCandidate {
                    team_id: team.team_id.clone(),
                    confidence: Confidence::new(routed),
                    reason: team.reason.clone(),
                };
                let others = team.alternatives.into_iter().filter(|other| other.team_id != id);
                team = TeamTag {
                    confidence: Confidence::new(probability),
                    reason: reason(&foretold, &voters),
                    rule_id: None,
                    escalates_to: taxonomy.team(&id).and_then(|team| team.escalates_to.clone()),
                    alternatives: std::iter::once(before).chain(others).collect(),
                    neighbour_case_ids: voters,
                    team_id: id,
                };
                (team, true)
            }
            _ => {
                team.confidence = Confidence::new(routed);
                (team, false)
            }
        }
    }
}

fn reason(foretold: &Foretold, voters: &[String]) -> String {
    let of = foretold.neighbours.len();
    format!("persons gave {} of the {of} corrected cases most like this one to the team", voters.len())
}

/// A topic that no model could give, on the sentences of the text.
fn new_tag(
    judge: &Judge,
    reading: &Reading<'_>,
    speaker: Speaker,
    polarity: Option<Polarity>,
    label: &str,
    probability: f32,
) -> Option<TopicTag> {
    // A topic that the taxonomy no longer has is not given.
    let topic = judge.taxonomy.topic(&TopicId::new(label))?;
    let spoken = reading.spoken_by(speaker)?;
    let sentences = spoken.indexed().map(|(index, _, _)| index).take(MAX_EVIDENCE);
    let mut evidence: Vec<Evidence> =
        sentences.map(|sentence| reading.sentence_evidence(spoken, sentence, probability)).collect();
    if evidence.is_empty() {
        evidence.push(reading.sentence_evidence(spoken, 0, probability));
    }
    Some(TopicTag {
        topic_id: topic.id.clone(),
        parent_id: topic.parent.clone(),
        confidence: Confidence::new(probability),
        sentiment: sentiment_of(polarity.unwrap_or([0.0, 1.0, 0.0])),
        source: TagSource::Neighbour,
        rule_id: None,
        neighbour_case_ids: Vec::new(),
        evidence,
    })
}

/// What the models think of the topics of a stored case: its tags, and what its text and vector say of the others.
pub(super) fn thoughts(judge: &Judge, tags: &Tags, text: &str, vector: &[f32]) -> Vec<(String, f32)> {
    let judged = judge.judge(vector, &judge.words(text)).topics;
    let own = |id: &TopicId| {
        let tag = tags.topics.iter().find(|tag| tag.topic_id == *id && tag.source != TagSource::Neighbour);
        tag.map_or(0.0, |tag| tag.confidence.get())
    };
    let topics = judge.topics.iter().zip(judged);
    topics.map(|(topic, judged)| (topic.id.to_string(), judged.max(own(&topic.id)))).collect()
}
