//! Puts taxonomies in force while callers are answered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use tracing::Instrument;

use super::{Generation, MakeError, PublishError, Serving};
use crate::tags::TaxonomyVersion;
use crate::taxonomy::Taxonomy;
use crate::taxonomy::versions::{Publication, PublicationKind, PublicationNote, SourcedTaxonomy, Versions};
use crate::telemetry::TracePlace;

/// Taxonomies that are read and checked at once; each takes a thread for as long.
const READ_AT_ONCE: usize = 2;

/// The name that problems of a source that was sent are reported under.
const SENT: &str = "source";

/// Makes what serves under a taxonomy.
#[async_trait]
pub trait MakeGeneration: Send + Sync + 'static {
    /// Makes a generation whole, ready for its first text, beside the one that serves.
    ///
    /// # Errors
    /// [`MakeError`].
    async fn make(&self, taxonomy: Arc<Taxonomy>) -> Result<Generation, MakeError>;

    /// Lets a generation learn all that persons corrected.
    ///
    /// # Errors
    /// [`MakeError::Overloaded`], [`MakeError::Unavailable`], [`MakeError::Failed`].
    async fn recall(&self, generation: &Generation) -> Result<(), MakeError>;
}

/// What is to be put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A source, TOML.
    Source(String),
    /// A version that was in force before.
    Kept(TaxonomyVersion),
}

/// A publication that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// What is to be put in force.
    pub wanted: Wanted,
    /// The version that the caller believes to be in force.
    pub expected: TaxonomyVersion,
    /// What is said of it.
    pub note: PublicationNote,
    /// After it, nothing is put in force any more.
    pub due: Instant,
}

/// A taxonomy that is in force now.
#[derive(Debug, Clone)]
pub struct Published {
    /// The publication.
    pub publication: Publication,
    /// What was in force before.
    pub before: Arc<Taxonomy>,
    /// What is in force now.
    pub now: Arc<Taxonomy>,
    /// False if it was in force already.
    pub changed: bool,
}

/// A version with its newest publication.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The publication.
    pub publication: Publication,
    /// True if it is the one in force.
    pub is_current: bool,
    /// The taxonomy and its source.
    pub sourced: SourcedTaxonomy,
}

/// Puts taxonomies in force, one at a time, and knows those that were. Share it in an [`Arc`].
pub struct Publisher {
    serving: Arc<Serving>,
    versions: Arc<Mutex<Versions>>,
    maker: Arc<dyn MakeGeneration>,
    publishing: Arc<Semaphore>,
    reading: Semaphore,
}

impl Publisher {
    /// Publishes into `versions`, whose version in force `serving` serves.
    pub fn new(serving: Arc<Serving>, versions: Versions, maker: Arc<dyn MakeGeneration>) -> Self {
        Self {
            serving,
            versions: Arc::new(Mutex::new(versions)),
            maker,
            publishing: Arc::new(Semaphore::new(1)),
            reading: Semaphore::new(READ_AT_ONCE),
        }
    }

    /// What serves.
    pub fn serving(&self) -> &Arc<Serving> {
        &self.serving
    }

    /// Every publication that is kept, newest first; the first is in force.
    ///
    /// # Errors
    /// [`PublishError::Failed`].
    pub async fn publications(&self) -> Result<Vec<Publication>, PublishError> {
        self.with_versions(|versions| Ok(versions.publications().iter().rev().cloned().collect())).await
    }

    /// Reads and checks a source; nothing is changed.
    ///
    /// # Errors
    /// [`PublishError::Invalid`] with every problem.
    pub async fn check(&self, source: String) -> Result<SourcedTaxonomy, PublishError> {
        let _reading = self.reading.acquire().await.map_err(|error| PublishError::Failed(error.to_string()))?;
        blocking(move || SourcedTaxonomy::parse(source, SENT).map_err(PublishError::Invalid)).await
    }

    /// A kept version; the one in force if none is named.
    ///
    /// # Errors
    /// [`PublishError::Versions`] if it is not kept or can't be read.
    pub async fn kept(&self, version: Option<TaxonomyVersion>) -> Result<Kept, PublishError> {
        let _reading = self.reading.acquire().await.map_err(|error| PublishError::Failed(error.to_string()))?;
        self.with_versions(move |versions| {
            let current = versions.current()?.version.clone();
            let version = version.unwrap_or_else(|| current.clone());
            let publication = versions.publication(&version)?.clone();
            Ok(Kept { is_current: publication.version == current, publication, sourced: versions.load(&version)? })
        })
        .await
    }

