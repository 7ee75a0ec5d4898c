//! Conversations made by hand, each with the note that a careful colleague would expect of rules.

use super::NoteOutcome::{self, NotSolved, Partly, Solved, Unclear};

/// A conversation and its note.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Turns as text, a speaker before each.
    pub(super) talk: &'static str,
    /// Begins the issue.
    pub(super) issue: &'static str,
    pub(super) steps: &'static [&'static str],
    /// What, who, term.
    pub(super) promises: &'static [(&'static str, &'static str, &'static str)],
    pub(super) outcome: NoteOutcome,
    /// How many things are left to do.
    pub(super) left: usize,
}

pub(super) const TABLE: &[Row] = &[
    Row {
        name: "a fee that was refunded",
        talk: "Клиент: Здравствуйте! С меня дважды сняли комиссию за перевод, 150 рублей.\n\
               Оператор: Здравствуйте. Проверила операции, комиссия действительно снята два раза. Вернула вам 150 рублей.\n\
               Клиент: Вижу, деньги пришли. Спасибо!",
        issue: "С меня дважды сняли комиссию",
        steps: &["Проверила операции, комиссия действительно снята два раза", "Вернула вам 150 рублей"],
        promises: &[],
        outcome: Solved,
        left: 0,
    },
    Row {
        name: "a courier to come",
        talk: "Клиент: Курьер с картой не приехал\n\
               Оператор: Оформила повторную доставку, курьер приедет завтра до 18:00.\n\
               Клиент: Хорошо, жду",
        issue: "Курьер с картой не приехал",
        steps: &["Оформила повторную доставку"],
        promises: &[("курьер приедет завтра до 18:00", "курьер", "до 18:00")],
        outcome: Partly,
        left: 1,
    },
    Row {
        name: "nothing was done",
        talk: "Клиент: Третий день не работает касса\n\
               Оператор: Обратитесь к партнёру, у нас всё в порядке.\n\
               Клиент: Я туда уже звонил, ничего не решили. Буду жаловаться!",
        issue: "Третий день не работает касса",
        steps: &[],
        promises: &[],
        outcome: NotSolved,
        left: 0,
    },
    Row {
        name: "a promise that was kept at once",
        talk: "Клиент: Не могу войти в приложение, пишет что заблокировано\n\
               Оператор: Сейчас проверю.\n\
               Оператор: Проверил: вход заблокирован после трёх попыток. Разблокировал, попробуйте ещё раз.\n\
               Клиент: Заработало, благодарю",
        issue: "Не могу войти в приложение",
        steps: &["Проверил: вход заблокирован после трёх попыток", "Разблокировал, попробуйте ещё раз"],
        promises: &[("Сейчас проверю", "оператор", "")],
        outcome: Solved,
        left: 0,
    },
    Row {
        name: "a call and a check by another department",
        talk: "Клиент: Пришёл чайник с трещиной, хочу замену\n\
               Оператор: Передала заявку в отдел качества. Специалист перезвонит вам в течение двух часов.\n\
               Клиент: Ладно",
        issue: "Пришёл чайник с трещиной, хочу замену",
        steps: &["Передала заявку в отдел качества"],
        promises: &[("Специалист перезвонит вам в течение двух часов", "специалист", "в течение двух часов")],
        outcome: Partly,
        left: 1,
    },
    Row {
        name: "the customer is silent in the end",
        talk: "Клиент: У меня интернет не работает с утра\n\
               Оператор: Перезапустил порт, проверьте, пожалуйста.",
        issue: "У меня интернет не работает с утра",
        steps: &["Перезапустил порт, проверьте, пожалуйста"],
        promises: &[],
        outcome: Unclear,
        left: 0,
    },
    Row {
        name: "a promise of power, and a system's notice",
        talk: "Клиент: Когда дадут свет? Второй день сидим\n\
               Система: Работы завершат до 23:00, электроснабжение восстановят\n\
               Оператор: Бригада на месте, я сообщу вам, как только свет дадут.\n\
               Клиент: Жду",
        issue: "Когда дадут свет",
        steps: &[],
        promises: &[
            ("Работы завершат до 23:00, электроснабжение восстановят", "", "до 23:00"),
            ("Бригада на месте, я сообщу вам, как только свет дадут", "оператор", ""),
        ],
        outcome: Partly,
        left: 2,
    },
    Row {
        name: "one part works, another does not",
        talk: "Клиент: Не пришли деньги и не открывается приложение\n\
               Оператор: Перевод нашла, зачислила вручную. Приложение обновил разработчик.\n\
               Клиент: Деньги пришли. Но приложение всё ещё не открывается.",
        issue: "Не пришли деньги",
        steps: &["Перевод нашла, зачислила вручную", "Приложение обновил разработчик"],
        promises: &[],
        outcome: Partly,
        left: 0,
    },
    Row {
        name: "a refund in English",
        talk: "Customer: I was charged twice for the same order.\n\
               Operator: I've checked the payments and refunded the second one. The money will reach your card within three working days.\n\
               Customer: Thanks, I'll wait.",
        issue: "I was charged twice",
        steps: &["I've checked the payments and refunded the second one"],
        promises: &[("The money will reach your card within three working days", "", "within three working days")],
        outcome: Partly,
        left: 1,
    },
    Row {
        name: "solved in English",
        talk: "Customer: hi\n\
               Operator: Hello, how can I help?\n\
               Customer: My account is locked and I can't log in\n\
               Operator: I have reset the password and unlocked it.\n\
               Customer: It works now, thank you!",
        issue: "My account is locked",
        steps: &["I have reset the password and unlocked it"],
        promises: &[],
        outcome: Solved,
        left: 0,
    },
    Row {
        name: "not solved in English",
        talk: "Customer: The router still drops the connection every hour\n\
               Operator: Have you tried to restart it?\n\
               Customer: Ten times. It doesn't help. I'll cancel the contract.",
        issue: "The router still drops",
        steps: &[],
        promises: &[],
        outcome: NotSolved,
        left: 0,
    },
    Row {
        name: "an engineer in English",
        talk: "Customer: The boiler you sold me leaks\n\
               Operator: I'm sorry. I've booked a visit, and an engineer will come tomorrow morning.\n\
               Operator: I'll send you the confirmation here.\n\
               Customer: Fine",
        issue: "The boiler you sold me leaks",
        steps: &["I've booked a visit"],
        promises: &[
            ("an engineer will come tomorrow morning", "engineer", "tomorrow morning"),
            ("I'll send you the confirmation here", "operator", ""),
        ],
        outcome: Partly,
        left: 2,
    },
    Row {
        name: "personal data in every part",
        talk: "Клиент: Меня зовут Зарема, мой номер 8 900 123-45-67, не приходит код\n\
               Оператор: Зарема, сменила номер на 8 900 765-43-21. Перезвоню вам на 8 900 765-43-21 через час.\n\
               Клиент: Жду звонка на 8 900 765-43-21",
        issue: "Меня зовут [NAME_1], мой номер [PHONE_1], не приходит код",
        steps: &["[NAME_1], сменила номер на [PHONE_2]"],
        promises: &[("Перезвоню вам на [PHONE_2] через час", "оператор", "через час")],
        outcome: Partly,
        left: 1,
    },
    Row {
        name: "one text without turns",
        talk: "Третий день не работает касса. Обещали мастера вчера, так и не приехал.",
        issue: "Третий день не работает касса",
        steps: &[],
        promises: &[],
        outcome: Unclear,
        left: 0,
    },
];

