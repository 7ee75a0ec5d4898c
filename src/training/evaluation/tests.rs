//! Figures against hand-made tables and against scikit-learn; what must hold for any rows.

use proptest::prelude::*;

use super::TrueLabel::{Known, Unknown};
use super::*;

/// Pseudorandom integers below 2^24 (Numerical Recipes' generator), the same in the script that the golden figures come from.
struct Integers(u32);

impl Integers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }
}

fn labels(count: usize) -> Vec<String> {
    (0..count).map(|label| format!("label {label}")).collect()
}

fn judged(row: usize, truth: Vec<TrueLabel>, probabilities: &[f32], predicted: &[usize]) -> Judged {
    let text = format!("text of row {row}");
    Judged { row, text, truth, probabilities: probabilities.to_vec(), predicted: predicted.to_vec() }
}

fn single(rows: &[(TrueLabel, &[f32])]) -> Vec<Judged> {
    let row = |(index, (truth, probabilities)): (usize, &(TrueLabel, &[f32]))| {
        judged(index + 1, vec![truth.clone()], probabilities, &[])
    };
    rows.iter().enumerate().map(row).collect()
}

fn evaluate(count: usize, task: Task, rows: &[Judged], options: EvaluationOptions) -> Evaluation {
    Evaluation::of(&labels(count), task, rows, &options).unwrap()
}

fn without_intervals() -> EvaluationOptions {
    EvaluationOptions { bootstrap_rounds: 0, ..EvaluationOptions::default() }
}

fn near(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() < 1e-9, "{what}: {found} and not {expected}");
}

fn columns(evaluation: &Evaluation) -> [Vec<f64>; 4] {
    let of = |figure: fn(&ClassFigures) -> f64| evaluation.per_class.iter().map(figure).collect();
    [
        of(|class| class.precision),
        of(|class| class.recall),
        of(|class| class.f1),
        of(|class| class.average_precision.unwrap_or(f64::NAN)),
    ]
}

fn near_all(found: [Vec<f64>; 4], expected: [&[f64]; 4]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).for_each(|(found, expected)| near(*found, *expected, "per class"));
    }
}

/// Rows of five labels, the right one mostly probable.
fn single_label_rows(seed: u32, count: usize) -> Vec<Judged> {
    let mut integers = Integers(seed);
    let row = |row| {
        let truth = integers.next() as usize % 5;
        let mut weights: Vec<f64> = (0..5).map(|_| f64::from(integers.next() + 1)).collect();
        weights[truth] += f64::from(2 * integers.next());
        let sum: f64 = weights.iter().sum();
        let probabilities: Vec<f32> = weights.iter().map(|weight| (weight / sum) as f32).collect();
        judged(row, vec![Known(truth)], &probabilities, &[])
    };
    (1..=count).map(row).collect()
}

/// Rows of four labels, each right as often as it is probable, given from a probability of one half.
fn multi_label_rows(integers: &mut Integers, count: usize) -> Vec<Judged> {
    let row = |row| {
        let values: Vec<u32> = (0..4).map(|_| integers.next()).collect();
        let truth = (0..4).filter(|label| values[*label] > integers.next()).map(Known).collect();
        let probabilities: Vec<f32> = values.iter().map(|value| *value as f32 / (1 << 24) as f32).collect();
        let predicted: Vec<usize> = (0..4).filter(|label| probabilities[*label] >= 0.5).collect();
        judged(row, truth, &probabilities, &predicted)
    };
    (1..=count).map(row).collect()
}

