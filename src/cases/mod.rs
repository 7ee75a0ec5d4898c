//! The case store: what was said before, kept with its tags and its vectors, found again by meaning and by words.
//!
//! Enters: [`Case`]s and queries of one tenant. Leaves: cases and hits. One trait, [`CaseStore`], with two stores behind it: one in a
//! folder ([`edge`]) and one on a server or cluster ([`qdrant`]). What they have in common (how a case becomes a point, how words are
//! weighed, how hits are fused and explained) lies beside them, so that they answer alike. Never here: tagging, protobuf.

mod case;
mod checks;
pub mod edge;
mod filter;
mod lexical;
mod plan;
mod point;
pub mod qdrant;
mod ranking;
mod retagging;
pub mod retention;
pub mod review;
pub mod seal;
mod search;
mod timed;
pub mod transfer;

use async_trait::async_trait;

pub use case::{
    Amendment, Case, CaseLink, Correction, Erasure, LinkKind, MAX_REQUESTS, Outcome, OutcomeStatus, RequestMark,
    TenantId, UpsertOutcome,
};
pub use filter::{CaseFilter, ScoreRange};
pub use retagging::{CaseReading, CaseState, NewTags, OlderPart, RetagMark, RetagOutcome, Retagging, TagPart};
pub use search::{
    MatchedBy, OutcomeGroup, Preferences, SearchMode, SimilarCase, SimilarCases, SimilarQuery, SimilarTo,
};
pub use timed::TimedStore;

/// A stored case with its vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectoredCase {
    /// The case.
    pub case: Case,
    /// Its unit vector: `[dimension of the store]`.
    pub vector: Vec<f32>,
}

/// A part of the cases that a filter matches.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CasePage {
    /// The cases, in an order that stays.
    pub cases: Vec<VectoredCase>,
    /// Where the next part begins; `None` after the last.
    pub next: Option<String>,
}

/// How far a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationStep {
    /// Cases copied.
    pub cases: u64,
    /// Cases there are.
    pub of: u64,
}

/// A case on its way into the store.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCase {
    /// The case.
    pub case: Case,
    /// Unit vector of the whole text: `[dimension of the store]`.
    pub vector: Vec<f32>,
    /// How the call that stores it names itself, if it does. A case that this call has stored already is left as it is, so that a
    /// call may be made again.
    pub request_id: Option<String>,
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CaseStoreError {
    /// The request is at fault; `field` names what.
    #[error("{field}: {problem}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// No such case.
    #[error("no case {id:?}")]
    NotFound {
        /// The id asked for.
        id: String,
    },
    /// The store can't be opened; says what to do.
    #[error("the case store in {folder} can't be opened: {problem}")]
    Open {
        /// The folder.
        folder: String,
        /// What is wrong, and what would help.
        problem: String,
    },
    /// Too many calls wait for the store already.
    #[error("the case store is busy: {waiting} calls wait, at most {limit} may")]
    Busy {
        /// Calls that wait.
        waiting: usize,
        /// The limit.
        limit: usize,
    },
    /// The disk of the store has no room for what was to be stored; nothing was. Reading and deleting go on.
    #[error(
        "the disk of the case store is full: {free_mb} MB are free, {needed_mb} MB would have to be (cases.reserve_mb)"
    )]
    Full {
        /// Megabytes that are free.
        free_mb: u64,
        /// Megabytes that would have to be.
        needed_mb: u64,
    },
    /// The store broke or is closed; the call may be tried again.
    #[error("the case store is not available: {0}")]
    Unavailable(String),
}

