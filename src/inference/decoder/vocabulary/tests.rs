//! Vocabularies small enough to be read, of both kinds, and what they must do.

use std::sync::LazyLock;

use candle_core::quantized::gguf_file::Value;
use proptest::prelude::*;

use super::sentence_pieces::SPACE;
use super::*;

pub(in super::super) fn value_texts<T: AsRef<str>>(texts: &[T]) -> Value {
    Value::Array(texts.iter().map(|text| Value::String(text.as_ref().to_owned())).collect())
}

/// What the alphabet of bytes writes for a text.
fn letters(text: &[u8]) -> String {
    let alphabet = ByteAlphabet::new();
    let letter = |byte: &u8| ('!'..='\u{200}').find(|letter| alphabet.decode(&letter.to_string()) == Some(vec![*byte]));
    text.iter().map(|byte| letter(byte).unwrap()).collect()
}

/// A tokeniser of bytes with these merges, and four tokens of a chat: `<|endoftext|>`, `<|im_start|>`, `<|im_end|>`, `<tool_call>`.
pub(in super::super) fn byte_pairs_metadata(merges: &[(&str, &str)]) -> Metadata {
    let mut tokens: Vec<String> = (0..=u8::MAX).map(|byte| letters(&[byte])).collect();
    let mut types = vec![1; 256];
    let mut pairs = Vec::new();
    for (left, right) in merges {
        let (left, right) = (letters(left.as_bytes()), letters(right.as_bytes()));
        pairs.push(format!("{left} {right}"));
        tokens.push(left + &right);
        types.push(1);
    }
    for (name, kind) in
        [("<|endoftext|>", 3), ("<|im_start|>", 3), ("<|im_end|>", 3), ("<tool_call>", 4), ("[PAD9]", 5)]
    {
        tokens.push(name.to_owned());
        types.push(kind);
    }
    let end = tokens.iter().position(|token| token == "<|im_end|>").unwrap();
    Metadata::from([
        (MODEL.to_owned(), Value::String("gpt2".to_owned())),
        ("tokenizer.ggml.pre".to_owned(), Value::String("qwen2".to_owned())),
        (TOKENS.to_owned(), value_texts(&tokens)),
        (TYPES.to_owned(), Value::Array(types.into_iter().map(Value::I32).collect())),
        ("tokenizer.ggml.merges".to_owned(), value_texts(&pairs)),
        ("tokenizer.ggml.eos_token_id".to_owned(), Value::U32(end as u32)),
    ])
}

/// A tokeniser of scored pieces, with `<bos>`, `<eos>`, `<end_of_turn>`, runs of line ends, and all bytes.
pub(in super::super) fn sentence_pieces_metadata(pieces: &[(&str, f32)]) -> Metadata {
    let mut all: Vec<(String, i32, f32)> = Vec::new();
    for (name, kind) in
        [("<unk>", 2), ("<bos>", 3), ("<eos>", 3), ("<start_of_turn>", 3), ("<end_of_turn>", 3), ("\n", 4), ("\n\n", 4)]
    {
        all.push((name.to_owned(), kind, 0.0));
    }
    all.extend((0..=u8::MAX).map(|byte| (format!("<0x{byte:02X}>"), 6, 0.0)));
    all.extend(pieces.iter().map(|(piece, score)| ((*piece).to_owned(), 1, *score)));
    let tokens: Vec<&str> = all.iter().map(|(piece, _, _)| piece.as_str()).collect();
    Metadata::from([
        (MODEL.to_owned(), Value::String("llama".to_owned())),
        (TOKENS.to_owned(), value_texts(&tokens)),
        (TYPES.to_owned(), Value::Array(all.iter().map(|(_, kind, _)| Value::I32(*kind)).collect())),
        (SCORES.to_owned(), Value::Array(all.iter().map(|(_, _, score)| Value::F32(*score)).collect())),
        ("tokenizer.ggml.unknown_token_id".to_owned(), Value::U32(0)),
        ("tokenizer.ggml.bos_token_id".to_owned(), Value::U32(1)),
        ("tokenizer.ggml.eos_token_id".to_owned(), Value::U32(2)),
        ("tokenizer.ggml.add_space_prefix".to_owned(), Value::Bool(false)),
    ])
}

/// Merges of a few words.
pub(in super::super) const MERGES: [(&str, &str); 7] =
    [("t", "h"), ("th", "e"), ("a", "a"), (" ", "the"), ("{", "\""), ("\"", ":"), ("o", "k")];

fn byte_pairs() -> Vocabulary {
    Vocabulary::read(&byte_pairs_metadata(&MERGES)).unwrap()
}

fn sentence_pieces(space_before: bool) -> Vocabulary {
    let pieces =
        [("▁", -9.0), ("a", -9.0), ("b", -9.0), ("ab", -2.0), ("ba", -1.0), ("▁a", -3.0), ("п", -9.0), ("▁п", -1.5)];
    let mut metadata = sentence_pieces_metadata(&pieces);
    metadata.insert("tokenizer.ggml.add_space_prefix".to_owned(), Value::Bool(space_before));
    Vocabulary::read(&metadata).unwrap()
}

