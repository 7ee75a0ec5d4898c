//! Trained heads: linear classifiers on an encoder's vector and the n-grams of the text.
//!
//! Enters: the vector of a text and its n-grams, counted once for all heads. Leaves: a calibrated probability a label, and which
//! labels are given. `training/` makes heads; here they are read, checked and asked.

mod card;
mod error;
mod file;
mod head;
mod lexicon;
mod set;
#[cfg(test)]
mod set_tests;

pub use crate::text::{NgramCounts, NgramSpec};
pub use card::{HeadCard, HeldOutFigures, LabelKind};
pub use error::HeadError;
pub use head::{Calibration, Curve, Head, HeadParts, TopCurve};
pub(crate) use head::{logit, softmax};
pub(super) use lexicon::Lexicon;
pub use set::{HeadSet, NO, SENTIMENT, ServingHead, TEAM, TOPICS, YES};
