//! A conversation read for its note: each turn with its sentences, and with placeholders that mean the same in all of them.

use super::super::masked::{Hidden, MaskedText, hidden};
use super::super::reading::Reading;
use super::card::NotePlace;
use crate::feedback::{Body, CharSpan, Speaker};
use crate::text::{MaskedKind, prepare};

/// One turn.
pub(super) struct Said {
    /// Index of the turn; `None` for a plain text.
    pub(super) turn: Option<u32>,
    pub(super) speaker: Speaker,
    pub(super) reading: Reading,
    pub(super) masked: MaskedText,
}

impl Said {
    pub(super) fn is_ours(&self) -> bool {
        self.speaker != Speaker::Customer
    }

    /// Where a span of the clean text stands.
    pub(super) fn place(&self, span: CharSpan) -> NotePlace {
        NotePlace { turn: self.turn, span: self.reading.original(span) }
    }

    /// The words under a span of the clean text, masked and on one line.
    pub(super) fn words(&self, span: CharSpan) -> String {
        self.words_at(self.reading.original(span))
    }

    /// The words under a span of the text as given, masked and on one line.
    pub(super) fn words_at(&self, span: CharSpan) -> String {
        let words = self.masked.under(span);
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A conversation; a plain text is one turn of the customer.
pub(super) struct Talk {
    pub(super) said: Vec<Said>,
}

impl Talk {
    pub(super) fn of(body: &Body) -> Self {
        let turns: Vec<(Option<u32>, Speaker, &str)> = match body {
            Body::Text(text) => vec![(None, Speaker::Customer, text)],
            Body::Turns(turns) => {
                (0_u32..).zip(turns).map(|(at, turn)| (Some(at), turn.speaker, turn.text.as_str())).collect()
            }
        };
        let texts: Vec<&str> = turns.iter().map(|(_, _, text)| *text).collect();
        let mut jointly = hidden_jointly(&texts).into_iter();
        let said = turns.into_iter().map(|(turn, speaker, text)| {
            let masked = MaskedText::hiding(text, &jointly.next().unwrap_or_default());
            Said { turn, speaker, reading: Reading::new(text), masked }
        });
        Self { said: said.collect() }
    }

    /// The turns of the operator and of the service itself, with their positions.
    pub(super) fn ours(&self) -> impl Iterator<Item = (usize, &Said)> {
        self.said.iter().enumerate().filter(|(_, said)| said.is_ours())
    }

    /// The turns of the customer, with their positions.
    pub(super) fn customers(&self) -> impl DoubleEndedIterator<Item = (usize, &Said)> {
        self.said.iter().enumerate().filter(|(_, said)| !said.is_ours())
    }
}

/// Stands between turns while they are masked together: what is on both sides of it belongs to different things.
const BETWEEN: &str = "\n.\n";

/// Personal data of each text: found in all of them read as one, so that a name once told is known later, or in the text alone.
fn hidden_jointly(texts: &[&str]) -> Vec<Vec<Hidden>> {
    let mut starts = Vec::with_capacity(texts.len());
    let (mut joined, mut length) = (String::new(), 0_u32);
    for text in texts {
        starts.push(length);
        joined.push_str(text);
        joined.push_str(BETWEEN);
        let chars = text.chars().count() + BETWEEN.chars().count();
        length = length.saturating_add(u32::try_from(chars).unwrap_or(u32::MAX));
    }
    let mut found: Vec<Vec<Hidden>> = texts.iter().map(|_| Vec::new()).collect();
    let mut used: Vec<(MaskedKind, String)> = Vec::new();
    for place in hidden(&prepare(&joined)) {
        let at = starts.partition_point(|start| *start <= place.span.start).saturating_sub(1);
        if let (Some(list), Some(start)) = (found.get_mut(at), starts.get(at)) {
            let span = CharSpan::new(place.span.start - start, place.span.end - start);
            used.push((place.kind, place.placeholder.clone()));
            list.push(Hidden { span, ..place });
        }
    }
    for (text, list) in texts.iter().zip(&mut found) {
        for place in hidden(&prepare(text)) {
            if list.iter().any(|known| known.span.overlaps(place.span)) {
                continue;
            }
            let placeholder = free_placeholder(place.kind, &used);
            used.push((place.kind, placeholder.clone()));
            list.push(Hidden { placeholder, ..place });
        }
        list.sort_by_key(|place| place.span);
    }
    found
}

/// A placeholder that stands for nothing yet.
fn free_placeholder(kind: MaskedKind, used: &[(MaskedKind, String)]) -> String {
    // Among one more than are taken, one is free.
    let mut numbered = (1..=used.len() + 1).map(|number| format!("[{kind}_{number}]"));
    let free = numbered.find(|candidate| !used.iter().any(|(_, known)| known == candidate));
    free.unwrap_or_else(|| format!("[{kind}]"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feedback::Turn;

    #[test]
    fn a_name_once_told_is_masked_everywhere_and_stands_for_one_person() {
        let turn = |speaker, text: &str| Turn { speaker, text: text.into(), offset_ms: None };
        let talk = Talk::of(&Body::Turns(vec![
            turn(Speaker::Customer, "Меня зовут Зарема, карта не работает"),
            turn(Speaker::Operator, "Меня зовут Пётр. Зарема, проверю. Наш телефон 8 900 123-45-67"),
            turn(Speaker::Customer, "Мой 8 900 765-43-21"),
        ]));
        let texts: Vec<String> = talk.said.iter().map(|said| said.masked.text()).collect();
        assert_eq!(texts[0], "Меня зовут [NAME_1], карта не работает");
        assert_eq!(texts[1], "Меня зовут [NAME_2]. [NAME_1], проверю. Наш телефон [PHONE_1]");
        assert_eq!(texts[2], "Мой [PHONE_2]");
    }
}
