//! The service over a real socket, driven by its generated clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod admin;
mod assist;
mod assist_live;
mod audit;
mod callers;
mod cases;
mod connections;
mod consult;
mod corrections;
mod fakes;
mod generations;
mod life;
mod limits;
mod load;
mod prompts;
mod requests;
mod retag;
mod tagging;
mod taxonomy;
mod tls;
mod writing;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use otklik::assembly::PromptWriter;
use otklik::assist::Writer;
use otklik::callers::Callers;
use otklik::cases::seal::Sealer;
use otklik::config::{Config, KeptTexts};
use otklik::inference::LanguageModel;
use otklik::prompts::PromptLibrary;
use otklik::server::wire::v1;
use otklik::server::wire::v1::assist_service_client::AssistServiceClient;
use otklik::server::wire::v1::case_service_client::CaseServiceClient;
use otklik::server::wire::v1::prompt_service_client::PromptServiceClient;
use otklik::server::wire::v1::tagging_service_client::TaggingServiceClient;
use otklik::server::wire::v1::taxonomy_service_client::TaxonomyServiceClient;
use otklik::server::{Listeners, ServeError, Served, Tls, serve};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;

use fakes::{FakeTagger, MemoryStore};

/// A service of its own for one test.
struct Service {
    address: SocketAddr,
    callers: Arc<Callers>,
    admin: SocketAddr,
    tagger: Arc<FakeTagger>,
    store: Arc<MemoryStore>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), ServeError>>,
    /// Of its own, unless the test has one.
    _folder: TempDir,
}

impl Service {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        Self::with_parts(adjust, FakeTagger::default(), MemoryStore::default()).await
    }

    async fn with_parts(adjust: impl FnOnce(&mut Config), tagger: FakeTagger, store: MemoryStore) -> Self {
        Self::assembled(adjust, tagger, store, None).await
    }

    async fn with_model(adjust: impl FnOnce(&mut Config), model: Arc<dyn LanguageModel>) -> Self {
        Self::assembled(adjust, FakeTagger::default(), MemoryStore::default(), Some(model)).await
    }

    async fn assembled(
        adjust: impl FnOnce(&mut Config),
        tagger: FakeTagger,
        store: MemoryStore,
        language_model: Option<Arc<dyn LanguageModel>>,
    ) -> Self {
        keep_log();
        let mut config = Config::default();
        config.server.drain_delay_ms = 0;
        config.server.probe_interval_ms = 20;
        let folder = tempfile::tempdir().unwrap();
        config.taxonomy.dir = folder.path().join("taxonomy");
        let jobs = tempfile::tempdir().unwrap();
        config.retag.dir = jobs.path().to_owned();
        config.callers.keys_file = folder.path().join("keys.toml");
        config.server.requests_file = folder.path().join("requests.redb");
        config.audit.dir = Some(folder.path().join("audit"));
        adjust(&mut config);
        let callers = otklik::assembly::callers(&config).unwrap();
        let tls = Tls::open(&config).unwrap();
        let (tagger, store) = (Arc::new(tagger), Arc::new(store));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let admin_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = admin_listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let keeps_originals = config.cases.texts == KeptTexts::Original;
        let sealer = keeps_originals.then(|| Arc::new(Sealer::new(&"5a".repeat(32)).unwrap()));
        let ended = tokio::spawn({
            let (tagger, store, callers) = (tagger.clone(), store.clone(), callers.clone());
            async move {
                let _jobs = jobs;
                let told = async { stopped.await.unwrap_or(()) };
                let listeners = Listeners { calls: listener, admin: Some(admin_listener), tls };
                let prompts = Arc::new(PromptLibrary::open(config.prompts.dir.as_deref()).unwrap());
                let prompt_limits = otklik::assembly::prompt_limits(&config);
                let writer = language_model
                    .clone()
                    .map(|model| Arc::new(PromptWriter::new(prompts.clone(), model, prompt_limits)) as Arc<dyn Writer>);
                let publisher = generations::publisher(&config, tagger, store.clone(), writer).await;
                let cases = store;
                let retag_jobs = otklik::assembly::retag_jobs(&config).unwrap();
                let requests = otklik::assembly::answered_requests(&config).unwrap();
                let served = Served {
                    publisher,
                    cases,
                    sealer,
                    prompts,
                    prompt_limits,
                    language_model,
                    retag_jobs,
                    callers,
                    requests,
                    audit: otklik::assembly::audit_log(&config).unwrap(),
                };
                serve(&config, served, listeners, told).await
            }
        });
        Self { address, callers, admin, tagger, store, stop: Some(stop), ended, _folder: folder }
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn tagging(&self) -> TaggingServiceClient<Channel> {
        TaggingServiceClient::new(self.channel().await)
    }

    async fn cases(&self) -> CaseServiceClient<Channel> {
        CaseServiceClient::new(self.channel().await)
    }

    async fn assist(&self) -> AssistServiceClient<Channel> {
        AssistServiceClient::new(self.channel().await)
    }

    async fn prompts(&self) -> PromptServiceClient<Channel> {
        PromptServiceClient::new(self.channel().await)
    }

    async fn taxonomies(&self) -> TaxonomyServiceClient<Channel> {
        TaxonomyServiceClient::new(self.channel().await)
    }

    fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until the service has returned, and says how long that took.
    async fn ended(self) -> Duration {
        let started = Instant::now();
        tokio::time::timeout(Duration::from_secs(30), self.ended).await.expect("it drains").unwrap().unwrap();
        started.elapsed()
    }
}

/// Waits for something that happens soon.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn feedback(id: &str, text: &str) -> v1::Feedback {
    v1::Feedback { id: id.to_owned(), text: text.to_owned(), ..Default::default() }
}

fn classify(text: &str) -> v1::ClassifyRequest {
    v1::ClassifyRequest { feedback: Some(feedback("f1", text)), request_id: String::new(), ..Default::default() }
}

fn batch(texts: impl IntoIterator<Item = String>) -> v1::BatchClassifyRequest {
    let items = texts.into_iter().enumerate();
    let items =
        items.map(|(index, text)| v1::BatchClassifyItem { feedback: Some(feedback(&format!("f{index}"), &text)) });
    v1::BatchClassifyRequest { items: items.collect(), request_id: String::new(), ..Default::default() }
}

/// The paths of the fields that a status blames.
fn blamed(status: &Status) -> Vec<String> {
    let details = status.get_details_bad_request().unwrap_or_else(|| panic!("no BadRequest in {status:?}"));
    details.field_violations.into_iter().map(|violation| violation.field).collect()
}

/// Everything that the library logs in this process, at the finest level.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Writes to [`LOG`].
struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn keep_log() {
    static KEPT: Once = Once::new();
    KEPT.call_once(|| {
        let filter = tracing_subscriber::EnvFilter::new("otklik=trace");
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| LogWriter).init();
    });
}
