//! How many rows can be answered, the surest first, before too many answers are wrong.

use serde::Serialize;

use super::decimal;
use super::outcome::Outcome;
use super::score::share;

/// About as many points as a curve keeps.
const CURVE_POINTS: usize = 200;

/// What comes of answering the rows that are at least this sure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CoveragePoint {
    /// Share of all rows that are answered, above 0 up to 1.
    pub coverage: f64,
    /// Accuracy among them, 0 to 1.
    pub precision: f64,
    /// Least confidence among them, 0 to 1; see [`super::Judged::confidence`].
    #[serde(serialize_with = "decimal::shortest")]
    pub threshold: f32,
}

/// Accuracy among the answered rows, from the surest alone to all rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Coverage {
    /// In ascending order of coverage, thinned.
    pub curve: Vec<CoveragePoint>,
    /// The point of largest coverage that has the wanted precision; `None` if no point has it.
    pub reached: Option<CoveragePoint>,
}

impl Coverage {
    pub fn of(outcomes: &[Outcome<'_>], precision: f32) -> Self {
        let points = points(outcomes);
        // In f32, for the nearest f32 to the wanted precision may lie above it: 8 of 10 are a precision of 0.8.
        let reached = points.iter().rev().find(|point| point.precision as f32 >= precision).copied();
        Self { curve: thin(points, reached), reached }
    }
}

/// One point for each confidence that occurs: equally sure rows are answered together.
fn points(outcomes: &[Outcome<'_>]) -> Vec<CoveragePoint> {
    let mut surest: Vec<(f32, bool)> = outcomes.iter().map(|outcome| (outcome.confidence, outcome.is_right)).collect();
    surest.sort_by(|one, other| other.0.total_cmp(&one.0));
    let (mut answered, mut right) = (0, 0);
    let equally_sure = surest.chunk_by(|one, other| one.0 == other.0);
    let point = |rows: &[(f32, bool)]| {
        answered += rows.len();
        right += rows.iter().filter(|(_, is_right)| *is_right).count();
        let threshold = rows.first().map(|(confidence, _)| *confidence)?;
        let (coverage, precision) = (share(answered, outcomes.len()), share(right, answered));
        Some(CoveragePoint { coverage, precision, threshold })
    };
    equally_sure.filter_map(point).collect()
}

/// Keeps the ends, the point reached, and of the others one for each step of coverage.
fn thin(points: Vec<CoveragePoint>, reached: Option<CoveragePoint>) -> Vec<CoveragePoint> {
    if points.len() <= CURVE_POINTS {
        return points;
    }
    let last = points.last().copied();
    let mut previous_step = None;
    let keep = |point: &CoveragePoint| {
        let step = Some((point.coverage * CURVE_POINTS as f64) as usize);
        let is_next = step != previous_step;
        previous_step = step;
        is_next || Some(*point) == last || Some(*point) == reached
    };
    points.into_iter().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(coverage: f64, precision: f64, threshold: f32) -> CoveragePoint {
        CoveragePoint { coverage, precision, threshold }
    }

    #[test]
    fn a_curve_is_thinned_to_its_ends_its_steps_and_the_point_reached() {
        let full: Vec<_> =
            (1..=5000).map(|rank| point(rank as f64 / 5000.0, 0.5, 1.0 - rank as f32 / 5001.0)).collect();
        let reached = full[1234];
        let thinned = thin(full.clone(), Some(reached));
        assert!((190..=203).contains(&thinned.len()), "{}", thinned.len());
        assert_eq!((thinned.first(), thinned.last()), (full.first(), full.last()));
        assert!(thinned.contains(&reached));
        assert_eq!(thin(full[..200].to_vec(), None), full[..200]);
    }
}
