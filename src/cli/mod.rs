//! The command line: one file a command. Each parses, calls the library and prints; none knows how anything is computed.

mod audit;
mod bench;
mod cases;
mod classify;
mod config;
mod eval;
mod heads;
mod health;
mod keys;
mod learning;
mod marked_text;
mod models;
mod playbook;
mod prompts;
mod render;
mod retag;
mod serve;
mod taxonomy;
mod traced;
mod train;
mod tuning;
mod worker;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use otklik::assembly::{AssemblyError, Progress};
use otklik::cases::seal::KEY_VARIABLE;
use otklik::config::{Config, LogFormat, LogLevel};
use otklik::tagging::{Consult, Tagger};
use otklik::training::TrainingError;
use otklik::training::finetune::FineTuneError;
use tracing_subscriber::EnvFilter;

/// Exit status for bad input: arguments, configuration, files, models.
pub const BAD_INPUT: u8 = 2;

/// Tags customer feedback by topic, sentiment and owning team, on this machine
///
/// Nothing that a customer wrote leaves the machine: the models run inside this process.
#[derive(Debug, Parser)]
#[command(
    name = "otklik",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  otklik serve                                             start the gRPC service on the embedded defaults
  otklik classify \"Третий день не работает касса\"          tag one text and show why
  otklik classify reviews.csv --text-column text -o tagged.jsonl
  otklik retag archive/ --out retagged                     a whole archive, for hours; goes on after a stop
  otklik worker --queue nats://nats:4222                   tag what others put in the queue
  otklik train --data labelled.csv --label topic --out heads/topic
  otklik taxonomy init mine.toml                           a taxonomy of your own, from the default
  otklik cases export archive.parquet                      what was said before, with its tags
  otklik models list                                       what models there are

Exit status: 0 done, 1 a failure of otklik, 2 bad input, 130 interrupted."
)]
pub struct Cli {
    /// Configuration file (TOML); `otklik config keys` lists what can be set
    #[arg(long, global = true, value_name = "FILE", env = "OTKLIK_CONFIG")]
    config: Option<PathBuf>,
    /// Set one key over file and environment; may be given more than once
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Folder of the models: short for --set models.dir=FOLDER
    #[arg(long, global = true, value_name = "FOLDER")]
    models_dir: Option<PathBuf>,
    /// Never open a connection, even when told to fetch a model
    #[arg(long, global = true, env = "OTKLIK_OFFLINE", num_args = 0..=1, default_missing_value = "true", default_value = "false",
        require_equals = true, value_parser = clap::builder::BoolishValueParser::new())]
    offline: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gRPC service
    Serve(serve::ServeArgs),
    /// Tag one text, or a file of them
    Classify(Box<classify::ClassifyArgs>),
    /// Tag files again: whole archives, after the taxonomy or a model changed
    Retag(Box<retag::RetagArgs>),
    /// Add, list and revoke the API keys that callers of the service show
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Check the log of who did what to which case
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Work for others: take chunks of files, or feedback, from a queue
    Worker(Box<worker::WorkerArgs>),
    /// Export, import, copy, migrate and clear the case store
    #[command(subcommand)]
    Cases(cases::CasesCommand),
    /// Write, check, show, compare and publish taxonomies
    Taxonomy(taxonomy::TaxonomyCommand),
    /// Write, check and show playbooks
    Playbook(playbook::PlaybookCommand),
    /// Train a head: a classifier of your own labels
    Train(Box<train::TrainArgs>),
    /// Measure how well labels are told
    Eval(Box<eval::EvalArgs>),
    /// List the heads that tagging asks; make those that come with the encoder
    #[command(subcommand)]
    Heads(heads::HeadsCommand),
    /// List, check and fetch models
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// List, show, render, answer and check ready-made prompts
    #[command(subcommand)]
    Prompts(prompts::PromptsCommand),
    /// Measure how fast this machine is
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Ask a running service whether it serves
    Health(health::HealthArgs),
    /// Show what can be set and what is
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| "needs the form SECTION.KEY=VALUE, as in server.listen=127.0.0.1:6000".to_owned())
}

/// Runs the command that the arguments name.
pub fn run(cli: Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("otklik: {error:#}");
            ExitCode::from(if is_bad_input(&error) { BAD_INPUT } else { 1 })
        }
    }
}

