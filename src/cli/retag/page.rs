//! What a run will do, did, or would change, for people and as JSON.

use std::fmt::Write;
use std::time::Duration;

use otklik::retag::{BadFile, Counts, Move, Outputs, Plan, Preview, Start, Summary};
use otklik::tags::{Provenance, TeamId, TopicId};
use serde::Serialize;

use super::super::render::{NameLanguage, Names};

/// Moves that a page shows.
const MOVES: usize = 15;
/// Topics that a page names.
const TOPICS: usize = 5;

/// A share in percent.
pub fn share(part: u64, of: u64) -> String {
    format!("{:.1}%", part as f64 * 100.0 / of.max(1) as f64)
}

/// So many of what is counted: "1 file", "2 files".
fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// The most frequent topics with their shares.
pub fn top_topics(counts: &Counts, most: usize, name: impl Fn(&str) -> String) -> String {
    let topics = counts.top_topics().into_iter().take(most);
    let shares: Vec<String> =
        topics.map(|(topic, rows)| format!("{} {}", name(topic), share(rows, counts.tagged))).collect();
    if shares.is_empty() { "no topics".to_owned() } else { shares.join(", ") }
}

/// What is about to be done.
pub fn intention(
    plan: &Plan,
    outputs: Option<&Outputs>,
    start: Option<Start>,
    made_by: &Provenance,
    taxonomy: &str,
) -> String {
    let size = match plan.rows() {
        Some(rows) => counted(rows, "row"),
        None => bytes(plan.bytes()),
    };
    let others = match plan.left_alone {
        0 => String::new(),
        1 => " (1 other file is left alone)".to_owned(),
        others => format!(" ({others} other files are left alone)"),
    };
    let mut page = format!("reads      {}, {size}{others}\n", counted(plan.files.len() as u64, "file"));
    let sha256 = made_by.encoder_sha256.get(..12).unwrap_or(&made_by.encoder_sha256);
    let heads = counted(made_by.heads.len() as u64, "head");
    page += &format!("model      {} {sha256}, {heads}\n", made_by.encoder_id);
    page += &format!("taxonomy   {taxonomy} {}\n", made_by.taxonomy_version);
    match outputs {
        None => page += "writes     nothing: a dry run\n",
        Some(Outputs { targets, parts, .. }) => {
            let to = match targets.as_slice() {
                [one] => one.path.display().to_string(),
                several => format!("{} and below", folder_of(several.iter().map(|target| target.path.as_path()))),
            };
            page += &format!("writes     {to}; until it is whole in {}\n", parts.display());
        }
    }
    match start {
        None => {}
        Some(Start::Anew) => page += "begins     at the first row\n",
        Some(Start::GoesOn { rows, files }) => {
            let (rows, files) = (counted(rows, "row"), counted(files as u64, "file"));
            page += &format!("goes on    after {rows} done, {files} whole\n");
        }
    }
    page
}

/// The folder that all paths lie below.
fn folder_of<'a>(mut paths: impl Iterator<Item = &'a std::path::Path>) -> String {
    let first = paths.next().and_then(std::path::Path::parent).unwrap_or(std::path::Path::new(""));
    let common = paths.fold(first, |common, path| {
        common.ancestors().find(|folder| path.starts_with(folder)).unwrap_or(std::path::Path::new(""))
    });
    common.display().to_string()
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..=99_999 => format!("{:.1} kB", bytes as f64 / 1e3),
        100_000..=999_999_999 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// What was done, in words.
pub fn summary_in_words(
    summary: &Summary,
    elapsed: Duration,
    outputs: &Outputs,
    name: impl Fn(&str) -> String,
) -> String {
    let Summary { counts, rows_now, files, bad_files } = summary;
    let seconds = elapsed.as_secs_f64();
    let rate = *rows_now as f64 / seconds.max(1e-3);
    let mut lines = vec![format!(
        "{} of {} tagged; {} now, in {seconds:.1} s ({rate:.1} rows/s)",
        counted(counts.tagged, "row"),
        counted(*files as u64, "file"),
        counted(*rows_now, "row")
    )];
    if counts.changed + counts.unchanged > 0 {
        let changed = share(counts.changed, counts.changed + counts.unchanged);
        lines.push(format!("changed: {} ({changed}); unchanged: {}", counts.changed, counts.unchanged));
    }
    if counts.tagged > 0 {
        let abstained = share(counts.abstained, counts.tagged);
        lines.push(format!("topics: {}; no topic {abstained}", top_topics(counts, TOPICS, name)));
    }
    if counts.failed > 0 {
        let failed = share(counts.failed, counts.rows_read);
        lines.push(format!(
            "warning: {} ({failed}) could not be tagged: {}",
            counted(counts.failed, "row"),
            outputs.errors.display()
        ));
    }
    lines.extend(bad_files.iter().map(|BadFile { name, reason }| format!("warning: {name} was passed over: {reason}")));
    lines.join("\n")
}

#[derive(Serialize)]
struct SummaryJson<'a> {
    rows_read: u64,
    tagged: u64,
    changed: u64,
    unchanged: u64,
    abstained: u64,
    failed: u64,
    rows_now: u64,
    seconds: f64,
    rows_per_s: f64,
    files: usize,
    bad_files: &'a [BadFile],
    topics: &'a std::collections::BTreeMap<String, u64>,
    made_by: &'a Provenance,
}

