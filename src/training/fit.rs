//! Heads made from labelled rows.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::calibration::unmeasured;
use super::evaluation::{Evaluation, EvaluationOptions, Judged, Task, TrueLabel};
use super::features::{Measure, Source};
use super::lesson::{Lesson, Setting, Trial};
use super::words_alone::WordsAlone;
use super::{LabelledRow, TrainingError};
use crate::tagging::heads::{Head, HeadCard, HeadParts, HeldOutFigures, LabelKind, NgramCounts, NgramSpec};
use crate::tagging::{EncoderIdentity, ExampleVectors};
use crate::text::prepare;

/// Weights of n-grams that a head keeps, at most: with 16 bits each, 16 MB.
const MOST_WEIGHTS: usize = 8_000_000;

/// N-grams that a head knows, at most.
const MOST_NGRAMS: usize = 1 << 18;

/// Weight of prototypes where hardly any rows are.
const FEW_ROWS_PROTOTYPES: f32 = 2.0;

/// How a head is made.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadOptions {
    /// Which n-grams are counted.
    pub ngrams: NgramSpec,
    /// Costs of an error against the size of the weights that are tried, rising; more than one needs cross-validation.
    pub costs: Vec<f32>,
    /// Sizes of the n-grams beside the vector's that are tried.
    pub ngram_scales: Vec<f32>,
    /// Weights of the labels' prototypes that are tried, for single labels: 0 is none, 1 is as much as the borders between labels.
    pub prototypes: Vec<f32>,
    /// Weights of n-grams learnt by themselves that are tried, for an encoder that has learnt the labels: 0 is none, 1 is as much
    /// as what is learnt together.
    pub words_alone: Vec<f32>,
    /// True to let rows of rare labels weigh more, so that all labels together weigh the same.
    pub balanced: bool,
    /// Parts of the cross-validation; fewer than 2 for none.
    pub folds: usize,
    /// Rows to choose the settings and to calibrate on instead of a cross-validation, for an encoder that has learnt the labels of
    /// all other rows: what it says of those is no measure.
    pub held_out: Vec<usize>,
    /// True to learn each label's name as one more text of it, where the name has a vector: with few rows a name such as
    /// `card_arrival` says much.
    pub names: bool,
    /// N-grams that the head knows, at most; those of most rows come first.
    pub most_ngrams: usize,
    /// Rows that are learnt from and never held out, rising: settings are chosen and figures measured on the others alone.
    pub aside: Vec<usize>,
    /// Weight of an error on each row; empty for the same on all.
    pub weights: Vec<f32>,
    /// Seed of the parts and of the order in which rows are visited.
    pub seed: u64,
}

impl Default for HeadOptions {
    fn default() -> Self {
        Self {
            ngrams: NgramSpec::default(),
            costs: vec![0.1, 0.3, 1.0, 3.0],
            ngram_scales: vec![0.5, 1.0],
            prototypes: vec![0.0, 0.5, 1.0, 2.0],
            words_alone: vec![0.0],
            balanced: false,
            folds: 5,
            held_out: Vec::new(),
            names: true,
            most_ngrams: MOST_NGRAMS,
            aside: Vec::new(),
            weights: Vec::new(),
            seed: 1,
        }
    }
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Settings are tried on parts held out.
    Trying,
    /// The head is fitted to all rows.
    Fitting,
}

/// A head, and what it says of the rows while they were held out.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// The head.
    pub head: Head,
    /// Each training row as judged by weights that had not seen it; empty if there were too few rows.
    pub held_out: Vec<Judged>,
}

/// Labelled rows, ready to be learnt from.
pub struct HeadTrainer<'a> {
    pub(super) name: String,
    pub(super) kind: LabelKind,
    pub(super) rows: &'a [LabelledRow],
    /// Labels whose names can be learnt from.
    names: Vec<String>,
    /// The rows', then the names'.
    pub(super) sources: Vec<Source>,
    /// Length of the vectors that texts are compared by; those of the sources may go deeper.
    pub(super) top: usize,
    ngrams: NgramSpec,
}

/// A label's name as a text.
pub fn name_as_text(label: &str) -> String {
    let words: Vec<&str> = label.split(|c: char| c.is_whitespace() || "_-/|".contains(c)).collect();
    prepare(&words.join(" ")).clean().to_owned()
}

