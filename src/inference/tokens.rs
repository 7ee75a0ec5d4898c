//! Texts to token ids with their place in the text, cut into windows that the encoder can read.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::panic::catch_unwind;
use std::path::Path;

use serde::Deserialize;
use tokenizers::models::ModelWrapper;
use tokenizers::{
    DecoderWrapper, Encoding, Model, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, TokenizerImpl,
};

use super::InferenceError;
use super::unigram::{self, Unigram};
use crate::feedback::CharSpan;

/// A tokeniser's file may have at most this many bytes.
const MAX_FILE_BYTES: u64 = 256 << 20;

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

/// The library's walk from text to tokens, with a model of pieces.
type Tokenizer<M> = TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// What cuts a text into tokens.
enum Splitter {
    Unigram(Box<Tokenizer<Unigram>>),
    Other(Box<Tokenizer<ModelWrapper>>),
}

impl Splitter {
    fn encode(&self, text: &str) -> tokenizers::Result<Encoding> {
        match self {
            Self::Unigram(tokenizer) => tokenizer.encode_char_offsets(text, false),
            Self::Other(tokenizer) => tokenizer.encode_char_offsets(text, false),
        }
    }
}

/// The kind of a tokeniser's model, without the model.
#[derive(Deserialize)]
struct Kind {
    model: KindOfModel,
}

#[derive(Deserialize)]
struct KindOfModel {
    #[serde(rename = "type")]
    name: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
}

impl Kind {
    fn is_unigram(&self) -> bool {
        self.model.name.as_deref() == Some(unigram::KIND) && !self.model.byte_fallback
    }
}

/// The tokeniser of a model.
pub(super) struct TextTokens {
    splitter: Splitter,
    /// Special tokens before and after a sequence.
    before: Vec<u32>,
    after: Vec<u32>,
    /// Ids that a text must not have, whatever a customer writes.
    special: HashSet<u32>,
    /// Tokens that it knows.
    known: usize,
    /// What stands in their place.
    unknown: u32,
}

impl TextTokens {
    /// Reads `tokenizer.json`.
    pub fn read(path: &Path) -> Result<Self, InferenceError> {
        let unreadable = |source| InferenceError::Read { path: path.to_owned(), source };
        let bad = |problem: String| InferenceError::Format { path: path.to_owned(), problem };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(&unreadable)?;
        // Told by its length where it has one, so that what is too long is not read.
        let length = file.metadata().map_err(&unreadable)?.len();
        file.take(if length > MAX_FILE_BYTES { 0 } else { MAX_FILE_BYTES + 1 })
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if length.max(bytes.len() as u64) > MAX_FILE_BYTES {
            return Err(bad(format!("has more than {} MiB, the most allowed", MAX_FILE_BYTES >> 20)));
        }
        // On some parts that are not as it wants them the library panics.
        let parsed = catch_unwind(|| Self::parse(&bytes));
        parsed.unwrap_or_else(|_| Err("has a part that the tokeniser's library can't read".to_owned())).map_err(bad)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        // Most are of this kind, and the longest part of a start is to read them.
        let error = match serde_json::from_slice(bytes) {
            Ok(tokenizer) => return Self::of(tokenizer, |tokenizer| Splitter::Unigram(Box::new(tokenizer))),
            Err(error) => error,
        };
        let kind: Kind = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if kind.is_unigram() {
            return Err(error.to_string());
        }
        let tokenizer = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Self::of(tokenizer, |tokenizer| Splitter::Other(Box::new(tokenizer)))
    }

    /// The tokens that it knows: ids are below their number.
    pub fn known(&self) -> usize {
        self.known
    }

