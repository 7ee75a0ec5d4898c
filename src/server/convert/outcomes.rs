//! What became of cases, and which belong together.

use tonic::Status;

use super::feedback::{check_id, score};
use super::{Faults, enums, time};
use crate::cases::{CaseLink, Erasure, MatchedBy, Outcome, OutcomeGroup, Preferences, SimilarCase};
use crate::config::LimitsConfig;
use crate::server::wire::v1;
use crate::tags::TopicId;
use crate::text::prepare;

/// The most links of one case.
const MAX_LINKS: usize = 100;

/// Checks what became of a case; gives back the case's id and its links too.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn recorded_outcome(
    message: v1::RecordOutcomeRequest,
    limits: &LimitsConfig,
) -> Result<(String, Outcome, Option<Vec<CaseLink>>), Status> {
    let mut faults = Faults::default();
    check_id(&message.case_id, "case_id", limits, &mut faults);
    let links = message.links.map(|set| links(set.links, "links.links", &message.case_id, limits, &mut faults));
    let found = match message.outcome {
        Some(given) => outcome(given, "outcome", limits, &mut faults),
        None => {
            faults.add("outcome", "must be given");
            None
        }
    };
    match found {
        Some(found) => faults.or((message.case_id, found, links)),
        None => Err(faults.or(()).err().unwrap_or_else(|| Faults::one("outcome", "must be given"))),
    }
}

/// Checks an outcome; `None` if a fault was told.
pub(in crate::server) fn outcome(
    given: v1::Outcome,
    path: &str,
    limits: &LimitsConfig,
    faults: &mut Faults,
) -> Option<Outcome> {
    let at = |field: &str| format!("{path}.{field}");
    let status = enums::required::<v1::OutcomeStatus>(given.status, &at("status"), faults);
    let most = limits.max_attribute_chars;
    if given.resolution.chars().nth(most).is_some() {
        faults.add(at("resolution"), format!("must be at most {most} characters (limits.max_attribute_chars)"));
    }
    for (id, field) in [(&given.gesture_id, "gesture_id"), (&given.decided_by, "decided_by")] {
        if !id.is_empty() {
            check_id(id, &at(field), limits, faults);
        }
    }
    if given.cost.is_some_and(|cost| !cost.is_finite() || cost < 0.0) {
        faults.add(at("cost"), "must be a number, 0 or more");
    }
    let score_after = given.score_after.and_then(|given| score(given, &at("score_after"), faults));
    let decided_at = time::timestamp(given.decided_at, &at("decided_at"), faults);
    let words = |text: String| (!text.trim().is_empty()).then_some(text);
    Some(Outcome {
        status: status?,
        resolution: words(given.resolution).map(|text| prepare(&text).clean().to_owned()),
        gesture_id: words(given.gesture_id),
        cost: given.cost,
        score_after,
        decided_at,
        decided_by: words(given.decided_by),
    })
}

/// Checks the links of a case.
pub(in crate::server) fn links(
    given: Vec<v1::CaseLink>,
    path: &str,
    own_id: &str,
    limits: &LimitsConfig,
    faults: &mut Faults,
) -> Vec<CaseLink> {
    if given.len() > MAX_LINKS {
        faults.add(path, format!("must be at most {MAX_LINKS} links, not {}", given.len()));
        return Vec::new();
    }
    let mut links: Vec<CaseLink> = Vec::with_capacity(given.len());
    for (index, link) in given.into_iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        check_id(&link.case_id, &at("case_id"), limits, faults);
        if !own_id.is_empty() && link.case_id == own_id {
            faults.add(at("case_id"), "must be another case");
        }
        let Some(kind) = enums::required::<v1::LinkKind>(link.kind, &at("kind"), faults) else { continue };
        let link = CaseLink { case_id: link.case_id, kind };
        if !links.contains(&link) {
            links.push(link);
        }
    }
    links
}

/// Checks preferences.
pub(in crate::server) fn preferences(given: Option<v1::Preferences>, faults: &mut Faults) -> Preferences {
    let Some(v1::Preferences { solved, half_life_days }) = given else { return Preferences::default() };
    if half_life_days.is_some_and(|days| !(days.is_finite() && days > 0.0)) {
        faults.add("preferences.half_life_days", "must be a number above 0");
    }
    Preferences { solved, half_life_days }
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        Self {
            status: v1::OutcomeStatus::from(outcome.status).into(),
            resolution: outcome.resolution.unwrap_or_default(),
            gesture_id: outcome.gesture_id.unwrap_or_default(),
            cost: outcome.cost,
            score_after: outcome.score_after.map(Into::into),
            decided_at: outcome.decided_at.map(time::to_wire),
            decided_by: outcome.decided_by.unwrap_or_default(),
        }
    }
}

