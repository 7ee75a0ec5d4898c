//! Labelled rows in; heads, tuned encoders and figures out.
//!
//! Enters: tables of texts that people labelled. Leaves: a [`Head`](crate::tagging::heads::Head) that tagging asks, and an
//! [`evaluation::Evaluation`] that says how good it is on rows it had not seen. Never here: the server.

mod aspects;
mod calibration;
mod error;
pub mod evaluation;
mod features;
pub mod finetune;
mod fit;
mod folds;
pub mod guard;
mod labelled;
mod lesson;
mod prequential;
mod prototypes;
pub mod shipped;
mod solver;
mod words_alone;

pub use aspects::{AspectRow, Mention, read_aspects};
pub use error::TrainingError;
pub use fit::{Fitted, HeadOptions, HeadTrainer, Stage, name_as_text};
pub use folds::{deal, split, strata};
pub use labelled::{LabelledRow, LabelledTable, TableOptions};
pub use prequential::{Prequential, PrequentialOptions, Streamed, Stretch, stream};
