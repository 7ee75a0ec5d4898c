//! Two lanes that work waits in, and the turns that parties take in each.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Most tokens of a party in a turn that holds all that another has: about one more text, for which the other waits half its time again.
const MOST_BESIDE_ALL: usize = 16;

/// Where work waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// Somebody waits for the answer: goes first.
    #[default]
    Interactive,
    /// Nobody does: takes the time that is left, and a promised share of it.
    Bulk,
}

impl Lane {
    /// The stable lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Interactive => "interactive",
            Lane::Bulk => "bulk",
        }
    }
}

/// Whose work it is. Parties that have work in one lane take turns there, token for token, however much each brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Party(u64);

impl Party {
    /// That of work which no party asked for.
    pub const SERVICE: Self = Self(0);

    /// That of a name. Two names that fall on one party share its turns.
    pub fn named(name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Where work waits, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Before or after the work of others.
    pub lane: Lane,
    /// Whose turns it takes.
    pub party: Party,
}

impl From<Lane> for Place {
    fn from(lane: Lane) -> Self {
        Self { lane, party: Party::default() }
    }
}

/// A piece of work.
pub(super) struct Job<W> {
    /// What it costs.
    pub tokens: usize,
    /// Whose it is.
    pub party: Party,
    pub work: W,
}

/// Work that waits, by lane.
pub(super) struct Lanes<W> {
    interactive: Turns<W>,
    bulk: Turns<W>,
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
        Self { interactive: Turns::new(), bulk: Turns::new(), tokens: 0, promised, owed: 0.0 }
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
            Lane::Interactive => self.interactive.push(job),
            Lane::Bulk => self.bulk.push(job),
        }
    }

    /// The work of the next turn: of one lane, at least one job, and as many more as stay within so many tokens; of bulk that nobody else
    /// waits beside, within `bulk_tokens`.
    pub fn take(&mut self, tokens: usize, bulk_tokens: usize) -> Option<(Lane, Vec<Job<W>>)> {
        let bulk = self.bulk.next().map(|job| job.tokens as f64);
        if bulk.is_some_and(|tokens| self.interactive.is_empty() || self.owed >= tokens) {
            let most = if self.interactive.is_empty() { bulk_tokens } else { tokens };
            let jobs = self.bulk.take(most, |_| true);
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
        self.take_interactive_if(tokens, |_| true)
    }

    /// The same, of those parties alone whose turn it is before these.
    pub fn take_interactive_before(&mut self, parties: &[Party], tokens: usize) -> Vec<Job<W>> {
        self.take_interactive_if(tokens, |party| !parties.contains(&party))
    }

    fn take_interactive_if(&mut self, tokens: usize, may: impl Fn(Party) -> bool) -> Vec<Job<W>> {
        let jobs = self.interactive.take(tokens, may);
        let taken: usize = jobs.iter().map(|job| job.tokens).sum();
        self.tokens -= taken;
        if !self.bulk.is_empty() {
            self.owed += taken as f64 * self.promised;
        }
        jobs
    }
}

/// Work of one lane: of one party in order of arrival, and of several by start-time fair queueing, the least served first.
struct Turns<W> {
    /// Parties that wait, and those that were served ahead of others and are gone; few.
    parties: Vec<Served<W>>,
    /// Where the party stood with whose work the last turn began: whoever comes anew stands there, with neither debt nor claim. While
    /// a long turn lasts he may have as much as it took.
    now: f64,
}

/// What waits of one party.
struct Served<W> {
    party: Party,
    /// Tokens served, counted as [`Turns::now`] is.
    tokens: f64,
    jobs: VecDeque<Job<W>>,
}

impl<W> Turns<W> {
    fn new() -> Self {
        Self { parties: Vec::new(), now: 0.0 }
    }

    fn is_empty(&self) -> bool {
        self.parties.iter().all(|party| party.jobs.is_empty())
    }

    fn push(&mut self, job: Job<W>) {
        let now = self.now;
        match self.parties.iter_mut().find(|served| served.party == job.party) {
            Some(served) => {
                if served.jobs.is_empty() {
                    served.tokens = served.tokens.max(now);
                }
                served.jobs.push_back(job);
            }
            None => self.parties.push(Served { party: job.party, tokens: now, jobs: VecDeque::from([job]) }),
        }
    }

    /// The party whose turn it is.
    fn first(&mut self) -> Option<&mut Served<W>> {
        let waiting = self.parties.iter_mut().filter(|served| !served.jobs.is_empty());
        waiting.min_by(|one, other| one.tokens.total_cmp(&other.tokens))
    }

    /// The job whose turn it is.
    fn next(&mut self) -> Option<&Job<W>> {
        self.first().and_then(|served| served.jobs.front())
    }

