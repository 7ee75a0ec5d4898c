//! `RetagService`: stored cases get the tags that their texts have now.

use std::time::Duration;

use otklik::server::wire::v1;
use otklik::server::wire::v1::RetagJobState as State;
use otklik::server::wire::v1::retag_service_client::RetagServiceClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::fakes::{FakeTagger, MemoryStore};
use crate::{Service, blamed, feedback};

fn upsert(texts: &[&str]) -> v1::UpsertCasesRequest {
    let item = |(id, text): (usize, &&str)| v1::UpsertCasesItem {
        feedback: Some(feedback(&format!("c{id}"), text)),
        ..Default::default()
    };
    v1::UpsertCasesRequest { items: texts.iter().enumerate().map(item).collect(), request_id: String::new() }
}

async fn client(service: &Service) -> RetagServiceClient<Channel> {
    RetagServiceClient::new(service.channel().await)
}

/// A service with cases of these texts, and then a taxonomy that tags otherwise.
async fn with_cases(texts: &[&str]) -> Service {
    let service = Service::start().await;
    store(&service, texts).await;
    service
}

async fn store(service: &Service, texts: &[&str]) {
    service.cases().await.upsert_cases(upsert(texts)).await.unwrap();
    service.tagger.renew("card_delivery", "logistics");
}

fn start() -> v1::StartRetagRequest {
    v1::StartRetagRequest::default()
}

fn job(id: &str) -> v1::GetRetagJobRequest {
    v1::GetRetagJobRequest { id: id.to_owned(), request_id: String::new() }
}

fn watch(id: &str) -> v1::WatchRetagJobRequest {
    v1::WatchRetagJobRequest { id: id.to_owned(), request_id: String::new() }
}

/// The states that a watch tells until the job is over, and the job then.
async fn watched(client: &mut RetagServiceClient<Channel>, id: &str) -> (Vec<State>, v1::RetagJob) {
    let mut told = client.watch_retag_job(watch(id)).await.unwrap().into_inner();
    let (mut states, mut last) = (Vec::new(), None);
    while let Some(job) = told.message().await.unwrap() {
        states.push(job.state());
        last = Some(job);
    }
    (states, last.expect("a job is told at once"))
}

async fn case(service: &Service, id: &str) -> v1::Case {
    let get = v1::GetCaseRequest { id: id.to_owned(), ..Default::default() };
    service.cases().await.get_case(get).await.unwrap().into_inner()
}

fn first_topic(case: &v1::Case) -> &str {
    &case.tags.as_ref().unwrap().topics[0].topic_id
}

#[tokio::test]
async fn a_job_is_planned_watched_to_its_end_and_listed() {
    let service = with_cases(&["а", "б", "в"]).await;
    let mut client = client(&service).await;
    let begun = client.start_retag(start()).await.unwrap().into_inner();
    let plan = begun.plan.unwrap();
    assert_eq!((plan.case_count, plan.reused_count, plan.encoded_count), (3, 0, 3), "nothing is kept of them");
    assert!(plan.estimated_seconds > 0.0);
    let (states, ended) = watched(&mut client, &begun.id).await;
    assert_eq!(states.last(), Some(&State::Succeeded), "{states:?}");
    assert!(states.is_sorted(), "{states:?}");
    let counts = ended.counts.unwrap();
    assert_eq!((counts.read, counts.changed, counts.reused, counts.encoded), (3, 3, 3, 0));
    assert!(ended.started_at.is_some() && ended.ended_at.is_some() && ended.made_by.is_some());
    let stored = case(&service, "c1").await;
    assert_eq!(
        (first_topic(&stored), stored.tags.clone().unwrap().team.unwrap().team_id),
        ("card_delivery", "logistics".into())
    );
    assert_eq!(client.get_retag_job(job(&begun.id)).await.unwrap().into_inner(), ended);
    let listed = client.list_retag_jobs(v1::ListRetagJobsRequest::default()).await.unwrap().into_inner().jobs;
    assert_eq!(listed, [ended]);

    let older = v1::RetagScope { only_older: true, ..Default::default() };
    let again = client.start_retag(v1::StartRetagRequest { scope: Some(older), ..start() }).await.unwrap().into_inner();
    let (_, ended) = watched(&mut client, &again.id).await;
    assert_eq!((ended.state(), ended.counts.unwrap().read), (State::Succeeded, 0));
}

