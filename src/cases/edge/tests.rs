use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tempfile::TempDir;

use super::journal::Journal;
use super::sample::case;
use super::*;
use crate::cases::{Correction, SearchMode};
use crate::feedback::{CharSpan, FeedbackKind};
use crate::tags::{
    Confidence, Evidence, Sentiment, SentimentLabel, SignalId, SignalTag, TagSource, TeamId, TopicId, TopicTag,
};

const DIMENSION: usize = 4;

/// Options under which nothing is flushed before the store is closed.
fn options() -> EdgeOptions {
    EdgeOptions { flush_every: Duration::from_secs(3_600), ..EdgeOptions::new(DIMENSION, "ab".repeat(32)) }
}

struct Fixture {
    parent: TempDir,
    store: EdgeStore,
}

impl Fixture {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let store = EdgeStore::open(&parent.path().join("cases"), options()).unwrap();
        Self { parent, store }
    }

    fn folder(&self) -> PathBuf {
        self.parent.path().join("cases")
    }

    /// A copy of the folder as it lies on disk now, while the store is open: what a crash would leave.
    fn crash_image(&self) -> PathBuf {
        let image = self.parent.path().join("image");
        copy_tree(&self.folder(), &image);
        image
    }
}

fn copy_tree(from: &Path, to: &Path) {
    try_copy_tree(from, to).unwrap();
}

fn try_copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            try_copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn tenant() -> TenantId {
    TenantId::default()
}

/// Unit vector at an angle in the first two coordinates; cosines between such vectors are cosines of differences.
fn at(degrees: f32) -> Vec<f32> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    vec![cos, sin, 0.0, 0.0]
}

fn new(id: &str, degrees: f32) -> NewCase {
    NewCase { case: case(id), vector: at(degrees), request_id: None }
}

fn near(degrees: f32, limit: usize) -> SimilarQuery {
    let to = SimilarTo::Text { vector: at(degrees), masked_text: String::new() };
    SimilarQuery { mode: SearchMode::Meaning, fold_duplicates: false, ..SimilarQuery::new(to, limit) }
}

fn ids(found: &SimilarCases) -> Vec<&str> {
    found.hits.iter().map(|hit| hit.case.id.as_str()).collect()
}

fn by_ids(ids: &[&str]) -> CaseFilter {
    CaseFilter { ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..CaseFilter::default() }
}

fn is_not_found<T>(result: &Result<T, CaseStoreError>) -> bool {
    matches!(result, Err(CaseStoreError::NotFound { .. }))
}

#[tokio::test]
async fn cases_are_stored_replaced_and_read_back_whole() {
    let Fixture { store, parent: _parent } = Fixture::new();
    assert_eq!(store.upsert(&tenant(), vec![]).await.unwrap(), []);
    let outcomes = store.upsert(&tenant(), vec![new("1", 0.0), new("2", 10.0)]).await.unwrap();
    assert_eq!(outcomes, [UpsertOutcome::Created, UpsertOutcome::Created]);
    assert_eq!(store.get(&tenant(), "1").await.unwrap(), case("1"));

    let mut changed = case("1");
    changed.masked_text = "другое".to_owned();
    changed.stored_at = Timestamp::from_second(1_770_000_000).unwrap();
    let again = vec![new("3", 20.0), NewCase { case: changed.clone(), vector: at(90.0), request_id: None }];
    let outcomes = store.upsert(&tenant(), again).await.unwrap();
    assert_eq!(outcomes, [UpsertOutcome::Created, UpsertOutcome::Replaced]);
    assert_eq!(store.get(&tenant(), "1").await.unwrap(), changed);
    assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 3);
    assert!(is_not_found(&store.get(&tenant(), "4").await));
    store.probe().await.unwrap();
}

