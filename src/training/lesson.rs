//! What one head learns: some rows, under numbers of labels, and the settings tried on parts of them held out.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::calibration::{HeldOut, calibrate, log_loss};
use super::features::{FeatureRows, Measure};
use super::fit::{HeadOptions, HeadTrainer, Stage};
use super::solver::{Wanted, Weights};
use super::{TrainingError, folds};
use crate::tagging::heads::{Calibration, LabelKind};

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

/// Rows with their margins.
pub(super) type Margins = Vec<(usize, Vec<f32>)>;

/// Rows held out, and those learnt from.
pub(super) type Split = (Vec<usize>, Vec<usize>);

/// The best of the settings that were tried.
pub(super) struct Trial {
    /// Cost and size of the n-grams.
    pub setting: (f32, f32),
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

    /// Tries all settings on parts held out and gives back the one under which the right labels are most probable.
    pub fn try_settings(
        &self,
        options: &HeadOptions,
        splits: &[Split],
        most: usize,
        progress: &(dyn Fn(Stage, usize, usize) -> bool + Sync),
    ) -> Result<Trial, TrainingError> {
        let sources = &self.trainer.sources;
        let settings: Vec<(f32, f32)> = options
            .ngram_scales
            .iter()
            .flat_map(|scale| options.costs.iter().map(move |cost| (*cost, *scale)))
            .collect();
        let all = settings.len() * splits.len();
        let done = AtomicUsize::new(0);
        let mut of_settings: Vec<Margins> = vec![Vec::new(); settings.len()];
        for (held, kept) in splits {
            let measure = Measure::of(sources, kept, most);
            for scale in &options.ngram_scales {
                let features = measure.rows(sources, *scale);
                let of_scale = settings.par_iter().zip(&mut of_settings).filter(|((_, of), _)| of == scale);
                of_scale.try_for_each(|((cost, _), margins)| {
                    let weights = self.weights(&features, kept, *cost, options);
                    let judged = held.iter().filter_map(|row| Some((*row, weights.margins(features.rows.get(*row)?))));
                    margins.extend(judged);
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if progress(Stage::Trying, done, all) { Ok(()) } else { Err(TrainingError::Interrupted) }
                })?;
            }
        }
        let mut best: Option<(f64, Trial)> = None;
        for (setting, mut margins) in settings.into_iter().zip(of_settings) {
            margins.sort_by_key(|(row, _)| *row);
            let held_out: Vec<HeldOut<'_>> = margins
                .iter()
                .filter_map(|(row, margins)| Some(HeldOut { margins, truth: self.truth.get(*row)? }))
                .collect();
            let calibration = calibrate(self.trainer.kind, self.labels.len(), &held_out);
            let loss = log_loss(&calibration, &held_out);
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                best = Some((loss, Trial { setting, calibration, margins }));
            }
        }
        best.map(|(_, trial)| trial).ok_or_else(|| TrainingError::Rows("no settings to try".to_owned()))
    }
}
