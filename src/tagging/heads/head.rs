//! A head at work.

use half::f16;
use pulp::Arch;

use super::{HeadCard, LabelKind, NgramCounts};
use crate::tagging::discriminant::products;
use crate::text::dampened;

/// From margins to probabilities.
#[derive(Debug, Clone, PartialEq)]
pub enum Calibration {
    /// Softmax of the margins times a slope; then the most probable label's probability along a curve, and the others share the
    /// rest as before. For single labels.
    Softmax {
        /// The inverse of the temperature.
        slope: f32,
        /// From the most probable label's probability to how often it is right.
        top: TopCurve,
    },
    /// A curve of its own for each label, and the probability from which the label is given. For several labels.
    Curves(Vec<Curve>),
}

/// How often the most probable label is right: `logit(right) = slope * logit(probability) + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopCurve {
    /// Factor of the logit.
    pub slope: f32,
    /// Added to it.
    pub offset: f32,
}

impl TopCurve {
    /// Leaves probabilities as they are.
    pub const STRAIGHT: Self = Self { slope: 1.0, offset: 0.0 };

    /// Bends probabilities that add up to 1. The most probable label stays the most probable one.
    fn bend(self, probabilities: &mut [f32]) {
        if self == Self::STRAIGHT {
            return;
        }
        let Some(best) = most_probable(probabilities).pop() else { return };
        let top = probabilities.get(best).copied().unwrap_or(0.0);
        let rest = 1.0 - top;
        if rest <= f32::EPSILON {
            return;
        }
        let others = probabilities.iter().enumerate().filter(|(label, _)| *label != best);
        let second = others.map(|(_, probability)| *probability).fold(0.0, f32::max) / rest;
        let bent = 1.0 / (1.0 + (-(self.slope * logit(top) + self.offset)).exp());
        // Above the second by more than rounding takes away.
        let bent = bent.max(second / (1.0 + second) * 1.000_1);
        for (label, probability) in probabilities.iter_mut().enumerate() {
            *probability = if label == best { bent } else { *probability * (1.0 - bent) / rest };
        }
    }
}

/// Logarithm of the odds.
pub(crate) fn logit(probability: f32) -> f32 {
    const LEAST: f32 = 1e-6;
    let probability = probability.clamp(LEAST, 1.0 - LEAST);
    (probability / (1.0 - probability)).ln()
}

impl Calibration {
    /// Makes probabilities of margins.
    pub(crate) fn apply(&self, margins: &mut [f32]) {
        match self {
            Self::Softmax { slope, top } => {
                softmax(margins, *slope);
                top.bend(margins);
            }
            Self::Curves(curves) => {
                for (margin, curve) in margins.iter_mut().zip(curves) {
                    *margin = curve.probability(*margin);
                }
            }
        }
    }
}

/// A label's curve: probability `1 / (1 + exp(-(slope * margin + offset)))` (Platt 1999).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    /// Factor of the margin.
    pub slope: f32,
    /// Added to it.
    pub offset: f32,
    /// The label is given from this probability on, 0 to 1.
    pub threshold: f32,
}

impl Curve {
    /// Probability of the label at a margin.
    pub fn probability(&self, margin: f32) -> f32 {
        1.0 / (1.0 + (-(self.slope * margin + self.offset)).exp())
    }
}

/// What a head is made of. Matrices are row by row, a column a label.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadParts {
    /// Subtracted from the encoder's vector: `[dimension]`.
    pub mean: Vec<f32>,
    /// Weights of the vector: `[dimension][labels]`.
    pub dense: Vec<f32>,
    /// Hashes of the n-grams with weights, rising: `[features]`.
    pub hashes: Vec<u32>,
    /// How telling each n-gram is by its rarity: `[features]`.
    pub rarity: Vec<f32>,
    /// Weights of the n-grams: `[features][labels]`.
    pub sparse: Vec<f32>,
    /// Added to each margin: `[labels]`.
    pub bias: Vec<f32>,
    /// From margins to probabilities.
    pub calibration: Calibration,
}

