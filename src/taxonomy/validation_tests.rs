//! Every kind of problem, with the line and the key that it is reported at.

use super::{MAX_FILE_BYTES, Taxonomy, TaxonomyError};

const SAMPLE: &str = include_str!("sample.toml");

/// The problems of a source, a line each, without the file's name.
fn problems_of(source: &str) -> Vec<String> {
    match Taxonomy::parse(source, "t.toml") {
        Ok(_) => Vec::new(),
        Err(error) => {
            let shown = error.to_string();
            shown.lines().map(|line| line.strip_prefix("t.toml:").unwrap_or(line).to_owned()).collect()
        }
    }
}

/// Replaces `from`, which must stand in the sample exactly once.
fn sample_with(from: &str, to: &str) -> String {
    assert_eq!(SAMPLE.matches(from).count(), 1, "{from:?} stands in the sample once");
    SAMPLE.replace(from, to)
}

#[test]
fn sample_has_no_problems() {
    assert_eq!(problems_of(SAMPLE), Vec::<String>::new());
}

#[test]
fn each_problem_is_reported_with_its_line_and_key() {
    let cases: &[(&str, &str, &[&str])] = &[
        // Head of the file.
        ("schema = 1", "schema = 2", &["1: schema: 2 is not known to this version; allowed: 1"]),
        ("schema = 1", "", &["1: schema: is missing; allowed: 1"]),
        ("schema = 1", "schema = \"1\"", &["1: schema: expected a number, found a string"]),
        ("name = \"sample\"", "name = \" \"", &["2: name: is empty"]),
        (
            "name = \"sample\"",
            "nmae = \"sample\"",
            &[
                "1: name: is missing; a short name of the taxonomy",
                "2: nmae: no such key; did you mean \"name\"?; allowed: schema, name, languages, triage_team, teams, topics, \
             signals, ownership, rules",
            ],
        ),
        (
            "[\"ru\", \"en\"]",
            "[\"ru\", \"en\", \"Deutsch\"]",
            &["3: languages[2]: \"Deutsch\" is not a language code of 2 or 3 lower-case letters"],
        ),
        ("[\"ru\", \"en\"]", "[\"ru\", \"en\", \"ru\"]", &["3: languages[2]: \"ru\" is listed twice"]),
        ("[\"ru\", \"en\"]", "[]", &["3: languages: is an empty list; give at least one or leave the key out"]),
        (
            "triage_team = \"contact_centre\"",
            "triage_team = \"contact_center\"",
            &["4: triage_team: no team \"contact_center\"; did you mean \"contact_centre\"?"],
        ),
        // Ids.
        (
            "[[teams]]\nid = \"cards\"",
            "[[teams]]\nid = \"Cards\"",
            &[
                "11: teams[1].id: \"Cards\" is not an id; allowed: a lower-case Latin letter, then lower-case Latin letters, \
             digits and `_`",
                "64: ownership[1].team: no team \"cards\"; did you mean \"Cards\"?",
            ],
        ),
        (
            "[[topics]]\nid = \"other\"",
            "[[topics]]\nid = \"cards\"",
            &[
                "40: topics[3].id: \"cards\" is taken already: topics[1].id at line 26",
                "74: ownership[3].topic: no topic \"other\"",
            ],
        ),
        (
            "id = \"write_to_support\"",
            "id = \"between_partners\"",
            &["83: rules[1].id: \"between_partners\" is taken already: rules[0].id at line 78"],
        ),
        (
            "id = \"deflection\"\nname",
            "name",
            &[
                "51: signals[1].id: is missing; a lower-case Latin letter, then lower-case Latin letters, digits and `_`",
                "83: rules[1].signal: no signal \"deflection\"",
            ],
        ),
        // Texts by language.
        (
            "name = { ru = \"Партнёрства\" }",
            "name = { en = \"Partnerships\" }",
            &["18: teams[2].name.ru: is missing; the taxonomy's first language is the fallback of all others"],
        ),
        (
            "name = { ru = \"Партнёрства\" }",
            "name = { ru = \"Партнёрства\", de = \"x\" }",
            &["18: teams[2].name.de: \"de\" is not among the taxonomy's languages: ru, en"],
        ),
        (
            "name = { ru = \"Партнёрства\" }",
            "name = \"Партнёрства\"",
            &["18: teams[2].name: expected a table by language such as { ru = ... }, found a string"],
        ),
        (
            "name = { ru = \"Партнёрства\" }\n",
            "",
            &["16: teams[2].name: is missing; a table by language such as { ru = \"...\" }"],
        ),
        // Teams.
        (
            "name = { ru = \"Контакт-центр\", en = \"Contact centre\" }",
            "name = { ru = \"К\" }\nescalates_to = \"cards\"",
            &["9: teams[0].escalates_to: escalation goes in a circle: contact_centre -> cards -> contact_centre"],
        ),
        (
            "name = { ru = \"Контакт-центр\", en = \"Contact centre\" }",
            "name = { ru = \"К\" }\nescalates_to = \"contact_centre\"",
            &["9: teams[0].escalates_to: escalation goes in a circle: contact_centre -> contact_centre"],
        ),
        (
            "name = { ru = \"Контакт-центр\", en = \"Contact centre\" }",
            "name = { ru = \"К\" }\nescalates_to = \"legal\"",
            &["9: teams[0].escalates_to: no team \"legal\""],
        ),
        // The tree of topics.
        (
            "id = \"cards\"\nparent = \"money\"",
            "id = \"cards\"\nparent = \"mony\"",
            &["27: topics[1].parent: no topic \"mony\"; did you mean \"money\"?"],
        ),
        (
            "name = { ru = \"Деньги\", en = \"Money\" }",
            "parent = \"transfers\"\nname = { ru = \"Деньги\" }",
            &[
                "23: topics[0].parent: parents go in a circle: money -> transfers -> money",
                "38: topics[2].examples: a topic with topics below it has no examples of its own; give them to the topics below",
            ],
        ),
        (
            "[[topics]]\nid = \"other\"",
            "[[topics]]\nid = \"other\"\nparent = \"transfers\"",
            &[
                "37: topics[2].examples: a topic with topics below it has no examples of its own; give them to the topics below",
                "41: topics[3].parent: more than two levels: \"other\" stands in \"transfers\", which itself stands in \"money\"",
            ],
        ),
        // Examples.
        (
            "examples = { ru = [\"Хочу спросить\"] }",
            "",
            &[
                "39: topics[3].examples.ru: is missing; a topic without topics below it needs examples in the first language",
            ],
        ),
        (
            "examples = { ru = [\"Хочу спросить\"] }",
            "examples = { en = [\"A question\"] }",
            &[
                "42: topics[3].examples.ru: is missing; a topic without topics below it needs examples in the first language",
            ],
        ),
        (
            "examples = { ru = [\"Хочу спросить\"] }",
            "examples = { ru = [] }",
            &["42: topics[3].examples.ru: is an empty list; give at least one or leave the key out"],
        ),
        (
            "examples = { ru = [\"Хочу спросить\"] }",
            "examples = { ru = [\"Хочу спросить\", \"\", 5] }",
            &[
                "42: topics[3].examples.ru[1]: is empty",
                "42: topics[3].examples.ru[2]: expected a string, found a whole number",
            ],
        ),
        (
            "[\"Хочу спросить\"]",
            "[\"хочу спросить\",\n\"ПЕРЕВОД  висит третий день\"]",
            &[
                "43: topics[3].examples.ru[1]: the same example stands in topics[2].examples.ru[0] at line 37; an example is given \
             once",
            ],
        ),
        (
            "[\"Банк шлёт к партнёру, партнёр в банк\"]",
            "[\"Футбол\", \"футбол\"]",
            &["49: signals[0].examples.ru[1]: the same example stands in signals[0].examples.ru[0]"],
        ),
        // Signals.
        (
            "min_confidence = 0.6",
            "min_confidence = 60",
            &["47: signals[0].min_confidence: 60 is out of range; allowed: 0 to 1"],
        ),
        (
            "speakers = [\"operator\"]",
            "speakers = [\"operater\", \"customer\"]",
            &[
                "54: signals[1].speakers[0]: \"operater\" is not known; allowed: customer, operator, system; did you mean \
             \"operator\"?",
                "85: rules[1].speaker: \"operator\" can't carry the signal \"deflection\"; allowed: customer",
            ],
        ),
        (
            "signal = \"deflection\"",
            "topic = \"other\"",
            &["51: signals[1].examples: is missing; a signal needs examples or a phrase rule"],
        ),
        // Ownership.
        (
            "id = \"other_default\"\ntopic = \"other\"\nteam = \"contact_centre\"",
            "id = \"other_default\"",
            &[
                "40: topics[3].id: no team owns \"other\"; add an [[ownership]] rule without conditions for it or for its parent",
                "72: ownership[3].team: is missing; the team that owns the topic",
                "72: ownership[3].topic: is missing; the topic that is owned",
            ],
        ),
        (
            "topic = \"other\"\nteam",
            "topic = \"other\"\nchannel = \"chat\"\nteam",
            &[
                "40: topics[3].id: no team owns \"other\"; add an [[ownership]] rule without conditions for it or for its parent",
            ],
        ),
        (
            "topic = \"other\"\nteam",
            "topic = \"cards\"\npartner = \" \"\nteam",
            &[
                "40: topics[3].id: no team owns \"other\"; add an [[ownership]] rule without conditions for it or for its parent",
                "72: ownership[3]: \"other_default\" is as specific as \"cards_default\" at line 61 and can match the same feedback \
             of topic \"cards\"; add a condition to one of them",
                "75: ownership[3].partner: is empty",
            ],
        ),
        (
            "partner = \"*\"\nteam",
            "product = \"A\"\nteam = \"cards\"\n[[ownership]]\nid = \"by_channel\"\ntopic = \"cards\"\nchannel = \"b\"\nteam",
            &[
                "71: ownership[3]: \"by_channel\" is as specific as \"cards_of_partner\" at line 66 and can match the same \
             feedback of topic \"cards\"; add a condition to one of them",
            ],
        ),
        // Phrase rules.
        (
            "any_of = [\"банк ... партнер\", \"от одного к другому\"]",
            "",
            &["77: rules[0]: needs at least one of `any_of`, `all_of` and `regex`"],
        ),
        (
            "\"от одного к другому\"",
            "\"... к другому\", \"к ...\", \"а ... ... б\", \"*\", \"a=b\", \"—\"",
            &[
                "80: rules[0].any_of[1]: phrase \"... к другому\" begins with `...`; a gap stands between words",
                "80: rules[0].any_of[2]: phrase \"к ...\" ends with `...`; a gap stands between words",
                "80: rules[0].any_of[3]: phrase \"а ... ... б\" has two gaps in a row; one `...` lets up to 4 words through",
                "80: rules[0].any_of[4]: phrase \"*\" has \"*\", which is no word",
                "80: rules[0].any_of[5]: phrase \"a=b\" has \"a=b\": `=` stands before a word and `*` after one",
                "80: rules[0].any_of[6]: phrase \"—\" has \"—\", which is no word",
            ],
        ),
        (
            "signal = \"deflection\"",
            "signal = \"deflection\"\ntopic = \"other\"",
            &[
                "51: signals[1].examples: is missing; a signal needs examples or a phrase rule",
                "82: rules[1]: gives exactly one of `topic` and `signal`; this one gives both",
            ],
        ),
        (
            "signal = \"deflection\"",
            "topic = \"money\"",
            &[
                "51: signals[1].examples: is missing; a signal needs examples or a phrase rule",
                "84: rules[1].topic: \"money\" has topics below it; a rule gives one of those",
            ],
        ),
        ("confidence = 0.9", "confidence = 1.5", &["88: rules[1].confidence: 1.5 is out of range; allowed: 0 to 1"]),
        ("confidence = 0.9", "confidence = nan", &["88: rules[1].confidence: NaN is out of range; allowed: 0 to 1"]),
        (
            "confidence = 0.9",
            "within = \"turn\"",
            &["88: rules[1].within: \"turn\" is not known; allowed: sentence, text"],
        ),
        (
            "'поддержк\\w'",
            "'под(держк'",
            &["87: rules[1].regex: is no regular expression: unclosed group, at character 4"],
        ),
        (
            "any_of = [\"напишите в поддержку\"]\nregex = 'поддержк\\w'",
            "regex = 'х*'",
            &[
                "86: rules[1].regex: matches the empty text, so it would match everywhere; a rule without phrases needs more than that",
            ],
        ),
        (
            "'поддержк\\w'",
            "'(\\w{500}){500}'",
            &["87: rules[1].regex: is too large; at most 2048 KiB compiled are allowed"],
        ),
        // TOML itself.
        ("min_confidence = 0.6", "min_confidence 0.6", &["47:16: key with no value, expected `=`"]),
        ("min_confidence = 0.6", "id = \"again\"", &["47:1: duplicate key"]),
    ];
    let mut wrong = String::new();
    for (from, to, expected) in cases {
        let found = problems_of(&sample_with(from, to));
        if found != *expected {
            wrong.push_str(&format!("with {to:?} for {from:?}\n  found    {found:#?}\n  expected {expected:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn problems_in_many_places_are_reported_together_in_order_of_line() {
    let source =
        SAMPLE.replace("team = \"cards\"", "team = \"crads\"").replace("parent = \"money\"", "parent = \"mony\"");
    assert_eq!(
        problems_of(&source),
        [
            "27: topics[1].parent: no topic \"mony\"; did you mean \"money\"?",
            "35: topics[2].parent: no topic \"mony\"; did you mean \"money\"?",
            "64: ownership[1].team: no team \"crads\"; did you mean \"cards\"?",
        ]
    );
}

#[test]
fn hostile_files_are_refused() {
    let examples: String = (0..201).map(|number| format!("\"пример {number}\",")).collect();
    let topics: String = (0..2_001).map(|number| format!("[[topics]]\nid = \"t{number}\"\n")).collect();
    let nested = format!("a = {}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases = [
        (sample_with("\"Хочу спросить\"", &examples), "topics[3].examples: 201 examples; at most 200 are allowed"),
        (format!("{SAMPLE}\n{topics}"), "topics: 2005 entries; at most 2000 are allowed"),
        (" ".repeat(MAX_FILE_BYTES + 1), "the file has more than 8 MiB, the most allowed"),
        (nested, "max recursion depth met"),
        (
            sample_with("\"sample\"", &format!("\"{}\"", "я".repeat(201))),
            "name: has 201 characters; at most 200 are allowed",
        ),
    ];
    for (source, expected) in cases {
        let problems = problems_of(&source);
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {:.300?}", problems.first());
    }
}

#[test]
fn a_flood_of_problems_is_cut_short_and_counted() {
    let source =
        format!("{SAMPLE}\n{}", "[[rules]]\nid = \"X\"\nsignal = \"nothing\"\nany_of = [\"a\"]\n".repeat(1_000));
    let problems = problems_of(&source);
    assert_eq!(problems.len(), 1_001);
    assert!(problems[1_000].ends_with("more problems are not shown"), "{}", problems[1_000]);
}

#[test]
fn files_are_read_from_disk_and_the_error_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let missing = Taxonomy::load(&path).unwrap_err();
    assert!(matches!(missing, TaxonomyError::Read { .. }) && missing.to_string().contains("mine.toml"), "{missing}");

    std::fs::write(&path, SAMPLE).unwrap();
    assert_eq!(Taxonomy::load(&path).unwrap().name(), "sample");

    std::fs::write(&path, b"schema = 1\nname = \"\xff\"\n").unwrap();
    let broken = Taxonomy::load(&path).unwrap_err();
    assert!(broken.to_string().ends_with("mine.toml:2: is not UTF-8 text: bad byte at offset 19"), "{broken}");
    assert_eq!(broken.problems().len(), 1);
}
