//! Whether the script covers what a customer says: the nearest intent by meaning and by words.
//!
//! The distance to an example is 1 minus a weighted mean of two likenesses from 0 to 1. By meaning: the cosine of the encoder's vectors,
//! counted from the mean cosine of examples of different intents, because encoders give hardly any low ones. By words: the cosine of
//! stems weighed by how rare they are among what customers say, of the sentence that is likest. What is farther than a threshold from all
//! examples is outside the script. The threshold is the distance within which nine of ten examples find another example of their own
//! intent when they themselves are held out. Where signals say that the customer is sent round or that it may be an incident, the
//! words of an intent are in it even if its script helps nobody; then the threshold is the distance within which a fifth of them do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::playbook::Playbook;
use crate::feedback::named_enum;
use crate::tags::SignalId;
use crate::taxonomy::Taxonomy;
use crate::text::{Prepared, prepare};

/// Share of the likeness by meaning; words have the rest.
const MEANING_SHARE: f32 = 0.7;

/// Share of held-out examples that the threshold lets through.
const HELD_OUT_SHARE: f32 = 0.9;

/// The same where signals ask for more: those that are nearly said again.
const NEARER_SHARE: f32 = 0.2;

/// Signals of a matter that the script's usual answer may not settle: the customer is passed on or sent elsewhere with it, or it may be an
/// incident, and the answer is for one customer. That somebody writes again is none of them: mostly the script still has the answer.
const NEARER_FOR: &[&str] = &["handoff_loop", "deflection", "outage"];

/// The mean cosine of different intents is never taken above this: what is left to tell them apart would be noise.
const HIGHEST_FLOOR: f32 = 0.95;

named_enum! {
    /// What a distance was measured by.
    DistanceBasis {
        /// By meaning and by words.
        MeaningAndWords = "meaning_and_words",
        /// By words alone, because there was no vector.
        Words = "words",
    }
}

/// Whether the script covers a matter, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct ScriptCover {
    /// True if the nearest intent is near enough.
    pub covered: bool,
    /// The nearest intent.
    pub nearest_intent_id: String,
    /// The example that is nearest.
    pub nearest_example: String,
    /// How far it is, 0 to 1.
    pub distance: f32,
    /// The distance up to which the script covers.
    pub threshold: f32,
    /// Signals for which the script had to be nearer than otherwise, which `threshold` allows for.
    pub nearer_for: Vec<SignalId>,
    /// What the distance was measured by.
    pub basis: DistanceBasis,
}

/// One example, ready to be compared.
#[derive(Debug, Clone)]
struct Known {
    intent: usize,
    words: Words,
    vector: Option<Vec<f32>>,
}

/// Stems with weights, of unit length together.
type Words = BTreeMap<String, f32>;

/// The examples of a script, ready to be compared with.
#[derive(Debug, Clone)]
pub struct ScriptIndex {
    intents: Vec<String>,
    texts: Vec<String>,
    known: Vec<Known>,
    rarity: BTreeMap<String, f32>,
    /// Mean cosine of examples of different intents.
    floor: f32,
    by_both: Thresholds,
    by_words: Thresholds,
}

/// How far the script reaches.
#[derive(Debug, Clone, Copy)]
struct Thresholds {
    usual: f32,
    /// With signals that ask for more.
    nearer: f32,
}

impl ScriptIndex {
    /// The texts whose vectors [`ScriptIndex::new`] wants, in its order.
    pub fn texts(playbook: &Playbook) -> Vec<String> {
        let intents = playbook.intents().iter();
        intents.flat_map(|intent| intent.examples.iter().map(|example| example.text.clone())).collect()
    }

