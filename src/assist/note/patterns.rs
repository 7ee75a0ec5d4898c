//! Words by which a conversation tells what was done, what is promised and how it ended, in Russian and English. They are compared with
//! lower-case text that has `е` for `ё`, one clause or sentence at a time.

use std::sync::LazyLock;

use regex::Regex;

use crate::assist::reading::pattern;

/// A pattern that is compiled when it is first needed.
pub(super) type Pattern = LazyLock<Option<Regex>>;

/// What was done. A match that begins with "вы " or "you" tells what the customer did.
pub(super) static DONE: Pattern = LazyLock::new(|| {
    const PAST: &str = "проверил|посмотрел|просмотрел|оформил|зарегистрировал|создал|завел|вернул|отправил|выслал|прислал|передал|\
        заблокировал|разблокировал|перевыпустил|отменил|начислил|зачислил|исправил|изменил|обновил|подключил|отключил|списал|снял|продлил|\
        перенес|перенесл|заменил|восстановил|добавил|убрал|удалил|активировал|открыл|закрыл|уточнил|согласовал|запросил|связал|записал|внес|\
        внесл|сбросил|перезапустил|настроил|выставил|пересчитал|подтвердил|одобрил|нашел|нашл|устранил|починил|выяснил|прослушал|приняли|принял|\
        забронировал|сменил|поменял|назначил|компенсировал|включил|выключил|привязал|отвязал|поставил|написал|позвонил";
    const PASSIVE: &str = "проверен|оформлен|создан|заведен|возвращен|отправлен|выслан|передан|заблокирован|разблокирован|перевыпущен|\
        отменен|начислен|зачислен|исправлен|изменен|обновлен|подключен|отключен|списан|продлен|перенесен|заменен|восстановлен|добавлен|удален|\
        активирован|закрыт|согласован|записан|внесен|сброшен|настроен|пересчитан|одобрен|устранен|принят|зарегистрирован|выполнен|решен|забронирован|\
        назначен|снят|привязан|поставлен";
    const NOW: &str = "оформляю|отправляю|передаю|блокирую|разблокирую|отменяю|начисляю|подключаю|отключаю|возвращаю|завожу|создаю|высылаю";
    const ENGLISH: &str = "checked|refunded|fixed|cancell?ed|unblocked|blocked|credited|replaced|restored|issued|reissued|corrected|resolved|\
        reversed|removed|switched|changed|booked|extended|waived|sent|passed|forwarded|reset|updated|registered|created|opened|closed|confirmed|\
        found|added|activated|deactivated|reported|escalated|raised|logged|arranged|scheduled|returned|restarted|reconnected|approved|requested";
    pattern(&format!(
        r"(?:\b(?:вы|you|you've) (?:\p{{L}}+ )?)?\b(?:(?:{PAST})[аои]?(?:сь|ся)?|(?:{PASSIVE})[аоы]?|{NOW})\b|\b(?:you|you've|we|i|we've|i've)(?: have)? (?:now |already |just |also )?(?:{ENGLISH})\b|\b(?:has|have|was|were|is|are) (?:now |already |just )?(?:been )?(?:{ENGLISH})\b"
    ))
});

/// True if words that were matched tell what the customer did or does.
pub(super) fn begins_with_customer(words: &str) -> bool {
    ["вы ", "you"].iter().any(|customer| words.starts_with(customer))
}