#[tokio::test]
async fn similar_cases_come_nearest_first_and_a_case_does_not_find_itself() {
    let Fixture { store, parent: _parent } = Fixture::new();
    let cases = vec![new("0", 0.0), new("10", 10.0), new("30", 30.0), new("90", 90.0), new("180", 180.0)];
    store.upsert(&tenant(), cases).await.unwrap();

    let hits = store.find_similar(&tenant(), near(1.0, 10)).await.unwrap();
    assert_eq!(ids(&hits), ["0", "10", "30", "90", "180"]);
    for (hit, degrees) in hits.hits.iter().zip([1.0_f32, 9.0, 29.0, 89.0, 179.0]) {
        assert!((hit.score - degrees.to_radians().cos()).abs() < 1e-5, "{} has {}", hit.case.id, hit.score);
    }
    assert_eq!(ids(&store.find_similar(&tenant(), near(1.0, 2)).await.unwrap()), ["0", "10"]);
    let close = SimilarQuery { min_score: Some(0.8), ..near(1.0, 10) };
    assert_eq!(ids(&store.find_similar(&tenant(), close).await.unwrap()), ["0", "10", "30"]);

    let to_case = SimilarQuery { to: SimilarTo::CaseId("10".to_owned()), ..near(0.0, 2) };
    assert_eq!(ids(&store.find_similar(&tenant(), to_case).await.unwrap()), ["0", "30"]);
    let to_nothing = SimilarQuery { to: SimilarTo::CaseId("none".to_owned()), ..near(0.0, 2) };
    assert!(is_not_found(&store.find_similar(&tenant(), to_nothing).await));
}

/// Two cases that differ in every field that filters.
fn told_apart() -> [Case; 2] {
    let sentiment = |label| Sentiment { label, score: 0.0, confidence: Confidence::ONE };
    let evidence = vec![Evidence { turn: None, span: CharSpan::new(0, 1), weight: Confidence::ONE }];
    let topic = |id: &str| TopicTag {
        topic_id: TopicId::new(id),
        parent_id: None,
        confidence: Confidence::ONE,
        sentiment: sentiment(SentimentLabel::Neutral),
        source: TagSource::Rule,
        rule_id: None,
        neighbour_case_ids: vec![],
        evidence: evidence.clone(),
    };
    let signal = |id: &str| SignalTag {
        signal_id: SignalId::new(id),
        confidence: Confidence::ONE,
        source: TagSource::Rule,
        rule_id: None,
        detail: None,
        evidence: evidence.clone(),
    };
    let mut one = case("one");
    one.kind = Some(FeedbackKind::Complaint);
    one.channel = Some("call".to_owned());
    one.product = Some("card".to_owned());
    one.customer_id = Some("c-1".to_owned());
    one.occurred_at = Some("2026-01-01T00:00:00.000001Z".parse().unwrap());
    one.tags.topics = vec![topic("app"), topic("login")];
    one.tags.signals = vec![signal("churn_risk")];
    one.tags.team.team_id = TeamId::new("mobile");
    one.tags.sentiment = Some(sentiment(SentimentLabel::Negative));
    let mut two = case("two");
    two.kind = Some(FeedbackKind::Review);
    two.channel = Some("chat".to_owned());
    two.product = Some("loan".to_owned());
    two.customer_id = Some("c-2".to_owned());
    two.occurred_at = Some("2026-02-01T00:00:00Z".parse().unwrap());
    two.tags.topics = vec![topic("login"), topic("fees")];
    two.tags.signals = vec![signal("gratitude"), signal("idea")];
    two.tags.team.team_id = TeamId::new("lending");
    two.tags.sentiment = Some(sentiment(SentimentLabel::Positive));
    [one, two]
}

