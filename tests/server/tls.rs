//! Encryption: certificates that change while the service runs, callers that must show theirs, and slow ones that keep nobody out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use otklik::config::Config;
use otklik::server::wire::v1::tagging_service_client::TaggingServiceClient;
use otklik::server::{HealthError, HealthQuestion, ShownIdentity, Tls, ask_health};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::{Service, classify, eventually};

/// An authority of a test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, in PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// The files of a service.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: PathBuf,
}

impl Files {
    fn of(folder: &Path) -> Self {
        let file = |name: &str| folder.join(name);
        Self { certificate: file("certificate.pem"), key: file("key.pem"), client_ca: file("client-ca.pem") }
    }

    fn write(&self, (certificate, key): (String, String)) {
        std::fs::write(&self.certificate, certificate).unwrap();
        std::fs::write(&self.key, key).unwrap();
    }

    fn configure(&self, config: &mut Config) {
        config.tls.certificate = Some(self.certificate.clone());
        config.tls.key = Some(self.key.clone());
        config.server.reload_ms = 20;
    }
}

/// A call over TLS by a caller that trusts an authority; false if it does not come about.
async fn answers(service: &Service, trusted: &Authority, shown: Option<&(String, String)>) -> bool {
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted.0.pem())).domain_name("localhost");
    if let Some((certificate, key)) = shown {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", service.address)).unwrap().tls_config(tls).unwrap();
    let connected: Result<Channel, _> = endpoint.connect().await;
    match connected {
        Ok(channel) => TaggingServiceClient::new(channel).classify(classify("ok")).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::of(folder.path());
    let (old, new) = (Authority::new(), Authority::new());
    files.write(old.issue());
    let service = Service::with(|config| files.configure(config)).await;
    assert!(answers(&service, &old, None).await);
    assert!(!answers(&service, &new, None).await, "the certificate is not of the authority that this caller trusts");
    let plain = Endpoint::from_shared(format!("http://{}", service.address)).unwrap().connect().await;
    let plain = match plain {
        Ok(channel) => TaggingServiceClient::new(channel).classify(classify("ok")).await.is_ok(),
        Err(_) => false,
    };
    assert!(!plain, "plain text is not spoken");

    // The service's own certificate is known by its file, though it is of no authority that anybody trusts here.
    let serves = async |certificate: &Path| {
        let question = HealthQuestion {
            address: service.address,
            service: "otklik.v1.TaggingService".to_owned(),
            certificate: Some(certificate.to_owned()),
            shown: None,
            timeout: Duration::from_secs(60),
        };
        ask_health(question).await
    };
    eventually("health over TLS", async || serves(&files.certificate).await.is_ok_and(|serves| serves)).await;
    let other = folder.path().join("other.pem");
    std::fs::write(&other, old.issue().0).unwrap();
    assert!(matches!(serves(&other).await, Err(HealthError::NoAnswer { .. })));
    assert!(matches!(serves(&files.key).await, Err(HealthError::Certificate { .. })));

    files.write(new.issue());
    eventually("the new certificate", async || answers(&service, &new, None).await).await;
    assert!(!answers(&service, &old, None).await);

    // The key of another certificate.
    let (_, key) = new.issue();
    std::fs::write(&files.key, key).unwrap();
    eventually("the fault in the log", async || {
        String::from_utf8_lossy(&crate::LOG.lock().unwrap()).contains("what changed is not valid")
    })
    .await;
    assert!(answers(&service, &new, None).await);
    std::fs::remove_file(&files.certificate).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    assert!(answers(&service, &new, None).await);
}

#[tokio::test]
async fn callers_show_a_certificate_where_they_must() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::of(folder.path());
    let (ours, theirs, stranger) = (Authority::new(), Authority::new(), Authority::new());
    files.write(ours.issue());
    std::fs::write(&files.client_ca, theirs.0.pem()).unwrap();
    let service = Service::with(|config| {
        files.configure(config);
        config.tls.client_ca = Some(files.client_ca.clone());
    })
    .await;
    let caller = theirs.issue();
    assert!(answers(&service, &ours, Some(&caller)).await);
    assert!(!answers(&service, &ours, None).await, "a caller without a certificate");
    assert!(!answers(&service, &ours, Some(&stranger.issue())).await, "a caller of another authority");

    let shown = ShownIdentity { certificate: folder.path().join("own.pem"), key: folder.path().join("own.key") };
    std::fs::write(&shown.certificate, &caller.0).unwrap();
    std::fs::write(&shown.key, &caller.1).unwrap();
    let serves = async |shown: Option<ShownIdentity>| {
        let question = HealthQuestion {
            address: service.address,
            service: "otklik.v1.TaggingService".to_owned(),
            certificate: Some(files.certificate.clone()),
            shown,
            timeout: Duration::from_secs(60),
        };
        ask_health(question).await
    };
    eventually("health", async || serves(Some(shown.clone())).await.is_ok_and(|serves| serves)).await;
    assert!(matches!(serves(None).await, Err(HealthError::NoAnswer { .. })), "without a certificate");
    let plain = HealthQuestion {
        address: service.address,
        service: String::new(),
        certificate: None,
        shown: Some(shown.clone()),
        timeout: Duration::from_secs(60),
    };
    let told = ask_health(plain).await.unwrap_err().to_string();
    assert!(told.starts_with("--certificate: ") && told.contains("tls.certificate is not set"), "{told}");
    std::fs::write(&shown.key, "no key").unwrap();
    let told = serves(Some(shown)).await.unwrap_err().to_string();
    assert!(told.starts_with("--key: ") && told.contains("own.key"), "{told}");

    std::fs::write(&files.client_ca, stranger.0.pem()).unwrap();
    eventually("the new authority", async || answers(&service, &ours, Some(&stranger.issue())).await).await;
    assert!(!answers(&service, &ours, Some(&caller)).await);
}

#[tokio::test]
async fn callers_that_never_finish_their_handshake_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::of(folder.path());
    let authority = Authority::new();
    files.write(authority.issue());
    let service = Service::with(|config| {
        files.configure(config);
        (config.tls.max_handshakes, config.tls.handshake_ms) = (3, 600_000);
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(service.address).await.unwrap());
    }
    assert!(answers(&service, &authority, None).await);
}

#[test]
fn certificates_of_no_use_are_told_by_their_key_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::of(folder.path());
    let mut config = Config::default();
    assert!(Tls::open(&config).unwrap().is_none());
    files.configure(&mut config);
    let authority = Authority::new();
    let (certificate, key) = authority.issue();
    let (_, other) = authority.issue();
    let told = |certificate: &str, key: &str| {
        files.write((certificate.to_owned(), key.to_owned()));
        Tls::open(&config).map(|_| ()).unwrap_err().to_string()
    };
    assert!(told("", &key).contains("tls.certificate: there is no certificate"));
    assert!(told(&certificate, "").starts_with("tls.key: "));
    assert!(told(&certificate, &other).starts_with("tls.certificate, tls.key: "));
    std::fs::remove_file(&files.key).unwrap();
    assert!(Tls::open(&config).unwrap_err().to_string().contains("key.pem: can't be read"));
}
