//! How well each class is told from the others.

use serde::Serialize;

use super::outcome::{Classes, Outcome};
use super::score::{ClassCount, share};

/// The figures of one label. A share of nothing is 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassFigures {
    /// Name of the label.
    pub label: String,
    /// Rows that have it in truth.
    pub support: usize,
    /// Rows to which the model gives it.
    pub predicted: usize,
    /// Share of the rows it is given to that have it, 0 to 1.
    pub precision: f64,
    /// Share of the rows that have it that it is given to, 0 to 1.
    pub recall: f64,
    /// Harmonic mean of the two, 0 to 1.
    pub f1: f64,
    /// Area under the steps of precision over recall as rows are taken by the label's probability, 0 to 1; `None` if no row has
    /// the label or the model does not know it.
    pub average_precision: Option<f64>,
    /// False for a label that the model does not know.
    pub known: bool,
}

/// One entry a class, in the order of the classes.
pub(super) fn per_class(outcomes: &[Outcome<'_>], counts: &[ClassCount], classes: &Classes) -> Vec<ClassFigures> {
    let figures = |(class, count): (usize, &ClassCount)| ClassFigures {
        label: classes.name(class).to_owned(),
        support: count.support,
        predicted: count.predicted,
        precision: count.precision(),
        recall: count.recall(),
        f1: count.f1(),
        average_precision: average_precision(outcomes, class),
        known: classes.is_known(class),
    };
    counts.iter().enumerate().map(figures).collect()
}

fn average_precision(outcomes: &[Outcome<'_>], class: usize) -> Option<f64> {
    let ranked = |outcome: &Outcome<'_>| {
        let probability = outcome.judged.probabilities.get(class)?;
        Some((*probability, outcome.truth.contains(&class)))
    };
    let mut ranked: Vec<(f32, bool)> = outcomes.iter().map(ranked).collect::<Option<_>>()?;
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
    let support = ranked.iter().filter(|(_, has_it)| *has_it).count();
    if support == 0 {
        return None;
    }
    let (mut taken, mut hits, mut area) = (0, 0, 0.0);
    for equal in ranked.chunk_by(|one, other| one.0 == other.0) {
        let more = equal.iter().filter(|(_, has_it)| *has_it).count();
        taken += equal.len();
        hits += more;
        area += share(more, support) * share(hits, taken);
    }
    Some(area)
}
