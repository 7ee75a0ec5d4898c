//! Postal addresses down to the house. A street alone is a place, not a person's home, and stays.

use super::MaskedKind;
use super::numbers::is_counted;
use super::scan::{Kind, Scan};

/// Words of the longest street name.
const LONGEST_STREET: usize = 4;
/// Digits of the largest house or flat number.
const HOUSE_DIGITS: usize = 4;

pub(super) fn find(scan: &mut Scan<'_>) {
    let mut at = 0;
    while at < scan.len() {
        let found = if scan.is_taken(at) {
            None
        } else if scan.is_digits(at) {
            english(scan, at)
        } else if scan.is_word(at) {
            street_first(scan, at).or_else(|| street_last(scan, at)).or_else(|| house_and_flat(scan, at))
        } else {
            None
        };
        match found {
            Some((from, to)) if scan.claim_text(from, to, MaskedKind::Address) => at = to.max(at + 1),
            _ => at += 1,
        }
    }
}

/// Endings of ordinal numbers.
const ORDINALS: &[&str] = &["й", "я", "е", "ю", "ей", "ой", "го", "му"];

/// Words for a street, in their cases and shortened.
#[rustfmt::skip]
const STREETS: &[&str] = &[
    "ул", "улица", "улице", "улицы", "улицу", "улицей", "проспект", "проспекта", "проспекте", "проспекту", "пр-т", "пр-кт", "пр",
    "просп", "переулок", "переулка", "переулке", "пер", "бульвар", "бульвара", "бульваре", "б-р", "бул", "шоссе", "ш",
    "набережная", "набережной", "набережную", "наб", "площадь", "площади", "пл", "проезд", "проезде", "проезда", "пр-д",
    "тупик", "тупике", "аллея", "аллее", "микрорайон", "микрорайоне", "мкр", "мкрн",
];

/// Words for what is in a house.
#[rustfmt::skip]
const PARTS: &[&str] = &[
    "к", "кор", "корп", "корпус", "стр", "строение", "лит", "литера", "кв", "квартира", "квартире", "квартиры", "оф", "офис",
    "под", "подъезд", "эт", "этаж", "apt", "apartment", "flat", "unit", "suite",
];

#[rustfmt::skip]
const ENGLISH_STREETS: &[&str] = &[
    "Street", "St", "Avenue", "Ave", "Road", "Rd", "Lane", "Ln", "Drive", "Dr", "Boulevard", "Blvd", "Court", "Ct", "Square",
    "Sq", "Place", "Pl", "Way", "Terrace", "Parkway", "Crescent", "Close", "Highway",
];

/// True for a word for a street, in lower case.
pub(super) fn is_street(lower: &str) -> bool {
    STREETS.contains(&lower)
}

/// `ул. Садовая, д. 5, кв. 7`: a street word, a name, a house.
fn street_first(scan: &Scan<'_>, at: usize) -> Option<(usize, usize)> {
    if !is_street(scan.lower(at)) {
        return None;
    }
    let name = scan.skip(at + 1, ".«\"");
    let (name_end, capital) = street_name(scan, name)?;
    let end = house(scan, scan.skip(name_end, "»\""), capital)?;
    Some((at, end))
}

/// The end of a street name that starts at `at`, and whether it is capitalised.
fn street_name(scan: &Scan<'_>, at: usize) -> Option<(usize, bool)> {
    let mut next = at;
    // `8 Марта`, `1-я Парковая`, `50 лет Октября`.
    if scan.is_digits(next) && scan.text_of(next).len() <= 3 {
        next += 1;
        if scan.is_mark(next, "-") && scan.is_word(next + 1) {
            next += 2;
        }
        if scan.lower(next) == "лет" {
            next += 1;
        }
    }
    if scan.lower(next) == "им" {
        next = scan.skip(next + 1, ".");
    }
    let mut words = 0;
    let mut capital = false;
    while words < LONGEST_STREET && scan.is_word(next) && !is_house_word(scan, next) {
        let name_case = scan.is_name_case(next);
        let initial = name_case && scan.text_of(next).chars().count() == 1 && scan.is_mark(next + 1, ".");
        if words == 0 {
            capital = name_case;
        }
        if words > 0 && name_case != capital {
            break;
        }
        if !capital && words == 2 {
            break;
        }
        next += if initial { 2 } else { 1 };
        words += 1;
    }
    (words > 0).then_some((next, capital))
}

/// `Невский проспект, 5`, `Большая Садовая улица, дом 3`: a name, a street word, a house.
fn street_last(scan: &Scan<'_>, at: usize) -> Option<(usize, usize)> {
    let adjective = |at: usize| {
        scan.is_name_case(at)
            && ["ий", "ый", "ой", "ая", "ое", "ом", "ого", "ую"].iter().any(|ending| scan.lower(at).ends_with(ending))
    };
    if !adjective(at) {
        return None;
    }
    let street = if adjective(at + 1) { at + 2 } else { at + 1 };
    if !is_street(scan.lower(street)) {
        return None;
    }
    let end = house(scan, scan.skip(street + 1, "."), true)?;
    Some((at, end))
}