    /// The jobs whose turn it is, of parties that may: at least one, and as many more as stay within so many tokens and make nobody
    /// wait for what another brought.
    fn take(&mut self, tokens: usize, may: impl Fn(Party) -> bool) -> Vec<Job<W>> {
        let mut jobs = Vec::new();
        let mut taken = 0;
        let mut shares: Vec<Share> = Vec::new();
        while let Some(served) = self.first().filter(|served| may(served.party)) {
            let is_last = served.jobs.len() == 1;
            let goes_too = |job: &mut Job<W>| {
                taken == 0 || taken + job.tokens <= tokens && can_go_together(&shares, job.party, job.tokens, is_last)
            };
            let Some(job) = served.jobs.pop_front_if(goes_too) else { break };
            let began = served.tokens;
            served.tokens += job.tokens.max(1) as f64;
            if taken == 0 {
                self.now = self.now.max(began);
            }
            taken += job.tokens.max(1);
            match shares.iter_mut().find(|share| share.party == job.party) {
                Some(share) => (share.tokens, share.is_all) = (share.tokens + job.tokens, is_last),
                None => shares.push(Share { party: job.party, tokens: job.tokens, is_all: is_last }),
            }
            jobs.push(job);
        }
        // Whoever comes again stands where he would without being remembered.
        self.parties.retain(|served| !served.jobs.is_empty() || served.tokens > self.now);
        jobs
    }
}

/// What a turn holds of a party.
struct Share {
    party: Party,
    tokens: usize,
    /// Nothing of it is left waiting: its callers have all their answers when the turn ends, and not before.
    is_all: bool,
}

