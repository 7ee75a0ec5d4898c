//! What a text says in words: the sparse vector that lexical search compares.
//!
//! A coordinate is a stem (Snowball, Russian for Cyrillic and English for Latin words), its number the hash of the stem. Documents are
//! weighed by BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009) but for the inverse
//! document frequency, which the store knows and multiplies in when it searches. Placeholders of personal data and function words
//! are left out.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64;

use crate::feedback::CharSpan;
use crate::text::{Word, words_of_masked};

/// How fast a word that comes again stops counting more.
const SATURATION: f32 = 1.2;
/// How far long texts are discounted.
const LENGTH_DISCOUNT: f32 = 0.75;
/// Words of a text of ordinary length, function words left out; stored weights depend on it.
const USUAL_LENGTH: f32 = 32.0;
/// Distinct stems of one text that are kept; what a longer one says later is left out.
const MOST_STEMS: usize = 1_024;

/// A sparse vector: `values[n]` belongs to the coordinate `indices[n]`; indices rise.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct SparseVector {
    pub indices: Vec<u32>,
    pub values: Vec<f32>,
}

/// The vector of a text that is stored.
pub(super) fn document(masked_text: &str) -> SparseVector {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    let mut length = 0u32;
    for (_, term) in terms(masked_text) {
        length += 1;
        if counts.len() < MOST_STEMS || counts.contains_key(&term) {
            *counts.entry(term).or_default() += 1;
        }
    }
    let norm = SATURATION * (1.0 - LENGTH_DISCOUNT + LENGTH_DISCOUNT * length as f32 / USUAL_LENGTH);
    let weight = |count: u32| count as f32 * (SATURATION + 1.0) / (count as f32 + norm);
    SparseVector {
        indices: counts.keys().copied().collect(),
        values: counts.values().map(|count| weight(*count)).collect(),
    }
}

/// The vector of a text that is looked for: each of its stems counts once.
pub(super) fn query(masked_text: &str) -> SparseVector {
    let mut indices: Vec<u32> = terms(masked_text).map(|(_, term)| term).collect();
    indices.sort_unstable();
    indices.dedup();
    indices.truncate(MOST_STEMS);
    SparseVector { values: vec![1.0; indices.len()], indices }
}

/// Where words of a text stand whose stems are among those looked for, in characters; `wanted` rises.
pub(super) fn matches(masked_text: &str, wanted: &[u32]) -> Vec<CharSpan> {
    terms(masked_text).filter(|(_, term)| wanted.binary_search(term).is_ok()).map(|(span, _)| span).collect()
}

/// The share of stems that two texts have in common, of all that either has; `None` if neither has any. Both rise.
pub(super) fn overlap(one: &[u32], other: &[u32]) -> Option<f32> {
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    let mut common = 0usize;
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        match a.cmp(b) {
            std::cmp::Ordering::Less => drop(left.next()),
            std::cmp::Ordering::Greater => drop(right.next()),
            std::cmp::Ordering::Equal => {
                common += 1;
                left.next();
                right.next();
            }
        }
    }
    let all = one.len() + other.len() - common;
    (all > 0).then(|| common as f32 / all as f32)
}

fn terms(masked_text: &str) -> impl Iterator<Item = (CharSpan, u32)> {
    let words = words_of_masked(masked_text).into_iter();
    words.filter(|word| !FUNCTION_WORDS.contains(word.lower.as_str())).map(|word: Word| (word.span, term(&word.stem)))
}

/// The coordinate of a stem. Stored vectors depend on it.
fn term(stem: &str) -> u32 {
    let hash = xxh3_64(stem.as_bytes());
    (hash ^ (hash >> 32)) as u32
}

/// Words that nearly every text has, in lower case with `е` for `ё`.
static FUNCTION_WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    const RUSSIAN: &str = "а без более бы был была были было быть в вам вас весь во вот все всего всех вы где да даже для до его ее если \
        есть еще же за здесь и из или им их к как какая какой ко когда который кто ли либо между меня мне мной может мой моя мы на над \
        надо нам нас наш не него нее ни них но ну о об однако он она они оно от очень по под после потом потому почти при про с сам \
        свой себя со так также такой там те тем то тоже того только том ты у уже хотя чего чей чем что чтобы эта эти это этой этом \
        этот я";
    const ENGLISH: &str = "a about after all also am an and any are as at be because been before but by can could did do does for from \
        had has have he her here him his how i if in into is it its just me more most my no nor not of on only or other our out over \
        she should so some such than that the their them then there these they this those through to too under until up us very was \
        we were what when where which while who whom why will with would you your";
    RUSSIAN.split_whitespace().chain(ENGLISH.split_whitespace()).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn matched<'a>(text: &'a str, wanted: &str) -> Vec<&'a str> {
        matches(text, &query(wanted).indices).into_iter().map(|span| span.slice(text)).collect()
    }

    #[test]
    fn words_match_by_their_stems_in_both_languages() {
        let text = "Комиссию вернули. My refunds were late, карту [CARD_1] заблокировали";
        assert_eq!(matched(text, "верните комиссии, refund for блокировку карты"), ["Комиссию", "refunds", "карту"]);
        assert_eq!(matched(text, "card name и 1"), Vec::<&str>::new());
        assert_eq!(matched("Ещё раз: ещё", "еще раз"), ["раз"]);
    }

    #[test]
    fn a_word_counts_more_when_it_comes_again_and_less_in_a_long_text() {
        let weight = |text: &str| {
            let (vector, wanted) = (document(text), query("возврат").indices[0]);
            vector.values[vector.indices.iter().position(|index| *index == wanted).unwrap()]
        };
        let long = format!("возврат {}", (0..100).map(|n| format!("слово{n} ")).collect::<String>());
        assert!(weight("возврат возврат") > weight("возврат") && weight("возврат") > weight(&long));
        let vector = document(&long);
        assert!(vector.indices.is_sorted_by(|one, other| one < other));
        assert_eq!(vector.indices.len(), vector.values.len());
    }

    #[test]
    fn coordinates_stay_because_stored_vectors_depend_on_them() {
        assert_eq!(query("возврат").indices, [term("возврат")]);
        assert_eq!(term("возврат"), VALUE_OF_RETURN);
        assert_eq!(document("").indices, Vec::<u32>::new());
    }

    const VALUE_OF_RETURN: u32 = 1_207_325_921;

    #[test]
    fn overlap_is_what_is_common_of_all() {
        assert_eq!(overlap(&[1, 2, 3], &[2, 3, 4]), Some(0.5));
        assert_eq!(overlap(&[1], &[1]), Some(1.0));
        assert_eq!(overlap(&[1], &[]), Some(0.0));
        assert_eq!(overlap(&[], &[]), None);
    }
}
