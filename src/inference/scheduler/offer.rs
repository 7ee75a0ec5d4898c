//! A small batch that a thread offers to share with others that have nothing to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::inference::team::Team;
use crate::inference::{EncodePlan, Encoder, InferenceError, PassOutput};

/// How long a helper waits for the batch to be ready.
const PATIENCE: Duration = Duration::from_millis(2);

/// Nobody has come yet.
const OPEN: usize = 0;
/// A helper waits for the batch.
const JOINED: usize = 1;
/// The batch goes on with one thread.
const CLOSED: usize = 2;
/// The batch goes on with both.
const BEGUN: usize = 3;

/// Passes to run, shared by the threads that run them.
pub(super) type Passes = Vec<(Arc<EncodePlan>, usize)>;

/// What is offered.
pub(super) struct Offer {
    state: AtomicUsize,
    team: Team,
    batch: OnceLock<(Arc<Encoder>, Passes)>,
}

/// Threads that share a batch.
pub(super) const MEMBERS: usize = 2;

impl Offer {
    pub fn new() -> Self {
        Self { state: AtomicUsize::new(OPEN), team: Team::new(MEMBERS), batch: OnceLock::new() }
    }

    /// Runs the batch, with the helper if one has come; `None` if that failed, and the batch must be run again.
    pub fn lead(
        &self,
        encoder: &Arc<Encoder>,
        passes: &Passes,
        between: &dyn Fn(),
    ) -> Option<Result<Vec<PassOutput>, InferenceError>> {
        if self.close() {
            return None;
        }
        // It is set once, here.
        let _ = self.batch.set((Arc::clone(encoder), passes.clone()));
        if self.state.compare_exchange(JOINED, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return None;
        }
        let of_plans: Vec<(&EncodePlan, usize)> = passes.iter().map(|(plan, pass)| (&**plan, *pass)).collect();
        Some(encoder.run_as(&of_plans, &self.team.member(0), between))
    }

    /// Takes the offer back; false if a helper has come.
    fn close(&self) -> bool {
        self.state.compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Lets a helper that has come go again.
    pub fn dismiss(&self) {
        self.state.store(CLOSED, Ordering::Release);
    }

    /// What a thread does that takes the offer.
    pub fn help(&self) {
        if self.state.compare_exchange(OPEN, JOINED, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        let began = Instant::now();
        let (encoder, passes) = loop {
            match self.state.load(Ordering::Acquire) {
                BEGUN => match self.batch.get() {
                    Some(batch) => break batch,
                    None => return,
                },
                CLOSED => return,
                _ => {}
            }
            let is_late = began.elapsed() > PATIENCE;
            if is_late && self.state.compare_exchange(JOINED, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
            std::hint::spin_loop();
        };
        let of_plans: Vec<(&EncodePlan, usize)> = passes.iter().map(|(plan, pass)| (&**plan, *pass)).collect();
        // The one that leads has the same numbers, and answers.
        let _ = encoder.run_as(&of_plans, &self.team.member(1), &|| {});
    }
}
