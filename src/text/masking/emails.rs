//! E-mail addresses, with Latin or Cyrillic names and hosts.

use super::MaskedKind;
use super::scan::Scan;
use crate::text::letters::{is_letter, is_letter_or_number};

pub(super) fn find(scan: &mut Scan<'_>) {
    let text = scan.text;
    let mut after_last = 0;
    for (sign, _) in text.match_indices('@') {
        let before = text.get(after_last..sign).unwrap_or_default();
        let after = text.get(sign + 1..).unwrap_or_default();
        after_last = sign + 1;
        let name = before.rsplit(|c| !is_name(c)).next().unwrap_or_default().trim_start_matches(['.', '-', '+']);
        let host = after.split(|c| !is_host(c)).next().unwrap_or_default().trim_end_matches(['.', '-']);
        let ending = host.rsplit_once('.').filter(|(label, _)| !label.is_empty()).map_or("", |(_, ending)| ending);
        if name.is_empty() || ending.chars().count() < 2 || !ending.chars().all(is_letter) {
            continue;
        }
        let (start, end) = (sign - name.len(), sign + 1 + host.len());
        let (from, to) = (scan.index_at(start), scan.index_at(end));
        // A token may begin before the name, as in `почта:-a@b.ru`; then the whole token goes.
        let from = if scan.range(from).0 > start { from.saturating_sub(1) } else { from };
        scan.claim(from, to, MaskedKind::Email, text.get(start..end).unwrap_or_default().to_lowercase());
    }
}

fn is_name(c: char) -> bool {
    is_letter_or_number(c) || matches!(c, '.' | '_' | '%' | '+' | '-')
}

fn is_host(c: char) -> bool {
    is_letter_or_number(c) || matches!(c, '.' | '-')
}
