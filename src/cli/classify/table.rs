//! Tags a table: one thread reads, the texts in flight are tagged side by side, one thread writes, rows keep their order.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use otklik::tables::{
    Destination, Input, OutputFormat, Preparation, ReaderOptions, Row, RowPlace, TableError, TableReader, TableWriter,
    WriterOptions,
};
use otklik::tagging::{TEXTS_IN_FLIGHT, Tagger, TaggingError, tag_patiently};
use otklik::tags::Tags;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::progress::{Progress, Summary};
use super::{Failure, OnError};

/// Rows that wait before those that are tagged, and behind them.
const WAITING: usize = 64;
/// How long an interrupted writer may take to remove its file.
const CLEANUP_PATIENCE: Duration = Duration::from_secs(5);

/// What to do with a table.
#[derive(Debug, Clone)]
pub struct TableJob {
    /// Where it comes from.
    pub input: Input,
    /// How it is read.
    pub reading: ReaderOptions,
    /// Where it goes.
    pub destination: Destination,
    /// In which format.
    pub output_format: OutputFormat,
    /// What the names of the tags' columns begin with.
    pub tag_prefix: String,
    /// What a bad row does.
    pub on_error: OnError,
    /// How many rows to read at most.
    pub limit: Option<u64>,
    /// True to draw no progress.
    pub quiet: bool,
    /// What is done to each row before it is tagged.
    pub preparation: Preparation,
}

struct TaggedRow {
    row: Row,
    tags: Tags,
}

/// Why a row has no tags.
enum RowFailure {
    /// The row is at fault; its place is part of the message.
    Bad(String),
    /// Nothing more can be tagged.
    Fatal(Failure),
}

enum ToWriter {
    Row(Box<TaggedRow>),
    /// Every row was sent: the file is whole.
    Finish,
}

/// Runs the job. Until it returns `Ok`, nothing stands under the output's name.
pub async fn tag_table(job: TableJob, tagger: Arc<dyn Tagger>) -> Result<Summary, Failure> {
    job.destination.refuse_input(&job.input).map_err(Failure::input)?;
    let reader = TableReader::open(&job.input, &job.reading).map_err(Failure::input)?;
    let options = WriterOptions {
        header: reader.header(),
        types: reader.types(),
        dialect: reader.dialect(),
        tag_prefix: job.tag_prefix.clone(),
    };
    let writer = TableWriter::create(&job.destination, job.output_format, options).map_err(Failure::input)?;
    let total = match &job.input {
        Input::File(path) => std::fs::metadata(path).ok().filter(|metadata| metadata.is_file()).map(|file| file.len()),
        Input::Stdin => None,
    };
    let progress = Progress::start(total, job.quiet);

    let rows = read_on_a_thread(reader, job.limit)?;
    let (to_writer, from_tagger) = mpsc::channel(WAITING);
    let mut written = write_on_a_thread(writer, from_tagger, job.destination == Destination::Stdout)?;

    let outcome = tokio::select! {
        outcome = tag_rows(rows, &job, tagger, to_writer, &progress) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
    };
    // Its channel is closed by now, with or without a finish: the writer ends, and without one removes what it wrote.
    let patience = if outcome.is_ok() { Duration::MAX } else { CLEANUP_PATIENCE };
    let written = tokio::select! {
        written = tokio::time::timeout(patience, &mut written) => written,
        // The last rows may wait for a reader of the pipe who never comes; a file is whole in a moment.
        _ = tokio::signal::ctrl_c(), if job.destination == Destination::Stdout => return Err(Failure::Interrupted),
    };
    match (outcome, written) {
        // What the writer says is why the tagger could not hand it more.
        (_, Ok(Ok(Err(error)))) if error.is_broken_pipe() && job.destination == Destination::Stdout => {
            Err(Failure::ReaderGone)
        }
        (Err(Failure::Interrupted), _) => Err(Failure::Interrupted),
        (_, Ok(Ok(Err(error @ TableError::ColumnTaken { .. })))) => Err(Failure::input(error)),
        (_, Ok(Ok(Err(error)))) => Err(Failure::Ours(error.into())),
        (Err(failure), _) => Err(failure),
        (Ok(_), Ok(Err(_)) | Err(_)) => Err(Failure::Ours(anyhow::anyhow!("the writing thread ended early"))),
        (Ok(mut summary), Ok(Ok(Ok(())))) => {
            summary.elapsed = progress.end();
            Ok(summary)
        }
    }
}

