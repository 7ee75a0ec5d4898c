//! `otklik bench`: how fast this machine is.

mod cases;
mod encoder;
mod language_model;
#[cfg(target_os = "linux")]
mod overload;
#[cfg(target_os = "linux")]
mod raw_calls;
mod retag;
mod search;
mod server;
#[cfg(target_os = "linux")]
mod service;
#[cfg(target_os = "linux")]
mod soak;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use otklik::config::Config;
use otklik::training::TrainingError;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure the encoder on texts of your own: texts and tokens a second, one text at a time, and how near to 32 bits it is
    Encoder(encoder::EncoderArgs),
    /// Measure a language model: tokens a second that it reads and that it writes, and its memory
    LanguageModel(language_model::LanguageModelArgs),
    /// Measure the service over gRPC: texts a second, and latency, also while batches are worked through
    Server(server::ServerArgs),
    /// Measure the service when more is asked than it can answer: what it still answers, how fast it refuses, how soon it is well again
    #[cfg(target_os = "linux")]
    Overload(overload::OverloadArgs),
    /// Soak the service: load for long, with faults, and everything that it promises held against what it does
    #[cfg(target_os = "linux")]
    Soak(soak::SoakArgs),
    /// Measure the embedded case store: storing, searching, opening again, and how many of the truly nearest are found
    Cases(cases::CasesArgs),
    /// Measure re-tagging of the embedded case store: by the heads alone, and with reading and writing
    Retag(retag::RetagArgs),
    /// Measure whether the cases that a search finds belong with what was looked for, by labels of your own
    Search(search::SearchArgs),
}

/// Measures.
pub fn run(command: BenchCommand, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        BenchCommand::Encoder(args) => encoder::run(&args, config),
        BenchCommand::LanguageModel(args) => language_model::run(&args, config),
        BenchCommand::Server(args) => server::run(&args, config),
        #[cfg(target_os = "linux")]
        BenchCommand::Overload(args) => overload::run(&args, config),
        #[cfg(target_os = "linux")]
        BenchCommand::Soak(args) => soak::run(&args, &config),
        BenchCommand::Cases(args) => cases::run(&args),
        BenchCommand::Retag(args) => retag::run(&args, config),
        BenchCommand::Search(args) => search::run(&args, config),
    }
}

/// Texts to measure with.
#[derive(Debug, Args)]
struct TextArgs {
    /// Table of texts: JSON Lines, CSV, TSV or plain lines; - for standard input
    #[arg(long, value_name = "FILE")]
    texts: PathBuf,
    /// Column of the text
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Most texts that are read
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

impl TextArgs {
    /// Texts of the table, as they stand.
    fn read(&self) -> Result<Vec<String>, TrainingError> {
        super::learning::texts(&self.texts, self.text_column.as_deref(), self.limit)
    }
}

/// The value below which this share of rising values lies (nearest rank); 0 of none.
fn quantile(rising: &[f64], share: f64) -> f64 {
    let rank = (share * rising.len() as f64).ceil() as usize;
    rising.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Memory of this process that is in use now, in MB (Linux only).
fn resident_mb() -> Option<f64> {
    resident_mb_of("self")
}

/// Memory of a process, given by its id, that is in use now, in MB (Linux only).
fn resident_mb_of(process: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().trim_end_matches(" kB");
    kilobytes.trim().parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!([0.0, 0.25, 0.5, 0.95, 1.0].map(|share| quantile(&values, share)), [1.0, 1.0, 2.0, 4.0, 4.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
