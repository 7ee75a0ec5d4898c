//! What is noted of calls: who did what to which case, and nothing that a customer said.

use otklik::audit::{self, AuditRecord};
use otklik::server::wire::v1;

use crate::fakes::PERSONAL;
use crate::{Service, feedback};

#[tokio::test]
async fn each_call_that_touches_a_case_is_noted_without_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit");
    let service = Service::with(|config| config.audit.dir = Some(log.clone())).await;
    let mut cases = service.cases().await;
    let item = |id: &str| v1::UpsertCasesItem {
        feedback: Some(feedback(id, &format!("карта не пришла, {PERSONAL}"))),
        ..Default::default()
    };
    let request = v1::UpsertCasesRequest { items: vec![item("1"), item("2"), item("")], request_id: "up".into() };
    cases.upsert_cases(request).await.unwrap();
    let get = |id: &str| v1::GetCaseRequest { id: id.into(), ..Default::default() };
    cases.get_case(get("1")).await.unwrap();
    cases.get_case(get("nobody")).await.unwrap_err();
    let query = Some(v1::find_similar_request::Query::Text("карта не пришла".into()));
    cases.find_similar(v1::FindSimilarRequest { query, limit: 5, ..Default::default() }).await.unwrap();
    let correct = v1::CorrectTagsRequest {
        case_id: "1".into(),
        topics: Some(v1::TopicSet { topic_ids: vec!["card_delivery".into()] }),
        note: "со слов клиента".into(),
        ..Default::default()
    };
    cases.correct_tags(correct).await.unwrap();
    let delete = v1::DeleteCasesRequest { ids: vec!["2".into()], ..Default::default() };
    cases.delete_cases(delete).await.unwrap();

    let found = audit::verify(&log, None).unwrap();
    let text: String =
        std::fs::read_dir(&log).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let records: Vec<AuditRecord> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.records as usize, records.len());
    let noted: Vec<(&str, &str, u64)> = records
        .iter()
        .map(|record| (record.event.rpc.as_str(), record.event.code.as_str(), record.event.case_count))
        .collect();
    assert_eq!(
        noted,
        [
            ("CaseService/UpsertCases", "Ok", 3),
            ("CaseService/GetCase", "Ok", 1),
            ("CaseService/GetCase", "NotFound", 1),
            ("CaseService/FindSimilar", "Ok", 3),
            ("CaseService/CorrectTags", "Ok", 1),
            ("CaseService/DeleteCases", "Ok", 1),
        ]
    );
    let first = &records[0].event;
    assert_eq!((first.tenant.as_str(), first.caller.as_str(), first.request_id.as_str()), ("default", "anyone", "up"));
    assert_eq!(records[4].event.cases, ["1"]);
    for word in ["карта", "слов клиента", PERSONAL] {
        assert!(!text.contains(word), "{word} is in the log");
    }
}
