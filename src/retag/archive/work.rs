//! The work of a job on a page of cases: what is to be done with each, its new tags, and writing them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::task::spawn_blocking;

use super::job::{ArchiveCounts, ArchiveRequest};
use crate::cases::{
    Case, CaseFilter, CasePage, CaseReading, CaseStore, CaseStoreError, NewTags, RetagOutcome, Retagging, TagPart,
    TenantId, VectoredCase,
};
use crate::tagging::{Retagger, TaggingError};
use crate::tags::Tags;

/// How often cases that change while they are tagged are tagged again.
const TRIES: usize = 3;

/// Texts that wait for the encoder at once; it packs those that wait together.
const READ_AT_ONCE: usize = 32;

/// How long a store that does not answer is waited for, and the longest pause between two tries.
const STORE_PATIENCE: Duration = Duration::from_secs(120);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why cases could not be tagged anew.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The case store failed.
    #[error(transparent)]
    Cases(#[from] CaseStoreError),
    /// Tags can't be made.
    #[error(transparent)]
    Tagging(#[from] TaggingError),
    /// There are more cases than one preview may look at.
    #[error(
        "the preview would look at {cases} cases, at most {limit} are allowed (retag.max_preview_cases); take a sample"
    )]
    TooMany {
        /// Cases that it is about.
        cases: u64,
        /// The limit from the configuration.
        limit: u64,
    },
    /// A thread ended early.
    #[error("a thread ended early: {0}")]
    Thread(String),
}

/// What cases are tagged anew with.
#[derive(Clone)]
pub struct Resources {
    /// Where they are.
    pub cases: Arc<dyn CaseStore>,
    /// What makes their tags.
    pub retagger: Arc<dyn Retagger>,
    /// Whose cases they are.
    pub tenant: TenantId,
    /// Most bytes that are kept of what the encoder makes of a text.
    pub kept_reading_bytes: usize,
}

/// Work for one request.
pub(super) struct Work<'a> {
    pub resources: &'a Resources,
    pub request: &'a ArchiveRequest,
    /// The job; empty in a preview.
    pub job_id: &'a str,
    /// Version of what makes the tags.
    pub version: String,
}

/// A case and what becomes of it.
pub(super) struct Made {
    pub before: Case,
    pub after: Case,
}

/// What is to be done with the cases of a page.
#[derive(Default)]
pub(super) struct Page {
    /// To be written.
    pub made: Vec<Made>,
    /// What is counted already: cases that need nothing, that the job did before, and that could not be tagged.
    pub counts: ArchiveCounts,
}

impl<'a> Work<'a> {
    pub fn new(resources: &'a Resources, request: &'a ArchiveRequest, job_id: &'a str) -> Self {
        Self { resources, request, job_id, version: resources.retagger.provenance().version() }
    }

    /// A page of the cases that the request is about.
    pub async fn page(&self, from: Option<&str>, limit: usize) -> Result<CasePage, ArchiveError> {
        let filter = self.request.selection(&self.version);
        let Resources { cases, tenant, .. } = self.resources;
        Ok(patiently(|| cases.page(tenant, &filter, from, limit)).await?)
    }

    /// Those of some cases that exist.
    pub async fn of_ids(&self, ids: &[String]) -> Result<Vec<VectoredCase>, ArchiveError> {
        let filter = CaseFilter { ids: ids.to_vec(), ..CaseFilter::default() };
        let Resources { cases, tenant, .. } = self.resources;
        let limit = ids.len().max(1);
        Ok(patiently(|| cases.page(tenant, &filter, None, limit)).await?.cases)
    }

    /// Tags cases anew and writes them. What changes meanwhile is read and tagged again, some times.
    pub async fn do_cases(&self, mut cases: Vec<VectoredCase>) -> Result<ArchiveCounts, ArchiveError> {
        let mut counts = ArchiveCounts { read: cases.len() as u64, ..ArchiveCounts::default() };
        for _ in 0..TRIES {
            let page = self.make(cases).await?;
            counts.add(page.counts);
            let outdated = self.write(page.made, &mut counts).await?;
            if outdated.is_empty() {
                return Ok(counts);
            }
            cases = self.of_ids(&outdated).await?;
            counts.skipped += (outdated.len() - cases.len().min(outdated.len())) as u64;
        }
        counts.skipped += cases.len() as u64;
        Ok(counts)
    }

    /// Writes what was made; the ids of the cases that changed meanwhile.
    async fn write(&self, made: Vec<Made>, counts: &mut ArchiveCounts) -> Result<Vec<String>, ArchiveError> {
        if made.is_empty() {
            return Ok(Vec::new());
        }
        let retaggings: Vec<Retagging> =
            made.into_iter().map(|Made { before, after }| Retagging { seen: before.state(), case: after }).collect();
        let Resources { cases, tenant, .. } = self.resources;
        let outcomes = patiently(|| cases.retag(tenant, retaggings.clone())).await?;
        let mut outdated = Vec::new();
        for (Retagging { case, .. }, outcome) in retaggings.into_iter().zip(outcomes) {
            match (outcome, &case.retagged) {
                (RetagOutcome::Written, Some(mark)) => counts.count(mark),
                (RetagOutcome::Written, None) | (RetagOutcome::Gone, _) => counts.skipped += 1,
                (RetagOutcome::Outdated, _) => outdated.push(case.id),
            }
        }
        Ok(outdated)
    }

