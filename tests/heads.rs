//! Heads in everyday tagging: those that come with the encoder, the user's own, and one made from a taxonomy's examples.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use otklik::assembly::{self, Progress};
use otklik::config::Config;
use otklik::feedback::{Body, Feedback};
use otklik::tagging::heads::LabelKind;
use otklik::tagging::{ExampleVectors, Tagger, TaggingEngine, Urgency};
use otklik::tags::{TagSource, Tags};
use otklik::taxonomy::DEFAULT_SOURCE;
use otklik::training::{HeadOptions, HeadTrainer, LabelledRow};
use sha2::{Digest, Sha256};

const SHIPPED: [&str; 4] = ["abuse", "complaint", "sentiment", "topics"];

struct Silent;

impl Progress for Silent {
    fn examples(&mut self, _: usize, _: usize) {}
}

fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    config.tagging.examples_dir = folder.join("examples");
    config
}

async fn tag(engine: &TaggingEngine, text: &str) -> Tags {
    engine.tag(Feedback::new("f", Body::Text(text.to_owned())), Urgency::default()).await.unwrap().tags
}

fn sha256(path: &Path) -> String {
    Sha256::digest(std::fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a head that knows labels by their words.
fn write_head(path: &Path, config: &Config, texts: &[(&str, &str)]) {
    let loaded = assembly::load_encoder(config).unwrap();
    let pool = assembly::start_pool(config).unwrap();
    let rows: Vec<LabelledRow> = texts
        .iter()
        .zip(1..)
        .map(|((text, label), number)| LabelledRow {
            number,
            text: (*text).to_owned(),
            labels: vec![(*label).to_owned()],
        })
        .collect();
    let mut vectors = ExampleVectors::new(&loaded.identity.sha256, loaded.encoder.dimension());
    vectors.complete(&loaded.encoder, &pool, texts.iter().map(|(text, _)| *text), |_, _| {}).unwrap();
    let options = HeadOptions::default();
    let trainer = HeadTrainer::new("label", LabelKind::Single, &rows, &vectors, options.ngrams).unwrap();
    let all: Vec<usize> = (0..rows.len()).collect();
    trainer.fit(&all, &options, &loaded.identity, &|_, _, _| true).unwrap().head.save(path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_come_with_the_encoder_are_asked_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let engine = assembly::tagger(&config(folder.path()), &mut Silent).unwrap();
    let text = "Третий вечер подряд в дальнем углу квартиры фильм замирает каждые пять минут";
    let tags = tag(&engine, text).await;
    let heads = &tags.provenance.heads;
    assert_eq!(heads.iter().map(|head| head.name.as_str()).collect::<Vec<_>>(), SHIPPED);
    for head in heads {
        let file = format!("models/e5-small-ru-en/heads/{}.safetensors", head.name);
        assert_eq!(head.sha256, sha256(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file)), "{}", head.name);
    }
    let complaint = tags.signals.iter().find(|signal| signal.signal_id.as_str() == "complaint").unwrap();
    assert_eq!((complaint.source, &complaint.rule_id), (TagSource::Head, &None));
    assert!(tags.topics.iter().all(|topic| topic.source != TagSource::Prototype), "{:?}", tags.topics);
    assert_eq!(tag(&engine, text).await, tags);
    let thanks = tag(&engine, "thank you, great service").await;
    assert!(thanks.signals.iter().all(|signal| ["gratitude"].contains(&signal.signal_id.as_str())), "{thanks:?}");
    assert!(thanks.topics.iter().any(|topic| topic.topic_id.as_str() == "praise"), "{thanks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_of_the_users_own_take_the_place_of_others_and_tell_teams() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let own = folder.path().join("own");
    let lamps = ["лампа", "светильник", "торшер", "фонарь", "люстра", "ночник"];
    let texts: Vec<(String, &str)> = lamps
        .iter()
        .flat_map(|lamp| [(format!("{lamp} цвета мха"), "mobile"), (format!("{lamp} цвета снега"), "cards")])
        .collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(text, label)| (text.as_str(), *label)).collect();
    write_head(&own.join("team.safetensors"), &config, &texts);
    let calm =
        [("лампа", "no"), ("мох", "no"), ("фонарь", "no"), ("ах ты лопух", "yes"), ("лопухи", "yes"), ("лопух", "yes")];
    write_head(&own.join("abuse/head.safetensors"), &config, &calm);
    config.tagging.heads_dir = Some(own.clone());
    // No topic is this sure, so a team is left to the head.
    config.tagging.topic_threshold = 1.0;
    let engine = assembly::tagger(&config, &mut Silent).unwrap();
    let tags = tag(&engine, "торшер цвета мха").await;
    assert!(tags.topics.is_empty(), "{:?}", tags.topics);
    assert_eq!(tags.team.team_id.as_str(), "mobile", "{:?}", tags.team);
    assert!(tags.team.reason.contains("head of teams") && tags.team.confidence.get() > 0.5, "{:?}", tags.team);
    let snow = tag(&engine, "ночник цвета снега").await;
    assert_eq!(snow.team.team_id.as_str(), "cards", "{:?}", snow.team);
    let named: Vec<(&str, &str)> =
        tags.provenance.heads.iter().map(|head| (head.name.as_str(), head.sha256.as_str())).collect();
    let (abuse, team) = (sha256(&own.join("abuse/head.safetensors")), sha256(&own.join("team.safetensors")));
    assert!(named.contains(&("abuse", &abuse)) && named.contains(&("team", &team)) && named.len() == 5, "{named:?}");

    std::fs::rename(own.join("team.safetensors"), own.join("squad.safetensors")).unwrap();
    let Err(refused) = assembly::tagger(&config, &mut Silent) else { panic!("a head that fits nothing serves") };
    let refused = refused.to_string();
    assert!(refused.contains("squad.safetensors") && refused.contains("labels cards, mobile"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taxonomy_of_the_users_own_gets_a_head_of_topics_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let path = folder.path().join("own.toml");
    let source = DEFAULT_SOURCE.replacen("name = \"default\"", "name = \"own\"", 1);
    assert_ne!(source, DEFAULT_SOURCE);
    std::fs::write(&path, source).unwrap();
    config.taxonomy.path = Some(path);
    let first = assembly::tagger(&config, &mut Silent).unwrap().provenance();
    let topics = first.heads.iter().find(|head| head.name == "topics").unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/e5-small-ru-en/heads/topics.safetensors");
    assert_ne!(topics.sha256, sha256(&shipped));
    let kept: Vec<_> = std::fs::read_dir(folder.path().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("topics-"))
        .collect();
    assert_eq!(kept.len(), 1);
    let changed = std::fs::metadata(&kept[0]).unwrap().modified().unwrap();
    assert_eq!(assembly::tagger(&config, &mut Silent).unwrap().provenance(), first);
    assert_eq!(std::fs::metadata(&kept[0]).unwrap().modified().unwrap(), changed);
}
