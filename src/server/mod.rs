//! The gRPC service: requests in from the network, answers out.
//!
//! Enters: a configuration, what is served ([`Served`]), a listening socket, and a future that says when to stop. Leaves: answers to
//! callers, until told to stop; then the service drains. Each RPC is thin: decode, check, call, encode. Around all of them stands one
//! layer, `guard`. Never here: models, storage engines, decisions about tags.

mod access;
mod account;
mod admin;
mod assist_live;
mod assist_service;
mod body;
mod call;
mod case_service;
mod convert;
mod corrections;
mod deadline;
mod drain;
mod exposure;
mod guard;
mod health;
mod metered;
mod panics;
mod places;
mod prompt_service;
mod readiness;
mod retag_service;
mod status;
mod streaming;
mod tagging_service;
mod taxonomy_service;
mod tls;
pub mod wire;
mod work;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use self::admin::Admin;
use self::drain::Drain;
pub use self::exposure::{ExposureError, check_exposure};
use self::guard::GuardLayer;
pub use self::health::{HealthError, HealthQuestion, ShownIdentity, ask_health};
use self::metered::Metered;
pub use self::panics::log_panics_without_message;
use self::readiness::{Announcer, Ready};
pub use self::tls::{Tls, TlsError};
use self::wire::v1::assist_service_server::AssistServiceServer;
use self::wire::v1::case_service_server::CaseServiceServer;
use self::wire::v1::prompt_service_server::PromptServiceServer;
use self::wire::v1::retag_service_server::RetagServiceServer;
use self::wire::v1::tagging_service_server::TaggingServiceServer;
use self::wire::v1::taxonomy_service_server::TaxonomyServiceServer;
use crate::audit::AuditLog;
use crate::callers::Callers;
use crate::cases::CaseStore;
use crate::cases::seal::Sealer;
use crate::config::Config;
use crate::inference::LanguageModel;
use crate::prompts::{PromptLibrary, PromptLimits};
use crate::requests::AnsweredRequests;
use crate::retag::archive::RetagJobs;
use crate::serving::Publisher;
use crate::tagging::Tagger;
use crate::telemetry::{Metrics, Observed};

/// After work was aborted: how long connections may take to close before they are left behind.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// A peer that says nothing for this long is asked whether it is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// What a caller may send ahead on one stream, in bytes. Small messages are costly to keep, and h2 ends a connection that has too
/// many of them unread (`too_many_data_frames`): it allows 256 bytes of overhead a message within half of the connection's window.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;

/// What a caller may send ahead on all streams of a connection, in bytes: so much that streams of messages as short as a text can
/// be fill their windows without that limit.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// Streams that a connection may have beside those that admission counts: health, reflection, and calls to be refused. With fewer,
/// a caller's library would queue calls silently instead of hearing a refusal.
const SPARE_STREAMS: usize = 64;

/// What a service serves.
#[derive(Clone)]
pub struct Served {
    /// Tags and helps operators under the taxonomy in force, and puts another in its place.
    pub publisher: Arc<Publisher>,
    /// Keeps cases.
    pub cases: Arc<dyn CaseStore>,
    /// Seals originals; present if they are kept.
    pub sealer: Option<Arc<Sealer>>,
    /// Ready-made prompts.
    pub prompts: Arc<PromptLibrary>,
    /// How much a prompt may take and give.
    pub prompt_limits: PromptLimits,
    /// Answers prompts; present if one is configured.
    pub language_model: Option<Arc<dyn LanguageModel>>,
    /// Jobs that re-tag the cases; they are done while the service serves.
    pub retag_jobs: RetagJobs,
    /// Who is let in.
    pub callers: Arc<Callers>,
    /// Calls that were answered, which act once when they come again.
    pub requests: Arc<AnsweredRequests>,
    /// Where it is noted who did what to which case, if it is.
    pub audit: Option<Arc<AuditLog>>,
}