/// Tags rows and hands them to the writer in order, until the table ends or a row fails.
async fn tag_rows(
    rows: mpsc::Receiver<Result<Row, TableError>>,
    job: &TableJob,
    tagger: Arc<dyn Tagger>,
    to_writer: mpsc::Sender<ToWriter>,
    progress: &Progress,
) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    let mut tagged =
        ReceiverStream::new(rows).map(|row| tag_row(row, &job.preparation, tagger.clone())).buffered(TEXTS_IN_FLIGHT);
    while let Some(row) = tagged.next().await {
        match row {
            Ok(tagged) => {
                summary.count(&tagged.tags);
                let position = tagged.row.position;
                if to_writer.send(ToWriter::Row(tagged)).await.is_err() {
                    return Err(Failure::Ours(anyhow::anyhow!("the output could not be written")));
                }
                progress.advance(position, &summary);
            }
            Err(RowFailure::Bad(message)) => match job.on_error {
                OnError::Skip => {
                    summary.skipped += 1;
                    progress.say(&message);
                }
                OnError::Stop => {
                    let no_file = if job.destination == Destination::Stdout { "" } else { ", no file was written" };
                    let hint = format!("stopped at the first bad row{no_file}; --on-error skip leaves bad rows out");
                    return Err(Failure::Input(anyhow::anyhow!("{message}\n{hint}")));
                }
            },
            Err(RowFailure::Fatal(failure)) => return Err(failure),
        }
    }
    if to_writer.send(ToWriter::Finish).await.is_err() {
        return Err(Failure::Ours(anyhow::anyhow!("the output could not be written")));
    }
    Ok(summary)
}

async fn tag_row(
    row: Result<Row, TableError>,
    preparation: &Preparation,
    tagger: Arc<dyn Tagger>,
) -> Result<Box<TaggedRow>, RowFailure> {
    let mut row = match row {
        Ok(row) => row,
        Err(TableError::Row(error)) => return Err(RowFailure::Bad(error.to_string())),
        Err(error) => return Err(RowFailure::Fatal(Failure::input(error))),
    };
    let place = row.place;
    let bad = |message: String| RowFailure::Bad(format!("{place}: {message}"));
    preparation.apply(&mut row.feedback).map_err(bad)?;
    match tag_patiently(&row.feedback, tagger.as_ref()).await {
        Ok(tagged) => Ok(Box::new(TaggedRow { row, tags: tagged.tags })),
        Err(error @ TaggingError::Invalid { .. }) => Err(bad(error.to_string())),
        Err(error) => Err(RowFailure::Fatal(Failure::Ours(our_fault(place, error)))),
    }
}

fn our_fault(place: RowPlace, error: TaggingError) -> anyhow::Error {
    anyhow::Error::new(error).context(place.to_string())
}

/// A thread of its own, as reading a pipe may block for ever and nothing must wait for it when the command ends.
fn read_on_a_thread(
    reader: TableReader,
    limit: Option<u64>,
) -> Result<mpsc::Receiver<Result<Row, TableError>>, Failure> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let read = move || {
        for row in reader.take(limit) {
            if sender.blocking_send(row).is_err() {
                break;
            }
        }
    };
    thread::Builder::new()
        .name("read-table".to_owned())
        .spawn(read)
        .context("cannot start a thread")
        .map_err(Failure::Ours)?;
    Ok(receiver)
}

fn write_on_a_thread(
    writer: TableWriter,
    rows: mpsc::Receiver<ToWriter>,
    someone_watches: bool,
) -> Result<oneshot::Receiver<Result<(), TableError>>, Failure> {
    let (sender, receiver) = oneshot::channel();
    let write = move || {
        // The receiver is gone only when the command ended without waiting any longer.
        let _ = sender.send(write_rows(writer, rows, someone_watches));
    };
    thread::Builder::new()
        .name("write-table".to_owned())
        .spawn(write)
        .context("cannot start a thread")
        .map_err(Failure::Ours)?;
    Ok(receiver)
}

