//! What a form allows, with models that choose at random among what it allows.

use std::sync::LazyLock;

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::*;
use crate::inference::decoder::vocabulary::tests::{MERGES, byte_pairs_metadata};

static ENV: LazyLock<(Arc<Vocabulary>, GrammarEnv)> = LazyLock::new(|| {
    let vocabulary = Arc::new(Vocabulary::read(&byte_pairs_metadata(&MERGES)).unwrap());
    let env = GrammarEnv::new(vocabulary.clone()).unwrap();
    (vocabulary, env)
});

/// How an answer of a model that chooses at random ended.
struct Said {
    text: String,
    tokens: usize,
    whole: bool,
}

fn say(form: &AnswerForm, seed: u64, max_tokens: usize, use_forced: bool) -> Said {
    let (vocabulary, env) = &*ENV;
    let mut grammar = Grammar::new(env, form).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut decoder = vocabulary.decoder();
    let mut said = Said { text: String::new(), tokens: 0, whole: false };
    while !grammar.is_complete() && said.tokens < max_tokens {
        let forced = if use_forced { grammar.forced().unwrap() } else { Vec::new() };
        for token in forced.into_iter().take(max_tokens - said.tokens) {
            said.tokens += 1;
            said.text += &decoder.push(token);
        }
        if grammar.is_complete() || said.tokens == max_tokens {
            break;
        }
        let mask = grammar.mask().unwrap().unwrap();
        let allowed: Vec<u32> = (0..vocabulary.len() as u32).filter(|id| mask.allows(*id)).collect();
        assert!(!allowed.is_empty(), "nothing may follow {:?}", said.text);
        // An end that may come does, or answers would be long.
        let token = match allowed.iter().find(|id| vocabulary.is_end(**id)) {
            Some(end) if random.random_bool(0.5) => *end,
            _ => allowed[random.random_range(0..allowed.len())],
        };
        grammar.commit(token).unwrap();
        said.tokens += 1;
        said.text += &decoder.push(token);
    }
    said.whole = grammar.is_complete();
    if said.whole {
        said.text += &decoder.finish();
    }
    said
}

fn refusal(form: AnswerForm) -> String {
    Grammar::new(&ENV.1, &form).err().expect("refused").to_string()
}

#[test]
fn a_choice_is_made_and_nothing_else_is_said() {
    let choices = ["да", "да, но нет", "the/end", "a|b", "[x]\n-#&~ \"q\" \\ok"].map(str::to_owned).to_vec();
    let form = AnswerForm::Choice(choices.clone());
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let said = say(&form, seed, 100, true);
        assert!(said.whole && choices.contains(&said.text), "{:?}", said.text);
        seen.insert(said.text);
    }
    assert_eq!(seen.len(), choices.len());
}

#[test]
fn a_pattern_is_matched_as_a_whole() {
    let form = AnswerForm::Regex(r"(?:TKT|CRD)-[0-9]{3,5}(?:/[а-я]{2})?".to_owned());
    let whole = regex::Regex::new(r"^(?:TKT|CRD)-[0-9]{3,5}(?:/[а-я]{2})?$").unwrap();
    for seed in 0..100 {
        let said = say(&form, seed, 100, seed % 2 == 0);
        assert!(said.whole && whole.is_match(&said.text), "{:?}", said.text);
    }
}

