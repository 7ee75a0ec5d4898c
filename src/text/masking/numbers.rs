//! Numbers whose form or check digits prove what they are: phones, cards, passports, СНИЛС, ИНН, bank accounts.

use super::MaskedKind;
use super::checksums::{is_inn, is_luhn, is_snils};
use super::scan::{Kind, Scan};

/// Digits of the longest number looked for.
const LONGEST: usize = 20;
/// Groups of the most divided number.
const MOST_GROUPS: usize = 8;
/// Characters between two groups of one number.
const LONGEST_SEPARATOR: usize = 3;
/// Words before a number in which a cue for it is looked for.
const CUE_REACH: usize = 8;

/// A run of digit groups that may be one number, or start with one.
pub(super) struct Run {
    digits: String,
    groups: Vec<Group>,
}

struct Group {
    /// Digits of the run up to the end of this group.
    digits: usize,
    /// Index of the token after this group.
    end: usize,
    /// What stands between this group and the one before.
    separator: String,
}

/// The first groups of a [`Run`].
#[derive(Clone, Copy)]
pub(super) struct Prefix<'r> {
    pub(super) digits: &'r str,
    /// Index of the token after the last group.
    pub(super) end: usize,
    groups: &'r [Group],
}

impl Run {
    /// The first group, the first two, and so on, longest first.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = Prefix<'_>> {
        (1..=self.groups.len()).rev().filter_map(|count| {
            let groups = self.groups.get(..count)?;
            let last = groups.last()?;
            Some(Prefix { digits: self.digits.get(..last.digits)?, end: last.end, groups })
        })
    }

    /// The end of two or more groups of at least `least` digits each (the last may be shorter) parted by single spaces.
    pub(super) fn spaced_groups(&self, least: usize) -> Option<usize> {
        let whole = self.prefixes().last()?.digits.len() >= least;
        let others = self.groups.iter().skip(1).take_while(|group| group.separator == " ");
        others.last().filter(|_| whole).map(|last| last.end)
    }
}

impl Prefix<'_> {
    fn lengths(&self) -> Vec<usize> {
        let mut before = 0;
        self.groups.iter().map(|group| group.digits - std::mem::replace(&mut before, group.digits)).collect()
    }

    fn separated_by(&self, allowed: impl Fn(&str) -> bool) -> bool {
        self.groups.iter().skip(1).all(|group| allowed(&group.separator))
    }
}

/// The run of groups that starts at the digits at `at`.
pub(super) fn run_at(scan: &Scan<'_>, at: usize) -> Run {
    let mut run = Run { digits: String::new(), groups: Vec::new() };
    let mut next = at;
    let mut end_byte = scan.range(at).0;
    while run.groups.len() < MOST_GROUPS
        && scan.is_digits(next)
        && !scan.is_taken(next)
        && run.digits.len() + scan.text_of(next).len() <= LONGEST
    {
        run.digits.push_str(scan.text_of(next));
        let separator = scan.text.get(end_byte..scan.range(next).0).unwrap_or_default().to_owned();
        end_byte = scan.range(next).1;
        run.groups.push(Group { digits: run.digits.len(), end: next + 1, separator });
        next += 1;
        let mut gap = 0;
        while gap < LONGEST_SEPARATOR && scan.is_mark(next, "-–—.()") {
            next += 1;
            gap += 1;
        }
        let (start, _) = scan.range(next);
        if scan
            .text
            .get(end_byte..start)
            .is_none_or(|gap| gap.chars().count() > LONGEST_SEPARATOR || gap.contains('\n'))
        {
            break;
        }
    }
    run
}

pub(super) fn find(scan: &mut Scan<'_>) {
    let mut at = 0;
    while at < scan.len() {
        if scan.is_digits(at) && !scan.is_taken(at) && !is_attached_before(scan, at) {
            let run = run_at(scan, at);
            let found = passport(scan, at, &run).or_else(|| {
                run.prefixes().filter(|prefix| !is_attached_after(scan, prefix.end)).find_map(|prefix| {
                    let (from, kind) = classify(scan, at, prefix)?;
                    Some((from, prefix.end, kind, prefix.digits.to_owned()))
                })
            });
            if let Some((from, to, kind, key)) = found {
                let key = if kind == MaskedKind::Phone { phone_key(&key) } else { key };
                scan.claim(from, to, kind, key);
                at = to.max(at);
            }
        }
        at += 1;
    }
}

