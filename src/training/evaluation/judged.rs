//! Rows that a model judged, and what they must fulfil.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{EvaluationError, EvaluationOptions};

/// How far from 1 the probabilities of a single-label row may add up to.
const SUM_TOLERANCE: f32 = 0.01;

/// How many labels a row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Exactly one.
    SingleLabel,
    /// Any set, the empty one included.
    MultiLabel,
}

/// A label that a row has in truth.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrueLabel {
    /// Index among the model's labels.
    Known(usize),
    /// Name of a label that the model does not know and so always gets wrong.
    Unknown(String),
}

/// A row, what is true of it and what the model says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Number of the row in its file.
    pub row: usize,
    /// What the customer wrote.
    pub text: String,
    /// The right labels, in any order; exactly one in a single-label task.
    pub truth: Vec<TrueLabel>,
    /// Calibrated probability of each label, 0 to 1: `[labels]`. They add up to 1 in a single-label task.
    pub probabilities: Vec<f32>,
    /// Indices of the labels that the model gives to the row, in any order. Read in a multi-label task only: in a single-label
    /// task the most probable label is given, of equally probable ones the first.
    pub predicted: Vec<usize>,
}

impl Judged {
    /// How sure the model is of its whole answer, 0 to 1: what is compared with [`super::Evaluation::threshold`].
    ///
    /// In a single-label task the probability of the most probable label; in a multi-label task the product over all labels of
    /// the probability that the label was rightly given or withheld.
    pub fn confidence(&self, task: Task) -> f32 {
        match task {
            Task::SingleLabel => self.probabilities.iter().copied().fold(0.0, f32::max),
            Task::MultiLabel => {
                let given: BTreeSet<usize> = self.predicted.iter().copied().collect();
                let sure = |(label, probability): (usize, &f32)| {
                    let probability = f64::from(*probability);
                    if given.contains(&label) { probability } else { 1.0 - probability }
                };
                self.probabilities.iter().enumerate().map(sure).product::<f64>() as f32
            }
        }
    }
}

/// Index of the largest probability, of equal ones the first.
pub(super) fn most_probable(probabilities: &[f32]) -> Option<usize> {
    let first_largest = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
    probabilities.iter().copied().enumerate().reduce(first_largest).map(|(label, _)| label)
}

/// Refuses rows and options from which no figure would be sound.
pub(super) fn check(
    labels: &[String],
    task: Task,
    rows: &[Judged],
    options: &EvaluationOptions,
) -> Result<(), EvaluationError> {
    options.check()?;
    let mut known = BTreeSet::new();
    if let Some(label) = labels.iter().find(|label| !known.insert(label.as_str())) {
        return Err(EvaluationError::RepeatedLabel { label: label.clone() });
    }
    match (labels, rows) {
        ([], _) => Err(EvaluationError::NoLabels),
        (_, []) => Err(EvaluationError::NoRows),
        _ => rows.iter().try_for_each(|judged| {
            check_row(labels.len(), &known, task, judged)
                .map_err(|problem| EvaluationError::Row { row: judged.row, problem })
        }),
    }
}

fn check_row(labels: usize, known: &BTreeSet<&str>, task: Task, judged: &Judged) -> Result<(), String> {
    let probabilities = &judged.probabilities;
    if probabilities.len() != labels {
        return Err(format!("it has {} probabilities and the model has {labels} labels", probabilities.len()));
    }
    if let Some(wrong) = probabilities.iter().find(|value| !(0.0..=1.0).contains(*value)) {
        return Err(format!("a probability is {wrong} and must be from 0 to 1"));
    }
    for label in &judged.truth {
        match label {
            TrueLabel::Known(label) if *label >= labels => return Err(no_such("right", *label, labels)),
            TrueLabel::Unknown(name) if known.contains(name.as_str()) => {
                return Err(format!("\"{name}\" is said to be unknown to the model, and the model knows it"));
            }
            TrueLabel::Known(_) | TrueLabel::Unknown(_) => {}
        }
    }
    match task {
        Task::SingleLabel => {
            if judged.truth.len() != 1 {
                return Err(format!("it has {} right labels and must have exactly one", judged.truth.len()));
            }
            let sum: f32 = probabilities.iter().sum();
            if (sum - 1.0).abs() > SUM_TOLERANCE {
                return Err(format!("its probabilities add up to {sum} and must add up to 1"));
            }
        }
        Task::MultiLabel => {
            if let Some(wrong) = judged.predicted.iter().find(|label| **label >= labels) {
                return Err(no_such("predicted", *wrong, labels));
            }
        }
    }
    Ok(())
}

