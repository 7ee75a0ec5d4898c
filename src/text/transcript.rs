//! Turns of a conversation that came as one text with a label before each turn.

use std::sync::LazyLock;

use regex::Regex;

use crate::feedback::{Speaker, Turn};

/// Labelled turns from which a text counts as a transcript.
const LEAST_TURNS: usize = 2;

/// Optional list mark or bold, optional time stamp, label with an optional number or name, optional time stamp, colon, text.
static LABELLED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let stamp = r"(?:[\[(<]?(?P<STAMP>[0-9]{1,3}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]{1,3})?)[\])>]?)";
    let first = stamp.replace("STAMP", "first");
    let second = stamp.replace("STAMP", "second");
    Regex::new(&format!(
        r"^[\s>*_#•–—-]*(?:{first}[\s–—-]*)?[*_\[]*(?P<label>[A-Za-zА-Яа-яЁё]+)(?:[ ]?[№#]?[0-9]{{1,4}}|[ ]?\([^()]{{1,60}}\)|[ ][A-ZА-ЯЁ][A-Za-zА-Яа-яЁё]+)?[*_\]]*(?:\s*[,–—-]?\s*{second})?\s*:[*_]*\s*(?P<said>.*)$",
    ))
    .ok()
});

/// The stamp of a line that holds nothing else; it belongs to the turn below.
static STAMP_ALONE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^[\[(<]?(?P<stamp>[0-9]{1,3}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]{1,3})?)[\])>]?$").ok()
});

const CUSTOMER: &[&str] = &[
    "клиент",
    "клиентка",
    "абонент",
    "покупатель",
    "покупательница",
    "заказчик",
    "пользователь",
    "гость",
    "звонящий",
    "customer",
    "client",
    "caller",
    "user",
    "guest",
];
const OPERATOR: &[&str] = &[
    "оператор",
    "агент",
    "сотрудник",
    "сотрудница",
    "менеджер",
    "консультант",
    "специалист",
    "поддержка",
    "администратор",
    "диспетчер",
    "супервизор",
    "инженер",
    "operator",
    "agent",
    "manager",
    "employee",
    "representative",
    "support",
    "advisor",
    "consultant",
    "specialist",
    "supervisor",
];
const SYSTEM: &[&str] = &[
    "система",
    "бот",
    "автоответчик",
    "робот",
    "ассистент",
    "чатбот",
    "system",
    "bot",
    "ivr",
    "robot",
    "assistant",
    "chatbot",
];

/// The turns of a transcript, in order; `None` if `text` is not one.
///
/// A transcript has at least two labelled turns with words in them, and most of its lines that are not blank stand at or under
/// a label. Lines without a label carry on the turn above, joined by a line break.
pub fn parse_transcript(text: &str) -> Option<Vec<Turn>> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut pending_stamp = None;
    let (mut inside, mut outside) = (0_usize, 0_usize);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(stamp) = stamp_alone(line) {
            pending_stamp = Some(stamp);
        } else if let Some(mut turn) = labelled(line) {
            inside += 1;
            turn.offset_ms = turn.offset_ms.or(pending_stamp.take());
            turns.push(turn);
        } else if let Some(turn) = turns.last_mut() {
            inside += 1;
            if !turn.text.is_empty() {
                turn.text.push('\n');
            }
            turn.text.push_str(line);
        } else {
            outside += 1;
        }
    }
    turns.retain(|turn| !turn.text.is_empty());
    (turns.len() >= LEAST_TURNS && inside > outside).then_some(turns)
}

fn stamp_alone(line: &str) -> Option<u64> {
    let captures = STAMP_ALONE.as_ref()?.captures(line)?;
    milliseconds(captures.name("stamp")?.as_str())
}

fn labelled(line: &str) -> Option<Turn> {
    let captures = LABELLED.as_ref()?.captures(line)?;
    let speaker = speaker(captures.name("label")?.as_str())?;
    let stamp = captures.name("first").or(captures.name("second"));
    let said = captures.name("said").map_or("", |said| said.as_str());
    Some(Turn {
        speaker,
        text: said.trim_end_matches(['*', '_']).trim().to_owned(),
        offset_ms: stamp.and_then(|stamp| milliseconds(stamp.as_str())),
    })
}

fn speaker(label: &str) -> Option<Speaker> {
    let label = label.to_lowercase();
    let label = label.as_str();
    [(Speaker::Customer, CUSTOMER), (Speaker::Operator, OPERATOR), (Speaker::System, SYSTEM)]
        .into_iter()
        .find(|(_, labels)| labels.contains(&label))
        .map(|(speaker, _)| speaker)
}

