use super::*;
use crate::feedback::FeedbackKind;
use crate::tags::{SignalId, TopicId};

fn taxonomy() -> Taxonomy {
    Taxonomy::default_taxonomy().unwrap()
}

/// A playbook without problems; each test spoils it in one way.
const SAMPLE: &str = r#"schema = 1
[playbook]
name = "sample"
version = "1"
currency = "RUB"
[[gestures]]
id = "refund"
name = { ru = "Возврат", en = "Refund" }
description = { ru = "Вернуть", en = "Return" }
condition = { ru = "Ошибка", en = "Mistake" }
topics = ["cards"]
teams = ["payments"]
signals = ["churn_risk"]
limit = { amount = 100, times = 1, days = 30 }
cost = 50
above = "never"
phrases = ["верн* ... комисси*"]
[[intents]]
id = "fee"
name = { ru = "Комиссия", en = "Fee" }
script = { ru = "Назовите", en = "Name it" }
examples = { ru = ["какая комиссия", "сколько возьмёте"], en = ["what is the fee"] }
[[avoid]]
id = "call"
when = { signals = ["vague"], kinds = ["review"] }
text = { ru = "Не зовите", en = "Don't call" }
why = { ru = "Потому", en = "Because" }
patterns = ["позвоните"]
[[drafts]]
id = "general"
text = { ru = "Здравствуйте! {% if quote %}{{ quote }}{% endif %}", en = "Hello!" }
"#;

/// The problems of the sample with one text replaced by another, as they are printed.
fn problems(what: &str, with: &str) -> Vec<String> {
    assert!(SAMPLE.contains(what), "{what}");
    let error = Playbook::parse(&SAMPLE.replacen(what, with, 1), "p.toml", &taxonomy()).expect_err(with);
    error.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn the_default_playbook_is_whole_and_rich() {
    let playbook = Playbook::default_playbook(&taxonomy()).unwrap_or_else(|error| panic!("{error}"));
    assert!(playbook.gestures().len() >= 14 && playbook.avoidances().len() >= 8 && playbook.drafts().len() >= 6);
    assert!(playbook.intents().len() >= 14);
    for intent in playbook.intents() {
        let of = |language| intent.examples.iter().filter(|example| example.language == language).count();
        assert!(of(ReplyLanguage::Russian) >= 6 && of(ReplyLanguage::English) >= 3, "{}", intent.id);
    }
    assert!(playbook.gestures().iter().any(|gesture| gesture.above == Above::Never));
    assert!(playbook.gesture("refund_fee").is_some_and(|gesture| gesture.limit.amount == Some(1000.0)));
}

#[test]
fn the_version_is_that_of_the_content() {
    let version = |source: &str| Playbook::parse(source, "p.toml", &taxonomy()).unwrap().version().clone();
    let first = version(SAMPLE);
    assert!(first.as_str().starts_with("sha256:") && first.as_str().len() == 23, "{first}");
    assert_eq!(version(&format!("# a comment\n{SAMPLE}")), first);
    assert_ne!(version(&SAMPLE.replace("cost = 50", "cost = 51")), first);
    assert_ne!(version(&SAMPLE.replace("version = \"1\"", "version = \"2\"")), first);
}

#[test]
fn each_problem_is_told_with_its_place_and_what_is_allowed() {
    let first_intent = "examples = { ru = [\"какая комиссия\", \"сколько возьмёте\"], en = [\"what is the fee\"] }";
    for (what, with, expected) in [
        ("schema = 1", "schema = 2", "p.toml:1: schema: 2 is not known to this version; allowed: 1"),
        ("cost = 50", "price = 50", "p.toml:15: gestures[0].price: no such key"),
        ("\"cards\"", "\"card\"", "gestures[0].topics[0]: the taxonomy has no topic \"card\"; did you mean \"cards\"?"),
        ("[\"payments\"]", "[\"nobody\"]", "gestures[0].teams[0]: the taxonomy has no team \"nobody\""),
        ("[\"churn_risk\"]", "[\"leaving\"]", "gestures[0].signals[0]: the taxonomy has no signal \"leaving\""),
        ("\"cards\"]", "\"cards\", \"cards\"]", "gestures[0].topics[1]: \"cards\" is listed twice"),
        ("name = { ru = \"Возврат\", en", "name = { ru = \"\", en", "gestures[0].name.ru: is empty"),
        ("{ ru = \"Возврат\", en = \"Refund\" }", "{ ru = \"Возврат\" }", "gestures[0].name.en: is missing"),
        ("days = 30", "soonest_hours = 1", "gestures[0].limit.times: needs days beside it"),
        ("amount = 100", "amount = 100, percent = 5", "gestures[0].limit.percent: contradicts amount"),
        ("amount = 100", "percent = 500", "gestures[0].limit.percent: 500 is out of range; allowed: 0 to 100"),
        ("times = 1", "times = 1.5", "gestures[0].limit.times: 1.5 is not allowed; a whole number from 1"),
        ("cost = 50", "cost = 500", "gestures[0].cost: 500 contradicts limit.amount, 100"),
        ("limit = { amount = 100, times = 1, days = 30 }\n", "", "gestures[0].above: contradicts the missing limit"),
        ("\"never\"", "\"often\"", "gestures[0].above: \"often\" is not known; allowed: supervisor, never"),
        ("\"верн* ... комисси*\"", "\"... верн\"", "gestures[0].phrases[0]: phrase \"... верн\" begins with `...`"),
        ("id = \"refund\"", "id = \"Refund!\"", "gestures[0].id: \"Refund!\" is not an id"),
        ("currency = \"RUB\"", "currency = \"рубли\"", "playbook.currency: \"рубли\" is not a currency code"),
        (first_intent, "examples = { ru = [\"какая комиссия\"] }", "intents[0].examples: 1 examples; allowed: 2 to"),
        ("\"сколько возьмёте\"", "\"Какая  комиссия\"", "intents[0].examples.ru[1]: the same example stands in"),
        ("[\"review\"]", "[\"reviews\"]", "avoid[0].when.kinds[0]: \"reviews\" is not known"),
        ("en = \"Hello!\"", "en = \"{{ customer }}\"", "drafts[0].text: en: undefined value"),
        ("id = \"general\"\n", "id = \"general\"\ntopics = [\"cards\"]\n", "drafts: has no template without topics"),
    ] {
        let found = problems(what, with);
        assert!(found.iter().any(|line| line.contains(expected)), "{with}: {found:#?}");
    }
}

#[test]
fn problems_come_all_at_once_and_ids_are_unique() {
    let twice = SAMPLE.find("[[intents]]").map(|at| &SAMPLE[SAMPLE.find("[[gestures]]").unwrap()..at]).unwrap();
    let found = problems("[[intents]]", &format!("{}[[intents]]", twice.replace("cards", "nothing")));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().any(|line| line.contains("\"refund\" is taken already: gestures[0].id at line 7")));
    assert!(problems("schema = 1", "schema = ")[0].starts_with("p.toml:1:"), "syntax");
}

