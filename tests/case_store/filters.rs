//! Every field that filters, alone and together, in counting, searching, listing and deleting.

use otklik::cases::{CaseFilter, OutcomeStatus, ScoreRange, SimilarQuery};
use otklik::feedback::{CharSpan, FeedbackKind, Score, ScoreMetric};
use otklik::tags::{
    Confidence, Evidence, Sentiment, SentimentLabel, SignalId, SignalTag, TagSource, TeamId, TopicId, TopicTag,
};

use crate::sample::*;
use crate::stores::places;

fn sentiment(label: SentimentLabel) -> Sentiment {
    Sentiment { label, score: 0.0, confidence: Confidence::ONE }
}

fn topic(id: &str) -> TopicTag {
    TopicTag {
        topic_id: TopicId::new(id),
        parent_id: None,
        confidence: Confidence::ONE,
        sentiment: sentiment(SentimentLabel::Neutral),
        source: TagSource::Rule,
        rule_id: None,
        neighbour_case_ids: vec![],
        evidence: evidence(),
    }
}

fn signal(id: &str) -> SignalTag {
    SignalTag {
        signal_id: SignalId::new(id),
        confidence: Confidence::ONE,
        source: TagSource::Rule,
        rule_id: None,
        detail: None,
        evidence: evidence(),
    }
}

