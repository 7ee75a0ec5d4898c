//! The taxonomy as a whole: the default one, versions, owners and differences.

use std::collections::BTreeSet;

use serde_json::json;

use super::{OwnershipContext, Taxonomy, diff};
use crate::tags::TopicId;

const SAMPLE: &str = include_str!("sample.toml");

fn parse(source: &str) -> Taxonomy {
    Taxonomy::parse(source, "t.toml").unwrap()
}

fn sample_with(from: &str, to: &str) -> Taxonomy {
    assert_eq!(SAMPLE.matches(from).count(), 1, "{from:?} stands in the sample once");
    parse(&SAMPLE.replace(from, to))
}

#[test]
fn default_taxonomy_has_no_problems_and_enough_examples() {
    let taxonomy = Taxonomy::default_taxonomy().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(taxonomy.languages(), ["ru", "en"]);
    let topics = taxonomy.taggable_topics().map(|topic| (topic.id.to_string(), &topic.names, &topic.examples));
    let signals = taxonomy.signals().iter().map(|signal| (signal.id.to_string(), &signal.names, &signal.examples));
    for (id, names, examples) in topics.chain(signals) {
        // A head tells it; examples of what is no complaint would be needed as well.
        let by_head = id == "complaint" && examples.is_empty();
        for (language, at_least) in [("ru", 12), ("en", 6)].map(|(code, least)| (code, if by_head { 0 } else { least }))
        {
            assert!(names.get(language).is_some(), "{id} has a name in {language}");
            let count = examples.iter().filter(|example| example.language == language).count();
            assert!(count >= at_least, "{id} has {count} examples in {language}, at least {at_least} are wanted");
        }
    }
    for topic in taxonomy.taggable_topics() {
        let owner = taxonomy.owner(&topic.id, &OwnershipContext::default());
        assert!(owner.rule_id.is_some() && taxonomy.team(&owner.team).is_some(), "{} has an owner", topic.id);
    }
}

#[test]
fn entries_are_found_by_id_and_groups_are_not_taggable() {
    let taxonomy = parse(SAMPLE);
    let taggable: Vec<&str> = taxonomy.taggable_topics().map(|topic| topic.id.as_str()).collect();
    assert_eq!(taggable, ["cards", "transfers", "other"]);
    let cards = taxonomy.topic(&TopicId::new("cards")).unwrap();
    assert_eq!(cards.parent, Some(TopicId::new("money")));
    assert_eq!((cards.names.in_language("en"), cards.names.in_language("de")), ("Cards", "Карты"));
    let transfers = taxonomy.topic(&TopicId::new("transfers")).unwrap();
    assert_eq!((transfers.names.get("en"), transfers.names.in_language("en")), (None, "Переводы"));
    assert_eq!(transfers.descriptions.in_language("ru"), "");
    let languages: Vec<&str> = cards.examples.iter().map(|example| example.language.as_str()).collect();
    assert_eq!(languages, ["ru", "ru", "en"]);
    assert_eq!(taxonomy.topic(&TopicId::new("nothing")), None);
}

#[test]
fn version_counts_what_is_said_and_not_how_it_is_written() {
    let version = parse(SAMPLE).version().clone();
    // Computed by this code; it changes only if the serialised form of a taxonomy does, and with it every stored version.
    assert_eq!(version.as_str(), "sha256:4fca2d0778b50e5a");

    let same = [
        SAMPLE.replace('\n', "\r\n"),
        SAMPLE.replace("[[topics]]", "# a topic\n[[ topics ]]"),
        SAMPLE.replace("topic = \"cards\"\nteam = \"cards\"", "team = 'cards'\n\ntopic = \"\"\"cards\"\"\""),
        SAMPLE.replace("{ ru = \"Карты\", en = \"Cards\" }", "{ en = \"Cards\", ru = \"Карты\", }"),
        SAMPLE.replace("[\"Хочу спросить\"]", "[\n  \"Хочу спросить\", # one\n]"),
        SAMPLE.replace("confidence = 0.9", "confidence = 0.90\nwithin = \"sentence\""),
        SAMPLE.replace("id = \"handoff_loop\"", "id = \"handoff_loop\"\nspeakers = [\"customer\"]"),
        format!("\u{feff}{SAMPLE}"),
    ];
    for source in same {
        assert_ne!(source, SAMPLE);
        assert_eq!(*parse(&source).version(), version, "{source}");
    }

    let mut versions = BTreeSet::from([version]);
    let others = [
        ("name = \"sample\"", "name = \"sample2\""),
        ("[\"ru\", \"en\"]", "[\"ru\", \"en\", \"de\"]"),
        ("triage_team = \"contact_centre\"", "triage_team = \"cards\""),
        ("name = { ru = \"Партнёрства\" }", "name = { ru = \"Партнерства\" }"),
        ("[\"Хочу спросить\"]", "[\"Хочу спросить.\"]"),
        ("\"Не выпускают карту\", \"Карта размагнитилась\"", "\"Карта размагнитилась\", \"Не выпускают карту\""),
        ("min_confidence = 0.6", "min_confidence = 0.61"),
        ("speakers = [\"operator\"]", "speakers = [\"operator\", \"system\"]"),
        ("partner = \"*\"", "product = \"*\""),
        ("\"банк ... партнер\", ", ""),
        ("confidence = 0.9", "confidence = 0.9\nnot = [\"спасибо\"]"),
        ("confidence = 0.9", "confidence = 0.9\nwithin = \"text\""),
    ];
    for (from, to) in others {
        assert!(versions.insert(sample_with(from, to).version().clone()), "{to:?} for {from:?} is another version");
    }
}

