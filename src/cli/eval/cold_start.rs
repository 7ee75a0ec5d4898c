//! `otklik eval --method`: labels told from their names alone.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use otklik::assembly::{self, LoadedEncoder};
use otklik::config::Config;
use otklik::inference::{ComputePool, LanguageModel};
use otklik::prompts::PromptLanguage;
use otklik::tagging::consult::{Chooser, FIRST_PATIENCE, LabelledText, Making, MenuTopic, Menus};
use otklik::tagging::heads::LabelKind;
use otklik::tags::{Language, TopicId};
use otklik::text::prepare;
use otklik::training::evaluation::{Evaluation, EvaluationOptions, Judged, Task, TrueLabel, page, text};
use otklik::training::{LabelledRow, TrainingError, name_as_text};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{EvalArgs, Method};
use crate::cli::learning;

/// What cosines are multiplied by before they are made probabilities: those of texts in one domain lie within some hundredths.
const SHARPNESS: f32 = 50.0;

/// How good one way of telling labels is.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    ms_per_text: f64,
    evaluation: Evaluation,
}

/// All ways that were measured on the same rows.
#[derive(Debug, Serialize)]
struct ColdStart {
    rows: usize,
    labels: usize,
    prototypes: Told,
    #[serde(skip_serializing_if = "Option::is_none")]
    language_model: Option<Told>,
}

/// The labels and the rows.
struct Question {
    labels: Vec<String>,
    descriptions: BTreeMap<String, String>,
    rows: Vec<LabelledRow>,
    /// Rows that a model's probabilities are fitted to, which it is not measured on.
    to_fit: Vec<LabelledRow>,
}

pub(super) fn run(args: &EvalArgs, method: Method, config: &Config) -> anyhow::Result<ExitCode> {
    let options = EvaluationOptions { precision: args.precision, ..EvaluationOptions::default() };
    options.check().map_err(TrainingError::from)?;
    let question = Question::read(args)?;
    let mut config = config.clone();
    if args.language_model.is_some() {
        config.models.language_model.clone_from(&args.language_model);
    }
    let model = match method {
        Method::Prototypes => None,
        Method::LanguageModel => Some(assembly::open_language_model(&config)?),
    };
    let loaded = assembly::load_encoder(&config)?;
    let pool = assembly::start_pool(&config)?;
    let measured = |judged: Vec<Judged>, model: Option<String>, spent: Duration| -> anyhow::Result<Told> {
        let ms_per_text = spent.as_secs_f64() * 1e3 / judged.len().max(1) as f64;
        let evaluation = Evaluation::of(&question.labels, Task::SingleLabel, &judged, &options);
        Ok(Told { model, ms_per_text, evaluation: evaluation.map_err(TrainingError::from)? })
    };
    let began = Instant::now();
    let judged = question.by_prototypes(args, &loaded, &pool)?;
    let prototypes = measured(judged, None, began.elapsed())?;
    let language_model = match model {
        None => None,
        Some(model) => {
            let runtime = tokio::runtime::Runtime::new().context("the async runtime can't be started")?;
            let patience = Duration::from_millis(config.tagging.consult_timeout_ms) * FIRST_PATIENCE;
            let id = model.id().to_owned();
            let (judged, spent) = runtime.block_on(question.by_model(args, model, patience))?;
            Some(measured(judged, Some(id), spent)?)
        }
    };
    let (rows, labels) = (question.rows.len(), question.labels.len());
    show(args, &ColdStart { rows, labels, prototypes, language_model })?;
    Ok(ExitCode::SUCCESS)
}

fn show(args: &EvalArgs, measured: &ColdStart) -> anyhow::Result<()> {
    let asked = measured.language_model.as_ref().unwrap_or(&measured.prototypes);
    if let Some(path) = &args.report {
        let page = page::render(&asked.evaluation, &args.title()).map_err(TrainingError::from)?;
        std::fs::write(path, page).with_context(|| format!("{} can't be written", path.display()))?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(measured)?);
        return Ok(());
    }
    anstream::println!("{} rows, {} labels told from their names\n", measured.rows, measured.labels);
    anstream::println!("{:<32}{:>10}{:>10}{:>14}", "", "accuracy", "top 3", "ms a text");
    for told in std::iter::once(&measured.prototypes).chain(&measured.language_model) {
        let Evaluation { accuracy, top3, .. } = told.evaluation;
        let name = told.model.as_deref().unwrap_or("closeness to the names");
        anstream::println!("{name:<32}{accuracy:>10.3}{top3:>10.3}{:>14.1}", told.ms_per_text);
    }
    let look = text::Look { width: crate::cli::terminal_width(), classes: (!args.all).then_some(20) };
    anstream::print!("\n{}", text::render(&asked.evaluation, &look));
    Ok(())
}

impl Question {
    fn read(args: &EvalArgs) -> anyhow::Result<Self> {
        let table = args.labels.read(&args.data, &args.only)?;
        if table.kind == LabelKind::Multi {
            let problem = "labels that are told from their names are one a row; some rows have several".to_owned();
            return Err(TrainingError::Rows(problem).into());
        }
        let descriptions: BTreeMap<String, String> = match &args.descriptions {
            Some(path) => {
                let shown = path.display();
                let wrong = |problem: String| TrainingError::Rows(format!("{shown}: {problem}"));
                let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
                serde_json::from_str(&text)
                    .map_err(|error| wrong(format!("{error}; an object of labels and descriptions is wanted")))?
            }
            None => BTreeMap::new(),
        };
        let labels: BTreeSet<String> = table.labels().into_iter().chain(descriptions.keys().cloned()).collect();
        let mut rows = table.rows;
        rows.shuffle(&mut ChaCha8Rng::seed_from_u64(args.making.seed));
        let to_fit = rows.split_off(rows.len().saturating_sub(usize::try_from(args.fit)?));
        if let Some(most) = args.sample {
            rows.truncate(usize::try_from(most)?);
        }
        if rows.is_empty() {
            let problem = format!("no row is left to be measured: {} are fitted to (--fit)", to_fit.len());
            return Err(TrainingError::Rows(problem).into());
        }
        Ok(Self { labels: labels.into_iter().collect(), descriptions, rows, to_fit })
    }