impl<'a> HeadTrainer<'a> {
    /// Rows with the vectors of their texts, and of as many names of labels ([`name_as_text`]) as have one.
    ///
    /// # Errors
    /// [`TrainingError::Rows`] if a text of a row has no vector.
    pub fn new(
        name: &str,
        kind: LabelKind,
        rows: &'a [LabelledRow],
        vectors: &ExampleVectors,
        ngrams: NgramSpec,
    ) -> Result<Self, TrainingError> {
        let source = |row: &LabelledRow| {
            let vector = vectors.get(&row.text).ok_or(row.number)?.to_vec();
            Ok(Source { vector, ngrams: NgramCounts::of(&row.text, ngrams) })
        };
        let sources: Result<Vec<Source>, u64> = rows.par_iter().map(source).collect();
        let mut sources = sources.map_err(|row| TrainingError::Rows(format!("row {row} has no vector")))?;
        let mut labels: Vec<&String> = rows.iter().flat_map(|row| &row.labels).collect();
        labels.sort_unstable();
        labels.dedup();
        let mut names = Vec::new();
        for label in labels {
            let text = name_as_text(label);
            if let Some(vector) = vectors.get(&text) {
                sources.push(Source { vector: vector.to_vec(), ngrams: NgramCounts::of(&text, ngrams) });
                names.push(label.clone());
            }
        }
        Ok(Self { name: name.to_owned(), kind, rows, names, sources, top: vectors.top_dimension(), ngrams })
    }

