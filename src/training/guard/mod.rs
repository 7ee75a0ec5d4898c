//! The model that tells sentences which speak to a machine: what it learns, and how.
//!
//! It learns sentences written for this project, to machines (`machine.txt`) and to people (`people.txt`), the examples of the
//! default taxonomy and those of sentiment, and sentences of honest feedback that the caller brings. Its borders are set by
//! honest sentences that were held out: so few of them may be taken for orders, and so few suspected.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::TrainingError;
use super::features::{FeatureRows, Measure, Source};
use super::folds::{deal, split};
use super::solver::{Wanted, Weights};
use crate::tagging::sentiment_examples;
use crate::taxonomy::Taxonomy;
use crate::text::{NgramCounts, SentenceModel, SentenceParts, prepare};

/// Sentences to machines, a line each.
const TO_MACHINES: &str = include_str!("machine.txt");

/// Sentences to people that might be taken for such, a line each.
const TO_PEOPLE: &str = include_str!("people.txt");

/// Most sentences of one table of honest feedback.
const MOST_OF_TABLE: usize = 12_000;

/// Most n-grams that count.
const MOST_NGRAMS: usize = 60_000;

/// Parts of the cross-validation.
const PARTS: usize = 5;

/// What an error costs, as tried.
const COSTS: [f32; 3] = [1.0, 3.0, 10.0];

/// How much more an error costs on a sentence that speaks to a machine: they are few.
const WEIGHT_OF_MACHINES: f32 = 3.0;

/// A model with what is known of it.
pub struct Guard {
    /// Sentences to machines that it learnt.
    pub machines: usize,
    /// Sentences to people that it learnt.
    pub people: usize,
    /// N-grams that it knows.
    pub ngrams: usize,
    /// What an error cost.
    pub cost: f32,
    /// Share of the sentences to machines that were told when held out.
    pub told: f64,
    /// Share of them that were told or at least suspected.
    pub suspected: f64,
    model: SentenceModel,
}

impl Guard {
    /// The model as a file.
    ///
    /// # Errors
    /// [`TrainingError::Head`] if it can't be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainingError> {
        self.model.write().map_err(|error| TrainingError::Head(error.to_string()))
    }
}

/// How many honest sentences of all, 0 to 1, may be mistaken.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Taken for orders.
    pub mistaken: f64,
    /// Suspected of being ones.
    pub suspected: f64,
}

/// Makes the model, with borders that keep the bounds on sentences held out; of several costs the one that tells most counts.
///
/// # Errors
/// [`TrainingError::Rows`] if the examples can't be read.
pub fn make(taxonomy: &Taxonomy, honest: &[Vec<String>], bounds: Bounds) -> Result<Guard, TrainingError> {
    let sentences = Sentences::collect(taxonomy, honest)?;
    let best = COSTS.par_iter().filter_map(|cost| Some((*cost, sentences.held_out(*cost, bounds)?)));
    let best = best.max_by(|(_, one), (_, other)| one.told.total_cmp(&other.told));
    let (cost, held_out) = best.ok_or_else(|| TrainingError::Rows("there are too few sentences".to_owned()))?;
    let all: Vec<usize> = (0..sentences.sources.len()).collect();
    let parts = sentences.fit(&all, cost, &held_out);
    let ngrams = parts.hashes.len();
    let model = SentenceModel::new(parts);
    let model = model.ok_or_else(|| TrainingError::Head("its numbers do not fit together".to_owned()))?;
    let machines = sentences.speaks.iter().filter(|speaks| **speaks).count();
    let HeldOut { told, suspected, .. } = held_out;
    Ok(Guard { machines, people: all.len() - machines, ngrams, cost, told, suspected, model })
}

/// All that is learnt.
struct Sentences {
    sources: Vec<Source>,
    /// True for those to machines.
    speaks: Vec<bool>,
}

/// How held-out sentences fared.
struct HeldOut {
    /// Borders: as [`SentenceParts`] has them.
    borders: [f32; 2],
    told: f64,
    suspected: f64,
}

