//! A tagger whose work is counted.

use std::sync::Arc;

use async_trait::async_trait;

use crate::feedback::Feedback;
use crate::tagging::corrections::CorrectedCase;
use crate::tagging::{Party, Retagger, Tagged, Tagger, TaggerCounts, TaggingError, Urgency};
use crate::tags::{Provenance, TeamId, TopicId};
use crate::telemetry::Metrics;

/// Does what `inner` does and counts what was tagged.
pub(super) struct Metered {
    pub(super) inner: Arc<dyn Tagger>,
    pub(super) metrics: Arc<Metrics>,
}

#[async_trait]
impl Tagger for Metered {
    async fn tag(&self, feedback: Feedback, urgency: Urgency) -> Result<Tagged, TaggingError> {
        self.inner.tag(feedback, urgency).await.inspect(|tagged| self.metrics.tagged(&tagged.tags))
    }

    async fn learn(&self, party: Party, cases: Vec<CorrectedCase>) -> Result<(), TaggingError> {
        self.inner.learn(party, cases).await
    }

    async fn forget(&self, party: Party, case_ids: Vec<String>) -> Result<(), TaggingError> {
        self.inner.forget(party, case_ids).await
    }

    fn consults(&self) -> bool {
        self.inner.consults()
    }

    fn pinned(&self) -> Option<Arc<dyn Tagger>> {
        let inner = self.inner.pinned()?;
        Some(Arc::new(Self { inner, metrics: Arc::clone(&self.metrics) }))
    }

    fn knows_topic(&self, id: &TopicId) -> bool {
        self.inner.knows_topic(id)
    }

    fn knows_team(&self, id: &TeamId) -> bool {
        self.inner.knows_team(id)
    }

    fn provenance(&self) -> Provenance {
        self.inner.provenance()
    }

    fn retagger(&self, party: Party) -> Option<Arc<dyn Retagger>> {
        self.inner.retagger(party)
    }

    fn counts(&self) -> TaggerCounts {
        self.inner.counts()
    }
}
