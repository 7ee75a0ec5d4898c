//! `CaseService`: keep, read, find, erase.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use otklik::cases::TenantId;
use otklik::config::KeptTexts;
use otklik::server::wire::v1;
use otklik::server::wire::v1::{find_similar_request, upsert_cases_result};
use tonic::Code;
use tonic_types::StatusExt;

use crate::fakes::PERSONAL;
use crate::{Service, blamed, classify, eventually, feedback};

fn upsert(items: impl IntoIterator<Item = v1::Feedback>) -> v1::UpsertCasesRequest {
    let items =
        items.into_iter().map(|feedback| v1::UpsertCasesItem { feedback: Some(feedback), ..Default::default() });
    v1::UpsertCasesRequest { items: items.collect(), request_id: String::new() }
}

fn get(id: &str) -> v1::GetCaseRequest {
    v1::GetCaseRequest { id: id.into(), ..Default::default() }
}

fn outcome(result: &v1::UpsertCasesResult) -> Result<v1::UpsertOutcome, i32> {
    match result.result.as_ref().expect("a result is always there") {
        upsert_cases_result::Result::Stored(stored) => Ok(stored.outcome()),
        upsert_cases_result::Result::Error(error) => Err(error.code),
    }
}

#[tokio::test]
async fn a_case_is_kept_masked_and_comes_back_whole() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    let given = v1::Feedback {
        kind: v1::FeedbackKind::Complaint.into(),
        channel: "chat".into(),
        touchpoint: "push".into(),
        product: "card".into(),
        partner: "shop".into(),
        customer_id: "c1".into(),
        score: Some(v1::Score { metric: v1::ScoreMetric::Nps.into(), value: 3.0, scale_max: 0.0 }),
        occurred_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5 }),
        attributes: [("region".to_owned(), "77".to_owned())].into(),
        ..feedback("case-1", &format!("Где перевод? {PERSONAL}"))
    };
    let results = client.upsert_cases(upsert([given.clone()])).await.unwrap().into_inner().results;
    assert_eq!(outcome(&results[0]), Ok(v1::UpsertOutcome::Created));
    let case = client.get_case(get("case-1")).await.unwrap().into_inner();
    assert_eq!(case.masked_text, "Где перевод? [PHONE]");
    assert_eq!((case.kind, &case.channel, &case.touchpoint), (given.kind, &given.channel, &given.touchpoint));
    assert_eq!((&case.product, &case.partner, &case.customer_id), (&given.product, &given.partner, &given.customer_id));
    assert_eq!(case.score.unwrap().scale_max, 10.0);
    assert_eq!((case.occurred_at, &case.attributes), (given.occurred_at, &given.attributes));
    assert!(case.stored_at.unwrap().seconds > 1_700_000_000);
    let tags = case.tags.unwrap();
    assert_eq!((tags.id.as_str(), tags.masked_text.as_str(), tags.topics.len()), ("case-1", "", 1));

    let kept = format!("{:?}", service.store.cases.lock().unwrap());
    assert!(kept.contains("[PHONE]") && !kept.contains(PERSONAL), "{kept}");
    let tenants: Vec<_> = service.store.cases.lock().unwrap().keys().map(|(tenant, _)| tenant.clone()).collect();
    assert_eq!(tenants, [TenantId::default()]);

    let results = client.upsert_cases(upsert([given])).await.unwrap().into_inner().results;
    assert_eq!(outcome(&results[0]), Ok(v1::UpsertOutcome::Replaced));
}

