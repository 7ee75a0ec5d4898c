//! What serves under one taxonomy after another.

use std::sync::Arc;

use async_trait::async_trait;

use super::engine::{EngineMaker, blocking};
use super::{AssemblyError, USES_FILE, consulting, load_playbook, recall_corrections};
use crate::assist::{AssistOptions, AssistParts, Assistant, SlotError, SuggestionUses, Writer};
use crate::cases::CaseStore;
use crate::config::Config;
use crate::inference::LanguageModel;
use crate::serving::{Generation, MakeError, MakeGeneration, Publisher, Serving};
use crate::tagging::heads::HeadError;
use crate::tagging::{EngineError, Tagger, TaggingEngine, TaggingError};
use crate::taxonomy::Taxonomy;
use crate::taxonomy::versions::Versions;

/// What generations have in common.
pub struct ServingParts {
    /// Makes the engines.
    pub engines: Arc<EngineMaker>,
    /// The versions, open for publishing.
    pub versions: Versions,
    /// Keeps cases.
    pub cases: Arc<dyn CaseStore>,
    /// Writes drafts, notes and reviews, if there is a language model.
    pub writer: Option<Arc<dyn Writer>>,
    /// Weighs topics against each other, if there is a language model that runs here.
    pub weighing: Option<Arc<dyn LanguageModel>>,
}

/// What serves under the taxonomy of `engine`, which is the one in force, and what puts another in its place.
///
/// # Errors
/// [`AssemblyError::Uses`], [`AssemblyError::Playbook`], [`AssemblyError::Script`].
pub async fn publisher(
    config: &Config,
    engine: Arc<TaggingEngine>,
    parts: ServingParts,
) -> Result<Arc<Publisher>, AssemblyError> {
    let ServingParts { engines, versions, cases, writer, weighing } = parts;
    let of = config.clone();
    let uses = blocking(move || Ok(SuggestionUses::open(&of.assist.dir.join(USES_FILE), of.assist.max_use_pairs)?));
    let uses = Arc::new(uses.await?);
    let generations = Generations { config: Arc::new(config.clone()), engines, cases, writer, weighing, uses };
    let serving = Serving::new(generations.of(engine).await?);
    Ok(Arc::new(Publisher::new(Arc::new(serving), versions, Arc::new(generations))))
}

/// Makes what serves under a taxonomy.
#[derive(Clone)]
struct Generations {
    config: Arc<Config>,
    engines: Arc<EngineMaker>,
    cases: Arc<dyn CaseStore>,
    writer: Option<Arc<dyn Writer>>,
    weighing: Option<Arc<dyn LanguageModel>>,
    /// Counted on from taxonomy to taxonomy.
    uses: Arc<SuggestionUses>,
}

impl Generations {
    /// What serves with an engine, ready for the first suggestion.
    async fn of(&self, engine: Arc<TaggingEngine>) -> Result<Generation, AssemblyError> {
        let parts = self.clone();
        let generation = blocking(move || parts.read(engine)).await?;
        generation.assistant.prepare().await.map_err(AssemblyError::Script)?;
        Ok(generation)
    }

    /// Reads files, and blocks.
    fn read(self, engine: Arc<TaggingEngine>) -> Result<Generation, AssemblyError> {
        let Self { config, cases, writer, weighing, uses, .. } = self;
        let taxonomy = Arc::clone(engine.taxonomy());
        let playbook = Arc::new(load_playbook(config.assist.playbook.as_deref(), &taxonomy)?);
        let options = AssistOptions { similar_cases: config.assist.similar_cases };
        // Vectors are all that suggestions take from it beside tags: no language model is asked for them.
        let assisted: Arc<dyn Tagger> = engine.clone();
        let parts =
            AssistParts { taxonomy: Arc::clone(&taxonomy), playbook, tagger: assisted, cases, writer, uses, options };
        let tagger: Arc<dyn Tagger> = match weighing {
            Some(model) => Arc::new(consulting(&config, engine, model)),
            None => engine,
        };
        Ok(Generation { taxonomy, tagger, assistant: Arc::new(Assistant::new(parts)) })
    }
}

#[async_trait]
impl MakeGeneration for Generations {
    async fn make(&self, taxonomy: Arc<Taxonomy>) -> Result<Generation, MakeError> {
        let engine = Arc::new(self.engines.engine_beside(taxonomy).await.map_err(refusal)?);
        self.of(engine).await.map_err(refusal)
    }

    async fn recall(&self, generation: &Generation) -> Result<(), MakeError> {
        let recalled = recall_corrections(&self.config, &*generation.tagger, &*self.cases).await;
        recalled.map(|_| ()).map_err(refusal)
    }
}

