//! Whole runs over a queue, with workers in this process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::queue::{EmbeddedQueue, Shelf, WorkQueue};
use super::super::tests::{FakeTagger, content, folder, options, relative, undisturbed};
use super::super::*;
use super::*;
use crate::feedback::{Body, Feedback};
use crate::tagging::corrections::CorrectedCase;
use crate::tagging::{Party, Tagged, Tagger, TaggerCounts, TaggingError, Urgency};
use crate::tags::{Provenance, TeamId, TopicId};

const LEASE_TIME: Duration = Duration::from_millis(300);

/// How a tagger fails.
enum Fault {
    /// One of its texts can't be tagged.
    Poison,
    /// It never answers.
    Silence,
}

/// A tagger that fails.
struct Faulty(Arc<FakeTagger>, Fault);

#[async_trait]
impl Tagger for Faulty {
    async fn tag(&self, feedback: Feedback, urgency: Urgency) -> Result<Tagged, TaggingError> {
        match (&self.1, &feedback.body) {
            (Fault::Silence, _) => std::future::pending().await,
            (Fault::Poison, Body::Text(text)) if text == "cards no 14" => Err(TaggingError::Internal("poison".into())),
            _ => self.0.tag(feedback, urgency).await,
        }
    }

    async fn learn(&self, party: Party, cases: Vec<CorrectedCase>) -> Result<(), TaggingError> {
        self.0.learn(party, cases).await
    }

    async fn forget(&self, party: Party, case_ids: Vec<String>) -> Result<(), TaggingError> {
        self.0.forget(party, case_ids).await
    }

    fn knows_topic(&self, id: &TopicId) -> bool {
        self.0.knows_topic(id)
    }

    fn knows_team(&self, id: &TeamId) -> bool {
        self.0.knows_team(id)
    }

    fn provenance(&self) -> Provenance {
        self.0.provenance()
    }

    fn counts(&self) -> TaggerCounts {
        self.0.counts()
    }
}