impl Sentences {
    fn collect(taxonomy: &Taxonomy, honest: &[Vec<String>]) -> Result<Self, TrainingError> {
        let mut sentences = Self { sources: Vec::new(), speaks: Vec::new() };
        let mut seen = HashSet::new();
        TO_MACHINES.lines().for_each(|line| sentences.add(lower(prepare(line).clean()), true, &mut seen));
        let own = sentiment_examples().map_err(|error| TrainingError::Rows(error.to_string()))?;
        let topics = taxonomy.taggable_topics().flat_map(|topic| &topic.examples);
        let signals = taxonomy.signals().iter().flat_map(|signal| &signal.examples);
        let examples = topics.chain(signals).map(|example| example.text.as_str());
        for text in examples.chain(own.iter().map(|(text, _)| text.as_str())).chain(TO_PEOPLE.lines()) {
            split_up(text).for_each(|sentence| sentences.add(sentence, false, &mut seen));
        }
        for table in honest {
            let mut of_table: Vec<String> = table.iter().flat_map(|text| split_up(text)).collect();
            // In an order that has nothing to do with the table's.
            of_table.sort_by_cached_key(|sentence| Sha256::digest(sentence));
            of_table.dedup();
            of_table.truncate(MOST_OF_TABLE);
            of_table.into_iter().for_each(|sentence| sentences.add(sentence, false, &mut seen));
        }
        Ok(sentences)
    }

    fn add(&mut self, sentence: String, speaks: bool, seen: &mut HashSet<String>) {
        if !sentence.trim().is_empty() && !seen.contains(&sentence) {
            let ngrams = NgramCounts::of(&sentence, SentenceModel::SPEC);
            self.sources.push(Source { vector: Vec::new(), ngrams });
            self.speaks.push(speaks);
            seen.insert(sentence);
        }
    }

    /// Learns from some sentences.
    fn weights(&self, which: &[usize], cost: f32) -> (Measure, FeatureRows, Weights) {
        let measure = Measure::of(&self.sources, which, 0, 1, MOST_NGRAMS);
        let rows = measure.rows(&self.sources, 1.0);
        // The labels are both sides: the margin of the second is what counts.
        let truth: Vec<Vec<usize>> = self.speaks.iter().map(|speaks| vec![usize::from(*speaks)]).collect();
        let costs = self.speaks.iter().map(|speaks| if *speaks { cost * WEIGHT_OF_MACHINES } else { cost });
        let wanted = Wanted { labels: 2, truth: &truth, costs: &costs.collect::<Vec<_>>(), seed: 1 };
        let weights = Weights::fit(&rows, which, &wanted);
        (measure, rows, weights)
    }

    /// Judges every sentence by what was learnt from others.
    fn held_out(&self, cost: f32, bounds: Bounds) -> Option<HeldOut> {
        let strata: Vec<usize> = self.speaks.iter().map(|speaks| usize::from(*speaks)).collect();
        let part_of = deal(&strata, PARTS, 1);
        let judged: Vec<(bool, f32)> = (0..PARTS)
            .flat_map(|part| {
                let (aside, rest) = split(&part_of, part);
                let (_, rows, weights) = self.weights(&rest, cost);
                let judge = |row: usize| {
                    let margin = *weights.margins(rows.rows.get(row)?).get(1)?;
                    Some((*self.speaks.get(row)?, margin))
                };
                aside.into_iter().filter_map(judge).collect::<Vec<_>>()
            })
            .collect();
        let of = |side: bool| judged.iter().filter(move |(speaks, _)| *speaks == side).map(|(_, margin)| *margin);
        let mut people: Vec<f32> = of(false).collect();
        people.sort_by(|one, other| other.total_cmp(one));
        // The highest margins of people are the mistakes that are allowed.
        let border = |share: f64| Some(people.get((people.len() as f64 * share) as usize)?.next_up());
        let borders = [border(bounds.mistaken)?, border(bounds.suspected)?];
        let [told, suspected] = borders.map(|border| {
            let above = of(true).filter(|margin| *margin >= border).count();
            above as f64 / of(true).count().max(1) as f64
        });
        Some(HeldOut { borders, told, suspected })
    }

    fn fit(&self, which: &[usize], cost: f32, held_out: &HeldOut) -> SentenceParts {
        let [sure, suspected] = held_out.borders;
        let (measure, _, weights) = self.weights(which, cost);
        SentenceParts {
            weights: weights.sparse().skip(1).step_by(2).collect(),
            bias: weights.bias().nth(1).unwrap_or_default(),
            hashes: measure.hashes,
            rarity: measure.rarity,
            sure,
            suspected,
        }
    }
}

/// The sentences of a text as they are judged.
fn split_up(text: &str) -> impl Iterator<Item = String> + use<> {
    let prepared = prepare(text);
    let sentences: Vec<String> = prepared.sentences().iter().map(|span| lower(prepared.sentence_text(*span))).collect();
    sentences.into_iter()
}

/// A clean text as it is judged.
fn lower(clean: &str) -> String {
    clean.to_lowercase().replace('ё', "е")
}