/// `д. 5, кв. 7` without a street, with a capitalised word before it where there is one: `Ленина, д. 5, кв. 7`.
fn house_and_flat(scan: &Scan<'_>, at: usize) -> Option<(usize, usize)> {
    if scan.is_name_case(at) && !is_house_word(scan, at) {
        let word = scan.skip(at + 1, ",");
        return is_house_word(scan, word).then(|| house_and_flat(scan, word)).flatten().map(|(_, end)| (at, end));
    }
    if !is_house_word(scan, at) {
        return None;
    }
    let number = scan.skip(at + 1, ".№");
    let end = house_number(scan, number)?;
    let flat = parts(scan, end);
    let has_flat = (end..flat).any(|at| scan.lower(at).starts_with("кв"));
    has_flat.then_some((at, flat))
}

fn is_house_word(scan: &Scan<'_>, at: usize) -> bool {
    matches!(scan.lower(at), "д" | "дом" | "доме" | "дома" | "house") && scan.is_digits(scan.skip(at + 1, ".№"))
}

/// The end of a house, with building and flat, that starts at `at`. Without the word «дом» a number is a house only after a
/// capitalised name.
fn house(scan: &Scan<'_>, at: usize, capital: bool) -> Option<usize> {
    let at = scan.skip(at, ",");
    if is_house_word(scan, at) {
        return house_number(scan, scan.skip(at + 1, ".№")).map(|end| parts(scan, end));
    }
    let end = house_number(scan, at)?;
    let flat = parts(scan, end);
    let year = scan.text_of(at).len() == HOUSE_DIGITS;
    let is_house = flat > end || (capital && !year && !is_amount(scan, end));
    is_house.then_some(flat)
}

/// True if what stands at `at` makes an amount, a time or a date of the number before it.
fn is_amount(scan: &Scan<'_>, at: usize) -> bool {
    const UNITS: &[&str] =
        &["час", "утра", "вечера", "мин", "сут", "недел", "месяц", "дом", "квартир", "метр", "км", "подъезд"];
    let word = scan.lower(at);
    let joined = scan.is_mark(at, ".:") && scan.is_digits(at + 1) && !scan.is_spaced(at + 1);
    joined
        || is_counted(scan, at)
        || (!word.is_empty() && (word == "ч" || UNITS.iter().any(|unit| word.starts_with(unit))))
}

/// The end of a house number at `at`: `5`, `5а`, `5/2`, `5-А`.
fn house_number(scan: &Scan<'_>, at: usize) -> Option<usize> {
    if !scan.is_digits(at) || scan.is_taken(at) || scan.text_of(at).len() > HOUSE_DIGITS {
        return None;
    }
    // `Героев 7-й армии` has no house 7.
    if scan.is_mark(at + 1, "-") && ORDINALS.contains(&scan.lower(at + 2)) {
        return None;
    }
    let mut end = at + 1;
    if scan.is_mark(end, "/-")
        && !scan.is_spaced(end)
        && !scan.is_spaced(end + 1)
        && (scan.is_digits(end + 1) || is_letter(scan, end + 1))
    {
        end += 2;
    }
    if is_letter(scan, end) && !scan.is_spaced(end) {
        end += 1;
    }
    Some(end)
}

fn is_letter(scan: &Scan<'_>, at: usize) -> bool {
    scan.is_word(at) && scan.text_of(at).chars().count() == 1
}

/// The end of building, entrance, floor and flat from `at` on; `at` itself without any.
fn parts(scan: &Scan<'_>, at: usize) -> usize {
    let mut end = at;
    loop {
        let word = scan.skip(end, ",");
        let is_part = PARTS.contains(&scan.lower(word));
        let number = scan.skip(word + 1, ".№#");
        let numbered = scan.is_digits(number) && scan.text_of(number).len() <= HOUSE_DIGITS && !scan.is_taken(number);
        if !is_part || !(numbered || (is_letter(scan, number) && scan.lower(word).starts_with(['к', 'л', 'с']))) {
            return end;
        }
        end = number + 1;
        if is_letter(scan, end) && !scan.is_spaced(end) {
            end += 1;
        }
    }
}

/// `221B Baker Street, Flat 2`: a number, capitalised words, a street word.
fn english(scan: &Scan<'_>, at: usize) -> Option<(usize, usize)> {
    let attached = at > 0
        && !scan.is_spaced(at)
        && matches!(scan.kind(at - 1), Kind::Word | Kind::Digits | Kind::Mark('.' | ',' | '-' | '$' | '/' | ':'));
    if attached || scan.text_of(at).len() > HOUSE_DIGITS + 1 {
        return None;
    }
    let mut next = if is_letter(scan, at + 1) && !scan.is_spaced(at + 1) { at + 2 } else { at + 1 };
    let first = next;
    while next - first < LONGEST_STREET
        && scan.is_name_case(next)
        && scan.text_of(next).is_ascii()
        && !scan.is_taken(next)
    {
        if next > first && ENGLISH_STREETS.contains(&scan.text_of(next)) {
            let end = if scan.is_mark(next + 1, ".") && scan.is_mark(next + 2, ",") { next + 2 } else { next + 1 };
            return Some((at, parts(scan, end)));
        }
        next += if scan.is_mark(next + 1, ".") && scan.text_of(next).len() <= 2 { 2 } else { 1 };
    }
    None
}
