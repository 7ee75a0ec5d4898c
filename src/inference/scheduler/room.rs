//! How much may wait at once, of all and of each party.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Party;

/// Tokens that wait or are computed.
pub(super) struct Room {
    limit: usize,
    /// Most of one party; the service's own work may have all.
    party_limit: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    tokens: usize,
    /// Those parties that have any; few.
    parties: Vec<(Party, usize)>,
}

/// There is none left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom {
    /// Tokens that are there.
    pub queued: usize,
    /// How many there may be.
    pub limit: usize,
}

impl Room {
    /// For so many tokens, of which one party may take a share, 0 to 1.
    pub fn new(limit: usize, party_share: f64) -> Self {
        let party_limit = (limit as f64 * party_share.clamp(0.0, 1.0)) as usize;
        Self { limit, party_limit, taken: Mutex::default() }
    }

    /// Tokens that are taken.
    pub fn tokens(&self) -> usize {
        self.lock().tokens
    }

    /// Takes room; a piece of work larger than all of it is taken where nothing else is.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn take(&self, party: Party, tokens: usize) -> Result<(), NoRoom> {
        let mut taken = self.lock();
        check(taken.tokens, tokens, self.limit)?;
        if party != Party::SERVICE {
            match taken.parties.iter_mut().find(|(known, _)| *known == party) {
                Some((_, of_party)) => {
                    check(*of_party, tokens, self.party_limit)?;
                    *of_party = of_party.saturating_add(tokens);
                }
                None => taken.parties.push((party, tokens)),
            }
        }
        taken.tokens = taken.tokens.saturating_add(tokens);
        Ok(())
    }

    /// Gives back what was taken.
    pub fn give_back(&self, party: Party, tokens: usize) {
        let mut taken = self.lock();
        taken.tokens = taken.tokens.saturating_sub(tokens);
        if let Some(at) = taken.parties.iter().position(|(known, _)| *known == party) {
            let left = taken.parties.get_mut(at).map_or(0, |(_, of_party)| {
                *of_party = of_party.saturating_sub(tokens);
                *of_party
            });
            if left == 0 {
                taken.parties.swap_remove(at);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(queued: usize, tokens: usize, limit: usize) -> Result<(), NoRoom> {
    let fits = queued == 0 || queued.saturating_add(tokens) <= limit;
    if fits { Ok(()) } else { Err(NoRoom { queued, limit }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_party_leaves_room_for_others_and_gives_back_what_it_had() {
        let room = Room::new(100, 0.75);
        let (one, other) = (Party::named("one"), Party::named("other"));
        room.take(one, 70).unwrap();
        assert_eq!(room.take(one, 10), Err(NoRoom { queued: 70, limit: 75 }));
        room.take(other, 25).unwrap();
        assert_eq!(room.take(other, 10), Err(NoRoom { queued: 95, limit: 100 }));
        room.give_back(one, 70);
        room.take(one, 75).unwrap();
        assert_eq!(room.tokens(), 100);
        room.give_back(one, 75);
        room.give_back(other, 25);
        assert_eq!((room.tokens(), room.lock().parties.len()), (0, 0));
    }

    #[test]
    fn the_service_has_all_of_it_and_work_too_large_waits_for_nobody() {
        let room = Room::new(100, 0.5);
        room.take(Party::SERVICE, 90).unwrap();
        assert!(room.take(Party::SERVICE, 20).is_err());
        room.give_back(Party::SERVICE, 90);
        room.take(Party::named("one"), 1_000).unwrap();
        assert!(room.take(Party::SERVICE, 1).is_err());
    }
}
