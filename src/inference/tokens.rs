//! Texts to token ids with their place in the text, cut into windows that the encoder can read.

use std::collections::HashSet;
use std::path::Path;

use tokenizers::Tokenizer;

use super::InferenceError;
use crate::feedback::CharSpan;

/// One token that stands for a part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub id: u32,
    /// Characters of the text (the prefix does not count); empty for tokens that stand for nothing in it.
    pub span: CharSpan,
}

/// A sequence for the encoder: special tokens and prefix around a part of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub ids: Vec<u32>,
    /// For each id, its place in the text; `None` for special tokens and the prefix.
    pub spans: Vec<Option<CharSpan>>,
}

/// A text as the encoder reads it.
pub(super) struct Tokenised {
    pub windows: Vec<Window>,
    /// Tokens of the text itself that no window holds.
    pub left_out: usize,
}

/// The tokeniser of a model.
pub(super) struct TextTokens {
    tokenizer: Tokenizer,
    /// Special tokens before and after a sequence.
    before: Vec<u32>,
    after: Vec<u32>,
    /// Ids that a text must not have, whatever a customer writes.
    special: HashSet<u32>,
    /// What stands in their place.
    unknown: u32,
}

impl TextTokens {
    /// Reads `tokenizer.json`; ids at or above `vocabulary` would be a mismatch with the weights and are refused.
    pub fn read(path: &Path, vocabulary: usize) -> Result<Self, InferenceError> {
        let bytes = std::fs::read(path).map_err(|source| InferenceError::Read { path: path.to_owned(), source })?;
        let bad = |problem: String| InferenceError::Format { path: path.to_owned(), problem };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| bad(error.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| bad(error.to_string()))?;
        // What a customer writes is text even if it reads like a special token. The setting keeps the tokeniser from looking
        // for them; a model whose own pieces include them needs `special` as well.
        tokenizer.set_encode_special_tokens(true);
        let unknown = ["<unk>", "[UNK]"]
            .iter()
            .find_map(|name| tokenizer.token_to_id(name))
            .ok_or_else(|| bad("has no <unk> or [UNK] token".to_owned()))?;
        let special = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(id, token)| token.special && *id != unknown)
            .map(|(id, _)| id)
            .collect();
        let known = tokenizer.get_vocab_size(true);
        if known > vocabulary {
            return Err(bad(format!("has {known} tokens, but the weights have rows for only {vocabulary}")));
        }
        let probe = tokenizer.encode("a", true).map_err(|error| bad(error.to_string()))?;
        let frame = probe.get_special_tokens_mask();
        let leading = frame.iter().take_while(|flag| **flag == 1).count();
        let trailing = frame.iter().rev().take_while(|flag| **flag == 1).count();
        let ids = probe.get_ids();
        Ok(Self {
            before: ids.iter().take(leading).copied().collect(),
            after: ids.iter().skip(ids.len().saturating_sub(trailing)).copied().collect(),
            special,
            unknown,
            tokenizer,
        })
    }

    /// Tokens of `prefix` and of `text` behind it.
    fn split(&self, prefix: &str, text: &str) -> Result<(Vec<u32>, Vec<Token>), InferenceError> {
        let whole = format!("{prefix}{text}");
        let encoding = self
            .tokenizer
            .encode_char_offsets(whole.as_str(), false)
            .map_err(|error| InferenceError::Tokenise(error.to_string()))?;
        let prefix_chars = prefix.trim_end().chars().count();
        let shift = prefix.chars().count() as u32;
        let mut prefix_ids = Vec::new();
        let mut tokens = Vec::with_capacity(encoding.len());
        for (id, (start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            let id = if self.special.contains(id) { &self.unknown } else { id };
            if *end <= prefix_chars && tokens.is_empty() {
                prefix_ids.push(*id);
            } else {
                let span = CharSpan::new((*start as u32).saturating_sub(shift), (*end as u32).saturating_sub(shift));
                tokens.push(Token { id: *id, span });
            }
        }
        Ok((prefix_ids, tokens))
    }

    /// Cuts a text into windows of at most `max_tokens` (special tokens and prefix included), each overlapping the one before by
    /// `overlap` tokens of the text; at most `max_windows` of them.
    pub fn windows(
        &self,
        prefix: &str,
        text: &str,
        max_tokens: usize,
        overlap: usize,
        max_windows: usize,
    ) -> Result<Tokenised, InferenceError> {
        let (prefix_ids, tokens) = self.split(prefix, text)?;
        let room = max_tokens.saturating_sub(self.before.len() + prefix_ids.len() + self.after.len()).max(1);
        let step = room.saturating_sub(overlap).max(1);
        let mut windows = Vec::new();
        let mut start = 0;
        let mut reached = 0;
        loop {
            let part: Vec<Token> = tokens.iter().skip(start).take(room).copied().collect();
            reached = reached.max(start + part.len());
            windows.push(self.window(&prefix_ids, &part));
            if reached >= tokens.len() || windows.len() >= max_windows.max(1) {
                break;
            }
            start += step;
        }
        Ok(Tokenised { windows, left_out: tokens.len() - reached })
    }

    fn window(&self, prefix_ids: &[u32], part: &[Token]) -> Window {
        let framed = |ids: &[u32]| ids.iter().map(|id| (*id, None)).collect::<Vec<_>>();
        let (ids, spans) = framed(&self.before)
            .into_iter()
            .chain(framed(prefix_ids))
            .chain(part.iter().map(|token| (token.id, Some(token.span))))
            .chain(framed(&self.after))
            .unzip();
        Window { ids, spans }
    }
}
