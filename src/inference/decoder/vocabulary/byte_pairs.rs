//! Byte-level byte-pair encoding, as GPT-2 began it: bytes are joined in the order in which training joined them.
//!
//! Enters: a text without special tokens. Leaves: token ids. Never here: special tokens.
//! Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016; the alphabet is that of GPT-2.

use std::collections::HashMap;

use super::merge::{Joint, Part, merge};
use super::metadata::MetadataError;
use super::pre_tokeniser::PreTokeniser;

/// Key of the list of merges.
const MERGES: &str = "tokenizer.ggml.merges";

/// Characters of pieces that stand for bytes of texts.
pub(super) struct ByteAlphabet {
    bytes: HashMap<char, u8>,
}

impl ByteAlphabet {
    /// The alphabet of GPT-2: printable characters of Latin-1 stand for themselves, the rest for characters from 256 on.
    pub(super) fn new() -> Self {
        let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        let mut others = ('\u{100}'..).take(256);
        let letter = |byte: u8| if printable(byte) { Some(char::from(byte)) } else { others.next() };
        let letters: Vec<Option<char>> = (0..=u8::MAX).map(letter).collect();
        let bytes = (0..=u8::MAX).zip(letters).filter_map(|(byte, letter)| Some((letter?, byte))).collect();
        Self { bytes }
    }

    /// Bytes that a piece stands for; `None` if it has a character that stands for none.
    pub(super) fn decode(&self, piece: &str) -> Option<Vec<u8>> {
        piece.chars().map(|letter| self.bytes.get(&letter).copied()).collect()
    }
}

/// A byte-level tokeniser.
pub(super) struct BytePairs {
    pre_tokeniser: PreTokeniser,
    /// Token of each byte.
    bytes: Vec<Option<u32>>,
    joints: HashMap<(u32, u32), Joint>,
    /// Tokens by their bytes, for tokenisers that take a whole word as it is if they know it.
    words: Option<HashMap<Vec<u8>, u32>>,
}

impl BytePairs {
    /// Made from the pieces of text with their ids, and pairs of pieces in the order of training.
    pub(super) fn new<'a>(
        pieces: impl Iterator<Item = (u32, &'a str, &'a [u8])>,
        merges: &[&str],
        pre_tokeniser: PreTokeniser,
    ) -> Result<Self, MetadataError> {
        let mut ids = HashMap::new();
        let mut words = HashMap::new();
        let mut bytes = vec![None; 256];
        for (id, piece, text) in pieces {
            ids.insert(piece, id);
            if pre_tokeniser.keeps_known_words() {
                words.insert(text.to_vec(), id);
            }
            if let [byte] = text
                && let Some(token) = bytes.get_mut(usize::from(*byte))
            {
                *token = Some(id);
            }
        }
        let in_utf8 = |byte: usize| !matches!(byte, 0xc0 | 0xc1 | 0xf5..);
        if let Some(byte) = (0..256).find(|byte| in_utf8(*byte) && bytes.get(*byte).is_none_or(Option::is_none)) {
            return Err(MetadataError::new(super::TOKENS, format!("must have a piece for the byte {byte:#04x}")));
        }
        let mut joints = HashMap::with_capacity(merges.len());
        for (row, pair) in merges.iter().enumerate() {
            let wrong = |problem: &str| MetadataError::new(MERGES, format!("entry {row}, {pair:?}, {problem}"));
            // A piece may be a space in no case: the alphabet has another character for it.
            let (left, right) = pair.split_once(' ').ok_or_else(|| wrong("must be two pieces with a space between"))?;
            let id = |piece: &str| ids.get(piece).copied().ok_or_else(|| wrong("names a piece that is not a token"));
            let rank = u32::try_from(row).map_err(|_| wrong("is one too many"))?;
            let key = (id(left)?, id(right)?);
            let joint = Joint { rank, token: id(&format!("{left}{right}"))? };
            joints.entry(key).or_insert(joint);
        }
        let words = pre_tokeniser.keeps_known_words().then_some(words);
        Ok(Self { pre_tokeniser, bytes, joints, words })
    }

    /// Tokens of a text.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        self.pre_tokeniser.split(text, |word| self.encode_word(word.as_bytes(), ids));
    }

    fn encode_word(&self, word: &[u8], ids: &mut Vec<u32>) {
        if let Some(id) = self.words.as_ref().and_then(|words| words.get(word)) {
            ids.push(*id);
            return;
        }
        let token = |byte: u8| self.bytes.get(usize::from(byte)).copied().flatten();
        let part = |(start, byte): (usize, &u8)| Part { start, end: start + 1, token: token(*byte) };
        let parts = word.iter().enumerate().map(part).collect();
        let joint = |left: &Part, right: &Part| self.joints.get(&(left.token?, right.token?)).copied();
        ids.extend(merge(parts, joint).into_iter().filter_map(|part| part.token));
    }
}
