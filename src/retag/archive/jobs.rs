//! The jobs of this process: asked for, done one after another, watched and cancelled.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::ArchivePlan;
use super::job::{ArchiveCounts, ArchiveRequest, BegunPage, Job, JobState, Place, Record};
use super::journal::Journal;
use super::work::{ArchiveError, Resources, Work};
use crate::cases::{CaseStore, TenantId};
use crate::tagging::Tagger;
use crate::tags::Provenance;

/// Why a job can't be had.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The journal of the jobs can't be read or written.
    #[error("{file}: {problem} (retag.dir)")]
    Journal {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// Too many jobs wait already.
    #[error("{waiting} jobs wait, at most {limit} may (retag.max_waiting)")]
    Full {
        /// Jobs that wait.
        waiting: usize,
        /// The limit from the configuration.
        limit: usize,
    },
    /// There is no such job, or it is over and forgotten.
    #[error("no job {id:?}")]
    NotFound {
        /// The id asked for.
        id: String,
    },
    /// A thread ended early.
    #[error("a thread ended early: {0}")]
    Thread(String),
}

/// Limits of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimits {
    /// Most jobs that may wait.
    pub max_waiting: usize,
    /// Most jobs that are over and remembered.
    pub kept_jobs: usize,
    /// Cases of a page, 1 or more.
    pub page_cases: usize,
}

/// A job with those who watch it and with the way to cancel it.
struct Held {
    record: Record,
    told: watch::Sender<Job>,
    cancel: watch::Sender<bool>,
}

impl Held {
    fn new(record: Record) -> Self {
        Self { told: watch::Sender::new(record.job.clone()), cancel: watch::Sender::new(false), record }
    }
}

/// The jobs. One is at work at a time: more would take from each other what they compute with.
#[derive(Clone)]
pub struct RetagJobs {
    shared: Arc<Shared>,
}

struct Shared {
    journal: Journal,
    limits: JobLimits,
    jobs: Mutex<BTreeMap<String, Held>>,
    /// Held while a job is taken on, so that limits and request ids are heeded.
    taking_on: tokio::sync::Mutex<()>,
    /// There may be a job to do.
    wake: Notify,
}

/// How a job ended, if nothing went wrong.
enum End {
    Done,
    Cancelled,
}

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
enum JobFault {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Jobs(#[from] JobsError),
    #[error("the tagger of this service can't tag stored cases anew")]
    NoRetagger,
    #[error(
        "it began with the taxonomy {}, the encoder {} and heads that are served no more (now: taxonomy {}, encoder {}); what it did stays, \
         and a new job with only_older does the rest",
        was.taxonomy_version, was.encoder_id, now.taxonomy_version, now.encoder_id
    )]
    OtherVersions { was: Box<Provenance>, now: Box<Provenance> },
}

