//! What came of one row: its right and given labels as classes, and everything that later counting needs.

use std::collections::BTreeSet;

use super::calibration::{Decision, Gap, decisions, gaps};
use super::judged::{Judged, Task, TrueLabel, most_probable};

/// How many of the most probable labels are looked at.
const TOP: usize = 3;

/// The classes that rows are counted by: the model's labels in their order, then the labels it does not know by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Classes {
    names: Vec<String>,
    known: usize,
}

impl Classes {
    pub fn of(labels: &[String], rows: &[Judged]) -> Self {
        let unknown = |label: &TrueLabel| match label {
            TrueLabel::Known(_) => None,
            TrueLabel::Unknown(name) => Some(name.clone()),
        };
        let unknown: BTreeSet<String> = rows.iter().flat_map(|judged| &judged.truth).filter_map(unknown).collect();
        Self { names: labels.iter().cloned().chain(unknown).collect(), known: labels.len() }
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_known(&self, class: usize) -> bool {
        class < self.known
    }

    pub fn name(&self, class: usize) -> &str {
        self.names.get(class).map_or("", String::as_str)
    }

    fn index(&self, label: &TrueLabel) -> Option<usize> {
        match label {
            TrueLabel::Known(class) => Some(*class),
            TrueLabel::Unknown(name) => {
                let unknown = self.names.iter().enumerate().skip(self.known);
                unknown.filter(|(_, known)| *known == name).map(|(class, _)| class).next()
            }
        }
    }
}

/// What came of one row. Classes stand in ascending order, each once.
#[derive(Debug, Clone)]
pub(super) struct Outcome<'a> {
    pub judged: &'a Judged,
    pub truth: Vec<usize>,
    pub predicted: Vec<usize>,
    /// Classes that are both right and given.
    pub hits: Vec<usize>,
    pub is_right: bool,
    /// Right classes among the three most probable.
    pub in_top: usize,
    pub confidence: f32,
    pub decisions: Vec<Decision>,
    pub gaps: Vec<Gap>,
}

impl<'a> Outcome<'a> {
    pub fn of(judged: &'a Judged, task: Task, classes: &Classes, bins: usize) -> Self {
        let truth = distinct(judged.truth.iter().filter_map(|label| classes.index(label)));
        let predicted = match task {
            Task::SingleLabel => distinct(most_probable(&judged.probabilities)),
            Task::MultiLabel => distinct(judged.predicted.iter().copied()),
        };
        let hits: Vec<usize> = truth.iter().copied().filter(|class| predicted.contains(class)).collect();
        let decisions = decisions(judged, task, &truth, &predicted);
        Self {
            is_right: truth == predicted,
            in_top: truth.iter().filter(|class| is_in_top(&judged.probabilities, **class)).count(),
            confidence: judged.confidence(task),
            gaps: gaps(&decisions, bins),
            judged,
            truth,
            predicted,
            hits,
            decisions,
        }
    }
}

fn distinct(classes: impl IntoIterator<Item = usize>) -> Vec<usize> {
    classes.into_iter().collect::<BTreeSet<usize>>().into_iter().collect()
}

/// Of equally probable labels the first come first.
fn is_in_top(probabilities: &[f32], class: usize) -> bool {
    let Some(own) = probabilities.get(class) else { return false };
    let is_ahead = |(other, probability): (usize, &f32)| probability > own || (probability == own && other < class);
    probabilities.iter().enumerate().filter(|other| is_ahead(*other)).count() < TOP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equally_probable_labels_the_first_come_first() {
        let probabilities = [0.1, 0.3, 0.3, 0.3, 0.0];
        let top: Vec<bool> = (0..6).map(|class| is_in_top(&probabilities, class)).collect();
        assert_eq!(top, [false, true, true, true, false, false]);
        assert!(!is_in_top(&[0.25; 4], 3));
    }

    #[test]
    fn unknown_labels_become_classes_behind_the_known() {
        let labels = ["b".to_owned(), "a".to_owned()];
        let truth = ["y", "x", "y"].map(|name| TrueLabel::Unknown(name.to_owned())).to_vec();
        let rows =
            [Judged { row: 1, text: String::new(), truth, probabilities: vec![0.9, 0.2], predicted: vec![0, 1, 0] }];
        let classes = Classes::of(&labels, &rows);
        assert_eq!(classes.names, ["b", "a", "x", "y"]);
        assert!(classes.is_known(1) && !classes.is_known(2));
        let outcome = Outcome::of(&rows[0], Task::MultiLabel, &classes, 15);
        assert_eq!((outcome.truth, outcome.predicted, outcome.hits), (vec![2, 3], vec![0, 1], vec![]));
        assert!(!outcome.is_right);
        assert_eq!(outcome.in_top, 0);
    }
}