/// True for what the caller can mend: arguments, configuration, files, models.
fn is_bad_input(error: &anyhow::Error) -> bool {
    error.downcast_ref::<otklik::config::ConfigError>().is_some()
        || error.downcast_ref::<AssemblyError>().is_some_and(|error| match error {
            AssemblyError::Model(_)
            | AssemblyError::NotAnEncoder { .. }
            | AssemblyError::NotALanguageModel { .. }
            | AssemblyError::NoTokenizer { .. }
            | AssemblyError::NoLanguageModel
            | AssemblyError::TwoLanguageModels
            | AssemblyError::Endpoint(_)
            | AssemblyError::Taxonomy(_)
            | AssemblyError::Versions(_)
            | AssemblyError::Playbook(_)
            | AssemblyError::Uses(_)
            | AssemblyError::Examples(_)
            | AssemblyError::Cases(_)
            | AssemblyError::Key(_)
            | AssemblyError::Heads(_)
            | AssemblyError::Engine(otklik::tagging::EngineError::Judge(_))
            | AssemblyError::Inference(_) => true,
            AssemblyError::Engine(_)
            | AssemblyError::Corrections(_)
            | AssemblyError::Beside(_)
            | AssemblyError::Script(_)
            | AssemblyError::Interrupted(_)
            | AssemblyError::Training(_)
            | AssemblyError::Threads(_) => false,
        })
        || cases::is_bad_input(error)
        || error.downcast_ref::<otklik::retag::queue::QueueError>().is_some_and(|error| error.is_bad_input())
        || serve::is_bad_input(error)
        || health::is_bad_input(error)
        || error.downcast_ref::<otklik::callers::KeyFileError>().is_some()
        || error.downcast_ref::<otklik::prompts::PromptFilesError>().is_some()
        || error.downcast_ref::<otklik::taxonomy::versions::VersionsError>().is_some()
        || error.downcast_ref::<otklik::tagging::heads::HeadError>().is_some()
        || error.downcast_ref::<otklik::tagging::ExamplesError>().is_some()
        || error.downcast_ref::<TrainingError>().is_some_and(|error| match error {
            TrainingError::Table(_)
            | TrainingError::Label { .. }
            | TrainingError::Rows(_)
            | TrainingError::Evaluation(_)
            | TrainingError::FineTune(
                FineTuneError::Row { .. }
                | FineTuneError::NoRows
                | FineTuneError::Option { .. }
                | FineTuneError::Checkpoint { .. },
            ) => true,
            TrainingError::Inference(_)
            | TrainingError::FineTune(_)
            | TrainingError::Head(_)
            | TrainingError::Interrupted => false,
        })
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { config: file, mut set, models_dir, offline, command } = cli;
    if let Some(dir) = &models_dir {
        set.push(("models.dir".to_owned(), dir.display().to_string()));
    }
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !["OTKLIK_CONFIG", "OTKLIK_OFFLINE", KEY_VARIABLE].contains(&name.as_str()));
    let loaded = Config::load(file.as_deref(), environment, &set)?;
    match command {
        Command::Serve(args) => {
            start_log(&loaded.config, None);
            serve::run(args, loaded.config)
        }
        Command::Classify(args) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            classify_command(*args, loaded.config)
        }
        Command::Retag(args) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            retag::run(*args, loaded.config)
        }
        Command::Keys(command) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            keys::run(command, &loaded.config)
        }
        Command::Audit(command) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            audit::run(command, &loaded.config)
        }
        Command::Worker(args) => {
            start_log(&loaded.config, None);
            worker::run(*args, loaded.config)
        }
        Command::Cases(command) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            cases::run(command, &loaded.config)
        }
        Command::Taxonomy(command) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            taxonomy::run(command, &loaded.config)
        }
        Command::Playbook(command) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            playbook::run(command, &loaded.config)
        }
        Command::Train(args) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            train::run(&args, &loaded.config)
        }
        Command::Eval(args) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            eval::run(&args, &loaded.config)
        }
        Command::Heads(command) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            heads::run(command, &loaded.config)
        }
        Command::Models(command) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            models::run(command, loaded.config.models.dir, offline)
        }
        Command::Prompts(command) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            prompts::run(command, &loaded.config)
        }
        Command::Bench(command) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            bench::run(command, loaded.config)
        }
        Command::Health(args) => {
            start_log(&loaded.config, Some(LogLevel::Warn));
            health::run(args, &loaded.config)
        }
        Command::Config(command) => config::run(&command, &loaded),
    }
}

