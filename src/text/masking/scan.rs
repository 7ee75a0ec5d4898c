//! The text as tokens, and what was found in it so far.

use std::collections::HashSet;

use super::MaskedKind;
use crate::text::letters::{is_capital, is_letter};
use crate::text::words;

/// Digits of the longest number that a placeholder may carry.
const PLACEHOLDER_DIGITS: usize = 9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters, with hyphens and apostrophes between them.
    Word,
    /// ASCII digits.
    Digits,
    /// Any other sign.
    Mark(char),
    LineBreak,
    /// A placeholder that the text came with.
    Placeholder,
}

#[derive(Debug)]
struct Token {
    kind: Kind,
    /// Bytes.
    start: usize,
    end: usize,
    /// True if white space stands before it on the same line.
    spaced: bool,
    /// Lower case with `е` for `ё`; empty unless a word.
    lower: String,
    taken: bool,
}

/// A value to mask; bytes of the text. Without a kind: a placeholder that the text came with.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Option<MaskedKind>,
    /// Equal for the same value however it is written.
    pub(super) key: String,
}

/// Tokens of one text by their index; an index past the end is a line break.
pub(super) struct Scan<'t> {
    pub(super) text: &'t str,
    tokens: Vec<Token>,
    pub(super) found: Vec<Found>,
    /// Placeholders that the text came with.
    pub(super) reserved: HashSet<String>,
}

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let mut scan =
            Self { text, tokens: Vec::with_capacity(text.len() / 6), found: Vec::new(), reserved: HashSet::new() };
        let mut at = 0;
        let mut spaced = false;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let first = rest.chars().next().unwrap_or(' ');
            if first == ' ' {
                spaced = true;
                at += 1;
                continue;
            }
            let (kind, length) = token_at(rest, first);
            let end = at + length;
            let lower =
                if kind == Kind::Word { words::lower(rest.get(..length).unwrap_or_default()) } else { String::new() };
            if kind == Kind::Placeholder {
                let placeholder = rest.get(..length).unwrap_or_default().to_owned();
                scan.found.push(Found { start: at, end, kind: None, key: String::new() });
                scan.reserved.insert(placeholder);
            }
            scan.tokens.push(Token { kind, start: at, end, spaced, lower, taken: kind == Kind::Placeholder });
            spaced = false;
            at = end;
        }
        scan
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn kind(&self, at: usize) -> Kind {
        self.tokens.get(at).map_or(Kind::LineBreak, |token| token.kind)
    }

    pub(super) fn text_of(&self, at: usize) -> &'t str {
        self.tokens.get(at).and_then(|token| self.text.get(token.start..token.end)).unwrap_or_default()
    }

    /// The word at `at` in lower case with `е` for `ё`; empty if there is none.
    pub(super) fn lower(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.lower)
    }

    /// Bytes where the token starts and ends.
    pub(super) fn range(&self, at: usize) -> (usize, usize) {
        self.tokens.get(at).map_or((self.text.len(), self.text.len()), |token| (token.start, token.end))
    }

    /// Index of the first token that starts at `byte` or later.
    pub(super) fn index_at(&self, byte: usize) -> usize {
        self.tokens.partition_point(|token| token.start < byte)
    }

    pub(super) fn is_word(&self, at: usize) -> bool {
        self.kind(at) == Kind::Word
    }

    pub(super) fn is_digits(&self, at: usize) -> bool {
        self.kind(at) == Kind::Digits
    }

    pub(super) fn is_mark(&self, at: usize, marks: &str) -> bool {
        matches!(self.kind(at), Kind::Mark(mark) if marks.contains(mark))
    }

    pub(super) fn is_taken(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.taken)
    }

    /// True if white space or a line break stands before the token.
    pub(super) fn is_spaced(&self, at: usize) -> bool {
        at == 0 || self.tokens.get(at).is_none_or(|token| token.spaced) || self.kind(at - 1) == Kind::LineBreak
    }

    /// True for a word that starts with a capital letter.
    pub(super) fn is_name_case(&self, at: usize) -> bool {
        self.is_word(at) && self.text_of(at).starts_with(is_capital)
    }

    /// Index of the first token from `at` on that is none of `marks`.
    pub(super) fn skip(&self, at: usize, marks: &str) -> usize {
        let mut at = at;
        while self.is_mark(at, marks) {
            at += 1;
        }
        at
    }

    /// True if a word among the `reach` tokens before `at`, on the same line, satisfies `is_cue`.
    pub(super) fn cue_before(&self, at: usize, reach: usize, is_cue: impl Fn(&str) -> bool) -> bool {
        (1..=reach)
            .map_while(|back| at.checked_sub(back))
            .take_while(|before| self.kind(*before) != Kind::LineBreak)
            .any(|before| self.is_word(before) && is_cue(self.lower(before)))
    }

    /// The word before `at` on the same line, over `№`, `#`, colons and the word «номер»; empty if another token stands there.
    pub(super) fn label_before(&self, at: usize) -> &str {
        let mut before = at;
        while let Some(previous) = before.checked_sub(1) {
            before = previous;
            let filler = matches!(self.lower(before), "номер" | "number" | "no" | "id" | "n");
            if !filler && !self.is_mark(before, "№#:.") {
                break;
            }
        }
        if before < at { self.lower(before) } else { "" }
    }

    /// Masks the tokens `from..to` unless one of them is masked already; `key` is equal for equal values.
    pub(super) fn claim(&mut self, from: usize, to: usize, kind: MaskedKind, key: String) -> bool {
        let Some(tokens) = self.tokens.get_mut(from..to) else { return false };
        if tokens.is_empty() || tokens.iter().any(|token| token.taken) {
            return false;
        }
        tokens.iter_mut().for_each(|token| token.taken = true);
        let (start, end) = (tokens.first().map_or(0, |token| token.start), tokens.last().map_or(0, |token| token.end));
        self.found.push(Found { start, end, kind: Some(kind), key });
        true
    }

    /// Masks the tokens `from..to` under a key of their text in lower case, without its marks and spaces.
    pub(super) fn claim_text(&mut self, from: usize, to: usize, kind: MaskedKind) -> bool {
        let mut key = String::new();
        for at in from..to {
            match self.kind(at) {
                Kind::Word => key.push_str(self.lower(at)),
                Kind::Digits => key.push_str(self.text_of(at)),
                _ => continue,
            }
            key.push(' ');
        }
        key.truncate(key.trim_end().len());
        self.claim(from, to, kind, key)
    }
}

