//! Makes one text ready for everything behind it: normalised, personal data masked, language known, split into sentences and
//! words.
//!
//! Enters: what a customer or an operator wrote or said. Leaves: [`Prepared`], whose offsets are characters and lead back to
//! the original; and [`parse_transcript`], the turns of a conversation pasted as one text. Never here: models, storage, the
//! network; and nothing that writes a masked value anywhere.

mod instructions;
mod language;
mod letters;
mod links;
mod masking;
mod ngrams;
mod normalise;
mod offsets;
mod sentences;
mod transcript;
mod words;

use crate::feedback::CharSpan;
use crate::tags::Language;

pub(crate) use instructions::{SentenceModel, SentenceParts};
pub use instructions::{ToMachine, goes_on, opens_message, to_machine};
pub use masking::{MaskedItem, MaskedKind};
pub use ngrams::{NgramCounts, NgramSpec};
pub(crate) use ngrams::{Places, ask_for, dampened};
pub(crate) use normalise::is_invisible;
pub use transcript::parse_transcript;
pub use words::Word;

use masking::Masked;
use offsets::{CharTable, count};

/// One text made ready. All offsets are characters of [`Prepared::clean`] unless said otherwise.
#[derive(Debug, Clone)]
pub struct Prepared {
    masked: Masked,
    table: CharTable,
    language: Language,
    sentences: Vec<CharSpan>,
    words: Vec<Word>,
}

/// The words of a text as it stands, neither normalised nor masked: for phrases that are compared with the words of texts.
pub(crate) fn words_as_they_stand(text: &str) -> Vec<Word> {
    words::words(text, &[])
}

/// The words of a text that was masked before; its placeholders are none.
pub(crate) fn words_of_masked(text: &str) -> Vec<Word> {
    words::words(text, &masking::placeholder_spans(text))
}

/// What a clean text does not say of itself, so that a [`Prepared`] can be had of it again without the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origins {
    /// Language of the text.
    pub language: Language,
    /// Its sentences.
    pub sentences: Vec<CharSpan>,
    /// Its placeholders, in order.
    pub placeholders: Vec<CharSpan>,
    /// One span of the original for each character.
    pub characters: Vec<CharSpan>,
}

/// Normalises, masks and splits one text. Takes time linear in its length.
pub fn prepare(original: &str) -> Prepared {
    let masked = masking::mask(normalise::normalise(original), original);
    let characters: Vec<char> = masked.text.chars().collect();
    let links = links::links(&characters);
    let words = words::words(&masked.text, &masked.placeholders);
    Prepared {
        language: language::detect(&masked.text, &words, &links),
        sentences: sentences::sentences(&characters, &words, &links),
        table: CharTable::new(&masked.text),
        words,
        masked,
    }
}

impl Prepared {
    /// The text normalised and with personal data replaced by placeholders: what models and stores see.
    pub fn clean(&self) -> &str {
        &self.masked.text
    }

    /// The language of the whole text.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Sentences in order: they never overlap, none is empty, none starts or ends with white space. Long speech without
    /// punctuation is cut into pieces of about 15 to 25 words. Only a text without any words or signs has none.
    pub fn sentences(&self) -> &[CharSpan] {
        &self.sentences
    }

    /// Words in order; placeholders are none.
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// What leads back to the original, and what was found when it was there.
    pub(crate) fn origins(&self) -> Origins {
        Origins {
            language: self.language,
            sentences: self.sentences.clone(),
            placeholders: self.masked.placeholders.clone(),
            characters: self.masked.origin.clone(),
        }
    }

    /// A text made ready before, from its clean form and its origins; what was masked in it is not known any more. `None` if they do
    /// not belong together.
    pub(crate) fn restored(clean: String, origins: Origins) -> Option<Self> {
        let Origins { language, sentences, placeholders, characters: origin } = origins;
        let length = count(clean.chars().count());
        let fits = |spans: &[CharSpan]| {
            spans.last().is_none_or(|last| last.end <= length) && spans.is_sorted_by(|one, next| one.end <= next.start)
        };
        if count(origin.len()) != length || !fits(&sentences) || !fits(&placeholders) {
            return None;
        }
        let words = words::words(&clean, &placeholders);
        let table = CharTable::new(&clean);
        let masked = Masked { text: clean, origin, items: Vec::new(), placeholders };
        Some(Self { language, sentences, table, words, masked })
    }

