//! The tokeniser of a language model, made from the GGUF file of its weights alone.
//!
//! Enters: the named values of the file; texts; token ids. Leaves: token ids; texts. A text that somebody else wrote never becomes a
//! control token, whatever it reads like. Never here: weights, chat templates, the computation.

mod byte_pairs;
mod decoder;
mod markers;
mod merge;
pub(super) mod metadata;
mod pieces;
mod pre_tokeniser;
mod sentence_pieces;
#[cfg(test)]
pub(super) mod tests;

pub use decoder::Decoder;
pub use metadata::{Metadata, MetadataError};

use byte_pairs::{ByteAlphabet, BytePairs};
use markers::{Cut, Markers};
use pieces::{Kind, PieceBytes, ends, kinds};
use pre_tokeniser::PreTokeniser;
use sentence_pieces::{SentencePieces, single_byte};

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::feedback::named_enum;
use crate::inference::{InferenceError, gguf};

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";

named_enum! {
    /// What a tokeniser does between words.
    TokeniserAlgorithm {
        /// Byte-level byte pairs.
        BytePairs = "gpt2",
        /// Scored pieces with bytes for what they lack.
        SentencePieces = "llama",
    }
}

/// A text to be split, with its trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A text of our own: names of control tokens in it are those tokens.
    Template(String),
    /// A text of somebody else: all of it is text.
    Content(String),
}

/// What cuts a text between control tokens.
enum Splitter {
    BytePairs(BytePairs),
    SentencePieces(SentencePieces),
}

/// The tokens of a language model. Share it in an [`Arc`](std::sync::Arc).
pub struct Vocabulary {
    splitter: Splitter,
    kinds: Vec<Kind>,
    bytes: PieceBytes,
    control: Markers,
    added: Markers,
    /// Spaces behind control tokens belong to them.
    eats_spaces: bool,
    bos: Option<u32>,
    eos: Option<u32>,
    padding: Option<u32>,
    adds_bos: bool,
    adds_eos: bool,
    ends: Vec<u32>,
}

