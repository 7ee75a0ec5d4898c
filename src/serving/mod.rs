//! What serves at the moment, and how it is changed while callers are answered.
//!
//! Enters: a [`Generation`], which is made whole for one taxonomy. Leaves: the generation of the moment ([`Serving::current`]), a
//! tagger that follows it, and a [`Publisher`] that puts another taxonomy in force: checked, made beside the old one, written down,
//! and only then put in its place, between two requests. A request in work ends on the generation that it began with. Never here:
//! transport, how a generation is made.

mod error;
mod publisher;

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::{RwLock as Gate, RwLockWriteGuard};

pub use error::{MakeError, PublishError};
pub use publisher::{Kept, MakeGeneration, PublishRequest, Published, Publisher, Wanted};

use crate::assist::Assistant;
use crate::feedback::Feedback;
use crate::tagging::corrections::CorrectedCase;
use crate::tagging::{Party, Retagger, Tagged, Tagger, TaggerCounts, TaggingError, Urgency};
use crate::tags::{Provenance, TeamId, TopicId};
use crate::taxonomy::Taxonomy;

/// Everything that is made for one taxonomy.
#[derive(Clone)]
pub struct Generation {
    /// The taxonomy.
    pub taxonomy: Arc<Taxonomy>,
    /// Tags under it.
    pub tagger: Arc<dyn Tagger>,
    /// Helps operators under it.
    pub assistant: Arc<Assistant>,
}

/// The generation that serves. As a [`Tagger`] it tags by whichever that is; ask [`Tagger::pinned`] for work of many texts.
pub struct Serving {
    state: RwLock<State>,
    /// Held for reading by whatever changes what taggers have learnt, and alone while one generation follows another.
    changes: Gate<()>,
}

struct State {
    current: Arc<Generation>,
    /// Texts that earlier generations did and did not know from before.
    earlier_hits: u64,
    earlier_misses: u64,
}

impl Serving {
    /// Serves what is given until it is replaced.
    pub fn new(first: Generation) -> Self {
        let state = State { current: Arc::new(first), earlier_hits: 0, earlier_misses: 0 };
        Self { state: RwLock::new(state), changes: Gate::new(()) }
    }

    /// What serves at this moment. Whoever holds it may go on with it after it was replaced.
    pub fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).current)
    }

    /// Until this is dropped, nobody learns or forgets corrections: they wait, and are told to the generation that follows.
    async fn hold_changes(&self) -> RwLockWriteGuard<'_, ()> {
        self.changes.write().await
    }

    /// Puts a generation in the place of the one that serves. The guard shows that it lacks no correction.
    fn replace(&self, _held: RwLockWriteGuard<'_, ()>, next: Generation) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let TaggerCounts { cache_hits, cache_misses, .. } = state.current.tagger.counts();
        state.earlier_hits += cache_hits;
        state.earlier_misses += cache_misses;
        state.current = Arc::new(next);
    }
}

#[async_trait]
impl Tagger for Serving {
    async fn tag(&self, feedback: Feedback, urgency: Urgency) -> Result<Tagged, TaggingError> {
        self.current().tagger.tag(feedback, urgency).await
    }

    async fn learn(&self, party: Party, cases: Vec<CorrectedCase>) -> Result<(), TaggingError> {
        let _changing = self.changes.read().await;
        self.current().tagger.learn(party, cases).await
    }

    async fn forget(&self, party: Party, case_ids: Vec<String>) -> Result<(), TaggingError> {
        let _changing = self.changes.read().await;
        self.current().tagger.forget(party, case_ids).await
    }

    fn consults(&self) -> bool {
        self.current().tagger.consults()
    }

    fn pinned(&self) -> Option<Arc<dyn Tagger>> {
        Some(Arc::clone(&self.current().tagger))
    }

    fn knows_topic(&self, id: &TopicId) -> bool {
        self.current().tagger.knows_topic(id)
    }

    fn knows_team(&self, id: &TeamId) -> bool {
        self.current().tagger.knows_team(id)
    }

    fn provenance(&self) -> Provenance {
        self.current().tagger.provenance()
    }

    fn retagger(&self, party: Party) -> Option<Arc<dyn Retagger>> {
        self.current().tagger.retagger(party)
    }

    fn counts(&self) -> TaggerCounts {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let counts = state.current.tagger.counts();
        TaggerCounts {
            cache_hits: counts.cache_hits + state.earlier_hits,
            cache_misses: counts.cache_misses + state.earlier_misses,
            ..counts
        }
    }
}