/// A conversation, a text of a model about it, and whether the text is true as a step and as something left to do.
pub(super) const TENSES: &[(&str, &str, bool, bool)] = &[
    ("Оператор: Вернём комиссию 350 рублей до пятницы.", "Вернули комиссию", false, true),
    ("Оператор: Вернём комиссию 350 рублей до пятницы.", "Комиссия 350 рублей возвращена", false, true),
    ("Оператор: Вернём комиссию 350 рублей до пятницы.", "Клиенту начислили 350 рублей", false, true),
    ("Оператор: Вернём комиссию 350 рублей до пятницы.", "Оформили возврат комиссии", false, false),
    ("Оператор: Вернём комиссию 350 рублей до пятницы.", "Пообещали вернуть комиссию до пятницы", true, true),
    ("Оператор: Вернём комиссию 350 рублей до пятницы.", "Комиссия будет возвращена до пятницы", true, true),
    ("Оператор: Вернула вам 150 рублей за перевод.", "Вернули 150 рублей", true, true),
    ("Оператор: Вернула вам 150 рублей за перевод.", "Вернуть 150 рублей за перевод", true, false),
    (
        "Оператор: Вернула вам 150 рублей за перевод. Остальные 350 рублей вернём до пятницы.",
        "Вернули 150 рублей за перевод",
        true,
        true,
    ),
    (
        "Оператор: Вернула вам 150 рублей за перевод. Остальные 350 рублей вернём до пятницы.",
        "Вернули 350 рублей",
        false,
        true,
    ),
    (
        "Оператор: Вернула вам 150 рублей за перевод. Остальные 350 рублей вернём до пятницы.",
        "Вернуть остальные 350 рублей",
        true,
        true,
    ),
    ("Оператор: Вернём комиссию сегодня.\nОператор: Готово, вернули.", "Вернули комиссию", true, true),
    ("Оператор: Вернём комиссию сегодня.\nОператор: Готово, вернули.", "Вернуть комиссию", true, true),
    ("Оператор: Оформила доставку, курьер приедет завтра.", "Оформили доставку", true, true),
    ("Оператор: Оформила доставку, курьер приедет завтра.", "Курьер приехал", false, true),
    ("Оператор: Проверила заявку. Проверю поступление денег завтра.", "Проверила заявку", true, true),
    ("Оператор: Проверила заявку. Проверю поступление денег завтра.", "Проверила поступление денег", false, true),
    ("Оператор: Проверила заявку. Деньги не поступили.", "Проверить поступление денег", true, true),
    ("Оператор: Деньги придут завтра.\nКлиент: Деньги уже пришли, спасибо", "Деньги пришли", true, true),
    ("Оператор: Передала заявку инженерам, они починят линию завтра.", "Передали заявку инженерам", true, true),
    ("Оператор: Передала заявку инженерам, они починят линию завтра.", "Линию починили", false, true),
    ("Оператор: Передала заявку инженерам, они починят линию завтра.", "Передать заявку инженерам", true, false),
    ("Operator: We'll refund the fee by Friday.", "Refunded the fee", false, true),
    ("Operator: We'll refund the fee by Friday.", "The operator promised that the fee will be refunded", true, true),
    ("Operator: I've refunded the fee.", "Fee refunded", true, true),
    ("Operator: I've refunded the transfer fee.", "Refund the transfer fee", true, false),
    ("Operator: I've checked the order and an engineer will come tomorrow.", "Checked the order", true, true),
    ("Operator: I've checked the order and an engineer will come tomorrow.", "An engineer came", false, true),
];

