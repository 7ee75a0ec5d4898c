//! The thread that owns the store: every write, flush and the closing happen here, one after another.
//!
//! Writes that wait together are journalled in one transaction (one fsync), then applied, then answered. A write that was
//! journalled and could not be applied leaves the store broken: the journal knows more than the engine, and only opening the
//! store again brings them together. So does a disk that does not take what is to be written. A broken store refuses everything, and is
//! opened again from its folder as soon as that can be done.
//!
//! While the index is built nothing is flushed: what is deleted meanwhile the engine only remembers until the new part of the index is
//! in its place, and a flush does not write that. The journal keeps it until then.

mod planning;
mod reopening;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qdrant_edge::Filter;
use tokio::sync::oneshot;

use super::change::{Change, StoredCase};
use super::engine::{Engine, EngineFault, Shape};
use super::folder::StoreFolder;
use super::journal::{Journal, JournalFault};
use super::room::{NoRoom, Purpose, Room};
use crate::cases::{Amendment, CaseStoreError, RetagOutcome, Retagging, TenantId, UpsertOutcome, VectoredCase};
use planning::plan;
use reopening::Reopening;

/// Commands in one transaction of the journal.
const GROUP_COMMANDS: usize = 64;
/// Cases after which a group takes no further command.
const GROUP_CASES: usize = 1_024;
/// Length of the journal, in bytes, after which writes wait for an index that is being built.
const JOURNAL_LIMIT_INDEXING_BYTES: u64 = 1 << 30;
/// How soon a flush is tried again that found the index being built.
const FLUSH_AGAIN: Duration = Duration::from_millis(200);
/// Length of the journal, in bytes, after which it is flushed away whatever the options say.
const JOURNAL_LIMIT_BYTES: u64 = 64 << 20;

/// Copies the folder of a store that holds still.
pub(super) type CopyFolder = Box<dyn FnOnce(&StoreFolder) -> Result<(), String> + Send>;

type Reply<T> = oneshot::Sender<Result<T, CaseStoreError>>;

/// What the owner thread can be asked for.
pub(super) enum Command {
    /// Stores cases.
    Upsert { cases: Vec<StoredCase>, reply: Reply<Vec<UpsertOutcome>> },
    /// Keeps what is said of a case.
    Amend { tenant: TenantId, id: String, amendment: Box<Amendment>, reply: Reply<VectoredCase> },
    /// Writes tags that were made anew.
    Retag { tenant: TenantId, cases: Vec<Retagging>, reply: Reply<Vec<RetagOutcome>> },
    /// Writes everything out and holds still while the folder is copied.
    Copy { copy: CopyFolder, reply: Reply<()> },
    /// Deletes what a filter matches.
    Delete { filter: Box<Filter>, reply: Reply<u64> },
    /// Flushes and ends the thread.
    Close { reply: Reply<()> },
}

impl Command {
    fn is_abandoned(&self) -> bool {
        match self {
            Command::Upsert { reply, .. } => reply.is_closed(),
            Command::Amend { reply, .. } => reply.is_closed(),
            Command::Retag { reply, .. } => reply.is_closed(),
            Command::Copy { reply, .. } => reply.is_closed(),
            Command::Delete { reply, .. } => reply.is_closed(),
            Command::Close { .. } => false,
        }
    }
}

/// What the owner thread and the readers share.
pub(super) struct Shared {
    /// The engine; `None` once the store is closed, and while a broken one is opened again. Readers share it; the owner takes it alone while it applies a write, so that
    /// a reader sees a call's cases all or not at all.
    engine: RwLock<Option<Engine>>,
    /// Why the store is broken, while it is.
    broken: RwLock<Option<Arc<str>>>,
}

