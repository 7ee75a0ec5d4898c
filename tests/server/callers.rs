//! Who is let in: each RPC with no key, a wrong key, each role, and the ids of others.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use jiff::Timestamp;
use otklik::callers::{ApiKey, KeyFile, NewKey, Role};
use otklik::config::Config;
use otklik::server::wire::v1::case_service_client::CaseServiceClient;
use otklik::server::wire::v1::retag_service_client::RetagServiceClient;
use otklik::server::wire::v1::tagging_service_client::TaggingServiceClient;
use otklik::server::wire::{self, v1};
use prost::Message;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;
use tower::{Service as _, ServiceExt};

use crate::fakes::FakeTagger;
use crate::{LOG, Service, classify, feedback};

/// The role that each RPC takes, beside `admin`.
const ROLES: &[(Role, &str, &[&str])] = &[
    (Role::Tag, "TaggingService", &["Classify", "ClassifyStream", "BatchClassify"]),
    (Role::Tag, "CaseService", &["UpsertCases"]),
    (Role::Read, "CaseService", &["GetCase", "FindSimilar", "ListForReview"]),
    (Role::Correct, "CaseService", &["CorrectTags", "RecordOutcome"]),
    (Role::Admin, "CaseService", &["DeleteCases"]),
    (Role::Assist, "AssistService", &["Suggest", "Assist", "ReviewReply", "Summarize", "RecordSuggestionUse"]),
    (Role::Assist, "PromptService", &["ListPrompts", "GetPrompt", "RenderPrompt", "RunPrompt"]),
    (
        Role::Retag,
        "RetagService",
        &["PreviewRetag", "StartRetag", "GetRetagJob", "ListRetagJobs", "WatchRetagJob", "CancelRetagJob"],
    ),
    (Role::Read, "TaxonomyService", &["GetTaxonomy", "ListTaxonomyVersions", "ValidateTaxonomy", "DiffTaxonomy"]),
    (Role::Admin, "TaxonomyService", &["PublishTaxonomy", "RollbackTaxonomy"]),
];

/// Every RPC of the descriptors with the role that it takes.
///
/// # Panics
/// For one that is not listed above, or is not there.
fn rpcs() -> BTreeMap<String, Role> {
    let listed = ROLES.iter().flat_map(|(role, service, methods)| {
        methods.iter().map(move |method| (format!("otklik.v1.{service}/{method}"), *role))
    });
    let listed: BTreeMap<String, Role> = listed.collect();
    let set = prost_types::FileDescriptorSet::decode(wire::FILE_DESCRIPTOR_SET).unwrap();
    let described = set.file.iter().filter(|file| file.package() == "otklik.v1").flat_map(|file| {
        file.service.iter().flat_map(|service| {
            service.method.iter().map(|method| format!("otklik.v1.{}/{}", service.name(), method.name()))
        })
    });
    let mut described: Vec<String> = described.collect();
    described.sort();
    assert_eq!(listed.keys().cloned().collect::<Vec<_>>(), described, "each RPC has a role in this test");
    listed
}

fn add(file: &Path, tenant: &str, roles: &[Role]) -> ApiKey {
    let roles = roles.iter().copied().collect();
    let wanted = NewKey { name: None, tenant: tenant.into(), roles, tokens_per_second: None, burst_tokens: None };
    KeyFile::add(file, wanted, Timestamp::now()).unwrap().0
}

