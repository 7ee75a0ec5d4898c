//! Why a head can't be used.

use std::path::PathBuf;

/// Why a head can't be read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no head, or is damaged.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// The head tells nothing that is asked.
    #[error("{}: the head {name:?} with the labels {labels} can't serve: {problem}", path.display())]
    NoUse {
        /// The file.
        path: PathBuf,
        /// What the file or folder says it tells.
        name: String,
        /// Its labels, the first of them.
        labels: String,
        /// Why, and what is allowed.
        problem: String,
    },
    /// The head was made for vectors of another encoder.
    #[error(
        "{}: made for encoder {made_for} ({made_for_sha256}), this one is {encoder} ({encoder_sha256}); train the head anew or name its encoder",
        path.display()
    )]
    OtherEncoder {
        /// The file.
        path: PathBuf,
        /// The encoder that it was made for.
        made_for: String,
        /// First digits of that encoder's SHA-256.
        made_for_sha256: String,
        /// The encoder in use.
        encoder: String,
        /// First digits of its SHA-256.
        encoder_sha256: String,
    },
}
