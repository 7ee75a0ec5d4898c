//! `otklik eval --aspects`: sentiment topic by topic.

use std::process::ExitCode;

use otklik::assembly;
use otklik::config::Config;
use otklik::feedback::CharSpan;
use otklik::tables::Input;
use otklik::tagging::TaggingEngine;
use otklik::training::evaluation::{AspectEvaluation, JudgedMention};
use otklik::training::{AspectRow, read_aspects};

use super::EvalArgs;
use crate::cli::StartProgress;

pub(super) fn run(args: &EvalArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let labels = &args.labels;
    let input = if args.data.as_os_str() == "-" { Input::Stdin } else { Input::File(args.data.clone()) };
    let rows = read_aspects(&input, &labels.label, labels.text_column.as_deref(), &args.only)?;
    let engine = assembly::tagger(config, &mut StartProgress::default())?;
    let bar = labels.bar("reading texts", rows.len() as u64);
    let mut judged = Vec::new();
    for row in rows {
        judged.extend(judge(&engine, &row)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let evaluation = AspectEvaluation::of(&judged);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&evaluation)?);
    } else {
        anstream::print!("{}", evaluation.to_text());
    }
    Ok(ExitCode::SUCCESS)
}

fn judge(engine: &TaggingEngine, row: &AspectRow) -> anyhow::Result<Vec<JudgedMention>> {
    let places: Vec<CharSpan> = row.mentions.iter().filter_map(|mention| mention.place).collect();
    let sentiments = engine.sentiment_at(&row.text, &places)?;
    let mut of_places = sentiments.places.into_iter();
    let judged = row.mentions.iter().map(|mention| JudgedMention {
        row: row.number,
        topic: mention.topic.clone(),
        truth: mention.sentiment,
        own: mention.place.and_then(|_| of_places.next().flatten()).map(|sentiment| (sentiment.score, sentiment.label)),
        whole: sentiments.whole.map(|sentiment| sentiment.label),
    });
    Ok(judged.collect())
}
