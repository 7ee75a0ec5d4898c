//! An endpoint that answers as a test says.

mod answers;
mod connections;
mod failures;

use std::ops::ControlFlow;
use std::sync::Mutex;

use axum::Router;
use axum::body::{Body as Sending, Bytes};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::inference::ChatRole;

/// What no error and no debug output may show.
const SECRET: &str = "СЕКРЕТ клиента";

type Script = Box<dyn Fn() -> Response + Send + Sync>;

/// An endpoint that answers as a test says, and keeps what it was asked.
struct Fake {
    url: String,
    asked: Arc<Mutex<Vec<(String, HeaderMap, Value)>>>,
}

impl Fake {
    async fn start(script: impl Fn() -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let (kept, script) = (asked.clone(), Arc::new(Box::new(script) as Script));
        let handler = move |uri: axum::http::Uri, headers: HeaderMap, body: Bytes| {
            let (kept, script) = (kept.clone(), script.clone());
            async move {
                kept.lock().unwrap().push((uri.to_string(), headers, serde_json::from_slice(&body).unwrap()));
                script()
            }
        };
        let router = Router::new().fallback(handler);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked }
    }

    fn model(&self) -> EndpointModel {
        EndpointModel::open(options(&self.url)).unwrap()
    }

    /// The body of the latest request.
    fn asked(&self) -> Value {
        self.asked.lock().unwrap().last().unwrap().2.clone()
    }
}

fn options(url: &str) -> EndpointOptions {
    EndpointOptions {
        url: url.to_owned(),
        model: "some/model".to_owned(),
        api_key_file: None,
        ca_file: None,
        timeout: Duration::from_secs(60),
        context: 4_096,
        concurrent: 1,
    }
}

fn generation(form: AnswerForm) -> Generation {
    Generation {
        messages: vec![ChatMessage::new(ChatRole::System, "Отвечай"), ChatMessage::new(ChatRole::User, SECRET)],
        form,
        sampling: Sampling { temperature: 0.5, top_p: 0.9, seed: u64::MAX, ..Sampling::default() },
        max_tokens: 20,
        stops: vec!["\n\n".to_owned()],
        deadline: None,
    }
}

fn response(code: u16, content_type: &str, body: impl Into<Sending>) -> Response {
    Response::builder().status(code).header("content-type", content_type).body(body.into()).unwrap()
}

fn completion(text: &str, finish: &str) -> Response {
    let message = json!({"role": "assistant", "content": text});
    let usage = json!({"prompt_tokens": 11, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}});
    let whole = json!({"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage});
    response(200, "application/json", whole.to_string())
}

fn delta(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]}))
}

fn ending(finish: &str) -> String {
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 3}});
    format!("data: {end}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
}

fn events(pieces: &[String]) -> Response {
    let pieces: Vec<_> = pieces.iter().map(|piece| std::io::Result::Ok(Bytes::from(piece.clone()))).collect();
    response(200, "text/event-stream; charset=utf-8", Sending::from_stream(stream::iter(pieces)))
}

/// A listener, and the pieces that it hears; it wants no more after so many.
fn listener(most: usize) -> (Listener, Arc<Mutex<Vec<String>>>) {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = heard.clone();
    let listener = Box::new(move |piece: &str| {
        let mut kept = kept.lock().unwrap();
        kept.push(piece.to_owned());
        if kept.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (listener, heard)
}

/// The error, which must not show what a customer wrote.
async fn refused(model: &EndpointModel, generation: Generation) -> LanguageModelError {
    let error = model.answer(generation, None).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("СЕКРЕТ"), "{error:?}");
    error
}