/// One key for `8 900…`, `+7 900…` and `900…`.
fn phone_key(digits: &str) -> String {
    match digits.len() {
        11 if digits.starts_with(['7', '8']) => digits.get(1..).unwrap_or_default().to_owned(),
        _ => digits.to_owned(),
    }
}

/// What a number is, and the token it starts with.
fn classify(scan: &Scan<'_>, at: usize, prefix: Prefix<'_>) -> Option<(usize, MaskedKind)> {
    let lengths = prefix.lengths();
    if is_bank_account(scan, at, prefix, &lengths) {
        return Some((at, MaskedKind::Account));
    }
    if prefix.digits.len() == 11 && lengths == [3, 3, 3, 2] && is_snils(prefix.digits) {
        return Some((at, MaskedKind::Snils));
    }
    if let Some(from) = phone(scan, at, prefix, &lengths) {
        return Some((from, MaskedKind::Phone));
    }
    if is_card(scan, at, prefix, &lengths) {
        return Some((at, MaskedKind::Card));
    }
    let named = |name: &str| scan.cue_before(at, CUE_REACH, |word| word == name);
    let one_number = lengths.len() == 1 || prefix.separated_by(|separator| separator == " ");
    let ordered = is_order(scan.label_before(at)) && lengths.len() == 1;
    let inn_cue = named("инн") || named("inn");
    if one_number && is_inn(prefix.digits) && (inn_cue || (prefix.digits.len() == 12 && lengths.len() == 1 && !ordered))
    {
        return Some((at, MaskedKind::Inn));
    }
    let snils_cue = named("снилс") || named("snils");
    if is_snils(prefix.digits) && (snils_cue || (lengths.len() == 1 && !ordered)) {
        return Some((at, MaskedKind::Snils));
    }
    None
}

/// True if the digits at `at` are the tail of something longer: `A123`, `12.5`, `10:30`, `x-15`.
fn is_attached_before(scan: &Scan<'_>, at: usize) -> bool {
    let Some(before) = at.checked_sub(1).filter(|_| !scan.is_spaced(at)) else { return false };
    match scan.kind(before) {
        Kind::Word => !is_phone_cue(scan.lower(before)),
        Kind::Mark('_') => true,
        Kind::Mark('-' | '.' | ',' | '/' | ':' | '–') => {
            let attached = before.checked_sub(1).filter(|_| !scan.is_spaced(before));
            attached.is_some_and(|further| scan.is_digits(further))
        }
        _ => false,
    }
}

/// True if something longer goes on at `end`, the token after a number.
fn is_attached_after(scan: &Scan<'_>, end: usize) -> bool {
    if scan.is_spaced(end) {
        return false;
    }
    match scan.kind(end) {
        Kind::Word => scan.text_of(end).chars().count() < 3 || scan.text_of(end).is_ascii(),
        Kind::Mark('_') => true,
        Kind::Mark('-' | '.' | ',' | '/' | ':' | '–') => scan.is_digits(end + 1) && !scan.is_spaced(end + 1),
        _ => false,
    }
}

/// True if the token at `at` says that the number before it is an amount: `руб`, `%`, `₽`, `штук`.
pub(super) fn is_counted(scan: &Scan<'_>, at: usize) -> bool {
    const UNITS: &[&str] = &[
        "руб",
        "коп",
        "тыс",
        "млн",
        "долл",
        "евро",
        "штук",
        "шт",
        "раз",
        "год",
        "дней",
        "дня",
        "человек",
        "балл",
        "бонус",
        "рэ",
        "usd",
        "eur",
        "rub",
        "dollar",
    ];
    let word = scan.lower(at);
    scan.is_mark(at, "%₽$€£")
        || word == "р"
        || word == "г"
        || (!word.is_empty() && UNITS.iter().any(|unit| word.starts_with(unit)))
}

