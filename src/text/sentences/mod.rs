//! Sentences of text as people type it and as recognisers hear it.

mod abbreviations;
mod emoticons;
mod lists;
mod speech;

use abbreviations::{Before, Dot, dot_after};
use emoticons::{emoticon, is_pictograph};
use lists::ListNumbers;

use super::letters::{is_capital, is_cyrillic, is_letter, is_letter_or_number};
use super::offsets::count;
use super::words::Word;
use crate::feedback::CharSpan;

/// Characters looked back over for an abbreviation; longer words are none.
const LONGEST_ABBREVIATION: usize = 12;

/// Sentences of a normalised text, whose words and links are given, in order.
pub(super) fn sentences(characters: &[char], words: &[Word], links: &[CharSpan]) -> Vec<CharSpan> {
    let mut found = Vec::new();
    let mut words = words;
    let mut links = links;
    let mut start = 0_u32;
    for line in characters.split(|c| *c == '\n') {
        let end = start + count(line.len());
        let words_here = take_front(&mut words, |word| word.span.start < end);
        let links_here = take_front(&mut links, |link| link.start < end);
        let line = Line { characters: line, start, links: links_here };
        line.split(words_here, &mut found);
        start = end + 1;
    }
    found
}

/// Takes the items at the front that satisfy `belongs`.
fn take_front<'t, T>(items: &mut &'t [T], belongs: impl Fn(&T) -> bool) -> &'t [T] {
    let (front, rest) = items.split_at_checked(items.partition_point(belongs)).unwrap_or((items, &[]));
    *items = rest;
    front
}

struct Line<'t> {
    characters: &'t [char],
    /// Offset of the line in the text.
    start: u32,
    /// In offsets of the text.
    links: &'t [CharSpan],
}

