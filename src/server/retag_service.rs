//! `otklik.v1.RetagService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};
use tonic::{Request, Response, Status};

use super::call::{Call, Touched};
use super::convert;
use super::drain::Drain;
use super::status;
use super::wire::v1;
use crate::cases::{CaseStore, TenantId};
use crate::config::Config;
use crate::retag::archive::{self, Job, Resources, RetagJobs};
use crate::tagging::Tagger;

/// The least time between two answers of one watch that differ in nothing but counts.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How long before the deadline a job that is being cancelled is no longer waited for.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);

/// Stored cases tagged anew.
pub(super) struct RetagService {
    pub(super) config: Arc<Config>,
    pub(super) tagger: Arc<dyn Tagger>,
    pub(super) cases: Arc<dyn CaseStore>,
    pub(super) jobs: RetagJobs,
    pub(super) drain: Drain,
}

type Watched = Pin<Box<dyn Stream<Item = Result<v1::RetagJob, Status>> + Send>>;

#[tonic::async_trait]
impl v1::retag_service_server::RetagService for RetagService {
    async fn preview_retag(
        &self,
        request: Request<v1::PreviewRetagRequest>,
    ) -> Result<Response<v1::PreviewRetagResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let outcome = self.preview(message, call.tenant()).await;
        call.close(outcome)
    }

    async fn start_retag(&self, request: Request<v1::StartRetagRequest>) -> Result<Response<v1::RetagJob>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let outcome = self.start(message, call.tenant()).await;
        let touched = Touched::subject(outcome.as_ref().map_or(String::new(), |job| format!("job {}", job.id)));
        let outcome = call.changed("RetagService/StartRetag", touched, outcome).await;
        call.close(outcome.map(Into::into))
    }

    async fn get_retag_job(&self, request: Request<v1::GetRetagJobRequest>) -> Result<Response<v1::RetagJob>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let job = self.jobs.get(call.tenant(), &message.id).map_err(status::of_jobs);
        call.close(job.map(Into::into))
    }

    async fn list_retag_jobs(
        &self,
        request: Request<v1::ListRetagJobsRequest>,
    ) -> Result<Response<v1::ListRetagJobsResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let listed = convert::job_limit(message.limit).map(|limit| {
            let jobs = self.jobs.list(call.tenant(), limit).into_iter().map(Into::into).collect();
            v1::ListRetagJobsResponse { jobs }
        });
        call.close(listed)
    }

    type WatchRetagJobStream = Watched;

    async fn watch_retag_job(
        &self,
        request: Request<v1::WatchRetagJobRequest>,
    ) -> Result<Response<Self::WatchRetagJobStream>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let told = self.jobs.watch(call.tenant(), &message.id).map_err(status::of_jobs);
        call.close(told.map(|told| watched(told, self.drain.clone())))
    }

    async fn cancel_retag_job(
        &self,
        request: Request<v1::CancelRetagJobRequest>,
    ) -> Result<Response<v1::RetagJob>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let job = self.cancel(&message.id, call.tenant(), call.due()).await;
        let touched = Touched::subject(format!("job {}", message.id));
        let job = call.changed("RetagService/CancelRetagJob", touched, job).await;
        call.close(job.map(Into::into))
    }
}

impl RetagService {
    fn resources(&self, tenant: &TenantId) -> Result<Resources, Status> {
        let retagger = self.tagger.retagger(tenant.into()).ok_or_else(status::no_retagger)?;
        Ok(Resources {
            cases: Arc::clone(&self.cases),
            retagger,
            tenant: tenant.clone(),
            kept_reading_bytes: self.config.cases.kept_reading_bytes,
        })
    }

    async fn preview(
        &self,
        message: v1::PreviewRetagRequest,
        tenant: &TenantId,
    ) -> Result<v1::PreviewRetagResponse, Status> {
        let (request, sample) = convert::previewed(message, &self.config.limits)?;
        let resources = self.resources(tenant)?;
        let most = self.config.retag.max_preview_cases as u64;
        let preview = archive::preview(&resources, &request, sample, most).await;
        preview.map(Into::into).map_err(status::of_archive)
    }

    async fn start(&self, message: v1::StartRetagRequest, tenant: &TenantId) -> Result<Job, Status> {
        let (request, request_id) = convert::retag_job(message, &self.config.limits)?;
        if let Some(job) = request_id.as_deref().and_then(|id| self.jobs.started_by(tenant, id)) {
            return Ok(job);
        }
        let resources = self.resources(tenant)?;
        let measured = self.config.retag.measured_cases;
        let plan = archive::plan(&resources, &request, measured).await.map_err(status::of_archive)?;
        self.jobs.start(tenant, request_id, request, plan).await.map_err(status::of_jobs)
    }

    async fn cancel(&self, id: &str, tenant: &TenantId, due: Instant) -> Result<Job, Status> {
        let job = self.jobs.cancel(tenant, id).await.map_err(status::of_jobs)?;
        if job.state.is_over() {
            return Ok(job);
        }
        let mut told = self.jobs.watch(tenant, id).map_err(status::of_jobs)?;
        let waited = due.checked_sub(ANSWER_MARGIN).unwrap_or(due);
        // In time or not, the answer says how the job stands.
        let _ = timeout_at(waited.into(), told.wait_for(|job| job.state.is_over())).await;
        let job = told.borrow().clone();
        Ok(job)
    }
}

/// What a watch has told so far.
struct Watching {
    told: watch::Receiver<Job>,
    /// The last answer, and when it was given.
    last: Option<(Job, Instant)>,
    drain: Drain,
}

/// The job at once, then whenever it stands otherwise, until it is over.
fn watched(told: watch::Receiver<Job>, drain: Drain) -> Watched {
    let watching = Watching { told, last: None, drain };
    Box::pin(stream::unfold(Some(watching), |watching| async {
        let mut watching = watching?;
        let drained = watching.drain.begun();
        tokio::select! {
            biased;
            () = drained => Some((Err(status::shutting_down()), None)),
            job = watching.next() => job.map(|job| (Ok(job.into()), Some(watching))),
        }
    }))
}

impl Watching {
    async fn next(&mut self) -> Option<Job> {
        if let Some((last, at)) = &self.last {
            if last.state.is_over() {
                return None;
            }
            // Without a job to hear of, nothing more comes.
            self.told.changed().await.ok()?;
            let state = last.state;
            let other = self.told.wait_for(|job| job.state != state);
            tokio::select! {
                _ = other => {}
                () = sleep_until((*at + WATCH_INTERVAL).into()) => {}
            }
        }
        let job = self.told.borrow_and_update().clone();
        self.last = Some((job.clone(), Instant::now()));
        Some(job)
    }
}
