//! Amounts of money, points and percent in a text, in Russian and English, in digits and in words.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::assist::reading::{Reading, Sentence, pattern};
use crate::feedback::CharSpan;
use crate::text::Word;

/// What an amount is counted in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// Money of a currency: its code of three letters.
    Money(String),
    /// Money, the currency of which is not said.
    BareMoney,
    /// Bonus points.
    Points,
    /// Percent.
    Percent,
}

/// An amount.
#[derive(Debug, Clone, PartialEq)]
pub struct Amount {
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
}

const NUMBER: &str = r"(?P<n>\d{1,3}(?:[ .,]\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d+)?)";
const RUBLES: &str = r"руб(?:л\p{L}*|\.|\b)|р\.|р\b|₽|rub(?:les?)?\b|rur\b|roubles?\b";
const DOLLARS: &str = r"\$|usd\b|dollars?\b|доллар\p{L}*";
const EUROS: &str = r"€|eur(?:os?)?\b|евро\b";
const POINTS: &str = r"(?:бонусн\p{L}+\s+)?балл\p{L}*|бонус\p{L}*|(?:bonus\s+)?points?\b";
const PERCENT: &str = r"%|процент\p{L}*|percent\b|per\s?cent\b";
const THOUSANDS: &str = r"тыс(?:\.|яч\p{L}*|\b)|thousand\b";
const MILLIONS: &str = r"млн\b\.?|миллион\p{L}*|million\b";

/// 5 000 руб., 1,5 тыс. рублей, 20%, 500 points
static AFTER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(&format!(
        r"\b{NUMBER}(?:[kк]\b)?\s?(?:(?P<thousand>{THOUSANDS})|(?P<million>{MILLIONS})|(?P<tr>т\.\s?р\.?))?\s?(?:(?P<rub>{RUBLES})|(?P<usd>{DOLLARS})|(?P<eur>{EUROS})|(?P<points>{POINTS})|(?P<percent>{PERCENT}))?"
    ))
});

/// $50, ₽1,500
static BEFORE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(&format!(
        r"(?:(?P<rub>₽|\brub\b)|(?P<usd>\$|\busd\b)|(?P<eur>€|\beur\b))\s?{NUMBER}(?:\s?(?:(?P<thousand>{THOUSANDS}|k\b)|(?P<million>{MILLIONS})))?"
    ))
});

/// Amounts of one sentence with their places, in order.
pub(super) fn amounts(reading: &Reading, sentence: &Sentence) -> Vec<(CharSpan, Amount)> {
    let mut found: Vec<(CharSpan, Amount)> = Vec::new();
    let text = reading.lower(sentence.span);
    let offset = reading.byte_of(sentence.span.start);
    for (regex, needs_unit) in [(&*BEFORE, false), (&*AFTER, true)] {
        let Some(regex) = regex else { continue };
        for captures in regex.captures_iter(text) {
            let Some(amount) = of_captures(&captures, needs_unit) else { continue };
            let Some(whole) = captures.get(0) else { continue };
            let trimmed = whole.as_str().trim_end().len();
            let span = reading.span_of(offset + whole.start()..offset + whole.start() + trimmed);
            add(&mut found, span, amount);
        }
    }
    for (span, amount) in in_words(reading.words_of(sentence)) {
        add(&mut found, span, amount);
    }
    found.sort_by_key(|(span, _)| span.start);
    found
}

fn add(found: &mut Vec<(CharSpan, Amount)>, span: CharSpan, amount: Amount) {
    if !found.iter().any(|(known, _)| known.overlaps(span)) {
        found.push((span, amount));
    }
}

