//! `otklik bench cases`: the embedded case store under made-up cases, from ready vectors.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use jiff::Timestamp;
use otklik::cases::edge::{EdgeOptions, EdgeStore};
use otklik::cases::{
    Case, CaseFilter, CaseStore, NewCase, Outcome, OutcomeStatus, SearchMode, SimilarQuery, SimilarTo, TenantId,
};
use otklik::feedback::Feedback;
use otklik::tags::{Confidence, Language, Provenance, Review, Tags, TaxonomyVersion, TeamId, TeamTag};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{quantile, resident_mb};

/// Length of the vectors: that of the encoder that comes with the program.
const DIMENSION: usize = 384;
/// Themes that cases are about; a case lies near its theme, as real ones do.
const THEMES: usize = 400;
/// Words of a theme, and words that all share.
const THEME_WORDS: usize = 30;
const COMMON_WORDS: usize = 2_000;
/// How far a case lies from its theme, as a share of the theme's length.
const SPREAD: f32 = 0.6;
/// The first searches after the store was opened.
const FIRST: usize = 100;
/// Searches that exact ones are compared with.
const COMPARED: usize = 100;
const CHANNELS: [&str; 4] = ["call", "chat", "email", "app"];
/// How long the index is waited for before it is called unfinished.
const INDEX_WAIT: Duration = Duration::from_secs(600);

/// What to measure.
#[derive(Debug, Args)]
pub struct CasesArgs {
    /// Cases to store
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    cases: u64,
    /// Searches to time; the first hundred after the store was opened read much of it from disk and are told apart too
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..))]
    searches: u64,
    /// Cases of one call that stores
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    /// Folder to store in, new; without it one that is removed again
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// What chance begins with
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    cases: u64,
    stored_per_s: f64,
    /// From the last case stored to an index that is whole.
    index_s: f64,
    reopen_ms: f64,
    search_p50_ms: f64,
    search_p95_ms: f64,
    search_p99_ms: f64,
    /// Of the first hundred after the store was opened.
    first_searches_p99_ms: f64,
    /// Of the ten nearest by exact search, the share that a search by meaning finds, under the same filter.
    recall_at_10: f64,
    rss_mb: Option<f64>,
}

/// Measures.
pub fn run(args: &CasesArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("the async runtime can't be started")?;
    let folder = args.folder.clone();
    let folder =
        folder.unwrap_or_else(|| std::env::temp_dir().join(format!("otklik-bench-cases-{}", std::process::id())));
    let measured = runtime.block_on(measure(args, &folder));
    if args.folder.is_none() && folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("{} can't be removed", folder.display()))?;
    }
    let measured = measured?;
    if args.json {
        anstream::println!("{}", serde_json::to_string_pretty(&measured)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Measured { cases, stored_per_s, index_s, reopen_ms, search_p50_ms, search_p95_ms, search_p99_ms, .. } =
        measured;
    anstream::println!("{cases} cases of {DIMENSION} numbers, from ready vectors");
    anstream::println!("  stored   {stored_per_s:>9.0} cases/s");
    anstream::println!("  indexed  {index_s:>9.1} s after the last");
    anstream::println!("  opened   {reopen_ms:>9.0} ms");
    anstream::println!(
        "  search   {search_p50_ms:>9.2} ms p50, {search_p95_ms:.2} ms p95, {search_p99_ms:.2} ms p99 (hybrid, filtered)"
    );
    anstream::println!(
        "  at first {:>9.2} ms p99 of the first {FIRST} searches after opening",
        measured.first_searches_p99_ms
    );
    anstream::println!("  recall   {:>9.3} of the ten nearest (by meaning, filtered)", measured.recall_at_10);
    if let Some(rss) = measured.rss_mb {
        anstream::println!("  memory   {rss:>9.0} MB resident");
    }
    Ok(ExitCode::SUCCESS)
}

/// A case as it is made up.
struct Made {
    vector: Vec<f32>,
    text: String,
    channel: &'static str,
}

struct Maker {
    random: ChaCha8Rng,
    themes: Vec<Vec<f32>>,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let themes = (0..THEMES).map(|_| unit(gaussian(&mut random))).collect();
        Self { random, themes }
    }

    fn case(&mut self) -> Made {
        let theme = self.random.random_range(0..THEMES);
        let noise = unit(gaussian(&mut self.random));
        let near = self.themes.get(theme).into_iter().flatten().zip(noise).map(|(one, noise)| one + SPREAD * noise);
        let vector = unit(near.collect());
        let words = (0..self.random.random_range(6..40)).map(|_| {
            if self.random.random_range(0..3) == 0 {
                format!("theme{theme}x{}", self.random.random_range(0..THEME_WORDS))
            } else {
                format!("word{}", self.random.random_range(0..COMMON_WORDS))
            }
        });
        let text = words.collect::<Vec<_>>().join(" ");
        let channel = CHANNELS.get(self.random.random_range(0..CHANNELS.len())).copied().unwrap_or_default();
        Made { vector, text, channel }
    }
}

