//! `otklik cases`: the case store looked at, carried, copied, brought up to date, and cleared of what must go.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use otklik::assembly::{self, LoadedEncoder};
use otklik::cases::edge::{self, EdgeStore};
use otklik::cases::qdrant::{Migration, MigrationProgress, QdrantStore};
use otklik::cases::transfer::{CaseReader, CaseWriter, TransferFormat};
use otklik::cases::{Case, CaseFilter, CaseStore, CaseStoreError, MigrationStep, NewCase, OutcomeStatus, TenantId};
use otklik::config::Config;
use otklik::inference::{ComputePool, EncodeInput, Encoder, InferenceError, Role};
use otklik::tags::{TeamId, TopicId};

/// Cases that are read or written at a time.
const PAGE: usize = 500;

/// The arguments ask for something that can't be done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CasesArgsError(String);

/// What to do with the case store.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
The commands open the store of `cases.dir` themselves: a service that has it open is stopped first, or told the same over gRPC.

Examples:
  otklik cases info
  otklik cases export archive.parquet --status solved
  otklik cases import archive.parquet
  otklik cases snapshot /backup/cases-2026-11-22
  otklik cases restore /backup/cases-2026-11-22
  otklik cases erase --customer 4711")]
pub enum CasesCommand {
    /// How many cases there are, and how they stand
    Info {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write cases to a file: JSON Lines (.jsonl) or Parquet (.parquet), vectors and corrections included
    Export(ExportArgs),
    /// Store the cases of a file that `export` wrote
    ///
    /// A case that is there already is replaced. Vectors of the file are kept if they are of the configured encoder; others are computed
    /// anew from the masked texts.
    Import {
        /// The file: .jsonl or .parquet
        file: PathBuf,
        /// Draw no progress
        #[arg(short, long)]
        quiet: bool,
    },
    /// Copy the whole store to a new folder, with a checksum of each file
    Snapshot {
        /// The new folder
        folder: PathBuf,
    },
    /// Check every byte of a snapshot and make it the store; the store's folder must be empty or not there
    Restore {
        /// A snapshot's folder
        folder: PathBuf,
    },
    /// Bring a store of an earlier version, or of another encoder, to what is configured now
    ///
    /// A new store is written beside the old one, which stays until the new one is whole: it takes as much disk again, and can be run
    /// again when it was interrupted. Vectors are computed anew from the masked texts if the encoder is another one.
    Migrate {
        /// Draw no progress
        #[arg(short, long)]
        quiet: bool,
    },
    /// Erase every case of a customer, and print the receipt
    Erase {
        /// The customer's id
        #[arg(long, value_name = "ID")]
        customer: String,
    },
    /// List the receipts of erasures
    Receipts,
    /// Delete the cases whose time is over (`retention.*`)
    Expire {
        /// Only count them
        #[arg(long)]
        dry_run: bool,
    },
}

/// What to export.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The file to write: .jsonl or .parquet
    file: PathBuf,
    /// Only cases with this topic; may be given more than once
    #[arg(long, value_name = "ID")]
    topic: Vec<String>,
    /// Only cases of this team; may be given more than once
    #[arg(long, value_name = "ID")]
    team: Vec<String>,
    /// Only cases that stand at this: open, solved or rejected; may be given more than once
    #[arg(long, value_name = "STATUS")]
    status: Vec<OutcomeStatus>,
    /// Only cases said at this time or later, as in 2026-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only cases said before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Draw no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Runs a command on the case store.
pub fn run(command: CasesCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the async runtime can't be started")?;
    runtime.block_on(dispatch(command, config))?;
    Ok(ExitCode::SUCCESS)
}

async fn dispatch(command: CasesCommand, config: &Config) -> anyhow::Result<()> {
    let embedded = || match &config.cases.server_url {
        None => Ok(()),
        Some(_) => Err(CasesArgsError(
            "the store is on a server (cases.server_url), which makes and restores snapshots of its own".to_owned(),
        )),
    };
    if let CasesCommand::Restore { folder } = &command {
        embedded()?;
        return restore(config, folder);
    }
    let loaded = assembly::load_encoder(config)?;
    let (dimension, sha256) = (loaded.encoder.dimension(), loaded.identity.sha256.clone());
    match command {
        CasesCommand::Migrate { quiet } => migrate(config, &loaded, quiet).await,
        CasesCommand::Snapshot { folder } => {
            embedded()?;
            let store = assembly::embedded_case_store(config, dimension, sha256)?;
            let made = store.snapshot(&folder).await;
            store.close().await.context("the case store was not closed in order")?;
            anstream::println!("{}", made?.folder.display());
            Ok(())
        }
        CasesCommand::Receipts => {
            let receipts = match assembly::qdrant_options(config, dimension, &sha256) {
                Some(options) => QdrantStore::open(options).await?.receipts().await?,
                None => assembly::embedded_case_store(config, dimension, sha256)?.receipts()?,
            };
            for erasure in receipts {
                anstream::println!("{}", serde_json::to_string(&erasure)?);
            }
            Ok(())
        }
        other => {
            let store = assembly::open_case_store(config, dimension, sha256).await?;
            let done = on_store(other, config, &loaded, &*store).await;
            store.close().await.context("the case store was not closed in order")?;
            done
        }
    }
}

async fn on_store(
    command: CasesCommand,
    config: &Config,
    loaded: &LoadedEncoder,
    store: &dyn CaseStore,
) -> anyhow::Result<()> {
    let tenant = TenantId::default();
    match command {
        CasesCommand::Info { json } => info(config, store, &tenant, json).await,
        CasesCommand::Export(args) => export(&args, loaded, store, &tenant).await,
        CasesCommand::Import { file, quiet } => import(&file, quiet, config, loaded, store, &tenant).await,
        CasesCommand::Erase { customer } => {
            let erasure = store.erase(&tenant, &customer).await?;
            anstream::println!("{}", serde_json::to_string_pretty(&erasure)?);
            for snapshot in &erasure.snapshots {
                anstream::eprintln!("still in the snapshot {snapshot}: remove it, or restore, erase and make it anew");
            }
            Ok(())
        }
        CasesCommand::Expire { dry_run } => expire(config, store, &tenant, dry_run).await,
        CasesCommand::Snapshot { .. }
        | CasesCommand::Restore { .. }
        | CasesCommand::Migrate { .. }
        | CasesCommand::Receipts => Ok(()),
    }
}

async fn info(config: &Config, store: &dyn CaseStore, tenant: &TenantId, json: bool) -> anyhow::Result<()> {
    let count = async |filter: CaseFilter| store.count(tenant, &filter).await;
    let cases = count(CaseFilter::default()).await?;
    let corrected = count(CaseFilter { corrected: Some(true), ..CaseFilter::default() }).await?;
    let mut by_status = serde_json::Map::new();
    for status in OutcomeStatus::ALL {
        let standing = count(CaseFilter { statuses: vec![*status], ..CaseFilter::default() }).await?;
        by_status.insert(status.to_string(), standing.into());
    }
    let place = match &config.cases.server_url {
        Some(_) => format!("{} on a server", config.cases.collection),
        None => config.cases.dir.display().to_string(),
    };
    if json {
        let all = serde_json::json!({ "store": place, "cases": cases, "corrected": corrected, "status": by_status });
        anstream::println!("{all}");
        return Ok(());
    }
    anstream::println!("{place}\n  cases      {cases:>10}\n  corrected  {corrected:>10}");
    for (status, standing) in by_status {
        anstream::println!("  {status:<9}  {:>10}", standing.as_u64().unwrap_or_default());
    }
    Ok(())
}

fn bar(quiet: bool, length: u64, what: &str) -> ProgressBar {
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(length) };
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {per_sec} {eta} left") {
        bar.set_style(style);
    }
    bar.with_message(what.to_owned())
}