fn of_captures(captures: &Captures<'_>, needs_unit: bool) -> Option<Amount> {
    let mut value = number(captures.name("n")?.as_str())?;
    let has = |name: &str| captures.name(name).is_some();
    // A short "k" stands directly behind the digits and is no group of its own.
    let short = captures.get(0).is_some_and(|whole| {
        let mut rest = whole.as_str().trim_start_matches(|c: char| !c.is_ascii_digit()).chars();
        rest.find(|c| !c.is_ascii_digit() && !" .,".contains(*c)).is_some_and(|c| c == 'k' || c == 'к')
    });
    if short || has("thousand") || has("tr") {
        value *= 1e3;
    }
    if has("million") {
        value *= 1e6;
    }
    let unit = [("rub", "RUB"), ("usd", "USD"), ("eur", "EUR")].into_iter().find(|(group, _)| has(group));
    let unit = match unit {
        Some((_, code)) => Unit::Money(code.to_owned()),
        None if has("tr") => Unit::Money("RUB".to_owned()),
        None if has("points") => Unit::Points,
        None if has("percent") => Unit::Percent,
        None if has("thousand") || has("million") || short => Unit::BareMoney,
        None if needs_unit => return None,
        None => Unit::BareMoney,
    };
    Some(Amount { value, unit })
}

/// Reads digits: a separator with three digits behind it parts thousands, any other the decimals.
fn number(written: &str) -> Option<f64> {
    let parts: Vec<&str> = written.split([' ', '.', ',']).collect();
    let (last, before) = parts.split_last()?;
    if before.is_empty() || last.len() == 3 {
        return parts.concat().parse().ok();
    }
    format!("{}.{last}", before.concat()).parse().ok()
}

/// Amounts in words: пятьсот рублей, полторы тысячи, five hundred rubles.
fn in_words(words: &[Word]) -> Vec<(CharSpan, Amount)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let run = words.get(at..).unwrap_or_default();
        let (mut total, mut group, mut taken, mut thousands) = (0.0, 0.0, 0, false);
        for word in run {
            match numeral(&word.lower) {
                Some(Numeral::Value(value)) => group += value,
                Some(Numeral::Times(times)) => {
                    let counted = if group == 0.0 { 1.0 } else { group };
                    if times >= 1e3 {
                        (total, group, thousands) = (total + counted * times, 0.0, true);
                    } else {
                        group = counted * times;
                    }
                }
                None => break,
            }
            taken += 1;
        }
        if taken == 0 {
            at += 1;
            continue;
        }
        let unit = run.get(taken).and_then(|word| unit_word(&word.lower));
        let value = total + group;
        let first = run.first().map(|word| word.span);
        let last = run.get(if unit.is_some() { taken } else { taken - 1 }).map(|word| word.span);
        let unit = unit.or_else(|| thousands.then_some(Unit::BareMoney));
        if let (Some(first), Some(last), Some(unit)) = (first, last, unit)
            && value > 0.0
        {
            found.push((CharSpan::new(first.start, last.end), Amount { value, unit }));
        }
        at += taken;
    }
    found
}

