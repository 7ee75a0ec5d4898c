//! Texts to words, as each family of byte-level tokenisers cuts them before it joins bytes.
//!
//! Enters: the name of a way to cut, and texts. Leaves: words that together are the text. Never here: tokens.
//!
//! The published patterns look ahead: `\s+(?!\S)` leaves the last of several spaces to the word behind them. Here that is a step of
//! its own, so that each pattern runs in time linear in the text.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::metadata::MetadataError;
use crate::feedback::named_enum;

/// Key of the name.
const PRE_TOKENISER: &str = "tokenizer.ggml.pre";

named_enum! {
    /// A way to cut texts into words.
    Family {
        /// What files without a name mean.
        Default = "default",
        /// GPT-2 and its heirs.
        Gpt2 = "gpt-2",
        /// GPT-2, each digit for itself.
        Starcoder = "starcoder",
        /// Llama 3.
        Llama3 = "llama-bpe",
        /// Phi 4: words as Llama 3 cuts them.
        Dbrx = "dbrx",
        /// Qwen 2 and 3.
        Qwen2 = "qwen2",
        /// GPT-4o and Llama 4.
        Gpt4o = "gpt-4o",
        /// Mistral Nemo.
        Tekken = "tekken",
    }
}

impl Family {
    /// Other names that files have for it.
    fn other_names(self) -> &'static [&'static str] {
        match self {
            Self::Default | Self::Tekken => &[],
            Self::Gpt2 => &["phi-2", "mpt", "olmo", "jais", "gigachat"],
            Self::Starcoder => &["smollm", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
            Self::Llama3 => &["llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"],
            Self::Dbrx => &["smaug-bpe"],
            Self::Qwen2 => &["stablelm2", "deepseek-r1-qwen", "megrez"],
            Self::Gpt4o => &["llama4"],
        }
    }

    fn read(name: &str) -> Result<Self, MetadataError> {
        let known = |family: &&Self| family.as_str() == name || family.other_names().contains(&name);
        let names = |family: &Self| [&[family.as_str()], family.other_names()].concat();
        Self::ALL.iter().find(known).copied().ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().flat_map(names).collect();
            MetadataError::new(PRE_TOKENISER, format!("{name:?} is not known; known: {}", names.join(", ")))
        })
    }

    /// Patterns that cut one after another, each what the one before left whole. Where the group matches, its last space is left to the
    /// next word.
    fn patterns(self) -> Vec<String> {
        const ENGLISH: &str = "'s|'t|'re|'ve|'m|'ll|'d";
        const ENGLISH_ANY_CASE: &str = "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]";
        const UPPER: &str = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}";
        const LOWER: &str = r"\p{Ll}\p{Lm}\p{Lo}\p{M}";
        let gpt2 = format!(r"{ENGLISH}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|(\s+)");
        let modern = |digits: &str| {
            format!(
                r"{ENGLISH_ANY_CASE}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|(\s+)"
            )
        };
        let cased = |ending: &str, digits: &str| {
            format!(
                r"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+{ending}|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*{ending}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|(\s+)"
            )
        };
        match self {
            Self::Default => {
                vec![r"[\p{P}\$\+<=>\^~\|]+".to_owned(), gpt2, r"\p{N}+".to_owned(), "[0-9][0-9][0-9]".to_owned()]
            }
            Self::Gpt2 => vec![gpt2],
            Self::Starcoder => vec![r"\p{N}".to_owned(), gpt2],
            Self::Llama3 | Self::Dbrx => vec![modern(r"\p{N}{1,3}")],
            Self::Qwen2 => vec![modern(r"\p{N}")],
            Self::Gpt4o => vec![cased(&format!("(?:{ENGLISH_ANY_CASE})?"), r"\p{N}{1,3}")],
            Self::Tekken => vec![cased("", r"\p{N}")],
        }
    }
}

/// Cuts texts into words.
pub(super) struct PreTokeniser {
    family: Family,
    patterns: Vec<Regex>,
}

impl PreTokeniser {
    /// The way to cut that a file names; without a name, the default.
    pub(super) fn read(name: Option<&str>) -> Result<Self, MetadataError> {
        let family = name.map_or(Ok(Family::Default), Family::read)?;
        let patterns = family.patterns().iter().map(|pattern| Regex::new(pattern)).collect::<Result<_, _>>();
        let patterns = patterns.map_err(|error| MetadataError::new(PRE_TOKENISER, error.to_string()))?;
        Ok(Self { family, patterns })
    }

    /// Whether a word that is a token is taken as it is.
    pub(super) fn keeps_known_words(&self) -> bool {
        matches!(self.family, Family::Llama3 | Family::Tekken)
    }

