//! What differs between two taxonomies, entry by entry and field by field.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::Taxonomy;
use crate::tags::TaxonomyVersion;

/// What changed from one taxonomy to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaxonomyDiff {
    /// Version of the old taxonomy.
    pub old: TaxonomyVersion,
    /// Version of the new taxonomy.
    pub new: TaxonomyVersion,
    /// Changes of what stands at the head of the file: name, languages, triage team.
    pub head: Vec<FieldChange>,
    /// Changes of topics.
    pub topics: SectionDiff,
    /// Changes of signals.
    pub signals: SectionDiff,
    /// Changes of teams.
    pub teams: SectionDiff,
    /// Changes of ownership rules.
    pub ownership: SectionDiff,
    /// Changes of phrase rules.
    pub rules: SectionDiff,
}

/// What changed among the entries of one kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct SectionDiff {
    /// Ids of entries that only the new taxonomy has, in its order.
    pub added: Vec<String>,
    /// Ids of entries that only the old taxonomy has, in its order.
    pub removed: Vec<String>,
    /// Entries that both have and that differ, in the order of the new taxonomy.
    pub changed: Vec<EntryChange>,
    /// True if the entries that both have stand in another order.
    pub reordered: bool,
}

/// What changed in one entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntryChange {
    /// Its id.
    pub id: String,
    /// Its fields that differ; never empty.
    pub fields: Vec<FieldChange>,
}

/// What changed in one field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Path of the field in the entry: `name.ru`, `examples.en`.
    pub field: String,
    /// What changed.
    #[serde(flatten)]
    pub change: Change,
}

/// How a field changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// A list has other items; both are empty if only their order differs.
    Items {
        /// Items that only the new one has.
        added: Vec<Value>,
        /// Items that only the old one has.
        removed: Vec<Value>,
    },
    /// A single value is another.
    Value {
        /// The old value; `None` if there was none.
        old: Option<Value>,
        /// The new value; `None` if there is none.
        new: Option<Value>,
    },
}

impl TaxonomyDiff {
    /// True if nothing differs.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.sections().iter().all(|(_, section)| section.is_empty())
    }

    fn sections(&self) -> [(&'static str, &SectionDiff); 5] {
        [
            ("topic", &self.topics),
            ("signal", &self.signals),
            ("team", &self.teams),
            ("ownership rule", &self.ownership),
            ("phrase rule", &self.rules),
        ]
    }
}

impl SectionDiff {
    /// True if nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && !self.reordered
    }
}

/// What changed from `old` to `new`.
pub fn diff(old: &Taxonomy, new: &Taxonomy) -> TaxonomyDiff {
    let (before, after) = (&old.contents, &new.contents);
    let mut head = Vec::new();
    compare(&mut head, "name", Some(&json(&before.name)), Some(&json(&after.name)));
    compare(&mut head, "languages", Some(&json(&before.languages)), Some(&json(&after.languages)));
    compare(&mut head, "triage_team", Some(&json(&before.triage_team)), Some(&json(&after.triage_team)));
    TaxonomyDiff {
        old: old.version.clone(),
        new: new.version.clone(),
        head,
        topics: section(&before.topics, &after.topics, |topic| topic.id.as_str()),
        signals: section(&before.signals, &after.signals, |signal| signal.id.as_str()),
        teams: section(&before.teams, &after.teams, |team| team.id.as_str()),
        ownership: section(&before.ownership, &after.ownership, |rule| &rule.id),
        rules: section(&before.rules, &after.rules, |rule| &rule.id),
    }
}

/// By way of text, where a confidence is `0.6`; as a number of twice the width it would be `0.6000000238418579`.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_string(value).and_then(|text| serde_json::from_str(&text)).unwrap_or(Value::Null)
}

fn section<T: Serialize + PartialEq>(old: &[T], new: &[T], id_of: impl Fn(&T) -> &str) -> SectionDiff {
    let old_by_id: std::collections::HashMap<&str, &T> = old.iter().map(|entry| (id_of(entry), entry)).collect();
    let new_ids: std::collections::HashSet<&str> = new.iter().map(&id_of).collect();
    let mut section = SectionDiff::default();
    let mut common_in_new: Vec<&str> = Vec::new();
    for entry in new {
        let id = id_of(entry);
        let Some(before) = old_by_id.get(id) else {
            section.added.push(id.to_owned());
            continue;
        };
        common_in_new.push(id);
        if *before != entry {
            let mut fields = Vec::new();
            compare(&mut fields, "", Some(&json(*before)), Some(&json(entry)));
            section.changed.push(EntryChange { id: id.to_owned(), fields });
        }
    }
    let (common_in_old, removed): (Vec<&str>, Vec<&str>) = old.iter().map(&id_of).partition(|id| new_ids.contains(id));
    section.removed = removed.into_iter().map(str::to_owned).collect();
    section.reordered = common_in_old != common_in_new;
    section
}

/// Puts what differs between two values into `changes`; tables are compared key by key.
fn compare(changes: &mut Vec<FieldChange>, field: &str, old: Option<&Value>, new: Option<&Value>) {
    if old == new {
        return;
    }
    if old.is_some_and(Value::is_object) || new.is_some_and(Value::is_object) {
        let keys_of = |value: Option<&Value>| -> Vec<String> {
            value.and_then(Value::as_object).map(|table| table.keys().cloned().collect()).unwrap_or_default()
        };
        let mut keys = keys_of(new);
        keys.extend(keys_of(old).into_iter().filter(|key| !keys.contains(key)).collect::<Vec<_>>());
        for key in keys {
            let path = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
            compare(changes, &path, old.and_then(|table| table.get(&key)), new.and_then(|table| table.get(&key)));
        }
        return;
    }
    let change = if old.is_some_and(Value::is_array) || new.is_some_and(Value::is_array) {
        let items_of = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        let (before, after) = (items_of(old), items_of(new));
        Change::Items {
            added: after.iter().filter(|item| !before.contains(item)).cloned().collect(),
            removed: before.iter().filter(|item| !after.contains(item)).cloned().collect(),
        }
    } else {
        Change::Value { old: old.cloned(), new: new.cloned() }
    };
    changes.push(FieldChange { field: field.to_owned(), change });
}

impl fmt::Display for TaxonomyDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return write!(f, "no difference: both are {}", self.new);
        }
        write!(f, "{} -> {}", self.old, self.new)?;
        for change in &self.head {
            write!(f, "\n~ {change}")?;
        }
        for (kind, section) in self.sections() {
            for id in &section.added {
                write!(f, "\n+ {kind} {id}")?;
            }
            for id in &section.removed {
                write!(f, "\n- {kind} {id}")?;
            }
            for EntryChange { id, fields } in &section.changed {
                write!(f, "\n~ {kind} {id}")?;
                for change in fields {
                    write!(f, "\n    {}", change.to_string().replace('\n', "\n    "))?;
                }
            }
            if section.reordered {
                write!(f, "\n~ {kind}s stand in another order")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
        match &self.change {
            Change::Value { old, new } => write!(f, "{}: {} -> {}", self.field, show(old), show(new)),
            Change::Items { added, removed } if added.is_empty() && removed.is_empty() => {
                write!(f, "{}: another order", self.field)
            }
            Change::Items { added, removed } => {
                write!(f, "{}:", self.field)?;
                for item in added {
                    write!(f, "\n  + {item}")?;
                }
                for item in removed {
                    write!(f, "\n  - {item}")?;
                }
                Ok(())
            }
        }
    }
}
