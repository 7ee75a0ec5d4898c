//! Connections that break, certificates, and what is told of either.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

/// A key that no error and no log may show.
const KEY: &str = "sk-1234567890";

/// What a server does with one connection.
#[derive(Clone)]
enum Turn {
    /// Closes it at once.
    Close,
    /// Reads the request and closes it.
    CloseAfterRequest,
    /// Sends this and closes it.
    Send(String),
    /// Reads the request and never answers.
    Never,
}

/// A server that does with its connections what it is told, in order, and counts them; with those after the last it does the last again.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(turns: impl IntoIterator<Item = Turn>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections: Arc<AtomicUsize> = Arc::default();
        let (counted, mut turns) = (connections.clone(), turns.into_iter().collect::<VecDeque<_>>());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let turn = if turns.len() > 1 { turns.pop_front() } else { turns.front().cloned() };
                let (turn, tls) = (turn.unwrap(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, turn).await,
                        // A client that does not trust the server ends the connection.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, turn).await,
                            Err(_) => Ok(()),
                        },
                    }
                });
            }
        });
        Self { port, connections }
    }

    fn model(&self, key: &Path) -> EndpointModel {
        let url = format!("http://127.0.0.1:{}/v1", self.port);
        EndpointModel::open(EndpointOptions { api_key_file: Some(key.to_owned()), ..options(&url) }).unwrap()
    }

    fn asked(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, turn: Turn) -> std::io::Result<()> {
    if matches!(turn, Turn::Close) {
        return Ok(());
    }
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    match turn {
        Turn::Close | Turn::CloseAfterRequest => {}
        Turn::Send(response) => stream.write_all(response.as_bytes()).await?,
        Turn::Never => std::future::pending().await,
    }
    stream.shutdown().await
}

/// True if a request has come with its body.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

fn sent(status: &str, more: &str, body: &str) -> Turn {
    let length = body.len();
    Turn::Send(format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}connection: close\r\n\r\n{body}"
    ))
}

fn answer() -> Turn {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": "Готово"}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 11, "completion_tokens": 3});
    sent("200 OK", "", &json!({"choices": [choice], "usage": usage}).to_string())
}

/// A folder with a file that holds the key.
fn key() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, KEY).unwrap();
    (folder, path)
}

#[tokio::test]
async fn a_call_that_breaks_before_an_answer_is_tried_once_more_and_only_once() {
    let (_folder, key) = key();
    let refusal = |status| sent(status, "", &json!({"error": {"message": SECRET}}).to_string());
    for (turns, connections, expected) in [
        (vec![answer(), Turn::Close], 1, Ok(())),
        (vec![Turn::Close, answer()], 2, Ok(())),
        (vec![Turn::CloseAfterRequest, answer()], 2, Ok(())),
        (vec![Turn::CloseAfterRequest, Turn::Close, answer()], 2, Err("broke off")),
        (vec![Turn::Close, refusal("400 Bad Request"), answer()], 2, Err("HTTP 400")),
        (vec![refusal("400 Bad Request"), answer()], 1, Err("HTTP 400")),
        (vec![refusal("401 Unauthorized"), answer()], 1, Err("endpoint.api_key_file")),
        (vec![refusal("422 Unprocessable Entity"), answer()], 1, Err("HTTP 422")),
        (vec![refusal("500 Internal Server Error"), answer()], 1, Err("HTTP 500")),
        // Half an answer is an answer: the call is not made again.
        (vec![Turn::Send("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".into()), answer()], 1, Err("broke off")),
        (vec![Turn::Send("HELLO\r\n\r\n".into()), answer()], 1, Err("broke off")),
    ] {
        let server = Server::start(turns, None).await;
        let told = server.model(&key).answer(generation(AnswerForm::Free), None).await;
        match (&told, expected) {
            (Ok(answer), Ok(())) => assert_eq!(answer.text, "Готово"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{part}: {error}"),
            _ => panic!("{told:?}, {expected:?}"),
        }
        assert_eq!(server.asked(), connections, "{told:?}");
        assert!(!format!("{told:?}").contains(KEY) && !format!("{told:?}").contains("СЕКРЕТ"), "{told:?}");
    }
}

/// A caller is told to come again: whether and when is the caller's to decide, by the deadline that it has.
#[tokio::test]
async fn a_server_that_is_busy_is_not_asked_again_whenever_it_says_to() {
    let (_folder, key) = key();
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let server = Server::start([sent(status, "retry-after: 0\r\n", ""), answer()], None).await;
        let error = refused(&server.model(&key), generation(AnswerForm::Free)).await;
        assert_eq!((error, server.asked()), (LanguageModelError::Overloaded { waiting: 1, limit: 1 }, 1), "{status}");
    }
}

