//! Why nothing can be learnt or measured.

use crate::inference::InferenceError;
use crate::tables::{RowPlace, TableError};
use crate::training::evaluation::EvaluationError;
use crate::training::finetune::FineTuneError;

/// Why nothing can be learnt or measured.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The table can't be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A row has a label that can't be used.
    #[error("{table}: {place}: {problem}")]
    Label {
        /// The table.
        table: String,
        /// Where the row stands.
        place: RowPlace,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// The rows together can't be learnt from.
    #[error("{0}")]
    Rows(String),
    /// A text can't be encoded.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The figures can't be made.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// The encoder can't be tuned.
    #[error(transparent)]
    FineTune(#[from] FineTuneError),
    /// What was learnt does not fit together.
    #[error("the head can't be put together: {0}")]
    Head(String),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}
