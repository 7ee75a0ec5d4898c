//! From what rules and sentences say to the signals of a text.

use super::judge::Judge;
use super::reading::Reading;
use super::terms;
use super::topics::MAX_EVIDENCE;
use crate::feedback::{CharSpan, Speaker};
use crate::tags::{Confidence, Evidence, SentimentLabel, SignalId, SignalTag, TagSource, TopicTag};
use crate::taxonomy::{RuleHit, RuleTarget, Signal};

/// Signals that the tagger itself knows something about; any other is as the taxonomy has it.
mod known {
    pub const CHURN_RISK: &str = "churn_risk";
    pub const DEFLECTION: &str = "deflection";
    pub const HANDOFF_LOOP: &str = "handoff_loop";
    pub const PROMISE: &str = "promise";
    pub const VAGUE: &str = "vague";
}

/// Operator turns that send the customer elsewhere before it counts as passing around.
const DEFLECTIONS_OF_A_LOOP: usize = 2;

/// Rule id of a loop seen from repeated deflections.
const REPEATED_DEFLECTION: &str = "repeated_deflection";

/// Where a signal was found: index of the text, place in its clean form, how sure.
type Place = (usize, CharSpan, f32);

/// All signals, most probable first.
pub(super) fn signals_of(
    judge: &Judge,
    reading: &Reading<'_>,
    rule_hits: &[RuleHit],
    topics: &[TopicTag],
) -> Vec<SignalTag> {
    let mut tags: Vec<SignalTag> = judge
        .taxonomy
        .signals()
        .iter()
        .filter_map(|signal| signal_tag(judge, reading, rule_hits, topics, signal))
        .collect();
    add_loop_of_deflections(judge, &mut tags);
    tags.sort_by(|one, other| {
        other.confidence.get().total_cmp(&one.confidence.get()).then_with(|| one.signal_id.cmp(&other.signal_id))
    });
    tags
}

fn signal_tag(
    judge: &Judge,
    reading: &Reading<'_>,
    rule_hits: &[RuleHit],
    topics: &[TopicTag],
    signal: &Signal,
) -> Option<SignalTag> {
    let hits: Vec<&RuleHit> =
        rule_hits.iter().filter(|hit| matches!(&hit.target, RuleTarget::Signal(id) if *id == signal.id)).collect();
    let best_rule = hits.iter().max_by(|one, other| one.confidence.get().total_cmp(&other.confidence.get()));
    let rule = best_rule.map_or(0.0, |hit| hit.confidence.get());
    let judged = judge.signals.iter().find(|judged| judged.id == signal.id);
    let places = places_by_model(judge, reading, signal);
    let model = places.first().map_or(0.0, |(_, _, probability)| *probability);
    if rule == 0.0 && places.is_empty() {
        return None;
    }
    let mut evidence = reading.rule_evidence(&hits);
    for (text, span, weight) in &places {
        let Some(text) = reading.document.texts.get(*text) else { continue };
        let found =
            Evidence { turn: text.turn, span: text.prepared.to_original(*span), weight: Confidence::new(*weight) };
        if !evidence.iter().any(|known| known.turn == found.turn && known.span.overlaps(found.span)) {
            evidence.push(found);
        }
    }
    let ruled = hits.iter().flat_map(|hit| hit.spans.iter().copied());
    let sentences: Vec<&str> = ruled
        .chain(places.iter().map(|(text, span, _)| (*text, *span)))
        .map(|(text, span)| reading.sentence_at(text, span))
        .collect();
    let detail = match signal.id.as_str() {
        known::PROMISE => sentences.iter().find_map(|sentence| terms::term(sentence)).map(str::to_owned),
        known::CHURN_RISK => churn_reason(topics),
        _ => None,
    };
    Some(SignalTag {
        signal_id: signal.id.clone(),
        confidence: Confidence::new(1.0 - (1.0 - rule) * (1.0 - model)),
        source: if best_rule.is_some() {
            TagSource::Rule
        } else {
            judged.map_or(TagSource::Prototype, |judged| judged.source)
        },
        rule_id: best_rule.map(|hit| hit.rule_id.clone()),
        detail,
        evidence,
    })
}

