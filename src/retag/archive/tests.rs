use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::cases::edge::{EdgeOptions, EdgeStore, sample};
use crate::cases::{
    Amendment, Case, CaseFilter, CaseReading, CaseStore, Correction, NewCase, TagPart, TenantId, VectoredCase,
};
use crate::feedback::{CharSpan, Feedback};
use crate::retag::Sample;
use crate::tagging::corrections::CorrectedCase;
use crate::tagging::{Party, Retagger, Tagged, Tagger, TaggerCounts, TaggingError, Urgency};
use crate::tags::{
    Confidence, Evidence, Provenance, SentimentLabel, TagSource, Tags, TaxonomyVersion, TeamId, TopicId, TopicTag,
};

/// Gives each text a topic of its taxonomy's version, and a team by the first letter.
struct Fake {
    taxonomy: &'static str,
    /// Cases from kept readings that are let through; then they wait for ever.
    permits: tokio::sync::Semaphore,
    /// Told when it waits for ever.
    stuck: tokio::sync::Notify,
    read: AtomicUsize,
}

impl Fake {
    fn new(taxonomy: &'static str) -> Arc<Self> {
        Self::stopping_after(taxonomy, tokio::sync::Semaphore::MAX_PERMITS)
    }

    fn stopping_after(taxonomy: &'static str, cases: usize) -> Arc<Self> {
        Arc::new(Self {
            taxonomy,
            permits: tokio::sync::Semaphore::new(cases),
            stuck: tokio::sync::Notify::new(),
            read: AtomicUsize::new(0),
        })
    }

    fn tags(&self, case: &Case) -> Tags {
        let mut tags = case.tags.clone();
        tags.provenance.taxonomy_version = TaxonomyVersion::new(self.taxonomy);
        let evidence = vec![Evidence { turn: None, span: CharSpan::new(0, 3), weight: Confidence::ONE }];
        let sentiment = tags.sentiment.unwrap();
        tags.topics = vec![TopicTag {
            topic_id: TopicId::new(format!("topic_of_{}", self.taxonomy)),
            parent_id: None,
            confidence: Confidence::new(0.5),
            sentiment,
            source: TagSource::Prototype,
            rule_id: None,
            neighbour_case_ids: vec![],
            evidence,
        }];
        tags.team.team_id = TeamId::new(format!("team_{}", case.masked_text.chars().next().unwrap()));
        if case.masked_text.contains("empty") {
            tags.topics.clear();
        }
        tags
    }
}

#[async_trait]
impl Retagger for Fake {
    fn provenance(&self) -> Provenance {
        let taxonomy_version = TaxonomyVersion::new(self.taxonomy);
        Provenance { taxonomy_version, ..sample::case("1").tags.provenance }
    }

    async fn by_kept(&self, cases: Arc<Vec<VectoredCase>>) -> Result<Vec<Option<Tags>>, TaggingError> {
        if self.permits.available_permits() < cases.len() {
            self.stuck.notify_one();
        }
        self.permits.acquire_many(cases.len() as u32).await.unwrap().forget();
        if cases.len() > 1 && cases.iter().any(|stored| stored.case.masked_text.contains("poison")) {
            return Err(TaggingError::Internal("poisoned".to_owned()));
        }
        Ok(cases.iter().map(|stored| stored.case.reading.as_ref().map(|_| self.tags(&stored.case))).collect())
    }

    async fn anew(&self, case: &Case) -> Result<Tagged, TaggingError> {
        self.read.fetch_add(1, Ordering::SeqCst);
        if case.masked_text.contains("faulty") {
            return Err(TaggingError::Internal("faulty".to_owned()));
        }
        Ok(Tagged { tags: self.tags(case), vector: vec![1.0, 0.0], reading: None })
    }
}

struct Serving(Arc<Fake>);

