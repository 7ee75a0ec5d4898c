//! Tests of the room as a whole.

mod answers;
mod attacks;
mod built_in;
mod files;
mod library;

use std::sync::Arc;

use serde_json::Value;

use super::*;

/// Front matter of a prompt with `input` and `output` as tables of TOML, and one example.
const FRONT: &str = r#"id = "try"
language = "en"
version = 3
title = "A try"
purpose = "For tests."
max_tokens = 50
tried_on = []
"#;

const INPUT: &str = r#"[input]
type = "object"
required = ["text"]
additionalProperties = false
[input.properties.text]
type = "string"
minLength = 1
[input.properties.rule]
type = "string"
x-trusted = true
[input.properties.tone]
type = "string"
enum = ["warm", "plain"]
[input.properties.count]
type = "integer"
minimum = 0
[input.properties.cases]
type = "array"
maxItems = 20
[input.properties.cases.items]
type = "object"
required = ["id", "text"]
additionalProperties = false
[input.properties.cases.items.properties.id]
type = "string"
x-trusted = true
[input.properties.cases.items.properties.text]
type = "string"
[input.properties.notes]
type = "array"
[input.properties.notes.items]
type = "string"
"#;

const OUTPUT: &str = r#"[output]
type = "object"
required = ["summary"]
additionalProperties = false
[output.properties.summary]
type = "string"
maxLength = 200
[output.properties.case_id]
type = "string"
x-enum-from = "cases.id"
[output.properties.tone]
type = "string"
enum = ["warm", "plain"]
[output.properties.quotes]
type = "array"
[output.properties.quotes.items]
type = "string"
"#;

const EXAMPLE: &str = r#"[[examples]]
name = "one"
[examples.input]
text = "The till is down"
cases = [{ id = "c1", text = "It was down before" }, { id = "c2", text = "So was mine" }]
notes = ["first", "second"]
[examples.output]
summary = "A till is down."
case_id = "c2"
"#;

const BODY: &str = "{% block system %}Sum up.{% endblock %}\n{% block user %}{{ text }}{% endblock %}\n";

/// A file of these parts.
fn file(front: &str, input: &str, output: &str, example: &str, body: &str) -> String {
    format!("+++\n{front}\n{input}\n{output}\n{example}+++\n{body}")
}

fn parse(source: &str) -> Result<Arc<Prompt>, Vec<String>> {
    let parsed = Prompt::parse(source, "try.en.md", "try", PromptLanguage::English, PromptOrigin::BuiltIn);
    parsed.map(Arc::new).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// A prompt with this user block.
fn with_user_block(block: &str) -> Result<Arc<Prompt>, Vec<String>> {
    let body = format!("{{% block system %}}Sum up.{{% endblock %}}\n{{% block user %}}{block}{{% endblock %}}\n");
    parse(&file(FRONT, INPUT, OUTPUT, EXAMPLE, &body))
}

fn prompt() -> Arc<Prompt> {
    parse(&file(FRONT, INPUT, OUTPUT, EXAMPLE, BODY)).unwrap()
}

fn render(prompt: &Arc<Prompt>, input: &Value) -> Result<RenderedPrompt, PromptError> {
    prompt.render(input, &PromptLimits::default())
}

/// The fields that an input is blamed for.
fn blamed(outcome: Result<RenderedPrompt, PromptError>) -> Vec<String> {
    match outcome {
        Err(PromptError::Input(faults)) => faults.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}
