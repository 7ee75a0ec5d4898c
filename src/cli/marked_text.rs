//! Text with marked words, wrapped to the width of a terminal.

use otklik::feedback::CharSpan;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// A stretch of text to mark, with the number that refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// What to mark.
    pub span: CharSpan,
    /// Its number, from 1, set behind the last marked character.
    pub number: usize,
}

/// One user-perceived character.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    text: String,
    width: usize,
    marked: bool,
}

/// One line as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MarkedLine {
    cells: Vec<Cell>,
}

impl MarkedLine {
    /// The line, each marked stretch between `on` and `off`.
    pub fn to_text(&self, on: &str, off: &str) -> String {
        let mut text = String::new();
        let mut marked = false;
        for cell in &self.cells {
            if cell.marked != marked {
                text.push_str(if cell.marked { on } else { off });
                marked = cell.marked;
            }
            text.push_str(&cell.text);
        }
        if marked {
            text.push_str(off);
        }
        text
    }

    /// A line of `^` to stand below the marked characters; `None` if nothing is marked.
    pub fn underline(&self) -> Option<String> {
        let line: String =
            self.cells.iter().map(|cell| if cell.marked { "^" } else { " " }.repeat(cell.width)).collect();
        let line = line.trim_end();
        (!line.is_empty()).then(|| line.to_owned())
    }
}

/// Superscript digits.
pub fn superscript(number: usize) -> String {
    let digits = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digit = |digit: char| digit.to_digit(10).and_then(|value| digits.get(value as usize)).copied();
    number.to_string().chars().filter_map(digit).collect()
}

/// Superscript numbers, parted by dots.
pub fn superscripts(numbers: impl IntoIterator<Item = usize>) -> String {
    numbers.into_iter().map(superscript).collect::<Vec<_>>().join("·")
}

/// Columns that a string takes in a terminal.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// A text in lines of at most `max_width` columns, broken at spaces where there are any; its own line breaks are kept.
/// Characters that would steer the terminal are shown as signs of themselves.
pub fn wrap(text: &str, marks: &[Mark], max_width: usize) -> Vec<MarkedLine> {
    let max_width = max_width.max(8);
    let mut lines = Vec::new();
    let mut line = MarkedLine::default();
    let mut word: Vec<Cell> = Vec::new();
    let mut index = 0_u32;
    let mut graphemes = text.trim_end().graphemes(true).peekable();
    while let Some(grapheme) = graphemes.next() {
        let span = CharSpan::new(index, index + grapheme.chars().count() as u32);
        index = span.end;
        let is_last = graphemes.peek().is_none();
        let ends = |mark: &&Mark| {
            let last = mark.span.end.saturating_sub(1);
            (span.start <= last && last < span.end) || (is_last && last >= span.end)
        };
        let is_break = grapheme.ends_with('\n');
        if !is_break {
            word.push(cell(grapheme, marks.iter().any(|mark| mark.span.overlaps(span))));
        }
        let is_space = word.last().is_some_and(|cell| cell.text == " ");
        let numbers: Vec<usize> = marks.iter().filter(ends).map(|mark| mark.number).collect();
        if !numbers.is_empty() {
            let text = superscripts(numbers);
            word.push(Cell { width: width(&text), text, marked: false });
        }
        if is_break {
            push_word(&mut lines, &mut line, &mut word, max_width);
            lines.push(std::mem::take(&mut line));
        }
        if is_space {
            push_word(&mut lines, &mut line, &mut word, max_width);
        }
    }
    push_word(&mut lines, &mut line, &mut word, max_width);
    if !line.cells.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    for line in &mut lines {
        while line.cells.last().is_some_and(|cell| cell.text == " ") {
            line.cells.pop();
        }
    }
    lines
}

fn cell(grapheme: &str, marked: bool) -> Cell {
    let text: String = grapheme.chars().map(harmless).collect();
    Cell { width: width(&text), text, marked }
}

/// What a customer wrote must not move the cursor, change colours or turn the line around.
fn harmless(character: char) -> char {
    match character {
        '\t' => ' ',
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other => other,
    }
}

