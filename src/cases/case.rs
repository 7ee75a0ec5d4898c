//! What is kept: cases, what persons say of them, and what became of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::retagging::{CaseReading, OlderPart, RetagMark};
use crate::feedback::{Feedback, FeedbackKind, Score, named_enum};
use crate::tags::{SentimentLabel, Tags, TeamId, TopicId};

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
    /// What became of it; a case without one is open. Storing the case anew keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Other cases that it belongs with. Storing the case anew without any keeps them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<CaseLink>,
    /// The original text, sealed; only where the store is told to keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_text: Option<String>,
    /// What the encoder made of its text, if that is kept: tags are made anew from it without the encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<CaseReading>,
    /// Parts of the tags that are older than their provenance says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older_parts: Vec<OlderPart>,
    /// What the last job that re-tagged it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retagged: Option<RetagMark>,
    /// The newest calls that stored it and named themselves, oldest first: at most [`MAX_REQUESTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestMark>,
    /// Anything else the company keeps beside it.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub attributes: std::collections::BTreeMap<String, String>,
}

impl Case {
    /// Tagged feedback as it is kept: of its words those that were masked, and nothing said of it yet.
    pub fn new(feedback: Feedback, tags: Tags, stored_at: Timestamp) -> Self {
        Self {
            id: feedback.id,
            kind: feedback.kind,
            masked_text: tags.masked_text.clone(),
            channel: feedback.channel,
            touchpoint: feedback.touchpoint,
            product: feedback.product,
            partner: feedback.partner,
            customer_id: feedback.customer_id,
            score: feedback.score,
            occurred_at: feedback.occurred_at,
            stored_at,
            tags,
            correction: None,
            outcome: None,
            links: Vec::new(),
            sealed_text: None,
            reading: None,
            older_parts: Vec::new(),
            retagged: None,
            requests: Vec::new(),
            attributes: feedback.attributes,
        }
    }

    /// Where it stands: open until somebody says otherwise.
    pub fn status(&self) -> OutcomeStatus {
        self.outcome.as_ref().map_or(OutcomeStatus::Open, |outcome| outcome.status)
    }

    /// What a call of this id did when it stored the case, if it is one of the newest that did.
    pub fn done_by(&self, request_id: &str) -> Option<UpsertOutcome> {
        self.requests.iter().rev().find(|mark| mark.request_id == request_id).map(|mark| mark.outcome)
    }

    /// The case with all that outlives the storing of it anew taken from the one that it replaces: what persons said, what became of
    /// it, its links, and the calls that stored it.
    #[must_use]
    pub fn replacing(self, earlier: &Case) -> Self {
        let requests = earlier.requests.iter().filter(|mark| self.done_by(&mark.request_id).is_none()).cloned();
        let mut requests: Vec<RequestMark> = requests.chain(self.requests.iter().cloned()).collect();
        requests.drain(..requests.len().saturating_sub(MAX_REQUESTS));
        Self {
            correction: self.correction.or_else(|| earlier.correction.clone()),
            outcome: self.outcome.or_else(|| earlier.outcome.clone()),
            links: if self.links.is_empty() { earlier.links.clone() } else { self.links },
            requests,
            ..self
        }
    }

    /// The case with something said of it.
    #[must_use]
    pub fn amended(self, amendment: Amendment) -> Self {
        match amendment {
            Amendment::Correction(correction) => {
                Self { correction: Some(correction.over(self.correction.clone())), ..self }
            }
            Amendment::Outcome { outcome, links } => {
                Self { outcome: Some(outcome), links: links.unwrap_or(self.links), ..self }
            }
        }
    }

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

named_enum! {
    /// Where a case stands.
    OutcomeStatus {
        /// Nothing is decided yet.
        Open = "open",
        /// The customer's matter is settled.
        Solved = "solved",
        /// The customer's wish was refused.
        Rejected = "rejected",
    }
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Where it stands.
    pub status: OutcomeStatus,
    /// What was done, in words without personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// The gesture of the playbook that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gesture_id: Option<String>,
    /// What it cost, in the company's currency; 0 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// The score that the customer gave afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_after: Option<Score>,
    /// When it came to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
    /// Who said so, by an id of the company.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

named_enum! {
    /// How one case belongs with another.
    LinkKind {
        /// The same matter, told again.
        Duplicate = "duplicate",
        /// What came of the other case.
        FollowUp = "follow_up",
        /// One incident behind both.
        SameIncident = "same_incident",
        /// In another way.
        Related = "related",
    }
}

/// Another case that a case belongs with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseLink {
    /// Id of the other case, of the same tenant; it need not be stored.
    pub case_id: String,
    /// How they belong together.
    pub kind: LinkKind,
}

/// The most calls that a case remembers.
pub const MAX_REQUESTS: usize = 8;

/// A call that stored a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestMark {
    /// How the call named itself.
    pub request_id: String,
    /// What it did.
    pub outcome: UpsertOutcome,
}

/// What is said of a stored case afterwards.
#[derive(Debug, Clone, PartialEq)]
pub enum Amendment {
    /// A person says which tags are right.
    Correction(Correction),
    /// What became of it.
    Outcome {
        /// Takes the place of what was known before.
        outcome: Outcome,
        /// Its links from now on; `None` leaves them.
        links: Option<Vec<CaseLink>>,
    },
}

named_enum! {
    /// What an upsert did.
    UpsertOutcome {
        /// There was no case of this id.
        Created = "created",
        /// A case of this id was replaced.
        Replaced = "replaced",
    }
}

/// The receipt of an erasure. It holds nothing that a customer said, and the customer's id only as a hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Id of the receipt.
    pub id: String,
    /// Whose cases these were.
    pub tenant: TenantId,
    /// SHA-256 of the customer's id, hexadecimal.
    pub customer_id_sha256: String,
    /// When.
    pub erased_at: Timestamp,
    /// Ids of the cases that were erased, in order.
    pub case_ids: Vec<String>,
    /// Snapshots made before, which still hold these cases until somebody removes them.
    pub snapshots: Vec<String>,
}

impl Erasure {
    /// The receipt for what was erased just now.
    pub fn new(tenant: &TenantId, customer_id: &str, mut case_ids: Vec<String>, snapshots: Vec<String>) -> Self {
        let digest = Sha256::digest(customer_id);
        case_ids.sort_unstable();
        Self {
            id: Uuid::now_v7().to_string(),
            tenant: tenant.clone(),
            customer_id_sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            erased_at: Timestamp::now(),
            case_ids,
            snapshots,
        }
    }
}
