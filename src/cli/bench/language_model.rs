//! `otklik bench language-model`: how fast a language model reads and writes here.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use otklik::assembly;
use otklik::config::Config;
use otklik::inference::{LanguageModel, LanguageModelKernel};
use serde::Serialize;

use super::{quantile, resident_mb};
use crate::cli::learning::bar;

/// What is read: said again until it is long enough.
const TEXT: &str = "Клиент пишет: третий день не работает касса, банк отправляет к партнёру, партнёр отправляет в банк. Никто не решает! ";

/// Measures a language model
#[derive(Debug, Args)]
#[command(after_help = "\
Reads a prompt with nothing remembered, then writes an answer token by token, several times; the middle of them is told.

Examples:
  otklik bench language-model --model gemma-3-270m
  otklik bench language-model --model qwen2.5-coder-1.5b-instruct --threads 2 --json")]
pub struct LanguageModelArgs {
    /// Id of the model, as `otklik models list` shows it
    #[arg(long, value_name = "ID")]
    model: String,
    /// Threads; without it as `language_model.threads` says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: Option<u16>,
    /// Where and how it computes: short for --set language_model.kernel=NAME
    #[arg(long, value_name = "NAME")]
    kernel: Option<LanguageModelKernel>,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    prompt_tokens: u32,
    /// Tokens of the answer
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    answer_tokens: u32,
    /// How often
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
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
    model: String,
    threads: usize,
    kernel: &'static str,
    prompt_tokens: usize,
    answer_tokens: usize,
    prefill_tokens_per_s: f64,
    decode_tokens_per_s: f64,
    load_ms: f64,
    rss_mb: Option<f64>,
}

/// Measures and prints.
pub fn run(args: &LanguageModelArgs, mut config: Config) -> anyhow::Result<ExitCode> {
    if let Some(threads) = args.threads {
        config.language_model.threads = usize::from(threads);
    }
    config.language_model.kernel = args.kernel.unwrap_or(config.language_model.kernel);
    let (prompt_tokens, answer_tokens) = (args.prompt_tokens as usize, args.answer_tokens as usize);
    config.language_model.context = config.language_model.context.max(prompt_tokens + answer_tokens);
    let began = std::time::Instant::now();
    let model = assembly::load_language_model(&config, &args.model)?;
    let load_ms = began.elapsed().as_secs_f64() * 1e3;
    let once = model.tokens(TEXT);
    let prompt: Vec<u32> = once.iter().copied().cycle().take(prompt_tokens).collect();
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().context("the async runtime can't be started")?;
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    let bar = bar("measuring", u64::from(args.rounds), args.quiet);
    for _ in 0..args.rounds {
        let measured = runtime.block_on(model.measure(prompt.clone(), answer_tokens))?;
        prefill.push(measured.prompt_tokens as f64 / measured.prefill_seconds);
        decode.push(measured.decoded_tokens as f64 / measured.decode_seconds);
        bar.inc(1);
    }
    bar.finish_and_clear();
    prefill.sort_by(f64::total_cmp);
    decode.sort_by(f64::total_cmp);
    let measured = Measured {
        model: model.id().to_owned(),
        threads: model.threads(),
        kernel: model.kernel(),
        prompt_tokens,
        answer_tokens,
        prefill_tokens_per_s: quantile(&prefill, 0.5),
        decode_tokens_per_s: quantile(&decode, 0.5),
        load_ms,
        rss_mb: resident_mb(),
    };
    if args.json {
        anstream::println!("{}", serde_json::to_string(&measured)?);
    } else {
        let Measured { model, threads, kernel, .. } = &measured;
        anstream::println!("{model} on {threads} threads, {kernel}");
        anstream::println!("  reads    {:>8.1} tokens/s, a prompt of {prompt_tokens}", measured.prefill_tokens_per_s);
        anstream::println!("  writes   {:>8.1} tokens/s, an answer of {answer_tokens}", measured.decode_tokens_per_s);
        anstream::println!("  loads in {:>8.0} ms, every byte checked", measured.load_ms);
        if let Some(rss) = measured.rss_mb {
            anstream::println!("  memory   {rss:>8.0} MB resident");
        }
    }
    Ok(ExitCode::SUCCESS)
}
