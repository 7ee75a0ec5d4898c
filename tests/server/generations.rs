//! What serves under a taxonomy in these tests.

use std::sync::Arc;

use async_trait::async_trait;
use otklik::assist::playbook::Playbook;
use otklik::assist::{AssistOptions, AssistParts, Assistant, SuggestionUses, Writer};
use otklik::config::Config;
use otklik::feedback::Feedback;
use otklik::serving::{Generation, MakeError, MakeGeneration, Publisher, Serving};
use otklik::tagging::corrections::CorrectedCase;
use otklik::tagging::{Party, Retagger, Tagged, Tagger, TaggerCounts, TaggingError, Urgency};
use otklik::tags::{Provenance, TeamId, TopicId};
use otklik::taxonomy::versions::{SourcedTaxonomy, Versions, VersionsError};
use otklik::taxonomy::{DEFAULT_SOURCE, Taxonomy};

use crate::fakes::{FakeTagger, MemoryStore, Renewed};

/// Makes generations of one tagger. A taxonomy whose name has the word `unfit` suits no service; one with the word `hold` takes until
/// the tagger is released.
struct Maker {
    tagger: Arc<FakeTagger>,
    store: Arc<MemoryStore>,
    writer: Option<Arc<dyn Writer>>,
    /// At most three pairs of gesture and topic are counted.
    uses: Arc<SuggestionUses>,
}

/// What publishes for a service: what was published in `taxonomy.dir` serves, or else the tagger as it is.
pub async fn publisher(
    config: &Config,
    tagger: Arc<FakeTagger>,
    store: Arc<MemoryStore>,
    writer: Option<Arc<dyn Writer>>,
) -> Arc<Publisher> {
    let versions = Versions::open(&config.taxonomy.dir, config.taxonomy.max_versions, || {
        SourcedTaxonomy::parse(DEFAULT_SOURCE.to_owned(), "default.toml").map_err(VersionsError::Invalid)
    });
    let versions = versions.unwrap();
    let taxonomy = Arc::new(versions.load(&versions.current().unwrap().version).unwrap().taxonomy);
    let maker = Maker { tagger, store, writer, uses: Arc::new(SuggestionUses::in_memory(3)) };
    let first = match versions.is_unpublished() {
        true => maker.generation(taxonomy, maker.tagger.clone()),
        false => maker.make(taxonomy).await.unwrap(),
    };
    Arc::new(Publisher::new(Arc::new(Serving::new(first)), versions, Arc::new(maker)))
}

impl Maker {
    fn generation(&self, taxonomy: Arc<Taxonomy>, tagger: Arc<dyn Tagger>) -> Generation {
        let (playbook, _) = Playbook::default_for(&taxonomy).unwrap();
        let assistant = Assistant::new(AssistParts {
            taxonomy: taxonomy.clone(),
            playbook: Arc::new(playbook),
            tagger: tagger.clone(),
            cases: self.store.clone(),
            writer: self.writer.clone(),
            uses: self.uses.clone(),
            options: AssistOptions::default(),
        });
        Generation { taxonomy, tagger, assistant: Arc::new(assistant) }
    }
}

#[async_trait]
impl MakeGeneration for Maker {
    async fn make(&self, taxonomy: Arc<Taxonomy>) -> Result<Generation, MakeError> {
        if taxonomy.name().contains("unfit") {
            let problem = "gestures[0].topic: no such topic".to_owned();
            return Err(MakeError::Unfit { key: "assist.playbook", problem });
        }
        if taxonomy.name().contains("hold") {
            self.tagger.hold().await;
        }
        let tagger = Arc::new(UnderTaxonomy { inner: self.tagger.clone(), taxonomy: taxonomy.clone() });
        Ok(self.generation(taxonomy, tagger))
    }

    async fn recall(&self, _: &Generation) -> Result<(), MakeError> {
        Ok(())
    }
}

/// Tags as the tagger does, under a taxonomy.
struct UnderTaxonomy {
    inner: Arc<FakeTagger>,
    taxonomy: Arc<Taxonomy>,
}

#[async_trait]
impl Tagger for UnderTaxonomy {
    async fn tag(&self, feedback: Feedback, urgency: Urgency) -> Result<Tagged, TaggingError> {
        let mut tagged = self.inner.tag(feedback, urgency).await?;
        tagged.tags.provenance.taxonomy_version = self.taxonomy.version().clone();
        Ok(tagged)
    }

    async fn learn(&self, party: Party, cases: Vec<CorrectedCase>) -> Result<(), TaggingError> {
        self.inner.learn(party, cases).await
    }

    async fn forget(&self, party: Party, case_ids: Vec<String>) -> Result<(), TaggingError> {
        self.inner.forget(party, case_ids).await
    }

    fn knows_topic(&self, id: &TopicId) -> bool {
        self.taxonomy.taggable_topics().any(|topic| topic.id == *id)
    }

    fn knows_team(&self, id: &TeamId) -> bool {
        self.taxonomy.team(id).is_some()
    }

    /// Stored cases get the first topic of the taxonomy that is about transfers.
    fn retagger(&self, _: Party) -> Option<Arc<dyn Retagger>> {
        let topic = self.taxonomy.taggable_topics().find(|topic| topic.id.as_str().contains("transfers"))?;
        Some(Arc::new(Renewed::of(topic.id.as_str(), "payments")))
    }

    fn counts(&self) -> TaggerCounts {
        self.inner.counts()
    }

    fn provenance(&self) -> Provenance {
        Provenance { taxonomy_version: self.taxonomy.version().clone(), ..self.inner.provenance() }
    }
}
