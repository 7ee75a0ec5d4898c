//! What can go wrong, and what is told of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;

use super::*;

#[tokio::test]
async fn each_refusal_has_its_error() {
    let about = |kind: &str| json!({"error": {"message": SECRET, "type": kind, "code": SECRET}}).to_string();
    let long = json!({"error": {"message": SECRET, "type": "exceed_context_size_error", "n_prompt_tokens": 9_000, "n_ctx": 512}});
    let vllm = json!({"object": "error", "message": "This model's maximum context length is 8 tokens.", "code": 400});
    let busy = LanguageModelError::Overloaded { waiting: 1, limit: 1 };
    let failed = |what: &str| LanguageModelError::Failed(format!("the endpoint {what}"));
    let too_long = |prompt_tokens, context| LanguageModelError::TooLong { prompt_tokens, answer_tokens: 20, context };
    for (code, body, expected) in [
        (429, about("rate_limit"), busy.clone()),
        (503, SECRET.to_owned(), busy),
        (504, String::new(), LanguageModelError::DeadlineExceeded),
        (400, long.to_string(), too_long(9_000, 512)),
        (400, vllm.to_string(), too_long(7, 4_096)),
        (400, about("invalid_request_error"), failed("refused (HTTP 400, invalid_request_error)")),
        (500, about(SECRET), failed("refused (HTTP 500)")),
        (400, about("a_word_of_a_customer"), failed("refused (HTTP 400)")),
        (500, format!("{{{SECRET}"), failed("refused (HTTP 500)")),
    ] {
        let fake = Fake::start(move || response(code, "application/json", body.clone())).await;
        assert_eq!(refused(&fake.model(), generation(AnswerForm::Free)).await, expected, "{code}");
    }
    for (code, part) in [(401, "endpoint.api_key_file"), (404, "endpoint.model"), (302, "not followed")] {
        let fake = Fake::start(move || {
            Response::builder().status(code).header("location", "/elsewhere").body(Sending::empty()).unwrap()
        })
        .await;
        let error = refused(&fake.model(), generation(AnswerForm::Free)).await.to_string();
        assert!(error.contains(part) && error.contains(&code.to_string()), "{error}");
        assert_eq!(fake.asked.lock().unwrap().len(), 1, "a refusal is not tried again, and nobody is sent elsewhere");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_told_without_quoting_it() {
    let pieces = |pieces: Vec<String>| Box::new(move || events(&pieces)) as Script;
    let whole = |body: String| Box::new(move || response(200, "application/json", body.clone())) as Script;
    for (script, part) in [
        (whole(format!("{{\"choices\": [{SECRET}")), "not one at line 1, column "),
        (whole(json!({"choices": SECRET}).to_string()), "not one at line 1"),
        (whole(json!({"choices": []}).to_string()), "broke off before"),
        (whole(json!({"error": {"message": SECRET}}).to_string()), "with an error"),
        (pieces(vec![delta(SECRET)]), "broke off before"),
        (pieces(vec![delta(SECRET), format!("data: {SECRET}\n\n")]), "not one at line 1"),
        (pieces(vec![delta(SECRET), ending("content_filter")]), "another reason: content_filter"),
        (pieces(vec![delta(SECRET), ending(SECRET)]), "gives no name"),
    ] {
        let fake = Fake::start(script).await;
        let error = refused(&fake.model(), generation(AnswerForm::Free)).await.to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// Bytes without end.
fn endless(piece: &'static str) -> Response {
    let pieces = stream::repeat_with(move || std::io::Result::Ok(Bytes::from(piece)));
    response(200, "text/event-stream", Sending::from_stream(pieces))
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    for piece in ["data: {\"choices\": []}\n\n", "data: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ": ping\n\n"] {
        let fake = Fake::start(move || endless(piece)).await;
        let error = refused(&fake.model(), generation(AnswerForm::Free)).await.to_string();
        assert!(error.contains(&format!("more than {} bytes", BASE_BYTES + 20 * TOKEN_BYTES)), "{error}");
    }
}

/// Counts the answers whose caller has gone.
struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// An endpoint that says one piece and then nothing, without an end.
async fn silent() -> (Fake, Arc<AtomicUsize>) {
    let gone: Arc<AtomicUsize> = Arc::default();
    let counted = gone.clone();
    let fake = Fake::start(move || {
        let gone = Gone(counted.clone());
        let first = stream::iter([std::io::Result::Ok(Bytes::from(delta("Го")))]);
        let never = stream::unfold(gone, |gone| async move {
            let _kept = gone;
            std::future::pending::<Option<(std::io::Result<Bytes>, Gone)>>().await
        });
        response(200, "text/event-stream", Sending::from_stream(first.chain(never)))
    })
    .await;
    (fake, gone)
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 30 s: {what}");
}

#[tokio::test]
async fn time_ends_a_slow_answer_and_its_request() {
    let (fake, gone) = silent().await;
    let due = Some(Instant::now() + Duration::from_millis(100));
    let late = Generation { deadline: due, ..generation(AnswerForm::Free) };
    assert_eq!(refused(&fake.model(), late.clone()).await, LanguageModelError::DeadlineExceeded);
    eventually("the request is dropped", || gone.load(Ordering::SeqCst) == 1).await;
    assert_eq!(refused(&fake.model(), late).await, LanguageModelError::DeadlineExceeded);
    assert_eq!(fake.asked.lock().unwrap().len(), 1, "what is due already is not asked");

    let own = EndpointModel::open(EndpointOptions { timeout: Duration::from_millis(100), ..options(&fake.url) });
    let error = refused(&own.unwrap(), generation(AnswerForm::Free)).await;
    assert_eq!(error, LanguageModelError::DeadlineExceeded);
}

#[tokio::test]
async fn dropping_the_future_drops_the_request_and_frees_its_seat() {
    let (fake, gone) = silent().await;
    let model = Arc::new(fake.model());
    let (listening, heard) = listener(9);
    let asking = tokio::spawn({
        let model = model.clone();
        async move { model.answer(generation(AnswerForm::Free), Some(listening)).await }
    });
    eventually("a piece is heard", || !heard.lock().unwrap().is_empty()).await;
    let second = refused(&model, generation(AnswerForm::Free)).await;
    assert_eq!(second, LanguageModelError::Overloaded { waiting: 1, limit: 1 });
    asking.abort();
    eventually("the request is dropped", || gone.load(Ordering::SeqCst) == 1).await;
    assert_eq!(model.seats.available_permits(), 1);
}

#[tokio::test]
async fn a_key_is_sent_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let with_key =
        |url: &str| EndpointModel::open(EndpointOptions { api_key_file: Some(path.clone()), ..options(url) });
    let fake = Fake::start(|| response(401, "application/json", "{\"error\": {\"code\": \"sk-1234\"}}")).await;
    for bad in ["", "\n", "two words", "ключ"] {
        std::fs::write(&path, bad).unwrap();
        let told = with_key(&fake.url).unwrap_err().to_string();
        assert!(told.starts_with("endpoint.api_key_file: ") && told.ends_with("and nothing else"), "{told}");
    }
    std::fs::write(&path, "sk-1234\n").unwrap();
    let model = with_key(&fake.url).unwrap();
    let error = refused(&model, generation(AnswerForm::Free)).await;
    assert!(!format!("{error:?} {model:?} {:?}", model.authorisation).contains("sk-1234"), "{error:?} {model:?}");
    assert_eq!(fake.asked.lock().unwrap()[0].1["authorization"], "Bearer sk-1234");
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let model = EndpointModel::open(options(&url)).unwrap();
    assert_eq!(model.origin(), url);
    let error = refused(&model, generation(AnswerForm::Free)).await.to_string();
    assert!(error.contains("the endpoint can't be reached: "), "{error}");
}
