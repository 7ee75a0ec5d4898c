//! The corrections of each party by themselves: what one taught changes no tag of another.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Background, Corrections};
use crate::inference::Party;

/// Corrections in force, by whose they are.
pub struct CorrectionsByParty {
    most: usize,
    background: Background,
    parties: RwLock<HashMap<Party, Arc<RwLock<Corrections>>>>,
    /// Of those who have taught nothing.
    none: Arc<RwLock<Corrections>>,
}

impl CorrectionsByParty {
    /// None yet; of each party and question at most `most` are kept, the newest.
    pub fn new(most: usize, background: Background) -> Self {
        let none = Arc::new(RwLock::new(Corrections::new(most, &background)));
        Self { most, background, parties: RwLock::default(), none }
    }

    /// Those of a party.
    pub fn of(&self, party: Party) -> Arc<RwLock<Corrections>> {
        let parties = self.parties.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(parties.get(&party).unwrap_or(&self.none))
    }

    /// Changes those of a party.
    pub fn change<T>(&self, party: Party, change: impl FnOnce(&mut Corrections) -> T) -> T {
        let of_party = {
            let mut parties = self.parties.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(RwLock::new(Corrections::new(self.most, &self.background)));
            Arc::clone(parties.entry(party).or_insert_with(new))
        };
        let mut corrections = of_party.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut corrections)
    }

    /// Version of those of a party; see [`Corrections::version`].
    pub fn version(&self, party: Party) -> String {
        self.of(party).read().unwrap_or_else(PoisonError::into_inner).version()
    }
}
