//! SentencePiece with scores: characters are joined to the pieces that score best, and what no piece has goes as bytes.
//!
//! Enters: a text without special tokens. Leaves: token ids. Never here: special tokens.
//! Source: Kudo and Richardson, "SentencePiece", 2018, as llama.cpp does it for files of kind `llama`.

use std::collections::HashMap;

use super::merge::{Joint, Part, merge};

/// What stands for a space in pieces.
pub(super) const SPACE: char = '\u{2581}';

/// A tokeniser of scored pieces.
pub(super) struct SentencePieces {
    pieces: HashMap<String, Joint>,
    /// Token of each byte, for what no piece has.
    bytes: Vec<Option<u32>>,
    unknown: Option<u32>,
    /// Whether a text is read as if a space stood before it.
    pub(super) space_before: bool,
}

impl SentencePieces {
    /// Made from pieces with their scores, tokens of single bytes, and the token for what is neither.
    pub(super) fn new<'a>(
        pieces: impl Iterator<Item = (u32, &'a str, f32)>,
        single_bytes: impl Iterator<Item = (u8, u32)>,
        unknown: Option<u32>,
        space_before: bool,
    ) -> Self {
        let mut known = HashMap::new();
        for (token, piece, score) in pieces {
            known.entry(piece.to_owned()).or_insert(Joint { rank: rank(score), token });
        }
        let mut bytes = vec![None; 256];
        for (byte, token) in single_bytes {
            if let Some(place) = bytes.get_mut(usize::from(byte)) {
                *place = Some(token);
            }
        }
        Self { pieces: known, bytes, unknown, space_before }
    }

    /// Tokens of a text. `first` says that it begins a text, or follows a special token.
    pub(super) fn encode(&self, text: &str, first: bool, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let mut escaped = String::with_capacity(text.len() + 2);
        if first && self.space_before {
            escaped.push(SPACE);
        }
        escaped.extend(text.chars().map(|letter| if letter == ' ' { SPACE } else { letter }));
        let known = |start: usize, end: usize| self.pieces.get(escaped.get(start..end)?).copied();
        let part = |(start, letter): (usize, char)| {
            let end = start + letter.len_utf8();
            Part { start, end, token: known(start, end).map(|joint| joint.token) }
        };
        let parts = escaped.char_indices().map(part).collect();
        for part in merge(parts, |left, right| known(left.start, right.end)) {
            match part.token {
                Some(token) => ids.push(token),
                None => self.encode_bytes(escaped.get(part.start..part.end).unwrap_or_default(), ids),
            }
        }
    }

    fn encode_bytes(&self, letter: &str, ids: &mut Vec<u32>) {
        let token = |byte: u8| self.bytes.get(usize::from(byte)).copied().flatten();
        match letter.bytes().map(token).collect::<Option<Vec<u32>>>() {
            Some(tokens) => ids.extend(tokens),
            None => ids.extend(self.unknown),
        }
    }
}

/// The byte that a piece like `<0x0A>` stands for.
pub(super) fn single_byte(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Numbers that grow as scores fall.
fn rank(score: f32) -> u32 {
    // Adding zero makes the negative zero positive.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { bits } else { !(bits | 1 << 31) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_grow_as_scores_fall() {
        let scores = [f32::INFINITY, 1e9, 2.5, 1.0, 0.0, -0.5, -1.0, -1e9, f32::NEG_INFINITY];
        assert!(scores.map(rank).is_sorted_by(|one, other| one < other));
        assert_eq!(rank(0.0), rank(-0.0));
    }

    #[test]
    fn bytes_are_read_from_their_names() {
        assert_eq!(single_byte("<0x0A>"), Some(10));
        assert_eq!(single_byte("<0xff>"), Some(255));
        for other in ["<0x>", "<0x0>", "<0x0AB>", "0x0A", "<0xzz>", "а"] {
            assert_eq!(single_byte(other), None, "{other}");
        }
    }
}
