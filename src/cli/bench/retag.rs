//! `otklik bench retag`: stored cases tagged anew from what is kept of them, by the heads alone and with reading and writing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use jiff::Timestamp;
use otklik::cases::{Case, CaseFilter, NewCase, TagPart, TenantId, VectoredCase};
use otklik::config::Config;
use otklik::feedback::Feedback;
use otklik::retag::archive::{ArchivePlan, ArchiveRequest, JobState};
use otklik::tagging::{Party, Tagged, Tagger, TaggingEngine, Urgency};
use serde::Serialize;

use crate::cli::serve;

/// Different texts; cases repeat them.
const TEXTS: usize = 400;
/// Texts that wait for the encoder at once.
const AT_ONCE: usize = 32;
/// Cases that are stored, and those that are tagged together.
const BATCH: usize = 500;
/// Cases that are timed in memory.
const IN_MEMORY_CASES: usize = 10_000;

/// What to measure.
#[derive(Debug, Args)]
pub struct RetagArgs {
    /// Cases to store and tag anew: of texts of the taxonomy's examples, alone and two or three together
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    cases: u64,
    /// Folder to store in, new; without it one that is removed again
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    cases: u64,
    /// Models and heads alone, on all threads.
    heads_cases_per_s: f64,
    /// From what is kept to tags, in memory.
    tags_cases_per_s: f64,
    /// The whole job: read, tag, write.
    total_s: f64,
    written_per_s: f64,
    stored_per_s: f64,
    /// Mean of what is kept of a text, in base64.
    kept_bytes_per_case: f64,
}

/// Measures and prints.
pub fn run(args: &RetagArgs, mut config: Config) -> anyhow::Result<ExitCode> {
    let folder = args.folder.clone();
    let folder =
        folder.unwrap_or_else(|| std::env::temp_dir().join(format!("otklik-bench-retag-{}", std::process::id())));
    config.cases.dir = folder.join("cases");
    config.cases.server_url = None;
    config.retag.dir = folder.join("retag");
    let measured = serve::runtime(&config)?.block_on(measure(args, config, &folder));
    if args.folder.is_none() && folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("{} can't be removed", folder.display()))?;
    }
    let measured = measured?;
    if args.json {
        anstream::println!("{}", serde_json::to_string_pretty(&measured)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Measured { cases, heads_cases_per_s, tags_cases_per_s, total_s, written_per_s, stored_per_s, .. } = measured;
    let kept_bytes_per_case = measured.kept_bytes_per_case;
    anstream::println!("{cases} cases, {kept_bytes_per_case:.0} bytes kept of each text");
    anstream::println!("  stored     {stored_per_s:>9.0} cases/s");
    anstream::println!("  heads      {heads_cases_per_s:>9.0} cases/s, models and heads alone");
    anstream::println!("  tags       {tags_cases_per_s:>9.0} cases/s, from what is kept to whole tags");
    anstream::println!("  re-tagged  {written_per_s:>9.0} cases/s with reading and writing, {total_s:.1} s in all");
    Ok(ExitCode::SUCCESS)
}

async fn measure(args: &RetagArgs, config: Config, folder: &Path) -> anyhow::Result<Measured> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let (engine, store) = serve::open(config.clone()).await?;
    let tenant = TenantId::default();
    let made: Vec<NewCase> = futures_util::stream::iter(texts(&engine))
        .map(|text| new_case(&engine, text))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let kept: usize = made.iter().filter_map(|new| new.case.reading.as_ref()).map(|kept| kept.packed.len()).sum();
    let kept_bytes_per_case = kept as f64 / made.len().max(1) as f64;

    let (heads_cases_per_s, tags_cases_per_s) = in_memory(&engine, &made).await?;
    let bar = ProgressBar::new(args.cases).with_message("storing");
    let mut spent = Duration::ZERO;
    let mut stored = 0u64;
    while stored < args.cases {
        let count = (BATCH as u64).min(args.cases - stored);
        let numbers = stored..stored + count;
        let batch = numbers.zip(made.iter().cycle().skip((stored % made.len().max(1) as u64) as usize));
        let batch = batch.map(|(number, new)| {
            let case = Case { id: number.to_string(), ..new.case.clone() };
            NewCase { case, ..new.clone() }
        });
        let batch = batch.collect();
        let began = Instant::now();
        store.upsert(&tenant, batch).await?;
        spent += began.elapsed();
        stored += count;
        bar.set_position(stored);
    }
    bar.finish_and_clear();
    let stored_per_s = args.cases as f64 / spent.as_secs_f64();

    let jobs = serve::open_retag_jobs(&config).await?;
    let request = ArchiveRequest {
        filter: CaseFilter::default(),
        parts: TagPart::ALL.to_vec(),
        only_older: false,
        priority: 0,
        cases_per_second: None,
    };
    let began = Instant::now();
    let job = jobs.start(&tenant, None, request, ArchivePlan::default()).await?;
    let mut told = jobs.watch(&tenant, &job.id)?;
    let tagger: Arc<dyn Tagger> = engine;
    let ended = tokio::select! {
        () = jobs.run(Arc::clone(&store), tagger, config.cases.kept_reading_bytes) => bail!("the jobs ended"),
        ended = told.wait_for(|job| job.state.is_over()) => ended?.clone(),
    };
    let total_s = began.elapsed().as_secs_f64();
    if ended.state != JobState::Succeeded || ended.counts.reused != args.cases {
        bail!("the job ended as {} with {:?}: {}", ended.state, ended.counts, ended.reason.unwrap_or_default());
    }
    store.close().await?;
    Ok(Measured {
        cases: args.cases,
        heads_cases_per_s,
        tags_cases_per_s,
        total_s,
        written_per_s: args.cases as f64 / total_s,
        stored_per_s,
        kept_bytes_per_case,
    })
}

