//! How a run over many machines begins and ends.
//!
//! Enters: a run that is ready to begin or to go on, and a queue. Leaves: the run's outputs. Killed at any moment, it goes on when
//! it is started again: what is finished is in the journal, what is done is on the queue's shelf, and what is published is in the
//! queue. Never here: tagging.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::RetagError;
use super::super::identity::hex;
use super::super::queue::{QueueError, WorkQueue};
use super::super::run::RetagRun;
use super::super::summary::{Summary, Watch};
use super::coordinator::Coordinator;
use super::job::{self, FORMAT, Job, JobState, Rules};

/// How a run is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachinesOptions {
    /// Most chunks that wait or are worked on at once.
    pub max_chunks: usize,
}

impl RetagRun {
    /// Runs to the end with workers on other machines, which take chunks from the queue. When it stops before, what is done stays
    /// and the next start goes on; chunks that were published are worked on meanwhile.
    ///
    /// # Errors
    /// [`RetagError`]; see its variants. [`RetagError::SetAside`] comes after everything else is done.
    pub async fn run_on_machines(
        mut self,
        queue: Arc<dyn WorkQueue>,
        options: MachinesOptions,
        watch: &mut dyn Watch,
    ) -> Result<Summary, RetagError> {
        self.outputs.parts = std::path::absolute(&self.outputs.parts)
            .map_err(|reason| RetagError::Write { path: self.outputs.parts.clone(), reason })?;
        let job = self.begin_job(&*queue).await?;
        let finished = &self.history.finished;
        let is_finished =
            |index: &usize| self.plan.files.get(*index).is_some_and(|file| finished.contains_key(&file.name));
        let (done, to_plan): (Vec<usize>, Vec<usize>) = (0..self.plan.files.len()).partition(is_finished);
        let bytes_of = |index: usize| self.plan.files.get(index).map_or(0, |file| file.bytes);
        let bytes_finished = done.into_iter().map(bytes_of).sum();
        let mut coordinator = Coordinator {
            queue,
            options,
            watch,
            job,
            summary: Summary { counts: self.done_counts(), ..Summary::default() },
            to_plan: to_plan.into(),
            files: BTreeMap::new(),
            to_publish: VecDeque::new(),
            published: BTreeMap::new(),
            bytes_finished,
            set_aside: 0,
        };
        if !self.history.complete {
            coordinator.run(&mut self).await?;
        }
        let Coordinator { mut job, summary, queue, set_aside, .. } = coordinator;
        job.told_at = Timestamp::now();
        if set_aside > 0 {
            job.state = JobState::Failed;
            job::tell(&*queue, &job).await?;
            return Err(RetagError::SetAside { count: set_aside, chunks: job.set_aside });
        }
        let summary = self.complete(summary).await?;
        job.state = JobState::Complete;
        (job.files_done, job.chunks_open) = (summary.files, 0);
        (job.rows_done, job.rows_failed) = (summary.counts.rows_read, summary.counts.failed);
        job::tell(&*queue, &job).await?;
        queue.withdraw(&job.id).await?;
        Ok(summary)
    }

    /// The job of this run: a new life of it, or the one that an earlier start began.
    async fn begin_job(&self, queue: &dyn WorkQueue) -> Result<Job, RetagError> {
        let begun = job::write("the job", &(&self.history.begun, self.options.part_rows))?;
        let place = self.outputs.parts.display().to_string();
        let hash = hex(&Sha256::new().chain_update(place.as_bytes()).chain_update(&begun).finalize());
        let id = hash.get(..12).unwrap_or(&hash).to_owned();
        let before = match job::job(queue, &id).await {
            Err(QueueError::Damaged { .. }) => None,
            found => found?,
        };
        let goes_on = |job: &Job| matches!(job.state, JobState::Running | JobState::Failed) && job.format == FORMAT;
        let rules = Rules::of(&self.options, self.draw);
        let now = Timestamp::now();
        let (life, begun_at) = match before.filter(goes_on).filter(|_| !self.is_new) {
            Some(job) => (job.life, job.begun_at),
            None => {
                queue.withdraw(&id).await?;
                (Uuid::new_v4().to_string(), now)
            }
        };
        let made_by = self.history.begun.as_ref().map(|begun| begun.made_by.clone());
        let job = Job {
            format: FORMAT,
            id,
            life,
            state: JobState::Running,
            output: self.outputs.parts.with_extension("").display().to_string(),
            made_by: made_by.ok_or_else(|| RetagError::Thread("the journal has no beginning".to_owned()))?,
            rules,
            files: self.plan.files.len(),
            files_done: self.history.finished.len(),
            rows_done: 0,
            rows_failed: 0,
            chunks_open: 0,
            set_aside: Vec::new(),
            refusals: BTreeMap::new(),
            begun_at,
            told_at: now,
        };
        job::tell(queue, &job).await?;
        Ok(job)
    }
}
