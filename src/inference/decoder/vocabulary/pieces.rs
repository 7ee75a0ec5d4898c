//! What the tokens of a file are for, and the text that each stands for.
//!
//! Enters: names and kinds of tokens. Leaves: which are text, which structure, which end an answer; their bytes.
//! Never here: how texts become tokens.

use super::byte_pairs::ByteAlphabet;
use super::metadata::{self, Metadata, MetadataError};
use super::sentence_pieces::{SPACE, single_byte};
use super::{TOKENS, TYPES};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A piece of text.
    Text,
    /// What no piece has.
    Unknown,
    /// Structure of the input: no text.
    Control,
    /// A piece of text that was added by hand: found before all others.
    Added,
    /// A place that no token takes.
    Unused,
    /// A single byte.
    Byte,
}

impl Kind {
    pub(super) fn read(number: i64) -> Option<Self> {
        [Self::Text, Self::Unknown, Self::Control, Self::Added, Self::Unused, Self::Byte]
            .get(usize::try_from(number.checked_sub(1)?).ok()?)
            .copied()
    }

    /// Whether only texts of our own may have it by its name.
    pub(super) fn is_guarded(self, name: &str) -> bool {
        match self {
            Self::Control | Self::Unknown => true,
            Self::Added => STRUCTURE.contains(&name) || (name.starts_with("<|") && name.ends_with("|>")),
            Self::Text | Self::Unused | Self::Byte => false,
        }
    }
}

/// Tokens that end an answer, by their names.
const ENDS: [&str; 12] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|end_of_text|>",
    "<|return|>",
    "<end_of_utterance>",
    "<EOT>",
    "_<EOT>",
    "<｜end▁of▁sentence｜>",
];

/// Added tokens that structure the input of some models, whatever their file says of them.
const STRUCTURE: [&str; 12] = [
    "<start_of_turn>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[multimodal]",
];

/// What each token is for; text if the file does not say.
pub(super) fn kinds(metadata: &Metadata, pieces: &[&str]) -> Result<Vec<Kind>, MetadataError> {
    let Some(numbers) = metadata::integers(metadata, TYPES)? else { return Ok(vec![Kind::Text; pieces.len()]) };
    if numbers.len() != pieces.len() {
        let problem = format!("has {} entries for {} tokens", numbers.len(), pieces.len());
        return Err(MetadataError::new(TYPES, problem));
    }
    let kind = |(entry, (number, piece)): (usize, (&i64, &&str))| match Kind::read(*number) {
        // Some files say that they are text.
        Some(Kind::Text | Kind::Added) if ENDS.contains(piece) => Ok(Kind::Control),
        Some(kind) => Ok(kind),
        None => Err(MetadataError::new(TYPES, format!("entry {entry} is {number}; must be from 1 to 6"))),
    };
    numbers.iter().zip(pieces).enumerate().map(kind).collect()
}

/// Tokens that end an answer: those that the file names, and those whose name says so.
pub(super) fn ends(pieces: &[&str], kinds: &[Kind], named: [Option<u32>; 3]) -> Vec<u32> {
    let known = (0_u32..).zip(pieces.iter().zip(kinds));
    let known = known.filter(|(_, (piece, kind))| **kind == Kind::Control && ENDS.contains(piece)).map(|(id, _)| id);
    let mut ends: Vec<u32> = known.chain(named.into_iter().flatten()).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// Bytes of all tokens one after another, and where each ends.
pub(super) struct PieceBytes {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl PieceBytes {
    /// Bytes of the text that each token stands for. Pieces are written in an alphabet of bytes, if there is one.
    pub(super) fn new(pieces: &[&str], kinds: &[Kind], alphabet: Option<&ByteAlphabet>) -> Result<Self, MetadataError> {
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(pieces.len());
        for (entry, (piece, kind)) in pieces.iter().zip(kinds).enumerate() {
            let wrong = |problem: &str| MetadataError::new(TOKENS, format!("entry {entry}, {piece:?}, {problem}"));
            match (kind, alphabet) {
                (Kind::Control | Kind::Unknown | Kind::Unused, _) => {}
                (Kind::Added, _) => bytes.extend_from_slice(piece.as_bytes()),
                (Kind::Byte, _) => bytes.push(single_byte(piece).ok_or_else(|| wrong("must be a byte, like <0x0A>"))?),
                (Kind::Text, Some(alphabet)) => {
                    bytes.extend(alphabet.decode(piece).ok_or_else(|| wrong("has characters that stand for no byte"))?);
                }
                (Kind::Text, None) => bytes.extend_from_slice(piece.replace(SPACE, " ").as_bytes()),
            }
            ends.push(bytes.len());
        }
        Ok(Self { bytes, ends })
    }

    /// Bytes of one token; none for ids that are no token.
    pub(super) fn of(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = id.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(id).and_then(|end| self.bytes.get(start..*end)).unwrap_or_default()
    }
}
