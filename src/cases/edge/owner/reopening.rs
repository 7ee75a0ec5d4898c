//! A store that broke, and its way back: its files are closed and opened again, as after a crash.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::{Owner, after};
use crate::cases::CaseStoreError;
use crate::cases::edge::opening;

/// When a broken store is opened again for the first time, and the longest between two tries: each lasts as long as opening it after a
/// crash.
pub(super) const REOPEN_FIRST: Duration = Duration::from_millis(250);
const REOPEN_LAST: Duration = Duration::from_secs(10);

/// When a broken store is opened again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reopening {
    pub(super) due: Instant,
    /// What passes until the try after that.
    pub(super) pause: Duration,
}

impl Owner {
    pub(super) fn declare_broken(&mut self, reason: &str) {
        tracing::error!(reason, "the case store is broken; it is opened again as soon as it can be");
        self.shared.set_broken(Some(format!("{reason}; the store is opened again as soon as it can be")));
        self.flush_due = None;
        self.reopening = Some(Reopening { due: after(REOPEN_FIRST), pause: REOPEN_FIRST });
    }

    /// Opens a broken store again when it is time to: whatever was acknowledged is in the journal or in the engine's files.
    pub(super) fn reopen_if_due(&mut self) {
        let Some(Reopening { due, pause }) = self.reopening else { return };
        if due > Instant::now() {
            return;
        }
        // The index can't be stopped; callers hear meanwhile that the store is broken.
        let opened = match self.is_optimising() {
            true => Err("its index is being built".to_owned()),
            false => self.reopen(),
        };
        match opened {
            Ok(()) => {
                tracing::info!("the case store is open again");
                self.reopening = None;
                self.shared.set_broken(None);
            }
            Err(reason) => {
                let pause = pause.saturating_mul(2).min(REOPEN_LAST);
                let milliseconds = pause.as_millis() as u64;
                tracing::warn!(reason, milliseconds, "the case store can't be opened again yet; it is tried anew then");
                self.reopening = Some(Reopening { due: after(pause), pause });
            }
        }
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.join_optimiser();
        opening::check_room(&self.folder, &mut self.room).map_err(|error| error.to_string())?;
        // Their files can be open once only. Closing the engine panics where it can't write; what it lacks then the journal has.
        let closed = catch_unwind(AssertUnwindSafe(|| {
            drop(self.journal.take());
            self.shared.with_engine_alone(|engine| drop(engine.take()));
        }));
        if closed.is_err() {
            tracing::warn!("the broken case store could not be closed in order");
        }
        let opened = catch_unwind(AssertUnwindSafe(|| opening::load(&self.folder, self.shape)));
        let opened = opened.unwrap_or_else(|_| Err(CaseStoreError::Unavailable("opening it panicked".to_owned())));
        let (engine, journal) = opened.map_err(|error| error.to_string())?;
        self.journal = Some(journal);
        self.shared.with_engine_alone(|place| *place = Some(engine));
        self.unflushed = 0;
        Ok(())
    }
}