    /// Makes a head from some of the rows. `progress` is told what is done of the work, in parts of it, and ends it by answering
    /// false.
    ///
    /// # Errors
    /// [`TrainingError::Rows`] if there are too few labels, [`TrainingError::Interrupted`].
    pub fn fit(
        &self,
        which: &[usize],
        options: &HeadOptions,
        encoder: &EncoderIdentity,
        progress: &(dyn Fn(Stage, usize, usize) -> bool + Sync),
    ) -> Result<Fitted, TrainingError> {
        let lesson = Lesson::new(self, which, options)?;
        let most = (MOST_WEIGHTS / lesson.labels.len()).min(options.most_ngrams).max(1);
        let splits = lesson.splits(options);
        let trial = match splits.len() {
            0 => None,
            _ => Some(lesson.try_settings(options, &splits, most, progress)?),
        };
        let setting = trial.as_ref().map_or_else(|| few_rows_setting(options, self.kind), |trial| trial.setting);
        let Setting { cost, ngram_scale, vector_parts, prototypes, words_alone } = setting;
        if !progress(Stage::Fitting, 0, 1) {
            return Err(TrainingError::Interrupted);
        }
        let measure = self.measure(&lesson.taught, vector_parts, most);
        let features = measure.rows(&self.sources, ngram_scale);
        let mut weights = lesson.weights(&features, &lesson.taught, cost, options);
        let alone = (words_alone > 0.0).then(|| {
            let alone = WordsAlone::fit(&lesson, &self.sources, &measure, &lesson.taught, options);
            let share = words_alone * alone.ratio(&weights, &features, &lesson.taught);
            (alone, share)
        });
        if prototypes > 0.0 {
            let fitted = lesson.prototypes(&features, &lesson.taught)?;
            let share = prototypes * fitted.ratio(&weights, &features, &lesson.taught);
            fitted.add_to(&mut weights, share);
        }
        if let Some((alone, share)) = alone {
            alone.add_to(&mut weights, share, ngram_scale);
        }
        let calibration = match &trial {
            Some(trial) => trial.calibration.clone(),
            None => lesson
                .calibration_by_names(options, setting, most)
                .unwrap_or_else(|| unmeasured(self.kind, lesson.labels.len())),
        };
        let card = HeadCard {
            name: self.name.clone(),
            kind: self.kind,
            labels: lesson.labels.clone(),
            rows: which.len(),
            data_sha256: self.data_hash(which),
            encoder_id: encoder.id.clone(),
            encoder_sha256: encoder.sha256.clone(),
            ngrams: self.ngrams,
            features: measure.hashes.len(),
            cost,
            ngram_scale,
            prototypes,
            words_alone,
            vector_parts,
            balanced: options.balanced,
            never_empty: self.kind == LabelKind::Multi && which.iter().all(|row| !self.labels_of(*row).is_empty()),
            held_out: None,
            trained_on: None,
            licence: None,
            taxonomy_version: None,
            weight: None,
            otklik_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let scales = measure.scales.iter().flat_map(|scale| std::iter::repeat_n(*scale, lesson.labels.len()));
        let parts_of_head = HeadParts {
            dense: weights.dense().zip(scales).map(|(weight, scale)| weight * scale).collect(),
            sparse: weights.sparse().map(|weight| weight * ngram_scale).collect(),
            bias: weights.bias().collect(),
            mean: measure.mean,
            hashes: measure.hashes,
            rarity: measure.rarity,
            calibration,
        };
        let head = Head::new(card, parts_of_head).map_err(TrainingError::Head)?;
        let (head, held_out) = match trial {
            Some(trial) => self.with_figures(head, &trial, splits.len())?,
            None => (head, Vec::new()),
        };
        progress(Stage::Fitting, 1, 1);
        Ok(Fitted { head, held_out })
    }

    /// What a head says of some of the rows.
    pub fn judge(&self, head: &Head, which: &[usize]) -> Vec<Judged> {
        let judge = |row: &usize| {
            let source = self.sources.get(*row)?;
            let probabilities = head.probabilities(&source.vector, &source.ngrams);
            self.judged(*row, head, probabilities)
        };
        which.par_iter().filter_map(judge).collect()
    }

    fn judged(&self, row: usize, head: &Head, probabilities: Vec<f32>) -> Option<Judged> {
        let labelled = self.rows.get(row)?;
        let known = &head.card().labels;
        let truth = |label: &String| match known.binary_search(label) {
            Ok(index) => TrueLabel::Known(index),
            Err(_) => TrueLabel::Unknown(label.clone()),
        };
        Some(Judged {
            row: labelled.number as usize,
            text: labelled.text.clone(),
            truth: labelled.labels.iter().map(truth).collect(),
            predicted: match self.kind {
                LabelKind::Single => Vec::new(),
                LabelKind::Multi => head.given(&probabilities),
            },
            probabilities,
        })
    }

    /// The head with its held-out figures on the card, and the held-out rows as they were judged.
    fn with_figures(&self, head: Head, trial: &Trial, parts: usize) -> Result<(Head, Vec<Judged>), TrainingError> {
        let judged: Vec<Judged> = trial
            .margins
            .iter()
            .filter_map(|(row, margins)| self.judged(*row, &head, head.calibrated(margins.clone())))
            .collect();
        let plain = EvaluationOptions { bootstrap_rounds: 0, ..EvaluationOptions::default() };
        let figures = Evaluation::of(&head.card().labels, self.kind.into(), &judged, &plain)?;
        let held_out = HeldOutFigures {
            folds: parts,
            accuracy: figures.accuracy,
            top3: figures.top3,
            macro_f1: figures.macro_f1,
            weighted_f1: figures.weighted_f1,
            ece: figures.ece,
        };
        let card = HeadCard { held_out: Some(held_out), ..head.card().clone() };
        Ok((Head::new(card, head.parts().clone()).map_err(TrainingError::Head)?, judged))
    }

    pub(super) fn labels_of(&self, row: usize) -> &[String] {
        match self.rows.get(row) {
            Some(row) => &row.labels,
            None => {
                row.checked_sub(self.rows.len()).and_then(|at| self.names.get(at)).map_or(&[], std::slice::from_ref)
            }
        }
    }

    /// How some of the rows become numbers.
    pub(super) fn measure(&self, which: &[usize], vector_parts: usize, most: usize) -> Measure {
        Measure::of(&self.sources, which, vector_parts * self.top, self.top, most)
    }

    /// Parts that the vectors have.
    pub(super) fn vector_parts(&self) -> usize {
        self.sources.first().map_or(0, |source| source.vector.len() / self.top.max(1))
    }

    fn data_hash(&self, which: &[usize]) -> String {
        let mut hasher = Sha256::new();
        for row in which.iter().filter_map(|row| self.rows.get(*row)) {
            for part in std::iter::once(&row.text).chain(&row.labels) {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            hasher.update(u64::MAX.to_le_bytes());
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl From<LabelKind> for Task {
    fn from(kind: LabelKind) -> Self {
        match kind {
            LabelKind::Single => Self::SingleLabel,
            LabelKind::Multi => Self::MultiLabel,
        }
    }
}

/// Where hardly any rows are: nothing can be tried, and words of few rows say less than their meaning.
fn few_rows_setting(options: &HeadOptions, kind: LabelKind) -> Setting {
    let middle = options.costs.iter().copied().min_by(|one, other| one.ln().abs().total_cmp(&other.ln().abs()));
    let least = options.ngram_scales.iter().copied().min_by(f32::total_cmp);
    let prototypes = match kind {
        LabelKind::Single => FEW_ROWS_PROTOTYPES,
        LabelKind::Multi => 0.0,
    };
    Setting {
        cost: middle.unwrap_or(1.0),
        ngram_scale: least.unwrap_or(0.5),
        vector_parts: 1,
        prototypes,
        words_alone: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPICS: [(&str, &str); 3] = [("card", "карта"), ("cash", "касса"), ("delivery", "курьер")];

    fn encoder() -> EncoderIdentity {
        EncoderIdentity { id: "small".to_owned(), sha256: "00ff".to_owned() }
    }

    /// Rows whose label stands in their words; vectors say something only of the first label.
    fn rows(of_each: usize) -> (Vec<LabelledRow>, ExampleVectors) {
        let mut vectors = ExampleVectors::new("00ff", 4);
        let mut rows = Vec::new();
        for number in 0..of_each * TOPICS.len() {
            let (label, word) = TOPICS[number % TOPICS.len()];
            let text = format!("{word} не работает, заявка номер {number}");
            let first = if label == "card" { 1.0 } else { -1.0 };
            vectors.insert(&text, &[first, (number as f32 * 0.7).sin(), (number as f32 * 1.3).cos(), 0.1]);
            rows.push(LabelledRow { number: number as u64 + 1, text, labels: vec![label.to_owned()] });
        }
        (rows, vectors)
    }

    fn fit(rows: &[LabelledRow], vectors: &ExampleVectors, kind: LabelKind) -> Fitted {
        let trainer = HeadTrainer::new("topic", kind, rows, vectors, NgramSpec::default()).unwrap();
        let all: Vec<usize> = (0..rows.len()).collect();
        trainer.fit(&all, &HeadOptions::default(), &encoder(), &|_, _, _| true).unwrap()
    }

    #[test]
    fn words_and_vectors_together_tell_labels_on_rows_held_out() {
        let (rows, vectors) = rows(20);
        let fitted = fit(&rows, &vectors, LabelKind::Single);
        assert_eq!(fitted.head.card().labels, ["card", "cash", "delivery"]);
        let held_out = fitted.head.card().held_out.unwrap();
        assert!(held_out.accuracy > 0.95 && held_out.folds == 5, "{held_out:?}");
        assert_eq!(fitted.held_out.len(), 60);
        for judged in &fitted.held_out {
            assert!((judged.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        }
    }

    #[test]
    fn a_head_is_the_same_after_it_was_kept() {
        let (rows, vectors) = rows(20);
        let fitted = fit(&rows, &vectors, LabelKind::Single);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads/topic/head.safetensors");
        fitted.head.save(&path).unwrap();
        let read = Head::load(&path, &encoder()).unwrap();
        assert_eq!((read.card(), read.parts()), (fitted.head.card(), fitted.head.parts()));
        let again = folder.path().join("again.safetensors");
        read.save(&again).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());

        let other = EncoderIdentity { id: "other".to_owned(), sha256: "1234".to_owned() };
        let refused = Head::load(&path, &other).unwrap_err().to_string();
        assert!(refused.contains("made for encoder small (00ff), this one is other (1234)"), "{refused}");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&again, bytes).unwrap();
        let damaged = Head::load(&again, &encoder()).unwrap_err().to_string();
        assert!(damaged.contains("is damaged"), "{damaged}");
    }

    #[test]
    fn a_head_answers_as_the_weights_it_was_made_from() {
        let (rows, vectors) = rows(20);
        let trainer = HeadTrainer::new("topic", LabelKind::Single, &rows, &vectors, NgramSpec::default()).unwrap();
        let all: Vec<usize> = (0..rows.len()).collect();
        let options = HeadOptions { costs: vec![1.0], ngram_scales: vec![0.7], ..HeadOptions::default() };
        let fitted = trainer.fit(&all, &options, &encoder(), &|_, _, _| true).unwrap();
        let lesson = Lesson::new(&trainer, &all, &options).unwrap();
        let features = trainer.measure(&all, 1, MOST_NGRAMS).rows(&trainer.sources, 0.7);
        let weights = lesson.weights(&features, &all, 1.0, &options);
        for (row, judged) in all.iter().zip(trainer.judge(&fitted.head, &all)) {
            let expected = fitted.head.calibrated(weights.margins(&features.rows[*row]));
            for (found, expected) in judged.probabilities.iter().zip(expected) {
                assert!((found - expected).abs() < 0.01, "row {row}: {found} and {expected}");
            }
        }
    }

    #[test]
    fn several_labels_of_a_text_are_told_apart() {
        let (mut rows, vectors) = rows(20);
        for (number, row) in rows.iter_mut().enumerate() {
            if number % 4 == 0 {
                row.labels.push("номер".to_owned());
            }
        }
        let fitted = fit(&rows, &vectors, LabelKind::Multi);
        assert_eq!(fitted.head.card().labels.len(), 4);
        assert!(fitted.head.card().never_empty);
        assert!(fitted.held_out.iter().all(|judged| !judged.predicted.is_empty()));
        let right = |judged: &&Judged| {
            judged.truth.first() == judged.predicted.first().map(|at| TrueLabel::Known(*at)).as_ref()
        };
        assert!(fitted.held_out.iter().filter(right).count() > 50);
    }

    #[test]
    fn few_rows_make_a_head_without_figures_and_one_label_makes_none() {
        let (rows, vectors) = rows(1);
        let fitted = fit(&rows, &vectors, LabelKind::Single);
        assert!(fitted.head.card().held_out.is_none() && fitted.held_out.is_empty());
        let trainer = HeadTrainer::new("topic", LabelKind::Single, &rows, &vectors, NgramSpec::default()).unwrap();
        let refused = trainer.fit(&[0], &HeadOptions::default(), &encoder(), &|_, _, _| true).unwrap_err();
        let expected = "label \"topic\": the 1 rows to learn from have only \"card\"; at least two labels are needed";
        assert_eq!(refused.to_string(), expected);
    }

    #[test]
    fn a_name_of_a_label_is_learnt_as_one_more_text() {
        assert_eq!(name_as_text("card_arrival"), "card arrival");
        let text = |label: &str, text: &str, number| LabelledRow {
            number,
            text: text.to_owned(),
            labels: vec![label.to_owned()],
        };
        let rows = [text("card_arrival", "x", 1), text("top_up", "y", 2), text("card_arrival", "my card arrival", 3)];
        let mut vectors = ExampleVectors::new("00ff", 2);
        for (text, vector) in [("x", [1.0, 0.1]), ("y", [0.9, 0.2]), ("my card arrival", [0.0, 1.0])] {
            vectors.insert(text, &vector);
        }
        let right = |vectors: &ExampleVectors, names: bool| {
            let trainer = HeadTrainer::new("intent", LabelKind::Single, &rows, vectors, NgramSpec::default()).unwrap();
            let options = HeadOptions { names, ..HeadOptions::default() };
            let fitted = trainer.fit(&[0, 1], &options, &encoder(), &|_, _, _| true).unwrap();
            trainer.judge(&fitted.head, &[2])[0].probabilities[0]
        };
        let without = right(&vectors, true);
        vectors.insert("card arrival", &[0.1, 1.0]);
        vectors.insert("top up", &[1.0, -0.2]);
        assert!(right(&vectors, true) > without + 0.1);
        assert!((right(&vectors, false) - without).abs() < 1e-6);
    }

    #[test]
    fn labels_that_were_not_taught_are_unknown_and_an_interrupted_fit_ends() {
        let (rows, vectors) = rows(20);
        let trainer = HeadTrainer::new("topic", LabelKind::Single, &rows, &vectors, NgramSpec::default()).unwrap();
        let (taught, rest): (Vec<usize>, Vec<usize>) = (0..60).partition(|row| row % 3 != 2);
        let fitted = trainer.fit(&taught, &HeadOptions::default(), &encoder(), &|_, _, _| true).unwrap();
        let judged = trainer.judge(&fitted.head, &rest);
        assert!(judged.iter().all(|judged| judged.truth == [TrueLabel::Unknown("delivery".to_owned())]));
        let stopped = trainer.fit(&taught, &HeadOptions::default(), &encoder(), &|_, done, _| done < 3);
        assert!(matches!(stopped, Err(TrainingError::Interrupted)));
    }
}
