//! A job that re-tags the case store is killed at random moments, and its result must be that of a job that was left alone: the same
//! cases, the same counts.
//!
//! The test runs itself again as a child that does the job. `OTKLIK_KILLS` sets the number of kills, `OTKLIK_KILL_ROWS` the number of
//! cases, `OTKLIK_KILL_SEED` repeats a run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use jiff::Timestamp;
use otklik::cases::edge::{EdgeOptions, EdgeStore};
use otklik::cases::{Case, CaseFilter, CaseReading, CaseStore, NewCase, TagPart, TenantId, VectoredCase};
use otklik::feedback::Feedback;
use otklik::retag::archive::{ArchivePlan, ArchiveRequest, Job, JobLimits, JobState, RetagJobs};
use otklik::tagging::corrections::CorrectedCase;
use otklik::tagging::{Party, Retagger, Tagged, Tagger, TaggerCounts, TaggingError, Urgency};
use otklik::tags::{Confidence, Language, Provenance, Review, Tags, TaxonomyVersion, TeamId, TeamTag, TopicId};

const CHILD: &str = "OTKLIK_ARCHIVE_KILL_CHILD";

/// Numbers that look random and depend on a seed alone (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

fn provenance(taxonomy: &str) -> Provenance {
    Provenance {
        otklik_version: "0".to_owned(),
        taxonomy_version: TaxonomyVersion::new(taxonomy),
        encoder_id: "test".to_owned(),
        encoder_sha256: "ab".repeat(32),
        prototypes_version: "sha256:0".to_owned(),
        heads: vec![],
        corrections_version: String::new(),
        language_model: None,
    }
}

/// Gives each case a team by its number; slowly, so that a page can be killed in the middle.
struct Numbered;

fn renewed(case: &Case) -> Tags {
    let mut tags = case.tags.clone();
    let number: usize = case.id.parse().unwrap();
    tags.team.team_id = TeamId::new(format!("team_{}", number % 3));
    tags.provenance = provenance("sha256:1");
    tags
}

#[async_trait]
impl Retagger for Numbered {
    fn provenance(&self) -> Provenance {
        provenance("sha256:1")
    }

    async fn by_kept(&self, cases: Arc<Vec<VectoredCase>>) -> Result<Vec<Option<Tags>>, TaggingError> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(cases.iter().map(|stored| stored.case.reading.as_ref().map(|_| renewed(&stored.case))).collect())
    }

    async fn anew(&self, case: &Case) -> Result<Tagged, TaggingError> {
        if case.id.ends_with("50") {
            return Err(TaggingError::Internal("faulty".to_owned()));
        }
        Ok(Tagged { tags: renewed(case), vector: vec![1.0, 0.0], reading: None })
    }
}

struct Serving;

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
        Numbered.provenance()
    }

    fn retagger(&self, _: Party) -> Option<Arc<dyn Retagger>> {
        Some(Arc::new(Numbered))
    }

    fn counts(&self) -> TaggerCounts {
        TaggerCounts::default()
    }
}

fn new_case(number: usize) -> NewCase {
    let team = TeamTag {
        team_id: TeamId::new("team_0"),
        confidence: Confidence::ONE,
        reason: String::new(),
        rule_id: None,
        escalates_to: None,
        alternatives: vec![],
        neighbour_case_ids: vec![],
    };
    let tags = Tags {
        id: number.to_string(),
        language: Language::English,
        topics: vec![],
        sentiment: None,
        team,
        signals: vec![],
        turns: vec![],
        sentiment_trend: None,
        review: Review::default(),
        masked_text: format!("case {number}"),
        tokens: 1,
        provenance: provenance("sha256:0"),
    };
    let reading = CaseReading { encoder_sha256: "ab".repeat(32), packed: "AA".to_owned() };
    let reading = (!number.is_multiple_of(10)).then_some(reading);
    let case = Case::new(Feedback::from_text(number.to_string(), ""), tags, Timestamp::UNIX_EPOCH);
    NewCase { case: Case { reading, ..case }, vector: vec![1.0, 0.0], request_id: None }
}

