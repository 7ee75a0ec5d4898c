//! Tokens back to text, as they come: only whole characters leave.
//!
//! Enters: token ids. Leaves: pieces of text. Never here: when an answer ends.

use super::Vocabulary;

/// Turns tokens into text. A character whose bytes are spread over tokens leaves with the last of them; bytes that are no
/// character leave as U+FFFD. Control tokens are no text.
pub struct Decoder<'a> {
    vocabulary: &'a Vocabulary,
    held: Vec<u8>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(vocabulary: &'a Vocabulary) -> Self {
        Self { vocabulary, held: Vec::new() }
    }

    /// Text that a token completes; often empty.
    pub fn push(&mut self, id: u32) -> String {
        self.held.extend_from_slice(self.vocabulary.bytes(id));
        let mut text = String::new();
        let mut rest = self.held.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (whole, broken) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(whole).unwrap_or_default());
                    rest = broken;
                    // Without a length, more bytes may make a character of it.
                    let Some(bad) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = rest.split_at(bad).1;
                }
            }
        }
        self.held = rest.to_vec();
        text
    }

    /// What is held back at the end: a character that was not completed.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }
}
