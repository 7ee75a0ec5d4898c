//! A reply read once for all that is looked for in it: sentences, words, and patterns with their places.

use std::ops::Range;

use regex::Regex;

use crate::feedback::CharSpan;
use crate::tags::Language;
use crate::taxonomy::RuleWord;
use crate::text::{Prepared, Word, prepare};

/// A text made ready. Places are characters of its clean form; [`Reading::original`] leads back to the text as given.
pub(crate) struct Reading {
    prepared: Prepared,
    /// The clean text in lower case with `е` for `ё`: character for character the same places.
    lower: String,
    /// The byte of `lower` that each character begins at, and its length.
    bytes: Vec<usize>,
    sentences: Vec<Sentence>,
}

/// One sentence of a [`Reading`].
#[derive(Debug, Clone)]
pub(crate) struct Sentence {
    /// Where it stands.
    pub span: CharSpan,
    /// Its words, as positions among all words.
    pub words: Range<usize>,
}

impl Reading {
    pub(crate) fn new(text: &str) -> Self {
        let prepared = prepare(text);
        let one_lower = |c: char| match c {
            'ё' | 'Ё' => 'е',
            '’' | 'ʼ' => '\'',
            '\u{a0}' | '\u{202f}' | '\u{2009}' => ' ',
            other => other.to_lowercase().next().unwrap_or(other),
        };
        let lower: String = prepared.clean().chars().map(one_lower).collect();
        let mut bytes: Vec<usize> = lower.char_indices().map(|(byte, _)| byte).collect();
        bytes.push(lower.len());
        let words = prepared.words();
        let sentences = prepared
            .sentences()
            .iter()
            .map(|span| {
                let first = words.partition_point(|word| word.span.start < span.start);
                let end = words.partition_point(|word| word.span.start < span.end);
                Sentence { span: *span, words: first..end }
            })
            .collect();
        Self { prepared, lower, bytes, sentences }
    }

    /// The text made ready.
    pub(crate) fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// The language of the whole text.
    pub(crate) fn language(&self) -> Language {
        self.prepared.language()
    }

    pub(crate) fn sentences(&self) -> &[Sentence] {
        &self.sentences
    }

    /// All of the text.
    pub(crate) fn whole(&self) -> CharSpan {
        CharSpan::new(0, u32::try_from(self.bytes.len().saturating_sub(1)).unwrap_or(u32::MAX))
    }

    /// The words of a sentence.
    pub(crate) fn words_of(&self, sentence: &Sentence) -> &[Word] {
        self.prepared.words().get(sentence.words.clone()).unwrap_or_default()
    }

    /// The words of a sentence as phrases are compared with them.
    pub(crate) fn rule_words(&self, sentence: &Sentence) -> Vec<RuleWord<'_>> {
        self.words_of(sentence)
            .iter()
            .map(|word| RuleWord { span: word.span, lower: &word.lower, stem: &word.stem })
            .collect()
    }

    /// The lower-case text under a span.
    pub(crate) fn lower(&self, span: CharSpan) -> &str {
        let byte = |at: u32| self.bytes.get(at as usize).copied().unwrap_or(self.lower.len());
        self.lower.get(byte(span.start)..byte(span.end)).unwrap_or_default()
    }

    /// The text under a span, as it stands in the clean form.
    pub(crate) fn text(&self, span: CharSpan) -> &str {
        self.prepared.sentence_text(span)
    }

    /// Where a pattern matches inside a span of the lower-case text.
    pub(crate) fn find(&self, pattern: &Regex, within: CharSpan) -> Vec<CharSpan> {
        let offset = self.bytes.get(within.start as usize).copied().unwrap_or(self.lower.len());
        let matches = pattern.find_iter(self.lower(within));
        matches.map(|found| self.span_of(found.start() + offset..found.end() + offset)).collect()
    }

    /// The characters of a range of bytes of the lower-case text.
    pub(crate) fn span_of(&self, bytes: Range<usize>) -> CharSpan {
        let at = |byte: usize| u32::try_from(self.bytes.partition_point(|known| *known < byte)).unwrap_or(u32::MAX);
        CharSpan::new(at(bytes.start), at(bytes.end))
    }

    /// The byte of the lower-case text that a character begins at.
    pub(crate) fn byte_of(&self, character: u32) -> usize {
        self.bytes.get(character as usize).copied().unwrap_or(self.lower.len())
    }

    /// Where a span stands in the text as given.
    pub(crate) fn original(&self, span: CharSpan) -> CharSpan {
        self.prepared.to_original(span)
    }
}

/// Compiles a pattern that is written in this program. One that does not compile matches nothing; each has a test that needs it.
pub(crate) fn pattern(written: &str) -> Option<Regex> {
    Regex::new(written).ok()
}
