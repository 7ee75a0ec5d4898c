//! What the encoder made of a text, packed to be kept beside a case and unpacked to be judged again.
//!
//! Enters: a document and its encodings. Leaves: bytes; and of them, with the masked text and the vector that the store has anyway, the
//! same document with the same encodings, its vectors rounded to 16 bits. Never here: the original text, what was masked in it,
//! judgements.
//!
//! The bytes: a version, what kind of document, the texts (turn, speaker, language, length, sentences, placeholders, and what leads back
//! to the original), the voices (tokens, vectors). Numbers are in LEB128, vectors in little-endian 16-bit floats.

mod bytes;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Packer, Unpacker};

use super::document::{Document, DocumentText, Wariness};
use crate::cases::CaseReading;
use crate::feedback::Speaker;
use crate::inference::Encoding;
use crate::tags::Language;
use crate::text::{Origins, Prepared};

/// Version of the packed form.
const FORMAT: u8 = 1;

/// What the encoder made of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    encoder_sha256: String,
    bytes: Vec<u8>,
}

impl Reading {
    /// Packs it. The vector of the whole text is left out where it is no longer than `dimension`: the store has it.
    pub(super) fn pack(document: &Document, encodings: &[Encoding], dimension: usize, encoder_sha256: &str) -> Self {
        let mut out = Packer(vec![
            FORMAT,
            u8::from(document.is_transcript) | u8::from(document.wariness == Wariness::Strict) << 1,
        ]);
        out.number(document.texts.len() as u64);
        for text in &document.texts {
            let origins = text.prepared.origins();
            out.number(text.turn.map_or(0, |turn| u64::from(turn) + 1));
            out.byte(place(Speaker::ALL, text.speaker));
            out.byte(place(Language::ALL, origins.language));
            out.number(text.prepared.clean().len() as u64);
            out.spans(&origins.sentences);
            out.spans(&origins.placeholders);
            out.origins(&origins.characters);
        }
        out.number(encodings.len() as u64);
        for (index, encoding) in encodings.iter().enumerate() {
            out.number(encoding.tokens as u64);
            out.byte(u8::from(encoding.truncated));
            let is_stored = index == 0 && encoding.vector.len() == dimension;
            out.vector(Some(&encoding.vector).filter(|_| !is_stored).map(Vec::as_slice));
            out.number(encoding.span_vectors.len() as u64);
            encoding.span_vectors.iter().for_each(|vector| out.vector(vector.as_deref()));
        }
        Self { encoder_sha256: encoder_sha256.to_owned(), bytes: out.0 }
    }

    /// How it is kept beside a case.
    pub fn to_case(&self) -> CaseReading {
        CaseReading { encoder_sha256: self.encoder_sha256.clone(), packed: STANDARD_NO_PAD.encode(&self.bytes) }
    }

    /// Bytes of it beside a case.
    pub fn kept_bytes(&self) -> usize {
        self.bytes.len().div_ceil(3) * 4
    }
}

/// The document and the encodings of a case's text; `None` if what is kept is not of this text, of this length of vectors at the
/// least, or of a form that this version reads.
pub(super) fn unpack(
    packed: &str,
    masked_text: &str,
    vector: &[f32],
    least_length: usize,
) -> Option<(Document, Vec<Encoding>)> {
    let bytes = STANDARD_NO_PAD.decode(packed).ok()?;
    let mut rest = Unpacker(&bytes);
    let (format, kind) = (rest.byte()?, rest.byte()?);
    if format != FORMAT || kind > 3 {
        return None;
    }
    let is_transcript = kind & 1 == 1;
    let wariness = if kind & 2 == 2 { Wariness::Strict } else { Wariness::Usual };
    let mut left = masked_text;
    let mut texts = Vec::new();
    for index in 0..rest.number()? {
        let turn = rest.number()?;
        let turn = turn.checked_sub(1).map(u32::try_from).transpose().ok()?;
        let speaker = *Speaker::ALL.get(usize::from(rest.byte()?))?;
        let language = *Language::ALL.get(usize::from(rest.byte()?))?;
        let length = usize::try_from(rest.number()?).ok()?;
        let (sentences, placeholders) = (rest.spans()?, rest.spans()?);
        let characters = rest.origins(length)?;
        if index > 0 {
            left = left.strip_prefix('\n')?;
        }
        if turn.is_some() {
            left = left.strip_prefix(speaker.as_str())?.strip_prefix(": ")?;
        }
        let (clean, after) = left.split_at_checked(length)?;
        left = after;
        let origins = Origins { language, sentences, placeholders, characters };
        texts.push(DocumentText::of(turn, speaker, Prepared::restored(clean.to_owned(), origins)?, wariness));
    }
    if !left.is_empty() {
        return None;
    }
    let document = Document::of(texts, is_transcript, wariness);
    let mut encodings = Vec::new();
    for index in 0..rest.number()? {
        let tokens = usize::try_from(rest.number()?).ok()?;
        let truncated = rest.byte()? == 1;
        let whole = match rest.vector()? {
            None if index == 0 => vector.to_vec(),
            None => return None,
            Some(whole) => whole,
        };
        let spans = rest.number()?;
        let span_vectors = (0..spans).map(|_| rest.vector()).collect::<Option<Vec<_>>>()?;
        let long_enough = |vector: &Vec<f32>| vector.len() >= least_length;
        if !long_enough(&whole) || !span_vectors.iter().flatten().all(long_enough) {
            return None;
        }
        encodings.push(Encoding { vector: whole, span_vectors, tokens, truncated });
    }
    let voices = document.voices.iter().map(|voice| voice.sentences.len());
    let fits = rest.0.is_empty() && voices.eq(encodings.iter().map(|encoding| encoding.span_vectors.len()));
    fits.then_some((document, encodings))
}

