//! What a run would change, with nothing written.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::tables::OutputFormat;
use crate::tagging::Tagger;

use super::RetagError;
use super::earlier::{MainTags, TagColumns};
use super::plan::{Plan, PlannedFile};
use super::rows::RetagOptions;
use super::sample::Draw;
use super::summary::{BadFile, Counts, Watch};

/// Examples of a move that are kept, and characters of each.
const EXAMPLES: usize = 3;
const EXAMPLE_CHARS: usize = 160;

/// Rows that went from one topic or team to another, or stayed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Move {
    /// As an earlier run had it; `None` is no topic.
    pub from: Option<String>,
    /// As it is now.
    pub to: Option<String>,
    /// How many rows.
    pub rows: u64,
    /// Masked texts of some of them, if `from` is not `to`.
    pub examples: Vec<String>,
}

/// What a run would change.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Preview {
    /// What was done with the rows.
    pub counts: Counts,
    /// Rows that have tags of an earlier run; only these are in the moves.
    pub compared: u64,
    /// From the old first topic to the new one, the most rows first.
    pub topics: Vec<Move>,
    /// From the old team to the new one, the most rows first.
    pub teams: Vec<Move>,
    /// Rows of each team by the earlier tags.
    pub load_before: BTreeMap<String, u64>,
    /// Rows of each team by the new tags.
    pub load_after: BTreeMap<String, u64>,
    /// Mean confidence of the first topic by the earlier tags, of compared rows that have one.
    pub confidence_before: Option<f64>,
    /// Mean confidence of the first topic by the new tags, of the compared rows (or, with nothing to compare, of all) that have one.
    pub confidence_after: Option<f64>,
    /// Files that can't be read.
    pub bad_files: Vec<BadFile>,
}

/// Tags the rows that are drawn and compares them with their earlier tags. Writes nothing.
///
/// # Errors
/// [`RetagError`] of reading and tagging.
pub async fn preview(
    plan: &Plan,
    options: &RetagOptions,
    tagger: Arc<dyn Tagger>,
    watch: &mut dyn Watch,
) -> Result<Preview, RetagError> {
    let (planned, opts) = (plan.clone(), options.clone());
    let draw = spawn_blocking(move || Draw::new(opts.sample, opts.seed, &planned, &opts.reading)).await;
    let draw = draw.map_err(|error| RetagError::Thread(error.to_string()))?;
    let mut gathered = Gathered::default();
    let mut bytes = 0;
    for file in &plan.files {
        match gather(file, options, draw, &tagger, bytes, &mut gathered, watch).await {
            Err(error) if error.is_bad_file() && options.skip_bad_files => {
                let bad = BadFile { name: file.name.clone(), reason: error.to_string() };
                watch.passed_over(&bad);
                gathered.bad_files.push(bad);
            }
            done => done?,
        }
        bytes += file.bytes;
    }
    Ok(gathered.finish())
}

async fn gather(
    file: &PlannedFile,
    options: &RetagOptions,
    draw: Draw,
    tagger: &Arc<dyn Tagger>,
    bytes_before: u64,
    gathered: &mut Gathered,
    watch: &mut dyn Watch,
) -> Result<(), RetagError> {
    let format = OutputFormat::of_path(&file.path).unwrap_or(OutputFormat::Jsonl);
    let columns = TagColumns::new(&options.tag_prefix, format);
    let (planned, opts) = (file.clone(), options.clone());
    let opened = spawn_blocking(move || opts.open(&planned)).await;
    let reader = opened.map_err(|error| RetagError::Thread(error.to_string()))??;
    let mut outcomes = pin!(options.tag_file(file, reader, 0, draw, &columns, tagger)?);
    while let Some(outcome) = outcomes.next().await {
        match outcome?.result {
            Ok(tagged) => {
                gathered.add(tagged.earlier.as_ref(), &MainTags::from(&tagged.tags), &tagged.tags.masked_text);
                watch.advanced(&file.name, bytes_before + tagged.row.position, &gathered.counts);
            }
            Err(_) => gathered.count_failed(),
        }
    }
    Ok(())
}

type Moves = BTreeMap<(Option<String>, Option<String>), (u64, Vec<String>)>;

#[derive(Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        self.sum += value.unwrap_or_default();
        self.count += u64::from(value.is_some());
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// What was compared so far.
#[derive(Default)]
pub(super) struct Gathered {
    counts: Counts,
    compared: u64,
    topics: Moves,
    teams: Moves,
    load_before: BTreeMap<String, u64>,
    load_after: BTreeMap<String, u64>,
    before: Mean,
    after: Mean,
    after_of_all: Mean,
    bad_files: Vec<BadFile>,
}

impl Gathered {
    /// Counts one text with its earlier tags, if there are any.
    pub fn add(&mut self, earlier: Option<&MainTags>, now: &MainTags, masked_text: &str) {
        self.counts.count(earlier, now);
        self.after_of_all.add(now.confidence);
        if let Some(team) = &now.team {
            *self.load_after.entry(team.clone()).or_default() += 1;
        }
        let Some(earlier) = earlier else { return };
        self.compared += 1;
        self.before.add(earlier.confidence);
        self.after.add(now.confidence);
        if let Some(team) = &earlier.team {
            *self.load_before.entry(team.clone()).or_default() += 1;
        }
        let first = |tags: &MainTags| tags.topic().map(str::to_owned);
        add_move(&mut self.topics, first(earlier), first(now), masked_text);
        add_move(&mut self.teams, earlier.team.clone(), now.team.clone(), masked_text);
    }

    /// Counts a text that could not be tagged.
    pub fn count_failed(&mut self) {
        self.counts.count_failed();
    }

    /// What it comes to.
    pub fn finish(self) -> Preview {
        let after = if self.compared > 0 { self.after.value() } else { self.after_of_all.value() };
        Preview {
            counts: self.counts,
            compared: self.compared,
            topics: in_order(self.topics),
            teams: in_order(self.teams),
            load_before: self.load_before,
            load_after: self.load_after,
            confidence_before: self.before.value(),
            confidence_after: after,
            bad_files: self.bad_files,
        }
    }
}

fn add_move(moves: &mut Moves, from: Option<String>, to: Option<String>, masked_text: &str) {
    let moved = from != to;
    let (rows, examples) = moves.entry((from, to)).or_default();
    *rows += 1;
    if moved && examples.len() < EXAMPLES {
        let line = masked_text.split_whitespace().collect::<Vec<_>>().join(" ");
        examples.push(match line.char_indices().nth(EXAMPLE_CHARS) {
            Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
            None => line,
        });
    }
}

fn in_order(moves: Moves) -> Vec<Move> {
    let to_move = |((from, to), (rows, examples))| Move { from, to, rows, examples };
    let mut moves: Vec<Move> = moves.into_iter().map(to_move).collect();
    moves.sort_by_key(|one| std::cmp::Reverse(one.rows));
    moves
}
