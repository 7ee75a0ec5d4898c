//! Web and e-mail addresses, and accounts and hashtags in Latin letters: their dots end no sentence and their words say nothing about language.

use super::letters::is_letter_or_number;
use super::offsets::count;
use crate::feedback::CharSpan;

/// Endings by which a bare `name.ending` is taken for a site or a file rather than for two sentences without a space.
const ENDINGS: &[&str] = &[
    "ru", "su", "by", "kz", "ua", "com", "net", "org", "info", "biz", "io", "me", "app", "dev", "online", "store",
    "shop", "site", "pro", "tv", "eu", "uk", "de", "us", "gov", "edu", "ai", "cc", "gg", "ly", "be", "pdf", "doc",
    "docx", "xls", "xlsx", "jpg", "png", "exe", "apk", "zip", "txt", "html", "рф",
];

/// Spans of the links in `text`, in order.
pub(super) fn links(characters: &[char]) -> Vec<CharSpan> {
    let mut links = Vec::new();
    let mut start = 0;
    for token in characters.split(|c| c.is_whitespace()) {
        if let Some((from, to)) = link_in(token) {
            links.push(CharSpan::new(count(start + from), count(start + to)));
        }
        start += token.len() + 1;
    }
    links
}

/// Where the link stands in a run of characters without white space.
fn link_in(token: &[char]) -> Option<(usize, usize)> {
    let leading = token.iter().take_while(|c| !is_letter_or_number(**c)).count();
    let sign = leading.checked_sub(1).and_then(|sign| token.get(sign));
    if matches!(sign, Some('@' | '#')) {
        let name = token.iter().skip(leading).take_while(|c| c.is_ascii_alphanumeric() || **c == '_').count();
        return (name > 0).then_some((leading - 1, leading + name));
    }
    if !token.contains(&'.') && !token.contains(&':') {
        return None;
    }
    let trailing = token.iter().rev().take_while(|c| !is_letter_or_number(**c) && **c != '/').count();
    let core = token.get(leading..token.len().saturating_sub(trailing))?;
    let text: String = core.iter().collect::<String>().to_lowercase();
    let with_scheme = ["http://", "https://", "ftp://", "www.", "tg://"].iter().any(|scheme| text.starts_with(scheme));
    let scheme_inside = text.contains("://");
    if with_scheme || scheme_inside || is_mail(&text) || is_site(&text) {
        return Some((leading, leading + core.len()));
    }
    None
}

fn is_mail(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && !rest.is_empty())
    })
}

fn is_site(text: &str) -> bool {
    let host = text.split(['/', '?', '#', ':']).next().unwrap_or_default();
    let Some((name, ending)) = host.rsplit_once('.') else { return false };
    let known = ENDINGS.contains(&ending);
    let alphabet = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    known && !name.is_empty() && (ending == "рф" || name.chars().all(alphabet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_without_the_punctuation_around_them() {
        let table = [
            ("см. https://ex.ru/a?b=1. Потом", vec!["https://ex.ru/a?b=1"]),
            ("(www.shop.com), почта: a.b@ya.ru!", vec!["www.shop.com", "a.b@ya.ru"]),
            ("зашёл на мой-банк.рф и bank.ru/cards/", vec!["мой-банк.рф", "bank.ru/cards/"]),
            ("не работает.Позвонил в 10:30, отдал 1.500 и т.е.", vec![]),
            ("@megafon_help, ответьте #lte", vec!["@megafon_help", "#lte"]),
            ("node.exe падает, т.к. а.е.", vec!["node.exe"]),
        ];
        for (text, expected) in table {
            let characters: Vec<char> = text.chars().collect();
            let found: Vec<&str> = links(&characters).into_iter().map(|span| span.slice(text)).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
