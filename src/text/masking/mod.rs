//! Personal data out, typed placeholders in: `[PHONE_1]`, `[NAME_2]`.
//!
//! Enters: a normalised text. Leaves: the text that models and stores see, and a map back that lives in memory only. A value is
//! masked when its form proves what it is (a check sum, the grouping of a phone number) or when words before it say so
//! («лицевой счёт», "my name is"); numbers of orders and parcels, prices, dates and times stay. What was masked once in a text
//! is masked wherever it comes again in it.

mod accounts;
mod addresses;
mod checksums;
mod emails;
mod given_names;
mod name_cues;
mod names;
mod numbers;
mod scan;
mod surnames;

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::normalise::Normalised;
use super::offsets::{CharTable, count};
use crate::feedback::{CharSpan, named_enum};

use scan::{Found, Scan};
pub(super) use surnames::is_surname_like;

named_enum! {
    /// What a placeholder hides.
    MaskedKind {
        /// Telephone number.
        Phone = "PHONE",
        /// Number of a payment card.
        Card = "CARD",
        /// E-mail address.
        Email = "EMAIL",
        /// Series and number of a passport.
        Passport = "PASSPORT",
        /// Russian personal insurance number (СНИЛС).
        Snils = "SNILS",
        /// Russian taxpayer number (ИНН).
        Inn = "INN",
        /// Number of a bank account, a customer's account or a contract.
        Account = "ACCOUNT",
        /// Name of a person.
        Name = "NAME",
        /// Postal address down to the house.
        Address = "ADDRESS",
    }
}

/// One value that was masked. Its [`Debug`] form does not show the value.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskedItem {
    kind: MaskedKind,
    placeholder: String,
    value: String,
    spans: Vec<CharSpan>,
}

impl MaskedItem {
    /// What kind of value it is.
    pub fn kind(&self) -> MaskedKind {
        self.kind
    }

    /// What stands for it in the clean text, as in `[PHONE_1]`.
    pub fn placeholder(&self) -> &str {
        &self.placeholder
    }

    /// The value as it was first written in the original. Keep it out of logs and stores.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Where its placeholder stands in the clean text, in order; never empty.
    pub fn spans(&self) -> &[CharSpan] {
        &self.spans
    }
}

impl fmt::Debug for MaskedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskedItem")
            .field("kind", &self.kind)
            .field("placeholder", &self.placeholder)
            .field("spans", &self.spans)
            .finish_non_exhaustive()
    }
}

/// A masked text and the way back.
#[derive(Debug, Clone, Default)]
pub(super) struct Masked {
    pub(super) text: String,
    /// One span of the original for each character of `text`; starts and ends never decrease.
    pub(super) origin: Vec<CharSpan>,
    /// In order of first appearance.
    pub(super) items: Vec<MaskedItem>,
    /// Every placeholder in `text`, those that stood in the original too, in order.
    pub(super) placeholders: Vec<CharSpan>,
}

/// Masks personal data of a text that was normalised from `original`.
pub(super) fn mask(normalised: Normalised, original: &str) -> Masked {
    let mut scan = Scan::new(&normalised.text);
    emails::find(&mut scan);
    accounts::find(&mut scan);
    numbers::find(&mut scan);
    addresses::find(&mut scan);
    names::find(&mut scan);
    repeat_offences(&mut scan);
    let Scan { mut found, reserved, .. } = scan;
    found.sort_by_key(|found| found.start);
    Replacement::new(&normalised, original).replace(found, reserved)
}

/// Masks what was masked elsewhere in the same text under a cue, where it comes without one.
fn repeat_offences(scan: &mut Scan<'_>) {
    let mut known: HashMap<String, MaskedKind> = HashMap::new();
    for found in &scan.found {
        match found.kind {
            None | Some(MaskedKind::Address | MaskedKind::Email) => {}
            Some(MaskedKind::Name) => {
                let parts = found.key.split([' ', '-']).filter(|part| names::stands_alone(part));
                known.extend(parts.map(|part| (part.to_owned(), MaskedKind::Name)));
            }
            Some(kind) => {
                known.insert(found.key.clone(), kind);
            }
        }
    }
    if known.is_empty() {
        return;
    }
    for at in 0..scan.len() {
        if scan.is_taken(at) {
            continue;
        }
        if scan.is_digits(at) {
            let run = numbers::run_at(scan, at);
            let repeated = run.prefixes().find_map(|prefix| known.get(prefix.digits).map(|kind| (*kind, prefix)));
            if let Some((kind, prefix)) = repeated.filter(|(_, prefix)| prefix.digits.len() >= 4) {
                let key = prefix.digits.to_owned();
                scan.claim(at, prefix.end, kind, key);
            }
        } else if scan.is_name_case(at) && known.get(scan.lower(at)) == Some(&MaskedKind::Name) {
            let key = scan.lower(at).to_owned();
            scan.claim(at, at + 1, MaskedKind::Name, key);
        }
    }
}

