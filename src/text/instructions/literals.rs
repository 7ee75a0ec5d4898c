//! Which of many patterns can match a text at all, told by the words that a match must hold: all of them are looked for in one pass.
//!
//! Enters: patterns, then texts. Leaves: the patterns that are worth trying. Never here: what the patterns mean.

use aho_corasick::AhoCorasick;
use regex_syntax::hir::{Hir, HirKind};

/// Most literals of a pattern; one with more is always tried.
const MOST: usize = 2_000;

/// Fewest bytes of a literal: shorter ones stand in every text.
const SHORTEST: usize = 2;

/// Finds which patterns can match.
pub(super) struct Candidates {
    literals: AhoCorasick,
    /// For each literal, the pattern that it is of.
    pattern_of: Vec<usize>,
    /// Patterns of which nothing is known.
    always: Vec<bool>,
}

impl Candidates {
    /// Of patterns, in order; `None` if one is no pattern.
    pub fn of<'a>(patterns: impl Iterator<Item = &'a str>) -> Option<Self> {
        let (mut all, mut pattern_of, mut always) = (Vec::new(), Vec::new(), Vec::new());
        for (index, pattern) in patterns.enumerate() {
            let known = required(&regex_syntax::parse(pattern).ok()?);
            always.push(known.is_none());
            for literal in known.unwrap_or_default() {
                all.push(literal);
                pattern_of.push(index);
            }
        }
        Some(Self { literals: AhoCorasick::new(&all).ok()?, pattern_of, always })
    }

    /// True for each pattern that a text has a literal of.
    pub fn in_text(&self, text: &str) -> Vec<bool> {
        let mut found = self.always.clone();
        for literal in self.literals.find_overlapping_iter(text) {
            let pattern = self.pattern_of.get(literal.pattern().as_usize());
            if let Some(found) = pattern.and_then(|pattern| found.get_mut(*pattern)) {
                *found = true;
            }
        }
        found
    }
}

/// Literals one of which stands in every match; `None` if that is not known, or they say too little.
fn required(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) if literal.0.len() >= SHORTEST => Some(vec![literal.0.to_vec()]),
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repeated) if repeated.min > 0 => required(&repeated.sub),
        // The longer they are, the fewer texts have them.
        HirKind::Concat(parts) => parts.iter().filter_map(required).max_by_key(|literals| shortest(literals)),
        HirKind::Alternation(ways) => {
            let literals: Vec<_> = ways.iter().map(required).collect::<Option<Vec<_>>>()?.concat();
            (literals.len() <= MOST).then_some(literals)
        }
        HirKind::Literal(_) | HirKind::Repetition(_) | HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => None,
    }
}

fn shortest(literals: &[Vec<u8>]) -> usize {
    literals.iter().map(Vec::len).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literals(pattern: &str) -> Option<Vec<String>> {
        let literals = required(&regex_syntax::parse(pattern).unwrap())?;
        let mut literals: Vec<String> = literals.into_iter().map(|text| String::from_utf8(text).unwrap()).collect();
        literals.sort();
        Some(literals)
    }

    #[test]
    fn what_every_match_holds_is_found() {
        let of = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        assert_eq!(literals(r"\b(?:mark|запиши)\p{L}* .{0,20}topic"), of(&["topic"]));
        assert_eq!(literals(r"\b(?:mark|запиши)\p{L}*"), of(&["mark", "запиши"]));
        assert_eq!(literals(r"(?:ab)+c?"), of(&["ab"]));
        for pattern in ["(?:mark)?", r"[a-z]{3,}", "(?:mark|[0-9]+)", "a|b"] {
            assert_eq!(literals(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn patterns_without_their_words_are_left_out() {
        let candidates = Candidates::of([r"topic \w+", r"[0-9]+", "(?:один|два) раза"].into_iter()).unwrap();
        assert_eq!(candidates.in_text("the topic is"), [true, true, false]);
        assert_eq!(candidates.in_text("два раза"), [false, true, true]);
        assert!(Candidates::of(["("].into_iter()).is_none());
    }
}
