//! The embedded case store is killed at random moments, and nothing that it acknowledged may be lost.
//!
//! The test runs itself again as a child that writes to a store and prints a line before each write and after each
//! acknowledgement; the parent kills it, opens the store, and compares. `OTKLIK_KILL_ROUNDS` sets the number of kills,
//! `OTKLIK_KILL_SEED` repeats a run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use otklik::cases::edge::{EdgeOptions, EdgeStore};
use otklik::cases::{Case, CaseFilter, CaseStore, CaseStoreError, NewCase, SimilarQuery, SimilarTo, TenantId};
use otklik::feedback::Feedback;
use otklik::tags::{Confidence, Language, Provenance, Review, Tags, TaxonomyVersion, TeamId, TeamTag};

const DIMENSION: usize = 16;
const WRITERS: u64 = 4;
const IDS_PER_WRITER: u64 = 60;

/// Numbers that look random and depend on a seed alone (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// One write of a writer, as its line says it.
#[derive(Debug, Clone, PartialEq)]
enum Change {
    Upsert { version: u64, ids: Vec<String> },
    Delete { ids: Vec<String> },
}

impl Change {
    fn random(random: &mut Random, writer: u64) -> Self {
        let first = random.below(IDS_PER_WRITER);
        let count = 1 + random.below(12);
        let ids = (first..(first + count).min(IDS_PER_WRITER)).map(|id| format!("{writer}-{id}")).collect();
        if random.below(4) == 0 { Change::Delete { ids } } else { Change::Upsert { version: random.next() >> 1, ids } }
    }

    fn to_line(&self) -> String {
        match self {
            Change::Upsert { version, ids } => format!("upsert {version} {}", ids.join(" ")),
            Change::Delete { ids } => format!("delete 0 {}", ids.join(" ")),
        }
    }

    fn from_words<'a>(mut words: impl Iterator<Item = &'a str>) -> Self {
        let kind = words.next().unwrap();
        let version = words.next().unwrap().parse().unwrap();
        let ids = words.map(str::to_owned).collect();
        if kind == "upsert" { Change::Upsert { version, ids } } else { Change::Delete { ids } }
    }

    fn ids(&self) -> &[String] {
        match self {
            Change::Upsert { ids, .. } | Change::Delete { ids } => ids,
        }
    }

    /// What each of its ids holds afterwards.
    fn result(&self) -> Option<u64> {
        match self {
            Change::Upsert { version, .. } => Some(*version),
            Change::Delete { .. } => None,
        }
    }
}

fn options() -> EdgeOptions {
    let often = Duration::from_millis(40);
    // So small that the index is built all the time.
    EdgeOptions {
        flush_every: often,
        flush_after_ops: 400,
        index_after_ops: 50,
        index_from_kb: 1,
        ..EdgeOptions::new(DIMENSION, "ab".repeat(32))
    }
}

fn vector(id: &str, version: u64) -> Vec<f32> {
    let mut random = Random(id.bytes().fold(version, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte))));
    let raw: Vec<f32> = (0..DIMENSION).map(|_| random.below(2_001) as f32 / 1_000.0 - 1.0).collect();
    let norm = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
    raw.into_iter().map(|value| value / norm).collect()
}

fn case(id: &str, version: u64) -> Case {
    let team = TeamTag {
        team_id: TeamId::new(if version.is_multiple_of(2) { "even" } else { "odd" }),
        confidence: Confidence::ONE,
        reason: String::new(),
        rule_id: None,
        escalates_to: None,
        alternatives: vec![],
        neighbour_case_ids: vec![],
    };
    let tags = Tags {
        id: id.to_owned(),
        language: Language::English,
        topics: vec![],
        sentiment: None,
        team,
        signals: vec![],
        turns: vec![],
        sentiment_trend: None,
        review: Review::default(),
        masked_text: format!("version {version} {}", "x".repeat((version % 3_000) as usize)),
        tokens: 1,
        provenance: Provenance {
            otklik_version: "0".to_owned(),
            taxonomy_version: TaxonomyVersion::new("sha256:0"),
            encoder_id: "test".to_owned(),
            encoder_sha256: "ab".repeat(32),
            prototypes_version: "sha256:0".to_owned(),
            heads: vec![],
            corrections_version: String::new(),
            language_model: None,
        },
    };
    let case = Case::new(Feedback::from_text(id, ""), tags, Timestamp::UNIX_EPOCH);
    Case { attributes: [("version".to_owned(), version.to_string())].into(), ..case }
}