impl From<CaseLink> for v1::CaseLink {
    fn from(link: CaseLink) -> Self {
        Self { case_id: link.case_id, kind: v1::LinkKind::from(link.kind).into() }
    }
}

impl From<OutcomeGroup> for v1::OutcomeGroup {
    fn from(group: OutcomeGroup) -> Self {
        Self {
            status: v1::OutcomeStatus::from(group.status).into(),
            gesture_id: group.gesture_id.unwrap_or_default(),
            count: u32::try_from(group.count).unwrap_or(u32::MAX),
            mean_cost: group.mean_cost,
            case_ids: group.case_ids,
        }
    }
}

impl From<Erasure> for v1::ErasureReceipt {
    fn from(erasure: Erasure) -> Self {
        Self {
            id: erasure.id,
            customer_id_sha256: erasure.customer_id_sha256,
            erased_at: Some(time::to_wire(erasure.erased_at)),
            case_ids: erasure.case_ids,
            snapshots: erasure.snapshots,
        }
    }
}

/// A hit; `topics` are those of what was looked for.
pub(in crate::server) fn similar_case(found: SimilarCase, topics: &[TopicId]) -> v1::SimilarCase {
    let SimilarCase { case, score, rank_score, matched_by, duplicate_ids } = found;
    let MatchedBy { meaning_rank, words_rank, words } = matched_by;
    let common = case.topic_ids().into_iter().filter(|topic| topics.contains(topic));
    let matched_by = v1::MatchedBy {
        meaning_rank: meaning_rank.unwrap_or_default(),
        words_rank: words_rank.unwrap_or_default(),
        words: words.into_iter().map(Into::into).collect(),
        topic_ids: common.map(|topic| topic.as_str().to_owned()).collect(),
    };
    v1::SimilarCase { case: Some(case.into()), score, rank_score, matched_by: Some(matched_by), duplicate_ids }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    fn limits() -> LimitsConfig {
        LimitsConfig { max_id_chars: 8, max_attribute_chars: 60, ..LimitsConfig::default() }
    }

    fn solved() -> v1::Outcome {
        v1::Outcome { status: v1::OutcomeStatus::Solved.into(), ..Default::default() }
    }

    fn request(outcome: v1::Outcome) -> v1::RecordOutcomeRequest {
        v1::RecordOutcomeRequest { case_id: "1".into(), outcome: Some(outcome), ..Default::default() }
    }

    #[test]
    fn an_outcome_arrives_whole_and_masked() {
        let link = v1::CaseLink { case_id: "2".into(), kind: v1::LinkKind::FollowUp.into() };
        let given = v1::RecordOutcomeRequest {
            links: Some(v1::LinkSet { links: vec![link.clone(), link] }),
            ..request(v1::Outcome {
                resolution: "вернули 200 рублей, звонили на +7 912 345-67-89".into(),
                gesture_id: "refund".into(),
                cost: Some(200.0),
                ..solved()
            })
        };
        let (id, outcome, links) = recorded_outcome(given, &limits()).unwrap();
        assert_eq!((id.as_str(), links.unwrap().len()), ("1", 1));
        assert_eq!(outcome.resolution.as_deref(), Some("вернули 200 рублей, звонили на [PHONE_1]"));
        assert_eq!((outcome.gesture_id.as_deref(), outcome.cost), (Some("refund"), Some(200.0)));
    }

    #[test]
    fn each_fault_is_told_under_its_field() {
        let linked = |case_id: &str, kind| v1::RecordOutcomeRequest {
            links: Some(v1::LinkSet { links: vec![v1::CaseLink { case_id: case_id.into(), kind }] }),
            ..request(solved())
        };
        for (given, field) in [
            (v1::RecordOutcomeRequest { case_id: "1".into(), ..Default::default() }, "outcome"),
            (request(v1::Outcome::default()), "outcome.status"),
            (request(v1::Outcome { cost: Some(-1.0), ..solved() }), "outcome.cost"),
            (request(v1::Outcome { cost: Some(f64::NAN), ..solved() }), "outcome.cost"),
            (request(v1::Outcome { gesture_id: "девятьсим".into(), ..solved() }), "outcome.gesture_id"),
            (request(v1::Outcome { resolution: "x".repeat(61), ..solved() }), "outcome.resolution"),
            (linked("1", 1), "links.links[0].case_id"),
            (linked("2", 0), "links.links[0].kind"),
        ] {
            let shown = format!("{given:?}");
            let status = recorded_outcome(given, &limits()).expect_err(&shown);
            let violations = status.get_details_bad_request().unwrap().field_violations;
            assert_eq!(violations.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), [field], "{shown}");
        }
    }
}
