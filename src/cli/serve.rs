//! `otklik serve`: the gRPC service.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use otklik::assembly::{self, AssemblyError, EngineMaker, PromptWriter, ServingParts};
use otklik::assist::Writer;
use otklik::audit::AuditLog;
use otklik::callers::{Callers, CallersError, ReloadError};
use otklik::cases::retention::{ClockWatch, Retention};
use otklik::cases::{CaseStore, CaseStoreError, TenantId};
use otklik::config::Config;
use otklik::inference::LanguageModel;
use otklik::prompts::PromptLibrary;
use otklik::requests::AnsweredRequests;
use otklik::retag::archive::RetagJobs;
use otklik::server::{self, ExposureError, Listeners, Served, Tls, TlsError};
use otklik::serving::Publisher;
use otklik::tagging::{Tagger, TaggerCounts, TaggingEngine};
use otklik::taxonomy::Taxonomy;
use otklik::taxonomy::versions::Versions;
use otklik::telemetry::TracesError;
use tokio::net::TcpListener;

use super::StartProgress;
use super::traced::traced;

/// How often cases are looked for whose time is over.
const EXPIRY_INTERVAL: std::time::Duration = std::time::Duration::from_secs(3_600);

/// Options of the service; everything else is in the configuration.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on: short for --set server.listen=ADDRESS
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address and port that answers /livez, /readyz and /metrics over HTTP: short for --set server.admin_listen=ADDRESS
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
}

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{key}: can't listen on {address}: {problem}{}", self.hint())]
pub struct ListenError {
    key: &'static str,
    address: SocketAddr,
    problem: std::io::Error,
}

impl ListenError {
    async fn or_listener(key: &'static str, address: SocketAddr) -> Result<TcpListener, Self> {
        TcpListener::bind(address).await.map_err(|problem| Self { key, address, problem })
    }

    fn hint(&self) -> String {
        let flag = self.key.trim_start_matches("server.").replace('_', "-");
        match self.problem.kind() {
            std::io::ErrorKind::AddrInUse => format!("; another program has it, choose another with --{flag}"),
            _ => String::new(),
        }
    }
}

/// Runs the service until it is told to stop.
pub fn run(args: ServeArgs, mut config: Config) -> anyhow::Result<ExitCode> {
    if let Some(address) = args.listen {
        config.server.listen = address;
    }
    if args.admin_listen.is_some() {
        config.server.admin_listen = args.admin_listen;
    }
    server::log_panics_without_message();
    let told = config.clone();
    runtime(&config)?.block_on(traced(&told, serve(config)))
}

/// The threads that talk with callers.
pub fn runtime(config: &Config) -> anyhow::Result<tokio::runtime::Runtime> {
    let threads = match config.server.async_threads {
        0 => std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(4)),
        threads => threads,
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().build().context("the async runtime can't be started")
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let address = config.server.listen;
    let (callers, tls) = trust(&config).await?;
    server::check_exposure(&config, address, callers.are_asked())?;
    // The port first: a service that can't be reached need not load a model.
    let calls = ListenError::or_listener("server.listen", address).await?;
    let address = calls.local_addr().context("the listening socket has no address")?;
    let admin = match config.server.admin_listen {
        Some(address) => Some(ListenError::or_listener("server.admin_listen", address).await?),
        None => None,
    };
    let sealer = assembly::sealer(&config)?.map(Arc::new);
    let (versions, taxonomy) = versions(&config).await?;
    let (prompts, language_model) = answering(&config).await?;
    let requests = answered_requests(&config).await?;
    let audit = audit_log(&config).await?;
    let (engines, engine) = engine(&config, taxonomy).await?;
    let cases = assembly::case_store(&config, &engine).await?;
    assembly::recall_corrections(&config, &*engine, &*cases).await?;
    let writer = language_model.as_ref().map(|model| writer(&config, &prompts, model));
    // A model elsewhere can't weigh topics against each other: tagging asks one that runs here.
    let weighing = language_model.clone().filter(|_| config.models.language_model.is_some());
    let parts = ServingParts { engines, versions, cases: Arc::clone(&cases), writer, weighing };
    let publisher = assembly::publisher(&config, engine, parts).await?;
    announce(address, &callers, tls.is_some());
    if let Some(admin) = &admin {
        let address = admin.local_addr().context("the admin socket has no address")?;
        tracing::info!(%address, "answering /livez, /readyz and /metrics");
    }
    let every = std::time::Duration::from_millis(config.prompts.reload_ms);
    let watching = tokio::spawn(Arc::clone(&prompts).watch(every));
    let tagger: Arc<dyn Tagger> = Arc::clone(publisher.serving()) as Arc<dyn Tagger>;
    let parts = Served {
        publisher,
        cases: Arc::clone(&cases),
        sealer,
        prompts,
        prompt_limits: assembly::prompt_limits(&config),
        language_model,
        retag_jobs: open_retag_jobs(&config).await?,
        callers: Arc::clone(&callers),
        requests,
        audit,
    };
    let expiry = keep_expiring(&config, Arc::clone(&cases), Arc::clone(&tagger));
    let served = server::serve(&config, parts, Listeners { calls, admin, tls }, server::shutdown_signal()).await;
    expiry.abort();
    watching.abort();
    let closed = close(cases, &config).await;
    served.context("the service ended")?;
    closed.context("the case store was not closed in order")?;
    let TaggerCounts { cache_hits, cache_misses, .. } = tagger.counts();
    tracing::info!(cache_hits, cache_misses, "stopped");
    Ok(ExitCode::SUCCESS)
}

