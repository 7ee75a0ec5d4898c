//! What tells that a file is still the one that it was.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes of the beginning and of the end that are compared.
const END_BYTES: u64 = 1024 * 1024;

/// Size, time and the two ends of a file: cheap to take of a file of any size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Size in bytes.
    pub size: u64,
    /// When it was last written, in nanoseconds since 1970.
    pub modified_ns: u64,
    /// SHA-256 of its first and of its last MiB, hexadecimal.
    pub ends_sha256: String,
}

impl FileIdentity {
    /// The identity of a file as it is now.
    ///
    /// # Errors
    /// What the system says if it can't be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut hash = Sha256::new();
        io::copy(&mut (&mut file).take(END_BYTES), &mut hash)?;
        file.seek(SeekFrom::Start(metadata.len().saturating_sub(END_BYTES)))?;
        io::copy(&mut file.take(END_BYTES), &mut hash)?;
        Ok(Self { size: metadata.len(), modified_ns: modified_ns(&metadata)?, ends_sha256: hex(&hash.finalize()) })
    }

    /// What is another in `now`, in words; `None` if nothing is.
    pub fn difference(&self, now: &Self) -> Option<String> {
        if self.size != now.size {
            return Some(format!("its size changed from {} to {} bytes", self.size, now.size));
        }
        if self.ends_sha256 != now.ends_sha256 {
            return Some("its content changed".to_owned());
        }
        (self.modified_ns != now.modified_ns).then(|| "it was written to (its time changed)".to_owned())
    }

    /// True if the file's size and time are still these; cheaper than all of the identity.
    ///
    /// # Errors
    /// What the system says if the file is not there.
    pub fn looks_the_same(&self, path: &Path) -> io::Result<bool> {
        let metadata = std::fs::metadata(path)?;
        Ok(metadata.len() == self.size && modified_ns(&metadata)? == self.modified_ns)
    }
}

fn modified_ns(metadata: &Metadata) -> io::Result<u64> {
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn size_content_and_time_tell_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let write = |bytes: &[u8], at: SystemTime| {
            fs::write(&path, bytes).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
            FileIdentity::of(&path).unwrap()
        };
        let mut long = vec![b'x'; 3 * 1024 * 1024];
        let first = write(&long, at);
        assert_eq!(first.difference(&write(&long, at)), None);
        assert!(first.looks_the_same(&path).unwrap());
        *long.last_mut().unwrap() = b'y';
        assert_eq!(first.difference(&write(&long, at)).unwrap(), "its content changed");
        assert!(first.difference(&write(b"x", at)).unwrap().contains("from 3145728 to 1 bytes"));
        *long.last_mut().unwrap() = b'x';
        let later = write(&long, at + Duration::from_nanos(1));
        assert!(first.difference(&later).unwrap().contains("time"));
        assert!(!first.looks_the_same(&path).unwrap());
    }
}
