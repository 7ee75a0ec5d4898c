//! `otklik keys`: the API keys that callers of the service show.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use otklik::callers::{KeyFile, KeyRecord, NewKey, Role};
use otklik::config::Config;
use serde::Serialize;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print it, this once
    ///
    /// The key goes to standard output, all else to standard error. What is kept is a hash: a key that is lost can't be had again, make
    /// another. A service that runs takes it within seconds; with the first key it begins to ask everybody for one.
    #[command(after_help = "\
Roles:
  tag       tag feedback, and store it as cases
  read      read cases and taxonomies
  correct   correct tags, record outcomes
  assist    suggestions, reviews of replies, summaries, prompts
  retag     tag stored cases anew
  admin     all of it, and what can't be undone: delete cases, publish taxonomies

A caller sends its key with each call:  authorization: Bearer KEY   or   x-api-key: KEY

Examples:
  otklik keys add --tenant bank --role tag --role read --name crm
  otklik keys add --tenant bank --role assist --tokens-per-s 2000 > desk.key")]
    Add(AddArgs),
    /// List the keys: whose they are, what they open, which are revoked
    #[command(
        after_help = "Examples:\n  otklik keys list\n  otklik keys list --json | jq '.[] | select(.revoked_at == null)'"
    )]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key for good; a service that runs refuses it within seconds
    #[command(after_help = "Examples:\n  otklik keys revoke 4f1d09c2ab37")]
    Revoke {
        /// Id of the key: what stands between otk_ and the next _
        id: String,
    },
}

/// The key to make.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Whose data it opens; "default" is the tenant of a service that asked for no keys before
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// What it may do; may be given more than once: tag, read, correct, assist, retag, admin
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// Most model tokens a second; a token is some four letters [default: the limit of its tenant]
    #[arg(long = "tokens-per-s", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tokens_per_second: Option<u32>,
    /// Most model tokens at once after a rest [default: those of ten seconds]
    #[arg(long, value_name = "N", requires = "tokens_per_second", value_parser = clap::value_parser!(u32).range(1..))]
    burst_tokens: Option<u32>,
}

/// Runs the command.
pub fn run(command: KeysCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let file = &config.callers.keys_file;
    match command {
        KeysCommand::Add(AddArgs { tenant, roles, name, tokens_per_second, burst_tokens }) => {
            let roles = roles.into_iter().collect();
            let wanted = NewKey { name, tenant, roles, tokens_per_second, burst_tokens };
            let (key, record) = KeyFile::add(file, wanted, Timestamp::now())?;
            anstream::eprintln!(
                "Key {} for tenant {} may {}. It is shown this once; its hash is in {}.",
                record.id,
                record.tenant.as_str(),
                roles_of(&record),
                file.display()
            );
            anstream::println!("{}", key.reveal());
        }
        KeysCommand::List { json } => {
            let keys = KeyFile::read(file)?.unwrap_or_default();
            match json {
                true => anstream::println!("{}", as_json(keys.records())?),
                false if keys.records().is_empty() => {
                    anstream::println!("No keys in {}. Make one: otklik keys add --help", file.display());
                }
                false => anstream::print!("{}", as_table(keys.records())),
            }
        }
        KeysCommand::Revoke { id } => {
            // Whoever pastes a whole key means its id.
            let id = id.strip_prefix("otk_").and_then(|rest| rest.split('_').next()).unwrap_or(&id);
            let record = KeyFile::revoke(file, id, Timestamp::now())?;
            anstream::println!("Key {} of tenant {} is revoked.", record.id, record.tenant.as_str());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn roles_of(record: &KeyRecord) -> String {
    let roles: Vec<&str> = record.roles.iter().map(Role::as_str).collect();
    roles.join(", ")
}

/// A key as it is listed: without its hash.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    id: &'a str,
    name: Option<&'a str>,
    tenant: &'a str,
    roles: Vec<&'static str>,
    tokens_per_second: Option<u32>,
    burst_tokens: Option<u32>,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

fn as_json(records: &[KeyRecord]) -> anyhow::Result<String> {
    let listed: Vec<Listed<'_>> = records
        .iter()
        .map(|record| Listed {
            id: &record.id,
            name: record.name.as_deref(),
            tenant: record.tenant.as_str(),
            roles: record.roles.iter().map(Role::as_str).collect(),
            tokens_per_second: record.tokens_per_second,
            burst_tokens: record.burst_tokens,
            created_at: record.created_at,
            revoked_at: record.revoked_at,
        })
        .collect();
    Ok(serde_json::to_string_pretty(&listed)?)
}

fn as_table(records: &[KeyRecord]) -> String {
    let rows: Vec<[String; 6]> = records
        .iter()
        .map(|record| {
            let limit = record.tokens_per_second.map_or("-".to_owned(), |tokens| format!("{tokens} tokens/s"));
            let state = record.revoked_at.map_or("valid".to_owned(), |at| format!("revoked {}", day(at)));
            [
                record.id.clone(),
                record.name.clone().unwrap_or_else(|| "-".to_owned()),
                record.tenant.as_str().to_owned(),
                roles_of(record),
                limit,
                format!("{state}, made {}", day(record.created_at)),
            ]
        })
        .collect();
    let heading = ["id", "name", "tenant", "roles", "limit", "state"].map(str::to_owned);
    let mut widths = [0; 6];
    for row in std::iter::once(&heading).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    std::iter::once(&heading).chain(&rows).fold(String::new(), |mut table, row| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        // Writing to a string does not fail.
        let _ = writeln!(table, "{}", cells.join("  ").trim_end());
        table
    })
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_in_columns_without_their_hashes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.toml");
        let wanted = |name: Option<&str>, role: Role| NewKey {
            name: name.map(str::to_owned),
            tenant: "банк".into(),
            roles: [Role::Read, role].into_iter().collect(),
            tokens_per_second: Some(2_000),
            burst_tokens: None,
        };
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let (key, _) = KeyFile::add(&file, wanted(Some("CRM"), Role::Tag), now).unwrap();
        let (other, _) = KeyFile::add(&file, wanted(None, Role::Admin), now).unwrap();
        KeyFile::revoke(&file, other.id(), now).unwrap();
        let keys = KeyFile::read(&file).unwrap().unwrap();
        let table = as_table(keys.records());
        let expected = format!(
            "id            name  tenant  roles        limit          state\n\
             {}  CRM   банк    tag, read    2000 tokens/s  valid, made 2023-11-14\n\
             {}  -     банк    read, admin  2000 tokens/s  revoked 2023-11-14, made 2023-11-14\n",
            key.id(),
            other.id()
        );
        assert_eq!(table, expected);
        let json = as_json(keys.records()).unwrap();
        assert!(json.contains(key.id()) && !json.contains("hash") && !json.contains("salt"), "{json}");
    }
}