#[tokio::test]
async fn every_filter_restricts_search_count_and_deletion_alike() {
    let Fixture { store, parent: _parent } = Fixture::new();
    let bare = new("bare", 0.0);
    let new_cases = told_apart().map(|case| NewCase { case, vector: at(0.0), request_id: None });
    let everything = [vec![bare], new_cases.to_vec()].concat();
    store.upsert(&tenant(), everything.clone()).await.unwrap();

    let none = CaseFilter::default;
    let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let topics = |ids: &[&str]| ids.iter().map(|id| TopicId::new(*id)).collect::<Vec<_>>();
    let table: Vec<(CaseFilter, &[&str])> = vec![
        (none(), &["bare", "one", "two"]),
        (by_ids(&["one", "bare", "none"]), &["bare", "one"]),
        (CaseFilter { topics: topics(&["app"]), ..none() }, &["one"]),
        (CaseFilter { topics: topics(&["login"]), ..none() }, &["one", "two"]),
        (CaseFilter { topics: topics(&["app", "fees"]), ..none() }, &["one", "two"]),
        (CaseFilter { teams: vec![TeamId::new("lending")], ..none() }, &["two"]),
        (CaseFilter { signals: vec![SignalId::new("idea"), SignalId::new("outage")], ..none() }, &["two"]),
        (CaseFilter { kinds: vec![FeedbackKind::Complaint], ..none() }, &["one"]),
        (CaseFilter { channels: vec!["chat".to_owned()], ..none() }, &["two"]),
        (CaseFilter { products: vec!["card".to_owned()], ..none() }, &["one"]),
        (CaseFilter { sentiments: vec![SentimentLabel::Positive], ..none() }, &["two"]),
        (CaseFilter { sentiments: vec![SentimentLabel::Negative], ..none() }, &["bare", "one"]),
        (CaseFilter { customer_id: Some("c-1".to_owned()), ..none() }, &["one"]),
        (CaseFilter { customer_id: Some("c-3".to_owned()), ..none() }, &[]),
        (CaseFilter { occurred_from: time("2026-01-01T00:00:00.000001Z"), ..none() }, &["one", "two"]),
        (CaseFilter { occurred_from: time("2026-01-01T00:00:00.000002Z"), ..none() }, &["two"]),
        (CaseFilter { occurred_until: time("2026-02-01T00:00:00Z"), ..none() }, &["one"]),
        (CaseFilter { occurred_until: time("2026-02-01T00:00:00.000001Z"), ..none() }, &["one", "two"]),
        (CaseFilter { topics: topics(&["login"]), products: vec!["loan".to_owned()], ..none() }, &["two"]),
        (CaseFilter { topics: topics(&["app"]), products: vec!["loan".to_owned()], ..none() }, &[]),
    ];
    for (filter, expected) in table {
        assert_eq!(store.count(&tenant(), &filter).await.unwrap(), expected.len() as u64, "{filter:?}");
        let query = SimilarQuery { filter: filter.clone(), ..near(0.0, 10) };
        let hits = store.find_similar(&tenant(), query).await.unwrap();
        let mut found = ids(&hits);
        found.sort_unstable();
        assert_eq!(found, expected, "{filter:?}");
        if filter != CaseFilter::default() {
            assert_eq!(store.delete(&tenant(), &filter).await.unwrap(), expected.len() as u64, "{filter:?}");
            assert_eq!(store.delete(&tenant(), &filter).await.unwrap(), 0, "{filter:?}");
            let left = everything.len() as u64 - expected.len() as u64;
            assert_eq!(store.count(&tenant(), &none()).await.unwrap(), left, "{filter:?}");
            store.upsert(&tenant(), everything.clone()).await.unwrap();
        }
    }
}

fn correction(topics: &[&str], team: Option<&str>) -> Correction {
    Correction {
        topics: Some(topics.iter().map(|id| TopicId::new(*id)).collect()),
        team: team.map(TeamId::new),
        sentiment: None,
        corrected_by: Some("operator".to_owned()),
        corrected_at: Timestamp::from_second(1_765_000_000).unwrap(),
        note: None,
    }
}

#[tokio::test]
async fn a_correction_stands_beside_the_tags_and_filters_heed_it() {
    let Fixture { store, parent: _parent } = Fixture::new();
    let [one, two] = told_apart().map(|case| NewCase { case, vector: at(10.0), request_id: None });
    let (before, vector) = (one.case.clone(), one.vector.clone());
    store.upsert(&tenant(), vec![one, two]).await.unwrap();
    let corrected =
        store.amend(&tenant(), "one", Amendment::Correction(correction(&["fees"], Some("cards")))).await.unwrap();
    assert_eq!(corrected.case.tags, before.tags);
    assert!(corrected.vector.iter().zip(&vector).all(|(one, other)| (one - other).abs() < 1e-5));
    assert_eq!(store.get(&tenant(), "one").await.unwrap(), corrected.case);

    let later = Correction { team: None, ..correction(&["login"], None) };
    let both = store.amend(&tenant(), "one", Amendment::Correction(later)).await.unwrap().case.correction.unwrap();
    assert_eq!(both.topics, Some(vec![TopicId::new("login")]));
    assert_eq!(both.team, Some(TeamId::new("cards")), "what is left open stays");

    let none = CaseFilter::default;
    let topics = |ids: &[&str]| ids.iter().map(|id| TopicId::new(*id)).collect::<Vec<_>>();
    let table: Vec<(CaseFilter, &[&str])> = vec![
        (CaseFilter { corrected: Some(true), ..none() }, &["one"]),
        (CaseFilter { corrected: Some(false), ..none() }, &["two"]),
        (CaseFilter { topics: topics(&["app"]), ..none() }, &[]),
        (CaseFilter { topics: topics(&["login"]), ..none() }, &["one", "two"]),
        (CaseFilter { teams: vec![TeamId::new("cards")], ..none() }, &["one"]),
    ];
    for (filter, expected) in table {
        let page = store.page(&tenant(), &filter, None, 10).await.unwrap();
        let mut found: Vec<&str> = page.cases.iter().map(|stored| stored.case.id.as_str()).collect();
        found.sort_unstable();
        assert_eq!((found.as_slice(), page.next), (expected, None), "{filter:?}");
    }
    assert!(is_not_found(&store.amend(&tenant(), "none", Amendment::Correction(correction(&[], None))).await));
    assert!(is_not_found(
        &store.amend(&TenantId::new("other"), "one", Amendment::Correction(correction(&[], None))).await
    ));
}

