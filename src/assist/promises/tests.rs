use proptest::prelude::*;

use super::*;
use crate::taxonomy::Taxonomy;

fn playbook() -> Playbook {
    Playbook::default_playbook(&Taxonomy::default_taxonomy().unwrap()).unwrap()
}

fn shown(promises: &[Promise]) -> Vec<String> {
    let show = |promise: &Promise| {
        let what = promise.gesture_id.clone().unwrap_or_else(|| promise.kind.to_string());
        let reasons: Vec<&str> = promise.reasons.iter().map(|reason| reason.as_str()).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" {}", reasons.join("+")) };
        format!("{what} {}{reasons}", promise.verdict)
    };
    promises.iter().map(show).collect()
}

/// What a text promises, in the words of the table below.
fn check(text: &str, circumstances: &Circumstances) -> Vec<String> {
    shown(&PromiseCheck::new(playbook_once(), circumstances).check(text))
}

#[test]
fn promises_are_found_and_judged_by_the_playbook() {
    let table: &[(&str, &[&str])] = &[
        ("Вернём вам комиссию 500 рублей.", &["refund_fee allowed"]),
        ("Вернём вам комиссию 5 000 рублей.", &["refund_fee needs_supervisor amount_above"]),
        ("Комиссию в две тысячи рублей вернём.", &["refund_fee needs_supervisor amount_above"]),
        ("We will refund the fee of 1,500 rubles.", &["refund_fee needs_supervisor amount_above"]),
        ("We will refund the fee of 900 rubles today.", &["refund_fee allowed"]),
        ("We will refund the fee of $20.", &["refund_fee needs_supervisor other_measure"]),
        ("Вернём 5 000 рублей.", &["money not_in_playbook no_gesture"]),
        ("Дарим скидку 10% на следующий заказ.", &["discount_next_order allowed"]),
        ("Скидка 50% ваша!", &["discount_next_order needs_supervisor percent_above"]),
        ("Начислим 800 бонусных баллов.", &["goodwill_bonus allowed"]),
        ("Начислим 8000 баллов.", &["goodwill_bonus needs_supervisor amount_above"]),
        ("Менеджер перезвонит вам в течение 3 часов.", &["manager_call allowed"]),
        ("Менеджер перезвонит вам через 15 минут.", &["manager_call needs_supervisor term_too_soon"]),
        ("A manager will call you within 1 hour.", &["manager_call needs_supervisor term_too_soon"]),
        ("Отвечу вам здесь в течение 24 часов.", &["answer_by_term allowed"]),
        ("Ответим до 23:00.", &["answer_by_term needs_supervisor term_unclear"]),
        (
            "Свет дадут до 23:00, всё будет работать через час.",
            &["term not_in_playbook no_gesture", "term not_in_playbook no_gesture"],
        ),
        ("Power will be back within 2 hours.", &["term not_in_playbook no_gesture"]),
        ("Перенесём дату платежа на неделю.", &["loan_holiday allowed"]),
        ("Компенсируем расходы: 2 500 рублей.", &["goodwill_credit allowed"]),
        (
            "Вернём комиссию 99 рублей и 10 000 рублей сверху.",
            &["refund_fee allowed", "money not_in_playbook no_gesture"],
        ),
        ("Вернём комиссию 99 рублей, списанную за перевод 10 000 рублей.", &["refund_fee allowed"]),
        ("Бесплатно доставим новый заказ.", &["free_delivery allowed"]),
        ("Подключим вам премиальный пакет бесплатно на пять лет.", &["gift not_in_playbook no_gesture"]),
        ("Дарим вам второй диван!", &["gift not_in_playbook no_gesture"]),
        ("We give you the top plan free for three years.", &["gift not_in_playbook no_gesture"]),
        ("Перезвоним вам, звонок бесплатный.", &["answer_by_term allowed"]),
        // What is no promise.
        ("Feel free to write here.", &[]),
        ("Вернуть комиссию 5 000 рублей не можем.", &[]),
        ("К сожалению, возврат комиссии не предусмотрен.", &[]),
        ("We cannot refund the fee of 5,000 rubles.", &[]),
        ("Комиссия за перевод по тарифу 5 000 рублей.", &[]),
        ("Здравствуйте! Спасибо за обращение.", &[]),
        ("Перевод на 12 000 рублей ушёл 5 мая.", &[]),
        ("Уточните, пожалуйста, номер заказа.", &[]),
    ];
    let wrong: Vec<_> = table
        .iter()
        .map(|(text, expected)| (*text, *expected, check(text, &Circumstances::default())))
        .filter(|(_, expected, found)| found != expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_sure_no_beside_a_promise_takes_nothing_from_it() {
    let text = "Изменить тариф не получится, но вернём комиссию 3000 рублей.";
    assert_eq!(check(text, &Circumstances::default()), ["refund_fee needs_supervisor amount_above"]);
    let text = "Ответим не позднее чем через 24 часа.";
    assert_eq!(check(text, &Circumstances::default()), ["answer_by_term allowed"]);
}

#[test]
fn team_and_times_used_count() {
    let day = |days: i64| Timestamp::from_second(1_700_000_000 - days * 86_400).unwrap();
    let mut circumstances = Circumstances {
        team: Some(TeamId::new("payments")),
        used: vec![GestureUse { gesture_id: "refund_fee".into(), at: Some(day(100)) }],
        now: Some(day(0)),
    };
    let text = "Вернём комиссию 500 рублей.";
    assert_eq!(check(text, &circumstances), ["refund_fee allowed"], "100 days ago is over 90");
    circumstances.used[0].at = Some(day(80));
    assert_eq!(check(text, &circumstances), ["refund_fee needs_supervisor times_used_up"]);
    circumstances.used[0].at = None;
    assert_eq!(check(text, &circumstances), ["refund_fee needs_supervisor times_used_up"], "unknown is recent");
    circumstances.used.clear();
    circumstances.team = Some(TeamId::new("hr"));
    assert_eq!(check(text, &circumstances), ["refund_fee needs_supervisor other_team"]);
    circumstances.used = vec![GestureUse { gesture_id: "loan_holiday".into(), at: None }];
    circumstances.team = Some(TeamId::new("lending"));
    assert_eq!(check("Перенесём дату платежа.", &circumstances), ["loan_holiday forbidden times_used_up"]);
}

#[test]
fn places_are_those_of_the_text_as_given() {
    let playbook = playbook();
    let circumstances = Circumstances::default();
    let text = "Здравствуйте,  Иван!  Вернём   комиссию 5 000 рублей.\nХорошего дня!";
    let found = PromiseCheck::new(&playbook, &circumstances).check(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].span.slice(text), "Вернём   комиссию 5 000 рублей");
    assert_eq!(found[0].amount, Some(Amount { value: 5_000.0, unit: Unit::Money("RUB".into()) }));
    assert_eq!(summary(&found), PromiseVerdict::NeedsSupervisor);
}

#[test]
fn what_the_customer_said_is_no_promise() {
    let playbook = playbook();
    let circumstances = Circumstances::default();
    let check = PromiseCheck::new(&playbook, &circumstances);
    let text = "Вы пишете: «верните комиссию 9000 рублей». Отвечу в течение 24 часов.";
    assert_eq!(shown(&check.check(text)).len(), 2, "in doubt it is marked");
    assert_eq!(shown(&check.check_beside(text, &["верните комиссию 9000 рублей"])), ["answer_by_term allowed"]);
}

proptest! {
    /// Whatever stands around it, an amount above the limit does not get through.
    #[test]
    fn a_promise_above_the_limit_is_always_marked(
        before in "[а-яa-z ]{0,20}[.!?] ", after in "( [а-яa-z]{1,9}){0,3}", amount in 1_001_u32..10_000_000
    ) {
        let text = format!("{before}Вернём комиссию {amount} рублей{after}.");
        let playbook = playbook_once();
        let circumstances = Circumstances::default();
        let found = PromiseCheck::new(playbook, &circumstances).check(&text);
        prop_assert!(after.contains("не ") || after.contains(" no") || summary(&found) != PromiseVerdict::Allowed, "{}: {:?}", text, found);
    }

    #[test]
    fn any_text_is_checked_and_places_lie_in_it(text in "\\PC{0,200}") {
        let circumstances = Circumstances::default();
        for promise in PromiseCheck::new(playbook_once(), &circumstances).check(&text) {
            prop_assert!(promise.span.end as usize <= text.chars().count() && !promise.span.is_empty());
        }
    }
}

fn playbook_once() -> &'static Playbook {
    static PLAYBOOK: std::sync::LazyLock<Playbook> = std::sync::LazyLock::new(playbook);
    &PLAYBOOK
}
