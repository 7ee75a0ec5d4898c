//! Whether the script of the default playbook covers a message, by the encoder that comes with the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use otklik::assembly::{self, Progress};
use otklik::assist::ScriptIndex;
use otklik::assist::playbook::Playbook;
use otklik::config::Config;
use otklik::feedback::{Body, Feedback};
use otklik::tagging::{Tagger, TaggingEngine, Urgency};
use serde::Deserialize;

#[derive(Deserialize)]
struct Messages {
    covered: BTreeMap<String, Vec<String>>,
    outside: Outside,
}

#[derive(Deserialize)]
struct Outside {
    texts: Vec<String>,
}

struct Silent;

impl Progress for Silent {
    fn examples(&mut self, _: usize, _: usize) {}
}

async fn vector(engine: &TaggingEngine, text: &str) -> Vec<f32> {
    let feedback = Feedback::new(String::new(), Body::Text(text.to_owned()));
    engine.tag(feedback, Urgency::default()).await.unwrap().vector
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
        vectors.push(vector(&engine, &text).await);
    }
    let index = ScriptIndex::new(&playbook, engine.taxonomy(), vectors);

    let (mut texts, mut covered, mut right) = (0.0, 0.0, 0.0);
    for (intent, of_intent) in &messages.covered {
        assert!(playbook.intents().iter().any(|known| known.id == *intent), "{intent}");
        for text in of_intent {
            let cover = index.cover(text, Some(&vector(&engine, text).await)).unwrap();
            texts += 1.0;
            covered += f64::from(u8::from(cover.covered));
            right += f64::from(u8::from(cover.nearest_intent_id == *intent));
            println!("{:.3} {} {intent} {} {text}", cover.distance, cover.covered, cover.nearest_intent_id);
        }
    }
    let mut outside = 0.0;
    for text in &messages.outside.texts {
        let cover = index.cover(text, Some(&vector(&engine, text).await)).unwrap();
        outside += f64::from(u8::from(!cover.covered));
        println!("{:.3} {} outside {} {text}", cover.distance, cover.covered, cover.nearest_intent_id);
    }
    let outside = outside / messages.outside.texts.len() as f64;
    let (covered, right) = (covered / texts, right / texts);
    println!("covered {covered:.3}, right intent {right:.3}, outside {outside:.3}");
    assert!(covered >= 0.9 && right >= 0.9 && outside >= 0.9, "{covered:.3} {right:.3} {outside:.3}");
}