#[async_trait]
impl Tagger for Serving {
    async fn tag(&self, _: Feedback, _: Urgency) -> Result<Tagged, TaggingError> {
        Err(TaggingError::Internal("not asked".to_owned()))
    }

    async fn learn(&self, _: Party, _: Vec<CorrectedCase>) -> Result<(), TaggingError> {
        Ok(())
    }

    async fn forget(&self, _: Party, _: Vec<String>) -> Result<(), TaggingError> {
        Ok(())
    }

    fn knows_topic(&self, _: &TopicId) -> bool {
        true
    }

    fn knows_team(&self, _: &TeamId) -> bool {
        true
    }

    fn provenance(&self) -> Provenance {
        self.0.provenance()
    }

    fn retagger(&self, _: Party) -> Option<Arc<dyn Retagger>> {
        Some(Arc::clone(&self.0) as Arc<dyn Retagger>)
    }

    fn counts(&self) -> TaggerCounts {
        TaggerCounts::default()
    }
}

const LIMITS: JobLimits = JobLimits { max_waiting: 2, kept_jobs: 3, page_cases: 4 };

/// A store and a folder of jobs.
struct Fixture {
    parent: TempDir,
    cases: Arc<dyn CaseStore>,
}

impl Fixture {
    /// Cases of these texts, by their numbers; those that say `bare` have nothing kept of them.
    async fn with(texts: &[&str]) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let options = EdgeOptions::new(2, "ab".repeat(32));
        let cases = Arc::new(EdgeStore::open(&parent.path().join("cases"), options).unwrap());
        let new = |(id, text): (usize, &&str)| {
            let reading = CaseReading { encoder_sha256: "ab".repeat(32), packed: "AA".to_owned() };
            let reading = (!text.contains("bare")).then_some(reading);
            let case = Case { masked_text: (*text).to_owned(), reading, ..sample::case(&id.to_string()) };
            NewCase { case, vector: vec![1.0, 0.0], request_id: None }
        };
        cases.upsert(&tenant(), texts.iter().enumerate().map(new).collect()).await.unwrap();
        Self { parent, cases }
    }

    fn jobs(&self) -> RetagJobs {
        RetagJobs::open(&self.parent.path().join("jobs"), LIMITS).unwrap()
    }

    fn resources(&self, fake: &Arc<Fake>) -> Resources {
        let retagger = Arc::clone(fake) as Arc<dyn Retagger>;
        Resources { cases: Arc::clone(&self.cases), retagger, tenant: tenant(), kept_reading_bytes: 1_000 }
    }

    async fn correct(&self, id: &str, topics: Option<Vec<TopicId>>, sentiment: Option<SentimentLabel>) {
        let correction = Correction {
            topics,
            team: None,
            sentiment,
            corrected_by: None,
            corrected_at: Timestamp::UNIX_EPOCH,
            note: None,
        };
        self.cases.amend(&tenant(), id, Amendment::Correction(correction)).await.unwrap();
    }

    async fn all(&self) -> Vec<Case> {
        let page = self.cases.page(&tenant(), &CaseFilter::default(), None, 1_000).await.unwrap();
        let mut all: Vec<Case> = page.cases.into_iter().map(|stored| stored.case).collect();
        all.sort_by_key(|case| case.id.parse::<usize>().unwrap());
        all
    }

    /// Does a job to its end.
    async fn done(&self, jobs: &RetagJobs, request: ArchiveRequest, fake: &Arc<Fake>) -> Job {
        let job = jobs.start(&tenant(), None, request, ArchivePlan::default()).await.unwrap();
        self.run_until_over(jobs, &job.id, fake).await
    }

    /// Does jobs until the tagger is stuck, and leaves them like that.
    async fn run_until_stuck(&self, jobs: &RetagJobs, fake: &Arc<Fake>) {
        tokio::select! {
            () = jobs.run(Arc::clone(&self.cases), Arc::new(Serving(Arc::clone(fake))), 1_000) => panic!("it never ends"),
            () = fake.stuck.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("not stuck in a minute"),
        }
    }

    async fn run_until_over(&self, jobs: &RetagJobs, id: &str, fake: &Arc<Fake>) -> Job {
        let mut told = jobs.watch(&tenant(), id).unwrap();
        tokio::select! {
            () = jobs.run(Arc::clone(&self.cases), Arc::new(Serving(Arc::clone(fake))), 1_000) => panic!("it never ends"),
            over = told.wait_for(|job| job.state.is_over()) => over.unwrap().clone(),
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("not over in a minute"),
        }
    }
}

