//! What one head learns: some rows, under numbers of labels, and the settings tried on parts of them held out.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::calibration::{HeldOut, calibrate, log_loss};
use super::features::FeatureRows;
use super::fit::{HeadOptions, HeadTrainer, Stage};
use super::prototypes::Prototypes;
use super::solver::{Wanted, Weights};
use super::words_alone::WordsAlone;
use super::{TrainingError, folds};
use crate::tagging::heads::{Calibration, LabelKind, TopCurve};

/// What is to be learnt: some rows, with indices of labels.
pub(super) struct Lesson<'a> {
    trainer: &'a HeadTrainer<'a>,
    /// Rows that can be held out.
    which: Vec<usize>,
    pub labels: Vec<String>,
    /// Rows that are learnt from and never held out. Names of labels are among them, as rows behind the trainer's own.
    aside: Vec<usize>,
    /// All that is learnt from.
    pub taught: Vec<usize>,
    /// Labels of each row and name of the trainer; empty for those that are not in the lesson.
    truth: Vec<Vec<usize>>,
}

/// Parts of deep vectors that prototypes look at, if the rest of the head does.
const PROTOTYPE_PARTS: usize = 2;

/// Rows judged by names, and names by rows, are not quite what the head will judge: fewer than these tell too little of how often
/// the most probable label is right.
const ROWS_OF_TOP_BY_NAMES: usize = 300;

/// Rows with their margins.
pub(super) type Margins = Vec<(usize, Vec<f32>)>;

/// Rows held out, and those learnt from.
pub(super) type Split = (Vec<usize>, Vec<usize>);

/// What a head is fitted by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setting {
    /// Of an error against the size of the weights.
    pub cost: f32,
    /// Size of the n-grams beside the vector's.
    pub ngram_scale: f32,
    /// How many parts of deep vectors count, from the first on: 1 is the vector that texts are compared by.
    pub vector_parts: usize,
    /// Weight of the labels' prototypes.
    pub prototypes: f32,
    /// Weight of n-grams learnt by themselves.
    pub words_alone: f32,
}

/// The best of the settings that were tried.
pub(super) struct Trial {
    pub setting: Setting,
    pub calibration: Calibration,
    /// Rows that were held out, rising, with their margins by weights that had not seen them.
    pub margins: Margins,
}

impl<'a> Lesson<'a> {
    pub fn new(trainer: &'a HeadTrainer<'a>, which: &[usize], options: &HeadOptions) -> Result<Self, TrainingError> {
        let mut labels: Vec<String> = which.iter().flat_map(|row| trainer.labels_of(*row)).cloned().collect();
        labels.sort_unstable();
        labels.dedup();
        let enough = match trainer.kind {
            LabelKind::Single => 2,
            LabelKind::Multi => 1,
        };
        if labels.len() < enough {
            let found = labels.first().map_or("none".to_owned(), |label| format!("only {label:?}"));
            return Err(TrainingError::Rows(format!(
                "label {:?}: the {} rows to learn from have {found}; at least two labels are needed",
                trainer.name,
                which.len()
            )));
        }
        let mut names: Vec<usize> = (trainer.rows.len()..trainer.sources.len()).collect();
        names.retain(|name| {
            options.names && trainer.labels_of(*name).iter().all(|label| labels.binary_search(label).is_ok())
        });
        let (mut aside, which): (Vec<usize>, Vec<usize>) =
            which.iter().partition(|row| options.aside.binary_search(row).is_ok());
        aside.append(&mut names);
        let taught = [which.as_slice(), &aside].concat();
        let mut truth = vec![Vec::new(); trainer.sources.len()];
        for row in &taught {
            if let Some(truth) = truth.get_mut(*row) {
                *truth = trainer.labels_of(*row).iter().filter_map(|label| labels.binary_search(label).ok()).collect();
            }
        }
        Ok(Self { trainer, which, labels, aside, taught, truth })
    }

    /// What is held out in turn. Nothing, if most labels have too few rows to be in every part.
    pub fn splits(&self, options: &HeadOptions) -> Vec<Split> {
        if !options.held_out.is_empty() {
            let (held, mut kept): Split = self.which.iter().partition(|row| options.held_out.contains(row));
            kept.extend(&self.aside);
            return vec![(held, kept)];
        }
        let mut counts = vec![0usize; self.labels.len()];
        for label in self.which.iter().filter_map(|row| self.truth.get(*row)).flatten() {
            if let Some(count) = counts.get_mut(*label) {
                *count += 1;
            }
        }
        counts.sort_unstable();
        let median = counts.get(counts.len() / 2).copied().unwrap_or(0);
        let parts = options.folds.min(median);
        if parts < 2 {
            return Vec::new();
        }
        let strata = folds::strata(self.trainer.rows);
        let chosen: Vec<usize> = self.which.iter().filter_map(|row| strata.get(*row).copied()).collect();
        let part_of = folds::deal(&chosen, parts, options.seed);
        let rows = |places: Vec<usize>| places.into_iter().filter_map(|place| self.which.get(place).copied());
        (0..parts)
            .map(|part| {
                let (held, kept) = folds::split(&part_of, part);
                (rows(held).collect(), rows(kept).chain(self.aside.iter().copied()).collect())
            })
            .collect()
    }

