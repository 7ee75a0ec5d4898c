//! What can be wrong with rows that are to be evaluated.

/// Why no evaluation could be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvaluationError {
    /// Nothing was judged.
    #[error("there are no rows to evaluate on; at least one labelled row is needed")]
    NoRows,
    /// The model has no labels.
    #[error("the model has no labels")]
    NoLabels,
    /// Two labels have the same name.
    #[error("the label \"{label}\" stands twice among the model's labels")]
    RepeatedLabel {
        /// The name.
        label: String,
    },
    /// An option is out of its range.
    #[error("{option} is {found} and must be {allowed}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A row contradicts the labels or the task.
    #[error("row {row}: {problem}")]
    Row {
        /// Number of the row in its file.
        row: usize,
        /// What is wrong with it and what is allowed.
        problem: String,
    },
    /// The page could not be put together.
    #[error("the page of the evaluation could not be made: {problem}")]
    Page {
        /// What the template or the drawing said.
        problem: String,
    },
}
