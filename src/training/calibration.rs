//! From margins of rows that the weights had not seen to probabilities that hold.

use crate::tagging::heads::{Calibration, Curve, LabelKind, TopCurve, logit, softmax};
use crate::tagging::logistic_curve;

/// Slope of the softmax where too few rows are there to measure it.
const UNMEASURED_SLOPE: f32 = 3.0;

/// Slopes that are tried lie between these.
const SLOPES: (f32, f32) = (0.05, 60.0);

/// Fewer rows than these say too little of how often the most probable label is right.
const ROWS_OF_TOP_CURVE: usize = 100;

/// Thresholds that are tried lie between these, in hundredths.
const THRESHOLDS: std::ops::RangeInclusive<u8> = 20..=80;

/// Margins of one row and its labels; a label that was not to be known is left out.
pub(crate) struct HeldOut<'a> {
    pub margins: &'a [f32],
    pub truth: &'a [usize],
}

/// What is assumed where nothing could be held out.
pub(crate) fn unmeasured(kind: LabelKind, labels: usize) -> Calibration {
    match kind {
        LabelKind::Single => Calibration::Softmax { slope: UNMEASURED_SLOPE, top: TopCurve::STRAIGHT },
        LabelKind::Multi => {
            Calibration::Curves(vec![Curve { slope: UNMEASURED_SLOPE, offset: 0.0, threshold: 0.5 }; labels])
        }
    }
}

