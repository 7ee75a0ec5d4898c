//! Tags for tests: nothing was found, but for what a test puts in.

use super::*;

/// Tags of a text in which nothing was found; the team is `billing`.
pub(crate) fn nothing_found(text: &str) -> Tags {
    let prepared = crate::text::prepare(text);
    Tags {
        id: String::new(),
        language: prepared.language(),
        topics: vec![],
        sentiment: None,
        team: TeamTag {
            team_id: TeamId::new("billing"),
            confidence: Confidence::ONE,
            reason: String::new(),
            rule_id: None,
            escalates_to: None,
            alternatives: vec![],
            neighbour_case_ids: vec![],
        },
        signals: vec![],
        turns: vec![],
        sentiment_trend: None,
        review: Review::default(),
        masked_text: prepared.clean().to_owned(),
        tokens: 1,
        provenance: Provenance {
            otklik_version: String::new(),
            taxonomy_version: TaxonomyVersion::new("v"),
            encoder_id: String::new(),
            encoder_sha256: String::new(),
            prototypes_version: String::new(),
            heads: vec![],
            corrections_version: String::new(),
            language_model: None,
        },
    }
}