fn is_phone_cue(word: &str) -> bool {
    const STEMS: &[&str] = &[
        "тел",
        "моб",
        "сотов",
        "звон",
        "позвон",
        "перезвон",
        "набер",
        "набир",
        "вотсап",
        "ватсап",
        "whatsapp",
        "вайбер",
        "viber",
        "phone",
        "tel",
        "mobile",
        "call",
        "cell",
    ];
    STEMS.iter().any(|stem| word.starts_with(stem)) || word == "смс" || word == "sms"
}

/// True for words that name numbers of orders, parcels and tickets.
fn is_order(label: &str) -> bool {
    const STEMS: &[&str] = &[
        "заказ",
        "заявк",
        "обращен",
        "трек",
        "накладн",
        "чек",
        "квитанц",
        "посылк",
        "отправлен",
        "артикул",
        "штрихкод",
        "imei",
        "инцидент",
        "тикет",
        "операци",
        "транзакц",
        "order",
        "ticket",
        "track",
        "invoice",
        "ref",
        "parcel",
    ];
    STEMS.iter().any(|stem| label.starts_with(stem))
}

/// A phone number: the token that it starts with, over the `+` or `(` before its digits.
fn phone(scan: &Scan<'_>, at: usize, prefix: Prefix<'_>, lengths: &[usize]) -> Option<usize> {
    let bracket = at.checked_sub(1).filter(|before| scan.is_mark(*before, "(") && !scan.is_spaced(at));
    let opened = bracket.filter(|_| {
        prefix.separated_by(|_| true) && prefix.groups.get(1).is_some_and(|group| group.separator.contains(')'))
    });
    let start = opened.unwrap_or(at);
    let plus = start.checked_sub(1).filter(|before| scan.is_mark(*before, "+"));
    let cued = || scan.cue_before(at, CUE_REACH, is_phone_cue);
    let ordered = || is_order(scan.label_before(at)) && lengths.len() == 1;
    let digits = prefix.digits.as_bytes();
    let digit = |place: usize| digits.get(place).copied().unwrap_or(b'0');
    let dashed =
        || prefix.separated_by(|separator| separator == "-") || prefix.separated_by(|separator| separator == ".");
    if prefix.groups.iter().skip(1).any(|group| group.separator.contains("--")) {
        return None;
    }
    let is_phone = match digits.len() {
        _ if plus.is_some() && is_international(prefix, lengths) => !is_counted(scan, prefix.end),
        11 if matches!(digit(0), b'7' | b'8') && matches!(digit(1), b'3'..=b'9') => {
            let mobile = digit(1) == b'9' && !ordered();
            (lengths.len() > 1 && matches!(lengths, [1 | 4, ..])) || (lengths.len() == 1 && (mobile || cued()))
        }
        11 if digit(0) == b'1' && lengths == [1, 3, 3, 4] => true,
        10 | 11 if digit(0) == b'0' => cued(),
        10 => match lengths {
            [3, ..] if opened.is_some() && matches!(digit(0), b'2'..=b'9') => true,
            [4 | 5, ..] if opened.is_some() && matches!(digit(0), b'3' | b'4' | b'8') => true,
            [3, 3, 2, 2] | [3, 2, 2, 3] if digit(0) == b'9' => dashed() || cued() || lengths == [3, 3, 2, 2],
            [3, 3, 4] if dashed() && matches!(digit(0), b'2'..=b'9') && matches!(digit(3), b'2'..=b'9') => true,
            _ => {
                matches!(digit(0), b'3' | b'4' | b'8' | b'9')
                    && !ordered()
                    && (cued() || (digit(0) == b'9' && labelled_number(scan, at)))
            }
        },
        7 => {
            matches!(lengths, [3, 2, 2] | [7] | [3, 4])
                && (dashed() || prefix.separated_by(|separator| separator == " "))
                && is_phone_cue(scan.label_before(at))
        }
        6 => lengths == [2, 2, 2] && is_phone_cue(scan.label_before(at)),
        _ => false,
    };
    is_phone.then_some(plus.unwrap_or(start))
}

/// True if «номер» (and no order) stands right before the number.
fn labelled_number(scan: &Scan<'_>, at: usize) -> bool {
    scan.cue_before(at, 2, |word| word.starts_with("номер") || word == "number") && !is_order(scan.label_before(at))
}

