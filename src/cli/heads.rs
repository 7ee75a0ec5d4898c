//! `otklik heads`: the heads that tagging asks, and those that come with the encoder made anew.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use otklik::assembly;
use otklik::config::Config;
use otklik::tables::Input;
use otklik::tagging::heads::{HeadCard, SENTIMENT};
use otklik::training::evaluation::{Evaluation, EvaluationOptions, text};
use otklik::training::guard::{self, Bounds};
use otklik::training::shipped::{self, Material};
use otklik::training::{Fitted, LabelledRow, LabelledTable, TableOptions, TrainingError};
use serde::Serialize;

use super::learning;

/// What to do with heads.
#[derive(Debug, clap::Subcommand)]
pub enum HeadsCommand {
    /// List the heads that tagging asks, with what each was trained on and how good it is
    List {
        /// Print JSON: the whole cards
        #[arg(long)]
        json: bool,
    },
    /// Make the heads that come with the encoder anew
    ///
    /// They learn the examples of the default taxonomy and others written for this project, which are all in the program.
    /// `sentiment` also learns labelled posts, which are not: the tables of SentiRuEval-2016 about telecom operators and banks, as
    /// JSON Lines or CSV with the columns text and sentiment. The same tables give the same heads.
    #[command(after_help = "\
Examples:
  otklik heads make --posts telecom.jsonl --posts banks.jsonl --out models/e5-small-ru-en/heads
  otklik heads make --only topics --out models/e5-small-ru-en/heads")]
    Make(MakeArgs),
    /// Make the model that tells sentences to a machine anew: orders to set a tag, forged answers and messages
    ///
    /// It learns sentences written for this project, which are all in the program, and sentences of honest feedback, which are not: any
    /// tables with a column of texts. The same tables give the same model. It is built into the program: put it where the source has it.
    #[command(after_help = "\
Example:
  otklik heads guard --honest telecom.jsonl --honest banks.jsonl --honest banking.jsonl --out src/text/instructions/learned.safetensors")]
    Guard(GuardArgs),
}

/// What to make.
#[derive(Debug, clap::Args)]
pub struct MakeArgs {
    /// A table of posts with their sentiment: negative, neutral or positive; may be given more than once
    #[arg(long, value_name = "FILE")]
    posts: Vec<PathBuf>,
    /// Make only this head; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(shipped::NAMES))]
    only: Vec<String>,
    /// The folder to write to: a file a head
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Keep computed vectors in this file and take them from there the next time
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
    /// Draw no progress
    #[arg(short, long)]
    quiet: bool,
}

/// What to make the model of sentences to a machine from.
#[derive(Debug, clap::Args)]
pub struct GuardArgs {
    /// A table of honest feedback: JSON Lines, CSV, TSV or plain lines; may be given more than once
    #[arg(long, value_name = "FILE", required = true)]
    honest: Vec<PathBuf>,
    /// Share of honest sentences that may be taken for orders, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0003, value_parser = share)]
    mistaken: f64,
    /// Share of them that may be suspected: they are left out if they alone decide
    #[arg(long, value_name = "SHARE", default_value_t = 0.002, value_parser = share)]
    suspected: f64,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..1.0).contains(&share) { Ok(share) } else { Err("must be from 0 to below 1".to_owned()) }
}

/// Runs a command on heads.
pub fn run(command: HeadsCommand, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        HeadsCommand::List { json } => list(config, json),
        HeadsCommand::Make(args) => make(&args, config),
        HeadsCommand::Guard(args) => make_guard(&args, config),
    }
}

/// A head for JSON.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    sha256: &'a str,
    own: bool,
    file: String,
    card: &'a HeadCard,
}

