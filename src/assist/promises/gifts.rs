//! Words that promise something for nothing.

use std::sync::LazyLock;

use regex::Regex;

use crate::assist::reading::{Reading, pattern};
use crate::feedback::CharSpan;

/// For nothing, or for ever.
static GIFT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"\b(?:бесплатн\p{L}*|даром|в подарок|навсегда|пожизненн\p{L}*|за (?:ноль|0) рублей|подар(?:им|ю)|дарим|дарю)\b|\b(?:free|as a gift|for life|lifetime|forever|on the house)\b",
    )
});

/// What only looks like a gift.
static NO_GIFT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"\bбесплатн\p{L}* (?:номер\p{L}*|лини\p{L}*|звонк\p{L}*)|\b(?:звонок|номер|линия) бесплатн\p{L}*|\bfeel free\b|\bfree to\b|\btoll.free\b|\bfree (?:number|line|call)\b",
    )
});

/// Where words inside a span of a reading's clean text promise something for nothing.
pub(super) fn gifts(reading: &Reading, span: CharSpan) -> Vec<CharSpan> {
    let find = |regex: &Option<Regex>| regex.as_ref().map(|regex| reading.find(regex, span)).unwrap_or_default();
    let others = find(&NO_GIFT);
    let mut found = find(&GIFT);
    found.retain(|gift| !others.iter().any(|other| other.overlaps(*gift)));
    found
}