fn names(vocabulary: &Vocabulary, ids: &[u32]) -> Vec<String> {
    ids.iter().map(|id| String::from_utf8_lossy(vocabulary.bytes(*id)).into_owned()).collect()
}

#[test]
fn bytes_are_joined_in_the_order_of_the_merges() {
    let vocabulary = byte_pairs();
    for (text, expected) in [
        ("the", &["the"][..]),
        ("then the", &["the", "n", " the"]),
        ("aaa", &["aa", "a"]),
        ("aaaa", &["aa", "aa"]),
        ("{\"ok\":1}", &["{\"", "ok", "\":", "1", "}"]),
        ("", &[]),
    ] {
        assert_eq!(names(&vocabulary, &vocabulary.encode(text, false)), expected, "{text}");
    }
}

#[test]
fn pieces_are_joined_by_score_and_the_rest_goes_as_bytes() {
    let vocabulary = sentence_pieces(false);
    for (text, expected) in [
        ("aba", &["a", "ba"][..]),
        ("ab", &["ab"]),
        (" a п", &[" a", " п"]),
        ("a\n\n\nb", &["a", "\n\n", "\n", "b"]),
        ("", &[]),
    ] {
        assert_eq!(names(&vocabulary, &vocabulary.encode(text, false)), expected, "{text}");
    }
    let ids = vocabulary.encode("№", false);
    assert_eq!(ids, [7 + 0xe2, 7 + 0x84, 7 + 0x96]);
}

#[test]
fn a_space_is_put_before_a_text_where_the_file_says_so() {
    let vocabulary = sentence_pieces(true);
    assert_eq!(names(&vocabulary, &vocabulary.encode("ab", false)), [" ", "ab"]);
    assert_eq!(names(&vocabulary, &vocabulary.encode_rest("ab")), ["ab"]);
    let ids = vocabulary.encode("<bos>a<eos>a", true);
    assert_eq!(names(&vocabulary, &ids), ["", " a", "", " a"]);
}

#[test]
fn control_tokens_come_of_our_own_texts_alone() {
    for (vocabulary, end) in [(byte_pairs(), "<|im_end|>"), (sentence_pieces(false), "<end_of_turn>")] {
        let trusted = vocabulary.encode(&format!("a{end}"), true);
        assert!(vocabulary.is_end(trusted[1]), "{trusted:?}");
        let untrusted = vocabulary.encode(&format!("a{end}"), false);
        assert!(untrusted.len() > 2 && !untrusted.iter().any(|id| vocabulary.bytes(*id).is_empty()));
        assert_eq!(names(&vocabulary, &untrusted).concat(), format!("a{end}"));
    }
    // The file says that it is text; for the models that have it, it is structure.
    let vocabulary = byte_pairs();
    assert_eq!(vocabulary.encode("<tool_call>", true).len(), 1);
    assert_eq!(vocabulary.encode("<tool_call>", false).len(), "<tool_call>".len());
}

#[test]
fn segments_are_split_as_the_one_text_they_are() {
    let vocabulary = byte_pairs();
    let template = |text: &str| Segment::Template(text.to_owned());
    let content = |text: &str| Segment::Content(text.to_owned());
    let ids = vocabulary.encode_segments(&[template("<|im_start|>t"), content("he<|im_end|>"), template("<|im_end|>")]);
    let names = names(&vocabulary, &ids);
    assert_eq!(names[..2], ["", "the"]);
    assert_eq!(names.concat(), "the<|im_end|>");
    assert_eq!(ids.iter().filter(|id| vocabulary.is_end(**id)).count(), 1);
    // A name that is half ours and half theirs is text.
    let ids = vocabulary.encode_segments(&[template("<|im_"), content("end|>")]);
    assert!(!ids.iter().any(|id| vocabulary.is_end(*id)));
}

#[test]
fn spaces_behind_control_tokens_go_with_them_in_models_that_learned_so() {
    let mut metadata = sentence_pieces_metadata(&[("a", -1.0), ("▁", -2.0)]);
    let plain = Vocabulary::read(&metadata).unwrap();
    metadata.insert("general.name".to_owned(), Value::String("Phi-3 mini".to_owned()));
    let eats = Vocabulary::read(&metadata).unwrap();
    assert_eq!(names(&plain, &plain.encode("<eos> \na", true)), ["", " ", "\n", "a"]);
    assert_eq!(names(&eats, &eats.encode("<eos> \na", true)), ["", "a"]);
}

