//! Phrases of rules: how they are written, and how they match the words of a sentence.
//!
//! Words are compared by stem; `=word` is compared as it stands, `prefix*` by its beginning, and `...` lets up to
//! [`MAX_GAP`] other words through.

use unicode_normalization::UnicodeNormalization;

use super::rules::RuleWord;
use crate::text::{Word, words_as_they_stand};

/// How many other words `...` lets through at most.
pub const MAX_GAP: usize = 4;

/// How many words a phrase may have at most.
pub(super) const MAX_PHRASE_WORDS: usize = 32;

/// How one word of a phrase is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum WordPattern {
    Stem(String),
    Exact(String),
    Prefix(String),
}

impl WordPattern {
    fn matches(&self, word: &RuleWord<'_>) -> bool {
        match self {
            WordPattern::Stem(stem) => word.stem == stem,
            WordPattern::Exact(lower) => word.lower == lower,
            WordPattern::Prefix(prefix) => word.lower.starts_with(prefix.as_str()),
        }
    }
}

/// A phrase ready to be matched. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Phrase {
    first: WordPattern,
    /// Each further word, and whether other words may stand before it.
    rest: Vec<(bool, WordPattern)>,
}

impl Phrase {
    /// Reads a phrase as written in a rule; the error says what is wrong with it.
    pub fn parse(written: &str) -> Result<Self, String> {
        let normalised = normalise(written);
        let mut words: Vec<(bool, WordPattern)> = Vec::new();
        let mut gap = false;
        for token in normalised.replace('…', " ... ").replace("...", " ... ").split_whitespace() {
            if token == "..." {
                if words.is_empty() {
                    return Err("begins with `...`; a gap stands between words".to_owned());
                }
                if gap {
                    return Err("has two gaps in a row; one `...` lets up to 4 words through".to_owned());
                }
                gap = true;
                continue;
            }
            for pattern in patterns_of(token)? {
                words.push((gap, pattern));
                gap = false;
            }
        }
        if gap {
            return Err("ends with `...`; a gap stands between words".to_owned());
        }
        if words.len() > MAX_PHRASE_WORDS {
            return Err(format!("has {} words; at most {MAX_PHRASE_WORDS} are allowed", words.len()));
        }
        let mut words = words.into_iter();
        let (_, first) = words.next().ok_or("has no words")?;
        Ok(Self { first, rest: words.collect() })
    }

    /// The word that a match begins with.
    pub fn first(&self) -> &WordPattern {
        &self.first
    }

    /// How many of `words` (those of one sentence from a match of the first word on) the shortest match takes.
    pub fn words_matched(&self, words: &[RuleWord<'_>]) -> Option<usize> {
        if !self.first.matches(words.first()?) {
            return None;
        }
        let mut taken = vec![1];
        for (gap, pattern) in &self.rest {
            let reach = if *gap { MAX_GAP } else { 0 };
            let mut next: Vec<usize> = Vec::new();
            for after in taken {
                for at in after..=after + reach {
                    if words.get(at).is_some_and(|word| pattern.matches(word)) && !next.contains(&(at + 1)) {
                        next.push(at + 1);
                    }
                }
            }
            if next.is_empty() {
                return None;
            }
            taken = next;
        }
        taken.into_iter().min()
    }
}

/// The patterns of one token between spaces; more than one for `wi-fi`, which is two words to the word splitter.
fn patterns_of(token: &str) -> Result<Vec<WordPattern>, String> {
    let (exact, rest) = token.strip_prefix('=').map_or((false, token), |rest| (true, rest));
    let (prefix, rest) = rest.strip_suffix('*').map_or((false, rest), |rest| (true, rest));
    if rest.contains(['*', '=']) {
        return Err(format!("has {token:?}: `=` stands before a word and `*` after one"));
    }
    let mut words = words_as_they_stand(rest);
    let Some(last) = words.pop() else {
        return Err(format!("has {token:?}, which is no word"));
    };
    let plain = |word: Word| if exact { WordPattern::Exact(word.lower) } else { WordPattern::Stem(word.stem) };
    let mut patterns: Vec<WordPattern> = words.into_iter().map(plain).collect();
    patterns.push(if prefix { WordPattern::Prefix(last.lower) } else { plain(last) });
    Ok(patterns)
}

/// Lower case, composed characters, `е` for `ё`, one kind of apostrophe: how words are compared.
pub(super) fn normalise(text: &str) -> String {
    let one_spelling = |character| match character {
        'ё' => 'е',
        '’' | 'ʼ' | '‘' => '\'',
        other => other,
    };
    text.nfc().flat_map(char::to_lowercase).map(one_spelling).collect()
}
