//! Receipts of erasures: points without vectors in a collection of their own, so that they outlive the cases' collections.
//!
//! Before cases are deleted, a note says whose they are and which; it stays until the receipt is kept. An erasure that broke off is
//! taken up by the next one of the same customer, and no id is missing from its receipt.

use qdrant_client::qdrant::{Filter, UpdateMode};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::calls::CallFault;
use super::mapping::{self, MOST_POINTS, ReadPoint};
use super::points::{Parts, Points};
use crate::cases::{CaseStoreError, Erasure, TenantId};

/// Namespace of the numbers of notes.
const NOTE_NAMESPACE: Uuid = Uuid::from_u128(0x5d0c_1b7e_4c55_5f1a_9a0e_6f2b_83c4_17d2);
/// The fields of a receipt and of a note.
const RECEIPT: &str = "receipt";
const NOTE: &str = "note";

/// The receipts of one store.
#[derive(Clone)]
pub(super) struct Receipts(Points);

impl Receipts {
    pub(super) fn new(points: Points) -> Self {
        Self(points)
    }

    /// Notes that cases are about to be deleted, together with what an earlier erasure noted that broke off; gives both.
    pub(super) async fn begin(
        &self,
        tenant: &TenantId,
        customer_id_sha256: &str,
        mut case_ids: Vec<String>,
    ) -> Result<Vec<String>, CaseStoreError> {
        let note = note_of(tenant, customer_id_sha256);
        let earlier = self.0.read(&[note], Parts::Fields).await?.remove(&note);
        if let Some(earlier) = earlier {
            let noted = earlier.fields.get(NOTE).cloned().unwrap_or_default();
            let noted: Vec<String> = serde_json::from_value(noted).map_err(|_| earlier.lacks("a note"))?;
            case_ids.extend(noted);
        }
        case_ids.sort_unstable();
        case_ids.dedup();
        let fields = Map::from_iter([(NOTE.to_owned(), Json::from(case_ids.clone()))]);
        self.0.write(vec![mapping::bare_point(note, fields)], UpdateMode::Upsert).await?;
        Ok(case_ids)
    }

    /// Keeps a receipt, and removes the note.
    pub(super) async fn keep(&self, erasure: &Erasure) -> Result<(), CaseStoreError> {
        let json = serde_json::to_string(erasure)
            .map_err(|error| CaseStoreError::Unavailable(format!("the receipt can't be kept: {error}")))?;
        let number = Uuid::parse_str(&erasure.id).map_err(|error| CaseStoreError::Unavailable(error.to_string()))?;
        let fields = Map::from_iter([(RECEIPT.to_owned(), Json::from(json))]);
        self.0.write(vec![mapping::bare_point(number, fields)], UpdateMode::Upsert).await?;
        let note = note_of(&erasure.tenant, &erasure.customer_id_sha256);
        Ok(self.0.delete(mapping::only(vec![note])).await?)
    }

    /// Every receipt, oldest first.
    pub(super) async fn all(&self) -> Result<Vec<Erasure>, CaseStoreError> {
        let mut receipts = Vec::new();
        let mut from = None;
        loop {
            let (points, next) = self.0.page(&Filter::default(), from, MOST_POINTS, Parts::Fields).await?;
            for point in points.iter().filter(|point| point.fields.contains_key(RECEIPT)) {
                receipts.push(receipt(point)?);
            }
            if next.is_none() {
                break;
            }
            from = next;
        }
        receipts.sort_by(|one, other| (one.erased_at, &one.id).cmp(&(other.erased_at, &other.id)));
        Ok(receipts)
    }
}

fn receipt(point: &ReadPoint) -> Result<Erasure, CallFault> {
    let json = point.fields.get(RECEIPT).and_then(Json::as_str);
    json.and_then(|json| serde_json::from_str(json).ok()).ok_or_else(|| point.lacks("a receipt that can be read"))
}

/// The number of the note of a customer.
fn note_of(tenant: &TenantId, customer_id_sha256: &str) -> Uuid {
    // The hash has a length that stays, so that no two pairs make the same name.
    Uuid::new_v5(&NOTE_NAMESPACE, format!("{customer_id_sha256}{}", tenant.as_str()).as_bytes())
}
