//! Too much, too slow, gone, broken: the service refuses, lets go and lives.

use std::time::{Duration, Instant};

use otklik::server::wire::v1;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::fakes::FakeTagger;
use crate::{LOG, Service, batch, classify, eventually};

/// Waits until the tagger has this many calls in work.
async fn in_work(service: &Service, count: usize) {
    eventually("calls in work", async || FakeTagger::count(&service.tagger.in_work) == count).await;
}

#[tokio::test]
async fn a_slow_call_without_a_deadline_gets_the_default_one() {
    let service = Service::with(|config| config.server.default_deadline_ms = 150).await;
    let mut client = service.tagging().await;
    let started = Instant::now();
    let status = client.classify(classify("hold")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!((150..3_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    in_work(&service, 0).await;
    let status = client.batch_classify(batch(["ok".into(), "hold".into()])).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(client.classify(classify("ok")).await.is_ok());
}

#[tokio::test]
async fn the_callers_deadline_reaches_the_tagger_bounded_by_the_greatest() {
    let service = Service::with(|config| {
        (config.server.default_deadline_ms, config.server.max_deadline_ms) = (20_000, 60_000);
    })
    .await;
    let mut client = service.tagging().await;
    eventually("the warm-up", async || FakeTagger::count(&service.tagger.finished) == 1).await;
    for (asked_s, expected_s) in [(None, 20), (Some(5), 5), (Some(600), 60)] {
        let mut request = Request::new(classify("ok"));
        if let Some(asked) = asked_s {
            request.set_timeout(Duration::from_secs(asked));
        }
        client.classify(request).await.unwrap();
        let left = service.tagger.deadlines.lock().unwrap().last().copied().flatten().unwrap();
        let expected = Duration::from_secs(expected_s);
        assert!(left <= expected && left > expected - Duration::from_secs(3), "asked for {asked_s:?}: {left:?} left");
    }
}

#[tokio::test]
async fn a_caller_that_left_is_not_worked_for() {
    let service = Service::start().await;
    let mut client = service.tagging().await;
    let call = tokio::spawn(async move { client.classify(classify("hold")).await });
    in_work(&service, 1).await;
    call.abort();
    in_work(&service, 0).await;

    let mut client = service.tagging().await;
    let texts = std::iter::repeat_n("hold".to_owned(), 100);
    let call = tokio::spawn(async move { client.batch_classify(batch(texts)).await });
    in_work(&service, 32).await;
    call.abort();
    in_work(&service, 0).await;

    let (sender, receiver) = mpsc::channel(1);
    let answers = service.tagging().await.classify_stream(ReceiverStream::new(receiver)).await.unwrap();
    let request = v1::ClassifyStreamRequest {
        feedback: classify("hold").feedback,
        request_id: String::new(),
        ..Default::default()
    };
    sender.send(request).await.unwrap();
    in_work(&service, 1).await;
    drop((answers, sender));
    in_work(&service, 0).await;
    assert_eq!(FakeTagger::count(&service.tagger.started), 1 + 1 + 32 + 1, "nothing was begun after its caller left");
}

#[tokio::test]
async fn a_full_service_refuses_at_once_and_still_tells_its_health() {
    let service = Service::with(|config| config.server.max_concurrent_requests = 2).await;
    let mut client = service.tagging().await;
    let (sender, receiver) = mpsc::channel(1);
    let mut answers = client.classify_stream(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let mut holding = client.clone();
    let held = tokio::spawn(async move { holding.classify(classify("hold")).await });
    in_work(&service, 1).await;

    let refused = client.classify(classify("ok")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("server.max_concurrent_requests"), "{refused:?}");
    let delay = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((Duration::from_millis(10)..Duration::from_secs(10)).contains(&delay), "{delay:?}");
    let health = HealthClient::new(service.channel().await).check(HealthCheckRequest::default()).await;
    assert!(health.is_ok(), "{health:?}");

    service.tagger.release.add_permits(1);
    assert!(held.await.unwrap().is_ok());
    assert!(client.classify(classify("ok")).await.is_ok(), "the place is free again");
    drop(sender);
    assert!(answers.next().await.is_none());
    eventually("the stream's place is free again", async || {
        let both = tokio::join!(service.tagging(), service.tagging());
        let (mut first, mut second) = both;
        let both = tokio::join!(first.classify(classify("wait:50")), second.classify(classify("wait:50")));
        both.0.is_ok() && both.1.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_internal_and_the_service_lives() {
    let service = Service::start().await;
    let mut client = service.tagging().await;
    for _ in 0..3 {
        assert_eq!(client.classify(classify("panic")).await.unwrap_err().code(), Code::Internal);
        assert!(client.classify(classify("ok")).await.is_ok());
    }
}

#[tokio::test]
async fn the_log_names_the_call_and_never_what_was_said() {
    let service = Service::start().await;
    let mut client = service.tagging().await;
    for (index, command) in ["ok", "fail", "panic", "invalid", "overload"].into_iter().enumerate() {
        let feedback = v1::Feedback {
            customer_id: "secretcustomer".into(),
            ..crate::feedback("f", &format!("{command} secretwords"))
        };
        let request = v1::ClassifyRequest {
            feedback: Some(feedback),
            request_id: format!("logged-{index}"),
            ..Default::default()
        };
        let _ = client.classify(request).await;
    }
    let log = || String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    for index in 0..5 {
        let id = format!("logged-{index}");
        eventually("the end of the call in the log", async || {
            log().lines().any(|line| {
                line.contains(&id) && line.contains("/otklik.v1.TaggingService/Classify") && line.contains("call ended")
            })
        })
        .await;
    }
    let log = log();
    assert!(log.lines().any(|line| line.contains("logged-1") && line.contains("failed on")), "{log}");
    assert!(!log.contains("secretwords") && !log.contains("secretcustomer"), "{log}");
}