#[tokio::test]
async fn a_correction_survives_a_crash_and_the_case_being_stored_anew_and_ends_with_it() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    store.upsert(&tenant(), vec![new("1", 0.0), new("2", 10.0)]).await.unwrap();
    let kept =
        store.amend(&tenant(), "1", Amendment::Correction(correction(&["fees"], None))).await.unwrap().case.correction;
    let mut changed = new("1", 40.0);
    changed.case.masked_text = "другое".to_owned();
    store.upsert(&tenant(), vec![changed, new("3", 20.0)]).await.unwrap();

    let image = fixture.crash_image();
    let reopened = EdgeStore::open(&image, options()).unwrap();
    let case = reopened.get(&tenant(), "1").await.unwrap();
    assert_eq!((case.masked_text.as_str(), &case.correction), ("другое", &kept));
    let filter = CaseFilter { corrected: Some(true), ..CaseFilter::default() };
    let page = reopened.page(&tenant(), &filter, None, 10).await.unwrap();
    assert_eq!(page.cases.len(), 1);
    assert!((page.cases[0].vector[0] - 40_f32.to_radians().cos()).abs() < 1e-5);
    reopened.close().await.unwrap();

    store.delete(&tenant(), &by_ids(&["1"])).await.unwrap();
    store.upsert(&tenant(), vec![new("1", 0.0)]).await.unwrap();
    assert_eq!(store.get(&tenant(), "1").await.unwrap().correction, None);
}

#[tokio::test]
async fn parts_of_a_scan_follow_each_other_and_make_the_whole() {
    let Fixture { store, parent: _parent } = Fixture::new();
    let cases = (0..25).map(|id| new(&id.to_string(), id as f32)).collect();
    store.upsert(&tenant(), cases).await.unwrap();
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let page = store.page(&tenant(), &CaseFilter::default(), from.as_deref(), 10).await.unwrap();
        assert!(page.cases.len() <= 10);
        found.extend(page.cases.into_iter().map(|stored| stored.case.id));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    found.sort_by_key(|id| id.parse::<u32>().unwrap());
    assert_eq!(found, (0..25).map(|id| id.to_string()).collect::<Vec<_>>());
    for (from, limit) in [(None, 0), (None, MAX_PAGE + 1), (Some("no part"), 10)] {
        let refused = store.page(&tenant(), &CaseFilter::default(), from, limit).await;
        assert!(matches!(refused, Err(CaseStoreError::Invalid { .. })), "{from:?} {limit}");
    }
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let Fixture { store, parent: _parent } = Fixture::new();
    let other = TenantId::new("other");
    store.upsert(&tenant(), vec![new("1", 0.0), new("2", 0.0)]).await.unwrap();
    assert_eq!(store.upsert(&other, vec![new("1", 90.0)]).await.unwrap(), [UpsertOutcome::Created]);

    assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 2);
    assert_eq!(store.count(&other, &CaseFilter::default()).await.unwrap(), 1);
    assert!(is_not_found(&store.get(&other, "2").await));
    assert_eq!(store.find_similar(&other, near(0.0, 10)).await.unwrap().hits.len(), 1);
    let to_foreign = SimilarQuery { to: SimilarTo::CaseId("2".to_owned()), ..near(0.0, 10) };
    assert!(is_not_found(&store.find_similar(&other, to_foreign).await));
    assert_eq!(store.delete(&other, &by_ids(&["1", "2"])).await.unwrap(), 1);
    assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 2);
}

