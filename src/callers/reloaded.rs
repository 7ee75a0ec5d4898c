//! Something read from files, read again when they change.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::MissedTickBehavior;

/// Longest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What came of looking at the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// Nothing has changed since they were looked at last.
    Unchanged,
    /// What they say now is in force.
    Replaced,
    /// They are not valid; what was in force before stays.
    Refused,
}

/// Why files are of no use.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError<E> {
    /// One can't be read.
    #[error("{}: can't be read: {problem}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// One is too long to be what it should be.
    #[error("{}: has more than {MAX_FILE_BYTES} bytes", file.display())]
    TooLong {
        /// The file.
        file: PathBuf,
    },
    /// What they say is not valid.
    #[error(transparent)]
    Invalid(E),
}

/// Makes a value of the bytes of the files, in their order.
type Parse<T, E> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, E> + Send + Sync>;

/// SHA-256 of what the files held when they were looked at last; `None` if they could not be read.
type Seen = Option<[u8; 32]>;

/// A value made of files, in force until they change. The files are read whole each time they are looked at, which costs little for
/// keys and certificates and misses no change.
pub struct Reloaded<T, E> {
    what: &'static str,
    files: Vec<PathBuf>,
    parse: Parse<T, E>,
    current: RwLock<Arc<T>>,
    /// Held while the files are looked at.
    seen: Mutex<Seen>,
}

impl<T: Send + Sync + 'static, E: Display + Send + Sync + 'static> Reloaded<T, E> {
    /// Reads the files; `what` names them in the log. Blocks.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub fn open(
        what: &'static str,
        files: Vec<PathBuf>,
        parse: impl Fn(&[Vec<u8>]) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, ReloadError<E>> {
        let contents = read_all(&files)?;
        let value = parse(&contents).map_err(ReloadError::Invalid)?;
        Ok(Self {
            what,
            files,
            parse: Box::new(parse),
            current: RwLock::new(Arc::new(value)),
            seen: Mutex::new(Some(digest(&contents))),
        })
    }

    /// What is in force. It stays as it is for whoever holds it.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the files, and puts in force what they say if they changed. A fault is told once, in the log. Blocks.
    pub fn look(&self) -> Reload {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = read_all(&self.files);
        let now = contents.as_ref().ok().map(|contents| digest(contents));
        if *seen == now {
            return Reload::Unchanged;
        }
        *seen = now;
        match contents.and_then(|contents| (self.parse)(&contents).map_err(ReloadError::Invalid)) {
            Ok(value) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                tracing::info!(what = self.what, "read again");
                Reload::Replaced
            }
            Err(problem) => {
                tracing::error!(what = self.what, %problem, "what changed is not valid; what was in force before stays");
                Reload::Refused
            }
        }
    }

    /// Looks at the files again and again, for ever.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let reloaded = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || reloaded.look()).await {
                tracing::error!(what = self.what, %error, "could not be read again");
            }
        }
    }
}

fn read_all<E>(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, ReloadError<E>> {
    files.iter().map(|file| read(file)).collect()
}

fn read<E>(file: &Path) -> Result<Vec<u8>, ReloadError<E>> {
    let unreadable = |problem| ReloadError::Read { file: file.to_owned(), problem };
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ReloadError::TooLong { file: file.to_owned() });
    }
    Ok(bytes)
}

fn digest(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for content in contents {
        hasher.update((content.len() as u64).to_le_bytes());
        hasher.update(content);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_comes_into_force_and_what_is_not_valid_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| folder.path().join(name)).to_vec();
        let write = |index: usize, text: &str| std::fs::write(&files[index], text).unwrap();
        write(0, "1");
        write(1, "2");
        let sum = |contents: &[Vec<u8>]| -> Result<u32, String> {
            let numbers = contents.iter().map(|bytes| {
                let text = String::from_utf8_lossy(bytes).into_owned();
                text.parse::<u32>().map_err(|_| format!("{text:?} is no number"))
            });
            numbers.sum()
        };
        let reloaded = Reloaded::open("numbers", files.clone(), sum).unwrap();
        let held = reloaded.current();
        assert_eq!((*held, reloaded.look()), (3, Reload::Unchanged));
        write(1, "5");
        assert_eq!((reloaded.look(), *reloaded.current(), *held), (Reload::Replaced, 6, 3));
        write(1, "x");
        assert_eq!((reloaded.look(), reloaded.look()), (Reload::Refused, Reload::Unchanged), "a fault is told once");
        std::fs::remove_file(&files[0]).unwrap();
        assert_eq!((reloaded.look(), *reloaded.current()), (Reload::Refused, 6));
        write(0, "7");
        write(1, "1");
        assert_eq!((reloaded.look(), *reloaded.current()), (Reload::Replaced, 8));
        let absent = Reloaded::open("numbers", vec![folder.path().join("none")], sum).map(|_| ()).unwrap_err();
        assert!(absent.to_string().contains("none: can't be read"), "{absent}");
    }
}
