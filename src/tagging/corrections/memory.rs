//! What persons answered to one question (topics, or the owning team), and what follows for the next text.
//!
//! All that is remembered makes one linear classifier, the same that `training/` fits: one label against the rest, squared hinge,
//! on the vector and the n-grams. It is never trained as a whole. A new row takes its place by one step of dual coordinate
//! descent, and a few rows that lie near it or come up in turn take theirs again (as in Bordes et al., "Fast Kernel Classifiers
//! with Online and Active Learning", 2005). So an answer counts at once, and the weights stay near those of training anew.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use pulp::Arch;

use super::mix::{Mix, Signs};
use super::text::{Background, COLUMNS, Measure, TextFeatures, meaning, wording};
use super::weights::Weights;

/// Cost of an error against the size of the weights; what cross-validation mostly chooses in training.
const COST: f32 = 1.0;

/// Rows near a new one that take their place again.
const NEAR: usize = 25;

/// Rows that come up in turn.
const IN_TURN: usize = 75;

/// Rows in turn after each of many that are learnt at once, and walks over all of them at the end.
const IN_TURN_OF_MANY: usize = 8;
const WALKS_AFTER_MANY: usize = 3;

/// Of many that are learnt at once, the last so many are foretold first.
const FORETOLD_OF_MANY: usize = 512;

/// Rows whose vectors are nearest, whose wording is then compared too.
const COMPARED: usize = 64;

/// Neighbours that an answer names, at most.
const NEIGHBOURS: usize = 10;

/// From this likeness on two texts are the same but for trifles: what a person said of one holds for the other.
pub(super) const SAME: f32 = 0.95;

/// Below this likeness the nearest correction says nothing about a text, from the second value on all it can. Between texts that
/// have nothing in common it is 0.02 on average, and 0.21 in one pair of a hundred.
const UNLIKE: f32 = 0.1;
const LIKE: f32 = 0.3;

/// Beyond so many rows the measure of texts is settled.
const SETTLED: usize = 4_096;

/// Labels of one answer that the mix learns from: those that were true, and the strongest of the others.
const LEARNT_LABELS: usize = 24;

/// Column of no label at all: what a label's weights would be if no row had it.
const NOBODY: usize = 0;

/// How many labels an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// One: probabilities add up to 1 at most.
    One,
    /// Any number.
    Any,
}

/// A correction that lies near a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    /// Id of the corrected case.
    pub id: String,
    /// Likeness, the mean of the cosines of meaning (centred vectors) and wording (n-grams): -0.5 to 1.
    pub likeness: f32,
    /// What the person said.
    pub labels: Vec<String>,
}

/// What follows from the corrections for one text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Foretold {
    /// Each label that a correction had or the model names, with its probability: most probable first.
    pub labels: Vec<(String, f32)>,
    /// The nearest corrections, nearest first.
    pub neighbours: Vec<Neighbour>,
    /// How far the corrections have a say about this text, 0 to 1; at 0 the probabilities are the model's.
    pub say: f32,
}

impl Foretold {
    /// Ids of the neighbours with a label, nearest first.
    pub fn voters(&self, label: &str) -> Vec<String> {
        let voted = |neighbour: &&Neighbour| neighbour.labels.iter().any(|own| own == label);
        self.neighbours.iter().filter(voted).map(|neighbour| neighbour.id.clone()).collect()
    }
}

/// One answer of a person.
pub struct Answer {
    /// Id of the case; a later answer about the same case takes the place of the earlier.
    pub id: String,
    /// The text.
    pub text: Arc<TextFeatures>,
    /// What the person said; empty is "none".
    pub labels: Vec<String>,
    /// What the model thought, for the labels that it named; `None` if there is no model.
    pub model: Option<Vec<(String, f32)>>,
}

struct Row {
    id: String,
    text: Arc<TextFeatures>,
    /// Columns of its labels.
    labels: Vec<usize>,
    /// How much of the row is in each label's weights, 0 or more; shorter than the width if labels came later.
    duals: Vec<f32>,
}

/// Rows for one question, oldest first.
pub struct Memory {
    kind: Answers,
    most: usize,
    background: Background,
    names: Vec<String>,
    columns: HashMap<String, usize>,
    rows: VecDeque<Row>,
    /// Rows that have each n-gram.
    with: Vec<u32>,
    /// None before the first row.
    measured: Option<(Measure, Weights)>,
    /// Rows at which texts are measured anew.
    measure_at: usize,
    mix: Mix,
    /// Rows that came up in turn so far.
    turn: u64,
}

