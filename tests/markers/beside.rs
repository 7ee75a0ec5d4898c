//! What stands beside the service in this test: a collector that keeps all traces, and a language model that repeats what it hears.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::LATIN;

/// Takes traces and keeps them.
#[derive(Clone, Default)]
pub struct Collector {
    messages: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.messages.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let collector = Self::default();
        let service = TraceServiceServer::new(collector.clone());
        let server = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(async move { server.await.unwrap() });
        (collector, address)
    }

    /// All that came, as it came.
    pub fn bytes(&self) -> Vec<u8> {
        self.messages.lock().unwrap().iter().flat_map(Message::encode_to_vec).collect()
    }

    pub fn spans(&self) -> Vec<Span> {
        let messages = self.messages.lock().unwrap();
        let resources = messages.iter().flat_map(|message| &message.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }
}

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