impl Line<'_> {
    fn split(&self, words: &[Word], found: &mut Vec<CharSpan>) {
        let first = found.len();
        let mut words = words;
        let mut from = 0;
        for to in self.ends().into_iter().chain([self.characters.len()]) {
            let Some((from, to)) = self.trimmed(std::mem::replace(&mut from, to), to) else { continue };
            let piece = CharSpan::new(self.start + count(from), self.start + count(to));
            let words_here = take_front(&mut words, |word| word.span.start < piece.end);
            if self.says_something(from, to) {
                let cuts = speech::cuts(self.characters, self.start, words_here);
                found.extend(speech::parts(piece, &cuts).map(|part| self.without_trailing_space(part)));
            } else if let Some(last) = found.get_mut(first..).and_then(<[_]>::last_mut) {
                // Marks of their own go with the sentence before.
                last.end = piece.end;
            } else if self.is_reaction(from, to) {
                found.push(piece);
            }
        }
    }

    fn char_at(&self, at: usize) -> char {
        self.characters.get(at).copied().unwrap_or(' ')
    }

    fn before(&self, at: usize) -> char {
        at.checked_sub(1).map_or(' ', |before| self.char_at(before))
    }

    fn trimmed(&self, from: usize, to: usize) -> Option<(usize, usize)> {
        let text = self.characters.get(from..to)?;
        let leading = text.iter().position(|c| !c.is_whitespace())?;
        let last = text.iter().rposition(|c| !c.is_whitespace())?;
        Some((from + leading, from + last + 1))
    }

    fn without_trailing_space(&self, span: CharSpan) -> CharSpan {
        let local = |at: u32| (at - self.start) as usize;
        self.trimmed(local(span.start), local(span.end))
            .map_or(span, |(from, to)| CharSpan::new(self.start + count(from), self.start + count(to)))
    }

    fn says_something(&self, from: usize, to: usize) -> bool {
        self.characters.get(from..to).is_some_and(|text| text.iter().any(|c| is_letter_or_number(*c)))
    }

    /// True for a line that is nothing but a face or marks that mean something (`)))`, `+`, `?!`), not a ruler or a bullet.
    fn is_reaction(&self, from: usize, to: usize) -> bool {
        let text = self.characters.get(from..to).unwrap_or_default();
        text.iter().any(|c| is_pictograph(*c) || matches!(c, '!' | '?' | '+' | ')' | '('))
    }

    /// Where sentences end within the line, in order.
    fn ends(&self) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut links = self.links.iter().peekable();
        let mut open_brackets = 0_usize;
        let mut said = false;
        let mut list = ListNumbers::default();
        let mut at = 0;
        while at < self.characters.len() {
            let absolute = self.start + count(at);
            while links.next_if(|link| link.end <= absolute).is_some() {}
            if let Some(link) = links.peek().filter(|link| link.start <= absolute) {
                at = (link.end - self.start) as usize;
                said = true;
                continue;
            }
            let c = self.char_at(at);
            let mut next = at + 1;
            if matches!(c, '.' | '!' | '?') {
                let marks_end =
                    at + self.characters.iter().skip(at).take_while(|c| matches!(c, '.' | '!' | '?')).count();
                let (end, ends_here) = self.terminator(at, marks_end, open_brackets);
                if ends_here && said {
                    ends.push(end);
                    said = false;
                    open_brackets = 0;
                }
                // Closing brackets are counted below unless the sentence is over.
                next = if ends_here { end } else { marks_end };
            } else if let Some(end) = emoticon(self.characters, at, open_brackets) {
                let following = self.skip_spaces(end);
                if said && following > end && self.starts_with_capital(following) {
                    ends.push(end);
                    said = false;
                    open_brackets = 0;
                }
                next = end;
            } else if c == '<' && self.char_at(next) == '|' && said {
                // A mark of a chat template belongs to what comes behind it.
                ends.push(at);
                said = false;
            } else if c == '(' {
                open_brackets += 1;
            } else if c == ')' {
                open_brackets = open_brackets.saturating_sub(1);
            } else if is_letter_or_number(c) {
                let item = if c.is_ascii_digit() { list.item(self.characters, at) } else { None };
                if said && item.is_some() {
                    ends.push(if self.before(at) == '(' { at - 1 } else { at });
                } else if said && self.follows_bullet(at) {
                    ends.push(at - 2);
                }
                said = true;
                let word = self.characters.iter().skip(at).take_while(|c| is_letter_or_number(**c)).count();
                next = item.unwrap_or(at + word);
            }
            at = next;
        }
        ends
    }

    fn skip_spaces(&self, at: usize) -> usize {
        at + self.characters.iter().skip(at).take_while(|c| c.is_whitespace()).count()
    }

    /// True if a capital letter stands at `at`, or opens what is in quotes or brackets there.
    fn starts_with_capital(&self, at: usize) -> bool {
        let opening = |c: char| matches!(c, '«' | '"' | '“' | '„' | '(' | '[' | '\'' | '-' | '–' | '—' | ' ');
        let first = self.characters.iter().skip(at).take(4).find(|c| !opening(**c));
        first.is_some_and(|c| is_capital(*c))
    }

    /// True for the first letter after a bullet inside a line: ` • возврат`.
    fn follows_bullet(&self, at: usize) -> bool {
        at >= 2 && self.before(at) == ' ' && matches!(self.before(at - 1), '•' | '▪' | '●' | '◦' | '✔' | '✅')
    }

    /// Judges the marks at `from..to`: where the sentence would end, with the quotes, brackets and faces that belong to it, and
    /// whether it does.
    fn terminator(&self, from: usize, to: usize, open_brackets: usize) -> (usize, bool) {
        let closing = |c: &&char| matches!(**c, '»' | '"' | '”' | '’' | '\'' | ')' | ']');
        let closers = self.characters.iter().skip(to).take_while(closing).count();
        let closed = closers > 0;
        let mut end = to + closers;
        let mut next = self.skip_spaces(end);
        let mut face = false;
        while let Some(after) = emoticon(self.characters, next, open_brackets) {
            face = true;
            end = after;
            next = self.skip_spaces(after);
        }
        if next >= self.characters.len() {
            return (end, false);
        }
        let spaced = next > end;
        let marks = self.characters.get(from..to).unwrap_or_default();
        let strong = marks.iter().any(|mark| *mark != '.');
        let follows = self.char_at(next);
        let capital = self.starts_with_capital(next);
        let ends = match follows {
            ',' | ';' | ':' | ')' | '»' | '/' | '%' => false,
            '-' | '–' | '—' => (capital && !closed) || (marks.len() == 1 && !strong && !closed && spaced),
            _ if face => spaced || capital,
            _ if closed && !capital => false,
            // A mark in brackets of its own is an aside: `(!)`.
            _ if closed && self.before(from) == '(' => false,
            _ if strong => spaced || is_letter(follows),
            _ if marks.len() > 1 => capital,
            _ if spaced => self.dot_ends(from, next, closed),
            _ => self.tight_dot_ends(from, next),
        };
        (end, ends)
    }

    /// The letters, with dots, hyphens and slashes inside, right before `at`, in lower case, and where they start.
    fn token_before(&self, at: usize) -> (String, usize) {
        let inside = |c: &char| is_letter(*c) || matches!(c, '.' | '-' | '/');
        let from = at.saturating_sub(LONGEST_ABBREVIATION);
        let window = self.characters.get(from..at).unwrap_or_default();
        let length = window.iter().rev().take_while(|c| inside(c)).count();
        let start = at - length;
        let token: String = window.iter().skip(window.len() - length).flat_map(|c| c.to_lowercase()).collect();
        (token, start)
    }

    /// The word before `at`, in lower case, at most as long as the start of a word that matters.
    fn word_before(&self, at: usize) -> String {
        let spaces = self.characters.get(..at).unwrap_or_default().iter().rev().take_while(|c| **c == ' ').count();
        let end = at - spaces;
        let text = self.characters.get(end.saturating_sub(2 * LONGEST_ABBREVIATION)..end).unwrap_or_default();
        let length = text.iter().rev().take_while(|c| is_letter_or_number(**c) || matches!(c, '.' | ',')).count();
        let word = text.iter().skip(text.len() - length).flat_map(|c| c.to_lowercase()).collect::<String>();
        word.trim_end_matches('.').to_owned()
    }

    /// Judges one dot with white space after it; `next` is where the text goes on.
    fn dot_ends(&self, dot: usize, next: usize, closed: bool) -> bool {
        let follows = self.char_at(next);
        let capital = self.starts_with_capital(next);
        let opens = is_letter_or_number(follows)
            || is_pictograph(follows)
            || matches!(follows, '«' | '"' | '“' | '„' | '(' | '[' | '<' | '#' | '@' | '+' | '№');
        if !opens {
            return false;
        }
        if closed {
            return capital || follows.is_ascii_digit();
        }
        let (mut token, start) = self.token_before(dot);
        if token.is_empty() {
            return true;
        }
        let mut word_before = self.word_before(start);
        // `т. к.`, `и т. д.`: the two halves are one abbreviation.
        if let ("т" | "т.", "е" | "к" | "д" | "п" | "н" | "о" | "ч") = (word_before.as_str(), token.as_str()) {
            token = format!("т.{token}");
        } else if token == "т" {
            return false;
        } else if let ("a" | "p", "m") = (word_before.as_str(), token.as_str()) {
            token = format!("{word_before}.m");
        }
        if self.is_initial(start, dot) {
            let another = is_capital(follows) && self.char_at(next + 1) == '.';
            return capital && !another && self.follows_surname(start);
        }
        let number = word_before.ends_with(|c: char| c.is_ascii_digit()) || self.before(start).is_ascii_digit();
        if is_letter_or_number(self.before(start)) && !self.before(start).is_ascii_digit() {
            word_before.clear();
        }
        match dot_after(&token, Before { word: &word_before, number }) {
            Some(Dot::Continues) => false,
            Some(Dot::ContinuesBeforeNumber) => !(follows.is_ascii_digit() || matches!(follows, '[' | '+' | '№' | '#')),
            Some(Dot::EndsBeforeCapital) => capital,
            None => true,
        }
    }

    /// Judges one dot with no white space after it.
    fn tight_dot_ends(&self, dot: usize, next: usize) -> bool {
        let (before, follows) = (self.before(dot), self.char_at(next));
        if !is_letter(follows) {
            return false;
        }
        let (token, start) = self.token_before(dot);
        let length = dot - start;
        let word = self.characters.iter().skip(next).take_while(|c| is_letter(**c)).count();
        let dotted = token.contains('.') || self.char_at(next + word) == '.' && word == 1;
        let abbreviated = dot_after(&token, Before { word: "", number: false }).is_some();
        let cyrillic = is_cyrillic(follows);
        match (before, is_capital(follows)) {
            _ if dotted || abbreviated => false,
            ('0'..='9' | ')' | '»' | '"', true) => true,
            (_, true) => before.is_lowercase() && length >= 2 && (cyrillic || length >= 3),
            (_, false) => before.is_lowercase() && cyrillic && length >= 3 && word >= 3,
        }
    }

    /// True for a single capital letter between `start` and `dot`, alone or at the end of initials: `А. С.`, `А.С.`.
    fn is_initial(&self, start: usize, dot: usize) -> bool {
        let letter = self.before(dot);
        let single = dot - start == 1 || matches!(self.before(dot - 1), '.' | '-');
        is_capital(letter) && single && !is_letter_or_number(self.before(start))
    }

    /// True if the initials that end with the letter at `letter` follow a surname: `Иванов А. С. Потом`.
    fn follows_surname(&self, letter: usize) -> bool {
        let text = self.characters.get(letter.saturating_sub(40)..letter).unwrap_or_default();
        let line: String = text.iter().collect();
        let mut words = line.split(|c: char| !is_letter(c)).rev().filter(|word| !word.is_empty());
        let surname = words.find(|word| word.chars().count() > 1);
        surname.is_some_and(|word| {
            let adjacent = line
                .rfind(word)
                .is_some_and(|at| line.get(at + word.len()..).is_some_and(|rest| rest.chars().count() <= 4));
            adjacent && word.starts_with(is_capital) && super::masking::is_surname_like(&super::words::lower(word))
        })
    }
}

#[cfg(test)]
mod tests;