#[tokio::test]
async fn faulty_requests_name_the_field() {
    let Fixture { store, parent: _parent } = Fixture::new();
    let with_vector = |vector: Vec<f32>| vec![new("1", 0.0), NewCase { case: case("2"), vector, request_id: None }];
    let mut no_number = new("2", 0.0);
    no_number.case.tags.sentiment.as_mut().unwrap().score = f32::INFINITY;
    let too_many = (0..=MAX_BATCH).map(|id| new(&id.to_string(), 0.0)).collect();
    let upserts = [
        (with_vector(vec![1.0, 0.0]), "cases[1].vector: has 2 numbers; vectors of this store have 4"),
        (with_vector(vec![0.0, f32::NAN, 0.0, 1.0]), "cases[1].vector: number 1 is not finite"),
        (with_vector(vec![0.0; 4]), "cases[1].vector: has length 0.0000; a unit vector is needed"),
        (vec![new("", 0.0)], "cases[0].id: is empty; every case needs an id"),
        (vec![new("1", 0.0), new("2", 0.0), new("1", 0.0)], "cases[2].id: \"1\" stands twice in one call"),
        (vec![new("1", 0.0), no_number], "cases[1].case: can't be stored: invalid type: null"),
        (too_many, "cases: 10001 cases in one call; at most 10000 are allowed"),
    ];
    for (cases, message) in upserts {
        let error = store.upsert(&tenant(), cases).await.unwrap_err();
        assert!(matches!(error, CaseStoreError::Invalid { .. }), "{error:?}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
    let queries = [
        (near(0.0, 0), "limit: 0 is not allowed; 1 to 10000 is"),
        (near(0.0, MAX_SIMILAR + 1), "limit: 10001 is not allowed; 1 to 10000 is"),
        (SimilarQuery { min_score: Some(f32::NAN), ..near(0.0, 1) }, "min_score: NaN is not allowed; -1 to 1 is"),
        (
            SimilarQuery {
                to: SimilarTo::Text { vector: vec![f32::NAN; 4], masked_text: String::new() },
                ..near(0.0, 1)
            },
            "vector: number 0 is not finite",
        ),
    ];
    for (query, message) in queries {
        assert_eq!(store.find_similar(&tenant(), query).await.unwrap_err().to_string(), message);
    }
    let error = store.delete(&tenant(), &CaseFilter::default()).await.unwrap_err();
    assert!(error.to_string().starts_with("filter: the empty filter would delete every case"), "{error}");
    // A call is all or nothing.
    assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_closed_store_answers_unavailable_and_opens_again_with_everything() {
    let fixture = Fixture::new();
    fixture.store.upsert(&tenant(), vec![new("1", 0.0), new("2", 0.0)]).await.unwrap();
    fixture.store.delete(&tenant(), &by_ids(&["2"])).await.unwrap();
    fixture.store.close().await.unwrap();
    fixture.store.close().await.unwrap();
    let error = fixture.store.get(&tenant(), "1").await.unwrap_err();
    assert!(matches!(error, CaseStoreError::Unavailable(_)), "{error:?}");
    let error = fixture.store.upsert(&tenant(), vec![new("3", 0.0)]).await.unwrap_err();
    assert!(matches!(error, CaseStoreError::Unavailable(_)), "{error:?}");
    assert!(fixture.store.probe().await.is_err());
    assert!(Journal::open(&fixture.folder().join("journal.redb")).unwrap().is_empty());

    let store = EdgeStore::open(&fixture.folder(), options()).unwrap();
    assert_eq!(store.get(&tenant(), "1").await.unwrap(), case("1"));
    assert!(is_not_found(&store.get(&tenant(), "2").await));
    assert_eq!(store.upsert(&tenant(), vec![new("1", 0.0)]).await.unwrap(), [UpsertOutcome::Replaced]);
}

#[tokio::test]
async fn dropping_without_closing_loses_nothing() {
    let fixture = Fixture::new();
    fixture.store.upsert(&tenant(), vec![new("1", 0.0)]).await.unwrap();
    let Fixture { store, parent } = fixture;
    drop(store);
    let store = EdgeStore::open(&parent.path().join("cases"), options()).unwrap();
    assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 1);
}

#[tokio::test]
async fn what_was_acknowledged_and_not_flushed_is_replayed() {
    let fixture = Fixture::new();
    fixture.store.upsert(&tenant(), vec![new("kept", 0.0), new("deleted", 10.0), new("replaced", 20.0)]).await.unwrap();
    fixture.store.delete(&tenant(), &by_ids(&["deleted"])).await.unwrap();
    let mut replaced = case("replaced");
    replaced.masked_text = "новое".to_owned();
    let again = vec![NewCase { case: replaced.clone(), vector: at(30.0), request_id: None }];
    fixture.store.upsert(&tenant(), again).await.unwrap();

    // The engine alone has lost it: without the journal, this store would be empty.
    let image = fixture.crash_image();
    let engine = Engine::load(&image.join("shard"), options().shape()).unwrap();
    assert_eq!(engine.count(engine_filter(&tenant(), &CaseFilter::default())).unwrap(), 0);
    drop(engine);

    for _ in 0..2 {
        let store = EdgeStore::open(&image, options()).unwrap();
        let hits = store.find_similar(&tenant(), near(0.0, 10)).await.unwrap();
        assert_eq!(ids(&hits), ["kept", "replaced"]);
        assert_eq!(hits.hits[1].case, replaced);
        assert!((hits.hits[1].score - 30_f32.to_radians().cos()).abs() < 1e-5);
        assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 2);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn flushes_come_after_a_time_and_after_a_number_of_cases() {
    let often = Duration::from_millis(20);
    for options in [EdgeOptions { flush_every: often, ..options() }, EdgeOptions { flush_after_ops: 2, ..options() }] {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("cases");
        let store = EdgeStore::open(&folder, options.clone()).unwrap();
        store.upsert(&tenant(), vec![new("1", 0.0), new("2", 0.0)]).await.unwrap();
        let mut flushed = false;
        for attempt in 0..200 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            let image = parent.path().join(format!("image-{attempt}"));
            // A copy taken in the middle of a write may be unreadable, and a file may go while it is copied; a later copy is whole.
            if try_copy_tree(&folder, &image).is_err() {
                continue;
            }
            flushed = Journal::open(&image.join("journal.redb")).is_ok_and(|journal| journal.is_empty());
            if flushed {
                let engine = Engine::load(&image.join("shard"), options.shape()).unwrap();
                assert_eq!(engine.count(engine_filter(&tenant(), &CaseFilter::default())).unwrap(), 2);
                break;
            }
        }
        assert!(flushed);
    }
}

#[tokio::test]
async fn one_process_at_a_time_and_one_encoder_for_ever() {
    let fixture = Fixture::new();
    let open = |options| EdgeStore::open(&fixture.folder(), options).map(|_| ()).unwrap_err().to_string();
    let pid = std::process::id();
    let expected = format!("another otklik (pid {pid}) has it open; stop that one, or give this one another folder");
    assert!(open(options()).ends_with(&expected), "{}", open(options()));
    fixture.store.close().await.unwrap();

    let other = "cd".repeat(32);
    let error = open(EdgeOptions { encoder_sha256: other.clone(), ..options() });
    assert!(error.contains(&format!("sha256:{} (4 numbers", "ab".repeat(32))), "{error}");
    assert!(error.contains(&format!("sha256:{other} (4 numbers")), "{error}");
    let error = open(EdgeOptions { dimension: 8, ..options() });
    assert!(error.contains("(4 numbers each)") && error.contains("(8 numbers each)"), "{error}");
    EdgeStore::open(&fixture.folder(), options()).unwrap();
}

#[tokio::test]
async fn a_folder_that_can_not_be_used_is_named_with_what_to_do() {
    let fixture = Fixture::new();
    fixture.store.upsert(&tenant(), vec![new("1", 0.0)]).await.unwrap();
    let sound = fixture.crash_image();
    let spoil = |name: &str, spoil: &dyn Fn(&Path)| {
        let folder = fixture.parent.path().join(name);
        copy_tree(&sound, &folder);
        spoil(&folder);
        folder
    };
    let in_file = spoil("in-file", &|folder| fs::write(folder.join("file"), "").unwrap()).join("file/cases");
    let table = [
        (fixture.parent.path().join("missing/cases"), "create that one first"),
        (in_file, "choose one that otklik may write to"),
        (
            spoil("lock", &|folder| {
                fs::remove_file(folder.join("LOCK")).unwrap();
                fs::create_dir(folder.join("LOCK")).unwrap();
            }),
            "must be allowed to write to this folder",
        ),
        (
            spoil("toml", &|folder| fs::write(folder.join("store.toml"), "format = 1\ndim").unwrap()),
            "store.toml is damaged",
        ),
        (spoil("no-toml", &|folder| fs::remove_file(folder.join("store.toml")).unwrap()), "put the file back"),
        (
            spoil("format", &|folder| {
                let path = folder.join("store.toml");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(path, text.replace("format = 2", "format = 3")).unwrap();
            }),
            "it is of format 3, this version reads format 2",
        ),
        (
            spoil("no-journal", &|folder| fs::remove_file(folder.join("journal.redb")).unwrap()),
            "journal.redb can't be read",
        ),
        (
            spoil("journal", &|folder| {
                let file = fs::OpenOptions::new().write(true).open(folder.join("journal.redb")).unwrap();
                file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            }),
            "journal.redb can't be read",
        ),
        (spoil("no-shard", &|folder| fs::remove_dir_all(folder.join("shard")).unwrap()), "shard can't be loaded"),
        (
            spoil("shard", &|folder| {
                let segments = fs::read_dir(folder.join("shard/segments")).unwrap();
                for segment in segments {
                    fs::write(segment.unwrap().path().join("segment.json"), "{").unwrap();
                }
            }),
            "shard can't be loaded",
        ),
    ];
    for (folder, problem) in table {
        let error = EdgeStore::open(&folder, options()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&folder.display().to_string()), "{error}");
        assert!(error.contains(problem), "{problem:?} is not in {error}");
    }
    EdgeStore::open(&sound, options()).unwrap();
}

#[tokio::test]
async fn an_interrupted_first_start_is_made_again() {
    let fixture = Fixture::new();
    fixture.store.close().await.unwrap();
    let path = fixture.folder().join("store.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("complete = true", "complete = false")).unwrap();
    fs::remove_dir_all(fixture.folder().join("shard/segments")).unwrap();
    let store = EdgeStore::open(&fixture.folder(), options()).unwrap();
    store.upsert(&tenant(), vec![new("1", 0.0)]).await.unwrap();
    store.close().await.unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("complete = true"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_run_beside_writers_and_flushes_and_see_whole_calls() {
    let parent = tempfile::tempdir().unwrap();
    let busy = EdgeOptions { flush_every: Duration::from_millis(1), flush_after_ops: 50, ..options() };
    let store = Arc::new(EdgeStore::open(&parent.path().join("cases"), busy).unwrap());
    let batch = |round: usize| -> Vec<NewCase> { (0..40).map(|id| new(&format!("{round}-{id}"), id as f32)).collect() };
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..30 {
                store.upsert(&tenant(), batch(round)).await.unwrap();
                if round % 3 == 2 {
                    let ids = batch(round - 1).into_iter().map(|new| new.case.id).collect();
                    let filter = CaseFilter { ids, ..CaseFilter::default() };
                    assert_eq!(store.delete(&tenant(), &filter).await.unwrap(), 40);
                }
            }
        })
    };
    while !writing.is_finished() {
        let count = store.count(&tenant(), &CaseFilter::default()).await.unwrap();
        assert_eq!(count % 40, 0, "a call was seen half done");
        let hits = store.find_similar(&tenant(), near(0.0, 5_000)).await.unwrap();
        assert_eq!(hits.hits.len() % 40, 0, "a call was seen half done");
    }
    writing.await.unwrap();
    assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 20 * 40);
}