/// A trained head.
#[derive(Debug, Clone)]
pub struct Head {
    card: HeadCard,
    parts: HeadParts,
    /// The weights of the vector, a row a label: `[labels][dimension]`.
    by_label: Vec<f32>,
    /// Rarity and weights of each n-gram side by side, as they are read: `[features][1 + labels]`.
    by_ngram: Vec<f32>,
}

/// An n-gram of a text that a head knows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct KnownNgram {
    /// Its place among the head's.
    row: usize,
    /// Its dampened count in the text.
    weight: f32,
}

impl Head {
    /// A head of its parts. Weights are rounded to the 16 bits that files keep, so that a head answers the same before and after.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn new(card: HeadCard, mut parts: HeadParts) -> Result<Self, String> {
        for weights in [&mut parts.dense, &mut parts.sparse, &mut parts.rarity] {
            weights.iter_mut().for_each(|weight| *weight = f16::from_f32(*weight).to_f32());
        }
        let labels = card.labels.len();
        let sizes = [
            ("dense", parts.dense.len(), parts.mean.len() * labels),
            ("sparse", parts.sparse.len(), parts.hashes.len() * labels),
            ("rarity", parts.rarity.len(), parts.hashes.len()),
            ("bias", parts.bias.len(), labels),
            ("features", card.features, parts.hashes.len()),
        ];
        if let Some((name, found, wanted)) = sizes.iter().find(|(_, found, wanted)| found != wanted) {
            return Err(format!("{name}: {found} values where {wanted} are needed"));
        }
        if labels < 2 && card.kind == LabelKind::Single || labels == 0 {
            return Err(format!("{labels} labels are too few to tell apart"));
        }
        match (&parts.calibration, card.kind) {
            (Calibration::Softmax { .. }, LabelKind::Single) => {}
            (Calibration::Curves(curves), LabelKind::Multi) if curves.len() == labels => {}
            _ => return Err("the calibration does not fit the labels".to_owned()),
        }
        if !parts.hashes.is_sorted_by(|one, next| one < next) {
            return Err("hashes: they do not rise".to_owned());
        }
        let numbers = [&parts.mean, &parts.dense, &parts.rarity, &parts.sparse, &parts.bias];
        if !numbers.iter().all(|part| part.iter().all(|value| value.is_finite())) {
            return Err("a weight is not finite".to_owned());
        }
        let by_label = (0..labels).flat_map(|label| parts.dense.iter().skip(label).step_by(labels).copied()).collect();
        let mut by_ngram = Vec::with_capacity(parts.hashes.len() * (1 + labels));
        for (rarity, weights) in parts.rarity.iter().zip(parts.sparse.chunks_exact(labels)) {
            by_ngram.push(*rarity);
            by_ngram.extend_from_slice(weights);
        }
        Ok(Self { card, parts, by_label, by_ngram })
    }

    /// Where it comes from and what it can do.
    pub fn card(&self) -> &HeadCard {
        &self.card
    }

    /// What it is made of.
    pub fn parts(&self) -> &HeadParts {
        &self.parts
    }

    /// Probability of each label, in the order of the card's labels. `ngrams` are counted as the card says.
    pub fn probabilities(&self, vector: &[f32], ngrams: &NgramCounts) -> Vec<f32> {
        self.probabilities_beside(vector, self.word_margins(&self.known(ngrams)))
    }

    /// The same, with the part of the margins that words decide.
    pub(in crate::tagging) fn probabilities_beside(&self, vector: &[f32], mut margins: Vec<f32>) -> Vec<f32> {
        let centred: Vec<f32> = vector.iter().zip(&self.parts.mean).map(|(value, mean)| value - mean).collect();
        let of_vector = products(self.by_label.chunks_exact(self.parts.mean.len().max(1)), &centred);
        margins.iter_mut().zip(of_vector).for_each(|(margin, of_vector)| *margin += of_vector);
        self.calibrated(margins)
    }

    /// Indices of the labels that are given for these probabilities: the most probable one, or all from their thresholds on.
    pub fn given(&self, probabilities: &[f32]) -> Vec<usize> {
        match &self.parts.calibration {
            Calibration::Softmax { .. } => most_probable(probabilities),
            Calibration::Curves(curves) => {
                let labels = probabilities.iter().zip(curves).enumerate();
                let given: Vec<usize> = labels
                    .filter(|(_, (probability, curve))| **probability >= curve.threshold)
                    .map(|(at, _)| at)
                    .collect();
                if given.is_empty() && self.card.never_empty { most_probable(probabilities) } else { given }
            }
        }
    }

    /// Rarity and weights of each n-gram, by rising hash.
    pub(super) fn by_ngram(&self) -> impl Iterator<Item = &[f32]> {
        self.by_ngram.chunks_exact(1 + self.parts.bias.len())
    }

    /// The part of each label's margin that words decide, whatever the vector.
    fn word_margins(&self, known: &[KnownNgram]) -> Vec<f32> {
        let labels = self.parts.bias.len();
        let row = |ngram: &KnownNgram| {
            let row = self.by_ngram.get(ngram.row * (1 + labels)..(ngram.row + 1) * (1 + labels))?;
            let (rarity, weights) = row.split_first()?;
            Some((ngram.weight * rarity, weights))
        };
        let known: Vec<(f32, &[f32])> = known.iter().filter_map(row).collect();
        let length = known.iter().map(|(value, _)| value * value).sum::<f32>().sqrt();
        let mut margins = self.parts.bias.clone();
        Arch::new().dispatch(|| {
            for (value, weights) in &known {
                let value = value / length;
                margins.iter_mut().zip(*weights).for_each(|(margin, weight)| *margin += value * weight);
            }
        });
        margins
    }

    /// The n-grams of a text that it knows. Where many texts are asked about, a [`Lexicon`](super::Lexicon) is faster.
    fn known(&self, ngrams: &NgramCounts) -> Vec<KnownNgram> {
        debug_assert_eq!(ngrams.spec(), self.card.ngrams);
        let known = |(hash, count): &(u32, u32)| {
            let row = self.parts.hashes.binary_search(hash).ok()?;
            Some(KnownNgram { row, weight: dampened(*count) })
        };
        ngrams.counts().iter().filter_map(known).collect()
    }

    pub(crate) fn calibrated(&self, mut margins: Vec<f32>) -> Vec<f32> {
        self.parts.calibration.apply(&mut margins);
        margins
    }
}

