//! Calls made of prepared bytes over HTTP/2, for callers that must cost little or that break off in the middle.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use h2::SendStream;
use h2::client::SendRequest;
use http::{Method, Request};
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Code;

/// A call that can be made any number of times.
#[derive(Clone)]
pub(super) struct Prepared {
    head: Request<()>,
    message: Bytes,
}

impl Prepared {
    /// Prepares a call of `path`, as in `/otklik.v1.TaggingService/Classify`; `key` is an API key, `timeout_ms` the deadline.
    ///
    /// # Errors
    /// A path or key that can't be sent.
    pub fn new(
        address: SocketAddr,
        path: &str,
        key: Option<&str>,
        timeout_ms: u64,
        message: &impl Message,
    ) -> anyhow::Result<Self> {
        let mut head = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{address}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", format!("{timeout_ms}m"));
        if let Some(key) = key {
            head = head.header("x-api-key", key);
        }
        Ok(Self { head: head.body(()).context("a call that can't be sent")?, message: framed(message) })
    }
}

/// A message as gRPC sends it: not compressed, its length, its bytes.
fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(length + 5);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

/// A connection that is cut when it is dropped: nothing is said to the other side.
pub(super) struct RawConnection {
    send: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl RawConnection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await.context("nobody answers")?;
        socket.set_nodelay(true).context("the socket can't be set up")?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(64 << 20);
        let (send, connection) = builder.handshake(socket).await.context("no HTTP/2 is spoken")?;
        let driver = tokio::spawn(async move {
            // That it broke is heard by every call on it.
            let _ = connection.await;
        });
        Ok(Self { send, driver })
    }

    /// Something to make calls with.
    pub fn sender(&self) -> RawSender {
        RawSender(self.send.clone())
    }
}

impl Drop for RawConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A call in the middle.
pub(super) struct OpenCall {
    _request: SendStream<Bytes>,
    _response: h2::client::ResponseFuture,
}

/// Makes calls on a connection.
#[derive(Clone)]
pub(super) struct RawSender(SendRequest<Bytes>);

impl RawSender {
    /// Makes a call and says how it ended.
    ///
    /// # Errors
    /// The connection broke, or the stream was reset.
    pub async fn call(self, prepared: &Prepared) -> Result<Code, h2::Error> {
        let mut sender = self.0.ready().await?;
        let (response, mut body) = sender.send_request(prepared.head.clone(), false)?;
        body.send_data(prepared.message.clone(), true)?;
        drop((sender, body));
        let (head, mut body) = response.await?.into_parts();
        if let Some(code) = head.headers.get("grpc-status") {
            return Ok(Code::from_bytes(code.as_bytes()));
        }
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data?.len())?;
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        Ok(trailers.get("grpc-status").map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes())))
    }

    /// Begins a call, sends its message so many times, and leaves it open as long as what is returned lives.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn begin(self, prepared: &Prepared, messages: usize) -> Result<OpenCall, h2::Error> {
        let mut sender = self.0.ready().await?;
        let (response, mut body) = sender.send_request(prepared.head.clone(), false)?;
        for _ in 0..messages {
            body.send_data(prepared.message.clone(), false)?;
        }
        Ok(OpenCall { _request: body, _response: response })
    }
}