#[tokio::test]
async fn a_snapshot_is_made_while_the_store_serves_and_restored_byte_for_byte() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    store.upsert(&tenant(), vec![new("1", 0.0), new("2", 10.0)]).await.unwrap();
    let snapshot = fixture.parent.path().join("snapshot");
    let record = store.snapshot(&snapshot).await.unwrap();
    assert_eq!(record.folder, snapshot);
    assert!(!snapshot.join("LOCK").exists());
    assert!(store.snapshot(&snapshot).await.unwrap_err().to_string().contains("is there already"));
    store.upsert(&tenant(), vec![new("3", 20.0)]).await.unwrap();
    let mut of_customer = case("4");
    of_customer.customer_id = Some("k".to_owned());
    store.upsert(&tenant(), vec![NewCase { case: of_customer, vector: at(0.0), request_id: None }]).await.unwrap();
    let receipt = store.erase(&tenant(), "k").await.unwrap();
    assert_eq!((receipt.case_ids.len(), receipt.snapshots.as_slice()), (1, &[snapshot.display().to_string()][..]));
    assert_eq!(store.receipts().unwrap(), [receipt]);

    let to = fixture.parent.path().join("restored");
    assert_eq!(EdgeStore::restore(&snapshot, &to).unwrap(), record.made_at);
    let restored = EdgeStore::open(&to, options()).unwrap();
    let hits = restored.find_similar(&tenant(), near(0.0, 10)).await.unwrap();
    assert_eq!(ids(&hits), ["1", "2"]);
    restored.close().await.unwrap();
    let problem = |from: &Path, to: &Path| EdgeStore::restore(from, to).unwrap_err().to_string();
    assert!(problem(&snapshot, &to).contains("is not empty"));
    assert!(problem(&fixture.folder(), &fixture.parent.path().join("x")).contains("is no snapshot"));
    let spoilt = snapshot.join("store.toml");
    fs::write(&spoilt, fs::read_to_string(&spoilt).unwrap().replace("ab", "cd")).unwrap();
    let new_folder = fixture.parent.path().join("y");
    assert!(problem(&snapshot, &new_folder).contains("is damaged"));
    assert!(!new_folder.exists());
}