/// What the speaker, or those whom the speaker speaks for, will do.
pub(super) static WILL_OWN: Pattern = LazyLock::new(|| {
    const FUTURE: &str = "верн|исправл|исправ|разблокиру|начисл|пересчита|восстановл|восстанов|устран|пришл|вышл|отправл|отправ|зачисл|\
        выплач|выплат|перевед|компенсиру|возмещ|возмест|подключ|отключ|убер|удал|перевыпущ|перевыпуст|достав|доставл|привез|оформл|оформ|спиш|сним|\
        перенес|продл|почин|провер|разбер|переда|изуч|выясн|уточн|прослуша|запрош|запрос|перезвон|позвон|напиш|отвеч|сообщ|свяж|подготовл|\
        подготов|найд|проконтролиру|организу|согласу|назнач|расскаж|закро|откро|зарегистриру|созда|завед|добавл|добав|внес|запиш|запланиру|\
        забронир|поставл|постав|пода|да|подар|дар|предоставл|предостав|сдела|реш|помог|помож|узна|перешл|активиру|измен|обновл|обнов|посмотр|\
        возьм|займ|проконсультиру|включ|набер|держ";
    pattern(&format!(
        r"\b(?:{FUTURE})(?:у|ю|ем|им|м|дим)(?:сь|ся)?\b|\b(?:ответим|заменю|заменим|отменю|отменим)\b|\b(?:мы|я) (?:обязательно )?буд(?:у|ем)\b|\b(?:i|we)(?:'ll| will| shall|'m going to|'re going to| am going to| are going to| promise)\b|\blet me \p{{L}}+"
    ))
});

/// What others will do, or what will come to the customer.
pub(super) static WILL_OTHERS: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:придет|придут|поступит|поступят|вернется|вернутся|вернет|вернут|приедет|приедут|привезет|привезут|доставит|доставят|зачислят|зачислится|начислят|начислится|восстановят|восстановится|починят|устранят|заменят|исправят|исправит|перезвонит|перезвонят|позвонит|позвонят|напишет|напишут|ответит|ответят|свяжется|свяжутся|разберется|разберутся|проверит|проверят|рассмотрят|рассмотрит|пришлет|пришлют|вышлют|отправят|отправит|подключат|включат|дадут|заберет|заберут|спишут|снимут|отменят|пересчитают|оформят|выплатят|подготовят|решат|завершат|закончат|передадут|заработает|заработают|подтянется|обновится|откроют|перевыпустят)\b|\b(?:it|they|he|she|the [\p{L} ]{1,30}|a [\p{L} ]{1,20}|an [\p{L} ]{1,20}|our [\p{L} ]{1,20}|your [\p{L} ]{1,20}|\p{L}+)(?:'ll| will)\b",
    )
});

/// What is to be with the customer if a term stands beside it.
pub(super) static WILL_WITH_TERM: Pattern = LazyLock::new(|| {
    pattern(
        r"\bбуд(?:ет|ут)\b|\b(?:получите|увидите)\b|\byou(?:'ll| will)\b|\bобеща\p{L}+|\bзаймет\b|\bready\b|\bis due\b",
    )
});

/// Who does something, if it is somebody else than the speaker.
pub(super) static WHO: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:курьеры?|специалисты?|менеджеры?|мастера?|инженеры?|техники?|коллеги|бухгалтерия|склад|юристы?|руководитель|бригада|ремонтники|магазин|банк|партнер|отдел(?: \p{L}+)?|служба \p{L}+|команда(?: \p{L}+)?|couriers?|specialists?|managers?|engineers?|technicians?|colleagues?|(?:\p{L}+ )?team|warehouse|(?:\p{L}+ )?department|bank|partner|supervisor)\b",
    )
});

/// The customer says that it is solved.
pub(super) static SOLVED: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:заработал\p{L}*|получилось|все работает|теперь работает|уже работает|вопрос (?:решен|решили|закрыт|снят)|проблема решена|решилось|решили|помогли|помогло|пришл[аои]|поступил\p{L}*|вернулись|все (?:пришло|верно|понятно|ок|супер|отлично)|разобрал(?:ся|ась|ись)|вопросов (?:больше )?нет)\b|\b(?:it works|works now|working now|that worked|it worked|(?:it|that)(?:'s| is) (?:solved|sorted|fixed|resolved|working)|all (?:good|sorted|set|fine) now|got it working|(?:i )?(?:got|received) (?:it|the (?:money|refund|code|card)|my (?:money|refund|code|card))|problem solved|no more questions|that(?:'s| is) all (?:i needed)?|that helped|you(?:'ve| have)? solved)\b",
    )
});

