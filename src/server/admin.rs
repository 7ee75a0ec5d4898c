//! What operators of the service ask over HTTP: whether it lives, whether it answers, and its numbers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::readiness::Ready;
use crate::telemetry::{CONTENT_TYPE, Metrics};

/// What the answers are made of.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) metrics: Arc<Metrics>,
    pub(super) ready: watch::Receiver<Ready>,
}

/// Answers until it is dropped.
///
/// # Errors
/// What the system says of the socket.
pub(super) async fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/readyz/{service}", get(service_ready))
        .route("/metrics", get(metrics))
        .with_state(admin);
    axum::serve(listener, routes).await
}

async fn ready(State(admin): State<Admin>) -> Response {
    let ready = *admin.ready.borrow();
    let code = if ready.is_whole() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let lines = ready.services().map(|(service, ready)| {
        let word = if ready { "ready" } else { "not ready" };
        format!("{service} {word}\n")
    });
    (code, lines.concat()).into_response()
}

/// Whether one service answers, by its name as in `otklik.v1.TaggingService`: for a balancer that asks for that one alone.
async fn service_ready(State(admin): State<Admin>, Path(asked): Path<String>) -> Response {
    let services = admin.ready.borrow().services();
    match services.iter().find(|(service, _)| *service == asked) {
        Some((_, true)) => "ready\n".into_response(),
        Some((_, false)) => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
        None => {
            let names = services.map(|(service, _)| format!("{service}\n"));
            (StatusCode::NOT_FOUND, format!("there is no such service; there are:\n{}", names.concat())).into_response()
        }
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.scrape() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
