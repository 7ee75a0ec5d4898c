//! Finds the tokens that stand for themselves, wherever they occur: control tokens in texts of our own, and pieces that the makers of
//! a model added by hand in any text.
//!
//! Enters: texts. Leaves: texts without such tokens, and the tokens between them. Never here: how the rest becomes tokens.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

use super::metadata::MetadataError;

/// Bytes that the search for tokens may take when it is prepared.
const SEARCH_BYTES: usize = 256 << 20;

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cut<'a> {
    /// Text.
    Text(&'a str),
    /// A token.
    Token(u32),
}

/// A set of tokens to be found in texts by their names: of those that begin at one place, the longest.
pub(super) struct Markers {
    names: Option<(Regex, HashMap<String, u32>)>,
}

impl Markers {
    /// Prepares the search.
    pub(super) fn new<'a>(tokens: impl Iterator<Item = (u32, &'a str)>) -> Result<Self, MetadataError> {
        let mut ids = HashMap::new();
        for (id, name) in tokens.filter(|(_, name)| !name.is_empty()) {
            ids.entry(name.to_owned()).or_insert(id);
        }
        if ids.is_empty() {
            return Ok(Self { names: None });
        }
        let mut names: Vec<&str> = ids.keys().map(String::as_str).collect();
        names.sort_unstable_by_key(|name| (std::cmp::Reverse(name.len()), *name));
        let pattern = names.into_iter().map(regex::escape).collect::<Vec<_>>().join("|");
        let regex = RegexBuilder::new(&pattern).size_limit(SEARCH_BYTES).build();
        let regex = regex.map_err(|error| MetadataError::new(super::TOKENS, error.to_string()))?;
        Ok(Self { names: Some((regex, ids)) })
    }

    /// Cuts a text at the tokens in it. Texts between are not empty.
    pub(super) fn cut<'a>(&self, text: &'a str) -> Vec<Cut<'a>> {
        let mut cuts = Vec::new();
        let mut rest = text;
        if let Some((regex, ids)) = &self.names {
            while let Some(found) = regex.find(rest) {
                let Some(id) = ids.get(found.as_str()) else { break };
                let (before, on) = rest.split_at(found.start());
                if !before.is_empty() {
                    cuts.push(Cut::Text(before));
                }
                cuts.push(Cut::Token(*id));
                rest = on.split_at(found.len()).1;
            }
        }
        if !rest.is_empty() {
            cuts.push(Cut::Text(rest));
        }
        cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_token_is_found_and_texts_stay_whole() {
        let markers = Markers::new([(7, "\n"), (8, "\n\n"), (9, "<|x|>"), (10, "")].into_iter()).unwrap();
        let cuts = markers.cut("a\n\n\nb <|x|><|x");
        use Cut::{Text, Token};
        assert_eq!(cuts, [Text("a"), Token(8), Token(7), Text("b "), Token(9), Text("<|x")]);
        assert_eq!(Markers::new([].into_iter()).unwrap().cut("<|x|>"), [Text("<|x|>")]);
        assert_eq!(markers.cut(""), []);
    }
}
