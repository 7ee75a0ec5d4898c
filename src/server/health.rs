//! The other side of the health protocol: asking a service on this machine whether it serves.
//!
//! For containers, whose image has no shell to ask with. An encrypted service is known by its certificate, which is read from the same
//! file, and by no name: it is asked at an address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Whom to ask, and what.
#[derive(Debug, Clone)]
pub struct HealthQuestion {
    /// Where the service listens. An address that stands for all of a machine's is asked on loopback.
    pub address: SocketAddr,
    /// Name of one service, as in `otklik.v1.TaggingService`; empty for the whole.
    pub service: String,
    /// The PEM file of its certificate; not given, plain text is spoken.
    pub certificate: Option<PathBuf>,
    /// What is shown to a service that asks callers for certificates.
    pub shown: Option<ShownIdentity>,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// The files of a caller's own certificate, both PEM.
#[derive(Debug, Clone)]
pub struct ShownIdentity {
    /// The certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why it is not known whether a service serves.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// A certificate or its key can't be read.
    #[error("{what}: {}: {problem}", path.display())]
    Certificate {
        /// Which one, by the key of the configuration or the flag.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no such service.
    #[error("the service at {address} has no service {service:?}")]
    UnknownService {
        /// Where was asked.
        address: SocketAddr,
        /// What for.
        service: String,
    },
    /// Nobody answered, or not what was asked.
    #[error("{address} does not answer: {problem}")]
    NoAnswer {
        /// Where was asked.
        address: SocketAddr,
        /// What happened.
        problem: String,
    },
}

/// Asks whether a service serves.
///
/// # Errors
/// [`HealthError`]; see its variants.
pub async fn ask_health(question: HealthQuestion) -> Result<bool, HealthError> {
    let HealthQuestion { address, service, certificate, shown, timeout } = question;
    let address = reachable(address);
    let no_answer = |problem: String| HealthError::NoAnswer { address, problem };
    let tls = match (certificate, shown) {
        (None, None) => None,
        (None, Some(shown)) => {
            return Err(
                shown.refused(&shown.certificate, "tls.certificate is not set: plain text is spoken".to_owned())
            );
        }
        (Some(path), shown) => {
            let read = tokio::task::spawn_blocking(move || pinned(&path, shown.as_ref()));
            Some(read.await.map_err(|error| no_answer(error.to_string()))??)
        }
    };
    let asked = async {
        let channel = connect(address, tls, timeout).await.map_err(|error| no_answer(causes(&error)))?;
        let request = HealthCheckRequest { service: service.clone() };
        match HealthClient::new(channel).check(request).await {
            Ok(answer) => Ok(answer.into_inner().status() == ServingStatus::Serving),
            Err(status) if status.code() == Code::NotFound => Err(HealthError::UnknownService { address, service }),
            Err(status) => Err(no_answer(said(&status))),
        }
    };
    let late = |_| no_answer(format!("nothing came within {} ms", timeout.as_millis()));
    tokio::time::timeout(timeout, asked).await.map_err(late)?
}

fn said(status: &Status) -> String {
    format!("{}: {}", super::status::name(status.code()), status.message())
}

/// An error with what lies behind it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        told = format!("{told}: {next}");
        cause = next.source();
    }
    told
}

/// Where a service on this machine is reached that listens on all of its addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn connect(
    address: SocketAddr,
    tls: Option<TlsConnector>,
    timeout: Duration,
) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(timeout);
    let Some(tls) = tls else { return endpoint.connect().await };
    let connector = tower::service_fn(move |_| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::IpAddress(address.ip().into());
            Ok::<_, io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    });
    endpoint.connect_with_connector(connector).await
}

/// Encrypts towards whoever shows the first certificate of a file, and nobody else.
fn pinned(path: &Path, shown: Option<&ShownIdentity>) -> Result<TlsConnector, HealthError> {
    let refused =
        |problem: String| HealthError::Certificate { what: "tls.certificate", path: path.to_owned(), problem };
    let certificate = CertificateDer::from_pem_file(path).map_err(|error| refused(error.to_string()))?;
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?;
    let verifier = Arc::new(Pinned { certificate, provider });
    let config = config.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match shown {
        None => config.with_no_client_auth(),
        Some(shown) => {
            let (certificates, key) = shown.read()?;
            let refused = |error: rustls::Error| shown.refused(&shown.certificate, error.to_string());
            config.with_client_auth_cert(certificates, key).map_err(refused)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

impl ShownIdentity {
    fn refused(&self, path: &Path, problem: String) -> HealthError {
        let what = if path == self.key { "--key" } else { "--certificate" };
        HealthError::Certificate { what, path: path.to_owned(), problem }
    }

    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), HealthError> {
        let refused = |error: pem::Error| self.refused(&self.certificate, error.to_string());
        let certificates = CertificateDer::pem_file_iter(&self.certificate).map_err(refused)?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(refused)?;
        if certificates.is_empty() {
            return Err(self.refused(&self.certificate, "there is no certificate in it".to_owned()));
        }
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| self.refused(&self.key, error.to_string()))?;
        Ok((certificates, key))
    }
}

/// Accepts one certificate: the one that the service itself was given.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_on_all_addresses_is_asked_on_loopback() {
        for (address, wanted) in [
            ("0.0.0.0:50051", "127.0.0.1:50051"),
            ("[::]:50051", "[::1]:50051"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("127.0.0.1:2", "127.0.0.1:2"),
        ] {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), wanted);
        }
    }
}
