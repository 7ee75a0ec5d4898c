//! Requests that are valid, so that they go all the way: one list for each RPC.

use std::collections::BTreeMap;

use otklik::server::wire::v1;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};

/// The requests of each RPC, by its name. Those of a stream are sent on one.
pub fn requests(text: &str) -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let feedback = |id: &str| Some(feedback(id, text));
    let talk = || Some(talk(text));
    let owned = str::to_owned;
    let filter = || Some(v1::CaseFilter { channels: vec![owned(text)], ..Default::default() });
    let outcome = || v1::Outcome {
        status: v1::OutcomeStatus::Solved.into(),
        resolution: owned(text),
        decided_by: owned(text),
        ..Default::default()
    };
    let scope = || Some(v1::RetagScope { filter: filter(), ..Default::default() });
    let prompt = || v1::RunPromptRequest {
        prompt_id: owned("extract-core"),
        language: v1::PromptLanguage::Russian.into(),
        input: Some(Struct { fields: [(owned("text"), value(text))].into() }),
        stream_pieces: true,
        ..Default::default()
    };
    let item =
        |id: &str| v1::UpsertCasesItem { feedback: feedback(id), outcome: Some(outcome()), ..Default::default() };
    let preview = || v1::PreviewRetagRequest {
        scope: scope(),
        sample: Some(v1::preview_retag_request::Sample::Cases(10)),
        ..Default::default()
    };
    let start =
        v1::AssistStart { channel: owned(text), product: owned(text), partner: owned(text), ..Default::default() };
    let turn = v1::AssistTurn { speaker: v1::Speaker::Customer.into(), text: owned(text), ..Default::default() };
    let assist = [v1::assist_request::Part::Start(start), v1::assist_request::Part::Turn(turn)];
    let version = "no-such-version";
    [
        ("TaggingService/Classify", one(v1::ClassifyRequest { feedback: talk(), ..Default::default() })),
        (
            "TaggingService/ClassifyStream",
            ["s1", "s2"]
                .map(|id| v1::ClassifyStreamRequest {
                    feedback: feedback(id),
                    request_id: owned(id),
                    ..Default::default()
                })
                .map(|message| message.encode_to_vec())
                .into(),
        ),
        (
            "TaggingService/BatchClassify",
            one(v1::BatchClassifyRequest {
                items: vec![
                    v1::BatchClassifyItem { feedback: feedback("b1") },
                    v1::BatchClassifyItem { feedback: Some(v1::Feedback { kind: 99, ..self::feedback("b2", text) }) },
                ],
                ..Default::default()
            }),
        ),
        (
            "CaseService/UpsertCases",
            one(v1::UpsertCasesRequest { items: vec![item("case-1"), item("case-2")], request_id: owned("upsert-1") }),
        ),
        (
            "CaseService/GetCase",
            one(v1::GetCaseRequest { id: owned("case-1"), include_original: true, ..Default::default() }),
        ),
        (
            "CaseService/RecordOutcome",
            one(v1::RecordOutcomeRequest { case_id: owned("case-1"), outcome: Some(outcome()), ..Default::default() }),
        ),
        (
            "CaseService/FindSimilar",
            one(v1::FindSimilarRequest {
                query: Some(v1::find_similar_request::Query::Text(owned(text))),
                filter: filter(),
                limit: 5,
                ..Default::default()
            }),
        ),
        (
            "CaseService/CorrectTags",
            one(v1::CorrectTagsRequest {
                case_id: owned("case-1"),
                topics: Some(v1::TopicSet { topic_ids: vec![owned("cards")] }),
                note: owned(text),
                corrected_by: owned(text),
                request_id: owned("correct-1"),
                ..Default::default()
            }),
        ),
        (
            "CaseService/ListForReview",
            one(v1::ListForReviewRequest { filter: filter(), limit: 5, ..Default::default() }),
        ),
        (
            "CaseService/DeleteCases",
            one(v1::DeleteCasesRequest {
                filter: Some(v1::CaseFilter {
                    products: vec![owned(text)],
                    ids: vec![owned("case-2")],
                    ..Default::default()
                }),
                ..Default::default()
            }),
        ),
        ("AssistService/Suggest", one(v1::SuggestRequest { feedback: feedback("a1"), ..Default::default() })),
        ("AssistService/Assist", assist.map(|part| v1::AssistRequest { part: Some(part) }.encode_to_vec()).into()),
        (
            "AssistService/ReviewReply",
            one(v1::ReviewReplyRequest { feedback: feedback("a2"), reply: owned(text), ..Default::default() }),
        ),
        ("AssistService/Summarize", one(v1::SummarizeRequest { feedback: talk(), ..Default::default() })),
        (
            "AssistService/RecordSuggestionUse",
            one(v1::RecordSuggestionUseRequest {
                gesture_id: owned("no_such_gesture"),
                r#use: v1::SuggestionUse::Accepted.into(),
                ..Default::default()
            }),
        ),
        ("PromptService/ListPrompts", one(v1::ListPromptsRequest::default())),
        (
            "PromptService/GetPrompt",
            one(v1::GetPromptRequest {
                prompt_id: prompt().prompt_id,
                language: prompt().language,
                ..Default::default()
            }),
        ),
        (
            "PromptService/RenderPrompt",
            one(v1::RenderPromptRequest {
                prompt_id: prompt().prompt_id,
                language: prompt().language,
                input: prompt().input,
                ..Default::default()
            }),
        ),
        ("PromptService/RunPrompt", one(prompt())),
        ("RetagService/PreviewRetag", one(preview())),
        (
            "RetagService/StartRetag",
            one(v1::StartRetagRequest { scope: scope(), request_id: owned("retag-1"), ..Default::default() }),
        ),
        ("RetagService/GetRetagJob", one(v1::GetRetagJobRequest { id: owned("no-such-job"), ..Default::default() })),
        ("RetagService/ListRetagJobs", one(v1::ListRetagJobsRequest { limit: 5, ..Default::default() })),
        (
            "RetagService/WatchRetagJob",
            one(v1::WatchRetagJobRequest { id: owned("no-such-job"), ..Default::default() }),
        ),
        (
            "RetagService/CancelRetagJob",
            one(v1::CancelRetagJobRequest { id: owned("no-such-job"), ..Default::default() }),
        ),
        ("TaxonomyService/GetTaxonomy", one(v1::GetTaxonomyRequest { include_source: true, ..Default::default() })),
        ("TaxonomyService/ListTaxonomyVersions", one(v1::ListTaxonomyVersionsRequest::default())),
        (
            "TaxonomyService/ValidateTaxonomy",
            one(v1::ValidateTaxonomyRequest { source: owned(text), ..Default::default() }),
        ),
        (
            "TaxonomyService/DiffTaxonomy",
            one(v1::DiffTaxonomyRequest { effect: Some(preview()), ..Default::default() }),
        ),
        (
            "TaxonomyService/PublishTaxonomy",
            one(v1::PublishTaxonomyRequest {
                source: format!("# {text}\n{}", include_str!("../../src/taxonomy/default.toml")),
                published_by: owned(text),
                comment: owned(text),
                ..Default::default()
            }),
        ),
        (
            "TaxonomyService/RollbackTaxonomy",
            one(v1::RollbackTaxonomyRequest {
                version: owned(version),
                published_by: owned(text),
                comment: owned(text),
                ..Default::default()
            }),
        ),
    ]
    .into()
}

