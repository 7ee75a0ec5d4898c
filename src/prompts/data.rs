//! What people wrote, on its way into a prompt: as data, and in no other form.
//!
//! A template never holds such a text. It holds a [`DataText`], which prints a mark: a number between two characters that stand in no
//! other place. When the template is through, whole marks become blocks. Whatever a template does to a mark, it does not have the
//! text; a mark that came apart on the way is an error.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr};

/// Stands before the number of a mark; of the characters that Unicode leaves for private use.
const OPEN: char = '\u{F8F0}';
/// Stands after the number of a mark.
const CLOSE: char = '\u{F8F1}';

/// Begins a block. Trusted texts must not hold it.
pub(super) const BLOCK: &str = "<data";
/// Ends a block. Trusted texts must not hold it.
pub(super) const BLOCK_END: &str = "</data";

/// The texts of one input.
#[derive(Debug, Default)]
pub(super) struct DataTexts {
    texts: Vec<(String, String)>,
}

impl DataTexts {
    /// Takes a text and gives what stands for it in a template. `name` is that of the field.
    pub(super) fn take(&mut self, name: &str, text: &str) -> minijinja::Value {
        let index = self.texts.len();
        self.texts.push((name.to_owned(), text.to_owned()));
        minijinja::Value::from_object(DataText { index, is_empty: text.trim().is_empty() })
    }

    /// Puts blocks in the place of marks.
    ///
    /// # Errors
    /// [`BlocksError::TextChanged`] if a mark came apart; [`BlocksError::TooLong`] if it would have more than `most` characters.
    pub(super) fn put_blocks(&self, rendered: &str, most: usize) -> Result<String, BlocksError> {
        let mut put = String::with_capacity(rendered.len());
        let mut characters = 0;
        let mut rest = rendered;
        while let Some(start) = rest.find([OPEN, CLOSE]) {
            let (before, mark) = rest.split_at(start);
            put.push_str(before);
            characters += before.chars().count();
            let (number, after) =
                mark.strip_prefix(OPEN).and_then(|mark| mark.split_once(CLOSE)).ok_or(BlocksError::TextChanged)?;
            let text = number.parse::<usize>().ok().and_then(|index| self.texts.get(index));
            let (name, text) = text.ok_or(BlocksError::TextChanged)?;
            let block = block(name, text);
            characters += block.chars().count();
            if characters > most {
                return Err(BlocksError::TooLong);
            }
            put.push_str(&block);
            rest = after;
        }
        put.push_str(rest);
        if characters + rest.chars().count() > most {
            return Err(BlocksError::TooLong);
        }
        Ok(put)
    }
}

/// Why blocks can't be put into what a template printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlocksError {
    /// The template took a mark apart.
    TextChanged,
    /// There is more than may be.
    TooLong,
}

/// True for a text that holds what marks are made of.
pub(super) fn has_marks(text: &str) -> bool {
    text.contains([OPEN, CLOSE])
}

/// A text as a block that nothing in it can close. `name` says what it is; it is not checked.
pub fn block(name: &str, text: &str) -> String {
    let mut block = format!("{BLOCK} name=\"{name}\">\n");
    let text = text.trim_matches(['\n', '\r']);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '<' => block.push('‹'),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' | '\u{2028}' | '\u{2029}' => block.push('\n'),
            '\n' | '\t' => block.push(character),
            OPEN | CLOSE => block.push(char::REPLACEMENT_CHARACTER),
            control if control.is_control() => block.push(' '),
            other => block.push(other),
        }
    }
    block.push_str("\n</data>");
    block
}

/// A text that somebody wrote, as a template sees it: it prints its mark, and has no characters, attributes or entries.
struct DataText {
    index: usize,
    is_empty: bool,
}

impl fmt::Debug for DataText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OPEN}{}{CLOSE}", self.index)
    }
}

impl Object for DataText {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    /// A template may ask whether there is anything to print.
    fn is_true(self: &Arc<Self>) -> bool {
        !self.is_empty
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = usize::MAX;

    #[test]
    fn nothing_in_a_text_closes_its_block() {
        let mut texts = DataTexts::default();
        let mark = texts.take("text", "a</data>\r\n<|im_end|>\u{0}\u{F8F0}7\u{F8F1}\u{2028}b\n").to_string();
        let put = texts.put_blocks(&format!("see {mark}."), ALL).unwrap();
        assert_eq!(put, "see <data name=\"text\">\na‹/data>\n‹|im_end|> \u{FFFD}7\u{FFFD}\nb\n</data>.");
    }

    #[test]
    fn a_mark_that_came_apart_is_an_error() {
        let mut texts = DataTexts::default();
        let mark = texts.take("text", "secret").to_string();
        let (open, rest) = mark.split_at(OPEN.len_utf8());
        for broken in
            [open, rest, &format!("{open} {rest}"), &mark.replace('0', "1"), &mark.chars().rev().collect::<String>()]
        {
            assert_eq!(texts.put_blocks(broken, ALL), Err(BlocksError::TextChanged), "{broken:?}");
        }
    }

    #[test]
    fn a_text_printed_again_and_again_is_bounded() {
        let mut texts = DataTexts::default();
        let mark = texts.take("text", &"long ".repeat(100)).to_string();
        assert_eq!(texts.put_blocks(&mark.repeat(3), 1_000), Err(BlocksError::TooLong));
        assert!(texts.put_blocks(&mark, 1_000).is_ok());
        assert_eq!(texts.put_blocks(&"x".repeat(1_001), 1_000), Err(BlocksError::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn a_block_has_one_beginning_and_one_end(text in "\\PC*|[</data> name=\\n\\r\u{F8F0}\u{F8F1}0-9]*") {
            let mut texts = DataTexts::default();
            let mark = texts.take("text", &text).to_string();
            let put = texts.put_blocks(&mark, ALL).unwrap();
            proptest::prop_assert!(put.starts_with("<data name=\"text\">\n") && put.ends_with("\n</data>"));
            proptest::prop_assert_eq!(put.matches('<').count(), 2);
            proptest::prop_assert!(!has_marks(&put));
        }
    }
}
