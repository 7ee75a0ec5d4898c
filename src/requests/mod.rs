//! Calls that were answered: one that comes twice under the same id acts once and is answered alike, also after a restart.
//!
//! Enters: how a call names itself, what it asks, and what it does. Leaves: what it did, or what it did before. Never here: what calls
//! mean, and customers' words: what is kept of an answer has none.
//!
//! The answer is kept after the act. If the process dies between the two, the call acts once more when it comes again, so acts are such
//! that a second time comes to the same.

mod kept;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::cases::TenantId;
use kept::Kept;
pub use kept::KeptLimits;

/// SHA-256.
type Hash = [u8; 32];

/// A call that names itself.
#[derive(Debug, Clone, Copy)]
pub struct NamedRequest<'a> {
    /// Who calls.
    pub tenant: &'a TenantId,
    /// What is called.
    pub rpc: &'a str,
    /// How the call names itself.
    pub id: &'a str,
    /// All that it asks.
    pub message: &'a [u8],
}

impl NamedRequest<'_> {
    fn key(&self) -> Hash {
        hash(&[self.tenant.as_str().as_bytes(), self.rpc.as_bytes(), self.id.as_bytes()])
    }
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Why calls can't be kept.
#[derive(Debug, thiserror::Error)]
#[error("answered calls can't be kept in {file}: {problem}")]
pub struct StorageError {
    /// The file.
    pub file: String,
    /// What is wrong.
    pub problem: String,
}

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
pub enum OnceError<E> {
    /// Another call had its name.
    #[error("another request had this request_id")]
    OtherRequest,
    /// It is not known whether it came before.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It could not be done; it may come again under its name.
    #[error("it could not be done")]
    Act(E),
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It acted, and this is its answer.
    Now(Vec<u8>),
    /// It acted before, and this was its answer.
    Before(Vec<u8>),
}

/// Calls that were answered, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestCounts {
    /// Kept now.
    pub kept: u64,
    /// That came again since the process started, and were answered as the first time.
    pub again: u64,
}

/// Calls in work, each of which the others of its name wait for.
type InWork = HashMap<Hash, Weak<tokio::sync::Mutex<()>>>;

/// Answered calls, in a file.
pub struct AnsweredRequests {
    kept: Arc<Kept>,
    in_work: Mutex<InWork>,
    again: AtomicU64,
}

impl AnsweredRequests {
    /// Opens those in a file, which is made if it is not there. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn open(path: &Path, limits: KeptLimits) -> Result<Self, StorageError> {
        Ok(Self { kept: Arc::new(Kept::open(path, limits)?), in_work: Mutex::default(), again: AtomicU64::new(0) })
    }

    /// Does what a call asks, unless it was done under this name before. Of calls that come at once under one name, one acts and the
    /// others are answered when it has.
    ///
    /// # Errors
    /// [`OnceError`].
    pub async fn once<E>(
        &self,
        request: NamedRequest<'_>,
        act: impl Future<Output = Result<Vec<u8>, E>>,
    ) -> Result<Answered, OnceError<E>> {
        let (key, fingerprint) = (request.key(), hash(&[request.message]));
        let turn = self.turn(key);
        let _turn = turn.lock().await;
        let kept = Arc::clone(&self.kept);
        let before = self.blocking(move || kept.get(&key)).await?;
        if let Some((of, answer)) = before {
            if of != fingerprint {
                return Err(OnceError::OtherRequest);
            }
            self.again.fetch_add(1, Ordering::Relaxed);
            return Ok(Answered::Before(answer));
        }
        let answer = act.await.map_err(OnceError::Act)?;
        let (kept, keep) = (Arc::clone(&self.kept), answer.clone());
        let noted = self.blocking(move || kept.put(&key, &fingerprint, &keep, Timestamp::now())).await;
        if let Err(error) = noted {
            // It is done: a caller who heard of a failure would do it again.
            tracing::error!(%error, rpc = request.rpc, "a call was done and will be done again if it comes again");
        }
        Ok(Answered::Now(answer))
    }

    /// How many there are.
    pub fn counts(&self) -> RequestCounts {
        RequestCounts { kept: self.kept.count(), again: self.again.load(Ordering::Relaxed) }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(self.kept.fault(&error)))
    }

    /// What the calls of a name take turns with.
    fn turn(&self, key: Hash) -> Arc<tokio::sync::Mutex<()>> {
        let mut in_work = self.lock();
        in_work.retain(|_, turn| turn.strong_count() > 0);
        match in_work.entry(key) {
            Entry::Occupied(mut known) => known.get().upgrade().unwrap_or_else(|| {
                let turn = Arc::default();
                known.insert(Arc::downgrade(&turn));
                turn
            }),
            Entry::Vacant(place) => {
                let turn = Arc::default();
                place.insert(Arc::downgrade(&turn));
                turn
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, InWork> {
        self.in_work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
