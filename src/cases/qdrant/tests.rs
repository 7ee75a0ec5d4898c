use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use jiff::Timestamp;
use qdrant_client::qdrant::PointStruct;
use serde_json::json;
use tonic::Code;
use uuid::Uuid;

use super::fake::{self, Fake};
use super::mapping::{self, MOST_BYTES_SENT, MOST_POINTS, ReadPoint, server_filter};
use super::{Migration, QdrantOptions, QdrantStore, Reembed, calls, schema};
use crate::cases::edge::sample;
use crate::cases::plan::StoredCase;
use crate::cases::point::{DENSE, Field, point_id};
use crate::cases::{
    Amendment, Case, CaseFilter, CaseReading, CaseStore, CaseStoreError, Correction, NewCase, NewTags, Outcome,
    OutcomeStatus, RetagOutcome, Retagging, SearchMode, SimilarQuery, SimilarTo, TagPart, TenantId, UpsertOutcome,
};
use crate::feedback::{FeedbackKind, Score, ScoreMetric};
use crate::tags::TeamId;

const ENCODER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OTHER_ENCODER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

fn tenant() -> TenantId {
    TenantId::new("банк")
}

fn unit(angle: f32) -> Vec<f32> {
    vec![angle.cos(), angle.sin()]
}

fn new(id: &str, angle: f32) -> NewCase {
    NewCase { case: sample::case(id), vector: unit(angle), request_id: None }
}

fn options(url: &str) -> QdrantOptions {
    QdrantOptions { timeout: Duration::from_secs(5), ..QdrantOptions::new(url, 2, ENCODER) }
}

fn by_ids(ids: &[&str]) -> CaseFilter {
    CaseFilter { ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..CaseFilter::default() }
}

fn solved() -> Amendment {
    let outcome = Outcome {
        status: OutcomeStatus::Solved,
        resolution: Some("вернули".to_owned()),
        gesture_id: Some("refund".to_owned()),
        cost: Some(100.0),
        score_after: None,
        decided_at: None,
        decided_by: None,
    };
    Amendment::Outcome { outcome, links: None }
}

