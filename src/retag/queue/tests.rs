//! What every queue does: one suite, run on each of them.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;

use super::*;

const LEASE_TIME: Duration = Duration::from_millis(700);
const SOON: Duration = Duration::from_secs(3);
const AT_ONCE: Duration = Duration::from_millis(100);

/// A NATS server of a test's own; it ends with the test.
pub(in crate::retag) struct Server {
    process: Child,
    pub url: String,
    _store: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts a server; `None`, and a printed line, where none is installed.
    pub fn start() -> Option<Self> {
        let store = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(store.path());
        let Ok(process) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            println!("NOT TESTED: the queue on NATS, because no nats-server is installed");
            return None;
        };
        Some(Self { process, url: format!("nats://127.0.0.1:{port}"), _store: store })
    }

    pub fn options(&self) -> JetStreamOptions {
        JetStreamOptions {
            url: self.url.clone(),
            prefix: "test".to_owned(),
            credentials_file: None,
            token_file: None,
            lease_time: LEASE_TIME,
            max_leased: 100,
            max_messages: 1_000,
            replicas: 1,
            patience: Duration::from_secs(5),
        }
    }

    pub async fn queue(&self) -> JetStreamQueue {
        for _ in 0..100 {
            match JetStreamQueue::connect(self.options()).await {
                Err(QueueError::Unreachable { .. }) => tokio::time::sleep(AT_ONCE).await,
                queue => return queue.unwrap(),
            }
        }
        panic!("the server does not answer");
    }
}

fn work(job: &str, name: &str, round: &str) -> Work {
    Work {
        job: job.into(),
        name: name.into(),
        round: round.into(),
        payload: format!("{job} {name} {round}").into_bytes(),
    }
}

async fn leased(queue: &dyn WorkQueue, wait: Duration) -> Option<(String, Lease)> {
    let lease = queue.lease(wait).await.unwrap()?;
    Some((String::from_utf8(lease.payload.clone()).unwrap(), lease))
}

async fn work_is_leased_once_and_leaves_when_acknowledged(queue: &dyn WorkQueue) {
    queue.publish(&work("j", "a", "1")).await.unwrap();
    queue.publish(&work("j", "a", "1")).await.unwrap();
    queue.publish(&work("j", "a", "2")).await.unwrap();
    queue.publish(&work("j", "b", "1")).await.unwrap();
    let (first, a) = leased(queue, SOON).await.unwrap();
    let (second, b) = leased(queue, SOON).await.unwrap();
    assert_eq!((first.as_str(), second.as_str()), ("j a 1", "j b 1"));
    assert!(leased(queue, AT_ONCE).await.is_none(), "both are leased, and nothing else was added");
    queue.publish(&work("j", "a", "1")).await.unwrap();
    assert!(leased(queue, AT_ONCE).await.is_none(), "what is leased is still in the queue");
    a.acknowledge().await.unwrap();
    b.acknowledge().await.unwrap();
    tokio::time::sleep(LEASE_TIME).await;
    assert!(leased(queue, AT_ONCE).await.is_none());
    queue.publish(&work("j", "a", "2")).await.unwrap();
    let (again, lease) = leased(queue, SOON).await.unwrap();
    assert_eq!(again, "j a 2", "a new round of what is done is new work");
    lease.acknowledge().await.unwrap();
}

async fn work_of_a_silent_worker_goes_to_another(queue: &dyn WorkQueue) {
    queue.publish(&work("j", "c", "1")).await.unwrap();
    let (_, lost) = leased(queue, SOON).await.unwrap();
    drop(lost);
    let (name, kept) = leased(queue, SOON).await.unwrap();
    assert_eq!(name, "j c 1");
    for _ in 0..4 {
        tokio::time::sleep(LEASE_TIME / 2).await;
        kept.extend().await.unwrap();
    }
    assert!(leased(queue, AT_ONCE).await.is_none(), "an extended lease is kept");
    kept.give_back(Duration::from_millis(200)).await.unwrap();
    let (name, lease) = leased(queue, SOON).await.unwrap();
    assert_eq!(name, "j c 1");
    lease.acknowledge().await.unwrap();
}

async fn values_are_written_only_over_what_was_read(queue: &dyn WorkQueue) {
    let put = |value: &'static str, expected| queue.put(Shelf::Chunks, "j.c.a", value.into(), expected);
    assert_eq!(queue.get(Shelf::Chunks, "j.c.a").await.unwrap(), None);
    assert!(!put("0", Expected::Revision(77)).await.unwrap());
    assert!(put("1", Expected::Absent).await.unwrap());
    assert!(!put("2", Expected::Absent).await.unwrap());
    let stored = queue.get(Shelf::Chunks, "j.c.a").await.unwrap().unwrap();
    assert_eq!(stored.value, b"1");
    assert!(put("3", Expected::Revision(stored.revision)).await.unwrap());
    assert!(!put("4", Expected::Revision(stored.revision)).await.unwrap());
    assert!(put("5", Expected::Anything).await.unwrap());
    assert_eq!(queue.get(Shelf::Chunks, "j.c.a").await.unwrap().unwrap().value, b"5");
    assert_eq!(queue.get(Shelf::Jobs, "j.c.a").await.unwrap(), None, "shelves are apart");
}

