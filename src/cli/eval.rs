//! `otklik eval`: how good a head is.

mod aspects;
mod cold_start;
mod prequential;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use otklik::assembly::{self, LoadedEncoder};
use otklik::config::Config;
use otklik::inference::ComputePool;
use otklik::tagging::ExampleVectors;
use otklik::tagging::heads::{Head, LabelKind};
use otklik::training::evaluation::{Evaluation, EvaluationOptions, Judged, page, text};
use otklik::training::{HeadTrainer, LabelledRow, LabelledTable, TrainingError, deal, split, strata};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::learning::{LabelArgs, condition};
use super::train::HeadArgs;

/// The head in the folder that training writes.
const HEAD: &str = "head.safetensors";

/// What makes that folder one of models too: the encoder was tuned along with the head.
const REGISTRY: &str = "registry.toml";

/// Measure how well labels are told
///
/// Three ways: `--head` measures a trained head; `--train` trains on one table and measures on another; with neither, the table
/// is dealt into parts, and each is judged by a head trained on the others (cross-validation). Settings are always chosen on
/// training rows alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  otklik eval --data appeals.jsonl --label owner                            5-fold cross-validation
  otklik eval --train old.jsonl --data new.jsonl --label owner --report report.html
  otklik eval --train all.jsonl --train-only split=train --data all.jsonl --only split=test --label intent
  otklik eval --head heads/owner --data new.jsonl --label owner --precision 0.95
  otklik eval --data appeals.jsonl --label owner --json | jq .accuracy
  otklik eval --data reviews.jsonl --label aspects --aspects                sentiment topic by topic
  otklik eval --data appeals.jsonl --label topic --prequential              how soon corrections tell
  otklik eval --data appeals.jsonl --label topic --method language-model --sample 200      without any example

Exit status: 0 done, 1 a failure of otklik, 2 bad input.")]
pub struct EvalArgs {
    /// The labelled texts to measure on; `-` is standard input in JSON Lines
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Only rows of DATA with this value in this column; may be given more than once
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = condition)]
    only: Vec<(String, String)>,
    #[command(flatten)]
    labels: LabelArgs,
    /// Measure this trained head: its file, or the folder that `otklik train` wrote
    #[arg(long, value_name = "PATH", conflicts_with_all = ["train", "folds"])]
    head: Option<PathBuf>,
    /// Train on this table
    #[arg(long, value_name = "FILE", conflicts_with = "folds")]
    train: Option<PathBuf>,
    /// Only rows of TRAIN with this value in this column; may be given more than once
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = condition, requires = "train")]
    train_only: Vec<(String, String)>,
    /// Train on so many rows of each label only, drawn by the seed
    #[arg(long, value_name = "N", requires = "train")]
    per_label: Option<usize>,
    /// Parts that DATA is dealt into when neither a head nor a table to train on is given
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=100))]
    folds: u16,
    #[command(flatten)]
    making: HeadArgs,
    /// Measure the sentiment towards each topic of a text: NAME of --label holds mentions, a list of [topic, words, sentiment]
    /// with negative, neutral, positive or both; dots lead into objects, as in meta.aspects
    #[arg(long, conflicts_with_all = ["head", "train", "folds", "report", "all", "separator"])]
    aspects: bool,
    /// Measure how soon corrections tell: each row of DATA, in its order, is foretold and then corrected, as the service does with
    /// `CorrectTags`; beside it stands a head trained anew on all rows before
    #[arg(long, conflicts_with_all = ["head", "train", "folds", "all", "aspects"])]
    prequential: bool,
    /// With --prequential: rows after which the head is trained anew; 0 trains none
    #[arg(long, value_name = "N", default_value_t = 100, requires = "prequential")]
    retrain_every: usize,
    /// Tell labels from their names alone, as for a taxonomy without examples: by the encoder's closeness to them, or by a language
    /// model beside it
    #[arg(long, value_enum, conflicts_with_all = ["head", "train", "folds", "aspects", "prequential"])]
    method: Option<Method>,
    /// With --method: what labels mean, as JSON: {"label": "description"}; labels named here count even if no row has them
    #[arg(long, value_name = "FILE", requires = "method")]
    descriptions: Option<PathBuf>,
    /// With --method: measure on so many rows only, drawn by the seed
    #[arg(long, value_name = "N", requires = "method", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sample: Option<u32>,
    /// With --method language-model: fit its probabilities to so many other rows of DATA, drawn by the seed, as the service does to a
    /// taxonomy's own examples; 0 fits none
    #[arg(long, value_name = "N", requires = "method", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    fit: u32,
    /// With --method language-model: id of the model; without it as `models.language_model` says
    #[arg(long, value_name = "ID", requires = "method")]
    language_model: Option<String>,
    /// Accuracy wanted among the texts that are answered: the share that can be answered with it is told
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    precision: f32,
    /// Print all figures as JSON
    #[arg(long)]
    json: bool,
    /// Write a page with pictures: confusion matrix, reliability and coverage
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Show all labels, not only the most frequent
    #[arg(long)]
    all: bool,
}

