//! The tokeniser of a language model, made from the GGUF file of its weights alone.
//!
//! Enters: the named values of the file; texts; token ids. Leaves: token ids; texts. A text that somebody else wrote never becomes a
//! control token, whatever it reads like. Never here: weights, chat templates, the computation.

mod byte_pairs;
mod decoder;
mod markers;
mod merge;
pub(super) mod metadata;
mod pre_tokeniser;
mod sentence_pieces;
#[cfg(test)]
pub(super) mod tests;

pub use decoder::Decoder;
pub use metadata::{Metadata, MetadataError};

use byte_pairs::{ByteAlphabet, BytePairs};
use markers::{Cut, Markers};
use pre_tokeniser::PreTokeniser;
use sentence_pieces::{SPACE, SentencePieces, single_byte};

use serde::{Deserialize, Serialize};

use crate::feedback::named_enum;

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";

named_enum! {
    /// What a tokeniser does between words.
    Algorithm {
        /// Byte-level byte pairs.
        BytePairs = "gpt2",
        /// Scored pieces with bytes for what they lack.
        SentencePieces = "llama",
    }
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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
    fn read(number: i64) -> Option<Self> {
        [Self::Text, Self::Unknown, Self::Control, Self::Added, Self::Unused, Self::Byte]
            .get(usize::try_from(number.checked_sub(1)?).ok()?)
            .copied()
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
    /// Bytes of all tokens one after another, and where each ends.
    bytes: Vec<u8>,
    ends_of_bytes: Vec<usize>,
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
        let algorithm: Algorithm = name.parse().map_err(|error| MetadataError::new(MODEL, format!("{error}")))?;
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
        let guarded = |kind: Kind, piece: &str| match kind {
            Kind::Control | Kind::Unknown => true,
            Kind::Added => STRUCTURE.contains(&piece) || (piece.starts_with("<|") && piece.ends_with("|>")),
            Kind::Text | Kind::Unused | Kind::Byte => false,
        };
        let all = || (0_u32..).zip(pieces.iter().copied()).zip(kinds.iter().copied());
        let of = |wanted: Kind| all().filter(move |(_, kind)| *kind == wanted).map(|(token, _)| token);
        let control = Markers::new(all().filter(|((_, piece), kind)| guarded(*kind, piece)).map(|(token, _)| token))?;
        let added = Markers::new(of(Kind::Added).filter(|(_, piece)| !guarded(Kind::Added, piece)))?;
        let alphabet = (algorithm == Algorithm::BytePairs).then(ByteAlphabet::new);
        let (bytes, ends_of_bytes) = bytes(&pieces, &kinds, alphabet.as_ref())?;
        let adds_bos = metadata::flag(metadata, "tokenizer.ggml.add_bos_token")?;
        let (splitter, usual_bos) = match algorithm {
            Algorithm::BytePairs => {
                let pre_tokeniser = PreTokeniser::read(metadata::text(metadata, "tokenizer.ggml.pre")?)?;
                let usual_bos = pre_tokeniser.begins_texts();
                let merges = "tokenizer.ggml.merges";
                let merges = metadata::texts(metadata, merges)?.ok_or_else(|| missing(merges))?;
                let text = |(id, piece)| (id, piece, bytes_of(&bytes, &ends_of_bytes, id));
                let pairs = BytePairs::new(of(Kind::Text).map(text), &merges, pre_tokeniser)?;
                (Splitter::BytePairs(pairs), usual_bos)
            }
            Algorithm::SentencePieces => {
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
            ends_of_bytes,
            control,
            added,
        })
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
        bytes_of(&self.bytes, &self.ends_of_bytes, id)
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

fn kinds(metadata: &Metadata, pieces: &[&str]) -> Result<Vec<Kind>, MetadataError> {
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

fn ends(pieces: &[&str], kinds: &[Kind], named: [Option<u32>; 3]) -> Vec<u32> {
    let known = (0_u32..).zip(pieces.iter().zip(kinds));
    let known = known.filter(|(_, (piece, kind))| **kind == Kind::Control && ENDS.contains(piece)).map(|(id, _)| id);
    let mut ends: Vec<u32> = known.chain(named.into_iter().flatten()).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// Bytes of all tokens one after another, and where each ends.
fn bytes(
    pieces: &[&str],
    kinds: &[Kind],
    alphabet: Option<&ByteAlphabet>,
) -> Result<(Vec<u8>, Vec<usize>), MetadataError> {
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
    Ok((bytes, ends))
}

fn bytes_of<'a>(bytes: &'a [u8], ends: &[usize], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = id.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    ends.get(id).and_then(|end| bytes.get(start..*end)).unwrap_or_default()
}