async fn changes_are_told_from_the_beginning(queue: &dyn WorkQueue) {
    let put = |key: &'static str, value: &'static str| queue.put(Shelf::Chunks, key, value.into(), Expected::Anything);
    for (key, value) in [("w.c.1", "old"), ("w.c.1", "new"), ("other.c.1", "x")] {
        put(key, value).await.unwrap();
    }
    queue.put(Shelf::Jobs, "w", "job".into(), Expected::Anything).await.unwrap();
    let mut changes = queue.watch("w").await.unwrap();
    let change = |key: &str, value: &str| Change { key: key.into(), value: value.into() };
    let mut next = async || tokio::time::timeout(SOON, changes.next()).await.unwrap().unwrap();
    assert_eq!(next().await, change("w.c.1", "new"), "the last value of each key");
    put("w.c.2", "later").await.unwrap();
    assert_eq!(next().await, change("w.c.2", "later"));
    assert_eq!(queue.keys(Shelf::Jobs).await.unwrap(), ["w"]);
}

async fn a_job_that_is_withdrawn_leaves_nothing(queue: &dyn WorkQueue) {
    for name in ["a", "b"] {
        queue.publish(&work("gone", name, "1")).await.unwrap();
    }
    queue.publish(&work("stays", "a", "1")).await.unwrap();
    for key in ["gone.c.a", "stays.c.a"] {
        queue.put(Shelf::Chunks, key, "1".into(), Expected::Anything).await.unwrap();
    }
    queue.withdraw("gone").await.unwrap();
    let (name, lease) = leased(queue, SOON).await.unwrap();
    assert_eq!(name, "stays a 1");
    lease.acknowledge().await.unwrap();
    assert!(leased(queue, AT_ONCE).await.is_none());
    assert_eq!(queue.get(Shelf::Chunks, "gone.c.a").await.unwrap(), None);
    assert!(queue.get(Shelf::Chunks, "stays.c.a").await.unwrap().is_some());
    assert!(queue.put(Shelf::Chunks, "gone.c.a", "1".into(), Expected::Absent).await.unwrap());
}

async fn contract(queue: &dyn WorkQueue) {
    work_is_leased_once_and_leaves_when_acknowledged(queue).await;
    work_of_a_silent_worker_goes_to_another(queue).await;
    values_are_written_only_over_what_was_read(queue).await;
    changes_are_told_from_the_beginning(queue).await;
    a_job_that_is_withdrawn_leaves_nothing(queue).await;
}

#[tokio::test]
async fn the_embedded_queue_keeps_the_contract() {
    contract(&EmbeddedQueue::new(LEASE_TIME, 100)).await;
}

#[tokio::test]
async fn the_queue_on_nats_keeps_the_contract() {
    let Some(server) = Server::start() else { return };
    contract(&server.queue().await).await;
    // Another machine finds what is there, and a second start makes nothing twice.
    assert_eq!(server.queue().await.keys(Shelf::Jobs).await.unwrap(), ["w"]);
}

#[tokio::test]
async fn a_full_queue_refuses_more() {
    let queue = EmbeddedQueue::new(LEASE_TIME, 1);
    queue.publish(&work("j", "a", "1")).await.unwrap();
    let error = queue.publish(&work("j", "b", "1")).await.unwrap_err();
    assert!(error.to_string().contains("1 pieces wait"), "{error}");
}

#[tokio::test]
async fn settings_that_can_not_be_used_are_named() {
    let options = JetStreamOptions {
        url: "nats://127.0.0.1:1".into(),
        prefix: "test".into(),
        credentials_file: None,
        token_file: Some("no/such/file".into()),
        lease_time: LEASE_TIME,
        max_leased: 1,
        max_messages: 1,
        replicas: 1,
        patience: SOON,
    };
    let error = JetStreamQueue::connect(options.clone()).await.err().unwrap().to_string();
    assert!(error.starts_with("queue.token_file: no/such/file"), "{error}");
    let error = JetStreamQueue::connect(JetStreamOptions { token_file: None, ..options }).await.err().unwrap();
    assert!(error.is_bad_input() && error.to_string().starts_with("queue.url: nats://127.0.0.1:1 can't be"), "{error}");
}