/// Measures the calibration on held-out rows.
pub(crate) fn calibrate(kind: LabelKind, labels: usize, held_out: &[HeldOut<'_>]) -> Calibration {
    match kind {
        LabelKind::Single => {
            let slope = best_slope(held_out);
            Calibration::Softmax { slope, top: top_curve(slope, held_out) }
        }
        LabelKind::Multi => Calibration::Curves((0..labels).map(|label| curve(label, held_out)).collect()),
    }
}

/// Mean negative logarithm of the probability of what is true.
pub(crate) fn log_loss(calibration: &Calibration, held_out: &[HeldOut<'_>]) -> f64 {
    const LEAST: f32 = 1e-6;
    let mut sum = 0.0;
    for row in held_out {
        match calibration {
            Calibration::Softmax { .. } => {
                let mut probabilities = row.margins.to_vec();
                calibration.apply(&mut probabilities);
                let right = row.truth.first().and_then(|label| probabilities.get(*label)).copied().unwrap_or(0.0);
                sum -= f64::from(right.max(LEAST)).ln();
            }
            Calibration::Curves(curves) => {
                for (label, (margin, curve)) in row.margins.iter().zip(curves).enumerate() {
                    let given = curve.probability(*margin);
                    let right = if row.truth.contains(&label) { given } else { 1.0 - given };
                    sum -= f64::from(right.max(LEAST)).ln();
                }
            }
        }
    }
    sum / held_out.len().max(1) as f64
}

/// The slope under which the right labels are most probable: the loss is convex in it, so a golden-section search finds it.
fn best_slope(held_out: &[HeldOut<'_>]) -> f32 {
    const STEPS: usize = 40;
    let golden = (5f32.sqrt() - 1.0) / 2.0;
    let loss =
        |logarithm: f32| log_loss(&Calibration::Softmax { slope: logarithm.exp(), top: TopCurve::STRAIGHT }, held_out);
    let (mut low, mut high) = (SLOPES.0.ln(), SLOPES.1.ln());
    let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_left, mut at_right) = (loss(left), loss(right));
    for _ in 0..STEPS {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - golden * (high - low);
            at_left = loss(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + golden * (high - low);
            at_right = loss(right);
        }
    }
    f32::midpoint(low, high).exp()
}

/// How often the most probable label is right by its probability: one slope for all margins makes labels of some rows too sure.
fn top_curve(slope: f32, held_out: &[HeldOut<'_>]) -> TopCurve {
    if held_out.len() < ROWS_OF_TOP_CURVE {
        return TopCurve::STRAIGHT;
    }
    let judged = held_out.iter().filter_map(|row| {
        let mut probabilities = row.margins.to_vec();
        softmax(&mut probabilities, slope);
        let top = probabilities.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1))?;
        Some((logit(*top.1), row.truth.contains(&top.0)))
    });
    let judged: Vec<(f32, bool)> = judged.collect();
    if judged.iter().all(|(_, right)| *right) || !judged.iter().any(|(_, right)| *right) {
        return TopCurve::STRAIGHT;
    }
    let (slope, offset) = logistic_curve(&judged);
    // A curve that falls would call the surest answers the worst: too few rows tell that.
    if slope > 0.0 { TopCurve { slope, offset } } else { TopCurve::STRAIGHT }
}

/// A label's curve, and the threshold under which the fewest held-out rows are decided wrongly (of equally good ones, that
/// nearest to one half).
fn curve(label: usize, held_out: &[HeldOut<'_>]) -> Curve {
    let margins: Vec<(f32, bool)> =
        held_out.iter().filter_map(|row| Some((*row.margins.get(label)?, row.truth.contains(&label)))).collect();
    let (slope, offset) = logistic_curve(&margins);
    let mut curve = Curve { slope, offset, threshold: 0.5 };
    let wrong =
        |threshold: f32| margins.iter().filter(|(margin, is)| (curve.probability(*margin) >= threshold) != *is).count();
    let best = THRESHOLDS
        .map(|hundredths| f32::from(hundredths) / 100.0)
        .min_by_key(|threshold| (wrong(*threshold), ((threshold - 0.5).abs() * 100.0).round() as u32));
    curve.threshold = best.unwrap_or(0.5);
    curve
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_makes_shares_of_probabilities() {
        // The first label leads by a margin of 1 and is right three times in four: odds of 3, so a slope of ln 3.
        let margins = [1.0, 0.0];
        let truths: [Vec<usize>; 4] = [vec![0], vec![0], vec![0], vec![1]];
        let rows: Vec<HeldOut<'_>> = truths.iter().map(|truth| HeldOut { margins: &margins, truth }).collect();
        let Calibration::Softmax { slope, .. } = calibrate(LabelKind::Single, 2, &rows) else {
            panic!("not a softmax")
        };
        assert!((slope - 3f32.ln()).abs() < 1e-3, "{slope}");
    }

    #[test]
    fn the_most_probable_label_is_as_sure_as_it_is_right() {
        // One half of the rows is clear and always right; of the other, sure by as much, every second is wrong.
        let rows: Vec<(Vec<f32>, Vec<usize>)> = (0..400)
            .map(|row| match row % 2 {
                0 => (vec![0.4, 0.0, 0.0], vec![0]),
                _ => (vec![0.0, 2.0, 1.9], vec![1 + usize::from(row % 4 == 1)]),
            })
            .collect();
        let rows: Vec<HeldOut<'_>> = rows.iter().map(|(margins, truth)| HeldOut { margins, truth }).collect();
        let calibration = calibrate(LabelKind::Single, 3, &rows);
        let probabilities = |margins: &[f32]| {
            let mut probabilities = margins.to_vec();
            calibration.apply(&mut probabilities);
            probabilities
        };
        for margins in [[0.4, 0.0, 0.0], [0.0, 2.0, 1.9]] {
            let (mut straight, bent) = (margins.to_vec(), probabilities(&margins));
            softmax(&mut straight, 1.0);
            let best = |values: &[f32]| (0..3).max_by(|a, b| values[*a].total_cmp(&values[*b]));
            assert_eq!(best(&straight), best(&bent));
            assert!((bent.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{bent:?}");
        }
        let mean = |calibrated: &dyn Fn(&[f32]) -> Vec<f32>| {
            rows.iter().map(|row| calibrated(row.margins).into_iter().fold(0.0, f32::max)).sum::<f32>() / 400.0
        };
        let gap = (mean(&probabilities) - 0.75).abs();
        assert!(gap < 0.02, "{gap}: {calibration:?}");
    }

    #[test]
    fn each_label_has_its_own_curve_and_threshold() {
        let rows: Vec<(Vec<f32>, Vec<usize>)> = (0..100)
            .map(|row| {
                let margin = row as f32 / 50.0 - 1.0;
                let truth = (margin > 0.2).then_some(0).into_iter().chain((margin > -0.6).then_some(1)).collect();
                (vec![margin, margin], truth)
            })
            .collect();
        let rows: Vec<HeldOut<'_>> = rows.iter().map(|(margins, truth)| HeldOut { margins, truth }).collect();
        let Calibration::Curves(curves) = calibrate(LabelKind::Multi, 2, &rows) else { panic!("no curves") };
        let wrong = rows
            .iter()
            .flat_map(|row| (0..2).map(move |label| (row.margins[label], label, row.truth.contains(&label))))
            .filter(|(margin, label, is)| (curves[*label].probability(*margin) >= curves[*label].threshold) != *is)
            .count();
        assert!(wrong <= 2, "{wrong}: {curves:?}");
        assert!(log_loss(&calibrate(LabelKind::Multi, 2, &rows), &rows) < 0.5);
    }
}
