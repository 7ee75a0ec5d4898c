//! Sends traces to a collector that speaks OTLP over gRPC: in batches, from a bounded queue, on a thread of its own.
//!
//! What does not fit in the queue is dropped: a call never waits for its trace. The log is told once when the collector is lost and
//! once when it is back.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::Uri;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{RetryPolicy, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::trace;

/// Spans of one message to the collector.
const BATCH_SPANS: usize = 512;

/// How long a span waits for others to go with.
const BATCH_WAIT: Duration = Duration::from_secs(1);

/// Where traces go, and which.
#[derive(Debug, Clone)]
pub struct TraceOptions {
    /// Where the collector answers OTLP over gRPC, as in `http://127.0.0.1:4317`.
    pub url: String,
    /// Whether plain text may go to other machines.
    pub plain_text_anywhere: bool,
    /// The PEM file of certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Share of the calls that are traced, 0 to 1, of those whose callers did not decide it.
    pub sample_ratio: f64,
    /// How long one message to the collector may take, and sending the last at the end.
    pub timeout: Duration,
    /// Spans that may wait to be sent; what is more is dropped.
    pub queue_spans: usize,
}

/// Why traces can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The address can't be used. It is not quoted: it may hold a password.
    #[error("telemetry.otlp_endpoint {0}")]
    Url(&'static str),
    /// Whoever is on the way could read.
    #[error(
        "telemetry.otlp_endpoint is at {host}, and traces would cross the network in plain text. Use https://, or a collector on this \
         machine. Where something else encrypts, set telemetry.plain_text=anywhere"
    )]
    PlainText {
        /// The other machine.
        host: String,
    },
    /// The certificates can't be used.
    #[error("telemetry.ca_file: {}: {problem}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what is allowed.
        problem: String,
    },
    /// What sends can't be made.
    #[error("traces can't be sent: {0}")]
    Exporter(String),
}

/// Traces on their way.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    timeout: Duration,
}

impl Traces {
    /// Begins to make and send traces; the collector is not asked for anything yet. To be called once, inside the async runtime that
    /// the connection lives in. Reads a file; blocks for that.
    ///
    /// # Errors
    /// [`TracesError`]; see its variants.
    pub fn open(options: &TraceOptions) -> Result<Self, TracesError> {
        let address = check_address(&options.url, options.plain_text_anywhere)?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_channel(endpoint(&address, options)?.connect_lazy())
            .with_timeout(options.timeout)
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| TracesError::Exporter(error.to_string()))?;
        tracing::info!(
            address = address.origin,
            sample_ratio = options.sample_ratio,
            "traces go to this address; they hold ids, counts and times, and nothing that a customer wrote"
        );
        let told = Told { inner: exporter, address: address.origin, is_lost: AtomicBool::new(false), lost: 0.into() };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(options.queue_spans)
            .with_max_export_batch_size(BATCH_SPANS.min(options.queue_spans))
            .with_scheduled_delay(BATCH_WAIT)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(told).with_batch_config(batches).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.sample_ratio))))
            .with_resource(
                Resource::builder()
                    .with_service_name("otklik")
                    .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
                    .build(),
            )
            .build();
        trace::make_spans_with(provider.tracer("otklik"));
        Ok(Self { provider, timeout: options.timeout })
    }

    /// Sends what waits, for no longer than a message may take, and ends. Blocks.
    pub fn close(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(self.timeout) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// The address of a collector, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    is_encrypted: bool,
    /// Scheme, host and port.
    origin: String,
}

