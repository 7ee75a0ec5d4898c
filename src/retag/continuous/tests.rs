//! Continuous tagging of messages that a test puts there.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::Notify;

use super::super::queue::{EmbeddedQueue, JetStreamFeed, Lease, Work, WorkQueue};
use super::super::tests::FakeTagger;
use super::*;

/// A feed in memory. Leases are those of an embedded queue, so that an unanswered message comes again.
struct FakeFeed {
    queue: EmbeddedQueue,
    deliveries: Mutex<std::collections::HashMap<Vec<u8>, u64>>,
    published: Mutex<VecDeque<(String, Value)>>,
    set_aside: Mutex<Vec<(String, String, Vec<u8>)>>,
    told: Notify,
}

impl FakeFeed {
    async fn new(messages: &[&str]) -> Arc<Self> {
        let queue = EmbeddedQueue::new(Duration::from_secs(30), 100);
        for (index, message) in messages.iter().enumerate() {
            let work = Work {
                job: "feed".into(),
                name: index.to_string(),
                round: String::new(),
                payload: message.as_bytes().to_vec(),
            };
            queue.publish(&work).await.unwrap();
        }
        Arc::new(Self {
            queue,
            deliveries: Mutex::default(),
            published: Mutex::default(),
            set_aside: Mutex::default(),
            told: Notify::new(),
        })
    }

    fn answers(&self) -> usize {
        self.published.lock().unwrap().len() + self.set_aside.lock().unwrap().len()
    }
}

#[async_trait]
impl Feed for FakeFeed {
    async fn next(&self, wait: Duration) -> Result<Option<FeedMessage>, QueueError> {
        let Some(lease): Option<Lease> = self.queue.lease(wait).await? else { return Ok(None) };
        let mut seen = self.deliveries.lock().unwrap();
        let deliveries = seen.entry(lease.payload.clone()).or_default();
        *deliveries += 1;
        let deliveries = *deliveries;
        let place = format!("feed-{}", lease.payload.len());
        Ok(Some(FeedMessage { id: None, place, deliveries, trace_parent: None, lease }))
    }

    async fn publish(&self, id: &str, payload: Vec<u8>) -> Result<(), QueueError> {
        self.published.lock().unwrap().push_back((id.to_owned(), serde_json::from_slice(&payload).unwrap()));
        self.told.notify_one();
        Ok(())
    }

    async fn set_aside(&self, id: &str, reason: &str, payload: Vec<u8>) -> Result<(), QueueError> {
        self.set_aside.lock().unwrap().push((id.to_owned(), reason.to_owned(), payload));
        self.told.notify_one();
        Ok(())
    }

    fn lease_time(&self) -> Duration {
        self.queue.lease_time()
    }
}