    /// Whether texts begin with a special token if the file does not say.
    pub(super) fn begins_texts(&self) -> bool {
        matches!(self.family, Family::Llama3 | Family::Tekken)
    }

    /// Hands each word of a text to `take`, in order.
    pub(super) fn split<'a>(&self, text: &'a str, mut take: impl FnMut(&'a str)) {
        split_by(&self.patterns, text, &mut take);
    }
}

fn split_by<'a>(patterns: &[Regex], text: &'a str, take: &mut dyn FnMut(&'a str)) {
    if text.is_empty() {
        return;
    }
    let Some((pattern, others)) = patterns.split_first() else { return take(text) };
    let mut rest = text;
    while let Some(found) = pattern.captures(rest) {
        let (Some(word), spaces) = (found.get(0), found.get(1)) else { break };
        let end = match spaces {
            Some(spaces) if spaces.end() < rest.len() => before_last_space(spaces.as_str(), spaces.start()),
            _ => word.end(),
        };
        let (gap, word_on) = rest.split_at(word.start());
        let (word, behind) = word_on.split_at(end.saturating_sub(gap.len()));
        if word.is_empty() {
            break;
        }
        split_by(others, gap, take);
        split_by(others, word, take);
        rest = behind;
    }
    split_by(others, rest, take);
}

/// Where a run of spaces ends if its last is left to the next word: a single one is not.
fn before_last_space(spaces: &str, start: usize) -> usize {
    let last = spaces.chars().next_back().map_or(0, char::len_utf8);
    let kept = spaces.len() - last;
    start + if kept == 0 { spaces.len() } else { kept }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use tokenizers::utils::SysRegex;

    use super::*;

    fn cut(pre_tokeniser: &PreTokeniser, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        pre_tokeniser.split(text, |word| words.push(word.to_owned()));
        words
    }

    fn words(family: &str, text: &str) -> Vec<String> {
        cut(&PreTokeniser::read(Some(family)).unwrap(), text)
    }

    /// One of each family.
    static ALL: LazyLock<Vec<PreTokeniser>> =
        LazyLock::new(|| Family::ALL.iter().map(|family| PreTokeniser::read(Some(family.as_str())).unwrap()).collect());

    #[test]
    fn words_are_cut_as_their_family_does() {
        for (family, text, expected) in [
            (
                "gpt-2",
                "It's  2024, да!\n\nНет ",
                &["It", "'s", " ", " 2024", ",", " да", "!", "\n", "\n", "Нет", " "][..],
            ),
            ("smollm", "a 123", &["a", " ", "1", "2", "3"]),
            ("llama-bpe", "I'LL pay 12345₽\n\n ok", &["I", "'LL", " pay", " ", "123", "45", "₽\n\n", " ok"]),
            ("qwen2", "Счёт   42\r\n", &["Счёт", "  ", " ", "4", "2", "\r\n"]),
            ("default", "a+b 12345", &["a", "+", "b", " ", "123", "45"]),
            ("gpt-4o", "HelloWorld's", &["Hello", "World's"]),
            ("tekken", "HelloWorld 12", &["Hello", "World", " ", "1", "2"]),
        ] {
            assert_eq!(words(family, text), expected, "{family}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        let error = PreTokeniser::read(Some("klingon")).err().unwrap().to_string();
        for part in ["tokenizer.ggml.pre", "klingon", "qwen2", "smollm", "llama-bpe"] {
            assert!(error.contains(part), "{error}");
        }
    }

    /// The patterns as they are published, with the step back.
    static PUBLISHED: LazyLock<Vec<(&PreTokeniser, SysRegex)>> = LazyLock::new(|| {
        let single = ALL.iter().filter(|cutter| cutter.patterns.len() == 1);
        let published = |cutter: &PreTokeniser| cutter.patterns[0].as_str().replace(r"(\s+)", r"\s+(?!\S)|\s+");
        single.map(|cutter| (cutter, SysRegex::new(&published(cutter)).unwrap())).collect()
    });

    proptest! {
        #[test]
        fn words_are_those_of_the_published_patterns(text in r"[ \t\r\n\u{a0}a-cA-CЯяё'sSlLtT0-9.,!{}№😀\u{301}/]{0,40}") {
            for (cutter, pattern) in &*PUBLISHED {
                let expected: Vec<_> = pattern.find_iter(&text).map(|(start, end)| text[start..end].to_owned()).collect();
                prop_assert_eq!(cut(cutter, &text), expected, "{}", cutter.family);
            }
        }

        #[test]
        fn words_together_are_the_text(text in ".*") {
            for cutter in &*ALL {
                prop_assert_eq!(cut(cutter, &text).concat(), text.as_str(), "{}", cutter.family);
            }
        }
    }
}