#[test]
fn an_occasion_asks_for_all_that_it_lists() {
    let playbook = Playbook::parse(SAMPLE, "p.toml", &taxonomy()).unwrap();
    let when = &playbook.avoidances()[0].when;
    let (vague, other) = (SignalId::new("vague"), SignalId::new("abuse"));
    let topic = TopicId::new("cards");
    assert!(when.applies(&[&topic], &[&vague, &other], Some(FeedbackKind::Review)));
    assert!(!when.applies(&[&topic], &[&other], Some(FeedbackKind::Review)));
    assert!(!when.applies(&[&topic], &[&vague], None));
    assert!(Occasion::default().applies(&[], &[], None) && when.particularity() == 5);
}

#[test]
fn a_file_is_loaded_and_one_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    let missing = Playbook::load(&path, &taxonomy()).unwrap_err();
    assert!(missing.to_string().contains("p.toml") && missing.problems().is_empty());
    std::fs::write(&path, SAMPLE).unwrap();
    assert_eq!(Playbook::load(&path, &taxonomy()).unwrap().name(), "sample");
}

#[test]
fn the_default_playbook_fits_a_taxonomy_of_ones_own_without_what_that_lacks() {
    let (whole, left_out) = Playbook::default_for(&taxonomy()).unwrap();
    assert_eq!((whole.version(), left_out), (Playbook::default_playbook(&taxonomy()).unwrap().version(), 0));
    let own = include_str!("../../taxonomy/sample.toml");
    let (fitting, left_out) = Playbook::default_for(&Taxonomy::parse(own, "own.toml").unwrap()).unwrap();
    assert!(left_out > 10 && fitting.gesture("answer_by_term").is_some() && fitting.gesture("refund_fee").is_none());
    assert_eq!(fitting.gestures().len(), fitting.promised_by().count());
    assert!(fitting.drafts().iter().any(|draft| draft.when.is_always()));
}
