//! One spelling for what looks the same, with a way back to the original, character by character.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::letters::{is_cyrillic, is_letter};
use super::offsets::count;
use crate::feedback::CharSpan;

/// Combining marks kept on one letter; more are decoration.
const MARKS_PER_LETTER: usize = 4;
/// The same character stands at most this often in a row.
const REPEATS: usize = 3;

/// A normalised text and where each of its characters comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Normalised {
    pub(super) text: String,
    /// One span of the original for each character of `text`; starts and ends never decrease.
    pub(super) origin: Vec<CharSpan>,
}

impl Normalised {
    /// Where a span of `text` stands in the original.
    pub(super) fn to_original(&self, span: CharSpan) -> CharSpan {
        original_span(&self.origin, span)
    }
}

/// Where a span of characters with these origins stands in the original.
pub(super) fn original_span(origin: &[CharSpan], span: CharSpan) -> CharSpan {
    let end_of_text = origin.last().map_or(0, |last| last.end);
    let start = origin.get(span.start as usize).map_or(end_of_text, |first| first.start);
    let last = span.end.checked_sub(1).and_then(|last| origin.get(last as usize));
    let end = if span.is_empty() { start } else { last.map_or(end_of_text, |last| last.end) };
    CharSpan::new(start, end)
}

#[derive(Debug, Clone, Copy)]
struct Sourced {
    character: char,
    origin: CharSpan,
}

pub(super) fn normalise(original: &str) -> Normalised {
    let mut characters = compose(original);
    // A Latin double over a stress mark is known for a Russian vowel only now; without the mark its word goes on.
    loop {
        unmix_alphabets(&mut characters);
        if !drop_stress(&mut characters) {
            break;
        }
    }
    shorten_repeats(&characters)
}

/// Drops stress marks over Russian vowels and says whether there were any.
fn drop_stress(characters: &mut Vec<Sourced>) -> bool {
    let all = characters.len();
    let mut before = ' ';
    characters.retain(|sourced| {
        let stress = is_stress(before, sourced.character);
        // Other marks may stand between the vowel and its stress.
        if !stress && !joins(sourced.character) {
            before = sourced.character;
        }
        !stress
    });
    characters.len() < all
}

/// Unicode normalisation; drops what is invisible and makes one space or line break of each run of white space.
fn compose(original: &str) -> Vec<Sourced> {
    let mut composed = Composed { characters: Vec::with_capacity(original.len()), gap: None };
    let mut source = (0_u32..).zip(original.chars()).peekable();
    while let Some((start, base)) = source.next() {
        let mut marks: Vec<char> = Vec::new();
        let mut end = start + 1;
        while let Some((at, next)) = source.peek().copied() {
            if joins(next) {
                if marks.len() < MARKS_PER_LETTER && !is_stress(base, next) {
                    marks.push(next);
                }
                end = at + 1;
            } else if !is_invisible(next) {
                break;
            }
            source.next();
        }
        let origin = CharSpan::new(start, end);
        if base.is_whitespace() || (marks.is_empty() && is_plain(base)) {
            composed.push(base, origin);
        } else if !is_invisible(base) && !joins(base) {
            let segment = || std::iter::once(base).chain(marks.iter().copied());
            if keeps_its_form(base) {
                segment().nfc().for_each(|character| composed.push(character, origin));
            } else {
                segment().nfkc().for_each(|character| composed.push(unified(character), origin));
            }
        }
    }
    composed.characters
}

struct Composed {
    characters: Vec<Sourced>,
    /// White space read but not yet written: as it will be written, and where it stood.
    gap: Option<Sourced>,
}

impl Composed {
    fn push(&mut self, character: char, origin: CharSpan) {
        if character.is_whitespace() {
            let breaks = is_line_break(character);
            let gap = self.gap.get_or_insert(Sourced { character: ' ', origin });
            gap.origin.end = origin.end;
            if breaks {
                gap.character = '\n';
            }
        } else {
            let gap = self.gap.take();
            if !self.characters.is_empty() {
                self.characters.extend(gap);
            }
            self.characters.push(Sourced { character, origin });
        }
    }
}