impl Vocabulary {
    /// Reads the tokeniser of a GGUF file.
    ///
    /// # Errors
    /// The value that is missing, is of another kind, or is not supported, with what is.
    pub fn read(metadata: &Metadata) -> Result<Self, MetadataError> {
        let missing = |key: &str| MetadataError::new(key, "is missing: the file has no tokeniser");
        let name = metadata::text(metadata, MODEL)?.ok_or_else(|| missing(MODEL))?;
        let algorithm: TokeniserAlgorithm =
            name.parse().map_err(|error| MetadataError::new(MODEL, format!("{error}")))?;
        let pieces = metadata::texts(metadata, TOKENS)?.ok_or_else(|| missing(TOKENS))?;
        let count = pieces.len();
        if u32::try_from(count).is_err() {
            return Err(MetadataError::new(TOKENS, "has too many tokens"));
        }
        let kinds = kinds(metadata, &pieces)?;
        let id = |name: &str| metadata::token(metadata, &format!("tokenizer.ggml.{name}_token_id"), count);
        let eos = id("eos")?;
        let ends = ends(&pieces, &kinds, [eos, id("eot")?, id("eom")?]);
        if ends.is_empty() {
            return Err(MetadataError::new("tokenizer.ggml.eos_token_id", "is missing: no token would end an answer"));
        }
        let all = || (0_u32..).zip(pieces.iter().copied()).zip(kinds.iter().copied());
        let of = |wanted: Kind| all().filter(move |(_, kind)| *kind == wanted).map(|(token, _)| token);
        let control = Markers::new(all().filter(|((_, piece), kind)| kind.is_guarded(piece)).map(|(token, _)| token))?;
        let added = Markers::new(of(Kind::Added).filter(|(_, piece)| !Kind::Added.is_guarded(piece)))?;
        let alphabet = (algorithm == TokeniserAlgorithm::BytePairs).then(ByteAlphabet::new);
        let bytes = PieceBytes::new(&pieces, &kinds, alphabet.as_ref())?;
        let adds_bos = metadata::flag(metadata, "tokenizer.ggml.add_bos_token")?;
        let (splitter, usual_bos) = match algorithm {
            TokeniserAlgorithm::BytePairs => {
                let pre_tokeniser = PreTokeniser::read(metadata::text(metadata, "tokenizer.ggml.pre")?)?;
                let usual_bos = pre_tokeniser.begins_texts();
                let merges = "tokenizer.ggml.merges";
                let merges = metadata::texts(metadata, merges)?.ok_or_else(|| missing(merges))?;
                let text = |(id, piece)| (id, piece, bytes.of(id));
                let pairs = BytePairs::new(of(Kind::Text).map(text), &merges, pre_tokeniser)?;
                (Splitter::BytePairs(pairs), usual_bos)
            }
            TokeniserAlgorithm::SentencePieces => {
                let scores = metadata::numbers(metadata, SCORES)?.ok_or_else(|| missing(SCORES))?;
                if scores.len() != count {
                    return Err(MetadataError::new(SCORES, format!("has {} entries for {count} tokens", scores.len())));
                }
                let scored = all().zip(scores).filter(|((_, kind), _)| matches!(kind, Kind::Text | Kind::Added));
                let scored = scored.map(|(((id, piece), _), score)| (id, piece, score));
                let single = of(Kind::Byte).filter_map(|(id, piece)| Some((single_byte(piece)?, id)));
                let space_before = metadata::flag(metadata, "tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
                let unknown = id("unknown")?;
                let pieces = SentencePieces::new(scored, single, unknown, space_before);
                (Splitter::SentencePieces(pieces), true)
            }
        };
        let model_name = metadata::text(metadata, "general.name")?.unwrap_or_default().to_lowercase();
        Ok(Self {
            eats_spaces: model_name.contains("phi-3") || model_name.contains("phi3"),
            bos: id("bos")?,
            eos,
            padding: id("padding")?,
            adds_bos: adds_bos.unwrap_or(usual_bos),
            adds_eos: metadata::flag(metadata, "tokenizer.ggml.add_eos_token")?.unwrap_or(false),
            ends,
            splitter,
            kinds,
            bytes,
            control,
            added,
        })
    }

    /// Reads the tokeniser of the GGUF file at a path, and nothing of its weights.
    ///
    /// # Errors
    /// [`InferenceError::Read`], or [`InferenceError::Format`] with what [`Vocabulary::read`] says.
    pub fn of_file(path: &Path) -> Result<Self, InferenceError> {
        let (content, _) = gguf::open(path)?;
        let bad = |error: MetadataError| InferenceError::Format { path: path.to_owned(), problem: error.to_string() };
        Self::read(&content.metadata).map_err(bad)
    }

    /// What its tokeniser does between words.
    pub fn algorithm(&self) -> TokeniserAlgorithm {
        match &self.splitter {
            Splitter::BytePairs(_) => TokeniserAlgorithm::BytePairs,
            Splitter::SentencePieces(_) => TokeniserAlgorithm::SentencePieces,
        }
    }

    /// How many tokens there are: ids are below it.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// The token that begins a text, if the model knows one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, if the file names one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that fills what no text takes, if the file names one.
    pub fn padding(&self) -> Option<u32> {
        self.padding
    }

    /// Whether each text begins with [`bos`](Self::bos).
    pub fn adds_bos(&self) -> bool {
        self.adds_bos && self.bos.is_some()
    }

    /// Whether each text that is whole ends with [`eos`](Self::eos). A chat never is: the model goes on.
    pub fn adds_eos(&self) -> bool {
        self.adds_eos && self.eos.is_some()
    }

    /// Tokens that end an answer, in order; at least one.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Whether a token ends an answer.
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    /// Bytes of text that a token stands for; none for control tokens and ids that are no token.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.of(id)
    }

    /// Turns tokens into text as they come.
    pub fn decoder(&self) -> Decoder<'_> {
        Decoder::new(self)
    }

    /// Tokens of a text that begins an input; [`bos`](Self::bos) is not among them. With `parse_special`, names of control tokens are
    /// those tokens: never ask for it where somebody else wrote the text.
    pub fn encode(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let text = text.to_owned();
        self.encode_segments(&[if parse_special { Segment::Template(text) } else { Segment::Content(text) }])
    }

    /// Tokens of segments one behind another, split as the one text that they are; control tokens come of templates alone.
    pub fn encode_segments(&self, segments: &[Segment]) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut run = String::new();
        let mut first = true;
        let mut eaten = false;
        for segment in segments {
            match segment {
                Segment::Content(text) => run.push_str(text),
                Segment::Template(text) => {
                    for cut in self.control.cut(text) {
                        match cut {
                            Cut::Text(text) => run.push_str(text),
                            Cut::Token(id) => {
                                self.encode_run(&run, first, eaten, &mut ids);
                                run.clear();
                                ids.push(id);
                                first = true;
                                eaten = self.eats_spaces;
                            }
                        }
                    }
                }
            }
        }
        self.encode_run(&run, first, eaten, &mut ids);
        ids
    }

    /// Tokens of a text that goes on from another.
    pub fn encode_rest(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_run(text, false, false, &mut ids);
        ids
    }

    fn encode_run(&self, run: &str, mut first: bool, eaten: bool, ids: &mut Vec<u32>) {
        let run = if eaten { run.trim_start() } else { run };
        for cut in self.added.cut(run) {
            match cut {
                Cut::Token(id) => ids.push(id),
                Cut::Text(text) => match &self.splitter {
                    Splitter::BytePairs(pairs) => pairs.encode(text, ids),
                    Splitter::SentencePieces(pieces) => pieces.encode(text, first, ids),
                },
            }
            first = matches!(cut, Cut::Token(_));
        }
    }
}
