//! Cases, filters and searches.

use tonic::Status;

use super::feedback::{check_id, check_text};
use super::outcomes::preferences;
use super::{Faults, enums, time};
use crate::cases::{Case, CaseFilter, Preferences, ScoreRange, SearchMode, UpsertOutcome};
use crate::config::LimitsConfig;
use crate::feedback::Score;
use crate::server::wire::v1::{self, find_similar_request};
use crate::tags::{SignalId, Tags, TeamId, TopicId};

/// How many similar cases are returned when a request does not say.
const DEFAULT_SIMILAR: usize = 10;

/// What a search looks for.
#[derive(Debug, PartialEq)]
pub(in crate::server) enum Wanted {
    Text(String),
    CaseId(String),
}

/// What a search may find.
#[derive(Debug, PartialEq)]
pub(in crate::server) struct SimilarBounds {
    pub(in crate::server) filter: CaseFilter,
    pub(in crate::server) limit: usize,
    pub(in crate::server) min_score: Option<f32>,
    pub(in crate::server) mode: SearchMode,
    pub(in crate::server) preferences: Preferences,
    pub(in crate::server) fold_duplicates: bool,
}

/// Checks a search.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn similar_search(
    message: v1::FindSimilarRequest,
    limits: &LimitsConfig,
) -> Result<(Wanted, SimilarBounds), Status> {
    let mut faults = Faults::default();
    let wanted = match message.query {
        Some(find_similar_request::Query::Text(text)) => {
            check_text(&text, "text", limits, &mut faults);
            Wanted::Text(text)
        }
        Some(find_similar_request::Query::CaseId(id)) => {
            check_id(&id, "case_id", limits, &mut faults);
            Wanted::CaseId(id)
        }
        None => return Err(Faults::one("query", "must be given: text or case_id")),
    };
    let limit = match usize::try_from(message.limit) {
        Ok(0) => DEFAULT_SIMILAR.min(limits.max_similar),
        Ok(limit) if limit <= limits.max_similar => limit,
        _ => {
            faults.add("limit", format!("must be from 1 to {} (limits.max_similar)", limits.max_similar));
            0
        }
    };
    if message.min_score.is_some_and(|score| !(-1.0..=1.0).contains(&score)) {
        faults.add("min_score", "must be from -1 to 1");
    }
    let filter = filter(message.filter.unwrap_or_default(), "filter", limits, &mut faults);
    let mode = enums::optional::<v1::SearchMode>(message.mode, "mode", &mut faults).unwrap_or(SearchMode::Hybrid);
    let preferences = preferences(message.preferences, &mut faults);
    let (min_score, fold_duplicates) = (message.min_score, !message.keep_duplicates);
    faults.or((wanted, SimilarBounds { filter, limit, min_score, mode, preferences, fold_duplicates }))
}

/// Checks what is to be deleted; never the empty filter.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn deletion(
    message: v1::DeleteCasesRequest,
    limits: &LimitsConfig,
) -> Result<CaseFilter, Status> {
    const RULE: &str = "exactly one of ids, customer_id and filter must be given";
    let mut faults = Faults::default();
    let by_ids = !message.ids.is_empty();
    let by_customer = !message.customer_id.is_empty();
    let wanted = match (by_ids, by_customer, message.filter) {
        (true, false, None) => {
            let ids = ids(message.ids, "ids", limits, &mut faults);
            CaseFilter { ids, ..CaseFilter::default() }
        }
        (false, true, None) => {
            check_id(&message.customer_id, "customer_id", limits, &mut faults);
            CaseFilter { customer_id: Some(message.customer_id), ..CaseFilter::default() }
        }
        (false, false, Some(given)) => {
            let wanted = filter(given, "filter", limits, &mut faults);
            if wanted == CaseFilter::default() {
                faults.add("filter", "must have a condition");
            }
            wanted
        }
        (false, false, None) => return Err(Faults::one("ids", RULE)),
        (true, _, _) => return Err(Faults::one("ids", RULE)),
        (false, true, Some(_)) => return Err(Faults::one("customer_id", RULE)),
    };
    faults.or(wanted)
}

