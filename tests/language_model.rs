//! Language models with real weights: those of `gemma-3-270m`, where they are here.
//!
//! `OTKLIK_TEST_MODELS` names the folder of models, else it is the one that the program would use. Without the weights nothing is
//! tested, and each test says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use otklik::assembly;
use otklik::config::Config;
use otklik::inference::decoder::LocalModel;
use otklik::inference::{
    Answer, AnswerForm, ChatMessage, ChatRole, FinishReason, Generation, LanguageModel, LanguageModelError, Sampling,
};
use otklik::models::{self, ModelState, Registry};
use otklik::prompts::{AnswerContent, AnswerError, PromptLimits, PromptRunner, PromptSet, RunError, RunOptions};
use serde_json::json;

const MODEL: &str = "gemma-3-270m";

/// The model, loaded once for all tests; `None` where its weights are not here.
fn model() -> Option<Arc<LocalModel>> {
    static MODEL_OF_ALL: OnceLock<Option<Arc<LocalModel>>> = OnceLock::new();
    let loaded = MODEL_OF_ALL.get_or_init(|| {
        let mut config = Config::default();
        config.models.dir = std::env::var_os("OTKLIK_TEST_MODELS").map(PathBuf::from);
        config.language_model.context = 2_048;
        // Tests that run beside each other must not push each other out of it.
        config.language_model.remembered = 16;
        let folder = models::find_models_dir(config.models.dir.as_deref()).unwrap();
        let registry = Registry::load(&folder).unwrap();
        match models::state(&folder, registry.get(MODEL).unwrap()).unwrap() {
            ModelState::Absent if config.models.dir.is_none() => None,
            // Whoever names a folder wants the tests: weights that are not there are an error then.
            _ => Some(Arc::new(assembly::load_language_model(&config, MODEL).unwrap())),
        }
    });
    if loaded.is_none() {
        eprintln!("not tested: the weights of {MODEL} are not here; `otklik models pull {MODEL}` fetches them");
    }
    loaded.clone()
}

fn asked(question: &str, form: AnswerForm, max_tokens: usize) -> Generation {
    Generation {
        messages: vec![ChatMessage::new(ChatRole::User, question)],
        form,
        sampling: Sampling::default(),
        max_tokens,
        stops: Vec::new(),
        deadline: None,
    }
}