fn tenant() -> TenantId {
    TenantId::default()
}

fn everything() -> ArchiveRequest {
    ArchiveRequest {
        filter: CaseFilter::default(),
        parts: TagPart::ALL.to_vec(),
        only_older: false,
        priority: 0,
        cases_per_second: None,
    }
}

fn topics(case: &Case) -> Vec<&str> {
    case.tags.topics.iter().map(|topic| topic.topic_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_gets_the_tags_of_now_and_each_is_counted_once() {
    let texts = ["a", "b", "c empty", "d bare", "e bare faulty", "f", "g poison", "h", "i", "j bare"];
    let fixture = Fixture::with(&texts).await;
    let fake = Fake::new("v2");
    let jobs = fixture.jobs();
    let job = fixture.done(&jobs, everything(), &fake).await;
    assert_eq!((job.state, job.reason.clone()), (JobState::Succeeded, None));
    let expected = ArchiveCounts {
        read: 10,
        changed: 9,
        unchanged: 0,
        abstained: 1,
        skipped: 0,
        failed: 1,
        reused: 7,
        encoded: 2,
    };
    assert_eq!(job.counts, expected);
    assert_eq!(job.made_by, Some(fake.provenance()));
    for case in fixture.all().await {
        let expected: &[&str] = match case.id.as_str() {
            "2" | "4" => &[],
            _ => &["topic_of_v2"],
        };
        assert_eq!(topics(&case), expected, "{}", case.id);
        assert_eq!(case.retagged.is_some(), case.id != "4");
    }
    // Once more: the same tags, made anew; and only the older of them: nothing but the one that failed.
    let again = fixture.done(&jobs, everything(), &fake).await.counts;
    assert_eq!((again.read, again.changed, again.unchanged, again.failed), (10, 0, 9, 1));
    let older = ArchiveRequest { only_older: true, ..everything() };
    let rest = fixture.done(&jobs, older, &fake).await.counts;
    assert_eq!((rest.read, rest.failed, rest.skipped), (1, 1, 0));
    let all_jobs = JobFigures { waiting: 0, running: 0, read: 21, changed: 9, failed: 3 };
    assert_eq!(jobs.figures(), all_jobs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_said_is_left_and_only_the_parts_asked_for_are_made() {
    let fixture = Fixture::with(&["a", "b", "c"]).await;
    fixture.correct("0", Some(vec![TopicId::new("cards")]), None).await;
    fixture.correct("1", Some(vec![]), Some(SentimentLabel::Positive)).await;
    let (fake, jobs) = (Fake::new("v2"), fixture.jobs());
    let only_topics = ArchiveRequest { parts: vec![TagPart::Topics], ..everything() };
    let counts = fixture.done(&jobs, only_topics, &fake).await.counts;
    assert_eq!((counts.read, counts.skipped, counts.changed), (3, 2, 1));
    let all = fixture.all().await;
    assert_eq!(all.iter().map(|case| topics(case).len()).collect::<Vec<_>>(), [0, 0, 1]);
    assert!(all.iter().all(|case| case.tags.team.team_id.as_str() == "support"));
    assert_eq!(all[2].made_by_version(), None, "its team is older than its topics");

    let older = ArchiveRequest { only_older: true, ..everything() };
    let counts = fixture.done(&jobs, older.clone(), &fake).await.counts;
    assert_eq!((counts.read, counts.skipped, counts.changed), (3, 0, 3), "the teams are others now");
    let all = fixture.all().await;
    assert_eq!(all[0].correction.as_ref().unwrap().topics, Some(vec![TopicId::new("cards")]));
    assert_eq!((topics(&all[0]), topics(&all[2])), (vec![], vec!["topic_of_v2"]));
    assert_eq!(all[0].tags.team.team_id.as_str(), "team_a");
    assert_eq!(all[1].sentiment_label(), Some(SentimentLabel::Positive));
    // What a person corrected stays older for ever, and is passed over.
    let counts = fixture.done(&jobs, older, &fake).await.counts;
    assert_eq!((counts.read, counts.skipped), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_stopped_anywhere_ends_as_one_that_was_left_alone() {
    let texts: Vec<String> =
        (0..23).map(|number| format!("{number} text{}", if number % 5 == 0 { " bare" } else { "" })).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let whole = Fixture::with(&texts).await;
    // The filter is by what the job changes: cases that it did are no longer among those that it asks for.
    let request = ArchiveRequest {
        filter: CaseFilter { teams: vec![TeamId::new("support")], ..CaseFilter::default() },
        ..everything()
    };
    let left_alone = whole.done(&whole.jobs(), request.clone(), &Fake::new("v2")).await;
    assert_eq!((left_alone.counts.read, left_alone.counts.changed), (23, 23));
    for stop in [0, 3, 4, 7, 12, 20, 22] {
        let fixture = Fixture::with(&texts).await;
        let jobs = fixture.jobs();
        let job = jobs.start(&tenant(), None, request.clone(), ArchivePlan::default()).await.unwrap();
        fixture.run_until_stuck(&jobs, &Fake::stopping_after("v2", stop)).await;
        drop(jobs);
        let jobs = fixture.jobs();
        assert_eq!(jobs.get(&tenant(), &job.id).unwrap().state, JobState::Running);
        let ended = fixture.run_until_over(&jobs, &job.id, &Fake::new("v2")).await;
        assert_eq!((ended.state, ended.counts), (JobState::Succeeded, left_alone.counts), "stopped after {stop}");
        let tags = |cases: Vec<Case>| cases.into_iter().map(|case| case.tags).collect::<Vec<_>>();
        assert_eq!(tags(fixture.all().await), tags(whole.all().await));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_was_written_and_not_counted_is_counted_by_its_marks() {
    let fixture = Fixture::with(&["a", "b", "c bare"]).await;
    let (fake, request) = (Fake::new("v2"), everything());
    let resources = fixture.resources(&fake);
    let work = super::work::Work::new(&resources, &request, "job-1");
    let page = work.page(None, 10).await.unwrap().cases;
    let first = work.do_cases(page).await.unwrap();
    let written = fixture.all().await;
    let ids: Vec<String> = written.iter().map(|case| case.id.clone()).collect();
    let again = work.do_cases(work.of_ids(&ids).await.unwrap()).await.unwrap();
    assert_eq!(again, first);
    assert_eq!((first.reused, first.encoded, fake.read.load(Ordering::SeqCst)), (2, 1, 1));
    assert_eq!(fixture.all().await, written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_that_changes_while_it_is_tagged_is_tagged_as_it_is_then() {
    let fixture = Fixture::with(&["a", "b", "c"]).await;
    let (fake, request) = (Fake::new("v2"), everything());
    let resources = fixture.resources(&fake);
    let work = super::work::Work::new(&resources, &request, "job-1");
    let read = work.page(None, 10).await.unwrap().cases;
    // Meanwhile: another text, a correction, and one is gone.
    let other = Case { masked_text: "z".to_owned(), stored_at: Timestamp::now(), ..sample::case("0") };
    let other = NewCase { case: other, vector: vec![1.0, 0.0], request_id: None };
    fixture.cases.upsert(&tenant(), vec![other]).await.unwrap();
    fixture.correct("1", Some(vec![]), None).await;
    let gone = CaseFilter { ids: vec!["2".to_owned()], ..CaseFilter::default() };
    fixture.cases.delete(&tenant(), &gone).await.unwrap();
    let counts = work.do_cases(read).await.unwrap();
    assert_eq!((counts.read, counts.changed, counts.skipped), (3, 2, 1));
    let all = fixture.all().await;
    assert_eq!(all[0].tags.team.team_id.as_str(), "team_z");
    assert_eq!((topics(&all[1]), all[1].tags.team.team_id.as_str()), (vec![], "team_b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_wait_in_order_are_cancelled_and_forgotten() {
    let fixture = Fixture::with(&["a", "b"]).await;
    let (jobs, fake) = (fixture.jobs(), Fake::new("v2"));
    let plan = ArchivePlan::default();
    let of = |priority: u8| ArchiveRequest { priority, ..everything() };
    let low = jobs.start(&tenant(), Some("r-1".to_owned()), of(0), plan).await.unwrap();
    let high = jobs.start(&tenant(), None, of(9), plan).await.unwrap();
    assert_eq!(jobs.start(&tenant(), Some("r-1".to_owned()), of(5), plan).await.unwrap().id, low.id);
    let full = jobs.start(&tenant(), None, of(9), plan).await.unwrap_err();
    assert_eq!(full.to_string(), "2 jobs wait, at most 2 may (retag.max_waiting)");
    assert_eq!(jobs.figures(), JobFigures { waiting: 2, ..JobFigures::default() });
    let done = fixture.run_until_over(&jobs, &high.id, &fake).await;
    assert_eq!((done.state, jobs.get(&tenant(), &low.id).unwrap().state.is_over()), (JobState::Succeeded, false));

    let cancelled = jobs.cancel(&tenant(), &low.id).await.unwrap();
    let state = fixture.run_until_over(&jobs, &low.id, &fake).await.state;
    assert!([JobState::Cancelled, JobState::Queued, JobState::Running].contains(&cancelled.state));
    assert!(matches!(state, JobState::Cancelled), "{state}");
    assert_eq!(jobs.cancel(&tenant(), &high.id).await.unwrap().state, JobState::Succeeded);
    assert!(matches!(jobs.cancel(&tenant(), "none").await, Err(JobsError::NotFound { .. })));
    assert!(jobs.list(&TenantId::new("other"), 10).is_empty());
    assert!(jobs.get(&TenantId::new("other"), &high.id).is_err());
    for _ in 0..3 {
        fixture.done(&jobs, of(1), &fake).await;
    }
    drop(jobs);
    let kept: Vec<String> = fixture.jobs().list(&tenant(), 10).into_iter().map(|job| job.id).collect();
    assert_eq!(kept.len(), 3, "the oldest are forgotten, on disk too");
    assert!(!kept.contains(&low.id) && !kept.contains(&high.id) && kept.is_sorted_by(|one, next| one > next));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_at_work_is_cancelled_after_its_page_and_what_it_did_stays() {
    let texts: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let fixture = Fixture::with(&texts).await;
    let jobs = fixture.jobs();
    // Two pages in the first second, at the least.
    let slow = ArchiveRequest { cases_per_second: Some(4), ..everything() };
    let job = jobs.start(&tenant(), None, slow, ArchivePlan::default()).await.unwrap();
    let cancelling = async {
        let mut told = jobs.watch(&tenant(), &job.id).unwrap();
        told.wait_for(|job| job.counts.read > 0).await.unwrap();
        jobs.cancel(&tenant(), &job.id).await.unwrap();
        std::future::pending::<()>().await;
    };
    let fake = Fake::new("v2");
    let ended = tokio::select! {
        ended = fixture.run_until_over(&jobs, &job.id, &fake) => ended,
        () = cancelling => unreachable!(),
    };
    assert_eq!(ended.state, JobState::Cancelled);
    let done = fixture.all().await.iter().filter(|case| !case.tags.topics.is_empty()).count() as u64;
    assert!(ended.counts.changed == done && done > 0 && done < 40, "{done} of 40, {:?}", ended.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_only_with_what_it_began_with() {
    let fixture = Fixture::with(&["a", "b", "c", "d", "e", "f"]).await;
    let jobs = fixture.jobs();
    let job = jobs.start(&tenant(), None, everything(), ArchivePlan::default()).await.unwrap();
    fixture.run_until_stuck(&jobs, &Fake::stopping_after("v2", 4)).await;
    drop(jobs);
    let jobs = fixture.jobs();
    let ended = fixture.run_until_over(&jobs, &job.id, &Fake::new("v3")).await;
    let reason = ended.reason.unwrap();
    assert!(
        ended.state == JobState::Failed && reason.contains("taxonomy v2") && reason.contains("only_older"),
        "{reason}"
    );
    assert_eq!(ended.counts.changed, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_what_needs_the_encoder_and_changes_nothing() {
    let fixture = Fixture::with(&["a", "b", "c bare", "d", "e bare"]).await;
    let fake = Fake::new("v2");
    let before = fixture.all().await;
    let plan = plan(&fixture.resources(&fake), &everything(), 64).await.unwrap();
    assert_eq!((plan.cases, plan.reused, plan.encoded, plan.measured), (5, 3, 2, 5));
    assert!(plan.store_seconds_a_case > 0.0 && plan.estimated_seconds > 0.0, "{plan:?}");
    assert_eq!(fixture.all().await, before);
    let slowed = ArchiveRequest { cases_per_second: Some(1), ..everything() };
    assert!(super::plan(&fixture.resources(&fake), &slowed, 64).await.unwrap().estimated_seconds >= 5.0);
    let none =
        ArchiveRequest { filter: CaseFilter { ids: vec!["x".to_owned()], ..CaseFilter::default() }, ..everything() };
    assert_eq!(super::plan(&fixture.resources(&fake), &none, 64).await.unwrap(), ArchivePlan::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_compares_and_writes_nothing() {
    let fixture = Fixture::with(&["a", "a again", "b empty", "c bare"]).await;
    fixture.correct("0", Some(vec![TopicId::new("cards")]), None).await;
    let fake = Fake::new("v2");
    let resources = fixture.resources(&fake);
    let before = fixture.all().await;
    let found = preview(&resources, &everything(), None, 100).await.unwrap();
    assert_eq!(fixture.all().await, before);
    assert_eq!((found.cases, found.looked_at, found.skipped, found.encoded), (4, 4, 0, 1));
    assert_eq!(found.preview.counts.changed, 4);
    let moves: BTreeSet<(Option<&str>, Option<&str>, u64)> =
        found.preview.topics.iter().map(|one| (one.from.as_deref(), one.to.as_deref(), one.rows)).collect();
    // The corrected one stays, the empty one stays without.
    let expected = [(Some("cards"), Some("cards"), 1), (None, None, 1), (None, Some("topic_of_v2"), 2)];
    assert_eq!(moves, expected.into());
    assert_eq!(found.preview.load_before, [("support".to_owned(), 4)].into());
    assert_eq!(found.preview.load_after["team_a"], 2);
    let sampled = preview(&resources, &everything(), Some(Sample::Rows(2)), 100).await.unwrap();
    let share = preview(&resources, &everything(), Some(Sample::Share(0.5)), 100).await.unwrap();
    assert_eq!((sampled.looked_at, &sampled), (2, &share));
    let refused = preview(&resources, &everything(), None, 3).await.unwrap_err();
    assert!(matches!(refused, ArchiveError::TooMany { cases: 4, limit: 3 }), "{refused}");
}