fn place<T: PartialEq>(all: &[T], one: T) -> u8 {
    // The lists are short.
    all.iter().position(|known| *known == one).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::prelude::*;

    use super::*;
    use crate::feedback::{Body, Feedback, Turn};

    const DIMENSION: usize = 4;

    fn vector(seed: usize) -> Vec<f32> {
        (0..DIMENSION).map(|at| f16::from_f32(((seed * 7 + at * 3) % 11) as f32 / 11.0 - 0.5).to_f32()).collect()
    }

    fn encodings(document: &Document) -> Vec<Encoding> {
        let of_voice = |(at, voice): (usize, &super::super::document::Voice)| Encoding {
            vector: vector(at),
            span_vectors: (0..voice.sentences.len()).map(|index| (index % 3 != 2).then(|| vector(index + 1))).collect(),
            tokens: 300 + at,
            truncated: at == 1,
        };
        document.voices.iter().enumerate().map(of_voice).collect()
    }

    fn check(feedback: &Feedback) {
        [Wariness::Usual, Wariness::Strict].into_iter().for_each(|wariness| check_read(feedback, wariness));
    }

    fn check_read(feedback: &Feedback, wariness: Wariness) {
        let document = Document::new(feedback, wariness);
        let encodings = encodings(&document);
        let masked = document.masked_text();
        let whole = encodings.first().map(|encoding| encoding.vector.clone()).unwrap_or_default();
        let kept = Reading::pack(&document, &encodings, DIMENSION, "ab").to_case();
        let (again, same) = unpack(&kept.packed, &masked, &whole, DIMENSION.min(whole.len())).expect("it is whole");
        assert_eq!(same, encodings);
        assert_eq!(
            (again.masked_text(), again.language(), again.has_words()),
            (masked, document.language(), document.has_words())
        );
        assert_eq!((again.is_transcript, again.wariness), (document.is_transcript, wariness));
        for (one, other) in again.texts.iter().zip(&document.texts) {
            assert_eq!((one.turn, one.speaker, &one.lower), (other.turn, other.speaker, &other.lower));
            assert_eq!(one.prepared.origins(), other.prepared.origins());
            assert_eq!(one.prepared.words(), other.prepared.words());
        }
        for (one, other) in again.voices.iter().zip(&document.voices) {
            assert_eq!((&one.text, &one.spans), (&other.text, &other.spans));
        }
    }

    fn turns(turns: &[(Speaker, &str)]) -> Feedback {
        let turn =
            |(speaker, text): &(Speaker, &str)| Turn { speaker: *speaker, text: (*text).to_owned(), offset_ms: None };
        Feedback::new("1", Body::Turns(turns.iter().map(turn).collect()))
    }

    #[test]
    fn a_reading_is_the_same_after_it_was_kept() {
        let long = "Касса не работает третий день. ".repeat(40);
        for text in
            ["", "да", "\u{feff}Меня  зовут Ольга.  Карта\u{a0}не рабоооооотает!!!!! Тел. 8 900 123-45-67.", &long]
        {
            check(&Feedback::from_text("1", text));
        }
        check(&Feedback::from_text("1", "Клиент: карта не работает\nОператор: позвоните в банк\nКлиент: звонил"));
        check(&turns(&[
            (Speaker::Customer, "Мой номер 8 900 123-45-67.\nНе работает!"),
            (Speaker::System, "Оцените ответ"),
            (Speaker::Operator, "Мы решим это до 23:00."),
            (Speaker::Customer, ""),
        ]));
    }

    #[test]
    fn what_does_not_belong_to_the_text_or_is_cut_short_is_none() {
        let document = Document::new(&Feedback::from_text("1", "Карта не работает. Помогите!"), Wariness::Usual);
        let encodings = encodings(&document);
        let (masked, whole) = (document.masked_text(), vector(0));
        let packed = Reading::pack(&document, &encodings, DIMENSION, "ab").to_case().packed;
        assert!(unpack(&packed, &masked, &whole, DIMENSION).is_some());
        assert!(unpack(&packed, "Карта не работает", &whole, DIMENSION).is_none());
        assert!(unpack(&packed, &masked, &whole, DIMENSION + 1).is_none());
        assert!(unpack("", &masked, &whole, DIMENSION).is_none());
        let bytes = STANDARD_NO_PAD.decode(&packed).unwrap();
        for length in 0..bytes.len() {
            let cut = STANDARD_NO_PAD.encode(&bytes[..length]);
            assert!(unpack(&cut, &masked, &whole, DIMENSION).is_none(), "{length} of {}", bytes.len());
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "(\\PC|[ \\n.!?а-яё0-9@+\u{301}]){0,120}") {
            check(&Feedback::from_text("1", text));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let packed = STANDARD_NO_PAD.encode([[FORMAT, 0].as_slice(), bytes.as_slice()].concat());
            let _ = unpack(&packed, "Карта не работает", &vector(0), 0);
        }
    }
}
