//! Brings a store of an earlier format, or of another encoder, to what this version and the configured encoder need.
//!
//! A new shard is written beside the old one, which stays as it was until the new one is whole; interrupted at any moment, the
//! migration can be run again.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::EdgeOptions;
use super::change::{Change, StoredCase};
use super::engine::{Engine, OldShard};
use super::folder::StoreFolder;
use super::journal::Journal;
use crate::cases::{Case, CaseStoreError, MigrationStep, NewCase, TenantId};

/// Cases that are copied at a time.
const PAGE: usize = 256;

/// Computes the vectors of cases, in their order, or says why not.
pub type Embed<'a> = dyn FnMut(&[Case]) -> Result<Vec<Vec<f32>>, String> + 'a;

/// Migrates the store of a folder, and says how many cases it copied; `None` if there was nothing to do. `embed` computes the vectors
/// of the cases that it is given, in their order; it is asked only if the encoder is another one. `progress` is called as it goes.
///
/// # Errors
/// `Open`: the folder is in use, can't be read or written, or vectors could not be computed.
pub fn migrate(
    folder: &Path,
    options: &EdgeOptions,
    embed: &mut Embed<'_>,
    progress: &mut dyn FnMut(MigrationStep),
) -> Result<Option<u64>, CaseStoreError> {
    let EdgeOptions { dimension, encoder_sha256, .. } = options;
    let mut folder = StoreFolder::lock_as_it_is(folder)?;
    if !folder.is_complete() || folder.serves(*dimension, encoder_sha256) {
        return Ok(None);
    }
    let embeds = !folder.has_vectors_of(*dimension, encoder_sha256);
    let fail = |problem: String| folder.error(problem);
    let (shard, old, new) = (folder.shard(), folder.beside("shard.old"), folder.beside("shard.new"));
    // Interrupted between the two renames.
    if !shard.exists() && old.exists() {
        fs::rename(&old, &shard).map_err(|error| fail(error.to_string()))?;
    }
    remove(&new).and_then(|()| remove(&old)).map_err(|error| fail(error.to_string()))?;
    let mut journal = Journal::open(&folder.journal()).map_err(|fault| fail(fault.to_string()))?;

    let mut migrated = 0;
    {
        let from = OldShard::load(&shard).map_err(|fault| fail(fault.to_string()))?;
        let to = Engine::create(&new, options.shape()).map_err(|fault| fail(fault.to_string()))?;
        let of = from.count().map_err(|fault| fail(fault.to_string()))?;
        let mut store = |cases: Vec<(TenantId, Case, Vec<f32>)>| -> Result<(), String> {
            let stored = renewed(cases, embeds, embed)?;
            to.apply(Change::Upsert(stored)).map_err(|fault| fault.to_string())
        };
        let mut next = None;
        loop {
            let (cases, after) = from.page(next, PAGE).map_err(|fault| fail(fault.to_string()))?;
            migrated += cases.len() as u64;
            store(cases).map_err(fail)?;
            progress(MigrationStep { cases: migrated, of });
            next = after;
            if next.is_none() {
                break;
            }
        }
        // What the old shard may not have yet.
        journal
            .for_each(|_, record| match Change::decode(record).map_err(|error| Problem(error.to_string()))? {
                Change::Upsert(cases) => {
                    let cases = cases.into_iter().map(|stored| (stored.tenant, stored.case, stored.vector));
                    store(cases.collect()).map_err(Problem)
                }
                deletion => to.apply(deletion).map_err(|fault| Problem(fault.to_string())),
            })
            .map_err(|Problem(problem)| fail(problem))?;
        to.flush().map_err(|fault| fail(fault.to_string()))?;
    }
    let exchange = || {
        fs::rename(&shard, &old)?;
        fs::rename(&new, &shard)
    };
    exchange().map_err(|error| fail(error.to_string()))?;
    folder.now_serves(*dimension, encoder_sha256)?;
    journal.cut().map_err(|fault| folder.error(fault))?;
    remove(&old).map_err(|error| folder.error(error))?;
    Ok(Some(migrated))
}

/// Why a record of the journal could not be migrated.
struct Problem(String);

impl From<super::journal::JournalFault> for Problem {
    fn from(fault: super::journal::JournalFault) -> Self {
        Self(fault.to_string())
    }
}

fn renewed(
    cases: Vec<(TenantId, Case, Vec<f32>)>,
    embeds: bool,
    embed: &mut Embed<'_>,
) -> Result<Vec<StoredCase>, String> {
    let only: Vec<Case> = cases.iter().map(|(_, case, _)| case.clone()).collect();
    let mut fresh = if embeds { embed(&only)?.into_iter() } else { Vec::new().into_iter() };
    let renewed = cases.into_iter().map(|(tenant, case, vector)| {
        let vector = if embeds { fresh.next().ok_or("too few vectors were computed")? } else { vector };
        StoredCase::new(&tenant, NewCase { case, vector, request_id: None })
    });
    renewed.collect()
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
