//! One write, as it is journalled and applied; and its bytes in the journal.
//!
//! A record is a tag byte and then little-endian integers, byte strings behind their 32-bit length, and 32-bit floats. It holds
//! the case itself and not the engine's point, so that a journal can be replayed under another mapping of cases to points.

use qdrant_edge::external::uuid::Uuid;

pub(super) use crate::cases::plan::StoredCase;
use crate::cases::{Case, TenantId, point};

const UPSERT: u8 = 1;
const DELETE: u8 = 2;

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Stores cases, replacing those of the same tenant and id.
    Upsert(Vec<StoredCase>),
    /// Deletes points.
    Delete(Vec<Uuid>),
}

/// A record of the journal that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct MalformedRecord(String);

impl Change {
    /// How many cases it is about.
    pub(super) fn len(&self) -> usize {
        match self {
            Change::Upsert(cases) => cases.len(),
            Change::Delete(points) => points.len(),
        }
    }

    /// The record of this write.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut record = Vec::new();
        match self {
            Change::Upsert(cases) => {
                record.push(UPSERT);
                put_len(&mut record, cases.len());
                for stored in cases {
                    put_bytes(&mut record, stored.tenant.as_str().as_bytes());
                    put_bytes(&mut record, stored.json.as_bytes());
                    put_len(&mut record, stored.vector.len());
                    record.extend(stored.vector.iter().flat_map(|value| value.to_le_bytes()));
                }
            }
            Change::Delete(points) => {
                record.push(DELETE);
                put_len(&mut record, points.len());
                record.extend(points.iter().flat_map(|point| *point.as_bytes()));
            }
        }
        record
    }

    /// The write of a record.
    pub(super) fn decode(record: &[u8]) -> Result<Self, MalformedRecord> {
        let mut rest = Reader(record);
        let change = match rest.take::<1>()? {
            [UPSERT] => {
                let count = rest.len()?;
                let cases = (0..count).map(|_| rest.stored_case()).collect::<Result<_, _>>()?;
                Change::Upsert(cases)
            }
            [DELETE] => {
                let count = rest.len()?;
                let points = (0..count).map(|_| rest.take().map(Uuid::from_bytes)).collect::<Result<_, _>>()?;
                Change::Delete(points)
            }
            [tag] => return Err(MalformedRecord(format!("a record of unknown kind {tag}"))),
        };
        if !rest.0.is_empty() {
            return Err(MalformedRecord(format!("{} bytes too many at the end of a record", rest.0.len())));
        }
        Ok(change)
    }
}

/// Lengths never reach 2^32: a call holds at most `MAX_BATCH` cases, and a text of 4 GiB fits no message.
fn put_len(record: &mut Vec<u8>, len: usize) {
    record.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    put_len(record, bytes.len());
    record.extend_from_slice(bytes);
}

/// What is left of a record.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], MalformedRecord> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or_else(cut_short)?;
        self.0 = tail;
        Ok(*head)
    }

    fn len(&mut self) -> Result<usize, MalformedRecord> {
        self.take().map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    fn text(&mut self) -> Result<&'a str, MalformedRecord> {
        let len = self.len()?;
        let (head, tail) = self.0.split_at_checked(len).ok_or_else(cut_short)?;
        self.0 = tail;
        std::str::from_utf8(head).map_err(|error| MalformedRecord(error.to_string()))
    }

    fn stored_case(&mut self) -> Result<StoredCase, MalformedRecord> {
        let tenant = TenantId::new(self.text()?);
        let json = self.text()?.to_owned();
        let case: Case = serde_json::from_str(&json).map_err(|error| MalformedRecord(error.to_string()))?;
        let count = self.len()?;
        let vector = (0..count).map(|_| self.take().map(f32::from_le_bytes)).collect::<Result<_, _>>()?;
        let words = point::words(&case);
        Ok(StoredCase { tenant, case, json, vector, words, request_id: None })
    }
}

fn cut_short() -> MalformedRecord {
    MalformedRecord("a record that is cut short".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::NewCase;
    use crate::cases::edge::sample;

    fn upsert() -> Change {
        let new =
            |id: &str| NewCase { case: sample::case(id), vector: vec![0.6, -0.8, f32::MIN_POSITIVE], request_id: None };
        let tenant = TenantId::new("банк");
        Change::Upsert(vec![
            StoredCase::new(&tenant, new("1")).unwrap(),
            StoredCase::new(&tenant, new("второй")).unwrap(),
        ])
    }

    #[test]
    fn changes_survive_their_bytes() {
        for change in [upsert(), Change::Upsert(vec![]), Change::Delete(vec![Uuid::from_u128(1), Uuid::from_u128(2)])] {
            assert_eq!(Change::decode(&change.encode()).unwrap(), change);
        }
    }

    #[test]
    fn no_prefix_and_no_extension_of_a_record_is_a_record() {
        for change in [upsert(), Change::Delete(vec![Uuid::from_u128(7)])] {
            let record = change.encode();
            for len in 0..record.len() {
                assert!(Change::decode(&record[..len]).is_err(), "{len} of {} bytes", record.len());
            }
            assert!(Change::decode(&[record.as_slice(), &[0]].concat()).is_err());
        }
        assert!(Change::decode(&[9]).unwrap_err().to_string().contains("unknown kind 9"));
    }
}