#[tokio::test]
async fn corrections_stay_and_only_the_parts_asked_for_are_made_anew() {
    let service = with_cases(&["а", "б"]).await;
    let correction = v1::CorrectTagsRequest {
        case_id: "c0".into(),
        topics: Some(v1::TopicSet { topic_ids: vec!["payments_transfers".into()] }),
        ..Default::default()
    };
    service.cases().await.correct_tags(correction).await.unwrap();
    let mut client = client(&service).await;
    let scope = v1::RetagScope { parts: vec![v1::TagPart::Topics.into()], ..Default::default() };
    let request = v1::StartRetagRequest { scope: Some(scope), priority: 3, ..start() };
    let begun = client.start_retag(request).await.unwrap().into_inner();
    assert_eq!((begun.parts.clone(), begun.priority), (vec![i32::from(v1::TagPart::Topics)], 3));
    let counts = watched(&mut client, &begun.id).await.1.counts.unwrap();
    assert_eq!((counts.read, counts.changed, counts.skipped), (2, 1, 1));
    let (corrected, other) = (case(&service, "c0").await, case(&service, "c1").await);
    assert_eq!(first_topic(&corrected), "payments_transfers");
    assert_eq!(corrected.correction.unwrap().topics.unwrap().topic_ids, ["payments_transfers"]);
    assert_eq!(
        (first_topic(&other), other.tags.as_ref().unwrap().team.as_ref().unwrap().team_id.as_str()),
        ("card_delivery", "payments")
    );
}

