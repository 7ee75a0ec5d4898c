//! Tags on their way out.

use crate::feedback::CharSpan;
use crate::server::wire::v1;
use crate::tags::{
    Evidence, HeadIdentity, LanguageModelIdentity, Provenance, Review, Sentiment, SentimentTrend, SignalTag, Tags,
    TeamCandidate, TeamTag, TopicTag, TurnTags,
};

fn each<T: Into<W>, W>(items: Vec<T>) -> Vec<W> {
    items.into_iter().map(Into::into).collect()
}

impl From<Tags> for v1::Tags {
    fn from(tags: Tags) -> Self {
        Self {
            id: tags.id,
            language: v1::Language::from(tags.language).into(),
            topics: each(tags.topics),
            sentiment: tags.sentiment.map(Into::into),
            team: Some(tags.team.into()),
            signals: each(tags.signals),
            turns: each(tags.turns),
            sentiment_trend: tags.sentiment_trend.map(Into::into),
            review: Some(tags.review.into()),
            masked_text: tags.masked_text,
            tokens: tags.tokens,
            provenance: Some(tags.provenance.into()),
        }
    }
}

impl From<TopicTag> for v1::TopicTag {
    fn from(topic: TopicTag) -> Self {
        Self {
            topic_id: topic.topic_id.to_string(),
            parent_id: topic.parent_id.map(|id| id.to_string()).unwrap_or_default(),
            confidence: topic.confidence.get(),
            sentiment: Some(topic.sentiment.into()),
            source: v1::TagSource::from(topic.source).into(),
            rule_id: topic.rule_id.unwrap_or_default(),
            neighbour_case_ids: topic.neighbour_case_ids,
            evidence: each(topic.evidence),
        }
    }
}

impl From<SignalTag> for v1::SignalTag {
    fn from(signal: SignalTag) -> Self {
        Self {
            signal_id: signal.signal_id.to_string(),
            confidence: signal.confidence.get(),
            source: v1::TagSource::from(signal.source).into(),
            rule_id: signal.rule_id.unwrap_or_default(),
            detail: signal.detail.unwrap_or_default(),
            evidence: each(signal.evidence),
        }
    }
}

impl From<Sentiment> for v1::Sentiment {
    fn from(sentiment: Sentiment) -> Self {
        Self {
            label: v1::SentimentLabel::from(sentiment.label).into(),
            score: sentiment.score,
            confidence: sentiment.confidence.get(),
        }
    }
}

impl From<Evidence> for v1::Evidence {
    fn from(evidence: Evidence) -> Self {
        Self { turn: evidence.turn, span: Some(evidence.span.into()), weight: evidence.weight.get() }
    }
}

impl From<CharSpan> for v1::CharSpan {
    fn from(span: CharSpan) -> Self {
        Self { start: span.start, end: span.end }
    }
}

impl From<TeamTag> for v1::TeamTag {
    fn from(team: TeamTag) -> Self {
        Self {
            team_id: team.team_id.to_string(),
            confidence: team.confidence.get(),
            reason: team.reason,
            rule_id: team.rule_id.unwrap_or_default(),
            escalates_to: team.escalates_to.map(|id| id.to_string()).unwrap_or_default(),
            alternatives: each(team.alternatives),
            neighbour_case_ids: team.neighbour_case_ids,
        }
    }
}

impl From<TeamCandidate> for v1::TeamCandidate {
    fn from(team: TeamCandidate) -> Self {
        Self { team_id: team.team_id.to_string(), confidence: team.confidence.get(), reason: team.reason }
    }
}

impl From<TurnTags> for v1::TurnTags {
    fn from(turn: TurnTags) -> Self {
        Self {
            turn: turn.turn,
            speaker: v1::Speaker::from(turn.speaker).into(),
            sentiment: turn.sentiment.map(Into::into),
            topic_ids: turn.topics.iter().map(ToString::to_string).collect(),
            signal_ids: turn.signals.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<SentimentTrend> for v1::SentimentTrend {
    fn from(trend: SentimentTrend) -> Self {
        Self { first: trend.first, last: trend.last, change: trend.change }
    }
}

impl From<Review> for v1::Review {
    fn from(review: Review) -> Self {
        let reasons = review.reasons.into_iter().map(|reason| v1::ReviewReason::from(reason).into());
        Self { needed: review.needed, reasons: reasons.collect() }
    }
}

impl From<Provenance> for v1::Provenance {
    fn from(provenance: Provenance) -> Self {
        Self {
            otklik_version: provenance.otklik_version,
            taxonomy_version: provenance.taxonomy_version.to_string(),
            encoder_id: provenance.encoder_id,
            encoder_sha256: provenance.encoder_sha256,
            prototypes_version: provenance.prototypes_version,
            heads: each(provenance.heads),
            corrections_version: provenance.corrections_version,
            language_model: provenance.language_model.map(Into::into),
        }
    }
}

impl From<LanguageModelIdentity> for v1::LanguageModelIdentity {
    fn from(model: LanguageModelIdentity) -> Self {
        let LanguageModelIdentity { id, sha256, calibration_version } = model;
        Self { id, sha256, calibration_version }
    }
}

impl From<HeadIdentity> for v1::HeadIdentity {
    fn from(head: HeadIdentity) -> Self {
        Self { name: head.name, sha256: head.sha256 }
    }
}