#[tokio::test]
async fn a_store_of_another_encoder_or_format_is_migrated_with_all_that_it_holds() {
    let Fixture { store, parent } = Fixture::new();
    let folder = parent.path().join("cases");
    store.upsert(&tenant(), vec![new("1", 0.0), new("2", 10.0)]).await.unwrap();
    store.upsert(&TenantId::new("other"), vec![new("1", 20.0)]).await.unwrap();
    store.amend(&tenant(), "2", Amendment::Correction(correction(&["fees"], None))).await.unwrap();
    // What lies in the journal alone goes along.
    let image = parent.path().join("image");
    copy_tree(&folder, &image);
    store.close().await.unwrap();

    let unused = &mut |_: &[Case]| -> Result<Vec<Vec<f32>>, String> { panic!("vectors are there") };
    assert_eq!(migrate(&image, &options(), unused, &mut |_| {}).unwrap(), None);
    let path = image.join("store.toml");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("format = 2", "format = 1")).unwrap();
    let refused = EdgeStore::open(&image, options()).err().unwrap().to_string();
    assert!(refused.contains("format 1") && refused.contains("otklik cases migrate"), "{refused}");
    migrate(&image, &options(), unused, &mut |_| {}).unwrap().unwrap();

    let other = EdgeOptions { encoder_sha256: "cd".repeat(32), dimension: 2, ..options() };
    let failing = &mut |_: &[Case]| Err("the encoder failed".to_owned());
    assert!(migrate(&image, &other, failing, &mut |_| {}).unwrap_err().to_string().contains("the encoder failed"));
    let mut steps = Vec::new();
    let computed = &mut |cases: &[Case]| Ok(cases.iter().map(|_| vec![0.6, 0.8]).collect());
    assert_eq!(migrate(&image, &other, computed, &mut |step| steps.push(step)).unwrap(), Some(3));
    assert_eq!((steps[0].cases, steps[0].of), (3, 3));

    let store = EdgeStore::open(&image, other).unwrap();
    assert_eq!(store.get(&tenant(), "2").await.unwrap().topic_ids(), [&TopicId::new("fees")]);
    assert_eq!(store.count(&TenantId::new("other"), &CaseFilter::default()).await.unwrap(), 1);
    let page = store.page(&tenant(), &CaseFilter::default(), None, 10).await.unwrap();
    assert!(page.cases.iter().all(|stored| (stored.vector[0] - 0.6).abs() < 1e-6), "{page:?}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_stored_and_nothing_else() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("cases");
    let store = EdgeStore::open(&folder, options()).unwrap();
    store.upsert(&tenant(), vec![new("1", 0.0), new("2", 10.0)]).await.unwrap();
    store.close().await.unwrap();

    let full = EdgeOptions { reserve_bytes: u64::MAX / 8, ..options() };
    let store = EdgeStore::open(&folder, full.clone()).unwrap();
    for _ in 0..2 {
        let refused = store.upsert(&tenant(), vec![new("3", 20.0)]).await.unwrap_err();
        let CaseStoreError::Full { free_mb, needed_mb } = refused else { panic!("{refused:?}") };
        assert!(free_mb < needed_mb, "{free_mb} {needed_mb}");
    }
    assert_eq!(store.get(&tenant(), "1").await.unwrap().id, "1");
    let first = CaseFilter { ids: vec!["1".to_owned()], ..CaseFilter::default() };
    assert_eq!(store.delete(&tenant(), &first).await.unwrap(), 1);
    store.close().await.unwrap();

    let refused = EdgeStore::open(&parent.path().join("new"), full).err().unwrap();
    assert!(refused.to_string().contains("make room"), "{refused}");

    let store = EdgeStore::open(&folder, options()).unwrap();
    assert_eq!(store.upsert(&tenant(), vec![new("3", 20.0)]).await.unwrap(), [UpsertOutcome::Created]);
    assert_eq!(store.count(&tenant(), &CaseFilter::default()).await.unwrap(), 2);
}