fn evidence() -> Vec<Evidence> {
    vec![Evidence { turn: None, span: CharSpan::new(0, 1), weight: Confidence::ONE }]
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_mean_the_same_everywhere() {
    let stars = |value| Some(Score { metric: ScoreMetric::Stars, value, scale_max: 5.0 });
    let mut one = case("one", "первое");
    one.kind = Some(FeedbackKind::Complaint);
    one.channel = Some("call".into());
    one.product = Some("card".into());
    one.customer_id = Some("c-1".into());
    one.occurred_at = Some("2026-01-01T00:00:00.000001Z".parse().unwrap());
    one.score = stars(2.0);
    one.tags.topics = vec![topic("app"), topic("login")];
    one.tags.signals = vec![signal("churn_risk")];
    one.tags.team.team_id = TeamId::new("mobile");
    one.tags.sentiment = Some(sentiment(SentimentLabel::Negative));
    one.outcome = Some(outcome(OutcomeStatus::Solved, Some("refund")));
    let mut two = case("two", "второе");
    two.kind = Some(FeedbackKind::Review);
    two.channel = Some("chat".into());
    two.product = Some("loan".into());
    two.occurred_at = Some("2026-02-01T00:00:00Z".parse().unwrap());
    two.score = stars(4.5);
    two.tags.topics = vec![topic("login"), topic("fees")];
    two.tags.signals = vec![signal("gratitude"), signal("idea")];
    two.tags.team.team_id = TeamId::new("lending");
    two.tags.sentiment = Some(sentiment(SentimentLabel::Positive));
    two.outcome = Some(outcome(OutcomeStatus::Rejected, None));
    two.stored_at = second(1_770_000_000);
    let mut bare = case("bare", "третье");
    bare.score = Some(Score { metric: ScoreMetric::Nps, value: 2.0, scale_max: 10.0 });
    let all = [bare, one, two].map(|case| new(case, 0.0));

    let none = CaseFilter::default;
    let time = |text: &str| Some(text.parse().unwrap());
    let topics = |ids: &[&str]| ids.iter().map(|id| TopicId::new(*id)).collect::<Vec<_>>();
    let score = |metric, at_least, at_most| CaseFilter {
        score: Some(ScoreRange { metric, at_least, at_most }),
        ..CaseFilter::default()
    };
    let table: Vec<(CaseFilter, &[&str])> = vec![
        (none(), &["bare", "one", "two"]),
        (by_ids(&["one", "bare", "none"]), &["bare", "one"]),
        (CaseFilter { topics: topics(&["app"]), ..none() }, &["one"]),
        (CaseFilter { topics: topics(&["login"]), ..none() }, &["one", "two"]),
        (CaseFilter { topics: topics(&["app", "fees"]), ..none() }, &["one", "two"]),
        (CaseFilter { teams: vec![TeamId::new("lending")], ..none() }, &["two"]),
        (CaseFilter { signals: vec![SignalId::new("idea"), SignalId::new("outage")], ..none() }, &["two"]),
        (CaseFilter { kinds: vec![FeedbackKind::Complaint], ..none() }, &["one"]),
        (CaseFilter { kind_unknown: true, ..none() }, &["bare"]),
        (CaseFilter { channels: vec!["chat".into()], ..none() }, &["two"]),
        (CaseFilter { products: vec!["card".into()], ..none() }, &["one"]),
        (CaseFilter { sentiments: vec![SentimentLabel::Positive], ..none() }, &["two"]),
        (CaseFilter { customer_id: Some("c-1".into()), ..none() }, &["one"]),
        (CaseFilter { customer_id: Some("c-3".into()), ..none() }, &[]),
        (CaseFilter { occurred_from: time("2026-01-01T00:00:00.000001Z"), ..none() }, &["one", "two"]),
        (CaseFilter { occurred_from: time("2026-01-01T00:00:00.000002Z"), ..none() }, &["two"]),
        (CaseFilter { occurred_until: time("2026-02-01T00:00:00Z"), ..none() }, &["one"]),
        (CaseFilter { stored_until: Some(second(1_770_000_000)), ..none() }, &["bare", "one"]),
        (CaseFilter { statuses: vec![OutcomeStatus::Open], ..none() }, &["bare"]),
        (CaseFilter { statuses: vec![OutcomeStatus::Solved, OutcomeStatus::Rejected], ..none() }, &["one", "two"]),
        (CaseFilter { gestures: vec!["refund".into(), "gift".into()], ..none() }, &["one"]),
        (score(ScoreMetric::Stars, None, None), &["one", "two"]),
        (score(ScoreMetric::Stars, Some(2.0), Some(4.5)), &["one", "two"]),
        (score(ScoreMetric::Stars, Some(2.1), None), &["two"]),
        (score(ScoreMetric::Stars, None, Some(4.4)), &["one"]),
        (score(ScoreMetric::Nps, None, Some(6.0)), &["bare"]),
        (CaseFilter { topics: topics(&["login"]), products: vec!["loan".into()], ..none() }, &["two"]),
        (CaseFilter { topics: topics(&["app"]), products: vec!["loan".into()], ..none() }, &[]),
        (CaseFilter { corrected: Some(true), ..none() }, &[]),
        (CaseFilter { corrected: Some(false), ..none() }, &["bare", "one", "two"]),
    ];
    for place in places() {
        let store = place.open().await;
        store.upsert(&tenant(), all.to_vec()).await.unwrap();
        for (filter, expected) in &table {
            let shown = format!("{} {filter:?}", place.name());
            assert_eq!(store.count(&tenant(), filter).await.unwrap(), expected.len() as u64, "{shown}");
            for query in [near(0.0, 10), search("первое второе третье", 0.0, 10)] {
                let found =
                    store.find_similar(&tenant(), SimilarQuery { filter: filter.clone(), ..query }).await.unwrap();
                let mut found = ids(&found);
                found.sort_unstable();
                assert_eq!(found, *expected, "{shown}");
            }
            let page = store.page(&tenant(), filter, None, 10).await.unwrap();
            assert_eq!((page.cases.len(), page.next), (expected.len(), None), "{shown}");
            if *filter != CaseFilter::default() {
                assert_eq!(store.delete(&tenant(), filter).await.unwrap(), expected.len() as u64, "{shown}");
                assert_eq!(
                    store.count(&tenant(), &none()).await.unwrap(),
                    (all.len() - expected.len()) as u64,
                    "{shown}"
                );
                store.upsert(&tenant(), all.to_vec()).await.unwrap();
            }
        }
        store.close().await.unwrap();
    }
}
