//! `otklik train`: a head from labelled texts.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use otklik::assembly;
use otklik::config::Config;
use otklik::tagging::heads::{Head, HeadCard};
use otklik::training::evaluation::{Evaluation, EvaluationOptions, text};
use otklik::training::{Fitted, HeadOptions, HeadTrainer, Stage};

use super::learning::{LabelArgs, condition};
use super::tuning::TuningArgs;

/// Train a head: a classifier of your own labels on top of the encoder
///
/// Reads labelled texts (CSV, TSV, JSON Lines), passes each once through the encoder, and fits a linear classifier on its vector
/// and the words and letters of the text. Settings, calibration and thresholds are chosen by cross-validation on these rows
/// alone, and the figures shown are of rows that the judging weights had not seen. Writes OUT/head.safetensors, and OUT/card.json
/// with what it was made from and how good it is. The texts themselves are not kept.
///
/// With --fine-tune the encoder itself learns the labels first, which takes minutes to an hour and tells more. OUT is then a
/// folder of models too: --models-dir OUT --set models.encoder=NAME-tuned serves with it, and `otklik eval --head OUT` finds it. A
/// run that was stopped goes on from OUT/checkpoint when it is started again in the same way.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  otklik train --data appeals.jsonl --label owner --out heads/owner
  otklik train --data comments.csv --label themes --separator \";\" --out heads/themes
  otklik train --data sentiment.jsonl --label sentiment --balanced --out heads/sentiment
  otklik train --data all.jsonl --only split=train --label intent --vectors all.vectors --out heads/intent
  otklik train --data all.jsonl --label intent --fine-tune --out tuned/intent

Exit status: 0 done, 1 a failure of otklik, 2 bad input.")]
pub struct TrainArgs {
    /// The labelled texts; `-` is standard input in JSON Lines
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Only rows with this value in this column; may be given more than once
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = condition)]
    only: Vec<(String, String)>,
    #[command(flatten)]
    pub labels: LabelArgs,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub head: HeadArgs,
    #[command(flatten)]
    tuning: TuningArgs,
}

/// How a head is made.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "How the head is made")]
pub struct HeadArgs {
    /// Let rows of rare labels weigh more, for a good mean F1 over labels rather than the most right answers
    #[arg(long)]
    pub balanced: bool,
    /// Do not learn the names of the labels as texts; for names that say nothing, such as codes
    #[arg(long)]
    pub no_names: bool,
    /// Parts of the cross-validation that chooses the settings
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=20))]
    pub parts: u16,
    /// Seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

impl HeadArgs {
    pub fn options(&self) -> HeadOptions {
        HeadOptions {
            balanced: self.balanced,
            names: !self.no_names,
            folds: usize::from(self.parts),
            seed: self.seed,
            ..HeadOptions::default()
        }
    }
}

/// Weights of n-grams by themselves that are tried beside a tuned encoder.
const WORDS_ALONE: [f32; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// Runs the command.
pub fn run(args: &TrainArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let table = args.labels.read(&args.data, &args.only)?;
    let mut config = config.clone();
    let mut options = args.head.options();
    if let Some(tuned) = args.tuning.tune(args, &table, &config)? {
        // What the tuned encoder says of rows whose labels it learnt is no measure.
        options.folds = 0;
        options.held_out = tuned.held_out;
        options.words_alone = WORDS_ALONE.into();
        config.models.dir = Some(args.out.clone());
        config.models.encoder = tuned.encoder;
    }
    let loaded = assembly::load_encoder(&config)?;
    let pool = assembly::start_pool(&config)?;
    let vectors = args.labels.vectors_of(&table.rows, &loaded, &pool)?;
    let trainer = HeadTrainer::new(&args.labels.label, table.kind, &table.rows, &vectors, options.ngrams)?;
    let all: Vec<usize> = (0..table.rows.len()).collect();
    let bar = args.labels.bar("trying settings", 1);
    let progress = |stage: Stage, done: usize, of: usize| {
        match stage {
            Stage::Trying => bar.set_length(of as u64),
            Stage::Fitting => bar.set_message("fitting to all rows"),
        }
        bar.set_position(done as u64);
        true
    };
    let fitted = pool.run_blocking(|| trainer.fit(&all, &options, &loaded.identity, &progress))?;
    bar.finish_and_clear();
    write(args, &fitted.head)?;
    show(args, table.unlabelled, &fitted)?;
    Ok(ExitCode::SUCCESS)
}

fn write(args: &TrainArgs, head: &Head) -> anyhow::Result<()> {
    head.save(&args.out.join("head.safetensors"))?;
    let card = serde_json::to_string_pretty(head.card())?;
    let path = args.out.join("card.json");
    std::fs::write(&path, card + "\n").with_context(|| format!("{} can't be written", path.display()))
}

fn show(args: &TrainArgs, unlabelled: usize, fitted: &Fitted) -> anyhow::Result<()> {
    let card: &HeadCard = fitted.head.card();
    let bytes = std::fs::metadata(args.out.join("head.safetensors")).map(|file| file.len()).unwrap_or_default();
    anstream::println!(
        "{} labels of {:?} from {} rows{}: {} n-grams, cost {}, n-grams x {}, {:.1} MB in {}",
        card.labels.len(),
        card.name,
        card.rows,
        if unlabelled > 0 { format!(" ({unlabelled} without the label)") } else { String::new() },
        card.features,
        card.cost,
        card.ngram_scale,
        bytes as f64 / 1e6,
        args.out.display()
    );
    if fitted.held_out.is_empty() {
        anstream::println!(
            "Too few rows a label to hold any out: `otklik eval` on rows of their own tells how good it is."
        );
        return Ok(());
    }
    let evaluation = Evaluation::of(&card.labels, card.kind.into(), &fitted.held_out, &EvaluationOptions::default())?;
    anstream::println!("On rows held out:\n");
    let look = text::Look { width: super::terminal_width(), classes: Some(20) };
    anstream::print!("{}", text::render(&evaluation, &look));
    Ok(())
}
