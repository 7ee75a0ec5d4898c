//! One connection for one call: it is closed when the call is over or dropped.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::EndpointError;
use super::address::Address;

/// Before a connection that was refused is tried once more: a server that is restarted comes back.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// Why there is no answer to read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("can't be reached: {0}")]
    Tcp(io::Error),
    #[error("can't be spoken to in private: {0}")]
    Tls(io::Error),
    #[error("broke off: {0}")]
    Http(#[from] hyper::Error),
    #[error("answered with more than {0} bytes")]
    TooLong(usize),
}

/// Connects to one address.
pub(super) struct Connector {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A response that is being read, and the connection that it comes on.
pub(super) struct Exchange {
    pub(super) response: Response<Incoming>,
    /// Ends with the exchange.
    connection: JoinSet<()>,
}

impl Connector {
    /// A connector. Reads the system's certificates for an encrypted connection.
    pub(super) fn new(address: Address) -> Result<Self, EndpointError> {
        let tls = address.is_encrypted.then(|| tls(&address.host)).transpose()?;
        Ok(Self { address, tls })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Exchange, ConnectionError> {
        let stream = self.connect().await.map_err(ConnectionError::Tcp)?;
        match &self.tls {
            None => exchange(TokioIo::new(stream), request).await,
            Some((tls, name)) => {
                let stream = tls.connect(name.clone(), stream).await.map_err(ConnectionError::Tls)?;
                exchange(TokioIo::new(stream), request).await
            }
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let address = (self.address.host.as_str(), self.address.port);
        let stream = match TcpStream::connect(address).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tokio::time::sleep(REFUSED_PAUSE).await;
                TcpStream::connect(address).await
            }
            connected => connected,
        }?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Exchange, ConnectionError>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    let mut running = JoinSet::new();
    running.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the endpoint ended");
        }
    });
    let response = sender.send_request(request).await?;
    Ok(Exchange { response, connection: running })
}

impl Exchange {
    /// The head of the response, and its body, of which at most `most` bytes are read.
    pub(super) fn into_parts(self, most: usize) -> (http::response::Parts, Body) {
        let (head, body) = self.response.into_parts();
        (head, Body { body, most, left: most, _connection: self.connection })
    }
}

/// A body that is read up to a limit.
pub(super) struct Body {
    body: Incoming,
    most: usize,
    left: usize,
    _connection: JoinSet<()>,
}

impl Body {
    /// The next bytes; `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        while let Some(frame) = self.body.frame().await {
            let Ok(bytes) = frame?.into_data() else { continue };
            self.left = self.left.checked_sub(bytes.len()).ok_or(ConnectionError::TooLong(self.most))?;
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    /// All that is left.
    pub(super) async fn whole(&mut self) -> Result<Vec<u8>, ConnectionError> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.chunk().await? {
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }
}

/// Encrypts by the certificates that the system trusts; a company's own among them.
fn tls(host: &str) -> Result<(TlsConnector, ServerName<'static>), EndpointError> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| EndpointError::Url("must have a host that a certificate can name"))?;
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let problems: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(EndpointError::Tls(format!("the system has no certificates: {}", problems.join("; "))));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| EndpointError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}
