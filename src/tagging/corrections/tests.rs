use std::sync::Arc;

use super::*;

/// A vector at an angle, of length 1.
fn vector(degrees: f32) -> Vec<f32> {
    let angle = degrees.to_radians();
    vec![angle.cos(), angle.sin(), 0.0]
}

fn background() -> Background {
    let vectors: Vec<Vec<f32>> = (0..36).map(|step| vector(step as f32 * 10.0)).collect();
    Background::of(vectors.iter().map(Vec::as_slice))
}

fn text(words: &str, degrees: f32) -> TextFeatures {
    TextFeatures::of(words, vector(degrees))
}

fn answer(id: &str, text: TextFeatures, labels: &[&str], model: Option<&[(&str, f32)]>) -> Answer {
    let owned = |pairs: &[(&str, f32)]| pairs.iter().map(|(label, value)| ((*label).to_owned(), *value)).collect();
    Answer {
        id: id.to_owned(),
        text: Arc::new(text),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        model: model.map(owned),
    }
}

fn probability(foretold: &Foretold, label: &str) -> f32 {
    foretold.labels.iter().find(|(name, _)| name == label).map_or(0.0, |(_, probability)| *probability)
}

fn model(pairs: &[(&str, f32)]) -> Vec<(String, f32)> {
    pairs.iter().map(|(label, value)| ((*label).to_owned(), *value)).collect()
}

const CARD: &str = "Карту не доставили, курьер не приехал второй раз";
const SAME_CARD: &str = "карту не доставили, курьер не приехал второй раз!";
const LIKE_CARD: &str = "Курьер не приехал, карту так и не доставили";
const LOAN: &str = "Почему по кредиту начислили проценты за прошлый месяц?";

#[test]
fn the_very_next_text_profits_from_one_correction() {
    let mut memory = Memory::new(Answers::Any, 100, background());
    let given = model(&[("cards", 0.1), ("loans", 0.2)]);
    let before = probability(&memory.foretell(&text(LIKE_CARD, 12.0), Some(&given)), "delivery");
    memory.learn(answer("1", text(CARD, 10.0), &["delivery"], Some(&[("cards", 0.6)])));
    let after = memory.foretell(&text(LIKE_CARD, 12.0), Some(&given));
    assert_eq!(before, 0.0);
    assert!(probability(&after, "delivery") > 0.3, "{after:?}");
    assert_eq!(after.voters("delivery"), ["1"]);
    assert!(after.voters("loans").is_empty());
}

#[test]
fn the_same_text_gets_what_was_said_of_it_and_loses_what_was_not() {
    let mut memory = Memory::new(Answers::Any, 100, background());
    let given = model(&[("cards", 0.9), ("loans", 0.8)]);
    memory.learn(answer("1", text(CARD, 10.0), &["delivery", "loans"], Some(&[("cards", 0.9), ("loans", 0.8)])));
    let same = memory.foretell(&text(SAME_CARD, 10.5), Some(&given));
    assert!(probability(&same, "delivery") > 0.9, "{same:?}");
    assert!(probability(&same, "loans") > 0.9, "{same:?}");
    assert!(probability(&same, "cards") < 0.1, "{same:?}");
    let like = memory.foretell(&text(LIKE_CARD, 12.0), Some(&given));
    assert!(probability(&like, "cards") < 0.9, "{like:?}");
}

#[test]
fn none_of_them_is_an_answer_too() {
    let mut memory = Memory::new(Answers::Any, 100, background());
    let given = model(&[("cards", 0.7)]);
    memory.learn(answer("1", text(CARD, 10.0), &[], Some(&[("cards", 0.7)])));
    let same = memory.foretell(&text(SAME_CARD, 10.5), Some(&given));
    assert!(probability(&same, "cards") < 0.1, "{same:?}");
}

#[test]
fn a_text_unlike_every_correction_is_the_models_alone() {
    let mut memory = Memory::new(Answers::Any, 100, background());
    for id in 0..30 {
        memory.learn(answer(&id.to_string(), text(CARD, 10.0 + id as f32 / 10.0), &["delivery"], Some(&[])));
    }
    let given = model(&[("cards", 0.3), ("loans", 0.6)]);
    let foretold = memory.foretell(&text(LOAN, 190.0), Some(&given));
    assert_eq!(foretold.say, 0.0);
    assert_eq!(probability(&foretold, "loans"), 0.6);
    assert_eq!(probability(&foretold, "delivery"), 0.0);
}

