//! How soon corrections tell: each row is foretold, then corrected, in the order of the table; beside it, heads trained anew on the
//! same rows every so often. Every answer is about a row not seen (prequential analysis; Dawid, "Present Position and Potential
//! Developments: Some Personal Views", 1984).

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::evaluation::{Judged, TrueLabel};
use super::{HeadOptions, HeadTrainer, LabelledRow, TrainingError};
use crate::tagging::EncoderIdentity;
use crate::tagging::corrections::{Answer, Answers, Background, Memory, TextFeatures};
use crate::tagging::heads::{Head, LabelKind};

/// Of several labels, those from this probability on are given.
const GIVEN: f32 = 0.5;

/// How the stream is measured.
#[derive(Debug, Clone)]
pub struct PrequentialOptions {
    /// Corrections that are remembered, at most.
    pub max_corrections: usize,
    /// Rows after which a head is trained anew on all rows before; 0 trains none. Its settings are chosen anew whenever the rows
    /// have doubled.
    pub retrain_every: usize,
    /// Rows of one line of the table.
    pub block: usize,
    /// Rows at the end that the last line is about.
    pub last: usize,
    /// How heads are made.
    pub head: HeadOptions,
}

/// Accuracy over some rows that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stretch {
    /// Corrections seen before the first of the rows.
    pub seen: usize,
    /// How many rows.
    pub rows: usize,
    /// Share of rows with a label that no row before had, 0 to 1: nothing can tell those.
    pub new_labels: f64,
    /// By the corrections: share of rows whose label (or exact set of labels) is right.
    pub corrected: f64,
    /// By the corrections: share of rows with a right label among the three most probable.
    pub corrected_top3: f64,
    /// By the head trained last before the row; absent if none is trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrained: Option<f64>,
    /// By that head: a right label among the three most probable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrained_top3: Option<f64>,
}

/// The curve of accuracy by corrections seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prequential {
    /// Rows of the table.
    pub rows: usize,
    /// Different labels.
    pub labels: usize,
    /// Rows after which a head is trained anew; 0 trains none.
    pub retrain_every: usize,
    /// Stretch by stretch.
    pub curve: Vec<Stretch>,
    /// The last rows together.
    pub last: Stretch,
    /// All rows together.
    pub all: Stretch,
}

/// What came of one row.
#[derive(Clone, Copy, Default)]
struct Outcome {
    new_label: bool,
    corrected: bool,
    corrected_top3: bool,
    retrained: bool,
    retrained_top3: bool,
}

/// A table as it is streamed.
pub struct Streamed<'a> {
    /// The rows, in order.
    pub rows: &'a [LabelledRow],
    /// Their vectors, as texts are compared by.
    pub vectors: &'a [Vec<f32>],
    /// Whether a text has one label or any number.
    pub kind: LabelKind,
    /// Makes heads of the same rows.
    pub trainer: &'a HeadTrainer<'a>,
    /// What is known of texts beforehand.
    pub background: &'a Background,
    /// The encoder that the vectors come from.
    pub encoder: &'a EncoderIdentity,
}

