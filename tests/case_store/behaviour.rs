//! What is kept, what outlives what, and who sees it.

use otklik::cases::retention::Retention;
use otklik::cases::{
    Amendment, CaseFilter, CaseLink, CaseStoreError, Correction, LinkKind, MAX_REQUESTS, NewCase, OutcomeStatus,
    TenantId, UpsertOutcome,
};
use otklik::feedback::FeedbackKind;
use otklik::tags::TopicId;

use crate::sample::*;
use crate::stores::places;

fn correction(topic: &str) -> Amendment {
    Amendment::Correction(Correction {
        topics: Some(vec![TopicId::new(topic)]),
        team: None,
        sentiment: None,
        corrected_by: None,
        corrected_at: second(1_765_000_000),
        note: None,
    })
}

fn solved(gesture: &str, links: Option<Vec<CaseLink>>) -> Amendment {
    Amendment::Outcome { outcome: outcome(OutcomeStatus::Solved, Some(gesture)), links }
}

fn is_not_found<T>(result: &Result<T, CaseStoreError>) -> bool {
    matches!(result, Err(CaseStoreError::NotFound { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_are_stored_replaced_and_there_after_a_restart() {
    for place in places() {
        let store = place.open().await;
        let first =
            store.upsert(&tenant(), vec![new(case("1", "раз"), 0.0), new(case("2", "два"), 9.0)]).await.unwrap();
        assert_eq!(first, [UpsertOutcome::Created, UpsertOutcome::Created], "{}", place.name());
        let again = store.upsert(&tenant(), vec![new(case("2", "другое"), 9.0)]).await.unwrap();
        assert_eq!(again, [UpsertOutcome::Replaced]);
        store.close().await.unwrap();
        assert!(matches!(store.get(&tenant(), "1").await, Err(CaseStoreError::Unavailable(_))));
        drop(store);

        let store = place.open().await;
        assert_eq!(store.get(&tenant(), "1").await.unwrap(), case("1", "раз"));
        assert_eq!(store.get(&tenant(), "2").await.unwrap(), case("2", "другое"));
        assert!(is_not_found(&store.get(&tenant(), "3").await));
        let many = store.get_many(&tenant(), &["2".into(), "3".into()]).await.unwrap();
        assert_eq!(many, [case("2", "другое")]);
        assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 2);
        store.probe().await.unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_twice_acts_once_also_after_a_restart_and_after_others() {
    for place in places() {
        let store = place.open().await;
        let call = |request: &str, text: &str| {
            vec![NewCase { request_id: Some(request.to_owned()), ..new(case("1", text), 0.0) }]
        };
        let created = [UpsertOutcome::Created];
        assert_eq!(store.upsert(&tenant(), call("a", "раз")).await.unwrap(), created);
        assert_eq!(store.upsert(&tenant(), call("a", "раз")).await.unwrap(), created);
        assert_eq!(store.upsert(&tenant(), call("b", "два")).await.unwrap(), [UpsertOutcome::Replaced]);
        store.close().await.unwrap();
        drop(store);

        let store = place.open().await;
        assert_eq!(store.upsert(&tenant(), call("a", "раз")).await.unwrap(), created, "{}", place.name());
        let stored = store.get(&tenant(), "1").await.unwrap();
        assert_eq!((stored.masked_text.as_str(), stored.requests.len()), ("два", 2));
        assert_eq!(stored.done_by("a"), Some(UpsertOutcome::Created));
        // The oldest are forgotten.
        for number in 0..MAX_REQUESTS {
            store.upsert(&tenant(), call(&format!("c{number}"), "три")).await.unwrap();
        }
        assert_eq!(store.get(&tenant(), "1").await.unwrap().requests.len(), MAX_REQUESTS);
        assert_eq!(store.upsert(&tenant(), call("a", "раз")).await.unwrap(), [UpsertOutcome::Replaced]);
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_persons_said_and_what_became_of_a_case_outlive_storing_it_anew() {
    for place in places() {
        let store = place.open().await;
        store.upsert(&tenant(), vec![new(case("1", "раз"), 0.0)]).await.unwrap();
        let link = CaseLink { case_id: "2".into(), kind: LinkKind::Duplicate };
        store.amend(&tenant(), "1", correction("fees")).await.unwrap();
        let amended = store.amend(&tenant(), "1", solved("refund", Some(vec![link.clone()]))).await.unwrap();
        assert_eq!(amended.vector.len(), DIMENSION);
        assert_eq!(amended.case, store.get(&tenant(), "1").await.unwrap());

        store.upsert(&tenant(), vec![new(case("1", "раз и ещё"), 0.0)]).await.unwrap();
        let stored = store.get(&tenant(), "1").await.unwrap();
        assert_eq!((stored.masked_text.as_str(), stored.status()), ("раз и ещё", OutcomeStatus::Solved));
        assert_eq!((stored.topic_ids(), stored.links.as_slice()), (vec![&TopicId::new("fees")], &[link][..]));
        // An outcome of its own takes the place, and no links leave them.
        let rejected = Amendment::Outcome { outcome: outcome(OutcomeStatus::Rejected, None), links: None };
        let stored = store.amend(&tenant(), "1", rejected).await.unwrap().case;
        assert_eq!((stored.status(), stored.links.len()), (OutcomeStatus::Rejected, 1), "{}", place.name());
        let stored = store.amend(&tenant(), "1", solved("gift", Some(vec![]))).await.unwrap().case;
        assert_eq!(stored.links, []);
        assert!(is_not_found(&store.amend(&tenant(), "none", solved("gift", None)).await));
        let mut free = outcome(OutcomeStatus::Solved, None);
        free.cost = Some(f64::NAN);
        let error = store.amend(&tenant(), "1", Amendment::Outcome { outcome: free, links: None }).await.unwrap_err();
        assert!(error.to_string().starts_with("outcome.cost: must be a finite number"), "{error}");
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_never_sees_counts_or_deletes_anothers_cases() {
    for place in places() {
        let store = place.open().await;
        let (ours, theirs) = (TenantId::new("ours"), TenantId::new("theirs"));
        let of = |id: &str, text: &str| {
            let mut case = case(id, text);
            case.customer_id = Some("c".into());
            case.channel = Some("call".into());
            new(case, 0.0)
        };
        store.upsert(&ours, vec![of("1", "наше"), of("2", "наше тоже")]).await.unwrap();
        store.upsert(&theirs, vec![of("1", "чужое"), of("3", "чужое тоже")]).await.unwrap();
        let filters = [
            CaseFilter::default(),
            by_ids(&["1", "3"]),
            CaseFilter { channels: vec!["call".into()], ..CaseFilter::default() },
            CaseFilter { customer_id: Some("c".into()), ..CaseFilter::default() },
            CaseFilter { corrected: Some(false), ..CaseFilter::default() },
            CaseFilter { kind_unknown: true, ..CaseFilter::default() },
        ];
        for filter in &filters {
            let found = store.find_similar(
                &ours,
                otklik::cases::SimilarQuery { filter: filter.clone(), ..search("чужое", 0.0, 10) },
            );
            let found = found.await.unwrap();
            assert!(found.hits.iter().all(|hit| hit.case.masked_text.starts_with("наше")), "{filter:?}");
            let page = store.page(&ours, filter, None, 100).await.unwrap();
            assert!(page.cases.iter().all(|stored| stored.case.masked_text.starts_with("наше")), "{filter:?}");
            assert_eq!(store.count(&ours, filter).await.unwrap(), page.cases.len() as u64);
        }
        assert!(is_not_found(&store.get(&ours, "3").await));
        assert_eq!(store.get_many(&ours, &["3".into()]).await.unwrap(), []);
        assert!(is_not_found(&store.amend(&ours, "3", solved("gift", None)).await));
        let to_theirs =
            otklik::cases::SimilarQuery { to: otklik::cases::SimilarTo::CaseId("3".into()), ..search("", 0.0, 10) };
        assert!(is_not_found(&store.find_similar(&ours, to_theirs).await));
        assert_eq!(store.delete(&ours, &filters[1]).await.unwrap(), 1);
        assert_eq!(store.delete(&ours, &filters[2]).await.unwrap(), 1);
        assert_eq!(store.erase(&ours, "c").await.unwrap().case_ids, Vec::<String>::new());
        assert_eq!(store.count(&theirs, &CaseFilter::default()).await.unwrap(), 2, "{}", place.name());
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn erasure_takes_every_case_of_a_customer_and_leaves_a_receipt() {
    for place in places() {
        let store = place.open().await;
        let of = |id: &str, customer: Option<&str>| {
            let mut case = case(id, "текст");
            case.customer_id = customer.map(str::to_owned);
            new(case, 0.0)
        };
        store
            .upsert(&tenant(), vec![of("b", Some("k")), of("a", Some("k")), of("c", Some("m")), of("d", None)])
            .await
            .unwrap();
        let receipt = store.erase(&tenant(), "k").await.unwrap();
        assert_eq!((receipt.case_ids.as_slice(), receipt.tenant), (&["a".to_owned(), "b".to_owned()][..], tenant()));
        assert!(!receipt.customer_id_sha256.contains('k') && receipt.customer_id_sha256.len() == 64);
        assert_eq!(receipt.snapshots, Vec::<String>::new(), "{}", place.name());
        assert!(is_not_found(&store.get(&tenant(), "a").await));
        assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 2);
        assert!(matches!(store.erase(&tenant(), "").await, Err(CaseStoreError::Invalid { .. })));
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_expire_by_kind() {
    for place in places() {
        let store = place.open().await;
        let stored = |id: &str, kind: Option<FeedbackKind>, days: i64| {
            let mut case = case(id, "текст");
            (case.kind, case.stored_at) = (kind, second(1_800_000_000 - days * 86_400));
            new(case, 0.0)
        };
        let complaint = Some(FeedbackKind::Complaint);
        let cases = vec![
            stored("old complaint", complaint, 31),
            stored("complaint", complaint, 29),
            stored("old comment", Some(FeedbackKind::Comment), 1_000),
            stored("old", None, 8),
            stored("new", None, 6),
        ];
        store.upsert(&tenant(), cases).await.unwrap();
        store.amend(&tenant(), "old complaint", correction("fees")).await.unwrap();
        let retention = Retention { days: vec![(complaint, 30), (None, 7)] };
        let now = second(1_800_000_000);
        let counted = retention.count(&*store, &tenant(), now).await.unwrap();
        assert_eq!(counted.iter().map(|one| one.cases).collect::<Vec<_>>(), [1, 1]);
        let expired = retention.apply(&*store, &tenant(), now).await.unwrap();
        assert_eq!((expired[0].cases, expired[1].cases), (1, 1), "{}", place.name());
        assert_eq!(expired[0].corrected_ids, ["old complaint"]);
        let left = store.page(&tenant(), &CaseFilter::default(), None, 10).await.unwrap().cases;
        let mut left: Vec<_> = left.into_iter().map(|stored| stored.case.id).collect();
        left.sort_unstable();
        assert_eq!(left, ["complaint", "new", "old comment"]);
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_told_by_its_field_and_nothing_is_stored() {
    for place in places() {
        let store = place.open().await;
        let vector = |vector: Vec<f32>| vec![new(case("1", "а"), 0.0), NewCase { vector, ..new(case("2", "б"), 0.0) }];
        for (cases, message) in [
            (vec![new(case("", "а"), 0.0)], "cases[0].id: is empty"),
            (vec![new(case("1", "а"), 0.0), new(case("1", "б"), 0.0)], "cases[1].id: \"1\" stands twice"),
            (vector(vec![1.0]), "cases[1].vector: has 1 numbers"),
            (vector(vec![2.0; DIMENSION]), "cases[1].vector: has length"),
            (vector(vec![f32::NAN; DIMENSION]), "cases[1].vector: number 0 is not finite"),
        ] {
            let error = store.upsert(&tenant(), cases).await.unwrap_err();
            assert!(
                matches!(error, CaseStoreError::Invalid { .. }) && error.to_string().starts_with(message),
                "{error}"
            );
        }
        assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 0, "{}", place.name());
        let error = store.find_similar(&tenant(), near(0.0, 0)).await.unwrap_err();
        assert!(error.to_string().starts_with("limit: 0 is not allowed"), "{error}");
        let error = store.delete(&tenant(), &CaseFilter::default()).await.unwrap_err();
        assert!(error.to_string().starts_with("filter: the empty filter"), "{error}");
        let error = store.page(&tenant(), &CaseFilter::default(), Some("nowhere"), 10).await.unwrap_err();
        assert!(error.to_string().starts_with("from: names no part"), "{error}");
        store.close().await.unwrap();
    }
}
