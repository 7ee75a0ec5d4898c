//! Many machines as their users run them: `otklik retag --queue`, `otklik worker` and a NATS server, each killed at random moments.
//!
//! `OTKLIK_KILLS` sets the number of kills, `OTKLIK_KILL_ROWS` the rows, `OTKLIK_KILL_SEED` repeats a run. Without `nats-server` on
//! the path nothing is tested, and that is said.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

#[path = "markers/collector.rs"]
mod collector;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::HeaderMap;
use collector::{Collector, hex};
use futures_util::StreamExt;
use serde_json::Value;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(400);

/// A process that ends with the test, by SIGKILL.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    fn tell_to_stop(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap().success());
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    fn wait(&mut self) -> ExitStatus {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.ended() {
                Some(status) => return status,
                None if Instant::now() > give_up => panic!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// A NATS server that keeps its port and its store when it is started again.
struct Nats {
    process: Process,
    port: u16,
    store: PathBuf,
}

impl Nats {
    /// `None`, and a printed line, where no server is installed.
    fn start(folder: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let store = folder.join("nats");
        let Some(process) = Self::spawn(port, &store) else {
            println!("NOT TESTED: many machines, because no nats-server is installed");
            return None;
        };
        Some(Self { process, port, store })
    }

    fn spawn(port: u16, store: &Path) -> Option<Process> {
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(store);
        let process = Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(process)
    }

    fn kill_and_start_again(&mut self, pause: Duration) {
        self.process.kill();
        std::thread::sleep(pause);
        self.process = Self::spawn(self.port, &self.store).unwrap();
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

/// The program with nothing of the caller's environment that it would listen to, working in `folder`.
fn otklik(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otklik"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTKLIK_")) {
        command.env_remove(name);
    }
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    command.env("OTKLIK_MODELS_DIR", models).env_remove("RUST_LOG").current_dir(folder).stdin(Stdio::null());
    // A lost worker is known as lost soon, and kills are many.
    command.env("OTKLIK_QUEUE_ACK_WAIT_SECONDS", "2").env("OTKLIK_QUEUE_MAX_TRIES", "1000");
    command.args(arguments).stdout(Stdio::null());
    command
}

fn spawn(command: &mut Command, log: &Path) -> Process {
    let log = fs::File::options().create(true).append(true).open(log).unwrap();
    Process(command.stderr(log).spawn().unwrap())
}

const TEXTS: &[&str] = &[
    "Третий день не работает касса, банк шлёт к партнёру",
    "Курьер не привёз карту и не позвонил",
    "Спасибо, всё отлично",
    "The app logs me out every morning",
    "Списали комиссию за перевод, верните деньги",
];

/// A folder `in` of about so many rows in three formats, one of them bad.
fn inputs(folder: &Path, rows: usize) {
    let input = folder.join("in");
    fs::create_dir_all(input.join("calls")).unwrap();
    let text = |row: usize| format!("{} {row}", TEXTS[row % TEXTS.len()]);
    let csv: String = (0..rows / 2).map(|row| format!("{row},\"{}\"\n", text(row))).collect();
    fs::write(input.join("a.csv"), format!("id,text\n{csv}bad\n")).unwrap();
    let json: String = (0..rows / 3).map(|row| format!("{{\"text\":\"{}\",\"n\":{row}}}\n", text(row))).collect();
    fs::write(input.join("calls/b.jsonl"), json).unwrap();
    let tsv: String = (0..rows / 6).map(|row| format!("{}\t{row}\n", text(row))).collect();
    fs::write(input.join("c.tsv"), format!("text\tid\n{tsv}")).unwrap();
}

/// Every file below `root` by its name, with its content.
fn content(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// SplitMix64: the next of a row of numbers, below `below`.
fn draw(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)) % below
}

#[test]
fn whatever_is_killed_the_outputs_are_those_of_one_process() {
    let kills = number("OTKLIK_KILLS").unwrap_or(4);
    let rows = number("OTKLIK_KILL_ROWS").unwrap_or(300) as usize;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut seed = number("OTKLIK_KILL_SEED").unwrap_or(clock);
    println!("OTKLIK_KILL_SEED={seed} OTKLIK_KILLS={kills} OTKLIK_KILL_ROWS={rows}");
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path();
    let Some(mut nats) = Nats::start(folder) else { return };
    let url = nats.url();
    let log = folder.join("log");
    let said = || fs::read_to_string(&log).unwrap_or_default();
    inputs(folder, rows);
    let part_rows = (rows / 40).max(5).to_string();
    let alone = ["retag", "in", "--out", "whole", "--part-rows", &part_rows, "--threads", "1"];
    let begun = Instant::now();
    assert!(spawn(&mut otklik(folder, &alone), &log).wait().success(), "{}", said());
    let whole = begun.elapsed();
    let expected = content(&folder.join("whole"));

    let worker = || spawn(&mut otklik(folder, &["worker", "--queue", &url, "--threads", "1"]), &log);
    let spread = ["retag", "in", "--out", "out", "--queue", &url, "--part-rows", &part_rows];
    let coordinator = || spawn(&mut otklik(folder, &spread), &log);
    let mut workers = [worker(), worker()];
    let mut running = coordinator();
    let (mut killed, mut runs) = (0, 0);
    let give_up = Instant::now() + PATIENCE + whole * (2 + kills as u32);
    loop {
        if let Some(status) = running.ended() {
            assert!(status.success(), "{}", said());
            runs += 1;
            assert!(content(&folder.join("out")) == expected, "run {runs} after {killed} kills differs");
            assert!(!folder.join("out.parts").exists());
            let errors = |out: &str| fs::read(folder.join(format!("{out}.errors.jsonl"))).unwrap();
            assert_eq!(errors("whole"), errors("out"));
            if killed >= kills {
                break;
            }
            // Kills are left: the same once more.
            fs::remove_dir_all(folder.join("out")).unwrap();
            running = coordinator();
        }
        assert!(Instant::now() < give_up, "no end: {}", said());
        std::thread::sleep(Duration::from_millis(200));
        if killed < kills {
            // A process needs a moment to begin, and a run a few of those.
            let longest = (whole.as_millis() as u64).clamp(500, 8_000);
            std::thread::sleep(Duration::from_millis(300 + draw(&mut seed, longest)));
            let victim = draw(&mut seed, 4);
            killed += 1;
            println!("kill {killed}: {}", ["worker 1", "worker 2", "coordinator", "nats-server"][victim as usize]);
            match victim {
                0 | 1 => {
                    workers[victim as usize].kill();
                    workers[victim as usize] = worker();
                }
                2 if running.ended().is_none() => {
                    running.kill();
                    running = coordinator();
                }
                2 => {}
                _ => nats.kill_and_start_again(Duration::from_millis(draw(&mut seed, 3_000))),
            }
        }
    }
    println!("{runs} runs, {killed} kills");

    // Told to stop, workers end in order; any machine sees what became of the job. One that was started just now must get to hear it.
    std::thread::sleep(Duration::from_secs(2));
    for worker in &workers {
        worker.tell_to_stop();
    }
    for worker in &mut workers {
        assert!(worker.wait().success(), "{}", said());
    }
    let jobs =
        otklik(folder, &["worker", "--queue", &url, "--jobs", "--json"]).stdout(Stdio::piped()).output().unwrap();
    let jobs: Value = serde_json::from_slice(&jobs.stdout).unwrap();
    assert_eq!((&jobs[0]["state"], &jobs[0]["files_done"]), (&"complete".into(), &3.into()), "{jobs}");
    assert_eq!(jobs[0]["rows_failed"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_that_comes_is_tagged_once_for_each_id_through_a_kill() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path();
    let Some(nats) = Nats::start(folder) else { return };
    let url = nats.url();
    let log = folder.join("log");
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let (traces, address) = Collector::start().await;
    let to_collector = format!("telemetry.otlp_endpoint=http://{address}");
    let arguments = ["worker", "--queue", &url, "--subject", "fb.in", "--publish", "fb.tagged", "--threads", "1"];
    let arguments = [&arguments[..], &["--set", &to_collector]].concat();
    let mut worker = spawn(&mut otklik(folder, &arguments), &log);
    let client = async_nats::connect(&url).await.unwrap();
    let mut aside = client.subscribe("fb.in.aside").await.unwrap();
    let mut tagged = client.subscribe("fb.tagged").await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let give_up = Instant::now() + PATIENCE;
    // The worker makes the streams before it reads its model.
    while jetstream.get_stream("otklik-feedback-aside").await.is_err() {
        assert!(Instant::now() < give_up && worker.ended().is_none(), "{}", said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let rows = 60;
    for row in 0..rows {
        let text = format!("{{\"id\": \"f{row}\", \"text\": \"{} {row}\"}}", TEXTS[row % TEXTS.len()]);
        jetstream.publish("fb.in", text.into()).await.unwrap().await.unwrap();
    }
    jetstream.publish("fb.in", "{\"id\": \"bad\"}".into()).await.unwrap().await.unwrap();
    let mut ids = BTreeSet::new();
    while ids.len() < rows {
        let next = tokio::time::timeout(PATIENCE, tagged.next()).await.unwrap().unwrap();
        let value: Value = serde_json::from_slice(&next.payload).unwrap();
        let id = next.headers.unwrap().get("Nats-Msg-Id").unwrap().to_string();
        assert_eq!((&value["id"], &value["tags"]["id"]), (&id.as_str().into(), &id.as_str().into()));
        assert!(value["tags"]["team"]["team_id"].is_string());
        ids.insert(id);
        if ids.len() == 10 {
            worker.kill();
            worker = spawn(&mut otklik(folder, &arguments), &log);
        }
    }
    // The trace of whoever publishes goes on in what is published for it.
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{trace}-{span}-01"));
    let text = format!("{{\"id\": \"traced\", \"text\": \"{}\"}}", TEXTS[0]);
    jetstream.publish_with_headers("fb.in", headers, text.into()).await.unwrap().await.unwrap();
    let place = loop {
        let headers = tokio::time::timeout(PATIENCE, tagged.next()).await.unwrap().unwrap().headers.unwrap();
        if headers.get("Nats-Msg-Id").unwrap().as_str() == "traced" {
            break headers.get("traceparent").unwrap().to_string();
        }
    };
    assert!(place.starts_with(&format!("00-{trace}-")) && !place.contains(span), "{place}");
    let bad = tokio::time::timeout(PATIENCE, aside.next()).await.unwrap().unwrap();
    assert!(bad.headers.unwrap().get("Otklik-Reason").unwrap().as_str().contains("text"));
    let state = async |stream: &str| jetstream.get_stream(stream).await.unwrap().cached_info().state.messages;
    let give_up = Instant::now() + PATIENCE;
    // What the first published and did not live to acknowledge comes once more.
    while state("otklik-feedback-in").await > 0 {
        assert!(Instant::now() < give_up, "{}", said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    worker.tell_to_stop();
    assert!(worker.wait().success(), "{}", said());
    assert_eq!(state("otklik-feedback-out").await, rows as u64 + 1, "once for each id");
    assert_eq!((state("otklik-feedback-in").await, state("otklik-feedback-aside").await), (0, 1));
    assert!(!said().contains("касса"), "the log holds no words of a customer");
    assert!(!String::from_utf8_lossy(&traces.bytes()).contains("касса"), "nor do traces");
    let spans = traces.spans();
    let of_message = spans.iter().find(|found| hex(&found.trace_id) == trace && found.name == "tag feedback").unwrap();
    assert_eq!(hex(&of_message.parent_span_id), span);
    assert!(place.contains(&hex(&of_message.span_id)), "{place}");
    let below = spans.iter().filter(|found| found.parent_span_id == of_message.span_id);
    let below: BTreeSet<&str> = below.map(|found| found.name.as_str()).collect();
    assert!(below.is_superset(&BTreeSet::from(["queue", "prepare", "encode", "heads", "decide"])), "{below:?}");
}

#[test]
fn a_queue_that_is_not_there_is_told_before_a_model_is_read() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path();
    for (arguments, message) in [
        (&["worker"][..], "queue.url: is not set"),
        (&["worker", "--queue", "nats://127.0.0.1:1"], "queue.url: nats://127.0.0.1:1 can't be reached"),
        (&["--set", "queue.prefix=a.b", "worker"], "queue.prefix = \"a.b\" (flag): must be a name without '.'"),
        (&["--set", "queue.url=http://a", "worker"], "nats:// or tls://"),
    ] {
        let output = otklik(folder, arguments).stderr(Stdio::piped()).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(message), "{arguments:?}: {errors}");
    }
}