    /// The part of [`Prepared::clean`] under `span`; what lies past its end is left out.
    pub fn sentence_text(&self, span: CharSpan) -> &str {
        self.table.slice(self.clean(), span)
    }

    /// Where a span of the clean text stands in the original; a span that touches a placeholder covers all of what it hides.
    pub fn to_original(&self, span: CharSpan) -> CharSpan {
        normalise::original_span(&self.masked.origin, span)
    }

    /// What was masked, one item a placeholder, in order of first appearance.
    pub fn masked_items(&self) -> &[MaskedItem] {
        &self.masked.items
    }

    /// `text` with this text's placeholders replaced by what they hide; placeholders of other texts stay.
    pub fn unmask(&self, text: &str) -> String {
        masking::unmask(&self.masked.items, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_normalised_masked_and_split_with_offsets_of_the_original() {
        let original = "\u{feff}Меня  зовут Ольга.  Карта\u{a0}не рабоооооотает!!!!! Тел. 8 900 123-45-67.";
        let prepared = prepare(original);
        assert_eq!(prepared.clean(), "Меня зовут [NAME_1]. Карта не рабооотает!!! Тел. [PHONE_1].");
        assert_eq!(prepared.language(), Language::Russian);
        let sentences: Vec<&str> = prepared.sentences().iter().map(|span| prepared.sentence_text(*span)).collect();
        assert_eq!(sentences, ["Меня зовут [NAME_1].", "Карта не рабооотает!!!", "Тел. [PHONE_1]."]);
        let sources: Vec<&str> =
            prepared.sentences().iter().map(|span| prepared.to_original(*span).slice(original)).collect();
        assert_eq!(sources, ["Меня  зовут Ольга.", "Карта\u{a0}не рабоооооотает!!!!!", "Тел. 8 900 123-45-67."]);
        let words: Vec<&str> = prepared.words().iter().map(|word| word.lower.as_str()).collect();
        assert_eq!(words, ["меня", "зовут", "карта", "не", "рабооотает", "тел"]);
        assert_eq!(prepared.unmask("[NAME_1], спасибо"), "Ольга, спасибо");
    }

    #[test]
    fn an_empty_text_is_prepared_too() {
        for original in ["", " \n\t ", "\u{200b}"] {
            let prepared = prepare(original);
            assert_eq!((prepared.clean(), prepared.language()), ("", Language::Unknown));
            assert!(prepared.sentences().is_empty() && prepared.words().is_empty());
            assert_eq!(prepared.to_original(CharSpan::new(0, 5)).len(), 0);
        }
    }

    /// Texts made to send a careless scanner back over what it has read. Quadratic work on them takes minutes, which is seen.
    #[test]
    fn hostile_texts_come_through() {
        let seeds = [
            "а",
            "[",
            "[PHONE_",
            "[PHONE_1",
            "1 ",
            "1",
            "12-",
            "@",
            "a@",
            "a@b.",
            "(",
            ")",
            "()",
            ":",
            "№:",
            ".",
            ". ",
            "...а",
            "т. ",
            "А. ",
            "А.С. ",
            "ул. ",
            "ул. А ",
            "д. ",
            "Иван ",
            "меня зовут ",
            "паспорт № ",
            "договор № ",
            "слово ",
            "e\u{301}",
            "\u{301}",
            "\u{200b}",
            " ",
            "\n",
            "\n\n1. а",
            "«",
            "\"",
            "😀",
            "http://",
            "a.b/",
            "8 900 123 45 67 ",
            "Клиент: да\n",
            "-",
            "-а",
            "1) а ",
            "с уважением, ",
            "ъ ",
            "ё",
            "DE89 ",
            "1 St ",
            "5 A ",
        ];
        for seed in seeds {
            let text: String = seed.chars().cycle().take(100_000).collect();
            let prepared = prepare(&text);
            parse_transcript(&text);
            assert!(prepared.clean().len() <= 2 * text.len(), "{seed:?}");
        }
    }
}