    pub fn weights(&self, features: &FeatureRows, which: &[usize], cost: f32, options: &HeadOptions) -> Weights {
        let costs = self.costs(which, cost, options);
        let wanted = Wanted { labels: self.labels.len(), truth: &self.truth, costs: &costs, seed: options.seed };
        Weights::fit(features, which, &wanted)
    }

    /// The calibration where labels have too few rows to hold any out: names of labels (and what else is
    /// never held out) are judged by what the rows teach, and rows by what the names teach. Each time only half is known, so the probabilities come out too low rather than too high.
    /// `None` if most labels have no name to learn from, or may stand together with others.
    pub fn calibration_by_names(&self, options: &HeadOptions, setting: Setting, most: usize) -> Option<Calibration> {
        if self.trainer.kind == LabelKind::Multi || self.aside.len() * 2 < self.labels.len() {
            return None;
        }
        let mut margins: Margins = Vec::with_capacity(self.taught.len());
        for (held, kept) in [(&self.which, &self.aside), (&self.aside, &self.which)] {
            let measure = self.trainer.measure(kept, setting.vector_parts, most);
            let features = measure.rows(&self.trainer.sources, setting.ngram_scale);
            let weights = self.weights(&features, kept, setting.cost, options);
            let prototypes = self.prototypes(&features, kept).ok()?;
            let share = setting.prototypes * prototypes.ratio(&weights, &features, kept);
            margins.extend(held.iter().filter_map(|row| {
                let features = features.rows.get(*row)?;
                Some((*row, prototypes.beside(weights.margins(features), features, share)))
            }));
        }
        let mut calibration = calibrate(self.trainer.kind, self.labels.len(), &self.with_truth(&margins));
        if let Calibration::Softmax { top, .. } = &mut calibration
            && margins.len() < ROWS_OF_TOP_BY_NAMES
        {
            *top = TopCurve::STRAIGHT;
        }
        Some(calibration)
    }

    fn with_truth<'m>(&'m self, margins: &'m Margins) -> Vec<HeldOut<'m>> {
        margins.iter().filter_map(|(row, margins)| Some(HeldOut { margins, truth: self.truth.get(*row)? })).collect()
    }

    /// Prototypes of the labels that these rows have.
    pub fn prototypes(&self, features: &FeatureRows, which: &[usize]) -> Result<Prototypes, TrainingError> {
        Prototypes::fit(features, which, &self.truth, self.labels.len(), PROTOTYPE_PARTS * self.trainer.top)
    }

    /// Cost of an error on each row of the trainer.
    fn costs(&self, which: &[usize], cost: f32, options: &HeadOptions) -> Vec<f32> {
        let weight_of = |row: usize| options.weights.get(row).copied().unwrap_or(1.0);
        if !options.balanced {
            return (0..self.truth.len()).map(|row| cost * weight_of(row)).collect();
        }
        let mut shares = vec![0f32; self.labels.len()];
        for row in which {
            for label in self.truth.get(*row).into_iter().flatten() {
                if let Some(share) = shares.get_mut(*label) {
                    *share += weight_of(*row);
                }
            }
        }
        let mean = which.iter().map(|row| weight_of(*row)).sum::<f32>() / self.labels.len() as f32;
        let balance = |labels: &Vec<usize>| {
            let rarest = labels.iter().filter_map(|label| shares.get(*label)).copied().fold(f32::INFINITY, f32::min);
            if rarest > 0.0 && rarest.is_finite() { mean / rarest } else { 1.0 }
        };
        self.truth.iter().enumerate().map(|(row, labels)| cost * weight_of(row) * balance(labels)).collect()
    }

