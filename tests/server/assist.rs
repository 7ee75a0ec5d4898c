//! Suggestions over the wire.

use std::sync::atomic::Ordering;

use otklik::server::wire::v1::suggest_response::Result as Shown;
use otklik::server::wire::v1::{self, SuggestionSlot};
use tonic::Code;

use super::fakes::PERSONAL;
use super::{Service, blamed, feedback};

const APPEAL: &str = "Почему взяли комиссию за перевод, никто не предупредил";

fn suggest(text: &str) -> v1::SuggestRequest {
    v1::SuggestRequest { feedback: Some(feedback("f1", text)), team_id: "payments".into(), ..Default::default() }
}

async fn slots(service: &Service, request: v1::SuggestRequest) -> Vec<(SuggestionSlot, Shown)> {
    let mut stream = service.assist().await.suggest(request).await.unwrap().into_inner();
    let mut slots = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        slots.push((response.slot(), response.result.unwrap()));
    }
    slots
}

#[tokio::test]
async fn every_slot_comes_once_and_the_tags_first() {
    let service = Service::start().await;
    let slots = slots(&service, suggest(&format!("{APPEAL} {PERSONAL}"))).await;
    let mut names: Vec<i32> = slots.iter().map(|(slot, _)| *slot as i32).collect();
    assert_eq!(slots[0].0, SuggestionSlot::Tags);
    names.sort_unstable();
    assert_eq!(names, [1, 2, 3, 4, 5, 6], "{slots:#?}");
    for (slot, shown) in &slots {
        assert!(!matches!(shown, Shown::Error(_)), "{slot:?}: {shown:?}");
        assert!(!format!("{shown:?}").contains(PERSONAL), "{slot:?}");
    }
    let offers = slots.iter().find_map(|(_, shown)| match shown {
        Shown::Gestures(advice) => Some(advice),
        _ => None,
    });
    let offers = offers.unwrap();
    assert!(offers.playbook_version.starts_with("sha256:"));
    let refund = offers.offers.iter().find(|offer| offer.gesture_id == "refund_fee").unwrap();
    assert_eq!((refund.status(), refund.name.as_str()), (v1::OfferStatus::Allowed, "Возврат комиссии"));
    assert!(refund.limit.contains("1000 RUB"), "{}", refund.limit);
    let foreign = offers.offers.iter().find(|offer| offer.gesture_id == "discount_next_order");
    assert!(foreign.is_none_or(|offer| offer.status() == v1::OfferStatus::AskSupervisor));
    let draft = slots.iter().find_map(|(_, shown)| match shown {
        Shown::Draft(draft) => Some(draft),
        _ => None,
    });
    let draft = draft.unwrap();
    assert_eq!((draft.source(), draft.verdict()), (v1::DraftSource::Template, v1::PromiseVerdict::Allowed));
}

#[tokio::test]
async fn a_slot_that_fails_says_why_and_the_others_come() {
    let service = Service::start().await;
    // The script's examples are encoded while all is well.
    slots(&service, suggest(APPEAL)).await;
    service.store.silent.store(true, Ordering::SeqCst);
    let found = slots(&service, suggest(APPEAL)).await;
    let errors: Vec<_> = found
        .iter()
        .filter_map(|(slot, shown)| match shown {
            Shown::Error(error) => Some((*slot, Code::from_i32(error.code))),
            _ => None,
        })
        .collect();
    assert_eq!(errors, [(SuggestionSlot::Similar, Code::Unavailable)]);
    service.store.silent.store(false, Ordering::SeqCst);
    let found = slots(&service, suggest("fail")).await;
    assert!(matches!(&found[0].1, Shown::Error(error) if error.code == Code::Internal as i32), "{found:?}");
    assert!(found.iter().any(|(slot, shown)| *slot == SuggestionSlot::Draft && matches!(shown, Shown::Draft(_))));
}

#[tokio::test]
async fn faults_of_a_request_name_their_fields() {
    let service = Service::start().await;
    let mut client = service.assist().await;
    let no_feedback = client.suggest(v1::SuggestRequest::default()).await.unwrap_err();
    assert_eq!((no_feedback.code(), blamed(&no_feedback)), (Code::InvalidArgument, vec!["feedback".to_owned()]));
    let team = v1::SuggestRequest { team_id: "nobody".into(), ..suggest(APPEAL) };
    assert_eq!(blamed(&client.suggest(team).await.unwrap_err()), ["team_id"]);
    let language = v1::SuggestRequest { language: 9, ..suggest(APPEAL) };
    assert_eq!(blamed(&client.suggest(language).await.unwrap_err()), ["language"]);

    let nothing = client.record_suggestion_use(v1::RecordSuggestionUseRequest::default()).await.unwrap_err();
    assert_eq!(blamed(&nothing), ["gesture_id", "use"]);
}

#[tokio::test]
async fn what_operators_did_counts_and_is_bounded() {
    let service = Service::start().await;
    let mut client = service.assist().await;
    let used = |gesture: &str| v1::RecordSuggestionUseRequest {
        gesture_id: gesture.into(),
        topic_ids: vec!["payments_transfers".into()],
        r#use: v1::SuggestionUse::Rejected.into(),
        ..Default::default()
    };
    for _ in 0..4 {
        client.record_suggestion_use(used("refund_fee")).await.unwrap();
    }
    let found = slots(&service, suggest(APPEAL)).await;
    let rate = found.iter().find_map(|(_, shown)| match shown {
        Shown::Gestures(advice) => advice.offers.iter().find(|offer| offer.gesture_id == "refund_fee"),
        _ => None,
    });
    assert_eq!(rate.unwrap().acceptance_rate, 0.25);
    client.record_suggestion_use(used("manager_call")).await.unwrap();
    client.record_suggestion_use(used("goodwill_bonus")).await.unwrap();
    let full = client.record_suggestion_use(used("reverse_charge")).await.unwrap_err();
    assert_eq!(full.code(), Code::FailedPrecondition);
}
