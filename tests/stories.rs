//! Stories of customers, in several phrasings each, must tag as a thoughtful person would tag them. `stories.toml` says how.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt::Write as _;

use otklik::assembly::{self, Progress};
use otklik::config::Config;
use otklik::feedback::{Body, Feedback, FeedbackKind, Turn};
use otklik::tagging::{Tagger, Urgency};
use otklik::tags::{Language, SentimentLabel, Tags};
use serde::Deserialize;

/// One phrasing with all that is expected of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    lang: Language,
    text: Option<String>,
    turns: Option<Vec<Turn>>,
    kind: Option<FeedbackKind>,
    channel: Option<String>,
    product: Option<String>,
    partner: Option<String>,
    topics_any: Option<Vec<String>>,
    topics_all: Option<Vec<String>>,
    topics_not: Option<Vec<String>>,
    signals: Option<Vec<String>>,
    signals_not: Option<Vec<String>>,
    team_any: Option<Vec<String>>,
    sentiment: Option<SentimentLabel>,
    promise_term: Option<String>,
    #[serde(default)]
    abstain: bool,
    /// Why this phrasing is known to be tagged wrongly.
    hard: Option<String>,
}

/// Every phrasing of every story, by a name such as `hosting_is_down[2]`.
fn cases() -> Vec<(String, Case)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stories.toml");
    let file: toml::Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut cases = Vec::new();
    for story in file["story"].as_array().unwrap() {
        let mut shared = story.as_table().unwrap().clone();
        let id = shared.remove("id").unwrap();
        shared.remove("about").unwrap();
        let phrasings = shared.remove("phrasing").unwrap();
        for (index, phrasing) in phrasings.as_array().unwrap().iter().enumerate() {
            let mut merged = shared.clone();
            merged.extend(phrasing.as_table().unwrap().clone());
            let name = format!("{}[{index}]", id.as_str().unwrap());
            let case = merged.try_into().unwrap_or_else(|error| panic!("{name}: {error}"));
            cases.push((name, case));
        }
    }
    cases
}

struct Silent;

impl Progress for Silent {
    fn examples(&mut self, _: usize, _: usize) {}
}

fn feedback(name: &str, case: &Case) -> Feedback {
    let body = match (&case.text, &case.turns) {
        (Some(text), None) => Body::Text(text.clone()),
        (None, Some(turns)) => Body::Turns(turns.clone()),
        _ => panic!("{name}: either text or turns"),
    };
    Feedback {
        kind: case.kind,
        channel: case.channel.clone(),
        product: case.product.clone(),
        partner: case.partner.clone(),
        ..Feedback::new(name, body)
    }
}

/// What is not as expected.
fn complaints(case: &Case, tags: &Tags) -> Vec<String> {
    let topics: Vec<&str> = tags.topics.iter().map(|topic| topic.topic_id.as_str()).collect();
    let signals: Vec<&str> = tags.signals.iter().map(|signal| signal.signal_id.as_str()).collect();
    let has = |known: &[&str], id: &String| known.contains(&id.as_str());
    let mut complaints = Vec::new();
    let mut complain = |wrong: bool, what: String| {
        if wrong {
            complaints.push(what);
        }
    };
    if let Some(any) = &case.topics_any {
        complain(!any.iter().any(|id| has(&topics, id)), format!("none of the topics {any:?}"));
    }
    for id in case.topics_all.iter().flatten() {
        complain(!has(&topics, id), format!("no topic {id}"));
    }
    for id in case.topics_not.iter().flatten() {
        complain(has(&topics, id), format!("topic {id}"));
    }
    for id in case.signals.iter().flatten() {
        complain(!has(&signals, id), format!("no signal {id}"));
    }
    for id in case.signals_not.iter().flatten() {
        complain(has(&signals, id), format!("signal {id}"));
    }
    if let Some(any) = &case.team_any {
        complain(
            !any.iter().any(|id| id == tags.team.team_id.as_str()),
            format!("team {}, not {any:?}", tags.team.team_id),
        );
    }
    if let Some(label) = case.sentiment {
        let found = tags.sentiment.map(|sentiment| sentiment.label);
        complain(found != Some(label), format!("sentiment {found:?}, not {label}"));
    }
    if let Some(term) = &case.promise_term {
        let promise = tags.signals.iter().find(|signal| signal.signal_id.as_str() == "promise");
        let detail = promise.and_then(|signal| signal.detail.clone()).unwrap_or_default();
        complain(!detail.to_lowercase().contains(&term.to_lowercase()), format!("promise {detail:?}, not {term:?}"));
    }
    complain(case.abstain && topics.iter().any(|id| *id != "other"), format!("topics {topics:?}, none is right"));
    complain(tags.language != case.lang, format!("language {}, not {}", tags.language, case.lang));
    complaints
}

/// Every tag must rest on words that are there.
fn check_evidence(name: &str, feedback: &Feedback, tags: &Tags) {
    let evidence = tags.topics.iter().map(|topic| &topic.evidence);
    for evidence in evidence.chain(tags.signals.iter().map(|signal| &signal.evidence)) {
        assert!(!evidence.is_empty(), "{name}: a tag without evidence");
        for piece in evidence {
            let text = match (&feedback.body, piece.turn) {
                (Body::Text(text), None) => text,
                (Body::Turns(turns), Some(turn)) => &turns[turn as usize].text,
                _ => panic!("{name}: evidence in the wrong place"),
            };
            let words = piece.span.slice(text);
            assert!(!words.trim().is_empty(), "{name}: evidence of no words");
            assert_eq!(words.chars().count() as u32, piece.span.len(), "{name}: evidence past the end");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stories_tag_as_a_person_would() {
    let config = Config::default();
    let engine = assembly::tagger(&config, &mut Silent).unwrap();
    let cases = cases();
    assert!(cases.len() >= 72, "{} phrasings", cases.len());
    let hard = cases.iter().filter(|(_, case)| case.hard.is_some()).count();
    assert!(hard * 20 <= cases.len(), "{hard} of {} phrasings are marked as hard", cases.len());
    let mut report = String::new();
    let mut wrong = 0;
    for (name, case) in &cases {
        let feedback = feedback(name, case);
        let tags = engine.tag(feedback.clone(), Urgency::default()).await.unwrap().tags;
        check_evidence(name, &feedback, &tags);
        let mut complaints = complaints(case, &tags);
        match (&case.hard, complaints.is_empty()) {
            (Some(_), false) => continue,
            (Some(why), true) => complaints.push(format!("no longer hard, the mark can go: {why}")),
            (None, _) => {}
        }
        if !complaints.is_empty() {
            wrong += 1;
            let topics: Vec<String> =
                tags.topics.iter().map(|topic| format!("{} {:.2}", topic.topic_id, topic.confidence.get())).collect();
            let signals: Vec<String> =
                tags.signals.iter().map(|tag| format!("{} {:.2}", tag.signal_id, tag.confidence.get())).collect();
            writeln!(
                report,
                "{name}: {}\n    topics {topics:?} signals {signals:?} team {} {:?}\n    {}",
                complaints.join("; "),
                tags.team.team_id,
                tags.sentiment.map(|sentiment| (sentiment.label, sentiment.score)),
                tags.masked_text.replace('\n', " / "),
            )
            .unwrap();
        }
    }
    assert!(wrong == 0, "{wrong} of {} phrasings are not tagged as they should be:\n{report}", cases.len());
}
