//! Replies written by hand, good and bad at each point of the rubric, in Russian and English, with what a person says they earn.
//!
//! A standing is one sign: 0 to 2, `-` for a point that does not apply, `?` for one that rules can't tell.

pub(super) const FEE: &str = "С меня сняли комиссию 300 рублей за перевод, никто не предупредил!";
const COURIER: &str = "Курьер опоздал на три часа и привёз не тот чайник, заказ 4512";
const ROUTER: &str = "Третий день нет интернета, роутер мигает красным, работать невозможно";
const VAGUE: &str = "Ужасная компания, никому не советую";
const PRAISE: &str = "Спасибо оператору Светлане, всё быстро объяснила по вкладу";
const BLOCKED: &str = "My card was blocked in a shop abroad and I could not pay for dinner";
const PARCEL: &str = "The parcel arrived two weeks late and the blender inside is broken";
const AWFUL: &str = "Terrible company, don't buy";
const IDEA: &str = "Добавьте, пожалуйста, тёмную тему в приложение";

/// Signals, appeal, reply, and what the reply earns on the points that the row is about.
pub(super) const TABLE: &[(&str, &str, &str, &str)] = &[
    // Good replies.
    (
        "complaint",
        FEE,
        "Здравствуйте! Извините, что списали комиссию 300 рублей без предупреждения. Это произошло из-за сбоя: подсказка о \
         комиссии не показалась. Вернём комиссию в течение 3 дней.",
        "acknowledgement=2 apology=2 cause=2 solution=2 next_step=2 stays_in_channel=2 asks_for_details=- readability=2 politeness=2 plain_no=- promises=2",
    ),
    (
        "complaint",
        COURIER,
        "Добрый день! Простите, что курьер опоздал и привёз не тот чайник. На складе перепутали коробки, это наша ошибка.\n\n\
         Заменим чайник или вернём деньги, как вам удобнее. Менеджер перезвонит вам в течение 3 часов.",
        "acknowledgement=2 apology=2 solution=2 next_step=2 stays_in_channel=2 readability=2 politeness=2",
    ),
    (
        "outage complaint",
        ROUTER,
        "Здравствуйте. Извините за три дня без интернета. Причина в аварии на узле связи. Инженер приедет завтра и проверит роутер.",
        "acknowledgement=2 apology=2 cause=2 next_step=2 politeness=2",
    ),
    (
        "complaint",
        BLOCKED,
        "Hello! We are sorry that your card was blocked abroad. It happened because our system took the shop for a risky one. \
         We have unblocked the card, so you can pay now.",
        "acknowledgement=2 apology=2 cause=2 solution=2 next_step=- stays_in_channel=2 politeness=2",
    ),
    (
        "complaint",
        PARCEL,
        "Hi! Sorry that the parcel was late and the blender came broken. The delay was caused by a strike at the depot. \
         We will replace the blender, and the courier will bring it within 3 days.",
        "acknowledgement=2 apology=2 cause=2 solution=2 next_step=2 politeness=2",
    ),
    // Acknowledgement.
    (
        "complaint",
        FEE,
        "Здравствуйте! Спасибо за обращение. Приносим извинения за доставленные неудобства.",
        "acknowledgement=0 apology=2 cause=0 solution=0 next_step=0",
    ),
    (
        "complaint",
        COURIER,
        "Здравствуйте! Ваше мнение очень важно для нас.",
        "acknowledgement=0 apology=0 readability=0",
    ),
    (
        "complaint",
        PARCEL,
        "Dear customer, we value your feedback. We apologize for any inconvenience.",
        "acknowledgement=0 apology=2 solution=0",
    ),
    ("complaint", COURIER, "Извините за опоздавшего курьера.", "acknowledgement=2 apology=2"),
    (
        "complaint",
        FEE,
        "Перевод был выполнен вчера вечером в полном объёме.",
        "acknowledgement=1 apology=0 cause=? solution=?",
    ),
    (
        "complaint",
        ROUTER,
        "Мы видим обрыв линии на вашей улице и меняем кабель.",
        "acknowledgement=? cause=? solution=?",
    ),
    (
        "complaint",
        ROUTER,
        "Sorry about that. A cable on your street is damaged, we will repair it tomorrow.",
        "acknowledgement=? apology=2 next_step=2",
    ),
    // Apology.
    ("complaint", FEE, "Нам очень жаль, что комиссия за перевод вас удивила.", "apology=1 acknowledgement=2"),
    ("complaint", BLOCKED, "I'm sorry to hear that your card was blocked in the shop.", "apology=1 acknowledgement=2"),
    ("complaint", FEE, "К сожалению, комиссия за перевод списана по тарифу.", "apology=0"),
    (
        "vague",
        VAGUE,
        "Приносим извинения за случившееся! Нам важно ваше мнение.",
        "apology=0 asks_for_details=0 acknowledgement=-",
    ),
    (
        "vague",
        VAGUE,
        "Здравствуйте! Подскажите, пожалуйста, что именно случилось и когда? Разберёмся и ответим вам здесь в течение 24 часов.",
        "apology=- asks_for_details=2 next_step=2 solution=- acknowledgement=- stays_in_channel=2",
    ),
    ("vague", AWFUL, "We apologise for your experience.", "apology=0 asks_for_details=0"),
    (
        "vague",
        AWFUL,
        "Hello! Could you tell us what happened and when? We will look into it and reply here within 24 hours.",
        "apology=- asks_for_details=2 next_step=2",
    ),
    (
        "gratitude",
        PRAISE,
        "Спасибо! Передадим Светлане, что про вклад она объяснила быстро и понятно.",
        "apology=- cause=- solution=- acknowledgement=2",
    ),
    ("gratitude", PRAISE, "Спасибо за отзыв, извините за беспокойство!", "apology=0"),
    (
        "idea",
        IDEA,
        "Спасибо за идею про тёмную тему! Передадим её команде приложения.",
        "apology=- acknowledgement=2 cause=- plain_no=-",
    ),
    ("", "Перевёл деньги через приложение на карту другого банка", "Извините. Перевод на карту виден.", "apology=?"),
    // Cause.
    ("complaint", FEE, "Выясняем причину списания комиссии и напишем вам завтра.", "cause=2 next_step=2"),
    ("complaint", FEE, "Понимаем, что вы расстроены из-за комиссии.", "cause=?"),
    ("complaint", BLOCKED, "We are sorry. The reason is a failed security check of your card.", "cause=2 apology=2"),
    ("complaint", BLOCKED, "We understand that you are upset because your card was blocked.", "cause=?"),
    // Solution.
    ("complaint", FEE, "Извините. Проверим списание и разберёмся.", "solution=1 next_step=1"),
    ("complaint", ROUTER, "Перезагрузите роутер: выключите его на минуту и включите.", "solution=2 next_step=?"),
    ("complaint", PARCEL, "We will look into it.", "solution=1 next_step=1"),
    ("complaint", PARCEL, "You can choose: a new blender or a refund.", "solution=2"),
    ("complaint", COURIER, "Вы отправили заявку на чайник во вторник.", "solution=?"),
    // Next step.
    ("complaint", FEE, "Вернём комиссию в ближайшее время.", "next_step=1 solution=2"),
    ("complaint", BLOCKED, "Our manager will call you soon about the card.", "next_step=1"),
    ("complaint", BLOCKED, "Our manager will call you within 3 hours about the card.", "next_step=2"),
    ("complaint", COURIER, "Уже вернули деньги за чайник.", "solution=2 next_step=-"),
    ("complaint", COURIER, "Жаль.", "next_step=0 solution=0"),
    // Stays in the channel.
    ("complaint", FEE, "По вопросу комиссии позвоните нам по номеру 8 800 200-00-00.", "stays_in_channel=0"),
    ("complaint", FEE, "Вам необходимо обратиться в отделение банка с паспортом.", "stays_in_channel=0"),
    ("complaint", COURIER, "Напишите, пожалуйста, на почту help@example.com.", "stays_in_channel=0"),
    ("complaint", BLOCKED, "Please contact our support team.", "stays_in_channel=0"),
    ("complaint", BLOCKED, "You will need to wait. Call us on 0800 123 456.", "stays_in_channel=0"),
    ("complaint", FEE, "Вернём комиссию завтра. Если удобнее, позвоните нам.", "stays_in_channel=1"),
    ("complaint", FEE, "Вам не нужно звонить в банк: вернём комиссию завтра.", "stays_in_channel=2"),
    (
        "complaint",
        FEE,
        "Спасибо, что обратились к нам. Если будут вопросы, обращайтесь в любое время!",
        "stays_in_channel=2",
    ),
    ("complaint", FEE, "Жаль, что вам пришлось обращаться в поддержку дважды.", "stays_in_channel=2"),
    (
        "complaint",
        BLOCKED,
        "You don't need to call the bank: we will unblock the card today.",
        "stays_in_channel=2 solution=2",
    ),
    ("complaint", FEE, "Напишите нам в личные сообщения номер заявки.", "stays_in_channel=2"),
    // Readability.
    (
        "complaint",
        FEE,
        "В соответствии с условиями договора комплексного банковского обслуживания, заключённого между вами и банком, при совершении \
         операций по переводу денежных средств на счета, открытые в сторонних кредитных организациях, взимается комиссия, размер \
         которой указан в тарифах, размещённых на официальном сайте.",
        "readability=1 acknowledgement=2",
    ),
    (
        "complaint",
        FEE,
        "Мы ценим ваше доверие и приложим все усилия. Мы постоянно работаем над повышением качества. Надеемся на понимание. Комиссию проверим.",
        "readability=0",
    ),
    // Politeness.
    ("complaint", FEE, "Вы сами виноваты, надо было читать тарифы.", "politeness=0 apology=0"),
    ("complaint", ROUTER, "С нашей стороны всё работает, проблем не обнаружено.", "politeness=0"),
    ("complaint", ROUTER, "Успокойтесь. Интернет есть.", "politeness=0"),
    ("complaint", BLOCKED, "This never happened, you are mistaken.", "politeness=0"),
    ("complaint", BLOCKED, "It is your own fault: you should have read the terms.", "politeness=0"),
    ("complaint", FEE, "Тысяча извинений! Извините, простите нас, умоляем!", "politeness=1"),
    (
        "complaint",
        FEE,
        "Ответ «вы сами виноваты» был недопустим. Извините за него и за комиссию.",
        "politeness=2 apology=2",
    ),
    ("complaint", BLOCKED, "We deeply apologise for the blocked card.", "politeness=2 apology=2"),
    // A plain no.
    (
        "complaint",
        FEE,
        "Вернуть комиссию за перевод не можем: она указана в тарифе.",
        "plain_no=2 solution=? next_step=?",
    ),
    ("complaint", FEE, "Возврат комиссии не представляется возможным.", "plain_no=1"),
    ("complaint", FEE, "Принято к сведению. Рассмотрим возможность в будущем.", "plain_no=0"),
    (
        "complaint",
        PARCEL,
        "We cannot refund the delivery, but we will replace the blender within 3 days.",
        "plain_no=2 solution=2",
    ),
    ("complaint", PARCEL, "We are not in a position to refund this.", "plain_no=1"),
    ("complaint", PARCEL, "We will take your comments into account.", "plain_no=0"),
    ("complaint", FEE, "Не можем найти перевод на 300 рублей. Уточните дату.", "plain_no=-"),
    // Promises.
    ("complaint", FEE, "Вернём комиссию 300 рублей.", "promises=2 solution=2"),
    ("complaint", FEE, "Вернём комиссию 5 000 рублей.", "promises=1"),
    ("complaint", FEE, "Вернём 50 000 рублей.", "promises=0"),
    ("outage complaint", ROUTER, "Интернет будет работать через час.", "promises=1"),
    ("complaint", PARCEL, "We will refund the fee of 900 rubles today.", "promises=2"),
    // Replies of several points at once.
    (
        "complaint",
        FEE,
        "Здравствуйте. По вашему переводу банк-получатель отклонил операцию, поэтому удержали комиссию. Возврат оформлен, ждите в течение суток.",
        "acknowledgement=2 apology=0 cause=? solution=? next_step=? politeness=2",
    ),
    (
        "complaint",
        COURIER,
        "Ваше обращение зарегистрировано под номером 33421. Специалисты соответствующего отдела свяжутся с вами в установленном порядке. С уважением, команда.",
        "acknowledgement=0 apology=0 cause=0 solution=0 next_step=1 readability=0",
    ),
    (
        "outage complaint",
        ROUTER,
        "Мы понимаем ваше недовольство. Для решения вопроса вам следует самостоятельно обратиться к партнёру, мы за это не отвечаем.",
        "acknowledgement=? apology=0 stays_in_channel=0 solution=?",
    ),
    (
        "outage complaint",
        ROUTER,
        "Мигающий красный индикатор означает, что нет сигнала. Попробуйте, пожалуйста, отключить роутер от розетки на 30 секунд. Если не поможет, пришлём мастера завтра утром бесплатно.",
        "acknowledgement=2 solution=2 next_step=2 stays_in_channel=2 promises=1",
    ),
    (
        "vague",
        VAGUE,
        "Здравствуйте! Нам важно разобраться. Что произошло и в каком городе? Можно ответить прямо здесь.",
        "apology=- asks_for_details=2 next_step=1 stays_in_channel=2",
    ),
    (
        "gratitude",
        PRAISE,
        "Спасибо за тёплые слова! Светлане будет приятно.",
        "acknowledgement=? apology=- next_step=-",
    ),
    (
        "complaint",
        BLOCKED,
        "Hi Mark, I apologise for the trouble with your card at dinner. Our fraud filter stopped the payment. I've lifted the block and it won't happen again on this trip.",
        "acknowledgement=2 apology=2 cause=? solution=? next_step=? politeness=2 plain_no=-",
    ),
    (
        "complaint",
        BLOCKED,
        "Thank you for contacting us. Your request has been forwarded to the relevant department. We appreciate your patience.",
        "acknowledgement=0 apology=0 cause=0 solution=0 next_step=0 readability=0",
    ),
    (
        "complaint",
        BLOCKED,
        "For security reasons please contact the bank branch in person with your passport.",
        "acknowledgement=0 apology=0 solution=0 stays_in_channel=0",
    ),
    (
        "complaint",
        PARCEL,
        "Unfortunately we can't refund the delivery fee because it was paid to the carrier. What we can do is send a replacement blender free of charge within 3 days.",
        "cause=2 solution=2 plain_no=2 politeness=2 promises=2",
    ),
    ("complaint", FEE, "Ну а что вы хотели? Читать надо, что подписываете.", "politeness=0 apology=0 solution=?"),
    (
        "complaint",
        FEE,
        "Если будут ещё вопросы по комиссии, просто ответьте на это сообщение, звонить никуда не надо.",
        "stays_in_channel=2",
    ),
    (
        "complaint",
        COURIER,
        "Извините, пожалуйста. Водитель попал в пробку, а чайник перепутали на складе. Деньги за доставку вернули, правильный чайник привезём в субботу.",
        "acknowledgement=2 apology=2 solution=2 next_step=2 stays_in_channel=2",
    ),
    (
        "complaint",
        "Служба поддержки молчит вторую неделю, на письма не отвечаете",
        "Это недопустимо, простите. Письма попали в спам из-за ошибки фильтра. Я прочитал оба и отвечаю на них ниже.",
        "acknowledgement=2 apology=2 cause=2 next_step=? politeness=2",
    ),
    (
        "complaint",
        "Дважды списали оплату за подписку, 599 рублей",
        "Чтобы вернуть деньги, заполните заявление в отделении банка или на сайте партнёра.",
        "apology=0 stays_in_channel=0 solution=0",
    ),
    (
        "complaint",
        "Дважды списали оплату за подписку, 599 рублей",
        "Нашли второе списание 599 рублей: платёж прошёл дважды, потому что терминал не получил ответ банка. Второй платёж отменили, деньги вернутся на карту в течение 3 дней. Простите за беспокойство.",
        "acknowledgement=2 apology=2 cause=2 solution=2 next_step=2 stays_in_channel=2 readability=2 politeness=2 promises=2",
    ),
    (
        "handoff_loop complaint",
        "Банк отправляет к партнёру, партнёр отправляет в банк",
        "По данному вопросу вам нужно связаться с партнёром, контакты на сайте.",
        "apology=0 stays_in_channel=0",
    ),
    (
        "handoff_loop complaint",
        "Банк отправляет к партнёру, партнёр отправляет в банк",
        "Понимаю, как это выматывает. С партнёром свяжусь я сама и отвечу вам в этом чате завтра до 18:00.",
        "apology=0 stays_in_channel=2 next_step=2 politeness=2",
    ),
    (
        "complaint",
        "В отделении нахамила кассир, отказалась менять деньги",
        "Уважаемый клиент! Наши кассиры всегда вежливы, вероятно, вы что-то не так поняли.",
        "apology=0 politeness=0",
    ),
    (
        "complaint",
        "I was charged twice for one subscription, 15 dollars",
        "Good catch, and apologies. You were charged twice because the payment was retried. I've reversed the second charge of $15.",
        "acknowledgement=2 apology=2 cause=2 solution=2 next_step=- stays_in_channel=2 politeness=2",
    ),
];