#[tokio::test]
async fn faulty_items_keep_their_faults_and_the_others_are_stored() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    let items =
        [feedback("a", "ok"), feedback("b", ""), feedback("a", "again"), feedback("", "no id"), feedback("c", "panic")];
    let results = client.upsert_cases(upsert(items)).await.unwrap().into_inner().results;
    let outcomes: Vec<_> = results.iter().map(outcome).collect();
    let created = Ok(v1::UpsertOutcome::Created);
    let (invalid, internal) = (Err(Code::InvalidArgument as i32), Err(Code::Internal as i32));
    assert_eq!(outcomes, [created, invalid, invalid, created, internal]);
    let Some(upsert_cases_result::Result::Error(error)) = &results[2].result else { panic!("no error") };
    assert_eq!(error.message, "items[2].feedback.id: must stand in one item only, and stands in items[0] already");
    assert_eq!(client.get_case(get("a")).await.unwrap().into_inner().masked_text, "ok");
    let made = &results[3].id;
    assert_eq!(made.len(), 36, "a made id: {made}");
    assert_eq!(client.get_case(get(made)).await.unwrap().into_inner().masked_text, "no id");
    assert_eq!(service.store.cases.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn similar_cases_are_found_by_text_and_by_case() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    let on = |channel: &str, feedback: v1::Feedback| v1::Feedback { channel: channel.into(), ..feedback };
    let items = [
        on("chat", feedback("a1", "aaa")),
        on("call", feedback("a2", "aab")),
        on("chat", feedback("z1", "zzz")),
        on("chat", feedback("b1", "bbb")),
    ];
    client.upsert_cases(upsert(items)).await.unwrap();
    let mut find = async |query, adjust: fn(&mut v1::FindSimilarRequest)| {
        let mut request = v1::FindSimilarRequest { query: Some(query), ..Default::default() };
        adjust(&mut request);
        let found = client.find_similar(request).await.unwrap().into_inner().cases;
        found.into_iter().map(|found| (found.case.unwrap().id, found.score)).collect::<Vec<_>>()
    };
    let text = || find_similar_request::Query::Text("a question".into());
    let case = || find_similar_request::Query::CaseId("a1".into());
    let ids = |found: &[(String, f32)]| found.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();

    let found = find(text(), |_| {}).await;
    assert_eq!(ids(&found), ["a1", "a2", "b1", "z1"]);
    assert!(found[0].1 > 0.999 && found[2].1 > found[3].1, "{found:?}");
    assert_eq!(ids(&find(case(), |_| {}).await), ["a2", "b1", "z1"]);
    assert_eq!(ids(&find(text(), |request| request.limit = 2).await), ["a1", "a2"]);
    assert_eq!(ids(&find(text(), |request| request.min_score = Some(0.999)).await).len(), 3);
    let on_calls = |request: &mut v1::FindSimilarRequest| {
        request.filter = Some(v1::CaseFilter { channels: vec!["call".into()], ..Default::default() });
    };
    assert_eq!(ids(&find(text(), on_calls).await), ["a2"]);
    assert_eq!(service.store.cases.lock().unwrap().len(), 4, "a searched text is not stored");

    let missing = v1::FindSimilarRequest {
        query: Some(find_similar_request::Query::CaseId("nobody".into())),
        ..Default::default()
    };
    assert_eq!(client.find_similar(missing).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn cases_are_deleted_by_id_customer_and_filter_and_never_by_nothing() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    let of = |customer: &str, channel: &str, id: &str| v1::Feedback {
        customer_id: customer.into(),
        channel: channel.into(),
        ..feedback(id, "text")
    };
    let items =
        [of("k", "chat", "1"), of("k", "call", "2"), of("m", "chat", "3"), of("m", "call", "4"), of("n", "call", "5")];
    client.upsert_cases(upsert(items)).await.unwrap();

    let nothing = client.delete_cases(v1::DeleteCasesRequest::default()).await.unwrap_err();
    assert_eq!((nothing.code(), blamed(&nothing)), (Code::InvalidArgument, vec!["ids".to_owned()]));
    let everything = v1::DeleteCasesRequest { filter: Some(v1::CaseFilter::default()), ..Default::default() };
    assert_eq!(blamed(&client.delete_cases(everything).await.unwrap_err()), ["filter"]);
    assert_eq!(service.store.cases.lock().unwrap().len(), 5);

    let by_id = v1::DeleteCasesRequest { ids: vec!["5".into(), "unknown".into()], ..Default::default() };
    assert_eq!(client.delete_cases(by_id).await.unwrap().into_inner().deleted_count, 1);
    let by_customer = v1::DeleteCasesRequest { customer_id: "k".into(), ..Default::default() };
    assert_eq!(client.delete_cases(by_customer).await.unwrap().into_inner().deleted_count, 2);
    let filter = v1::CaseFilter { channels: vec!["chat".into()], ..Default::default() };
    let by_filter = v1::DeleteCasesRequest { filter: Some(filter), ..Default::default() };
    assert_eq!(client.delete_cases(by_filter).await.unwrap().into_inner().deleted_count, 1);
    let left: Vec<_> = service.store.cases.lock().unwrap().keys().map(|(_, id)| id.clone()).collect();
    assert_eq!(left, ["4"]);
    assert_eq!(client.get_case(get("5")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_store_that_is_busy_or_silent_is_told_apart() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    for (busy, silent, code) in [(true, false, Code::ResourceExhausted), (false, true, Code::Unavailable)] {
        service.store.busy.store(busy, Ordering::SeqCst);
        service.store.silent.store(silent, Ordering::SeqCst);
        let status = client.upsert_cases(upsert([feedback("a", "ok")])).await.unwrap_err();
        assert_eq!(status.code(), code);
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some(), "{status:?}");
        assert!(!status.message().contains("on purpose"), "{status:?}");
    }
}

#[tokio::test]
async fn the_same_call_again_acts_once_and_answers_the_same() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    let call = |text: &str| v1::UpsertCasesRequest {
        request_id: "call-1".into(),
        ..upsert([feedback("a", text), feedback("", "without an id")])
    };
    let first = client.upsert_cases(call("first")).await.unwrap().into_inner();
    // Tagging it would fail.
    let again = client.upsert_cases(call("fail")).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert_eq!(service.store.cases.lock().unwrap().len(), 2);
    assert_eq!(client.get_case(get("a")).await.unwrap().into_inner().masked_text, "first");
    let other = v1::UpsertCasesRequest { request_id: "call-2".into(), ..call("second") };
    let other = client.upsert_cases(other).await.unwrap().into_inner();
    assert_eq!(outcome(&other.results[0]), Ok(v1::UpsertOutcome::Replaced));
    assert_ne!(other.results[1].id, first.results[1].id);
}

#[tokio::test]
async fn an_outcome_is_kept_and_outlives_a_new_upsert() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    let solved = |cost| v1::Outcome {
        status: v1::OutcomeStatus::Solved.into(),
        resolution: "refunded".into(),
        gesture_id: "refund".into(),
        cost,
        ..Default::default()
    };
    let link = v1::CaseLink { case_id: "b".into(), kind: v1::LinkKind::SameIncident.into() };
    let item =
        v1::UpsertCasesItem { feedback: Some(feedback("a", "text")), outcome: Some(solved(None)), links: vec![link] };
    let wrong = v1::UpsertCasesItem {
        feedback: Some(feedback("b", "text")),
        outcome: Some(v1::Outcome::default()),
        ..Default::default()
    };
    let request = v1::UpsertCasesRequest { items: vec![item, wrong], request_id: String::new() };
    let results = client.upsert_cases(request).await.unwrap().into_inner().results;
    assert_eq!(outcome(&results[0]), Ok(v1::UpsertOutcome::Created));
    assert_eq!(outcome(&results[1]), Err(Code::InvalidArgument as i32));

    let record = |id: &str| v1::RecordOutcomeRequest {
        case_id: id.into(),
        outcome: Some(solved(Some(200.0))),
        ..Default::default()
    };
    let case = client.record_outcome(record("a")).await.unwrap().into_inner();
    assert_eq!((case.outcome, case.links.len()), (Some(solved(Some(200.0))), 1));
    client.upsert_cases(upsert([feedback("a", "another text")])).await.unwrap();
    let case = client.get_case(get("a")).await.unwrap().into_inner();
    assert_eq!(
        (case.masked_text.as_str(), case.outcome, case.links.len()),
        ("another text", Some(solved(Some(200.0))), 1)
    );
    assert_eq!(client.record_outcome(record("nobody")).await.unwrap_err().code(), Code::NotFound);
    let nothing = v1::RecordOutcomeRequest { case_id: "a".into(), ..Default::default() };
    assert_eq!(blamed(&client.record_outcome(nothing).await.unwrap_err()), ["outcome"]);
}

