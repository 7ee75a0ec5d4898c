//! Typed reading of TOML tables that keeps the place of everything, and goes on after a problem to find the next one.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::{Place, Problems, did_you_mean};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    pub value: T,
    pub place: Place,
}

/// One table of the file, whose keys are all known.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'t> {
    table: &'t DeTable<'t>,
    place: Place,
}

impl<'t> Fields<'t> {
    /// Opens a table and reports the keys that are not known.
    pub fn open(table: &'t DeTable<'t>, place: Place, known: &[&str], problems: &mut Problems) -> Self {
        let fields = Self { table, place };
        for (key, _) in table.iter() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let place = Place { offset: key.span().start, key: fields.path(name) };
                problems.report_lazily(&place, || {
                    let meant = did_you_mean(name, known.iter().copied());
                    format!("no such key{meant}; allowed: {}", known.join(", "))
                });
            }
        }
        fields
    }

    fn path(&self, key: &str) -> String {
        if self.place.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place.key) }
    }

    /// Where a key stands, or the table if the key is not there.
    pub fn place(&self, key: &str) -> Place {
        let offset = self.table.get_key_value(key).map_or(self.place.offset, |(key, _)| key.span().start);
        Place { offset, key: self.path(key) }
    }

    /// Where the table itself stands.
    pub fn own_place(&self) -> &Place {
        &self.place
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// True if `key` is a table that has `inner`, or is no table at all.
    pub fn has_within(&self, key: &str, inner: &str) -> bool {
        self.value(key).is_some_and(|value| value.get_ref().as_table().is_none_or(|table| table.contains_key(inner)))
    }

    fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    fn expect_kind(&self, key: &str, expected: &str, value: &DeValue<'_>, problems: &mut Problems) {
        problems.report(&self.place(key), format!("expected {expected}, found {}", kind_of(value)));
    }

    /// Reports a key that must be there and is not.
    pub fn require(&self, key: &str, what: &str, problems: &mut Problems) {
        if !self.has(key) {
            problems.report(&self.place(key), format!("is missing; {what}"));
        }
    }

    pub fn string(&self, key: &str, problems: &mut Problems) -> Option<Located<String>> {
        let value = self.value(key)?.get_ref();
        let Some(text) = value.as_str() else {
            self.expect_kind(key, "a string", value, problems);
            return None;
        };
        Some(Located { value: text.to_owned(), place: self.place(key) })
    }

    /// A string that says something; at most `max_chars` characters.
    pub fn words(&self, key: &str, max_chars: usize, problems: &mut Problems) -> Option<Located<String>> {
        let text = self.string(key, problems)?;
        check_words(&text, max_chars, problems).then_some(text)
    }

    /// A number, whole or with a point.
    pub fn number(&self, key: &str, problems: &mut Problems) -> Option<Located<f64>> {
        let value = self.value(key)?.get_ref();
        let number = match value {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => Some(Located { value: number, place: self.place(key) }),
            None => {
                self.expect_kind(key, "a number", value, problems);
                None
            }
        }
    }

    /// A list of strings that say something, each with its own place; empty if the key is not there. A list without any is a
    /// problem.
    pub fn list_of_words(&self, key: &str, max_chars: usize, problems: &mut Problems) -> Vec<Located<String>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.expect_kind(key, "a list of strings", value.get_ref(), problems);
            return Vec::new();
        };
        if items.is_empty() {
            problems.report(&self.place(key), "is an empty list; give at least one or leave the key out");
        }
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = Place { offset: item.span().start, key: format!("{}[{index}]", self.path(key)) };
            match item.get_ref().as_str() {
                Some(text) => {
                    let text = Located { value: text.to_owned(), place };
                    if check_words(&text, max_chars, problems) {
                        texts.push(text);
                    }
                }
                None => {
                    let found = kind_of(item.get_ref());
                    problems.report_lazily(&place, || format!("expected a string, found {found}"));
                }
            }
        }
        texts
    }

    /// A table under `key`, whose keys are all known.
    pub fn table(&self, key: &str, known: &[&str], problems: &mut Problems) -> Option<Fields<'t>> {
        let value = self.value(key)?.get_ref();
        let Some(table) = value.as_table() else {
            self.expect_kind(key, &format!("a table with {}", known.join(", ")), value, problems);
            return None;
        };
        Some(Self::open(table, self.place(key), known, problems))
    }

    /// A table by language, whose keys are the taxonomy's languages.
    pub fn by_language(&self, key: &str, languages: &[&str], problems: &mut Problems) -> Option<Fields<'t>> {
        let value = self.value(key)?;
        let Some(table) = value.get_ref().as_table() else {
            let expected = format!("a table by language such as {{ {} = ... }}", languages.first().unwrap_or(&"en"));
            self.expect_kind(key, &expected, value.get_ref(), problems);
            return None;
        };
        let fields = Self { table, place: Place { offset: self.place(key).offset, key: self.path(key) } };
        for (language, _) in table.iter() {
            let code = language.get_ref().as_ref();
            if !languages.is_empty() && !languages.contains(&code) {
                let place = Place { offset: language.span().start, key: fields.path(code) };
                let allowed = languages.join(", ");
                problems.report_lazily(&place, || format!("{code:?} is not among the taxonomy's languages: {allowed}"));
            }
        }
        Some(fields)
    }

    /// The tables of a list `[[key]]`, at most `limit`; empty if the key is not there.
    pub fn tables(&self, key: &str, known: &[&str], limit: usize, problems: &mut Problems) -> Vec<Fields<'t>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.expect_kind(key, &format!("tables, each under [[{key}]]"), value.get_ref(), problems);
            return Vec::new();
        };
        if items.len() > limit {
            problems.report(&self.place(key), format!("{} entries; at most {limit} are allowed", items.len()));
            return Vec::new();
        }
        let mut tables = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = Place { offset: item.span().start, key: format!("{}[{index}]", self.path(key)) };
            match item.get_ref().as_table() {
                Some(table) => tables.push(Self::open(table, place, known, problems)),
                None => {
                    let found = kind_of(item.get_ref());
                    problems.report_lazily(&place, || format!("expected a table under [[{key}]], found {found}"));
                }
            }
        }
        tables
    }
}

fn check_words(text: &Located<String>, max_chars: usize, problems: &mut Problems) -> bool {
    if text.value.trim().is_empty() {
        problems.report(&text.place, "is empty");
        return false;
    }
    let chars = text.value.chars().count();
    if chars > max_chars {
        problems.report(&text.place, format!("has {chars} characters; at most {max_chars} are allowed"));
        return false;
    }
    true
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
