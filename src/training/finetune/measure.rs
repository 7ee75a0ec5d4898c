//! How well logits fit labels.

use serde::{Deserialize, Serialize};

use super::matrix::Matrix;
use super::options::{Objective, Selection};

/// Results on held-out rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Share of rows whose labels are all right, 0 to 1.
    pub accuracy: f32,
    /// Mean of F1 over the classes that occur, 0 to 1.
    pub macro_f1: f32,
}

impl HeldOut {
    pub(super) fn score(&self, selection: Selection) -> f32 {
        match selection {
            Selection::Accuracy => self.accuracy,
            Selection::MacroF1 => self.macro_f1,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    right: usize,
    given: usize,
    wanted: usize,
}

/// Counts of right and wrong answers, row by row.
#[derive(Debug)]
pub(super) struct Tally {
    objective: Objective,
    classes: Vec<Counts>,
    rows: usize,
    right_rows: usize,
}

impl Tally {
    pub fn new(objective: Objective, classes: usize) -> Self {
        Self { objective, classes: vec![Counts::default(); classes], rows: 0, right_rows: 0 }
    }

    /// Counts rows of logits against their labels.
    pub fn add<'a>(&mut self, logits: &Matrix, labels: impl Iterator<Item = &'a [u32]>) {
        for (row, wanted) in logits.values().chunks_exact(self.classes.len().max(1)).zip(labels) {
            let given = self.answer(row);
            self.rows += 1;
            self.right_rows +=
                usize::from(given.len() == wanted.len() && given.iter().all(|class| wanted.contains(class)));
            for (class, counts) in (0u32..).zip(&mut self.classes) {
                let (is_given, is_wanted) = (given.contains(&class), wanted.contains(&class));
                counts.given += usize::from(is_given);
                counts.wanted += usize::from(is_wanted);
                counts.right += usize::from(is_given && is_wanted);
            }
        }
    }

    fn answer(&self, row: &[f32]) -> Vec<u32> {
        let numbered = (0u32..).zip(row);
        match self.objective {
            Objective::SingleLabel => {
                numbered.max_by(|one, other| one.1.total_cmp(other.1)).map(|(class, _)| vec![class]).unwrap_or_default()
            }
            Objective::MultiLabel => numbered.filter(|(_, logit)| **logit > 0.0).map(|(class, _)| class).collect(),
        }
    }

    pub fn finish(&self) -> HeldOut {
        let occurring: Vec<&Counts> = self.classes.iter().filter(|counts| counts.given + counts.wanted > 0).collect();
        let f1 = |counts: &&Counts| 2.0 * counts.right as f32 / (counts.given + counts.wanted) as f32;
        HeldOut {
            accuracy: self.right_rows as f32 / self.rows.max(1) as f32,
            macro_f1: occurring.iter().map(f1).sum::<f32>() / occurring.len().max(1) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        let labels: [&[u32]; 3] = [&[0], &[1], &[1]];
        let mut tally = Tally::new(Objective::SingleLabel, 3);
        tally.add(&Matrix::new(3, vec![2.0, 1.0, 0.0, 2.0, 1.0, 0.0, -2.0, -1.0, -3.0]), labels.into_iter());
        let result = tally.finish();
        assert!((result.accuracy - 2.0 / 3.0).abs() < 1e-6);
        assert!((result.macro_f1 - 2.0 / 3.0).abs() < 1e-6, "{result:?}");

        let labels: [&[u32]; 2] = [&[0, 1], &[]];
        let mut tally = Tally::new(Objective::MultiLabel, 2);
        tally.add(&Matrix::new(2, vec![1.0, 0.5, -1.0, 3.0]), labels.into_iter());
        let result = tally.finish();
        assert!((result.accuracy - 0.5).abs() < 1e-6);
        assert!((result.macro_f1 - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-6, "{result:?}");
    }
}