#[tokio::test]
async fn an_original_is_sealed_where_originals_are_kept_and_nowhere_else() {
    let original = format!("Где перевод? {PERSONAL}");
    let with_original = || v1::GetCaseRequest { include_original: true, ..get("a") };
    let service = Service::with(|config| config.cases.texts = KeptTexts::Original).await;
    let mut client = service.cases().await;
    client.upsert_cases(upsert([feedback("a", &original)])).await.unwrap();
    assert_eq!(client.get_case(get("a")).await.unwrap().into_inner().original_text, "");
    assert_eq!(client.get_case(with_original()).await.unwrap().into_inner().original_text, original);
    let kept = format!("{:?}", service.store.cases.lock().unwrap());
    assert!(!kept.contains(PERSONAL), "{kept}");

    let service = Service::start().await;
    let mut client = service.cases().await;
    client.upsert_cases(upsert([feedback("a", &original)])).await.unwrap();
    assert!(service.store.cases.lock().unwrap().values().all(|stored| stored.case.sealed_text.is_none()));
    let refused = client.get_case(with_original()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("cases.texts"), "{refused:?}");
}

#[tokio::test]
async fn erasing_a_customer_gives_a_receipt() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    let of = |id: &str| v1::Feedback { customer_id: "k".into(), ..feedback(id, "text") };
    client.upsert_cases(upsert([of("1"), of("2"), feedback("3", "text")])).await.unwrap();
    let erase = v1::DeleteCasesRequest { customer_id: "k".into(), ..Default::default() };
    let erased = client.delete_cases(erase).await.unwrap().into_inner();
    let receipt = erased.receipt.unwrap();
    assert_eq!((erased.deleted_count, receipt.case_ids), (2, vec!["1".to_owned(), "2".to_owned()]));
    assert_eq!((receipt.customer_id_sha256.len(), receipt.snapshots.as_slice()), (64, &["/backup/1".to_owned()][..]));
    let by_id = v1::DeleteCasesRequest { ids: vec!["3".into()], ..Default::default() };
    assert_eq!(client.delete_cases(by_id).await.unwrap().into_inner().receipt, None);
}

#[tokio::test]
async fn nobody_waits_for_a_store_that_is_lost_until_his_deadline() {
    let service = Service::start().await;
    let mut client = service.cases().await;
    client.upsert_cases(upsert([feedback("1", "Карту не привезли")])).await.unwrap();
    service.store.hung.store(true, Ordering::SeqCst);
    let started = Instant::now();
    // The first waits until a probe was not answered in time, later ones for nothing; the deadline is 10 s.
    for _ in 0..3 {
        let lost = client.get_case(get("1")).await.unwrap_err();
        assert_eq!(lost.code(), Code::Unavailable, "{lost:?}");
        assert!(lost.get_details_retry_info().is_some(), "{lost:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    let tags = service.tagging().await.classify(classify("спасибо")).await;
    assert!(tags.is_ok(), "tagging needs no store: {tags:?}");
    service.store.hung.store(false, Ordering::SeqCst);
    eventually("the store is back", async || client.get_case(get("1")).await.is_ok()).await;
}
