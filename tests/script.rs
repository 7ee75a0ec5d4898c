//! Whether the script of the default playbook covers a message, by the encoder that comes with the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use otklik::assembly::{self, Progress};
use otklik::assist::playbook::Playbook;
use otklik::assist::{ScriptCover, ScriptIndex};
use otklik::config::Config;
use otklik::feedback::{Body, Feedback};
use otklik::tagging::{Tagged, Tagger, TaggingEngine, Urgency};
use serde::Deserialize;

#[derive(Deserialize)]
struct Messages {
    covered: BTreeMap<String, Vec<String>>,
    /// Covered, though some words are as those of a matter that went round.
    signalled_covered: BTreeMap<String, Vec<String>>,
    outside: Outside,
    /// Outside, because the matter went round.
    signalled_outside: Outside,
}

#[derive(Deserialize)]
struct Outside {
    texts: Vec<String>,
}

struct Silent;

impl Progress for Silent {
    fn examples(&mut self, _: usize, _: usize) {}
}

async fn tagged(engine: &TaggingEngine, text: &str) -> Tagged {
    let feedback = Feedback::new(String::new(), Body::Text(text.to_owned()));
    engine.tag(feedback, Urgency::default()).await.unwrap()
}

async fn cover(index: &ScriptIndex, engine: &TaggingEngine, text: &str) -> ScriptCover {
    let Tagged { tags, vector, .. } = tagged(engine, text).await;
    let signals = tags.signals.iter().map(|signal| &signal.signal_id);
    let cover = index.cover(text, Some(&vector), signals).unwrap();
    let ScriptCover { covered, distance, threshold, nearest_intent_id, nearer_for, .. } = &cover;
    let nearer_for: Vec<String> = nearer_for.iter().map(ToString::to_string).collect();
    println!("{distance:.3} of {threshold:.3} {covered:5} {nearest_intent_id} [{}] {text}", nearer_for.join(" "));
    cover
}

/// How many texts are covered, how many have the right intent nearest, and how many there are.
async fn covered(
    index: &ScriptIndex,
    engine: &TaggingEngine,
    messages: &BTreeMap<String, Vec<String>>,
) -> (usize, usize, usize) {
    let (mut covered, mut right, mut all) = (0, 0, 0);
    for (intent, text) in messages.iter().flat_map(|(intent, texts)| texts.iter().map(move |text| (intent, text))) {
        let cover = cover(index, engine, text).await;
        covered += usize::from(cover.covered);
        right += usize::from(cover.nearest_intent_id == *intent);
        all += 1;
    }
    (covered, right, all)
}

/// How many texts are outside, and how many there are.
async fn outside(index: &ScriptIndex, engine: &TaggingEngine, messages: &Outside) -> (usize, usize) {
    let mut outside = 0;
    for text in &messages.texts {
        outside += usize::from(!cover(index, engine, text).await.covered);
    }
    (outside, messages.texts.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_script_covers_is_told_from_what_is_outside_it() {
    let messages: Messages = toml::from_str(include_str!("script.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.tagging.examples_dir = folder.path().join("examples");
    let engine = assembly::tagger(&config, &mut Silent).unwrap();
    let playbook = Playbook::default_playbook(engine.taxonomy()).unwrap();
    let mut vectors = Vec::new();
    for text in ScriptIndex::texts(&playbook) {
        vectors.push(tagged(&engine, &text).await.vector);
    }
    let index = ScriptIndex::new(&playbook, engine.taxonomy(), vectors);

    let known = |intent: &String| playbook.intents().iter().any(|known| known.id == *intent);
    assert!(messages.covered.keys().chain(messages.signalled_covered.keys()).all(known));

    let usual = covered(&index, &engine, &messages.covered).await;
    let signalled = covered(&index, &engine, &messages.signalled_covered).await;
    let far = outside(&index, &engine, &messages.outside).await;
    let round = outside(&index, &engine, &messages.signalled_outside).await;
    println!("covered: {} of {}, right intent {}", usual.0, usual.2, usual.1);
    println!("covered, with words of a signal: {} of {}, right intent {}", signalled.0, signalled.2, signalled.1);
    println!("outside: {} of {}", far.0, far.1);
    println!("outside, with words of a signal: {} of {}", round.0, round.1);
    let least = |share: f64, of: usize| (share * of as f64).ceil() as usize;
    assert!(usual.0 == usual.2 && usual.1 >= least(0.9, usual.2), "{usual:?}");
    assert!(far.0 >= least(0.9, far.1), "{far:?}");
    assert!(signalled.0 >= least(0.9, signalled.2) && signalled.1 >= least(0.9, signalled.2), "{signalled:?}");
    assert!(round.0 >= least(0.7, round.1), "{round:?}");
}
