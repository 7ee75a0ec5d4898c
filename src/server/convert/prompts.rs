//! Inputs of prompts on their way in, prompts and answers on their way out.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde_json::{Map, Number, Value};
use tonic::Status;

use super::feedback::check_id;
use super::{Faults, enums};
use crate::config::LimitsConfig;
use crate::inference::{ChatMessage, FinishReason, Sampling, Usage};
use crate::prompts::{
    AnswerContent, Prompt, PromptAnswer, PromptExample, PromptIdentity, PromptLanguage, PromptOrigin, RenderedPrompt,
};
use crate::server::wire::v1;

/// Up to here, every whole number is a number of the protocol, and the other way round: 2^53.
const WHOLE_NUMBERS: f64 = 9_007_199_254_740_992.0;

/// The highest temperature.
const MAX_TEMPERATURE: f32 = 100.0;

/// A name of a field that is longer is not told in a path.
const MAX_TOLD_NAME: usize = 64;

/// Which prompt a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct WantedPrompt {
    pub(in crate::server) id: String,
    pub(in crate::server) language: Option<PromptLanguage>,
}

/// Checks which prompt is wanted.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn wanted_prompt(
    id: String,
    language: i32,
    limits: &LimitsConfig,
) -> Result<WantedPrompt, Status> {
    let mut faults = Faults::default();
    check_id(&id, "prompt_id", limits, &mut faults);
    let language = enums::optional::<v1::PromptLanguage>(language, "language", &mut faults);
    faults.or(WantedPrompt { id, language })
}

/// Checks the language of a list.
///
/// # Errors
/// INVALID_ARGUMENT.
pub(in crate::server) fn listed_language(language: i32) -> Result<Option<PromptLanguage>, Status> {
    let mut faults = Faults::default();
    let language = enums::optional::<v1::PromptLanguage>(language, "language", &mut faults);
    faults.or(language)
}

/// Checks how words are to be chosen.
///
/// # Errors
/// INVALID_ARGUMENT.
pub(in crate::server) fn sampling(temperature: f32, seed: u64) -> Result<Sampling, Status> {
    if !(0.0..=MAX_TEMPERATURE).contains(&temperature) {
        return Err(Faults::one("temperature", format!("must be from 0 to {MAX_TEMPERATURE}")));
    }
    Ok(Sampling { temperature, seed, ..Sampling::default() })
}

/// The input of a prompt as JSON.
///
/// # Errors
/// INVALID_ARGUMENT if there is none, or something in it is no JSON.
pub(in crate::server) fn prompt_input(given: Option<Struct>) -> Result<Value, Status> {
    let Some(given) = given else { return Err(Faults::one("input", "must be given")) };
    let mut faults = Faults::default();
    let input = object(given, "input", &mut faults);
    faults.or(input)
}

// Messages nest at most a hundred deep: the decoder refuses more.
fn object(given: Struct, path: &str, faults: &mut Faults) -> Value {
    let fields = given.fields.into_iter().map(|(name, value)| {
        let value = json(value, &inside(path, &name), faults);
        (name, value)
    });
    Value::Object(fields.collect::<Map<String, Value>>())
}

/// The path of a field. A name that is none, but text, is not told.
fn inside(path: &str, name: &str) -> String {
    let is_sign = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    let is_name = name.len() <= MAX_TOLD_NAME && name.chars().all(is_sign);
    if is_name { format!("{path}.{name}") } else { path.to_owned() }
}

fn json(given: WireValue, path: &str, faults: &mut Faults) -> Value {
    match given.kind {
        Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(truth)) => Value::Bool(truth),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::StructValue(fields)) => object(fields, path, faults),
        Some(Kind::ListValue(list)) => {
            let entries = list.values.into_iter().enumerate();
            entries.map(|(index, value)| json(value, &format!("{path}[{index}]"), faults)).collect()
        }
        Some(Kind::NumberValue(number)) => match json_number(number) {
            Some(number) => Value::Number(number),
            None => {
                faults.add(path, "must be a finite number");
                Value::Null
            }
        },
        None => {
            faults.add(path, "must have a value");
            Value::Null
        }
    }
}