/// Characters that normalisation never changes and that make up nearly all text.
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~' | '\n' | 'А'..='я' | 'Ё' | 'ё' | '«' | '»' | '–' | '—')
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// True for what composes with the character before it: combining marks, and vowels and finals of Hangul.
fn joins(c: char) -> bool {
    c >= '\u{300}'
        && !is_invisible(c)
        && (is_combining_mark(c) || matches!(c, '\u{1161}'..='\u{11ff}' | '\u{d7b0}'..='\u{d7ff}'))
}

/// Stress marks over Russian vowels are a reading aid, not spelling.
fn is_stress(base: char, mark: char) -> bool {
    matches!(mark, '\u{300}' | '\u{301}') && "аеёиоуыэюяАЕЁИОУЫЭЮЯ".contains(base)
}

/// Controls, format characters, variation selectors, fillers, private use: nothing that a reader sees.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{20e3}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{10ffff}')
}

/// True where the compatibility form would change the meaning (`10²` is not `102`, `1½` not `11⁄2`), the custom of the
/// language (`№`), or split a sign in two (`´`).
fn keeps_its_form(c: char) -> bool {
    match c {
        '²' | '³' | '¹' | 'ª' | 'º' | '¼'..='¾' | '™' | '℠' | '№' => true,
        '\u{2b0}'..='\u{2ff}' | '\u{2070}'..='\u{209f}' | '\u{2150}'..='\u{215f}' | '\u{2189}' => true,
        _ => !c.is_whitespace() && !c.is_alphabetic() && std::iter::once(c).nfkc().next() == Some(' '),
    }
}

/// Hyphens and minus signs that differ only in how a line may break are one.
fn unified(c: char) -> char {
    match c {
        '\u{2010}' | '\u{2011}' | '\u{2043}' | '\u{2212}' | '\u{fe63}' => '-',
        '\u{2800}' => ' ',
        _ => c,
    }
}

/// Rewrites words of mixed Latin and Cyrillic lookalikes in the alphabet that their other letters prove, and apostrophes
/// between letters as `'`.
fn unmix_alphabets(characters: &mut [Sourced]) {
    for run in characters.chunk_by_mut(|left, right| is_letter(left.character) && is_letter(right.character)) {
        let mut proof = Proof::default();
        for sourced in run.iter() {
            proof.see(sourced.character);
        }
        for sourced in run.iter_mut() {
            sourced.character = proof.rewrite(sourced.character);
        }
    }
    let mut before = ' ';
    let mut rest = characters;
    while let Some((first, following)) = rest.split_first_mut() {
        let after = following.first().map_or(' ', |next| next.character);
        if matches!(first.character, '’' | 'ʼ' | '‘') && is_letter(before) && is_letter(after) {
            first.character = '\'';
        }
        before = first.character;
        rest = following;
    }
}

/// Which alphabet a word's letters belong to, by those letters that have no double in the other.
#[derive(Default)]
struct Proof {
    cyrillic: bool,
    latin: bool,
    only_cyrillic: bool,
    only_latin: bool,
    ends_in_latin: bool,
}

impl Proof {
    fn see(&mut self, c: char) {
        self.ends_in_latin = !is_cyrillic(c);
        if is_cyrillic(c) {
            self.cyrillic = true;
            self.only_cyrillic |= latin_double(c).is_none();
        } else {
            self.latin = true;
            self.only_latin |= cyrillic_double(c).is_none();
        }
    }

    fn rewrite(&self, c: char) -> char {
        match (self.cyrillic && self.latin, self.only_cyrillic, self.only_latin) {
            (true, true, false) => cyrillic_double(c).unwrap_or(c),
            // A Cyrillic ending of a Latin word is an inflection: `SMSка`.
            (true, false, true) if self.ends_in_latin => latin_double(c).unwrap_or(c),
            _ => c,
        }
    }
}

/// Pairs that look the same in common fonts: Latin, Cyrillic.
const DOUBLES: &[(char, char)] = &[
    ('a', 'а'),
    ('c', 'с'),
    ('e', 'е'),
    ('ë', 'ё'),
    ('k', 'к'),
    ('o', 'о'),
    ('p', 'р'),
    ('x', 'х'),
    ('y', 'у'),
    ('A', 'А'),
    ('B', 'В'),
    ('C', 'С'),
    ('E', 'Е'),
    ('Ë', 'Ё'),
    ('H', 'Н'),
    ('K', 'К'),
    ('M', 'М'),
    ('O', 'О'),
    ('P', 'Р'),
    ('T', 'Т'),
    ('X', 'Х'),
    ('Y', 'У'),
];

