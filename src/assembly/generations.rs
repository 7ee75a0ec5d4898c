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
        other => MakeError::Failed(other.to_string()),
    }
}
