//! What a caller may choose about a fine-tuning run, with defaults by the number of labels at hand.

use serde::{Deserialize, Serialize};

use super::FineTuneError;
use crate::inference::HalfProducts;

/// What the labels of a row mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Each row has exactly one label; softmax and cross-entropy.
    SingleLabel,
    /// Each row has any number of labels; one binary cross-entropy per class.
    MultiLabel,
}

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// On a line to 0.
    Linear,
    /// On half a cosine to 0.
    Cosine,
}

/// How the encoder's matrices are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Products {
    /// In 32 bits.
    Exact,
    /// With factors rounded to 16 bits (bfloat16) and sums of 32 bits, on processors that do so several times as fast (with AMX);
    /// on others in 32 bits.
    Fast,
}

impl Products {
    /// The way to multiply 16-bit numbers, if they are to be.
    pub(super) fn half(self) -> Option<HalfProducts> {
        match self {
            Self::Exact => None,
            Self::Fast => HalfProducts::get(),
        }
    }
}

/// How the best epoch is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// By the share of held-out rows whose labels are all right.
    Accuracy,
    /// By the mean of F1 over classes, each counting the same.
    MacroF1,
}

/// How the matrices that were learned are stored. Vectors stay as they are, and so do matrices that were not learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// As in the encoder's own file (16 bits for one that came from safetensors). Matrices of 4 bits (Q4_0) are rounded while they
    /// are learned, because rounding them afterwards takes back nearly all that was learned.
    AsSource,
    /// 8 bits (Q8_0), or those of the encoder's own file where they are more.
    EightBit,
    /// 16 bits (F16), or those of the encoder's own file where they are more.
    SixteenBit,
}

/// Supervised contrastive loss within a batch: vectors of like rows are drawn together, others pushed apart (Khosla et al.,
/// "Supervised Contrastive Learning", 2020).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contrast {
    /// Weight beside the classification loss, above 0.
    pub weight: f64,
    /// What cosines are divided by; 0.01 to 1.
    pub temperature: f64,
    /// Rows of one class that come together in a batch, at least 2.
    pub rows_per_class: usize,
}

/// Everything that a run depends on besides the encoder and the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineTuneOptions {
    /// What the labels mean.
    pub objective: Objective,
    /// Number of classes; labels are 0 to below it.
    pub classes: usize,
    /// Passes over the rows, 1 to 1,000.
    pub epochs: usize,
    /// Rows of one step, 1 to 4,096.
    pub batch_rows: usize,
    /// Most tokens whose intermediate values are held in memory at once (about 0.3 MB a token for a small model); a batch over it
    /// goes through the model in parts. 16 to 1,048,576.
    pub memory_tokens: usize,
    /// Highest learning rate of the topmost layer.
    pub learning_rate: f64,
    /// Highest learning rate of the classification head.
    pub head_learning_rate: f64,
    /// Factor on the learning rate from each layer to the one below it, above 0 to 1.
    pub layer_decay: f64,
    /// Share of all steps over which the learning rate rises from 0, 0 to 1.
    pub warm_up: f64,
    /// How it falls again.
    pub decay: Decay,
    /// Decoupled weight decay of the matrices, 0 to 1.
    pub weight_decay: f64,
    /// Largest norm of all gradients together; larger ones are scaled down. Above 0.
    pub clip_norm: f64,
    /// Share of states dropped in training, 0 to below 1.
    pub dropout: f64,
    /// Share of a label's weight spread over all classes, 0 to below 1; [`Objective::SingleLabel`] only.
    pub label_smoothing: f64,
    /// How far rare classes are weighted up: 0 leaves every row the same weight, 1 every class.
    pub class_balance: f64,
    /// How far the table of tokens is moved against each batch, as a share of the mean length of its rows, for a second pass whose
    /// gradients count as much as those of the first (Miyato et al., "Adversarial Training Methods for Semi-Supervised Text
    /// Classification", 2017); 0 leaves it out. A step takes twice as long. Takes the tables to be learned.
    pub adversary: f64,
    /// Weight of what two passes of each row, with different states dropped, say differently: half their symmetric divergence, beside
    /// the mean of their losses (Liang et al., "R-Drop: Regularized Dropout for Neural Networks", 2021, whose factor is twice this
    /// weight); 0 leaves it out. A step takes twice as long.
    pub consistency: f64,
    /// Passes over which the weights are averaged, exponentially: the mean is what is measured, kept and stored (Polyak and Juditsky,
    /// "Acceleration of Stochastic Approximation by Averaging", 1992). 0 keeps the weights of the last step. 0 to 1,000.
    pub average_epochs: f64,
    /// Contrastive loss beside the classification loss.
    pub contrast: Option<Contrast>,
    /// Whether the tables of tokens and positions are learned too.
    pub train_embeddings: bool,
    /// How the encoder's matrices are multiplied.
    pub products: Products,
    /// How the learned matrices are stored.
    pub storage: Storage,
    /// What makes an epoch better than another on the held-out rows; of epochs that differ by no more than chance the last is kept.
    pub selection: Selection,
    /// Epochs without a higher result on the held-out rows after which the run ends early; `None` runs to the end.
    pub patience: Option<usize>,
    /// Seconds between checkpoints within an epoch; one is written after each epoch anyway.
    pub checkpoint_seconds: u64,
    /// From which the order of rows, dropout and the first head follow.
    pub seed: u64,
}

