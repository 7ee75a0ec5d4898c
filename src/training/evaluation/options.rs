//! What an evaluation is asked for.

use super::EvaluationError;

/// What an evaluation is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvaluationOptions {
    /// Accuracy wanted among the rows that are answered, above 0 up to 1.
    pub precision: f32,
    /// Bins of confidence of equal width, 1 to 1,000.
    pub bins: usize,
    /// Resamplings behind each interval; 0 for no intervals.
    pub bootstrap_rounds: usize,
    /// Seed of the resamplings.
    pub seed: u64,
    /// Confusions to list.
    pub worst_confusions: usize,
    /// Rows to quote for each of them.
    pub examples_per_confusion: usize,
}

impl Default for EvaluationOptions {
    fn default() -> Self {
        Self {
            precision: 0.9,
            bins: 15,
            bootstrap_rounds: 1000,
            seed: 1,
            worst_confusions: 10,
            examples_per_confusion: 2,
        }
    }
}

impl EvaluationOptions {
    /// Whether every option is within its range; an evaluation asks this first.
    ///
    /// # Errors
    /// [`EvaluationError::Option`].
    pub fn check(&self) -> Result<(), EvaluationError> {
        if !(self.precision > 0.0 && self.precision <= 1.0) {
            let found = self.precision.to_string();
            return Err(EvaluationError::Option { option: "precision", found, allowed: "above 0 and at most 1" });
        }
        if !(1..=1000).contains(&self.bins) {
            let found = self.bins.to_string();
            return Err(EvaluationError::Option { option: "bins", found, allowed: "from 1 to 1000" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused() {
        let default = EvaluationOptions::default();
        assert_eq!(default.check(), Ok(()));
        let cases = [
            (EvaluationOptions { precision: 0.0, ..default }, "precision is 0 and must be above 0 and at most 1"),
            (
                EvaluationOptions { precision: f32::NAN, ..default },
                "precision is NaN and must be above 0 and at most 1",
            ),
            (EvaluationOptions { precision: 1.5, ..default }, "precision is 1.5 and must be above 0 and at most 1"),
            (EvaluationOptions { bins: 0, ..default }, "bins is 0 and must be from 1 to 1000"),
        ];
        for (options, expected) in cases {
            assert_eq!(options.check().unwrap_err().to_string(), expected);
        }
    }
}