#[tokio::test]
async fn the_deadline_holds_over_both_tries() {
    let (_folder, key) = key();
    let server = Server::start([Turn::CloseAfterRequest, Turn::Never], None).await;
    let due = Some(Instant::now() + Duration::from_secs(3));
    let late = Generation { deadline: due, ..generation(AnswerForm::Free) };
    let waited = tokio::time::timeout(Duration::from_secs(60), refused(&server.model(&key), late)).await;
    assert_eq!((waited, server.asked()), (Ok(LanguageModelError::DeadlineExceeded), 2));
}

/// An authority, and an acceptor with a certificate for `localhost` that it signed.
fn authority(folder: &Path, name: &str) -> (PathBuf, TlsAcceptor) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, authority.pem()).unwrap();
    let own = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&own, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(own.serialize_der()).unwrap())
        .unwrap();
    (path, TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn a_certificate_is_trusted_by_the_file_of_its_authority_and_by_no_other() {
    let (folder, key) = key();
    let (own, acceptor) = authority(folder.path(), "own.pem");
    let (other, _) = authority(folder.path(), "other.pem");
    let both = folder.path().join("both.pem");
    std::fs::write(&both, [std::fs::read(&other).unwrap(), std::fs::read(&own).unwrap()].concat()).unwrap();
    let server = Server::start([answer()], Some(acceptor)).await;
    let model = |host: &str, ca_file: &Path| {
        let url = format!("https://{host}:{}/v1", server.port);
        let (api_key_file, ca_file) = (Some(key.clone()), Some(ca_file.to_owned()));
        EndpointModel::open(EndpointOptions { api_key_file, ca_file, ..options(&url) }).unwrap()
    };
    for trusted in [&own, &both] {
        let answer = model("localhost", trusted).answer(generation(AnswerForm::Free), None).await.unwrap();
        assert_eq!(answer.text, "Готово");
    }
    let before = server.asked();
    for (host, ca_file) in [("localhost", &other), ("127.0.0.1", &own)] {
        let error = refused(&model(host, ca_file), generation(AnswerForm::Free)).await.to_string();
        assert!(error.contains("not trusted") && error.contains("endpoint.ca_file"), "{error}");
        assert!(!error.contains(KEY), "{error}");
    }
    assert_eq!(server.asked(), before + 2, "what is not trusted is not tried again");
}

#[test]
fn a_file_without_certificates_is_refused_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let opened = |url: &str| EndpointModel::open(EndpointOptions { ca_file: Some(path.clone()), ..options(url) });
    let told = opened("https://localhost:1").unwrap_err().to_string();
    assert!(told.starts_with("endpoint.ca_file: ") && told.contains("can't be read"), "{told}");
    for (content, part) in [
        ("", "at least one certificate"),
        ("СЕКРЕТ", "at least one certificate"),
        ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "must be PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 of it can't be used"),
    ] {
        std::fs::write(&path, content).unwrap();
        let told = opened("https://localhost:1").unwrap_err().to_string();
        assert!(told.starts_with("endpoint.ca_file: ") && told.contains(part), "{content}: {told}");
        assert!(!told.contains("СЕКРЕТ"), "{told}");
    }
    let told = opened("http://localhost:1").unwrap_err().to_string();
    assert!(told.starts_with("endpoint.url ") && told.contains("endpoint.ca_file"), "{told}");
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The test's thread is the only one that its tasks run on, so the log has all of them.
#[tokio::test]
async fn the_key_is_in_no_log() {
    let (_folder, key) = key();
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    for turn in [Turn::Close, sent("401 Unauthorized", "", KEY), sent("503 Service Unavailable", "", KEY), answer()] {
        let server = Server::start([turn], None).await;
        let told = server.model(&key).answer(generation(AnswerForm::Free), None).await;
        assert!(!format!("{told:?}").contains(KEY), "{told:?}");
    }
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("takes no more calls"), "the log is kept: {logged}");
    assert!(!logged.contains(KEY) && !logged.contains("СЕКРЕТ"), "{logged}");
}
