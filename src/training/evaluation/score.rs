//! The headline figures, counted from outcomes.

use super::outcome::Outcome;

/// The headline figures, all 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scores {
    pub accuracy: f64,
    pub top3: f64,
    pub macro_f1: f64,
    pub weighted_f1: f64,
    pub ece: f64,
}

/// How often a class was right, given, and both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ClassCount {
    pub support: usize,
    pub predicted: usize,
    pub hits: usize,
}

impl ClassCount {
    pub fn precision(self) -> f64 {
        share(self.hits, self.predicted)
    }

    pub fn recall(self) -> f64 {
        share(self.hits, self.support)
    }

    pub fn f1(self) -> f64 {
        share(2 * self.hits, self.support + self.predicted)
    }

    fn occurs(self) -> bool {
        self.support + self.predicted > 0
    }
}

/// A share of nothing is 0, as in scikit-learn.
pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Counts from which all figures follow. Rows can be counted more than once.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    classes: Vec<ClassCount>,
    /// Sum of the gaps, by bin.
    gaps: Vec<f64>,
    rows: usize,
    right: usize,
    in_top: usize,
    decisions: usize,
}

impl Tally {
    pub fn new(classes: usize, bins: usize) -> Self {
        let classes = vec![ClassCount::default(); classes];
        Self { classes, gaps: vec![0.0; bins], rows: 0, right: 0, in_top: 0, decisions: 0 }
    }

    /// Counts each row once.
    pub fn of(outcomes: &[Outcome<'_>], classes: usize, bins: usize) -> Self {
        let mut tally = Self::new(classes, bins);
        outcomes.iter().for_each(|outcome| tally.add(outcome, 1));
        tally
    }

    pub fn clear(&mut self) {
        self.classes.fill(ClassCount::default());
        self.gaps.fill(0.0);
        (self.rows, self.right, self.in_top, self.decisions) = (0, 0, 0, 0);
    }

    pub fn add(&mut self, outcome: &Outcome<'_>, times: usize) {
        self.rows += times;
        self.right += times * usize::from(outcome.is_right);
        self.in_top += times * outcome.in_top;
        self.decisions += times * outcome.decisions.len();
        self.count(&outcome.truth, |class| class.support += times);
        self.count(&outcome.predicted, |class| class.predicted += times);
        self.count(&outcome.hits, |class| class.hits += times);
        for gap in &outcome.gaps {
            if let Some(sum) = self.gaps.get_mut(gap.bin) {
                *sum += gap.excess * times as f64;
            }
        }
    }

    fn count(&mut self, classes: &[usize], mut change: impl FnMut(&mut ClassCount)) {
        for class in classes {
            if let Some(count) = self.classes.get_mut(*class) {
                change(count);
            }
        }
    }

    pub fn classes(&self) -> &[ClassCount] {
        &self.classes
    }

    pub fn scores(&self) -> Scores {
        let f1_sum: f64 = self.classes.iter().map(|class| class.f1()).sum();
        let weighted_sum: f64 = self.classes.iter().map(|class| class.f1() * class.support as f64).sum();
        let occurring = self.classes.iter().filter(|class| class.occurs()).count();
        let true_labels: usize = self.classes.iter().map(|class| class.support).sum();
        // A bin's share of the decisions times its mean gap is its summed gap over all decisions.
        let gap_sum: f64 = self.gaps.iter().map(|gap| gap.abs()).sum();
        Scores {
            accuracy: share(self.right, self.rows),
            top3: share(self.in_top, true_labels),
            macro_f1: f1_sum / occurring.max(1) as f64,
            weighted_f1: weighted_sum / true_labels.max(1) as f64,
            ece: gap_sum / self.decisions.max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_class() {
        let cases = [
            ((4, 3, 2), (2.0 / 3.0, 0.5, 4.0 / 7.0)),
            ((0, 3, 0), (0.0, 0.0, 0.0)),
            ((4, 0, 0), (0.0, 0.0, 0.0)),
            ((0, 0, 0), (0.0, 0.0, 0.0)),
            ((5, 5, 5), (1.0, 1.0, 1.0)),
        ];
        for ((support, predicted, hits), expected) in cases {
            let class = ClassCount { support, predicted, hits };
            assert_eq!((class.precision(), class.recall(), class.f1()), expected, "{class:?}");
        }
    }
}
