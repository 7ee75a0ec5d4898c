//! How much room the disk has for the store.
//!
//! Enters: the store's folder, and how much is about to be written. Leaves: leave to write, or [`NoRoom`]. Never here: what is written.
//!
//! The engine writes through files that are mapped into memory and longer than what they hold. Where the disk has nothing left for
//! such a page, the operating system ends the process. So a write is refused while the disk can still hold all that was promised to
//! those files, and a reserve besides.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a look at the disk is believed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes written after which the disk is looked at anew, however soon.
const LOOK_AFTER_BYTES: u64 = 4 << 20;

/// What a byte of a change takes at most: in the journal, in the engine's log, and in its own files.
const COPIES: u64 = 4;

/// The disk has too little room for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom {
    /// Megabytes that the disk has free.
    pub(super) free_mb: u64,
    /// Megabytes that it would have to have.
    pub(super) needed_mb: u64,
}

/// What a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It makes the store longer.
    Storing,
    /// It makes room in the end, and may use the reserve.
    Deleting,
}

/// Looks at the disk of one folder.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    reserve: u64,
    looked: Option<Look>,
    was_full: bool,
}

/// What a look at the disk found, and what was written since.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    free: u64,
    usage: Usage,
    written: u64,
}

/// What the files of a folder take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Usage {
    /// Bytes on the disk.
    taken: u64,
    /// Bytes within the length of files that are not on the disk yet.
    promised: u64,
}

impl Room {
    /// Of a folder, whose disk keeps `reserve` bytes free.
    pub(super) fn new(folder: &Path, reserve: u64) -> Self {
        Self { folder: folder.to_owned(), reserve, looked: None, was_full: false }
    }

    /// Whether `bytes` of changes may be written; they count as written if so.
    ///
    /// # Errors
    /// The disk can't be looked at.
    pub(super) fn take(&mut self, purpose: Purpose, bytes: u64) -> io::Result<Result<(), NoRoom>> {
        let bytes = bytes.saturating_mul(COPIES);
        let look = self.look(bytes)?;
        let reserve = match purpose {
            Purpose::Storing => self.reserve,
            Purpose::Deleting => 0,
        };
        let found = look.room_for(bytes.saturating_add(reserve));
        match found {
            Ok(()) => self.looked = Some(Look { written: look.written.saturating_add(bytes), ..look }),
            Err(NoRoom { free_mb, needed_mb }) if !self.was_full => {
                tracing::error!(
                    free_mb,
                    needed_mb,
                    "the disk of the case store is full: no case is stored until it has room"
                );
            }
            Err(_) => {}
        }
        if purpose == Purpose::Storing || found.is_err() {
            self.was_full = found.is_err();
        }
        Ok(found)
    }

    /// Whether what is stored may be written a second time, as an index is that is built anew.
    ///
    /// # Errors
    /// The disk can't be looked at.
    pub(super) fn for_a_copy(&mut self) -> io::Result<Result<(), NoRoom>> {
        self.looked = None;
        let look = self.look(0)?;
        Ok(look.room_for(look.usage.taken.saturating_add(look.usage.promised).saturating_add(self.reserve)))
    }

    /// The last look, or a new one where that is old.
    fn look(&mut self, bytes: u64) -> io::Result<Look> {
        if let Some(look) = self.looked
            && look.at.elapsed() < LOOK_EVERY
            && look.written.saturating_add(bytes) < LOOK_AFTER_BYTES
        {
            return Ok(look);
        }
        let free = fs4::available_space(&self.folder)?;
        let look = Look { at: Instant::now(), free, usage: usage(&self.folder)?, written: 0 };
        self.looked = Some(look);
        Ok(look)
    }
}

impl Look {
    fn room_for(&self, bytes: u64) -> Result<(), NoRoom> {
        let needed = self.usage.promised.saturating_add(self.written).saturating_add(bytes);
        match self.free >= needed {
            true => Ok(()),
            false => Err(NoRoom { free_mb: self.free >> 20, needed_mb: needed.div_ceil(1 << 20) }),
        }
    }
}

/// What the files of a folder and of those in it take. Files that go away meanwhile take nothing.
fn usage(folder: &Path) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                let taken = on_disk(&metadata);
                usage.taken = usage.taken.saturating_add(taken);
                usage.promised = usage.promised.saturating_add(metadata.len().saturating_sub(taken));
            }
        }
    }
    Ok(usage)
}

#[cfg(unix)]
fn on_disk(metadata: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    // The unit is 512 bytes whatever the file system's is.
    metadata.blocks().saturating_mul(512)
}

/// Where it can't be told how much of a file is on the disk, all of it is taken to be.
#[cfg(not(unix))]
fn on_disk(metadata: &std::fs::Metadata) -> u64 {
    metadata.len()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_files_were_promised_counts_beside_what_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("part")).unwrap();
        File::create(folder.path().join("part/mapped")).unwrap().set_len(8 << 20).unwrap();
        std::fs::write(folder.path().join("full"), vec![1; 1 << 20]).unwrap();
        let found = usage(folder.path()).unwrap();
        assert!(found.taken >= 1 << 20, "{found:?}");
        // A file system without holes writes them out.
        assert!(found.taken + found.promised >= 9 << 20, "{found:?}");
        assert!(found.promised <= 8 << 20, "{found:?}");
    }

    #[test]
    fn the_reserve_is_kept_from_storing_and_not_from_deleting() {
        let folder = tempfile::tempdir().unwrap();
        let mut room = Room::new(folder.path(), 0);
        assert_eq!(room.take(Purpose::Storing, 100).unwrap(), Ok(()));
        assert_eq!(room.for_a_copy().unwrap(), Ok(()));

        let mut full = Room::new(folder.path(), u64::MAX / 8);
        let NoRoom { free_mb, needed_mb } = full.take(Purpose::Storing, 100).unwrap().unwrap_err();
        assert!(free_mb < needed_mb, "{free_mb} of {needed_mb}");
        assert_eq!(full.take(Purpose::Deleting, 100).unwrap(), Ok(()));
        assert!(full.for_a_copy().unwrap().is_err());
    }

    #[test]
    fn what_was_written_since_the_last_look_is_counted() {
        let look = Look { at: Instant::now(), free: 1_000, usage: Usage { taken: 0, promised: 300 }, written: 200 };
        assert!(look.room_for(500).is_ok());
        assert!(look.room_for(501).is_err());
    }
}
