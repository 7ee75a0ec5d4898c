use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::feedback::CharSpan;
use crate::text::{MaskedKind, Prepared, prepare};

/// Says what is wrong with a text that stands with `{…}` around what must be masked as `kind`.
fn fault(kind: Option<MaskedKind>, marked: &str) -> Option<String> {
    let original = marked.replace(['{', '}'], "");
    let secrets: Vec<&str> = marked.split('{').skip(1).map(|part| part.split('}').next().unwrap_or_default()).collect();
    let prepared = prepare(&original);
    let mut spans: Vec<CharSpan> = prepared.masked_items().iter().flat_map(|item| item.spans().to_vec()).collect();
    spans.sort();
    let found: Vec<&str> = spans.iter().map(|span| prepared.to_original(*span).slice(&original)).collect();
    let right = found == secrets && prepared.masked_items().iter().all(|item| Some(item.kind()) == kind);
    (!right).then(|| format!("{marked:?} became {:?}", prepared.clean()))
}

#[test]
fn personal_data_is_masked() {
    use MaskedKind::{Account, Address, Card, Email, Inn, Name, Passport, Phone, Snils};
    let table = [
        // Phones.
        (Phone, "Звоните {+7 (900) 123-45-67}, жду"),
        (Phone, "мой номер {8 900 123 45 67}"),
        (Phone, "{89001234567} перезвоните"),
        (Phone, "{79001234567}"),
        (Phone, "{+79001234567}."),
        (Phone, "тел.{89001234567}"),
        (Phone, "тел{89001234567}"),
        (Phone, "звонил на {8-800-555-35-35} дважды"),
        (Phone, "офис {8 (495) 123-45-67}, второй {(495) 123-45-67}"),
        (Phone, "{900-123-45-67} это мой"),
        (Phone, "Мой телефон {9001234567}"),
        (Phone, "тел. {123-45-67}"),
        (Phone, "{+375 29 123-45-67} не отвечает"),
        (Phone, "Call me at {+44 20 7946 0958} today"),
        (Phone, "call {(555) 234-5678} or {555-234-5678}"),
        (Phone, "{8(900)1234567}, {+7-900-123-4567}, {7 900 123 45 67}"),
        (Phone, "перевёл по номеру {８９００１２３４５６７}"),
        (Phone, "ждал 5 дней, звонил с {8 900 123 45 67} 3 раза"),
        // Cards.
        (Card, "карта {4111 1111 1111 1111} заблокирована"),
        (Card, "карта {4111-1111-1111-1111}"),
        (Card, "{4111111111111111}"),
        (Card, "my card {3782 822463 10005} was stolen"),
        (Card, "карта {2200000000000004}, срок 12/27"),
        // Mail.
        (Email, "Пишите на {ivan.petrov+1@mail.example.ru}."),
        (Email, "почта:{a_b-c@ya.ru}, жду"),
        (Email, "ящик {иван@почта.рф} не работает"),
        // Passports.
        (Passport, "паспорт {4509 123456} выдан"),
        (Passport, "Паспорт серии {45 09 № 123456}"),
        (Passport, "серия {4509 номер 123456}"),
        (Passport, "паспортные данные: {4509123456}"),
        (Passport, "загранпаспорт {71 1234567}"),
        // Insurance and tax numbers.
        (Snils, "СНИЛС {112-233-445 95}"),
        (Snils, "{112-233-445 95}"),
        (Snils, "снилс {11223344595}"),
        (Inn, "ИНН {500100732259}"),
        (Inn, "мой инн: {5001 0073 2259}"),
        (Inn, "ИНН {7707083893} организации"),
        (Inn, "{500100732259}"),
        // Accounts and contracts.
        (Account, "счёт {40817810099910004312} арестован"),
        (Account, "р/с {40817810099910004312}"),
        (Account, "IBAN {DE89 3704 0044 0532 0130 00} is wrong"),
        (Account, "iban {GB82WEST12345698765432}"),
        (Account, "Лицевой счёт {123456789}, нет воды"),
        (Account, "л/с № {1234567}"),
        (Account, "лицевой счет номер {1234 5678 9012}"),
        (Account, "по договору № {123-45/6} ничего"),
        (Account, "договор №{А-12345} расторгнут"),
        (Account, "номер договора {12345}"),
        (Account, "My account number is {12345678}"),
        (Account, "contract no. {AB-12345}"),
        // Names.
        (Name, "Меня зовут {Ангелина}, я ваш клиент"),
        (Name, "меня зовут {ангелина} компания ваша"),
        (Name, "Меня зовут {Зульмира Кадыева}."),
        (Name, "звонила {Иванова Мария Петровна}, обещала"),
        (Name, "Спасибо {Марии Петровне} за помощь"),
        (Name, "{ИВАНОВ ИВАН ИВАНОВИЧ}"),
        (Name, "оператор {мария петровна} помогла"),
        (Name, "Начальник {Петров А.С.} не ответил"),
        (Name, "{И. И. Сидоров} подписал"),
        (Name, "С уважением, {Мария}"),
        (Name, "С уважением,\n{Иванова М. П.}"),
        (Name, "Оператор {Ольга} нагрубила"),
        (Name, "менеджер {Сидоров} пропал"),
        (Name, "Директор {Ковалев В. В.} Подтвердил"),
        (Name, "оператор {Вишневская} сказала"),
        (Name, "Мастер по имени {Рустам} опоздал"),
        (Name, "приходил {Сергей Кузнецов}"),
        (Name, "Здравствуйте, {Анна}! Вопрос"),
        (Name, "My name is {John Smith} and I wait"),
        (Name, "Best regards,\n{Kate Brown}"),
        (Name, "Mr. {Smith} hung up"),
        (Name, "agent {Kate} was rude"),
        (Name, "Меня зовут {Ангелина}. Повторяю: {Ангелина}."),
        // Addresses.
        (Address, "Живу: {ул. Садовая, д. 5, кв. 7}."),
        (Address, "г. Курск, {улица Большая Садовая, дом 12 корп. 3 кв 45}"),
        (Address, "{Ленинский проспект, 45} нет воды"),
        (Address, "на {ул. Полевой 22} лужа"),
        (Address, "{ул. 8 Марта, 5а} без света"),
        (Address, "{улица ленина дом 5 квартира 12} нет света"),
        (Address, "{пр-т Маршала Жукова, д. 5/2}"),
        (Address, "{ул. им. Гагарина, д. 3}, лифт"),
        (Address, "в {д. 5, кв. 12} топит"),
        (Address, "I live at {221B Baker Street, Flat 2}."),
        (Address, "deliver to {45 North Elm Avenue} please"),
    ];
    let faults: Vec<String> = table.into_iter().filter_map(|(kind, marked)| fault(Some(kind), marked)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn what_is_not_personal_stays() {
    let table = [
        // Orders, parcels, tickets, bar codes.
        "Заказ № 123456789 не пришёл",
        "номер заказа 89001234567",
        "заказ 12345678901",
        "Трек-номер 80081234567891",
        "обращение №2024-123456 закрыто",
        "посылка RA123456785RU",
        "код товара 4601234567893",
        "артикул 1234-5678-9012-3456",
        "order #4111111111111112 lost",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "ошибка 0x80070005",
        "IMEI 123456789012345",
        "карта 4111 1111 1111 1112",
        "карта *1234, **** 5678",
        // Money.
        "Списали 1 500 000 руб., вернули 12 500",
        "пополнил на 8 900 рублей",
        "+1 000 000 000 рублей",
        "1.500,50 ₽ и 2,5 тыс.",
        "счёт 15000 рублей",
        "договор 50000 рублей",
        "+100500",
        // Dates, times, durations.
        "12.03.2024 10:30:15",
        "с 01.02.2023 по 28.02.2023",
        "2024-03-12T10:30:00",
        "договор от 12.03.2024",
        "договор 2024 года",
        "ждал 8 900 секунд",
        "работает 24/7, 365 дней",
        "10-12-14 дней",
        // Numbers without check sums or cues.
        "123-45-67",
        "1234567890",
        "112-233-445 96",
        "500100732258",
        "ИНН 7707083894",
        "серия 12 эпизод 123456",
        "12345678901234567890",
        // Mentions.
        "@petya77 ответьте",
        "билет @ 500",
        "a@b",
        // Names that are none.
        "Оператор Мегафон не работает",
        "оператор Билайн",
        "менеджер Сбербанка отказал",
        "директор Альфа-Банка",
        "С уважением к вам",
        "С уважением, Ваш клиент",
        "С уважением, Администрация",
        "как меня зовут, знаете?",
        "меня зовут в гости",
        "Оператор сказал ждать",
        "Спасибо Большое",
        "мастер готов",
        "оператор слава богу ответил",
        "Один Магазин хорош",
        "Русский Роман",
        "я гражданин РФ",
        "сотрудница Энского филиала",
        "вера в банк пропала, надежда умерла",
        "Опоздали, Т. Е. Стойте и Т. К. Потом, P. S. Картина",
        "сотрудники Курганского отделения, оператор Московский филиал",
        "оператор Связь-Украина",
        "на проспекте Ивана Смородина и ул. М. Горького темно",
        "ул. Героев 7-й армии",
        "звоню. 200.00-15",
        "Кирпич и Москвич сломались",
        "основа духовна",
        "I hope my card will work",
        "agent said no",
        "Dear Support Team",
        "Kind regards to your team and thanks",
        "5 ms London",
        "ООО Ромашка",
        "T-Mobile",
        // Places that are no homes.
        "на улице Полевой темно",
        "на улице было 5 человек",
        "на улице 5 градусов",
        "улица в 5 утра",
        "дом 5 этажей",
        "2 кв. 2024",
        "45 кв. м",
        "парк им. Гагарина",
        "площадь 45 метров",
        "Ленинский проспект закрыт",
        "пр. 5 рублей",
        "5 Easy Steps",
    ];
    let faults: Vec<String> = table.into_iter().filter_map(|text| fault(None, text)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn equal_values_share_a_placeholder() {
    let prepared = prepare("Звоните 8 900 123-45-67 или +79001234567, не 89007654321. Пишите A@b.ru, a@b.ru");
    assert_eq!(prepared.clean(), "Звоните [PHONE_1] или [PHONE_1], не [PHONE_2]. Пишите [EMAIL_1], [EMAIL_1]");
    let found: Vec<(&str, &str, usize)> =
        prepared.masked_items().iter().map(|item| (item.placeholder(), item.value(), item.spans().len())).collect();
    assert_eq!(
        found,
        [("[PHONE_1]", "8 900 123-45-67", 2), ("[PHONE_2]", "89007654321", 1), ("[EMAIL_1]", "A@b.ru", 2)]
    );
}

#[test]
fn what_a_cue_proved_is_masked_without_the_cue_too() {
    let prepared = prepare("Договор №1234567. Меня зовут Мария Кузнецова. Ещё раз: 1234567, Кузнецова, Мария.");
    for secret in ["1234567", "Мария", "Кузнецова"] {
        assert!(!prepared.clean().contains(secret), "{secret} in {:?}", prepared.clean());
    }
}

#[test]
fn placeholders_that_came_with_the_text_stay_and_are_not_given_again() {
    let prepared = prepare("Было [PHONE_1] и [CARD_2], стало 89001234567");
    assert_eq!(prepared.clean(), "Было [PHONE_1] и [CARD_2], стало [PHONE_2]");
    assert_eq!(prepared.unmask(prepared.clean()), "Было [PHONE_1] и [CARD_2], стало 89001234567");
    let words: Vec<&str> = prepared.words().iter().map(|word| word.lower.as_str()).collect();
    assert_eq!(words, ["было", "и", "стало"]);
}

#[test]
fn unmasking_goes_once_over_any_text() {
    let prepared = prepare("тел. 89001234567, почта a@b.ru");
    let table = [
        ("Позвоним на [PHONE_1].", "Позвоним на 89001234567."),
        ("[PHONE_1][EMAIL_1]", "89001234567a@b.ru"),
        ("[PHONE_2] [phone_1] [PHONE_1 [[PHONE_1]]", "[PHONE_2] [phone_1] [PHONE_1 [89001234567]"),
        ("[", "["),
        ("", ""),
    ];
    for (masked, expected) in table {
        assert_eq!(prepared.unmask(masked), expected, "{masked:?}");
    }
}

#[test]
fn debug_output_holds_no_secret() {
    let prepared = prepare("Меня зовут Ангелина, тел. 8 900 123-45-67");
    let shown = format!("{prepared:?} {:?}", prepared.masked_items());
    assert!(!shown.contains("Ангелина") && !shown.contains("123-45"), "{shown}");
    assert!(shown.contains("[PHONE_1]"), "{shown}");
}

fn luhn_digit(digits: &str) -> u32 {
    (0..10).find(|digit| super::checksums::is_luhn(&format!("{digits}{digit}"))).unwrap()
}

/// One secret with the words that introduce it.
fn secret() -> impl Strategy<Value = (String, String)> {
    let plain = |cue: &str, value: String| (cue.to_owned(), value);
    let mobile = "9[0-9]{9}";
    prop_oneof![
        mobile.prop_map(move |digits| plain("", format!("+7{digits}"))),
        mobile.prop_map(move |digits| plain("мой номер", format!("8{digits}"))),
        mobile.prop_map(move |d| plain("", format!("8 ({}) {}-{}-{}", &d[..3], &d[3..6], &d[6..8], &d[8..]))),
        "[456][0-9]{14}".prop_map(move |digits| {
            let number = format!("{digits}{}", luhn_digit(&digits));
            plain("карта", format!("{} {} {} {}", &number[..4], &number[4..8], &number[8..12], &number[12..]))
        }),
        "[a-d][f-z]{2,6}[0-9]{0,3}@[b-h]{3,8}\\.(ru|com)".prop_map(move |mail| plain("почта", mail)),
        "[1-9][0-9]{9}".prop_map(move |d| plain("паспорт", format!("{} {}", &d[..4], &d[4..]))),
        "4081[0-9]{16}".prop_map(move |account| plain("счёт", account)),
        "[1-9][0-9]{6,9}".prop_map(move |account| plain("лицевой счёт", account)),
        "(Ангелина|Рустам|Эльвира) [БГДК][аоуи][лмн](кова|жев|гина)".prop_map(move |name| plain("меня зовут", name)),
        "ул\\. [БГДК][аоуи][лмн](новая|ская), д\\. [1-9][0-9], кв\\. [1-9]{1,3}"
            .prop_map(move |home| plain("адрес", home)),
    ]
}

/// Words around the secrets, with what normalisation changes among them.
fn filler() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["карта", "не", "работает", "вчера", "списали", "деньги", "the", "app", "ещё"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["нееееет", "ﬁnance", "при\u{ad}вет", "еще\u{308}", "😡😡😡😡", "  ", "\u{200b}", "\n", "!!!!!"]).prop_map(str::to_owned),
    ]
}

/// The spans of `word` in the clean text.
fn spans_of(prepared: &Prepared, word: &str) -> Vec<CharSpan> {
    let before = |byte: usize| u32::try_from(prepared.clean()[..byte].chars().count()).unwrap();
    let length = u32::try_from(word.chars().count()).unwrap();
    prepared.clean().match_indices(word).map(|(byte, _)| CharSpan::new(before(byte), before(byte) + length)).collect()
}

proptest! {
    #[test]
    fn planted_secrets_never_survive_and_offsets_do(
        parts in prop::collection::vec((prop::collection::vec(filler(), 0..6), secret()), 1..6),
        tail in prop::collection::vec(filler(), 0..6),
    ) {
        let mut original = String::new();
        let mut planted = BTreeMap::new();
        for (words, (cue, value)) in &parts {
            original.push_str(&format!("{} жужжание. {cue} {value}, ", words.join(" ")));
            planted.insert(value.clone(), ());
        }
        original.push_str(&tail.join(" "));
        let prepared = prepare(&original);
        for secret in planted.keys() {
            prop_assert!(!prepared.clean().contains(secret.as_str()), "{} in {:?}", secret, prepared.clean());
        }
        let spans = spans_of(&prepared, "жужжание");
        prop_assert_eq!(spans.len(), parts.len());
        for span in spans {
            prop_assert_eq!(prepared.to_original(span).slice(&original), "жужжание");
        }
        let restored = prepared.unmask(prepared.clean());
        for secret in planted.keys() {
            prop_assert!(restored.contains(secret.as_str()), "{} not in {:?}", secret, restored);
        }
        for item in prepared.masked_items() {
            for span in item.spans() {
                prop_assert_eq!(span.slice(prepared.clean()), item.placeholder());
            }
        }
    }

    #[test]
    fn masking_again_changes_nothing(parts in prop::collection::vec((filler(), secret()), 1..5)) {
        let original: String = parts.iter().map(|(word, (cue, value))| format!("{word} {cue} {value}, ")).collect();
        let once = prepare(&original);
        let again = prepare(once.clean());
        prop_assert_eq!(again.clean(), once.clean());
    }

    #[test]
    fn any_text_gives_spans_in_bounds(original in any::<String>()) {
        let prepared = prepare(&original);
        let length = u32::try_from(original.chars().count()).unwrap();
        let clean = u32::try_from(prepared.clean().chars().count()).unwrap();
        for span in prepared.sentences().iter().copied().chain(prepared.words().iter().map(|word| word.span)) {
            prop_assert!(!span.is_empty() && span.end <= clean);
            let source = prepared.to_original(span);
            prop_assert!(!source.is_empty() && source.end <= length, "{:?}", source);
        }
    }
}
