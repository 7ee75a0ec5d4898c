//! Opening a store: its first files, and what a crash left in its journal.
//!
//! Enters: a folder that is locked. Leaves: the engine and the journal, which say the same. Never here: writes and reads.

use super::change::Change;
use super::engine::{Engine, Shape};
use super::folder::StoreFolder;
use super::journal::{Journal, JournalFault};
use super::room::{NoRoom, Purpose, Room};
use crate::cases::CaseStoreError;

/// A new store takes its first files, and one that crashed what its journal holds, before anybody asks for anything.
pub(super) fn check_room(folder: &StoreFolder, room: &mut Room) -> Result<(), CaseStoreError> {
    let unread = |error: std::io::Error| folder.error(format!("it can't be told how much room its disk has: {error}"));
    let (purpose, bytes) = match folder.is_complete() {
        true => (Purpose::Deleting, std::fs::metadata(folder.journal()).map_or(0, |journal| journal.len())),
        false => (Purpose::Storing, 0),
    };
    room.take(purpose, bytes).map_err(unread)?.map_err(|NoRoom { free_mb, needed_mb }| {
        folder.error(format!(
            "its disk has {free_mb} MB free and needs {needed_mb} MB (cases.reserve_mb); make room on it"
        ))
    })
}

/// Makes an empty store; until it is noted as complete, nothing can have been stored in it.
pub(super) fn create(folder: &mut StoreFolder, shape: Shape) -> Result<(Engine, Journal), CaseStoreError> {
    folder.clear()?;
    let engine = Engine::create(&folder.shard(), shape).map_err(|fault| folder.error(fault))?;
    let journal = Journal::create(&folder.journal());
    let journal = journal.map_err(|fault| folder.error(format!("the journal can't be created: {fault}")))?;
    folder.complete()?;
    Ok((engine, journal))
}

/// Loads a store and brings it to where the journal ends.
pub(super) fn load(folder: &StoreFolder, shape: Shape) -> Result<(Engine, Journal), CaseStoreError> {
    let mut journal = Journal::open(&folder.journal()).map_err(|fault| {
        folder.error(format!(
            "the journal {} can't be read ({fault}); put the whole folder back from a backup",
            folder.journal().display()
        ))
    })?;
    let engine = Engine::load(&folder.shard(), shape).map_err(|fault| {
        folder.error(format!(
            "the shard {} can't be loaded ({fault}); put the whole folder back from a backup",
            folder.shard().display()
        ))
    })?;
    if !journal.is_empty() {
        replay(&engine, &mut journal).map_err(|problem| {
            folder.error(format!("the journal could not be replayed ({problem}); nothing is lost: the journal is kept"))
        })?;
    }
    Ok((engine, journal))
}

fn replay(engine: &Engine, journal: &mut Journal) -> Result<(), ReplayFault> {
    let mut replayed = 0_u64;
    journal.for_each(|sequence, record| {
        let change = Change::decode(record).map_err(|error| ReplayFault(format!("record {sequence}: {error}")))?;
        replayed += 1;
        engine.apply(change).map_err(|fault| ReplayFault(format!("record {sequence}: {fault}")))
    })?;
    engine.flush().map_err(|fault| ReplayFault(fault.to_string()))?;
    journal.cut()?;
    tracing::info!(records = replayed, "replayed the journal of the case store");
    Ok(())
}

/// Why a journal could not be replayed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ReplayFault(String);

impl From<JournalFault> for ReplayFault {
    fn from(fault: JournalFault) -> Self {
        Self(fault.to_string())
    }
}
