//! Words with the forms that lexical search and phrase rules compare.

use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};

use super::letters::{is_cyrillic, is_letter, is_letter_or_number};
use super::offsets::count;
use crate::feedback::CharSpan;

/// Letters of the longest word that is stemmed; what is longer is no word of any language.
const LONGEST_STEMMED: u32 = 40;

static RUSSIAN: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::Russian));
static ENGLISH: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));

/// One word of a text: a run of letters and digits, with the apostrophes and decimal points inside it. Hyphens part words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Where it stands, in characters of the clean text.
    pub span: CharSpan,
    /// In lower case, with `е` for `ё`.
    pub lower: String,
    /// Snowball stem of `lower`: Russian for Cyrillic, English for Latin, as it is for the rest.
    pub stem: String,
}

impl Word {
    /// A word from its surface form.
    pub(super) fn new(span: CharSpan, surface: &str) -> Self {
        let lower = lower(surface);
        let stem = stem(&lower, span.len());
        Self { span, lower, stem }
    }
}

/// Lower case with `е` for `ё`.
pub(super) fn lower(surface: &str) -> String {
    let mut lower = String::with_capacity(surface.len());
    for c in surface.chars() {
        match c {
            'ё' | 'Ё' => lower.push('е'),
            'а'..='я' | 'a'..='z' | '0'..='9' => lower.push(c),
            _ => lower.extend(c.to_lowercase()),
        }
    }
    lower
}

fn stem(lower: &str, length: u32) -> String {
    let stemmer = match lower.chars().next() {
        Some(c) if c.is_ascii_alphabetic() => &ENGLISH,
        Some(c) if is_cyrillic(c) => &RUSSIAN,
        _ => return lower.to_owned(),
    };
    if length > LONGEST_STEMMED { lower.to_owned() } else { stemmer.stem(lower).into_owned() }
}

/// The words of `text`, without what `skipped` covers (sorted spans of placeholders).
pub(super) fn words(text: &str, skipped: &[CharSpan]) -> Vec<Word> {
    let mut words = Vec::with_capacity(text.len() / 8);
    let mut skipped = skipped.iter().copied().peekable();
    let mut open: Option<(u32, usize)> = None;
    let mut source = (0_u32..).zip(text.char_indices()).peekable();
    let mut before = ' ';
    while let Some((at, (byte, c))) = source.next() {
        while skipped.next_if(|span| span.end <= at).is_some() {}
        let hidden = skipped.peek().is_some_and(|span| span.start <= at);
        let next = source.peek().map_or(' ', |(_, (_, next))| *next);
        let inside = !hidden && (is_word_character(c) || (open.is_some() && links(before, c, next)));
        if inside {
            open.get_or_insert((at, byte));
        } else if let Some((start, first)) = open.take() {
            words.push(Word::new(CharSpan::new(start, at), text.get(first..byte).unwrap_or_default()));
        }
        before = c;
    }
    if let Some((start, first)) = open {
        words.push(Word::new(CharSpan::new(start, count(text.chars().count())), text.get(first..).unwrap_or_default()));
    }
    words
}

fn is_word_character(c: char) -> bool {
    is_letter_or_number(c) || (c >= '\u{300}' && unicode_normalization::char::is_combining_mark(c))
}

/// True for an apostrophe between letters and a decimal point or comma between digits.
fn links(before: char, c: char, next: char) -> bool {
    match c {
        '\'' => is_letter(before) && is_letter(next),
        '.' | ',' => before.is_ascii_digit() && next.is_ascii_digit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_spans_lower_case_and_stems() {
        let text = "Ещё раз: don't интернет-банка, 2,5 часа 3G 😀 X5";
        let found: Vec<(String, String, String)> = words(text, &[])
            .into_iter()
            .map(|word| (word.span.slice(text).to_owned(), word.lower, word.stem))
            .collect();
        let expected = [
            ("Ещё", "еще", "ещ"),
            ("раз", "раз", "раз"),
            ("don't", "don't", "don't"),
            ("интернет", "интернет", "интернет"),
            ("банка", "банка", "банк"),
            ("2,5", "2,5", "2,5"),
            ("часа", "часа", "час"),
            ("3G", "3g", "3g"),
            ("X5", "x5", "x5"),
        ];
        let expected: Vec<_> =
            expected.map(|(word, lower, stem)| (word.to_owned(), lower.to_owned(), stem.to_owned())).to_vec();
        assert_eq!(found, expected);
    }

    #[test]
    fn forms_of_one_word_share_a_stem() {
        let table = [
            ("задержки", "задержка"),
            ("операторами", "оператор"),
            ("payments", "payment"),
            ("waiting", "waited"),
            ("Доставку", "доставка"),
        ];
        for (one, other) in table {
            let stem_of = |text: &str| words(text, &[]).remove(0).stem;
            assert_eq!(stem_of(one), stem_of(other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_skipped_holds_no_words() {
        let text = "да [PHONE_1] нет";
        let found: Vec<String> = words(text, &[CharSpan::new(3, 12)]).into_iter().map(|word| word.lower).collect();
        assert_eq!(found, ["да", "нет"]);
    }

    #[test]
    fn one_endless_word_is_one_word() {
        let text = "длинно".repeat(20_000);
        let found = words(&text, &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].stem, text);
    }
}
