//! A queue of work that many machines share, and the state of jobs that each of them can see.
//!
//! Enters: [`Work`] with a payload that the queue does not look into. Leaves: the same work, leased to one worker at a time and
//! again to another if its worker falls silent, until it is acknowledged; and values under keys, for which every write can ask
//! that nobody wrote meanwhile. Never here: files, tags, what a chunk is.

mod embedded;
mod error;
mod jetstream;
#[cfg(test)]
pub(in crate::retag) mod tests;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

pub use embedded::EmbeddedQueue;
pub use error::QueueError;
pub use jetstream::{Feed, FeedMessage, FeedSubjects, JetStreamFeed, JetStreamOptions, JetStreamQueue};

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The job that it belongs to: letters, digits and `-`.
    pub job: String,
    /// Its name in the job: letters, digits and `-`.
    pub name: String,
    /// Tells this round of the work from an earlier one of the same name.
    pub round: String,
    /// What is to be done.
    pub payload: Vec<u8>,
}

/// Work that was leased. Dropped without an answer, it is leased to another when its time is over.
pub struct Lease {
    /// What is to be done.
    pub payload: Vec<u8>,
    pub(super) hold: Box<dyn Hold>,
}

/// The hold on work that was leased.
#[async_trait]
pub(super) trait Hold: Send + Sync {
    async fn extend(&self) -> Result<(), QueueError>;
    async fn acknowledge(&self) -> Result<(), QueueError>;
    async fn give_back(&self, pause: Duration) -> Result<(), QueueError>;
}

impl Lease {
    /// The worker is still at it: the time of the lease begins anew.
    ///
    /// # Errors
    /// [`QueueError`] if the queue can't be told.
    pub async fn extend(&self) -> Result<(), QueueError> {
        self.hold.extend().await
    }

    /// The work is done and leaves the queue.
    ///
    /// # Errors
    /// [`QueueError`] if the queue can't be told; the work is then leased again.
    pub async fn acknowledge(self) -> Result<(), QueueError> {
        self.hold.acknowledge().await
    }

    /// The work is for another, or for later: it is leased again after `pause`.
    ///
    /// # Errors
    /// [`QueueError`] if the queue can't be told; the work is then leased again when its time is over.
    pub async fn give_back(self, pause: Duration) -> Result<(), QueueError> {
        self.hold.give_back(pause).await
    }
}

/// Which values a key is looked for among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// Jobs, by their id.
    Jobs,
    /// What happens within a job: keys that begin with its id and a dot.
    Chunks,
}

/// What must be true of a key for a write to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Anything,
    /// The key has no value.
    Absent,
    /// The value is of this revision.
    Revision(u64),
}

/// A value as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The value.
    pub value: Vec<u8>,
    /// Grows with every write.
    pub revision: u64,
}

/// A key's value when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
}

/// A queue of work, with a shelf of values that all who use it can see.
#[async_trait]
pub trait WorkQueue: Send + Sync + 'static {
    /// Puts work in the queue. Work of the same job and name that is still in it stays as it is, and this one is not added.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    async fn publish(&self, work: &Work) -> Result<(), QueueError>;

    /// Leases one piece of work, or none after `wait`.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    async fn lease(&self, wait: Duration) -> Result<Option<Lease>, QueueError>;

    /// The time after which silent work is leased to another.
    fn lease_time(&self) -> Duration;

    /// A key's value.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    async fn get(&self, shelf: Shelf, key: &str) -> Result<Option<Stored>, QueueError>;

    /// Writes a value; false if the key is not as expected.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    async fn put(&self, shelf: Shelf, key: &str, value: Vec<u8>, expected: Expected) -> Result<bool, QueueError>;

    /// The keys of a shelf, in order.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    async fn keys(&self, shelf: Shelf) -> Result<Vec<String>, QueueError>;

    /// Values of the job's chunks: first those that are there, then each as it is written. The stream may end when the connection
    /// breaks; a new one begins again with those that are there.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    async fn watch(&self, job: &str) -> Result<BoxStream<'static, Change>, QueueError>;

    /// Takes a job's waiting work out of the queue and forgets the values of its chunks.
    ///
    /// # Errors
    /// [`QueueError`]; see its variants.
    async fn withdraw(&self, job: &str) -> Result<(), QueueError>;
}
