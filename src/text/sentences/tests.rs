use super::*;
use crate::text::links::links;
use crate::text::words::words;

fn split(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let spans = sentences(&characters, &words(text, &[]), &links(&characters));
    spans.into_iter().map(|span| span.slice(text).to_owned()).collect()
}

/// Says what is wrong with a text that stands with `|` where a sentence ends; the bars and the spaces around them are no part
/// of it.
fn fault(marked: &str) -> Option<String> {
    let expected: Vec<&str> = marked.split(['|', '\n']).map(str::trim).filter(|part| !part.is_empty()).collect();
    let text = marked.replace(" | ", " ").replace('|', "");
    let found = split(&text);
    (found != expected).then(|| format!("{text:?}: found {found:?}, expected {expected:?}"))
}

#[test]
fn sentences_of_real_kinds_of_text() {
    let table = [
        // Plain.
        "Карта не пришла. | Жду неделю! | Когда будет?",
        "одно предложение без точки",
        "Спасибо.",
        "не работает. | звонил трижды. | тишина",
        "Сделали быстро.|Мастер вежливый.|Спасибо",
        "сломалось.|позвонил туда",
        "Ужас!|Как так можно?|Верните деньги",
        "Ужас ! | Как так ? | Верните",
        "да. | нет. | не знаю",
        "ок. | спасибо",
        // Abbreviations.
        "Звонил, т.е. писал в чат. | Ответа нет.",
        "Не приехали, т. к. забыли. | Жду.",
        "Купил чайник, утюг и т.д. | Ничего не работает.",
        "Купил чайник, утюг и т. д. и т. п., но зря. | Всё сломано.",
        "Живу в г. Курске на ул. Садовой, д. 5, кв. 7. | Света нет.",
        "Открыл счёт в 2020 г. | Закрыл в 2023 г. и забыл.",
        "Это на стр. 5 договора. | Прочитайте.",
        "Парк им. Гагарина закрыт. | Почему?",
        "Не верьте им. | Они обманывают.",
        "Были сбои у др. клиентов. | Проверьте.",
        "Тел. [PHONE_1] не отвечает. | Звонил днём.",
        "Привезли 5 шт. вместо 7 шт. | Где остальные?",
        "Оплатил 1.500 руб. | Вернули 2,5 тыс. руб. за месяц.",
        "Снято 300 руб. без причины. | Верните.",
        "I met Mr. Smith at 5 p.m. and left. | He was rude.",
        "Use e.g. the app, i.e. the new one. | It crashes.",
        "My order No. 7 is late. | No. | It is lost.",
        "Open until 6 a.m. | Then closed.",
        // Initials.
        "Спасибо мастеру А. С. Иванову за работу. | Всё отлично.",
        "Оператор Петрова М.И. помогла. | Благодарю.",
        "Принял Иванов А. С. | Потом пропал.",
        // Numbers, dates, times, versions.
        "Версия 2.5.1 падает 12.03.2024 в 10.30. | Чините.",
        "Заплатил 500. | Обещали 300.",
        "Жду с 01.02.24г. | Никто не звонит.",
        // Links.
        "Писал на help.me@bank.ru и на https://bank.ru/a.b?c=d. | Молчат.",
        "Зашёл на bank.ru. | Ошибка 404.",
        // Marks in a row, quotes, brackets, dashes.
        "Да вы что?! | Совсем?? | Нет!!!",
        "Ну... не знаю. | Наверное...",
        "Ждал... | Потом ушёл.",
        "Сказали: «Ждите!» и пропали. | Жду.",
        "Сказали: «Ждите.» | Я ждал.",
        "«Когда?» — спросил я. | «Завтра», — сказали мне.",
        "Обещали (в третий раз!) перезвонить. | Тишина.",
        "Цена выросла (!) вдвое. | За что?",
        "Он ответил: \"Нет.\" | И ушёл.",
        "They said \"Wait!\" and hung up. | I waited.",
        // Faces.
        "Спасибо! :) | Всё хорошо",
        "Всё отлично ))) | Приду ещё",
        "Супер)) | Рекомендую 👍",
        "Очень долго((( больше не приду",
        "Спасибо) | Приду ещё",
        "Мастер (Олег) пришёл вовремя. | Молодец",
        "Ужасно 😡😡 | Верните деньги. 😡 | Жду",
        "😡 Ужасный сервис",
        ")))",
        "👍",
        "+",
        // Lines and lists.
        "Минусы:|\n- дорого|\n- долго\n",
        "1. Дорого\n2. Долго. | Очень.\n3. Грубо",
        "Проблемы: | 1) долго | 2) дорого | 3) грубо",
        "Плохо. | 1. Долго ждать. | 2. Дорого.",
        "Не нравится: | • цена | • очередь",
        "Дорого\nочень",
    ];
    let faults: Vec<String> = table.into_iter().filter_map(fault).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn nothing_said_is_no_sentence() {
    for text in ["", "...", "---", "* * *", "•"] {
        assert_eq!(split(text), Vec::<String>::new(), "{text:?}");
    }
    assert_eq!(split("-----\nПодпись\n***"), ["Подпись"]);
}

#[test]
fn speech_without_marks_is_cut_at_cues() {
    let filler = |count: usize| vec!["слово"; count].join(" ");
    let text = format!("{} но {} потому что {} конец", filler(17), filler(19), filler(20));
    let parts = split(&text);
    let starts: Vec<&str> = parts.iter().map(|part| part.split(' ').next().unwrap()).collect();
    assert_eq!(starts, ["слово", "но", "потому"]);
    assert_eq!(parts.join(" "), text);
}

#[test]
fn speech_without_cues_is_cut_at_a_fixed_size() {
    for total in [41, 60, 99, 1_000] {
        let text = vec!["слово"; total].join(" ");
        let parts = split(&text);
        assert_eq!(parts.join(" "), text);
        for part in &parts {
            let size = part.split(' ').count();
            assert!((8..=25).contains(&size), "{size} of {total}");
        }
    }
}

#[test]
fn short_or_punctuated_sentences_are_not_cut() {
    let filler = |count: usize| vec!["word"; count].join(" ");
    for text in [filler(40), format!("{}, {}, {}", filler(20), filler(30), filler(15))] {
        assert_eq!(split(&text), [text]);
    }
}

#[test]
fn a_long_run_inside_a_sentence_is_cut() {
    let filler = |count: usize| vec!["word"; count].join(" ");
    let text = format!("well, {}, end. Next one", filler(45));
    let parts = split(&text);
    assert_eq!(parts.len(), 3, "{parts:?}");
    assert_eq!(parts.join(" "), text);
}

#[test]
fn sentences_never_overlap_and_hold_no_outer_space() {
    use proptest::prelude::*;
    let text = "([а-яА-Я]{1,6}|[a-z]{1,5}|[0-9]{1,4}|[.!?…,:;()«»\"•-]|:\\)|г\\.|т\\.д\\.|😀|\n| ){0,60}";
    proptest!(|(text in text)| {
        let text = text.split('\n').map(str::trim).collect::<Vec<_>>().join("\n");
        let characters: Vec<char> = text.chars().collect();
        let spans = sentences(&characters, &words(&text, &[]), &links(&characters));
        let mut end = 0;
        let mut covered = String::new();
        for span in spans {
            prop_assert!(span.start >= end && !span.is_empty(), "{:?}", span);
            end = span.end;
            let sentence = span.slice(&text);
            prop_assert_eq!(sentence.trim(), sentence);
            covered.push_str(sentence);
        }
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        prop_assert_eq!(letters(&covered), letters(&text));
    });
}