    fn judged(&self, row: &LabelledRow, probabilities: Vec<f32>) -> Judged {
        let truth = |label: &String| match self.labels.binary_search(label) {
            Ok(place) => TrueLabel::Known(place),
            Err(_) => TrueLabel::Unknown(label.clone()),
        };
        Judged {
            row: usize::try_from(row.number).unwrap_or(usize::MAX),
            text: row.text.clone(),
            truth: row.labels.iter().map(truth).collect(),
            probabilities,
            predicted: Vec::new(),
        }
    }

    /// Closeness of texts to the names and descriptions of labels.
    fn by_prototypes(
        &self,
        args: &EvalArgs,
        loaded: &LoadedEncoder,
        pool: &ComputePool,
    ) -> anyhow::Result<Vec<Judged>> {
        let named = |label: &String| match self.descriptions.get(label) {
            Some(description) => format!("{}. {description}", name_as_text(label)),
            None => name_as_text(label),
        };
        let names: Vec<String> = self.labels.iter().map(named).collect();
        let mut vectors = args.labels.vectors_of(&self.rows, loaded, pool)?;
        learning::complete(&mut vectors, &names, loaded, pool, None, args.labels.quiet)?;
        let top = vectors.top_dimension();
        let vector = |text: &str| vectors.get(text).and_then(|vector| vector.get(..top));
        let judge = |row: &LabelledRow| {
            let of_text = vector(&row.text).with_context(|| format!("row {} has no vector", row.number))?;
            let cosine = |name: &String| {
                let of_name = vector(name).unwrap_or_default();
                of_name.iter().zip(of_text).map(|(one, other)| one * other).sum::<f32>()
            };
            let mut shares: Vec<f32> = names.iter().map(|name| SHARPNESS * cosine(name)).collect();
            let most = shares.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            shares.iter_mut().for_each(|share| *share = (*share - most).exp());
            let sum: f32 = shares.iter().sum();
            shares.iter_mut().for_each(|share| *share /= sum);
            Ok(self.judged(row, shares))
        };
        self.rows.iter().map(judge).collect()
    }

    /// What a language model chooses among the names, and the time that it took for the rows.
    async fn by_model(
        &self,
        args: &EvalArgs,
        model: std::sync::Arc<dyn LanguageModel>,
        patience: Duration,
    ) -> anyhow::Result<(Vec<Judged>, Duration)> {
        let topic = |label: &String| MenuTopic {
            id: TopicId::new(label.as_str()),
            name: name_as_text(label),
            description: self.descriptions.get(label).cloned().unwrap_or_default(),
        };
        let topics: Vec<MenuTopic> = self.labels.iter().map(topic).collect();
        let languages: Vec<PromptLanguage> = self.rows.iter().map(|row| language_of(&row.text)).collect();
        // What is fitted needs its language too.
        let asked: BTreeSet<PromptLanguage> =
            languages.iter().copied().chain(self.to_fit.iter().map(|row| language_of(&row.text))).collect();
        let chooser =
            |language: &PromptLanguage| Chooser::new(model.clone(), Menus::of_topics(topics.clone(), *language));
        let choosers: Vec<Chooser> = asked.iter().map(chooser).collect();
        let texts: Vec<LabelledText> = self.to_fit.iter().filter_map(labelled).collect();
        let making = Making { choosers: &choosers, texts: &texts, patience };
        let bar = args.labels.bar("calibrating", 1);
        let told = |done: usize, of: usize| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        };
        let calibration = making.make(told).await.context("the model can't be calibrated")?;
        bar.finish_and_clear();
        let bar = args.labels.bar("asking about texts", self.rows.len() as u64);
        let began = Instant::now();
        let mut judged = Vec::with_capacity(self.rows.len());
        for (row, language) in self.rows.iter().zip(languages) {
            let chooser = choosers.iter().find(|chooser| chooser.menus().language() == language);
            let chooser = chooser.context("there are no names in the language of a row")?;
            let chosen = chooser.choose(&row.text, &calibration, Some(Instant::now() + patience)).await;
            let chosen = chosen.with_context(|| format!("row {}", row.number))?;
            let of_label = |label: &String| {
                chosen.topics.iter().find(|(id, _)| id.as_str() == label).map_or(0.0, |(_, share)| *share)
            };
            judged.push(self.judged(row, self.labels.iter().map(of_label).collect()));
            bar.inc(1);
        }
        let spent = began.elapsed();
        bar.finish_and_clear();
        Ok((judged, spent))
    }
}

/// A row to be fitted to.
fn labelled(row: &LabelledRow) -> Option<LabelledText> {
    let topic = TopicId::new(row.labels.first()?.as_str());
    Some(LabelledText { language: language_of(&row.text), text: row.text.clone(), topic, group: None })
}

/// The language that a model is asked in about a text.
fn language_of(text: &str) -> PromptLanguage {
    match prepare(text).language() {
        Language::English => PromptLanguage::English,
        Language::Russian | Language::Mixed | Language::Other | Language::Unknown => PromptLanguage::Russian,
    }
}
