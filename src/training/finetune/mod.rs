//! Fine-tuning of an encoder of the BERT family on the CPU, with a classification head that is thrown away in the end.
//!
//! Enters: an encoder's weights, rows of token ids with labels, options. Leaves: a GGUF file that takes the place of the encoder's,
//! and how well it did on the way. The forward and the backward pass are written by hand over buffers of 32-bit numbers; candle
//! multiplies matrices and stores them, where the kernels for 16 bits do not. Texts lie end to end without padding.
//!
//! Never here: taxonomies, tokenisers, the final classifier on the vectors.

mod adamw;
mod attention;
mod checkpoint;
mod dropout;
mod gelu;
mod head;
mod layer;
mod matrix;
mod measure;
mod network;
mod norm;
mod options;
mod order;
mod original;
mod parameter;
mod rounding;
mod run;
mod trainer;
mod tuned;

#[cfg(test)]
mod check;
#[cfg(test)]
mod tests;

pub use measure::HeldOut;
pub use options::{Contrast, Decay, FineTuneOptions, Objective, Products, Selection, Storage};
pub use run::{EpochResult, FineTune, Progress};
pub use tuned::Tuned;

use std::path::PathBuf;

use crate::inference::InferenceError;

/// A row to learn from: token ids as the encoder reads them, special tokens and prefix included, and class numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Token ids, at least one.
    pub tokens: Vec<u32>,
    /// Class numbers from 0; exactly one for [`Objective::SingleLabel`].
    pub labels: Vec<u32>,
}

/// Why an encoder could not be tuned.
#[derive(Debug, thiserror::Error)]
pub enum FineTuneError {
    /// The encoder can't be loaded.
    #[error(transparent)]
    Encoder(#[from] InferenceError),
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A row can't be learned from.
    #[error("{set} row {row}: {problem}")]
    Row {
        /// `training` or `held-out`.
        set: &'static str,
        /// Its index, from 0.
        row: usize,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// There is nothing to learn from.
    #[error("there are no training rows; at least one is needed")]
    NoRows,
    /// An option is out of range.
    #[error("option {name} is {value}, allowed: {least} to {most}")]
    Option {
        /// The option.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Smallest allowed value.
        least: f64,
        /// Largest allowed value.
        most: f64,
    },
    /// The checkpoint belongs to another run, or is damaged.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What does not fit, and what to do.
        problem: String,
    },
    /// The loss is no longer a number.
    #[error("the loss is not a number after step {step}; try a lower learning rate")]
    Diverged {
        /// Steps done.
        step: u64,
    },
    /// The caller asked to stop.
    #[error("stopped after step {step} of {steps}")]
    Cancelled {
        /// Steps done; the checkpoint, if there is one, holds them.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
    },
    /// The computation failed.
    #[error("the computation failed: {0}")]
    Compute(#[from] candle_core::Error),
}
