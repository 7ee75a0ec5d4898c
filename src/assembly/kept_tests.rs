//! With the encoder, the taxonomy and the heads that come with the program: tags from what is kept are the tags of the text.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::tests::Refused;
use super::{case_store, tagger};
use crate::cases::{Case, CaseFilter, NewCase, TenantId, VectoredCase};
use crate::config::Config;
use crate::feedback::{Body, Feedback, Speaker, Turn};
use crate::tagging::{Party, Tagger, Urgency};
use crate::tags::Tags;

/// Rounding to 16 bits moves no confidence further than this.
const MOST: f32 = 0.005;

/// Texts of one to four sentences, with personal data, and conversations.
fn texts(examples: &[String]) -> Vec<Feedback> {
    let plain = (0..180).map(|at| {
        let parts: Vec<&str> =
            (0..=at % 4).map(|more| examples[(at * 7 + more * 31) % examples.len()].as_str()).collect();
        let signed = if at % 5 == 0 { " Меня зовут  Ольга, тел. 8 900 123-45-67!!!!" } else { "" };
        Feedback::from_text(at.to_string(), format!("{}{signed}", parts.join(". ")))
    });
    let turn = |speaker, text: &str| Turn { speaker, text: text.to_owned(), offset_ms: None };
    let spoken = (0..20).map(|at| {
        let turns = vec![
            turn(Speaker::Customer, &examples[at * 11 % examples.len()]),
            turn(Speaker::Operator, "Позвоните, пожалуйста, в банк. Мы решим вопрос до 18:00."),
            turn(Speaker::System, "Оцените ответ"),
            turn(Speaker::Customer, &examples[(at * 13 + 5) % examples.len()]),
        ];
        Feedback::new(format!("t{at}"), Body::Turns(turns))
    });
    plain.chain(spoken).collect()
}

/// What no rounding may change.
fn decided(tags: &Tags) -> impl PartialEq + std::fmt::Debug + use<> {
    let topics: Vec<_> = tags.topics.iter().map(|topic| (topic.topic_id.clone(), topic.rule_id.clone())).collect();
    let team = (tags.team.team_id.clone(), tags.team.rule_id.clone());
    (topics, team, tags.language, tags.tokens, tags.turns.len(), tags.masked_text.clone())
}

/// What stands at a border only by chance: a signal, a label, a further sentence of evidence.
fn beside(tags: &Tags) -> impl PartialEq + use<> {
    let signals: Vec<_> = tags.signals.iter().map(|signal| signal.signal_id.clone()).collect();
    let evidence = tags.topics.iter().flat_map(|topic| topic.evidence.iter().map(|place| (place.turn, place.span)));
    (signals, evidence.collect::<Vec<_>>(), tags.sentiment.map(|sentiment| sentiment.label), tags.review.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_from_what_is_kept_are_those_of_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.models.dir = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models"));
    config.tagging.examples_dir = folder.path().join("examples");
    config.cases.dir = folder.path().join("cases");
    config.compute.threads = 2;
    let engine = tagger(&config, &mut Refused).unwrap();
    let store = case_store(&config, &engine).await.unwrap();
    let topics = engine.taxonomy().taggable_topics();
    let examples: Vec<String> = topics.flat_map(|topic| &topic.examples).map(|example| example.text.clone()).collect();
    let mut cases = Vec::new();
    for feedback in texts(&examples) {
        let tagged = engine.tag(feedback.clone(), Urgency::BULK).await.unwrap();
        let reading = tagged.reading.map(|reading| reading.to_case());
        let case = Case { reading, ..Case::new(feedback, tagged.tags, Timestamp::UNIX_EPOCH) };
        cases.push(NewCase { case, vector: tagged.vector, request_id: None });
    }
    let tenant = TenantId::default();
    store.upsert(&tenant, cases).await.unwrap();
    let stored: Arc<Vec<VectoredCase>> =
        Arc::new(store.page(&tenant, &CaseFilter::default(), None, 1_000).await.unwrap().cases);
    assert_eq!(stored.len(), 200);

    let retagger = engine.retagger(Party::SERVICE).unwrap();
    let again = retagger.by_kept(Arc::clone(&stored)).await.unwrap();
    let (mut furthest, mut topics, mut others) = (0.0f32, 0, 0);
    for (VectoredCase { case, .. }, tags) in stored.iter().zip(&again) {
        let (before, after) = (&case.tags, tags.as_ref().expect("all is kept"));
        assert_eq!(decided(after), decided(before), "{}", before.masked_text);
        others += usize::from(beside(after) != beside(before));
        topics += before.topics.len();
        for (one, other) in before.topics.iter().zip(&after.topics) {
            furthest = furthest.max((one.confidence.get() - other.confidence.get()).abs());
        }
    }
    println!(
        "{topics} topics of 200 texts, confidences at most {furthest} apart; {others} texts differ in what is beside"
    );
    assert!(furthest < MOST && topics > 100 && others <= 4, "{furthest}, {topics} topics, {others} others");

    // The same once more, to the bit; and nothing kept, or of another encoder, is told.
    assert_eq!(retagger.by_kept(Arc::clone(&stored)).await.unwrap(), again);
    let mut two: Vec<VectoredCase> = stored.iter().take(2).cloned().collect();
    two[0].case.reading = None;
    two[1].case.reading.as_mut().unwrap().encoder_sha256 = "ab".repeat(32);
    assert_eq!(retagger.by_kept(Arc::new(two.clone())).await.unwrap(), [None, None]);
    let read = retagger.anew(&two[0].case).await.unwrap();
    assert_eq!(read.tags.team.team_id, two[0].case.tags.team.team_id);
    assert!(read.reading.is_some());
    store.close().await.unwrap();
}
