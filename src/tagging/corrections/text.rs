//! A corrected text as it is kept: its vector and its n-grams, folded and packed.

use std::cmp::Ordering;

use crate::text::{NgramCounts, NgramSpec, dampened};

/// N-grams are folded into so many columns. Those that fall together are few beside those of one text.
pub(super) const COLUMNS: usize = 1 << 16;

/// What a text is remembered and judged by: 4 bytes a value of the vector, 4 an n-gram.
#[derive(Debug, Clone, PartialEq)]
pub struct TextFeatures {
    /// Unit vector of the encoder: `[dimension]`.
    pub(super) vector: Vec<f32>,
    /// Column and count of each n-gram, by rising column.
    ngrams: Vec<(u16, u8)>,
}

impl TextFeatures {
    /// The features of a text, as masked, with its vector.
    pub fn of(text: &str, vector: Vec<f32>) -> Self {
        let counted = NgramCounts::of(text, NgramSpec::default());
        let mut ngrams: Vec<(u16, u8)> = Vec::with_capacity(counted.counts().len());
        for (hash, count) in counted.counts() {
            let column = (hash >> 16) as u16;
            let count = u8::try_from(*count).unwrap_or(u8::MAX);
            match ngrams.last_mut() {
                Some((last, sum)) if *last == column => *sum = sum.saturating_add(count),
                _ => ngrams.push((column, count)),
            }
        }
        ngrams.shrink_to_fit();
        Self { vector, ngrams }
    }

    /// Columns of the n-grams, rising.
    pub(super) fn columns(&self) -> impl Iterator<Item = u16> {
        self.ngrams.iter().map(|(column, _)| *column)
    }
}

/// How texts become numbers, as measured on those remembered.
pub(super) struct Measure {
    mean: Vec<f32>,
    /// Factor that makes centred vectors 1 long on average.
    scale: f32,
    /// How telling each column is by its rarity.
    rarity: Vec<f32>,
}

/// Mean of vectors that are known beforehand, such as those of a taxonomy's examples, and how far they lie from it. It stands for
/// a fixed number of texts, so that the first corrections are not measured by themselves alone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Background {
    mean: Vec<f32>,
    /// Mean squared distance.
    spread: f32,
}

impl Background {
    const WEIGHT: f32 = 50.0;

    /// The background that some vectors make, all of one length.
    pub fn of<'a>(vectors: impl Iterator<Item = &'a [f32]> + Clone) -> Self {
        let (mean, spread, _) = moments(vectors);
        Self { mean, spread }
    }
}

/// Mean, mean squared distance from it, and number of some vectors.
fn moments<'a>(vectors: impl Iterator<Item = &'a [f32]> + Clone) -> (Vec<f32>, f32, f32) {
    let count = vectors.clone().count() as f32;
    let mut mean = vec![0.0f32; vectors.clone().next().map_or(0, <[f32]>::len)];
    for vector in vectors.clone() {
        mean.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / count);
    }
    let spread = vectors.map(|vector| squared_distance(vector, &mean) / count).sum();
    (mean, spread, count)
}

fn squared_distance(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum()
}

/// A text as numbers.
pub(super) struct Numbers {
    /// `[dimension]`.
    pub dense: Vec<f32>,
    /// Column and value, 1 long together.
    pub sparse: Vec<(u16, f32)>,
}

impl Numbers {
    /// Squared length, with the 1 of the bias.
    pub fn square(&self) -> f32 {
        let dense: f32 = self.dense.iter().map(|value| value * value).sum();
        dense + self.sparse.iter().map(|(_, value)| value * value).sum::<f32>() + 1.0
    }
}

impl Measure {
    /// Measures texts; `with` is how many of them have each column.
    pub fn of<'a>(
        texts: impl Iterator<Item = &'a TextFeatures> + Clone,
        with: &[u32],
        background: &Background,
    ) -> Self {
        let (own, spread, count) = moments(texts.map(|text| text.vector.as_slice()));
        let known = if background.mean.len() == own.len() { Background::WEIGHT } else { 0.0 };
        let share = known / (known + count).max(1.0);
        let mut mean = own;
        if share > 0.0 {
            mean.iter_mut().zip(&background.mean).for_each(|(own, known)| *own += share * (known - *own));
        }
        let spread = share * background.spread + (1.0 - share) * spread;
        Self {
            mean,
            scale: if spread > f32::EPSILON { spread.sqrt().recip() } else { 1.0 },
            rarity: with.iter().map(|with| ((1.0 + count) / (1.0 + *with as f32)).ln() + 1.0).collect(),
        }
    }

    pub fn numbers(&self, text: &TextFeatures) -> Numbers {
        let dense = text.vector.iter().zip(&self.mean).map(|(value, mean)| (value - mean) * self.scale).collect();
        let value = |(column, count): &(u16, u8)| (*column, self.telling(*column) * dampened(u32::from(*count)));
        let mut sparse: Vec<(u16, f32)> = text.ngrams.iter().map(value).collect();
        let length = sparse.iter().map(|(_, value)| value * value).sum::<f32>().sqrt();
        sparse.iter_mut().for_each(|(_, value)| *value /= length);
        Numbers { dense, sparse }
    }

    fn telling(&self, column: u16) -> f32 {
        self.rarity.get(usize::from(column)).copied().unwrap_or(1.0)
    }
}

/// Cosine of the n-grams of two texts, 0 to 1.
pub(super) fn wording(one: &Numbers, other: &Numbers) -> f32 {
    let (mut one, mut other) = (one.sparse.iter().peekable(), other.sparse.iter().peekable());
    let mut sum = 0.0;
    while let (Some((left, value)), Some((right, weight))) = (one.peek(), other.peek()) {
        match left.cmp(right) {
            Ordering::Less => drop(one.next()),
            Ordering::Greater => drop(other.next()),
            Ordering::Equal => {
                sum += value * weight;
                one.next();
                other.next();
            }
        }
    }
    sum
}

/// Cosine of the centred vectors of two texts, -1 to 1.
pub(super) fn meaning(one: &Numbers, other: &Numbers) -> f32 {
    let dot: f32 = one.dense.iter().zip(&other.dense).map(|(one, other)| one * other).sum();
    let square = |numbers: &Numbers| numbers.dense.iter().map(|value| value * value).sum::<f32>();
    let lengths = (square(one) * square(other)).sqrt();
    if lengths > f32::EPSILON { dot / lengths } else { 0.0 }
}