/// The child: writes until it is killed. Does nothing when the test harness runs it as a test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(folder) = std::env::var("OTKLIK_KILL_CHILD") else { return };
    let seed: u64 = std::env::var("OTKLIK_KILL_CHILD_SEED").unwrap().parse().unwrap();
    let store = Arc::new(EdgeStore::open(Path::new(&folder), options()).unwrap());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_for_ever(store.clone(), writer, Random(seed ^ (writer << 48)))))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn write_for_ever(store: Arc<EdgeStore>, writer: u64, mut random: Random) {
    loop {
        let change = Change::random(&mut random, writer);
        say(&format!("begin {writer} {}", change.to_line()));
        match &change {
            Change::Upsert { version, ids } => {
                let new =
                    |id: &String| NewCase { case: case(id, *version), vector: vector(id, *version), request_id: None };
                store.upsert(&TenantId::default(), ids.iter().map(new).collect()).await.unwrap();
            }
            Change::Delete { ids } => {
                let filter = CaseFilter { ids: ids.clone(), ..CaseFilter::default() };
                store.delete(&TenantId::default(), &filter).await.unwrap();
            }
        }
        say(&format!("done {writer}"));
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\nkill-test {line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What the lines of a killed child say: the acknowledged writes, in order, and each writer's last one that was not.
fn read_lines(output: &[u8]) -> (Vec<Change>, Vec<Change>) {
    let mut acknowledged = Vec::new();
    let mut begun: BTreeMap<String, Change> = BTreeMap::new();
    let whole = output.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    for line in std::str::from_utf8(&output[..whole]).unwrap().lines() {
        let Some(line) = line.strip_prefix("kill-test ") else { continue };
        let mut words = line.split(' ');
        match words.next() {
            Some("begin") => {
                let writer = words.next().unwrap().to_owned();
                assert!(begun.insert(writer, Change::from_words(words)).is_none(), "two writes at once");
            }
            Some("done") => acknowledged.push(begun.remove(words.next().unwrap()).expect("a write was begun")),
            other => panic!("{other:?}"),
        }
    }
    (acknowledged, begun.into_values().collect())
}

/// When a child is killed.
#[derive(Debug, Clone, Copy)]
enum Life {
    /// So long after it was started: perhaps while it opens the store.
    FromStart(Duration),
    /// So long after its first acknowledged write.
    FromFirstWrite(Duration),
}

impl Life {
    fn random(random: &mut Random, round: u64) -> Self {
        if round.is_multiple_of(3) {
            Life::FromStart(Duration::from_millis(20 + random.below(300)))
        } else {
            Life::FromFirstWrite(Duration::from_micros(random.below(900_000)))
        }
    }
}

/// Runs a child for a while, kills it, and returns what it wrote to its output.
fn run_and_kill(folder: &Path, seed: u64, life: Life) -> Vec<u8> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("OTKLIK_KILL_CHILD", folder)
        .env("OTKLIK_KILL_CHILD_SEED", seed.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let (wrote, first_write) = channel();
    let reader = std::thread::spawn(move || {
        let mut output = Vec::new();
        let mut line_start = 0;
        while stdout.read_until(b'\n', &mut output).unwrap() > 0 {
            if output[line_start..].starts_with(b"kill-test done") {
                // After the first one, nobody may be listening.
                let _ = wrote.send(());
            }
            line_start = output.len();
        }
        output
    });
    match life {
        Life::FromStart(time) => std::thread::sleep(time),
        Life::FromFirstWrite(time) => {
            first_write.recv_timeout(Duration::from_secs(120)).expect("the child writes something");
            std::thread::sleep(time);
        }
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.code().is_none(), "the child ended before it was killed: {status}");
    reader.join().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills() {
    if std::env::var("OTKLIK_KILL_CHILD").is_ok() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("OTKLIK_KILL_ROUNDS").unwrap_or(6);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("OTKLIK_KILL_SEED").unwrap_or(clock);
    println!("OTKLIK_KILL_SEED={seed} OTKLIK_KILL_ROUNDS={rounds}");
    let mut random = Random(seed);
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("cases");
    let tenant = TenantId::default();

    // What each id should hold, by version.
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..rounds {
        let life = Life::random(&mut random, round);
        let output = run_and_kill(&folder, random.next(), life);
        let (acknowledged, in_flight) = read_lines(&output);
        println!(
            "round {round}: killed after {life:?}, {} writes acknowledged, {} in flight",
            acknowledged.len(),
            in_flight.len()
        );
        for write in &acknowledged {
            for id in write.ids() {
                match write.result() {
                    Some(version) => drop(expected.insert(id.clone(), version)),
                    None => drop(expected.remove(id)),
                }
            }
        }

        let store = EdgeStore::open(&folder, options()).unwrap();
        let mut found = BTreeMap::new();
        for id in (0..WRITERS).flat_map(|writer| (0..IDS_PER_WRITER).map(move |id| format!("{writer}-{id}"))) {
            match store.get(&tenant, &id).await {
                Ok(stored) => {
                    let version: u64 = stored.attributes["version"].parse().unwrap();
                    assert_eq!(stored, case(&id, version), "round {round}: {id} is not whole");
                    let to = SimilarTo::Text { vector: vector(&id, version), masked_text: stored.masked_text.clone() };
                    let query = SimilarQuery {
                        filter: CaseFilter { ids: vec![id.clone()], ..CaseFilter::default() },
                        ..SimilarQuery::new(to, 3)
                    };
                    let hits = store.find_similar(&tenant, query).await.unwrap().hits;
                    assert_eq!(hits.len(), 1, "round {round}: {id} is found {} times", hits.len());
                    assert!(hits[0].score > 0.999, "round {round}: {id} has another's vector: {}", hits[0].score);
                    found.insert(id, version);
                }
                Err(CaseStoreError::NotFound { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        // A write that was not acknowledged happened wholly or not at all.
        for write in &in_flight {
            let holds = |versions: &BTreeMap<String, u64>| -> Vec<Option<u64>> {
                write.ids().iter().map(|id| versions.get(id).copied()).collect()
            };
            let (now, before) = (holds(&found), holds(&expected));
            let after = vec![write.result(); write.ids().len()];
            assert!(now == before || now == after, "round {round}: {write:?} is half done: {now:?}, before {before:?}");
            for (id, version) in write.ids().iter().zip(now) {
                match version {
                    Some(version) => drop(expected.insert(id.clone(), version)),
                    None => drop(expected.remove(id)),
                }
            }
        }
        assert_eq!(found, expected, "round {round}");
        assert_eq!(store.count(&tenant, &CaseFilter::default()).await.unwrap(), expected.len() as u64, "round {round}");
        let odd = CaseFilter { teams: vec![TeamId::new("odd")], ..CaseFilter::default() };
        let odd_expected = expected.values().filter(|version| *version % 2 == 1).count();
        assert_eq!(store.count(&tenant, &odd).await.unwrap(), odd_expected as u64, "round {round}");
        if random.below(2) == 0 {
            store.close().await.unwrap();
        }
    }
}