/// Keeps what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Watch for &Told {
    fn advanced(&mut self, _: &str, _: u64, _: &Counts) {}

    fn passed_over(&mut self, file: &BadFile) {
        self.0.lock().unwrap().push(file.name.clone());
    }

    fn told(&mut self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

fn queue() -> Arc<EmbeddedQueue> {
    Arc::new(EmbeddedQueue::new(LEASE_TIME, 1_000))
}

fn good() -> Arc<FakeTagger> {
    FakeTagger::new("old", u64::MAX)
}

async fn run_of(folder: &Path, queue: Arc<EmbeddedQueue>, told: &Told) -> Result<Summary, RetagError> {
    let plan = Plan::new(&[folder.join("in").display().to_string()]).unwrap();
    let outputs = plan.outputs(&folder.join("out")).unwrap();
    let run = RetagRun::prepare(plan, outputs, options(), BTreeMap::new(), good().provenance(), false)?;
    let mut watch = told;
    run.run_on_machines(queue, MachinesOptions { max_chunks: 4 }, &mut watch).await
}

fn worker_of(queue: &Arc<EmbeddedQueue>, tagger: Arc<dyn Tagger>, name: &str, max_tries: u64) -> Worker {
    let drain = Duration::from_secs(10);
    let (name, split_turns) = (name.to_owned(), (|_: &str| None) as crate::tables::SplitTurns);
    let options = WorkerOptions { name, side_by_side: 1, max_tries, drain, split_turns };
    Worker::new(Arc::clone(queue) as Arc<dyn WorkQueue>, tagger, options)
}

/// A worker at work, until its stop is dropped.
fn start(
    queue: &Arc<EmbeddedQueue>,
    tagger: Arc<dyn Tagger>,
    name: &str,
) -> (JoinHandle<Result<WorkerSummary, RetagError>>, oneshot::Sender<()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = worker_of(queue, tagger, name, 2);
    (tokio::spawn(worker.run(async move { drop(stopped.await) })), stop)
}

#[tokio::test]
async fn two_workers_make_what_one_process_makes() {
    let (folder, queue, told) = (folder(), queue(), Told::default());
    let workers = [start(&queue, good(), "w1"), start(&queue, good(), "w2")];
    let summary = run_of(folder.path(), Arc::clone(&queue), &told).await.unwrap();
    assert_eq!((summary.counts.rows_read, summary.rows_now, summary.files), (70, 70, 3));
    assert_eq!(relative(content(folder.path()), folder.path()), undisturbed().await);
    let mut rows = 0;
    for (worker, stop) in workers {
        drop(stop);
        rows += worker.await.unwrap().unwrap().rows;
    }
    assert_eq!(rows, 70, "every row is done once");
    let jobs = jobs(&*queue).await.unwrap();
    assert_eq!((jobs.len(), jobs[0].state, jobs[0].rows_done, jobs[0].files_done), (1, JobState::Complete, 70, 3));
    assert!(queue.keys(Shelf::Chunks).await.unwrap().is_empty(), "chunks of a complete job are forgotten");
    // The same again is a new life of the job, though the queue saw all of its chunks.
    fs::remove_dir_all(folder.path().join("out")).unwrap();
    let (worker, stop) = start(&queue, good(), "w3");
    assert_eq!(run_of(folder.path(), queue, &told).await.unwrap().rows_now, 70);
    drop(stop);
    worker.await.unwrap().unwrap();
    assert_eq!(relative(content(folder.path()), folder.path()), undisturbed().await);
}

#[tokio::test]
async fn a_worker_that_is_lost_loses_nothing() {
    let (folder, queue, told) = (folder(), queue(), Told::default());
    let at_work = Arc::clone(&queue);
    let killed = tokio::spawn(async move {
        for index in 0..4 {
            let (worker, _stop) = start(&at_work, good(), &format!("lost{index}"));
            tokio::time::sleep(Duration::from_millis(3 + 7 * index)).await;
            worker.abort();
        }
        start(&at_work, good(), "kept")
    });
    let summary = run_of(folder.path(), queue, &told).await.unwrap();
    assert_eq!(summary.counts.rows_read, 70);
    drop(killed.await.unwrap());
    assert_eq!(relative(content(folder.path()), folder.path()), undisturbed().await);
}

#[tokio::test]
async fn a_coordinator_that_is_killed_goes_on() {
    let (folder, queue) = (folder(), queue());
    let tagger = good();
    let (worker, stop) = start(&queue, Arc::clone(&tagger) as Arc<dyn Tagger>, "w");
    for milliseconds in [5, 20, 40] {
        let told = Told::default();
        let run = run_of(folder.path(), Arc::clone(&queue), &told);
        if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(milliseconds), run).await {
            break;
        }
    }
    while folder.path().join("out.parts").exists() {
        match run_of(folder.path(), Arc::clone(&queue), &Told::default()).await {
            // A thread of the one that was killed may still write.
            Err(RetagError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            ended => drop(ended.unwrap()),
        }
    }
    drop(stop);
    let done = worker.await.unwrap().unwrap();
    assert_eq!(done.rows, 70, "what was done before is not done again");
    assert_eq!(relative(content(folder.path()), folder.path()), undisturbed().await);
}

#[tokio::test]
async fn poison_is_set_aside_with_its_reason_and_the_rest_is_done() {
    let (folder, queue, told) = (folder(), queue(), Told::default());
    let (worker, stop) = start(&queue, Arc::new(Faulty(good(), Fault::Poison)), "w");
    let error = run_of(folder.path(), Arc::clone(&queue), &told).await.unwrap_err();
    let expected = "1 chunks failed too often and were set aside, everything else is done:\n  a.csv: the data rows 11 to 20 \
                    were set aside after 2 tries: a.csv: row 16: tagging failed: poison";
    assert_eq!(error.to_string(), expected);
    assert!(!error.is_bad_input());
    assert_eq!(told.0.lock().unwrap().len(), 1);
    assert!(folder.path().join("out/c.tsv").exists() && !folder.path().join("out/a.csv").exists());
    let job = jobs(&*queue).await.unwrap().remove(0);
    assert_eq!((job.state, job.set_aside[0].first_row, job.rows_done), (JobState::Failed, 10, 60));
    drop(stop);
    worker.await.unwrap().unwrap();
    // What is mended is done when the same command is given again, and nothing else is done twice.
    let (worker, stop) = start(&queue, good(), "w");
    let summary = run_of(folder.path(), queue, &Told::default()).await.unwrap();
    assert_eq!((summary.rows_now, summary.counts.rows_read), (10, 70));
    drop(stop);
    assert_eq!(worker.await.unwrap().unwrap().rows, 10);
    assert_eq!(relative(content(folder.path()), folder.path()), undisturbed().await);
}

#[tokio::test]
async fn a_chunk_that_no_worker_outlives_is_set_aside() {
    let (folder, queue, told) = (folder(), queue(), Told::default());
    let running = run_of(folder.path(), Arc::clone(&queue), &told);
    let at_work = Arc::clone(&queue);
    let killed = async move {
        // Whoever takes a chunk is lost before anything is written: as a process that runs out of memory.
        for _ in 0..40 {
            let stuck: Arc<dyn Tagger> = Arc::new(Faulty(good(), Fault::Silence));
            let (worker, _stop) = start(&at_work, stuck, "w");
            tokio::time::sleep(Duration::from_millis(60)).await;
            worker.abort();
        }
        start(&at_work, good(), "w")
    };
    let (ended, _kept) = tokio::join!(running, killed);
    let error = ended.unwrap_err().to_string();
    assert!(
        error.contains("after 2 tries: 2 tries were begun and none ended: each worker was lost over it"),
        "{error}"
    );
}

#[tokio::test]
async fn a_worker_with_another_taxonomy_leaves_the_job_alone_and_says_so() {
    let (folder, queue, told) = (folder(), queue(), Told::default());
    let (other, stop_other) = start(&queue, FakeTagger::new("new", u64::MAX), "other");
    let running = run_of(folder.path(), Arc::clone(&queue), &told);
    let at_work = Arc::clone(&queue);
    let watched = async {
        while told.0.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(stop_other);
        assert_eq!(other.await.unwrap().unwrap(), WorkerSummary::default());
        start(&at_work, good(), "right")
    };
    let (ended, _right) = tokio::join!(running, watched);
    assert_eq!(ended.unwrap().rows_now, 70);
    let expected = "worker other leaves the job alone: the taxonomy of the job is \"old\", this worker's is \"new\"";
    assert_eq!(told.0.lock().unwrap()[0], expected);
    assert_eq!(jobs(&*queue).await.unwrap()[0].refusals.len(), 1);
}

#[tokio::test]
async fn a_job_can_be_cancelled_from_anywhere() {
    let (folder, queue, told) = (folder(), queue(), Told::default());
    let running = run_of(folder.path(), Arc::clone(&queue), &told);
    let cancelling = async {
        while jobs(&*queue).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let id = jobs(&*queue).await.unwrap()[0].id.clone();
        assert!(cancel(&*queue, &id).await.unwrap());
        assert!(!cancel(&*queue, "no-such-job").await.unwrap());
    };
    let (ended, ()) = tokio::join!(running, cancelling);
    assert!(matches!(ended, Err(RetagError::Cancelled { .. })), "{ended:?}");
    // It can be begun again.
    let (_worker, _stop) = start(&queue, good(), "w");
    assert_eq!(run_of(folder.path(), queue, &told).await.unwrap().counts.rows_read, 70);
}