impl Shared {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine: RwLock::new(Some(engine)), broken: RwLock::new(None) }
    }

    /// Reads from the engine.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Engine) -> Result<T, EngineFault>) -> Result<T, CaseStoreError> {
        if let Some(reason) = self.broken() {
            return Err(CaseStoreError::Unavailable(reason.to_string()));
        }
        self.with_engine(read).map_err(unavailable)
    }

    /// Why the store is broken, if it is.
    pub(super) fn broken(&self) -> Option<Arc<str>> {
        self.broken.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_broken(&self, reason: Option<String>) {
        *self.broken.write().unwrap_or_else(PoisonError::into_inner) = reason.map(Arc::from);
    }

    fn with_engine<T>(&self, call: impl FnOnce(&Engine) -> Result<T, EngineFault>) -> Result<T, EngineFault> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        call(engine.as_ref().ok_or_else(closed)?)
    }

    fn with_engine_alone<T>(&self, call: impl FnOnce(&mut Option<Engine>) -> T) -> T {
        call(&mut self.engine.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn closed() -> EngineFault {
    EngineFault::new("reach the cases", "the store is closed")
}

fn unavailable(fault: EngineFault) -> CaseStoreError {
    CaseStoreError::Unavailable(fault.to_string())
}

/// Why a group of commands failed.
#[derive(Debug, thiserror::Error)]
enum GroupFault {
    /// Before anything was written: the commands may be tried again.
    #[error("{0}")]
    Planning(EngineFault),
    /// Before anything was written: the disk can't be looked at.
    #[error("could not look how much room the disk has: {0}")]
    Looking(std::io::Error),
    /// Before anything was written: the disk has no room for it.
    #[error("the disk is full")]
    Full(NoRoom),
    /// The journal failed.
    #[error("could not write the journal: {0}")]
    Journal(JournalFault),
    /// The journal has what the engine lacks.
    #[error("{0}")]
    Applying(EngineFault),
    /// A bug here.
    #[error("the store's own thread panicked")]
    Panic,
}

/// Why a group of commands was not done, for each of them to hear.
enum Refused {
    Full(NoRoom),
    Unavailable(String),
}

impl Refused {
    fn to_error(&self) -> CaseStoreError {
        match self {
            Refused::Full(NoRoom { free_mb, needed_mb }) => {
                CaseStoreError::Full { free_mb: *free_mb, needed_mb: *needed_mb }
            }
            Refused::Unavailable(reason) => CaseStoreError::Unavailable(reason.clone()),
        }
    }
}

/// What a command did, to be said when it is safe.
enum Outcome {
    Upserted(Vec<UpsertOutcome>),
    Deleted(u64),
    /// `None` if there is no such case.
    Amended(Option<Box<VectoredCase>>),
    Retagged(Vec<RetagOutcome>),
}

/// When the owner thread does what nobody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rhythm {
    /// The longest that a write stays in the journal alone.
    pub(super) flush_every: Duration,
    /// Cases written or deleted after which it is flushed earlier.
    pub(super) flush_after_ops: usize,
    /// Cases written or deleted after which the index is seen to.
    pub(super) index_after_ops: usize,
}

/// The state of the owner thread.
pub(super) struct Owner {
    shared: Arc<Shared>,
    commands: Receiver<Command>,
    /// `None` while a broken store could not be opened again.
    journal: Option<Journal>,
    folder: StoreFolder,
    room: Room,
    shape: Shape,
    rhythm: Rhythm,
    /// Cases written or deleted since the last flush.
    unflushed: usize,
    /// Cases written or deleted since the index was last looked after.
    unindexed: usize,
    /// The thread that builds the index, while it does.
    optimiser: Option<JoinHandle<()>>,
    /// When the next flush is due; `None` while there is nothing to flush, or it is due never.
    flush_due: Option<Instant>,
    /// While the store is broken, when it is opened again.
    reopening: Option<Reopening>,
}

impl Owner {
    /// The owner of an open store whose journal is empty. Flushes after a time or a number of cases, whichever comes first.
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: Receiver<Command>,
        journal: Journal,
        folder: StoreFolder,
        room: Room,
        shape: Shape,
        rhythm: Rhythm,
    ) -> Self {
        Self {
            shared,
            commands,
            journal: Some(journal),
            room,
            folder,
            shape,
            rhythm,
            unflushed: 0,
            // What an earlier process left is looked at once.
            unindexed: rhythm.index_after_ops,
            optimiser: None,
            flush_due: None,
            reopening: None,
        }
    }

    /// Serves commands until the store is closed or nobody can send any more.
    pub(super) fn run(mut self) {
        self.optimise();
        let mut held = None;
        loop {
            self.reopen_if_due();
            let first = match held.take() {
                Some(command) => command,
                None => match self.wait() {
                    Ok(command) => command,
                    Err(RecvTimeoutError::Timeout) => {
                        self.flush_if_due();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        // Nobody is left to tell; a failure was logged.
                        let _ = self.finish();
                        return;
                    }
                },
            };
            if let Command::Close { reply } = first {
                let result = self.finish();
                // The folder is free before the answer says so.
                drop(self);
                let _ = reply.send(result);
                return;
            }
            if let Command::Copy { copy, reply } = first {
                // A caller that left in the meantime does not hear that the copy was made.
                let _ = reply.send(self.copy(copy));
                continue;
            }
            let (group, next) = self.gather(first);
            held = next;
            self.serve(group);
        }
    }

    fn wait(&self) -> Result<Command, RecvTimeoutError> {
        let due = [self.flush_due, self.reopening.map(|reopening| reopening.due)].into_iter().flatten().min();
        match due {
            Some(due) => self.commands.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Commands that can be journalled together, and the first one after them. A deletion never follows an upsert in one group:
    /// its filter is matched against what the engine holds, and must not miss what was just stored. What is said of a case and new
    /// tags go alone: it is read with what the engine holds of the case, and what comes after it reads it. So does a case that was in the
    /// group before.
    fn gather(&self, first: Command) -> (Vec<Command>, Option<Command>) {
        let mut group = vec![first];
        let mut cases = 0;
        let mut has_upsert = false;
        loop {
            if let Some(Command::Amend { .. } | Command::Retag { .. }) = group.last() {
                return (group, None);
            }
            if let Some(Command::Upsert { cases: added, .. }) = group.last() {
                cases += added.len();
                has_upsert = true;
            }
            if group.len() >= GROUP_COMMANDS || cases >= GROUP_CASES {
                return (group, None);
            }
            match self.commands.try_recv() {
                Ok(
                    command @ (Command::Close { .. }
                    | Command::Amend { .. }
                    | Command::Retag { .. }
                    | Command::Copy { .. }),
                ) => {
                    return (group, Some(command));
                }
                Ok(command @ Command::Delete { .. }) if has_upsert => return (group, Some(command)),
                Ok(command) => group.push(command),
                Err(_) => return (group, None),
            }
        }
    }

    fn serve(&mut self, mut group: Vec<Command>) {
        group.retain(|command| !command.is_abandoned());
        if group.is_empty() {
            return;
        }
        let result = match self.shared.broken() {
            Some(reason) => Err(Refused::Unavailable(reason.to_string())),
            None => self.write_guarded(&mut group).map_err(|fault| match fault {
                GroupFault::Full(room) => Refused::Full(room),
                GroupFault::Planning(_) | GroupFault::Looking(_) => Refused::Unavailable(fault.to_string()),
                GroupFault::Journal(_) | GroupFault::Applying(_) | GroupFault::Panic => {
                    let reason = fault.to_string();
                    self.declare_broken(&reason);
                    Refused::Unavailable(reason)
                }
            }),
        };
        match result {
            Ok(outcomes) => {
                for (command, outcome) in group.into_iter().zip(outcomes) {
                    // A caller that left in the meantime does not hear that its write was made.
                    match (command, outcome) {
                        (Command::Upsert { reply, .. }, Outcome::Upserted(outcomes)) => drop(reply.send(Ok(outcomes))),
                        (Command::Delete { reply, .. }, Outcome::Deleted(count)) => drop(reply.send(Ok(count))),
                        (Command::Amend { id, reply, .. }, Outcome::Amended(amended)) => {
                            drop(reply.send(amended.map(|case| *case).ok_or(CaseStoreError::NotFound { id })));
                        }
                        (Command::Retag { reply, .. }, Outcome::Retagged(outcomes)) => drop(reply.send(Ok(outcomes))),
                        _ => {}
                    }
                }
                self.schedule_flush();
            }
            Err(refused) => {
                let error = || refused.to_error();
                for command in group {
                    match command {
                        Command::Upsert { reply, .. } => drop(reply.send(Err(error()))),
                        Command::Delete { reply, .. } => drop(reply.send(Err(error()))),
                        Command::Amend { reply, .. } => drop(reply.send(Err(error()))),
                        Command::Retag { reply, .. } => drop(reply.send(Err(error()))),
                        Command::Close { reply } | Command::Copy { reply, .. } => drop(reply.send(Err(error()))),
                    }
                }
            }
        }
    }

    fn write_guarded(&mut self, group: &mut [Command]) -> Result<Vec<Outcome>, GroupFault> {
        catch_unwind(AssertUnwindSafe(|| self.write(group))).unwrap_or(Err(GroupFault::Panic))
    }

    /// Journals and applies a group; one outcome a command.
    fn write(&mut self, group: &mut [Command]) -> Result<Vec<Outcome>, GroupFault> {
        let planned = self.shared.with_engine(|engine| plan(engine, group)).map_err(GroupFault::Planning)?;
        let (changes, outcomes): (Vec<Option<Change>>, Vec<Outcome>) = planned.into_iter().unzip();
        let changes: Vec<Change> = changes.into_iter().flatten().collect();
        if changes.is_empty() {
            return Ok(outcomes);
        }
        let records: Vec<Vec<u8>> = changes.iter().map(Change::encode).collect();
        let bytes = records.iter().map(|record| record.len() as u64).sum();
        let purpose = match changes.iter().all(|change| matches!(change, Change::Delete(_))) {
            true => Purpose::Deleting,
            false => Purpose::Storing,
        };
        self.room.take(purpose, bytes).map_err(GroupFault::Looking)?.map_err(GroupFault::Full)?;
        let journal = self.journal.as_mut().ok_or_else(|| GroupFault::Journal(JournalFault::closed()))?;
        journal.append(&records).map_err(GroupFault::Journal)?;
        let count = changes.iter().map(Change::len).sum::<usize>();
        self.unflushed += count;
        self.unindexed = self.unindexed.saturating_add(count);
        let applied = self.shared.with_engine_alone(|engine| {
            let engine = engine.as_ref().ok_or_else(closed)?;
            changes.into_iter().try_for_each(|change| engine.apply(change))
        });
        applied.map_err(GroupFault::Applying)?;
        Ok(outcomes)
    }

    fn journal_bytes(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::bytes)
    }

    fn schedule_flush(&mut self) {
        let now = Instant::now();
        let overdue = self.flush_due.is_some_and(|due| due <= now);
        if overdue || self.unflushed >= self.rhythm.flush_after_ops || self.journal_bytes() >= JOURNAL_LIMIT_BYTES {
            self.flush();
        } else if self.unflushed > 0 && self.flush_due.is_none() {
            self.flush_due = now.checked_add(self.rhythm.flush_every);
        }
    }

    fn flush_if_due(&mut self) {
        if self.flush_due.is_some_and(|due| due <= Instant::now()) {
            self.flush();
        }
    }

    /// Writes the engine's state out and cuts the journal; a failure leaves the store broken.
    fn flush(&mut self) {
        self.flush_due = None;
        if let Err(reason) = self.try_flush() {
            self.declare_broken(&reason);
        }
    }

    fn try_flush(&mut self) -> Result<(), String> {
        if self.shared.broken().is_some() || self.unflushed == 0 {
            return Ok(());
        }
        if self.is_optimising() {
            if self.journal_bytes() < JOURNAL_LIMIT_INDEXING_BYTES {
                self.flush_due = Instant::now().checked_add(FLUSH_AGAIN);
                return Ok(());
            }
            tracing::warn!("the journal of the case store is full; writes wait for its index");
            self.join_optimiser();
        }
        let log_is_long = self
            .shared
            .with_engine(|engine| engine.flush().map(|()| engine.log_is_long()))
            .map_err(|fault| fault.to_string())?;
        // A journal that is not cut would be replayed once more, which changes nothing; but it can't be trusted with more.
        let journal = self.journal.as_mut().ok_or_else(|| JournalFault::closed().to_string())?;
        catch_unwind(AssertUnwindSafe(|| journal.cut()))
            .unwrap_or_else(|_| Err(JournalFault::panicked()))
            .map_err(|fault| format!("could not cut the journal: {fault}"))?;
        self.unflushed = 0;
        if log_is_long {
            self.reload().map_err(|fault| fault.to_string())?;
        }
        self.optimise();
        Ok(())
    }

    /// Sees to the index on a thread of its own, if enough has changed and it is not being seen to already.
    fn optimise(&mut self) {
        if self.unindexed < self.rhythm.index_after_ops || self.is_optimising() {
            return;
        }
        match self.room.for_a_copy() {
            Ok(Ok(())) => {}
            // Searches stay right without it, and grow slower; it is tried again with the next flush.
            Ok(Err(NoRoom { free_mb, needed_mb })) => {
                return tracing::warn!(free_mb, needed_mb, "the disk has no room for the index of the case store");
            }
            Err(error) => return tracing::warn!(%error, "could not look how much room the disk has"),
        }
        let optimiser = match self.shared.with_engine(Engine::optimiser) {
            Ok(optimiser) => optimiser,
            Err(fault) => return tracing::warn!(%fault, "the index of the case store is not built"),
        };
        let started = std::thread::Builder::new().name("case-store-index".to_owned()).spawn(move || {
            let began = Instant::now();
            match optimiser() {
                Ok(true) => {
                    tracing::info!(milliseconds = began.elapsed().as_millis() as u64, "indexed the case store");
                }
                Ok(false) => {}
                // Searches stay right without it, and grow slower.
                Err(fault) => tracing::error!(%fault, "the index of the case store is not built"),
            }
        });
        match started {
            Ok(thread) => (self.optimiser, self.unindexed) = (Some(thread), 0),
            Err(error) => tracing::warn!(%error, "no thread for the index of the case store"),
        }
    }

    fn is_optimising(&self) -> bool {
        self.optimiser.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Waits for the thread that builds the index, which can't be stopped.
    fn join_optimiser(&mut self) {
        if let Some(thread) = self.optimiser.take() {
            // A panic there has been reported where it happened.
            let _ = thread.join();
        }
    }

    /// Writes everything out, waits for the index, and has the folder copied.
    fn copy(&mut self, copy: CopyFolder) -> Result<(), CaseStoreError> {
        self.join_optimiser();
        if let Err(reason) = self.try_flush() {
            self.declare_broken(&reason);
        }
        // A flush may have begun to build the index anew.
        self.join_optimiser();
        match self.shared.broken() {
            Some(reason) => Err(CaseStoreError::Unavailable(reason.to_string())),
            None => copy(&self.folder).map_err(CaseStoreError::Unavailable),
        }
    }

    /// Closes and loads the engine, which trims its log.
    fn reload(&self) -> Result<(), EngineFault> {
        self.shared.with_engine_alone(|engine| {
            drop(engine.take());
            *engine = Some(Engine::load(&self.folder.shard(), self.shape)?);
            Ok(())
        })
    }

    fn finish(&mut self) -> Result<(), CaseStoreError> {
        self.join_optimiser();
        // The index is not begun anew.
        self.rhythm.index_after_ops = usize::MAX;
        let flushed = self.try_flush();
        self.shared.with_engine_alone(|engine| drop(engine.take()));
        let reason = self.shared.broken().map(|reason| reason.to_string()).or(flushed.err());
        reason.map_or(Ok(()), |reason| Err(CaseStoreError::Unavailable(reason)))
    }
}

/// A moment from now.
fn after(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}

#[cfg(test)]
mod tests;