fn classify_command(args: classify::ClassifyArgs, mut config: Config) -> anyhow::Result<ExitCode> {
    if args.language_model.is_some() {
        config.models.language_model.clone_from(&args.language_model);
    }
    // For a table, what a row does not say is said by the configuration.
    config.tagging.consult = args.consult;
    let model = match args.consult {
        Consult::Never => None,
        Consult::WhenAbstaining | Consult::Always => Some(otklik::assembly::open_language_model(&config)?),
    };
    let engine = Arc::new(otklik::assembly::tagger(&config, &mut StartProgress::default())?);
    let names = TaxonomyNames(Arc::clone(engine.taxonomy()));
    let runtime = tokio::runtime::Runtime::new().context("the async runtime can't be started")?;
    runtime.block_on(async {
        let tagger: Arc<dyn Tagger> = match model {
            Some(model) => {
                let consulting = otklik::assembly::consulting(&config, engine, model);
                let bar = learning::bar("calibrating the language model", 1, args.quiet);
                let told = |done: usize, of: usize| {
                    bar.set_length(of as u64);
                    bar.set_position(done as u64);
                };
                consulting.prepare(told).await.context("the language model can't be calibrated")?;
                bar.finish_and_clear();
                Arc::new(consulting)
            }
            None => engine,
        };
        classify::run(args, tagger, &names, otklik::text::parse_transcript).await
    })
}

/// Columns of the terminal, or what a pipe is given.
fn terminal_width() -> usize {
    const OF_A_PIPE: usize = 100;
    terminal_size::terminal_size().map_or(OF_A_PIPE, |(width, _)| usize::from(width.0))
}

/// The taxonomy's code of a language of names.
fn code(language: render::NameLanguage) -> &'static str {
    match language {
        render::NameLanguage::Ru => "ru",
        render::NameLanguage::En => "en",
    }
}

/// Names of a taxonomy for people.
struct TaxonomyNames(std::sync::Arc<otklik::taxonomy::Taxonomy>);

impl render::Names for TaxonomyNames {
    fn topic(&self, id: &otklik::tags::TopicId, language: render::NameLanguage) -> String {
        let topic = self.0.topic(id);
        topic.map_or_else(|| id.to_string(), |topic| topic.names.in_language(code(language)).to_owned())
    }

    fn signal(&self, id: &otklik::tags::SignalId, language: render::NameLanguage) -> String {
        let signal = self.0.signal(id);
        signal.map_or_else(|| id.to_string(), |signal| signal.names.in_language(code(language)).to_owned())
    }

    fn team(&self, id: &otklik::tags::TeamId, language: render::NameLanguage) -> String {
        let team = self.0.team(id);
        team.map_or_else(|| id.to_string(), |team| team.names.in_language(code(language)).to_owned())
    }
}

/// Log lines go to standard error. `RUST_LOG` overrides `log.level`; commands other than `serve` are quiet below `quiet` unless
/// the level was lowered by hand.
fn start_log(config: &Config, quiet: Option<LogLevel>) {
    let level = match quiet {
        Some(quiet) if config.log.level == LogLevel::Info => quiet,
        _ => config.log.level,
    };
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("otklik={level},warn,qdrant_edge=error")));
    // A line that can't be written, as on a full disk, is lost: told on standard error it would be a panic wherever it was logged.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    let builder = builder.with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(std::io::stderr().is_terminal()).with_target(false);
    match config.log.format {
        LogFormat::Human => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// A bar for the vectors of examples, on a terminal; log lines say the rest.
#[derive(Default)]
pub struct StartProgress {
    bar: Option<ProgressBar>,
}

impl Progress for StartProgress {
    fn examples(&mut self, done: usize, of: usize) {
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(of as u64).with_message("encoding the taxonomy's examples");
            if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {eta} left") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_position(done as u64);
        if done == of {
            bar.finish_and_clear();
        }
    }
}
