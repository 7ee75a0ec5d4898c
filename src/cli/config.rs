//! `otklik config`: what can be set, and what is.

use std::process::ExitCode;

use clap::Subcommand;
use otklik::config::{Config, Loaded};

/// What to show of the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// List every key with its default, what is allowed and what it means
    Keys {
        /// Write a Markdown table
        #[arg(long)]
        markdown: bool,
    },
    /// Show every value in force and where it came from
    Show,
}

/// Runs the command.
pub fn run(command: &ConfigCommand, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Keys { markdown: true } => {
            anstream::println!("| key | default | allowed | meaning |\n|---|---|---|---|");
            for key in Config::keys() {
                let default = if key.default.is_empty() { "not set".to_owned() } else { format!("`{}`", key.default) };
                anstream::println!("| `{}` | {default} | {} | {} |", key.name, key.allowed, key.meaning);
            }
        }
        ConfigCommand::Keys { markdown: false } => {
            anstream::println!("File (TOML, --config) < environment < flags (--set SECTION.KEY=VALUE).\n");
            for key in Config::keys() {
                let default = if key.default.is_empty() { "not set" } else { &key.default };
                anstream::println!(
                    "{} = {default}\n    {}\n    allowed: {}; environment: {}",
                    key.name,
                    key.meaning,
                    key.allowed,
                    key.environment_variable()
                );
            }
        }
        ConfigCommand::Show => {
            let width =
                loaded.settings.iter().map(|setting| setting.key.len() + setting.value.len()).max().unwrap_or(0);
            for setting in &loaded.settings {
                let pair = format!("{} = {}", setting.key, setting.value);
                anstream::println!("{pair:width$}   # {}", setting.origin, width = width + 3);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
