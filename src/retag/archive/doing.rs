//! Doing the jobs: the next of them, page by page, to its end.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::job::{ArchiveCounts, BegunPage, JobState, Place, Record};
use super::jobs::{JobsError, RetagJobs};
use super::work::{ArchiveError, Resources, Work};
use crate::cases::CaseStore;
use crate::tagging::Tagger;
use crate::tags::Provenance;

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
        let end = match tagger.retagger((&record.job.tenant).into()) {
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
        self.note(&record);
        let kept = self.keep(&record).await;
        let forgotten = self.forget_oldest().await;
        // Last: whoever hears of the end finds all of it done.
        self.tell(&record);
        kept.and(forgotten)
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
            let done = work.do_cases(cases).await?;
            record.job.counts.add(done);
            self.shared.done.lock().unwrap_or_else(PoisonError::into_inner).add(done);
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