/// Keeps cases and finds them again.
#[async_trait]
pub trait CaseStore: Send + Sync + 'static {
    /// Stores cases, replacing those with the same id. When this returns, they survive a crash. What outlives the storing of a case
    /// anew ([`Case::replacing`]) stays with its id, unless the new one brings its own.
    ///
    /// # Errors
    /// `Invalid` for too many cases in one call, a vector of another dimension or that is not a finite unit vector, a case with a
    /// number that is not finite, an empty id, or an id twice in one call; `Busy`; `Unavailable`.
    async fn upsert(&self, tenant: &TenantId, cases: Vec<NewCase>) -> Result<Vec<UpsertOutcome>, CaseStoreError>;

    /// Keeps something that is said of a stored case, and gives back the case as it is then. When this returns, it survives a crash.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for a number that is not finite, `Busy`, `Unavailable`.
    async fn amend(&self, tenant: &TenantId, id: &str, amendment: Amendment) -> Result<VectoredCase, CaseStoreError>;

    /// Writes tags that were made anew, each only if the case is still as they were made for it; what persons said of it meanwhile and
    /// what became of it stays. When this returns, they survive a crash. One outcome for each, in their order.
    ///
    /// # Errors
    /// `Invalid` for too many cases in one call, a case twice, or one with a number that is not finite; `Busy`; `Unavailable`.
    async fn retag(&self, tenant: &TenantId, cases: Vec<Retagging>) -> Result<Vec<RetagOutcome>, CaseStoreError>;

    /// A part of the cases that a filter matches, with their vectors: at most `limit`, from where the part before said that the
    /// next one begins. Their order stays and has to do with nothing but their ids, by a hash of which they lie: the first so many
    /// are a fair sample. A case that comes to match, or no longer does, while parts are read is in them or not; no case is in two.
    ///
    /// # Errors
    /// `Invalid` for a limit that is not allowed or a beginning that no part named; `Busy`; `Unavailable`.
    async fn page(
        &self,
        tenant: &TenantId,
        filter: &CaseFilter,
        from: Option<&str>,
        limit: usize,
    ) -> Result<CasePage, CaseStoreError>;

    /// One case.
    ///
    /// # Errors
    /// `NotFound`, `Busy`, `Unavailable`.
    async fn get(&self, tenant: &TenantId, id: &str) -> Result<Case, CaseStoreError>;

    /// Those of some cases that exist, in no order.
    ///
    /// # Errors
    /// `Busy`, `Unavailable`.
    async fn get_many(&self, tenant: &TenantId, ids: &[String]) -> Result<Vec<Case>, CaseStoreError>;

    /// The cases most similar to a text or to a stored case, best first, and how such cases ended.
    ///
    /// # Errors
    /// `Invalid`, `NotFound` (for a case id), `Busy`, `Unavailable`.
    async fn find_similar(&self, tenant: &TenantId, query: SimilarQuery) -> Result<SimilarCases, CaseStoreError>;

    /// How many cases a filter matches, exactly.
    ///
    /// # Errors
    /// `Busy`, `Unavailable`.
    async fn count(&self, tenant: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError>;

    /// Deletes the cases that a filter matches and says how many those were. When this returns, they stay deleted after a crash.
    ///
    /// # Errors
    /// `Invalid` for the empty filter; `Busy`; `Unavailable`.
    async fn delete(&self, tenant: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError>;

    /// Deletes every case of a customer, and keeps a receipt of it beside the store. When this returns, both survive a crash.
    ///
    /// # Errors
    /// `Invalid` for an empty id; `Busy`; `Unavailable`.
    async fn erase(&self, tenant: &TenantId, customer_id: &str) -> Result<Erasure, CaseStoreError>;

    /// The tenants that have cases, in order of their names.
    ///
    /// # Errors
    /// `Busy`; `Unavailable`.
    async fn tenants(&self) -> Result<Vec<TenantId>, CaseStoreError>;

    /// Asks the store for a sign of life: about how many cases it has, all tenants' together, as it knows without counting them.
    ///
    /// # Errors
    /// `Unavailable`, with the reason; `Busy`, which is a sign of life too.
    async fn probe(&self) -> Result<u64, CaseStoreError>;

    /// Writes out what is pending and closes; later calls answer `Unavailable`. Closing again does nothing.
    ///
    /// # Errors
    /// `Unavailable`, with the reason.
    async fn close(&self) -> Result<(), CaseStoreError>;
}
