//! Tokenisers: `tokenizer.json` of an encoder, and the vocabulary in the GGUF file of a language model.

use otklik::inference::decoder::{TokeniserAlgorithm, Vocabulary};
use otklik::inference::{EncodeInput, Encoder, EncoderSpec, Kernel, Pooling, Role};

/// Weights of an encoder of 128 tokens.
const WEIGHTS: &[u8] = include_bytes!("../corpus/gguf/encoder.gguf");

/// Reads bytes that begin like GGUF as such a file, and all others as `tokenizer.json`. True if there was a tokeniser.
pub fn run(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"GGUF") { vocabulary(bytes) } else { file(bytes) }
}

fn vocabulary(bytes: &[u8]) -> bool {
    let Ok(vocabulary) = Vocabulary::of_file(&super::file_of("vocabulary.gguf", bytes)) else { return false };
    assert!(!vocabulary.ends().is_empty(), "an answer can end");
    for text in super::TEXTS {
        for parse_special in [false, true] {
            let ids = vocabulary.encode(text, parse_special);
            assert!(ids.iter().all(|id| (*id as usize) < vocabulary.len()), "ids are those of tokens");
        }
        let mut decoder = vocabulary.decoder();
        let mut decoded: String = vocabulary.encode(text, false).into_iter().map(|id| decoder.push(id)).collect();
        decoded.push_str(&decoder.finish());
        if vocabulary.algorithm() == TokeniserAlgorithm::BytePairs {
            assert_eq!(decoded, text, "a text comes back from its tokens");
        }
    }
    true
}

fn file(bytes: &[u8]) -> bool {
    let spec = EncoderSpec {
        weights: super::file_of("known.gguf", WEIGHTS),
        tokenizer: super::file_of("tokenizer.json", bytes),
        pooling: Pooling::Cls,
        query_prefix: "query: ".to_owned(),
        passage_prefix: String::new(),
        max_tokens: 16,
        kernel: Kernel::Auto,
    };
    let Ok(encoder) = Encoder::load(spec) else { return false };
    for text in super::TEXTS {
        let Ok(ids) = encoder.token_ids(text, Role::Query) else { continue };
        assert_eq!(encoder.token_ids(text, Role::Query).ok(), Some(ids), "a text has the same tokens each time");
        if let Ok(encodings) = encoder.encode(&[EncodeInput::new(text, Role::Plain)]) {
            assert!(encodings.iter().all(|encoding| encoding.vector.len() == encoder.dimension()));
        }
    }
    true
}