/// The customer says that it is not solved.
pub(super) static NOT_SOLVED: Pattern = LazyLock::new(|| {
    pattern(
        r"\bне (?:решил\p{L}*|решен\p{L}*|решили|помогл\p{L}*|помог|устраивает|работает|заработал\p{L}*|приш\p{L}+|верн\p{L}+|приход\p{L}+|получается|получилось|вижу смысла|согласен|согласна|годится|подходит|отвечает)\b|\bтак и не\b|\bничего (?:не|так и не) |\bпо-прежнему\b|\bвсе еще (?:не|нет)\b|\bопять (?:не|то же|тоже)\b|\bбуду жаловаться\b|\b(?:пойду|обращусь) в (?:суд|роспотребнадзор|прокуратуру)|\bзакрою (?:счет|карту|договор)|\bуйду\b|\bбесполезно\b|\bтолку (?:нет|ноль|никакого)|\bбез толку\b|\bне надо мне\b|\b(?:still|it) (?:not|isn't|doesn't|does not|hasn't|has not|didn't|won't|can't|no)\b|\bstill (?:broken|waiting|nothing|down|the same)\b|\b(?:didn't|did not|doesn't|does not) (?:help|work|solve)\b|\bnot (?:solved|fixed|resolved|good enough|acceptable|helpful)\b|\bnothing (?:has )?(?:changed|helped|works)\b|\b(?:useless|pointless)\b|\bi(?:'ll| will) (?:complain|leave|cancel|switch|go elsewhere)\b",
    )
});

/// The customer waits.
pub(super) static WAITING: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:жду|ждем|подожду|подождем|буду ждать|будем ждать|ожидаю)\b|\b(?:i'll|i will|i'm|i am|will be|we'll) (?:wait|waiting|be waiting)\b|\b(?:look(?:ing)? forward|waiting for)\b",
    )
});

/// The customer agrees with what was offered.
pub(super) static AGREED: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:хорошо|ладно|договорились|давайте|согласен|согласна|устраивает|подходит|ок|окей|okay|ok|fine|agreed|deal|all right|alright|sounds good)\b",
    )
});

/// The customer gives thanks.
pub(super) static THANKS: Pattern =
    LazyLock::new(|| pattern(r"\b(?:спасибо|благодарю|спс|thanks|thank you|cheers|much appreciated)\b"));

/// The customer is sent elsewhere.
pub(super) static ELSEWHERE: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:обратитесь|обращайтесь|позвоните|звоните|свяжитесь|напишите (?:в|на)|это не к нам|(?:contact|call|ask|email|write to) (?:the|your|our|us|them)|get in touch with|reach out to)\b",
    )
});

/// The customer is asked to look whether it is solved.
pub(super) static TRY_IT: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:проверьте|попробуйте|посмотрите|перезагрузите|перезапустите|сообщите|отпишитесь|дайте знать|(?:please )?try (?:again|now|it|to)|please (?:try|check|confirm)|let (?:me|us) know)\b",
    )
});

/// A question for courtesy at the end.
pub(super) static COURTESY: Pattern =
    LazyLock::new(|| pattern(r"\b(?:помочь|помощь|вопросы|вопросов|help|anything else|questions?)\b"));

/// A greeting or another courtesy without a matter.
pub(super) static GREETING: Pattern = LazyLock::new(|| {
    pattern(
        r"^\W*(?:алло|здравствуйте|здрасьте|добрый (?:день|вечер)|доброе утро|привет|да|hello|hi|hey|good (?:morning|afternoon|evening)|yes)\b",
    )
});

#[cfg(test)]
mod tests {
    #[test]
    fn every_pattern_compiles() {
        use super::*;
        let all = [
            &DONE,
            &WILL_OWN,
            &WILL_OTHERS,
            &WILL_WITH_TERM,
            &WHO,
            &SOLVED,
            &NOT_SOLVED,
            &WAITING,
            &AGREED,
            &THANKS,
            &ELSEWHERE,
            &TRY_IT,
            &COURTESY,
            &GREETING,
        ];
        assert!(all.iter().all(|pattern| pattern.is_some()));
    }
}
