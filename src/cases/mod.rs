//! The case store: what was said before, kept with its tags and its vector, found again by meaning.
//!
//! Enters: [`Case`]s and queries of one tenant. Leaves: cases and hits. One trait, [`CaseStore`]; the embedded store stands
//! behind it. Never here: tagging, protobuf.

pub mod edge;
pub mod review;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::feedback::{FeedbackKind, Score};
use crate::tags::{SentimentLabel, SignalId, Tags, TeamId, TopicId};

/// Whose cases these are. A tenant never sees another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(String);

impl TenantId {
    /// The tenant of a service that has only one.
    pub const DEFAULT: &'static str = "default";

    /// Wraps an id.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

/// One past piece of feedback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Id, unique within the tenant.
    pub id: String,
    /// Where the feedback came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FeedbackKind>,
    /// The text with personal data replaced by placeholders.
    pub masked_text: String,
    /// Channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Touchpoint or survey mechanic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touchpoint: Option<String>,
    /// Product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// The customer's id in the company's systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// The score given along with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
    /// When it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// When it was stored; set by the caller of the store.
    pub stored_at: Timestamp,
    /// Tags at the time it was stored.
    pub tags: Tags,
    /// What a person said of the tags; storing the case anew keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
    /// Anything else the company keeps beside it.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub attributes: std::collections::BTreeMap<String, String>,
}

impl Case {
    /// The topics that count: a person's, if a person named them.
    pub fn topic_ids(&self) -> Vec<&TopicId> {
        match self.correction.as_ref().and_then(|correction| correction.topics.as_ref()) {
            Some(topics) => topics.iter().collect(),
            None => self.tags.topics.iter().map(|topic| &topic.topic_id).collect(),
        }
    }

    /// The team that counts: a person's, if a person named it.
    pub fn team_id(&self) -> &TeamId {
        let corrected = self.correction.as_ref().and_then(|correction| correction.team.as_ref());
        corrected.unwrap_or(&self.tags.team.team_id)
    }

    /// The overall sentiment that counts: a person's, if a person named it.
    pub fn sentiment_label(&self) -> Option<SentimentLabel> {
        let corrected = self.correction.as_ref().and_then(|correction| correction.sentiment);
        corrected.or(self.tags.sentiment.map(|sentiment| sentiment.label))
    }
}

/// What a person said of a case's tags. What is `None` stays as the models said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// The right topics; empty is "none".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<TopicId>>,
    /// The right team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamId>,
    /// The right overall sentiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentiment: Option<SentimentLabel>,
    /// Who said it, by an id of the company.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected_by: Option<String>,
    /// When; set by the caller of the store.
    pub corrected_at: Timestamp,
    /// Why, in the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Correction {
    /// This correction, with what it leaves open taken from an earlier one of the same case.
    #[must_use]
    pub fn over(self, earlier: Option<Correction>) -> Self {
        let Some(earlier) = earlier else { return self };
        Self {
            topics: self.topics.or(earlier.topics),
            team: self.team.or(earlier.team),
            sentiment: self.sentiment.or(earlier.sentiment),
            corrected_by: self.corrected_by.or(earlier.corrected_by),
            note: self.note.or(earlier.note),
            corrected_at: self.corrected_at,
        }
    }
}

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

/// A case on its way into the store.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCase {
    /// The case.
    pub case: Case,
    /// Unit vector of the whole text: `[dimension of the store]`.
    pub vector: Vec<f32>,
}

