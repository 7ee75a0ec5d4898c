//! Classes of characters, quick for the two alphabets that nearly all text is written in.

/// True for letters of any script.
pub(super) fn is_letter(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | 'а'..='я' | 'А'..='Я' | 'ё' | 'Ё' => true,
        '\0'..='\u{7f}' | '\u{2010}'..='\u{206f}' => false,
        _ => c.is_alphabetic(),
    }
}

/// True for letters and numbers of any script.
pub(super) fn is_letter_or_number(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | 'а'..='я' | 'А'..='Я' | 'ё' | 'Ё' => true,
        '\0'..='\u{7f}' | '\u{2010}'..='\u{206f}' => false,
        _ => c.is_alphanumeric(),
    }
}

/// True for capital letters of any script.
pub(super) fn is_capital(c: char) -> bool {
    match c {
        'A'..='Z' | 'А'..='Я' | 'Ё' => true,
        '\0'..='\u{7f}' | 'а'..='я' | 'ё' | '\u{2010}'..='\u{206f}' => false,
        _ => c.is_uppercase(),
    }
}

/// True for letters and marks of the Cyrillic blocks.
pub(super) fn is_cyrillic(c: char) -> bool {
    matches!(c, '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{2de0}'..='\u{2dff}' | '\u{a640}'..='\u{a69f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_classes_agree_with_unicode() {
        for c in '\0'..=char::MAX {
            assert_eq!(is_letter(c), c.is_alphabetic(), "{c:?}");
            assert_eq!(is_letter_or_number(c), c.is_alphanumeric(), "{c:?}");
            assert_eq!(is_capital(c), c.is_uppercase(), "{c:?}");
        }
    }
}