/// Why a taxonomy that is sound in itself can't serve here.
fn refusal(error: AssemblyError) -> MakeError {
    match error {
        AssemblyError::Playbook(error) => MakeError::Unfit { key: "assist.playbook", problem: error.to_string() },
        AssemblyError::Heads(error @ HeadError::NoUse { .. }) => {
            MakeError::Unfit { key: "tagging.heads_dir", problem: error.to_string() }
        }
        AssemblyError::Engine(EngineError::Judge(error)) => MakeError::Unusable(error.to_string()),
        AssemblyError::Beside(error) | AssemblyError::Corrections(error) => error.into(),
        AssemblyError::Script(SlotError::Tagging(error @ TaggingError::Overloaded { .. })) => error.into(),
        AssemblyError::Cases(error) => error.into(),
        other => MakeError::Failed(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::assembly::{Progress, case_store, open_versions};
    use crate::cases::{Amendment, Case, Correction, NewCase, TenantId, edge::sample};
    use crate::feedback::Feedback;
    use crate::serving::{PublishError, PublishRequest, Wanted};
    use crate::tagging::corrections::CorrectedCase;
    use crate::tagging::{Party, Tagged, Urgency};
    use crate::tags::TopicId;
    use crate::taxonomy::versions::PublicationNote;

    struct Silent;

    impl Progress for Silent {
        fn examples(&mut self, _: usize, _: usize) {}
    }

    const SAMPLE: &str = include_str!("../taxonomy/sample.toml");

    const ADDED: &str = "
[[topics]]
id = \"delivery\"
name = { ru = \"Доставка\" }
examples = { ru = [\"Курьер не приехал в обещанный день\", \"Посылку потеряли при доставке\"] }

[[ownership]]
id = \"delivery_default\"
topic = \"delivery\"
team = \"contact_centre\"
";

    async fn tag(tagger: &dyn Tagger, text: &str) -> Tagged {
        let party = Party::from(&TenantId::default());
        tagger.tag(Feedback::from_text("1", text), Urgency { party, ..Urgency::default() }).await.unwrap()
    }

    /// With the shipped encoder, and a store in a folder.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_next_text_is_tagged_under_what_was_published_and_corrections_stay() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.models.dir = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models"));
        config.tagging.examples_dir = folder.path().join("examples");
        config.cases.dir = folder.path().join("cases");
        config.assist.dir = folder.path().join("assist");
        config.taxonomy.dir = folder.path().join("taxonomy");
        config.taxonomy.path = Some(folder.path().join("sample.toml"));
        config.compute.threads = 2;
        std::fs::write(folder.path().join("sample.toml"), SAMPLE).unwrap();

        let versions = open_versions(&config).unwrap();
        let old = versions.current().unwrap().version.clone();
        let taxonomy = Arc::new(versions.load(&old).unwrap().taxonomy);
        let engines = Arc::new(EngineMaker::open(&config).unwrap());
        let engine = Arc::new(engines.engine(taxonomy, &mut Silent).unwrap());
        let cases = case_store(&config, &engine).await.unwrap();
        let parts = ServingParts { engines, versions, cases: cases.clone(), writer: None, weighing: None };
        let publishing = publisher(&config, engine, parts).await.unwrap();
        let serving = publishing.serving();

        let text = "Третий день жду перевод, деньги не дошли";
        let before = tag(&**serving, text).await;
        assert_eq!(before.tags.provenance.taxonomy_version, old);
        let (tenant, topic) = (TenantId::default(), TopicId::new("other"));
        let case = Case { masked_text: before.tags.masked_text.clone(), tags: before.tags, ..sample::case("1") };
        cases.upsert(&tenant, vec![NewCase { case, vector: before.vector, request_id: None }]).await.unwrap();
        let correction = Correction {
            topics: Some(vec![topic.clone()]),
            team: None,
            sentiment: None,
            corrected_by: None,
            corrected_at: jiff::Timestamp::UNIX_EPOCH,
            note: None,
        };
        let corrected = cases.amend(&tenant, "1", Amendment::Correction(correction)).await.unwrap();
        serving.learn((&tenant).into(), vec![CorrectedCase::of(corrected).unwrap()]).await.unwrap();

        let request = |source: String| PublishRequest {
            wanted: Wanted::Source(source),
            expected: old.clone(),
            note: PublicationNote::default(),
            due: Instant::now() + Duration::from_secs(600),
        };
        let pinned = serving.pinned().unwrap();
        let delivery = TopicId::new("delivery");
        assert!(!serving.knows_topic(&delivery));
        let published = publishing.publish(request(format!("{SAMPLE}{ADDED}"))).await.unwrap();
        assert!(published.changed && serving.knows_topic(&delivery));
        let after = tag(&**serving, text).await.tags;
        assert_eq!(after.provenance.taxonomy_version, published.publication.version);
        assert_eq!(after.topics.first().map(|given| &given.topic_id), Some(&topic), "the correction is remembered");
        let playbook = load_playbook(None, &published.now).unwrap();
        assert_eq!(serving.current().assistant.playbook().version(), playbook.version());
        // Whoever began with the old one goes on with it.
        assert!(!pinned.knows_topic(&delivery));
        assert_eq!(tag(&*pinned, text).await.tags.provenance.taxonomy_version, old);

        let next = |source: String| PublishRequest {
            expected: published.publication.version.clone(),
            ..request(format!("{SAMPLE}{source}"))
        };
        let due_before = PublishRequest { due: Instant::now(), ..next(ADDED.replace("delivery", "courier")) };
        assert!(matches!(publishing.publish(due_before).await, Err(PublishError::DeadlineExceeded)));

        // A store that does not answer may be well again.
        cases.close().await.unwrap();
        let refused = publishing.publish(next(ADDED.replace("delivery", "courier"))).await.unwrap_err();
        assert!(matches!(refused, PublishError::Make(MakeError::Unavailable(_))), "{refused:?}");
        assert_eq!(serving.provenance().taxonomy_version, published.publication.version);
    }
}