/// Where the service listens.
#[derive(Debug)]
pub struct Listeners {
    /// For callers, by gRPC.
    pub calls: TcpListener,
    /// For operators, by HTTP: `/livez`, `/readyz`, `/readyz/SERVICE`, `/metrics`. Without it nobody answers them.
    pub admin: Option<TcpListener>,
    /// What encrypts the calls; without it plain text is spoken.
    pub tls: Option<Tls>,
}

impl From<TcpListener> for Listeners {
    fn from(calls: TcpListener) -> Self {
        Self { calls, admin: None, tls: None }
    }
}

/// Why the service ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors that reflection serves can't be read: a fault of the build.
    #[error("reflection can't be set up: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the transport failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The socket for operators failed.
    #[error("the admin socket failed: {0}")]
    Admin(#[source] std::io::Error),
    /// The listening socket ended on its own.
    #[error("the listening socket closed")]
    ListenerClosed,
}

/// Serves on `listeners` until `shutdown` resolves, then drains: readiness turns false; calls are still taken for
/// `server.drain_delay_ms`, so that balancers notice; the socket closes, new calls are refused, streams end after the requests they
/// have read, and calls in work may finish for `server.drain_timeout_ms`; what is left then is aborted. It returns at most a second
/// after that.
///
/// What is served is shared; closing the store afterwards is the caller's.
///
/// # Errors
/// [`ServeError`] if the service can't be set up or the transport fails.
pub async fn serve(
    config: &Config,
    served: Served,
    listeners: impl Into<Listeners>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let Served {
        publisher,
        cases,
        sealer,
        prompts,
        prompt_limits,
        language_model,
        retag_jobs,
        callers,
        requests,
        audit,
    } = served;
    let serving = Arc::clone(publisher.serving());
    let uncounted: Arc<dyn Tagger> = serving.clone();
    let Listeners { calls: listener, admin, tls } = listeners.into();
    let observed =
        Observed { tagger: Arc::clone(&uncounted), retag_jobs: retag_jobs.clone(), requests: Arc::clone(&requests) };
    let metrics = Arc::new(Metrics::new(observed));
    let tagger: Arc<dyn Tagger> = Arc::new(Metered { inner: Arc::clone(&uncounted), metrics: Arc::clone(&metrics) });
    let config = Arc::new(config.clone());
    let drain = Drain::new();
    let guard = GuardLayer::new(
        config.server.clone(),
        drain.clone(),
        Arc::clone(&metrics),
        Arc::clone(&callers),
        account::budgets(&config.callers),
        config.callers.max_share,
        audit,
    );
    let max_bytes = config.server.max_message_bytes;
    let (told, ready) = watch::channel(Ready::NOT);

    let tagging = tagging_service::TaggingService {
        config: Arc::clone(&config),
        tagger: Arc::clone(&tagger),
        drain: drain.clone(),
    };
    let tagging = TaggingServiceServer::new(tagging)
        .max_decoding_message_size(max_bytes)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let case_service = case_service::CaseService {
        config: Arc::clone(&config),
        tagger: Arc::clone(&tagger),
        cases: Arc::clone(&cases),
        requests: Arc::clone(&requests),
        sealer,
        ready: ready.clone(),
    };
    let case_service = CaseServiceServer::new(case_service)
        .max_decoding_message_size(max_bytes)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let assist = assist_service::AssistService {
        config: Arc::clone(&config),
        serving,
        requests: Arc::clone(&requests),
        drain: drain.clone(),
    };
    let assist = AssistServiceServer::new(assist)
        .max_decoding_message_size(max_bytes)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let prompts = prompt_service::PromptService {
        config: Arc::clone(&config),
        library: prompts,
        limits: prompt_limits,
        model: language_model,
    };
    let prompts = PromptServiceServer::new(prompts)
        .max_decoding_message_size(max_bytes)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let taxonomies = taxonomy_service::TaxonomyService {
        config: Arc::clone(&config),
        publisher,
        cases: Arc::clone(&cases),
        requests,
    };
    let taxonomies = TaxonomyServiceServer::new(taxonomies)
        .max_decoding_message_size(max_bytes)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .send_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Zstd);
    let retag = retag_service::RetagService {
        config: Arc::clone(&config),
        tagger: Arc::clone(&uncounted),
        cases: Arc::clone(&cases),
        jobs: retag_jobs.clone(),
        drain: drain.clone(),
    };
    let retag = RetagServiceServer::new(retag)
        .max_decoding_message_size(max_bytes)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let mut retagging = JoinSet::new();
    retagging.spawn({
        let (cases, tagger, most) = (Arc::clone(&cases), Arc::clone(&uncounted), config.cases.kept_reading_bytes);
        async move { retag_jobs.run(cases, tagger, most).await }
    });
    // Keys and certificates are looked at to the very end, as what is dropped here stops.
    let mut watching = JoinSet::new();
    let every = Duration::from_millis(config.server.reload_ms);
    watching.spawn(callers.watch(every));
    if let Some(tls) = tls.clone() {
        watching.spawn(tls.watch(every));
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    let announcer = Announcer { health: reporter, metrics: Arc::clone(&metrics), told };
    announcer.publish(Ready::NOT).await;
    // Operators are answered to the very end; what is dropped here stops.
    let mut administering = JoinSet::new();
    if let Some(listener) = admin {
        administering.spawn(admin::serve(listener, Admin { metrics, ready }));
    }

    let streams = config.server.max_concurrent_requests.saturating_add(SPARE_STREAMS);
    let (close_socket, socket_closes) = oneshot::channel::<()>();
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(u32::try_from(streams).ok())
        // Calls that their callers gave up before they were looked at, as all are after a standstill of the machine: with fewer the
        // connection would be closed, and with it the calls that nobody gave up.
        .http2_max_pending_accept_reset_streams(Some(streams))
        .layer(guard.clone())
        .add_service(tagging)
        .add_service(case_service)
        .add_service(assist)
        .add_service(prompts)
        .add_service(taxonomies)
        .add_service(retag)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let closed = socket_closes.map(|_| ());
    let serving = match tls {
        Some(tls) => router.serve_with_incoming_shutdown(tls.incoming(listener), closed).boxed(),
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router.serve_with_incoming_shutdown(incoming, closed).boxed()
        }
    };
    let mut serving = pin!(serving.fuse());
    let probes = Duration::from_millis(config.server.probe_interval_ms);
    let mut probing = pin!(readiness::watch(announcer.clone(), uncounted, cases, probes).fuse());
    tokio::select! {
        ended = &mut serving => return ended.map_err(ServeError::from).and(Err(ServeError::ListenerClosed)),
        Some(ended) = administering.join_next() => {
            return ended.map_err(std::io::Error::other).flatten().map_err(ServeError::Admin);
        }
        () = &mut probing => {}
        () = shutdown => {}
    }

    tracing::info!("draining");
    // A job in the middle goes on when the service starts again.
    retagging.shutdown().await;
    probing.set(Fuse::terminated());
    announcer.publish(Ready::NOT).await;
    let delay = Duration::from_millis(config.server.drain_delay_ms);
    if let Ok(ended) = timeout(delay, &mut serving).await {
        return ended.map_err(ServeError::from);
    }
    drain.begin();
    let _ = close_socket.send(());
    let finish = Duration::from_millis(config.server.drain_timeout_ms);
    let finished = timeout(finish, async {
        tokio::select! {
            ended = &mut serving => ended,
            () = guard.idle() => Ok(()),
        }
    });
    match finished.await {
        Ok(ended) => ended?,
        Err(_) => tracing::warn!(drain_timeout_ms = config.server.drain_timeout_ms, "calls still in work are aborted"),
    }
    // What is left now are calls that took too long and streams of the standard services, which never end by themselves.
    drain.abort();
    if !serving.is_terminated() {
        match timeout(CLOSE_LIMIT, &mut serving).await {
            Ok(ended) => ended?,
            Err(_) => tracing::warn!("connections that did not close are left behind"),
        }
    }
    tracing::info!("drained");
    Ok(())
}

/// Resolves when the process is told to stop: by SIGTERM, or by ctrl-c.
pub async fn shutdown_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "SIGTERM can't be awaited");
                std::future::pending::<()>().await;
            }
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
