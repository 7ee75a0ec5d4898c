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
    /// Slots that a panic kept from coming and that were not told so.
    failed: Vec<Slot>,
}

impl Pass {
    pub(super) fn start(assistant: Arc<Assistant>, request: SuggestRequest, revision: u32) -> Self {
        let (sender, slots) = mpsc::channel(READY_SLOTS);
        let work = async move { assistant.suggest(request, sender).await };
        let work = AssertUnwindSafe(work).catch_unwind().map(|outcome| outcome.is_err());
        let (missing, failed) = (Slot::ALL.to_vec(), Vec::new());
        Self { revision, work: Some(work.boxed()), slots, missing, has_panicked: false, failed }
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
                if std::mem::take(&mut self.has_panicked) {
                    self.failed = std::mem::take(&mut self.missing);
                    if self.failed.is_empty() {
                        // What is missing is the draft of the language model, which shares a slot with the template's.
                        self.failed.push(Slot::Draft);
                    }
                }
                let slot = self.failed.pop()?;
                return Some(SlotOutcome { slot, result: Err(SlotError::Internal("it panicked".to_owned())) });
            };
            tokio::select! {
                biased;
                Some(outcome) = self.slots.recv() => return Some(self.come(outcome)),
                has_panicked = work => (self.work, self.has_panicked) = (None, has_panicked),
            }
        }
    }

    fn come(&mut self, outcome: SlotOutcome) -> SlotOutcome {
        self.missing.retain(|slot| *slot != outcome.slot);
        outcome
    }
}
