//! Asking a language model for a topic over the wire.

use std::sync::atomic::Ordering;

use otklik::server::wire::v1::{self, LanguageModelUse, batch_classify_result, classify_stream_response};
use otklik::tagging::Consult;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{Service, batch, blamed, classify};

fn asking(wanted: LanguageModelUse) -> v1::ClassifyRequest {
    v1::ClassifyRequest { language_model: wanted.into(), ..classify("Где деньги?") }
}

#[tokio::test]
async fn asking_for_a_model_where_none_is_says_how_to_get_one() {
    let service = Service::start().await;
    let mut client = service.tagging().await;
    for wanted in [LanguageModelUse::WhenAbstaining, LanguageModelUse::Always] {
        let status = client.classify(asking(wanted)).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("otklik models pull"), "{status:?}");
        let details = status.get_details_precondition_failure().unwrap();
        assert_eq!(details.violations[0].subject, "models.language_model");
    }
    for wanted in [LanguageModelUse::Unspecified, LanguageModelUse::Never] {
        client.classify(asking(wanted)).await.unwrap();
    }
    let always: i32 = LanguageModelUse::Always.into();
    let request = v1::BatchClassifyRequest { language_model: always, ..batch(["да".to_owned()]) };
    assert_eq!(client.batch_classify(request).await.unwrap_err().code(), Code::FailedPrecondition);
    let request =
        v1::ClassifyStreamRequest { feedback: classify("да").feedback, language_model: always, ..Default::default() };
    let mut answers = client.classify_stream(tokio_stream::iter([request])).await.unwrap().into_inner();
    match answers.message().await.unwrap().unwrap().result.unwrap() {
        classify_stream_response::Result::Error(error) => assert_eq!(error.code, Code::FailedPrecondition as i32),
        classify_stream_response::Result::Tags(_) => panic!("tagged without the model that was asked for"),
    }
    let unknown = v1::ClassifyRequest { language_model: 9, ..classify("да") };
    assert_eq!(blamed(&client.classify(unknown).await.unwrap_err()), ["language_model"]);
}

#[tokio::test]
async fn what_a_request_says_of_the_model_reaches_the_tagger() {
    let service = Service::start().await;
    service.tagger.consults.store(true, Ordering::SeqCst);
    let mut client = service.tagging().await;
    client.classify(asking(LanguageModelUse::Unspecified)).await.unwrap();
    client.classify(asking(LanguageModelUse::Always)).await.unwrap();
    let request = v1::BatchClassifyRequest {
        language_model: LanguageModelUse::WhenAbstaining.into(),
        ..batch(["да".to_owned()])
    };
    let results = client.batch_classify(request).await.unwrap().into_inner().results;
    assert!(matches!(results[0].result, Some(batch_classify_result::Result::Tags(_))));
    let request = v1::ClassifyStreamRequest {
        feedback: classify("да").feedback,
        language_model: LanguageModelUse::Never.into(),
        ..Default::default()
    };
    let mut answers = client.classify_stream(tokio_stream::iter([request])).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    let seen = service.tagger.consulted.lock().unwrap().clone();
    // The service itself asks whether the tagger is alive, and says nothing of a model.
    let asked: Vec<Consult> = seen.into_iter().flatten().collect();
    assert_eq!(asked, [Consult::Always, Consult::WhenAbstaining, Consult::Never]);
}