#[test]
fn a_later_answer_takes_the_place_of_the_earlier_and_the_newest_of_equals_decides() {
    let mut memory = Memory::new(Answers::One, 100, background());
    memory.learn(answer("1", text(CARD, 10.0), &["cards"], None));
    memory.learn(answer("1", text(CARD, 10.0), &["couriers"], None));
    assert_eq!(memory.len(), 1);
    let best = |memory: &Memory| memory.foretell(&text(CARD, 10.0), None).labels[0].0.clone();
    assert_eq!(best(&memory), "couriers");
    memory.learn(answer("2", text(SAME_CARD, 10.0), &["cards"], None));
    assert_eq!(best(&memory), "cards");
    assert!(memory.forget("2"));
    assert!(!memory.forget("2"));
    assert_eq!(best(&memory), "couriers");
}

#[test]
fn the_newest_are_kept_and_what_is_left_out_leaves_no_trace() {
    let mut memory = Memory::new(Answers::One, 3, background());
    for id in 0..5 {
        memory.learn(answer(&id.to_string(), text(&format!("{CARD} {id}"), id as f32 * 30.0), &["a"], None));
    }
    assert_eq!(memory.ids().collect::<Vec<_>>(), ["2", "3", "4"]);
    for id in ["2", "3", "4"] {
        assert!(memory.forget(id));
    }
    assert!(memory.is_empty());
    let nothing = memory.foretell(&text(CARD, 10.0), Some(&model(&[("b", 0.25)])));
    assert_eq!(nothing.labels, model(&[("b", 0.25)]));
    let mut none = Memory::new(Answers::One, 0, background());
    none.learn(answer("1", text(CARD, 10.0), &["a"], None));
    assert!(none.is_empty());
}

/// Rows of a few labels around points of the circle, with words of their own.
fn stream(count: usize) -> Vec<(TextFeatures, String)> {
    let mut state = 7u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let words = ["карта курьер", "кредит проценты", "приложение вход", "перевод деньги", "вклад ставка"];
    (0..count)
        .map(|row| {
            let label = (row * 7 + row / 3) % words.len();
            let features = text(&format!("{} {row}", words[label]), label as f32 * 72.0 + 50.0 * noise());
            (features, format!("label {label}"))
        })
        .collect()
}

#[test]
fn labels_that_can_be_told_are_soon_told_and_the_order_alone_decides_the_bits() {
    let run = || {
        let mut memory = Memory::new(Answers::One, 1_000, background());
        let mut right = Vec::new();
        for (row, (features, label)) in stream(80).into_iter().enumerate() {
            let foretold = memory.foretell(&features, None);
            right.push(foretold.labels.first().is_some_and(|(best, _)| *best == label));
            memory.learn(answer(&row.to_string(), features, &[label.as_str()], None));
        }
        let last = memory.foretell(&text("курьер опять", 3.0), None);
        (right, last)
    };
    let (right, last) = run();
    let late = right.iter().skip(20).filter(|right| **right).count();
    assert!(late >= 55, "{late} of 60");
    assert_eq!(run().1, last);
    assert!(last.labels.iter().map(|(_, probability)| probability).sum::<f32>() <= 1.0 + 1e-5);
}

#[test]
fn learning_many_at_once_comes_to_the_same_as_one_by_one() {
    let answers = || {
        let rows = stream(60).into_iter().enumerate();
        rows.map(|(row, (features, label))| answer(&row.to_string(), features, &[label.as_str()], None))
    };
    let mut slowly = Memory::new(Answers::One, 1_000, background());
    answers().for_each(|answer| slowly.learn(answer));
    let mut at_once = Memory::new(Answers::One, 1_000, background());
    at_once.learn_many(answers().collect());
    for (features, _) in stream(20) {
        let best = |memory: &Memory| memory.foretell(&features, None).labels[0].0.clone();
        assert_eq!(best(&slowly), best(&at_once));
    }
}