/// Golden figures: scikit-learn 1.9.1 on the same rows; the calibration error with numpy.
#[test]
fn single_label_figures_are_those_of_scikit_learn() {
    let found = evaluate(5, Task::SingleLabel, &single_label_rows(7, 200), without_intervals());
    near(found.accuracy, 0.795, "accuracy");
    near(found.top3, 0.945, "top3");
    near(found.macro_f1, 0.793_423_220_876_856_3, "macro F1");
    near(found.weighted_f1, 0.794_797_794_541_833_3, "weighted F1");
    near(found.ece, 0.359_878_376_722_325_8, "ECE");
    assert!((found.log_loss - 1.006_927_417).abs() < 1e-6, "{}", found.log_loss);
    let support: Vec<usize> = found.per_class.iter().map(|class| class.support).collect();
    assert_eq!(support, [39, 42, 44, 27, 48]);
    near_all(
        columns(&found),
        [
            &[0.8, 36.0 / 44.0, 0.8, 23.0 / 33.0, 36.0 / 43.0],
            &[32.0 / 39.0, 36.0 / 42.0, 32.0 / 44.0, 23.0 / 27.0, 0.75],
            &[64.0 / 79.0, 72.0 / 86.0, 64.0 / 84.0, 46.0 / 60.0, 72.0 / 91.0],
            &[
                0.836_727_006_961_083_4,
                0.858_460_364_371_235_2,
                0.836_889_280_714_047_1,
                0.838_570_280_544_390_6,
                0.850_176_341_952_580_6,
            ],
        ],
    );
}

#[test]
fn multi_label_figures_are_those_of_scikit_learn() {
    let mut integers = Integers(7);
    // The golden rows come behind the 200 single-label rows of the script, each of seven integers.
    (0..1400).for_each(|_| _ = integers.next());
    let found = evaluate(4, Task::MultiLabel, &multi_label_rows(&mut integers, 200), without_intervals());
    near(found.accuracy, 0.33, "accuracy");
    near(found.top3, 0.875_311_720_698_254_3, "top3");
    near(found.macro_f1, 0.747_154_116_994_138_7, "macro F1");
    near(found.weighted_f1, 0.747_588_667_776_929_3, "weighted F1");
    near(found.ece, 0.033_948_237_001_895_89, "ECE");
    assert!((found.log_loss - 0.498_289_307).abs() < 1e-6, "{}", found.log_loss);
    near_all(
        columns(&found),
        [
            &[75.0 / 105.0, 70.0 / 93.0, 71.0 / 96.0, 84.0 / 107.0],
            &[75.0 / 96.0, 70.0 / 101.0, 0.71, 84.0 / 104.0],
            &[150.0 / 201.0, 140.0 / 194.0, 142.0 / 196.0, 168.0 / 211.0],
            &[0.832_483_619_762_418_5, 0.832_416_895_020_655, 0.813_090_458_710_202_7, 0.845_884_823_251_073_1],
        ],
    );
}

#[test]
fn a_small_table_by_hand() {
    let rows = single(&[
        (Known(0), &[0.75, 0.25, 0.0, 0.0]),
        (Known(0), &[0.25, 0.75, 0.0, 0.0]),
        (Known(1), &[0.0, 1.0, 0.0, 0.0]),
        (Known(2), &[0.5, 0.25, 0.125, 0.125]),
    ]);
    let found = evaluate(4, Task::SingleLabel, &rows, without_intervals());
    assert_eq!((found.rows, found.accuracy, found.top3), (4, 0.5, 1.0));
    // F1 of 1/2, 2/3 and 0; the fourth label occurs nowhere.
    near(found.macro_f1, (0.5 + 2.0 / 3.0) / 3.0, "macro F1");
    near(found.weighted_f1, (2.0 * 0.5 + 2.0 / 3.0) / 4.0, "weighted F1");
    // 0.75 twice with one right, 1 right, 0.5 wrong.
    near(found.ece, (2.0 * 0.25 + 0.0 + 0.5) / 4.0, "ECE");
    let counts: Vec<_> = found.per_class.iter().map(|class| (class.support, class.predicted)).collect();
    assert_eq!(counts, [(2, 2), (1, 2), (1, 0), (0, 0)]);
    assert_eq!(found.per_class[3].average_precision, None);
    let confusions: Vec<_> =
        found.confusions.iter().map(|each| (each.truth.as_deref(), each.predicted.as_deref(), each.count)).collect();
    assert_eq!(confusions, [(Some("label 0"), Some("label 1"), 1), (Some("label 2"), Some("label 0"), 1)]);
    assert_eq!(found.confusions[0].examples[0].row, 2);
}

