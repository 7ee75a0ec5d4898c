//! The letters and words of a text as hashed n-grams.

mod places;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) use places::{Places, ask_for};

/// Seeds of the hash, so that a run of letters and the same run as words are told apart.
const CHARACTERS: u64 = 1;
const WORDS: u64 = 2;

/// Which n-grams are counted. Letters tell what words can't: endings, slips, `!!!` and `)))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NgramSpec {
    /// Characters of the shortest run that is counted.
    pub min_characters: usize,
    /// Characters of the longest run that is counted.
    pub max_characters: usize,
    /// Words of the longest run that is counted.
    pub max_words: usize,
}

impl Default for NgramSpec {
    fn default() -> Self {
        Self { min_characters: 2, max_characters: 5, max_words: 2 }
    }
}

/// The n-grams of one text: hash and count, by rising hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NgramCounts {
    spec: NgramSpec,
    counts: Vec<(u32, u32)>,
}

impl NgramCounts {
    /// Counts the n-grams of a text. Takes time linear in its length, but for the sorting.
    pub fn of(text: &str, spec: NgramSpec) -> Self {
        Self::of_those(text, spec, |_| true)
    }

    /// Counts those n-grams of a text whose hash is wanted.
    pub(crate) fn of_those(text: &str, spec: NgramSpec, is_wanted: impl Fn(u32) -> bool) -> Self {
        let line = one_line(text);
        let mut bounds = Vec::with_capacity(line.len() + 1);
        bounds.extend(line.char_indices().map(|(at, _)| at).chain([line.len()]));
        let mut hashes = Vec::with_capacity(2 * bounds.len());
        let hash = |start: usize, end: usize, kind: u64| hash(&line, start, end, kind).filter(|hash| is_wanted(*hash));
        for length in spec.min_characters..=spec.max_characters {
            for bounds in bounds.windows(length + 1) {
                if let [start, .., end] = bounds {
                    hashes.extend(hash(*start, *end, CHARACTERS));
                }
            }
        }
        let words = word_bounds(&line);
        for length in 1..=spec.max_words {
            for words in words.windows(length) {
                if let (Some((start, _)), Some((_, end))) = (words.first(), words.last()) {
                    hashes.extend(hash(*start, *end, WORDS));
                }
            }
        }
        hashes.sort_unstable();
        let counts = hashes.chunk_by(|one, other| one == other);
        let counts = counts.filter_map(|same| Some((*same.first()?, same.len() as u32))).collect();
        Self { spec, counts }
    }

    /// Which n-grams were counted.
    pub fn spec(&self) -> NgramSpec {
        self.spec
    }

    /// Hash and count of each n-gram, by rising hash.
    pub fn counts(&self) -> &[(u32, u32)] {
        &self.counts
    }
}

/// How much a count weighs beside others in the same text: the fifth time says less than the first.
pub(crate) fn dampened(count: u32) -> f32 {
    // Most stand there once, and a logarithm takes its time.
    if count == 1 { 1.0 } else { 1.0 + (count as f32).ln() }
}

fn hash(line: &str, start: usize, end: usize, kind: u64) -> Option<u32> {
    line.as_bytes().get(start..end).map(|run| (xxh3_64_with_seed(run, kind) >> 32) as u32)
}

/// Lower case, `е` for `ё`, white space as one space, with a space before and behind.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 2);
    line.push(' ');
    for c in text.chars() {
        match c {
            'ё' | 'Ё' => line.push('е'),
            c if c.is_whitespace() => {
                if !line.ends_with(' ') {
                    line.push(' ');
                }
            }
            c => line.extend(c.to_lowercase()),
        }
    }
    if !line.ends_with(' ') {
        line.push(' ');
    }
    line
}

/// First byte and end of each run of letters and digits.
fn word_bounds(line: &str) -> Vec<(usize, usize)> {
    let mut bounds = Vec::new();
    let mut open = None;
    for (at, c) in line.char_indices() {
        if c.is_alphanumeric() {
            open.get_or_insert(at);
        } else if let Some(start) = open.take() {
            bounds.push((start, at));
        }
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(text: &str, spec: NgramSpec) -> u32 {
        NgramCounts::of(text, spec).counts().iter().map(|(_, count)| count).sum()
    }

    #[test]
    fn runs_of_letters_and_of_words_are_counted() {
        let letters = NgramSpec { min_characters: 2, max_characters: 3, max_words: 0 };
        // " да " has three runs of two and two of three.
        assert_eq!(total("да", letters), 5);
        let words = NgramSpec { min_characters: 2, max_characters: 1, max_words: 2 };
        assert_eq!(total("не работает, не работает", words), 4 + 3);
        assert_eq!(NgramCounts::of("не работает, не работает", words).counts().len(), 2 + 2);
        assert_eq!(total("", NgramSpec::default()), 0);
    }

    #[test]
    fn case_white_space_and_yo_do_not_matter_but_signs_do() {
        let counts = |text: &str| NgramCounts::of(text, NgramSpec::default());
        assert_eq!(counts("Ещё  раз\n"), counts("еще раз"));
        assert_ne!(counts("ещё раз!"), counts("ещё раз"));
    }

    #[test]
    fn a_word_is_not_the_same_run_of_letters() {
        let spec = NgramSpec { min_characters: 2, max_characters: 2, max_words: 0 };
        let letters = NgramCounts::of("да", spec);
        let words = NgramCounts::of("да", NgramSpec { min_characters: 2, max_characters: 1, max_words: 1 });
        assert!(words.counts().iter().all(|word| !letters.counts().contains(word)));
    }
}
