//! How good a classifier is, measured on rows that people labelled.
//!
//! Enters: the model's labels, the [`Task`] and for each row what is true and what the model says ([`Judged`]). Leaves: an
//! [`Evaluation`], which is JSON through serde, a print for a terminal ([`text`]) and a page ([`page`]). The same rows, options
//! and seed give the same bytes, in whatever order the rows come. Never here: a model, a file, the clock.

mod aspects;
mod calibration;
mod confusion;
mod coverage;
mod decimal;
mod error;
mod figures;
mod interval;
mod judged;
mod options;
mod outcome;
pub mod page;
mod per_class;
mod score;
mod shortened;
#[cfg(test)]
mod tests;
pub mod text;
mod wording;

pub use aspects::{AspectComparison, AspectEvaluation, JudgedMention, SentimentFigures};
pub use calibration::ReliabilityBin;
pub use confusion::{Confusion, ConfusionExample};
pub use coverage::CoveragePoint;
pub use error::EvaluationError;
pub use figures::Evaluation;
pub use interval::{Interval, Intervals};
pub use judged::{Judged, Task, TrueLabel};
pub use options::EvaluationOptions;
pub use per_class::ClassFigures;
