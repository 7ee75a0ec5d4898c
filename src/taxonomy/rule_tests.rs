//! Phrase rules on texts, written as people write them.

use std::time::Instant;

use super::phrases::normalise;
use super::{RuleText, RuleWord, Taxonomy};
use crate::feedback::{CharSpan, Speaker};
use crate::text::{Word, words_as_they_stand};

/// A taxonomy of one topic, two signals and the given rules.
fn taxonomy_with(rules: &str) -> Taxonomy {
    let source = format!(
        r#"
schema = 1
name = "rules"
languages = ["ru"]
triage_team = "all"
[[teams]]
id = "all"
name = {{ ru = "Все" }}
[[topics]]
id = "topic"
name = {{ ru = "Тема" }}
examples = {{ ru = ["пример"] }}
[[ownership]]
id = "all"
topic = "topic"
team = "all"
[[signals]]
id = "by_customer"
name = {{ ru = "Клиент" }}
examples = {{ ru = ["пример"] }}
[[signals]]
id = "by_both"
name = {{ ru = "Оба" }}
speakers = ["customer", "operator"]
examples = {{ ru = ["пример"] }}
{rules}
"#
    );
    Taxonomy::parse(&source, "rules.toml").unwrap()
}

struct OwnedText {
    speaker: Speaker,
    lower: String,
    words: Vec<Word>,
    sentences: Vec<CharSpan>,
}

/// Words as the service splits them; a sentence ends with `.`, `!` or `?`.
fn split(speaker: Speaker, text: &str) -> OwnedText {
    let lower = normalise(text);
    let words = words_as_they_stand(&lower);
    let mut sentences = Vec::new();
    let mut start = 0;
    for sentence in lower.split_inclusive(['.', '!', '?']) {
        let end = start + sentence.chars().count() as u32;
        sentences.push(CharSpan::new(start, end));
        start = end;
    }
    OwnedText { speaker, words, sentences, lower }
}

/// Rules that fire, as `rule: words that it rests on | ...`, with the index of the text before words of a later one.
fn fired(taxonomy: &Taxonomy, texts: &[(Speaker, &str)]) -> Vec<String> {
    let owned: Vec<OwnedText> = texts.iter().map(|(speaker, text)| split(*speaker, text)).collect();
    let words: Vec<Vec<RuleWord<'_>>> = owned.iter().map(rule_words).collect();
    let rule_texts: Vec<RuleText<'_>> = owned.iter().zip(&words).map(|(text, words)| rule_text(text, words)).collect();
    let shown = |(index, span): &(usize, CharSpan)| {
        let words = span.slice(texts[*index].1);
        if *index == 0 { words.to_owned() } else { format!("{index}:{words}") }
    };
    let hits = taxonomy.match_rules(&rule_texts);
    let line = |hit: &super::RuleHit| {
        format!("{}: {}", hit.rule_id, hit.spans.iter().map(shown).collect::<Vec<_>>().join(" | "))
    };
    hits.iter().map(line).collect()
}

fn rule_words(text: &OwnedText) -> Vec<RuleWord<'_>> {
    text.words.iter().map(|word| RuleWord { span: word.span, lower: &word.lower, stem: &word.stem }).collect()
}

fn rule_text<'a>(text: &'a OwnedText, words: &'a [RuleWord<'a>]) -> RuleText<'a> {
    RuleText { words, lower: &text.lower, sentences: &text.sentences, speaker: text.speaker }
}

