//! Whole runs with a tagger that answers by the words of a text.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::feedback::{Body, Feedback};
use crate::tables::{Input, Preparation, ReaderOptions, TableReader};
use crate::tagging::corrections::CorrectedCase;
use crate::tagging::{Party, Tagged, Tagger, TaggerCounts, TaggingError, Urgency};
use crate::tags::{Provenance, TeamId, TopicId};

use super::*;

/// Gives each text the topic that is its first word; fails from a certain call on.
pub(super) struct FakeTagger {
    taxonomy: &'static str,
    calls: AtomicU64,
    fails_at: u64,
}

impl FakeTagger {
    pub(super) fn new(taxonomy: &'static str, fails_at: u64) -> Arc<Self> {
        Arc::new(Self { taxonomy, calls: AtomicU64::new(0), fails_at })
    }
}

fn made_by(taxonomy: &str) -> Provenance {
    serde_json::from_value(json!({
        "otklik_version": "0", "taxonomy_version": taxonomy, "encoder_id": "e", "encoder_sha256": "ff",
        "prototypes_version": "p",
    }))
    .unwrap()
}

#[async_trait]
impl Tagger for FakeTagger {
    async fn tag(&self, feedback: Feedback, _: Urgency) -> Result<Tagged, TaggingError> {
        let Body::Text(text) = &feedback.body else { panic!("texts only") };
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 >= self.fails_at {
            return Err(TaggingError::Internal("the model fell over".into()));
        }
        if text == "invalid" {
            return Err(TaggingError::Invalid { field: "text".into(), problem: "too odd".into() });
        }
        let word = text.split(' ').next().unwrap_or_default();
        let topic = if self.taxonomy == "new" && word == "cards" { "loans" } else { word };
        let topics = if word == "none" {
            json!([])
        } else {
            json!([{"topic_id": topic, "confidence": 0.93, "source": "head", "evidence": [],
                    "sentiment": {"label": "neutral", "score": 0.1, "confidence": 0.5}}])
        };
        let tags = json!({
            "id": feedback.id, "language": "ru", "topics": topics, "sentiment": null, "signals": [],
            "team": {"team_id": format!("team-{topic}"), "confidence": 0.9, "reason": "r"}, "review": {"needed": false},
            "masked_text": format!("masked {text}"), "tokens": 3, "provenance": made_by(self.taxonomy),
        });
        Ok(Tagged { tags: serde_json::from_value(tags).unwrap(), vector: Vec::new(), reading: None })
    }

    async fn learn(&self, _: Party, _: Vec<CorrectedCase>) -> Result<(), TaggingError> {
        unreachable!("files correct nothing")
    }

    async fn forget(&self, _: Party, _: Vec<String>) -> Result<(), TaggingError> {
        unreachable!("files erase nothing")
    }

    fn knows_topic(&self, _: &TopicId) -> bool {
        true
    }

    fn knows_team(&self, _: &TeamId) -> bool {
        true
    }

    fn counts(&self) -> TaggerCounts {
        TaggerCounts::default()
    }

    fn provenance(&self) -> Provenance {
        made_by(self.taxonomy)
    }
}

pub(super) struct Silent;

impl Watch for Silent {
    fn advanced(&mut self, _: &str, _: u64, _: &Counts) {}

    fn passed_over(&mut self, _: &BadFile) {}
}

pub(super) fn options() -> RetagOptions {
    RetagOptions {
        reading: ReaderOptions::default(),
        preparation: Preparation {
            kind: None,
            channel: None,
            product: None,
            partner: None,
            transcript: false,
            split_turns: |_| None,
        },
        tag_prefix: String::new(),
        sample: None,
        seed: 0,
        part_rows: 10,
        skip_bad_files: false,
    }
}

/// One start of a run over the folder `in` to `out`, both below `folder`.
struct Job<'a> {
    folder: &'a Path,
    options: RetagOptions,
    tagger: Arc<FakeTagger>,
    restart: bool,
    output: &'a str,
    input: &'a str,
}

impl<'a> Job<'a> {
    fn new(folder: &'a Path) -> Self {
        let tagger = FakeTagger::new("old", u64::MAX);
        Self { folder, options: options(), tagger, restart: false, output: "out", input: "in" }
    }

    fn plan(&self) -> Plan {
        Plan::new(&[self.folder.join(self.input).display().to_string()]).unwrap()
    }

    async fn run(self) -> Result<Summary, RetagError> {
        let plan = self.plan();
        let outputs = plan.outputs(&self.folder.join(self.output)).unwrap();
        let made_by = self.tagger.provenance();
        RetagRun::prepare(plan, outputs, self.options, BTreeMap::new(), made_by, self.restart)?
            .run(self.tagger, &mut Silent)
            .await
    }
}

