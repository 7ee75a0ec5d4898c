//! `otklik bench search`: whether the cases that a search finds belong with what was looked for, by labels that people gave.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use otklik::cases::{Case, NewCase, SearchMode, SimilarQuery, SimilarTo, TenantId};
use otklik::config::Config;
use otklik::feedback::Feedback;
use otklik::tables::Input;
use otklik::tagging::{Tagged, Tagger, TaggingEngine, Urgency};
use otklik::training::{LabelledRow, LabelledTable, TableOptions};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::cli::learning::{bar, condition};
use crate::cli::serve;

/// Texts that are tagged at once.
const AT_ONCE: usize = 64;
/// Cases of one call that stores.
const BATCH: usize = 256;
/// Draws of the intervals.
const DRAWS: usize = 2_000;

/// Measures whether similar cases are like, by labels of your own
#[derive(Debug, Args)]
#[command(after_help = "\
Every row is stored as a case in a store of its own, and then looked for among the others. Precision at k is the share of the k best
that carry the label of the row, over all rows: by meaning and words together, by meaning alone, and by words alone.

Examples:
  otklik bench search --data reviews.jsonl --label product
  otklik bench search --data appeals.csv --label owner --at 10 --json")]
pub struct SearchArgs {
    /// Table of labelled texts: JSON Lines, CSV or TSV; - for standard input
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Name of the label: a column, or in JSON Lines also a field of the object `labels`
    #[arg(long, value_name = "NAME")]
    label: String,
    /// Column of the text
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Only rows with this value in a column; can be repeated
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = condition)]
    only: Vec<(String, String)>,
    /// Most rows that are read
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    limit: Option<u64>,
    /// How many of the best are looked at
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    at: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Draw no progress
    #[arg(short, long)]
    quiet: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    rows: usize,
    labels: usize,
    at: u16,
    /// Of two rows drawn by chance, how often they carry one label.
    by_chance: f64,
    modes: Vec<Mode>,
}

#[derive(Debug, Serialize)]
struct Mode {
    mode: &'static str,
    /// Share of the k best that carry the label of the row, mean over rows.
    precision: f64,
    /// 95 % interval of that, by drawing rows anew.
    interval: [f64; 2],
    /// Share of rows with the label among the k best.
    found: f64,
    /// What the precision of all together has more, by the same draws; none for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    hybrid_gains: Option<[f64; 2]>,
}