/// Writes rows until told to finish; if the channel closes before that, the unfinished table is dropped.
fn write_rows(
    mut writer: TableWriter,
    mut rows: mpsc::Receiver<ToWriter>,
    someone_watches: bool,
) -> Result<(), TableError> {
    loop {
        let next = match rows.try_recv() {
            Ok(next) => Some(next),
            Err(_) => {
                if someone_watches {
                    writer.flush()?;
                }
                rows.blocking_recv()
            }
        };
        match next {
            Some(ToWriter::Row(tagged)) => writer.write(&tagged.row, &tagged.tags)?,
            Some(ToWriter::Finish) => return writer.finish(),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use async_trait::async_trait;
    use otklik::feedback::{Body, Feedback};
    use otklik::tagging::corrections::CorrectedCase;
    use otklik::tagging::{Party, Tagged, TaggerCounts, Urgency};
    use otklik::tags::{Provenance, TeamId, TopicId};
    use serde_json::{Value, json};

    use super::super::super::render::tests::{Ids, tags};
    use super::super::run;
    use super::super::tests::{job, parse};
    use super::*;

    /// Answers after a time that its text and a seed decide; texts of certain words fail.
    struct FakeTagger {
        seed: u64,
        calls: AtomicUsize,
        at_once: AtomicUsize,
        most_at_once: AtomicUsize,
    }

    impl FakeTagger {
        fn new(seed: u64) -> Arc<Self> {
            let zero = || AtomicUsize::new(0);
            Arc::new(Self { seed, calls: zero(), at_once: zero(), most_at_once: zero() })
        }
    }

    #[async_trait]
    impl Tagger for FakeTagger {
        async fn tag(&self, feedback: Feedback, _: Urgency) -> Result<Tagged, TaggingError> {
            let call = self.calls.fetch_add(1, Ordering::SeqCst) as u64;
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(now, Ordering::SeqCst);
            let scrambled = (call + 1).wrapping_mul(self.seed | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58;
            tokio::time::sleep(Duration::from_millis(scrambled)).await;
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            let Body::Text(text) = &feedback.body else { panic!("texts only") };
            match text.as_str() {
                "invalid" => Err(TaggingError::Invalid { field: "text".into(), problem: "too odd".into() }),
                "broken" => Err(TaggingError::Internal("the model fell over".into())),
                "busy" if call.is_multiple_of(2) => Err(TaggingError::Overloaded { queued: 2, limit: 1 }),
                _ => {
                    let tags = Tags { id: feedback.id, ..tags(json!({})) };
                    Ok(Tagged { tags, vector: Vec::new(), reading: None })
                }
            }
        }

        async fn learn(&self, _: Party, _: Vec<CorrectedCase>) -> Result<(), TaggingError> {
            unreachable!("a table corrects nothing")
        }

        async fn forget(&self, _: Party, _: Vec<String>) -> Result<(), TaggingError> {
            unreachable!("a table erases nothing")
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
            tags(json!({})).provenance
        }
    }

    async fn tag(folder: &Path, arguments: &[&str], seed: u64) -> (Result<Summary, Failure>, Arc<FakeTagger>) {
        let paths = arguments.iter().map(|argument| match argument.strip_prefix("./") {
            Some(name) => folder.join(name).display().to_string(),
            None => (*argument).to_owned(),
        });
        let args: Vec<String> = paths.collect();
        let args = parse(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let tagger = FakeTagger::new(seed);
        let job = job(&args);
        (tag_table(job, tagger.clone()).await, tagger)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn ids(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["tags"]["id"].as_str().unwrap().to_owned())
            .collect()
    }

    #[tokio::test]
    async fn rows_keep_their_order_under_random_delays_and_few_are_in_flight() {
        let seed = std::process::id().into();
        println!("seed {seed}");
        let folder = tempfile::tempdir().unwrap();
        let rows: String = (0..500).map(|id| format!("{id},word {id}\n")).collect();
        fs::write(folder.path().join("in.csv"), format!("id,text\n{rows}")).unwrap();
        let (summary, tagger) = tag(folder.path(), &["./in.csv", "-o", "./out.jsonl"], seed).await;
        let summary = summary.unwrap();
        assert_eq!((summary.tagged, summary.skipped), (500, 0));
        let expected: Vec<String> = (0..500).map(|id: u32| id.to_string()).collect();
        assert_eq!(ids(&folder.path().join("out.jsonl")), expected);
        let most = tagger.most_at_once.load(Ordering::SeqCst);
        assert!((2..=TEXTS_IN_FLIGHT).contains(&most), "{most} at once");
        assert_eq!(names(folder.path()), ["in.csv", "out.jsonl"]);
    }

    #[tokio::test]
    async fn bad_rows_stop_or_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let table = "id,text\na,one\nb,\nc,invalid\nd,x,y\ne,five\n";
        fs::write(folder.path().join("in.csv"), table).unwrap();
        fs::write(folder.path().join("out.jsonl"), "old").unwrap();

        let (stopped, _) = tag(folder.path(), &["./in.csv", "-o", "./out.jsonl"], 1).await;
        let Err(Failure::Input(error)) = stopped else { panic!("{stopped:?}") };
        let message = error.to_string();
        assert!(message.starts_with("row 3: column \"text\" is empty; a text is wanted\nstopped"), "{message}");
        assert_eq!(names(folder.path()), ["in.csv", "out.jsonl"], "nothing half-done is left");
        assert_eq!(fs::read_to_string(folder.path().join("out.jsonl")).unwrap(), "old");

        let (skipped, _) = tag(folder.path(), &["./in.csv", "-o", "./out.jsonl", "--on-error", "skip"], 1).await;
        let skipped = skipped.unwrap();
        assert_eq!((skipped.tagged, skipped.skipped), (2, 3));
        assert_eq!(ids(&folder.path().join("out.jsonl")), ["a", "e"]);
    }

    #[tokio::test]
    async fn a_row_that_the_tagger_refuses_is_told_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("in.txt"), "fine\n\ninvalid\n").unwrap();
        let (stopped, _) = tag(folder.path(), &["./in.txt", "-o", "./out.csv"], 1).await;
        let Err(Failure::Input(error)) = stopped else { panic!("{stopped:?}") };
        assert!(error.to_string().starts_with("row 3: text: too odd\n"), "{error}");
    }

    #[tokio::test]
    async fn our_failure_ends_the_job_even_when_bad_rows_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("in.txt"), "fine\nbroken\nfine\n").unwrap();
        for output in ["./out.csv", "./out.parquet", "./out.jsonl"] {
            let (failed, _) = tag(folder.path(), &["./in.txt", "-o", output, "--on-error", "skip"], 1).await;
            let Err(Failure::Ours(error)) = failed else { panic!("{failed:?}") };
            assert_eq!(format!("{error:#}"), "row 2: tagging failed: the model fell over");
            assert_eq!(names(folder.path()), ["in.txt"], "nothing half-done is left");
        }
    }

    #[tokio::test]
    async fn a_job_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("in.txt"), "word\n".repeat(50_000)).unwrap();
        let job = tag(folder.path(), &["./in.txt", "-o", "./out.csv"], 1);
        assert!(tokio::time::timeout(Duration::from_millis(300), job).await.is_err(), "still at work when given up");
        let given_up = Instant::now();
        while names(folder.path()) != ["in.txt"] {
            assert!(given_up.elapsed() < CLEANUP_PATIENCE, "{:?}", names(folder.path()));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_full_queue_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("in.txt"), "busy\n").unwrap();
        let (summary, tagger) = tag(folder.path(), &["./in.txt", "-o", "./out.csv"], 1).await;
        assert_eq!(summary.unwrap().tagged, 1);
        assert_eq!(tagger.calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn limits_and_wrong_outputs() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("in.csv"), "text\na\nb\nc\n").unwrap();
        let (summary, _) = tag(folder.path(), &["./in.csv", "-o", "./out.tsv", "--limit", "2"], 1).await;
        assert_eq!(summary.unwrap().tagged, 2);
        let (same, _) = tag(folder.path(), &["./in.csv", "-o", "./in.csv"], 1).await;
        let Err(Failure::Input(error)) = same else { panic!("{same:?}") };
        assert!(error.to_string().ends_with("the output is the input; give it another name"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join("in.csv")).unwrap(), "text\na\nb\nc\n");
    }

    #[tokio::test]
    async fn bad_input_and_our_failure_have_their_exit_codes() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("in.txt");
        fs::write(&table, "invalid\n").unwrap();
        let output = folder.path().join("out.csv");
        let exit = async |text: &[&str]| {
            let args = parse(text);
            run(args, FakeTagger::new(1), &Ids, |_| None)
                .await
                .map(|code| format!("{code:?}"))
                .map_err(|e| e.to_string())
        };
        let code = |number: u8| Ok(format!("{:?}", std::process::ExitCode::from(number)));
        let (table, output) = (table.display().to_string(), output.display().to_string());
        assert_eq!(exit(&[&table, "-o", &output, "-q"]).await, code(2));
        assert_eq!(exit(&[&table, "-o", &output, "-q", "--on-error", "skip"]).await, code(0));
        assert_eq!(exit(&["no-such.csv"]).await, code(2));
        assert_eq!(exit(&["--text", "invalid"]).await, code(2));
        assert_eq!(exit(&["--text", "broken"]).await, Err("tagging failed: the model fell over".to_owned()));
    }
}
