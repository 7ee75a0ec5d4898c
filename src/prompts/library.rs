//! The prompts in force, read again when their folder changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;

use super::problems::PromptFilesError;
use super::set::{PromptSet, files_of};

/// What came of looking at the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// Nothing has changed since it was looked at last.
    Unchanged,
    /// The prompts of now are in force.
    Replaced,
    /// A file is not valid; the prompts of before stay in force.
    Refused,
}

/// A file's name, time and size: when none differs, it is taken to be the same.
type Fingerprint = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// The prompts in force. Share it in an [`Arc`].
#[derive(Debug)]
pub struct PromptLibrary {
    built_in: PromptSet,
    folder: Option<PathBuf>,
    current: RwLock<Arc<PromptSet>>,
    /// Held while the folder is looked at.
    seen: Mutex<Option<Fingerprint>>,
    problem: RwLock<Option<Arc<PromptFilesError>>>,
}

impl PromptLibrary {
    /// The prompts that come with otklik, with those of a folder laid over them. Blocks.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn open(folder: Option<&Path>) -> Result<Self, PromptFilesError> {
        let built_in = PromptSet::built_in()?;
        // Looked at before it is read: a change in between is found the next time.
        let seen = folder.and_then(fingerprint);
        let current = match folder {
            Some(folder) => built_in.overlaid(folder)?,
            None => built_in.clone(),
        };
        Ok(Self {
            built_in,
            folder: folder.map(Path::to_owned),
            current: RwLock::new(Arc::new(current)),
            seen: Mutex::new(seen),
            problem: RwLock::new(None),
        })
    }

    /// The prompts in force. They stay as they are for whoever holds them.
    pub fn current(&self) -> Arc<PromptSet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the folder as it is now is not in force; `None` if it is.
    pub fn problem(&self) -> Option<Arc<PromptFilesError>> {
        self.problem.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the folder again if it has changed since the last time. All of its files are valid and come into force together, or
    /// the prompts of before stay. Blocks.
    pub fn reload_if_changed(&self) -> Reload {
        let Some(folder) = &self.folder else { return Reload::Unchanged };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = fingerprint(folder);
        // A folder that can't be listed has no fingerprint: it is tried, and refused with the reason.
        if *seen == now && (now.is_some() || self.problem().is_some()) {
            return Reload::Unchanged;
        }
        *seen = now;
        match self.built_in.overlaid(folder) {
            Ok(set) => {
                tracing::info!(prompts = set.len(), "prompts read again");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
                *self.problem.write().unwrap_or_else(PoisonError::into_inner) = None;
                Reload::Replaced
            }
            Err(problem) => {
                tracing::error!(%problem, "changed prompts are not valid; those of before stay in force");
                *self.problem.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(problem));
                Reload::Refused
            }
        }
    }

    /// Looks at the folder again and again, for ever.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        if self.folder.is_none() || every.is_zero() {
            return;
        }
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let library = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || library.reload_if_changed()).await {
                tracing::error!(%error, "prompts could not be read again");
            }
        }
    }
}

fn fingerprint(folder: &Path) -> Option<Fingerprint> {
    let files = files_of(folder).ok()?;
    let facts = files.into_iter().map(|path| {
        let metadata = std::fs::metadata(&path).ok();
        let time = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        (path, time, metadata.map_or(0, |metadata| metadata.len()))
    });
    Some(facts.collect())
}