#[test]
fn sets_are_right_as_a_whole_and_confused_label_by_label() {
    let rows = [
        judged(1, vec![Known(0), Known(1)], &[0.9, 0.8, 0.1], &[1, 0]),
        judged(2, vec![Known(0), Known(1)], &[0.9, 0.1, 0.8], &[0, 2]),
        judged(3, vec![], &[0.6, 0.1, 0.1], &[0]),
        judged(4, vec![Known(2)], &[0.1, 0.1, 0.1], &[]),
        judged(5, vec![], &[0.1, 0.1, 0.1], &[]),
    ];
    let found = evaluate(3, Task::MultiLabel, &rows, without_intervals());
    near(found.accuracy, 0.4, "accuracy");
    let confusions: Vec<_> =
        found.confusions.iter().map(|each| (each.truth.as_deref(), each.predicted.as_deref(), each.count)).collect();
    let expected = [(None, Some("label 0"), 1), (Some("label 1"), Some("label 2"), 1), (Some("label 2"), None, 1)];
    assert_eq!(confusions, expected);
}

#[test]
fn a_label_that_the_model_does_not_know_is_an_error_everywhere() {
    let unknown = |name: &str| Unknown(name.to_owned());
    let rows = single(&[
        (Known(0), &[1.0, 0.0]),
        (Known(0), &[0.25, 0.75]),
        (Known(1), &[0.0, 1.0]),
        (unknown("new"), &[1.0, 0.0]),
    ]);
    let found = evaluate(2, Task::SingleLabel, &rows, without_intervals());
    assert_eq!((found.accuracy, found.top3, found.rows_with_unknown_labels), (0.5, 0.75, 1));
    // f1_score(["a", "a", "b", "x"], ["a", "b", "b", "a"], average=...) of scikit-learn 1.9.1.
    near(found.macro_f1, 0.388_888_888_888_888_84, "macro F1");
    near(found.weighted_f1, 0.416_666_666_666_666_63, "weighted F1");
    let new = &found.per_class[2];
    assert_eq!(
        (new.label.as_str(), new.known, new.support, new.f1, new.average_precision),
        ("new", false, 1, 0.0, None)
    );
    assert!(found.confusions.iter().any(|each| each.truth.as_deref() == Some("new") && each.count == 1));
    assert!(found.log_loss > 3.0 && found.log_loss.is_finite());

    let both = |truth| [judged(1, truth, &[1.0, 0.0], &[0])];
    let right = evaluate(2, Task::MultiLabel, &both(vec![Known(0)]), without_intervals());
    let wrong = evaluate(2, Task::MultiLabel, &both(vec![Known(0), unknown("new")]), without_intervals());
    assert_eq!((right.accuracy, right.ece, right.macro_f1, right.top3), (1.0, 0.0, 1.0, 1.0));
    assert_eq!((wrong.accuracy, wrong.macro_f1, wrong.top3), (0.0, 0.5, 0.5));
    near(wrong.ece, 1.0 / 3.0, "one of three decisions");
}

#[test]
fn calibrated_probabilities_have_no_calibration_error() {
    let of = |probabilities: &'static [f32], right: usize, of: usize| {
        (0..of).map(move |index| (Known(usize::from(index >= right)), probabilities))
    };
    let rows: Vec<_> = of(&[0.75, 0.25], 6, 8).chain(of(&[0.625, 0.375], 5, 8)).chain(of(&[1.0, 0.0], 3, 3)).collect();
    assert_eq!(evaluate(2, Task::SingleLabel, &single(&rows), without_intervals()).ece, 0.0);
    let worse: Vec<_> = rows.into_iter().chain([(Known(1), [1.0, 0.0].as_slice())]).collect();
    near(evaluate(2, Task::SingleLabel, &single(&worse), without_intervals()).ece, 1.0 / 20.0, "one more wrong");
}

