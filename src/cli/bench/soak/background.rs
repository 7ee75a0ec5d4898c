//! What is done now and then: the archive is tagged anew, and the taxonomy is published and rolled back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use otklik::server::wire::v1;
use tonic::{Code, Status};

use super::promises::Promise;
use super::run::{DEADLINE, Run};

/// The deadline of calls that make a taxonomy ready.
const PUBLISHING: Duration = Duration::from_secs(120);

/// Most time of a job.
const JOB_LIMIT: Duration = Duration::from_secs(300);

/// How often a job is asked for.
const JOB_LOOK: Duration = Duration::from_millis(500);

/// Two taxonomies, of which one is in force.
pub(super) struct Taxonomies {
    /// What was in force first, and the other: version and source.
    both: [(String, String); 2],
}

impl Taxonomies {
    /// Records the answers under the taxonomy in force, publishes another, records its answers, and rolls back.
    ///
    /// # Errors
    /// The service does not do it.
    pub async fn prepare(run: &Run) -> anyhow::Result<Self> {
        let message = v1::GetTaxonomyRequest { include_source: true, ..Default::default() };
        let now = run.taxonomies().get_taxonomy(run.request(0, DEADLINE, message)).await?.into_inner();
        let version = now.publication.context("the taxonomy has no version")?.version;
        let topics = now.topics.iter().filter(|topic| !topic.is_group).map(|topic| topic.id.clone());
        *run.topics.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = topics.collect();
        let other = now.source.replacen("name = \"", "name = \"soak ", 1);
        if other == now.source {
            bail!("the taxonomy has no name that could be changed");
        }
        run.record_reference().await?;
        let message = v1::PublishTaxonomyRequest {
            source: other.clone(),
            expected_version: version.clone(),
            request_id: "publish-first".to_owned(),
            ..Default::default()
        };
        let request = run.request(0, PUBLISHING, message);
        let published = run.taxonomies().publish_taxonomy(request).await?.into_inner();
        let published = published.publication.context("a publication without a version")?.version;
        run.record_reference().await?;
        let taxonomies = Self { both: [(version, now.source), (published, other)] };
        let [(first, _), (second, _)] = &taxonomies.both;
        taxonomies.roll_back(run, first, second, "rollback-first").await?;
        Ok(taxonomies)
    }

    async fn roll_back(&self, run: &Run, to: &str, from: &str, name: &str) -> Result<v1::TaxonomyPublication, Status> {
        let message = v1::RollbackTaxonomyRequest {
            version: to.to_owned(),
            expected_version: from.to_owned(),
            request_id: name.to_owned(),
            ..Default::default()
        };
        let (mut client, request) = (run.taxonomies(), run.request(0, PUBLISHING, message));
        // Another version may be in force after a call whose answer was lost.
        let provoked = [Code::FailedPrecondition, Code::Aborted];
        let answer = run.observe("RollbackTaxonomy", PUBLISHING, &provoked, client.rollback_taxonomy(request)).await;
        answer.map(|answer| answer.into_inner().publication.unwrap_or_default())
    }

    /// Puts in force the one of the two that is not, by a rollback, and once more under the same name.
    pub async fn exchange(&self, run: &Run) {
        let message = v1::GetTaxonomyRequest::default();
        let (mut client, request) = (run.taxonomies(), run.request(0, DEADLINE, message));
        let now = run.observe("GetTaxonomy", DEADLINE, &[], client.get_taxonomy(request)).await;
        let Ok(now) = now.map(|now| now.into_inner().publication.unwrap_or_default().version) else { return };
        let [first, second] = &self.both;
        let to = if now == first.0 { second } else { first };
        let is_known = now == first.0 || now == second.0;
        run.promises.check(Promise::WriteKept, is_known, || format!("the taxonomy {now} was never published"));
        let name = format!("taxonomy-{}", run.number());
        let published = self.roll_back(run, &to.0, &now, &name).await;
        let Ok(published) = published else { return };
        let again = self.roll_back(run, &to.0, &now, &name).await;
        if let Ok(again) = again {
            run.promises.check(Promise::ActsOnce, again.number == published.number, || {
                format!("a rollback made publication {}, the same call again {}", published.number, again.number)
            });
        }
    }
}

/// Tags the archive of a tenant anew; once begun, the job must be remembered and end well, whatever happens meanwhile.
pub(super) async fn retag(run: Arc<Run>, stop: impl Fn() -> bool) {
    let message = v1::StartRetagRequest {
        scope: Some(v1::RetagScope::default()),
        request_id: format!("retag-{}", run.number()),
        ..Default::default()
    };
    let (mut client, request) = (run.retag(), run.request(1, DEADLINE, message));
    let started = run.observe("StartRetag", DEADLINE, &[], client.start_retag(request)).await;
    let Ok(job) = started.map(tonic::Response::into_inner) else { return };
    let began = Instant::now();
    while began.elapsed() < JOB_LIMIT && !stop() {
        tokio::time::sleep(JOB_LOOK).await;
        let message = v1::GetRetagJobRequest { id: job.id.clone(), ..Default::default() };
        let (mut client, request) = (run.retag(), run.request(1, DEADLINE, message));
        let asked = run.observe("GetRetagJob", DEADLINE, &[Code::NotFound], client.get_retag_job(request)).await;
        match asked.map(tonic::Response::into_inner) {
            Ok(now) => {
                let state = now.state();
                if matches!(state, v1::RetagJobState::Queued | v1::RetagJobState::Running) {
                    continue;
                }
                // A job that meets a full disk fails and says so.
                let may_fail = run.forgets_names.load(std::sync::atomic::Ordering::Relaxed);
                let is_well = state == v1::RetagJobState::Succeeded || may_fail;
                run.promises.check(Promise::WriteKept, is_well, || {
                    format!("job {} ended as {state:?}: {}", now.id, now.reason)
                });
                return;
            }
            Err(status) if status.code() == Code::NotFound => {
                run.promises.check(Promise::WriteKept, false, || format!("job {} was begun and is not known", job.id));
                return;
            }
            Err(_) => {}
        }
    }
}