#[test]
fn phrases_match_words_by_stem_gap_prefix_and_exact_form() {
    let cases: &[(&str, &str, &[&str])] = &[
        // Stems, case and `ё`.
        ("отправить в поддержку", "Меня ОТПРАВИЛИ в поддержку!", &["ОТПРАВИЛИ в поддержку"]),
        ("Партнёр", "шлют к партнерам", &["партнерам"]),
        ("партнер", "шлют к Партнёру", &["Партнёру"]),
        ("cancel my account", "I am cancelling my accounts", &["cancelling my accounts"]),
        ("отправить в поддержку", "отправили нас в поддержку", &[]),
        // Gaps: up to four words, never over the end of a sentence.
        ("банк ... партнер", "банк партнеру", &["банк партнеру"]),
        ("банк ... партнер", "банк шлёт нас всех к партнеру", &["банк шлёт нас всех к партнеру"]),
        ("банк ... партнер", "банк шлёт нас всех снова к партнеру", &[]),
        ("банк … партнер", "банк шлёт к партнеру", &["банк шлёт к партнеру"]),
        ("банк...партнер", "банк шлёт к партнеру", &["банк шлёт к партнеру"]),
        ("банк ... партнер", "Виноват банк. Партнер молчит", &[]),
        ("банк ... партнер", "банк, банк, партнер, партнер", &["банк, банк, партнер"]),
        ("а ... б ... в", "а а б б б в", &["а а б б б в"]),
        ("а ... б в", "а б б в", &["а б б в"]),
        // As it stands.
        ("=не работает", "не работал", &["не работал"]),
        ("=работает", "работал", &[]),
        ("=работает", "Работает", &["Работает"]),
        // Beginnings.
        ("перекидыва*", "вы меня перекидываете туда-сюда", &["перекидываете"]),
        ("перекидыва*", "перекинули", &[]),
        ("друг ... перекидыва*", "друг на друга перекидывают", &["друг на друга перекидывают"]),
        // Words that the splitter takes apart.
        ("wi-fi", "пропал Wi-Fi дома", &["Wi-Fi"]),
        ("кол-центр", "звонил в кол-центр", &["кол-центр"]),
        ("can't log in", "I can’t log in", &["can’t log in"]),
        ("partner's side", "on the partner's side", &["partner's side"]),
        ("стоит 2,5 часа", "простоял, стоит 2,5 часа", &["стоит 2,5 часа"]),
        // More than one place.
        ("ошибка", "Ошибка! Снова ошибки.", &["Ошибка | ошибки"]),
        ("ошибка", "", &[]),
    ];
    for (phrase, text, expected) in cases {
        let taxonomy = taxonomy_with(&format!("[[rules]]\nid = \"r\"\ntopic = \"topic\"\nany_of = [\"{phrase}\"]"));
        let expected: Vec<String> = expected.iter().map(|words| format!("r: {words}")).collect();
        assert_eq!(fired(&taxonomy, &[(Speaker::Customer, text)]), expected, "{phrase:?} on {text:?}");
    }
}