impl Memory {
    /// An empty memory of at most `most` rows, the newest.
    pub fn new(kind: Answers, most: usize, background: Background) -> Self {
        Self {
            kind,
            most,
            background,
            names: vec![String::new()],
            columns: HashMap::new(),
            rows: VecDeque::new(),
            with: vec![0; COLUMNS],
            measured: None,
            measure_at: 1,
            mix: Mix::new(),
            turn: 0,
        }
    }

    /// Rows remembered.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True if nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Ids of the cases remembered, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.id.as_str())
    }

    /// What follows for a text. `model` is what the model thinks of the labels that it names; `None` if there is no model.
    pub fn foretell(&self, text: &TextFeatures, model: Option<&[(String, f32)]>) -> Foretold {
        let (foretold, _) = self.foretold_with_signs(text, model);
        foretold
    }

    /// Learns an answer: foretells it, then takes it in. The next text profits.
    pub fn learn(&mut self, answer: Answer) {
        self.take_in(answer, true, NEAR, IN_TURN);
        self.mix.fit();
    }

    /// Learns many answers, the oldest first, faster than one by one.
    pub fn learn_many(&mut self, answers: Vec<Answer>) {
        let left_out = answers.len().saturating_sub(self.most);
        let foretold_from = answers.len().saturating_sub(FORETOLD_OF_MANY);
        for (at, answer) in answers.into_iter().enumerate().skip(left_out) {
            let foretell = at >= foretold_from;
            self.take_in(answer, foretell, if foretell { NEAR } else { 0 }, IN_TURN_OF_MANY);
        }
        for _ in 0..WALKS_AFTER_MANY {
            (0..self.rows.len()).for_each(|at| self.settle(at));
        }
        self.mix.fit();
    }

    /// Forgets a case.
    pub fn forget(&mut self, id: &str) -> bool {
        let found = self.rows.iter().position(|row| row.id == id);
        found.is_some_and(|at| self.remove(at))
    }

    fn take_in(&mut self, answer: Answer, foretell: bool, near: usize, in_turn: usize) {
        if self.most == 0 || answer.text.vector.is_empty() {
            return;
        }
        self.forget(&answer.id);
        let mut nearest = Vec::new();
        if foretell {
            nearest = self.nearest(&answer.text);
            let foretold = self.foretold_among(&nearest, &answer.text, answer.model.as_deref());
            self.mix.observe(learnt_signs(foretold.1, &answer.labels));
        }
        let dimension = answer.text.vector.len();
        let labels: Vec<usize> = answer.labels.iter().map(|label| self.column(label)).collect();
        for column in answer.text.columns() {
            if let Some(count) = self.with.get_mut(usize::from(column)) {
                *count += 1;
            }
        }
        self.rows.push_back(Row { id: answer.id, text: answer.text, labels, duals: Vec::new() });
        if self.rows.len() >= self.measure_at && self.rows.len() <= SETTLED {
            self.measure_anew(dimension);
        }
        let newest = self.rows.len() - 1;
        self.settle(newest);
        nearest.iter().take(near).for_each(|(at, _)| self.settle(*at));
        for _ in 0..in_turn {
            self.turn += 1;
            let at = spread(self.turn) % self.rows.len() as u64;
            self.settle(at as usize);
        }
        self.settle(newest);
        while self.rows.len() > self.most {
            self.remove(0);
        }
    }

    /// Takes a row's part out of the weights, and the row with it.
    fn remove(&mut self, at: usize) -> bool {
        let Some(row) = self.rows.remove(at) else { return false };
        for column in row.text.columns() {
            if let Some(count) = self.with.get_mut(usize::from(column)) {
                *count = count.saturating_sub(1);
            }
        }
        if let Some((measure, weights)) = &mut self.measured {
            let part: Vec<f32> = row.parts(weights.width()).into_iter().map(|part| -part).collect();
            weights.add(&measure.numbers(&row.text), &part);
        }
        true
    }

    /// The column of a label; a new one begins where a label that no row had would stand.
    fn column(&mut self, label: &str) -> usize {
        if let Some(column) = self.columns.get(label) {
            return *column;
        }
        let column = self.names.len();
        self.names.push(label.to_owned());
        self.columns.insert(label.to_owned(), column);
        if let Some((_, weights)) = &mut self.measured {
            if column >= weights.width() {
                weights.widen(column + 1);
            }
            weights.copy(NOBODY, column);
        }
        for row in &mut self.rows {
            let nobody = row.duals.get(NOBODY).copied().unwrap_or(0.0);
            row.duals.resize((column + 1).max(row.duals.len()), 0.0);
            if let Some(slot) = row.duals.get_mut(column) {
                *slot = nobody;
            }
        }
        column
    }

    /// Measures the texts and makes the weights of their parts anew.
    fn measure_anew(&mut self, dimension: usize) {
        let texts = self.rows.iter().map(|row| row.text.as_ref());
        let measure = Measure::of(texts, &self.with, &self.background);
        let mut weights = match self.measured.take() {
            Some((_, weights)) => weights,
            None => Weights::new(dimension, self.names.len()),
        };
        if self.names.len() > weights.width() {
            weights.widen(self.names.len());
        }
        weights.clear();
        for row in &self.rows {
            weights.add(&measure.numbers(&row.text), &row.parts(weights.width()));
        }
        self.measured = Some((measure, weights));
        self.measure_at = self.rows.len() + self.rows.len() / 4 + 1;
    }

    /// Moves a row's part in each label's weights to its best place while all others stand.
    fn settle(&mut self, at: usize) {
        let (Some((measure, weights)), Some(row)) = (&mut self.measured, self.rows.get_mut(at)) else { return };
        let numbers = measure.numbers(&row.text);
        let mut margins = weights.margins(&numbers);
        row.duals.resize(weights.width(), 0.0);
        let softness = 0.5 / COST;
        let steepness = numbers.square() + softness;
        let signs = row.signs(weights.width());
        Arch::new().dispatch(|| {
            for ((margin, dual), sign) in margins.iter_mut().zip(&mut row.duals).zip(&signs) {
                let slope = sign * *margin - 1.0 + *dual * softness;
                let best = (*dual - slope / steepness).max(0.0);
                *margin = (best - *dual) * sign;
                *dual = best;
            }
        });
        weights.add(&numbers, &margins);
    }

    /// The rows nearest to a text, nearest first, of equally near ones the newest first.
    fn nearest(&self, text: &TextFeatures) -> Vec<(usize, f32)> {
        let Some((measure, _)) = &self.measured else { return Vec::new() };
        let numbers = measure.numbers(text);
        let mut near: Vec<(usize, f32)> = self.dots(&text.vector);
        let order = |one: &(usize, f32), other: &(usize, f32)| other.1.total_cmp(&one.1).then(other.0.cmp(&one.0));
        if near.len() > COMPARED {
            near.select_nth_unstable_by(COMPARED, order);
            near.truncate(COMPARED);
        }
        for (at, likeness) in &mut near {
            *likeness = self.rows.get(*at).map_or(0.0, |row| {
                let other = measure.numbers(&row.text);
                meaning(&numbers, &other).midpoint(wording(&numbers, &other))
            });
        }
        near.sort_unstable_by(order);
        near
    }

    fn dots(&self, vector: &[f32]) -> Vec<(usize, f32)> {
        let rows = self.rows.iter().enumerate();
        Arch::new().dispatch(|| {
            rows.map(|(at, row)| (at, row.text.vector.iter().zip(vector).map(|(one, other)| one * other).sum()))
                .collect()
        })
    }

    fn foretold_with_signs(
        &self,
        text: &TextFeatures,
        model: Option<&[(String, f32)]>,
    ) -> (Foretold, Vec<(String, Signs)>) {
        if self.rows.is_empty() || text.vector.is_empty() {
            let labels = ranked(model.unwrap_or_default().to_vec());
            return (Foretold { labels, ..Foretold::default() }, Vec::new());
        }
        self.foretold_among(&self.nearest(text), text, model)
    }

    fn foretold_among(
        &self,
        nearest: &[(usize, f32)],
        text: &TextFeatures,
        model: Option<&[(String, f32)]>,
    ) -> (Foretold, Vec<(String, Signs)>) {
        let Some((measure, weights)) = &self.measured else { return (Foretold::default(), Vec::new()) };
        let margins = weights.margins(&measure.numbers(text));
        let nearest: Vec<(&Row, f32)> = nearest
            .iter()
            .take(NEIGHBOURS)
            .filter_map(|(at, likeness)| Some((self.rows.get(*at)?, *likeness)))
            .collect();
        let likeness = nearest.first().map_or(0.0, |(_, likeness)| *likeness);
        // Where there is no model, the corrections are all there is.
        let say = if model.is_some() { ((likeness - UNLIKE) / (LIKE - UNLIKE)).clamp(0.0, 1.0) } else { 1.0 };
        let same = self.same_text(&nearest);

        // Those that only the model names come behind the known ones.
        let of_model: BTreeMap<&str, f32> =
            model.unwrap_or_default().iter().map(|(label, probability)| (label.as_str(), *probability)).collect();
        let known = self.names.iter().enumerate().skip(NOBODY + 1).map(|(column, name)| (column, name.as_str()));
        let unknown = of_model.keys().filter(|label| !self.columns.contains_key(**label)).map(|label| (NOBODY, *label));
        let mut signs = Vec::with_capacity(self.names.len());
        let mut labels = Vec::with_capacity(self.names.len());
        for (column, name) in known.chain(unknown) {
            let nearest_of = |wanted: bool| {
                let found =
                    nearest.iter().find(|(row, _)| (column != NOBODY && row.labels.contains(&column)) == wanted);
                found.map_or(0.0, |(_, likeness)| likeness.max(0.0).powi(2))
            };
            let of_label = Signs {
                margin: margins.get(column).copied().unwrap_or(0.0),
                nearness: nearest_of(true) - nearest_of(false),
                say,
                model: model.map(|_| of_model.get(name).copied().unwrap_or(0.0)),
            };
            let mut probability = match (of_label.model, say) {
                (Some(model), say) if say <= 0.0 => model,
                _ => self.mix.probability(&of_label),
            };
            if let Some((row, likeness)) = same {
                let has = column != NOBODY && row.labels.contains(&column);
                probability = if has { probability.max(likeness) } else { probability.min(1.0 - likeness) };
            }
            labels.push((name.to_owned(), probability));
            signs.push((name.to_owned(), of_label));
        }
        if self.kind == Answers::One {
            let sum: f32 = labels.iter().map(|(_, probability)| probability).sum();
            if sum > 1.0 {
                labels.iter_mut().for_each(|(_, probability)| *probability /= sum);
            }
        }
        let name = |column: &usize| self.names.get(*column).cloned();
        let neighbours = nearest.iter().map(|(row, likeness)| Neighbour {
            id: row.id.clone(),
            likeness: *likeness,
            labels: row.labels.iter().filter_map(name).collect(),
        });
        (Foretold { labels: ranked(labels), neighbours: neighbours.collect(), say }, signs)
    }

    /// The newest row with the same text, if there is one.
    fn same_text<'a>(&self, nearest: &[(&'a Row, f32)]) -> Option<(&'a Row, f32)> {
        let same = nearest.iter().filter(|(_, likeness)| *likeness >= SAME);
        let newest = self.rows.iter().rev().map(|row| row.id.as_str());
        let mut same: Vec<&(&Row, f32)> = same.collect();
        if same.len() > 1 {
            let place: HashMap<&str, usize> = newest.zip(0..).collect();
            same.sort_by_key(|(row, _)| place.get(row.id.as_str()).copied().unwrap_or(usize::MAX));
        }
        same.first().map(|(row, likeness)| (*row, likeness.min(1.0)))
    }
}