/// Which cases a call is about. Conditions of different fields are joined by AND, values of one field by OR; the empty filter
/// is every case of the tenant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CaseFilter {
    /// Cases with one of these ids.
    pub ids: Vec<String>,
    /// Cases with one of these topics among theirs: a person's topics, where a person named them.
    pub topics: Vec<TopicId>,
    /// Cases owned by one of these teams: a person's choice, where there is one.
    pub teams: Vec<TeamId>,
    /// Cases with one of these signals.
    pub signals: Vec<SignalId>,
    /// Cases of one of these kinds.
    pub kinds: Vec<FeedbackKind>,
    /// Cases of one of these channels.
    pub channels: Vec<String>,
    /// Cases of one of these products.
    pub products: Vec<String>,
    /// Cases with one of these overall sentiments: a person's word, where there is one.
    pub sentiments: Vec<SentimentLabel>,
    /// Cases of this customer.
    pub customer_id: Option<String>,
    /// Cases said at this time or later, to the microsecond.
    pub occurred_from: Option<Timestamp>,
    /// Cases said before this time, to the microsecond.
    pub occurred_until: Option<Timestamp>,
    /// True for cases that a person corrected, false for the others.
    pub corrected: Option<bool>,
}

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub enum SimilarTo {
    /// Cases near this unit vector.
    Vector(Vec<f32>),
    /// Cases near this stored case, which itself is left out.
    CaseId(String),
}

/// A search for similar cases.
#[derive(Debug, Clone, PartialEq)]
pub struct SimilarQuery {
    /// What to look for.
    pub to: SimilarTo,
    /// Which cases may be found.
    pub filter: CaseFilter,
    /// At most this many, 1 or more.
    pub limit: usize,
    /// Only hits with at least this cosine, -1 to 1.
    pub min_score: Option<f32>,
}

/// One case found.
#[derive(Debug, Clone, PartialEq)]
pub struct SimilarCase {
    /// The case.
    pub case: Case,
    /// Cosine to what was looked for, -1 to 1.
    pub score: f32,
}

/// What an upsert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpsertOutcome {
    /// There was no case of this id.
    Created,
    /// A case of this id was replaced.
    Replaced,
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
    /// The store broke or is closed; the call may be tried again.
    #[error("the case store is not available: {0}")]
    Unavailable(String),
}

/// Keeps cases and finds them again.
#[async_trait]
pub trait CaseStore: Send + Sync + 'static {
    /// Stores cases, replacing those with the same id. When this returns, they survive a crash. All or nothing. What a person
    /// said of a case that is replaced stays with its id, unless the new one brings a correction of its own.
    ///
    /// # Errors
    /// `Invalid` for too many cases in one call, a vector of another dimension or that is not a finite unit vector, a case with a
    /// number that is not finite, an empty id, or an id twice in one call; `Busy`; `Unavailable`.
    async fn upsert(&self, tenant: &TenantId, cases: Vec<NewCase>) -> Result<Vec<UpsertOutcome>, CaseStoreError>;

    /// Keeps what a person said of a case beside its tags, and gives back the case as it is then. What the correction leaves open
    /// stays as an earlier one said. When this returns, it survives a crash.
    ///
    /// # Errors
    /// `NotFound`, `Busy`, `Unavailable`.
    async fn correct(
        &self,
        tenant: &TenantId,
        id: &str,
        correction: Correction,
    ) -> Result<VectoredCase, CaseStoreError>;

    /// A part of the cases that a filter matches, with their vectors: at most `limit`, from where the part before said that the
    /// next one begins.
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

    /// The cases most similar to a vector or to a stored case, most similar first.
    ///
    /// # Errors
    /// `Invalid`, `NotFound` (for a case id), `Busy`, `Unavailable`.
    async fn find_similar(&self, tenant: &TenantId, query: SimilarQuery) -> Result<Vec<SimilarCase>, CaseStoreError>;

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

    /// Asks the store for a sign of life.
    ///
    /// # Errors
    /// `Unavailable`, with the reason; `Busy`, which is a sign of life too.
    async fn probe(&self) -> Result<(), CaseStoreError>;

    /// Writes out what is pending and closes; later calls answer `Unavailable`. Closing again does nothing.
    ///
    /// # Errors
    /// `Unavailable`, with the reason.
    async fn close(&self) -> Result<(), CaseStoreError>;
}
