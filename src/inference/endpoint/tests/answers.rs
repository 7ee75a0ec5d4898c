//! What is asked, and answers that are read.

use super::*;
use crate::inference::FinishReason;

#[tokio::test]
async fn an_answer_at_once_is_asked_for_and_read() {
    let fake = Fake::start(|| completion("Готово", "stop")).await;
    let model = fake.model();
    assert_eq!((model.id(), model.sha256(), model.context()), ("endpoint:some/model", "", 4_096));
    let answer = model.answer(generation(AnswerForm::Free), None).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.finish), ("Готово", FinishReason::Stop));
    let Usage { prompt_tokens, cached_tokens, answer_tokens, .. } = answer.usage;
    assert_eq!((prompt_tokens, cached_tokens, answer_tokens), (11, 4, 3));
    let expected = json!({
        "model": "some/model",
        "messages": [{"role": "system", "content": "Отвечай"}, {"role": "user", "content": SECRET}],
        "temperature": 0.5, "top_p": 0.9_f32, "max_tokens": 20, "seed": i64::MAX, "stop": ["\n\n"], "stream": false,
    });
    assert_eq!(fake.asked(), expected);
    let asked = fake.asked.lock().unwrap();
    assert_eq!(asked[0].0, "/v1/chat/completions");
    assert!(asked[0].1.get("authorization").is_none());
}

#[tokio::test]
async fn a_listener_hears_the_pieces_as_they_come() {
    let fake = Fake::start(|| events(&[delta("Го"), delta("то"), delta("во"), ending("length")])).await;
    let (listening, heard) = listener(9);
    let answer = fake.model().answer(generation(AnswerForm::Free), Some(listening)).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.finish), ("Готово", FinishReason::Length));
    assert_eq!(heard.lock().unwrap().clone(), ["Го", "то", "во"]);
    assert_eq!(answer.usage.answer_tokens, 3);
    assert_eq!(
        (&fake.asked()["stream"], &fake.asked()["stream_options"]["include_usage"]),
        (&json!(true), &json!(true))
    );

    let (listening, heard) = listener(2);
    let answer = fake.model().answer(generation(AnswerForm::Free), Some(listening)).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.finish), ("Гото", FinishReason::Cancelled));
    assert_eq!(heard.lock().unwrap().len(), 2);

    // A server that knows no streams is heard as well.
    let fake = Fake::start(|| completion("Готово", "stop")).await;
    let (listening, heard) = listener(9);
    fake.model().answer(generation(AnswerForm::Free), Some(listening)).await.unwrap();
    assert_eq!(heard.lock().unwrap().clone(), ["Готово"]);
}

#[tokio::test]
async fn a_form_is_asked_for_and_checked() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let wrapped = |answer: &str| json!({"answer": answer}).to_string();
    let choices = || AnswerForm::Choice(vec!["да".to_owned(), "нет".to_owned()]);
    let pattern = || AnswerForm::Regex("[0-9]{3}|нет".to_owned());
    for (form, said, expected) in [
        (AnswerForm::Json(schema.clone()), "{\"n\": 1}".to_owned(), Some("{\"n\": 1}")),
        (AnswerForm::Json(schema.clone()), "{\"n\": \"СЕКРЕТ\"}".to_owned(), None),
        (AnswerForm::Json(schema.clone()), SECRET.to_owned(), None),
        (choices(), wrapped("нет"), Some("нет")),
        (choices(), wrapped("СЕКРЕТ"), None),
        (choices(), "нет".to_owned(), None),
        (pattern(), wrapped("123"), Some("123")),
        (pattern(), wrapped("1234"), None),
        (pattern(), json!({"answer": "123", "more": 1}).to_string(), None),
    ] {
        let shown = format!("{form:?} {said}");
        let fake = Fake::start(move || completion(&said, "stop")).await;
        match expected {
            Some(text) => {
                let (listening, heard) = listener(9);
                let answer = fake.model().answer(generation(form), Some(listening)).await.unwrap();
                assert_eq!((answer.text.as_str(), heard.lock().unwrap().concat().as_str()), (text, text), "{shown}");
                assert_eq!(fake.asked()["response_format"]["type"], "json_schema", "{shown}");
            }
            None => {
                let error = refused(&fake.model(), generation(form)).await.to_string();
                assert!(error.contains("of another form"), "{shown}: {error}");
            }
        }
    }
    let fake = Fake::start(|| completion("{\"n\":", "length")).await;
    let cut = fake.model().answer(generation(AnswerForm::Json(schema.clone())), None).await.unwrap();
    assert_eq!((cut.text.as_str(), cut.finish), ("{\"n\":", FinishReason::Length));
    assert_eq!(fake.asked()["response_format"]["json_schema"]["schema"], schema);
    for (form, field) in [
        (AnswerForm::Json(json!({"type": 5})), "form.json"),
        (AnswerForm::Regex("(".to_owned()), "form.regex"),
        (AnswerForm::Choice(vec![]), "form.choice"),
    ] {
        let error = refused(&fake.model(), generation(form)).await;
        assert!(matches!(&error, LanguageModelError::Invalid { field: blamed, .. } if blamed == field), "{error:?}");
    }
}

#[tokio::test]
async fn the_choice_that_is_made_has_all() {
    let fake = Fake::start(|| completion("{\"answer\": \"нет\"}", "stop")).await;
    let model = fake.model();
    let choose = async |choices: &[&str]| {
        let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
        model.choose(vec![ChatMessage::new(ChatRole::User, SECRET)], choices, None).await
    };
    assert_eq!(choose(&["да", "нет", "не знаю"]).await.unwrap(), [0.0, 1.0, 0.0]);
    let asked = fake.asked()["response_format"]["json_schema"]["schema"]["properties"]["answer"]["enum"].clone();
    assert_eq!(asked, json!(["да", "нет", "не знаю"]));
    for (choices, blamed) in [(&[][..], "choices"), (&["да", ""][..], "choices[1]")] {
        let error = choose(choices).await.unwrap_err();
        assert!(matches!(&error, LanguageModelError::Invalid { field, .. } if field == blamed), "{error:?}");
    }
}

#[tokio::test]
async fn what_an_endpoint_has_no_word_for_is_refused_before_it_is_asked() {
    let fake = Fake::start(|| completion("Готово", "stop")).await;
    let with = |change: fn(&mut Generation)| {
        let mut generation = generation(AnswerForm::Free);
        change(&mut generation);
        generation
    };
    for (generation, blamed) in [
        (with(|asked| asked.sampling.top_k = 5), "sampling.top_k"),
        (with(|asked| asked.sampling.min_p = 0.5), "sampling.min_p"),
        (with(|asked| asked.sampling.repetition_penalty = 1.5), "sampling.repetition_penalty"),
        (with(|asked| asked.max_tokens = 0), "max_tokens"),
        (with(|asked| asked.messages.clear()), "messages"),
    ] {
        let error = refused(&fake.model(), generation).await;
        assert!(matches!(&error, LanguageModelError::Invalid { field, .. } if field == blamed), "{error:?}");
    }
    let error = refused(&fake.model(), with(|asked| asked.max_tokens = 4_096)).await;
    assert!(matches!(error, LanguageModelError::TooLong { context: 4_096, .. }), "{error:?}");
    assert!(fake.asked.lock().unwrap().is_empty());
}