fn gaussian(random: &mut ChaCha8Rng) -> Vec<f32> {
    // Twelve even numbers add up to a nearly normal one.
    (0..DIMENSION).map(|_| (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0).collect()
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.into_iter().map(|value| value / length).collect()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

async fn measure(args: &CasesArgs, folder: &Path) -> anyhow::Result<Measured> {
    let tenant = TenantId::default();
    let options = EdgeOptions::new(DIMENSION, "0".repeat(64));
    let store = EdgeStore::open(folder, options.clone())?;
    let mut maker = Maker::new(args.seed);
    let mut all: Vec<(Vec<f32>, &'static str)> = Vec::new();
    let bar = ProgressBar::new(args.cases).with_message("storing");
    let mut spent = Duration::ZERO;
    while (all.len() as u64) < args.cases {
        let count = args.batch.min(args.cases - all.len() as u64);
        let first = all.len();
        let made: Vec<Made> = (0..count).map(|_| maker.case()).collect();
        let cases = made.iter().enumerate().map(|(index, made)| new_case(first + index, made)).collect();
        all.extend(made.into_iter().map(|made| (made.vector, made.channel)));
        let started = Instant::now();
        store.upsert(&tenant, cases).await?;
        spent += started.elapsed();
        bar.set_position(all.len() as u64);
    }
    bar.finish_and_clear();
    let stored_per_s = args.cases as f64 / spent.as_secs_f64();

    let started = Instant::now();
    // Closing waits for the index.
    tokio::time::timeout(INDEX_WAIT, store.close()).await.context("the index was not finished in time")??;
    drop(store);
    let store = EdgeStore::open(folder, options.clone())?;
    store.settle().await?;
    let index_s = started.elapsed().as_secs_f64();
    store.close().await?;
    drop(store);
    let started = Instant::now();
    let store = EdgeStore::open(folder, options)?;
    store.probe().await?;
    let reopen_ms = started.elapsed().as_secs_f64() * 1e3;

    let mut times = Vec::new();
    let mut queries = Vec::new();
    for _ in 0..args.searches {
        let Made { vector, text, channel } = maker.case();
        let filter = CaseFilter { channels: vec![channel.to_owned()], ..CaseFilter::default() };
        let to = SimilarTo::Text { vector: vector.clone(), masked_text: text };
        let query = SimilarQuery { filter, ..SimilarQuery::new(to, 10) };
        let started = Instant::now();
        store.find_similar(&tenant, query.clone()).await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        queries.push((query, vector, channel));
    }
    // Exact search takes the caches for itself and so waits until all others are timed; some of them tell enough.
    let step = queries.len().div_ceil(COMPARED);
    let (mut found, mut wanted) = (0usize, 0usize);
    for (query, vector, channel) in queries.into_iter().step_by(step) {
        let by_meaning = SimilarQuery { mode: SearchMode::Meaning, fold_duplicates: false, ..query };
        let hits = store.find_similar(&tenant, by_meaning).await?.hits;
        let mut exact: Vec<(f32, usize)> = all
            .iter()
            .enumerate()
            .filter(|(_, (_, own))| *own == channel)
            .map(|(id, (own, _))| (cosine(own, &vector), id))
            .collect();
        exact.sort_by(|one, other| other.0.total_cmp(&one.0));
        let nearest: Vec<String> = exact.iter().take(10).map(|(_, id)| id.to_string()).collect();
        wanted += nearest.len();
        found += hits.iter().filter(|hit| nearest.contains(&hit.case.id)).count();
    }
    let mut first: Vec<f64> = times.iter().copied().take(FIRST).collect();
    first.sort_by(f64::total_cmp);
    times.sort_by(f64::total_cmp);
    drop(all);
    let rss_mb = resident_mb();
    store.close().await?;
    Ok(Measured {
        cases: args.cases,
        stored_per_s,
        index_s,
        reopen_ms,
        search_p50_ms: quantile(&times, 0.5),
        search_p95_ms: quantile(&times, 0.95),
        search_p99_ms: quantile(&times, 0.99),
        first_searches_p99_ms: quantile(&first, 0.99),
        recall_at_10: found as f64 / wanted.max(1) as f64,
        rss_mb,
    })
}

fn new_case(id: usize, made: &Made) -> NewCase {
    let team = TeamTag {
        team_id: TeamId::new("support"),
        confidence: Confidence::ONE,
        reason: "made up".to_owned(),
        rule_id: None,
        escalates_to: None,
        alternatives: vec![],
        neighbour_case_ids: vec![],
    };
    let provenance = Provenance {
        otklik_version: env!("CARGO_PKG_VERSION").to_owned(),
        taxonomy_version: TaxonomyVersion::new("sha256:0000000000000000"),
        encoder_id: "made-up".to_owned(),
        encoder_sha256: "0".repeat(64),
        prototypes_version: String::new(),
        heads: vec![],
        corrections_version: String::new(),
        language_model: None,
    };
    let tags = Tags {
        id: id.to_string(),
        language: Language::English,
        topics: vec![],
        sentiment: None,
        team,
        signals: vec![],
        turns: vec![],
        sentiment_trend: None,
        review: Review::default(),
        masked_text: made.text.clone(),
        tokens: 20,
        provenance,
    };
    let outcome = id.is_multiple_of(3).then(|| Outcome {
        status: OutcomeStatus::Solved,
        resolution: None,
        gesture_id: Some("refund".to_owned()),
        cost: Some(100.0),
        score_after: None,
        decided_at: None,
        decided_by: None,
    });
    let feedback =
        Feedback { channel: Some(made.channel.to_owned()), ..Feedback::from_text(id.to_string(), made.text.clone()) };
    let case = Case { outcome, ..Case::new(feedback, tags, Timestamp::now()) };
    NewCase { case, vector: made.vector.clone(), request_id: None }
}