/// The most probable label, of equally probable ones the first.
fn most_probable(probabilities: &[f32]) -> Vec<usize> {
    let best = probabilities.iter().enumerate().rev().max_by(|one, other| one.1.total_cmp(other.1));
    best.map(|(label, _)| label).into_iter().collect()
}

/// Makes probabilities of margins.
pub(crate) fn softmax(margins: &mut [f32], slope: f32) {
    let most = margins.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for margin in margins.iter_mut() {
        *margin = ((*margin - most) * slope).exp();
        sum += *margin;
    }
    margins.iter_mut().for_each(|margin| *margin /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_probable_label_stays_in_front_however_flat_the_curve() {
        for (slope, offset) in [(0.01, -3.0), (0.3, -1.0), (2.0, 1.0)] {
            let calibration = Calibration::Softmax { slope: 1.0, top: TopCurve { slope, offset } };
            for margins in [[0.5, 0.49, 0.1, 0.0], [0.1, 3.0, 2.9, -1.0], [0.0, 0.0, 0.1, 0.09]] {
                let before = most_probable(&margins);
                let mut bent = margins;
                calibration.apply(&mut bent);
                assert_eq!(most_probable(&bent), before, "{margins:?} to {bent:?}");
                let best = bent[before[0]];
                assert_eq!(bent.iter().filter(|probability| **probability >= best).count(), 1, "{bent:?}");
                assert!((bent.iter().sum::<f32>() - 1.0).abs() < 1e-3, "{bent:?}");
            }
        }
    }
}