/// What was done, as JSON.
pub fn summary_as_json(summary: &Summary, elapsed: Duration, made_by: &Provenance) -> serde_json::Result<String> {
    let Summary { counts, rows_now, files, bad_files } = summary;
    let seconds = (elapsed.as_secs_f64() * 1e3).round() / 1e3;
    serde_json::to_string_pretty(&SummaryJson {
        rows_read: counts.rows_read,
        tagged: counts.tagged,
        changed: counts.changed,
        unchanged: counts.unchanged,
        abstained: counts.abstained,
        failed: counts.failed,
        rows_now: *rows_now,
        seconds,
        rows_per_s: (*rows_now as f64 / seconds.max(1e-3) * 10.0).round() / 10.0,
        files: *files,
        bad_files,
        topics: &counts.topics,
        made_by,
    })
}

/// What would change, in words.
pub fn preview_in_words(preview: &Preview, names: &dyn Names, language: NameLanguage) -> String {
    let Preview { counts, compared, .. } = preview;
    let topic = |id: &str| names.topic(&TopicId::new(id), language);
    let team = |id: &str| names.team(&TeamId::new(id), language);
    let mut page = format!(
        "{} read, {} failed, {compared} compared with earlier tags\n",
        counted(counts.rows_read, "row"),
        counts.failed
    );
    page += &format!(
        "topics: {}; no topic {}\n",
        top_topics(counts, TOPICS, topic),
        share(counts.abstained, counts.tagged)
    );
    let mean = |mean: Option<f64>| mean.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.3}"));
    if *compared > 0 {
        page += &format!("changed: {} ({})\n", counts.changed, share(counts.changed, *compared));
        let (before, after) = (mean(preview.confidence_before), mean(preview.confidence_after));
        page += &format!("mean confidence of the first topic: {before} before, {after} after\n");
        page += &moves("main topic", &preview.topics, topic);
        page += &moves("team", &preview.teams, team);
    } else {
        page += &format!("mean confidence of the first topic: {}\n", mean(preview.confidence_after));
    }
    page += "\nload of teams (rows before, after)\n";
    let teams: std::collections::BTreeSet<&String> =
        preview.load_before.keys().chain(preview.load_after.keys()).collect();
    for id in teams {
        let of = |load: &std::collections::BTreeMap<String, u64>| load.get(id).copied().unwrap_or_default();
        let (before, after) = (of(&preview.load_before), of(&preview.load_after));
        let before = if *compared > 0 { before.to_string() } else { "-".to_owned() };
        let _ = writeln!(page, "{before:>8} {after:>8}  {}", team(id));
    }
    for BadFile { name, reason } in &preview.bad_files {
        let _ = writeln!(page, "warning: {name} was passed over: {reason}");
    }
    page
}

/// The largest moves, with examples of texts.
fn moves(what: &str, all: &[Move], name: impl Fn(&str) -> String) -> String {
    let moved: Vec<&Move> = all.iter().filter(|one| one.from != one.to).collect();
    let stayed: u64 = all.iter().filter(|one| one.from == one.to).map(|one| one.rows).sum();
    let rows: u64 = moved.iter().map(|one| one.rows).sum();
    let mut page = format!("\n{what}: {} the same, {rows} moved\n", counted(stayed, "row"));
    let name = |id: &Option<String>| id.as_deref().map_or_else(|| "(none)".to_owned(), &name);
    for one in moved.iter().take(MOVES) {
        let _ = writeln!(page, "{:>8}  {} -> {}", one.rows, name(&one.from), name(&one.to));
        for example in &one.examples {
            let _ = writeln!(page, "            {example}");
        }
    }
    if moved.len() > MOVES {
        let _ =
            writeln!(page, "          and {}; --json shows all", counted((moved.len() - MOVES) as u64, "other move"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::super::super::render::tests::Ids;
    use super::*;

    #[test]
    fn moves_are_shown_with_examples_and_teams_with_their_load() {
        let one = |from: Option<&str>, to: Option<&str>, rows: u64, example: &str| Move {
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            rows,
            examples: vec![example.to_owned()],
        };
        let preview = Preview {
            counts: Counts { rows_read: 10, tagged: 10, changed: 4, unchanged: 6, ..Counts::default() },
            compared: 10,
            topics: vec![one(Some("cards"), Some("cards"), 6, ""), one(Some("cards"), None, 4, "карта [CARD]")],
            load_before: [("lending".to_owned(), 3)].into(),
            confidence_before: Some(0.5),
            ..Preview::default()
        };
        let page = preview_in_words(&preview, &Ids, NameLanguage::En);
        for part in [
            "changed: 4 (40.0%)",
            "0.500 before, - after",
            "main topic: 6 rows the same, 4 moved",
            "-> (none)",
            "карта [CARD]",
        ] {
            assert!(page.contains(part), "no {part:?} in\n{page}");
        }
    }

    #[test]
    fn one_is_not_counted_as_several() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "file")), ["0 files", "1 file", "2 files"]);
        let preview = Preview { counts: Counts { rows_read: 1, ..Counts::default() }, ..Preview::default() };
        assert!(preview_in_words(&preview, &Ids, NameLanguage::En).starts_with("1 row read, 0 failed"));
    }

    #[test]
    fn folders_above_all_paths_are_named() {
        let paths = ["out/a/b.csv", "out/c.csv"].map(std::path::Path::new);
        assert_eq!(folder_of(paths.into_iter()), "out");
    }
}
