//! The term of a promise: until when, or within what, an operator said that something will be done.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// Terms in Russian and English, from the most telling to the least.
static TERMS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    const NUMBER: &str = r"(?:\d+(?:\s*[-–]\s*\d+)?|(?:одн(?:ого|ой|у)|двух|трех|трёх|четырех|четырёх|пяти|шести|семи|десяти|пятнадцати|двадцати|тридцати|сорока|пару|нескольких|one|two|three|four|five|six|seven|ten|fifteen|twenty|thirty|forty|a couple of|a few|an?))";
    const UNIT_RU: &str = r"(?:(?:рабоч\p{L}*|календарн\p{L}*|банковск\p{L}*)\s+)?(?:минут\p{L}*|мин|час\p{L}*|сут\p{L}*|дн\p{L}*|день|недел\p{L}*|месяц\p{L}*)";
    const UNIT_EN: &str = r"(?:(?:business|working|calendar)\s+)?(?:minutes?|mins?|hours?|hrs?|days?|weeks?|months?)";
    const MONTH: &str = r"(?:январ\p{L}*|феврал\p{L}*|март\p{L}*|апрел\p{L}*|ма[яй]|июн\p{L}*|июл\p{L}*|август\p{L}*|сентябр\p{L}*|октябр\p{L}*|ноябр\p{L}*|декабр\p{L}*)";
    const WEEKDAY: &str =
        r"(?:понедельник\p{L}*|вторник\p{L}*|сред[ыуе]|четверг\p{L}*|пятниц\p{L}*|суббот\p{L}*|воскресень\p{L}*)";
    let patterns = [
        // до 23:00, к 18.30, до 23 часов, к восьми вечера
        r"\b(?:до|к|не позднее|не позже)\s+\d{1,2}[:.]\d{2}\b".to_owned(),
        r"\b(?:до|к)\s+(?:\d{1,2}|\p{L}+)\s+(?:час\p{L}*(?:\s+(?:утра|дня|вечера|ночи))?|утра|вечера|ночи)\b".to_owned(),
        // до 15 мая, к 15.05, до конца дня
        format!(r"\b(?:до|к|не позднее)\s+\d{{1,2}}(?:-?(?:го|му))?\s+{MONTH}\b"),
        r"\b(?:до|к|не позднее)\s+\d{1,2}\.\d{1,2}(?:\.\d{2,4})?\b".to_owned(),
        r"\b(?:до|к)\s+(?:конц[ау]|середин[ые]|обед[ау]?|вечер[ау]|утр[ау]|завтра)(?:\s+(?:сегодняшнего |завтрашнего |рабочего )?(?:дня|недели|месяца|суток|смены))?".to_owned(),
        format!(r"\b(?:до|к|во?|не позднее)\s+{WEEKDAY}\b"),
        // в течение 3 рабочих дней, за 2 часа, через час, в ближайшие 15 минут
        format!(r"\b(?:в течени[еи]|за|через|не более(?: чем)?|в ближайши[ех])\s+(?:{NUMBER}\s+)?{UNIT_RU}\b"),
        format!(r"\b(?:до|максимум)\s+{NUMBER}\s+{UNIT_RU}\b"),
        r"\b(?:сегодня|завтра|послезавтра)(?:\s+(?:до|к|в)\s+(?:\d{1,2}(?:[:.]\d{2})?|обед[ау]?|вечер[ау]?|конца дня)|\s+(?:утром|днем|днём|вечером))?".to_owned(),
        format!(r"\b{NUMBER}\s+{UNIT_RU}\b"),
        // by 6 pm, until 23:00, by Friday, by the end of the day
        r"\b(?:by|until|till|before|at|no later than)\s+(?:\d{1,2}(?:[:.]\d{2})?\s*(?:am|pm|a\.m\.|p\.m\.|o'clock)|\d{1,2}:\d{2}|noon|midnight)".to_owned(),
        r"\b(?:by|until|before|on)\s+(?:next\s+)?(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday|tomorrow|tonight)\b".to_owned(),
        r"\bby\s+(?:the\s+)?end\s+of\s+(?:the\s+|this\s+)?(?:business\s+)?(?:day|week|month|shift)\b".to_owned(),
        r"\b(?:by|before|on)\s+(?:the\s+)?\d{1,2}(?:st|nd|rd|th)?(?:\s+of)?\s+(?:january|february|march|april|may|june|july|august|september|october|november|december)\b".to_owned(),
        format!(r"\b(?:within|in|in about|no more than|at most)\s+(?:the\s+next\s+)?(?:{NUMBER}\s+)?{UNIT_EN}\b"),
        format!(r"\b{NUMBER}\s+{UNIT_EN}\b"),
        r"\b(?:today|tomorrow|tonight)(?:\s+(?:morning|afternoon|evening))?\b".to_owned(),
    ];
    // A pattern that did not compile would be missed by the test below, which needs each of them.
    patterns.iter().filter_map(|pattern| Regex::new(&format!("(?i){pattern}")).ok()).collect()
});

/// Every term in a text, as ranges of bytes in the order in which they stand; of terms that overlap, the most telling one.
pub(crate) fn terms(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for pattern in TERMS.iter() {
        for term in pattern.find_iter(text) {
            if !found.iter().any(|known| known.start < term.end() && term.start() < known.end) {
                found.push(term.range());
            }
        }
    }
    found.sort_by_key(|term| term.start);
    found
}

/// The first, most telling term in a text, as it stands there.
pub(super) fn term(text: &str) -> Option<&str> {
    TERMS.iter().find_map(|pattern| pattern.find(text)).map(|found| found.as_str().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(TERMS.len(), 17);
    }

    #[test]
    fn terms_are_found_as_they_stand() {
        let table = [
            ("Свет дадут до 23:00, ждите", Some("до 23:00")),
            ("обещаем к 18.30", Some("к 18.30")),
            ("сделаем к восьми вечера", Some("к восьми вечера")),
            ("ответим до 15 мая", Some("до 15 мая")),
            ("Перезвоним до конца дня.", Some("до конца дня")),
            ("курьер приедет в пятницу", Some("в пятницу")),
            ("Деньги вернутся в течение 3 рабочих дней", Some("в течение 3 рабочих дней")),
            ("в течение трёх дней", Some("в течение трёх дней")),
            ("мастер будет через час", Some("через час")),
            ("решим за 15 минут", Some("за 15 минут")),
            ("завтра утром привезём", Some("завтра утром")),
            ("это займёт 5-7 дней", Some("5-7 дней")),
            ("до 30 дней", Some("до 30 дней")),
            ("Power will be back by 11 pm.", Some("by 11 pm")),
            ("You'll have it by Friday", Some("by Friday")),
            ("by the end of the day", Some("by the end of the day")),
            ("refund within 3 business days", Some("within 3 business days")),
            ("it takes two weeks", Some("two weeks")),
            ("A technician comes tomorrow morning", Some("tomorrow morning")),
            ("Ждите, мы всё решим", None),
            ("Please hold the line", None),
        ];
        for (text, expected) in table {
            assert_eq!(term(text), expected, "{text}");
        }
    }
}
