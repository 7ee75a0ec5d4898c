//! A text as somebody wrote it, with placeholders for personal data, and the way back to the original.

use crate::feedback::CharSpan;
use crate::text::{MaskedKind, Prepared, is_invisible, prepare};

/// One place of personal data in an original text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden {
    pub(crate) span: CharSpan,
    pub(crate) kind: MaskedKind,
    pub(crate) placeholder: String,
}

/// Where personal data stands in the original of a prepared text, in order.
pub(crate) fn hidden(prepared: &Prepared) -> Vec<Hidden> {
    let mut found: Vec<Hidden> = Vec::new();
    for item in prepared.masked_items() {
        for span in item.spans() {
            let span = prepared.to_original(*span);
            found.push(Hidden { span, kind: item.kind(), placeholder: item.placeholder().to_owned() });
        }
    }
    found.sort_by_key(|one| one.span);
    found
}

/// A text as it stands, but for placeholders, each character with its place in the original.
#[derive(Debug, Clone)]
pub(crate) struct MaskedText {
    characters: Vec<(char, CharSpan)>,
}

impl MaskedText {
    /// Masks a text.
    pub(crate) fn of(text: &str) -> Self {
        Self::hiding(text, &hidden(&prepare(text)))
    }

    /// Masks these places of a text; they are in order.
    pub(crate) fn hiding(text: &str, places: &[Hidden]) -> Self {
        let mut characters = Vec::with_capacity(text.len());
        let mut places = places.iter().peekable();
        let mut hidden_until = 0;
        for (at, character) in (0_u32..).zip(text.chars()) {
            while let Some(place) = places.next_if(|place| place.span.start <= at) {
                characters.extend(place.placeholder.chars().map(|c| (c, place.span)));
                hidden_until = place.span.end.max(hidden_until);
            }
            if at >= hidden_until {
                characters.push((character, CharSpan::new(at, at + 1)));
            }
        }
        Self { characters }
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        self.characters.iter().map(|(character, _)| *character).collect()
    }

    /// What stands under a span of the original.
    pub(crate) fn under(&self, span: CharSpan) -> String {
        let inside = self.characters.iter().filter(|(_, origin)| origin.overlaps(span));
        inside.map(|(character, _)| *character).collect()
    }

    /// Where a quotation stands, as a span of the original. Letters and digits must agree, whole words of them; case, punctuation and
    /// spaces need not. A quotation without a letter or digit stands nowhere.
    pub(crate) fn find(&self, quote: &str) -> Option<CharSpan> {
        let folded_quote = folded(quote.chars());
        if folded_quote.trim().is_empty() {
            return None;
        }
        let (mut text, mut origins) = (String::from(" "), vec![CharSpan::new(0, 0)]);
        for (character, origin) in &self.characters {
            let character = fold(*character);
            if character != ' ' || !text.ends_with(' ') {
                text.push(character);
                origins.push(*origin);
            }
        }
        if !text.ends_with(' ') {
            text.push(' ');
        }
        let at = text.find(&folded_quote)?;
        let first = text.get(..at)?.chars().count() + 1;
        let last = first + folded_quote.trim().chars().count() - 1;
        Some(CharSpan::new(origins.get(first)?.start, origins.get(last)?.end))
    }
}

/// A text masked as it stands, but for what no reader sees: nobody sends on what is hidden in it.
pub(crate) fn masked(text: &str) -> String {
    let seen: String = text.chars().filter(|character| !is_invisible(*character)).collect();
    MaskedText::of(&seen).text()
}

/// Words of letters and digits, in lower case, with one space before, between and after them.
pub(crate) fn folded(characters: impl Iterator<Item = char>) -> String {
    let mut text = String::from(" ");
    for character in characters.map(fold) {
        if character != ' ' || !text.ends_with(' ') {
            text.push(character);
        }
    }
    if !text.ends_with(' ') {
        text.push(' ');
    }
    text
}

fn fold(character: char) -> char {
    match character {
        'ё' | 'Ё' => 'е',
        c if c.is_alphanumeric() => c.to_lowercase().next().unwrap_or(c),
        _ => ' ',
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_keeps_its_form_and_loses_personal_data() {
        let text = "Меня зовут  Ольга.\n\nТел. 8 900 123-45-67, жду!!!!!!";
        assert_eq!(masked(text), "Меня зовут  [NAME_1].\n\nТел. [PHONE_1], жду!!!!!!");
        assert_eq!(masked("Спасибо\u{e0046}\u{200b}!"), "Спасибо!");
        let whole = MaskedText::of(text);
        assert_eq!(whole.under(CharSpan::new(14, 15)), "[NAME_1]", "part of a name is all of it");
    }

    #[test]
    fn a_quotation_is_found_whatever_its_punctuation_and_by_whole_words() {
        let text = "Хорошо.  Вернём «комиссию» завтра,\nдо 18:00 — обещаю. Звоните 8 900 123-45-67";
        let whole = MaskedText::of(text);
        let found = |quote: &str| whole.find(quote).map(|span| span.slice(text).to_owned());
        assert_eq!(found("вернем комиссию завтра до 18 00").as_deref(), Some("Вернём «комиссию» завтра,\nдо 18:00"));
        assert_eq!(found("Звоните [PHONE_1]").as_deref(), Some("Звоните 8 900 123-45-67"));
        assert_eq!(found("Хорошо").as_deref(), Some("Хорошо"));
        for none in ["ернём комиссию", "вернём комиссию послезавтра", "", "...", "Вернём 5000"]
        {
            assert_eq!(found(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn words_of_a_text_are_found_in_it(text in "[а-яa-z ,.]{0,60}", from in 0_usize..8, count in 1_usize..5) {
            let words: Vec<&str> = text.split([' ', ',', '.']).filter(|word| !word.is_empty()).collect();
            let quote = words.iter().skip(from).take(count).copied().collect::<Vec<_>>().join(" ");
            let whole = MaskedText::hiding(&text, &[]);
            let found = whole.find(&quote).map(|span| folded(span.slice(&text).chars()));
            prop_assert_eq!(found, (!quote.is_empty()).then(|| folded(quote.chars())));
        }
    }
}