    /// An index of a playbook's intents; `vectors` are unit vectors of [`ScriptIndex::texts`], or empty, and then words alone decide. How
    /// rare a word is among customers is told by the examples of the taxonomy as well.
    pub fn new(playbook: &Playbook, taxonomy: &Taxonomy, vectors: Vec<Vec<f32>>) -> Self {
        let texts = Self::texts(playbook);
        let owners = playbook.intents().iter().enumerate();
        let owners: Vec<usize> = owners.flat_map(|(at, intent)| intent.examples.iter().map(move |_| at)).collect();
        let stems: Vec<BTreeSet<String>> = texts.iter().map(|text| stems_of(&prepare(text))).collect();
        let of_taxonomy = taxonomy.taggable_topics().flat_map(|topic| &topic.examples);
        let background = of_taxonomy.map(|example| stems_of(&prepare(&example.text)));
        let rarity = rarity(stems.iter().cloned().chain(background));
        let mut vectors = vectors.into_iter();
        let known: Vec<Known> = owners
            .iter()
            .zip(&stems)
            .map(|(intent, stems)| Known { intent: *intent, words: weighed(stems, &rarity), vector: vectors.next() })
            .collect();
        let floor = floor(&known);
        let intents = playbook.intents().iter().map(|intent| intent.id.clone()).collect();
        let unknown = Thresholds { usual: 1.0, nearer: 1.0 };
        let mut index = Self { intents, texts, known, rarity, floor, by_both: unknown, by_words: unknown };
        index.by_both = index.calibrated(true);
        index.by_words = index.calibrated(false);
        index
    }

    /// True if meaning counts.
    pub fn has_vectors(&self) -> bool {
        !self.known.is_empty() && self.known.iter().all(|known| known.vector.is_some())
    }

    /// The nearest intent to a text; `None` only for a script without intents. `vector` is the text's own unit vector, if there is one,
    /// `signals` those of what was said.
    pub fn cover<'s>(
        &self,
        text: &str,
        vector: Option<&[f32]>,
        signals: impl IntoIterator<Item = &'s SignalId>,
    ) -> Option<ScriptCover> {
        let prepared = prepare(text);
        let mut parts = vec![weighed(&stems_of(&prepared), &self.rarity)];
        parts.extend(prepared.sentences().iter().map(|span| {
            let within = prepared.words().iter().filter(|word| span.contains(word.span));
            weighed(&within.map(|word| word.stem.clone()).collect(), &self.rarity)
        }));
        let vector = vector.filter(|_| self.has_vectors());
        let (basis, thresholds) = match vector {
            Some(_) => (DistanceBasis::MeaningAndWords, self.by_both),
            None => (DistanceBasis::Words, self.by_words),
        };
        let asking = signals.into_iter().filter(|signal| NEARER_FOR.contains(&signal.as_str()));
        let nearer_for: Vec<SignalId> = asking.cloned().collect();
        let threshold = if nearer_for.is_empty() { thresholds.usual } else { thresholds.nearer };
        let distances = self.known.iter().enumerate().map(|(at, known)| (at, self.distance(&parts, vector, known)));
        let (at, distance) = distances.min_by(|one, other| one.1.total_cmp(&other.1))?;
        let intent = self.known.get(at).and_then(|known| self.intents.get(known.intent))?;
        Some(ScriptCover {
            covered: distance <= threshold,
            nearest_intent_id: intent.clone(),
            nearest_example: self.texts.get(at).cloned().unwrap_or_default(),
            distance,
            threshold,
            nearer_for,
            basis,
        })
    }

    fn distance(&self, parts: &[Words], vector: Option<&[f32]>, known: &Known) -> f32 {
        let words = parts.iter().map(|part| dot(part, &known.words)).fold(0.0, f32::max);
        let likeness = match (vector, &known.vector) {
            (Some(vector), Some(own)) => {
                MEANING_SHARE * above_floor(cosine(vector, own), self.floor) + (1.0 - MEANING_SHARE) * words
            }
            _ => words,
        };
        (1.0 - likeness).clamp(0.0, 1.0)
    }

    /// The distances within which most examples, and a fifth of them, find another one of their own intent.
    fn calibrated(&self, with_vectors: bool) -> Thresholds {
        let mut nearest: Vec<f32> = Vec::with_capacity(self.known.len());
        for (at, held_out) in self.known.iter().enumerate() {
            let vector = held_out.vector.as_deref().filter(|_| with_vectors);
            let parts = std::slice::from_ref(&held_out.words);
            let others = self.known.iter().enumerate();
            let others = others.filter(|(other, known)| *other != at && known.intent == held_out.intent);
            nearest.extend(others.map(|(_, known)| self.distance(parts, vector, known)).min_by(f32::total_cmp));
        }
        nearest.sort_by(f32::total_cmp);
        let within = |share: f32| {
            let at = (nearest.len() as f32 * share) as usize;
            // An example that shares nothing with its fellows says nothing of how far is too far.
            let telling = nearest.get(at.min(nearest.len().saturating_sub(1))).copied().unwrap_or(1.0);
            telling.min(if with_vectors { FARTHEST } else { FARTHEST_BY_WORDS })
        };
        Thresholds { usual: within(HELD_OUT_SHARE), nearer: within(NEARER_SHARE) }
    }
}

