//! Where values come from, and what can be wrong with them.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Allowed, Key};

/// Every environment variable of the program begins with this.
pub(super) const ENVIRONMENT_PREFIX: &str = "OTKLIK_";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the file, from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// This environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(variable) => write!(f, "environment variable {variable}"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key; empty when a file as a whole is at fault.
    pub key: String,
    /// Where it came from; `None` when a file as a whole is at fault.
    pub origin: Option<Origin>,
    message: String,
}

impl Problem {
    pub(super) fn not_allowed(key: &str, value: &str, origin: Origin, allowed: &Allowed) -> Self {
        Self::contradiction(key, value, origin, &allowed.to_string())
    }

    pub(super) fn contradiction(key: &str, value: &str, origin: Origin, rule: &str) -> Self {
        let message = format!("{key} = {value:?} ({origin}): must be {rule}");
        Self { key: key.to_owned(), origin: Some(origin), message }
    }

    fn unknown(key: &str, origin: Origin, keys: &[Key]) -> Self {
        let hint = nearest(key, keys).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        let message = format!("{key} ({origin}): there is no such key{hint}");
        Self { key: key.to_owned(), origin: Some(origin), message }
    }

    fn file(path: &Path, line: Option<usize>, problem: &str) -> Self {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        Self { key: String::new(), origin: None, message: format!("{}{line}: {problem}", path.display()) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Everything wrong with the configuration, one problem a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems, in order of the sources; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid:")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

/// A value that was given for a known key.
pub(super) struct Given {
    pub(super) key: &'static str,
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Collects what the sources give, in order.
pub(super) struct Source<'a> {
    keys: &'a [Key],
    given: Vec<Given>,
    problems: Vec<Problem>,
}

impl<'a> Source<'a> {
    pub(super) fn new(keys: &'a [Key]) -> Self {
        Self { keys, given: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn finish(self) -> (Vec<Given>, Vec<Problem>) {
        (self.given, self.problems)
    }

    pub(super) fn read_file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.problems.push(Problem::file(path, None, &format!("can't be read: {error}"))),
        };
        let line_at = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        match DeTable::parse(&text) {
            Ok(table) => self.read_table(path, "", table.get_ref(), &line_at),
            Err(error) => {
                let line = error.span().map(|span| line_at(span.start));
                self.problems.push(Problem::file(path, line, error.message()));
            }
        }
    }

    fn read_table(&mut self, path: &Path, prefix: &str, table: &DeTable<'_>, line_at: &impl Fn(usize) -> usize) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name = format!("{prefix}{}", key.get_ref());
            let origin = Origin::File { path: path.to_owned(), line: line_at(key.span().start) };
            let known = self.keys.iter().find(|known| known.name == name);
            match (known, value.get_ref()) {
                (Some(known), _) => match plain_text(value, known.allowed.is_numeric()) {
                    Ok(text) => self.given.push(Given { key: known.name, text, origin }),
                    Err(shown) => self.problems.push(Problem::not_allowed(&name, &shown, origin, &known.allowed)),
                },
                (None, DeValue::Table(inner)) => self.read_table(path, &format!("{name}."), inner, line_at),
                (None, _) => self.problems.push(Problem::unknown(&name, origin, self.keys)),
            }
        }
    }

    pub(super) fn read_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let mut variables: Vec<_> = environment.into_iter().collect();
        variables.sort();
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX).map(str::to_ascii_lowercase) else { continue };
            let known = self.keys.iter().find(|key| key.name.replace('.', "_") == name);
            let in_section = |key: &Key| {
                let rest = key.name.split('.').next().and_then(|section| name.strip_prefix(section));
                rest.is_some_and(|rest| rest.starts_with('_'))
            };
            let origin = Origin::Environment(variable.clone());
            match known {
                Some(key) => self.given.push(Given { key: key.name, text, origin }),
                None if self.keys.iter().any(in_section) && !made_by_kubernetes(&name) => {
                    let name = name.replacen('_', ".", 1);
                    self.problems.push(Problem::unknown(&name, origin, self.keys));
                }
                None => {}
            }
        }
    }

    pub(super) fn read_flags(&mut self, flags: &[(String, String)]) {
        for (name, text) in flags {
            match self.keys.iter().find(|key| key.name == name) {
                Some(key) => self.given.push(Given { key: key.name, text: text.clone(), origin: Origin::Flag }),
                None => self.problems.push(Problem::unknown(name, Origin::Flag, self.keys)),
            }
        }
    }
}

/// The text of a value of the right kind, or how to show one of the wrong kind.
fn plain_text(value: &Spanned<DeValue<'_>>, numeric: bool) -> Result<String, String> {
    let (text, is_number) = match value.get_ref() {
        DeValue::String(text) => (text.to_string(), false),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(whole) => (whole.to_string(), true),
            Err(_) => (number.to_string(), true),
        },
        DeValue::Float(number) => (number.as_str().to_owned(), true),
        DeValue::Boolean(truth) => return Err(truth.to_string()),
        DeValue::Datetime(datetime) => return Err(datetime.to_string()),
        DeValue::Array(_) => return Err("a list".to_owned()),
        DeValue::Table(_) => return Err("a table".to_owned()),
    };
    if is_number == numeric { Ok(text) } else { Err(text) }
}

/// Kubernetes gives each pod variables named after the services beside it; a service called `otklik-server` makes
/// `OTKLIK_SERVER_SERVICE_HOST`, `OTKLIK_SERVER_PORT_50051_TCP_ADDR` and their like.
fn made_by_kubernetes(name: &str) -> bool {
    let after_port = name.split_once("_port").map(|(_, rest)| rest);
    name.contains("_service_host")
        || name.contains("_service_port")
        || after_port.is_some_and(|rest| {
            rest.is_empty() || rest.trim_start_matches('_').starts_with(|c: char| c.is_ascii_digit())
        })
}

/// The known key most like `given`, if any is much like it.
fn nearest(given: &str, keys: &[Key]) -> Option<&'static str> {
    let likeness = |key: &Key| {
        let last = key.name.rsplit('.').next().unwrap_or(key.name);
        strsim::jaro_winkler(given, key.name).max(strsim::jaro_winkler(given, last))
    };
    let scored = keys.iter().map(|key| (likeness(key), key.name));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > 0.85).map(|(_, name)| name)
}
