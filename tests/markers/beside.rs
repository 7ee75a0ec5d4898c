//! A language model beside the service in this test, that repeats what it hears.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;

use crate::LATIN;

/// A language model behind an endpoint: what it says has a marker, and so have its errors.
pub async fn language_model() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = move || {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        async move {
            let said = json!({
                "choices": [{"message": {"role": "assistant", "content": LATIN}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 3},
            });
            let refusal = json!({"error": {"message": LATIN, "type": LATIN, "code": LATIN}});
            match number % 4 {
                1 => (StatusCode::BAD_REQUEST, refusal.to_string()),
                2 => (StatusCode::INTERNAL_SERVER_ERROR, LATIN.to_owned()),
                _ => (StatusCode::OK, said.to_string()),
            }
        }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
    address
}
