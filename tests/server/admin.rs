//! What operators are answered over HTTP.

use std::sync::atomic::Ordering;
use std::time::Duration;

use otklik::server::wire::v1;
use otklik::server::{HealthError, HealthQuestion, ask_health};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::fakes::{FakeTagger, MemoryStore};
use crate::{Service, classify, eventually, feedback};

/// Status and body of an answer.
pub async fn get(service: &Service, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(service.admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: otklik\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The line of a scrape that begins so, without that.
fn value(scrape: &str, name: &str) -> Option<String> {
    scrape.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

#[tokio::test]
async fn life_and_readiness_are_told_apart() {
    let tagger = FakeTagger::default();
    tagger.broken.store(true, Ordering::SeqCst);
    let service = Service::with_parts(|_| {}, tagger, MemoryStore::default()).await;
    assert_eq!(get(&service, "/livez").await, (200, "alive\n".to_owned()));
    let not_ready = "otklik.v1.TaggingService not ready\notklik.v1.CaseService not ready\n\
                     otklik.v1.AssistService not ready\notklik.v1.PromptService ready\n\
                     otklik.v1.TaxonomyService ready\n\
                     otklik.v1.RetagService not ready\n";
    eventually("prompts are ready", async || get(&service, "/readyz").await == (503, not_ready.to_owned())).await;

    service.tagger.broken.store(false, Ordering::SeqCst);
    eventually("ready", async || get(&service, "/readyz").await.0 == 200).await;
    service.store.silent.store(true, Ordering::SeqCst);
    let half = "otklik.v1.TaggingService ready\notklik.v1.CaseService not ready\n\
                otklik.v1.AssistService ready\notklik.v1.PromptService ready\n\
                otklik.v1.TaxonomyService ready\n\
                otklik.v1.RetagService not ready\n";
    eventually("the store is gone", async || get(&service, "/readyz").await == (503, half.to_owned())).await;
    assert_eq!(get(&service, "/livez").await.0, 200);
    assert_eq!(get(&service, "/").await.0, 404);

    // One service is asked for by its name.
    assert_eq!(get(&service, "/readyz/otklik.v1.TaggingService").await, (200, "ready\n".to_owned()));
    assert_eq!(get(&service, "/readyz/otklik.v1.CaseService").await, (503, "not ready\n".to_owned()));
    let (code, told) = get(&service, "/readyz/tagging").await;
    assert_eq!(code, 404);
    assert!(told.contains("otklik.v1.RetagService\n"), "{told}");
    // The same is told by the health protocol.
    let serves = async |name: &str| {
        let question = HealthQuestion {
            address: service.address,
            service: name.to_owned(),
            certificate: None,
            shown: None,
            timeout: Duration::from_secs(60),
        };
        ask_health(question).await
    };
    assert!(serves("otklik.v1.TaggingService").await.unwrap());
    assert!(!serves("otklik.v1.CaseService").await.unwrap());
    assert!(!serves("").await.unwrap());
    assert!(matches!(serves("tagging").await, Err(HealthError::UnknownService { .. })));
}

#[tokio::test]
async fn nobody_answers_for_a_service_that_is_gone() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let question = HealthQuestion {
        address,
        service: String::new(),
        certificate: None,
        shown: None,
        timeout: Duration::from_secs(60),
    };
    let error = ask_health(question).await.unwrap_err();
    assert!(matches!(&error, HealthError::NoAnswer { .. }) && error.to_string().contains(&address.to_string()));
}

#[tokio::test]
async fn the_store_its_cases_and_calls_that_come_again_are_told() {
    let service = Service::start().await;
    eventually("ready", async || get(&service, "/readyz").await.0 == 200).await;
    let mut cases = service.cases().await;
    let item = |id| v1::UpsertCasesItem { feedback: Some(feedback(id, "спасибо")), ..Default::default() };
    let request = v1::UpsertCasesRequest { items: vec![item("c1"), item("c2")], ..Default::default() };
    cases.upsert_cases(request).await.unwrap();
    let request =
        v1::DeleteCasesRequest { ids: vec!["c1".to_owned()], request_id: "once".to_owned(), ..Default::default() };
    for _ in 0..2 {
        cases.delete_cases(request.clone()).await.unwrap();
    }
    let told = async |name: &str| value(&get(&service, "/metrics").await.1, &format!("{name} "));
    eventually("probed", async || told("otklik_store_cases").await.as_deref() == Some("1")).await;
    assert_eq!(told("otklik_store_up").await.as_deref(), Some("1"));
    assert!(told("otklik_store_probe_seconds").await.unwrap().parse::<f64>().unwrap() >= 0.0);
    assert_eq!(told("otklik_requests_kept").await.as_deref(), Some("1"));
    assert_eq!(told("otklik_requests_again_total").await.as_deref(), Some("1"));
    assert_eq!(told("otklik_retag_jobs_running").await.as_deref(), Some("0"));
    assert_eq!(told("otklik_retag_cases_read_total").await.as_deref(), Some("0"));
    // Too few texts to say what is usual.
    assert_eq!(told("otklik_topic_drift").await, None);
    let scrape = get(&service, "/metrics").await.1;
    assert!(scrape.contains("otklik_stage_duration_seconds_count{stage=\"admission\"}"), "{scrape}");
    service.store.silent.store(true, Ordering::SeqCst);
    eventually("lost", async || told("otklik_store_up").await.as_deref() == Some("0")).await;
}

#[tokio::test]
async fn a_draining_service_says_so_and_is_scraped_to_the_end() {
    let mut service = Service::start().await;
    eventually("ready", async || get(&service, "/readyz").await.0 == 200).await;
    let mut client = service.tagging().await;
    let held = tokio::spawn(async move { client.classify(classify("hold")).await });
    eventually("in work", async || service.tagger.in_work.load(Ordering::SeqCst) == 1).await;
    service.stop();
    eventually("not ready", async || get(&service, "/readyz").await.0 == 503).await;
    assert_eq!(get(&service, "/livez").await.0, 200);
    assert_eq!(get(&service, "/metrics").await.0, 200);
    service.tagger.release.add_permits(1);
    held.await.unwrap().unwrap();
    service.ended().await;
}

#[tokio::test]
async fn calls_tags_and_what_computes_are_counted() {
    let service = Service::start().await;
    eventually("ready", async || get(&service, "/readyz").await.0 == 200).await;
    let mut client = service.tagging().await;
    for _ in 0..3 {
        client.classify(classify("marker4711 спасибо")).await.unwrap();
    }
    assert_eq!(client.classify(classify("invalid")).await.unwrap_err().code(), Code::InvalidArgument);

    let classify_rpc = "rpc=\"otklik.v1.TaggingService/Classify\"";
    let ok = format!("otklik_calls_total{{{classify_rpc},code=\"Ok\"}}");
    // A call is counted when the last byte of its answer was sent, which its caller may see first.
    eventually("counted", async || value(&get(&service, "/metrics").await.1, &ok).as_deref() == Some("3")).await;
    let (_, scrape) = get(&service, "/metrics").await;
    let invalid = format!("otklik_calls_total{{{classify_rpc},code=\"InvalidArgument\"}}");
    assert_eq!(value(&scrape, &invalid).as_deref(), Some("1"), "{scrape}");
    let count = format!("otklik_call_duration_seconds_count{{{classify_rpc}}}");
    assert_eq!(value(&scrape, &count).as_deref(), Some("4"), "{scrape}");
    // The text that tells readiness is nobody's and is not counted.
    let tagged: u64 = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("otklik_tagged_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(tagged, 3, "{scrape}");
    for (name, wanted) in [
        ("otklik_cache_hits_total", "3"),
        ("otklik_cache_misses_total", "1"),
        ("otklik_batches_total", "2"),
        ("otklik_batch_tokens_total", "40"),
        ("otklik_queue_tokens", "7"),
        ("otklik_ready{service=\"otklik.v1.TaggingService\"}", "1"),
    ] {
        assert_eq!(value(&scrape, &format!("{name} ")).as_deref(), Some(wanted), "{name}: {scrape}");
    }
    assert!(scrape.contains("otklik_program_info{version="), "{scrape}");
    assert!(!scrape.contains("marker4711"), "{scrape}");
    assert!(scrape.ends_with("# EOF\n"), "{scrape}");
}

#[tokio::test]
async fn names_that_callers_make_up_are_not_counted() {
    let service = Service::start().await;
    eventually("ready", async || get(&service, "/readyz").await.0 == 200).await;
    let mut grpc = tonic::client::Grpc::new(service.channel().await);
    grpc.ready().await.unwrap();
    let path = "/otklik.v1.TaggingService/MadeUp".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let answer = grpc.unary(tonic::Request::new(()), path, codec).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    assert!(!get(&service, "/metrics").await.1.contains("MadeUp"));
}