impl Row {
    /// 1 for labels that the row has, -1 for the others: `[width]`.
    fn signs(&self, width: usize) -> Vec<f32> {
        let mut signs = vec![-1.0; width];
        for label in &self.labels {
            if let Some(sign) = signs.get_mut(*label) {
                *sign = 1.0;
            }
        }
        signs
    }

    /// The row's part in the weights of each label: `[width]`.
    fn parts(&self, width: usize) -> Vec<f32> {
        let mut parts = self.signs(width);
        let duals = self.duals.iter().copied().chain(std::iter::repeat(0.0));
        parts.iter_mut().zip(duals).for_each(|(part, dual)| *part *= dual);
        parts
    }
}

/// Most probable first, of equally probable ones the first by name.
fn ranked(mut labels: Vec<(String, f32)>) -> Vec<(String, f32)> {
    labels.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    labels
}

/// What the mix learns from one answer: the true labels and the strongest of the others.
fn learnt_signs(mut signs: Vec<(String, Signs)>, truth: &[String]) -> Vec<(Signs, bool)> {
    let is_true = |label: &String| truth.contains(label);
    signs.sort_by(|(one, of_one), (other, of_other)| {
        let strength = |signs: &Signs| signs.margin + signs.model.unwrap_or(0.0);
        is_true(other).cmp(&is_true(one)).then(strength(of_other).total_cmp(&strength(of_one)))
    });
    signs.into_iter().take(LEARNT_LABELS.max(truth.len())).map(|(label, signs)| (signs, is_true(&label))).collect()
}

/// A number that looks drawn, the same for the same one (the finish of splitmix64, Steele et al. 2014).
fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
