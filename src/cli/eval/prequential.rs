//! `otklik eval --prequential`: how soon corrections tell, beside training anew.

use std::process::ExitCode;

use anyhow::Context;
use otklik::assembly;
use otklik::config::Config;
use otklik::tagging::TaggingEngine;
use otklik::tagging::corrections::Background;
use otklik::training::evaluation::page;
use otklik::training::{HeadTrainer, PrequentialOptions, Streamed, TrainingError, stream};

use super::EvalArgs;
use crate::cli::StartProgress;

/// Rows of one line of the table, and of the line at its end.
const BLOCK: usize = 200;
const LAST: usize = 500;

pub(super) fn run(args: &EvalArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let labels = &args.labels;
    let table = labels.read(&args.data, &args.only)?;
    let taxonomy = assembly::taxonomy_in_force(config)?;
    let loaded = assembly::load_encoder(config)?;
    let pool = assembly::start_pool(config)?;
    let examples = assembly::example_vectors(&loaded, &taxonomy, &pool, &mut StartProgress::default())?;
    let texts = TaggingEngine::example_texts(&taxonomy)?;
    let background = Background::of(texts.iter().filter_map(|text| examples.get(text)));
    let vectors = labels.vectors_of(&table.rows, &loaded, &pool)?;
    let top = vectors.top_dimension();
    // What the case store keeps, and the service compares texts by.
    let of_rows: Option<Vec<Vec<f32>>> =
        table.rows.iter().map(|row| Some(vectors.get(&row.text)?.get(..top)?.to_vec())).collect();
    let of_rows = of_rows.context("a row has no vector")?;
    let options = PrequentialOptions {
        max_corrections: config.tagging.max_corrections,
        retrain_every: args.retrain_every,
        block: BLOCK,
        last: LAST,
        head: args.making.options(),
    };
    let bar = labels.bar("foretelling and correcting", table.rows.len() as u64);
    let found = pool.run_blocking(|| {
        let trainer = HeadTrainer::new(&labels.label, table.kind, &table.rows, &vectors, options.head.ngrams)?;
        let progress = |done: usize| bar.set_position(done as u64);
        let streamed = Streamed {
            rows: &table.rows,
            vectors: &of_rows,
            kind: table.kind,
            trainer: &trainer,
            background: &background,
            encoder: &loaded.identity,
        };
        stream(&streamed, &options, &progress)
    })?;
    bar.finish_and_clear();
    if let Some(path) = &args.report {
        let page = page::render_stream(&found, &args.title()).map_err(TrainingError::from)?;
        std::fs::write(path, page).with_context(|| format!("{} can't be written", path.display()))?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        anstream::print!("{}", found.to_text());
    }
    Ok(ExitCode::SUCCESS)
}
