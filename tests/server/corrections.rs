//! `CaseService`: what persons correct, and what they should look at.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use otklik::assembly::recall_corrections;
use otklik::cases::TenantId;
use otklik::config::Config;
use otklik::server::wire::v1;
use otklik::tagging::{Party, Tagger, Urgency};
use tonic::Code;

use crate::fakes::{FakeTagger, PERSONAL};
use crate::{Service, blamed, classify, feedback};

const TEXT: &str = "карта не пришла, курьер не приехал";
const SAME: &str = "Карта не пришла, курьер не приехал!";

fn upsert(items: impl IntoIterator<Item = v1::Feedback>) -> v1::UpsertCasesRequest {
    let items =
        items.into_iter().map(|feedback| v1::UpsertCasesItem { feedback: Some(feedback), ..Default::default() });
    v1::UpsertCasesRequest { items: items.collect(), request_id: String::new() }
}

fn set(topics: &[&str]) -> Option<v1::TopicSet> {
    Some(v1::TopicSet { topic_ids: topics.iter().map(|topic| (*topic).to_owned()).collect() })
}

fn correct(id: &str, topics: &[&str]) -> v1::CorrectTagsRequest {
    v1::CorrectTagsRequest { case_id: id.into(), topics: set(topics), ..Default::default() }
}

fn topics(tags: &v1::Tags) -> Vec<&str> {
    tags.topics.iter().map(|topic| topic.topic_id.as_str()).collect()
}

async fn tags_of(service: &Service, text: &str) -> v1::Tags {
    service.tagging().await.classify(classify(text)).await.unwrap().into_inner().tags.unwrap()
}

#[tokio::test]
async fn a_correction_is_kept_beside_the_tags_and_the_next_text_like_it_profits() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    client.upsert_cases(upsert([feedback("1", TEXT), feedback("2", "zzz")])).await.unwrap();
    let before = tags_of(&service, SAME).await;
    assert_eq!(topics(&before), ["payments_transfers"]);
    assert_eq!(before.provenance.unwrap().corrections_version, "");

    let request = v1::CorrectTagsRequest {
        team_id: Some("logistics".into()),
        sentiment: Some(v1::SentimentLabel::Neutral.into()),
        note: format!("звонили {PERSONAL}"),
        corrected_by: "operator-7".into(),
        ..correct("1", &["card_delivery"])
    };
    let case = client.correct_tags(request).await.unwrap().into_inner();
    let correction = case.correction.as_ref().unwrap();
    assert_eq!((correction.topics.clone(), correction.team_id()), (set(&["card_delivery"]), "logistics"));
    assert_eq!((correction.sentiment(), correction.corrected_by.as_str()), (v1::SentimentLabel::Neutral, "operator-7"));
    assert!(correction.corrected_at.is_some() && !correction.note.contains(PERSONAL), "{correction:?}");
    assert_eq!(topics(case.tags.as_ref().unwrap()), ["payments_transfers"], "what the models said stays");

    let after = tags_of(&service, SAME).await;
    assert_eq!(topics(&after), ["card_delivery"]);
    assert_eq!(after.topics[0].source(), v1::TagSource::Neighbour);
    assert_eq!(after.topics[0].neighbour_case_ids, ["1"]);
    assert!(after.provenance.as_ref().unwrap().corrections_version.starts_with("1-"));
    assert_eq!(tags_of(&service, SAME).await, after, "same versions, same answer");
    assert_eq!(topics(&tags_of(&service, "zzz").await), ["payments_transfers"]);

    // What is not given again stays.
    let again = client.correct_tags(correct("1", &[])).await.unwrap().into_inner().correction.unwrap();
    assert_eq!((again.topics.clone(), again.team_id()), (set(&[]), "logistics"));
    assert!(topics(&tags_of(&service, SAME).await).is_empty());
}

#[tokio::test]
async fn a_restart_recalls_corrections_and_deletion_forgets_them() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    client.upsert_cases(upsert([feedback("1", TEXT), feedback("2", "zzz")])).await.unwrap();
    client.correct_tags(correct("1", &["card_delivery"])).await.unwrap();

    let fresh = Arc::new(FakeTagger::default());
    let recalled = recall_corrections(&Config::default(), &*fresh, &*service.store).await.unwrap();
    assert_eq!(recalled, 1);
    let party = Party::from(&TenantId::default());
    let urgency = Urgency { party, ..Urgency::default() };
    let tagged = fresh.tag(otklik::feedback::Feedback::from_text("f", SAME), urgency).await.unwrap();
    assert_eq!(tagged.tags.topics[0].topic_id.as_str(), "card_delivery");

    let by_id = v1::DeleteCasesRequest { ids: vec!["1".into()], ..Default::default() };
    assert_eq!(client.delete_cases(by_id).await.unwrap().into_inner().deleted_count, 1);
    assert_eq!(topics(&tags_of(&service, SAME).await), ["payments_transfers"]);
}