/// Rows of these confidences, right or wrong.
fn with_confidences(rows: &[(f32, bool)]) -> Vec<Judged> {
    let row = |(index, (confidence, is_right)): (usize, &(f32, bool))| {
        judged(index + 1, vec![Known(usize::from(!is_right))], &[*confidence, 1.0 - confidence], &[])
    };
    rows.iter().enumerate().map(row).collect()
}

#[test]
fn coverage_is_the_largest_share_that_is_precise_enough() {
    type Case = (&'static str, f32, &'static [(f32, bool)], f64, Option<f32>);
    let cases: &[Case] = &[
        ("all are right", 0.9, &[(0.75, true), (0.625, true)], 1.0, Some(0.625)),
        ("all are precise enough", 0.5, &[(0.75, false), (0.625, true)], 1.0, Some(0.625)),
        ("the first is wrong", 1.0, &[(0.75, false), (0.625, true)], 0.0, None),
        ("a dip is crossed", 0.75, &[(0.9, true), (0.8, false), (0.7, true), (0.6, true)], 1.0, Some(0.6)),
        ("the unsure are left", 1.0, &[(0.6, false), (0.9, true), (0.8, true), (0.7, true)], 0.75, Some(0.7)),
        ("equally sure rows stay together", 1.0, &[(0.9, true), (0.75, true), (0.75, false)], 1.0 / 3.0, Some(0.9)),
        (
            "the nearest float to 0.8 lies above it",
            0.8,
            &[(0.9, true), (0.9, true), (0.9, true), (0.9, true), (0.8, false), (0.7, false)],
            5.0 / 6.0,
            Some(0.8),
        ),
    ];
    for (what, precision, rows, coverage, threshold) in cases {
        let options = EvaluationOptions { precision: *precision, ..without_intervals() };
        let found = evaluate(2, Task::SingleLabel, &with_confidences(rows), options);
        near(found.coverage_at_precision, *coverage, what);
        assert_eq!(found.threshold, *threshold, "{what}");
        let last = found.coverage_curve.last().unwrap();
        assert_eq!((last.coverage, last.precision), (1.0, found.accuracy), "{what}");
    }
}

#[test]
fn keys_stand_in_their_order_and_decimals_are_short() {
    let rows = with_confidences(&[(0.9, true), (0.6, false)]);
    let json = serde_json::to_value(evaluate(2, Task::SingleLabel, &rows, without_intervals())).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let headline =
        ["rows", "accuracy", "top3", "macro_f1", "weighted_f1", "ece", "coverage_at_precision", "per_class", "task"];
    assert_eq!(keys[..9], headline);
    assert_eq!(json["task"], "single_label");
    assert_eq!((json["precision"].to_string(), json["threshold"].to_string()), ("0.9".to_owned(), "0.9".to_owned()));
    assert_eq!(json["confusions"][0]["examples"][0]["confidence"].to_string(), "0.6");
    assert!(json["intervals"].is_null());
}

#[test]
fn intervals_are_as_wide_as_the_normal_approximation_says() {
    let rows = single_label_rows(3, 2000);
    let found = evaluate(5, Task::SingleLabel, &rows, EvaluationOptions::default());
    let interval = found.intervals.unwrap().accuracy;
    let half = 1.96 * (found.accuracy * (1.0 - found.accuracy) / 2000.0).sqrt();
    assert!((interval.low - (found.accuracy - half)).abs() < 0.003, "{interval:?}");
    assert!((interval.high - (found.accuracy + half)).abs() < 0.003, "{interval:?}");
    let other_seed = EvaluationOptions { seed: 2, ..EvaluationOptions::default() };
    assert_ne!(evaluate(5, Task::SingleLabel, &rows, other_seed).intervals, found.intervals);
}