pub(super) fn table(rows: usize) -> String {
    let row = |index: usize| match index % 7 {
        0 => format!("{index},cards no {index}\n"),
        1 => format!("{index},none\n"),
        _ => format!("{index},fees no {index}\n"),
    };
    format!("id,text\n{}", (0..rows).map(row).collect::<String>())
}

/// A folder `in` of three tables, one of them compressed.
pub(super) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("in/sub")).unwrap();
    fs::write(folder.path().join("in/a.csv"), table(33)).unwrap();
    let rows: String = (0..25).map(|index| format!("{{\"text\":\"fees {index}\",\"n\":0.1}}\n")).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(rows.as_bytes()).unwrap();
    fs::write(folder.path().join("in/sub/b.jsonl.gz"), gzip.finish().unwrap()).unwrap();
    fs::write(folder.path().join("in/c.tsv"), table(12).replace(',', "\t")).unwrap();
    folder
}

/// Every file below `folder` by its name, with its content.
pub(super) fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path))
        } else {
            drop(files.insert(path.clone(), fs::read(&path).unwrap()))
        }
    }
    files
}

pub(super) async fn undisturbed() -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = folder();
    Job::new(folder.path()).run().await.unwrap();
    relative(content(folder.path()), folder.path())
}

pub(super) fn relative(files: BTreeMap<PathBuf, Vec<u8>>, root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files.into_iter().map(|(path, bytes)| (path.strip_prefix(root).unwrap().to_owned(), bytes)).collect()
}

#[tokio::test]
async fn rows_keep_their_columns_and_order_and_tags_of_before_are_replaced() {
    let folder = folder();
    let summary = Job::new(folder.path()).run().await.unwrap();
    assert_eq!((summary.counts.rows_read, summary.counts.tagged, summary.files), (70, 70, 3));
    assert_eq!((summary.counts.changed, summary.counts.unchanged, summary.counts.abstained), (0, 0, 7));
    assert!(!folder.path().join("out.parts").exists() && !folder.path().join("out.errors.jsonl").exists());
    let text = fs::read_to_string(folder.path().join("out/a.csv")).unwrap();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("id,text,topics,topic_confidence,"));
    assert!(lines.next().unwrap().starts_with("0,cards no 0,cards,0.930,"));
    assert_eq!(text.lines().count(), 34);

    // The output is the next run's input.
    let again =
        Job { tagger: FakeTagger::new("new", u64::MAX), input: "out", output: "out2", ..Job::new(folder.path()) };
    let summary = again.run().await.unwrap();
    assert_eq!((summary.counts.changed, summary.counts.unchanged), (7, 63));
    let text = fs::read_to_string(folder.path().join("out2/a.csv")).unwrap();
    assert!(
        text.contains("0,cards no 0,loans,0.930,") && text.lines().all(|line| line.split(',').count() == 15),
        "{text}"
    );
    let input = Input::File(folder.path().join("out2/sub/b.jsonl.gz"));
    let rows: Vec<_> = TableReader::open(&input, &ReaderOptions::default()).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 25);
    assert_eq!(rows[3].columns.keys().collect::<Vec<_>>(), ["text", "n", "tags"]);
    assert_eq!(rows[3].columns["tags"]["provenance"]["taxonomy_version"], "new");
}

#[tokio::test]
async fn parquet_in_and_out_has_the_same_rows() {
    let folder = folder();
    let one = |input, output| Job { input, output, ..Job::new(folder.path()) };
    one("in/a.csv", "a.parquet").run().await.unwrap();
    let plan = one("a.parquet", "b.parquet").plan();
    assert_eq!(plan.rows(), Some(33));
    let summary = one("a.parquet", "b.parquet").run().await.unwrap();
    assert_eq!((summary.counts.unchanged, summary.counts.changed), (33, 0));
    assert_eq!(fs::read(folder.path().join("a.parquet")).unwrap(), fs::read(folder.path().join("b.parquet")).unwrap());
}

#[tokio::test]
async fn a_run_that_is_stopped_anywhere_ends_as_an_undisturbed_one() {
    let expected = undisturbed().await;
    for fails_at in [1, 5, 11, 30, 34, 40, 69] {
        let folder = folder();
        let stopped = Job { tagger: FakeTagger::new("old", fails_at), ..Job::new(folder.path()) };
        assert!(matches!(stopped.run().await, Err(RetagError::Tagging { .. })), "{fails_at}");
        let job = Job::new(folder.path());
        let tagger = Arc::clone(&job.tagger);
        let summary = job.run().await.unwrap();
        assert_eq!(summary.counts.rows_read, 70, "{fails_at}");
        assert_eq!(tagger.calls.load(Ordering::SeqCst), summary.rows_now, "{fails_at}");
        assert!(fails_at < 34 || summary.rows_now < 40, "{fails_at}: {} rows again", summary.rows_now);
        assert_eq!(relative(content(folder.path()), folder.path()), expected, "{fails_at}");
    }
}