fn unit_word(word: &str) -> Option<Unit> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| word.starts_with(prefix));
    if begins(&["рубл", "ruble", "rouble"]) {
        Some(Unit::Money("RUB".to_owned()))
    } else if begins(&["доллар", "dollar"]) {
        Some(Unit::Money("USD".to_owned()))
    } else if begins(&["евро", "euro"]) {
        Some(Unit::Money("EUR".to_owned()))
    } else if begins(&["балл", "бонус", "point"]) {
        Some(Unit::Points)
    } else if begins(&["процент", "percent"]) {
        Some(Unit::Percent)
    } else {
        None
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Numeral {
    Value(f64),
    Times(f64),
}

fn numeral(word: &str) -> Option<Numeral> {
    let value = match word {
        "полтора" | "полторы" => 1.5,
        "два" | "две" | "двух" | "two" => 2.0,
        "три" | "трех" | "three" => 3.0,
        "четыре" | "четырех" | "four" => 4.0,
        "пять" | "пяти" | "five" => 5.0,
        "шесть" | "шести" | "six" => 6.0,
        "семь" | "семи" | "seven" => 7.0,
        "восемь" | "восьми" | "eight" => 8.0,
        "девять" | "девяти" | "nine" => 9.0,
        "десять" | "десяти" | "ten" => 10.0,
        "двенадцать" | "twelve" => 12.0,
        "пятнадцать" | "пятнадцати" | "fifteen" => 15.0,
        "двадцать" | "двадцати" | "twenty" => 20.0,
        "тридцать" | "тридцати" | "thirty" => 30.0,
        "сорок" | "forty" => 40.0,
        "пятьдесят" | "пятидесяти" | "fifty" => 50.0,
        "шестьдесят" | "sixty" => 60.0,
        "семьдесят" | "seventy" => 70.0,
        "восемьдесят" | "eighty" => 80.0,
        "девяносто" | "ninety" => 90.0,
        "сто" | "ста" => 100.0,
        "двести" | "двухсот" => 200.0,
        "триста" | "трехсот" => 300.0,
        "четыреста" | "четырехсот" => 400.0,
        "пятьсот" | "пятисот" | "полтысячи" => 500.0,
        "шестьсот" | "шестисот" => 600.0,
        "семьсот" | "семисот" => 700.0,
        "восемьсот" | "восьмисот" => 800.0,
        "девятьсот" | "девятисот" => 900.0,
        "hundred" => return Some(Numeral::Times(1e2)),
        "тысяча" | "тысячу" | "тысячи" | "тысяч" | "thousand" => {
            return Some(Numeral::Times(1e3));
        }
        "миллион" | "миллиона" | "миллионов" | "million" => return Some(Numeral::Times(1e6)),
        _ => return None,
    };
    Some(Numeral::Value(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, f64, Unit)> {
        let reading = Reading::new(text);
        let sentences = reading.sentences().to_vec();
        let all = sentences.iter().flat_map(|sentence| amounts(&reading, sentence));
        all.map(|(span, amount)| (reading.text(span).to_owned(), amount.value, amount.unit)).collect()
    }

    #[test]
    fn amounts_are_read_in_digits_and_words_of_both_languages() {
        let rub = || Unit::Money("RUB".to_owned());
        for (text, words, value, unit) in [
            ("Вернём 5 000 рублей на карту", "5 000 рублей", 5_000.0, rub()),
            ("вернем 5000р. сегодня", "5000р.", 5_000.0, rub()),
            ("это 99,50 руб", "99,50 руб", 99.5, rub()),
            ("компенсируем 1,5 тыс. рублей", "1,5 тыс. рублей", 1_500.0, rub()),
            ("дадим 3 тысячи", "3 тысячи", 3_000.0, Unit::BareMoney),
            ("вернём 10 т.р.", "10 т.р.", 10_000.0, rub()),
            ("вернём 5к", "5к", 5_000.0, Unit::BareMoney),
            ("начислим 500 бонусных баллов", "500 бонусных баллов", 500.0, Unit::Points),
            ("скидка 20% на заказ", "20%", 20.0, Unit::Percent),
            ("скидка двадцать процентов", "двадцать процентов", 20.0, Unit::Percent),
            ("вернём пятьсот рублей", "пятьсот рублей", 500.0, rub()),
            ("вернём две тысячи пятьсот рублей", "две тысячи пятьсот рублей", 2_500.0, rub()),
            ("вернём тысячу рублей", "тысячу рублей", 1_000.0, rub()),
            ("вернём полторы тысячи", "полторы тысячи", 1_500.0, Unit::BareMoney),
            ("a refund of 1,500 rubles", "1,500 rubles", 1_500.0, rub()),
            ("a refund of ₽1,500.50", "₽1,500.50", 1_500.5, rub()),
            ("we will pay $50 back", "$50", 50.0, Unit::Money("USD".into())),
            ("you get 40 euros", "40 euros", 40.0, Unit::Money("EUR".into())),
            ("five hundred rubles", "five hundred rubles", 500.0, rub()),
            ("two thousand points", "two thousand points", 2_000.0, Unit::Points),
            ("a 10 percent discount", "10 percent", 10.0, Unit::Percent),
        ] {
            assert_eq!(found(text), [(words.to_owned(), value, unit)], "{text}");
        }
    }

    #[test]
    fn other_numbers_are_no_amounts() {
        for text in ["до 23:00", "заказ 4512", "в течение 3 рабочих дней", "by 5 pm", "5 рабочих дней", "два дня"]
        {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn two_amounts_of_a_sentence_are_two() {
        let both = found("Вернём 99 рублей комиссии и 10 000 рублей сверху");
        assert_eq!(both.iter().map(|(_, value, _)| *value).collect::<Vec<_>>(), [99.0, 10_000.0]);
    }
}
