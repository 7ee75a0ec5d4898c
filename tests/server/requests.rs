//! Changing calls that come twice under one `request_id`.

use otklik::server::wire::v1;
use otklik::server::wire::v1::taxonomy_service_client::TaxonomyServiceClient;
use otklik::taxonomy::DEFAULT_SOURCE;
use tonic::Code;

use crate::{Service, blamed, feedback};

fn correct(topic: &str, request_id: &str) -> v1::CorrectTagsRequest {
    v1::CorrectTagsRequest {
        case_id: "1".into(),
        topics: Some(v1::TopicSet { topic_ids: vec![topic.to_owned()] }),
        request_id: request_id.into(),
        ..Default::default()
    }
}

fn delete(id: &str, request_id: &str) -> v1::DeleteCasesRequest {
    v1::DeleteCasesRequest { ids: vec![id.into()], request_id: request_id.into(), ..Default::default() }
}

async fn store(service: &Service, ids: &[&str]) {
    let items = ids
        .iter()
        .map(|id| v1::UpsertCasesItem {
            feedback: Some(feedback(id, "карта не пришла")), ..Default::default()
        });
    let request = v1::UpsertCasesRequest { items: items.collect(), request_id: String::new() };
    service.cases().await.upsert_cases(request).await.unwrap();
}

#[tokio::test]
async fn a_correction_under_one_id_counts_once_and_is_answered_with_the_case() {
    let service = Service::start().await;
    store(&service, &["1"]).await;
    let mut client = service.cases().await;
    let first = client.correct_tags(correct("card_delivery", "a")).await.unwrap().into_inner();
    let second = client.correct_tags(correct("payments_transfers", "b")).await.unwrap().into_inner();
    assert_ne!(first.correction, second.correction);
    // The first comes again, late: it does not undo the second.
    let again = client.correct_tags(correct("card_delivery", "a")).await.unwrap().into_inner();
    assert_eq!(again.correction, second.correction);
    let other = client.correct_tags(correct("payments_transfers", "a")).await.unwrap_err();
    assert_eq!(other.code(), Code::InvalidArgument);
    assert_eq!(blamed(&other), ["request_id"]);
    let unnamed = client.correct_tags(correct("card_delivery", "")).await.unwrap().into_inner();
    assert_eq!(unnamed.correction.unwrap().topics, first.correction.unwrap().topics);
}

#[tokio::test]
async fn an_outcome_under_one_id_is_recorded_once() {
    let service = Service::start().await;
    store(&service, &["1"]).await;
    let mut client = service.cases().await;
    let record = |note: &str, id: &str| v1::RecordOutcomeRequest {
        case_id: "1".into(),
        outcome: Some(v1::Outcome {
            status: v1::OutcomeStatus::Solved.into(),
            resolution: note.into(),
            ..Default::default()
        }),
        request_id: id.into(),
        ..Default::default()
    };
    client.record_outcome(record("вернули", "a")).await.unwrap();
    let second = client.record_outcome(record("отказали", "b")).await.unwrap().into_inner();
    let again = client.record_outcome(record("вернули", "a")).await.unwrap().into_inner();
    assert_eq!(again.outcome, second.outcome);
    assert_eq!(client.record_outcome(record("другое", "b")).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_deletion_under_one_id_deletes_once_and_answers_alike_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("requests.redb");
    let mut service = Service::with(|config| config.server.requests_file.clone_from(&file)).await;
    store(&service, &["1", "2"]).await;
    let mut client = service.cases().await;
    let first = client.delete_cases(delete("1", "a")).await.unwrap().into_inner();
    assert_eq!(first.deleted_count, 1);
    store(&service, &["1"]).await;
    assert_eq!(client.delete_cases(delete("1", "a")).await.unwrap().into_inner(), first);
    let get = |id: &str| v1::GetCaseRequest { id: id.into(), ..Default::default() };
    assert!(client.get_case(get("1")).await.is_ok(), "what was stored since is not deleted");
    assert_eq!(client.delete_cases(delete("2", "a")).await.unwrap_err().code(), Code::InvalidArgument);
    // What fails may be tried again under its id.
    assert!(client.delete_cases(delete("", "c")).await.is_err());
    assert_eq!(client.delete_cases(delete("2", "c")).await.unwrap().into_inner().deleted_count, 1);
    drop(client);
    service.stop();
    service.ended().await;

    let service = Service::with(|config| config.server.requests_file.clone_from(&file)).await;
    store(&service, &["1"]).await;
    let mut client = service.cases().await;
    assert_eq!(client.delete_cases(delete("1", "a")).await.unwrap().into_inner(), first);
    assert!(client.get_case(get("1")).await.is_ok());
}

#[tokio::test]
async fn a_publication_under_one_id_is_one() {
    let service = Service::with(|config| config.server.default_deadline_ms = 120_000).await;
    let mut client = TaxonomyServiceClient::new(service.channel().await);
    let now = client.get_taxonomy(v1::GetTaxonomyRequest::default()).await.unwrap().into_inner();
    let request = v1::PublishTaxonomyRequest {
        source: DEFAULT_SOURCE.replacen("name = \"default\"", "name = \"other\"", 1),
        expected_version: now.publication.unwrap().version,
        request_id: "a".into(),
        ..Default::default()
    };
    let first = client.publish_taxonomy(request.clone()).await.unwrap().into_inner();
    let again = client.publish_taxonomy(request.clone()).await.unwrap().into_inner();
    assert!(first.changed);
    assert_eq!(again, first);
    // Without the id it is asked anew, and finds in force what it would publish.
    let unnamed = v1::PublishTaxonomyRequest { request_id: String::new(), ..request };
    assert!(!client.publish_taxonomy(unnamed).await.unwrap().into_inner().changed);
}
