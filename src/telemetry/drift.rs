//! How far the tags of the last texts have moved from those before: the population stability index.
//!
//! Enters: the main topic, the team and the sentiment of each text. Leaves: one number for each of the three. The window is the last
//! [`WINDOW_TEXTS`] texts, the reference the [`REFERENCE_TEXTS`] before those; both slide, so a change shows until it has become what is
//! usual. With `p` and `q` the shares of a value in reference and window, the index is the sum of `(q - p) ln(q / p)` over the values. By
//! the practice of the field, below 0.1 nothing has moved, from 0.25 on the texts are others than those before.
//!
//! The index is told as soon as the window is full and the reference has [`LEAST_REFERENCE_TEXTS`]. Values with a share below 2 % in both
//! count as one, since chance moves the shares of many rare values. A new version of the taxonomy begins anew: what topics meant before
//! says nothing of them now. All tenants count together.

use std::collections::{HashMap, VecDeque};

use crate::tags::Tags;

/// Texts of the window.
pub const WINDOW_TEXTS: usize = 1_000;

/// Most texts of the reference.
pub const REFERENCE_TEXTS: usize = 10_000;

/// Texts that the reference has at least when an index is told.
pub(super) const LEAST_REFERENCE_TEXTS: usize = 2_000;

/// A value with a smaller share in window and reference counts with the other rare ones.
const RARE_SHARE: f64 = 0.02;

/// Counted with each value, so that one that was never seen has a share too.
const PSEUDO_COUNT: f64 = 0.5;

/// Most values that are told apart; taxonomies have far fewer.
const MOST_VALUES: usize = 4_096;

/// What stands for a text without a value, as a text without a topic.
const NONE: &str = "";

/// How many texts had each value, in the window and in the reference.
#[derive(Debug, Default)]
struct Shares {
    numbers: HashMap<String, u16>,
    /// Of the reference and then of the window, the oldest first.
    texts: VecDeque<u16>,
    window: Vec<u32>,
    reference: Vec<u32>,
}

impl Shares {
    fn push(&mut self, value: &str) {
        let number = self.number(value);
        self.texts.push_back(number);
        count(&mut self.window, number, 1);
        let Some(left) = self.texts.len().checked_sub(WINDOW_TEXTS + 1) else { return };
        // The oldest of the window becomes the newest of the reference.
        if let Some(&moved) = self.texts.get(left) {
            count(&mut self.window, moved, -1);
            count(&mut self.reference, moved, 1);
        }
        if left >= REFERENCE_TEXTS
            && let Some(oldest) = self.texts.pop_front()
        {
            count(&mut self.reference, oldest, -1);
        }
    }

    fn number(&mut self, value: &str) -> u16 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        // The first number is for what does not fit.
        let next = self.numbers.len() + 1;
        let number = if next < MOST_VALUES { u16::try_from(next).unwrap_or(0) } else { 0 };
        if number > 0 {
            self.numbers.insert(value.to_owned(), number);
        }
        number
    }

    /// The population stability index; `None` as long as there are too few texts.
    fn index(&self) -> Option<f64> {
        let reference = self.texts.len().checked_sub(WINDOW_TEXTS).filter(|texts| *texts >= LEAST_REFERENCE_TEXTS)?;
        let share = |counts: &[u32], number: usize, texts: usize| {
            f64::from(counts.get(number).copied().unwrap_or(0)) / texts as f64
        };
        let mut rare = (0.0, 0.0);
        let mut told_apart = Vec::new();
        for number in 0..self.window.len().max(self.reference.len()) {
            let before = share(&self.reference, number, reference);
            let now = share(&self.window, number, WINDOW_TEXTS);
            if before < RARE_SHARE && now < RARE_SHARE {
                rare = (rare.0 + before, rare.1 + now);
            } else {
                told_apart.push((before, now));
            }
        }
        told_apart.push(rare);
        let values = told_apart.len() as f64;
        let smoothed =
            |share: f64, texts: usize| (share * texts as f64 + PSEUDO_COUNT) / (texts as f64 + PSEUDO_COUNT * values);
        let parts = told_apart.into_iter().map(|(before, now)| {
            let (before, now) = (smoothed(before, reference), smoothed(now, WINDOW_TEXTS));
            (now - before) * (now / before).ln()
        });
        Some(parts.sum())
    }
}

fn count(counts: &mut Vec<u32>, number: u16, change: i32) {
    let at = usize::from(number);
    if counts.len() <= at {
        counts.resize(at + 1, 0);
    }
    if let Some(count) = counts.get_mut(at) {
        *count = count.saturating_add_signed(change);
    }
}

/// Drift of the tags that a service gives.
#[derive(Debug, Default)]
pub(super) struct Drift {
    taxonomy_version: String,
    topics: Shares,
    teams: Shares,
    sentiments: Shares,
}

impl Drift {
    /// Something was tagged.
    pub(super) fn tagged(&mut self, tags: &Tags) {
        let version = tags.provenance.taxonomy_version.as_str();
        if version != self.taxonomy_version {
            *self = Self { taxonomy_version: version.to_owned(), ..Self::default() };
        }
        let surest = tags.topics.iter().max_by(|one, other| one.confidence.get().total_cmp(&other.confidence.get()));
        self.topics.push(surest.map_or(NONE, |topic| topic.topic_id.as_str()));
        self.teams.push(tags.team.team_id.as_str());
        self.sentiments.push(tags.sentiment.map_or(NONE, |sentiment| sentiment.label.as_str()));
    }

