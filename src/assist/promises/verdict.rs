//! Whether a gesture is within its limit.

use std::sync::LazyLock;

use regex::Regex;

use super::amounts::{Amount, Unit};
use super::{Circumstances, Promise, PromiseReason, PromiseVerdict};
use crate::assist::playbook::{Above, Gesture};
use crate::assist::reading::pattern;

/// A number and a unit of time.
static SPAN_OF_TIME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"(?:(?P<n>\d+)(?:\s*[-–]\s*\d+)?|(?P<word>\p{L}+))?\s*(?:(?:рабоч|календарн|банковск)\p{L}*\s+|(?:business|working|calendar)\s+)?\b(?P<unit>минут|мин\b|час|сут|дн|день|недел|месяц|minute|min|hour|hr|day|week|month)",
    )
});

/// Verdict on a gesture, and each reason against it.
pub(super) fn judge(
    gesture: &Gesture,
    currency: &str,
    circumstances: &Circumstances,
    amount: Option<&Amount>,
    term: Option<&str>,
) -> (PromiseVerdict, Vec<PromiseReason>) {
    let limit = &gesture.limit;
    let mut reasons = Vec::new();
    if let Some(amount) = amount {
        reasons.extend(amount_against(amount, limit.amount, limit.percent, currency));
    }
    if let (Some(term), Some(soonest)) = (term, limit.soonest_hours) {
        match hours_of(term) {
            Some(hours) if hours < soonest => reasons.push(PromiseReason::TermTooSoon),
            Some(_) => {}
            None => reasons.push(PromiseReason::TermUnclear),
        }
    }
    if let Some(times) = limit.times
        && circumstances.times_used(&gesture.id, times.days) >= times.count
    {
        reasons.push(PromiseReason::TimesUsedUp);
    }
    let above_limit = !reasons.is_empty();
    if let Some(team) = &circumstances.team
        && !gesture.teams.is_empty()
        && !gesture.teams.contains(team)
    {
        reasons.push(PromiseReason::OtherTeam);
    }
    let verdict = match (above_limit, gesture.above) {
        (true, Above::Never) => PromiseVerdict::Forbidden,
        _ if !reasons.is_empty() => PromiseVerdict::NeedsSupervisor,
        _ => PromiseVerdict::Allowed,
    };
    (verdict, reasons)
}

fn amount_against(
    amount: &Amount,
    most: Option<f64>,
    most_percent: Option<f64>,
    currency: &str,
) -> Option<PromiseReason> {
    match (&amount.unit, most, most_percent) {
        (Unit::Percent, _, Some(most)) => (amount.value > most).then_some(PromiseReason::PercentAbove),
        (Unit::Money(code), Some(_), _) if code != currency => Some(PromiseReason::OtherMeasure),
        (Unit::Money(_) | Unit::BareMoney | Unit::Points, Some(most), _) => {
            (amount.value > most).then_some(PromiseReason::AmountAbove)
        }
        (Unit::Percent, Some(_), None) | (_, None, Some(_)) => Some(PromiseReason::OtherMeasure),
        (_, None, None) => None,
    }
}

/// How many hours a term is away, in lower case; `None` for a time of day or a date, which depends on when it is said. A range counts by
/// its nearer end, a working day as a day.
pub fn hours_of(term: &str) -> Option<f64> {
    match term.trim() {
        "завтра" | "tomorrow" => return None,
        _ => {}
    }
    let captures = SPAN_OF_TIME.as_ref()?.captures(term)?;
    let count = match (captures.name("n"), captures.name("word")) {
        (Some(digits), _) => digits.as_str().parse::<f64>().ok()?,
        (None, Some(word)) => count_word(word.as_str()),
        (None, None) => 1.0,
    };
    let unit = captures.name("unit")?.as_str();
    let hours = match unit {
        "минут" | "мин" | "minute" | "min" => 1.0 / 60.0,
        "час" | "hour" | "hr" => 1.0,
        "сут" | "дн" | "день" | "day" => 24.0,
        "недел" | "week" => 168.0,
        _ => 720.0,
    };
    let is_end_of_day = ["конц", "end of", "середин"].iter().any(|part| term.contains(part));
    (!is_end_of_day).then_some(count * hours)
}

fn count_word(word: &str) -> f64 {
    match word {
        "двух" | "два" | "две" | "пару" | "two" | "couple" | "of" => 2.0,
        "трех" | "три" | "three" | "нескольких" | "few" => 3.0,
        "четырех" | "четыре" | "four" => 4.0,
        "пяти" | "пять" | "five" => 5.0,
        "шести" | "шесть" | "six" => 6.0,
        "семи" | "семь" | "seven" => 7.0,
        "десяти" | "десять" | "ten" => 10.0,
        "пятнадцати" | "fifteen" => 15.0,
        "двадцати" | "twenty" => 20.0,
        "тридцати" | "thirty" => 30.0,
        "сорока" | "forty" => 40.0,
        _ => 1.0,
    }
}

/// The gravest verdict of all promises; `Allowed` if there are none.
pub fn summary(promises: &[Promise]) -> PromiseVerdict {
    let gravity = |verdict: PromiseVerdict| match verdict {
        PromiseVerdict::Allowed => 0,
        PromiseVerdict::NeedsSupervisor => 1,
        PromiseVerdict::NotInPlaybook => 2,
        PromiseVerdict::Forbidden => 3,
    };
    let verdicts = promises.iter().map(|promise| promise.verdict);
    verdicts.max_by_key(|verdict| gravity(*verdict)).unwrap_or(PromiseVerdict::Allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_counted_in_hours() {
        for (term, hours) in [
            ("в течение 3 рабочих дней", Some(72.0)),
            ("через час", Some(1.0)),
            ("за 15 минут", Some(0.25)),
            ("в течение двух часов", Some(2.0)),
            ("5-7 дней", Some(120.0)),
            ("within 2 hours", Some(2.0)),
            ("within 3 business days", Some(72.0)),
            ("two weeks", Some(336.0)),
            ("до 23:00", None),
            ("by friday", None),
            ("до конца дня", None),
            ("by the end of the day", None),
            ("завтра", None),
        ] {
            assert_eq!(hours_of(term), hours, "{term}");
        }
    }
}