#[tokio::test]
async fn a_damaged_or_lost_part_is_tagged_again() {
    let expected = undisturbed().await;
    for damage in ["truncate", "remove"] {
        let folder = folder();
        let stopped = Job { tagger: FakeTagger::new("old", 32), ..Job::new(folder.path()) };
        stopped.run().await.unwrap_err();
        let mut parts: Vec<PathBuf> = content(&folder.path().join("out.parts")).into_keys().collect();
        parts.retain(|path| !path.ends_with("journal.jsonl"));
        assert!(parts.len() >= 2, "{parts:?}");
        match damage {
            "truncate" => File::options().write(true).open(&parts[1]).unwrap().set_len(10).unwrap(),
            _ => fs::remove_file(&parts[0]).unwrap(),
        }
        Job::new(folder.path()).run().await.unwrap();
        assert_eq!(relative(content(folder.path()), folder.path()), expected, "{damage}");
    }
}

#[tokio::test]
async fn another_taxonomy_or_other_arguments_are_refused_unless_restarted() {
    let folder = folder();
    Job { tagger: FakeTagger::new("old", 30), ..Job::new(folder.path()) }.run().await.unwrap_err();
    let new = || Job { tagger: FakeTagger::new("new", u64::MAX), ..Job::new(folder.path()) };
    let error = new().run().await.unwrap_err();
    assert!(error.is_bad_input());
    let message = error.to_string();
    assert!(message.contains("the taxonomy was old and is new") && message.contains("--restart"), "{message}");
    let seeded = Job { options: RetagOptions { seed: 7, ..options() }, ..Job::new(folder.path()) };
    assert!(seeded.run().await.unwrap_err().to_string().contains("--seed \"0\", not \"7\""));
    let summary = Job { restart: true, ..new() }.run().await.unwrap();
    assert_eq!((summary.counts.rows_read, summary.rows_now), (70, 70));
    assert!(fs::read_to_string(folder.path().join("out/a.csv")).unwrap().contains("loans"));
}

#[tokio::test]
async fn an_input_that_changed_is_named_and_the_run_goes_on_when_it_is_put_back() {
    let expected = undisturbed().await;
    let folder = folder();
    let path = folder.path().join("in/a.csv");
    Job { tagger: FakeTagger::new("old", 30), ..Job::new(folder.path()) }.run().await.unwrap_err();
    let (bytes, time) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    fs::write(&path, [&bytes[..], b"99,more\n"].concat()).unwrap();
    let message = Job::new(folder.path()).run().await.unwrap_err().to_string();
    assert!(message.contains("a.csv: its size changed"), "{message}");
    fs::remove_file(&path).unwrap();
    let message = Job::new(folder.path()).run().await.unwrap_err().to_string();
    assert!(message.contains("a.csv: was begun and is not among the inputs"), "{message}");
    fs::write(&path, bytes).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    Job::new(folder.path()).run().await.unwrap();
    assert_eq!(relative(content(folder.path()), folder.path()), expected);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_told_and_the_run_goes_on_after_it() {
    let expected = undisturbed().await;
    let folder = folder();
    fs::create_dir(folder.path().join("out.parts")).unwrap();
    fs::write(folder.path().join("out.parts/journal.jsonl"), "").unwrap();
    // What the second part of a.csv is written to is full.
    Job { tagger: FakeTagger::new("old", 15), ..Job::new(folder.path()) }.run().await.unwrap_err();
    let part =
        content(&folder.path().join("out.parts")).into_keys().find(|path| path.to_string_lossy().contains("-000000"));
    let partial = part.unwrap().to_string_lossy().replace("-000000.jsonl", "-000002.partial");
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    let error = Job::new(folder.path()).run().await.unwrap_err();
    assert!(!error.is_bad_input() && error.to_string().contains("No space left on device"), "{error}");
    Job::new(folder.path()).run().await.unwrap();
    assert_eq!(relative(content(folder.path()), folder.path()), expected);
}

#[tokio::test]
async fn files_that_can_not_be_read_stop_the_run_or_are_passed_over() {
    let folder = folder();
    let gzip = folder.path().join("in/sub/b.jsonl.gz");
    let bytes = fs::read(&gzip).unwrap();
    fs::write(&gzip, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(folder.path().join("in/b.parquet"), b"PAR1 half of a file").unwrap();
    let error = Job::new(folder.path()).run().await.unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("b.parquet"), "{error}");
    assert!(folder.path().join("out/a.csv").exists(), "what others gave is kept");

    let options = RetagOptions { skip_bad_files: true, ..options() };
    let summary = Job { options, ..Job::new(folder.path()) }.run().await.unwrap();
    let bad: Vec<&str> = summary.bad_files.iter().map(|bad| bad.name.as_str()).collect();
    assert_eq!((bad, summary.files), (vec!["b.parquet", "sub/b.jsonl.gz"], 2));
    assert_eq!(summary.counts.rows_read, 45, "rows of the outputs, and none of files that were passed over");
    assert!(summary.bad_files[1].reason.contains("b.jsonl.gz"), "{:?}", summary.bad_files);
    assert!(folder.path().join("out/c.tsv").exists() && !folder.path().join("out/sub/b.jsonl.gz").exists());
    assert!(!folder.path().join("out.parts").exists());
}

#[tokio::test]
async fn rows_that_can_not_be_tagged_go_to_a_file_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    fs::write(folder.path().join("in/a.csv"), "id,text\n1,fees\n2,\n3,invalid\n4,a,b\n5,fees\n").unwrap();
    fs::write(folder.path().join("in/b.jsonl"), "{\"text\":\"fees\"}\n{\n{\"text\":\"a\",\"tags\":1}\n").unwrap();
    let summary = Job::new(folder.path()).run().await.unwrap();
    assert_eq!((summary.counts.rows_read, summary.counts.tagged, summary.counts.failed), (8, 3, 5));
    let errors = fs::read_to_string(folder.path().join("out.errors.jsonl")).unwrap();
    let errors: Vec<Value> = errors.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let places: Vec<(&str, u64)> =
        errors.iter().map(|error| (error["file"].as_str().unwrap(), error["row"].as_u64().unwrap())).collect();
    assert_eq!(places, [("a.csv", 3), ("a.csv", 4), ("a.csv", 5), ("b.jsonl", 2), ("b.jsonl", 3)]);
    assert_eq!(errors[1]["reason"], "text: too odd");
    assert!(fs::read_to_string(folder.path().join("out/a.csv")).unwrap().lines().count() == 3);
    // A run without such rows leaves no file of an earlier one.
    fs::write(folder.path().join("in/a.csv"), "text\nfees\n").unwrap();
    fs::remove_file(folder.path().join("in/b.jsonl")).unwrap();
    Job::new(folder.path()).run().await.unwrap();
    assert!(!folder.path().join("out.errors.jsonl").exists());
}