fn one(message: impl Message) -> Vec<Vec<u8>> {
    vec![message.encode_to_vec()]
}

fn value(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

/// A complaint with a marker in each of its texts.
pub fn feedback(id: &str, text: &str) -> v1::Feedback {
    v1::Feedback {
        id: id.to_owned(),
        kind: v1::FeedbackKind::Complaint.into(),
        text: format!("Карту заблокировали в поездке, случай {id}, платить нечем. {text}"),
        channel: text.to_owned(),
        touchpoint: text.to_owned(),
        product: text.to_owned(),
        partner: text.to_owned(),
        attributes: [("город".to_owned(), text.to_owned())].into(),
        ..Default::default()
    }
}

/// A conversation with a marker in each turn.
fn talk(text: &str) -> v1::Feedback {
    let turn = |speaker: v1::Speaker, said: &str| v1::Turn {
        speaker: speaker.into(),
        text: format!("{said} {text}"),
        ..Default::default()
    };
    v1::Feedback {
        text: String::new(),
        kind: v1::FeedbackKind::Transcript.into(),
        turns: vec![
            turn(v1::Speaker::Customer, "Третий день не работает касса."),
            turn(v1::Speaker::Operator, "Вернём комиссию завтра до 18:00."),
            turn(v1::Speaker::Customer, "Спасибо, жду."),
        ],
        ..feedback("t1", text)
    }
}