    fn of<M: Model>(
        mut tokenizer: Tokenizer<M>,
        splitter: impl FnOnce(Tokenizer<M>) -> Splitter,
    ) -> Result<Self, String> {
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        // What a customer writes is text even if it reads like a special token. The setting keeps the tokeniser from looking
        // for them; a model whose own pieces include them needs `special` as well.
        tokenizer.set_encode_special_tokens(true);
        let unknown = ["<unk>", "[UNK]"]
            .iter()
            .find_map(|name| tokenizer.token_to_id(name))
            .ok_or("has no <unk> or [UNK] token")?;
        let special = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(id, token)| token.special && *id != unknown)
            .map(|(id, _)| id)
            .collect();
        let known = tokenizer.get_vocab_size(true);
        let probe = tokenizer.encode("a", true).map_err(|error| error.to_string())?;
        let frame = probe.get_special_tokens_mask();
        let leading = frame.iter().take_while(|flag| **flag == 1).count();
        let trailing = frame.iter().rev().take_while(|flag| **flag == 1).count();
        let ids = probe.get_ids();
        Ok(Self {
            before: ids.iter().take(leading).copied().collect(),
            after: ids.iter().skip(ids.len().saturating_sub(trailing)).copied().collect(),
            special,
            known,
            unknown,
            splitter: splitter(tokenizer),
        })
    }

    /// Tokens of `prefix` and of `text` behind it.
    fn split(&self, prefix: &str, text: &str) -> Result<(Vec<u32>, Vec<Token>), InferenceError> {
        let whole = format!("{prefix}{text}");
        let encoding = self.splitter.encode(&whole).map_err(|error| InferenceError::Tokenise(error.to_string()))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of every kind that a customer writes, and of kinds that none does.
    fn texts() -> Vec<String> {
        let mut texts: Vec<String> = [
            "",
            " ",
            "Третий день не работает касса, банк шлёт к партнёру!!!",
            "The app crashes   every time I open\tthe chat…",
            "ＦＵＬＬ width, ½ and ﬁ, ё and й, 100500₽",
            "😀😀 смайлы 👨‍👩‍👧 и флаги 🇷🇺",
            "漢字と未知の文字 กขค ᚠᚢᚦ",
            "<s>не тег</s> <unk> <mask>",
            "a\u{0}b\u{301}\u{200b}c\u{feff}",
            "\r\nстроки\r\nи ещё\n",
            "ааааааааааааааааааааааааааааааааааааааааааааааааа",
        ]
        .map(str::to_owned)
        .to_vec();
        // Pieces of words, with all that stands between them.
        let words = ["комисс", "ия", "перевод", "Card", "не", "▁", "ь", "xyz", "Ω", "9", "ﷺ", "\u{0}"];
        let mut state = 7u32;
        for _ in 0..300 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(words[(state >> 16) as usize % words.len()]);
                if state >> 30 == 0 {
                    text.push(' ');
                }
            }
            texts.push(text);
        }
        texts
    }

    #[test]
    fn the_compact_model_cuts_as_the_library_does() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/e5-small-ru-en/tokenizer.json");
        let bytes = std::fs::read(path).unwrap();
        assert!(serde_json::from_slice::<Kind>(&bytes).unwrap().is_unigram());
        let compact: Tokenizer<Unigram> = serde_json::from_slice(&bytes).unwrap();
        let library: Tokenizer<ModelWrapper> = serde_json::from_slice(&bytes).unwrap();
        for text in texts() {
            let one = compact.encode_char_offsets(text.as_str(), true).unwrap();
            let other = library.encode_char_offsets(text.as_str(), true).unwrap();
            assert_eq!(one.get_tokens(), other.get_tokens(), "{text:?}");
            assert_eq!(one.get_ids(), other.get_ids(), "{text:?}");
            assert_eq!(one.get_offsets(), other.get_offsets(), "{text:?}");
        }
        for id in [0, 3, 4, 500, 74_885, 74_886, 80_000] {
            assert_eq!(compact.id_to_token(id), library.id_to_token(id));
        }
        assert_eq!(compact.get_vocab(true), library.get_vocab(true));
    }

    #[test]
    fn a_file_that_is_too_long_is_refused_before_it_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_FILE_BYTES + 1).unwrap();
        let problem = TextTokens::read(file.path()).err().unwrap().to_string();
        assert!(problem.contains("more than 256 MiB"), "{problem}");
    }

    #[test]
    fn vocabularies_that_can_not_be_read_are_refused() {
        let read = |vocab: &str, unk: &str, more: &str| {
            let json = format!(r#"{{"type":"Unigram","unk_id":{unk},"vocab":{vocab}{more}}}"#);
            serde_json::from_str::<Unigram>(&json).err().map(|error| error.to_string())
        };
        assert_eq!(read(r#"[["<unk>",0],["a",-1]]"#, "0", ""), None);
        for (vocab, unk, more, part) in [
            (r#"[["a",-1]]"#, "1", "", "unk_id"),
            (r#"[["a",-1]]"#, "null", "", "unk_id"),
            (r#"[["a",-1],["",-1]]"#, "0", "", "piece 1"),
            (r#"[["a",-1]]"#, "0", r#","byte_fallback":true"#, "single bytes"),
            (r#"[["a",-1]]"#, "0", r#","type":"BPE""#, "duplicate field"),
        ] {
            let error = read(vocab, unk, more).unwrap();
            assert!(error.contains(part), "{error} should contain {part}");
        }
    }
}