#[tokio::test]
async fn a_column_of_another_origin_is_refused_before_a_row_is_tagged() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    fs::write(folder.path().join("in/a.csv"), "team,text\n1,fees\n").unwrap();
    let job = Job::new(folder.path());
    let tagger = Arc::clone(&job.tagger);
    let message = job.run().await.unwrap_err().to_string();
    assert!(message.contains("a.csv") && message.contains("\"team\""), "{message}");
    assert_eq!(tagger.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn samples_are_the_same_rows_also_after_a_stop() {
    let folder = folder();
    let sampled = |output, fails_at| Job {
        options: RetagOptions { sample: Some(Sample::Rows(40)), part_rows: 3, ..options() },
        tagger: FakeTagger::new("old", fails_at),
        output,
        ..Job::new(folder.path())
    };
    assert_eq!(sampled("whole", u64::MAX).run().await.unwrap().counts.rows_read, 40);
    sampled("stopped", 20).run().await.unwrap_err();
    sampled("stopped", u64::MAX).run().await.unwrap();
    let files = |output: &str| relative(content(&folder.path().join(output)), &folder.path().join(output));
    assert_eq!(files("whole"), files("stopped"));
}

#[tokio::test]
async fn a_preview_shows_moves_and_writes_nothing() {
    let folder = folder();
    Job { output: "tagged", ..Job::new(folder.path()) }.run().await.unwrap();
    let before = content(folder.path());
    let plan = Job { input: "tagged", ..Job::new(folder.path()) }.plan();
    let shown = preview(&plan, &options(), FakeTagger::new("new", u64::MAX), &mut Silent).await.unwrap();
    assert_eq!(content(folder.path()), before);
    assert_eq!((shown.compared, shown.counts.changed), (70, 7));
    let moved: Vec<_> = shown.topics.iter().filter(|one| one.from != one.to).collect();
    let [one] = moved.as_slice() else { panic!("{moved:?}") };
    assert_eq!((one.from.as_deref(), one.to.as_deref(), one.rows), (Some("cards"), Some("loans"), 7));
    assert_eq!(one.examples, ["masked cards no 0", "masked cards no 7", "masked cards no 14"]);
    assert_eq!((shown.load_before["team-cards"], shown.load_after["team-loans"]), (7, 7));
    assert!(!shown.load_after.contains_key("team-cards"));
    let (was, is) = (shown.confidence_before.unwrap(), shown.confidence_after.unwrap());
    assert!((was - 0.93).abs() < 1e-6 && (is - 0.93).abs() < 1e-6);
}