/// Cases a second, of those in memory: by models and heads alone, and from what is kept to tags. Before anything is stored, so that no
/// index is built meanwhile.
async fn in_memory(engine: &TaggingEngine, made: &[NewCase]) -> anyhow::Result<(f64, f64)> {
    let retagger = engine.retagger(Party::SERVICE).context("the engine tags stored cases anew")?;
    let (mut done, mut by_heads, mut to_tags) = (0usize, Duration::ZERO, Duration::ZERO);
    let mut made = made.iter().cycle();
    while done < IN_MEMORY_CASES {
        let cases = made.by_ref().take(BATCH);
        let cases = cases.map(|new| VectoredCase { case: new.case.clone(), vector: new.vector.clone() });
        let cases: Arc<Vec<VectoredCase>> = Arc::new(cases.collect());
        let lacks = "a case can't be tagged from what is kept of it";
        by_heads += engine.time_heads(&cases).context(lacks)?;
        let began = Instant::now();
        let tags = retagger.by_kept(Arc::clone(&cases)).await?;
        to_tags += began.elapsed();
        if tags.is_empty() || tags.iter().any(Option::is_none) {
            bail!(lacks);
        }
        done += tags.len();
    }
    Ok((done as f64 / by_heads.as_secs_f64(), done as f64 / to_tags.as_secs_f64()))
}

/// Examples of the taxonomy, alone and two or three together.
fn texts(engine: &TaggingEngine) -> Vec<String> {
    let examples: Vec<&str> = engine
        .taxonomy()
        .taggable_topics()
        .flat_map(|topic| &topic.examples)
        .map(|example| example.text.as_str())
        .collect();
    let step = (examples.len() / TEXTS).max(1);
    let starts = (0..examples.len()).step_by(step).take(TEXTS);
    starts
        .map(|start| examples.iter().skip(start).take(start / step % 3 + 1).copied().collect::<Vec<_>>().join(" "))
        .collect()
}

async fn new_case(engine: &Arc<TaggingEngine>, text: String) -> anyhow::Result<NewCase> {
    let feedback = Feedback::from_text("0", text);
    let Tagged { tags, vector, reading } = engine.tag(feedback.clone(), Urgency::BULK).await?;
    let case = Case::new(feedback, tags, Timestamp::now());
    let reading = reading.map(|reading| reading.to_case());
    Ok(NewCase { case: Case { reading, ..case }, vector, request_id: None })
}
