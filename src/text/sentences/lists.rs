//! Numbered items inside a line: `1) долго 2) дорого`, `1. Долго. 2. Дорого.`

/// Follows the numbers of a list along one line.
#[derive(Default)]
pub(super) struct ListNumbers {
    last: Option<u32>,
}

impl ListNumbers {
    /// If the digits at `at` number an item, where its text starts. The first number opens the line or follows a mark; the
    /// others carry on from it, so that `оплатил 2. Потом` is no item.
    pub(super) fn item(&mut self, line: &[char], at: usize) -> Option<usize> {
        let char_at = |index: usize| line.get(index).copied().unwrap_or(' ');
        let digits = line.iter().skip(at).take(3).take_while(|c| c.is_ascii_digit()).count();
        let text = at + digits + 2;
        let marked = digits <= 2 && matches!(char_at(at + digits), '.' | ')') && char_at(text - 1) == ' ';
        if !marked || !(char_at(text).is_alphabetic() || matches!(char_at(text), '«' | '"' | '[')) {
            return None;
        }
        let number = line.iter().skip(at).take(digits).fold(0, |sum, c| sum * 10 + c.to_digit(10).unwrap_or(0));
        let before = line.get(..at).unwrap_or_default().iter().rev().find(|c| **c != ' ' && **c != '(');
        let opens = match before {
            None => true,
            Some(mark) => number == 1 && matches!(mark, ':' | '.' | '!' | '?' | ';'),
        };
        let carries_on = self.last.is_some_and(|last| number == last + 1);
        if !opens && !carries_on {
            return None;
        }
        self.last = Some(number);
        Some(text)
    }
}
