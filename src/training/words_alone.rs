//! N-grams learnt by themselves, beside those learnt together with the vector.
//!
//! To an encoder that has learnt the labels of its training rows these rows have nothing left for n-grams to explain: learnt
//! together with its vectors they get hardly any weight. Learnt apart they have their own, and rows held out tell how much of it
//! helps. Both are linear, so a head carries their sum.

use super::features::{FeatureRow, FeatureRows, Measure, Source};
use super::fit::HeadOptions;
use super::lesson::Lesson;
use super::solver::{Weights, spread};

/// Cost of an error against the size of the weights.
const COST: f32 = 0.5;

/// Rows that sizes of margins are compared on, at most.
const COMPARED_ROWS: usize = 2_000;

/// A classifier of n-grams.
pub(super) struct WordsAlone {
    features: FeatureRows,
    weights: Weights,
}

impl WordsAlone {
    /// Learns from some rows.
    pub fn fit(
        lesson: &Lesson<'_>,
        sources: &[Source],
        measure: &Measure,
        which: &[usize],
        options: &HeadOptions,
    ) -> Self {
        let mut features = measure.rows(sources, 1.0);
        features.rows.iter_mut().for_each(|row| row.dense.clear());
        features.dimension = 0;
        let weights = lesson.weights(&features, which, COST, options);
        Self { features, weights }
    }

    /// What makes its margins on rows that it learnt from as large as those of `weights`.
    pub fn ratio(&self, weights: &Weights, features: &FeatureRows, which: &[usize]) -> f32 {
        let step = which.len().div_ceil(COMPARED_ROWS).max(1);
        let (mut of_both, mut of_words) = (0.0, 0.0);
        for row in which.iter().step_by(step) {
            if let (Some(both), Some(words)) = (features.rows.get(*row), self.features.rows.get(*row)) {
                of_both += spread(&weights.margins(both));
                of_words += spread(&self.weights.margins(words));
            }
        }
        if of_words > 0.0 { of_both / of_words } else { 0.0 }
    }

    /// Margins of a row.
    pub fn margins(&self, row: usize) -> Vec<f32> {
        let nothing = FeatureRow { dense: Vec::new(), sparse: Vec::new() };
        self.weights.margins(self.features.rows.get(row).unwrap_or(&nothing))
    }

    /// Adds so much of it to weights that were learnt from n-grams `ngram_scale` long.
    pub fn add_to(&self, weights: &mut Weights, share: f32, ngram_scale: f32) {
        weights.add_sparse(share, ngram_scale, &self.weights);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagging::ExampleVectors;
    use crate::tagging::heads::{LabelKind, NgramSpec};
    use crate::training::{HeadOptions, HeadTrainer, LabelledRow};

    #[test]
    fn weights_carry_the_words_and_vectors_that_know_the_labels_leave_them_room() {
        let words = ["карта", "касса", "курьер"];
        let rows: Vec<LabelledRow> = (0..60)
            .map(|row| LabelledRow {
                number: row + 1,
                text: format!("{} заказ {row}", words[row as usize % 3]),
                labels: vec![format!("{}", row % 3)],
            })
            .collect();
        let mut vectors = ExampleVectors::new("ab", 3);
        for (at, row) in rows.iter().enumerate() {
            // The encoder has learnt the labels of the first 40 rows, and knows nothing of the others.
            let mut vector = vec![0.0; 3];
            vector[if at < 40 { at % 3 } else { (at / 3) % 3 }] = 1.0;
            vectors.insert(&row.text, &vector);
        }
        let trainer = HeadTrainer::new("l", LabelKind::Single, &rows, &vectors, NgramSpec::default()).unwrap();
        let all: Vec<usize> = (0..60).collect();
        let options = HeadOptions { held_out: (40..60).collect(), names: false, ..HeadOptions::default() };
        let lesson = Lesson::new(&trainer, &all, &options).unwrap();
        let kept: Vec<usize> = (0..40).collect();
        let measure = trainer.measure(&kept, 1, 1_000);
        let features = measure.rows(&trainer.sources, 0.5);
        let mut weights = lesson.weights(&features, &kept, 1.0, &options);
        let alone = WordsAlone::fit(&lesson, &trainer.sources, &measure, &kept, &options);
        let share = 0.7 * alone.ratio(&weights, &features, &kept);
        let before: Vec<Vec<f32>> = features.rows.iter().map(|row| weights.margins(row)).collect();
        alone.add_to(&mut weights, share, 0.5);
        for (row, before) in before.iter().enumerate() {
            let carried = weights.margins(&features.rows[row]);
            for ((carried, before), words) in carried.iter().zip(before).zip(alone.margins(row)) {
                assert!((carried - (before + share * words)).abs() < 1e-4, "row {row}");
            }
        }

        let encoder = crate::tagging::EncoderIdentity { id: "e".to_owned(), sha256: "ab".to_owned() };
        let right = |words_alone: Vec<f32>| {
            let options = HeadOptions { words_alone, ..options.clone() };
            let head = trainer.fit(&all, &options, &encoder, &|_, _, _| true).unwrap();
            (head.head.card().words_alone, head.head.card().held_out.unwrap().accuracy)
        };
        let (none, both) = (right(vec![0.0]), right(vec![0.0, 1.0, 8.0]));
        assert!(both.0 > 0.0 && both.1 > none.1, "{none:?} {both:?}");
    }
}