pub(super) fn filter(given: v1::CaseFilter, path: &str, limits: &LimitsConfig, faults: &mut Faults) -> CaseFilter {
    let at = |field: &str| format!("{path}.{field}");
    let listed_enums =
        [(given.kinds.len(), "kinds"), (given.sentiments.len(), "sentiments"), (given.statuses.len(), "statuses")];
    for (count, field) in listed_enums {
        check_count(count, &at(field), limits, faults);
    }
    let mut listed = |values: Vec<String>, field: &str| ids(values, &at(field), limits, faults);
    let ids = listed(given.ids, "ids");
    let topics = listed(given.topic_ids, "topic_ids");
    let teams = listed(given.team_ids, "team_ids");
    let signals = listed(given.signal_ids, "signal_ids");
    let channels = listed(given.channels, "channels");
    let products = listed(given.products, "products");
    let gestures = listed(given.gesture_ids, "gesture_ids");
    let kinds = given.kinds.into_iter().enumerate();
    let kinds = kinds
        .filter_map(|(index, kind)| enums::required::<v1::FeedbackKind>(kind, &at(&format!("kinds[{index}]")), faults));
    let kinds = kinds.collect();
    let sentiments = given.sentiments.into_iter().enumerate();
    let sentiments = sentiments.filter_map(|(index, label)| {
        enums::required::<v1::SentimentLabel>(label, &at(&format!("sentiments[{index}]")), faults)
    });
    let sentiments = sentiments.collect();
    let statuses = given.statuses.into_iter().enumerate();
    let statuses = statuses.filter_map(|(index, status)| {
        enums::required::<v1::OutcomeStatus>(status, &at(&format!("statuses[{index}]")), faults)
    });
    let statuses = statuses.collect();
    let score = given.score.and_then(|range| score_range(range, &at("score"), faults));
    let customer_id = (!given.customer_id.is_empty()).then_some(given.customer_id);
    if let Some(id) = &customer_id {
        check_id(id, &at("customer_id"), limits, faults);
    }
    let occurred_from = time::timestamp(given.occurred_from, &at("occurred_from"), faults);
    let occurred_until = time::timestamp(given.occurred_until, &at("occurred_until"), faults);
    if let (Some(from), Some(until)) = (occurred_from, occurred_until)
        && from >= until
    {
        faults.add(at("occurred_until"), format!("must lie after {path}.occurred_from"));
    }
    CaseFilter {
        ids,
        topics: topics.into_iter().map(TopicId::new).collect(),
        teams: teams.into_iter().map(TeamId::new).collect(),
        signals: signals.into_iter().map(SignalId::new).collect(),
        kinds,
        channels,
        products,
        sentiments,
        customer_id,
        occurred_from,
        occurred_until,
        statuses,
        gestures,
        score,
        corrected: given.corrected,
        ..CaseFilter::default()
    }
}

fn score_range(given: v1::ScoreRange, path: &str, faults: &mut Faults) -> Option<ScoreRange> {
    let v1::ScoreRange { metric, at_least, at_most } = given;
    let at = |field: &str| format!("{path}.{field}");
    for (bound, field) in [(at_least, "at_least"), (at_most, "at_most")] {
        if bound.is_some_and(|bound| !bound.is_finite()) {
            faults.add(at(field), "must be a finite number");
        }
    }
    if at_least.zip(at_most).is_some_and(|(least, most)| least > most) {
        faults.add(at("at_most"), format!("must not lie below {path}.at_least"));
    }
    let metric = enums::required::<v1::ScoreMetric>(metric, &at("metric"), faults)?;
    Some(ScoreRange { metric, at_least, at_most })
}

fn ids(values: Vec<String>, path: &str, limits: &LimitsConfig, faults: &mut Faults) -> Vec<String> {
    if check_count(values.len(), path, limits, faults) {
        for (index, value) in values.iter().enumerate() {
            check_id(value, &format!("{path}[{index}]"), limits, faults);
        }
    }
    values
}

fn check_count(count: usize, path: &str, limits: &LimitsConfig, faults: &mut Faults) -> bool {
    let most = limits.max_filter_values;
    if count > most {
        faults.add(path, format!("must be at most {most} values (limits.max_filter_values), not {count}"));
    }
    count <= most
}

