//! Faces: they end sentences of people who use no other marks.

use std::ops::Range;

/// Where the emoticon or run of emoji that starts at `at` ends, if one does. `open` is how many brackets stand open there:
/// a lone closing bracket is a smile only when there is nothing to close.
pub(super) fn emoticon(line: &[char], at: usize, open: usize) -> Option<usize> {
    let char_at = |index: usize| line.get(index).copied().unwrap_or(' ');
    let run = |from: usize, set: fn(char) -> bool| from + line.iter().skip(from).take_while(|c| set(**c)).count();
    let first = char_at(at);
    if is_pictograph(first) {
        return Some(run(at, is_pictograph));
    }
    match first {
        ')' | '(' => {
            let end = run(at, |c| matches!(c, ')' | '('));
            let smile = if first == ')' { end - at > open } else { end - at > 1 };
            smile.then_some(end)
        }
        ':' | ';' | '=' => {
            let mouth = if matches!(char_at(at + 1), '-' | '\'') { at + 2 } else { at + 1 };
            let end = run(mouth, |c| matches!(c, ')' | '(' | '*' | '|' | ']' | '['));
            let letter = matches!(char_at(mouth), 'D' | 'P' | 'p' | 'O' | '/') && !char_at(mouth + 1).is_alphanumeric();
            let from_nose = matches!(char_at(mouth), '/') && char_at(mouth + 1) == '/';
            match (end > mouth, letter && !from_nose) {
                (true, _) => Some(end),
                (_, true) => Some(mouth + 1),
                _ => None,
            }
        }
        '^' => (char_at(at + 1) == '_' && char_at(at + 2) == '^').then_some(at + 3),
        '<' => (char_at(at + 1) == '3').then_some(at + 2),
        _ => None,
    }
}

/// Emoji and the symbols used as such.
pub(super) fn is_pictograph(c: char) -> bool {
    const BLOCKS: [Range<char>; 5] = [
        '\u{1f1e6}'..'\u{1f200}',
        '\u{1f300}'..'\u{1fb00}',
        '\u{2600}'..'\u{27c0}',
        '\u{2b50}'..'\u{2b56}',
        '\u{231a}'..'\u{231c}',
    ];
    BLOCKS.iter().any(|block| block.contains(&c))
}