fn check_address(url: &str, plain_text_anywhere: bool) -> Result<Address, TracesError> {
    let uri: Uri = url.parse().map_err(|_| TracesError::Url("must be an address as in http://127.0.0.1:4317"))?;
    let is_encrypted = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(TracesError::Url("must begin with http:// or https://")),
    };
    let authority = uri.authority().ok_or(TracesError::Url("must have a host"))?;
    if authority.as_str().contains('@') {
        let problem = "must have no user name and no password; OTEL_EXPORTER_OTLP_HEADERS names headers that a collector asks for";
        return Err(TracesError::Url(problem));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || url.contains('#') {
        return Err(TracesError::Url("must end with host and port: OTLP over gRPC has no path"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(TracesError::Url("must have a host"));
    }
    let is_here = match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    if !is_encrypted && !is_here && !plain_text_anywhere {
        return Err(TracesError::PlainText { host: host.to_owned() });
    }
    let scheme = if is_encrypted { "https" } else { "http" };
    Ok(Address { is_encrypted, origin: format!("{scheme}://{authority}") })
}

fn endpoint(address: &Address, options: &TraceOptions) -> Result<Endpoint, TracesError> {
    let failed = |error: tonic::transport::Error| TracesError::Exporter(error.to_string());
    let endpoint = Endpoint::from_shared(address.origin.clone()).map_err(failed)?;
    let endpoint = endpoint.timeout(options.timeout).connect_timeout(options.timeout);
    if !address.is_encrypted {
        return match &options.ca_file {
            None => Ok(endpoint),
            Some(_) => Err(TracesError::Url("must begin with https:// when telemetry.ca_file is set")),
        };
    }
    let mut tls = ClientTlsConfig::new().with_native_roots();
    if let Some(path) = &options.ca_file {
        let refused = |problem: String| TracesError::CaFile { path: path.clone(), problem };
        let pem = std::fs::read(path).map_err(|error| refused(format!("can't be read: {error}")))?;
        let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        if !certificates.is_ok_and(|certificates| !certificates.is_empty()) {
            return Err(refused("must hold at least one certificate in PEM".to_owned()));
        }
        tls = tls.ca_certificate(Certificate::from_pem(pem));
    }
    endpoint.tls_config(tls).map_err(failed)
}

/// An exporter whose losses the log is told of: once when they begin, and once when they end.
#[derive(Debug)]
struct Told<E> {
    inner: E,
    address: String,
    is_lost: AtomicBool,
    /// Spans that were not taken since the last that were.
    lost: AtomicU64,
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let sent = self.inner.export(batch).await;
        match &sent {
            Ok(()) => {
                if self.is_lost.swap(false, Ordering::Relaxed) {
                    let lost = self.lost.swap(0, Ordering::Relaxed);
                    tracing::info!(address = self.address, lost, "the collector takes traces again");
                }
            }
            Err(error) => {
                self.lost.fetch_add(spans, Ordering::Relaxed);
                if !self.is_lost.swap(true, Ordering::Relaxed) {
                    tracing::warn!(address = self.address, %error, "the collector takes no traces; they are lost until it does");
                }
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::SystemTime;

    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;

    #[test]
    fn an_address_is_taken_apart_or_refused_without_quoting_it() {
        for (url, anywhere, wanted) in [
            ("http://127.0.0.1:4317", false, Ok("http://127.0.0.1:4317")),
            ("http://localhost:4317/", false, Ok("http://localhost:4317")),
            ("http://[::1]:4317", false, Ok("http://[::1]:4317")),
            ("https://collector.example", false, Ok("https://collector.example")),
            ("http://collector:4317", true, Ok("http://collector:4317")),
            ("http://collector:4317", false, Err("telemetry.plain_text=anywhere")),
            ("http://10.0.0.1:4317", false, Err("plain text")),
            ("http://localhost.example:4317", false, Err("plain text")),
            ("ftp://secret", false, Err("http:// or https://")),
            ("http://me:secret@127.0.0.1:4317", false, Err("no password")),
            ("http://127.0.0.1:4317/secret", false, Err("no path")),
            ("http://127.0.0.1:4317/?secret", false, Err("no path")),
        ] {
            match (check_address(url, anywhere), wanted) {
                (Ok(address), Ok(origin)) => assert_eq!(address.origin, origin),
                (Err(error), Err(part)) => {
                    let told = error.to_string();
                    assert!(told.starts_with("telemetry.otlp_endpoint ") && told.contains(part), "{url}: {told}");
                    assert!(!told.contains("secret"), "{told}");
                }
                (given, wanted) => panic!("{url}: {given:?}, not {wanted:?}"),
            }
        }
    }

    /// A collector that takes spans or not.
    #[derive(Debug)]
    struct Flaky(AtomicBool);

    impl SpanExporter for Flaky {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            match self.0.load(Ordering::SeqCst) {
                true => Ok(()),
                false => Err(OTelSdkError::InternalFailure("nobody is there".to_owned())),
            }
        }
    }

    /// Keeps what is logged.
    #[derive(Clone)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn span() -> SpanData {
        SpanData {
            span_context: SpanContext::NONE,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "encode".into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: vec![],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[test]
    fn the_log_is_told_once_that_the_collector_is_lost_and_once_that_it_is_back() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Kept(Arc::clone(&log));
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || kept.clone()).finish();
        let told = Told {
            inner: Flaky(false.into()),
            address: "http://collector:4317".to_owned(),
            is_lost: AtomicBool::new(false),
            lost: 0.into(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for is_there in [true, false, false, false, true, true] {
                told.inner.0.store(is_there, Ordering::SeqCst);
                assert_eq!(runtime.block_on(told.export(vec![span(), span()])).is_ok(), is_there);
            }
        });
        let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(lines[0].contains("WARN") && lines[0].contains("nobody is there"), "{log}");
        assert!(lines[1].contains("INFO") && lines[1].contains("lost=6"), "{log}");
    }

    #[test]
    fn certificates_are_read_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let options = |url: &str| TraceOptions {
            url: url.to_owned(),
            plain_text_anywhere: false,
            ca_file: Some(path.clone()),
            sample_ratio: 1.0,
            timeout: Duration::from_secs(1),
            queue_spans: 16,
        };
        let refused = |url: &str| {
            let address = check_address(url, false).unwrap();
            endpoint(&address, &options(url)).unwrap_err().to_string()
        };
        assert!(refused("https://collector").contains("can't be read"));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(refused("https://collector").contains("at least one certificate"));
        assert!(refused("http://127.0.0.1:1").contains("must begin with https://"));
    }
}
