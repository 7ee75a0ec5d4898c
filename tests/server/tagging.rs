//! `TaggingService`: one text, a batch, a stream.

use std::time::Duration;

use otklik::server::wire::v1;
use otklik::server::wire::v1::{batch_classify_result, classify_stream_response};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::fakes::{FakeTagger, PERSONAL};
use crate::{Service, batch, classify, feedback};

fn streamed(index: usize, text: &str) -> v1::ClassifyStreamRequest {
    v1::ClassifyStreamRequest {
        feedback: Some(feedback(&format!("f{index}"), text)),
        request_id: format!("r{index}"),
        ..Default::default()
    }
}

/// The code of an item's outcome: 0 for tags.
fn code_of(result: &v1::BatchClassifyResult) -> i32 {
    match result.result.as_ref().expect("a result is always there") {
        batch_classify_result::Result::Tags(_) => 0,
        batch_classify_result::Result::Error(error) => error.code,
    }
}

#[tokio::test]
async fn one_text_comes_back_with_everything_known_of_it() {
    let service = Service::start().await;
    let text = format!("Перевод не дошёл, звоните {PERSONAL}");
    let tags = service.tagging().await.classify(classify(&text)).await.unwrap().into_inner().tags.unwrap();
    assert_eq!(tags.id, "f1");
    assert_eq!(tags.language(), v1::Language::Russian);
    assert_eq!(tags.masked_text, "Перевод не дошёл, звоните [PHONE]");
    assert_eq!(tags.tokens, 7);
    let topic = &tags.topics[0];
    assert_eq!((topic.topic_id.as_str(), topic.parent_id.as_str()), ("payments_transfers", "money"));
    assert_eq!((topic.confidence, topic.source()), (0.5, v1::TagSource::Prototype));
    assert_eq!(topic.evidence[0].span, Some(v1::CharSpan { start: 0, end: 3 }));
    let sentiment = tags.sentiment.unwrap();
    assert_eq!((sentiment.label(), sentiment.score, sentiment.confidence), (v1::SentimentLabel::Negative, -0.5, 0.75));
    assert_eq!(tags.team.unwrap().team_id, "payments");
    assert_eq!(tags.signals[0].detail, "by 23:00");
    let review = tags.review.unwrap();
    assert_eq!((review.needed, review.reasons().collect::<Vec<_>>()), (true, vec![v1::ReviewReason::TeamUnclear]));
    let provenance = tags.provenance.unwrap();
    assert_eq!(provenance.encoder_id, "fake");
    assert_eq!(provenance.heads, [v1::HeadIdentity { name: "sentiment".into(), sha256: "0f".repeat(32) }]);
}

#[tokio::test]
async fn turns_reach_the_tagger() {
    let service = Service::start().await;
    let turn =
        |speaker: v1::Speaker, text: &str| v1::Turn { speaker: speaker.into(), text: text.into(), offset_ms: Some(5) };
    let turns = vec![turn(v1::Speaker::Customer, "Где деньги?"), turn(v1::Speaker::Operator, "Сейчас посмотрю")];
    let request = v1::ClassifyRequest {
        feedback: Some(v1::Feedback { turns, ..Default::default() }),
        request_id: String::new(),
        ..Default::default()
    };
    let tags = service.tagging().await.classify(request).await.unwrap().into_inner().tags.unwrap();
    assert_eq!(tags.masked_text, "Где деньги?\nСейчас посмотрю");
}