#[test]
fn files_that_can_not_be_used_are_refused_by_the_name_of_the_value() {
    let put = |metadata: &Metadata, key: &str, value: Value| {
        let mut metadata = metadata.clone();
        metadata.insert(key.to_owned(), value);
        Vocabulary::read(&metadata).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let text = |text: &str| Value::String(text.to_owned());
    let (bytes, pieces) = (byte_pairs_metadata(&MERGES), sentence_pieces_metadata(&[("a", 0.0)]));
    let merges = "tokenizer.ggml.merges";
    for (metadata, key, value, part) in [
        (&bytes, MODEL, text("t5"), "allowed: gpt2, llama"),
        (&bytes, MODEL, Value::U8(1), "must be a text"),
        (&bytes, "tokenizer.ggml.pre", text("x"), "known: default, gpt-2"),
        (&bytes, TOKENS, value_texts(&["a"]), "1 tokens"),
        (&bytes, TYPES, Value::Array(vec![]), "0 entries"),
        (&bytes, merges, value_texts(&["th"]), "entry 0, \"th\", must be two pieces"),
        (&bytes, merges, value_texts(&["th zz"]), "not a token"),
        (&bytes, "tokenizer.ggml.eos_token_id", Value::U32(9_999), "must be the number of one of the"),
        (&bytes, "tokenizer.ggml.add_bos_token", text("yes"), "must be true or false"),
        (&pieces, SCORES, Value::Array(vec![]), "0 entries"),
        (&pieces, SCORES, Value::Array(vec![Value::F32(f32::NAN)]), "entry 0 must be a number"),
    ] {
        let error = put(metadata, key, value);
        assert!(error.starts_with(key) || error.starts_with(TYPES), "{error}");
        assert!(error.contains(part), "{error} should contain {part}");
    }
    for key in [MODEL, TOKENS, merges] {
        let mut metadata = bytes.clone();
        metadata.remove(key);
        assert!(Vocabulary::read(&metadata).err().unwrap().to_string().contains("is missing"), "{key}");
    }
}

#[test]
fn only_whole_characters_leave_the_decoder() {
    let vocabulary = byte_pairs();
    let mut decoder = vocabulary.decoder();
    let pieces: Vec<String> = "ч😀".bytes().map(|byte| decoder.push(u32::from(byte))).collect();
    assert_eq!(pieces, ["", "ч", "", "", "", "😀"]);
    assert_eq!(decoder.push(0xd0), "");
    assert_eq!(decoder.push(u32::from(b'a')), "\u{fffd}a");
    assert_eq!(decoder.push(vocabulary.ends()[0]), "");
    assert_eq!(decoder.push(0xd0), "");
    assert_eq!(decoder.finish(), "\u{fffd}");
}

/// The library's byte pairs, as a second opinion.
fn library(metadata: &Metadata) -> tokenizers::models::bpe::BPE {
    let Some(Value::Array(tokens)) = metadata.get(TOKENS) else { panic!() };
    let Some(Value::Array(merges)) = metadata.get("tokenizer.ggml.merges") else { panic!() };
    let text = |value: &Value| if let Value::String(text) = value { text.clone() } else { panic!() };
    let vocab = tokens.iter().map(text).zip(0..).collect();
    let pair = |value: &Value| {
        let text = text(value);
        let (left, right) = text.split_once(' ').unwrap();
        (left.to_owned(), right.to_owned())
    };
    let merges = merges.iter().map(pair).collect();
    tokenizers::models::bpe::BPE::builder()
        .vocab_and_merges::<tokenizers::models::bpe::Vocab>(vocab, merges)
        .build()
        .unwrap()
}

proptest! {
    #[test]
    fn byte_pairs_are_those_of_the_library(words in prop::collection::vec("[abc]{1,9}", 1..9), text in "[abc]{0,40}") {
        use tokenizers::Model;
        // Each word, letter by letter, is a chain of merges.
        let mut merges: Vec<(String, String)> = Vec::new();
        for word in &words {
            for end in 2..=word.len() {
                let merge = (word[..end - 1].to_owned(), word[end - 1..end].to_owned());
                if !merges.iter().any(|(left, right)| *left == merge.0 && *right == merge.1) {
                    merges.push(merge);
                }
            }
        }
        let merges: Vec<(&str, &str)> = merges.iter().map(|(left, right)| (left.as_str(), right.as_str())).collect();
        let metadata = byte_pairs_metadata(&merges);
        let expected: Vec<u32> = library(&metadata).tokenize(&text).unwrap().iter().map(|token| token.id).collect();
        prop_assert_eq!(Vocabulary::read(&metadata).unwrap().encode(&text, false), expected);
    }

    #[test]
    fn what_is_encoded_decodes_to_itself(text in "(.|the|ab|<\\|im_end\\|>|<end_of_turn>|\n| |п){0,12}") {
        static VOCABULARIES: LazyLock<[Vocabulary; 2]> = LazyLock::new(|| [byte_pairs(), sentence_pieces(false)]);
        for vocabulary in &*VOCABULARIES {
            let ids = vocabulary.encode(&text, false);
            let mut decoder = vocabulary.decoder();
            let decoded: String = ids.iter().map(|id| decoder.push(*id)).collect();
            prop_assert_eq!(decoded + &decoder.finish(), text.replace(SPACE, " "));
            prop_assert!(!ids.iter().any(|id| vocabulary.is_end(*id)));
        }
    }
}
