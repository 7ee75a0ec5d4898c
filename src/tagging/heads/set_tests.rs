use std::path::Path;

use super::*;
use crate::tagging::EncoderIdentity;
use crate::tagging::heads::TopCurve;
use crate::taxonomy::Taxonomy;

fn encoder() -> EncoderIdentity {
    EncoderIdentity { id: "small".to_owned(), sha256: "00ff".to_owned() }
}

pub(super) fn card(labels: &[&str]) -> HeadCard {
    HeadCard {
        name: "label".to_owned(),
        kind: LabelKind::Single,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        rows: 10,
        data_sha256: String::new(),
        encoder_id: "small".to_owned(),
        encoder_sha256: "00ff".to_owned(),
        ngrams: NgramSpec::default(),
        features: 0,
        cost: 1.0,
        ngram_scale: 1.0,
        prototypes: 0.0,
        words_alone: 0.0,
        vector_parts: 1,
        balanced: false,
        never_empty: false,
        held_out: None,
        trained_on: None,
        licence: None,
        taxonomy_version: None,
        weight: None,
        otklik_version: "0".to_owned(),
    }
}

fn write(path: &Path, card: HeadCard) {
    let labels = card.labels.len();
    let parts = HeadParts {
        mean: vec![0.0; 2],
        dense: vec![0.5; 2 * labels],
        hashes: Vec::new(),
        rarity: Vec::new(),
        sparse: Vec::new(),
        bias: vec![0.0; labels],
        calibration: Calibration::Softmax { slope: 1.0, top: TopCurve::STRAIGHT },
    };
    Head::new(card, parts).unwrap().save(path).unwrap();
}

/// Folders for shipped and own heads, and the default taxonomy.
fn place() -> (tempfile::TempDir, Taxonomy) {
    (tempfile::tempdir().unwrap(), Taxonomy::default_taxonomy().unwrap())
}

#[test]
fn heads_are_named_after_their_files_and_the_users_own_come_first() {
    let (folder, taxonomy) = place();
    let (shipped, own) = (folder.path().join("shipped"), folder.path().join("own"));
    let sides = [NO, YES];
    write(&shipped.join("sentiment.safetensors"), card(&["negative", "neutral", "positive"]));
    write(&shipped.join("abuse.safetensors"), card(&sides));
    write(&own.join("abuse/head.safetensors"), HeadCard { rows: 77, ..card(&sides) });
    write(&own.join("team.safetensors"), card(&["cards", "mobile"]));
    std::fs::write(own.join("notes.txt"), "x").unwrap();
    std::fs::create_dir(own.join("empty")).unwrap();

    let heads = HeadSet::load(&shipped, Some(&own), &encoder(), &taxonomy).unwrap();
    let found: Vec<(&str, bool, usize)> =
        heads.heads().iter().map(|head| (head.name.as_str(), head.own, head.head.card().rows)).collect();
    assert_eq!(found, [("abuse", true, 77), ("sentiment", false, 10), ("team", true, 10)]);
    assert_eq!(heads.specs(), [NgramSpec::default()]);
    let identity = &heads.identities()[0];
    let bytes = std::fs::read(own.join("abuse/head.safetensors")).unwrap();
    let sha256: String = {
        use sha2::Digest;
        sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!((identity.name.as_str(), &identity.sha256), ("abuse", &sha256));

    let alone = HeadSet::load(&folder.path().join("none"), None, &encoder(), &taxonomy).unwrap();
    assert!(alone.heads().is_empty());
}

#[test]
fn a_shipped_head_says_nothing_of_what_it_was_not_made_for_and_an_own_one_is_refused() {
    let (folder, taxonomy) = place();
    let shipped = folder.path().join("shipped");
    let of_version =
        |version: &str| HeadCard { taxonomy_version: Some(version.to_owned()), ..card(&["cards", "mobile_app"]) };
    write(&shipped.join("topics.safetensors"), of_version("sha256:0"));
    write(&shipped.join("joy.safetensors"), card(&[NO, YES]));
    let load = |own: Option<&Path>| HeadSet::load(&shipped, own, &encoder(), &taxonomy);
    assert!(load(None).unwrap().heads().is_empty());
    write(&shipped.join("topics.safetensors"), of_version(taxonomy.version().as_str()));
    assert_eq!(load(None).unwrap().heads()[0].name, "topics");

    let nine = ["a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"];
    for (name, card, expected) in [
        (
            "joy",
            card(&[NO, YES]),
            "the head \"joy\" with the labels no, yes can't serve: a head is named after what it tells",
        ),
        ("topics", card(&["cards", "weather"]), "labels cards, weather can't serve: weather is no topic with examples"),
        ("topics", card(&["cards", "money"]), "money is no topic with examples in the taxonomy"),
        ("team", card(&nine), "a1, a2, a3, a4, a5, a6, a7, a8 and 1 more is no team of the taxonomy"),
        ("sentiment", card(&["bad", "good"]), "it needs exactly the labels negative, neutral, positive, one a text"),
        ("abuse", card(&["false", "true"]), "it needs exactly the labels yes, no, one a text"),
    ] {
        let own = tempfile::tempdir().unwrap();
        write(&own.path().join(format!("{name}.safetensors")), card);
        let refused = load(Some(own.path())).unwrap_err().to_string();
        assert!(refused.contains(expected) && refused.contains(&format!("{name}.safetensors")), "{refused}");
    }
}

#[test]
fn folders_without_heads_other_encoders_and_two_of_one_name_are_refused() {
    let (folder, taxonomy) = place();
    let refused = |own: &Path| {
        HeadSet::load(&folder.path().join("none"), Some(own), &encoder(), &taxonomy).unwrap_err().to_string()
    };
    assert!(refused(&folder.path().join("absent")).contains("absent"));
    let own = tempfile::tempdir().unwrap();
    assert!(refused(own.path()).contains("holds no head"));
    write(&own.path().join("abuse.safetensors"), card(&[NO, YES]));
    write(&own.path().join("abuse/head.safetensors"), card(&[NO, YES]));
    assert!(refused(own.path()).contains("there is another head named \"abuse\""));
    std::fs::remove_dir_all(own.path().join("abuse")).unwrap();
    let other = HeadCard { encoder_sha256: "1234".to_owned(), encoder_id: "other".to_owned(), ..card(&[NO, YES]) };
    write(&own.path().join("abuse.safetensors"), other);
    assert!(refused(own.path()).contains("made for encoder other (1234), this one is small (00ff)"));
}
