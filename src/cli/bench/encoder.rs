//! `otklik bench encoder`: rate and latency of the encoder, and how near its vectors are to those in 32 bits.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use otklik::assembly::{self, LoadedEncoder};
use otklik::config::Config;
use otklik::inference::{
    Begun, ComputePool, Depth, EncodeInput, Encoder, Encoding, InferenceError, Kernel, Lane, PassOutput, Role,
};
use serde::Serialize;

use super::{TextArgs, quantile, resident_mb};
use crate::cli::learning::bar;

/// Runs over all texts, of which the fastest counts.
const RUNS: usize = 3;

/// Texts that are encoded one at a time.
const SINGLES: usize = 100;

/// Texts between two steps of the bar.
const STEP: usize = 64;

/// Measures the encoder on texts of your own
#[derive(Debug, Args)]
#[command(after_help = "\
Texts are read as they stand, with the prefix of queries, up to 512 tokens each. The rate is the best of three runs over all of
them, tokeniser included; a text at a time goes through on all threads.

Examples:
  otklik bench encoder --texts reviews.jsonl
  otklik bench encoder --texts reviews.jsonl --limit 2000 --threads 1 --kernel avx2 --json")]
pub struct EncoderArgs {
    #[command(flatten)]
    texts: TextArgs,
    /// Threads: short for --set compute.threads=N
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Instructions: short for --set compute.kernel=NAME
    #[arg(long, value_name = "NAME")]
    kernel: Option<Kernel>,
    /// Do not compare the vectors with those in 32 bits, which takes longest
    #[arg(long)]
    no_reference: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Draw no progress
    #[arg(short, long)]
    quiet: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    texts: usize,
    tokens: usize,
    texts_per_s: f64,
    tokens_per_s: f64,
    single_p50_ms: f64,
    single_p95_ms: f64,
    cosine_mean: Option<f64>,
    cosine_min: Option<f64>,
    kernel: Kernel,
    threads: usize,
    load_ms: f64,
    rss_mb: Option<f64>,
}

/// Measures and prints.
pub fn run(args: &EncoderArgs, mut config: Config) -> anyhow::Result<ExitCode> {
    config.compute.threads = args.threads.unwrap_or(config.compute.threads);
    config.compute.kernel = args.kernel.unwrap_or(config.compute.kernel);
    let texts = args.texts.read()?;
    let began = Instant::now();
    let loaded = assembly::load_encoder(&config)?;
    let load_ms = began.elapsed().as_secs_f64() * 1e3;
    let pool = assembly::start_pool(&config)?;
    let mut measured = measure(&texts, &loaded, &pool, load_ms, args.quiet)?;
    if !args.no_reference {
        let vectors = encode(&texts, &loaded, &pool, "encoding", args.quiet)?;
        config.compute.kernel = Kernel::F32;
        let reference = encode(&texts, &assembly::load_encoder(&config)?, &pool, "encoding in 32 bits", args.quiet)?;
        let cosines: Vec<f64> = vectors.iter().zip(&reference).map(|(one, other)| cosine(one, other)).collect();
        measured.cosine_mean = Some(cosines.iter().sum::<f64>() / cosines.len() as f64);
        measured.cosine_min = Some(cosines.iter().copied().fold(1.0, f64::min));
    }
    if args.json {
        anstream::println!("{}", serde_json::to_string(&measured)?);
    } else {
        print(&measured);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(measured: &Measured) {
    let Measured { texts, tokens, kernel, threads, .. } = measured;
    anstream::println!(
        "{texts} texts, {tokens} tokens, on {threads} threads with kernel {kernel}, loaded in {:.0} ms",
        measured.load_ms
    );
    anstream::println!(
        "  rate            {:>9.1} texts/s  {:>9.0} tokens/s",
        measured.texts_per_s,
        measured.tokens_per_s
    );
    anstream::println!(
        "  one text        {:>9.2} ms p50   {:>9.2} ms p95",
        measured.single_p50_ms,
        measured.single_p95_ms
    );
    if let (Some(mean), Some(least)) = (measured.cosine_mean, measured.cosine_min) {
        anstream::println!("  to 32 bits      {mean:>9.5} mean     {least:>9.5} least cosine");
    }
    if let Some(rss) = measured.rss_mb {
        anstream::println!("  memory          {rss:>9.0} MB resident");
    }
}

fn inputs(texts: &[String]) -> Vec<EncodeInput<'_>> {
    texts.iter().map(|text| EncodeInput::new(text, Role::Query)).collect()
}

fn measure(
    texts: &[String],
    loaded: &LoadedEncoder,
    pool: &ComputePool,
    load_ms: f64,
    quiet: bool,
) -> anyhow::Result<Measured> {
    let encoder = &loaded.encoder;
    let progress = bar("measuring", (RUNS + 1) as u64, quiet);
    let inputs = inputs(texts);
    let mut best = f64::INFINITY;
    let mut tokens = 0;
    for _ in 0..RUNS {
        let began = Instant::now();
        let encodings = pool.run_blocking(|| encoder.encode(&inputs))?;
        best = best.min(began.elapsed().as_secs_f64());
        tokens = encodings.iter().map(|encoding| encoding.tokens).sum();
        progress.inc(1);
    }
    let mut singles = Vec::with_capacity(SINGLES);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for text in texts.iter().take(SINGLES) {
        let began = Instant::now();
        runtime.block_on(encode_one(text.clone(), encoder, pool))?;
        singles.push(began.elapsed().as_secs_f64() * 1e3);
    }
    progress.finish_and_clear();
    singles.sort_by(f64::total_cmp);
    Ok(Measured {
        texts: texts.len(),
        tokens,
        texts_per_s: texts.len() as f64 / best,
        tokens_per_s: tokens as f64 / best,
        single_p50_ms: quantile(&singles, 0.5),
        single_p95_ms: quantile(&singles, 0.95),
        cosine_mean: None,
        cosine_min: None,
        kernel: encoder.kernel(),
        threads: pool.threads(),
        load_ms,
        rss_mb: resident_mb(),
    })
}

/// One text on its way through the pool, as a service sends it.
async fn encode_one(text: String, encoder: &Arc<Encoder>, pool: &ComputePool) -> anyhow::Result<Vec<Encoding>> {
    let begin = {
        let encoder = Arc::clone(encoder);
        move || match encoder.plan(&[EncodeInput::new(&text, Role::Query)], Depth::Top) {
            Ok(plan) => {
                let plan = Arc::new(plan);
                let finish = {
                    let plan = Arc::clone(&plan);
                    move |output: Result<PassOutput, InferenceError>| Ok(encoder.finish(&plan, vec![output?]))
                };
                Begun::Encode { plan, pass: 0, finish: Box::new(finish) }
            }
            Err(error) => Begun::Done(Err(error)),
        }
    };
    Ok(pool.encode(Lane::Interactive, 1, None, encoder, begin).await??)
}

fn encode(
    texts: &[String],
    loaded: &LoadedEncoder,
    pool: &ComputePool,
    what: &'static str,
    quiet: bool,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let progress = bar(what, texts.len() as u64, quiet);
    let mut vectors = Vec::with_capacity(texts.len());
    for part in texts.chunks(STEP) {
        let encodings = pool.run_blocking(|| loaded.encoder.encode(&inputs(part)))?;
        vectors.extend(encodings.into_iter().map(|encoding| encoding.vector));
        progress.inc(part.len() as u64);
    }
    progress.finish_and_clear();
    Ok(vectors)
}

fn cosine(one: &[f32], other: &[f32]) -> f64 {
    // Both are unit vectors.
    one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