fn corrected(team: &str) -> Amendment {
    Amendment::Correction(Correction {
        topics: None,
        team: Some(TeamId::new(team)),
        sentiment: None,
        corrected_by: None,
        corrected_at: Timestamp::UNIX_EPOCH,
        note: None,
    })
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, CaseStoreError>) -> String {
    match result {
        Err(CaseStoreError::Unavailable(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

// What needs no server.

fn full_case() -> Case {
    Case {
        kind: Some(FeedbackKind::ALL[0]),
        channel: Some("чат".to_owned()),
        customer_id: Some("c-7".to_owned()),
        score: Some(Score { metric: ScoreMetric::ALL[0], value: 3.5, scale_max: 10.0 }),
        occurred_at: Timestamp::from_microsecond(1_760_000_000_123_456).ok(),
        ..sample::case("1")
    }
}

fn stored(case: Case) -> StoredCase {
    StoredCase::new(&tenant(), NewCase { case, vector: unit(0.3), request_id: None }).unwrap()
}

#[test]
fn a_case_comes_back_from_its_point() {
    let stored = stored(full_case());
    let point = mapping::point(stored.clone());
    let read = ReadPoint::new(fake::retrieved(point)).unwrap();
    assert_eq!(read.point, point_id(&tenant(), "1"));
    assert_eq!(read.case().unwrap(), stored.case);
    assert_eq!((read.dense.clone(), read.stems.clone()), (Some(unit(0.3)), stored.words.indices));
    assert!(read.is_of(&tenant()) && !read.is_of(&TenantId::new("другой")));
    let value = json!({"n": null, "b": true, "i": -7, "f": 0.25, "t": "да", "l": [1, "x", [2.5]], "o": {"k": {}}});
    assert_eq!(mapping::json(mapping::value(value.clone())), value);
}

#[test]
fn a_case_without_words_or_with_a_damaged_payload_is_read_without_panic() {
    let mut point = mapping::point(stored(Case { masked_text: "и не".to_owned(), ..sample::case("1") }));
    let read = ReadPoint::new(fake::retrieved(point.clone())).unwrap();
    assert_eq!(read.stems, Vec::<u32>::new());
    point.payload.insert("case".to_owned(), mapping::value("{\"id\": \"тайна".into()));
    let problem = ReadPoint::new(fake::retrieved(point.clone())).unwrap().case().unwrap_err().to_string();
    assert!(problem.contains("has not a case") && !problem.contains("тайна"), "{problem}");
    point.id = Some(7.into());
    assert_eq!(ReadPoint::new(fake::retrieved(point)), None);
}

#[test]
fn filters_always_name_the_tenant_and_match_as_they_say() {
    let point = mapping::point(stored(full_case()));
    let id = point_id(&tenant(), "1");
    let is_met = |filter: &CaseFilter| fake::matches(&server_filter(&tenant(), filter), id, &point);
    let other = server_filter(&TenantId::new("другой"), &CaseFilter::default());
    assert!(is_met(&CaseFilter::default()) && !fake::matches(&other, id, &point));
    let occurred_at = full_case().occurred_at;
    assert!(is_met(&CaseFilter { occurred_from: occurred_at, ..CaseFilter::default() }));
    assert!(!is_met(&CaseFilter { occurred_until: occurred_at, ..CaseFilter::default() }));
    assert!(!is_met(&CaseFilter { kind_unknown: true, ..CaseFilter::default() }));
    assert!(is_met(&CaseFilter { corrected: Some(false), ..by_ids(&["1", "2"]) }));
    let without = mapping::leaving_out(server_filter(&tenant(), &by_ids(&["1"])), &tenant(), "1");
    assert!(!fake::matches(&without, id, &point));
}

#[test]
fn batches_fit_messages_and_keep_the_order() {
    let point = |index: usize, bytes: usize| {
        let fields = serde_json::Map::from_iter([("text".to_owned(), "x".repeat(bytes).into())]);
        mapping::bare_point(Uuid::from_u128(index as u128), fields)
    };
    let lengths: Vec<usize> = (0..1_000).map(|index| if index % 97 == 0 { 1_500_000 } else { 300 }).collect();
    let points: Vec<PointStruct> = lengths.iter().enumerate().map(|(index, bytes)| point(index, *bytes)).collect();
    let batches = mapping::batches(points.clone());
    for batch in &batches {
        assert!(!batch.is_empty() && batch.len() <= MOST_POINTS);
        assert!(batch.iter().map(mapping::bytes).sum::<usize>() <= MOST_BYTES_SENT);
    }
    assert!(batches.len() < 12, "{}", batches.len());
    assert_eq!(batches.concat(), points);
    assert_eq!(mapping::batches(Vec::new()), Vec::<Vec<PointStruct>>::new());
    assert_eq!(mapping::batches(vec![point(1, 2 * MOST_BYTES_SENT), point(2, 1)]).len(), 2);
}

#[test]
fn pauses_grow_and_stay_within_their_bounds() {
    assert_eq!(calls::pause(0, 1.0), Duration::from_millis(50));
    assert_eq!(calls::pause(3, 1.0), Duration::from_millis(400));
    assert_eq!(calls::pause(3, 0.5), Duration::from_millis(200));
    assert_eq!(calls::pause(u32::MAX, 1.0), Duration::from_secs(2));
    assert_eq!(calls::pause(9, 0.0), Duration::ZERO);
}

#[test]
fn names_say_of_which_encoder_and_schema_a_collection_is() {
    let name = schema::physical_name(&options("http://localhost"));
    assert_eq!(name, "otklik_cases_001122334455_v1");
    assert!(schema::is_of_store("otklik_cases", &name));
    for other in [
        "otklik_cases",
        "otklik_cases_receipts",
        "otklik_cases_test_001122334455_v1",
        "otklik_cases_001122334455_vx",
        "otklik_cases_001122334455_v",
        "otklik_001122334455_v1",
    ] {
        assert!(!schema::is_of_store("otklik_cases", other), "{other}");
    }
}

#[tokio::test]
async fn options_that_are_not_allowed_are_refused_and_no_key_is_shown() {
    let sound = QdrantOptions { api_key: Some("sesame".to_owned()), ..options("http://user:pass@localhost:6334") };
    assert!(!format!("{sound:?}").contains("sesame") && !format!("{sound:?}").contains("pass"));
    sound.checked().unwrap();
    for broken in [
        QdrantOptions { url: "localhost:6334".to_owned(), ..sound.clone() },
        QdrantOptions { url: "ftp://localhost".to_owned(), ..sound.clone() },
        QdrantOptions { collection: "a/b".to_owned(), ..sound.clone() },
        QdrantOptions { dimension: 0, ..sound.clone() },
        QdrantOptions { encoder_sha256: "model".to_owned(), ..sound.clone() },
        QdrantOptions { write_consistency: 2, ..sound.clone() },
        QdrantOptions { queue_limit: 0, ..sound.clone() },
        QdrantOptions { api_key: Some("sesame\n".to_owned()), ..sound.clone() },
    ] {
        let error = QdrantStore::open(broken).await.err().unwrap();
        assert!(matches!(&error, CaseStoreError::Open { .. }), "{error:?}");
        assert!(!error.to_string().contains("sesame") && !error.to_string().contains("pass"), "{error}");
    }
}

// What any server does: the one in memory, and a real one where there is one.

async fn stores_find_and_forget(options: QdrantOptions) {
    let store = QdrantStore::open(options.clone()).await.unwrap();
    store.probe().await.unwrap();
    let (tenant, other) = (tenant(), TenantId::new("другой"));
    let everything = CaseFilter::default();

    // Storing, storing anew, and the same call made again.
    let named = |id: &str, request: &str| NewCase { request_id: Some(request.to_owned()), ..new(id, 0.0) };
    let outcomes = store.upsert(&tenant, vec![named("1", "a"), new("2", 0.1)]).await.unwrap();
    assert_eq!(outcomes, [UpsertOutcome::Created, UpsertOutcome::Created]);
    store.upsert(&other, vec![new("1", 0.0)]).await.unwrap();
    let amended = store.amend(&tenant, "1", solved()).await.unwrap();
    assert_eq!(amended.case.status(), OutcomeStatus::Solved);
    assert_eq!(store.upsert(&tenant, vec![named("1", "a")]).await.unwrap(), [UpsertOutcome::Created]);
    assert_eq!(store.upsert(&tenant, vec![named("1", "b")]).await.unwrap(), [UpsertOutcome::Replaced]);
    let case = store.get(&tenant, "1").await.unwrap();
    assert_eq!(case.status(), OutcomeStatus::Solved);
    assert_eq!(store.get(&other, "1").await.unwrap().status(), OutcomeStatus::Open);
    assert!(matches!(store.get(&other, "2").await, Err(CaseStoreError::NotFound { .. })));
    assert!(matches!(store.amend(&tenant, "no", solved()).await, Err(CaseStoreError::NotFound { .. })));
    let ids = ["1", "2", "3"].map(str::to_owned);
    assert_eq!(store.get_many(&tenant, &ids).await.unwrap().len(), 2);
    let is_solved = CaseFilter { statuses: vec![OutcomeStatus::Solved], ..CaseFilter::default() };
    assert_eq!(store.count(&tenant, &is_solved).await.unwrap(), 1);

    // What is said of one case at once is all kept.
    let both = join_all([store.amend(&tenant, "2", corrected("cards")), store.amend(&tenant, "2", solved())]).await;
    both.into_iter().for_each(|amended| drop(amended.unwrap()));
    let case = store.get(&tenant, "2").await.unwrap();
    assert_eq!((case.team_id().as_str(), case.status()), ("cards", OutcomeStatus::Solved));

    // Many cases, read part by part.
    let many: Vec<NewCase> = (10..410).map(|id| new(&id.to_string(), id as f32 / 200.0)).collect();
    store.upsert(&tenant, many).await.unwrap();
    let (mut seen, mut from) = (Vec::new(), None::<String>);
    loop {
        let page = store.page(&tenant, &everything, from.as_deref(), 300).await.unwrap();
        assert!(page.cases.len() <= 300);
        seen.extend(page.cases.into_iter().map(|found| (found.case.id, found.vector)));
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    seen.dedup_by(|one, other| one.0 == other.0);
    assert_eq!(seen.len(), 402);
    assert!(seen.iter().all(|(_, vector)| (vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4));
    assert!(matches!(store.page(&tenant, &everything, Some("x"), 3).await, Err(CaseStoreError::Invalid { .. })));

    // Similar cases, by meaning and by words.
    let text =
        SimilarTo::Text { vector: unit(0.5), masked_text: "Жалоба 200 на приложение".to_owned() };
    let query = SimilarQuery { fold_duplicates: false, ..SimilarQuery::new(text, 5) };
    let by_meaning = SimilarQuery { mode: SearchMode::Meaning, ..query.clone() };
    let found = store.find_similar(&tenant, by_meaning).await.unwrap();
    assert_eq!((found.hits[0].case.id.as_str(), found.hits.len()), ("100", 5));
    assert!((found.hits[0].score - 1.0).abs() < 1e-3);
    let found = store.find_similar(&tenant, query.clone()).await.unwrap();
    let hit = &found.hits[0];
    assert!(hit.matched_by.meaning_rank.is_some() || hit.matched_by.words_rank.is_some());
    let by_words = SimilarQuery { mode: SearchMode::Words, ..query.clone() };
    let found = store.find_similar(&tenant, by_words).await.unwrap();
    assert!(found.hits.iter().all(|hit| hit.matched_by.words_rank.is_some() && !hit.matched_by.words.is_empty()));
    let like = SimilarQuery { to: SimilarTo::CaseId("100".to_owned()), ..query.clone() };
    let found = store.find_similar(&tenant, like).await.unwrap();
    assert!(found.hits.iter().all(|hit| hit.case.id != "100"));
    assert!(store.find_similar(&other, query).await.unwrap().hits.iter().all(|hit| hit.case.id == "1"));

    // Deleting and erasing.
    assert_eq!(store.delete(&tenant, &by_ids(&["10", "11", "no"])).await.unwrap(), 2);
    assert!(matches!(store.delete(&tenant, &everything).await, Err(CaseStoreError::Invalid { .. })));
    let of_customer =
        |id: &str| NewCase { case: Case { customer_id: Some("c-7".to_owned()), ..sample::case(id) }, ..new(id, 0.2) };
    store.upsert(&tenant, vec![of_customer("z"), of_customer("y")]).await.unwrap();
    store.upsert(&other, vec![of_customer("z")]).await.unwrap();
    let erasure = store.erase(&tenant, "c-7").await.unwrap();
    assert_eq!(erasure.case_ids, ["y", "z"]);
    let again = store.erase(&tenant, "c-7").await.unwrap();
    assert_eq!(again.case_ids, Vec::<String>::new());
    assert_eq!(store.receipts().await.unwrap(), [erasure, again]);
    assert_eq!(store.count(&tenant, &everything).await.unwrap(), 400);
    assert_eq!(store.count(&other, &everything).await.unwrap(), 2);

    // Another process sees the same; a closed store says so.
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(unavailable(store.get(&tenant, "1").await).contains("closed"));
    let store = QdrantStore::open(options).await.unwrap();
    assert_eq!(store.count(&tenant, &everything).await.unwrap(), 400);
}

async fn migrates(options: QdrantOptions) {
    let (tenant, everything) = (tenant(), CaseFilter::default());
    let store = QdrantStore::open(options.clone()).await.unwrap();
    store.upsert(&tenant, (0..600).map(|id| new(&id.to_string(), 0.0)).collect()).await.unwrap();
    let wanted = QdrantOptions { encoder_sha256: OTHER_ENCODER.to_owned(), dimension: 3, ..options.clone() };
    let refused = QdrantStore::open(wanted.clone()).await.err().unwrap().to_string();
    for said in [ENCODER, OTHER_ENCODER, "`otklik cases migrate`"] {
        assert!(refused.contains(said), "{refused}");
    }

    let mut silent = |_| {};
    let without = Migration { reembed: None, progress: &mut silent, drop_old: false };
    let refused = QdrantStore::migrate(wanted.clone(), without).await.unwrap_err();
    assert!(matches!(refused, CaseStoreError::Open { .. }), "{refused:?}");

    // A migration that breaks off in the middle, and goes on without computing anew what is there.
    let computed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = computed.clone();
    let breaks = move |texts: Vec<String>| {
        let before = counted.fetch_add(texts.len(), std::sync::atomic::Ordering::Relaxed);
        let vectors = texts.iter().map(|_| vec![0.0, 0.0, 1.0]).collect();
        let result = if before == 0 { Ok(vectors) } else { Err(CaseStoreError::Unavailable("broke off".to_owned())) };
        async move { result }.boxed()
    };
    let breaks: &Reembed<'_> = &breaks;
    let first = Migration { reembed: Some(breaks), progress: &mut silent, drop_old: false };
    assert_eq!(unavailable(QdrantStore::migrate(wanted.clone(), first).await), "broke off");
    assert_eq!(store.count(&tenant, &everything).await.unwrap(), 600);
    store.probe().await.unwrap();
    store.delete(&tenant, &by_ids(&["1", "2", "3", "4", "5"])).await.unwrap();

    computed.store(0, std::sync::atomic::Ordering::Relaxed);
    let counted = computed.clone();
    let works = move |texts: Vec<String>| {
        counted.fetch_add(texts.len(), std::sync::atomic::Ordering::Relaxed);
        let vectors = texts.iter().map(|_| vec![0.0, 0.0, 1.0]).collect();
        async move { Ok(vectors) }.boxed()
    };
    let mut last = None;
    let mut progress = |progress| last = Some(progress);
    let second = Migration { reembed: Some(&works), progress: &mut progress, drop_old: false };
    let migrated = QdrantStore::migrate(wanted.clone(), second).await.unwrap();
    assert!(migrated.copied < 595 && migrated.copied >= 595 - 256, "{migrated:?}");
    assert_eq!(computed.load(std::sync::atomic::Ordering::Relaxed) as u64, migrated.copied);
    assert_eq!(last.map(|last| (last.total, last.round)), Some((595, 2)));

    // The old store says what happened, and refuses to write where nobody reads.
    assert!(unavailable(store.probe().await).contains("was migrated"));
    assert!(unavailable(store.upsert(&tenant, vec![new("late", 0.0)]).await).contains("was migrated"));
    let store = QdrantStore::open(wanted.clone()).await.unwrap();
    assert_eq!(store.count(&tenant, &everything).await.unwrap(), 595);
    let page = store.page(&tenant, &by_ids(&["7"]), None, 1).await.unwrap();
    assert_eq!(page.cases[0].vector, [0.0, 0.0, 1.0]);

    // An erasure reaches the collection that was kept.
    let of_customer = NewCase {
        case: Case { customer_id: Some("c-7".to_owned()), ..sample::case("7") },
        vector: vec![1.0, 0.0, 0.0],
        request_id: None,
    };
    store.upsert(&tenant, vec![of_customer]).await.unwrap();
    assert_eq!(store.erase(&tenant, "c-7").await.unwrap().case_ids, ["7"]);
    let nothing = Migration { reembed: None, progress: &mut silent, drop_old: true };
    let migrated = QdrantStore::migrate(wanted, nothing).await.unwrap();
    assert_eq!((migrated.copied, &migrated.from), (0, &migrated.to));
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_are_stored_found_and_forgotten() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    fake.add_snapshot("full-1.snapshot");
    stores_find_and_forget(options(&server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_migrated_to_another_encoder() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    migrates(options(&server.url())).await;
    assert!(fake.longest() <= MOST_BYTES_SENT);
}

/// Runs where `OTKLIK_TEST_QDRANT_URL` names a server; what it makes there is removed again.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_does_the_same() {
    let Ok(url) = std::env::var("OTKLIK_TEST_QDRANT_URL") else { return };
    let named = |what: &str| QdrantOptions {
        collection: format!("otklik_test_{what}_{}", Uuid::new_v4().simple()),
        timeout: Duration::from_secs(30),
        ..options(&url)
    };
    let (plain, quantised) = (named("plain"), QdrantOptions { quantised: true, ..named("quantised") });
    stores_find_and_forget(plain.clone()).await;
    stores_find_and_forget(quantised.clone()).await;
    let moved = named("moved");
    migrates(moved.clone()).await;
    for options in [plain, quantised, moved] {
        let schema = schema::Schema::new(calls::Calls::new(&options).unwrap(), options.clone());
        for collection in schema.all().await.unwrap().into_iter().chain([schema::receipts_name(&options)]) {
            schema.drop_collection(&collection).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_made_as_the_options_say() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    fake.ask_for_key("sesame");
    let open = QdrantOptions {
        api_key: Some("sesame".to_owned()),
        shards: 3,
        replicas: 2,
        write_consistency: 2,
        quantised: true,
        ..options(&server.url())
    };
    let _store = QdrantStore::open(open.clone()).await.unwrap();
    let (made, indexes) = fake.made("otklik_cases_001122334455_v1");
    assert_eq!(
        (made.shard_number, made.replication_factor, made.write_consistency_factor),
        (Some(3), Some(2), Some(2))
    );
    assert!(made.quantization_config.is_some() && made.sparse_vectors_config.is_some());
    let Some(qdrant_client::qdrant::vectors_config::Config::ParamsMap(named)) = made.vectors_config.unwrap().config
    else {
        panic!()
    };
    assert_eq!(named.map[DENSE].size, 2);
    assert_eq!(indexes, Field::ALL.map(|field| field.key().to_owned()));
    // A second process makes nothing anew.
    QdrantStore::open(open.clone()).await.unwrap();
    assert_eq!(fake.made("otklik_cases_001122334455_v1").1.len(), Field::ALL.len());
    let denied = QdrantStore::open(QdrantOptions { api_key: None, ..open }).await.err().unwrap();
    assert!(matches!(denied, CaseStoreError::Unavailable(_)), "{denied:?}");
}

// What a server does that is down, slow or at fault.

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_server_is_down_says_so_in_time_and_recovers() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    let address = server.address;
    let short = QdrantOptions { timeout: Duration::from_millis(900), retries: 2, ..options(&server.url()) };
    let store = QdrantStore::open(short.clone()).await.unwrap();
    store.upsert(&tenant(), vec![new("1", 0.0)]).await.unwrap();
    server.stop();
    let began = Instant::now();
    let problem = unavailable(store.get(&tenant(), "1").await);
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert!(problem.starts_with("could not read cases: "), "{problem}");
    unavailable(store.upsert(&tenant(), vec![new("2", 0.0)]).await);
    unavailable(store.probe().await);
    unavailable(QdrantStore::open(short).await.map(|_| ()));

    let _server = fake.start(Some(address)).await;
    let mut tries = 0;
    while store.probe().await.is_err() {
        tries += 1;
        assert!(tries < 20);
    }
    assert_eq!(store.get(&tenant(), "1").await.unwrap().id, "1");
    store.upsert(&tenant(), vec![new("2", 0.0)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_connection_breaks_is_made_again() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    let address = server.address;
    let store = Arc::new(QdrantStore::open(QdrantOptions { retries: 20, ..options(&server.url()) }).await.unwrap());
    fake.delay("Upsert", Duration::from_secs(60));
    let writer = store.clone();
    let write = tokio::spawn(async move { writer.upsert(&tenant(), vec![new("1", 0.0)]).await });
    while fake.calls("Upsert") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fake.delay("Upsert", Duration::ZERO);
    server.stop();
    let _server = fake.start(Some(address)).await;
    assert_eq!(write.await.unwrap().unwrap(), [UpsertOutcome::Created]);
    assert_eq!(store.get(&tenant(), "1").await.unwrap().id, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_pass_is_tried_again_and_only_so_often() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    let store = QdrantStore::open(QdrantOptions { retries: 2, ..options(&server.url()) }).await.unwrap();
    store.upsert(&tenant(), vec![new("1", 0.0)]).await.unwrap();
    fake.calls("Get");
    let passing = [Code::Unavailable, Code::ResourceExhausted];
    fake.fail("Get", &passing);
    store.get(&tenant(), "1").await.unwrap();
    assert_eq!(fake.calls("Get"), 3);
    fake.fail("Get", &[Code::Unavailable; 3]);
    let problem = unavailable(store.get(&tenant(), "1").await);
    assert!(problem.contains("tried 3 times"), "{problem}");
    assert_eq!(fake.calls("Get"), 3);
    for code in [Code::Internal, Code::InvalidArgument, Code::PermissionDenied, Code::Unknown, Code::DeadlineExceeded] {
        fake.fail("Get", &[code; 3]);
        let problem = unavailable(store.get(&tenant(), "1").await);
        assert_eq!(fake.calls("Get"), 1, "{problem}");
        assert_eq!(problem.contains("secret words"), code != Code::InvalidArgument, "{problem}");
    }
    fake.fail("Get", &[]);
    // A write that is made again is made once.
    fake.fail("Upsert", &passing);
    assert_eq!(store.upsert(&tenant(), vec![new("9", 0.0)]).await.unwrap(), [UpsertOutcome::Created]);
    assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_is_not_waited_for_and_calls_past_the_limit_are_refused() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    let short = QdrantOptions { timeout: Duration::from_millis(500), queue_limit: 2, ..options(&server.url()) };
    let store = Arc::new(QdrantStore::open(short).await.unwrap());
    store.upsert(&tenant(), vec![new("1", 0.0)]).await.unwrap();
    fake.delay("Get", Duration::from_secs(5));
    let began = Instant::now();
    let tenant = tenant();
    let ask = || store.get(&tenant, "1");
    let answers = join_all([ask(), ask(), ask()]).await;
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    let busy = answers.iter().filter(|answer| matches!(answer, Err(CaseStoreError::Busy { limit: 2, .. })));
    assert_eq!(busy.count(), 1, "{answers:?}");
    let late = answers.into_iter().filter(|answer| matches!(answer, Err(CaseStoreError::Unavailable(_))));
    let late: Vec<String> = late.map(unavailable).collect();
    assert!(late.len() == 2 && late[0].contains("no answer within"), "{late:?}");
    fake.delay("Get", Duration::ZERO);
    assert_eq!(store.get(&tenant, "1").await.unwrap().id, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_cases_are_read_in_parts_and_too_long_ones_are_refused() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    let store = QdrantStore::open(options(&server.url())).await.unwrap();
    let long = |id: &str, letters: usize| {
        let attributes = [("note".to_owned(), "x".repeat(letters))].into();
        NewCase { case: Case { attributes, ..sample::case(id) }, ..new(id, 0.0) }
    };
    let cases: Vec<NewCase> = (0..12).map(|id| long(&id.to_string(), 1_200_000)).collect();
    let ids: Vec<String> = cases.iter().map(|new| new.case.id.clone()).collect();
    store.upsert(&tenant(), cases).await.unwrap();
    assert!(fake.longest() < 4 << 20);
    assert_eq!(store.get_many(&tenant(), &ids).await.unwrap().len(), 12);
    let page = store.page(&tenant(), &CaseFilter::default(), None, 11).await.unwrap();
    assert_eq!((page.cases.len(), page.next.is_some()), (11, true));
    let refused = store.upsert(&tenant(), vec![new("ok", 0.0), long("long", 5_000_000)]).await.unwrap_err();
    assert!(matches!(&refused, CaseStoreError::Invalid { field, .. } if field == "cases[1].case"), "{refused:?}");
    assert!(matches!(store.get(&tenant(), "ok").await, Err(CaseStoreError::NotFound { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_broke_off_is_taken_up_with_all_its_cases() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    fake.add_snapshot("full-1.snapshot");
    let store = QdrantStore::open(QdrantOptions { retries: 0, ..options(&server.url()) }).await.unwrap();
    let of_customer =
        |id: &str| NewCase { case: Case { customer_id: Some("c-7".to_owned()), ..sample::case(id) }, ..new(id, 0.2) };
    store.upsert(&tenant(), vec![of_customer("1"), of_customer("2")]).await.unwrap();
    fake.fail("Delete", &[Code::Unavailable]);
    unavailable(store.erase(&tenant(), "c-7").await);
    assert_eq!(store.receipts().await.unwrap(), []);
    // Somebody else deletes one of them in the meantime.
    fake.remove("otklik_cases_001122334455_v1", point_id(&tenant(), "1"));
    let erasure = store.erase(&tenant(), "c-7").await.unwrap();
    assert_eq!(
        (erasure.case_ids.as_slice(), erasure.snapshots.as_slice()),
        (&["1", "2"].map(str::to_owned)[..], &["full-1.snapshot".to_owned()][..])
    );
    assert_eq!(store.receipts().await.unwrap(), [erasure]);
    let collections = [("otklik_cases_001122334455_v1".to_owned(), 0), ("otklik_cases_receipts".to_owned(), 1)];
    assert_eq!(fake.collections(), collections);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_points_elsewhere_is_noticed_and_may_come_back() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    let store = QdrantStore::open(options(&server.url())).await.unwrap();
    fake.point("otklik_cases", "otklik_cases_ffeeddccbbaa_v1");
    assert!(unavailable(store.probe().await).contains("was migrated"));
    assert!(unavailable(store.upsert(&tenant(), vec![new("1", 0.0)]).await).contains("was migrated"));
    fake.point("otklik_cases", "otklik_cases_001122334455_v1");
    store.probe().await.unwrap();
    store.upsert(&tenant(), vec![new("1", 0.0)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_left_runs_to_its_end() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    let store = QdrantStore::open(options(&server.url())).await.unwrap();
    fake.delay("Upsert", Duration::from_millis(300));
    let tenant = tenant();
    let left = tokio::time::timeout(Duration::from_millis(50), store.upsert(&tenant, vec![new("1", 0.0)])).await;
    assert!(left.is_err());
    // Closing waits for it.
    store.close().await.unwrap();
    assert_eq!(fake.collections()[0].1, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_tags_are_written_where_the_case_is_still_the_same_and_filters_tell_what_made_them() {
    let fake = Fake::default();
    let server = fake.start(None).await;
    let store = QdrantStore::open(options(&server.url())).await.unwrap();
    store.upsert(&tenant(), vec![new("1", 0.0), new("2", 0.1), new("3", 0.2)]).await.unwrap();
    let seen = store.get_many(&tenant(), &["1", "2", "3"].map(str::to_owned)).await.unwrap();
    store.amend(&tenant(), "2", corrected("cards")).await.unwrap();
    store.delete(&tenant(), &by_ids(&["3"])).await.unwrap();
    let version = |case: &Case| case.tags.provenance.version();
    let retagging = |case: &Case| {
        let mut tags = case.tags.clone();
        tags.team.team_id = TeamId::new("mobile");
        tags.provenance.prototypes_version = "sha256:ffff".to_owned();
        let reading = CaseReading { encoder_sha256: ENCODER.to_owned(), packed: "AA".to_owned() };
        let new = NewTags { tags, encoded: true, reading: Some(reading) };
        Retagging { seen: case.state(), case: case.clone().retagged(new, TagPart::ALL, "job-1") }
    };
    let mut retaggings: Vec<Retagging> = seen.iter().map(retagging).collect();
    retaggings.sort_by(|one, other| one.case.id.cmp(&other.case.id));
    let outcomes = store.retag(&tenant(), retaggings.clone()).await.unwrap();
    assert_eq!(outcomes, [RetagOutcome::Written, RetagOutcome::Outdated, RetagOutcome::Gone]);
    // The call again: what was written is another case by now.
    let again = store.retag(&tenant(), retaggings).await.unwrap();
    assert_eq!(again, [RetagOutcome::Outdated, RetagOutcome::Outdated, RetagOutcome::Gone]);
    let first = store.get(&tenant(), "1").await.unwrap();
    assert_eq!((first.tags.team.team_id.as_str(), first.retagged.is_some()), ("mobile", true));
    assert_eq!(store.get(&tenant(), "2").await.unwrap().tags, sample::case("2").tags);
    let count = async |filter: CaseFilter| store.count(&tenant(), &filter).await.unwrap();
    let of = |version: String| CaseFilter { not_made_by: Some(version), ..CaseFilter::default() };
    assert_eq!((count(of(version(&first))).await, count(of(version(&sample::case("1")))).await), (1, 1));
    let read_by = CaseFilter { read_by: Some(ENCODER.to_owned()), ..CaseFilter::default() };
    assert_eq!(count(read_by).await, 1);
    // A try that fails is made again.
    fake.fail("Upsert", &[Code::Unavailable]);
    let other = sample::case("2");
    let stored = store.get(&tenant(), "2").await.unwrap();
    let new = Retagging { seen: stored.state(), case: stored.retagged(other.tags.into(), TagPart::ALL, "job-2") };
    assert_eq!(store.retag(&tenant(), vec![new]).await.unwrap(), [RetagOutcome::Written]);
}
