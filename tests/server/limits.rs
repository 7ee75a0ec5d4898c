//! What one request may hold: each limit is told by its path, its number and its key.

use otklik::config::Config;
use otklik::server::wire::v1;
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{Service, batch, blamed, classify, feedback};

fn small(config: &mut Config) {
    let limits = &mut config.limits;
    (limits.max_text_chars, limits.max_turns, limits.max_batch_items) = (10, 2, 3);
    (limits.max_attributes, limits.max_attribute_chars, limits.max_id_chars) = (1, 5, 8);
    (limits.max_filter_values, limits.max_similar) = (2, 5);
}

#[tokio::test]
async fn each_limit_of_feedback_is_told_with_its_field_and_number() {
    let service = Service::with(small).await;
    let mut client = service.tagging().await;
    let turn = |text: &str| v1::Turn { speaker: v1::Speaker::Customer.into(), text: text.into(), offset_ms: None };
    let with_turns = |turns: Vec<v1::Turn>| v1::Feedback { turns, ..Default::default() };
    let attributes =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let longest = v1::Feedback {
        customer_id: "12345678".into(),
        attributes: attributes(&[("12345678", "12345")]),
        ..feedback("ид345678", "десять зн.")
    };
    assert!(client.classify(v1::ClassifyRequest { feedback: Some(longest), ..Default::default() }).await.is_ok());

    for (given, field, key) in [
        (feedback("a", "одиннадцать"), "feedback.text", "limits.max_text_chars"),
        (with_turns(vec![turn("шесть!"), turn("пять!")]), "feedback.turns", "limits.max_text_chars"),
        (with_turns(vec![turn("а"), turn("б"), turn("в")]), "feedback.turns", "limits.max_turns"),
        (feedback("девять!!!", "ок"), "feedback.id", "limits.max_id_chars"),
        (
            v1::Feedback { customer_id: "девять!!!".into(), ..feedback("a", "ок") },
            "feedback.customer_id",
            "max_id_chars",
        ),
        (
            v1::Feedback { attributes: attributes(&[("a", ""), ("b", "")]), ..feedback("a", "ок") },
            "feedback.attributes",
            "limits.max_attributes",
        ),
        (
            v1::Feedback { attributes: attributes(&[("a", "шесть!")]), ..feedback("a", "ок") },
            "feedback.attributes[\"a\"]",
            "limits.max_attribute_chars",
        ),
        (feedback("a", " \n"), "feedback.text", "must not be empty"),
        (v1::Feedback { kind: 99, ..feedback("a", "ок") }, "feedback.kind", "FeedbackKind, not 99"),
    ] {
        let status =
            client.classify(v1::ClassifyRequest { feedback: Some(given), ..Default::default() }).await.unwrap_err();
        assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec![field.to_owned()]), "{status:?}");
        let description = status.get_details_bad_request().unwrap().field_violations[0].description.clone();
        assert!(description.contains(key), "{field}: {description}");
    }
    let nothing = client.classify(v1::ClassifyRequest::default()).await.unwrap_err();
    assert_eq!(blamed(&nothing), ["feedback"]);
    let tagged = crate::FakeTagger::count(&service.tagger.started);
    assert_eq!(tagged, 2, "only the warm-up and the first request reach the tagger");
}

#[tokio::test]
async fn each_limit_of_a_batch_or_a_search_is_told() {
    let service = Service::with(small).await;
    let mut client = service.tagging().await;
    let texts = |count: usize| std::iter::repeat_n("ок".to_owned(), count);
    assert!(client.batch_classify(batch(texts(3))).await.is_ok());
    for count in [0, 4] {
        let status = client.batch_classify(batch(texts(count))).await.unwrap_err();
        assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec!["items".to_owned()]));
        assert!(status.message().contains("1 to 3 items (limits.max_batch_items), not "), "{status:?}");
    }
    let mut client = service.cases().await;
    let upsert = client.upsert_cases(v1::UpsertCasesRequest::default()).await.unwrap_err();
    assert_eq!(blamed(&upsert), ["items"]);
    let find = v1::FindSimilarRequest {
        query: Some(v1::find_similar_request::Query::Text("ок".into())),
        limit: 6,
        filter: Some(v1::CaseFilter { ids: vec!["a".into(); 3], kinds: vec![0], ..Default::default() }),
        ..Default::default()
    };
    let status = client.find_similar(find).await.unwrap_err();
    assert_eq!(blamed(&status), ["limit", "filter.ids", "filter.kinds[0]"]);
    let get = v1::GetCaseRequest { id: "девять!!!".into(), ..Default::default() };
    assert_eq!(blamed(&client.get_case(get).await.unwrap_err()), ["id"]);
}

#[tokio::test]
async fn a_hundred_thousand_and_one_items_are_refused_clearly_under_the_default_limits() {
    let service = Service::start().await;
    let request = batch(std::iter::repeat_n("не работает приложение".to_owned(), 100_001));
    let status = service.tagging().await.batch_classify(request).await.unwrap_err();
    assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec!["items".to_owned()]), "{status:?}");
    assert!(status.message().contains("1 to 1000 items (limits.max_batch_items), not 100001"), "{status:?}");
}

/// Checks the answer to a message over the limit.
fn assert_message_too_long(status: &Status) {
    assert_eq!((status.code(), blamed(status)), (Code::InvalidArgument, vec!["message".to_owned()]), "{status:?}");
    assert!(status.message().contains("at most 2000 bytes long (server.max_message_bytes)"), "{status:?}");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_plain_or_compressed_alone_or_in_a_stream() {
    let service = Service::with(|config| config.server.max_message_bytes = 2_000).await;
    let long = "a".repeat(3_000);
    let mut client = service.tagging().await;
    assert_message_too_long(&client.classify(classify(&long)).await.unwrap_err());
    let mut compressing = service.tagging().await.send_compressed(tonic::codec::CompressionEncoding::Zstd);
    assert_message_too_long(&compressing.classify(classify(&long)).await.unwrap_err());
    assert!(compressing.classify(classify("short")).await.is_ok());

    let requests = ["short", long.as_str()].map(|text| v1::ClassifyStreamRequest {
        feedback: Some(feedback("a", text)),
        request_id: String::new(),
        ..Default::default()
    });
    let mut answers = client.classify_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().is_ok(), "what came before is answered");
    assert_message_too_long(&answers.next().await.unwrap().unwrap_err());
}