/// `hh:mm:ss`, `mm:ss`, each with optional thousandths, as milliseconds.
fn milliseconds(stamp: &str) -> Option<u64> {
    let (clock, fraction) = stamp.split_once(['.', ',']).unwrap_or((stamp, ""));
    let mut seconds = 0_u64;
    for part in clock.split(':') {
        seconds = seconds * 60 + part.parse::<u64>().ok()?;
    }
    let thousandths = format!("{fraction:0<3}").parse::<u64>().ok()?;
    Some(seconds * 1_000 + thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected = (Speaker, &'static str, Option<u64>);

    fn check(text: &str, expected: &[Expected]) {
        let turns = parse_transcript(text).unwrap_or_else(|| panic!("no transcript: {text:?}"));
        let found: Vec<_> = turns.iter().map(|turn| (turn.speaker, turn.text.as_str(), turn.offset_ms)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn labels_stamps_and_continued_lines_make_turns() {
        use Speaker::{Customer, Operator, System};
        let table: [(&str, &[Expected]); 14] = [
            ("Клиент: Алло\nОператор: Слушаю вас", &[(Customer, "Алло", None), (Operator, "Слушаю вас", None)]),
            ("КЛИЕНТ: алло\nоператор : слушаю", &[(Customer, "алло", None), (Operator, "слушаю", None)]),
            (
                "[00:01:23] Абонент: нет света\n[00:01:30.5] Сотрудник: проверяю",
                &[(Customer, "нет света", Some(83_000)), (Operator, "проверяю", Some(90_500))],
            ),
            (
                "00:12 Агент: да\n01:02 - Клиент: нет",
                &[(Operator, "да", Some(12_000)), (Customer, "нет", Some(62_000))],
            ),
            (
                "00:00:01,250 Бот: нажмите один\n00:00:03,000 Клиент: ало",
                &[(System, "нажмите один", Some(1_250)), (Customer, "ало", Some(3_000))],
            ),
            (
                "- Менеджер: день добрый\n— Клиент: добрый",
                &[(Operator, "день добрый", None), (Customer, "добрый", None)],
            ),
            (
                "**Customer:** my card is lost\n**Agent:** I will block it",
                &[(Customer, "my card is lost", None), (Operator, "I will block it", None)],
            ),
            (
                "System: you are number 3\nClient: hi\nOperator: hello\nhow can I help?",
                &[
                    (System, "you are number 3", None),
                    (Customer, "hi", None),
                    (Operator, "hello\nhow can I help?", None),
                ],
            ),
            (
                "Клиент:\nне приходит код\nОператор:\nпроверяю",
                &[(Customer, "не приходит код", None), (Operator, "проверяю", None)],
            ),
            (
                "Оператор 1: ждите\nОператор №2: жду\nКлиент: и я",
                &[(Operator, "ждите", None), (Operator, "жду", None), (Customer, "и я", None)],
            ),
            ("Оператор (Ольга): ждите\nКлиент Пётр: жду", &[(Operator, "ждите", None), (Customer, "жду", None)]),
            (
                "Клиент [00:05]: ждать?\nОператор [00:09]: да",
                &[(Customer, "ждать?", Some(5_000)), (Operator, "да", Some(9_000))],
            ),
            (
                "00:07\nКлиент: когда?\n00:09\nОператор: завтра",
                &[(Customer, "когда?", Some(7_000)), (Operator, "завтра", Some(9_000))],
            ),
            (
                "Звонок от вторника\n\nКлиент: алло\n\nОператор: да: слушаю\n",
                &[(Customer, "алло", None), (Operator, "да: слушаю", None)],
            ),
        ];
        for (text, expected) in table {
            check(text, expected);
        }
    }

    #[test]
    fn other_texts_are_no_transcripts() {
        let table = [
            "",
            "Карта не работает",
            "Клиент: алло",
            "Клиент:\nОператор:",
            "Менеджер сказал: ждите\nОператор ответил: нет",
            "Адрес: улица\nДата: вчера\nИтог: ничего",
            "Пишу третий раз.\nНикто не отвечает.\nВот переписка.\nДальше некуда.\nИ ещё.\nКлиент: где?\nОператор: тут",
            "Оператор мне сообщил, что клиент: он всегда не прав",
        ];
        for text in table {
            assert_eq!(parse_transcript(text), None, "{text:?}");
        }
    }

    #[test]
    fn long_text_takes_no_longer_than_its_length() {
        let text = "Клиент: ".to_owned() + &"- 00:00 ".repeat(20_000) + "\nОператор: да";
        assert_eq!(parse_transcript(&text).map(|turns| turns.len()), Some(2));
    }
}
