//! The last phases of the service's life, and waiting for them.

use std::future::Future;

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Aborting,
}

/// Tells everybody who shares it when to take no more work and when to drop what is left.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    phase: watch::Sender<Phase>,
}

impl Drain {
    pub(super) fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Serving) }
    }

    /// From now on no new work is taken.
    pub(super) fn begin(&self) {
        self.advance(Phase::Draining);
    }

    /// From now on no work is finished either.
    pub(super) fn abort(&self) {
        self.advance(Phase::Aborting);
    }

    pub(super) fn takes_work(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    /// Resolves when no more work is to be taken.
    pub(super) fn begun(&self) -> impl Future<Output = ()> + Send + use<> {
        self.reached(Phase::Draining)
    }

    /// Resolves when work is to be dropped.
    pub(super) fn aborted(&self) -> impl Future<Output = ()> + Send + use<> {
        self.reached(Phase::Aborting)
    }

    fn advance(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let later = next > *phase;
            if later {
                *phase = next;
            }
            later
        });
    }

    fn reached(&self, awaited: Phase) -> impl Future<Output = ()> + Send + use<> {
        // The sender is kept with the receiver: a channel without senders would resolve at once.
        let (_sender, mut receiver) = (self.phase.clone(), self.phase.subscribe());
        async move {
            let _sender = _sender;
            let _ = receiver.wait_for(|phase| *phase >= awaited).await;
        }
    }
}
