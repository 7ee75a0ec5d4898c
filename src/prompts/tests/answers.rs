//! From a rendered prompt to an answer.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::inference::{
    Answer, AnswerForm, FinishReason, Generation, LanguageModel, LanguageModelError, Listener, Usage,
};

/// Says what it was told to, and keeps what it was asked.
struct Scripted {
    says: Result<Answer, LanguageModelError>,
    asked: Mutex<Vec<Generation>>,
}

impl Scripted {
    fn new(text: &str, finish: FinishReason) -> Arc<Self> {
        let usage = Usage { prompt_tokens: 7, answer_tokens: 3, ..Usage::default() };
        let says = Ok(Answer { text: text.to_owned(), finish, usage });
        Arc::new(Self { says, asked: Mutex::default() })
    }
}

#[async_trait]
impl LanguageModel for Scripted {
    fn id(&self) -> &str {
        "scripted"
    }

    fn sha256(&self) -> &str {
        "00ff"
    }

    fn context(&self) -> usize {
        4_096
    }

    async fn answer(&self, generation: Generation, listener: Option<Listener>) -> Result<Answer, LanguageModelError> {
        self.asked.lock().unwrap().push(generation);
        if let (Ok(answer), Some(mut listener)) = (&self.says, listener) {
            for word in answer.text.split_inclusive(' ') {
                if listener(word) == ControlFlow::Break(()) {
                    return Ok(Answer { finish: FinishReason::Cancelled, ..answer.clone() });
                }
            }
        }
        if self.says.as_ref().is_ok_and(|answer| answer.text == "never") {
            std::future::pending::<()>().await;
        }
        self.says.clone()
    }

    async fn choose(
        &self,
        _: Vec<crate::inference::ChatMessage>,
        _: Vec<String>,
        _: Option<Instant>,
    ) -> Result<Vec<f32>, LanguageModelError> {
        Err(LanguageModelError::Failed("is never asked to choose".into()))
    }
}

fn rendered() -> RenderedPrompt {
    let input = json!({"text": "Ask [NAME_1]", "cases": [{"id": "c1", "text": "x"}]});
    render(&prompt(), &input).unwrap()
}

/// A prompt whose answer is free text.
fn free() -> RenderedPrompt {
    let example = EXAMPLE
        .split("[examples.output]")
        .next()
        .unwrap()
        .replace("[examples.input]", "output = \"x\"\n[examples.input]");
    let prompt = parse(&file(FRONT, INPUT, "", &example, BODY)).unwrap();
    render(&prompt, &json!({"text": "t"})).unwrap()
}

async fn run(rendered: RenderedPrompt, text: &str, finish: FinishReason) -> Result<PromptAnswer, RunError> {
    let runner = PromptRunner::new(Scripted::new(text, finish), PromptLimits::default());
    runner.run(rendered, RunOptions::default(), None).await
}

