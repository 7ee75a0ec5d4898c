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

fn reviewing(text: &str, reply: &str) -> v1::ReviewReplyRequest {
    v1::ReviewReplyRequest {
        feedback: Some(feedback("f1", text)),
        reply: reply.into(),
        team_id: "payments".into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_reply_is_judged_on_every_point() {
    let service = Service::start().await;
    let mut client = service.assist().await;
    let reply = "Вернём комиссию за перевод 5 000 рублей завтра. Позвоните нам.";
    let review = client.review_reply(reviewing(APPEAL, reply)).await.unwrap().into_inner();
    let points: Vec<i32> = review.points.iter().map(|point| point.point).collect();
    assert_eq!(points, (1..=11).collect::<Vec<_>>());
    let of = |point: v1::RubricPoint| review.points.iter().find(|one| one.point() == point).unwrap();

    let channel = of(v1::RubricPoint::StaysInChannel);
    assert_eq!((channel.state(), channel.score), (v1::PointState::Scored, Some(0)));
    assert_eq!((channel.spans[0].start, channel.spans[0].end), (48, 57));
    assert_eq!(channel.remark_id, "settle_it_here");
    assert!(channel.remark.starts_with("Не отправляйте клиента"), "{}", channel.remark);
    let solution = of(v1::RubricPoint::Solution);
    assert_eq!((solution.score, solution.remark.as_str()), (Some(2), ""));
    // The tags do not tell whether something happened: that is no "no".
    let apology = of(v1::RubricPoint::Apology);
    assert_eq!((apology.state(), apology.score), (v1::PointState::NotEvaluated, None));
    assert_eq!(apology.remark_id, "unclear_whether_it_happened");
    let details = of(v1::RubricPoint::AsksForDetails);
    assert_eq!((details.state(), details.score), (v1::PointState::DoesNotApply, None));

    let refund = review.promises.iter().find(|promise| promise.gesture_id == "refund_fee").unwrap();
    assert_eq!(refund.verdict(), v1::PromiseVerdict::NeedsSupervisor);
    assert_ne!(review.verdict(), v1::PromiseVerdict::Allowed);
    assert!(review.score.is_some_and(|score| score > 0.0 && score < 1.0), "{:?}", review.score);
    assert!(review.playbook_version.starts_with("sha256:"));

    let english = v1::ReviewReplyRequest { language: v1::ReplyLanguage::English.into(), ..reviewing(APPEAL, reply) };
    let english = client.review_reply(english).await.unwrap().into_inner();
    let channel = english.points.iter().find(|one| one.remark_id == "settle_it_here").unwrap();
    assert!(channel.remark.starts_with("Do not send"), "{}", channel.remark);
}

#[tokio::test]
async fn a_review_without_the_case_store_says_what_it_could_not_evaluate() {
    let service = Service::start().await;
    service.store.silent.store(true, Ordering::SeqCst);
    let mut request = reviewing(APPEAL, "Вернём вам комиссию 500 рублей.");
    request.feedback.as_mut().unwrap().customer_id = "k1".into();
    let review = service.assist().await.review_reply(request).await.unwrap().into_inner();
    let promises = review.points.iter().find(|one| one.point() == v1::RubricPoint::Promises).unwrap();
    assert_eq!((promises.state(), promises.score), (v1::PointState::NotEvaluated, None));
    assert_eq!(promises.remark_id, "past_gestures_unknown");
}

#[tokio::test]
async fn faults_of_a_review_name_their_fields() {
    let service = Service::start().await;
    let mut client = service.assist().await;
    for (request, field) in [
        (v1::ReviewReplyRequest { feedback: None, ..reviewing(APPEAL, "Да") }, "feedback"),
        (reviewing(APPEAL, " "), "reply"),
        (v1::ReviewReplyRequest { team_id: "nobody".into(), ..reviewing(APPEAL, "Да") }, "team_id"),
        (v1::ReviewReplyRequest { language: 9, ..reviewing(APPEAL, "Да") }, "language"),
    ] {
        let refused = client.review_reply(request).await.unwrap_err();
        assert_eq!((refused.code(), blamed(&refused)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    let failed = client.review_reply(reviewing("fail", "Да")).await.unwrap_err();
    assert_eq!(failed.code(), Code::Internal);
}