/// How a call of an empty message to any method ends.
async fn call(channel: &Channel, rpc: &str, metadata: &[(&str, &str)]) -> Status {
    let mut channel = channel.clone();
    // One message of no bytes, not compressed.
    let body = Full::new(Bytes::from_static(&[0; 5]));
    let mut request = http::Request::post(format!("http://otklik/{rpc}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in metadata {
        request = request.header(*name, *value);
    }
    let request = request.body(tonic::body::Body::new(body)).unwrap();
    let response = channel.ready().await.unwrap().call(request).await.unwrap();
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let trailers = response.into_body().collect().await.unwrap().trailers().cloned().unwrap();
    Status::from_header_map(&trailers).unwrap()
}

/// True for a call that was looked at, whatever came of it.
fn was_let_in(status: &Status) -> bool {
    let codes = [Code::Ok, Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition];
    assert!(
        codes.contains(&status.code()) || [Code::Unauthenticated, Code::PermissionDenied].contains(&status.code()),
        "{status:?}"
    );
    codes.contains(&status.code())
}

#[tokio::test]
async fn each_rpc_asks_for_a_key_and_for_its_role() {
    let mut keys = Vec::new();
    let mut spoilt = Vec::new();
    let service = Service::with(|config| {
        let file = &config.callers.keys_file;
        keys = Role::ALL.iter().map(|role| (*role, add(file, "bank", &[*role]).reveal())).collect();
        let revoked = add(file, "bank", &[Role::Admin]);
        KeyFile::revoke(file, revoked.id(), Timestamp::now()).unwrap();
        let (_, good) = &keys[0];
        let wrong = format!("{}{}", &good[..good.len() - 43], &revoked.reveal()[revoked.reveal().len() - 43..]);
        spoilt = vec![revoked.reveal(), wrong, ApiKey::generate().unwrap().reveal(), "guess".into(), String::new()];
    })
    .await;
    let channel = service.channel().await;
    for (rpc, needed) in rpcs() {
        let missing = call(&channel, &rpc, &[]).await;
        assert_eq!(missing.code(), Code::Unauthenticated, "{rpc}: {missing:?}");
        assert!(missing.message().contains("authorization: Bearer KEY"), "{missing:?}");
        for key in &spoilt {
            for metadata in [("authorization", format!("Bearer {key}")), ("x-api-key", key.clone())] {
                let refused = call(&channel, &rpc, &[(metadata.0, &metadata.1)]).await;
                assert_eq!(refused.code(), Code::Unauthenticated, "{rpc} with {metadata:?}: {refused:?}");
                assert!(key.is_empty() || !refused.message().contains(key.as_str()), "{refused:?}");
            }
        }
        for (role, key) in &keys {
            let ended = call(&channel, &rpc, &[("authorization", &format!("Bearer {key}"))]).await;
            let may = *role == needed || *role == Role::Admin;
            assert_eq!(was_let_in(&ended), may, "{rpc} with the role {role}: {ended:?}");
            if !may {
                assert_eq!(ended.code(), Code::PermissionDenied, "{rpc} with the role {role}: {ended:?}");
                assert!(ended.message().contains(&format!("\"{needed}\"")), "{ended:?}");
            }
        }
    }
    let unheard = call(&channel, "otklik.v1.TaggingService/Unheard", &[("x-api-key", &keys[0].1)]).await;
    assert_eq!(unheard.code(), Code::Unimplemented, "{unheard:?}");
    let stranger = call(&channel, "grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[]).await;
    assert_eq!(stranger.code(), Code::Unauthenticated, "{stranger:?}");
    let both = [("x-api-key", keys[0].1.as_str()), ("authorization", "Bearer x")];
    let two = call(&channel, "otklik.v1.TaggingService/Classify", &both).await;
    assert_eq!(two.code(), Code::Unauthenticated, "{two:?}");
    assert!(HealthClient::new(channel).check(HealthCheckRequest::default()).await.is_ok(), "probers have no keys");
    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    for key in keys.iter().map(|(_, key)| key).chain(&spoilt[..3]) {
        assert!(!log.contains(&key[key.len() - 20..]), "a key is in the log");
    }
}

fn with_key<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    request
}

#[tokio::test]
async fn a_tenant_neither_sees_nor_touches_what_is_anothers() {
    let (mut bank, mut shop) = (String::new(), String::new());
    let service = Service::with(|config| {
        bank = add(&config.callers.keys_file, "bank", &[Role::Admin]).reveal();
        shop = add(&config.callers.keys_file, "shop", &[Role::Admin]).reveal();
    })
    .await;
    let mut cases = CaseServiceClient::new(service.channel().await);
    let mut jobs = RetagServiceClient::new(service.channel().await);
    let item = |id: &str| v1::UpsertCasesItem {
        feedback: Some(feedback(id, "деньги не пришли")),
        ..Default::default()
    };
    let stored = v1::UpsertCasesRequest { items: vec![item("a"), item("b")], request_id: String::new() };
    cases.upsert_cases(with_key(&bank, stored)).await.unwrap();
    let own = v1::UpsertCasesRequest { items: vec![item("b")], request_id: String::new() };
    cases.upsert_cases(with_key(&shop, own)).await.unwrap();
    let started = jobs.start_retag(with_key(&bank, v1::StartRetagRequest::default())).await.unwrap().into_inner();

    let get = |id: &str| v1::GetCaseRequest { id: id.into(), ..Default::default() };
    let not_found = |outcome: Result<(), Status>, what: &str| {
        assert_eq!(outcome.unwrap_err().code(), Code::NotFound, "{what}");
    };
    not_found(cases.get_case(with_key(&shop, get("a"))).await.map(drop), "GetCase");
    let topics = Some(v1::TopicSet { topic_ids: vec!["card_delivery".into()] });
    let correct = v1::CorrectTagsRequest { case_id: "a".into(), topics, ..Default::default() };
    not_found(cases.correct_tags(with_key(&shop, correct)).await.map(drop), "CorrectTags");
    let query = Some(v1::find_similar_request::Query::CaseId("a".into()));
    let similar = v1::FindSimilarRequest { query, limit: 5, ..Default::default() };
    not_found(cases.find_similar(with_key(&shop, similar)).await.map(drop), "FindSimilar");
    let job = |id: &str| v1::GetRetagJobRequest { id: id.into(), ..Default::default() };
    not_found(jobs.get_retag_job(with_key(&shop, job(&started.id))).await.map(drop), "GetRetagJob");
    let watch = v1::WatchRetagJobRequest { id: started.id.clone(), ..Default::default() };
    not_found(jobs.watch_retag_job(with_key(&shop, watch)).await.map(drop), "WatchRetagJob");
    let cancel = v1::CancelRetagJobRequest { id: started.id.clone(), ..Default::default() };
    not_found(jobs.cancel_retag_job(with_key(&shop, cancel)).await.map(drop), "CancelRetagJob");

    // What one corrects changes no tag of another's.
    let topics = Some(v1::TopicSet { topic_ids: vec!["card_delivery".into()] });
    let correct = v1::CorrectTagsRequest { case_id: "a".into(), topics, ..Default::default() };
    cases.correct_tags(with_key(&bank, correct)).await.unwrap();
    let mut tagging = TaggingServiceClient::new(service.channel().await);
    for (key, corrected) in [(&bank, true), (&shop, false)] {
        let classify = v1::ClassifyRequest {
            feedback: Some(feedback("c", "деньги не пришли")), ..Default::default()
        };
        let tags = tagging.classify(with_key(key, classify)).await.unwrap().into_inner().tags.unwrap();
        assert_eq!(tags.topics[0].topic_id == "card_delivery", corrected, "{tags:?}");
    }

    let listed = jobs.list_retag_jobs(with_key(&shop, v1::ListRetagJobsRequest::default())).await.unwrap();
    assert!(listed.into_inner().jobs.is_empty());
    let query = Some(v1::find_similar_request::Query::Text("деньги не пришли".into()));
    let similar = v1::FindSimilarRequest { query, limit: 5, ..Default::default() };
    let found = cases.find_similar(with_key(&shop, similar)).await.unwrap().into_inner();
    assert_eq!(found.cases.len(), 1, "its own alone: {found:?}");
    let filter = Some(v1::CaseFilter { ids: vec!["a".into(), "b".into()], ..Default::default() });
    let delete = v1::DeleteCasesRequest { filter, ..Default::default() };
    assert_eq!(cases.delete_cases(with_key(&shop, delete)).await.unwrap().into_inner().deleted_count, 1);
    for id in ["a", "b"] {
        assert!(cases.get_case(with_key(&bank, get(id))).await.is_ok(), "{id} is still there");
    }
}

#[tokio::test]
async fn keys_are_added_and_revoked_while_the_service_runs() {
    let mut file = std::path::PathBuf::new();
    let service = Service::with(|config| file = config.callers.keys_file.clone()).await;
    let mut client = service.tagging().await;
    assert!(client.classify(classify("ok")).await.is_ok(), "without keys nobody is asked");
    let key = add(&file, "bank", &[Role::Tag]);
    service.callers.look();
    assert_eq!(client.classify(classify("ok")).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(client.classify(with_key(&key.reveal(), classify("ok"))).await.is_ok());
    KeyFile::revoke(&file, key.id(), Timestamp::now()).unwrap();
    service.callers.look();
    let revoked = client.classify(with_key(&key.reveal(), classify("ok"))).await.unwrap_err();
    assert_eq!(revoked.code(), Code::Unauthenticated, "{revoked:?}");
}

#[tokio::test]
async fn strangers_take_no_place_of_a_full_service() {
    let mut key = String::new();
    let service = Service::with(|config: &mut Config| {
        config.server.max_concurrent_requests = 1;
        key = add(&config.callers.keys_file, "bank", &[Role::Tag]).reveal();
    })
    .await;
    let mut client = service.tagging().await;
    let (mut holding, held_key) = (client.clone(), key.clone());
    let held = tokio::spawn(async move { holding.classify(with_key(&held_key, classify("hold"))).await });
    crate::eventually("in work", async || FakeTagger::count(&service.tagger.in_work) == 1).await;
    let stranger = client.classify(classify("ok")).await.unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated, "a stranger does not learn that the service is full");
    let known = client.classify(with_key(&key, classify("ok"))).await.unwrap_err();
    assert_eq!(known.code(), Code::ResourceExhausted, "{known:?}");
    service.tagger.release.add_permits(1);
    assert!(held.await.unwrap().is_ok());
}

#[tokio::test]
async fn who_has_asked_for_too_much_hears_when_to_come_again_and_no_other_tenant_pays() {
    let (mut bank, mut shop, mut slow) = (String::new(), String::new(), String::new());
    let service = Service::with(|config: &mut Config| {
        (config.callers.tokens_per_second, config.callers.burst_tokens) = (1, 200);
        let file = &config.callers.keys_file;
        bank = add(file, "bank", &[Role::Tag]).reveal();
        shop = add(file, "shop", &[Role::Tag]).reveal();
        let limited = NewKey {
            name: None,
            tenant: "slow".into(),
            roles: [Role::Tag].into_iter().collect(),
            tokens_per_second: Some(1),
            burst_tokens: Some(12),
        };
        slow = KeyFile::add(file, limited, Timestamp::now()).unwrap().0.reveal();
    })
    .await;
    let mut client = service.tagging().await;
    let long = "текст ".repeat(90);
    let begun = FakeTagger::count(&service.tagger.started);
    // The estimate of the text is 184 tokens; the tagger says that it had 7, which is what is paid.
    for _ in 0..3 {
        client.classify(with_key(&bank, classify(&long))).await.unwrap();
    }
    let refused = client.classify(with_key(&bank, classify(&"текст ".repeat(98)))).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("this tenant may ask for 1 model tokens a second"), "{refused:?}");
    let delay = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((Duration::from_secs(5)..Duration::from_secs(60)).contains(&delay), "{delay:?}");
    assert!(client.classify(with_key(&shop, classify(&"текст ".repeat(98)))).await.is_ok());

    client.classify(with_key(&slow, classify("ok"))).await.unwrap();
    let refused = client.classify(with_key(&slow, classify(&long))).await.unwrap_err();
    assert!(refused.message().contains("this caller may ask for 1 model tokens a second, 12 at once"), "{refused:?}");
    let done = FakeTagger::count(&service.tagger.started) - begun;
    assert!((5..=6).contains(&done), "what is refused is not begun: {done}");
}