fn no_such(what: &str, label: usize, labels: usize) -> String {
    format!("a {what} label has the index {label} and the model has {labels} labels, counted from 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(truth: &[TrueLabel], probabilities: &[f32], predicted: &[usize]) -> Judged {
        Judged {
            row: 12,
            text: String::new(),
            truth: truth.to_vec(),
            probabilities: probabilities.to_vec(),
            predicted: predicted.to_vec(),
        }
    }

    #[test]
    fn of_equally_probable_labels_the_first_is_given() {
        assert_eq!(most_probable(&[0.2, 0.4, 0.4]), Some(1));
        assert_eq!(most_probable(&[]), None);
    }

    #[test]
    fn confidence_is_that_of_the_whole_answer() {
        let row = judged(&[], &[0.75, 0.25, 0.5], &[0, 0]);
        assert_eq!(row.confidence(Task::SingleLabel), 0.75);
        assert_eq!(row.confidence(Task::MultiLabel), 0.75 * 0.75 * 0.5);
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_row() {
        use TrueLabel::{Known, Unknown};
        let labels = ["a".to_owned(), "b".to_owned()];
        let (single, multi) = (Task::SingleLabel, Task::MultiLabel);
        let cases = [
            (single, judged(&[], &[0.5, 0.5], &[]), "it has 0 right labels and must have exactly one"),
            (
                single,
                judged(&[Known(0), Known(1)], &[0.5, 0.5], &[]),
                "it has 2 right labels and must have exactly one",
            ),
            (single, judged(&[Known(0)], &[0.5, 0.25], &[]), "its probabilities add up to 0.75 and must add up to 1"),
            (single, judged(&[Known(0)], &[1.0], &[]), "it has 1 probabilities and the model has 2 labels"),
            (multi, judged(&[], &[0.5, f32::NAN], &[]), "a probability is NaN and must be from 0 to 1"),
            (multi, judged(&[], &[0.5, 1.5], &[]), "a probability is 1.5 and must be from 0 to 1"),
            (
                multi,
                judged(&[Known(2)], &[0.5, 0.5], &[]),
                "a right label has the index 2 and the model has 2 labels, counted from 0",
            ),
            (
                multi,
                judged(&[], &[0.5, 0.5], &[7]),
                "a predicted label has the index 7 and the model has 2 labels, counted from 0",
            ),
            (
                multi,
                judged(&[Unknown("b".to_owned())], &[0.5, 0.5], &[]),
                "\"b\" is said to be unknown to the model, and the model knows it",
            ),
        ];
        for (task, row, expected) in cases {
            let error = check(&labels, task, &[row], &EvaluationOptions::default()).unwrap_err();
            assert_eq!(error.to_string(), format!("row 12: {expected}"));
        }
    }

    #[test]
    fn nothing_to_measure_is_an_error_and_not_a_figure() {
        let options = EvaluationOptions::default();
        let labels = ["a".to_owned()];
        let row = [judged(&[TrueLabel::Known(0)], &[1.0], &[])];
        let twice = ["a".to_owned(), "a".to_owned()];
        let of = |labels: &[String], rows: &[Judged]| check(labels, Task::SingleLabel, rows, &options);
        assert_eq!(of(&labels, &row), Ok(()));
        assert_eq!(of(&labels, &[]), Err(EvaluationError::NoRows));
        assert_eq!(of(&[], &row), Err(EvaluationError::NoLabels));
        assert_eq!(of(&twice, &row), Err(EvaluationError::RepeatedLabel { label: "a".to_owned() }));
    }
}
