//! Whether a reply is easy to read: sentences, paragraphs, and words of its own.

use super::MOST_SPANS;
use super::facts::Facts;
use super::remarks::Remark;
use super::rubric::Standing;
use crate::assist::reading::Reading;
use crate::feedback::CharSpan;

/// Words of the longest sentence that is still easy to read.
const LONGEST_SENTENCE: usize = 30;
/// Words of the longest paragraph that is no brick.
const LONGEST_PARAGRAPH: usize = 90;
/// The share of words in stock phrases from which they are too many.
const MUCH_STOCK: f32 = 0.4;
/// The share from which there is hardly anything else.
const MOSTLY_STOCK: f32 = 0.7;

/// How a reply stands; spans are characters of the reply as given.
pub(super) fn standing(reply: &str, reading: &Reading, facts: &Facts) -> Standing {
    let sentences = reading.sentences().iter();
    let long: Vec<CharSpan> = sentences
        .filter(|sentence| sentence.words.len() > LONGEST_SENTENCE)
        .take(MOST_SPANS)
        .map(|sentence| reading.original(sentence.span))
        .collect();
    let bricks = bricks(reply);
    let share = facts.stock_words as f32 / facts.words.max(1) as f32;
    let stock: Vec<CharSpan> = match share >= MUCH_STOCK {
        true => facts.stock.iter().take(MOST_SPANS).map(|span| reading.original(*span)).collect(),
        false => Vec::new(),
    };
    let faults = [(long, Remark::ShortenSentences), (bricks, Remark::SplitParagraphs), (stock, Remark::UseOwnWords)];
    let mut faults: Vec<(Vec<CharSpan>, Remark)> = faults.into_iter().filter(|(spans, _)| !spans.is_empty()).collect();
    match (faults.len(), faults.pop()) {
        (0, _) | (_, None) => Standing::met(Vec::new()),
        (1, Some((spans, Remark::UseOwnWords))) if share >= MOSTLY_STOCK => {
            Standing::missed(spans, Remark::UseOwnWords)
        }
        (1, Some((spans, remark))) => Standing::partial(spans, remark),
        (_, Some((spans, _))) => {
            let mut all: Vec<CharSpan> = faults.into_iter().flat_map(|(spans, _)| spans).chain(spans).collect();
            all.sort();
            Standing::missed(all, Remark::Rewrite)
        }
    }
}

/// Lines of a text that have too many words, in characters.
fn bricks(text: &str) -> Vec<CharSpan> {
    let mut start: u32 = 0;
    let mut found = Vec::new();
    for line in text.split('\n') {
        let length = u32::try_from(line.chars().count()).unwrap_or(u32::MAX);
        let end = start.saturating_add(length);
        if line.split_whitespace().count() > LONGEST_PARAGRAPH {
            found.push(CharSpan::new(start, end));
        }
        start = end.saturating_add(1);
    }
    found
}
