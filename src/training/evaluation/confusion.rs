//! Which labels are taken for which.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::decimal;
use super::outcome::{Classes, Outcome};
use super::shortened::{one_line, shorten};

/// Columns of a quoted text.
const QUOTE_WIDTH: usize = 160;

/// A row that was confused.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfusionExample {
    /// Number of the row in its file.
    pub row: usize,
    /// The beginning of what the customer wrote, on one line.
    pub text: String,
    /// How sure the model was of its answer, 0 to 1.
    #[serde(serialize_with = "decimal::shortest")]
    pub confidence: f32,
}

/// A label taken for another. In a multi-label task each right label that was not given is set against each given one that is
/// not right, or against none if there is no such one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Confusion {
    /// The right label; `None` for a label given where none was missing.
    pub truth: Option<String>,
    /// The label given instead; `None` for a label that is missing without another in its place.
    pub predicted: Option<String>,
    /// Rows in which it happened.
    pub count: usize,
    /// Some of them, those first of which the model was surest.
    pub examples: Vec<ConfusionExample>,
}

/// Class that is right and class that was given; `None` for none.
pub(super) type Pair = (Option<usize>, Option<usize>);

/// Rows by right and given class, those that agree included, in the order of the outcomes.
pub(super) fn by_pair<'a, 'b>(outcomes: &'b [Outcome<'a>]) -> BTreeMap<Pair, Vec<&'b Outcome<'a>>> {
    let mut rows: BTreeMap<Pair, Vec<&Outcome<'a>>> = BTreeMap::new();
    for outcome in outcomes {
        for pair in pairs(outcome) {
            rows.entry(pair).or_default().push(outcome);
        }
    }
    rows
}

fn pairs(outcome: &Outcome<'_>) -> Vec<Pair> {
    let beside = |classes: &[usize]| -> Vec<Option<usize>> {
        classes.iter().filter(|class| !outcome.hits.contains(*class)).map(|class| Some(*class)).collect()
    };
    let (mut missing, mut wrong) = (beside(&outcome.truth), beside(&outcome.predicted));
    if missing.is_empty() && !wrong.is_empty() {
        missing.push(None);
    }
    if wrong.is_empty() && !missing.is_empty() {
        wrong.push(None);
    }
    let agreeing = outcome.hits.iter().map(|class| (Some(*class), Some(*class)));
    let confused = missing.iter().flat_map(|truth| wrong.iter().map(|predicted| (*truth, *predicted)));
    agreeing.chain(confused).collect()
}

/// The most frequent confusions first, equally frequent ones in the order of the classes.
pub(super) fn worst(
    rows: &BTreeMap<Pair, Vec<&Outcome<'_>>>,
    classes: &Classes,
    confusions: usize,
    examples: usize,
) -> Vec<Confusion> {
    let mut confused: Vec<_> = rows.iter().filter(|((truth, predicted), _)| truth != predicted).collect();
    confused.sort_by_key(|(_, outcomes)| Reverse(outcomes.len()));
    let name = |class: Option<usize>| class.map(|class| classes.name(class).to_owned());
    let confusion = |((truth, predicted), outcomes): (&Pair, &Vec<&Outcome<'_>>)| {
        let mut surest = outcomes.clone();
        surest.sort_by(|one, other| other.confidence.total_cmp(&one.confidence));
        Confusion {
            truth: name(*truth),
            predicted: name(*predicted),
            count: outcomes.len(),
            examples: surest.into_iter().take(examples).map(quote).collect(),
        }
    };
    confused.into_iter().take(confusions).map(confusion).collect()
}

fn quote(outcome: &Outcome<'_>) -> ConfusionExample {
    let text = shorten(&one_line(&outcome.judged.text), QUOTE_WIDTH);
    ConfusionExample { row: outcome.judged.row, text, confidence: outcome.confidence }
}