fn bytes(count: usize, task: Task, rows: &[Judged]) -> String {
    let options = EvaluationOptions { bootstrap_rounds: 20, ..EvaluationOptions::default() };
    let found = evaluate(count, task, rows, options);
    let json = serde_json::to_string(&found).unwrap();
    let print = text::render(&found, &text::Look { width: 80, classes: None });
    let page = page::render(&found, "Title").unwrap();
    [json, print, page].join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_rows_does_not_matter(seed: u32, count in 1_usize..60) {
        let single = single_label_rows(seed, count);
        let multi = multi_label_rows(&mut Integers(seed), count);
        for (labels, task, mut rows) in [(5, Task::SingleLabel, single), (4, Task::MultiLabel, multi)] {
            let before = bytes(labels, task, &rows);
            let mut integers = Integers(seed ^ 1);
            rows.sort_by_cached_key(|_| integers.next());
            prop_assert_eq!(before, bytes(labels, task, &rows));
        }
    }

    #[test]
    fn figures_are_shares_and_lie_in_their_intervals(seed: u32, count in 30_usize..200) {
        let single = single_label_rows(seed, count);
        let multi = multi_label_rows(&mut Integers(seed), count);
        for (labels, task, rows) in [(5, Task::SingleLabel, single), (4, Task::MultiLabel, multi)] {
            let found = evaluate(labels, task, &rows, EvaluationOptions { bootstrap_rounds: 300, ..Default::default() });
            let intervals = found.intervals.unwrap();
            let within = |value: f64, interval: Interval| interval.low <= value && value <= interval.high;
            prop_assert!(within(found.accuracy, intervals.accuracy));
            prop_assert!(within(found.top3, intervals.top3));
            let figures = [found.accuracy, found.top3, found.macro_f1, found.weighted_f1, found.ece];
            prop_assert!(figures.iter().all(|figure| (0.0..=1.0).contains(figure)), "{:?}", figures);
        }
    }

    #[test]
    fn answering_above_the_threshold_is_as_precise_as_wanted(seed: u32, count in 1_usize..200, precision in 0.3_f32..1.0) {
        let single = single_label_rows(seed, count);
        let multi = multi_label_rows(&mut Integers(seed), count);
        for (labels, task, rows) in [(5, Task::SingleLabel, single), (4, Task::MultiLabel, multi)] {
            let options = EvaluationOptions { precision, ..without_intervals() };
            let found = evaluate(labels, task, &rows, options);
            let Some(threshold) = found.threshold else {
                prop_assert_eq!(found.coverage_at_precision, 0.0);
                continue;
            };
            let answered: Vec<Judged> = rows.iter().filter(|row| row.confidence(task) >= threshold).cloned().collect();
            near(found.coverage_at_precision, answered.len() as f64 / count as f64, "coverage");
            prop_assert!(evaluate(labels, task, &answered, options).accuracy as f32 >= precision);
        }
    }
}

#[test]
fn the_error_by_chance_is_what_calibrated_decisions_show_on_the_mean() {
    // Coins of these confidences, tossed again and again.
    let confidences: Vec<f32> = (0..400).map(|at| 0.34 + 0.65 * (at as f32 / 400.0)).collect();
    let mut state = 11_u64;
    let mut toss = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut round = || {
        let rows: Vec<(f32, bool)> = confidences.iter().map(|confidence| (*confidence, toss() < *confidence)).collect();
        evaluate(2, Task::SingleLabel, &with_confidences(&rows), without_intervals())
    };
    let rounds: Vec<Evaluation> = (0..200).map(|_| round()).collect();
    let mean = rounds.iter().map(|found| found.ece).sum::<f64>() / 200.0;
    assert!((mean / rounds[0].ece_by_chance - 1.0).abs() < 0.08, "{mean} and {}", rounds[0].ece_by_chance);
}
