//! Puts the rooms together from a configuration: models, taxonomy, tagger, case store.
//!
//! Enters: a [`Config`]. Leaves: a [`TaggingEngine`] and a [`CaseStore`] ready to be used. Never here:
//! anything that decides or computes.

mod consulting;
mod engine;
mod generations;
mod heads;
#[cfg(test)]
mod kept_tests;
mod language_model;
mod queue;
mod taxonomy;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use crate::assist::playbook::{Playbook, PlaybookError};
use crate::assist::{SlotError, UsesError};
use crate::audit::{AuditError, AuditLog};
use crate::callers::jwt::JwtOptions;
use crate::callers::{Callers, CallersError};
use crate::cases::edge::{EdgeOptions, EdgeStore};
use crate::cases::qdrant::{QdrantOptions, QdrantStore};
use crate::cases::retention::Retention;
use crate::cases::seal::{self, SealError, Sealer};
use crate::cases::{CaseStore, CaseStoreError, TimedStore};
use crate::config::{
    CallersConfig, CasesConfig, Config, KeptTexts, PromptsConfig, Quantisation, Reach, RetagConfig, TelemetryConfig,
};
use crate::feedback::FeedbackKind;
use crate::inference::endpoint::EndpointError;
use crate::inference::{ComputePool, Encoder, EncoderSpec, InferenceError, Kernel, PoolOptions, Pooling};
use crate::models::{self, ModelError, Registry, Task, VerifiedModel};
use crate::prompts::{PromptFilesError, PromptLibrary, PromptLimits};
use crate::requests::{AnsweredRequests, KeptLimits, StorageError};
use crate::retag::archive::{JobLimits, JobsError, RetagJobs};
use crate::tagging::heads::HeadError;
use crate::tagging::{
    EncoderIdentity, EngineError, ExampleVectors, ExamplesError, Tagger, TaggingEngine, TaggingError, corrections,
};
use crate::taxonomy::versions::VersionsError;
use crate::taxonomy::{Taxonomy, TaxonomyError};
use crate::telemetry::{TraceOptions, Traces, TracesError};
use crate::training::TrainingError;
pub use consulting::consulting;
pub use engine::{EngineMaker, tagger};
pub use generations::{ServingParts, publisher};
pub use heads::heads;
pub use language_model::{has_language_model, load_language_model, open_language_model};
pub use queue::queue_options;
pub use taxonomy::{open_versions, taxonomy_in_force};
pub use writer::PromptWriter;

/// Vectors of the default taxonomy's examples, beside the model that made them.
pub const SHIPPED_EXAMPLES: &str = "examples.safetensors";

/// Folder of the heads that come with a model, beside it.
pub const SHIPPED_HEADS: &str = "heads";

/// The file of what operators did with suggestions, in its folder.
const USES_FILE: &str = "uses.redb";

/// The tokeniser's file in a model's folder.
const TOKENIZER: &str = "tokenizer.json";