/// True if a job can go with others without keeping those waiting who ask for little. The answers of a turn come together: one text beside
/// many of another party would come as late as all of them, where by itself it goes before them.
fn can_go_together(shares: &[Share], party: Party, tokens: usize, is_last: bool) -> bool {
    let own: usize = shares.iter().filter(|share| share.party == party).map(|share| share.tokens).sum();
    let mut others = shares.iter().filter(|share| share.party != party);
    others.all(|other| {
        (!other.is_all || own + tokens <= MOST_BESIDE_ALL) && (!is_last || other.tokens <= MOST_BESIDE_ALL)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(share: f64, jobs: &[(Lane, usize)]) -> Lanes<usize> {
        let mut lanes = Lanes::new(share);
        for (number, (lane, tokens)) in jobs.iter().enumerate() {
            lanes.push(*lane, Job { tokens: *tokens, party: Party::default(), work: number });
        }
        lanes
    }

    fn turn(lanes: &mut Lanes<usize>, tokens: usize) -> Option<(Lane, Vec<usize>)> {
        lanes.take(tokens, tokens).map(|(lane, jobs)| (lane, jobs.into_iter().map(|job| job.work).collect()))
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
    fn a_turn_of_bulk_is_long_only_while_nobody_else_waits() {
        use Lane::{Bulk, Interactive};
        let mut lanes = lanes(0.5, &[(Bulk, 30); 9]);
        let turn = |lanes: &mut Lanes<usize>| lanes.take(60, 120).map(|(lane, jobs)| (lane, jobs.len()));
        assert_eq!(turn(&mut lanes), Some((Bulk, 4)));
        (0..3).for_each(|work| lanes.push(Interactive, Job { tokens: 60, party: Party::default(), work }));
        assert_eq!(turn(&mut lanes), Some((Interactive, 1)));
        assert_eq!(turn(&mut lanes), Some((Bulk, 2)), "what it is owed, and no more");
        assert_eq!(turn(&mut lanes), Some((Interactive, 1)));
    }

    #[test]
    fn bulk_waits_for_others_but_gets_its_share() {
        for (share, least, most) in [(0.0, 0, 0), (0.25, 23, 26), (0.5, 48, 51)] {
            let mut lanes = lanes(share, &[]);
            for number in 0..200 {
                for lane in [Lane::Interactive, Lane::Bulk] {
                    lanes.push(lane, Job { tokens: 20, party: Party::default(), work: number });
                }
            }
            let turns: Vec<Lane> = (0..100).filter_map(|_| lanes.take(20, 20)).map(|(lane, _)| lane).collect();
            let bulk = turns.iter().filter(|lane| **lane == Lane::Bulk).count();
            assert!((least..=most).contains(&bulk), "{bulk} of 100 turns for a share of {share}");
            assert_eq!(turns.first(), Some(&Lane::Interactive));
        }
    }

    fn of(party: u64, tokens: usize) -> Job<u64> {
        Job { tokens, party: Party(party), work: party }
    }

    #[test]
    fn parties_take_turns_by_tokens_however_much_each_brings() {
        let mut lanes = Lanes::new(0.0);
        for _ in 0..100 {
            lanes.push(Lane::Interactive, of(1, 30));
        }
        for _ in 0..4 {
            lanes.push(Lane::Interactive, of(2, 60));
        }
        let mut turns = Vec::new();
        while let Some((_, jobs)) = lanes.take(10, 10) {
            turns.extend(jobs.into_iter().map(|job| job.work));
        }
        let last = turns.iter().rposition(|party| *party == 2).unwrap();
        let before = turns.iter().take(last).filter(|party| **party == 1).count();
        assert!((6..=9).contains(&before), "two short jobs of the one for each long one of the other: {turns:?}");
        assert_eq!((turns.len(), lanes.tokens()), (104, 0));
    }

    #[test]
    fn who_comes_anew_does_not_wait_for_what_another_has_had_nor_has_a_claim_to_it() {
        let mut lanes = Lanes::new(0.0);
        let next = |lanes: &mut Lanes<u64>| lanes.take(1, 1).map(|(_, jobs)| jobs[0].work);
        for _ in 0..10 {
            lanes.push(Lane::Interactive, of(1, 100));
            assert_eq!(next(&mut lanes), Some(1));
        }
        // The first waits for answers, and asks again as soon as it has them: it is served ahead of the second and is remembered for it.
        for _ in 0..3 {
            lanes.push(Lane::Interactive, of(1, 100));
            lanes.push(Lane::Interactive, of(2, 100));
        }
        let turns: Vec<u64> = std::iter::from_fn(|| next(&mut lanes)).collect();
        assert_eq!(turns, [2, 1, 2, 1, 2, 1]);
    }

    #[test]
    fn while_a_long_turn_lasts_another_has_as_much_one_piece_after_the_other() {
        let mut lanes = Lanes::new(0.0);
        (0..20).for_each(|_| lanes.push(Lane::Interactive, of(1, 50)));
        assert_eq!(lanes.take(500, 500).unwrap().1.len(), 10);
        let mut before = 0;
        for _ in 0..20 {
            // Each time he waits for the answer first.
            lanes.push(Lane::Interactive, of(2, 50));
            before += lanes.take_interactive_before(&[Party(1)], 50).len();
        }
        assert_eq!(before, 10, "pieces of 50 tokens beside a turn of 500");
    }

    #[test]
    fn only_the_less_served_go_before_a_turn_that_is_under_way() {
        let mut lanes = Lanes::new(0.0);
        (0..4).for_each(|_| lanes.push(Lane::Interactive, of(1, 100)));
        let under_way = [Party(1)];
        assert_eq!(lanes.take(200, 200).unwrap().1.len(), 2);
        assert!(lanes.take_interactive_before(&under_way, 100).is_empty());
        (0..6).for_each(|_| lanes.push(Lane::Interactive, of(2, 60)));
        let before: Vec<u64> = lanes.take_interactive_before(&under_way, 1_000).iter().map(|job| job.work).collect();
        assert_eq!(before, [2, 2, 2, 2], "until both have had as much");
    }

    #[test]
    fn one_text_does_not_go_with_many_of_another() {
        let mut lanes = Lanes::new(0.0);
        (0..20).for_each(|_| lanes.push(Lane::Interactive, of(1, 16)));
        lanes.push(Lane::Interactive, of(2, 10));
        let turns: Vec<Vec<u64>> =
            std::iter::from_fn(|| lanes.take(160, 160).map(|(_, jobs)| jobs.into_iter().map(|job| job.work).collect()))
                .collect();
        let beside = turns.iter().find(|turn| turn.contains(&2)).unwrap();
        assert_eq!(beside.iter().filter(|party| **party == 1).count(), 1, "{turns:?}");
        assert!(turns.iter().any(|turn| turn.len() == 10), "{turns:?}");
        assert_eq!(turns.concat().len(), 21);
    }

    #[test]
    fn many_of_one_go_without_the_one_text_of_another_that_goes_before_them_then() {
        let mut lanes = Lanes::new(0.0);
        // The second has had much: its turn comes when the first has had as much.
        lanes.push(Lane::Interactive, of(2, 100));
        lanes.push(Lane::Interactive, of(1, 0));
        assert_eq!(lanes.take(1, 1).unwrap().1[0].party, Party(2));
        (0..20).for_each(|_| lanes.push(Lane::Interactive, of(1, 16)));
        lanes.push(Lane::Interactive, of(2, 10));
        let first: Vec<u64> = lanes.take(160, 160).unwrap().1.into_iter().map(|job| job.work).collect();
        assert!(first.len() >= 7 && first.iter().all(|party| *party == 1), "{first:?}");
        let before = lanes.take_interactive_before(&[Party(1)], 160);
        assert_eq!(before.iter().map(|job| job.work).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn those_who_all_have_much_or_all_have_little_go_together() {
        let mut lanes = Lanes::new(0.0);
        for _ in 0..20 {
            lanes.push(Lane::Interactive, of(1, 16));
            lanes.push(Lane::Interactive, of(2, 16));
        }
        assert_eq!(lanes.take(160, 160).unwrap().1.len(), 10);
        let mut lanes = Lanes::new(0.0);
        (1..=10).for_each(|party| lanes.push(Lane::Interactive, of(party, 16)));
        assert_eq!(lanes.take(160, 160).unwrap().1.len(), 10);
    }
}