fn cyrillic_double(latin: char) -> Option<char> {
    DOUBLES.iter().find(|(from, _)| *from == latin).map(|(_, to)| *to)
}

fn latin_double(cyrillic: char) -> Option<char> {
    DOUBLES.iter().find(|(_, from)| *from == cyrillic).map(|(to, _)| *to)
}

/// Cuts runs of one character, except of digits, where the number of them matters.
fn shorten_repeats(characters: &[Sourced]) -> Normalised {
    let mut normalised =
        Normalised { text: String::with_capacity(characters.len() * 2), origin: Vec::with_capacity(characters.len()) };
    for run in characters.chunk_by(|left, right| left.character == right.character) {
        let long = run.len() > REPEATS;
        let kept =
            if long && run.first().is_some_and(|first| !first.character.is_numeric()) { REPEATS } else { run.len() };
        for sourced in run.iter().take(kept) {
            normalised.text.push(sourced.character);
            normalised.origin.push(sourced.origin);
        }
        // The last one kept stands for all that were cut, so that a span over the run covers the run.
        if let (Some(last), Some(source)) = (normalised.origin.last_mut(), run.last()) {
            last.end = source.origin.end;
        }
    }
    debug_assert_eq!(count(normalised.origin.len()), count(normalised.text.chars().count()));
    normalised
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(original: &str, expected: &str) {
        assert_eq!(normalise(original).text, expected, "{original:?}");
    }

    #[test]
    fn what_looks_the_same_is_spelt_the_same() {
        let table = [
            // Composition and compatibility forms.
            ("еще\u{308}", "ещё"),
            ("моби\u{306}", "мобй"),
            ("и\u{200b}\u{306}", "й"),
            ("cafe\u{301}", "café"),
            ("１２３ ＡＢＣ", "123 ABC"),
            ("ﬁnance oﬃce", "finance office"),
            ("𝐇𝐞𝐥𝐥𝐨", "Hello"),
            ("①②", "12"),
            ("ну…", "ну..."),
            ("что⁈", "что?!"),
            ("10² м², 1½ часа, № 5, HDMI™", "10² м², 1½ часа, № 5, HDMI™"),
            ("5´ 6¨", "5´ 6¨"),
            ("за\u{301}мок", "замок"),
            ("йй", "йй"),
            // What nobody sees.
            ("при\u{ad}вет", "привет"),
            ("\u{feff}а\u{200b}б\u{200d}в\u{2060}\u{7}г\u{202e}д", "абвгд"),
            ("❤\u{fe0f} 1\u{fe0f}\u{20e3}", "❤ 1"),
            ("\u{301}а", "а"),
            // White space.
            ("  а \t\u{a0}\u{2003} б  ", "а б"),
            ("а \r\n \r\n б\u{2028}в\u{85}г", "а\nб\nв\nг"),
            ("\n\nа\n\n", "а"),
            ("   \n\t ", ""),
            // Runs.
            ("ужас!!!!!!", "ужас!!!"),
            ("нееееет", "нееет"),
            ("ну.......", "ну..."),
            ("))))))", ")))"),
            ("😡😡😡😡😡", "😡😡😡"),
            ("1000000 и 88888", "1000000 и 88888"),
            ("ссора, www", "ссора, www"),
            // Lookalikes.
            ("пpивeт", "привет"),
            ("xочу", "хочу"),
            ("МТS", "MTS"),
            ("Сlick", "Click"),
            ("MTC", "MTC"),
            ("МTC", "МTC"),
            ("SMSка IT-отдел", "SMSка IT-отдел"),
            ("eщë", "ещё"),
            ("нeeeeeт, еeеe", "нееет, еeеe"),
            // Signs.
            ("don’t м’ята ‘x’", "don't м'ята ‘x’"),
            ("8‑900−1", "8-900-1"),
        ];
        for (original, expected) in table {
            check(original, expected);
        }
    }

    #[test]
    fn many_marks_on_one_letter_are_cut() {
        let zalgo = format!("x{}y", "\u{316}".repeat(5_000));
        let normalised = normalise(&zalgo);
        assert!(normalised.text.chars().count() <= 2 + MARKS_PER_LETTER, "{:?}", normalised.text);
        assert_eq!(normalised.origin.last(), Some(&CharSpan::new(5_001, 5_002)));
    }

    #[test]
    fn spans_lead_back_to_the_original() {
        let original = "\u{feff} Ну  нееееет,\u{a0}\u{a0}при\u{ad}вет еще\u{308}  ﬁn";
        let table = [
            ("Ну", "Ну"),
            ("нееет", "нееееет"),
            ("привет", "при\u{ad}вет"),
            ("ещё", "еще\u{308}"),
            ("fin", "ﬁn"),
            (", ", ",\u{a0}\u{a0}"),
        ];
        let normalised = normalise(original);
        for (word, source) in table {
            let byte = normalised.text.find(word).unwrap();
            let start = count(normalised.text[..byte].chars().count());
            let span = CharSpan::new(start, start + count(word.chars().count()));
            assert_eq!(normalised.to_original(span).slice(original), source, "{word:?}");
        }
    }

    #[test]
    fn spans_past_the_end_stay_inside_the_original() {
        let normalised = normalise("а  б ");
        assert_eq!(normalised.to_original(CharSpan::new(2, 900)), CharSpan::new(3, 4));
        assert_eq!(normalised.to_original(CharSpan::new(700, 900)), CharSpan::new(4, 4));
        assert_eq!(normalised.to_original(CharSpan::new(1, 1)), CharSpan::new(1, 1));
        assert_eq!(normalise("").to_original(CharSpan::new(0, 3)), CharSpan::new(0, 0));
    }

    #[test]
    fn stress_over_a_latin_double_of_a_russian_vowel_is_dropped_too() {
        for (original, expected) in [
            ("йe\u{308}\u{308}\u{301}", "йё\u{308}"),
            ("йE\u{308}\u{301}", "йЁ"),
            ("йE\u{308}\u{301}a", "йЁа"),
            ("йE\u{308}\u{301}ë\u{301}ж", "йЁёж"),
        ] {
            assert_eq!(normalise(original).text, expected, "{original:?}");
        }
    }

    /// Text of the kind that breaks normalisers: letters of both alphabets, marks, invisible and compatibility characters.
    fn nasty() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-eа-еёйАВE \\n\u{301}\u{306}\u{308}\u{200b}\u{ad}\u{a0}ﬁ½²!.…1١０’-]{0,40}",
            "([А-я]{1,8}|[a-z]{1,6}|[0-9]{1,12}|!{1,9}|е{1,9}|\u{feff}| {1,3}|\r\n|😀){0,20}",
        ]
    }

    proptest! {
        #[test]
        fn origins_are_in_bounds_and_never_go_back(original in nasty()) {
            let normalised = normalise(&original);
            prop_assert_eq!(normalised.origin.len(), normalised.text.chars().count());
            let length = count(original.chars().count());
            for span in &normalised.origin {
                prop_assert!(span.start < span.end && span.end <= length, "{:?} of {}", span, length);
            }
            for pair in normalised.origin.windows(2) {
                prop_assert!(pair[0].start <= pair[1].start && pair[0].end <= pair[1].end, "{:?}", pair);
            }
        }

        #[test]
        fn normalising_again_changes_nothing(original in "[a-eа-еёй АВE\\n\u{301}\u{306}\u{308}\u{200b}\u{ad}\u{a0}ﬁ²!.…1０’-]{0,40}") {
            let once = normalise(&original).text;
            prop_assert_eq!(&normalise(&once).text, &once);
        }

        #[test]
        fn plain_text_is_left_alone(words in prop::collection::vec("[А-Яа-я]{2}|[a-d][f-z]|[0-9]{1,9}|«вот»,", 1..30)) {
            let original = words.join(" ");
            let normalised = normalise(&original);
            prop_assert_eq!(&normalised.text, &original);
            for (at, span) in (0..).zip(&normalised.origin) {
                prop_assert_eq!(*span, CharSpan::new(at, at + 1));
            }
        }

        #[test]
        fn an_untouched_word_maps_to_itself(before in nasty(), after in nasty()) {
            let original = format!("{before} жужжание\u{a0}{after}");
            let normalised = normalise(&original);
            let byte = normalised.text.find("жужжание").unwrap();
            let start = count(normalised.text[..byte].chars().count());
            let span = normalised.to_original(CharSpan::new(start, start + 8));
            prop_assert_eq!(span.slice(&original), "жужжание");
        }
    }
}
