//! Names of people: with a patronymic, with initials, a given name with a surname, and after words that introduce a person.

use super::MaskedKind;
use super::addresses::is_street;
use super::given_names::{GivenName, given_name};
use super::name_cues::{Cue, cue, is_role};
use super::scan::{Kind, Scan};
use super::surnames::{is_patronymic, is_surname_like};

/// Words of the longest name.
const LONGEST_NAME: usize = 3;
/// Tokens between a word for a street and a name after it: `ул. им. А. С. Пушкина`.
const STREET_REACH: usize = 8;

/// Capitalised words that stand where names stand and are none.
#[rustfmt::skip]
const NOT_NAMES: &[&str] = &[
    "вы", "вас", "вам", "ваш", "ваша", "ваши", "вашим", "к", "мы", "он", "она", "они", "я", "это", "клиент", "клиентка", "абонент",
    "покупатель", "пользователь", "житель", "жители", "администрация", "команда", "коллектив", "служба", "отдел", "банк", "компания",
    "группа", "центр", "магазин", "ооо", "оао", "пао", "зао", "ао", "ип", "спасибо", "оператор", "менеджер", "поддержка", "россия",
    "москва", "здравствуйте", "добрый", "уважаемый", "уважаемая", "уважаемые", "господин", "госпожа", "директор", "врач", "доктор",
    "мастер", "специалист", "сотрудник", "консультант", "с", "в", "на", "не", "и", "но", "а", "мне", "меня", "нам", "для", "по", "почему", "когда", "где", "как",
    "the", "your", "our", "my", "team", "support", "customer", "service", "client", "and", "i", "we", "you", "dear", "kind", "best",
    "regards", "sir", "madam", "bank", "thanks", "please", "a", "not",
];

pub(super) fn find(scan: &mut Scan<'_>) {
    let mut at = 0;
    while at < scan.len() {
        if scan.is_word(at) && !scan.is_taken(at) && !names_a_street(scan, at) {
            let found = full_name(scan, at)
                .or_else(|| with_initials(scan, at))
                .or_else(|| pair(scan, at))
                .or_else(|| cue(scan, at).and_then(|(after, cue)| named_after(scan, after, cue)));
            if let Some((from, to)) = found
                && scan.claim_text(from, to, MaskedKind::Name)
            {
                at = to.max(at + 1);
                continue;
            }
        }
        at += 1;
    }
}

/// True for a part of a name that is masked wherever it comes again in the text with a capital letter.
pub(super) fn stands_alone(part: &str) -> bool {
    part.chars().count() >= 3 && !NOT_NAMES.contains(&part)
}

/// True if the words at `at` and after it stand side by side.
fn adjacent(scan: &Scan<'_>, at: usize) -> bool {
    scan.is_word(at) && scan.is_word(at + 1) && !scan.is_taken(at) && !scan.is_taken(at + 1)
}

/// True for a capitalised word that may be a part of a name.
fn is_candidate(scan: &Scan<'_>, at: usize) -> bool {
    scan.is_name_case(at) && !scan.is_taken(at) && !NOT_NAMES.contains(&scan.lower(at)) && !is_role(scan.lower(at))
}

/// True if the word at `at` follows the word for a street: what is named after a person is a place.
fn names_a_street(scan: &Scan<'_>, at: usize) -> bool {
    let mut before = at;
    for _ in 0..STREET_REACH {
        let Some(previous) = before.checked_sub(1) else { break };
        before = previous;
        let passed = scan.is_mark(before, ".") || is_initial(scan, before) || scan.lower(before) == "им";
        if !passed {
            break;
        }
    }
    before < at && is_street(scan.lower(before))
}

