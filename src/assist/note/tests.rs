use std::sync::LazyLock;

use proptest::prelude::*;

use super::table::{Row, SOLVED, TABLE, TENSES};
use super::*;
use crate::assist::playbook::Playbook;
use crate::assist::promises::PromiseVerdict;
use crate::assist::writer::{AdviceSource, WrittenNote, WrittenPromise, WrittenTask};
use crate::feedback::{Speaker, Turn};
use crate::tags::sample::nothing_found;
use crate::tags::{Language, Tags};
use crate::taxonomy::Taxonomy;

static PLAYBOOK: LazyLock<Playbook> =
    LazyLock::new(|| Playbook::default_playbook(&Taxonomy::default_taxonomy().unwrap()).unwrap());

/// Tags that tell nothing: what is found is found by the words.
pub(super) fn tags() -> Tags {
    Tags { language: Language::Russian, ..nothing_found("") }
}

fn read(talk: &Talk) -> (acts::Acts, Note) {
    rules::read(talk, &tags(), &PromiseCheck::new(&PLAYBOOK, &Circumstances::default()))
}

fn body(talk: &str) -> Body {
    as_turns(Feedback::from_text("f", talk)).body
}

/// The note of the rules with what a model wrote.
fn merged(talk: &str, written: WrittenNote) -> Note {
    let talk = Talk::of(&body(talk));
    let (acts, note) = read(&talk);
    merge::merged(note, written, &talk, &acts, &PromiseCheck::new(&PLAYBOOK, &Circumstances::default()))
}

