//! What is known of a head beside its weights.

use serde::{Deserialize, Serialize};

use super::NgramSpec;
use crate::feedback::named_enum;

named_enum! {
    /// How many labels a text has.
    LabelKind {
        /// Exactly one: probabilities over the labels sum to 1.
        Single = "single",
        /// Any number: each label has a probability of its own.
        Multi = "multi",
    }
}

/// How well a head tells the labels of rows that it had not seen (cross-validation on its own training rows).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldOutFigures {
    /// Parts of the cross-validation.
    pub folds: usize,
    /// Share of rows whose label (single) or exact set of labels (multi) is right, 0 to 1.
    pub accuracy: f64,
    /// Share of rows with the label among the three most probable, 0 to 1.
    pub top3: f64,
    /// Mean over labels of F1, 0 to 1.
    pub macro_f1: f64,
    /// Mean over rows of F1, 0 to 1.
    pub weighted_f1: f64,
    /// Expected calibration error, 0 to 1.
    pub ece: f64,
}

fn one() -> usize {
    1
}

/// Where a head comes from and what it can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadCard {
    /// What the labels are of, as in `sentiment`.
    pub name: String,
    /// How many labels a text has.
    pub kind: LabelKind,
    /// The labels, in the order of the head's probabilities.
    pub labels: Vec<String>,
    /// Rows that it was trained on.
    pub rows: usize,
    /// SHA-256 of those rows' texts and labels, hexadecimal.
    pub data_sha256: String,
    /// Id of the encoder.
    pub encoder_id: String,
    /// SHA-256 of the encoder's weights, hexadecimal.
    pub encoder_sha256: String,
    /// N-grams that it knows.
    pub ngrams: NgramSpec,
    /// How many of them have weights.
    pub features: usize,
    /// Cost of an error against the size of the weights (the C of a support vector machine).
    pub cost: f32,
    /// Size of the n-grams beside the vector's.
    pub ngram_scale: f32,
    /// Weight of the labels' prototypes beside what the borders between labels say; 0 for none.
    #[serde(default)]
    pub prototypes: f32,
    /// Weight of n-grams learnt by themselves beside those learnt together with the vector; 0 for none.
    #[serde(default)]
    pub words_alone: f32,
    /// Parts of deep vectors that it looks at: with 1, the vector that texts are compared by; with more, states of layers below the
    /// last one too.
    #[serde(default = "one")]
    pub vector_parts: usize,
    /// True if rows of rare labels weighed more.
    pub balanced: bool,
    /// True if every row that it was trained on had a label: then the most probable label is given where none reaches its
    /// threshold.
    pub never_empty: bool,
    /// How it was judged; absent if there were too few rows to hold any out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOutFigures>,
    /// What it was trained on, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
    /// Terms of what it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Version of the taxonomy whose examples it was trained on: it says nothing of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taxonomy_version: Option<String>,
    /// Weight of what it says beside what a taxonomy's examples say, 0 to 1, as measured on texts that neither had seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
    /// Version of otklik that made it.
    pub otklik_version: String,
}