/// A given name with a patronymic at `at` or one word later, with the surname before or after it.
fn full_name(scan: &Scan<'_>, at: usize) -> Option<(usize, usize)> {
    let given_and_patronymic = |at: usize| {
        adjacent(scan, at)
            && is_patronymic(scan.lower(at + 1))
            && match given_name(scan.lower(at)) {
                Some(GivenName::Certain) => true,
                Some(GivenName::AlsoWord) => scan.is_name_case(at),
                None => is_candidate(scan, at) && scan.is_name_case(at + 1) && scan.lower(at).chars().count() >= 3,
            }
    };
    let surname = |at: usize| {
        let capital = is_candidate(scan, at);
        let plain = ["ова", "ева", "ский", "ская"].iter().any(|ending| scan.lower(at).ends_with(ending));
        is_surname_like(scan.lower(at)) && (capital || (plain && !scan.is_name_case(at + 1)))
    };
    if adjacent(scan, at)
        && (surname(at)
            || (is_candidate(scan, at)
                && given_name(scan.lower(at + 1)).is_some()
                && at_line_start(scan, at)
                && scan.is_word(at + 2)
                && ends_line(scan, at + 3)))
        && given_and_patronymic(at + 1)
    {
        return Some((at, at + 3));
    }
    if !given_and_patronymic(at) {
        return None;
    }
    let after = adjacent(scan, at + 1) && is_candidate(scan, at + 2) && is_surname_like(scan.lower(at + 2));
    Some((at, at + if after { 3 } else { 2 }))
}

fn at_line_start(scan: &Scan<'_>, at: usize) -> bool {
    at == 0 || scan.kind(at - 1) == Kind::LineBreak
}

fn ends_line(scan: &Scan<'_>, at: usize) -> bool {
    scan.kind(at) == Kind::LineBreak
}

/// One capital letter with a dot, at `at`.
fn is_initial(scan: &Scan<'_>, at: usize) -> bool {
    scan.is_name_case(at)
        && scan.text_of(at).chars().count() == 1
        && scan.is_mark(at + 1, ".")
        && !scan.is_spaced(at + 1)
}

/// The end of one or two initials from `at` on, and how many there are.
fn initials(scan: &Scan<'_>, at: usize) -> (usize, usize) {
    match (is_initial(scan, at), is_initial(scan, at + 2)) {
        (true, true) => (at + 4, 2),
        (true, false) => (at + 2, 1),
        _ => (at, 0),
    }
}

/// True for capitalised abbreviations that look like initials: `Т. Е.`, `P. S.`.
fn is_phrase(scan: &Scan<'_>, at: usize) -> bool {
    scan.is_mark(at + 1, ".")
        && matches!(
            (scan.lower(at), scan.lower(at + 2)),
            ("т", "е" | "к" | "д" | "п" | "н" | "о" | "ч")
                | ("p", "s")
                | ("п", "с")
                | ("a" | "p", "m")
                | ("u", "s" | "k")
                | ("и", "о")
        )
}

/// `Иванов И. И.`, `И. И. Иванов`, `Иванов И.`.
fn with_initials(scan: &Scan<'_>, at: usize) -> Option<(usize, usize)> {
    let surname = |at: usize, initials: usize| {
        is_candidate(scan, at)
            && match initials {
                0 => false,
                1 => is_surname_like(scan.lower(at)),
                _ => scan.lower(at).chars().count() >= 3 && !is_verb(scan.lower(at)),
            }
    };
    if is_phrase(scan, at) {
        return None;
    }
    let (end, count) = initials(scan, at);
    if count > 0 && surname(end, count) {
        return Some((at, end + 1));
    }
    let (end, count) = initials(scan, at + 1);
    (!is_phrase(scan, at + 1) && surname(at, count) && scan.text_of(at).chars().count() > 1).then_some((at, end))
}

/// A known given name with what looks like a surname beside it, both capitalised.
fn pair(scan: &Scan<'_>, at: usize) -> Option<(usize, usize)> {
    if !adjacent(scan, at) || !is_candidate(scan, at) || !is_candidate(scan, at + 1) {
        return None;
    }
    let known = |at: usize| given_name(scan.lower(at)).is_some();
    let surname = |at: usize| is_surname_like(scan.lower(at)) && !known(at);
    ((known(at) && surname(at + 1)) || (surname(at) && known(at + 1))).then_some((at, at + 2))
}

