//! One record, and what binds it to the one before.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Most ids of cases that one record names; of more, the first and their number.
const MOST_CASES: usize = 1_000;

/// The hash before the first record.
pub(super) const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What a call did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it ended.
    pub at: Timestamp,
    /// Whose data it was about.
    pub tenant: String,
    /// Who called: the id of an API key, the subject of a token, or `anyone`.
    pub caller: String,
    /// What was called, as in `CaseService/CorrectTags`.
    pub rpc: String,
    /// How the call was named.
    pub request_id: String,
    /// How it ended: a code of gRPC, as in `OK`.
    pub code: String,
    /// Which cases it touched or showed, at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<String>,
    /// How many those were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub case_count: u64,
    /// What else it was about: a job, a version of the taxonomy, a receipt.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Event {
    /// The event with these cases.
    #[must_use]
    pub fn about(mut self, mut cases: Vec<String>) -> Self {
        self.case_count = cases.len() as u64;
        cases.truncate(MOST_CASES);
        Self { cases, ..self }
    }
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its number, from 1.
    pub number: u64,
    /// What was done.
    #[serde(flatten)]
    pub event: Event,
    /// Hash of the record before, hexadecimal.
    pub previous: String,
    /// Hash of this one.
    pub hash: String,
}

/// What a record is hashed as.
#[derive(Serialize)]
struct Hashed<'a> {
    number: u64,
    #[serde(flatten)]
    event: &'a Event,
    previous: &'a str,
}

impl AuditRecord {
    /// The record of an event behind another.
    ///
    /// # Errors
    /// What JSON can't say.
    pub(super) fn behind(number: u64, previous: &str, event: Event) -> Result<Self, serde_json::Error> {
        let hash = hash(number, previous, &event)?;
        Ok(Self { number, event, previous: previous.to_owned(), hash })
    }

    /// True if its hash is that of what it says.
    pub(super) fn is_sound(&self) -> bool {
        hash(self.number, &self.previous, &self.event).is_ok_and(|hash| hash == self.hash)
    }
}

fn hash(number: u64, previous: &str, event: &Event) -> Result<String, serde_json::Error> {
    let hashed = serde_json::to_vec(&Hashed { number, event, previous })?;
    Ok(Sha256::digest(hashed).iter().map(|byte| format!("{byte:02x}")).collect())
}