/// Measures and prints.
pub fn run(args: &SearchArgs, mut config: Config) -> anyhow::Result<ExitCode> {
    let options = TableOptions {
        label: args.label.clone(),
        text_column: args.text_column.clone(),
        separator: None,
        only: args.only.clone(),
        limit: args.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
    };
    let input = if args.data.as_os_str() == "-" { Input::Stdin } else { Input::File(args.data.clone()) };
    let table = LabelledTable::read(&input, &options)?;
    let folder = std::env::temp_dir().join(format!("otklik-bench-search-{}", std::process::id()));
    config.cases.dir = folder.clone();
    config.cases.server_url = None;
    let measured = serve::runtime(&config)?.block_on(measure(args, &table, config));
    if folder.exists() {
        remove(&folder)?;
    }
    let measured = measured?;
    if args.json {
        anstream::println!("{}", serde_json::to_string_pretty(&measured)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Measured { rows, labels, at, by_chance, modes } = measured;
    anstream::println!(
        "{rows} cases of {labels} labels; the {at} best, of which by chance {by_chance:.3} carry the label"
    );
    for Mode { mode, precision, interval: [low, high], found, hybrid_gains } in modes {
        let gains = hybrid_gains.map(|[low, high]| format!("; hybrid has {low:+.3} to {high:+.3}")).unwrap_or_default();
        anstream::println!(
            "  {mode:<8} precision {precision:.3} ({low:.3} to {high:.3}), found by {found:.3} of rows{gains}"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("{} can't be removed", folder.display()))
}

async fn measure(args: &SearchArgs, table: &LabelledTable, config: Config) -> anyhow::Result<Measured> {
    let (engine, store) = serve::open(config).await?;
    let tenant = TenantId::default();
    let tagging = bar("tagging", table.rows.len() as u64, args.quiet);
    let cases = futures_util::stream::iter(table.rows.iter().enumerate())
        .map(|(id, row)| new_case(&engine, id, row))
        .buffered(AT_ONCE)
        .inspect(|_| tagging.inc(1));
    let mut batches = cases.try_chunks(BATCH);
    while let Some(batch) = batches.next().await {
        store.upsert(&tenant, batch.map_err(|error| error.1)?).await?;
    }
    drop(batches);
    tagging.finish_and_clear();

    let searching = bar("searching", (SearchMode::ALL.len() * table.rows.len()) as u64, args.quiet);
    let mut right = Vec::new();
    for mode in SearchMode::ALL {
        let mut shares = Vec::with_capacity(table.rows.len());
        for (id, row) in table.rows.iter().enumerate() {
            let to = SimilarTo::CaseId(id.to_string());
            let usual = SimilarQuery::new(to, usize::from(args.at));
            let query = SimilarQuery { mode: *mode, fold_duplicates: false, ..usual };
            let hits = store.find_similar(&tenant, query).await?.hits;
            let like = hits.iter().filter(|hit| carries(table, &hit.case.id, row)).count();
            shares.push(like as f64 / f64::from(args.at));
            searching.inc(1);
        }
        right.push((*mode, shares));
    }
    searching.finish_and_clear();
    store.close().await?;
    Ok(Measured {
        rows: table.rows.len(),
        labels: table.labels().len(),
        at: args.at,
        by_chance: by_chance(table),
        modes: judged(&right),
    })
}

async fn new_case(engine: &Arc<TaggingEngine>, id: usize, row: &LabelledRow) -> anyhow::Result<NewCase> {
    let feedback = Feedback::from_text(id.to_string(), row.text.clone());
    let Tagged { tags, vector, .. } = engine
        .tag(feedback.clone(), Urgency::BULK)
        .await
        .with_context(|| format!("row {} can't be tagged", row.number))?;
    Ok(NewCase { case: Case::new(feedback, tags, Timestamp::now()), vector, request_id: None })
}

/// Whether a case carries a label of a row.
fn carries(table: &LabelledTable, id: &str, row: &LabelledRow) -> bool {
    let case = id.parse().ok().and_then(|id: usize| table.rows.get(id));
    case.is_some_and(|case| case.labels.iter().any(|label| row.labels.contains(label)))
}

fn by_chance(table: &LabelledTable) -> f64 {
    let rows = table.rows.len() as f64;
    let of_label = |label: &String| table.rows.iter().filter(|row| row.labels.contains(label)).count() as f64;
    let labels: BTreeSet<String> = table.labels().into_iter().collect();
    labels.iter().map(of_label).map(|count| count * (count - 1.0)).sum::<f64>() / (rows * (rows - 1.0)).max(1.0)
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

/// Figures of each mode, with intervals over the same draws of rows.
fn judged(right: &[(SearchMode, Vec<f64>)]) -> Vec<Mode> {
    let hybrid = right.iter().find(|(mode, _)| *mode == SearchMode::Hybrid).map(|(_, shares)| shares.as_slice());
    right
        .iter()
        .map(|(mode, shares)| {
            let gains = hybrid.filter(|_| *mode != SearchMode::Hybrid).map(|hybrid| {
                let apart: Vec<f64> = hybrid.iter().zip(shares).map(|(hybrid, own)| hybrid - own).collect();
                interval(&apart)
            });
            Mode {
                mode: mode.as_str(),
                precision: mean(shares.iter().copied()),
                interval: interval(shares),
                found: mean(shares.iter().map(|share| if *share > 0.0 { 1.0 } else { 0.0 })),
                hybrid_gains: gains,
            }
        })
        .collect()
}

/// The middle 95 % of means of rows drawn anew.
fn interval(values: &[f64]) -> [f64; 2] {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut draw = || {
        let drawn = (0..values.len()).map(|_| values.get(random.random_range(0..values.len())).copied().unwrap_or(0.0));
        mean(drawn)
    };
    let mut means: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
    means.sort_by(f64::total_cmp);
    [super::quantile(&means, 0.025), super::quantile(&means, 0.975)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_hold_the_mean_and_narrow_with_rows() {
        let values = |rows: usize| -> Vec<f64> { (0..rows).map(|row| (row % 5) as f64 / 4.0).collect() };
        let [few_low, few_high] = interval(&values(50));
        let [low, high] = interval(&values(2_000));
        assert!(few_low < low && low < 0.5 && 0.5 < high && high < few_high);
        assert_eq!(interval(&[1.0; 9]), [1.0, 1.0]);
    }

    #[test]
    fn gains_are_of_hybrid_over_the_others() {
        let right = [
            (SearchMode::Hybrid, vec![1.0, 1.0, 0.5]),
            (SearchMode::Meaning, vec![0.5, 0.5, 0.0]),
            (SearchMode::Words, vec![1.0, 1.0, 0.5]),
        ];
        let modes = judged(&right);
        let gains: Vec<_> = modes.iter().map(|mode| mode.hybrid_gains).collect();
        assert_eq!(gains, [None, Some([0.5, 0.5]), Some([0.0, 0.0])]);
        assert_eq!(modes[1].found, 2.0 / 3.0);
    }
}