/// How labels are told from their names alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// By the encoder: the name whose vector is nearest
    Prototypes,
    /// By a language model that is shown all names; the encoder's figures stand beside
    LanguageModel,
}

/// What the rows are judged by.
struct Bench<'a> {
    args: &'a EvalArgs,
    loaded: &'a LoadedEncoder,
    pool: &'a ComputePool,
}

/// Rows as they were judged, under these labels.
struct Outcome {
    labels: Vec<String>,
    kind: LabelKind,
    judged: Vec<Judged>,
}

impl EvalArgs {
    /// Title of a report.
    fn title(&self) -> String {
        format!("{}: {}", self.data.file_name().unwrap_or_default().to_string_lossy(), self.labels.label)
    }
}

/// Runs the command.
pub fn run(args: &EvalArgs, config: &Config) -> anyhow::Result<ExitCode> {
    if args.aspects {
        return aspects::run(args, config);
    }
    if let Some(method) = args.method {
        return cold_start::run(args, method, config);
    }
    if args.prequential {
        return prequential::run(args, config);
    }
    let options = EvaluationOptions { precision: args.precision, ..EvaluationOptions::default() };
    options.check().map_err(TrainingError::from)?;
    let data = args.labels.read(&args.data, &args.only)?;
    let train = args.train.as_ref().map(|path| args.labels.read(path, &args.train_only)).transpose()?;
    let config = with_encoder_of_head(args, config)?;
    let loaded = assembly::load_encoder(&config)?;
    let pool = assembly::start_pool(&config)?;
    let bench = Bench { args, loaded: &loaded, pool: &pool };
    let outcome = match (&args.head, train) {
        (Some(path), _) => bench.by_head(path, &data)?,
        (None, Some(train)) => bench.by_other_rows(&train, &data)?,
        (None, None) => bench.by_parts(&data)?,
    };
    let evaluation =
        Evaluation::of(&outcome.labels, outcome.kind.into(), &outcome.judged, &options).map_err(TrainingError::from)?;
    if let Some(path) = &args.report {
        let page = page::render(&evaluation, &args.title()).map_err(TrainingError::from)?;
        std::fs::write(path, page).with_context(|| format!("{} can't be written", path.display()))?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&evaluation)?);
    } else {
        let look = text::Look { width: super::terminal_width(), classes: (!args.all).then_some(20) };
        anstream::print!("{}", text::render(&evaluation, &look));
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration with the encoder that was tuned along with the head, if it was.
fn with_encoder_of_head(args: &EvalArgs, config: &Config) -> anyhow::Result<Config> {
    let mut config = config.clone();
    if let Some(folder) = args.head.as_ref().filter(|path| path.join(REGISTRY).is_file()) {
        config.models.encoder = Head::read_card(&folder.join(HEAD))?.encoder_id;
        config.models.dir = Some(folder.clone());
    }
    Ok(config)
}

impl Bench<'_> {
    fn by_head(&self, path: &std::path::Path, data: &LabelledTable) -> anyhow::Result<Outcome> {
        let file = if path.is_dir() { path.join(HEAD) } else { path.to_owned() };
        let head = Head::load(&file, &self.loaded.identity)?;
        let vectors = self.vectors(&data.rows)?;
        let trainer = self.trainer(&data.rows, head.card().kind, &vectors, head.card().ngrams)?;
        let all: Vec<usize> = (0..data.rows.len()).collect();
        let judged = self.pool.run_blocking(|| trainer.judge(&head, &all));
        Ok(Outcome { labels: head.card().labels.clone(), kind: head.card().kind, judged })
    }

    fn by_other_rows(&self, train: &LabelledTable, data: &LabelledTable) -> anyhow::Result<Outcome> {
        let rows: Vec<LabelledRow> = train.rows.iter().chain(&data.rows).cloned().collect();
        let (first, all): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|row| *row < train.rows.len());
        let first = match self.args.per_label {
            Some(most) => few_of_each(&rows, &first, most, self.args.making.seed),
            None => first,
        };
        let kind =
            if [train.kind, data.kind].contains(&LabelKind::Multi) { LabelKind::Multi } else { LabelKind::Single };
        let vectors = self.vectors(&rows)?;
        let options = self.args.making.options();
        let trainer = self.trainer(&rows, kind, &vectors, options.ngrams)?;
        let bar = self.args.labels.bar("training", 1);
        let fitted = self.pool.run_blocking(|| {
            trainer.fit(&first, &options, &self.loaded.identity, &|_, done, of| {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
                true
            })
        })?;
        bar.finish_and_clear();
        let judged = self.pool.run_blocking(|| trainer.judge(&fitted.head, &all));
        Ok(Outcome { labels: fitted.head.card().labels.clone(), kind, judged })
    }

    fn by_parts(&self, data: &LabelledTable) -> anyhow::Result<Outcome> {
        let vectors = self.vectors(&data.rows)?;
        let options = self.args.making.options();
        let trainer = self.trainer(&data.rows, data.kind, &vectors, options.ngrams)?;
        let parts = usize::from(self.args.folds);
        if parts > data.rows.len() {
            let problem = format!("{} rows can't be dealt into {parts} parts (--folds)", data.rows.len());
            return Err(TrainingError::Rows(problem).into());
        }
        let part_of = deal(&strata(&data.rows), parts, options.seed);
        let labels = data.labels();
        let bar = self.args.labels.bar("training on parts", parts as u64 * 100);
        let mut judged = Vec::with_capacity(data.rows.len());
        for part in 0..parts {
            let (held, kept) = split(&part_of, part);
            let fitted = self.pool.run_blocking(|| {
                trainer.fit(&kept, &options, &self.loaded.identity, &|_, done, of| {
                    bar.set_position((part * 100 + done * 100 / of.max(1)) as u64);
                    true
                })
            })?;
            let head = &fitted.head;
            let of_part = self.pool.run_blocking(|| trainer.judge(head, &held));
            judged.extend(of_part.into_iter().map(|judged| under(judged, &head.card().labels, &labels)));
        }
        bar.finish_and_clear();
        Ok(Outcome { labels, kind: data.kind, judged })
    }

    fn vectors(&self, rows: &[LabelledRow]) -> anyhow::Result<ExampleVectors> {
        self.args.labels.vectors_of(rows, self.loaded, self.pool)
    }

    fn trainer<'a>(
        &self,
        rows: &'a [LabelledRow],
        kind: LabelKind,
        vectors: &ExampleVectors,
        ngrams: otklik::tagging::heads::NgramSpec,
    ) -> anyhow::Result<HeadTrainer<'a>> {
        let name = &self.args.labels.label;
        Ok(self.pool.run_blocking(|| HeadTrainer::new(name, kind, rows, vectors, ngrams))?)
    }
}

