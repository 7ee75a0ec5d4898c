//! Tables that are compressed: `.gz` (gzip) and `.zst` (Zstandard) behind the ending of the format.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Zstandard's level for what is written: fast, and smaller than gzip.
const ZSTD_LEVEL: i32 = 3;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// The compression that the name's last ending tells, and the name without that ending.
    pub fn of_path(path: &Path) -> Option<(Self, PathBuf)> {
        let compression = match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "gz" => Self::Gzip,
            "zst" => Self::Zstd,
            _ => return None,
        };
        Some((compression, path.with_extension("")))
    }
}

/// A file being read.
pub(super) struct OpenFile {
    /// Its content, decompressed.
    pub bytes: Box<dyn Read + Send>,
    /// How many of its own bytes were read, if it is compressed.
    pub position: Option<Arc<AtomicU64>>,
}

/// Opens a file for reading, decompressed if its name says that it is compressed.
pub(super) fn open(path: &Path) -> io::Result<OpenFile> {
    let file = File::open(path)?;
    let Some((compression, _)) = Compression::of_path(path) else {
        return Ok(OpenFile { bytes: Box::new(file), position: None });
    };
    let position = Arc::new(AtomicU64::new(0));
    let counted = BufReader::new(Counted { file, position: Arc::clone(&position) });
    let bytes: Box<dyn Read + Send> = match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(counted)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(counted)?),
    };
    Ok(OpenFile { bytes, position: Some(position) })
}

struct Counted {
    file: File,
    position: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.position.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// A file being written, compressed or not.
pub(super) enum FileSink {
    Plain(BufWriter<File>),
    Gzip(BufWriter<GzEncoder<File>>),
    Zstd(BufWriter<zstd::Encoder<'static, File>>),
}

impl FileSink {
    /// Writes to `file`, compressed as the final name `target` says.
    pub fn new(file: File, target: &Path) -> io::Result<Self> {
        Ok(match Compression::of_path(target) {
            None => Self::Plain(BufWriter::new(file)),
            Some((Compression::Gzip, _)) => {
                Self::Gzip(BufWriter::new(GzEncoder::new(file, flate2::Compression::default())))
            }
            Some((Compression::Zstd, _)) => Self::Zstd(BufWriter::new(zstd::Encoder::new(file, ZSTD_LEVEL)?)),
        })
    }

    /// Ends the compression and gives back the file.
    pub fn finish(self) -> io::Result<File> {
        match self {
            Self::Plain(writer) => writer.into_inner().map_err(io::IntoInnerError::into_error),
            Self::Gzip(writer) => writer.into_inner().map_err(io::IntoInnerError::into_error)?.finish(),
            Self::Zstd(writer) => writer.into_inner().map_err(io::IntoInnerError::into_error)?.finish(),
        }
    }
}

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(writer) => writer.write(bytes),
            Self::Gzip(writer) => writer.write(bytes),
            Self::Zstd(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer.flush(),
            Self::Gzip(writer) => writer.flush(),
            Self::Zstd(writer) => writer.flush(),
        }
    }
}