/// Writes a JWK set of these public keys.
fn publish(file: &Path, keys: &[(&str, &Ed25519KeyPair)]) {
    let key = |(id, pair): &(&str, &Ed25519KeyPair)| json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref())});
    let set = json!({ "keys": keys.iter().map(key).collect::<Vec<_>>() });
    std::fs::write(file, set.to_string()).unwrap();
}

fn token(pair: &Ed25519KeyPair, id: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = json!({
        "iss": "https://id.example", "aud": "otklik", "sub": "desk", "tenant": "bank", "roles": ["tag"],
        "exp": Timestamp::now().as_second() + 600,
    });
    change(&mut claims);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": id})), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

#[tokio::test]
async fn tokens_are_trusted_by_their_signature_issuer_and_audience_and_their_keys_rotate() {
    let pair = || {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap()
    };
    let (old, new) = (pair(), pair());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    publish(&file, &[("old", &old)]);
    let service = Service::with(|config: &mut Config| {
        config.callers.jwt_keys_file = Some(file.clone());
        config.callers.jwt_issuer = Some("https://id.example".into());
        config.callers.jwt_audience = Some("otklik".into());
    })
    .await;
    let channel = service.channel().await;
    let code = async |token: String| {
        let mut request = Request::new(classify("ok"));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        TaggingServiceClient::new(channel.clone())
            .classify(request)
            .await
            .map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(code(token(&old, "old", |_| {})).await, Code::Ok);
    assert_eq!(code(token(&old, "old", |claims| claims["roles"] = json!(["read"]))).await, Code::PermissionDenied);
    assert_eq!(code(token(&old, "old", |claims| claims["roles"] = Value::Null)).await, Code::PermissionDenied);
    for (claim, value) in [("iss", json!("x")), ("aud", json!("x")), ("exp", json!(1)), ("tenant", Value::Null)] {
        let wrong = token(&old, "old", |claims| claims[claim] = value.clone());
        assert_eq!(code(wrong).await, Code::Unauthenticated, "{claim} = {value}");
    }
    assert_eq!(code(token(&new, "old", |_| {})).await, Code::Unauthenticated, "another key signed it");
    publish(&file, &[("old", &old), ("new", &new)]);
    service.callers.look();
    assert_eq!([code(token(&old, "old", |_| {})).await, code(token(&new, "new", |_| {})).await], [Code::Ok; 2]);
    publish(&file, &[("new", &new)]);
    service.callers.look();
    assert_eq!(code(token(&old, "old", |_| {})).await, Code::Unauthenticated);
    assert_eq!(code(token(&new, "new", |_| {})).await, Code::Ok);
}
