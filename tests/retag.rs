//! `otklik retag` as its users run it, killed at random moments: the output must be that of an undisturbed run, to the byte.
//!
//! `OTKLIK_KILLS` sets the number of kills, `OTKLIK_KILL_ROWS` the rows, `OTKLIK_KILL_SEED` repeats a run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The program with nothing of the caller's environment that it would listen to, working in `folder`.
fn otklik(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otklik"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTKLIK_")) {
        command.env_remove(name);
    }
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    command.env("OTKLIK_MODELS_DIR", models).env_remove("RUST_LOG").current_dir(folder).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

const TEXTS: &[&str] = &[
    "Третий день не работает касса, банк шлёт к партнёру",
    "Курьер не привёз карту и не позвонил",
    "Спасибо, всё отлично",
    "The app logs me out every morning",
    "Списали комиссию за перевод, верните деньги",
];

/// A folder `in` of so many rows in three formats, and a bad one.
fn inputs(folder: &Path, rows: usize) {
    let input = folder.join("in");
    std::fs::create_dir_all(input.join("calls")).unwrap();
    let text = |row: usize| format!("{} {row}", TEXTS[row % TEXTS.len()]);
    let csv: String = (0..rows / 2).map(|row| format!("{row},\"{}\"\n", text(row))).collect();
    std::fs::write(input.join("a.csv"), format!("id,text\n{csv}bad\n")).unwrap();
    let json: String = (0..rows / 3).map(|row| format!("{{\"text\":\"{}\",\"n\":{row}}}\n", text(row))).collect();
    std::fs::write(input.join("calls/b.jsonl"), json).unwrap();
    let tsv: String = (0..rows - rows / 2 - rows / 3).map(|row| format!("{}\t{row}\n", text(row))).collect();
    std::fs::write(input.join("c.tsv"), format!("text\tid\n{tsv}")).unwrap();
}

fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path))
        } else {
            drop(files.insert(path.clone(), std::fs::read(&path).unwrap()))
        }
    }
    files
}

fn below(folder: &Path, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = folder.join(name);
    content(&root).into_iter().map(|(path, bytes)| (path.strip_prefix(&root).unwrap().to_owned(), bytes)).collect()
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_an_undisturbed_one() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("OTKLIK_KILLS").unwrap_or(4);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut seed = number("OTKLIK_KILL_SEED").unwrap_or(clock);
    let rows = number("OTKLIK_KILL_ROWS").unwrap_or(300);
    println!("OTKLIK_KILL_SEED={seed} OTKLIK_KILLS={kills} OTKLIK_KILL_ROWS={rows}");
    // So small that a run gets some of them done before it is killed.
    let part_rows = (rows / 43.max(kills * 4)).max(1).to_string();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path();
    inputs(folder, rows as usize);
    let retag = |out: &str| {
        let mut command = otklik(folder);
        command.args(["retag", "in", "--out", out, "--part-rows", &part_rows, "--json"]);
        command
    };

    let begun = Instant::now();
    let (code, summary, errors) = run(&mut retag("whole"));
    assert_eq!(code, 0, "{errors}");
    let whole = begun.elapsed();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["rows_read"], &summary["failed"]), (&(rows + 1).into(), &1.into()));

    let mut killed = 0;
    for round in 0..kills {
        // SplitMix64.
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let share = ((mixed ^ (mixed >> 27)) % 1_000) as f64 / 1_000.0;
        let mut child = retag("out").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // So that most of them fall into the run, however many they are.
        let begins = whole.mul_f64(0.1).min(Duration::from_secs(1));
        let life: Duration = begins + whole.mul_f64(1.8 * share / kills as f64);
        std::thread::sleep(life);
        child.kill().unwrap();
        let ended_before = child.wait().unwrap().code().is_some();
        killed += u64::from(!ended_before);
        let journal = std::fs::read_to_string(folder.join("out.parts/journal.jsonl")).unwrap_or_default();
        println!("round {round}: killed after {life:?}, journal of {} lines", journal.lines().count());
    }
    println!("{killed} of {kills} were killed before they ended");
    let (code, summary, errors) = run(&mut retag("out"));
    assert_eq!(code, 0, "{errors}");
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["rows_read"], &summary["failed"]), (&(rows + 1).into(), &1.into()));
    assert_eq!(below(folder, "whole"), below(folder, "out"));
    let errors = |out: &str| std::fs::read(folder.join(format!("{out}.errors.jsonl"))).unwrap();
    assert_eq!(errors("whole"), errors("out"));
    assert!(!folder.join("out.parts").exists());

    // What would change: nothing, and nothing is written.
    let before = content(folder);
    let (code, page, errors) = run(otklik(folder).args(["retag", "out", "--dry-run", "--sample", "30", "--json"]));
    assert_eq!(code, 0, "{errors}");
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!((&page["compared"], &page["counts"]["changed"]), (&30.into(), &0.into()));
    assert_eq!(content(folder), before);
}

#[test]
fn bad_arguments_and_too_many_bad_rows_have_their_exit_code() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path();
    inputs(folder, 300);
    let refused: &[(&[&str], &str)] = &[
        (&["retag", "no.csv", "--out", "out"], "no such file"),
        (&["retag", "in", "--out", "in/out"], "the output lies among the inputs"),
        (&["retag", "in"], "--out"),
        (&["retag", "in", "--out", "out", "--sample", "0%"], "is no sample"),
        (&["retag", "in/a.csv", "--out", "out.csv", "--max-errors", "0"], "more than --max-errors 0"),
    ];
    for (arguments, message) in refused {
        let (code, _, errors) = run(otklik(folder).args(*arguments));
        assert_eq!(code, 2, "{arguments:?}: {errors}");
        assert!(errors.contains(message), "{arguments:?}: {errors}");
    }
    // What could be tagged is there nevertheless.
    assert_eq!(std::fs::read_to_string(folder.join("out.csv")).unwrap().lines().count(), 151);
}