/// At most so many rows of each label.
fn few_of_each(rows: &[LabelledRow], which: &[usize], most: usize, seed: u64) -> Vec<usize> {
    let mut order = which.to_vec();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut taken: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    order.retain(|row| {
        let labels = rows.get(*row).map_or(&[][..], |row| row.labels.as_slice());
        let wanted = labels.iter().any(|label| taken.get(label.as_str()).is_none_or(|count| *count < most));
        if wanted {
            labels.iter().for_each(|label| *taken.entry(label).or_default() += 1);
        }
        wanted
    });
    order
}

/// A row judged under the labels of its part, as judged under all labels: those that the part did not know have no probability.
fn under(mut judged: Judged, of_part: &[String], all: &[String]) -> Judged {
    use otklik::training::evaluation::TrueLabel;
    let place = |index: usize| all.binary_search(of_part.get(index)?).ok();
    let mut probabilities = vec![0.0; all.len()];
    for (index, probability) in judged.probabilities.iter().enumerate() {
        if let Some(slot) = place(index).and_then(|place| probabilities.get_mut(place)) {
            *slot = *probability;
        }
    }
    judged.probabilities = probabilities;
    judged.predicted = judged.predicted.iter().filter_map(|index| place(*index)).collect();
    judged.truth = judged
        .truth
        .into_iter()
        .map(|label| match label {
            TrueLabel::Known(index) => place(index).map_or_else(|| TrueLabel::Unknown(String::new()), TrueLabel::Known),
            TrueLabel::Unknown(name) => match all.binary_search(&name) {
                Ok(place) => TrueLabel::Known(place),
                Err(_) => TrueLabel::Unknown(name),
            },
        })
        .collect();
    judged
}