/// A case as it was stored.
pub(in crate::server) fn stored_case(outcome: UpsertOutcome, tags: Tags) -> v1::StoredCase {
    v1::StoredCase { outcome: v1::UpsertOutcome::from(outcome).into(), tags: Some(tags.into()) }
}

impl From<Case> for v1::Case {
    fn from(case: Case) -> Self {
        // The text stands once: in the case itself.
        let tags = v1::Tags { masked_text: String::new(), ..case.tags.into() };
        Self {
            id: case.id,
            kind: case.kind.map(v1::FeedbackKind::from).unwrap_or_default().into(),
            masked_text: case.masked_text,
            channel: case.channel.unwrap_or_default(),
            touchpoint: case.touchpoint.unwrap_or_default(),
            product: case.product.unwrap_or_default(),
            partner: case.partner.unwrap_or_default(),
            customer_id: case.customer_id.unwrap_or_default(),
            score: case.score.map(Into::into),
            occurred_at: case.occurred_at.map(time::to_wire),
            stored_at: Some(time::to_wire(case.stored_at)),
            tags: Some(tags),
            attributes: case.attributes.into_iter().collect(),
            correction: case.correction.map(Into::into),
            outcome: case.outcome.map(Into::into),
            links: case.links.into_iter().map(Into::into).collect(),
            // Sealed; whoever may read it opens it.
            original_text: String::new(),
        }
    }
}