#[test]
fn what_must_come_is_not_asked_for() {
    let schema = json!({"type": "object", "required": ["topic"], "additionalProperties": false,
        "properties": {"topic": {"const": "the card"}}});
    let mut grammar = Grammar::new(&ENV.1, &AnswerForm::Json(schema)).unwrap();
    let mut tokens = Vec::new();
    while !grammar.is_complete() {
        let forced = grammar.forced().unwrap();
        if forced.is_empty() {
            // Another split of the same text.
            let mask = grammar.mask().unwrap().unwrap();
            let next = (0..ENV.0.len() as u32).find(|id| mask.allows(*id)).unwrap();
            grammar.commit(next).unwrap();
            tokens.push(next);
        }
        tokens.extend(forced);
    }
    let mut decoder = ENV.0.decoder();
    let text: String = tokens.iter().map(|token| decoder.push(*token)).collect();
    assert_eq!(text, r#"{"topic":"the card"}"#);
    assert!(grammar.may_end().unwrap());
    let mask = grammar.mask().unwrap().unwrap();
    assert!(ENV.0.ends().iter().all(|end| mask.allows(*end)) && !mask.allows(u32::from(b'a')));
}

#[test]
fn a_free_answer_is_held_to_nothing() {
    let mut grammar = Grammar::new(&ENV.1, &AnswerForm::Free).unwrap();
    grammar.commit(7).unwrap();
    assert!(grammar.mask().unwrap().is_none() && grammar.forced().unwrap().is_empty());
    assert!(!grammar.is_complete() && grammar.may_end().unwrap());
}

#[test]
fn a_token_that_is_not_allowed_is_refused() {
    let mut grammar = Grammar::new(&ENV.1, &AnswerForm::Regex("[a-c]{3}".to_owned())).unwrap();
    assert!(!grammar.may_end().unwrap());
    let error = grammar.commit(u32::from(b'z')).unwrap_err().to_string();
    assert!(error.contains("the form of the answer"), "{error}");
}

#[test]
fn forms_that_can_not_be_kept_are_refused_by_name() {
    for (form, parts) in [
        (AnswerForm::Regex("[".to_owned()), ["form.regex", ""]),
        (AnswerForm::Regex(String::new()), ["form.regex", "from 1 to"]),
        (AnswerForm::Choice(vec![]), ["form.choice", "from 1 to 1000"]),
        (AnswerForm::Choice(vec!["да".to_owned(), String::new()]), ["form.choice[1]", "must not be empty"]),
        (AnswerForm::Json(json!({"items": {"not": {}}})), ["form.json/items/not", "can't be held to"]),
        (AnswerForm::Json(json!({"type": "integer", "minimum": 5, "maximum": 4})), ["form.json", "minimum"]),
        (AnswerForm::Json(json!({"type": "string", "format": "почта"})), ["form.json", "почта"]),
        (AnswerForm::Json(json!({"$ref": "#/$defs/none"})), ["form.json", ""]),
        (
            AnswerForm::Json(json!({"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 2}]})),
            ["form.json", "oneOf"],
        ),
    ] {
        let error = refusal(form);
        assert!(parts.iter().all(|part| error.contains(part)), "{error} should contain {parts:?}");
        assert!(!error.contains('\n'), "{error}");
    }
}

/// Schemas whose answers have a bound, with that bound in bytes.
fn schemas() -> impl Strategy<Value = (Value, usize)> {
    let word = prop::sample::select(vec!["да", "the", "a\"b\\", "ok", "№5", "x y", "\n", "😀", ""]);
    let leaf = prop_oneof![
        Just((json!({"type": "null"}), 4)),
        Just((json!({"type": "boolean"}), 5)),
        prop::collection::btree_set(word, 1..4).prop_map(|words| (json!({"enum": words}), 40)),
        (0_usize..4, 0_usize..9).prop_map(|(least, more)| {
            // Each character is at most six bytes: an escape like \u001f.
            (json!({"type": "string", "minLength": least, "maxLength": least + more}), 2 + 6 * (least + more))
        }),
        (-2_000_i64..2_000, 0_i64..3_000)
            .prop_map(|(least, more)| (json!({"type": "integer", "minimum": least, "maximum": least + more}), 5)),
        Just((json!({"type": "integer"}), 17)),
        Just((json!({"type": "string", "pattern": "^[а-яё]{2,5}$"}), 12)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let keys = prop::collection::btree_map("[a-zа-я ]{1,6}", (inner.clone(), any::<bool>()), 0..4);
        prop_oneof![
            (inner.clone(), 0_usize..3, 0_usize..3).prop_map(|((schema, bytes), least, more)| {
                let bound = 2 + (least + more) * (bytes + 1);
                (json!({"type": "array", "items": schema, "minItems": least, "maxItems": least + more}), bound)
            }),
            keys.prop_map(|keys| {
                let bound = 2 + keys.iter().map(|(key, ((_, bytes), _))| key.len() + 4 + bytes).sum::<usize>();
                let required: Vec<&String> =
                    keys.iter().filter(|(_, (_, needed))| *needed).map(|(key, _)| key).collect();
                let properties: Value =
                    keys.iter().map(|(key, ((schema, _), _))| (key.clone(), schema.clone())).collect();
                let required = json!(required);
                let schema = json!({"type": "object", "properties": properties, "required": required,
                    "additionalProperties": false, "x-kind": "made up"});
                (schema, bound)
            }),
            prop::collection::vec(inner, 1..3).prop_map(|options| {
                let bound = options.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default();
                let options: Vec<Value> = options.into_iter().map(|(schema, _)| schema).collect();
                (json!({"anyOf": options}), bound)
            }),
        ]
    })
}

proptest! {
    // The variable PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn answers_parse_and_are_what_the_schema_allows((schema, bound) in schemas(), seed: u64, cut in 1_usize..60) {
        let form = AnswerForm::Json(schema.clone());
        // No token is empty, and one more ends the answer.
        let said = say(&form, seed, bound + 1, seed % 2 == 0);
        prop_assert!(said.whole, "{schema} was not complete after {bound} bytes: {}", said.text);
        let value: Value = serde_json::from_str(&said.text).map_err(|error| TestCaseError::fail(format!("{error}: {}", said.text)))?;
        prop_assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&value), "{value} against {schema}");
        prop_assert_eq!(said.text.trim(), &said.text);
        let short = say(&form, seed, cut, seed % 2 == 0);
        prop_assert!(short.whole || short.tokens == cut, "{} of {cut} tokens", short.tokens);
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100)
}
