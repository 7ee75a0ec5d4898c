//! `otklik health`: asks a running service whether it serves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use otklik::config::Config;
use otklik::server::{HealthError, HealthQuestion, ShownIdentity, ask_health};

/// Exit status of a service that does not serve, or does not answer.
const NOT_SERVING: u8 = 1;

/// Whom to ask.
#[derive(Debug, Args)]
#[command(after_help = "\
With tls.certificate set, as for the service itself, the answer is encrypted and must come from whoever has that certificate.
To a service that asks callers for certificates (tls.client_ca) show one, with --certificate and --key.

Exit status: 0 it serves, 1 it does not, or does not answer, 2 bad input.")]
pub struct HealthArgs {
    /// Address and port to ask; by default server.listen, on loopback if that is all addresses
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
    /// One service, as in otklik.v1.TaggingService; by default the whole
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
    /// PEM file of the certificate to show to a service that asks for one
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// PEM file of that certificate's key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Milliseconds that the answer may take
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,
}

/// Asks, and says what came of it.
pub fn run(args: HealthArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let shown = args.certificate.zip(args.key).map(|(certificate, key)| ShownIdentity { certificate, key });
    let question = HealthQuestion {
        address: args.address.unwrap_or(config.server.listen),
        service: args.service,
        certificate: config.tls.certificate.clone(),
        shown,
        timeout: Duration::from_millis(args.timeout_ms),
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().context("the async runtime can't be started")?;
    let is_serving = runtime.block_on(ask_health(question))?;
    anstream::println!("{}", if is_serving { "serving" } else { "not serving" });
    Ok(if is_serving { ExitCode::SUCCESS } else { ExitCode::from(NOT_SERVING) })
}

/// True for what the caller can mend.
pub fn is_bad_input(error: &anyhow::Error) -> bool {
    error.downcast_ref::<HealthError>().is_some_and(|error| match error {
        HealthError::Certificate { .. } | HealthError::UnknownService { .. } => true,
        HealthError::NoAnswer { .. } => false,
    })
}