/// Whole numbers become integers, which is what schemas ask for.
fn json_number(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() <= WHOLE_NUMBERS {
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

fn wire_struct(fields: &Map<String, Value>) -> Struct {
    Struct { fields: fields.iter().map(|(name, value)| (name.clone(), wire_value(value))).collect() }
}

fn wire_value(value: &Value) -> WireValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(entries) => Kind::ListValue(ListValue { values: entries.iter().map(wire_value).collect() }),
        Value::Object(fields) => Kind::StructValue(wire_struct(fields)),
    };
    WireValue { kind: Some(kind) }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl From<&PromptIdentity> for v1::PromptIdentity {
    fn from(identity: &PromptIdentity) -> Self {
        Self {
            prompt_id: identity.id.clone(),
            language: v1::PromptLanguage::from(identity.language).into(),
            // A file can't have a higher one.
            version: u32::try_from(identity.version).unwrap_or(u32::MAX),
            sha256: identity.sha256.clone(),
        }
    }
}

impl From<&Prompt> for v1::PromptSummary {
    fn from(prompt: &Prompt) -> Self {
        Self {
            identity: Some(prompt.identity().into()),
            title: prompt.title().to_owned(),
            purpose: prompt.purpose().to_owned(),
            max_tokens: count(prompt.max_tokens()),
            tried_on: prompt.tried_on().to_vec(),
            built_in: *prompt.origin() == PromptOrigin::BuiltIn,
        }
    }
}

impl From<&Prompt> for v1::Prompt {
    fn from(prompt: &Prompt) -> Self {
        Self {
            summary: Some(prompt.into()),
            input_schema_json: prompt.input_schema().to_string(),
            output_schema_json: prompt.output_schema().map(Value::to_string).unwrap_or_default(),
            examples: prompt.examples().iter().map(|one| example(one, prompt.output_schema().is_none())).collect(),
            source: prompt.source().to_owned(),
        }
    }
}

fn example(example: &PromptExample, is_free: bool) -> v1::PromptExample {
    let output = match &example.output {
        Value::String(text) if is_free => AnswerContent::Text(text.clone()),
        other => AnswerContent::Json(other.clone()),
    };
    v1::PromptExample {
        name: example.name.clone(),
        input: example.input.as_object().map(wire_struct),
        output: Some(output.into()),
    }
}

impl From<AnswerContent> for v1::PromptOutput {
    fn from(content: AnswerContent) -> Self {
        use v1::prompt_output::Content;
        Self {
            content: Some(match content {
                AnswerContent::Json(value) => Content::Json(value.to_string()),
                AnswerContent::Text(text) => Content::Text(text),
            }),
        }
    }
}

impl From<ChatMessage> for v1::PromptMessage {
    fn from(message: ChatMessage) -> Self {
        Self { role: v1::ChatRole::from(message.role).into(), content: message.content }
    }
}

impl From<RenderedPrompt> for v1::RenderPromptResponse {
    fn from(rendered: RenderedPrompt) -> Self {
        Self {
            prompt: Some(rendered.identity().into()),
            output_schema_json: rendered.output_schema.as_ref().map(Value::to_string).unwrap_or_default(),
            max_tokens: count(rendered.max_tokens),
            messages: rendered.messages.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<PromptAnswer> for v1::PromptAnswer {
    fn from(answer: PromptAnswer) -> Self {
        let Usage { prompt_tokens, cached_tokens, answer_tokens, prefill_ms, decode_ms } = answer.usage;
        let finish = match answer.finish {
            FinishReason::Stop => v1::PromptFinish::Stop,
            FinishReason::Length => v1::PromptFinish::Length,
            // Such an answer is an error before it comes here.
            FinishReason::Cancelled => v1::PromptFinish::Unspecified,
        };
        Self {
            output: Some(answer.content.into()),
            finish: finish.into(),
            usage: Some(v1::PromptUsage {
                prompt_tokens: count(prompt_tokens),
                cached_tokens: count(cached_tokens),
                answer_tokens: count(answer_tokens),
                prefill_ms,
                decode_ms,
            }),
            prompt: Some((&answer.prompt).into()),
            model_id: answer.model_id,
            model_sha256: answer.model_sha256,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53)..=1_i64 << 53).prop_map(Value::from),
            (-1_000_i32..1_000).prop_map(|number| Value::from(f64::from(number) + 0.5)),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_input_comes_back_from_the_wire(value in any_json()) {
            let input = json!({ "input": value });
            let sent = wire_struct(input.as_object().unwrap());
            prop_assert_eq!(prompt_input(Some(sent)).unwrap(), input);
        }
    }

    #[test]
    fn what_is_no_json_is_told_with_its_path_and_no_text_of_the_input() {
        let number = |number| WireValue { kind: Some(Kind::NumberValue(number)) };
        let list = ListValue { values: vec![number(1.0), number(f64::NAN)] };
        let fields = [
            ("rates".to_owned(), WireValue { kind: Some(Kind::ListValue(list)) }),
            ("some text".to_owned(), WireValue { kind: None }),
        ];
        let status = prompt_input(Some(Struct { fields: fields.into() })).unwrap_err();
        assert_eq!(status.message(), "input.rates[1]: must be a finite number (and 1 more)");
        assert!(!String::from_utf8_lossy(status.details()).contains("some text"));
        assert_eq!(prompt_input(None).unwrap_err().message(), "input: must be given");
    }

    #[test]
    fn a_temperature_out_of_its_range_is_refused() {
        for refused in [-0.1, 100.1, f32::NAN] {
            assert!(sampling(refused, 0).unwrap_err().message().starts_with("temperature: must be from 0 to 100"));
        }
        assert_eq!(sampling(0.7, 5).unwrap(), Sampling { temperature: 0.7, seed: 5, ..Sampling::default() });
    }
}