/// Streams a table; `progress` is told how many rows are done.
///
/// # Errors
/// Those of [`HeadTrainer::fit`].
pub fn stream(
    streamed: &Streamed<'_>,
    options: &PrequentialOptions,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Prequential, TrainingError> {
    let Streamed { rows, vectors, kind, trainer, background, encoder } = *streamed;
    let answers = match kind {
        LabelKind::Single => Answers::One,
        LabelKind::Multi => Answers::Any,
    };
    let mut memory = Memory::new(answers, options.max_corrections, background.clone());
    let mut known: std::collections::BTreeSet<&str> = std::collections::BTreeSet::new();
    let mut head: Option<Head> = None;
    let mut searched_at = 0;
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(rows.len());
    for (at, (row, vector)) in rows.iter().zip(vectors).enumerate() {
        let due = options.retrain_every > 0 && at > 0 && at % options.retrain_every == 0;
        if due && known.len() > 1 {
            let seen: Vec<usize> = (0..at).collect();
            let searched = at >= searched_at;
            let making = match head.as_ref().filter(|_| !searched) {
                Some(before) => settled(&options.head, before),
                None => options.head.clone(),
            };
            if searched {
                searched_at = at * 2;
            }
            head = Some(trainer.fit(&seen, &making, encoder, &|_, _, _| true)?.head);
        }
        let features = TextFeatures::of(&row.text, vector.clone());
        let foretold = memory.foretell(&features, None);
        let mut given: Vec<&str> = match kind {
            LabelKind::Single => foretold.labels.iter().take(1).map(|(label, _)| label.as_str()).collect(),
            LabelKind::Multi => {
                let labels = foretold.labels.iter().filter(|(_, probability)| *probability >= GIVEN);
                labels.map(|(label, _)| label.as_str()).collect()
            }
        };
        given.sort_unstable();
        let mut truth: Vec<&str> = row.labels.iter().map(String::as_str).collect();
        truth.sort_unstable();
        let judged = head.as_ref().and_then(|head| trainer.judge(head, &[at]).pop());
        outcomes.push(Outcome {
            new_label: truth.iter().any(|label| !known.contains(label)),
            corrected: given == truth,
            corrected_top3: foretold.labels.iter().take(3).any(|(label, _)| truth.contains(&label.as_str())),
            retrained: judged.as_ref().is_some_and(|judged| is_right(judged, kind)),
            retrained_top3: judged
                .as_ref()
                .is_some_and(|judged| ranked(judged).iter().take(3).any(|top| is_true(judged, *top))),
        });
        known.extend(truth);
        memory.learn(Answer { id: at.to_string(), text: Arc::new(features), labels: row.labels.clone(), model: None });
        progress(at + 1);
    }
    let block = options.block.max(1);
    let last = outcomes.len().saturating_sub(options.last);
    let stretch = |seen: usize, outcomes: &[Outcome]| Stretch::of(seen, outcomes, options.retrain_every > 0);
    Ok(Prequential {
        rows: outcomes.len(),
        labels: known.len(),
        retrain_every: options.retrain_every,
        curve: outcomes.chunks(block).enumerate().map(|(part, outcomes)| stretch(part * block, outcomes)).collect(),
        last: stretch(last, outcomes.get(last..).unwrap_or_default()),
        all: stretch(0, &outcomes),
    })
}

/// The settings of a head made before. To choose them anew takes by far the most time, and they hardly change until there are
/// twice as many rows.
fn settled(options: &HeadOptions, before: &Head) -> HeadOptions {
    let card = before.card();
    HeadOptions {
        costs: vec![card.cost],
        ngram_scales: vec![card.ngram_scale],
        folds: options.folds.min(2),
        ..options.clone()
    }
}

fn ranked(judged: &Judged) -> Vec<usize> {
    let mut order: Vec<usize> = (0..judged.probabilities.len()).collect();
    let of = |label: &usize| judged.probabilities.get(*label).copied().unwrap_or(0.0);
    order.sort_by(|one, other| of(other).total_cmp(&of(one)).then(one.cmp(other)));
    order
}

fn is_true(judged: &Judged, label: usize) -> bool {
    judged.truth.contains(&TrueLabel::Known(label))
}

fn is_right(judged: &Judged, kind: LabelKind) -> bool {
    match kind {
        LabelKind::Single => ranked(judged).first().is_some_and(|best| is_true(judged, *best)),
        LabelKind::Multi => {
            judged.truth.len() == judged.predicted.len() && judged.predicted.iter().all(|label| is_true(judged, *label))
        }
    }
}

impl Stretch {
    fn of(seen: usize, outcomes: &[Outcome], retrained: bool) -> Self {
        let share = |holds: fn(&Outcome) -> bool| {
            outcomes.iter().filter(|outcome| holds(outcome)).count() as f64 / outcomes.len().max(1) as f64
        };
        Self {
            seen,
            rows: outcomes.len(),
            new_labels: share(|outcome| outcome.new_label),
            corrected: share(|outcome| outcome.corrected),
            corrected_top3: share(|outcome| outcome.corrected_top3),
            retrained: retrained.then(|| share(|outcome| outcome.retrained)),
            retrained_top3: retrained.then(|| share(|outcome| outcome.retrained_top3)),
        }
    }
}

impl Prequential {
    /// A table for a person.
    pub fn to_text(&self) -> String {
        let mut text = format!("{} rows, {} labels, each row foretold and then corrected\n\n", self.rows, self.labels);
        text.push_str("corrections seen   rows  new label  corrected  top 3");
        text.push_str(if self.retrain_every > 0 { "  trained anew  top 3\n" } else { "\n" });
        for stretch in &self.curve {
            line(&mut text, &format!("{} to {}", stretch.seen, stretch.seen + stretch.rows), stretch);
        }
        line(&mut text, &format!("last {}", self.last.rows), &self.last);
        line(&mut text, "all", &self.all);
        if self.retrain_every > 0 {
            let _ = write!(text, "\ntrained anew every {} rows on all rows before\n", self.retrain_every);
        }
        text
    }
}

fn line(text: &mut String, name: &str, stretch: &Stretch) {
    let Stretch { rows, new_labels, corrected, corrected_top3, .. } = stretch;
    let _ = write!(text, "{name:16}  {rows:5}  {new_labels:9.3}  {corrected:9.3}  {corrected_top3:5.3}");
    if let (Some(retrained), Some(top3)) = (stretch.retrained, stretch.retrained_top3) {
        let _ = write!(text, "  {retrained:12.3}  {top3:5.3}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagging::ExampleVectors;
    use crate::tagging::heads::NgramSpec;

    #[test]
    fn rows_are_foretold_before_they_are_seen_and_both_ways_stand_side_by_side() {
        let words = ["карта курьер", "кредит проценты", "вход приложение"];
        let rows: Vec<LabelledRow> = (0..60)
            .map(|row| LabelledRow {
                number: row + 1,
                text: format!("{} {row}", words[row as usize % 3]),
                labels: vec![format!("label {}", row % 3)],
            })
            .collect();
        let mut vectors = ExampleVectors::new("ab", 3);
        for (at, row) in rows.iter().enumerate() {
            let angle = at as f32 / 40.0;
            let mut vector = vec![0.1 * angle.sin(); 3];
            vector[at % 3] = 1.0;
            vectors.insert(&row.text, &vector);
        }
        let of_rows: Vec<Vec<f32>> = rows.iter().map(|row| vectors.get(&row.text).unwrap().to_vec()).collect();
        let trainer = HeadTrainer::new("l", LabelKind::Single, &rows, &vectors, NgramSpec::default()).unwrap();
        let encoder = EncoderIdentity { id: "e".to_owned(), sha256: "ab".to_owned() };
        let options = PrequentialOptions {
            max_corrections: 1_000,
            retrain_every: 20,
            block: 25,
            last: 20,
            head: HeadOptions { costs: vec![1.0], ngram_scales: vec![1.0], folds: 2, ..HeadOptions::default() },
        };
        let background = Background::default();
        let streamed = Streamed {
            rows: &rows,
            vectors: &of_rows,
            kind: LabelKind::Single,
            trainer: &trainer,
            background: &background,
            encoder: &encoder,
        };
        let run = |options: &PrequentialOptions| stream(&streamed, options, &|_| {}).unwrap();
        let found = run(&options);
        let sizes: Vec<(usize, usize)> = found.curve.iter().map(|stretch| (stretch.seen, stretch.rows)).collect();
        assert_eq!((sizes, found.labels), (vec![(0, 25), (25, 25), (50, 10)], 3));
        assert!((found.all.new_labels - 3.0 / 60.0).abs() < 1e-9);
        // The first row of each label can't be told, and nothing is trained before row 20.
        assert!(found.all.corrected <= 57.0 / 60.0);
        assert!(found.all.retrained.unwrap() <= 40.0 / 60.0);
        assert!(found.last.corrected >= 0.95 && found.last.retrained.unwrap() >= 0.95, "{found:?}");
        assert!(found.to_text().contains("last 20"));
        let alone = run(&PrequentialOptions { retrain_every: 0, ..options.clone() });
        assert_eq!((alone.all.corrected, alone.all.retrained), (found.all.corrected, None));

        // In between, the settings chosen last are kept.
        let all: Vec<usize> = (0..rows.len()).collect();
        let searching = HeadOptions { costs: vec![0.1, 1.0], ngram_scales: vec![0.5, 1.0], folds: 5, ..options.head };
        let head = trainer.fit(&all, &searching, &encoder, &|_, _, _| true).unwrap().head;
        let kept = settled(&searching, &head);
        assert_eq!(
            (kept.costs, kept.ngram_scales, kept.folds),
            (vec![head.card().cost], vec![head.card().ngram_scale], 2)
        );
    }
}
