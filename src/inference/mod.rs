//! All that runs a transformer: weights, tokeniser, encoder, and the pool of threads that computes.
//!
//! Enters: texts and the spans in them that want a vector of their own; messages that want an answer. Leaves: vectors, answers. Of the
//! rooms that serve, the only one that names candle. Never here: taxonomy, storage, and network but for [`endpoint`], which is asked
//! only where a configuration names one.

mod bert;
mod cache;
pub mod decoder;
mod encoder;
pub mod endpoint;
mod gguf;
mod kernel;
mod kernels;
mod language_model;
pub mod measure;
pub mod parity;
mod quantised;
mod scheduler;
mod team;
mod tokens;
mod unigram;
mod weights;

#[cfg(test)]
mod tests;

pub use cache::{CacheCounts, EncodingCache};
pub use encoder::{Depth, EncodeInput, EncodePlan, Encoder, EncoderSpec, Encoding, PassOutput, Role};
pub use kernel::{Kernel, KernelMissing, LanguageModelKernel};
pub(crate) use kernels::{HalfProducts, Operand, Room, vectorise};
pub use language_model::{
    Answer, AnswerForm, ChatMessage, ChatRole, FinishReason, Generation, LanguageModel, LanguageModelError, Listener,
    Sampling, Usage,
};
pub use scheduler::{Begun, ComputePool, Lane, Party, Place, PoolCounts, PoolError, PoolOptions};
pub(crate) use weights::{BertShape, Weights};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How the states of a text's tokens become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Mean of all token states, special tokens included.
    Mean,
    /// State of the first token.
    Cls,
}

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// A language model would not fit in memory.
    #[error(
        "{} needs {needed_mb} MB with a context of {context} tokens, and {available_mb} MB are free: take a smaller model, or a \
         shorter context (language_model.context)",
        path.display()
    )]
    Memory {
        /// The file.
        path: PathBuf,
        /// What it needs, in MB.
        needed_mb: usize,
        /// What there is, in MB.
        available_mb: usize,
        /// Tokens of keys and values that are counted in.
        context: usize,
    },
    /// A GPU is wanted, and there is none to be used.
    #[error(
        "language_model.kernel is \"cuda\", and no NVIDIA GPU can be used: {problem}; allowed without one: auto, cpu, f32"
    )]
    NoGpu {
        /// What the device or the build lacks.
        problem: String,
    },
    /// The tokeniser refused a text.
    #[error("the text can't be split into tokens: {0}")]
    Tokenise(String),
    /// The chosen kernel can't run here.
    #[error(transparent)]
    Kernel(#[from] KernelMissing),
    /// The computation panicked.
    #[error("the encoder panicked")]
    Panicked,
    /// The computation failed.
    #[error("the encoder failed: {0}")]
    Compute(#[from] candle_core::Error),
}