impl RetagJobs {
    /// Opens the jobs of a folder, which is made if it is not there. Blocks.
    ///
    /// # Errors
    /// [`JobsError::Journal`].
    pub fn open(folder: &Path, limits: JobLimits) -> Result<Self, JobsError> {
        let (journal, records) = Journal::open(folder)?;
        let jobs = records.into_iter().map(|record| (record.job.id.clone(), Held::new(record))).collect();
        let shared = Shared {
            journal,
            limits: JobLimits { page_cases: limits.page_cases.max(1), ..limits },
            jobs: Mutex::new(jobs),
            taking_on: tokio::sync::Mutex::new(()),
            wake: Notify::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Takes on a job. A call of the same request id gets the job that it started before. When this returns, the job survives a crash.
    ///
    /// # Errors
    /// [`JobsError::Full`], [`JobsError::Journal`].
    pub async fn start(
        &self,
        tenant: &TenantId,
        request_id: Option<String>,
        request: ArchiveRequest,
        plan: ArchivePlan,
    ) -> Result<Job, JobsError> {
        let _alone = self.shared.taking_on.lock().await;
        if let Some(job) = request_id.as_deref().and_then(|id| self.started_by(tenant, id)) {
            return Ok(job);
        }
        let limit = self.shared.limits.max_waiting;
        let waiting = self.shared.lock().values().filter(|held| held.record.job.state == JobState::Queued).count();
        if waiting >= limit {
            return Err(JobsError::Full { waiting, limit });
        }
        let job = Job {
            id: Uuid::now_v7().to_string(),
            tenant: tenant.clone(),
            request_id,
            request,
            plan,
            state: JobState::Queued,
            made_by: None,
            counts: ArchiveCounts::default(),
            reason: None,
            created_at: Timestamp::now(),
            started_at: None,
            ended_at: None,
        };
        let record = Record { job: job.clone(), place: Place::default() };
        self.keep(&record).await?;
        self.shared.lock().insert(job.id.clone(), Held::new(record));
        self.shared.wake.notify_one();
        Ok(job)
    }

    /// The job that a call of this request id started.
    pub fn started_by(&self, tenant: &TenantId, request_id: &str) -> Option<Job> {
        let jobs = self.shared.lock();
        let by = |held: &&Held| {
            held.record.job.tenant == *tenant && held.record.job.request_id.as_deref() == Some(request_id)
        };
        jobs.values().find(by).map(|held| held.record.job.clone())
    }

    /// A job as it stands.
    ///
    /// # Errors
    /// [`JobsError::NotFound`].
    pub fn get(&self, tenant: &TenantId, id: &str) -> Result<Job, JobsError> {
        Ok(self.watch(tenant, id)?.borrow().clone())
    }

    /// Jobs, the newest first, at most `limit`.
    pub fn list(&self, tenant: &TenantId, limit: usize) -> Vec<Job> {
        let jobs = self.shared.lock();
        let of_tenant = jobs.values().rev().map(|held| &held.record.job).filter(|job| job.tenant == *tenant);
        of_tenant.take(limit).cloned().collect()
    }

    /// A job as it stands, now and whenever it stands otherwise. Nothing more comes when it is over.
    ///
    /// # Errors
    /// [`JobsError::NotFound`].
    pub fn watch(&self, tenant: &TenantId, id: &str) -> Result<watch::Receiver<Job>, JobsError> {
        let jobs = self.shared.lock();
        let held = jobs.get(id).filter(|held| held.record.job.tenant == *tenant);
        held.map(|held| held.told.subscribe()).ok_or_else(|| JobsError::NotFound { id: id.to_owned() })
    }

    /// Ends a job: one that waits at once, one that is at work after the page that it is at. A job that is over stays as it is.
    ///
    /// # Errors
    /// [`JobsError::NotFound`], [`JobsError::Journal`].
    pub async fn cancel(&self, tenant: &TenantId, id: &str) -> Result<Job, JobsError> {
        let job = self.get(tenant, id)?;
        if job.state.is_over() {
            return Ok(job);
        }
        if let Some(held) = self.shared.lock().get(id) {
            held.cancel.send_replace(true);
        }
        let waiting = {
            let jobs = self.shared.lock();
            jobs.get(id).filter(|held| held.record.job.state == JobState::Queued).map(|held| held.record.clone())
        };
        if let Some(mut record) = waiting {
            (record.job.state, record.job.ended_at) = (JobState::Cancelled, Some(Timestamp::now()));
            self.tell(&record);
            self.keep(&record).await?;
            self.forget_oldest().await?;
            return Ok(record.job);
        }
        self.get(tenant, id)
    }

    /// Does the jobs, one after another, those first that were at work when the last process ended; waits for more, and never ends.
    /// Dropping it stops in the middle of a job, which goes on when this is called again. To be called once at a time.
    pub async fn run(&self, cases: Arc<dyn CaseStore>, tagger: Arc<dyn Tagger>, kept_reading_bytes: usize) {
        loop {
            let Some((record, cancelled)) = self.next() else {
                self.shared.wake.notified().await;
                continue;
            };
            let id = record.job.id.clone();
            if let Err(error) = self.do_job(record, cancelled, &cases, &tagger, kept_reading_bytes).await {
                // The job is as it was when it was last kept, and is taken up by the next process.
                tracing::error!(job = id, %error, "how a job ended can't be kept");
            }
        }
    }

    /// The job to do now.
    fn next(&self) -> Option<(Record, watch::Receiver<bool>)> {
        let jobs = self.shared.lock();
        let running = jobs.values().find(|held| held.record.job.state == JobState::Running);
        let waiting = jobs.values().filter(|held| held.record.job.state == JobState::Queued);
        // Of several with the highest priority the last is taken, so the newest come first.
        let first = running.or_else(|| waiting.rev().max_by_key(|held| held.record.job.request.priority));
        first.map(|held| (held.record.clone(), held.cancel.subscribe()))
    }

    async fn do_job(
        &self,
        mut record: Record,
        cancelled: watch::Receiver<bool>,
        cases: &Arc<dyn CaseStore>,
        tagger: &Arc<dyn Tagger>,
        kept_reading_bytes: usize,
    ) -> Result<(), JobsError> {
        let id = record.job.id.clone();
        let end = match tagger.retagger() {
            None => Err(JobFault::NoRetagger),
            Some(retagger) => {
                let (cases, tenant) = (Arc::clone(cases), record.job.tenant.clone());
                let resources = Resources { cases, retagger, tenant, kept_reading_bytes };
                self.work(&mut record, &resources, cancelled).await
            }
        };
        let job = &mut record.job;
        job.ended_at = Some(Timestamp::now());
        match end {
            Ok(End::Done) => job.state = JobState::Succeeded,
            Ok(End::Cancelled) => job.state = JobState::Cancelled,
            Err(fault) => (job.state, job.reason) = (JobState::Failed, Some(fault.to_string())),
        }
        let ArchiveCounts { read, changed, failed, .. } = job.counts;
        let (state, reason) = (job.state.as_str(), job.reason.as_deref());
        tracing::info!(job = id, state, read, changed, failed, reason, "a re-tagging of the archive ended");
        record.place = Place::default();
        let kept = self.keep(&record).await;
        self.tell(&record);
        kept?;
        self.forget_oldest().await
    }

    /// Goes over the cases, page by page.
    async fn work(
        &self,
        record: &mut Record,
        resources: &Resources,
        mut cancelled: watch::Receiver<bool>,
    ) -> Result<End, JobFault> {
        let now = resources.retagger.provenance();
        match &record.job.made_by {
            Some(was) if was.version() != now.version() => {
                return Err(JobFault::OtherVersions { was: Box::new(was.clone()), now: Box::new(now) });
            }
            Some(_) => tracing::info!(job = record.job.id, read = record.job.counts.read, "a re-tagging goes on"),
            None => {
                let job = &mut record.job;
                (job.state, job.made_by, job.started_at) = (JobState::Running, Some(now), Some(Timestamp::now()));
                self.keep(record).await?;
                self.tell(record);
            }
        }
        let (request, id) = (record.job.request.clone(), record.job.id.clone());
        let work = Work::new(resources, &request, &id);
        let most = request.cases_per_second.map_or(usize::MAX, |most| most.max(1) as usize);
        let limit = self.shared.limits.page_cases.min(most);
        loop {
            if *cancelled.borrow() {
                return Ok(End::Cancelled);
            }
            let began = Instant::now();
            let (cases, after) = match &record.place.begun {
                Some(BegunPage { ids, after }) => (work.of_ids(ids).await?, after.clone()),
                None => {
                    let page = work.page(record.place.next.as_deref(), limit).await?;
                    let ids = page.cases.iter().map(|stored| stored.case.id.clone()).collect();
                    record.place.begun = Some(BegunPage { ids, after: page.next.clone() });
                    self.keep(record).await?;
                    (page.cases, page.next)
                }
            };
            let count = cases.len();
            record.job.counts.add(work.do_cases(cases).await?);
            record.place = Place { next: after, begun: None };
            self.tell(record);
            if record.place.next.is_none() {
                return Ok(End::Done);
            }
            let pause = pause_after(count, request.cases_per_second, began.elapsed());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = cancelled.wait_for(|cancelled| *cancelled) => {}
            }
        }
    }

    /// Keeps a record on disk.
    async fn keep(&self, record: &Record) -> Result<(), JobsError> {
        let (shared, record) = (Arc::clone(&self.shared), record.clone());
        let kept = spawn_blocking(move || shared.journal.keep(&record)).await;
        kept.map_err(|error| JobsError::Thread(error.to_string()))?
    }

    /// Tells those who ask and those who watch.
    fn tell(&self, record: &Record) {
        let mut jobs = self.shared.lock();
        if let Some(held) = jobs.get_mut(&record.job.id) {
            held.record = record.clone();
            held.told.send_replace(record.job.clone());
        }
    }

    /// Forgets the oldest of the jobs that are over, if there are too many.
    async fn forget_oldest(&self) -> Result<(), JobsError> {
        let forgotten: Vec<String> = {
            let mut jobs = self.shared.lock();
            let over = jobs.iter().filter(|(_, held)| held.record.job.state.is_over());
            let over: Vec<String> = over.map(|(id, _)| id.clone()).collect();
            let too_many = over.len().saturating_sub(self.shared.limits.kept_jobs);
            let forgotten: Vec<String> = over.into_iter().take(too_many).collect();
            jobs.retain(|id, _| !forgotten.contains(id));
            forgotten
        };
        if forgotten.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let done = spawn_blocking(move || shared.journal.forget(&forgotten)).await;
        done.map_err(|error| JobsError::Thread(error.to_string()))?
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait after so many cases took so long, so that not more than so many are done in a second.
fn pause_after(cases: usize, cases_per_second: Option<u32>, took: Duration) -> Duration {
    let Some(most) = cases_per_second else { return Duration::ZERO };
    Duration::from_secs_f64(cases as f64 / f64::from(most.max(1))).saturating_sub(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_makes_up_for_what_was_too_fast() {
        let milliseconds = Duration::from_millis;
        assert_eq!(pause_after(100, None, Duration::ZERO), Duration::ZERO);
        assert_eq!(pause_after(100, Some(50), Duration::ZERO), milliseconds(2_000));
        assert_eq!(pause_after(100, Some(50), milliseconds(1_500)), milliseconds(500));
        assert_eq!(pause_after(100, Some(50), milliseconds(2_500)), Duration::ZERO);
        assert_eq!(pause_after(0, Some(1), Duration::ZERO), Duration::ZERO);
    }
}
