//! What the print and the page both say.

use std::cmp::Reverse;

use super::shortened::one_line;
use super::{ClassFigures, Confusion, Evaluation, Interval, Task};

/// What the intervals are.
pub(super) const INTERVALS: &str = "Ranges: middle 95 % of resamplings of the rows";

/// One of the first figures that are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Headline {
    pub name: &'static str,
    pub value: f64,
    pub interval: Option<Interval>,
    pub meaning: &'static str,
}

/// The first figures that are looked at, in their order.
pub(super) fn headline(evaluation: &Evaluation) -> [Headline; 7] {
    let (accuracy, top3) = match evaluation.task {
        Task::SingleLabel => ("share of rows answered rightly", "right label among the three most probable"),
        Task::MultiLabel => ("share of rows with exactly the right set", "right labels among the three most probable"),
    };
    let intervals = evaluation.intervals;
    let figure = |name, value, interval, meaning| Headline { name, value, interval, meaning };
    [
        figure("accuracy", evaluation.accuracy, intervals.map(|all| all.accuracy), accuracy),
        figure("top 3", evaluation.top3, intervals.map(|all| all.top3), top3),
        figure("macro F1", evaluation.macro_f1, intervals.map(|all| all.macro_f1), "mean over labels"),
        figure(
            "weighted F1",
            evaluation.weighted_f1,
            intervals.map(|all| all.weighted_f1),
            "mean by rows of the label",
        ),
        figure("ECE", evaluation.ece, intervals.map(|all| all.ece), "calibration error, 0 is best"),
        figure("chance ECE", evaluation.ece_by_chance, None, "what it would be if all confidences were right"),
        figure("log loss", evaluation.log_loss, None, "of the probabilities, 0 is best"),
    ]
}

/// What coverage at the wanted precision means, in words.
pub(super) fn coverage_sentence(evaluation: &Evaluation) -> String {
    let wanted = evaluation.precision;
    let answer = match evaluation.task {
        Task::SingleLabel => "confidence",
        Task::MultiLabel => "confidence in their whole set",
    };
    match evaluation.threshold {
        None => format!("No threshold of confidence gives a precision of {wanted}: it is never reached."),
        Some(threshold) if evaluation.coverage_at_precision >= 1.0 => {
            format!("At a precision of {wanted} all rows can be answered; the least {answer} is {threshold:.3}.")
        }
        Some(threshold) => format!(
            "At a precision of {wanted} the model can answer {:.1} % of rows: those with a {answer} of at least {threshold:.3}.",
            100.0 * evaluation.coverage_at_precision
        ),
    }
}

/// How many rows the model cannot get right.
pub(super) fn unknown_sentence(evaluation: &Evaluation) -> String {
    match evaluation.rows_with_unknown_labels {
        1 => "1 row has a label that the model does not know; it counts as an error.".to_owned(),
        rows => format!("{rows} rows have labels that the model does not know; they count as errors."),
    }
}

/// Classes with the most rows first, those of equally many by name.
pub(super) fn by_support(evaluation: &Evaluation) -> Vec<&ClassFigures> {
    let mut classes: Vec<&ClassFigures> = evaluation.per_class.iter().collect();
    classes.sort_by_key(|class| (Reverse(class.support), class.label.as_str()));
    classes
}

/// Names of a confusion's labels: what is right, what was given.
pub(super) fn confused(confusion: &Confusion) -> (String, String) {
    let name = |label: &Option<String>| label.as_deref().map_or_else(|| "(none)".to_owned(), one_line);
    (name(&confusion.truth), name(&confusion.predicted))
}