    /// What becomes of each case; nothing is written.
    pub async fn make(&self, cases: Vec<VectoredCase>) -> Result<Page, ArchiveError> {
        let mut page = Page::default();
        let (mut wanted, mut parts_of) = (Vec::new(), Vec::new());
        for stored in cases {
            let by_this_job = stored.case.retagged.as_ref().filter(|mark| mark.job_id == self.job_id);
            if let Some(mark) = by_this_job.filter(|_| !self.job_id.is_empty()) {
                page.counts.count(mark);
                continue;
            }
            let parts = self.request.parts_of(&stored.case, &self.version);
            if parts.is_empty() {
                page.counts.skipped += 1;
                continue;
            }
            wanted.push(stored);
            parts_of.push(parts);
        }
        let wanted = Arc::new(wanted);
        let kept = self.by_kept(&wanted).await?;
        let mut readings = Vec::with_capacity(kept.len());
        for (index, kept) in kept.into_iter().enumerate() {
            let wanted = Arc::clone(&wanted);
            let reading = async move {
                match (kept, wanted.get(index)) {
                    (Some(tags), _) => Ok(Some((tags, None))),
                    (None, Some(stored)) => self.anew(&stored.case).await,
                    (None, None) => Ok(None),
                }
            };
            readings.push(reading.boxed());
        }
        let tagged: Vec<Option<NewReading>> = stream::iter(readings).buffered(READ_AT_ONCE).try_collect().await?;
        page.counts.failed += tagged.iter().filter(|one| one.is_none()).count() as u64;
        let job_id = self.job_id.to_owned();
        let made = spawn_blocking(move || {
            let cases = Arc::unwrap_or_clone(wanted).into_iter().zip(parts_of).zip(tagged);
            cases.filter_map(|((stored, parts), tagged)| Some(made(stored.case, tagged?, &parts, &job_id))).collect()
        });
        page.made = made.await.map_err(|error| ArchiveError::Thread(error.to_string()))?;
        Ok(page)
    }

    /// Tags from what is kept. Where they can't be made for all at once, the cases go one by one, so that one does not fail the others.
    async fn by_kept(&self, wanted: &Arc<Vec<VectoredCase>>) -> Result<Vec<Option<Tags>>, ArchiveError> {
        let retagger = &self.resources.retagger;
        match retagger.by_kept(Arc::clone(wanted)).await {
            Err(TaggingError::Internal(problem)) => {
                tracing::warn!(problem, "cases can't be tagged together; each is tagged by itself");
            }
            done => return Ok(done?),
        }
        let mut all = Vec::with_capacity(wanted.len());
        for stored in wanted.iter() {
            let alone = retagger.by_kept(Arc::new(vec![stored.clone()])).await;
            all.push(match alone {
                Ok(tags) => tags.into_iter().next().flatten(),
                // The text is read anew, which may go better.
                Err(TaggingError::Internal(_)) => None,
                Err(error) => return Err(error.into()),
            });
        }
        Ok(all)
    }

    /// Tags of a text that is read anew; `None` if it can't be tagged.
    async fn anew(&self, case: &Case) -> Result<Option<NewReading>, ArchiveError> {
        match self.resources.retagger.anew(case).await {
            Ok(tagged) => {
                let most = self.resources.kept_reading_bytes;
                let reading = tagged.reading.filter(|reading| reading.kept_bytes() <= most);
                Ok(Some((tagged.tags, Some(reading.map(|reading| reading.to_case())))))
            }
            Err(error @ (TaggingError::Overloaded { .. } | TaggingError::DeadlineExceeded)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(case = case.id, %error, "a case can't be tagged anew");
                Ok(None)
            }
        }
    }
}

/// New tags; and if the encoder read the text for them, what is to be kept of that.
type NewReading = (Tags, Option<Option<CaseReading>>);

fn made(before: Case, (tags, read): NewReading, parts: &[TagPart], job_id: &str) -> Made {
    let new = NewTags { tags, encoded: read.is_some(), reading: read.flatten() };
    let after = before.clone().retagged(new, parts, job_id);
    Made { before, after }
}

/// Asks a store that is busy or does not answer again, for a while.
async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, CaseStoreError>
where
    F: Future<Output = Result<T, CaseStoreError>>,
{
    let give_up = Instant::now() + STORE_PATIENCE;
    let mut pause = Duration::from_millis(20);
    loop {
        match ask().await {
            Err(CaseStoreError::Busy { .. } | CaseStoreError::Full { .. } | CaseStoreError::Unavailable(_))
                if Instant::now() < give_up =>
            {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            other => return other,
        }
    }
}