#[test]
fn parts_of_a_rule_must_stand_together() {
    use Speaker::{Customer, Operator, System};
    type Turns<'a> = &'a [(Speaker, &'a str)];
    let cases: &[(&str, Turns<'_>, &[&str])] = &[
        // All of, in one sentence.
        (
            "topic = \"topic\"\nall_of = [\"касса\", \"не работает\"]",
            &[(Customer, "Касса опять не работает.")],
            &["r: Касса | не работает"],
        ),
        (
            "topic = \"topic\"\nall_of = [\"касса\", \"не работает\"]",
            &[(Customer, "Касса тут. Чайник не работает.")],
            &[],
        ),
        (
            "topic = \"topic\"\nany_of = [\"чек\", \"касса\"]\nall_of = [\"сломана\"]",
            &[(Customer, "Касса сломана")],
            &["r: Касса | сломана"],
        ),
        // Over sentences and turns.
        (
            "topic = \"topic\"\nwithin = \"text\"\nall_of = [\"касса\", \"не работает\"]",
            &[(Customer, "Касса у нас."), (Operator, "Слушаю"), (Customer, "Не работает.")],
            &["r: Касса | 2:Не работает"],
        ),
        (
            "topic = \"topic\"\nwithin = \"text\"\nspeaker = \"customer\"\nall_of = [\"касса\", \"не работает\"]",
            &[(Customer, "Касса у нас."), (Operator, "Не работает?")],
            &[],
        ),
        // None of.
        (
            "topic = \"topic\"\nany_of = [\"спасибо\"]\nnot = [\"нет уж\"]",
            &[(Customer, "Нет уж, спасибо. Спасибо!")],
            &["r: Спасибо"],
        ),
        (
            "topic = \"topic\"\nwithin = \"text\"\nany_of = [\"спасибо\"]\nnot = [\"нет уж\"]",
            &[(Customer, "Нет уж. Спасибо!")],
            &[],
        ),
        (
            "topic = \"topic\"\nspeaker = \"customer\"\nwithin = \"text\"\nany_of = [\"спасибо\"]\nnot = [\"нет уж\"]",
            &[(Customer, "Спасибо!"), (Operator, "Нет уж.")],
            &["r: Спасибо"],
        ),
        // Speakers: the rule's, else those who can carry the signal, else anybody.
        ("signal = \"by_customer\"\nany_of = [\"уйду\"]", &[(Operator, "уйду"), (Customer, "уйду")], &["r: 1:уйду"]),
        (
            "signal = \"by_both\"\nany_of = [\"уйду\"]",
            &[(Operator, "уйду"), (System, "уйду"), (Customer, "уйду")],
            &["r: уйду | 2:уйду"],
        ),
        (
            "signal = \"by_both\"\nspeaker = \"operator\"\nany_of = [\"уйду\"]",
            &[(Operator, "уйду"), (Customer, "уйду")],
            &["r: уйду"],
        ),
        ("topic = \"topic\"\nany_of = [\"уйду\"]", &[(System, "уйду")], &["r: уйду"]),
        // Regular expressions: in one sentence or one turn, on lower case with `е` for `ё`.
        (
            "topic = \"topic\"\nregex = 'до \\d{2}:\\d\\d'",
            &[(Customer, "Ждём! Ещё ДО 23:00 обещали")],
            &["r: ДО 23:00"],
        ),
        (
            "topic = \"topic\"\nregex = 'СВЕТ.*час'",
            &[(Customer, "Свёт дадут через час. Час!")],
            &["r: Свёт дадут через час"],
        ),
        ("topic = \"topic\"\nregex = 'свет.*час'", &[(Customer, "Свет дадут. Через час.")], &[]),
        ("topic = \"topic\"\nregex = '^через'", &[(Customer, "Дадут.Через час.")], &["r: Через"]),
        (
            "topic = \"topic\"\nwithin = \"text\"\nregex = 'свет.*час'",
            &[(Customer, "Свет дадут. Через час.")],
            &["r: Свет дадут. Через час"],
        ),
        (
            "topic = \"topic\"\nany_of = [\"свет\"]\nregex = '\\d+'",
            &[(Customer, "Свет в 5. Вода в 6. Свет")],
            &["r: Свет | 5"],
        ),
        ("topic = \"topic\"\nregex = 'всё|ё{2}'", &[(Customer, "Всё. Ё")], &["r: Всё"]),
        // A condition on the length is no evidence.
        (
            "topic = \"topic\"\nany_of = [\"ужас\"]\nregex = '^.{0,20}$'",
            &[(Customer, "Это просто ужас.")],
            &["r: ужас"],
        ),
        ("topic = \"topic\"\nany_of = [\"ужас\"]\nregex = '^.{0,9}$'", &[(Customer, "Это просто ужас.")], &[]),
        ("topic = \"topic\"\nregex = '^.{1,20}$'", &[(Customer, "Это ужас.")], &["r: Это ужас."]),
        (
            "topic = \"topic\"\nwithin = \"text\"\nspeaker = \"operator\"\nany_of = [\"обещаю\"]\nregex = '\\d+'",
            &[(Operator, "Обещаю."), (Customer, "В 5?"), (Operator, "В 6.")],
            &["r: Обещаю | 2:6"],
        ),
    ];
    for (rule, texts, expected) in cases {
        let taxonomy = taxonomy_with(&format!("[[rules]]\nid = \"r\"\n{rule}"));
        assert_eq!(fired(&taxonomy, texts), *expected, "{rule} on {texts:?}");
    }
}

#[test]
fn several_rules_fire_in_the_order_of_the_taxonomy_with_their_confidence() {
    let taxonomy = taxonomy_with(
        "[[rules]]\nid = \"z\"\ntopic = \"topic\"\nany_of = [\"касса\"]\nconfidence = 0.5\n\
         [[rules]]\nid = \"never\"\ntopic = \"topic\"\nany_of = [\"чайник\"]\n\
         [[rules]]\nid = \"a\"\nsignal = \"by_customer\"\nany_of = [\"касса сломалась\", \"касса\"]",
    );
    assert_eq!(fired(&taxonomy, &[(Speaker::Customer, "касса сломалась")]), ["z: касса", "a: касса сломалась"]);

    let text = split(Speaker::Customer, "касса");
    let words = rule_words(&text);
    let hits = taxonomy.match_rules(&[rule_text(&text, &words)]);
    let confidences: Vec<f32> = hits.iter().map(|hit| hit.confidence.get()).collect();
    assert_eq!(confidences, [0.5, 0.95]);
    assert_eq!(hits[1].target.to_string(), "signal by_customer");
}

#[test]
fn words_outside_sentences_and_texts_without_sentences_are_still_read() {
    let taxonomy = taxonomy_with("[[rules]]\nid = \"r\"\ntopic = \"topic\"\nany_of = [\"один два\"]");
    let mut text = split(Speaker::Customer, "один два");
    let words = rule_words(&text);
    let whole = RuleText { words: &words, lower: &text.lower, sentences: &[], speaker: Speaker::Customer };
    assert_eq!(taxonomy.match_rules(&[whole]).len(), 1);
    text.sentences = vec![CharSpan::new(0, 4)];
    let words = rule_words(&text);
    assert_eq!(taxonomy.match_rules(&[rule_text(&text, &words)]).len(), 1);
    assert_eq!(taxonomy.match_rules(&[]), []);
}

#[test]
fn a_hundred_rules_on_a_thousand_characters_cost_little() {
    let heads = ["банк", "касса", "не", "в", "оператор", "перевод", "карта", "wi-fi", "прилож*", "=уже"];
    let mut rules = String::new();
    for number in 0..100 {
        let head = heads[number % heads.len()];
        rules.push_str(&format!(
            "[[rules]]\nid = \"r{number}\"\ntopic = \"topic\"\nany_of = [\"{head} ... слово{number}\", \"{head} раз{number}\", \
             \"дело{number}\"]\nall_of = [\"{head}\"]\n"
        ));
    }
    for number in 0..10 {
        rules.push_str(&format!(
            "[[rules]]\nid = \"x{number}\"\ntopic = \"topic\"\nregex = 'до \\d{{1,2}}:0{number}'\n"
        ));
    }
    let taxonomy = taxonomy_with(&rules);
    let sentence =
        "Третий день не работает касса, банк шлёт к партнёру, оператор уже в десятый раз говорит про приложение. ";
    let text = split(Speaker::Customer, &sentence.repeat(10));
    assert!(text.lower.chars().count() >= 1_000);
    let words = rule_words(&text);
    let texts = [rule_text(&text, &words)];
    let best = (0..50).map(|_| {
        let started = Instant::now();
        std::hint::black_box(taxonomy.match_rules(&texts));
        started.elapsed()
    });
    let best = best.min().unwrap();
    println!("best of 50: {best:?}");
    // Ten times what it takes, so that only a change of the order of growth is caught.
    assert!(best.as_micros() < 3_000, "{best:?}");
}