#[tokio::test]
async fn the_request_id_is_echoed_made_or_refused() {
    let service = Service::start().await;
    let mut client = service.tagging().await;
    let with_id = |text: &str, id: &str| v1::ClassifyRequest { request_id: id.into(), ..classify(text) };

    let answered = client.classify(with_id("ok", "call-42")).await.unwrap();
    assert_eq!(answered.metadata().get("x-request-id").unwrap(), "call-42");
    let failed = client.classify(with_id("fail", "call-43")).await.unwrap_err();
    assert_eq!(failed.metadata().get("x-request-id").unwrap(), "call-43");
    let made = client.classify(classify("ok")).await.unwrap();
    assert_eq!(made.metadata().get("x-request-id").unwrap().len(), 36);
    for refused in ["два слова", "two words", "tab\t", &"x".repeat(129)] {
        let status = client.classify(with_id("ok", refused)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(crate::blamed(&status), ["request_id"]);
    }
}

#[tokio::test]
async fn faults_of_the_tagger_have_their_codes() {
    let service = Service::start().await;
    let mut client = service.tagging().await;
    for (text, code) in [
        ("fail", Code::Internal),
        ("overload", Code::ResourceExhausted),
        ("invalid", Code::InvalidArgument),
        ("panic", Code::Internal),
        ("fine", Code::Ok),
    ] {
        let outcome = client.classify(classify(text)).await;
        assert_eq!(outcome.map_or_else(|status| status.code(), |_| Code::Ok), code, "{text}");
    }
    let status = client.classify(classify("invalid")).await.unwrap_err();
    assert_eq!(crate::blamed(&status), ["feedback.turns[0].text"]);
}

#[tokio::test]
async fn a_batch_answers_in_order_and_keeps_faults_with_their_items() {
    let service = Service::with(|config| config.server.batch_in_flight = 8).await;
    // Later items are faster, so that an answer by completion would be out of order.
    let texts = (0..60).map(|index| match index {
        7 => " ".to_owned(),
        9 => "panic".to_owned(),
        11 => "overload".to_owned(),
        _ => format!("wait:{}", 30 - index / 2),
    });
    let results = service.tagging().await.batch_classify(batch(texts)).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 60);
    for (index, result) in results.iter().enumerate() {
        let expected = match index {
            7 => Code::InvalidArgument,
            9 => Code::Internal,
            11 => Code::ResourceExhausted,
            _ => Code::Ok,
        };
        assert_eq!((result.id.as_str(), code_of(result)), (format!("f{index}").as_str(), expected as i32));
    }
    let Some(batch_classify_result::Result::Error(error)) = &results[7].result else { panic!("no error") };
    assert_eq!(error.message, "items[7].feedback.text: must not be empty");
    assert_eq!(error.details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
    let most = FakeTagger::count(&service.tagger.most_in_work);
    assert!((2..=8).contains(&most), "{most} items in work at once");
}

#[tokio::test]
async fn a_stream_of_two_thousand_answers_in_order_with_bounded_work() {
    const REQUESTS: usize = 2_000;
    let service = Service::with(|config| config.server.stream_in_flight = 16).await;
    let requests = (0..REQUESTS).map(|index| streamed(index, &format!("wait:{}", (index * 7) % 5)));
    let answers = service.tagging().await.classify_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.collect::<Result<_, _>>().await.unwrap();
    assert_eq!(answers.len(), REQUESTS);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer.sequence, index as u64);
        assert_eq!((&answer.id, &answer.request_id), (&format!("f{index}"), &format!("r{index}")));
        assert!(matches!(&answer.result, Some(classify_stream_response::Result::Tags(tags)) if tags.id == answer.id));
    }
    let most = FakeTagger::count(&service.tagger.most_in_work);
    assert!((2..=16).contains(&most), "{most} requests in work at once");
}

#[tokio::test]
async fn a_stream_answers_while_its_caller_still_sends_and_survives_faulty_requests() {
    let service = Service::start().await;
    let (sender, receiver) = mpsc::channel(1);
    let answers = service.tagging().await.classify_stream(ReceiverStream::new(receiver)).await.unwrap();
    let mut answers = answers.into_inner();
    let no_feedback = v1::ClassifyStreamRequest::default();
    let bad_id = v1::ClassifyStreamRequest { request_id: "не ascii".into(), ..streamed(4, "ok") };
    for (sequence, (request, code)) in [
        (streamed(0, "ok"), Code::Ok),
        (streamed(1, ""), Code::InvalidArgument),
        (streamed(2, "panic"), Code::Internal),
        (no_feedback, Code::InvalidArgument),
        (bad_id, Code::InvalidArgument),
        (streamed(5, "ok"), Code::Ok),
    ]
    .into_iter()
    .enumerate()
    {
        sender.send(request).await.unwrap();
        let answer = answers.next().await.unwrap().unwrap();
        assert_eq!(answer.sequence, sequence as u64);
        let got = match answer.result.unwrap() {
            classify_stream_response::Result::Tags(_) => 0,
            classify_stream_response::Result::Error(error) => error.code,
        };
        assert_eq!(got, code as i32, "request {sequence}");
    }
    drop(sender);
    assert!(answers.next().await.is_none(), "the stream ends with OK");
}

#[tokio::test]
async fn each_request_of_a_stream_has_a_deadline_of_its_own() {
    let service = Service::with(|config| config.server.default_deadline_ms = 100).await;
    let requests = [streamed(0, "wait:30000"), streamed(1, "ok")];
    let answers = service.tagging().await.classify_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.collect::<Result<_, _>>().await.unwrap();
    let Some(classify_stream_response::Result::Error(error)) = &answers[0].result else { panic!("{:?}", answers[0]) };
    assert_eq!(error.code, Code::DeadlineExceeded as i32);
    assert!(matches!(answers[1].result, Some(classify_stream_response::Result::Tags(_))));
}

#[tokio::test]
async fn an_idle_stream_is_ended() {
    let service = Service::with(|config| config.server.stream_idle_ms = 100).await;
    let (sender, receiver) = mpsc::channel(1);
    let answers = service.tagging().await.classify_stream(ReceiverStream::new(receiver)).await.unwrap();
    let mut answers = answers.into_inner();
    sender.send(streamed(0, "ok")).await.unwrap();
    assert!(answers.next().await.unwrap().is_ok());
    let end = tokio::time::timeout(Duration::from_secs(5), answers.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(end.code(), Code::DeadlineExceeded);
    assert!(end.message().contains("server.stream_idle_ms"), "{end:?}");
}