impl From<Score> for v1::Score {
    fn from(score: Score) -> Self {
        Self { metric: v1::ScoreMetric::from(score.metric).into(), value: score.value, scale_max: score.scale_max }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    fn limits() -> LimitsConfig {
        LimitsConfig {
            max_filter_values: 2,
            max_similar: 7,
            max_id_chars: 8,
            max_text_chars: 20,
            ..LimitsConfig::default()
        }
    }

    fn second(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn fields_of(status: &Status) -> Vec<String> {
        status
            .get_details_bad_request()
            .unwrap()
            .field_violations
            .into_iter()
            .map(|violation| violation.field)
            .collect()
    }

    #[test]
    fn a_deletion_names_exactly_one_way() {
        let ids = || vec!["a".to_owned()];
        let filtered = |filter| v1::DeleteCasesRequest { filter: Some(filter), ..Default::default() };
        let by = |ids, customer: &str, filter| v1::DeleteCasesRequest {
            ids,
            customer_id: customer.into(),
            filter,
            request_id: String::new(),
        };
        for (message, field) in [
            (by(vec![], "", None), "ids"),
            (by(ids(), "c", None), "ids"),
            (by(vec![], "c", Some(v1::CaseFilter::default())), "customer_id"),
            (by(vec!["a".into(), "b".into(), "c".into()], "", None), "ids"),
            (by(vec![String::new()], "", None), "ids[0]"),
            (filtered(v1::CaseFilter::default()), "filter"),
            (filtered(v1::CaseFilter { kinds: vec![0], ..Default::default() }), "filter.kinds[0]"),
        ] {
            let shown = format!("{message:?}");
            let status = deletion(message, &limits()).expect_err(&shown);
            assert_eq!(fields_of(&status)[0], field, "{shown}");
        }
        let wanted = deletion(by(ids(), "", None), &limits()).unwrap();
        assert_eq!(wanted, CaseFilter { ids: ids(), ..CaseFilter::default() });
        let wanted = deletion(by(vec![], "c", None), &limits()).unwrap();
        assert_eq!(wanted, CaseFilter { customer_id: Some("c".into()), ..CaseFilter::default() });
    }

    #[test]
    fn a_filter_arrives_whole() {
        let given = v1::CaseFilter {
            ids: vec!["i".into()],
            topic_ids: vec!["t".into()],
            team_ids: vec!["m".into()],
            signal_ids: vec!["s".into()],
            kinds: vec![v1::FeedbackKind::Review.into()],
            channels: vec!["c".into()],
            products: vec!["p".into()],
            sentiments: vec![v1::SentimentLabel::Negative.into()],
            customer_id: "k".into(),
            occurred_from: second(1),
            occurred_until: second(2),
            corrected: Some(true),
            statuses: vec![v1::OutcomeStatus::Solved.into()],
            gesture_ids: vec!["g".into()],
            score: Some(v1::ScoreRange {
                metric: v1::ScoreMetric::Nps.into(),
                at_least: Some(0.0),
                at_most: Some(6.0),
            }),
        };
        let expected = CaseFilter {
            ids: vec!["i".into()],
            topics: vec![TopicId::new("t")],
            teams: vec![TeamId::new("m")],
            signals: vec![SignalId::new("s")],
            kinds: vec![crate::feedback::FeedbackKind::Review],
            channels: vec!["c".into()],
            products: vec!["p".into()],
            sentiments: vec![crate::tags::SentimentLabel::Negative],
            customer_id: Some("k".into()),
            occurred_from: jiff::Timestamp::from_second(1).ok(),
            occurred_until: jiff::Timestamp::from_second(2).ok(),
            statuses: vec![crate::cases::OutcomeStatus::Solved],
            gestures: vec!["g".into()],
            score: Some(ScoreRange {
                metric: crate::feedback::ScoreMetric::Nps,
                at_least: Some(0.0),
                at_most: Some(6.0),
            }),
            corrected: Some(true),
            ..CaseFilter::default()
        };
        let mut faults = Faults::default();
        assert_eq!(filter(given, "filter", &limits(), &mut faults), expected);
        faults.or(()).unwrap();
    }

    #[test]
    fn a_search_is_checked_field_by_field() {
        use find_similar_request::Query;
        let search = |query| v1::FindSimilarRequest { query: Some(query), ..Default::default() };
        let text = || Query::Text("не работает".into());
        let scored = |at_least, at_most, metric| v1::CaseFilter {
            score: Some(v1::ScoreRange { metric, at_least: Some(at_least), at_most: Some(at_most) }),
            ..Default::default()
        };
        let stars = v1::ScoreMetric::Stars.into();
        let backwards = v1::CaseFilter { occurred_from: second(2), occurred_until: second(2), ..Default::default() };
        for (message, field) in [
            (v1::FindSimilarRequest::default(), "query"),
            (search(Query::Text(" ".into())), "text"),
            (search(Query::Text("x".repeat(21))), "text"),
            (search(Query::CaseId(String::new())), "case_id"),
            (v1::FindSimilarRequest { limit: 8, ..search(text()) }, "limit"),
            (v1::FindSimilarRequest { min_score: Some(1.5), ..search(text()) }, "min_score"),
            (v1::FindSimilarRequest { min_score: Some(f32::NAN), ..search(text()) }, "min_score"),
            (v1::FindSimilarRequest { filter: Some(backwards), ..search(text()) }, "filter.occurred_until"),
            (
                v1::FindSimilarRequest { filter: Some(scored(2.0, 1.0, stars)), ..search(text()) },
                "filter.score.at_most",
            ),
            (v1::FindSimilarRequest { filter: Some(scored(1.0, 2.0, 0)), ..search(text()) }, "filter.score.metric"),
            (v1::FindSimilarRequest { mode: 9, ..search(text()) }, "mode"),
            (
                v1::FindSimilarRequest {
                    preferences: Some(v1::Preferences { solved: false, half_life_days: Some(0.0) }),
                    ..search(text())
                },
                "preferences.half_life_days",
            ),
        ] {
            let shown = format!("{message:?}");
            let status = similar_search(message, &limits()).expect_err(&shown);
            assert_eq!(fields_of(&status), [field], "{shown}");
        }
        let (wanted, bounds) = similar_search(search(Query::CaseId("a".into())), &limits()).unwrap();
        assert_eq!(wanted, Wanted::CaseId("a".into()));
        let expected = SimilarBounds {
            filter: CaseFilter::default(),
            limit: 7,
            min_score: None,
            mode: SearchMode::Hybrid,
            preferences: Preferences::default(),
            fold_duplicates: true,
        };
        assert_eq!(bounds, expected);
    }
}