struct Replacement<'t> {
    normalised: &'t Normalised,
    original: &'t str,
    table: CharTable,
    original_table: Option<CharTable>,
}

impl<'t> Replacement<'t> {
    fn new(normalised: &'t Normalised, original: &'t str) -> Self {
        Self { normalised, original, table: CharTable::new(&normalised.text), original_table: None }
    }

    fn value(&mut self, span: CharSpan) -> String {
        let span = self.normalised.to_original(span);
        let table = self.original_table.get_or_insert_with(|| CharTable::new(self.original));
        table.slice(self.original, span).to_owned()
    }

    fn replace(mut self, found: Vec<Found>, reserved: HashSet<String>) -> Masked {
        let text = &self.normalised.text;
        let mut masked = Masked { text: String::with_capacity(text.len()), ..Masked::default() };
        let mut numbering = Numbering { reserved, ..Numbering::default() };
        let mut byte = 0;
        for Found { start, end, kind, key } in found {
            self.keep(byte, start, &mut masked);
            byte = end;
            let Some(kind) = kind else {
                let from = count(masked.origin.len());
                self.keep(start, end, &mut masked);
                masked.placeholders.push(CharSpan::new(from, count(masked.origin.len())));
                continue;
            };
            let span = self.table.span(start, end);
            let index = match numbering.index_of.get(&(kind, key.clone())) {
                Some(index) => *index,
                None => {
                    let placeholder = numbering.next(kind);
                    let value = self.value(span);
                    masked.items.push(MaskedItem { kind, placeholder, value, spans: Vec::new() });
                    numbering.index_of.insert((kind, key), masked.items.len() - 1);
                    masked.items.len() - 1
                }
            };
            let Some(item) = masked.items.get_mut(index) else { continue };
            let from = count(masked.origin.len());
            let placed = CharSpan::new(from, from + count(item.placeholder.len()));
            masked.text.push_str(&item.placeholder);
            masked.origin.resize(placed.end as usize, self.normalised.to_original(span));
            masked.placeholders.push(placed);
            item.spans.push(placed);
        }
        self.keep(byte, text.len(), &mut masked);
        masked
    }

    /// Copies the bytes `from..to` with their origins.
    fn keep(&self, from: usize, to: usize, masked: &mut Masked) {
        let span = self.table.span(from, to);
        masked.text.push_str(self.normalised.text.get(from..to).unwrap_or_default());
        let origin = self.normalised.origin.get(span.start as usize..span.end as usize);
        masked.origin.extend_from_slice(origin.unwrap_or_default());
    }
}

/// Gives each value its number, passing over placeholders that the text itself held.
#[derive(Default)]
struct Numbering {
    reserved: HashSet<String>,
    last: HashMap<MaskedKind, usize>,
    index_of: HashMap<(MaskedKind, String), usize>,
}

impl Numbering {
    fn next(&mut self, kind: MaskedKind) -> String {
        let last = self.last.entry(kind).or_default();
        loop {
            *last += 1;
            let placeholder = format!("[{kind}_{last}]");
            if !self.reserved.contains(&placeholder) {
                return placeholder;
            }
        }
    }
}

/// Where placeholders stand in a masked text, in characters.
pub(super) fn placeholder_spans(text: &str) -> Vec<CharSpan> {
    let mut spans = Vec::new();
    let (mut rest, mut at) = (text, 0u32);
    while let Some(open) = rest.find('[') {
        let (before, from_open) = rest.split_at_checked(open).unwrap_or((rest, ""));
        at += count(before.chars().count());
        let length = scan::placeholder_length(from_open);
        // A placeholder is of ASCII alone.
        let (bracketed, after) = from_open.split_at_checked(length.unwrap_or(1)).unwrap_or((from_open, ""));
        let end = at + count(bracketed.chars().count());
        if length.is_some() {
            spans.push(CharSpan::new(at, end));
        }
        (rest, at) = (after, end);
    }
    spans
}

/// Puts the values of `items` back into `text`, in one pass.
pub(super) fn unmask(items: &[MaskedItem], text: &str) -> String {
    let values: HashMap<&str, &str> =
        items.iter().map(|item| (item.placeholder.as_str(), item.value.as_str())).collect();
    let mut unmasked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let (before, from_open) = rest.split_at_checked(open).unwrap_or((rest, ""));
        unmasked.push_str(before);
        let length = scan::placeholder_length(from_open).unwrap_or(1);
        let (bracketed, after) = from_open.split_at_checked(length).unwrap_or((from_open, ""));
        unmasked.push_str(values.get(bracketed).copied().unwrap_or(bracketed));
        rest = after;
    }
    unmasked.push_str(rest);
    unmasked
}

#[cfg(test)]
mod tests;