/// Classes up to which the gentle recipe is the default.
pub const FEW_CLASSES: usize = 16;

impl FineTuneOptions {
    /// For a few rows per class, up to about 30: more epochs, and a contrastive loss in batches large enough for it.
    pub fn few_shot(classes: usize) -> Self {
        Self {
            epochs: 12,
            learning_rate: 2e-4,
            batch_rows: 128,
            label_smoothing: 0.0,
            head_learning_rate: 5e-3,
            contrast: Some(Contrast { weight: 1.0, temperature: 0.07, rows_per_class: 2 }),
            ..Self::full(classes)
        }
    }

    /// For hundreds of rows and more. Many classes lie close together, and the encoder has to move far to part them; of a few it
    /// soon learns the training rows by heart.
    pub fn full(classes: usize) -> Self {
        let (epochs, learning_rate) = if classes <= FEW_CLASSES { (4, 5e-5) } else { (8, 2e-4) };
        Self {
            objective: Objective::SingleLabel,
            classes,
            epochs,
            batch_rows: 32,
            memory_tokens: 4096,
            learning_rate,
            head_learning_rate: 2e-3,
            layer_decay: 0.9,
            warm_up: 0.1,
            decay: Decay::Linear,
            weight_decay: 0.01,
            clip_norm: 1.0,
            dropout: 0.1,
            label_smoothing: 0.1,
            class_balance: 0.0,
            adversary: 0.0,
            consistency: 0.0,
            average_epochs: 0.0,
            contrast: None,
            train_embeddings: true,
            products: Products::Fast,
            storage: Storage::EightBit,
            selection: Selection::Accuracy,
            patience: None,
            checkpoint_seconds: 300,
            seed: 1,
        }
    }

    /// The defaults for this many rows: [`Self::few_shot`] up to 30 rows per class, else [`Self::full`].
    pub fn for_rows(classes: usize, rows: usize) -> Self {
        if rows <= 30 * classes { Self::few_shot(classes) } else { Self::full(classes) }
    }

    /// # Errors
    /// [`FineTuneError::Option`] with the first option out of range.
    pub fn check(&self) -> Result<(), FineTuneError> {
        let numbers = [
            ("epochs", self.epochs as f64, 1.0, 1000.0),
            ("classes", self.classes as f64, 1.0, 100_000.0),
            ("batch_rows", self.batch_rows as f64, 1.0, 4096.0),
            ("memory_tokens", self.memory_tokens as f64, 16.0, 1_048_576.0),
            ("learning_rate", self.learning_rate, 0.0, 1.0),
            ("head_learning_rate", self.head_learning_rate, 0.0, 1.0),
            ("layer_decay", self.layer_decay, 1e-3, 1.0),
            ("warm_up", self.warm_up, 0.0, 1.0),
            ("weight_decay", self.weight_decay, 0.0, 1.0),
            ("clip_norm", self.clip_norm, 1e-6, 1e6),
            ("dropout", self.dropout, 0.0, 0.9),
            ("label_smoothing", self.label_smoothing, 0.0, 0.9),
            ("class_balance", self.class_balance, 0.0, 1.0),
            ("consistency", self.consistency, 0.0, 100.0),
            ("average_epochs", self.average_epochs, 0.0, 1000.0),
            ("adversary", self.adversary, 0.0, if self.train_embeddings { 100.0 } else { 0.0 }),
        ];
        let contrast = self.contrast.map_or(Vec::new(), |contrast| {
            vec![
                ("contrast.weight", contrast.weight, 1e-6, 1e3),
                ("contrast.temperature", contrast.temperature, 0.01, 1.0),
                ("contrast.rows_per_class", contrast.rows_per_class as f64, 2.0, 4096.0),
            ]
        });
        for (name, value, least, most) in numbers.into_iter().chain(contrast) {
            if !(least..=most).contains(&value) {
                return Err(FineTuneError::Option { name, value, least, most });
            }
        }
        Ok(())
    }
}
