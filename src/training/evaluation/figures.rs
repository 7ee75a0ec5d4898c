//! All figures of a classifier.

use std::collections::BTreeMap;

use serde::Serialize;

use super::calibration::{error_by_chance, log_loss, reliability};
use super::confusion::{Confusion, Pair, by_pair, worst};
use super::coverage::{Coverage, CoveragePoint};
use super::interval::{Intervals, bootstrap};
use super::judged::check;
use super::outcome::{Classes, Outcome};
use super::per_class::{ClassFigures, per_class};
use super::score::Tally;
use super::{EvaluationError, EvaluationOptions, Judged, ReliabilityBin, Task, TrueLabel, decimal};

/// All figures of a classifier. Shares are 0 to 1, and a share of nothing is 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Rows judged.
    pub rows: usize,
    /// Share of rows answered rightly. Multi-label: of those with exactly the right set.
    pub accuracy: f64,
    /// Share of right labels that stand among the three most probable of their row.
    pub top3: f64,
    /// Mean F1 over the labels that occur in truth or in the answers; scikit-learn's `f1_score(average="macro")` where that
    /// takes its labels from the data. A label the model does not know occurs and has an F1 of 0.
    pub macro_f1: f64,
    /// Mean F1 over labels by their support; scikit-learn's `f1_score(average="weighted")`.
    pub weighted_f1: f64,
    /// Expected calibration error over bins of equal width. Single-label: of the most probable label. Multi-label: of all pairs of
    /// row and label pooled, most of which are easy, so that it is far smaller.
    pub ece: f64,
    /// Largest share of rows that can be answered, the surest first, with an accuracy among them of at least `precision`; 0 if
    /// no share has it.
    pub coverage_at_precision: f64,
    /// Each label, in the model's order; then those the model does not know.
    pub per_class: Vec<ClassFigures>,
    /// How many labels a row has.
    pub task: Task,
    /// The accuracy wanted among answered rows.
    #[serde(serialize_with = "decimal::shortest")]
    pub precision: f32,
    /// Least [`Judged::confidence`] of a row to answer it at the wanted precision; `None` if that is never reached.
    #[serde(serialize_with = "decimal::shortest_if_any")]
    pub threshold: Option<f32>,
    /// Mean negative logarithm of the probability of what is true. Single-label: over rows. Multi-label: over all pairs of row and
    /// label.
    pub log_loss: f64,
    /// About the calibration error that these probabilities would show on so many rows if they were right, by chance alone: an `ece` near it
    /// tells of no fault.
    pub ece_by_chance: f64,
    /// Rows with a right label that the model does not know.
    pub rows_with_unknown_labels: usize,
    /// The 95 % intervals; `None` if none were asked for.
    pub intervals: Option<Intervals>,
    /// The most frequent confusions, the worst first.
    pub confusions: Vec<Confusion>,
    /// Confidence against truth in the bins of `ece`.
    pub reliability: Vec<ReliabilityBin>,
    /// Accuracy among answered rows as more are answered, in at most about 200 points.
    pub coverage_curve: Vec<CoveragePoint>,
    /// Rows by right and given class, as indices of `per_class`.
    #[serde(skip)]
    pub(super) pairs: BTreeMap<Pair, usize>,
}

impl Evaluation {
    /// Measures the answers of a model that has these labels. Rows are told apart by their numbers.
    ///
    /// Fails for no rows, no labels, and rows that contradict the labels or the task.
    pub fn of(
        labels: &[String],
        task: Task,
        rows: &[Judged],
        options: &EvaluationOptions,
    ) -> Result<Self, EvaluationError> {
        check(labels, task, rows, options)?;
        let classes = Classes::of(labels, rows);
        let mut ordered: Vec<&Judged> = rows.iter().collect();
        ordered.sort_by_key(|judged| judged.row);
        let outcomes: Vec<Outcome<'_>> =
            ordered.into_iter().map(|judged| Outcome::of(judged, task, &classes, options.bins)).collect();
        let tally = Tally::of(&outcomes, classes.len(), options.bins);
        let scores = tally.scores();
        let coverage = Coverage::of(&outcomes, options.precision);
        let by_pair = by_pair(&outcomes);
        let is_unknown = |judged: &&Judged| judged.truth.iter().any(|label| matches!(label, TrueLabel::Unknown(_)));
        let parts =
            outcomes.iter().map(|outcome| (outcome.judged, outcome.truth.as_slice(), outcome.decisions.as_slice()));
        Ok(Self {
            rows: rows.len(),
            accuracy: scores.accuracy,
            top3: scores.top3,
            macro_f1: scores.macro_f1,
            weighted_f1: scores.weighted_f1,
            ece: scores.ece,
            ece_by_chance: error_by_chance(outcomes.iter().flat_map(|outcome| &outcome.decisions), options.bins),
            coverage_at_precision: coverage.reached.map_or(0.0, |point| point.coverage),
            per_class: per_class(&outcomes, tally.classes(), &classes),
            task,
            precision: options.precision,
            threshold: coverage.reached.map(|point| point.threshold),
            log_loss: log_loss(parts, task),
            rows_with_unknown_labels: rows.iter().filter(is_unknown).count(),
            intervals: bootstrap(&outcomes, tally, options.bootstrap_rounds, options.seed),
            confusions: worst(&by_pair, &classes, options.worst_confusions, options.examples_per_confusion),
            reliability: reliability(outcomes.iter().flat_map(|outcome| &outcome.decisions), options.bins),
            coverage_curve: coverage.curve,
            pairs: by_pair.iter().map(|(pair, rows)| (*pair, rows.len())).collect(),
        })
    }
}
