//! Words that a dot ends without ending the sentence.

/// What a dot after an abbreviation says about the end of the sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dot {
    /// Never ends it: the abbreviation belongs to what follows (`ул.`, `т.е.`, `Mr.`).
    Continues,
    /// Does not end it before a number or a sign (`стр. 5`, `No. 7`), otherwise as any dot.
    ContinuesBeforeNumber,
    /// Ends it only before a capital letter (`руб.`, `и т.д.`, `a.m.`).
    EndsBeforeCapital,
}

/// What stands before an abbreviation, where that changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Before<'t> {
    /// The word before, in lower case; empty at the start of a line.
    pub(super) word: &'t str,
    /// True if that word ends in a digit.
    pub(super) number: bool,
}

/// Looks `token` up: letters, dots, hyphens and slashes before the last dot, in lower case.
pub(super) fn dot_after(token: &str, before: Before<'_>) -> Option<Dot> {
    let dot = match token {
        "г" | "гг" | "в" | "вв" | "ч" | "м" | "с" | "л" | "см" | "мин" | "ст" | "т" | "р" | "к" | "д" | "п" | "х"
            if before.number =>
        {
            Dot::EndsBeforeCapital
        }
        "пр" if before.word == "и" => Dot::EndsBeforeCapital,
        "им" if NAMED_AFTER.iter().any(|start| before.word.starts_with(start)) => Dot::Continues,
        "т" | "ч" if !before.number => Dot::Continues,
        _ if CONTINUES.contains(&token) => Dot::Continues,
        _ if CONTINUES_BEFORE_NUMBER.contains(&token) => Dot::ContinuesBeforeNumber,
        _ if ENDS_BEFORE_CAPITAL.contains(&token) => Dot::EndsBeforeCapital,
        _ => return None,
    };
    Some(dot)
}

/// What is named after people; after other words `им` is a pronoun.
const NAMED_AFTER: &[&str] = &[
    "ул",
    "площад",
    "завод",
    "школ",
    "больниц",
    "парк",
    "библиотек",
    "университет",
    "институт",
    "театр",
    "центр",
    "музе",
    "стадион",
    "поликлиник",
    "переул",
    "проспект",
    "сквер",
    "аэропорт",
    "академи",
    "клуб",
];

#[rustfmt::skip]
const CONTINUES: &[&str] = &[
    "г", "гор", "ул", "д", "пос", "дер", "пер", "пл", "наб", "мкр", "мкрн", "ш", "просп", "пр", "пр-т", "пр-кт", "б-р", "бул",
    "р-н", "с", "п", "х", "ст", "св", "т.е", "т.к", "т.н", "т.о", "тел", "моб", "см", "ср", "напр", "проф", "акад", "доц", "гр",
    "зам", "отв", "сокр", "англ", "рус", "прим", "и.о", "в т.ч", "т.ч", "г-н", "г-жа", "гос", "физ", "юр", "доп", "л.с", "л/с",
    "e.g", "i.e", "vs", "mr", "mrs", "ms", "dr", "prof", "cf", "approx", "gen", "messrs", "viz", "м", "к", "мл", "старш", "рег",
];

#[rustfmt::skip]
const CONTINUES_BEFORE_NUMBER: &[&str] = &[
    "стр", "кв", "корп", "к", "оф", "эт", "под", "гл", "рис", "табл", "пп", "лит", "подп", "строен", "комн", "каб", "разд",
    "no", "nos", "nr", "p", "pp", "fig", "vol", "sec", "ext", "tel", "dept", "art", "ch", "apt", "n", "ph", "ver",
];

#[rustfmt::skip]
const ENDS_BEFORE_CAPITAL: &[&str] = &[
    "руб", "р", "коп", "тыс", "млн", "млрд", "трлн", "т.д", "т.п", "др", "проч", "шт", "мин", "сек", "час", "чел", "мес", "нед",
    "дн", "кг", "км", "мм", "кв.м", "куб", "гг", "вв", "обл", "респ", "край", "вкл", "выкл", "макс", "н.э", "экз", "ед", "уп",
    "дол", "долл", "евр", "проц", "пн", "вт", "ср", "чт", "пт", "сб", "вс",
    "etc", "et al", "inc", "ltd", "co", "corp", "llc", "plc", "a.m", "p.m", "jr", "sr", "u.s", "u.k", "ph.d", "st", "max", "min",
    "est",
];
