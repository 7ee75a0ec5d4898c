//! The jobs of this process: asked for, listed, watched, cancelled and forgotten.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::ArchivePlan;
use super::job::{ArchiveCounts, ArchiveRequest, Job, JobState, Place, Record};
use super::journal::Journal;
use crate::cases::TenantId;

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
    /// Most jobs that are over and remembered, 1 or more.
    pub kept_jobs: usize,
    /// Cases of a page, 1 or more.
    pub page_cases: usize,
}

/// What the jobs of this process do, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobFigures {
    /// Jobs that wait.
    pub waiting: u64,
    /// Jobs at work: one, or none.
    pub running: u64,
    /// Cases read since the process started.
    pub read: u64,
    /// Cases whose tags were changed.
    pub changed: u64,
    /// Cases that could not be tagged.
    pub failed: u64,
}

/// A job with those who watch it and with the way to cancel it.
pub(super) struct Held {
    pub(super) record: Record,
    told: watch::Sender<Job>,
    pub(super) cancel: watch::Sender<bool>,
}

impl Held {
    fn new(record: Record) -> Self {
        Self { told: watch::Sender::new(record.job.clone()), cancel: watch::Sender::new(false), record }
    }
}

/// The jobs. One is at work at a time: more would take from each other what they compute with.
#[derive(Clone)]
pub struct RetagJobs {
    pub(super) shared: Arc<Shared>,
}

/// What all who hold the jobs share.
pub(super) struct Shared {
    journal: Journal,
    pub(super) limits: JobLimits,
    jobs: Mutex<BTreeMap<String, Held>>,
    /// What was done since the process started, by jobs that are forgotten too.
    pub(super) done: Mutex<ArchiveCounts>,
    /// Held while a job is taken on, so that limits and request ids are heeded.
    taking_on: tokio::sync::Mutex<()>,
    /// There may be a job to do.
    pub(super) wake: Notify,
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
            done: Mutex::default(),
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
            self.note(&record);
            self.keep(&record).await?;
            self.forget_oldest().await?;
            self.tell(&record);
            return Ok(record.job);
        }
        self.get(tenant, id)
    }

    /// What the jobs do, in numbers.
    pub fn figures(&self) -> JobFigures {
        let ArchiveCounts { read, changed, failed, .. } =
            *self.shared.done.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = self.shared.lock();
        let in_state = |state| jobs.values().filter(|held| held.record.job.state == state).count() as u64;
        let (waiting, running) = (in_state(JobState::Queued), in_state(JobState::Running));
        JobFigures { waiting, running, read, changed, failed }
    }

    /// Keeps a record on disk.
    pub(super) async fn keep(&self, record: &Record) -> Result<(), JobsError> {
        let (shared, record) = (Arc::clone(&self.shared), record.clone());
        let kept = spawn_blocking(move || shared.journal.keep(&record)).await;
        kept.map_err(|error| JobsError::Thread(error.to_string()))?
    }

    /// Takes note of a record, and tells nobody yet.
    pub(super) fn note(&self, record: &Record) {
        if let Some(held) = self.shared.lock().get_mut(&record.job.id) {
            held.record = record.clone();
        }
    }

    /// Tells those who ask and those who watch.
    pub(super) fn tell(&self, record: &Record) {
        let mut jobs = self.shared.lock();
        if let Some(held) = jobs.get_mut(&record.job.id) {
            held.record = record.clone();
            held.told.send_replace(record.job.clone());
        }
    }

    /// Forgets those of the jobs that are over that ended first, if there are too many.
    pub(super) async fn forget_oldest(&self) -> Result<(), JobsError> {
        let forgotten: Vec<String> = {
            let mut jobs = self.shared.lock();
            let over = jobs.iter().filter(|(_, held)| held.record.job.state.is_over());
            let mut over: Vec<_> = over.map(|(id, held)| (held.record.job.ended_at, id.clone())).collect();
            over.sort();
            let too_many = over.len().saturating_sub(self.shared.limits.kept_jobs.max(1));
            let forgotten: Vec<String> = over.into_iter().take(too_many).map(|(_, id)| id).collect();
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
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