#[test]
fn conversations_are_written_down_as_a_colleague_would() {
    let mut wrong = Vec::new();
    for Row { name, talk, issue, steps, promises, outcome, left } in TABLE {
        let (_, note) = read(&Talk::of(&body(talk)));
        let found_issue = note.issue.as_ref().map(|line| line.text.clone()).unwrap_or_default();
        let found_steps: Vec<&str> = note.steps.iter().map(|line| line.text.as_str()).collect();
        let found_promises: Vec<_> = note
            .promises
            .iter()
            .map(|promise| (promise.what.as_str(), promise.who.as_str(), promise.term.as_str()))
            .collect();
        let is_right = found_issue.starts_with(issue)
            && found_steps == *steps
            && found_promises == *promises
            && note.outcome == *outcome
            && note.left_to_do.len() == *left;
        if !is_right {
            wrong.push(format!("{name}: {note:#?}"));
        }
    }
    assert!(TABLE.len() >= 12);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn places_lead_to_the_words_of_the_turn_as_given() {
    let turn = |speaker, text: &str| Turn { speaker, text: text.into(), offset_ms: None };
    let turns = vec![
        turn(Speaker::Customer, "Комиссию   сняли дважды!!!!!"),
        turn(Speaker::Operator, "Здравствуйте.  Вернём   комиссию 500 рублей завтра."),
    ];
    let (_, note) = read(&Talk::of(&Body::Turns(turns.clone())));
    let promise = &note.promises[0];
    assert_eq!(promise.place.turn, Some(1));
    assert_eq!(promise.place.span.slice(&turns[1].text), "Вернём   комиссию 500 рублей завтра.");
    assert_eq!(
        (promise.what.as_str(), promise.verdict),
        ("Вернём комиссию 500 рублей завтра", Some(PromiseVerdict::Allowed))
    );
    let issue = note.issue.unwrap().place.unwrap();
    assert_eq!((issue.turn, issue.span.slice(&turns[0].text)), (Some(0), "Комиссию   сняли дважды!!!!!"));
}

const TALK: &str = "Клиент: С меня дважды сняли комиссию, верните 75 000 рублей компенсации сегодня\n\
    Оператор: Проверила, комиссия снята дважды. Вернём вам комиссию 500 рублей завтра.\n\
    Оператор: Менеджер перезвонит вам в течение 3 часов.\n\
    Клиент: Ничего не решили, безобразие";

fn written() -> WrittenNote {
    WrittenNote {
        issue: "Клиент жалуется: комиссию сняли дважды.".into(),
        steps: vec!["Оператор проверил, комиссия снята дважды".into()],
        promises: vec![WrittenPromise {
            what: "Вернуть комиссию 500 рублей".into(),
            who: "оператор".into(),
            term: "завтра".into(),
            quote: "вернём вам комиссию 500 рублей завтра".into(),
        }],
        outcome: NoteOutcome::NotSolved,
        outcome_note: "Клиент недоволен: ничего не решили.".into(),
        left_to_do: vec![WrittenTask {
            what: "Вернуть комиссию 500 рублей".into(), who: "оператор".into()
        }],
    }
}

#[test]
fn what_rests_on_the_conversation_is_the_models_and_what_it_left_out_stays() {
    let note = merged(TALK, written());
    assert_eq!(note.refused_parts, 0, "{note:#?}");
    let issue = note.issue.as_ref().unwrap();
    assert_eq!((issue.source, issue.text.as_str()), (AdviceSource::Model, "Клиент жалуется: комиссию сняли дважды."));
    assert_eq!((note.outcome, note.outcome_source), (NoteOutcome::NotSolved, AdviceSource::Model));
    let promises: Vec<_> = note.promises.iter().map(|promise| (promise.what.as_str(), promise.source)).collect();
    assert_eq!(
        promises,
        [
            ("Вернуть комиссию 500 рублей", AdviceSource::Model),
            ("Менеджер перезвонит вам в течение 3 часов", AdviceSource::Rules),
        ]
    );
    assert_eq!(note.promises[0].verdict, Some(PromiseVerdict::Allowed));
    let tasks: Vec<_> = note.left_to_do.iter().map(|task| (task.what.as_str(), task.source)).collect();
    assert_eq!(tasks[0], ("Вернуть комиссию 500 рублей", AdviceSource::Model));
    assert_eq!(tasks[1], ("Менеджер перезвонит вам в течение 3 часов", AdviceSource::Rules), "{tasks:?}");
}

#[test]
fn what_a_model_makes_up_is_refused() {
    let rules = read(&Talk::of(&body(TALK))).1;
    let promise = |what: &str, quote: &str| WrittenPromise {
        what: what.into(),
        who: "8 900 123-45-67".into(),
        term: "через минуту".into(),
        quote: quote.into(),
    };
    let note = merged(
        TALK,
        WrittenNote {
            issue: "Клиенту вернут 90 000 рублей".into(),
            steps: vec!["Выдан новый телефон".into(), "Клиенту перечислили 75 000 рублей компенсации".into()],
            promises: vec![
                promise("Вернуть 75 000 рублей", "верните 75 000 рублей компенсации сегодня"),
                promise("Вернуть 75 000 рублей", "мы вернём вам 75 000 рублей"),
                promise("Вернуть 75 000 рублей", "Проверила, комиссия снята дважды"),
                promise("Выплатить 75 000 рублей", "Менеджер перезвонит вам в течение 3 часов"),
            ],
            outcome: NoteOutcome::Solved,
            outcome_note: "Клиент доволен".into(),
            left_to_do: vec![WrittenTask {
                what: "Выплатить 75 000 рублей компенсации сегодня".into(),
                who: "банк".into(),
            }],
        },
    );
    assert_eq!(note.issue, rules.issue);
    assert_eq!(note.steps, rules.steps);
    assert_eq!(
        (note.outcome, note.outcome_source, &note.outcome_note),
        (rules.outcome, AdviceSource::Rules, &rules.outcome_note)
    );
    assert_eq!(note.refused_parts, 8, "{note:#?}");
    // A true quotation keeps its own words, its own term and nobody's telephone.
    let promises: Vec<_> =
        note.promises.iter().map(|one| (one.what.as_str(), one.who.as_str(), one.term.as_str())).collect();
    assert_eq!(promises[1], ("Менеджер перезвонит вам в течение 3 часов", "", "в течение 3 часов"));
    assert_eq!(promises.len(), 2);
    assert!(note.left_to_do.iter().all(|task| !task.what.contains("75")), "{:?}", note.left_to_do);
}

/// A model that writes nothing but this.
fn nothing() -> WrittenNote {
    WrittenNote {
        issue: String::new(),
        steps: vec![],
        promises: vec![],
        outcome: NoteOutcome::Unclear,
        outcome_note: String::new(),
        left_to_do: vec![],
    }
}

#[test]
fn nothing_promised_is_told_as_done_and_nothing_done_as_left() {
    let mut wrong = Vec::new();
    for (talk, text, is_step, is_task) in TENSES {
        let talk = format!("Клиент: Здравствуйте, у меня вопрос\n{talk}");
        let step = merged(&talk, WrittenNote { steps: vec![(*text).into()], ..nothing() });
        let what = (*text).into();
        let left_to_do = vec![WrittenTask { what, who: String::new() }];
        let task = merged(&talk, WrittenNote { left_to_do, ..nothing() });
        let has_step = step.steps.iter().any(|line| line.text == *text && line.source == AdviceSource::Model);
        let has_task = task.left_to_do.iter().any(|one| one.what == *text && one.source == AdviceSource::Model);
        if (has_step, step.refused_parts == 0) != (*is_step, *is_step) {
            wrong.push(format!("step {text:?} of {talk:?}: {step:#?}"));
        }
        if has_task != *is_task {
            wrong.push(format!("task {text:?} of {talk:?}: {task:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_promise_and_an_end_are_not_told_as_done_either() {
    let talk = "Клиент: Взяли комиссию 350 рублей\nОператор: Вернём комиссию 350 рублей до пятницы.\nКлиент: Жду";
    let promises = vec![WrittenPromise {
        what: "Вернули комиссию 350 рублей".into(),
        who: "оператор".into(),
        term: "до пятницы".into(),
        quote: "Вернём комиссию 350 рублей до пятницы".into(),
    }];
    let outcome_note = "Комиссия 350 рублей возвращена".into();
    let note = merged(talk, WrittenNote { promises, outcome_note, outcome: NoteOutcome::Partly, ..nothing() });
    assert_eq!(note.promises[0].what, "Вернём комиссию 350 рублей до пятницы", "the turn's own words stay");
    assert_eq!(note.outcome_note.unwrap().text, "Жду");
    assert_eq!((note.outcome, note.refused_parts), (NoteOutcome::Partly, 1));
}

#[test]
fn a_model_calls_solved_what_the_end_bears_out() {
    let mut wrong = Vec::new();
    for (talk, is_borne) in SOLVED {
        let (_, rules) = read(&Talk::of(&body(talk)));
        let note = merged(talk, WrittenNote { outcome: NoteOutcome::Solved, ..nothing() });
        let expected = if *is_borne {
            (NoteOutcome::Solved, AdviceSource::Model, 0)
        } else {
            (NoteOutcome::Unclear, AdviceSource::Rules, 1)
        };
        if rules.outcome != NoteOutcome::Unclear || (note.outcome, note.outcome_source, note.refused_parts) != expected
        {
            wrong.push(format!("{talk}: by rules {}, {note:#?}", rules.outcome));
        }
    }
    assert!(SOLVED.len() >= 16 && 2 * SOLVED.iter().filter(|(_, is_borne)| *is_borne).count() + 1 >= SOLVED.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_models_words_are_masked() {
    let talk =
        "Клиент: Меня зовут Зарема, тел. 8 900 123-45-67, не пришёл код\nОператор: Код отправила, проверю через час.";
    let issue = "Меня зовут Зарема, тел. 8 900 123-45-67, не пришёл код".into();
    let note = merged(talk, WrittenNote { issue, ..written() });
    let shown = format!("{note:?}");
    assert!(!shown.contains("Зарема") && !shown.contains("900 123"), "{shown}");
}

#[test]
fn one_text_has_no_promises_whatever_a_model_says() {
    let talk = "Обещали вернуть 500 рублей завтра, верните деньги";
    let written = WrittenNote {
        promises: vec![WrittenPromise {
            what: "Вернуть 500 рублей".into(),
            who: String::new(),
            term: "завтра".into(),
            quote: "Обещали вернуть 500 рублей завтра".into(),
        }],
        ..written()
    };
    let note = merged(talk, written);
    assert!(note.promises.is_empty() && note.steps.is_empty() && note.left_to_do.is_empty(), "{note:#?}");
}

proptest! {
    /// Whatever is said, every place lies in its turn, and whatever a model says, no promise is without words of ours.
    #[test]
    fn any_conversation_has_a_note(
        turns in prop::collection::vec((0_usize..3, "\\PC{0,60}|Вернём [а-я]{1,5} через [1-9] часа|спасибо, жду"), 1..6),
        quote in "\\PC{0,30}",
    ) {
        let turns: Vec<Turn> = turns
            .into_iter()
            .map(|(speaker, text)| Turn { speaker: Speaker::ALL[speaker], text, offset_ms: None })
            .collect();
        let talk = Talk::of(&Body::Turns(turns.clone()));
        let (acts, note) = read(&talk);
        let written = WrittenNote {
            promises: vec![WrittenPromise { what: quote.clone(), who: quote.clone(), term: quote.clone(), quote }],
            ..written()
        };
        let check = Circumstances::default();
        let note = merge::merged(note, written, &talk, &acts, &PromiseCheck::new(&PLAYBOOK, &check));
        for promise in &note.promises {
            let turn = &turns[promise.place.turn.unwrap() as usize];
            prop_assert!(turn.speaker != Speaker::Customer);
            prop_assert!(!promise.place.span.is_empty() && promise.place.span.end as usize <= turn.text.chars().count());
        }
    }
}
