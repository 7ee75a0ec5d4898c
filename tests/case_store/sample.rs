//! Cases, vectors and searches for tests.

use jiff::Timestamp;
use otklik::cases::{
    Case, CaseFilter, NewCase, Outcome, OutcomeStatus, SearchMode, SimilarCases, SimilarQuery, SimilarTo, TenantId,
};
use otklik::feedback::Feedback;
use otklik::tags::{Confidence, Language, Provenance, Review, Tags, TaxonomyVersion, TeamId, TeamTag};

pub const DIMENSION: usize = 8;

/// A plain case that says something.
pub fn case(id: &str, text: &str) -> Case {
    let team = TeamTag {
        team_id: TeamId::new("support"),
        confidence: Confidence::ONE,
        reason: String::new(),
        rule_id: None,
        escalates_to: None,
        alternatives: vec![],
        neighbour_case_ids: vec![],
    };
    let provenance = Provenance {
        otklik_version: "0.1.0".into(),
        taxonomy_version: TaxonomyVersion::new("sha256:0123456789abcdef"),
        encoder_id: "test".into(),
        encoder_sha256: "ab".repeat(32),
        prototypes_version: String::new(),
        heads: vec![],
        corrections_version: String::new(),
        language_model: None,
    };
    let tags = Tags {
        id: id.into(),
        language: Language::Russian,
        topics: vec![],
        sentiment: None,
        team,
        signals: vec![],
        turns: vec![],
        sentiment_trend: None,
        review: Review::default(),
        masked_text: text.into(),
        tokens: 7,
        provenance,
    };
    let case = Case::new(Feedback::from_text(id, ""), tags, second(1_760_000_000));
    Case { attributes: [("branch".to_owned(), "Казань".to_owned())].into(), ..case }
}

pub fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Unit vector at an angle in the first two coordinates; cosines between such vectors are cosines of differences.
pub fn at(degrees: f32) -> Vec<f32> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let mut vector = vec![0.0; DIMENSION];
    (vector[0], vector[1]) = (cos, sin);
    vector
}

pub fn new(case: Case, degrees: f32) -> NewCase {
    NewCase { case, vector: at(degrees), request_id: None }
}

pub fn tenant() -> TenantId {
    TenantId::default()
}

pub fn outcome(status: OutcomeStatus, gesture: Option<&str>) -> Outcome {
    Outcome {
        status,
        resolution: None,
        gesture_id: gesture.map(str::to_owned),
        cost: None,
        score_after: None,
        decided_at: None,
        decided_by: None,
    }
}

/// A search by text at an angle.
pub fn search(text: &str, degrees: f32, limit: usize) -> SimilarQuery {
    let to = SimilarTo::Text { vector: at(degrees), masked_text: text.into() };
    SimilarQuery { now: second(1_800_000_000), ..SimilarQuery::new(to, limit) }
}

/// A search by meaning alone, nothing folded.
pub fn near(degrees: f32, limit: usize) -> SimilarQuery {
    SimilarQuery { mode: SearchMode::Meaning, fold_duplicates: false, ..search("", degrees, limit) }
}

pub fn ids(found: &SimilarCases) -> Vec<&str> {
    found.hits.iter().map(|hit| hit.case.id.as_str()).collect()
}

pub fn by_ids(ids: &[&str]) -> CaseFilter {
    CaseFilter { ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..CaseFilter::default() }
}
