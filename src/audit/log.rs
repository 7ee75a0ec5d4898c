//! The log that is written: one thread, which makes many records durable at once.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::chain::{AuditRecord, Event};
use super::files::{Chain, files, name};

/// Records that wait to be written.
const QUEUE: usize = 1_024;

/// Most records that are made durable at once.
const TOGETHER: usize = 256;

/// Why something was not noted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit log can't be written in {folder}: {problem}")]
pub struct AuditError {
    /// The folder.
    pub folder: String,
    /// What is wrong.
    pub problem: String,
}

/// An event on its way to the file, and who waits for it.
struct Entry {
    event: Event,
    done: Option<oneshot::Sender<Result<(), AuditError>>>,
}

/// The log of a service.
pub struct AuditLog {
    folder: String,
    entries: Option<mpsc::Sender<Entry>>,
    writer: Option<JoinHandle<()>>,
}

impl AuditLog {
    /// Goes on with the log of a folder, which is made if it is not there; a file of more than `file_bytes` is followed by another.
    /// Blocks.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn open(folder: &Path, file_bytes: u64) -> Result<Self, AuditError> {
        let shown = folder.display().to_string();
        let fault = |error: io::Error| AuditError { folder: shown.clone(), problem: error.to_string() };
        let writer = Writer::open(folder, file_bytes).map_err(fault)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(receiver));
        let thread = thread.map_err(fault)?;
        Ok(Self { folder: shown, entries: Some(sender), writer: Some(thread) })
    }

    /// Notes what was done; when this returns, the record survives a crash.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn note(&self, event: Event) -> Result<(), AuditError> {
        let (done, written) = oneshot::channel();
        self.send(Entry { event, done: Some(done) }).await?;
        written.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// Notes what was looked at; it is written soon, and whoever looks does not wait for it unless too many records do.
    ///
    /// # Errors
    /// [`AuditError`] if nothing is written any more.
    pub async fn note_soon(&self, event: Event) -> Result<(), AuditError> {
        self.send(Entry { event, done: None }).await
    }

    async fn send(&self, entry: Entry) -> Result<(), AuditError> {
        let entries = self.entries.as_ref().ok_or_else(|| self.closed())?;
        entries.send(entry).await.map_err(|_| self.closed())
    }

    fn closed(&self) -> AuditError {
        AuditError { folder: self.folder.clone(), problem: "it is closed".to_owned() }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        drop(self.entries.take());
        if let Some(writer) = self.writer.take() {
            // A panic there has been reported where it happened.
            let _ = writer.join();
        }
    }
}

/// What writes.
struct Writer {
    folder: PathBuf,
    file_bytes: u64,
    file: File,
    bytes: u64,
    chain: Chain,
}

impl Writer {
    fn open(folder: &Path, file_bytes: u64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let last = files(folder)?.pop();
        let (chain, path, bytes) = match last {
            Some(path) => {
                let (chain, bytes) = Chain::at_end_of(&path)?;
                (chain, path, bytes)
            }
            None => (Chain::default(), folder.join(name(1)), 0),
        };
        // Never truncated as a whole: a cut-off line at its end alone is taken away.
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let torn = file.metadata()?.len() > bytes;
        if torn {
            tracing::warn!(file = %path.display(), "a record that a crash cut off is taken away; it was acknowledged to nobody");
            file.set_len(bytes)?;
        }
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        let chain = if chain.number == 0 { Self::before(folder, &path)? } else { chain };
        Ok(Self { folder: folder.to_owned(), file_bytes, file, bytes, chain })
    }

    /// Where the chain stands before a file without records: at the end of the one before it.
    fn before(folder: &Path, path: &Path) -> io::Result<Chain> {
        let mut earlier = files(folder)?;
        earlier.retain(|other| other.as_path() < path);
        match earlier.pop() {
            Some(before) => Ok(Chain::at_end_of(&before)?.0),
            None => Ok(Chain::default()),
        }
    }

    fn run(mut self, mut entries: mpsc::Receiver<Entry>) {
        let mut together = Vec::with_capacity(TOGETHER);
        while entries.blocking_recv_many(&mut together, TOGETHER) > 0 {
            let (events, waiting): (Vec<Event>, Vec<_>) =
                together.drain(..).map(|Entry { event, done }| (event, done)).unzip();
            let written = self
                .write(events)
                .map_err(|error| AuditError { folder: self.folder.display().to_string(), problem: error.to_string() });
            if let Err(error) = &written {
                tracing::error!(%error, records = waiting.len(), "audit records were not written");
            }
            for done in waiting.into_iter().flatten() {
                // Whoever left does not hear of it.
                let _ = done.send(written.clone());
            }
        }
    }

    /// Writes events and makes them durable; if that fails, none of them is in the file.
    fn write(&mut self, events: Vec<Event>) -> io::Result<()> {
        if self.bytes >= self.file_bytes {
            let path = self.folder.join(name(self.chain.number + 1));
            self.file = OpenOptions::new().create(true).append(true).open(path)?;
            File::open(&self.folder)?.sync_all()?;
            self.bytes = 0;
        }
        let (mut chain, mut lines) = (self.chain.clone(), Vec::new());
        for event in events {
            let record = AuditRecord::behind(chain.number + 1, &chain.hash, event)?;
            serde_json::to_writer(&mut lines, &record)?;
            lines.push(b'\n');
            chain = Chain { number: record.number, hash: record.hash };
        }
        let written = self.file.write_all(&lines).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What was written of it must not stand before what is written next.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        self.chain = chain;
        Ok(())
    }
}