/// Conversations of which the rules can't tell how they ended, and whether a model may call them solved.
pub(super) const SOLVED: &[(&str, bool)] = &[
    ("Клиент: Какая комиссия за перевод?\nОператор: Полтора процента.\nКлиент: Спасибо", true),
    ("Customer: What is the fee for a transfer?\nOperator: It is one percent.\nCustomer: Thanks", true),
    ("Клиент: Где посмотреть выписку?\nОператор: В приложении, раздел «Документы».\nКлиент: Хорошо", true),
    ("Клиент: Карта заблокирована\nОператор: Разблокировала карту.\nКлиент: Ура, покупка прошла", true),
    ("Customer: My card is blocked\nOperator: I've unblocked it.\nCustomer: Great, the payment went through", true),
    ("Клиент: С меня сняли комиссию 150 рублей\nОператор: Вернула вам 150 рублей.", true),
    ("Customer: Please cancel my order\nOperator: I've cancelled it. Is there anything else I can help with?", true),
    ("Клиент: Не приходит код\nОператор: Сейчас проверю.\nОператор: Проверила, номер исправила. Код отправила.", true),
    ("Customer: I can't log in\nOperator: I'll check.\nOperator: I've checked and reset the password.", true),
    ("Клиент: Сняли комиссию\nОператор: Вернём комиссию 350 рублей до пятницы.", false),
    ("Customer: You charged me a fee\nOperator: We'll refund the fee by Friday.", false),
    ("Клиент: Касса не работает\nОператор: Обратитесь к партнёру.\nКлиент: Ладно", false),
    ("Customer: The register is down\nOperator: Please contact the partner.\nCustomer: Okay", false),
    ("Клиент: Интернет не работает\nОператор: Перезапустила порт, проверьте, пожалуйста.", false),
    ("Customer: No internet\nOperator: I've restarted the router, please try again.", false),
    (
        "Клиент: Интернет не работает\nОператор: Перезапустила порт.\nКлиент: Всё равно не работает\n\
         Оператор: Сменила канал.",
        false,
    ),
    ("Клиент: Не пришли деньги\nОператор: Отправила запрос в банк.\nКлиент: А когда придут деньги?", false),
    ("Customer: No money yet\nOperator: I've raised a request.\nCustomer: And when will I get it?", false),
    ("Клиент: Касса не работает\nОператор: Понимаю вас.", false),
];
