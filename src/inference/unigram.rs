//! The unigram model of SentencePiece in little memory: the tokeniser library's own keeps each piece three times over and a map for
//! every byte of every piece, three quarters of an encoder's memory and start.
//!
//! Kudo, "Subword Regularization" (2018): of all ways to cut a text into known pieces, the one with the largest sum of scores.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use cedarwood::Cedar;
use serde::{Deserialize, Serialize};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::unigram::UnigramTrainer;
use tokenizers::{Model, Token};

/// How much worse than the worst piece an unknown character is.
const UNKNOWN_PENALTY: f64 = 10.0;

/// The type of such a model in `tokenizer.json`.
pub(super) const KIND: &str = "Unigram";

/// As `tokenizer.json` has it.
#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "type")]
    kind: String,
    unk_id: Option<usize>,
    vocab: Vec<(String, f64)>,
    #[serde(default)]
    byte_fallback: bool,
}

/// A vocabulary of pieces with scores.
#[derive(Deserialize)]
#[serde(try_from = "Stored")]
pub(super) struct Unigram {
    /// Pieces to their ids.
    trie: Cedar,
    scores: Vec<f64>,
    /// All pieces, one behind the other, and where each ends.
    pieces: String,
    ends: Vec<u32>,
    unknown: u32,
    unknown_score: f64,
}

impl TryFrom<Stored> for Unigram {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let Stored { kind, unk_id, vocab, byte_fallback } = stored;
        if kind != KIND {
            return Err(format!("a model of the kind {kind:?} is not {KIND:?}"));
        }
        if byte_fallback {
            return Err("pieces of single bytes are not known".to_owned());
        }
        let unknown = unk_id.filter(|id| *id < vocab.len()).ok_or("unk_id is missing or not in the vocabulary")?;
        let mut keyed = Vec::with_capacity(vocab.len());
        let (mut pieces, mut ends) = (String::new(), Vec::with_capacity(vocab.len()));
        for (id, (piece, score)) in vocab.iter().enumerate() {
            if piece.is_empty() || piece.contains('\0') || !score.is_finite() {
                return Err(format!("piece {id} of the vocabulary is empty, has a NUL, or a score that is no number"));
            }
            pieces.push_str(piece);
            ends.push(u32::try_from(pieces.len()).map_err(|_| "the vocabulary is too long")?);
            keyed.push((piece.as_str(), i32::try_from(id).map_err(|_| "the vocabulary is too long")?));
        }
        let mut trie = Cedar::new();
        trie.build(&keyed);
        let scores: Vec<f64> = vocab.iter().map(|(_, score)| *score).collect();
        let worst = scores.iter().copied().fold(f64::INFINITY, f64::min);
        Ok(Self { trie, scores, pieces, ends, unknown: unknown as u32, unknown_score: worst - UNKNOWN_PENALTY })
    }
}

/// The best way to what ends at a byte.
#[derive(Clone, Copy)]
struct Best {
    score: f64,
    /// First byte of the last piece; the byte itself as long as there is no way.
    start: usize,
    id: u32,
}

impl Unigram {
    fn piece(&self, id: u32) -> Option<&str> {
        let index = id as usize;
        let end = *self.ends.get(index)? as usize;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |start| *start as usize);
        self.pieces.get(start..end)
    }

    /// First byte and id of each piece of the best way, from the last to the first.
    fn best_pieces(&self, text: &str) -> Vec<(usize, u32)> {
        let mut best: Vec<Best> = (0..=text.len()).map(|start| Best { score: 0.0, start, id: self.unknown }).collect();
        for (start, character) in text.char_indices() {
            let Some(here) = best.get(start).map(|best| best.score) else { continue };
            let mut offer = |end: usize, score: f64, id: u32| {
                if let Some(best) = best.get_mut(end)
                    && (best.start == end || score > best.score)
                {
                    *best = Best { score, start, id };
                }
            };
            let mut is_known = false;
            // A NUL ends keys in the trie.
            let rest = text.get(start..).and_then(|rest| rest.split('\0').next()).unwrap_or_default();
            for (id, last) in self.trie.common_prefix_iter(rest) {
                let (id, length) = (id as u32, last + 1);
                let score = self.scores.get(id as usize).copied().unwrap_or(self.unknown_score);
                offer(start + length, here + score, id);
                is_known |= length == character.len_utf8();
            }
            if !is_known {
                offer(start + character.len_utf8(), here + self.unknown_score, self.unknown);
            }
        }
        let mut pieces = Vec::new();
        let mut end = text.len();
        while end > 0 {
            let Some(last) = best.get(end) else { break };
            pieces.push((last.start, last.id));
            // There always is a way: every character is a piece or unknown.
            end = if last.start < end { last.start } else { 0 };
        }
        pieces
    }
}

impl Model for Unigram {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, text: &str) -> tokenizers::Result<Vec<Token>> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut pieces = self.best_pieces(text).into_iter().rev().peekable();
        while let Some((start, id)) = pieces.next() {
            // Unknown characters side by side are one token.
            while id == self.unknown && pieces.next_if(|(_, next)| *next == self.unknown).is_some() {}
            let end = pieces.peek().map_or(text.len(), |(next, _)| *next);
            let value = text.get(start..end).unwrap_or_default();
            let id = if id == self.unknown { self.token_to_id(value).unwrap_or(id) } else { id };
            tokens.push(Token::new(id, value.to_owned(), (start, end)));
        }
        Ok(tokens)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        if token.is_empty() || token.contains('\0') {
            return None;
        }
        self.trie.exact_match_search(token).map(|(id, _, _)| id as u32)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.piece(id).map(str::to_owned)
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        (0..self.ends.len() as u32).filter_map(|id| Some((self.id_to_token(id)?, id))).collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.ends.len()
    }

    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("this model is only read".into())
    }

    fn get_trainer(&self) -> TrainerWrapper {
        UnigramTrainer::default().into()
    }
}

/// The library wants to be able to write what it reads.
impl Serialize for Unigram {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("this model is only read"))
    }
}