fn push_word(lines: &mut Vec<MarkedLine>, line: &mut MarkedLine, word: &mut Vec<Cell>, max_width: usize) {
    let of = |cells: &[Cell]| cells.iter().map(|cell| cell.width).sum::<usize>();
    // The space behind a word may hang over the edge.
    let visible = match word.last() {
        Some(cell) if cell.text == " " => of(word) - 1,
        _ => of(word),
    };
    let used = of(&line.cells);
    if used > 0 && used + visible > max_width {
        lines.push(std::mem::take(line));
    }
    let mut used = of(&line.cells);
    for cell in word.drain(..) {
        if used > 0 && cell.text != " " && used + cell.width > max_width {
            lines.push(std::mem::take(line));
            used = 0;
        }
        used += cell.width;
        line.cells.push(cell);
    }
}

/// A text without marks, wrapped.
pub fn wrap_plain(text: &str, max_width: usize) -> Vec<String> {
    wrap(text, &[], max_width).iter().map(|line| line.to_text("", "")).collect()
}

/// A text on one line, with nothing in it that would steer the terminal.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().map(harmless).collect()
}

/// Pads with spaces to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, spans: &[(u32, u32)], max_width: usize) -> Vec<String> {
        let marks: Vec<Mark> = spans
            .iter()
            .enumerate()
            .map(|(index, &(start, end))| Mark { span: CharSpan::new(start, end), number: index + 1 })
            .collect();
        wrap(text, &marks, max_width)
            .iter()
            .flat_map(|line| [Some(line.to_text("", "")), line.underline()])
            .flatten()
            .collect()
    }

    #[test]
    fn marks_stand_below_their_characters() {
        type Case = (&'static str, &'static [(u32, u32)], &'static [&'static str]);
        let cases: &[Case] = &[
            ("плохо и долго", &[(0, 5), (8, 13)], &["плохо¹ и долго²", "^^^^^    ^^^^^"]),
            ("два знака", &[(0, 3), (0, 9)], &["два¹ знака²", "^^^ ^^^^^^"]),
            ("вместе", &[(0, 6), (3, 6)], &["вместе¹·²", "^^^^^^"]),
            ("漢字 да", &[(0, 2)], &["漢字¹ да", "^^^^"]),
            ("😀👨‍👩‍👧 да", &[(0, 6)], &["😀👨‍👩‍👧¹ да", "^^^^"]),
            ("кон\u{301}ь", &[(2, 4)], &["кон\u{301}¹ь", "  ^"]),
            ("коротко", &[(3, 99)], &["коротко¹", "   ^^^^"]),
            ("да\nнет", &[(0, 3), (3, 6)], &["да¹", "^^", "нет²", "^^^"]),
            ("ничего", &[], &["ничего"]),
            ("", &[(0, 1)], &[""]),
        ];
        for (text, spans, expected) in cases {
            assert_eq!(shown(text, spans, 80), *expected, "{text}");
        }
    }

    #[test]
    fn long_texts_are_wrapped_at_spaces_and_long_words_are_cut() {
        assert_eq!(shown("один два три", &[(5, 12)], 8), ["один два", "     ^^^", "три¹", "^^^"]);
        assert_eq!(shown("первая\n\nстрока вторая", &[], 8), ["первая", "", "строка", "вторая"]);
        assert_eq!(shown("абвгдежзиклм но", &[], 8), ["абвгдежз", "иклм но"]);
        assert_eq!(shown("12345678 x", &[], 8), ["12345678", "x"]);
    }

    #[test]
    fn no_line_is_wider_than_asked() {
        let text = "Третий день не работает касса, банк шлёт к партнёру 🦔🦔🦔🦔🦔🦔 漢字漢字漢字漢字 https://example.invalid/a/very/long/path";
        for max_width in 8..60 {
            for line in wrap(text, &[Mark { span: CharSpan::new(3, 70), number: 12 }], max_width) {
                assert!(width(&line.to_text("", "")) <= max_width, "{max_width}: {line:?}");
            }
        }
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\u{202e}c\td\r\ne", &[], 80), ["a␛[2Jb\u{fffd}c d", "e"]);
        assert_eq!(one_line("a\n \u{7}b"), "a ␇b");
    }

    #[test]
    fn stretches_are_set_between_on_and_off() {
        let lines = wrap("да и нет", &[Mark { span: CharSpan::new(5, 8), number: 1 }], 80);
        assert_eq!(lines[0].to_text("<", ">"), "да и <нет>¹");
    }

    #[test]
    fn numbers_are_superscript() {
        assert_eq!(superscripts([1, 20, 345]), "¹·²⁰·³⁴⁵");
    }
}
