//! Cuts for recognised speech, which comes without punctuation.

use crate::feedback::CharSpan;
use crate::text::words::Word;

/// A run of more words than this without a mark between them is cut.
const LONGEST_RUN: usize = 40;
/// Words of a piece: where a cue is looked for, where the cut falls without one, and the least that is left over.
const FIRST_CUT: usize = 15;
const PLAIN_CUT: usize = 20;
const LAST_CUT: usize = 25;
const SHORTEST_REST: usize = 8;

/// Words that start a new thought, and those that may also join two nouns.
const STRONG_CUES: &[&str] = &[
    "но",
    "а",
    "потому",
    "поэтому",
    "так",
    "ну",
    "значит",
    "вот",
    "потом",
    "затем",
    "кстати",
    "короче",
    "then",
    "but",
    "so",
    "because",
    "well",
    "anyway",
    "however",
    "okay",
];
const WEAK_CUES: &[&str] = &["и", "да", "что", "and", "or", "that"];

/// Where `sentence`, whose words are given, is cut: starts of words, in order.
pub(super) fn cuts(line: &[char], line_start: u32, words: &[Word]) -> Vec<u32> {
    let mut cuts = Vec::new();
    let marked = |left: &Word, right: &Word| {
        let range = (left.span.end - line_start) as usize..(right.span.start - line_start) as usize;
        line.get(range).is_some_and(|gap| gap.iter().any(|c| is_mark(*c)))
    };
    for run in words.chunk_by(|left, right| !marked(left, right)) {
        if run.len() > LONGEST_RUN {
            cut_run(run, &mut cuts);
        }
    }
    cuts
}

/// True for what shows that a writer, or the recogniser, set marks here.
fn is_mark(c: char) -> bool {
    matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | '—' | '–' | '…' | '«' | '»' | '"' | '(' | ')' | '“' | '”')
}

fn cut_run(run: &[Word], cuts: &mut Vec<u32>) {
    let mut rest = run;
    while rest.len() > LAST_CUT {
        let last = LAST_CUT.min(rest.len() - SHORTEST_REST);
        let size = first_cue(rest, STRONG_CUES, last)
            .or_else(|| first_cue(rest, WEAK_CUES, last))
            .unwrap_or(PLAIN_CUT.min(last));
        rest = rest.get(size..).unwrap_or_default();
        if let Some(word) = rest.first() {
            cuts.push(word.span.start);
        }
    }
}

/// Number of words before the first cue at a place where a cut is wanted; a conjunction right before the cue goes with it.
fn first_cue(words: &[Word], cues: &[&str], last: usize) -> Option<usize> {
    let is = |at: usize, set: &[&str]| words.get(at).is_some_and(|word| set.contains(&word.lower.as_str()));
    let at = (FIRST_CUT..=last).find(|at| is(*at, cues))?;
    let joined = at > FIRST_CUT && is(at - 1, &["и", "а", "and"]);
    Some(if joined { at - 1 } else { at })
}

/// A sentence span that a cut at `at` parts.
pub(super) fn parts(sentence: CharSpan, at: &[u32]) -> impl Iterator<Item = CharSpan> {
    let starts = std::iter::once(sentence.start).chain(at.iter().copied());
    let ends = at.iter().copied().chain(std::iter::once(sentence.end));
    starts.zip(ends).map(|(start, end)| CharSpan::new(start, end))
}
