//! Readiness, reflection, and the way out.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use otklik::server::wire::v1;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::fakes::{FakeTagger, MemoryStore};
use crate::{Service, classify, eventually};

const TAGGING: &str = "otklik.v1.TaggingService";
const CASES: &str = "otklik.v1.CaseService";
const ASSIST: &str = "otklik.v1.AssistService";
const PROMPTS: &str = "otklik.v1.PromptService";
const RETAG: &str = "otklik.v1.RetagService";
const TAXONOMIES: &str = "otklik.v1.TaxonomyService";

fn health_of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

/// True for each of the tagging service, the case service and the whole that is SERVING.
async fn serving(client: &mut HealthClient<Channel>) -> [bool; 3] {
    let mut serving = [false; 3];
    for (service, serves) in [TAGGING, CASES, ""].into_iter().zip(&mut serving) {
        let status = client.check(health_of(service)).await.unwrap().into_inner().status();
        *serves = status == ServingStatus::Serving;
    }
    serving
}

#[tokio::test]
async fn readiness_follows_the_model_and_the_store() {
    let (tagger, store) = (FakeTagger::default(), MemoryStore::default());
    tagger.broken.store(true, Ordering::SeqCst);
    store.silent.store(true, Ordering::SeqCst);
    let service = Service::with_parts(|_| {}, tagger, store).await;
    let mut client = HealthClient::new(service.channel().await);
    eventually("a few probes", async || FakeTagger::count(&service.tagger.started) >= 3).await;
    assert_eq!(serving(&mut client).await, [false; 3]);

    service.store.silent.store(false, Ordering::SeqCst);
    let probes = FakeTagger::count(&service.tagger.started);
    eventually("more probes", async || FakeTagger::count(&service.tagger.started) >= probes + 3).await;
    assert_eq!(serving(&mut client).await, [false; 3], "cases can't be stored without the model");

    service.tagger.broken.store(false, Ordering::SeqCst);
    eventually("all ready", async || serving(&mut client).await == [true; 3]).await;
    service.store.silent.store(true, Ordering::SeqCst);
    eventually("the store is gone", async || serving(&mut client).await == [true, false, false]).await;
    for needs_no_store in [ASSIST, PROMPTS] {
        let status = client.check(health_of(needs_no_store)).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{needs_no_store}");
    }
    service.store.silent.store(false, Ordering::SeqCst);
    eventually("the store is back", async || serving(&mut client).await == [true; 3]).await;

    service.tagger.broken.store(true, Ordering::SeqCst);
    service.store.busy.store(true, Ordering::SeqCst);
    let probes = FakeTagger::count(&service.store.probes);
    eventually("more probes", async || FakeTagger::count(&service.store.probes) >= probes + 3).await;
    assert_eq!(
        serving(&mut client).await,
        [true; 3],
        "a busy store is alive, and a model that answered is not asked again"
    );
    let unknown = client.check(health_of("otklik.v1.NoSuchService")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

async fn reflect(service: &Service, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(service.channel().await);
    let answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
    let answer: ServerReflectionResponse = answers.into_inner().next().await.unwrap().unwrap();
    answer.message_response.unwrap()
}

#[tokio::test]
async fn reflection_lists_the_services_and_resolves_every_file_they_need() {
    use prost::Message;

    let service = Service::start().await;
    let MessageResponse::ListServicesResponse(list) =
        reflect(&service, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let standard = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
    assert_eq!(names, [&standard[..], &[ASSIST, CASES, PROMPTS, RETAG, TAGGING, TAXONOMIES]].concat());

    let mut wanted: Vec<MessageRequest> =
        [TAGGING, CASES, ASSIST, PROMPTS, RETAG, TAXONOMIES, "google.rpc.BadRequest", "google.rpc.RetryInfo"]
            .map(|symbol| MessageRequest::FileContainingSymbol(symbol.into()))
            .into();
    let mut seen = Vec::new();
    while let Some(request) = wanted.pop() {
        let shown = format!("{request:?}");
        let MessageResponse::FileDescriptorResponse(found) = reflect(&service, request).await else {
            panic!("{shown}")
        };
        for bytes in found.file_descriptor_proto {
            let file = prost_types::FileDescriptorProto::decode(bytes.as_slice()).unwrap();
            seen.push(file.name().to_owned());
            let missing = file.dependency.into_iter().filter(|name| !seen.contains(name));
            wanted.extend(missing.map(MessageRequest::FileByFilename));
        }
    }
    for file in
        ["otklik/v1/feedback.proto", "otklik/v1/tags.proto", "google/rpc/status.proto", "google/protobuf/any.proto"]
    {
        assert!(seen.contains(&file.to_owned()), "{file} not in {seen:?}");
    }
}

#[tokio::test]
async fn draining_turns_readiness_off_first_then_finishes_what_is_in_work_and_refuses_what_is_new() {
    let mut service = Service::with(|config| config.server.drain_delay_ms = 300).await;
    let mut client = service.tagging().await;
    let mut health = HealthClient::new(service.channel().await);
    eventually("ready", async || serving(&mut health).await == [true; 3]).await;
    let mut holding = client.clone();
    let held = tokio::spawn(async move { holding.classify(classify("hold")).await });
    eventually("in work", async || FakeTagger::count(&service.tagger.in_work) == 1).await;

    service.stop();
    eventually("readiness is off", async || serving(&mut health).await == [false; 3]).await;
    assert!(client.classify(classify("ok")).await.is_ok(), "calls are taken until balancers have noticed");

    let address = service.address;
    eventually("the socket is closed", async || TcpStream::connect(address).await.is_err()).await;
    let begun = FakeTagger::count(&service.tagger.started);
    let refused = client.classify(classify("ok")).await.unwrap_err();
    // The client's library says the one when it can't connect again, the other when it hears of the end while it sends.
    assert!(matches!(refused.code(), Code::Unavailable | Code::Cancelled), "{refused:?}");
    assert_eq!(FakeTagger::count(&service.tagger.started), begun);
    assert_eq!(FakeTagger::count(&service.tagger.in_work), 1, "what was in work still is");
    service.tagger.release.add_permits(1);
    assert!(held.await.unwrap().is_ok(), "what was in work is finished");
    assert!(service.ended().await < Duration::from_secs(5));
}

#[tokio::test]
async fn a_drain_is_bounded_and_what_is_left_is_aborted() {
    let mut service = Service::with(|config| config.server.drain_timeout_ms = 200).await;
    let mut client = service.tagging().await;
    let held = tokio::spawn(async move { client.classify(classify("hold")).await });
    eventually("in work", async || FakeTagger::count(&service.tagger.in_work) == 1).await;
    let started = Instant::now();
    service.stop();
    let status = held.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let tagger = service.tagger.clone();
    service.ended().await;
    assert!((200..3_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert_eq!(FakeTagger::count(&tagger.in_work), 0);
}

#[tokio::test]
async fn watchers_of_health_hear_of_the_drain_and_do_not_hold_it_up() {
    let mut service = Service::with(|config| config.server.drain_delay_ms = 200).await;
    let mut health = HealthClient::new(service.channel().await);
    eventually("ready", async || serving(&mut health).await == [true; 3]).await;
    let mut watched = health.watch(health_of(TAGGING)).await.unwrap().into_inner();
    assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    service.stop();
    assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(service.ended().await < Duration::from_secs(3), "far less than server.drain_timeout_ms");
}

#[tokio::test]
async fn a_stream_answers_what_it_read_and_ends_when_the_service_drains() {
    let mut service = Service::start().await;
    let (sender, receiver) = mpsc::channel(4);
    let answers = service.tagging().await.classify_stream(ReceiverStream::new(receiver)).await.unwrap();
    let mut answers = answers.into_inner();
    for text in ["ok", "hold"] {
        let request = v1::ClassifyStreamRequest {
            feedback: classify(text).feedback,
            request_id: String::new(),
            ..Default::default()
        };
        sender.send(request).await.unwrap();
    }
    assert_eq!(answers.next().await.unwrap().unwrap().sequence, 0);
    eventually("in work", async || FakeTagger::count(&service.tagger.in_work) == 1).await;
    service.stop();
    let address = service.address;
    eventually("the socket is closed", async || TcpStream::connect(address).await.is_err()).await;
    service.tagger.release.add_permits(1);
    let answer = answers.next().await.unwrap().unwrap();
    assert!(matches!(answer.result, Some(v1::classify_stream_response::Result::Tags(_))), "{answer:?}");
    assert_eq!(answers.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert!(service.ended().await < Duration::from_secs(3));
}

#[tokio::test]
async fn many_callers_at_once_each_get_their_own_answer() {
    let service = Service::start().await;
    let client = service.tagging().await;
    let calls = (0..200).map(|index| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let request = v1::ClassifyRequest {
                feedback: Some(crate::feedback(&format!("f{index}"), &format!("wait:{} text {index}", index % 7))),
                request_id: String::new(),
                ..Default::default()
            };
            (index, client.classify(request).await.unwrap().into_inner().tags.unwrap())
        })
    });
    for call in calls.collect::<Vec<_>>() {
        let (index, tags) = call.await.unwrap();
        assert_eq!(tags.id, format!("f{index}"));
        assert!(tags.masked_text.ends_with(&format!(" text {index}")), "{tags:?}");
    }
}