#[test]
fn the_most_specific_ownership_rule_decides() {
    let taxonomy = sample_with(
        "[[rules]]\nid = \"between_partners\"",
        r#"
[[ownership]]
id = "cards_in_branch"
topic = "cards"
channel = "Branch"
team = "contact_centre"
[[ownership]]
id = "cards_of_atol_in_branch"
topic = "cards"
channel = "branch"
partner = "Атол"
team = "partnerships"
[[ownership]]
id = "money_by_chat_of_partner"
topic = "money"
channel = "chat"
partner = "*"
team = "partnerships"
[[rules]]
id = "between_partners"
"#,
    );
    let context = |product, channel, partner| OwnershipContext { product, channel, partner };
    type Case<'a> = (&'a str, OwnershipContext<'a>, &'a str, Option<&'a str>, &'a str);
    let cases: &[Case<'_>] = &[
        ("cards", context(None, None, None), "cards", Some("cards_default"), "topic cards"),
        ("cards", context(Some("loan"), Some("chat"), None), "cards", Some("cards_default"), "topic cards"),
        ("cards", context(None, None, Some("X")), "partnerships", Some("cards_of_partner"), "topic cards, partner X"),
        ("cards", context(None, None, Some(" ")), "cards", Some("cards_default"), "topic cards"),
        // A named channel counts more than any partner; both named count most; case does not matter.
        (
            "cards",
            context(None, Some("BRANCH"), Some("X")),
            "contact_centre",
            Some("cards_in_branch"),
            "topic cards, channel Branch",
        ),
        (
            "cards",
            context(None, Some("branch"), Some("атол")),
            "partnerships",
            Some("cards_of_atol_in_branch"),
            "topic cards, channel branch, partner Атол",
        ),
        // A rule of the topic itself goes before a more specific one of its group.
        (
            "cards",
            context(None, Some("chat"), Some("X")),
            "partnerships",
            Some("cards_of_partner"),
            "topic cards, partner X",
        ),
        ("transfers", context(None, None, Some("X")), "contact_centre", Some("money_default"), "topic money"),
        (
            "transfers",
            context(None, Some("chat"), Some("X")),
            "partnerships",
            Some("money_by_chat_of_partner"),
            "topic money, channel chat, partner X",
        ),
        ("nothing", context(None, None, None), "contact_centre", None, "no ownership rule for topic nothing"),
    ];
    for (topic, context, team, rule, reason) in cases {
        let owner = taxonomy.owner(&TopicId::new(*topic), context);
        let found = (owner.team.as_str(), owner.rule_id.as_deref(), owner.reason.as_str());
        assert_eq!(found, (*team, *rule, *reason), "{topic} in {context:?}");
        let escalates = owner.escalates_to.as_ref().map(|team| team.as_str());
        assert_eq!(escalates, (*team != "contact_centre").then_some("contact_centre"), "{team}");
    }
}

#[test]
fn a_difference_names_each_entry_and_field() {
    let old = parse(SAMPLE);
    assert_eq!(diff(&old, &parse(SAMPLE)).to_string(), format!("no difference: both are {}", old.version()));

    let source = SAMPLE
        .replace("triage_team = \"contact_centre\"", "triage_team = \"cards\"")
        .replace("[\"Хочу спросить\"]", "[\"Хочу узнать\"]")
        .replace("name = { ru = \"Переводы\" }", "name = { ru = \"Переводы\", en = \"Transfers\" }")
        .replace("id = \"deflection\"", "id = \"sent_away\"")
        .replace("signal = \"deflection\"", "signal = \"sent_away\"")
        .replace("min_confidence = 0.6\n", "")
        .replace("\"банк ... партнер\", \"от одного к другому\"", "\"от одного к другому\", \"банк ... партнер\"")
        .replace("confidence = 0.9", "confidence = 0.5");
    let new = parse(&source);
    let difference = diff(&old, &new);
    let expected = "\
~ triage_team: \"contact_centre\" -> \"cards\"
~ topic transfers
    name.en: nothing -> \"Transfers\"
~ topic other
    examples.ru:
      + \"Хочу узнать\"
      - \"Хочу спросить\"
+ signal sent_away
- signal deflection
~ signal handoff_loop
    min_confidence: 0.6 -> nothing
~ phrase rule between_partners
    any_of: another order
~ phrase rule write_to_support
    signal: \"deflection\" -> \"sent_away\"
    confidence: 0.9 -> 0.5";
    assert_eq!(difference.to_string(), format!("{} -> {}\n{expected}", old.version(), new.version()));

    let shown = serde_json::to_value(&difference).unwrap();
    assert_eq!(shown["signals"]["added"], json!(["sent_away"]));
    assert_eq!(
        shown["topics"]["changed"][1],
        json!({"id": "other", "fields": [{"field": "examples.ru", "added": ["Хочу узнать"], "removed": ["Хочу спросить"]}]})
    );
    assert_eq!(shown["topics"]["changed"][0]["fields"], json!([{"field": "name.en", "old": null, "new": "Transfers"}]));
}

#[test]
fn another_order_of_entries_is_another_version_and_a_difference() {
    let (first, second) = ("[[teams]]\nid = \"cards\"", "[[teams]]\nid = \"partnerships\"");
    let from = SAMPLE.find(first).unwrap();
    let to = SAMPLE.find(second).unwrap();
    let end = SAMPLE.find("[[topics]]").unwrap();
    let source = [&SAMPLE[..from], &SAMPLE[to..end], &SAMPLE[from..to], &SAMPLE[end..]].concat();
    let (old, new) = (parse(SAMPLE), parse(&source));
    assert_ne!(old.version(), new.version());
    let difference = diff(&old, &new);
    assert!(!difference.is_empty() && difference.teams.reordered && difference.teams.changed.is_empty());
    assert!(difference.to_string().ends_with("\n~ teams stand in another order"), "{difference}");
}
