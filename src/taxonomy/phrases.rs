//! Phrases of rules: how they are written, and how they match the words of a sentence.
//!
//! Words are compared by stem; `=word` is compared as it stands, `prefix*` by its beginning, and `...` lets up to
//! [`MAX_GAP`] other words through.

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::rules::RuleWord;

/// How many other words `...` lets through at most.
pub const MAX_GAP: usize = 4;

/// How many words a phrase may have at most.
pub(super) const MAX_PHRASE_WORDS: usize = 32;

/// Letters of the longest word that is stemmed; what is longer is no word of any language.
const LONGEST_STEMMED: usize = 40;

/// How one word of a phrase is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum WordPattern {
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
pub(super) struct Phrase {
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
    let words = words_of(rest);
    let Some((last, before)) = words.split_last() else {
        return Err(format!("has {token:?}, which is no word"));
    };
    let plain = |word: &str| if exact { WordPattern::Exact(word.to_owned()) } else { WordPattern::Stem(stem(word)) };
    let mut patterns: Vec<WordPattern> = before.iter().map(|word| plain(word)).collect();
    patterns.push(if prefix { WordPattern::Prefix((*last).to_owned()) } else { plain(last) });
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

/// The words of a normalised text: runs of letters and digits, with the apostrophes and decimal points inside them. Hyphens part
/// words.
pub(super) fn words_of(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut open: Option<usize> = None;
    let mut characters = text.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, character)) = characters.next() {
        let after = characters.peek().map_or(' ', |(_, after)| *after);
        let links = match character {
            '\'' => before.is_alphabetic() && after.is_alphabetic(),
            '.' | ',' => before.is_ascii_digit() && after.is_ascii_digit(),
            _ => false,
        };
        if character.is_alphanumeric() || is_combining_mark(character) || (links && open.is_some()) {
            open.get_or_insert(at);
        } else if let Some(start) = open.take() {
            words.extend(text.get(start..at));
        }
        before = character;
    }
    words.extend(open.and_then(|start| text.get(start..)));
    words
}

/// The Snowball stem of a normalised word: Russian for Cyrillic letters, English for Latin ones, else the word itself.
pub(super) fn stem(word: &str) -> String {
    let algorithm = match word.chars().next() {
        Some('\u{400}'..='\u{52f}') => Algorithm::Russian,
        Some(first) if first.is_ascii_alphabetic() => Algorithm::English,
        _ => return word.to_owned(),
    };
    if word.chars().count() > LONGEST_STEMMED {
        word.to_owned()
    } else {
        Stemmer::create(algorithm).stem(word).into_owned()
    }
}