    /// Tries settings on parts held out and gives back the one under which the right labels are most probable: first all costs and
    /// sizes of n-grams, then the best of them with more of deep vectors, if there are any.
    pub fn try_settings(
        &self,
        options: &HeadOptions,
        splits: &[Split],
        most: usize,
        progress: &(dyn Fn(Stage, usize, usize) -> bool + Sync),
    ) -> Result<Trial, TrainingError> {
        let settings: Vec<Setting> = options
            .ngram_scales
            .iter()
            .flat_map(|scale| options.costs.iter().map(move |cost| (*cost, *scale)))
            .map(|(cost, ngram_scale)| Setting {
                cost,
                ngram_scale,
                vector_parts: 1,
                prototypes: 0.0,
                words_alone: 0.0,
            })
            .collect();
        let mut deeper = vec![PROTOTYPE_PARTS, self.trainer.vector_parts()];
        deeper.dedup();
        deeper.retain(|parts| *parts > 1 && *parts <= self.trainer.vector_parts());
        let all = (settings.len() + deeper.len()) * splits.len();
        let done = AtomicUsize::new(0);
        let told = || progress(Stage::Trying, done.fetch_add(1, Ordering::Relaxed) + 1, all);
        let mut best = self.best_of(settings, options, splits, most, &told)?;
        for vector_parts in deeper {
            let setting = Setting { vector_parts, ..best.1.setting };
            let deeper = self.best_of(vec![setting], options, splits, most, &told)?;
            if deeper.0 < best.0 {
                best = deeper;
            }
        }
        Ok(best.1)
    }

    /// The best of some settings that look at as many parts of vectors, with its loss.
    fn best_of(
        &self,
        settings: Vec<Setting>,
        options: &HeadOptions,
        splits: &[Split],
        most: usize,
        told: &(dyn Fn() -> bool + Sync),
    ) -> Result<(f64, Trial), TrainingError> {
        let none = || TrainingError::Rows("no settings to try".to_owned());
        let sources = &self.trainer.sources;
        let vector_parts = settings.first().ok_or_else(none)?.vector_parts;
        let shares: &[f32] = match self.trainer.kind {
            LabelKind::Single => &options.prototypes,
            LabelKind::Multi => &[0.0],
        };
        let shares: Vec<(f32, f32)> =
            shares.iter().flat_map(|share| options.words_alone.iter().map(|words| (*share, *words))).collect();
        // For each setting, the margins under each weight of the prototypes and of the words.
        let mut of_settings: Vec<Vec<Margins>> = vec![vec![Vec::new(); shares.len()]; settings.len()];
        for (held, kept) in splits {
            let measure = self.trainer.measure(kept, vector_parts, most);
            let prototypes = match shares.iter().any(|(share, _)| *share > 0.0) {
                true => Some(self.prototypes(&measure.rows(sources, 1.0), kept)?),
                false => None,
            };
            let alone = shares
                .iter()
                .any(|(_, words)| *words > 0.0)
                .then(|| WordsAlone::fit(self, sources, &measure, kept, options));
            let mut scales: Vec<f32> = settings.iter().map(|setting| setting.ngram_scale).collect();
            scales.dedup();
            for scale in scales {
                let features = measure.rows(sources, scale);
                let of_scale =
                    settings.par_iter().zip(&mut of_settings).filter(|(setting, _)| setting.ngram_scale == scale);
                of_scale.try_for_each(|(setting, margins)| {
                    let weights = self.weights(&features, kept, setting.cost, options);
                    let ratio = prototypes.as_ref().map_or(0.0, |one| one.ratio(&weights, &features, kept));
                    let words_ratio = alone.as_ref().map_or(0.0, |one| one.ratio(&weights, &features, kept));
                    for row in held {
                        let Some(features) = features.rows.get(*row) else { continue };
                        let borders = weights.margins(features);
                        let of_words = alone.as_ref().map(|one| one.margins(*row)).unwrap_or_default();
                        for ((share, words), margins) in shares.iter().zip(margins.iter_mut()) {
                            let mut of_row = match &prototypes {
                                Some(prototypes) => prototypes.beside(borders.clone(), features, share * ratio),
                                None => borders.clone(),
                            };
                            let words = words * words_ratio;
                            of_row.iter_mut().zip(&of_words).for_each(|(margin, of_words)| *margin += words * of_words);
                            margins.push((*row, of_row));
                        }
                    }
                    if told() { Ok(()) } else { Err(TrainingError::Interrupted) }
                })?;
            }
        }
        let mut best: Option<(f64, Trial)> = None;
        let tried = settings.into_iter().zip(of_settings).flat_map(|(setting, of_shares)| {
            shares.iter().zip(of_shares).map(move |((prototypes, words_alone), margins)| {
                (Setting { prototypes: *prototypes, words_alone: *words_alone, ..setting }, margins)
            })
        });
        for (setting, mut margins) in tried {
            margins.sort_by_key(|(row, _)| *row);
            let held_out = self.with_truth(&margins);
            let calibration = calibrate(self.trainer.kind, self.labels.len(), &held_out);
            let loss = log_loss(&calibration, &held_out);
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                best = Some((loss, Trial { setting, calibration, margins }));
            }
        }
        best.ok_or_else(none)
    }
}