#[tokio::test]
async fn the_model_is_asked_with_messages_form_and_bounds() {
    let model = Scripted::new(r#" {"summary": "fine"} "#, FinishReason::Stop);
    let runner = PromptRunner::new(model.clone(), PromptLimits::default());
    let due = Instant::now() + Duration::from_secs(60);
    let rendered = rendered();
    let options = RunOptions { deadline: Some(due), ..RunOptions::default() };
    let answer = runner.run(rendered.clone(), options, None).await.unwrap();
    assert_eq!(answer.content, AnswerContent::Json(json!({"summary": "fine"})));
    assert_eq!((answer.model_id.as_str(), answer.model_sha256.as_str()), ("scripted", "00ff"));
    assert_eq!((answer.prompt.id.as_str(), answer.prompt.version), ("try", 3));
    assert_eq!((answer.usage.prompt_tokens, answer.finish), (7, FinishReason::Stop));
    let asked = model.asked.lock().unwrap().remove(0);
    assert_eq!(asked.messages, rendered.messages);
    assert_eq!(asked.form, AnswerForm::Json(rendered.output_schema.unwrap()));
    assert_eq!((asked.max_tokens, asked.deadline), (50, Some(due)));
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    for (text, finish, part) in [
        (r#"{"summary": "cut"#, FinishReason::Length, "was cut at 50 tokens"),
        (r#"{"summary": "whole"}"#, FinishReason::Length, "was cut at 50 tokens"),
        ("I am sorry", FinishReason::Stop, "is not JSON"),
        ("{}", FinishReason::Stop, "output.summary: must be given"),
        (r#"{"summary": "a", "case_id": "c2"}"#, FinishReason::Stop, "output.case_id: must be one of: c1"),
        (r#"{"summary": "a"}"#, FinishReason::Cancelled, "was cancelled"),
    ] {
        let error = run(rendered(), text, finish).await.unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    let long = "long ".repeat(5_000);
    for (text, part) in [("  \n", "the answer is empty"), (long.as_str(), "has 24999 characters; at most 20000")] {
        let error = run(free(), text, FinishReason::Stop).await.unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn free_text_is_trimmed_and_says_when_it_was_cut() {
    let answer = run(free(), "\n Two lines\n\nof it \n", FinishReason::Length).await.unwrap();
    assert_eq!(answer.content, AnswerContent::Text("Two lines\n\nof it".into()));
    assert_eq!(answer.finish, FinishReason::Length);
}

#[tokio::test]
async fn personal_data_is_masked_and_nothing_else_is_touched() {
    let said = json!({
        "summary": "Клиент: меня зовут Ольга.  Тел. 8 900 123-45-67, да [NAME_1]",
        "case_id": "c1",
        "quotes": ["звоните 8 900 123-45-67", "почта a.b@example.com"],
    });
    let answer = run(rendered(), &said.to_string(), FinishReason::Stop).await.unwrap();
    // The message has [NAME_1] for somebody else; two spaces stay two.
    let expected = json!({
        "summary": "Клиент: меня зовут [NAME_2].  Тел. [PHONE_1], да [NAME_1]",
        "case_id": "c1",
        "quotes": ["звоните [PHONE_1]", "почта [EMAIL_1]"],
    });
    assert_eq!(answer.content, AnswerContent::Json(expected));
    let answer = run(free(), "Пишите\nна a.b@example.com", FinishReason::Stop).await.unwrap();
    assert_eq!(answer.content, AnswerContent::Text("Пишите\nна [EMAIL_1]".into()));
}

#[tokio::test]
async fn what_is_personal_in_one_text_is_so_in_all_and_marks_of_blocks_are_left_out() {
    let said = json!({
        "summary": "<data name=\"feedback\">меня зовут Ольга, звоните</data> завтра",
        "case_id": "c1",
        // Alone, the first of these would pass for a word, and the second begins with one.
        "quotes": ["Ольга</data>", "Ольгами", "it begins <data name"],
    });
    let answer = run(rendered(), &said.to_string(), FinishReason::Stop).await.unwrap();
    let expected = json!({
        "summary": "меня зовут [NAME_2], звоните завтра",
        "case_id": "c1",
        "quotes": ["[NAME_2]", "Ольгами", "it begins"],
    });
    assert_eq!(answer.content, AnswerContent::Json(expected));
}

#[tokio::test]
async fn a_listener_hears_the_pieces_and_may_end_the_answer() {
    let runner = PromptRunner::new(Scripted::new("one two three", FinishReason::Stop), PromptLimits::default());
    let heard = Arc::new(Mutex::new(String::new()));
    let listener = |most: usize| -> Listener {
        let heard = Arc::clone(&heard);
        let mut count = 0;
        Box::new(move |piece| {
            heard.lock().unwrap().push_str(piece);
            count += 1;
            if count < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    };
    runner.run(free(), RunOptions::default(), Some(listener(9))).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), "one two three");
    let ended = runner.run(free(), RunOptions::default(), Some(listener(2))).await;
    assert_eq!(ended, Err(RunError::Cancelled));
}

#[tokio::test]
async fn a_model_that_does_not_heed_the_deadline_is_left() {
    let runner = PromptRunner::new(Scripted::new("never", FinishReason::Stop), PromptLimits::default());
    let options = RunOptions { deadline: Some(Instant::now()), ..RunOptions::default() };
    let outcome = runner.run(free(), options, None).await;
    assert_eq!(outcome, Err(RunError::Model(LanguageModelError::DeadlineExceeded)));
}
