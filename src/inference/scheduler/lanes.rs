//! Two lanes that work waits in.

use std::collections::VecDeque;

/// Where work waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// Somebody waits for the answer: goes first.
    #[default]
    Interactive,
    /// Nobody does: takes the time that is left, and a promised share of it.
    Bulk,
}

/// A piece of work.
pub(super) struct Job<W> {
    /// What it costs.
    pub tokens: usize,
    pub work: W,
}

/// Work that waits, in order of arrival by lane.
pub(super) struct Lanes<W> {
    interactive: VecDeque<Job<W>>,
    bulk: VecDeque<Job<W>>,
    tokens: usize,
    /// Tokens of bulk for each one of interactive work that passes it.
    promised: f64,
    /// Tokens that bulk may take before interactive work goes on.
    owed: f64,
}

impl<W> Lanes<W> {
    /// With a share of the time for bulk, 0 to 1.
    pub fn new(bulk_share: f64) -> Self {
        let share = bulk_share.clamp(0.0, 0.99);
        let promised = share / (1.0 - share);
        Self { interactive: VecDeque::new(), bulk: VecDeque::new(), tokens: 0, promised, owed: 0.0 }
    }

    pub fn is_empty(&self) -> bool {
        self.interactive.is_empty() && self.bulk.is_empty()
    }

    /// Tokens that wait.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    pub fn push(&mut self, lane: Lane, job: Job<W>) {
        self.tokens += job.tokens;
        match lane {
            Lane::Interactive => self.interactive.push_back(job),
            Lane::Bulk => self.bulk.push_back(job),
        }
    }

    /// The work of the next turn: of one lane, at least one job, and as many more as stay within so many tokens.
    pub fn take(&mut self, tokens: usize) -> Option<(Lane, Vec<Job<W>>)> {
        let bulk = self.bulk.front().map(|job| job.tokens as f64);
        if bulk.is_some_and(|tokens| self.interactive.is_empty() || self.owed >= tokens) {
            let jobs = first(&mut self.bulk, tokens);
            let taken: usize = jobs.iter().map(|job| job.tokens).sum();
            self.tokens -= taken;
            // Time that nobody else wanted is not set against the promise.
            self.owed = if self.interactive.is_empty() { 0.0 } else { (self.owed - taken as f64).max(0.0) };
            return Some((Lane::Bulk, jobs));
        }
        let jobs = self.take_interactive(tokens);
        (!jobs.is_empty()).then_some((Lane::Interactive, jobs))
    }

    /// The same of the interactive lane alone; empty if nothing waits there.
    pub fn take_interactive(&mut self, tokens: usize) -> Vec<Job<W>> {
        let jobs = first(&mut self.interactive, tokens);
        let taken: usize = jobs.iter().map(|job| job.tokens).sum();
        self.tokens -= taken;
        if !self.bulk.is_empty() {
            self.owed += taken as f64 * self.promised;
        }
        jobs
    }
}

fn first<W>(lane: &mut VecDeque<Job<W>>, tokens: usize) -> Vec<Job<W>> {
    let mut jobs = Vec::new();
    let mut taken = 0;
    while let Some(job) = lane.pop_front_if(|job| taken == 0 || taken + job.tokens <= tokens) {
        taken += job.tokens.max(1);
        jobs.push(job);
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(share: f64, jobs: &[(Lane, usize)]) -> Lanes<usize> {
        let mut lanes = Lanes::new(share);
        for (number, (lane, tokens)) in jobs.iter().enumerate() {
            lanes.push(*lane, Job { tokens: *tokens, work: number });
        }
        lanes
    }

    fn turn(lanes: &mut Lanes<usize>, tokens: usize) -> Option<(Lane, Vec<usize>)> {
        lanes.take(tokens).map(|(lane, jobs)| (lane, jobs.into_iter().map(|job| job.work).collect()))
    }

    #[test]
    fn a_turn_takes_what_fits_in_order_and_at_least_one() {
        use Lane::Interactive;
        let mut lanes = lanes(0.1, &[(Interactive, 30), (Interactive, 30), (Interactive, 50), (Interactive, 900)]);
        assert_eq!(lanes.tokens(), 1010);
        assert_eq!(turn(&mut lanes, 100), Some((Interactive, vec![0, 1])));
        assert_eq!(turn(&mut lanes, 100), Some((Interactive, vec![2])));
        assert_eq!(turn(&mut lanes, 100), Some((Interactive, vec![3])));
        assert_eq!((turn(&mut lanes, 100), lanes.tokens(), lanes.is_empty()), (None, 0, true));
    }

    #[test]
    fn bulk_waits_for_others_but_gets_its_share() {
        for (share, least, most) in [(0.0, 0, 0), (0.25, 23, 26), (0.5, 48, 51)] {
            let mut lanes = lanes(share, &[]);
            for number in 0..200 {
                lanes.push(Lane::Interactive, Job { tokens: 20, work: number });
                lanes.push(Lane::Bulk, Job { tokens: 20, work: number });
            }
            let turns: Vec<Lane> = (0..100).filter_map(|_| lanes.take(20)).map(|(lane, _)| lane).collect();
            let bulk = turns.iter().filter(|lane| **lane == Lane::Bulk).count();
            assert!((least..=most).contains(&bulk), "{bulk} of 100 turns for a share of {share}");
            assert_eq!(turns.first(), Some(&Lane::Interactive));
        }
    }
}
