//! Rows as numbers: the encoder's vector and the n-grams that the training rows have.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::text::{NgramCounts, dampened};

/// What a row is judged by.
pub(crate) struct Source {
    /// The encoder's vector: `[dimension]`, or a deep one.
    pub vector: Vec<f32>,
    /// Its n-grams.
    pub ngrams: NgramCounts,
}

/// How rows become numbers, as measured on training rows.
pub(crate) struct Measure {
    /// Mean vector, as far as vectors are used.
    pub mean: Vec<f32>,
    /// Factor on each centred number: those of a block are equal, and all blocks together 1 long on average.
    pub scales: Vec<f32>,
    /// Hashes of the n-grams that count, rising.
    pub hashes: Vec<u32>,
    /// How telling each is: `ln((1 + rows) / (1 + rows with it)) + 1`.
    pub rarity: Vec<f32>,
    /// Column of each hash.
    columns: HashMap<u32, u32>,
}

impl Measure {
    /// Measures training rows. Of vectors the first `used` numbers count, in blocks of `block`; at most `most` n-grams count,
    /// those of most rows first.
    pub fn of(sources: &[Source], rows: &[usize], used: usize, block: usize, most: usize) -> Self {
        let chosen = || rows.iter().filter_map(|row| sources.get(*row));
        let dimension = chosen().next().map_or(0, |source| source.vector.len().min(used));
        let count = rows.len().max(1) as f32;
        let mut mean = vec![0.0f32; dimension];
        for source in chosen() {
            mean.iter_mut().zip(&source.vector).for_each(|(sum, value)| *sum += value / count);
        }
        let mut spreads = vec![0.0f32; dimension.div_ceil(block.max(1))];
        for source in chosen() {
            for (at, (value, mean)) in source.vector.iter().zip(&mean).enumerate() {
                if let Some(spread) = spreads.get_mut(at / block.max(1)) {
                    *spread += (value - mean).powi(2) / count;
                }
            }
        }
        let blocks = spreads.len() as f32;
        let scale = |spread: &f32| if *spread > 0.0 { (*spread * blocks).sqrt().recip() } else { 1.0 };
        let scales = spreads.iter().flat_map(|spread| std::iter::repeat_n(scale(spread), block)).take(dimension);
        let mut with: HashMap<u32, u32> = HashMap::new();
        for source in chosen() {
            for (hash, _) in source.ngrams.counts() {
                *with.entry(*hash).or_default() += 1;
            }
        }
        let mut known: Vec<(u32, u32)> = with.into_iter().collect();
        known.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(&other.0)));
        known.truncate(most);
        known.sort_unstable();
        Self {
            scales: scales.collect(),
            mean,
            rarity: known.iter().map(|(_, with)| ((1.0 + count) / (1.0 + *with as f32)).ln() + 1.0).collect(),
            columns: known.iter().map(|(hash, _)| *hash).zip(0..).collect(),
            hashes: known.into_iter().map(|(hash, _)| hash).collect(),
        }
    }

    /// Rows as numbers, all of them, in order; n-grams are `ngram_scale` long together.
    pub fn rows(&self, sources: &[Source], ngram_scale: f32) -> FeatureRows {
        let rows: Vec<FeatureRow> = sources
            .par_iter()
            .map(|source| {
                let centred = source.vector.iter().zip(&self.mean).map(|(value, mean)| value - mean);
                let dense = centred.zip(&self.scales).map(|(value, scale)| value * scale).collect();
                let mut sparse: Vec<(u32, f32)> = source
                    .ngrams
                    .counts()
                    .iter()
                    .filter_map(|(hash, count)| {
                        let column = self.columns.get(hash)?;
                        Some((*column, dampened(*count) * self.rarity.get(*column as usize)?))
                    })
                    .collect();
                let length = sparse.iter().map(|(_, value)| value * value).sum::<f32>().sqrt();
                sparse.iter_mut().for_each(|(_, value)| *value *= ngram_scale / length);
                FeatureRow { dense, sparse }
            })
            .collect();
        FeatureRows { rows, dimension: self.mean.len(), columns: self.hashes.len() }
    }
}

/// One row as numbers.
pub(crate) struct FeatureRow {
    pub dense: Vec<f32>,
    /// Column and value of each n-gram.
    pub sparse: Vec<(u32, f32)>,
}

/// All rows as numbers.
pub(crate) struct FeatureRows {
    pub rows: Vec<FeatureRow>,
    pub dimension: usize,
    pub columns: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagging::heads::NgramSpec;

    fn source(vector: &[f32], text: &str) -> Source {
        Source { vector: vector.to_vec(), ngrams: NgramCounts::of(text, NgramSpec::default()) }
    }

    #[test]
    fn training_rows_are_centred_and_of_length_one_on_average() {
        let sources = [source(&[1.0, 0.0], "да"), source(&[0.0, 1.0], "нет"), source(&[9.0, 9.0], "чужое")];
        let measure = Measure::of(&sources, &[0, 1], 2, 2, 1000);
        let rows = measure.rows(&sources, 0.5);
        let squares: Vec<f32> =
            rows.rows.iter().take(2).map(|row| row.dense.iter().map(|value| value * value).sum()).collect();
        assert!((squares.iter().sum::<f32>() / 2.0 - 1.0).abs() < 1e-5, "{squares:?}");
        let ngrams: Vec<f32> =
            rows.rows.iter().map(|row| row.sparse.iter().map(|(_, value)| value * value).sum::<f32>().sqrt()).collect();
        assert!((ngrams[0] - 0.5).abs() < 1e-5 && (ngrams[1] - 0.5).abs() < 1e-5, "{ngrams:?}");
    }

    #[test]
    fn blocks_weigh_the_same_whatever_their_spread() {
        let sources = [source(&[1.0, 9.0, 5.0], "да"), source(&[0.0, -9.0, 5.0], "нет")];
        let rows = |used| Measure::of(&sources, &[0, 1], used, 1, 1000).rows(&sources, 0.5).rows;
        assert_eq!(rows(1)[0].dense, [1.0]);
        let both = &rows(2)[0].dense;
        assert!((both[0] - 0.5f32.sqrt()).abs() < 1e-6 && (both[1] - 0.5f32.sqrt()).abs() < 1e-6, "{both:?}");
        assert_eq!(rows(3)[0].dense[2], 0.0);
    }

    #[test]
    fn only_ngrams_of_training_rows_count_and_the_frequent_first() {
        let sources = [source(&[1.0], "да да"), source(&[0.0], "да нет"), source(&[0.5], "xyz")];
        let measure = Measure::of(&sources, &[0, 1], 1, 1, usize::MAX);
        assert!(measure.rows(&sources, 1.0).rows[2].sparse.is_empty());
        let few = Measure::of(&sources, &[0, 1], 1, 1, 3);
        assert_eq!(few.hashes.len(), 3);
        assert!(few.rarity.iter().all(|rarity| (rarity - 1.0).abs() < 1e-6), "n-grams of both rows: {:?}", few.rarity);
        assert!(measure.hashes.is_sorted());
    }
}
