//! The heads that serve.

use std::path::PathBuf;
use std::time::Instant;

use super::{AssemblyError, LoadedEncoder, short};
use crate::config::Config;
use crate::inference::ComputePool;
use crate::tagging::ExampleVectors;
use crate::tagging::heads::{Head, HeadSet, ServingHead, TOPICS};
use crate::taxonomy::Taxonomy;
use crate::training::shipped;

/// The heads that serve: those that come with the encoder, and the user's own instead of them where they have the same name.
///
/// # Errors
/// [`AssemblyError::Heads`].
pub fn heads(config: &Config, loaded: &LoadedEncoder, taxonomy: &Taxonomy) -> Result<HeadSet, AssemblyError> {
    let heads = HeadSet::load(&loaded.heads, config.tagging.heads_dir.as_deref(), &loaded.identity, taxonomy)?;
    for serving in heads.heads() {
        tracing::info!(
            name = serving.name,
            sha256 = short(&serving.sha256),
            labels = serving.head.card().labels.len(),
            rows = serving.head.card().rows,
            own = serving.own,
            "head loaded"
        );
    }
    Ok(heads)
}

/// How many threads make a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hands {
    /// All: nobody is served yet.
    All,
    /// One, beside a service.
    One,
}

impl Hands {
    fn make<T: Send>(self, pool: &ComputePool, work: impl FnOnce() -> T + Send) -> Result<T, AssemblyError> {
        match self {
            Self::All => Ok(pool.run_blocking(work)),
            Self::One => {
                let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
                Ok(one.map_err(|error| AssemblyError::Threads(std::io::Error::other(error)))?.install(work))
            }
        }
    }
}

/// True if a head of topics has to be made from the taxonomy's examples. What is wrong with a taxonomy of too few topics, the tagger
/// says.
fn needs_topics(heads: &HeadSet, taxonomy: &Taxonomy) -> bool {
    heads.get(TOPICS).is_none() && taxonomy.taggable_topics().count() >= 2
}

/// Texts that [`add_topics_of_examples`] will need vectors of.
///
/// # Errors
/// [`AssemblyError::Training`].
pub(super) fn texts_of_topics(
    heads: &HeadSet,
    config: &Config,
    loaded: &LoadedEncoder,
    taxonomy: &Taxonomy,
) -> Result<Vec<String>, AssemblyError> {
    if !needs_topics(heads, taxonomy) || kept_topics(config, loaded, taxonomy).is_file() {
        return Ok(Vec::new());
    }
    Ok(shipped::texts(TOPICS, taxonomy, &[])?)
}

/// Adds a head of topics made from the taxonomy's examples where no other tells them: for a taxonomy of the user's own. It is made
/// at the first start and kept beside the examples' vectors.
pub(super) fn add_topics_of_examples(
    heads: &mut HeadSet,
    config: &Config,
    loaded: &LoadedEncoder,
    taxonomy: &Taxonomy,
    vectors: &mut ExampleVectors,
    pool: &ComputePool,
    hands: Hands,
) -> Result<(), AssemblyError> {
    if !needs_topics(heads, taxonomy) {
        return Ok(());
    }
    let path = kept_topics(config, loaded, taxonomy);
    if !path.is_file() {
        let started = Instant::now();
        let texts = shipped::texts(TOPICS, taxonomy, &[])?;
        vectors
            .complete(&loaded.encoder, pool, texts.iter().map(String::as_str), |_, _| {})
            .map_err(AssemblyError::Inference)?;
        let made = hands.make(pool, || shipped::topics_of_examples(taxonomy, vectors, &loaded.identity))??;
        let milliseconds = started.elapsed().as_millis() as u64;
        tracing::info!(milliseconds, weight = made.card().weight, "head of topics made from the taxonomy's examples");
        if let Err(error) = made.save(&path) {
            tracing::warn!(%error, "the head of topics can't be kept: the examples are judged by closeness alone");
            return Ok(());
        }
    }
    let (head, sha256) = Head::load_hashed(&path, &loaded.identity)?;
    if head.card().weight.is_none_or(|weight| weight <= 0.0) {
        tracing::info!("a head of topics does not help here: the examples are judged by closeness alone");
        return Ok(());
    }
    heads.insert(ServingHead { name: TOPICS.to_owned(), head, sha256, own: false, path });
    Ok(())
}

/// The file of a taxonomy's head of topics for one encoder.
fn kept_topics(config: &Config, loaded: &LoadedEncoder, taxonomy: &Taxonomy) -> PathBuf {
    let version = taxonomy.version().as_str().rsplit(':').next().unwrap_or_default().to_owned();
    let encoder = short(&loaded.identity.sha256);
    config.tagging.examples_dir.join(format!("topics-{version}-{encoder}.safetensors"))
}