/// True if the surname-like word at `at` rather tells which office: «оператор Московского филиала».
fn is_adjective(scan: &Scan<'_>, at: usize) -> bool {
    const FORMS: &[&str] = &["ский", "ская", "цкий", "цкая", "ского", "ской", "цкого", "цкой", "скому", "ским"];
    let next = scan.lower(at + 1);
    let person = is_verb(next) && !next.starts_with("филиал");
    scan.is_word(at + 1) && !person && FORMS.iter().any(|form| scan.lower(at).ends_with(form))
}

/// True for the form of a verb about what somebody did or does.
fn is_verb(word: &str) -> bool {
    ["л", "ла", "ли", "лся", "лась", "ет", "ит", "ть"].iter().any(|ending| word.ends_with(ending))
}

fn is_plural(role: &str) -> bool {
    ["ы", "и", "ов", "ей", "ам", "ями", "ами", "ах"].iter().any(|ending| role.ends_with(ending))
}

/// The name after a cue that ends before `after`.
fn named_after(scan: &Scan<'_>, after: usize, cue: Cue) -> Option<(usize, usize)> {
    let mut at = after;
    for _ in 0..4 {
        let skipped = match cue {
            Cue::Signature => scan.is_mark(at, ",.!:—–-") || (scan.kind(at) == Kind::LineBreak && at < scan.len()),
            Cue::Title => scan.is_mark(at, "."),
            Cue::Introduction => scan.is_mark(at, ",:—–-«\"") || matches!(scan.lower(at), "как" | "is"),
            Cue::Role => scan.is_mark(at, ":(—–-«\"") || matches!(scan.lower(at), "по" | "имени" | "named"),
            Cue::Greeting => scan.is_mark(at, ","),
        };
        if !skipped {
            break;
        }
        at += 1;
    }
    if scan.is_taken(at) || !scan.is_word(at) {
        return None;
    }
    let (initials_end, initials_count) = initials(scan, at + 1);
    if cue != Cue::Greeting && is_candidate(scan, at) && initials_count > 0 && scan.text_of(at).chars().count() > 1 {
        return Some((at, initials_end));
    }
    let lower = scan.lower(at);
    let known = given_name(lower);
    let capital = is_candidate(scan, at);
    let starts = match cue {
        Cue::Introduction => capital || known == Some(GivenName::Certain),
        Cue::Signature | Cue::Title => capital,
        Cue::Role => match known {
            Some(GivenName::Certain) => true,
            Some(GivenName::AlsoWord) => capital,
            None => capital && is_surname_like(lower) && !is_adjective(scan, at) && !is_plural(scan.lower(after - 1)),
        },
        Cue::Greeting => capital && known.is_some(),
    };
    if !starts {
        return None;
    }
    let mut end = at + 1;
    while end - at < LONGEST_NAME && scan.is_word(end) && !scan.is_taken(end) {
        let lower = scan.lower(end);
        let continues = match (capital, cue) {
            (true, Cue::Introduction | Cue::Signature | Cue::Title) => is_candidate(scan, end),
            (true, _) => {
                is_candidate(scan, end) && (is_surname_like(lower) || is_patronymic(lower) || lower.is_ascii())
            }
            (false, _) => {
                is_patronymic(lower)
                    || (is_surname_like(lower)
                        && cue == Cue::Introduction
                        && end == at + 1
                        && lower.ends_with(['в', 'а', 'й']))
            }
        };
        if !continues {
            break;
        }
        end += 1;
    }
    let closed = matches!(scan.kind(end), Kind::LineBreak | Kind::Mark(_) | Kind::Placeholder) || scan.is_taken(end);
    (cue != Cue::Signature || closed).then_some((at, end))
}