async fn answer(model: &LocalModel, generation: Generation) -> Answer {
    model.answer(generation, None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_knows_is_likelier_than_what_is_wrong() {
    let Some(model) = model() else { return };
    let questions = [
        ("The capital of France is the city of", ["Paris", "Lisbon", "Oslo"]),
        ("Two plus two is", ["four", "seven", "nine"]),
        ("Столица России — город", ["Москва", "Мадрид", "Каир"]),
        ("A cat says meow, and a dog says", ["woof", "moo", "quack"]),
    ];
    for (question, choices) in questions {
        let choices = choices.map(str::to_owned);
        let messages = vec![ChatMessage::new(ChatRole::User, question)];
        let chances = model.choose(messages, choices.to_vec(), None).await.unwrap();
        assert!((chances.iter().sum::<f32>() - 1.0).abs() < 1e-3, "{chances:?}");
        assert!(chances[0] > chances[1] && chances[0] > chances[2], "{question}: {choices:?} {chances:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_keeps_its_form() {
    let Some(model) = model() else { return };
    let schema = json!({
        "type": "object",
        "properties": {
            "topic": { "type": "string", "enum": ["delivery", "payments", "staff"] },
            "urgent": { "type": "boolean" },
            "words": { "type": "array", "items": { "type": "string", "maxLength": 20 }, "maxItems": 3 },
        },
        "required": ["topic", "urgent", "words"],
        "additionalProperties": false,
    });
    for seed in 0..8 {
        let mut generation = asked("Курьер привёз заказ на три дня позже.", AnswerForm::Json(schema.clone()), 200);
        generation.sampling = Sampling { temperature: 1.5, seed, ..Sampling::default() };
        let said = answer(&model, generation).await;
        assert_eq!(said.finish, FinishReason::Stop, "{said:?}");
        let value = serde_json::from_str(&said.text).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(validator.is_valid(&value), "{value}");
    }
    let number = answer(&model, asked("When is it open?", AnswerForm::Regex("[0-9]{2}:[0-9]{2}".into()), 20)).await;
    assert!(number.text.len() == 5 && number.text.as_bytes()[2] == b':', "{number:?}");
    let choices = vec!["да".to_owned(), "нет".to_owned()];
    let chosen = answer(&model, asked("Снег белый?", AnswerForm::Choice(choices.clone()), 20)).await;
    assert!(choices.contains(&chosen.text), "{chosen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_says_the_same() {
    let Some(model) = model() else { return };
    let with_seed = |seed| {
        let mut generation = asked("Напишите про погоду осенью.", AnswerForm::Free, 24);
        generation.sampling = Sampling { temperature: 1.0, seed, ..Sampling::default() };
        generation
    };
    let first = answer(&model, with_seed(7)).await;
    let again = answer(&model, with_seed(7)).await;
    let other = answer(&model, with_seed(8)).await;
    assert_eq!(first.text, again.text);
    assert_ne!(first.text, other.text);
    assert!(!first.text.contains(char::REPLACEMENT_CHARACTER), "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_call_reads_only_what_is_new_in_it() {
    let Some(model) = model() else { return };
    let long = "Отвечайте коротко и по делу, без приветствий и без повторов. ".repeat(20);
    let call = |question: &str| {
        let mut generation = asked(question, AnswerForm::Free, 4);
        generation.messages.insert(0, ChatMessage::new(ChatRole::System, &long));
        generation
    };
    let first = answer(&model, call("Когда вы работаете?")).await.usage;
    let second = answer(&model, call("Где вы находитесь?")).await.usage;
    assert!(first.prompt_tokens > 200, "{first:?}");
    let new = second.prompt_tokens - second.cached_tokens;
    assert!(second.cached_tokens > first.prompt_tokens * 9 / 10 && new < 30, "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_has_enough_or_no_time_left_ends_the_work() {
    let Some(model) = model() else { return };
    let heard = Arc::new(Mutex::new(String::new()));
    let told = Arc::clone(&heard);
    let listener = Box::new(move |piece: &str| {
        let mut heard = told.lock().unwrap();
        heard.push_str(piece);
        if heard.chars().count() >= 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let said = model.answer(asked("Tell a long story.", AnswerForm::Free, 500), Some(listener)).await.unwrap();
    assert_eq!((said.finish, &said.text), (FinishReason::Cancelled, &*heard.lock().unwrap()));
    assert!(said.usage.answer_tokens < 50, "{said:?}");

    let mut late = asked(&"words ".repeat(1_000), AnswerForm::Free, 500);
    late.deadline = Some(Instant::now() + Duration::from_millis(20));
    assert_eq!(model.answer(late, None).await.unwrap_err(), LanguageModelError::DeadlineExceeded);
    let too_long = asked(&"words ".repeat(3_000), AnswerForm::Free, 500);
    let refused = model.answer(too_long, None).await.unwrap_err();
    assert!(matches!(refused, LanguageModelError::TooLong { context: 2_048, .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_are_answered_by_their_schemas() {
    let Some(model) = model() else { return };
    let prompts = PromptSet::built_in().unwrap();
    let limits = PromptLimits::default();
    let runner = PromptRunner::new(model, limits);
    let mut answered = 0;
    for id in ["extract-core", "analyse-survey-comment", "draft-reply"] {
        for prompt in prompts.prompts().filter(|prompt| prompt.identity().id.as_str() == id) {
            let rendered = prompt.render(&prompt.examples()[0].input, &limits).unwrap();
            let is_json = rendered.output_schema.is_some();
            match runner.run(rendered, RunOptions::default(), None).await {
                Ok(answer) => {
                    assert_eq!(matches!(answer.content, AnswerContent::Json(_)), is_json, "{id}");
                    answered += 1;
                }
                // A small model may say nothing, or run on in a text until its answer is cut; it may not say it in another form.
                Err(RunError::Answer(AnswerError::CutShort { .. } | AnswerError::Empty)) => {}
                Err(RunError::Model(LanguageModelError::TooLong { .. })) => {}
                Err(error) => panic!("{id}: {error}"),
            }
        }
    }
    assert!(answered >= 3, "{answered} of 6 prompts were answered");
}