/// A text that is this far from every example is never covered, whatever the examples are like. Messages that a script covers are
/// nearer by meaning and words, however they are put, and hardly any others are.
const FARTHEST: f32 = 0.7;

/// The same by words alone, which tell less.
const FARTHEST_BY_WORDS: f32 = 0.75;

fn stems_of(prepared: &Prepared) -> BTreeSet<String> {
    prepared.words().iter().map(|word| word.stem.clone()).collect()
}

/// How rare each stem is among texts: the logarithm of their number over the number that have it.
fn rarity(texts: impl Iterator<Item = BTreeSet<String>>) -> BTreeMap<String, f32> {
    let mut counts: BTreeMap<String, f32> = BTreeMap::new();
    let mut all = 0.0;
    for text in texts {
        all += 1.0;
        for stem in text {
            *counts.entry(stem).or_default() += 1.0;
        }
    }
    counts.into_iter().map(|(stem, count)| (stem, (1.0 + all / count).ln())).collect()
}

/// Stems by weight; one that no example has weighs as the rarest do, so that much else in a text makes it less alike.
fn weighed(stems: &BTreeSet<String>, rarity: &BTreeMap<String, f32>) -> Words {
    let rarest = rarity.values().copied().fold(1.0, f32::max);
    let mut words: Words =
        stems.iter().map(|stem| (stem.clone(), rarity.get(stem).copied().unwrap_or(rarest))).collect();
    let length = words.values().map(|weight| weight * weight).sum::<f32>().sqrt();
    if length > 0.0 {
        words.values_mut().for_each(|weight| *weight /= length);
    }
    words
}