/// Who is let in, and what encrypts.
async fn trust(config: &Config) -> anyhow::Result<(Arc<Callers>, Option<Tls>)> {
    let config = config.clone();
    let opened = tokio::task::spawn_blocking(move || anyhow::Ok((assembly::callers(&config)?, Tls::open(&config)?)));
    opened.await.context("the start was interrupted")?
}

/// True for keys, certificates and addresses that the caller can mend.
pub fn is_bad_input(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ListenError>().is_some()
        || error.downcast_ref::<CallersError>().is_some()
        || error.downcast_ref::<ReloadError<TlsError>>().is_some()
        || error.downcast_ref::<ExposureError>().is_some()
        || error.downcast_ref::<TracesError>().is_some()
}

/// What writes drafts, notes and reviews, with the prompts and the model of the service of prompts.
fn writer(config: &Config, prompts: &Arc<PromptLibrary>, model: &Arc<dyn LanguageModel>) -> Arc<dyn Writer> {
    let limits = assembly::prompt_limits(config);
    Arc::new(PromptWriter::new(Arc::clone(prompts), Arc::clone(model), limits))
}

/// The versions of the taxonomy, locked for this process, and the one in force.
async fn versions(config: &Config) -> anyhow::Result<(Versions, Arc<Taxonomy>)> {
    let config = config.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let versions = assembly::open_versions(&config)?;
        let current = versions.current().map_err(AssemblyError::from)?.version.clone();
        let taxonomy = versions.load(&current).map_err(AssemblyError::from)?.taxonomy;
        anyhow::Ok((versions, Arc::new(taxonomy)))
    });
    opened.await.context("the start was interrupted")?
}

/// What makes engines, and the first of them.
async fn engine(config: &Config, taxonomy: Arc<Taxonomy>) -> anyhow::Result<(Arc<EngineMaker>, Arc<TaggingEngine>)> {
    let config = config.clone();
    let made = tokio::task::spawn_blocking(move || {
        let engines = EngineMaker::open(&config)?;
        let engine = engines.engine(taxonomy, &mut StartProgress::default())?;
        anyhow::Ok((Arc::new(engines), Arc::new(engine)))
    });
    made.await.context("the start was interrupted")?
}

/// What serves without a language model, and its case store: for measuring.
pub async fn publisher(config: &Config) -> anyhow::Result<(Arc<Publisher>, Arc<dyn CaseStore>)> {
    let (versions, taxonomy) = versions(config).await?;
    let (engines, engine) = engine(config, taxonomy).await?;
    let cases = assembly::case_store(config, &engine).await?;
    let parts = ServingParts { engines, versions, cases: Arc::clone(&cases), writer: None, weighing: None };
    Ok((assembly::publisher(config, engine, parts).await?, cases))
}

/// The jobs that re-tag the archive.
pub async fn open_retag_jobs(config: &Config) -> anyhow::Result<RetagJobs> {
    let config = config.clone();
    let opened = tokio::task::spawn_blocking(move || assembly::retag_jobs(&config));
    Ok(opened.await.context("the start was interrupted")??)
}

/// Calls that were answered before.
async fn answered_requests(config: &Config) -> anyhow::Result<Arc<AnsweredRequests>> {
    let config = config.clone();
    let opened = tokio::task::spawn_blocking(move || assembly::answered_requests(&config));
    Ok(opened.await.context("the start was interrupted")??)
}

/// Where it is noted who did what.
async fn audit_log(config: &Config) -> anyhow::Result<Option<Arc<AuditLog>>> {
    let config = config.clone();
    let opened = tokio::task::spawn_blocking(move || assembly::audit_log(&config));
    Ok(opened.await.context("the start was interrupted")??)
}

/// The prompts, and the language model if one is configured.
async fn answering(config: &Config) -> anyhow::Result<(Arc<PromptLibrary>, Option<Arc<dyn LanguageModel>>)> {
    let config = config.clone();
    let opened = tokio::task::spawn_blocking(move || {
        // The prompts are what people edit: a mistake in them is told before a model is read.
        let prompts = Arc::new(assembly::open_prompts(&config)?);
        let model = match assembly::has_language_model(&config) {
            true => Some(assembly::open_language_model(&config)?),
            false => None,
        };
        anyhow::Ok((prompts, model))
    });
    opened.await.context("the start was interrupted")?
}

