//! An input on its way into a template: checked by its schema, bounded, and each text as what it is.

use std::collections::BTreeMap;

use minijinja::Value as Shown;
use serde_json::Value;

use super::data::{BLOCK, BLOCK_END, DataTexts, has_marks};
use super::faults::InputFault;
use super::schema::{Node, Schema, Text};

/// How much a prompt may take and give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptLimits {
    /// Longest input: characters of all its texts, and one for each other value.
    pub max_input_chars: usize,
    /// Longest text of the company's own, in characters.
    pub max_trusted_chars: usize,
    /// Longest message that may be rendered, in characters.
    pub max_message_chars: usize,
    /// Longest answer of free text, in characters.
    pub max_answer_chars: usize,
}

impl Default for PromptLimits {
    fn default() -> Self {
        Self {
            max_input_chars: 100_000,
            max_trusted_chars: 10_000,
            max_message_chars: 200_000,
            max_answer_chars: 20_000,
        }
    }
}

/// What a template gets.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) variables: Shown,
    pub(super) texts: DataTexts,
}

impl Context {
    /// Checks an input and makes it ready; paths of faults begin with `root`.
    pub(super) fn of(
        input: &Value,
        schema: &Schema,
        root: &str,
        limits: &PromptLimits,
    ) -> Result<Self, Vec<InputFault>> {
        let size = size(input, limits.max_input_chars);
        if size > limits.max_input_chars {
            let most = limits.max_input_chars;
            let problem = format!("has more than {most} characters, the most allowed (prompts.max_input_chars)");
            return Err(vec![InputFault::new(root, problem)]);
        }
        let faults = schema.faults(input, root);
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut reader = Reader { limits, texts: DataTexts::default(), faults: Vec::new() };
        let variables = reader.value(input, &schema.root, "input", root);
        if reader.faults.is_empty() { Ok(Self { variables, texts: reader.texts }) } else { Err(reader.faults) }
    }
}

/// Characters of all texts of a value, and one for each other; counting ends where there are more than `most`.
fn size(value: &Value, most: usize) -> usize {
    let mut total: usize = 0;
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        total += match value {
            Value::String(text) => text.chars().count().max(1),
            Value::Array(items) => {
                left.extend(items);
                1
            }
            Value::Object(fields) => {
                left.extend(fields.values());
                1
            }
            _ => 1,
        };
        if total > most {
            break;
        }
    }
    total
}

struct Reader<'l> {
    limits: &'l PromptLimits,
    texts: DataTexts,
    faults: Vec<InputFault>,
}

impl Reader<'_> {
    /// A value as a template sees it; `name` is that of the nearest field.
    fn value(&mut self, value: &Value, node: &Node, name: &str, path: &str) -> Shown {
        match (value, node) {
            (Value::String(text), Node::Text(Text::Written)) => self.texts.take(name, text),
            (Value::String(text), Node::Text(kind)) => {
                if *kind == Text::Trusted {
                    self.check_trusted(text, path);
                }
                Shown::from(text.as_str())
            }
            (Value::Bool(truth), _) => Shown::from(*truth),
            (Value::Number(number), _) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Shown::from(whole),
                (None, Some(number)) => Shown::from(number),
                (None, None) => self.refuse(path),
            },
            (Value::Array(items), Node::List(entry)) => {
                let items = items.iter().enumerate();
                items.map(|(index, item)| self.value(item, entry, name, &format!("{path}[{index}]"))).collect()
            }
            (Value::Object(fields), Node::Object(nodes)) => {
                let mut shown = BTreeMap::new();
                for (name, value) in fields {
                    let path = format!("{path}.{name}");
                    let value = match nodes.get(name) {
                        Some(node) => self.value(value, node, name, &path),
                        None => self.refuse(&path),
                    };
                    shown.insert(name.clone(), value);
                }
                Shown::from(shown)
            }
            _ => self.refuse(path),
        }
    }

    /// The schema lets nothing of the kind through; what it would let through is refused here.
    fn refuse(&mut self, path: &str) -> Shown {
        self.faults.push(InputFault::new(path, "must be what the schema declares"));
        Shown::from(())
    }

    fn check_trusted(&mut self, text: &str, path: &str) {
        let most = self.limits.max_trusted_chars;
        if text.chars().count() > most {
            let problem = format!("must have at most {most} characters (prompts.max_trusted_chars)");
            self.faults.push(InputFault::new(path, problem));
        }
        let lower = text.to_lowercase();
        for mark in [BLOCK, BLOCK_END, "<|"] {
            if lower.contains(mark) {
                let problem = format!("must not contain {mark:?}: it stands among instructions, outside of data");
                self.faults.push(InputFault::new(path, problem));
            }
        }
        if has_marks(text) {
            self.faults.push(InputFault::new(path, "must not contain U+F8F0 or U+F8F1"));
        }
    }
}