fn dot(one: &Words, other: &Words) -> f32 {
    one.iter().filter_map(|(stem, weight)| other.get(stem).map(|known| weight * known)).sum()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// A cosine as a likeness from 0 to 1.
fn above_floor(cosine: f32, floor: f32) -> f32 {
    ((cosine - floor) / (1.0 - floor)).clamp(0.0, 1.0)
}

fn floor(known: &[Known]) -> f32 {
    let (mut sum, mut count) = (0.0_f64, 0_u32);
    for (at, one) in known.iter().enumerate() {
        for other in known.iter().skip(at + 1).filter(|other| other.intent != one.intent) {
            if let (Some(a), Some(b)) = (&one.vector, &other.vector) {
                sum += f64::from(cosine(a, b));
                count += 1;
            }
        }
    }
    let mean = if count == 0 { 0.0 } else { (sum / f64::from(count)) as f32 };
    mean.clamp(0.0, HIGHEST_FLOOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taxonomy() -> Taxonomy {
        Taxonomy::default_taxonomy().unwrap()
    }

    fn playbook() -> Playbook {
        Playbook::default_playbook(&taxonomy()).unwrap()
    }

    #[test]
    fn by_words_alone_the_script_covers_what_its_examples_say_and_nothing_far_off() {
        let index = ScriptIndex::new(&playbook(), &taxonomy(), Vec::new());
        assert!(!index.has_vectors());
        for (text, intent) in [
            ("Здравствуйте. Потерял карту, заблокируйте её пожалуйста", "block_card"),
            ("курьер не приехал, где мой заказ", "delivery_status"),
            ("пропал интернет второй день", "internet_down"),
            ("I forgot my password and can't log in", "login_problem"),
        ] {
            let cover = index.cover(text, None, []).unwrap();
            assert_eq!((cover.nearest_intent_id.as_str(), cover.covered), (intent, true), "{cover:?}");
            assert_eq!(cover.basis, DistanceBasis::Words);
        }
        for text in [
            "Ваш охранник накричал на мою дочь в вестибюле",
            "A guard of yours shouted at two children near the entrance",
        ] {
            let cover = index.cover(text, None, []).unwrap();
            assert!(!cover.covered && cover.distance > cover.threshold, "{cover:?}");
        }
    }

    /// A vector by intent: what the words don't show, the meaning does.
    #[test]
    fn meaning_finds_an_intent_told_in_other_words() {
        let playbook = playbook();
        let count = playbook.intents().len();
        let axis = |at: usize| -> Vec<f32> { (0..=count).map(|axis| f32::from(u8::from(axis == at))).collect() };
        let intents = playbook.intents().iter().enumerate();
        let vectors = intents.flat_map(|(at, intent)| intent.examples.iter().map(move |_| axis(at))).collect();
        let index = ScriptIndex::new(&playbook, &taxonomy(), vectors);
        assert!(index.has_vectors());
        let stop_ads = playbook.intents().iter().position(|intent| intent.id == "stop_ads").unwrap();
        let cover = index.cover("прекратите эти бесконечные предложения", Some(&axis(stop_ads)), []).unwrap();
        assert_eq!((cover.nearest_intent_id.as_str(), cover.covered), ("stop_ads", true), "{cover:?}");
        let far = index.cover("прекратите эти бесконечные предложения", Some(&axis(count)), []).unwrap();
        assert!(!far.covered, "{far:?}");
        let calibrated = index.cover("где мой заказ", None, []).unwrap();
        assert!(calibrated.basis == DistanceBasis::Words && calibrated.covered);
    }

    #[test]
    fn nine_of_ten_examples_held_out_are_within_the_threshold() {
        let index = ScriptIndex::new(&playbook(), &taxonomy(), Vec::new());
        assert!((0.3..=FARTHEST_BY_WORDS).contains(&index.by_words.usual), "{:?}", index.by_words);
        assert!(index.by_words.nearer <= index.by_words.usual, "{:?}", index.by_words);
    }

    #[test]
    fn with_signals_of_a_matter_that_went_round_the_script_must_be_nearer() {
        let mut index = ScriptIndex::new(&playbook(), &taxonomy(), Vec::new());
        index.by_words = Thresholds { usual: 0.99, nearer: 0.01 };
        let signals = ["handoff_loop", "churn_risk", "outage"].map(SignalId::new);
        let text = "Здравствуйте. Потерял карту, заблокируйте её пожалуйста, я в другом городе";
        let usual = index.cover(text, None, &signals[1..2]).unwrap();
        assert_eq!((usual.covered, usual.threshold, usual.nearer_for.len()), (true, 0.99, 0), "{usual:?}");
        let strict = index.cover(text, None, &signals).unwrap();
        assert_eq!((strict.covered, strict.threshold, strict.distance), (false, 0.01, usual.distance));
        assert_eq!(strict.nearer_for, ["handoff_loop", "outage"].map(SignalId::new));
        let example = ScriptIndex::texts(&playbook()).remove(0);
        assert!(index.cover(&example, None, &signals).unwrap().covered, "an example itself is near enough");
    }
}