/// Closes the store. What was acknowledged is on disk long before; an index that is being built may take minutes, is not waited for
/// longer than calls in work are, and is built at the next start.
async fn close(cases: Arc<dyn CaseStore>, config: &Config) -> Result<(), CaseStoreError> {
    let patience = std::time::Duration::from_millis(config.server.drain_timeout_ms.max(1_000));
    match tokio::time::timeout(patience, cases.close()).await {
        Ok(closed) => closed,
        Err(_) => {
            tracing::warn!(
                "the case store is still at work on its index and is left as a crash would leave it, which loses nothing"
            );
            // Dropping it would wait all the same; the process ends now.
            std::mem::forget(cases);
            Ok(())
        }
    }
}

/// Deletes the cases of each tenant whose time is over, now and every hour.
fn keep_expiring(config: &Config, cases: Arc<dyn CaseStore>, tagger: Arc<dyn Tagger>) -> tokio::task::JoinHandle<()> {
    let retention = assembly::retention(config);
    tokio::spawn(async move {
        if retention.days.is_empty() {
            return;
        }
        let mut every = tokio::time::interval(EXPIRY_INTERVAL);
        let mut clock = ClockWatch::default();
        loop {
            every.tick().await;
            if !clock.is_steady(std::time::Instant::now(), Timestamp::now()) {
                tracing::error!("the clock was set: cases whose time would be over by it are left for another hour");
                continue;
            }
            match cases.tenants().await {
                Ok(tenants) => {
                    for tenant in tenants {
                        expire(&retention, &tenant, &*cases, &*tagger).await;
                    }
                }
                // The next round tries again.
                Err(error) => tracing::error!(%error, "cases whose time is over could not be looked for"),
            }
        }
    })
}

async fn expire(retention: &Retention, tenant: &TenantId, cases: &dyn CaseStore, tagger: &dyn Tagger) {
    match retention.apply(cases, tenant, Timestamp::now()).await {
        Ok(expired) => {
            let cases: u64 = expired.iter().map(|one| one.cases).sum();
            tracing::info!(cases, "deleted cases whose time is over");
            let corrected: Vec<String> = expired.into_iter().flat_map(|one| one.corrected_ids).collect();
            if !corrected.is_empty()
                && let Err(error) = tagger.forget(tenant.into(), corrected).await
            {
                // It is forgotten at the next start, which learns from what is stored.
                tracing::error!(%error, "what deleted cases taught was not forgotten");
            }
        }
        // The next round tries again.
        Err(error) => tracing::error!(%error, "cases whose time is over could not be deleted"),
    }
}

/// Tagger and case store.
pub async fn open(config: Config) -> anyhow::Result<(Arc<TaggingEngine>, Arc<dyn CaseStore>)> {
    let for_tagger = config.clone();
    let made =
        tokio::task::spawn_blocking(move || anyhow::Ok(assembly::tagger(&for_tagger, &mut StartProgress::default())?));
    let engine = Arc::new(made.await.context("the start was interrupted")??);
    let store = assembly::case_store(&config, &engine).await?;
    Ok((engine, store))
}

/// Says where the service listens, who may call it and how.
fn announce(address: SocketAddr, callers: &Callers, is_encrypted: bool) {
    let asks = callers.are_asked();
    tracing::info!(%address, encrypted = is_encrypted, "listening");
    if !asks {
        tracing::warn!(%address, "no API keys and no trusted tokens: whoever reaches this address may ask everything");
    }
    if !is_encrypted && !address.ip().to_canonical().is_loopback() {
        tracing::warn!(%address, "plain text is spoken: whoever is on the way can read");
    }
    let secrecy = if is_encrypted { "" } else { " -plaintext" };
    let key = if asks { " -H 'authorization: Bearer KEY'" } else { "" };
    let who = match asks {
        true => "Callers need a key: otklik keys add --help",
        false => "Nobody is asked for a key: otklik keys add --help",
    };
    anstream::println!(
        "otklik {version} listens on {address}
{who}

Tag a text:
  grpcurl{secrecy}{key} -d '{{\"feedback\": {{\"text\": \"Третий день не работает касса, банк шлёт к партнёру, партнёр в банк\"}}}}' \\
    {address} otklik.v1.TaggingService/Classify

Find similar cases:
  grpcurl{secrecy}{key} -d '{{\"text\": \"касса не печатает чеки\", \"limit\": 3}}' \\
    {address} otklik.v1.CaseService/FindSimilar
",
        version = env!("CARGO_PKG_VERSION"),
    );
}