fn format_of(file: &Path) -> Result<TransferFormat, CasesArgsError> {
    TransferFormat::of_path(file).ok_or_else(|| {
        CasesArgsError(format!("{}: the name must end in .jsonl or .parquet, which says what it is", file.display()))
    })
}

async fn export(
    args: &ExportArgs,
    loaded: &LoadedEncoder,
    store: &dyn CaseStore,
    tenant: &TenantId,
) -> anyhow::Result<()> {
    let format = format_of(&args.file)?;
    let filter = CaseFilter {
        topics: args.topic.iter().map(TopicId::new).collect(),
        teams: args.team.iter().map(TeamId::new).collect(),
        statuses: args.status.clone(),
        occurred_from: args.from,
        occurred_until: args.until,
        ..CaseFilter::default()
    };
    let bar = bar(args.quiet, store.count(tenant, &filter).await?, "exporting");
    let mut writer = CaseWriter::create(&args.file, format, loaded.encoder.dimension(), &loaded.identity.sha256)?;
    let mut from: Option<String> = None;
    let mut written = 0u64;
    loop {
        let page = store.page(tenant, &filter, from.as_deref(), PAGE).await?;
        written += page.cases.len() as u64;
        writer.write(page.cases)?;
        bar.set_position(written);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    writer.finish()?;
    bar.finish_and_clear();
    anstream::println!("{}: {written} cases", args.file.display());
    Ok(())
}

async fn import(
    file: &Path,
    quiet: bool,
    config: &Config,
    loaded: &LoadedEncoder,
    store: &dyn CaseStore,
    tenant: &TenantId,
) -> anyhow::Result<()> {
    let format = format_of(file)?;
    let reader = CaseReader::open(file, format, &loaded.identity.sha256)?;
    let mut pool: Option<Arc<ComputePool>> = None;
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    let (mut stored, mut computed) = (0u64, 0u64);
    let mut rows = reader.peekable();
    while rows.peek().is_some() {
        let part: Vec<_> = rows.by_ref().take(PAGE).collect::<Result<_, _>>()?;
        let without: Vec<Case> = part.iter().filter(|row| row.vector.is_none()).map(|row| row.case.clone()).collect();
        let mut fresh = Vec::new().into_iter();
        if !without.is_empty() {
            let pool = match &pool {
                Some(pool) => pool,
                None => pool.insert(assembly::start_pool(config)?),
            };
            fresh = vectors(loaded, pool, &without)?.into_iter();
            computed += without.len() as u64;
        }
        let mut cases = Vec::with_capacity(part.len());
        for row in part {
            let vector = row.vector.or_else(|| fresh.next()).context("too few vectors were computed")?;
            cases.push(NewCase { case: row.case, vector, request_id: None });
        }
        stored += cases.len() as u64;
        store.upsert(tenant, cases).await?;
        bar.set_message(format!("{stored} cases stored, vectors of {computed} computed"));
        bar.tick();
    }
    bar.finish_and_clear();
    anstream::println!("{}: {stored} cases stored, vectors of {computed} computed", file.display());
    Ok(())
}

/// The vectors of cases, from their masked texts.
fn vectors(loaded: &LoadedEncoder, pool: &ComputePool, cases: &[Case]) -> anyhow::Result<Vec<Vec<f32>>> {
    let texts: Vec<&str> = cases.iter().map(|case| case.masked_text.as_str()).collect();
    Ok(encode(&loaded.encoder, pool, &texts)?)
}

fn encode(encoder: &Encoder, pool: &ComputePool, texts: &[&str]) -> Result<Vec<Vec<f32>>, InferenceError> {
    let inputs: Vec<EncodeInput<'_>> = texts.iter().map(|text| EncodeInput::new(text, Role::Query)).collect();
    let encoded = pool.run_blocking(|| encoder.encode(&inputs))?;
    Ok(encoded.into_iter().map(|encoding| encoding.vector).collect())
}

fn restore(config: &Config, folder: &Path) -> anyhow::Result<()> {
    let made_at = EdgeStore::restore(folder, &config.cases.dir)?;
    anstream::println!("{} holds the snapshot of {made_at}", config.cases.dir.display());
    Ok(())
}

async fn migrate(config: &Config, loaded: &LoadedEncoder, quiet: bool) -> anyhow::Result<()> {
    let pool = assembly::start_pool(config)?;
    let (dimension, sha256) = (loaded.encoder.dimension(), loaded.identity.sha256.clone());
    let bar = bar(quiet, 0, "migrating");
    if let Some(options) = assembly::qdrant_options(config, dimension, &sha256) {
        let encoder = Arc::clone(&loaded.encoder);
        let reembed = move |texts: Vec<String>| -> futures_util::future::BoxFuture<'_, _> {
            let (encoder, pool) = (Arc::clone(&encoder), Arc::clone(&pool));
            Box::pin(async move {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                encode(&encoder, &pool, &texts).map_err(|error| CaseStoreError::Unavailable(error.to_string()))
            })
        };
        let shown = bar.clone();
        let mut progress = move |step: MigrationProgress| {
            shown.set_length(step.total);
            shown.set_position(step.seen);
        };
        let migration = Migration { reembed: Some(&reembed), progress: &mut progress, drop_old: false };
        let migrated = QdrantStore::migrate(options, migration).await?;
        bar.finish_and_clear();
        anstream::println!("{} serves in place of {}: {} cases copied", migrated.to, migrated.from, migrated.copied);
        return Ok(());
    }
    let options = assembly::edge_options(config, dimension, sha256);
    let mut embed = |cases: &[Case]| vectors(loaded, &pool, cases).map_err(|error| error.to_string());
    let mut progress = |MigrationStep { cases, of }| {
        bar.set_length(of);
        bar.set_position(cases);
    };
    let migrated = edge::migrate(&config.cases.dir, &options, &mut embed, &mut progress)?;
    bar.finish_and_clear();
    match migrated {
        Some(cases) => anstream::println!("{}: {cases} cases migrated", config.cases.dir.display()),
        None => anstream::println!("{}: nothing to do", config.cases.dir.display()),
    }
    Ok(())
}

async fn expire(config: &Config, store: &dyn CaseStore, tenant: &TenantId, dry_run: bool) -> anyhow::Result<()> {
    let retention = assembly::retention(config);
    if retention.days.is_empty() {
        anstream::println!("nothing expires: no retention.*_days is set");
        return Ok(());
    }
    let now = Timestamp::now();
    let expired =
        if dry_run { retention.count(store, tenant, now).await? } else { retention.apply(store, tenant, now).await? };
    let done = if dry_run { "would be deleted" } else { "deleted" };
    for one in expired {
        let kind = one.kind.map_or("of an unknown kind", |kind| kind.as_str());
        anstream::println!("{kind}, kept {} days: {} cases {done}", one.days, one.cases);
    }
    Ok(())
}

/// True for what the caller can mend.
pub fn is_bad_input(error: &anyhow::Error) -> bool {
    error.downcast_ref::<CasesArgsError>().is_some()
        || error.downcast_ref::<otklik::cases::transfer::TransferError>().is_some()
        || error.downcast_ref::<CaseStoreError>().is_some_and(|error| {
            matches!(
                error,
                CaseStoreError::Open { .. } | CaseStoreError::Invalid { .. } | CaseStoreError::NotFound { .. }
            )
        })
}
