//! Text cut to the room there is for it, harmless to a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that a text takes in a terminal.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// A text on one line, with nothing in it that would steer the terminal.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().map(harmless).collect()
}

/// What a customer wrote must not move the cursor, change colours or turn the line around.
fn harmless(character: char) -> char {
    match character {
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other => other,
    }
}

/// The text if it has at most `max_width` columns, or else its beginning and an ellipsis in as many.
pub(super) fn shorten(text: &str, max_width: usize) -> String {
    if width(text) <= max_width {
        return text.to_owned();
    }
    let kept: String = within(text.chars(), max_width.saturating_sub(1));
    format!("{}…", kept.trim_end())
}

/// The same for names, of which the ends often tell more than the middles: about a third of the room is for the end.
pub(super) fn abridge(name: &str, max_width: usize) -> String {
    if width(name) <= max_width {
        return name.to_owned();
    }
    let end: String = within(name.chars().rev(), max_width / 3);
    let end: String = end.chars().rev().collect();
    let beginning: String = within(name.chars(), max_width.saturating_sub(1 + width(&end)));
    format!("{}…{}", beginning.trim_end(), end.trim_start())
}

fn within(characters: impl Iterator<Item = char>, max_width: usize) -> String {
    let mut used = 0;
    let fits = |character: &char| {
        used += UnicodeWidthChar::width(*character).unwrap_or(0);
        used <= max_width
    };
    characters.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_does_not_is_cut() {
        let cases = [
            ("касса", 5, "касса"),
            ("касса", 4, "кас…"),
            ("моя касса", 5, "моя…"),
            ("漢字漢字", 5, "漢字…"),
            ("漢字漢字", 4, "漢…"),
            ("кон\u{301}ь и пёс", 5, "кон\u{301}ь…"),
            ("", 0, ""),
        ];
        for (text, max_width, expected) in cases {
            let short = shorten(text, max_width);
            assert_eq!(short, expected, "{text}");
            assert!(width(&short) <= max_width);
        }
    }

    #[test]
    fn names_keep_their_ends() {
        let cases = [
            ("card_arrival", 12, "card_arrival"),
            ("balance_not_updated_after_cheque", 17, "balance_not…heque"),
            ("balance_not_updated_after_transfer", 17, "balance_not…nsfer"),
            ("Не приходит код", 12, "Не прих…код"),
        ];
        for (name, max_width, expected) in cases {
            assert_eq!(abridge(name, max_width), expected);
        }
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(one_line("a\n \u{1b}[2J\u{202e}c\td"), "a ␛[2J\u{fffd}c d");
    }
}
