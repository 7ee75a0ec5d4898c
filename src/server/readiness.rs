//! Readiness that is true: a service is SERVING only after what stands behind it has answered.
//!
//! The tagger is asked to tag one short text until it does. The case store is probed for as long as the service lives; the case
//! service and re-tagging are ready while both answer. Help for operators is ready with the tagger: without the store the slots that need
//! it say so. Prompts and taxonomies need nobody, and whether a language model is there is no matter of readiness. The whole (the empty
//! name) is ready while every service is.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::account::Account;
use super::wire::v1::{
    assist_service_server, case_service_server, prompt_service_server, retag_service_server, tagging_service_server,
    taxonomy_service_server,
};
use super::work;
use crate::cases::{CaseStore, CaseStoreError};
use crate::feedback::Feedback;
use crate::tagging::{Lane, Tagger};
use crate::telemetry::Metrics;

/// The whole service, in the health protocol.
const WHOLE: &str = "";

/// How long the first text may take: it includes reading the weights into memory.
const WARM_UP_LIMIT: Duration = Duration::from_secs(60);

/// How long the case store may take for a sign of life.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// Between probes of a store that is lost: calls wait for nothing else.
const LOST_PAUSE: Duration = Duration::from_millis(500);

/// Any text does; this one has words of both languages.
const WARM_UP_TEXT: &str = "Проверка готовности. Ready?";

/// Which services answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ready {
    tagging: bool,
    cases: bool,
    prompts: bool,
    /// The case store did not answer its last probe.
    store_lost: bool,
}

impl Ready {
    /// Nothing answers: before the first probe, and when the service drains.
    pub(super) const NOT: Ready = Ready { tagging: false, cases: false, prompts: false, store_lost: false };

    /// True from a probe that the case store did not answer to the next that it does. Calls that need it are not made to wait.
    pub(super) fn store_is_lost(self) -> bool {
        self.store_lost
    }

    /// True if everything answers.
    pub(super) fn is_whole(self) -> bool {
        self.services().iter().all(|(_, ready)| *ready)
    }

    /// Each service by name.
    pub(super) fn services(self) -> [(&'static str, bool); 6] {
        [
            (tagging_service_server::SERVICE_NAME, self.tagging),
            (case_service_server::SERVICE_NAME, self.cases),
            (assist_service_server::SERVICE_NAME, self.tagging),
            (prompt_service_server::SERVICE_NAME, self.prompts),
            (taxonomy_service_server::SERVICE_NAME, self.prompts),
            (retag_service_server::SERVICE_NAME, self.cases),
        ]
    }
}

/// Tells everybody who asks which services answer.
#[derive(Clone)]
pub(super) struct Announcer {
    pub(super) health: HealthReporter,
    pub(super) metrics: Arc<Metrics>,
    pub(super) told: watch::Sender<Ready>,
}

impl Announcer {
    pub(super) async fn publish(&self, ready: Ready) {
        for (service, ready) in ready.services().into_iter().chain([(WHOLE, ready.is_whole())]) {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            self.health.set_service_status(service, status).await;
        }
        for (service, ready) in ready.services() {
            self.metrics.ready(service, ready);
        }
        self.told.send_replace(ready);
    }
}

/// Probes for ever and publishes what changes.
pub(super) async fn watch(announcer: Announcer, tagger: Arc<dyn Tagger>, cases: Arc<dyn CaseStore>, every: Duration) {
    let mut published = Ready { prompts: true, ..Ready::NOT };
    announcer.publish(published).await;
    loop {
        let (tagging, store) = tokio::join!(
            async { published.tagging || warm_up(&*tagger).await },
            store_answers(&announcer.metrics, &*cases)
        );
        let ready = Ready { tagging, cases: tagging && store, prompts: true, store_lost: !store };
        if ready != published {
            tracing::info!(tagging = ready.tagging, cases = ready.cases, "readiness changed");
            announcer.publish(ready).await;
            published = ready;
        }
        sleep(if ready.store_lost { every.min(LOST_PAUSE) } else { every }).await;
    }
}

async fn warm_up(tagger: &dyn Tagger) -> bool {
    let feedback = Feedback::from_text("", WARM_UP_TEXT);
    let (account, due) = (Account::of_service(), Instant::now() + WARM_UP_LIMIT);
    let outcome = work::tag(tagger, &account, feedback, "", Lane::Interactive, due).await;
    if let Err(status) = &outcome {
        tracing::warn!(reason = status.message(), "the model does not answer yet");
    }
    outcome.is_ok()
}

async fn store_answers(metrics: &Metrics, cases: &dyn CaseStore) -> bool {
    let began = Instant::now();
    let probe = AssertUnwindSafe(async { cases.probe().await }).catch_unwind();
    let outcome = timeout(PROBE_LIMIT, probe).await;
    let problem = match outcome {
        Ok(Ok(Ok(cases))) => {
            metrics.store_probed(true, began.elapsed(), Some(cases));
            return true;
        }
        // A store with too much to do is alive: its calls are refused one by one, not its service as a whole.
        Ok(Ok(Err(CaseStoreError::Busy { .. }))) => {
            metrics.store_probed(true, began.elapsed(), None);
            return true;
        }
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) => "its probe panicked".to_owned(),
        Err(_) => format!("no answer within {} s", PROBE_LIMIT.as_secs()),
    };
    metrics.store_probed(false, began.elapsed(), None);
    tracing::warn!(problem, "the case store does not answer");
    false
}
