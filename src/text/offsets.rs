//! Characters to bytes and back.

use crate::feedback::CharSpan;

/// Where each character of a text starts, in bytes.
#[derive(Debug, Clone)]
pub(super) struct CharTable {
    /// One entry a character, and one for the end of the text.
    bytes: Vec<u32>,
}

impl CharTable {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = Vec::with_capacity(text.len() / 2 + 1);
        bytes.extend(text.char_indices().map(|(byte, _)| count(byte)));
        bytes.push(count(text.len()));
        Self { bytes }
    }

    /// The part of `text` under `span`; what lies past the end is left out.
    pub(super) fn slice<'t>(&self, text: &'t str, span: CharSpan) -> &'t str {
        text.get(self.byte(span.start)..self.byte(span.end)).unwrap_or_default()
    }

    /// The span of characters under a range of bytes that starts and ends between characters.
    pub(super) fn span(&self, start: usize, end: usize) -> CharSpan {
        CharSpan::new(self.character(start), self.character(end))
    }

    fn byte(&self, character: u32) -> usize {
        self.bytes.get(character as usize).or(self.bytes.last()).map_or(0, |byte| *byte as usize)
    }

    fn character(&self, byte: usize) -> u32 {
        count(self.bytes.partition_point(|start| (*start as usize) < byte))
    }
}

/// A length as an offset; no text that the service accepts comes near the limit.
pub(super) fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_characters_agree() {
        let text = "Ёж 🦔 ok";
        let table = CharTable::new(text);
        for start in 0..=7 {
            for end in start..=7 {
                let span = CharSpan::new(start, end);
                assert_eq!(table.slice(text, span), span.slice(text), "{span:?}");
            }
        }
        let hedgehog = text.find('🦔').unwrap();
        assert_eq!(table.span(hedgehog, hedgehog + '🦔'.len_utf8()), CharSpan::new(3, 4));
        assert_eq!(table.slice(text, CharSpan::new(5, 900)), "ok".get(0..).unwrap());
        assert_eq!(table.slice("", CharSpan::new(5, 900)), "");
    }
}