fn list(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let taxonomy = assembly::taxonomy_in_force(config)?;
    let loaded = assembly::load_encoder(config)?;
    let heads = assembly::heads(config, &loaded, &taxonomy)?;
    if json {
        let listed: Vec<Listed<'_>> = heads
            .heads()
            .iter()
            .map(|head| Listed {
                name: &head.name,
                sha256: &head.sha256,
                own: head.own,
                file: head.path.display().to_string(),
                card: head.head.card(),
            })
            .collect();
        anstream::println!("{}", serde_json::to_string_pretty(&listed)?);
        return Ok(ExitCode::SUCCESS);
    }
    if heads.heads().is_empty() {
        anstream::println!("No heads: tagging judges by the taxonomy's examples alone.");
    }
    for head in heads.heads() {
        let card = head.head.card();
        anstream::println!(
            "{}  {} labels, {} rows, {} n-grams, {}",
            head.name,
            card.labels.len(),
            card.rows,
            card.features,
            if head.own { "your own" } else { "comes with the encoder" }
        );
        let figures = card.held_out.map(|figures| {
            let shares = [figures.accuracy, figures.macro_f1].map(|share| format!("{share:.3}"));
            format!("accuracy {}, macro F1 {} on rows held out", shares[0], shares[1])
        });
        let lines = [card.trained_on.clone(), card.licence.clone().map(|terms| format!("terms: {terms}")), figures];
        for line in lines.into_iter().flatten().chain([head.path.display().to_string()]) {
            anstream::println!("    {line}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn make(args: &MakeArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let names: Vec<&str> = match args.only.is_empty() {
        true => shipped::NAMES.to_vec(),
        false => args.only.iter().map(String::as_str).collect(),
    };
    if names.contains(&SENTIMENT) && args.posts.is_empty() {
        let problem = format!("{SENTIMENT} learns labelled posts: name their tables (--posts), or others (--only)");
        return Err(TrainingError::Rows(problem).into());
    }
    let posts: Vec<Vec<LabelledRow>> = args.posts.iter().map(|path| read_posts(path)).collect::<Result<_, _>>()?;
    let taxonomy = assembly::load_taxonomy(None)?;
    let loaded = assembly::load_encoder(config)?;
    let pool = assembly::start_pool(config)?;
    let mut vectors = assembly::example_vectors(&loaded, &taxonomy, &pool, &mut super::StartProgress::default())?;
    if let Some(path) = args.vectors.as_ref().filter(|path| path.exists()) {
        vectors.read(path)?;
    }
    for name in names {
        let texts = shipped::texts(name, &taxonomy, &posts)?;
        learning::complete(&mut vectors, &texts, &loaded, &pool, args.vectors.as_deref(), args.quiet)?;
        let material = Material { taxonomy: &taxonomy, posts: &posts, vectors: &vectors, encoder: &loaded.identity };
        let bar = learning::bar("trying settings", 1, args.quiet);
        let fitted = pool.run_blocking(|| {
            shipped::make(name, &material, &|_, done, of| {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
                true
            })
        })?;
        bar.finish_and_clear();
        let path = args.out.join(format!("{name}.safetensors"));
        fitted.head.save(&path)?;
        let bytes = std::fs::metadata(&path).with_context(|| path.display().to_string())?.len();
        show(&fitted, bytes)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn make_guard(args: &GuardArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let honest = args.honest.iter().map(|path| learning::texts(path, None, u64::MAX)).collect::<Result<Vec<_>, _>>()?;
    let taxonomy = assembly::load_taxonomy(None)?;
    let pool = assembly::start_pool(config)?;
    let bounds = Bounds { mistaken: args.mistaken, suspected: args.suspected };
    let made = pool.run_blocking(|| guard::make(&taxonomy, &honest, bounds))?;
    let bytes = made.to_bytes()?;
    std::fs::write(&args.out, &bytes).with_context(|| args.out.display().to_string())?;
    anstream::println!(
        "{} sentences to machines, {} to people, {} n-grams, cost {}, {:.1} MB\nheld out: {:.1} % of those to machines are told, \
         {:.1} % are at least suspected",
        made.machines,
        made.people,
        made.ngrams,
        made.cost,
        bytes.len() as f64 / 1e6,
        100.0 * made.told,
        100.0 * made.suspected,
    );
    Ok(ExitCode::SUCCESS)
}

fn read_posts(path: &std::path::Path) -> Result<Vec<LabelledRow>, TrainingError> {
    let options = TableOptions { label: SENTIMENT.to_owned(), ..TableOptions::default() };
    Ok(LabelledTable::read(&Input::File(path.to_owned()), &options)?.rows)
}

fn show(fitted: &Fitted, bytes: u64) -> anyhow::Result<()> {
    let card = fitted.head.card();
    anstream::println!(
        "{}: {}\n{} rows, {} n-grams, cost {}, n-grams x {}, weight beside the examples {}, {:.1} MB\n",
        card.name,
        card.trained_on.as_deref().unwrap_or_default(),
        card.rows,
        card.features,
        card.cost,
        card.ngram_scale,
        card.weight.map_or("1, there are none".to_owned(), |weight| weight.to_string()),
        bytes as f64 / 1e6,
    );
    let evaluation = Evaluation::of(&card.labels, card.kind.into(), &fitted.held_out, &EvaluationOptions::default())?;
    let look = text::Look { width: super::terminal_width(), classes: Some(0) };
    anstream::println!("{}", text::render(&evaluation, &look));
    Ok(())
}
