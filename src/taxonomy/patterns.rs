//! The compiled side of a phrase rule.

use regex::{Match, Regex, RegexBuilder};

use super::phrases::Phrase;

/// How large one regular expression may become in memory, in bytes: the program, and the cache used while matching.
const REGEX_SIZE: usize = 2 << 20;

/// What a phrase rule looks for, ready to be matched.
#[derive(Debug, Clone)]
pub(super) struct Patterns {
    pub any_of: Vec<Phrase>,
    pub all_of: Vec<Phrase>,
    pub none_of: Vec<Phrase>,
    pub regex: Option<GatedRegex>,
}

/// A regular expression that answers fast where it does not match.
///
/// A `\b` between letters that are not ASCII keeps the engine from its fast path. So the same expression without its word
/// boundaries, which matches wherever the exact one does and perhaps elsewhere, is asked first.
#[derive(Debug, Clone)]
pub(super) struct GatedRegex {
    exact: Regex,
    gate: Option<Regex>,
}

impl GatedRegex {
    pub fn is_match(&self, text: &str) -> bool {
        self.passes_gate(text) && self.exact.is_match(text)
    }

    pub fn find_iter<'t>(&self, text: &'t str) -> impl Iterator<Item = Match<'t>> {
        self.passes_gate(text).then(|| self.exact.find_iter(text)).into_iter().flatten()
    }

    fn passes_gate(&self, text: &str) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate.is_match(text))
    }
}

/// Compiles a regular expression, which takes upper and lower case alike and `ё` for `е`; the error says in one line what is
/// wrong with it.
pub(super) fn compile_regex(written: &str) -> Result<GatedRegex, String> {
    let written = written.replace(['ё', 'Ё'], "е");
    let exact = compile(&written).map_err(|error| describe(&error))?;
    let gate = without_word_boundaries(&written).and_then(|without| compile(&without).ok());
    Ok(GatedRegex { exact, gate })
}

fn compile(written: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(written).case_insensitive(true).size_limit(REGEX_SIZE).dfa_size_limit(REGEX_SIZE).build()
}

/// The expression with each `\b` replaced by nothing at all; `None` if it has none.
fn without_word_boundaries(written: &str) -> Option<String> {
    let mut without = String::with_capacity(written.len());
    let mut found = false;
    let mut characters = written.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.next_if(|_| character == '\\')) {
            ('\\', Some('b')) if characters.peek() != Some(&'{') => {
                without.push_str("(?:)");
                found = true;
            }
            (character, escaped) => {
                without.push(character);
                without.extend(escaped);
            }
        }
    }
    found.then_some(without)
}

fn describe(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => {
            format!("is too large; at most {} KiB compiled are allowed", REGEX_SIZE >> 10)
        }
        regex::Error::Syntax(report) => {
            // The report draws the pattern, indented by four, with carets under the place, and ends with "error: ...".
            let reason = report.lines().last().unwrap_or(report);
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            let caret = report.lines().find(|line| line.trim_start().starts_with('^'));
            match caret.and_then(|line| line.find('^')).and_then(|at| at.checked_sub(4)) {
                Some(before) => format!("is no regular expression: {reason}, at character {}", before + 1),
                None => format!("is no regular expression: {reason}"),
            }
        }
        other => format!("is no regular expression: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_drops_word_boundaries_and_nothing_else() {
        let cases = [
            (r"\bдо\s\d+\b", Some(r"(?:)до\s\d+(?:)")),
            (r"\\b", None),
            (r"\\\b", Some(r"\\(?:)")),
            (r"\b{start}до", None),
            (r"a\Bb", None),
            (r"до", None),
        ];
        for (written, expected) in cases {
            assert_eq!(without_word_boundaries(written).as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn a_gated_expression_finds_what_the_exact_one_does() {
        let regex = compile_regex(r"\bдо\b \d+|\bраз\b?").unwrap();
        assert!(regex.gate.is_some());
        for text in ["до 5, раздо 6, ДО 7", "сразу", "все раз", "", "до"] {
            let gated: Vec<_> = regex.find_iter(text).map(|found| found.range()).collect();
            let exact: Vec<_> = regex.exact.find_iter(text).map(|found| found.range()).collect();
            assert_eq!(gated, exact, "{text}");
            assert_eq!(regex.is_match(text), !exact.is_empty(), "{text}");
        }
    }
}
