//! Where a table goes: standard output, or a file that appears under its name only when it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::compression::FileSink;
use super::{Input, TableError};

/// Where a table is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file; it is replaced if it is there.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

impl Destination {
    /// Refuses a destination that is the input itself.
    ///
    /// # Errors
    /// [`TableError::SameFile`].
    pub fn refuse_input(&self, input: &Input) -> Result<(), TableError> {
        let (Self::File(output), Input::File(input)) = (self, input) else { return Ok(()) };
        let same = match (output.canonicalize(), input.canonicalize()) {
            (Ok(output), Ok(input)) => output == input,
            _ => false,
        };
        if same { Err(TableError::SameFile { path: output.clone() }) } else { Ok(()) }
    }
}

enum Sink {
    File(Box<FileSink>),
    Stdout(BufWriter<Stdout>),
}

/// A file that is removed unless it is given its final name.
struct Temporary {
    path: PathBuf,
    target: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and its cause was told when it arose.
        let _ = fs::remove_file(&self.path);
    }
}

/// Bytes on their way to a [`Destination`]; dropped without [`Output::commit`], a file leaves nothing behind.
pub(super) struct Output {
    sink: Sink,
    temporary: Option<Temporary>,
}

impl Output {
    /// Opens the destination for writing.
    pub fn create(destination: &Destination) -> io::Result<Self> {
        let path = match destination {
            Destination::Stdout => {
                return Ok(Self { sink: Sink::Stdout(BufWriter::new(io::stdout())), temporary: None });
            }
            Destination::File(path) => path,
        };
        // A link is followed, so that the file behind it is replaced and not the link.
        let target = path.canonicalize().unwrap_or_else(|_| path.clone());
        let existing = fs::metadata(&target).ok();
        if existing.as_ref().is_some_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            // A device or a named pipe cannot be replaced by renaming.
            let file = File::options().write(true).open(&target)?;
            return Ok(Self { sink: Sink::File(Box::new(FileSink::new(file, &target)?)), temporary: None });
        }
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder; a file is wanted"));
        }
        let partial = partial_path(&target)?;
        let file = File::options().write(true).create_new(true).open(&partial)?;
        let temporary = Temporary { path: partial, target };
        if let Some(metadata) = existing {
            file.set_permissions(metadata.permissions())?;
        }
        Ok(Self { sink: Sink::File(Box::new(FileSink::new(file, path)?)), temporary: Some(temporary) })
    }

    /// Writes out what is buffered and gives the file its name.
    pub fn commit(self) -> io::Result<()> {
        let Self { sink, temporary } = self;
        let file = match sink {
            Sink::Stdout(mut stdout) => return stdout.flush(),
            Sink::File(file) => file.finish()?,
        };
        let Some(temporary) = temporary else { return Ok(()) };
        file.sync_all()?;
        fs::rename(&temporary.path, &temporary.target)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::File(file) => file.write(bytes),
            Sink::Stdout(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::File(file) => file.flush(),
            Sink::Stdout(stdout) => stdout.flush(),
        }
    }
}

/// `.NAME.XXXXXXXX.partial` beside the target: hidden, and clear about what it is if a crash leaves it.
fn partial_path(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "names no file"))?;
    let random = Uuid::new_v4().simple().to_string();
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", random.get(..8).unwrap_or(&random)));
    Ok(target.with_file_name(partial))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_only_when_committed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.csv");
        fs::write(&target, "old").unwrap();
        let destination = Destination::File(target.clone());

        let mut dropped = Output::create(&destination).unwrap();
        dropped.write_all(&[b'x'; 100_000]).unwrap();
        let during = names(folder.path());
        assert_eq!(during.len(), 2);
        assert!(during[0].starts_with(".out.csv.") && during[0].ends_with(".partial"), "{during:?}");
        drop(dropped);
        assert_eq!(
            (names(folder.path()), fs::read_to_string(&target).unwrap()),
            (vec!["out.csv".into()], "old".into())
        );

        let mut kept = Output::create(&destination).unwrap();
        kept.write_all(b"new").unwrap();
        kept.commit().unwrap();
        assert_eq!(
            (names(folder.path()), fs::read_to_string(&target).unwrap()),
            (vec!["out.csv".into()], "new".into())
        );
    }

    #[test]
    fn folders_are_refused_and_missing_ones_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let error = |path: PathBuf| Output::create(&Destination::File(path)).err().unwrap().kind();
        assert_eq!(error(folder.path().to_owned()), io::ErrorKind::IsADirectory);
        assert_eq!(error(folder.path().join("no/such/out.csv")), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_are_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.csv"), folder.path().join("link.csv"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut output = Output::create(&Destination::File(link.clone())).unwrap();
        output.write_all(b"new").unwrap();
        output.commit().unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");

        let refused = Destination::File(link).refuse_input(&Input::File(real));
        assert!(matches!(refused, Err(TableError::SameFile { .. })));

        let output = Output::create(&Destination::File("/dev/null".into())).unwrap();
        assert!(output.temporary.is_none());
        output.commit().unwrap();
    }
}
