//! One connection for one call: it is closed when the call is over or dropped.

use std::io;
use std::path::Path;
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
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::EndpointError;
use super::address::Address;

/// Before a call whose connection was refused, or broke before there was an answer, is tried once more: a server that is restarted comes
/// back.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Why there is no answer to read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("can't be reached: {0}")]
    Tcp(io::Error),
    #[error("can't be spoken to in private: {0}")]
    Tls(io::Error),
    #[error(
        "has a certificate that is not trusted ({0}): endpoint.ca_file must name the certificate of whoever signed it, and \
         endpoint.url the host that it was made for"
    )]
    Untrusted(rustls::CertificateError),
    #[error("broke off: {0}")]
    Http(#[from] hyper::Error),
    #[error("answered with more than {0} bytes")]
    TooLong(usize),
}

impl ConnectionError {
    /// Why no private connection came about.
    fn of_tls(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(problem)) => Self::Untrusted(problem.clone()),
            _ => Self::Tls(error),
        }
    }

    /// True if the server was not there, or went before it had begun to answer.
    fn is_gone(&self) -> bool {
        match self {
            Self::Tcp(error) | Self::Tls(error) => is_gone(error.kind()),
            Self::Http(error) => {
                let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
                let is_closed = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
                is_closed || cause.is_some_and(|cause| is_gone(cause.kind()))
            }
            Self::Untrusted(_) | Self::TooLong(_) => false,
        }
    }
}

fn is_gone(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
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
    /// A connector. Reads the system's certificates for an encrypted connection, and those of a file.
    pub(super) fn new(address: Address, ca_file: Option<&Path>) -> Result<Self, EndpointError> {
        let tls = match (address.is_encrypted, ca_file) {
            (true, ca_file) => Some(tls(&address.host, ca_file)?),
            (false, None) => None,
            (false, Some(_)) => {
                return Err(EndpointError::Url("must begin with https:// when endpoint.ca_file is set"));
            }
        };
        Ok(Self { address, tls })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request and waits for the head of its response. A server that is not there, or goes before it has begun to answer, is
    /// asked once more; one that has answered, whatever it said, is not.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Exchange, ConnectionError> {
        match self.send_once(request.clone()).await {
            Err(error) if error.is_gone() => {
                tracing::debug!(%error, "the endpoint is asked once more");
                tokio::time::sleep(RETRY_PAUSE).await;
                self.send_once(request).await
            }
            sent => sent,
        }
    }

    async fn send_once(&self, request: Request<Full<Bytes>>) -> Result<Exchange, ConnectionError> {
        let stream = self.connect().await.map_err(ConnectionError::Tcp)?;
        match &self.tls {
            None => exchange(TokioIo::new(stream), request).await,
            Some((tls, name)) => {
                let stream = tls.connect(name.clone(), stream).await.map_err(ConnectionError::of_tls)?;
                exchange(TokioIo::new(stream), request).await
            }
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
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

/// Encrypts by the certificates that the system trusts, and by those of a file.
fn tls(host: &str, ca_file: Option<&Path>) -> Result<(TlsConnector, ServerName<'static>), EndpointError> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| EndpointError::Url("must have a host that a certificate can name"))?;
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    } else if added == 0 {
        let problems: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let problems = problems.join("; ");
        return Err(EndpointError::Tls(format!(
            "the system has no certificates, and endpoint.ca_file none: {problems}"
        )));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| EndpointError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// Adds every certificate of a PEM file to those that are trusted.
fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), EndpointError> {
    let refused = |problem: String| EndpointError::CaFile { path: path.to_owned(), problem };
    let bytes = std::fs::read(path).map_err(|error| refused(format!("can't be read: {error}")))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|_| refused("must be PEM: certificates between BEGIN and END lines".to_owned()))?;
    if found.is_empty() {
        return Err(refused("must hold at least one certificate in PEM".to_owned()));
    }
    for (number, certificate) in (1..).zip(found) {
        let added = roots.add(certificate);
        added.map_err(|error| refused(format!("certificate {number} of it can't be used: {error}")))?;
    }
    Ok(())
}