/// Why the rooms can't be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// The model is missing, damaged or unknown.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model is not of the kind that is needed.
    #[error("models.encoder: {id:?} is {task}, an encoder is needed")]
    NotAnEncoder {
        /// The model.
        id: String,
        /// What it is.
        task: String,
    },
    /// The model is not of the kind that is needed.
    #[error("{id:?} is {task}, a language model is needed; `otklik models list` shows which there are")]
    NotALanguageModel {
        /// The model.
        id: String,
        /// What it is.
        task: String,
    },
    /// The registry names no tokeniser for the model.
    #[error("models.encoder: the registry lists no {TOKENIZER} for {id:?}")]
    NoTokenizer {
        /// The model.
        id: String,
    },
    /// The model can't be loaded or run.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The taxonomy can't be read or is not valid.
    #[error(transparent)]
    Taxonomy(#[from] TaxonomyError),
    /// The versions of the taxonomy can't be read or published.
    #[error(transparent)]
    Versions(#[from] VersionsError),
    /// The examples of a taxonomy can't be encoded beside a service.
    #[error("the examples of the taxonomy can't be encoded: {0}")]
    Beside(TaggingError),
    /// The examples of the script can't be encoded.
    #[error("the examples of the script can't be encoded: {0}")]
    Script(SlotError),
    /// Work was stopped before its end.
    #[error("the work was interrupted: {0}")]
    Interrupted(String),
    /// The playbook can't be read or is not valid.
    #[error(transparent)]
    Playbook(#[from] PlaybookError),
    /// What operators did with suggestions can't be read.
    #[error(transparent)]
    Uses(#[from] UsesError),
    /// Kept vectors can't be read.
    #[error(transparent)]
    Examples(#[from] ExamplesError),
    /// A head can't be read or tells nothing that is asked.
    #[error(transparent)]
    Heads(#[from] HeadError),
    /// No head can be made from the taxonomy's examples.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// The tagger can't be made.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The case store can't be opened.
    #[error(transparent)]
    Cases(#[from] CaseStoreError),
    /// Originals are to be kept, and there is no key to seal them with.
    #[error("cases.texts is \"original\"")]
    Key(#[from] SealError),
    /// Corrections can't be learnt.
    #[error("corrections can't be recalled: {0}")]
    Corrections(#[from] TaggingError),
    /// What is asked needs a language model, and none is configured.
    #[error("{}", models::NO_LANGUAGE_MODEL)]
    NoLanguageModel,
    /// Two language models are configured.
    #[error("models.language_model and endpoint.url are both set: one language model serves, empty one of them")]
    TwoLanguageModels,
    /// The endpoint of a language model can't be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The computing threads can't be started.
    #[error("the computing threads can't be started: {0}")]
    Threads(std::io::Error),
}

/// What is told while the rooms are put together.
pub trait Progress {
    /// So many of so many example sentences have their vectors; told only when some had to be computed.
    fn examples(&mut self, done: usize, of: usize);
}

/// An encoder with its name, and the place where vectors of examples are kept for it.
pub struct LoadedEncoder {
    /// The encoder.
    pub encoder: Arc<Encoder>,
    /// Its name and content.
    pub identity: EncoderIdentity,
    /// Vectors that come with the model, if there are any.
    shipped: PathBuf,
    /// Vectors computed here.
    kept: PathBuf,
    /// Heads that come with the model, if there are any.
    heads: PathBuf,
}

impl LoadedEncoder {
    /// The file that computed vectors of examples are kept in.
    pub fn examples_file(&self) -> &Path {
        &self.kept
    }
}

/// Checks every byte of the configured encoder and loads it.
///
/// # Errors
/// [`AssemblyError::Model`], [`AssemblyError::NotAnEncoder`], [`AssemblyError::Inference`].
pub fn load_encoder(config: &Config) -> Result<LoadedEncoder, AssemblyError> {
    let started = Instant::now();
    let models_dir = models::find_models_dir(config.models.dir.as_deref())?;
    let registry = Registry::load(&models_dir)?;
    let entry = registry.get(&config.models.encoder)?;
    if entry.task != Task::Encoder {
        return Err(AssemblyError::NotAnEncoder { id: entry.id.clone(), task: entry.task.to_string() });
    }
    let model = models::verify(&models_dir, entry)?;
    let encoder = Arc::new(Encoder::load(encoder_spec(&model, config.compute.kernel)?)?);
    let identity = EncoderIdentity { id: entry.id.clone(), sha256: model.weights_sha256.clone() };
    tracing::info!(
        model = identity.id,
        sha256 = short(&identity.sha256),
        dimension = encoder.dimension(),
        max_tokens = encoder.max_tokens(),
        kernel = encoder.kernel().as_str(),
        milliseconds = started.elapsed().as_millis() as u64,
        "encoder checked and loaded"
    );
    Ok(LoadedEncoder {
        shipped: model.dir.join(SHIPPED_EXAMPLES),
        heads: model.dir.join(SHIPPED_HEADS),
        kept: config.tagging.examples_dir.join(format!("{}-{}.safetensors", identity.id, short(&identity.sha256))),
        encoder,
        identity,
    })
}

fn encoder_spec(model: &VerifiedModel, kernel: Kernel) -> Result<EncoderSpec, AssemblyError> {
    let entry = &model.entry;
    let tokenizer =
        model.file(TOKENIZER).ok_or_else(|| AssemblyError::NoTokenizer { id: entry.id.clone() })?.to_owned();
    let prefixes = entry.prefixes.clone().unwrap_or_default();
    Ok(EncoderSpec {
        weights: model.weights.clone(),
        tokenizer,
        // The registry lets no encoder in without one.
        pooling: entry.pooling.unwrap_or(Pooling::Mean),
        query_prefix: prefixes.query,
        passage_prefix: prefixes.passage,
        max_tokens: entry.max_tokens as usize,
        kernel,
    })
}

/// The first 12 digits of a hash: enough for a person to compare.
fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

/// The configured taxonomy, or the default one.
///
/// # Errors
/// [`TaxonomyError`] with everything wrong in it.
pub fn load_taxonomy(path: Option<&Path>) -> Result<Taxonomy, TaxonomyError> {
    let taxonomy = match path {
        Some(path) => Taxonomy::load(path)?,
        None => Taxonomy::default_taxonomy()?,
    };
    tracing::info!(name = taxonomy.name(), version = %taxonomy.version(), "taxonomy loaded");
    Ok(taxonomy)
}

/// The configured playbook, or the default one.
///
/// # Errors
/// [`PlaybookError`] with everything wrong in it.
pub fn load_playbook(path: Option<&Path>, taxonomy: &Taxonomy) -> Result<Playbook, PlaybookError> {
    let playbook = match path {
        Some(path) => Playbook::load(path, taxonomy)?,
        None => {
            let (playbook, left_out) = Playbook::default_for(taxonomy)?;
            if left_out > 0 {
                tracing::warn!(
                    left_out,
                    "entries of the default playbook name what the taxonomy does not have; assist.playbook sets one of your own"
                );
            }
            playbook
        }
    };
    tracing::info!(name = playbook.name(), version = %playbook.version(), "playbook loaded");
    Ok(playbook)
}

/// The prompts that come with the program, with the configured folder laid over them. Blocks.
///
/// # Errors
/// [`PromptFilesError`] with every problem of every file.
pub fn open_prompts(config: &Config) -> Result<PromptLibrary, PromptFilesError> {
    let library = PromptLibrary::open(config.prompts.dir.as_deref())?;
    tracing::info!(prompts = library.current().len(), "prompts loaded");
    Ok(library)
}

/// How much a prompt may take and give, as configured.
pub fn prompt_limits(config: &Config) -> PromptLimits {
    let PromptsConfig { max_input_chars, max_trusted_chars, max_message_chars, max_answer_chars, .. } = config.prompts;
    PromptLimits { max_input_chars, max_trusted_chars, max_message_chars, max_answer_chars }
}

/// Who is let in, as configured. Blocks.
///
/// # Errors
/// [`CallersError`] for a file that can't be read or is not valid.
pub fn callers(config: &Config) -> Result<Arc<Callers>, CallersError> {
    let CallersConfig { keys_file, jwt_keys_file, jwt_issuer, jwt_audience, .. } = config.callers.clone();
    // Whoever configured the file configured the others too.
    let tokens = jwt_keys_file.zip(jwt_issuer).zip(jwt_audience).map(|((file, issuer), audience)| {
        let tenant_claim = config.callers.jwt_tenant_claim.clone();
        let roles_claim = config.callers.jwt_roles_claim.clone();
        (file, JwtOptions { issuer, audience, tenant_claim, roles_claim })
    });
    Ok(Arc::new(Callers::open(keys_file, tokens)?))
}

/// What sends traces, if an address is configured for them. To be called once, inside the async runtime; blocks for a file.
///
/// # Errors
/// [`TracesError`].
pub fn traces(config: &Config) -> Result<Option<Traces>, TracesError> {
    let TelemetryConfig { otlp_endpoint, plain_text, ca_file, sample_ratio, timeout_ms, queue_spans } =
        &config.telemetry;
    let Some(url) = otlp_endpoint.clone() else { return Ok(None) };
    let options = TraceOptions {
        url,
        plain_text_anywhere: *plain_text == Reach::Anywhere,
        ca_file: ca_file.clone(),
        sample_ratio: f64::from(*sample_ratio),
        timeout: Duration::from_millis(*timeout_ms),
        queue_spans: *queue_spans,
    };
    Traces::open(&options).map(Some)
}

/// The audit log, if one is configured. Blocks.
///
/// # Errors
/// [`AuditError`].
pub fn audit_log(config: &Config) -> Result<Option<Arc<AuditLog>>, AuditError> {
    let log = config.audit.dir.as_ref().map(|folder| AuditLog::open(folder, config.audit.file_bytes));
    Ok(log.transpose()?.map(Arc::new))
}

/// Calls that were answered, as configured. Blocks.
///
/// # Errors
/// [`StorageError`].
pub fn answered_requests(config: &Config) -> Result<Arc<AnsweredRequests>, StorageError> {
    let time = SignedDuration::from_millis(i64::try_from(config.server.kept_requests_ms).unwrap_or(i64::MAX));
    let limits = KeptLimits { most: config.server.kept_requests, time };
    Ok(Arc::new(AnsweredRequests::open(&config.server.requests_file, limits)?))
}

/// The jobs that re-tag the archive, as configured. Blocks.
///
/// # Errors
/// [`JobsError::Journal`].
pub fn retag_jobs(config: &Config) -> Result<RetagJobs, JobsError> {
    let RetagConfig { max_waiting, kept_jobs, page_cases, .. } = config.retag;
    RetagJobs::open(&config.retag.dir, JobLimits { max_waiting, kept_jobs, page_cases })
}

/// Starts the computing threads.
///
/// # Errors
/// [`AssemblyError::Threads`].
pub fn start_pool(config: &Config) -> Result<Arc<ComputePool>, AssemblyError> {
    let pool = ComputePool::start(PoolOptions {
        threads: config.compute.threads,
        queue_tokens: config.limits.queue_tokens,
        party_share: f64::from(config.callers.max_share),
        bulk_share: f64::from(config.compute.bulk_share),
        batch_wait: Duration::from_micros(config.compute.batch_wait_us),
    })
    .map_err(AssemblyError::Threads)?;
    tracing::info!(threads = pool.threads(), "computing threads started");
    Ok(Arc::new(pool))
}

/// All of the vectors that a taxonomy's models are made from: those that come with the model, those kept from before, and the
/// rest computed and kept.
///
/// # Errors
/// [`AssemblyError::Examples`] if a file of vectors is damaged, [`AssemblyError::Engine`] if an example can't be encoded. That new
/// vectors can't be kept is no error: it is logged, and they are computed again at the next start.
pub fn example_vectors(
    loaded: &LoadedEncoder,
    taxonomy: &Taxonomy,
    pool: &ComputePool,
    progress: &mut dyn Progress,
) -> Result<ExampleVectors, AssemblyError> {
    let mut vectors = known_vectors(loaded)?;
    let known = vectors.len();
    let computed = TaggingEngine::complete_vectors(&loaded.encoder, pool, taxonomy, &mut vectors, |done, of| {
        progress.examples(done, of);
    })?;
    tracing::info!(known, computed, "vectors of the taxonomy's examples are ready");
    if computed > 0 {
        keep_vectors(loaded, taxonomy, &vectors)?;
    }
    Ok(vectors)
}

/// Those that come with the model, and those kept from before.
fn known_vectors(loaded: &LoadedEncoder) -> Result<ExampleVectors, AssemblyError> {
    let mut vectors = ExampleVectors::new(&loaded.identity.sha256, loaded.encoder.dimension());
    for path in [&loaded.shipped, &loaded.kept] {
        if path.exists() {
            vectors.read(path)?;
        }
    }
    Ok(vectors)
}

/// Keeps the vectors of a taxonomy's examples for the next start.
fn keep_vectors(loaded: &LoadedEncoder, taxonomy: &Taxonomy, vectors: &ExampleVectors) -> Result<(), AssemblyError> {
    let texts = TaggingEngine::example_texts(taxonomy)?;
    if let Err(error) = vectors.write(&loaded.kept, texts.iter().map(String::as_str)) {
        tracing::warn!(%error, "vectors of examples can't be kept; they will be computed again at the next start");
    }
    Ok(())
}

/// Encodes all examples of a taxonomy anew, writes their vectors to a file and says how many they are.
///
/// # Errors
/// [`AssemblyError::Engine`] if an example can't be encoded, [`AssemblyError::Examples`] if the file can't be written.
pub fn encode_examples(
    loaded: &LoadedEncoder,
    taxonomy: &Taxonomy,
    pool: &ComputePool,
    output: &Path,
    progress: &mut dyn Progress,
) -> Result<usize, AssemblyError> {
    let mut vectors = ExampleVectors::new(&loaded.identity.sha256, loaded.encoder.dimension());
    let count = TaggingEngine::complete_vectors(&loaded.encoder, pool, taxonomy, &mut vectors, |done, of| {
        progress.examples(done, of);
    })?;
    let texts = TaggingEngine::example_texts(taxonomy)?;
    vectors.write(output, texts.iter().map(String::as_str))?;
    Ok(count)
}

/// The case store as configured, for vectors of this tagger: on a server if one is configured, else the embedded one.
///
/// # Errors
/// [`AssemblyError::Cases`].
pub async fn case_store(config: &Config, engine: &TaggingEngine) -> Result<Arc<dyn CaseStore>, AssemblyError> {
    open_case_store(config, engine.dimension(), engine.identity().sha256).await
}

/// The case store as configured, for vectors of an encoder.
///
/// # Errors
/// [`AssemblyError::Cases`].
pub async fn open_case_store(
    config: &Config,
    dimension: usize,
    encoder_sha256: String,
) -> Result<Arc<dyn CaseStore>, AssemblyError> {
    match qdrant_options(config, dimension, &encoder_sha256) {
        Some(options) => {
            let store = QdrantStore::open(options).await?;
            tracing::info!(collection = config.cases.collection, "case store open, on a server");
            Ok(Arc::new(TimedStore::new(Arc::new(store))))
        }
        None => {
            let config = config.clone();
            let opened = tokio::task::spawn_blocking(move || embedded_case_store(&config, dimension, encoder_sha256));
            let opened = opened.await.map_err(|error| CaseStoreError::Unavailable(error.to_string()))?;
            Ok(Arc::new(TimedStore::new(Arc::new(opened?))))
        }
    }
}

/// How the store on a server is opened, if one is configured.
pub fn qdrant_options(config: &Config, dimension: usize, encoder_sha256: &str) -> Option<QdrantOptions> {
    let CasesConfig { server_url, collection, shards, replicas, write_consistency, quantisation, timeout_ms, .. } =
        &config.cases;
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Some(QdrantOptions {
        api_key: std::env::var(QDRANT_KEY_VARIABLE).ok().filter(|key| !key.is_empty()),
        collection: collection.clone(),
        shards: number(*shards),
        replicas: number(*replicas),
        write_consistency: number(*write_consistency),
        quantised: *quantisation == Quantisation::Int8,
        timeout: Duration::from_millis(*timeout_ms),
        retries: number(config.cases.retries),
        queue_limit: config.cases.queue_limit,
        ..QdrantOptions::new(server_url.as_ref()?, dimension, encoder_sha256)
    })
}

/// Variable of the environment that holds the key that a Qdrant server asks for.
const QDRANT_KEY_VARIABLE: &str = "OTKLIK_QDRANT_API_KEY";

/// How the embedded case store is opened, for vectors of an encoder.
pub fn edge_options(config: &Config, dimension: usize, encoder_sha256: String) -> EdgeOptions {
    let reserve_bytes = (config.cases.reserve_mb as u64) << 20;
    let queue_limit = config.cases.queue_limit;
    EdgeOptions { queue_limit, reserve_bytes, ..EdgeOptions::new(dimension, encoder_sha256) }
}

/// The embedded case store. Blocks.
///
/// # Errors
/// [`AssemblyError::Cases`].
pub fn embedded_case_store(
    config: &Config,
    dimension: usize,
    encoder_sha256: String,
) -> Result<EdgeStore, AssemblyError> {
    let options = edge_options(config, dimension, encoder_sha256);
    // The store makes its own folder; the one around it is made here, so that a first start needs no preparation.
    if let Some(parent) = config.cases.dir.parent() {
        std::fs::create_dir_all(parent).map_err(|error| CaseStoreError::Open {
            folder: config.cases.dir.display().to_string(),
            problem: format!("the folder around it can't be made: {error}"),
        })?;
    }
    let store = EdgeStore::open(&config.cases.dir, options)?;
    tracing::info!(folder = %config.cases.dir.display(), "case store open");
    Ok(store)
}

/// How long cases are kept, as configured.
pub fn retention(config: &Config) -> Retention {
    let days = &config.retention;
    let of = [
        (Some(FeedbackKind::Complaint), days.complaint_days),
        (Some(FeedbackKind::Comment), days.comment_days),
        (Some(FeedbackKind::Review), days.review_days),
        (Some(FeedbackKind::Transcript), days.transcript_days),
        (Some(FeedbackKind::ExitInterview), days.exit_interview_days),
        (Some(FeedbackKind::Employee), days.employee_days),
        (Some(FeedbackKind::Question), days.question_days),
        (None, days.unknown_days),
    ];
    let limited = of.into_iter().filter(|(_, days)| *days > 0);
    Retention { days: limited.map(|(kind, days)| (kind, u32::try_from(days).unwrap_or(u32::MAX))).collect() }
}

/// What seals original texts, if the configuration says that they are kept.
///
/// # Errors
/// [`AssemblyError::Key`] if the environment has no key, or none that is one.
pub fn sealer(config: &Config) -> Result<Option<Sealer>, AssemblyError> {
    match config.cases.texts {
        KeptTexts::Masked => Ok(None),
        KeptTexts::Original => {
            let key = std::env::var(seal::KEY_VARIABLE).map_err(|_| SealError::Key)?;
            Ok(Some(Sealer::new(&key)?))
        }
    }
}

/// Lets a tagger learn what the store holds of persons' corrections, of each tenant the newest as configured, and says how many those are.
///
/// # Errors
/// [`AssemblyError::Cases`] if they can't be read, [`AssemblyError::Corrections`] if they can't be learnt.
pub async fn recall_corrections(
    config: &Config,
    tagger: &dyn Tagger,
    cases: &dyn CaseStore,
) -> Result<usize, AssemblyError> {
    let most = config.tagging.max_corrections;
    let started = Instant::now();
    let mut count = 0;
    for tenant in cases.tenants().await? {
        let corrected = corrections::stored(cases, &tenant, most).await?;
        count += corrected.len();
        if !corrected.is_empty() {
            tagger.learn((&tenant).into(), corrected).await?;
        }
    }
    if count > 0 {
        tracing::info!(count, milliseconds = started.elapsed().as_millis() as u64, "corrections recalled");
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::TenantId;
    use crate::cases::edge::sample;
    use crate::inference::{EncodeInput, Role};
    use crate::tagging::{Party, Urgency};
    use crate::tags::{TagSource, TopicId};
    use crate::taxonomy::OwnershipContext;

    pub(super) struct Refused;

    impl Progress for Refused {
        fn examples(&mut self, done: usize, of: usize) {
            panic!(
                "{done} of {of} examples were computed; `otklik taxonomy encode` writes the file that the model comes with"
            );
        }
    }

    /// With the shipped encoder and taxonomy, and a store in a folder.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_correction_counts_for_the_next_text_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.models.dir = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models"));
        config.tagging.examples_dir = folder.path().join("examples");
        config.cases.dir = folder.path().join("cases");
        config.compute.threads = 2;
        let tagger = tagger(&config, &mut Refused).unwrap();
        let store = case_store(&config, &tagger).await.unwrap();
        let tenant = TenantId::default();
        let text = "Курьер с картой не приехал, а в приложении написано, что вручено";
        let like = "Курьер с картой так и не приехал, а в приложении пишут, что вручено!";
        let unlike = "Почему по вкладу снизили ставку?";
        let (party, stranger) = (Party::from(&tenant), Party::named("another"));
        let tag_for = async |tagger: &TaggingEngine, text: &str, party: Party| {
            tagger
                .tag(crate::feedback::Feedback::from_text("1", text), Urgency { party, ..Urgency::default() })
                .await
                .unwrap()
        };
        let tag = async |tagger: &TaggingEngine, text: &str| tag_for(tagger, text, party).await;
        let (before, other) = (tag(&tagger, text).await, tag(&tagger, unlike).await);
        let given = |tags: &crate::tags::Tags| -> Vec<TopicId> {
            tags.topics.iter().map(|topic| topic.topic_id.clone()).collect()
        };
        let wrong = given(&before.tags);
        let taxonomy = tagger.taxonomy().clone();
        let topic = taxonomy.taggable_topics().map(|topic| topic.id.clone()).find(|id| !wrong.contains(id)).unwrap();
        // Neither what the models chose nor what the ownership rules make of the corrected topic.
        let nobody = OwnershipContext { product: None, channel: None, partner: None };
        let ruled_out = [before.tags.team.team_id.clone(), taxonomy.owner(&topic, &nobody).team];
        let team = taxonomy.teams().iter().map(|team| team.id.clone()).find(|id| !ruled_out.contains(id));
        let team = team.unwrap();
        let case = crate::cases::Case {
            tags: before.tags.clone(),
            masked_text: before.tags.masked_text.clone(),
            ..sample::case("1")
        };
        let new = crate::cases::NewCase { case, vector: before.vector.clone(), request_id: None };
        store.upsert(&tenant, vec![new]).await.unwrap();
        let correction = crate::cases::Correction {
            topics: Some(vec![topic.clone()]),
            team: Some(team.clone()),
            sentiment: None,
            corrected_by: None,
            corrected_at: jiff::Timestamp::from_second(1).unwrap(),
            note: None,
        };
        let corrected = store.amend(&tenant, "1", crate::cases::Amendment::Correction(correction)).await.unwrap();
        tagger.learn(party, vec![corrections::CorrectedCase::of(corrected).unwrap()]).await.unwrap();

        let check = async |tagger: &TaggingEngine| {
            let same = tag(tagger, text).await.tags;
            assert_eq!(given(&same), std::slice::from_ref(&topic), "{:?}", same.topics);
            assert_eq!(same.team.team_id, team);
            assert_eq!(same.team.neighbour_case_ids, ["1"]);
            let topic = &same.topics[0];
            assert_eq!(
                (topic.source, topic.neighbour_case_ids.as_slice()),
                (TagSource::Neighbour, &["1".to_owned()][..])
            );
            assert!(!topic.evidence.is_empty() && topic.evidence[0].span.end > 0);
            assert!(same.provenance.corrections_version.starts_with("1-"));
            let of_another = tag_for(tagger, text, stranger).await.tags;
            assert_eq!((given(&of_another), &of_another.team), (wrong.clone(), &before.tags.team));
            assert_eq!(of_another.provenance.corrections_version, "");
            assert!(given(&tag(tagger, like).await.tags).contains(&topic.topic_id));
            let far = tag(tagger, unlike).await.tags;
            assert_eq!((far.topics, far.team), (other.tags.topics.clone(), other.tags.team.clone()));
        };
        check(&tagger).await;
        store.close().await.unwrap();
        drop((store, tagger));

        let tagger = super::tagger(&config, &mut Refused).unwrap();
        let store = case_store(&config, &tagger).await.unwrap();
        assert_eq!(recall_corrections(&config, &tagger, &*store).await.unwrap(), 1);
        check(&tagger).await;
        tagger.forget(stranger, vec!["1".to_owned()]).await.unwrap();
        assert_eq!(given(&tag(&tagger, text).await.tags), [topic]);
        tagger.forget(party, vec!["1".to_owned()]).await.unwrap();
        assert_eq!(given(&tag(&tagger, text).await.tags), wrong);
        store.close().await.unwrap();
    }

    #[test]
    fn the_vectors_that_come_with_the_model_cover_the_default_taxonomy_and_are_its_own() {
        let kept = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.models.dir = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models"));
        config.tagging.examples_dir = kept.path().to_owned();
        let loaded = load_encoder(&config).unwrap();
        let taxonomy = load_taxonomy(None).unwrap();
        let pool = start_pool(&config).unwrap();
        let vectors = example_vectors(&loaded, &taxonomy, &pool, &mut Refused).unwrap();
        for text in TaggingEngine::example_texts(&taxonomy).unwrap().iter().step_by(97) {
            let fresh = loaded.encoder.encode(&[EncodeInput::new(text, Role::Query)]).unwrap().remove(0).vector;
            let dot: f32 = vectors.get(text).unwrap().iter().zip(&fresh).map(|(kept, fresh)| kept * fresh).sum();
            assert!(dot > 0.999, "{dot}: {text}");
        }
    }
}
