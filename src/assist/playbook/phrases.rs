//! Phrases of the playbook, ready to be found in a text.

use std::ops::Range;

use crate::taxonomy::RuleWord;
use crate::taxonomy::phrases::Phrase;

/// Phrases of one entry, written as in phrase rules of a taxonomy.
#[derive(Debug, Clone, Default)]
pub(crate) struct PhraseSet {
    phrases: Vec<Phrase>,
}

impl PhraseSet {
    pub(super) fn new(phrases: Vec<Phrase>) -> Self {
        Self { phrases }
    }

    /// Where the phrases stand among the words of one sentence, as ranges of words: from each word on the tightest that begins there.
    pub(crate) fn find(&self, words: &[RuleWord<'_>]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for start in 0..words.len() {
            let from = words.get(start..).unwrap_or_default();
            if let Some(taken) =
                self.phrases.iter().filter_map(|phrase| phrase.words_matched(from)).min_by_key(tightness)
            {
                found.push(start..start + taken);
            }
        }
        found
    }
}

/// Of matches the tightest counts, because far words meet by chance; one word alone says less than any two.
pub(crate) fn tightness(words: &usize) -> (bool, usize) {
    (*words == 1, *words)
}
