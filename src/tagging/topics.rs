//! From what rules and sentences say to the topics of a text, with evidence.

use std::collections::HashMap;

use super::judge::{Judge, Judgement};
use super::reading::{Reading, Spoken};
use super::sentiment::{Polarity, mean_polarity, sentiment_of};
use crate::feedback::Speaker;
use crate::tags::{Confidence, Evidence, TagSource, TopicTag};
use crate::taxonomy::{RuleHit, RuleTarget};

/// A topic counts for what it fills of the text: one that fills less than a quarter is worth four times its share.
const SHARE_GAIN: f32 = 4.0;

/// A sentence is evidence if it is at least this probable for the topic, and half as probable as the best one.
const EVIDENCE_FLOOR: f32 = 0.15;

/// Most pieces of evidence of one kind that a tag carries.
pub(super) const MAX_EVIDENCE: usize = 3;

/// Topics of what one speaker said, most probable first, all at or above `threshold`.
pub(super) fn topics_of(
    judge: &Judge,
    reading: &Reading<'_>,
    speaker: Speaker,
    rule_hits: &[RuleHit],
    threshold: f32,
    max_topics: usize,
) -> Vec<TopicTag> {
    let mut by_rule: HashMap<&str, Vec<&RuleHit>> = HashMap::new();
    for hit in rule_hits.iter().filter(|hit| reading.is_said_by(hit, speaker)) {
        if let RuleTarget::Topic(id) = &hit.target {
            by_rule.entry(id.as_str()).or_default().push(hit);
        }
    }
    let spoken = reading.spoken_by(speaker);
    let mut tags: Vec<TopicTag> = judge
        .topics
        .iter()
        .enumerate()
        .filter_map(|(index, topic)| {
            let hits = by_rule.get(topic.id.as_str()).map(Vec::as_slice).unwrap_or_default();
            let model = spoken.map_or(0.0, |spoken| presence(spoken, index, reading.document.telling_words()));
            let best_rule = hits.iter().max_by(|one, other| one.confidence.get().total_cmp(&other.confidence.get()));
            let rule = best_rule.map_or(0.0, |hit| hit.confidence.get());
            // Either alone would do; both together are surer than each.
            let confidence = 1.0 - (1.0 - rule) * (1.0 - model);
            if confidence < threshold {
                return None;
            }
            let mut evidence = reading.rule_evidence(hits);
            let mut polarities: Vec<(Polarity, f32)> = reading.polarities_under(hits);
            if let Some(spoken) = spoken {
                let from_model = evidence_of(spoken, index, evidence.is_empty());
                polarities.extend(
                    from_model.iter().map(|(sentence, weight)| (spoken.judgement(*sentence).polarity, *weight)),
                );
                for (sentence, weight) in from_model {
                    let found = reading.sentence_evidence(spoken, sentence, weight);
                    if !evidence
                        .iter()
                        .any(|known: &Evidence| known.turn == found.turn && found.span.contains(known.span))
                    {
                        evidence.push(found);
                    }
                }
            }
            let sentiment = sentiment_of(mean_polarity(polarities.into_iter()).unwrap_or([0.0, 1.0, 0.0]));
            if topic.sentiment.is_some_and(|only| only != sentiment.label) {
                return None;
            }
            Some(TopicTag {
                topic_id: topic.id.clone(),
                parent_id: topic.parent.clone(),
                confidence: Confidence::new(confidence),
                sentiment,
                source: if best_rule.is_some() { TagSource::Rule } else { topic.source },
                rule_id: best_rule.map(|hit| hit.rule_id.clone()),
                neighbour_case_ids: Vec::new(),
                evidence,
            })
        })
        .collect();
    tags.sort_by(|one, other| {
        other.confidence.get().total_cmp(&one.confidence.get()).then_with(|| one.topic_id.cmp(&other.topic_id))
    });
    tags.truncate(max_topics);
    tags
}

/// Probability that a topic is present, from the whole and from the sentences.
fn presence(spoken: &Spoken<'_>, topic: usize, telling_words: usize) -> f32 {
    let of = |judgement: &Judgement| judgement.topics.get(topic).copied().unwrap_or(0.0);
    let (mut best, mut sum, mut words) = (0.0f32, 0.0, 0.0);
    for (sentence, judgement) in spoken.judged() {
        if sentence.words >= telling_words {
            best = best.max(of(judgement));
            sum += of(judgement) * sentence.words as f32;
        }
        words += sentence.words as f32;
    }
    let share = if words > 0.0 { sum / words } else { 0.0 };
    of(spoken.whole()).max(best.min(share * SHARE_GAIN))
}

/// Sentences that speak for a topic, strongest first; at least one if `needed`.
fn evidence_of(spoken: &Spoken<'_>, topic: usize, needed: bool) -> Vec<(usize, f32)> {
    let mut ranked: Vec<(usize, f32)> = spoken
        .indexed()
        .map(|(index, _, judgement)| (index, judgement.topics.get(topic).copied().unwrap_or(0.0)))
        .collect();
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    let best = ranked.first().map_or(0.0, |(_, weight)| *weight);
    let telling = ranked.iter().take_while(|(_, weight)| *weight >= EVIDENCE_FLOOR && *weight >= best / 2.0).count();
    ranked.truncate(telling.clamp(usize::from(needed), MAX_EVIDENCE));
    ranked
}