    /// Puts a taxonomy in force: the next request is answered by it, and a restart too. Whatever fails, what served before serves on.
    /// A request that is made again because its answer was lost finds its work done.
    ///
    /// A caller that leaves does not stop it; its deadline does, until the moment when the version is written down.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn publish(self: &Arc<Self>, request: PublishRequest) -> Result<Published, PublishError> {
        let permit = Arc::clone(&self.publishing).try_acquire_owned().map_err(|_| PublishError::Busy)?;
        let publisher = Arc::clone(self);
        let work = async move {
            let _alone = permit;
            publisher.publish_alone(request).await
        };
        let done = tokio::spawn(TracePlace::current().hold(work.in_current_span())).await;
        done.map_err(|error| PublishError::Failed(format!("publishing ended: {error}")))?
    }

    /// A taxonomy made ready beside the one that serves, with what people corrected, and not put in force.
    ///
    /// # Errors
    /// [`PublishError::Busy`] while another one is made ready, [`PublishError::Make`], [`PublishError::DeadlineExceeded`].
    pub async fn beside(&self, taxonomy: Arc<Taxonomy>, due: Instant) -> Result<Arc<Generation>, PublishError> {
        let current = self.serving.current();
        if current.taxonomy.version() == taxonomy.version() {
            return Ok(current);
        }
        let _alone = self.publishing.try_acquire().map_err(|_| PublishError::Busy)?;
        let made = timeout_at(due.into(), async {
            let next = self.maker.make(taxonomy).await?;
            self.maker.recall(&next).await?;
            Ok::<_, MakeError>(next)
        });
        Ok(Arc::new(made.await.map_err(|_| PublishError::DeadlineExceeded)??))
    }

    async fn publish_alone(&self, request: PublishRequest) -> Result<Published, PublishError> {
        let PublishRequest { wanted, expected, note, due } = request;
        let before = Arc::clone(&self.serving.current().taxonomy);
        let (kind, new) = match wanted {
            Wanted::Source(source) => (PublicationKind::Published, self.check(source).await?),
            Wanted::Kept(version) => (PublicationKind::RolledBack, self.kept(Some(version)).await?.sourced),
        };
        let current = self.with_versions(|versions| Ok(versions.current()?.clone())).await?;
        if new.taxonomy.version() == before.version() {
            let is_known = expected == current.version || current.parent.as_ref() == Some(&expected);
            return match is_known {
                true => Ok(Published { publication: current, now: Arc::clone(&before), before, changed: false }),
                false => Err(PublishError::Conflict { expected, current: current.version }),
            };
        }
        if expected != current.version {
            return Err(PublishError::Conflict { expected, current: current.version });
        }

        let now = Arc::new(new.taxonomy.clone());
        let made = timeout_at(due.into(), self.maker.make(Arc::clone(&now))).await;
        let next = made.map_err(|_| PublishError::DeadlineExceeded)??;
        let held = timeout_at(due.into(), self.serving.hold_changes());
        let held = held.await.map_err(|_| PublishError::DeadlineExceeded)?;
        let recalled = timeout_at(due.into(), self.maker.recall(&next)).await;
        recalled.map_err(|_| PublishError::DeadlineExceeded)??;
        let at = Timestamp::now();
        let publication = self.with_versions(move |versions| versions.publish(&new, kind, &expected, note, at)).await?;
        self.serving.replace(held, next);
        tracing::info!(
            number = publication.number,
            version = %publication.version,
            before = %before.version(),
            kind = publication.kind.as_str(),
            "taxonomy published; it serves from now on"
        );
        Ok(Published { publication, before, now, changed: true })
    }

    async fn with_versions<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Versions) -> Result<T, crate::taxonomy::versions::VersionsError> + Send + 'static,
    ) -> Result<T, PublishError> {
        let versions = Arc::clone(&self.versions);
        blocking(move || {
            let mut versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut versions).map_err(PublishError::from)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, PublishError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| PublishError::Failed(format!("the work was interrupted: {error}")))?
}
