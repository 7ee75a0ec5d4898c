//! One suggestion in the making.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::assist::Assistant;
use crate::assist::suggestion::{Slot, SlotError, SlotOutcome, SuggestRequest};

/// Slots that may be ready before they are taken.
const READY_SLOTS: usize = 8;

/// A suggestion from so many turns. Its work is done while it is asked for slots.
pub(super) struct Pass {
    revision: u32,
    /// Gives whether it panicked; `None` once it is done.
    work: Option<BoxFuture<'static, bool>>,
    slots: mpsc::Receiver<SlotOutcome>,
    /// Slots that have not come.
    missing: Vec<Slot>,
    has_panicked: bool,
}

impl Pass {
    pub(super) fn start(assistant: Arc<Assistant>, request: SuggestRequest, revision: u32) -> Self {
        let (sender, slots) = mpsc::channel(READY_SLOTS);
        let work = async move { assistant.suggest(request, sender).await };
        let work = AssertUnwindSafe(work).catch_unwind().map(|outcome| outcome.is_err());
        Self { revision, work: Some(work.boxed()), slots, missing: Slot::ALL.to_vec(), has_panicked: false }
    }

    /// How many turns it is made from.
    pub(super) fn revision(&self) -> u32 {
        self.revision
    }

    /// True if every slot has come, and nothing but a draft of the language model can.
    pub(super) fn is_writing(&self) -> bool {
        self.missing.is_empty()
    }

    /// The next slot; `None` after the last. A panic is told in each slot that it keeps from coming.
    pub(super) async fn next(&mut self) -> Option<SlotOutcome> {
        loop {
            let Some(work) = self.work.as_mut() else {
                if let Some(outcome) = self.slots.recv().await {
                    return Some(self.come(outcome));
                }
                let slot = if self.has_panicked { self.missing.pop()? } else { return None };
                return Some(SlotOutcome { slot, result: Err(SlotError::Internal("it panicked".to_owned())) });
            };
            tokio::select! {
                biased;
                Some(outcome) = self.slots.recv() => return Some(self.come(outcome)),
                has_panicked = work => {
                    (self.work, self.has_panicked) = (None, has_panicked);
                    if has_panicked && self.missing.is_empty() {
                        self.missing.push(Slot::Draft);
                    }
                }
            }
        }
    }

    fn come(&mut self, outcome: SlotOutcome) -> SlotOutcome {
        self.missing.retain(|slot| *slot != outcome.slot);
        outcome
    }
}
