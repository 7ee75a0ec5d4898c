//! `otklik audit`: what the service noted of who did what.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use otklik::audit::{self, Break};
use otklik::config::Config;
use serde_json::json;

use super::BAD_INPUT;

/// What to do with the log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that the log is what was written, record by record
    ///
    /// Each record is bound to the one before by its hash: one that was changed, taken out or put in is told with its file and line, and
    /// the exit status is 2. Keep the last hash elsewhere, and give it with --expect the next time: then records taken away from the end
    /// are told too.
    #[command(after_help = "\
Examples:
  otklik audit verify
  otklik audit verify --expect \"$(cat last-hash)\" --json | jq -r .last_hash > last-hash
  grep '\"cases\":\\[[^]]*\"case-17\"' data/audit/*.jsonl      what was done with a case")]
    Verify {
        /// Folder of the log [default: audit.dir]
        folder: Option<PathBuf>,
        /// A hash that was the last one before, and must still be there
        #[arg(long, value_name = "HASH")]
        expect: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(command: AuditCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let AuditCommand::Verify { folder, expect, json } = command;
    let folder = folder.or_else(|| config.audit.dir.clone()).context("audit.dir is empty: no log is written")?;
    match audit::verify(&folder, expect.as_deref()) {
        Ok(found) if json => {
            let page = json!({"records": found.records, "files": found.files, "last_hash": found.last_hash});
            anstream::println!("{page}");
            Ok(ExitCode::SUCCESS)
        }
        Ok(found) => {
            anstream::println!(
                "{} records in {} files of {} are as they were written.\nLast hash: {}",
                found.records,
                found.files,
                folder.display(),
                found.last_hash
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(fault @ (Break::Unreadable { .. } | Break::Record { .. } | Break::NotThere { .. })) => {
            anstream::eprintln!("otklik: {fault}");
            Ok(ExitCode::from(BAD_INPUT))
        }
    }
}
