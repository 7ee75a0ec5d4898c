//! Encryption: certificates from files, taken up when they change, and handshakes that keep nobody out.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::callers::{ReloadError, Reloaded};
use crate::config::Config;

/// The protocol that is agreed on: gRPC is spoken over HTTP/2 alone.
const HTTP2: &[u8] = b"h2";

/// After a connection could not be accepted, as when too many files are open: those that end make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why certificates are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not PEM of what it should be.
    #[error("{key}: {problem}")]
    Pem {
        /// The key of the configuration that names the file.
        key: &'static str,
        /// What is wrong.
        problem: pem::Error,
    },
    /// A file has no certificate.
    #[error("{0}: there is no certificate in the file")]
    Empty(&'static str),
    /// Certificate and key don't belong together, or can't be used.
    #[error("tls.certificate, tls.key: {0}")]
    Pair(rustls::Error),
    /// The authorities can't be used.
    #[error("tls.client_ca: {0}")]
    Authority(rustls::Error),
    /// Callers can't be checked by them.
    #[error("tls.client_ca: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// What encrypts, and how long and how many handshakes may take.
#[derive(Clone)]
pub struct Tls {
    certificates: Arc<Reloaded<ServerConfig, TlsError>>,
    patience: Duration,
    most: usize,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("patience", &self.patience).field("most", &self.most).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files of the configuration; `None` if it names none. Blocks.
    ///
    /// # Errors
    /// Those of files that can't be read or used.
    pub fn open(config: &Config) -> Result<Option<Self>, ReloadError<TlsError>> {
        let tls = &config.tls;
        let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else { return Ok(None) };
        let mut files: Vec<PathBuf> = vec![certificate.clone(), key.clone()];
        files.extend(tls.client_ca.clone());
        let certificates = Arc::new(Reloaded::open("certificates", files, server_config)?);
        Ok(Some(Self {
            certificates,
            patience: Duration::from_millis(tls.handshake_ms),
            most: tls.max_handshakes.max(1),
        }))
    }

    /// Looks at the files again and again, for ever.
    pub(super) async fn watch(self, every: Duration) {
        self.certificates.watch(every).await;
    }

    /// The connections of a socket, once they are encrypted. One that fails is dropped; one that takes too long, or that is the oldest
    /// of too many, is given up.
    pub(super) fn incoming(self, listener: TcpListener) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> + Send {
        let incoming = Incoming { listener, tls: self, handshakes: JoinSet::new(), oldest: VecDeque::new() };
        stream::unfold(incoming, |mut incoming| async move {
            let next = incoming.next().await;
            Some((Ok(next), incoming))
        })
    }
}

/// A socket and the handshakes that are under way.
struct Incoming {
    listener: TcpListener,
    tls: Tls,
    handshakes: JoinSet<Option<TlsStream<TcpStream>>>,
    /// The same, in order of arrival; those that are over may still be among them.
    oldest: VecDeque<AbortHandle>,
}

impl Incoming {
    async fn next(&mut self) -> TlsStream<TcpStream> {
        loop {
            tokio::select! {
                biased;
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(stream)) = done {
                        return stream;
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.begin(stream),
                    Err(error) => {
                        tracing::warn!(%error, "a connection can't be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn begin(&mut self, stream: TcpStream) {
        while self.handshakes.len() >= self.tls.most {
            let Some(oldest) = self.oldest.pop_front() else { break };
            if !oldest.is_finished() {
                tracing::debug!("the oldest of too many handshakes is given up");
                oldest.abort();
                break;
            }
        }
        if self.oldest.len() >= self.tls.most.saturating_mul(2) {
            self.oldest.retain(|handshake| !handshake.is_finished());
        }
        let handshake = handshake(stream, TlsAcceptor::from(self.tls.certificates.current()), self.tls.patience);
        self.oldest.push_back(self.handshakes.spawn(handshake));
    }
}

async fn handshake(stream: TcpStream, acceptor: TlsAcceptor, patience: Duration) -> Option<TlsStream<TcpStream>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection can't be told to send at once");
    }
    match timeout(patience, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a handshake took too long");
            None
        }
    }
}

/// Certificate, key, and authorities if callers must show certificates, as files have them.
fn server_config(files: &[Vec<u8>]) -> Result<ServerConfig, TlsError> {
    let file = |index: usize| files.get(index).map_or(&[][..], Vec::as_slice);
    let chain = certificates(file(0), "tls.certificate")?;
    let key = PrivateKeyDer::from_pem_slice(file(1)).map_err(|problem| TlsError::Pem { key: "tls.key", problem })?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Pair)?;
    let builder = match files.get(2) {
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(authorities, "tls.client_ca")? {
                roots.add(authority).map_err(TlsError::Authority)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8], key: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|problem| TlsError::Pem { key, problem })?;
    if read.is_empty() { Err(TlsError::Empty(key)) } else { Ok(read) }
}
