//! Threads that share one small batch: each computes a part of the columns of every product, and all take the whole from there.
//!
//! Between two products every member has the same rows, so that norms and rounding, which cost little, are done by each for itself.
//! Numbers do not depend on how many members there are.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

/// Looks at the others' progress before a member lets another thread run.
const SPINS: usize = 20_000;

/// What members share.
pub(super) struct Team {
    /// Times that a member has come to where all meet.
    arrived: AtomicUsize,
    /// A member has ended, at the end or before it.
    broken: AtomicBool,
    /// For each member, what it computed: of the last meeting and of the one before, which others may still read.
    parts: Vec<[RwLock<Vec<f32>>; 2]>,
}

/// Another member failed.
#[derive(Debug)]
pub(super) struct Broken;

impl Team {
    pub fn new(members: usize) -> Self {
        let parts = (0..members).map(|_| Default::default()).collect();
        Self { arrived: AtomicUsize::new(0), broken: AtomicBool::new(false), parts }
    }

    /// A member, by its number from 0.
    pub fn member(&self, index: usize) -> Member<'_> {
        Member { team: Some(self), index, meetings: Cell::new(0) }
    }
}

/// One of the threads.
pub(super) struct Member<'a> {
    team: Option<&'a Team>,
    index: usize,
    meetings: Cell<usize>,
}

impl Drop for Member<'_> {
    /// Whoever still waits for this member waits in vain.
    fn drop(&mut self) {
        if let Some(team) = self.team {
            team.broken.store(true, Ordering::Release);
        }
    }
}

impl Member<'_> {
    /// The only one.
    pub fn alone() -> Self {
        Self { team: None, index: 0, meetings: Cell::new(0) }
    }

    /// How many members there are.
    pub fn count(&self) -> usize {
        self.team.map_or(1, |team| team.parts.len())
    }

    /// This member's part of so many columns, heads or what else there is; a multiple of the number of members.
    pub fn part(&self, of: usize) -> Range<usize> {
        let each = of / self.count();
        self.index * each..(self.index + 1) * each
    }

    /// Gives `part`, some columns of each row, to all, and puts those of all side by side into `whole`.
    pub fn exchange(&self, part: &mut Vec<f32>, rows: usize, whole: &mut Vec<f32>) -> Result<(), Broken> {
        let Some(team) = self.team else {
            std::mem::swap(part, whole);
            return Ok(());
        };
        let meeting = self.meetings.get();
        self.meetings.set(meeting + 1);
        let columns = part.len() / rows.max(1);
        let slot = |member: usize| team.parts.get(member).and_then(|slots| slots.get(meeting % 2));
        if let Some(slot) = slot(self.index) {
            std::mem::swap(&mut *slot.write().unwrap_or_else(PoisonError::into_inner), part);
        }
        team.meet((meeting + 1) * self.count())?;
        let width = columns * self.count();
        whole.resize(rows * width, 0.0);
        for member in 0..self.count() {
            let Some(slot) = slot(member) else { continue };
            let part = slot.read().unwrap_or_else(PoisonError::into_inner);
            for (whole, part) in whole.chunks_exact_mut(width).zip(part.chunks_exact(columns)) {
                let place = whole.get_mut(member * columns..(member + 1) * columns).unwrap_or_default();
                place.copy_from_slice(part);
            }
        }
        Ok(())
    }
}

impl Team {
    /// Waits until members have arrived so many times.
    fn meet(&self, arrivals: usize) -> Result<(), Broken> {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        let mut spins = 0;
        while self.arrived.load(Ordering::Acquire) < arrivals {
            // One that has ended may have come here first: what it did before it ended is seen by now.
            if self.broken.load(Ordering::Acquire) && self.arrived.load(Ordering::Acquire) < arrivals {
                return Err(Broken);
            }
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns that name their row and themselves.
    fn numbers(rows: usize, columns: Range<usize>) -> Vec<f32> {
        (0..rows).flat_map(|row| columns.clone().map(move |column| (row * 1_000 + column) as f32)).collect()
    }

    #[test]
    fn all_members_get_the_whole_at_every_meeting() {
        for members in [1, 2, 3] {
            let team = Team::new(members);
            std::thread::scope(|scope| {
                for index in 0..members {
                    let member = team.member(index);
                    scope.spawn(move || {
                        for meeting in 0..200 {
                            let rows = meeting % 5 + 1;
                            let mut part: Vec<f32> =
                                numbers(rows, member.part(12)).iter().map(|value| value + meeting as f32).collect();
                            let mut whole = vec![7.0; 3];
                            member.exchange(&mut part, rows, &mut whole).unwrap();
                            let expected: Vec<f32> =
                                numbers(rows, 0..12).iter().map(|value| value + meeting as f32).collect();
                            assert_eq!(whole, expected);
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn a_member_that_panics_is_not_waited_for() {
        let team = Team::new(2);
        std::thread::scope(|scope| {
            let gone = team.member(1);
            let panicked = scope.spawn(move || {
                let _gone = gone;
                panic!("broken");
            });
            assert!(panicked.join().is_err());
            let alone = team.member(0).exchange(&mut vec![1.0], 1, &mut Vec::new());
            assert!(matches!(alone, Err(Broken)));
        });
    }

    #[test]
    fn one_alone_keeps_what_it_has() {
        let (mut part, mut whole) = (vec![1.0, 2.0], Vec::new());
        Member::alone().exchange(&mut part, 1, &mut whole).unwrap();
        assert_eq!((whole, Member::alone().part(12)), (vec![1.0, 2.0], 0..12));
    }
}
