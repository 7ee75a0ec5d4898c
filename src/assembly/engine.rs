//! Engines: one for each taxonomy, all with one encoder and one pool.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::heads::{Hands, add_topics_of_examples, texts_of_topics};
use super::{AssemblyError, LoadedEncoder, Progress, example_vectors, heads, keep_vectors, known_vectors};
use super::{load_encoder, start_pool, taxonomy_in_force};
use crate::config::Config;
use crate::tagging::heads::HeadSet;
use crate::tagging::{ExampleVectors, TaggingEngine, TaggingOptions};
use crate::taxonomy::Taxonomy;

/// A tagger as configured, under the taxonomy in force. Blocks.
///
/// # Errors
/// [`AssemblyError`]; see its variants.
pub fn tagger(config: &Config, progress: &mut dyn Progress) -> Result<TaggingEngine, AssemblyError> {
    // The taxonomy is what people edit: a mistake in it is told before a model is read.
    let taxonomy = Arc::new(taxonomy_in_force(config)?);
    EngineMaker::open(config)?.engine(taxonomy, progress)
}

/// Makes engines with one encoder and one pool.
pub struct EngineMaker {
    config: Config,
    loaded: LoadedEncoder,
    pool: Arc<crate::inference::ComputePool>,
    /// Held while an engine is made beside a service, also for a caller that left: one at a time.
    beside: Arc<Mutex<()>>,
}

/// What is read before the examples are encoded.
struct Draft {
    heads: HeadSet,
    vectors: ExampleVectors,
    texts: Vec<String>,
}

impl EngineMaker {
    /// Loads the encoder and starts the computing threads. Blocks.
    ///
    /// # Errors
    /// Those of [`load_encoder`] and [`start_pool`].
    pub fn open(config: &Config) -> Result<Self, AssemblyError> {
        let loaded = load_encoder(config)?;
        Ok(Self { config: config.clone(), loaded, pool: start_pool(config)?, beside: Arc::default() })
    }

    /// An engine for a start: all threads make it, since nobody is served yet. Blocks.
    ///
    /// # Errors
    /// [`AssemblyError::Heads`], [`AssemblyError::Examples`], [`AssemblyError::Training`], [`AssemblyError::Engine`].
    pub fn engine(&self, taxonomy: Arc<Taxonomy>, progress: &mut dyn Progress) -> Result<TaggingEngine, AssemblyError> {
        let heads = heads(&self.config, &self.loaded, &taxonomy)?;
        let vectors = example_vectors(&self.loaded, &taxonomy, &self.pool, progress)?;
        self.finished(taxonomy, heads, vectors, Hands::All)
    }

    /// An engine made beside one that serves: examples are encoded in bulk, where callers go before them, and one thread does the
    /// rest.
    ///
    /// # Errors
    /// Those of [`Self::engine`], and [`AssemblyError::Beside`].
    pub async fn engine_beside(self: &Arc<Self>, taxonomy: Arc<Taxonomy>) -> Result<TaggingEngine, AssemblyError> {
        let alone = Arc::clone(&self.beside).lock_owned().await;
        let (maker, of) = (Arc::clone(self), Arc::clone(&taxonomy));
        let (draft, alone) = blocking(move || Ok((maker.draft(&of)?, alone))).await?;
        let Draft { heads, mut vectors, texts } = draft;
        let encoded = vectors.complete_beside(&self.loaded.encoder, &self.pool, texts).await;
        let encoded = encoded.map_err(AssemblyError::Beside)?;
        tracing::info!(encoded, "vectors of the next taxonomy's examples are ready");
        let maker = Arc::clone(self);
        blocking(move || {
            let _alone = alone;
            if encoded > 0 {
                keep_vectors(&maker.loaded, &taxonomy, &vectors)?;
            }
            maker.finished(taxonomy, heads, vectors, Hands::One)
        })
        .await
    }

    fn draft(&self, taxonomy: &Taxonomy) -> Result<Draft, AssemblyError> {
        let heads = heads(&self.config, &self.loaded, taxonomy)?;
        let mut texts = TaggingEngine::example_texts(taxonomy)?;
        texts.extend(texts_of_topics(&heads, &self.config, &self.loaded, taxonomy)?);
        Ok(Draft { heads, vectors: known_vectors(&self.loaded)?, texts })
    }

    fn finished(
        &self,
        taxonomy: Arc<Taxonomy>,
        mut heads: HeadSet,
        mut vectors: ExampleVectors,
        hands: Hands,
    ) -> Result<TaggingEngine, AssemblyError> {
        let Self { config, loaded, pool, .. } = self;
        add_topics_of_examples(&mut heads, config, loaded, &taxonomy, &mut vectors, pool, hands)?;
        let options = TaggingOptions {
            topic_threshold: config.tagging.topic_threshold,
            max_topics: config.tagging.max_topics,
            max_text_chars: config.limits.max_text_chars,
            max_corrections: config.tagging.max_corrections,
            cache_bytes: config.compute.cache_mb * 1_000_000,
            ..TaggingOptions::default()
        };
        let (encoder, identity) = (Arc::clone(&loaded.encoder), loaded.identity.clone());
        Ok(TaggingEngine::new(encoder, identity, taxonomy, &vectors, &heads, Arc::clone(pool), options)?)
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AssemblyError> + Send + 'static,
) -> Result<T, AssemblyError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| AssemblyError::Interrupted(error.to_string()))?
}