fn token_at(rest: &str, first: char) -> (Kind, usize) {
    if first == '\n' {
        return (Kind::LineBreak, 1);
    }
    if first == '['
        && let Some(length) = placeholder_length(rest)
    {
        return (Kind::Placeholder, length);
    }
    if first.is_ascii_digit() {
        return (Kind::Digits, rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    }
    if is_letter(first) {
        return (Kind::Word, word_length(rest));
    }
    (Kind::Mark(first), first.len_utf8())
}

fn word_length(rest: &str) -> usize {
    let mut end = 0;
    let mut characters = rest.char_indices().peekable();
    while let Some((byte, c)) = characters.next() {
        let joins = matches!(c, '-' | '\'') && characters.peek().is_some_and(|(_, next)| is_letter(*next));
        if !(is_letter(c) || joins || unicode_normalization::char::is_combining_mark(c)) {
            break;
        }
        end = byte + c.len_utf8();
    }
    end
}

/// Bytes of the placeholder that `text` starts with, if it does.
pub(super) fn placeholder_length(text: &str) -> Option<usize> {
    let body = text.strip_prefix('[')?;
    let (kind, rest) = MaskedKind::ALL.iter().find_map(|kind| Some((kind, body.strip_prefix(kind.as_str())?)))?;
    let number = rest.strip_prefix('_')?;
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let closed = number.get(digits..).is_some_and(|rest| rest.starts_with(']'));
    (closed && (1..=PLACEHOLDER_DIGITS).contains(&digits)).then(|| "[_]".len() + kind.as_str().len() + digits)
}
