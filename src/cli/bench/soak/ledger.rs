//! What each case may hold, by what was acknowledged: kept beside the service, so that it can be held against it.
//!
//! A change that was acknowledged leaves one state. One whose answer never came leaves two: the case may be as before or as after. A case
//! is in the hands of one caller at a time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// Where a case is: the number of its tenant, and its own.
pub(super) type Place = (usize, u32);

/// What a case holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// There is none.
    Absent,
    /// It was stored by this revision, and corrected by that one.
    Stored {
        /// The write that made it.
        revision: u64,
        /// The correction, if there is one.
        correction: Option<u64>,
    },
}

/// A change of one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is stored, new or over the one before, whose correction stays.
    Store(u64),
    /// It is corrected, if it is there.
    Correct(u64),
    /// It is deleted.
    Delete,
}

impl Change {
    /// What becomes of a state.
    pub fn of(self, state: State) -> State {
        match (self, state) {
            (Self::Delete, _) | (Self::Correct(_), State::Absent) => State::Absent,
            (Self::Store(revision), State::Absent) => State::Stored { revision, correction: None },
            (Self::Store(revision), State::Stored { correction, .. }) => State::Stored { revision, correction },
            (Self::Correct(number), State::Stored { revision, .. }) => {
                State::Stored { revision, correction: Some(number) }
            }
        }
    }
}

/// A named call that changed a case last, to be sent again.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Named {
    /// A correction, and when it was made.
    Correction(otklik::server::wire::v1::CorrectTagsRequest, Option<prost_types::Timestamp>),
    /// A deletion, and how it was answered.
    Deletion(Box<otklik::server::wire::v1::DeleteCasesRequest>, otklik::server::wire::v1::DeleteCasesResponse),
}

struct Record {
    may_be: BTreeSet<State>,
    taken: bool,
    last: Option<Named>,
    changed_at: Timestamp,
}

impl Default for Record {
    fn default() -> Self {
        Self { may_be: [State::Absent].into(), taken: false, last: None, changed_at: Timestamp::UNIX_EPOCH }
    }
}

/// All cases.
#[derive(Default, Clone)]
pub(super) struct Ledger {
    records: Arc<Mutex<HashMap<Place, Record>>>,
}

impl Ledger {
    /// Takes a case into one's hands; `None` if another has it.
    pub fn take(&self, place: Place) -> Option<Held> {
        let mut records = self.lock();
        let record = records.entry(place).or_default();
        if record.taken {
            return None;
        }
        record.taken = true;
        Some(Held { ledger: self.clone(), place })
    }

    /// Every case that was ever written.
    pub fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.lock().keys().copied().collect();
        places.sort_unstable();
        places
    }

    /// Named calls of before are not sent again.
    pub fn forget_names(&self) {
        self.lock().values_mut().for_each(|record| record.last = None);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A case in somebody's hands; given back when dropped.
pub(super) struct Held {
    ledger: Ledger,
    place: Place,
}

impl Held {
    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// What it may be.
    pub fn may_be(&self) -> BTreeSet<State> {
        self.with(|record| record.may_be.clone())
    }

    /// True if it is certain to be there.
    pub fn is_stored(&self) -> bool {
        self.with(|record| record.may_be.iter().all(|state| *state != State::Absent))
    }

    /// A change is asked for: from now on it may be as before or as after.
    pub fn begin(&self, change: Change) {
        self.with(|record| {
            let after: Vec<State> = record.may_be.iter().map(|state| change.of(*state)).collect();
            record.may_be.extend(after);
            record.last = None;
        });
    }

    /// The change was acknowledged.
    pub fn acknowledged(&self, change: Change, named: Option<Named>) {
        self.with(|record| {
            record.may_be = record.may_be.iter().map(|state| change.of(*state)).collect();
            record.last = named;
            record.changed_at = Timestamp::now();
        });
    }

    /// It was said that it is not there.
    pub fn is_absent(&self) {
        self.with(|record| record.may_be = [State::Absent].into());
    }

    /// The named call that changed it last.
    pub fn last(&self) -> Option<Named> {
        self.with(|record| record.last.clone())
    }

    /// When it was changed last, so far as is known.
    pub fn changed_at(&self) -> Timestamp {
        self.with(|record| record.changed_at)
    }

    fn with<T: Default>(&self, look: impl FnOnce(&mut Record) -> T) -> T {
        self.ledger.lock().get_mut(&self.place).map(look).unwrap_or_default()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.with(|record| record.taken = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(revision: u64, correction: Option<u64>) -> State {
        State::Stored { revision, correction }
    }

    #[test]
    fn an_answer_that_never_came_leaves_two_states_and_the_next_acknowledgement_one() {
        let ledger = Ledger::default();
        let held = ledger.take((0, 1)).unwrap();
        held.begin(Change::Store(1));
        held.acknowledged(Change::Store(1), None);
        assert!(held.is_stored());
        held.begin(Change::Delete);
        assert_eq!(held.may_be(), [State::Absent, stored(1, None)].into());
        assert!(!held.is_stored());
        held.begin(Change::Store(2));
        held.acknowledged(Change::Store(2), None);
        assert_eq!(held.may_be(), [stored(2, None)].into());
        held.begin(Change::Correct(3));
        held.acknowledged(Change::Correct(3), None);
        held.begin(Change::Store(4));
        held.acknowledged(Change::Store(4), None);
        assert_eq!(held.may_be(), [stored(4, Some(3))].into(), "a correction outlives the text it was made on");
    }

    #[test]
    fn a_case_is_in_one_hand_at_a_time() {
        let ledger = Ledger::default();
        let held = ledger.take((0, 1)).unwrap();
        assert!(ledger.take((0, 1)).is_none());
        assert!(ledger.take((1, 1)).is_some());
        drop(held);
        assert!(ledger.take((0, 1)).is_some());
    }
}