/// Sentences of the signal's speakers at or above its threshold, surest first.
fn places_by_model(judge: &Judge, reading: &Reading<'_>, signal: &Signal) -> Vec<Place> {
    let Some(index) = judge.signals.iter().position(|judged| judged.id == signal.id) else { return Vec::new() };
    let threshold = judge.signals.get(index).map_or(1.0, |judged| judged.threshold);
    let mut places: Vec<Place> = reading
        .spoken()
        .filter(|(speaker, _)| signal.speakers.contains(speaker))
        .flat_map(|(_, spoken)| spoken.judged())
        .filter(|(sentence, _)| !reading.document.is_transcript || sentence.words >= reading.document.telling_words())
        .map(|(sentence, judgement)| {
            (sentence.text, sentence.span, judgement.signals.get(index).copied().unwrap_or(0.0))
        })
        .filter(|(_, _, probability)| *probability >= threshold)
        .collect();
    places.sort_by(|one, other| other.2.total_cmp(&one.2).then(one.0.cmp(&other.0)).then(one.1.cmp(&other.1)));
    places.truncate(MAX_EVIDENCE);
    places
}

/// Why the customer may leave: the topic that the text is unhappiest about, other than none.
fn churn_reason(topics: &[TopicTag]) -> Option<String> {
    topics
        .iter()
        .filter(|topic| topic.sentiment.label != SentimentLabel::Positive)
        .max_by(|one, other| {
            let weight = |topic: &TopicTag| topic.confidence.get() * (1.0 - topic.sentiment.score);
            weight(one).total_cmp(&weight(other))
        })
        .map(|topic| topic.topic_id.to_string())
}

/// An operator who sends the customer elsewhere more than once makes a loop, though no single turn says so.
fn add_loop_of_deflections(judge: &Judge, tags: &mut Vec<SignalTag>) {
    let id = SignalId::new(known::HANDOFF_LOOP);
    if judge.taxonomy.signal(&id).is_none() || tags.iter().any(|tag| tag.signal_id == id) {
        return;
    }
    let Some(deflection) = tags.iter().find(|tag| tag.signal_id.as_str() == known::DEFLECTION) else { return };
    let mut turns: Vec<u32> = deflection.evidence.iter().filter_map(|evidence| evidence.turn).collect();
    turns.sort_unstable();
    turns.dedup();
    if turns.len() >= DEFLECTIONS_OF_A_LOOP {
        let tag = SignalTag {
            signal_id: id,
            confidence: deflection.confidence,
            source: TagSource::Rule,
            rule_id: Some(REPEATED_DEFLECTION.to_owned()),
            detail: None,
            evidence: deflection.evidence.clone(),
        };
        tags.push(tag);
    }
}

/// A complaint without facts is about nothing in particular: what only looks like a topic's examples is none then.
pub(super) fn without_facts(topics: Vec<TopicTag>, signals: &[SignalTag]) -> Vec<TopicTag> {
    let vague = signals.iter().any(|signal| signal.signal_id.as_str() == known::VAGUE);
    if vague && topics.iter().all(|topic| !matches!(topic.source, TagSource::Rule | TagSource::Neighbour)) {
        Vec::new()
    } else {
        topics
    }
}

/// Signals whose evidence stands in a turn.
pub(super) fn signals_in_turn(signals: &[SignalTag], turn: u32) -> Vec<SignalId> {
    signals
        .iter()
        .filter(|signal| signal.evidence.iter().any(|evidence| evidence.turn == Some(turn)))
        .map(|signal| signal.signal_id.clone())
        .collect()
}

/// Speakers that sentiment is judged for.
pub(super) fn has_sentiment(speaker: Speaker) -> bool {
    speaker == Speaker::Customer
}