/// True for digits after a `+` that fill an international number (E.164).
fn is_international(prefix: Prefix<'_>, lengths: &[usize]) -> bool {
    let digits = prefix.digits;
    let thousands = lengths.len() > 1 && lengths.iter().skip(1).all(|length| *length == 3);
    let exact = match digits.as_bytes() {
        [b'7' | b'1', ..] => Some(11),
        [b'3', b'7', b'5', ..] | [b'3', b'8', b'0', ..] | [b'9', b'9', b'2' | b'3' | b'4' | b'6' | b'8', ..] => {
            Some(12)
        }
        _ => None,
    };
    match exact {
        Some(length) => digits.len() == length,
        None => (9..=15).contains(&digits.len()) && !thousands && !digits.starts_with('0'),
    }
}

fn is_bank_account(scan: &Scan<'_>, at: usize, prefix: Prefix<'_>, lengths: &[usize]) -> bool {
    let grouped = lengths.len() == 1 || prefix.separated_by(|separator| matches!(separator, " " | "-" | "."));
    let starts = prefix.digits.starts_with(['3', '4']);
    let cued = || {
        scan.cue_before(at, CUE_REACH, |word| word.starts_with("счет") || word.starts_with("account") || word == "с")
    };
    prefix.digits.len() == 20 && grouped && ((starts && lengths.len() == 1) || cued())
}

fn is_card(scan: &Scan<'_>, at: usize, prefix: Prefix<'_>, lengths: &[usize]) -> bool {
    if !is_luhn(prefix.digits) || !prefix.separated_by(|separator| matches!(separator, " " | "-" | "–" | " - ")) {
        return false;
    }
    let issuer = matches!(prefix.digits.as_bytes().first(), Some(b'2'..=b'6'));
    match lengths {
        [4, 4, 4, 4] | [4, 4, 4, 4, 1..=3] | [4, 6, 5] | [4, 6, 4] | [8, 8] | [8, 10] => issuer,
        [16] => issuer,
        [15] => prefix.digits.starts_with("34") || prefix.digits.starts_with("37"),
        [18 | 19] => {
            ["50", "56", "57", "58", "62", "63", "67", "22"].iter().any(|start| prefix.digits.starts_with(start))
        }
        // Bar codes have 13 digits and parcels 14.
        [13 | 14] => {
            issuer && scan.cue_before(at, CUE_REACH, |word| word.starts_with("карт") || word.starts_with("card"))
        }
        _ => false,
    }
}

/// A passport whose series or number starts at `at`: its tokens, kind and key.
fn passport(scan: &Scan<'_>, at: usize, run: &Run) -> Option<(usize, usize, MaskedKind, String)> {
    let named = |word: &str| word.starts_with("паспорт") || word.starts_with("загранпаспорт") || word == "passport";
    let series = |word: &str| word.starts_with("сери") || word == "series";
    if !scan.cue_before(at, CUE_REACH, |word| named(word) || series(word)) {
        return None;
    }
    let found =
        |end: usize, digits: String| (!is_attached_after(scan, end)).then_some((at, end, MaskedKind::Passport, digits));
    let near = scan.cue_before(at, CUE_REACH, named);
    for prefix in run.prefixes() {
        let plain = prefix.separated_by(|separator| matches!(separator, " " | "-" | " - " | "–"));
        let lengths = prefix.lengths();
        let whole = matches!(lengths.as_slice(), [4, 6] | [2, 2, 6])
            || (near && matches!(lengths.as_slice(), [10] | [9] | [2, 7]))
            || (lengths == [6] && named(scan.label_before(at)));
        if plain && whole {
            return found(prefix.end, prefix.digits.to_owned());
        }
        // `4509 № 123456`, `серия 45 09 номер 123456`.
        if plain && matches!(lengths.as_slice(), [4] | [2, 2]) {
            let mut number = prefix.end;
            while scan.is_mark(number, "№#,:.") || matches!(scan.lower(number), "номер" | "n" | "no" | "number" | "ном")
            {
                number += 1;
            }
            if number > prefix.end && scan.is_digits(number) && scan.text_of(number).len() == 6 {
                return found(number + 1, format!("{}{}", prefix.digits, scan.text_of(number)));
            }
        }
    }
    None
}