    /// The index of each kind of tag, under the name that it is told by; `None` as long as there are too few texts.
    pub(super) fn indexes(&self) -> [(&'static str, &'static str, Option<f64>); 3] {
        [
            (
                "topic_drift",
                "How far the main topics of the last texts are from those before (PSI)",
                self.topics.index(),
            ),
            (
                "team_drift",
                "How far the owning teams of the last texts are from those before (PSI)",
                self.teams.index(),
            ),
            (
                "sentiment_drift",
                "How far the sentiments of the last texts are from those before (PSI)",
                self.sentiments.index(),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// So many texts whose values have these weights.
    fn push(shares: &mut Shares, random: &mut ChaCha8Rng, texts: usize, weights: &[u32]) {
        let all: u32 = weights.iter().sum();
        for _ in 0..texts {
            let mut left = random.random_range(0..all);
            let value = weights.iter().position(|weight| {
                let is_it = left < *weight;
                left = left.saturating_sub(*weight);
                is_it
            });
            shares.push(&format!("t{}", value.unwrap()));
        }
    }

    #[test]
    fn nothing_is_told_of_few_texts() {
        let (mut shares, mut random) = (Shares::default(), ChaCha8Rng::seed_from_u64(1));
        push(&mut shares, &mut random, WINDOW_TEXTS + LEAST_REFERENCE_TEXTS - 1, &[1, 1]);
        assert_eq!(shares.index(), None);
        push(&mut shares, &mut random, 1, &[1, 1]);
        assert!(shares.index().is_some());
    }

    #[test]
    fn the_index_is_small_for_the_same_shares_grows_when_they_change_and_falls_when_that_is_usual() {
        for seed in 1..=5 {
            let (mut shares, mut random) = (Shares::default(), ChaCha8Rng::seed_from_u64(seed));
            // As topics are: some are frequent, many are rare.
            let mut usual = vec![300, 200, 100, 80, 60, 50, 40, 30];
            usual.extend([4; 40]);
            push(&mut shares, &mut random, WINDOW_TEXTS + REFERENCE_TEXTS, &usual);
            let same = shares.index().unwrap();
            assert!((0.0..0.1).contains(&same), "seed {seed}: {same}");
            // An outage: a topic that was rare is every third text.
            let mut outage = usual.clone();
            outage[20] = 500;
            push(&mut shares, &mut random, WINDOW_TEXTS, &outage);
            let changed = shares.index().unwrap();
            assert!(changed > 0.25, "seed {seed}: {changed}");
            push(&mut shares, &mut random, REFERENCE_TEXTS, &outage);
            let again = shares.index().unwrap();
            assert!(again < 0.1, "seed {seed}: {again}");
        }
    }

    #[test]
    fn a_value_that_was_never_seen_and_one_that_is_gone_count() {
        let mut shares = Shares::default();
        (0..WINDOW_TEXTS + REFERENCE_TEXTS).for_each(|_| shares.push("before"));
        assert!(shares.index().unwrap().abs() < 0.01);
        (0..WINDOW_TEXTS).for_each(|_| shares.push("now"));
        let changed = shares.index().unwrap();
        assert!(changed > 5.0 && changed.is_finite(), "{changed}");
    }

    /// Against the formula on the whole stream.
    #[test]
    fn counts_are_those_of_the_last_texts_and_those_before() {
        let (mut shares, mut random) = (Shares::default(), ChaCha8Rng::seed_from_u64(7));
        let values: Vec<u16> = (0..30_000).map(|_| random.random_range(0..5)).collect();
        values.iter().for_each(|value| shares.push(&value.to_string()));
        let (before, window) = values.split_at(values.len() - WINDOW_TEXTS);
        let reference = &before[before.len() - REFERENCE_TEXTS..];
        let held: usize = shares.texts.len();
        assert_eq!(held, WINDOW_TEXTS + REFERENCE_TEXTS);
        for value in 0..5_u16 {
            let number = usize::from(shares.numbers[&value.to_string()]);
            let of = |texts: &[u16]| texts.iter().filter(|text| **text == value).count() as u32;
            assert_eq!((shares.window[number], shares.reference[number]), (of(window), of(reference)));
        }
    }

    #[test]
    fn many_values_take_bounded_memory() {
        let mut shares = Shares::default();
        (0..2 * MOST_VALUES).for_each(|value| shares.push(&value.to_string()));
        assert!(shares.numbers.len() < MOST_VALUES && shares.window.len() <= MOST_VALUES);
        assert_eq!(shares.window.iter().chain(&shares.reference).sum::<u32>() as usize, shares.texts.len());
    }

    #[test]
    fn another_version_of_the_taxonomy_begins_anew() {
        let mut drift = Drift::default();
        let mut tags = crate::tags::sample::nothing_found("Касса не работает");
        (0..WINDOW_TEXTS + LEAST_REFERENCE_TEXTS).for_each(|_| drift.tagged(&tags));
        assert!(drift.indexes().iter().all(|(_, _, index)| index.is_some()));
        tags.provenance.taxonomy_version = crate::tags::TaxonomyVersion::new("another");
        drift.tagged(&tags);
        assert!(drift.indexes().iter().all(|(_, _, index)| index.is_none()));
    }
}
