//! Cases for tests.

use jiff::Timestamp;

use crate::cases::Case;
use crate::feedback::Feedback;
use crate::tags::{
    Confidence, Language, Provenance, Review, Sentiment, SentimentLabel, Tags, TaxonomyVersion, TeamId, TeamTag,
};

/// A plain case; tests set what they are about.
pub(crate) fn case(id: &str) -> Case {
    let sentiment = Sentiment { label: SentimentLabel::Negative, score: -0.75, confidence: Confidence::new(0.9) };
    let team = TeamTag {
        team_id: TeamId::new("support"),
        confidence: Confidence::ONE,
        reason: "the triage team".to_owned(),
        rule_id: None,
        escalates_to: None,
        alternatives: vec![],
        neighbour_case_ids: vec![],
    };
    let provenance = Provenance {
        otklik_version: "0.1.0".to_owned(),
        taxonomy_version: TaxonomyVersion::new("sha256:0123456789abcdef"),
        encoder_id: "test".to_owned(),
        encoder_sha256: "ab".repeat(32),
        prototypes_version: "sha256:0123456789abcdef".to_owned(),
        heads: vec![],
        corrections_version: String::new(),
        language_model: None,
    };
    let tags = Tags {
        id: id.to_owned(),
        language: Language::Russian,
        topics: vec![],
        sentiment: Some(sentiment),
        team,
        signals: vec![],
        turns: vec![],
        sentiment_trend: None,
        review: Review::default(),
        masked_text: format!("Жалоба {id}: приложение не открывается \"совсем\"\n🦔"),
        tokens: 11,
        provenance,
    };
    let stored_at = Timestamp::from_second(1_760_000_000).unwrap_or_default();
    let case = Case::new(Feedback::from_text(id, ""), tags, stored_at);
    Case { attributes: [("branch".to_owned(), "Казань".to_owned())].into(), ..case }
}
