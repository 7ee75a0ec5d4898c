//! `otklik bench`: how fast this machine is.

mod encoder;

use std::process::ExitCode;

use clap::Subcommand;
use otklik::config::Config;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure the encoder on texts of your own: texts and tokens a second, one text at a time, and how near to 32 bits it is
    Encoder(encoder::EncoderArgs),
}

/// Measures.
pub fn run(command: BenchCommand, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        BenchCommand::Encoder(args) => encoder::run(&args, config),
    }
}

/// The value below which this share of rising values lies (nearest rank); 0 of none.
fn quantile(rising: &[f64], share: f64) -> f64 {
    let rank = (share * rising.len() as f64).ceil() as usize;
    rising.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Memory of this process that is in use now, in MB (Linux only).
fn resident_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
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