#[tokio::test]
async fn storing_a_case_anew_keeps_its_correction_and_teaches_its_new_text() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    client.upsert_cases(upsert([feedback("1", "zzz")])).await.unwrap();
    client.correct_tags(correct("1", &["card_delivery"])).await.unwrap();
    assert_eq!(topics(&tags_of(&service, SAME).await), ["payments_transfers"]);
    client.upsert_cases(upsert([feedback("1", TEXT)])).await.unwrap();
    assert_eq!(topics(&tags_of(&service, SAME).await), ["card_delivery"]);
    let get = v1::GetCaseRequest { id: "1".into(), ..Default::default() };
    let case = client.get_case(get).await.unwrap().into_inner();
    assert_eq!((case.masked_text.as_str(), case.correction.unwrap().topics), (TEXT, set(&["card_delivery"])));
}

#[tokio::test]
async fn faulty_corrections_name_their_fields_and_teach_nothing() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    client.upsert_cases(upsert([feedback("1", TEXT)])).await.unwrap();
    let team =
        |team: &str| v1::CorrectTagsRequest { case_id: "1".into(), team_id: Some(team.into()), ..Default::default() };
    let table = [
        (v1::CorrectTagsRequest { case_id: "1".into(), ..Default::default() }, vec!["topics"]),
        (correct("", &["card_delivery"]), vec!["case_id"]),
        (correct("1", &["card_delivery", "unknown"]), vec!["topics.topic_ids[1]"]),
        (correct("1", &["card_delivery", "card_delivery"]), vec!["topics.topic_ids[1]"]),
        (team("unknown"), vec!["team_id"]),
        (v1::CorrectTagsRequest { sentiment: Some(0), ..correct("1", &[]) }, vec!["sentiment"]),
        (v1::CorrectTagsRequest { note: "x".repeat(2_001), ..correct("1", &[]) }, vec!["note"]),
        (v1::CorrectTagsRequest { corrected_by: "x".repeat(129), ..correct("1", &[]) }, vec!["corrected_by"]),
    ];
    for (request, fields) in table {
        let shown = format!("{request:?}");
        let status = client.correct_tags(request).await.expect_err(&shown);
        assert_eq!(
            (status.code(), blamed(&status)),
            (Code::InvalidArgument, fields.into_iter().map(str::to_owned).collect()),
            "{shown}"
        );
    }
    let missing = client.correct_tags(correct("none", &["card_delivery"])).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(topics(&tags_of(&service, SAME).await), ["payments_transfers"]);
    service.store.busy.store(true, Ordering::SeqCst);
    let busy = client.correct_tags(correct("1", &["card_delivery"])).await.unwrap_err();
    assert_eq!(busy.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn cases_for_review_come_without_corrected_ones_and_within_bounds() {
    let service = Service::with(|config| config.cases.review_scan = 3).await;
    let mut client = service.cases().await;
    let texts = ["aaa", "bbb", "ccc", "ddd", "eee"];
    let items = texts.iter().enumerate().map(|(id, text)| feedback(&id.to_string(), text));
    client.upsert_cases(upsert(items)).await.unwrap();
    client.correct_tags(correct("0", &["card_delivery"])).await.unwrap();
    let ask = |order: v1::ReviewOrder, limit: u32| v1::ListForReviewRequest {
        order: order.into(),
        limit,
        ..Default::default()
    };
    for order in [v1::ReviewOrder::LeastSure, v1::ReviewOrder::MostWorthLabelling] {
        let listed = client.list_for_review(ask(order, 10)).await.unwrap().into_inner().cases;
        let ids: Vec<String> = listed.iter().map(|listed| listed.case.as_ref().unwrap().id.clone()).collect();
        assert_eq!(ids.len(), 3, "no more than cases.review_scan: {ids:?}");
        assert!(!ids.contains(&"0".to_owned()), "{ids:?}");
        assert!(listed.iter().all(|listed| (0.0..=1.0).contains(&listed.score) && !listed.reasons.is_empty()));
        assert_eq!(client.list_for_review(ask(order, 2)).await.unwrap().into_inner().cases.len(), 2);
    }
    let corrected = v1::CaseFilter { corrected: Some(true), ..Default::default() };
    for (request, field) in [
        (ask(v1::ReviewOrder::Unspecified, 1), "order"),
        (ask(v1::ReviewOrder::LeastSure, 101), "limit"),
        (
            v1::ListForReviewRequest { filter: Some(corrected), ..ask(v1::ReviewOrder::LeastSure, 1) },
            "filter.corrected",
        ),
    ] {
        let status = client.list_for_review(request).await.unwrap_err();
        assert_eq!(blamed(&status), [field]);
    }
}