fn options() -> ContinuousOptions {
    ContinuousOptions {
        side_by_side: 4,
        max_tries: 3,
        drain: Duration::from_secs(5),
        columns: ColumnMap::default(),
        preparation: Preparation {
            kind: None,
            channel: None,
            product: None,
            partner: None,
            transcript: false,
            split_turns: |_| None,
        },
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_tagged_and_what_can_not_be_is_set_aside_with_the_reason() {
    let messages = [
        r#"{"id": "a", "text": "cards no 1", "tags": {"topics": [], "provenance": {}}, "branch": 7}"#,
        "{\n \"text\": \"fees\"\n}",
        "no json",
        r#"{"id": "b", "text": "invalid"}"#,
        r#"{"id": "c"}"#,
    ];
    let feed = FakeFeed::new(&messages).await;
    let (waited, all) = (Arc::clone(&feed), messages.len());
    let stop = async move {
        while waited.answers() < all {
            waited.told.notified().await;
        }
    };
    let summary = tag_continuously(feed.clone(), FakeTagger::new("old", u64::MAX), options(), stop).await.unwrap();
    assert_eq!(summary, ContinuousSummary { tagged: 2, set_aside: 3 });
    let mut published: Vec<_> = feed.published.lock().unwrap().clone().into();
    published.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(published[0].0, "a");
    assert_eq!(
        (&published[0].1["branch"], &published[0].1["tags"]["topics"][0]["topic_id"]),
        (&json!(7), &json!("cards"))
    );
    assert_eq!(
        (published[1].0.as_str(), &published[1].1["tags"]["id"]),
        ("feed-19", &json!("feed-19")),
        "its place is its id"
    );
    let aside = feed.set_aside.lock().unwrap();
    let reason_of = |message: &str| &aside.iter().find(|(.., payload)| payload == message.as_bytes()).unwrap().1;
    assert!(reason_of("no json").contains("JSON") || reason_of("no json").contains("expected"), "{aside:?}");
    assert!(reason_of(messages[3]).contains("too odd") && reason_of(messages[4]).contains("text"), "{aside:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_again_and_again_is_set_aside() {
    let feed = FakeFeed::new(&[r#"{"id": "a", "text": "cards"}"#]).await;
    let waited = Arc::clone(&feed);
    let stop = async move {
        while waited.answers() < 1 {
            waited.told.notified().await;
        }
    };
    let summary = tag_continuously(feed.clone(), FakeTagger::new("old", 1), options(), stop).await.unwrap();
    assert_eq!(summary, ContinuousSummary { tagged: 0, set_aside: 1 });
    let aside = feed.set_aside.lock().unwrap();
    assert_eq!(aside[0].0, "a");
    assert!(aside[0].1.starts_with("3 tries failed, the last: tagging failed: the model fell over"), "{aside:?}");
}

#[tokio::test]
async fn what_comes_over_nats_leaves_once_for_each_id() {
    use super::super::queue::{FeedSubjects, tests::Server};
    let Some(server) = Server::start() else { return };
    drop(server.queue().await);
    let subjects = FeedSubjects { input: "in".into(), output: "out".into(), set_aside: "aside".into() };
    let feed = Arc::new(JetStreamFeed::connect(server.options(), subjects).await.unwrap());
    let client = async_nats::connect(&server.url).await.unwrap();
    let mut published = client.subscribe("out").await.unwrap();
    let mut aside = client.subscribe("aside").await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    // The same feedback comes twice, as from a publisher that was not sure.
    for message in [r#"{"id": "a", "text": "cards"}"#, r#"{"id": "a", "text": "cards"}"#, "x"] {
        jetstream.publish("in", message.into()).await.unwrap().await.unwrap();
    }
    let (done, all_done) = tokio::sync::oneshot::channel();
    let stop = async move { drop(all_done.await) };
    let tagging = tokio::spawn(tag_continuously(feed, FakeTagger::new("old", u64::MAX), options(), stop));
    use futures_util::StreamExt;
    let soon = Duration::from_secs(20);
    let bad = tokio::time::timeout(soon, aside.next()).await.unwrap().unwrap();
    assert!(bad.headers.unwrap().get("Otklik-Reason").is_some());
    let tagged = tokio::time::timeout(soon, published.next()).await.unwrap().unwrap();
    assert_eq!(tagged.headers.unwrap().get("Nats-Msg-Id").unwrap().as_str(), "a");
    let tagged: Value = serde_json::from_slice(&tagged.payload).unwrap();
    assert_eq!(tagged["tags"]["topics"][0]["topic_id"], "cards");
    // Until the second was answered as well.
    for _ in 0..200 {
        let input = jetstream.get_stream("test-feedback-in").await.unwrap();
        if input.cached_info().state.messages == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    done.send(()).unwrap();
    assert_eq!(tagging.await.unwrap().unwrap(), ContinuousSummary { tagged: 2, set_aside: 1 });
    let kept = jetstream.get_stream("test-feedback-out").await.unwrap();
    assert_eq!(kept.cached_info().state.messages, 1, "the stream keeps one of an id");
    assert_eq!(jetstream.get_stream("test-feedback-in").await.unwrap().cached_info().state.messages, 0);
}
