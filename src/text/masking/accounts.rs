//! IBANs, and numbers that a cue calls an account or a contract.

use super::MaskedKind;
use super::checksums::{iban_length, is_iban};
use super::numbers::{is_counted, run_at};
use super::scan::{Kind, Scan};

/// Characters of the longest contract number.
const LONGEST_NUMBER: usize = 32;

pub(super) fn find(scan: &mut Scan<'_>) {
    for at in 0..scan.len() {
        if !scan.is_word(at) || scan.is_taken(at) {
            continue;
        }
        if let Some((to, compact)) = iban(scan, at) {
            scan.claim(at, to, MaskedKind::Account, compact);
        } else if let Some((after, cue)) = cue(scan, at)
            && let Some((from, to)) = number_after(scan, after, cue)
        {
            let key =
                (from..to).map(|at| scan.text_of(at)).filter(|part| *part != "-").collect::<String>().to_lowercase();
            scan.claim(from, to, MaskedKind::Account, key);
        }
    }
}

/// An IBAN that starts at `at`, compact or in groups: the token after it and its compact form.
fn iban(scan: &Scan<'_>, at: usize) -> Option<(usize, String)> {
    let country = scan.text_of(at);
    let length = iban_length(country).filter(|_| scan.is_digits(at + 1) && !scan.is_spaced(at + 1))?;
    let mut compact = String::with_capacity(length);
    let mut next = at;
    while compact.len() < length {
        let part = scan.text_of(next);
        if !part.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) || part.is_empty() {
            return None;
        }
        compact.push_str(part);
        next += 1;
    }
    (compact.len() == length && is_iban(&compact)).then_some((next, compact))
}

/// How much a cue proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cue {
    /// «Лицевой счёт», "account number": a number follows.
    Sure,
    /// «Договор», "contract": what follows may be a year or a sum.
    Weak,
    /// «Счёт»: only with `№` or the word «номер».
    WithSign,
}

/// A cue at `at`: the token after it.
fn cue(scan: &Scan<'_>, at: usize) -> Option<(usize, Cue)> {
    let word = scan.lower(at);
    let next = scan.lower(at + 1);
    let starts = |text: &str, stems: &[&str]| stems.iter().any(|stem| text.starts_with(stem));
    let slashed = |second: &str| scan.is_mark(at + 1, "/") && scan.lower(at + 2) == second;
    if starts(word, &["лицев", "расчетн", "банковск", "абонентск"]) && starts(next, &["счет", "номер"])
    {
        return Some((at + 2, Cue::Sure));
    }
    if matches!(word, "л" | "р") && (slashed("с") || slashed("сч")) {
        return Some((at + 3, Cue::Sure));
    }
    if word == "номер" && starts(next, &["счет", "договор", "контракт", "полис"]) {
        return Some((at + 2, Cue::Sure));
    }
    if matches!(word, "account" | "acct" | "contract" | "policy") && matches!(next, "number" | "no" | "id") {
        return Some((at + 2, Cue::Sure));
    }
    match word {
        "лицевой" | "лицевого" | "лс" => Some((at + 1, Cue::Weak)),
        "account" | "contract" | "iban" => Some((at + 1, Cue::Weak)),
        _ if starts(word, &["договор", "контракт", "полис", "абонент"]) => {
            Some((at + 1, Cue::Weak))
        }
        _ if starts(word, &["счет"]) => Some((at + 1, Cue::WithSign)),
        _ => None,
    }
}

/// The number that stands at `after`, over signs and fillers: its tokens.
fn number_after(scan: &Scan<'_>, after: usize, cue: Cue) -> Option<(usize, usize)> {
    let mut at = after;
    let mut signed = false;
    for _ in 0..4 {
        let filler =
            matches!(scan.lower(at), "номер" | "номером" | "number" | "no" | "n" | "is" | "мой" | "за" | "под");
        if !filler && !scan.is_mark(at, "№#:.-—–") {
            break;
        }
        signed |= scan.is_mark(at, "№#") || (filler && !matches!(scan.lower(at), "мой" | "за" | "под" | "is"));
        at += 1;
    }
    let end = token_run(scan, at);
    let digits: usize = (at..end).filter(|at| scan.is_digits(*at)).map(|at| scan.text_of(at).len()).sum();
    let least = match (cue, signed) {
        (Cue::Sure, _) => 4,
        (Cue::Weak | Cue::WithSign, true) => 3,
        (Cue::Weak, false) => 5,
        (Cue::WithSign, false) => 20,
    };
    // Digits in groups: `1234 5678 9012`.
    if cue == Cue::Sure && scan.is_digits(at) && end == at + 1 {
        let groups = run_at(scan, at).spaced_groups(4);
        if let Some(end) = groups.filter(|end| !is_counted(scan, *end)) {
            return Some((at, end));
        }
    }
    (digits >= least && !is_counted(scan, end)).then_some((at, end))
}

/// The end of the run of letters, digits, hyphens and slashes without white space that starts at `at`; `at` itself unless the
/// run starts with a digit or a capital letter.
fn token_run(scan: &Scan<'_>, at: usize) -> usize {
    let first = scan.is_digits(at) || (scan.is_name_case(at) && !scan.is_spaced(at + 1));
    let mut end = at;
    while first && end < scan.len() && !scan.is_taken(end) && end - at < LONGEST_NUMBER {
        let inside = matches!(scan.kind(end), Kind::Word | Kind::Digits) || scan.is_mark(end, "-/_–");
        if !inside || (end > at && scan.is_spaced(end)) {
            break;
        }
        end += 1;
    }
    while end > at && scan.is_mark(end - 1, "-/_–") {
        end -= 1;
    }
    end
}