fn open(folder: &Path) -> (Arc<dyn CaseStore>, RetagJobs) {
    let options = EdgeOptions { flush_every: Duration::from_millis(40), ..EdgeOptions::new(2, "ab".repeat(32)) };
    std::fs::create_dir_all(folder).unwrap();
    let store = EdgeStore::open(&folder.join("cases"), options).unwrap();
    let limits = JobLimits { max_waiting: 1, kept_jobs: 1, page_cases: 10 };
    (Arc::new(store), RetagJobs::open(&folder.join("jobs"), limits).unwrap())
}

/// Does the one job to its end.
async fn do_job(folder: &Path, mut tell: impl FnMut(&Job)) {
    let (store, jobs) = open(folder);
    let tenant = TenantId::default();
    let id = jobs.list(&tenant, 1)[0].id.clone();
    let mut told = jobs.watch(&tenant, &id).unwrap();
    let watching = async {
        loop {
            let job = told.borrow_and_update().clone();
            tell(&job);
            if job.state.is_over() || told.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = jobs.run(Arc::clone(&store), Arc::new(Serving), 1_000) => panic!("it never ends"),
        () = watching => {}
    }
    store.close().await.unwrap();
}

/// The cases and the job of a folder.
async fn outcome(folder: &Path) -> (Vec<Case>, Job) {
    let (store, jobs) = open(folder);
    let (mut cases, mut from) = (Vec::new(), None::<String>);
    loop {
        let page = store.page(&TenantId::default(), &CaseFilter::default(), from.as_deref(), 1_000).await.unwrap();
        cases.extend(page.cases.into_iter().map(|stored| stored.case));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    let job = jobs.list(&TenantId::default(), 1).remove(0);
    store.close().await.unwrap();
    (cases, job)
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The child: does the job until it is killed. Does nothing when the test harness runs it as a test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    do_job(Path::new(&folder), |job| println!("\narchive-kill {}", job.counts.read)).await;
}

/// Runs a child and kills it a while after it read its first cases; says whether it ended before that.
fn run_and_kill(folder: &Path, after: Duration) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = lines.by_ref().map(Result::unwrap).any(|line| line.starts_with("archive-kill"));
    assert!(begun, "the child says nothing");
    // What else it says is read, so that it never waits for a reader.
    let reader = std::thread::spawn(move || lines.count());
    std::thread::sleep(after);
    let ended = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_killed_ends_as_one_that_is_left_alone() {
    if std::env::var(CHILD).is_ok() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (kills, rows) = (number("OTKLIK_KILLS").unwrap_or(3), number("OTKLIK_KILL_ROWS").unwrap_or(300));
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("OTKLIK_KILL_SEED").unwrap_or(clock);
    println!("OTKLIK_KILL_SEED={seed} OTKLIK_KILLS={kills} OTKLIK_KILL_ROWS={rows}");
    let parent = tempfile::tempdir().unwrap();
    let (alone, killed) = (parent.path().join("alone"), parent.path().join("killed"));
    {
        let (store, jobs) = open(&alone);
        for first in (0..rows as usize).step_by(500) {
            let last = (first + 500).min(rows as usize);
            store.upsert(&TenantId::default(), (first..last).map(new_case).collect()).await.unwrap();
        }
        // What the job changes is what its filter asks for.
        let request = ArchiveRequest {
            filter: CaseFilter { teams: vec![TeamId::new("team_0")], ..CaseFilter::default() },
            parts: TagPart::ALL.to_vec(),
            only_older: true,
            priority: 0,
            cases_per_second: None,
        };
        jobs.start(&TenantId::default(), None, request, ArchivePlan::default()).await.unwrap();
        store.close().await.unwrap();
    }
    copy_tree(&alone, &killed);
    do_job(&alone, |_| {}).await;

    let mut random = Random(seed);
    for kill in 0..kills {
        let after = Duration::from_millis(random.below(120));
        let ended = run_and_kill(&killed, after);
        println!("kill {kill} after {after:?}{}", if ended { ", when it had ended" } else { "" });
    }
    if !outcome(&killed).await.1.state.is_over() {
        do_job(&killed, |_| {}).await;
    }
    let ((cases, job), (expected, undisturbed)) = (outcome(&killed).await, outcome(&alone).await);
    assert_eq!((job.state, job.counts), (JobState::Succeeded, undisturbed.counts));
    assert_eq!(job.counts.read, rows);
    assert_eq!(cases, expected);
}