#[tokio::test]
async fn a_preview_tells_what_would_change_and_changes_nothing() {
    let service = with_cases(&["а", "б +79160000000", "в"]).await;
    let before = case(&service, "c1").await;
    let mut client = client(&service).await;
    let sample = Some(v1::preview_retag_request::Sample::Cases(2));
    let whole = client.preview_retag(v1::PreviewRetagRequest::default()).await.unwrap().into_inner();
    let part =
        client.preview_retag(v1::PreviewRetagRequest { sample, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!((whole.case_count, whole.looked_at_count, whole.changed_count), (3, 3, 3));
    assert_eq!((part.case_count, part.looked_at_count, part.changed_count), (3, 2, 2));
    let moved = &whole.topics[0];
    assert_eq!((moved.from.as_str(), moved.to.as_str(), moved.cases), ("payments_transfers", "card_delivery", 3));
    assert!(moved.examples.len() == 3 && moved.examples.iter().all(|text| !text.contains("+7916")), "{moved:?}");
    let load: Vec<_> = whole.load.iter().map(|load| (load.team_id.as_str(), load.before, load.after)).collect();
    assert_eq!(load, [("logistics", 0, 3), ("payments", 3, 0)]);
    assert_eq!(case(&service, "c1").await, before);
    assert!(client.list_retag_jobs(v1::ListRetagJobsRequest::default()).await.unwrap().into_inner().jobs.is_empty());
}

#[tokio::test]
async fn a_cancelled_job_ends_and_what_it_did_stays() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    let one_by_one = move |config: &mut otklik::config::Config| {
        (config.retag.page_cases, config.retag.dir) = (1, dir);
    };
    let mut service = Service::with(one_by_one).await;
    let texts: Vec<String> = (0..50).map(|number| format!("а {number}")).collect();
    store(&service, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut client = client(&service).await;
    let slow = v1::StartRetagRequest { cases_per_second: Some(20), ..start() };
    let begun = client.start_retag(slow).await.unwrap().into_inner();
    assert!(begun.plan.unwrap().estimated_seconds >= 2.5);
    let mut told = client.watch_retag_job(watch(&begun.id)).await.unwrap().into_inner();
    while told.message().await.unwrap().unwrap().counts.unwrap().read == 0 {}
    let cancel = v1::CancelRetagJobRequest { id: begun.id.clone(), request_id: String::new() };
    let ended = client.cancel_retag_job(cancel.clone()).await.unwrap().into_inner();
    assert_eq!(ended.state(), State::Cancelled);
    let done = ended.counts.unwrap().changed;
    assert!((1..50).contains(&done), "{done}");
    assert_eq!(client.cancel_retag_job(cancel).await.unwrap().into_inner(), ended, "it is over");
    while let Some(job) = told.message().await.unwrap() {
        assert!([State::Running, State::Cancelled].contains(&job.state()));
    }
    service.stop();
    service.ended().await;
}

#[tokio::test]
async fn a_restart_goes_on_with_the_job_and_a_watch_hears_of_the_end_of_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let config = |config: &mut otklik::config::Config| {
        (config.retag.page_cases, config.retag.dir) = (1, folder.path().to_owned());
    };
    let mut service = Service::with(config).await;
    let texts: Vec<String> = (0..30).map(|number| format!("а {number}")).collect();
    store(&service, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut first = client(&service).await;
    let named = v1::StartRetagRequest { cases_per_second: Some(10), request_id: "r-1".into(), ..start() };
    let begun = first.start_retag(named.clone()).await.unwrap().into_inner();
    assert_eq!(first.start_retag(named.clone()).await.unwrap().into_inner().id, begun.id, "the same call");
    let mut told = first.watch_retag_job(watch(&begun.id)).await.unwrap().into_inner();
    while told.message().await.unwrap().unwrap().counts.unwrap().read == 0 {}
    let held = std::sync::Arc::clone(&service.store);
    service.stop();
    let end = loop {
        match told.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the job is not over"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable);
    drop((told, first));
    service.ended().await;

    let tagger = FakeTagger::default();
    tagger.renew("card_delivery", "logistics");
    let store = MemoryStore::default();
    *store.cases.lock().unwrap() = std::mem::take(&mut *held.cases.lock().unwrap());
    let service = Service::with_parts(config, tagger, store).await;
    let mut client = client(&service).await;
    assert_eq!(client.start_retag(named).await.unwrap().into_inner().id, begun.id, "it is remembered");
    let waited = tokio::time::timeout(Duration::from_secs(60), watched(&mut client, &begun.id)).await;
    let (_, ended) = waited.expect("it goes on");
    let counts = ended.counts.unwrap();
    assert_eq!((ended.state(), counts.read, counts.changed, counts.skipped), (State::Succeeded, 30, 30, 0));
}

#[tokio::test]
async fn faults_are_told_by_their_fields() {
    let service = with_cases(&["а", "б"]).await;
    let mut client = client(&service).await;
    let scope = v1::RetagScope { parts: vec![9], ..Default::default() };
    let status =
        client.start_retag(v1::StartRetagRequest { scope: Some(scope), priority: 99, ..start() }).await.unwrap_err();
    assert_eq!(
        (status.code(), blamed(&status)),
        (Code::InvalidArgument, vec!["scope.parts[0]".into(), "priority".into()])
    );
    for status in [
        client.get_retag_job(job("none")).await.unwrap_err(),
        client.watch_retag_job(watch("none")).await.unwrap_err(),
        client
            .cancel_retag_job(v1::CancelRetagJobRequest { id: "none".into(), ..Default::default() })
            .await
            .unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::NotFound);
    }
    let limited = Service::with(|config| config.retag.max_preview_cases = 1).await;
    store(&limited, &["а", "б"]).await;
    let status = RetagServiceClient::new(limited.channel().await)
        .preview_retag(v1::PreviewRetagRequest::default())
        .await
        .unwrap_err();
    assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec!["sample".into()]));
}
