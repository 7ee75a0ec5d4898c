//! Words by which a reply does what the rubric looks for, in Russian and English. They are compared with lower-case text that has `е` for
//! `ё`, one sentence at a time. Each favours being right over finding all.

use std::sync::LazyLock;

use regex::Regex;

use crate::assist::reading::pattern;

/// A pattern that is compiled when it is first needed.
pub(super) type Pattern = LazyLock<Option<Regex>>;

/// An apology.
pub(super) static APOLOGY: Pattern = LazyLock::new(|| {
    pattern(
        r"\bизвин(?:ите|яюсь|яемся|имся|юсь|ения|ений|ение)\b|\bпростите\b|\b(?:прошу|просим) (?:\p{L}+ )?прощения\b|\bsorry\b|\bapologi[sz]e\b|\bapolog(?:y|ies)\b",
    )
});

/// Sympathy, which is less than an apology.
pub(super) static SYMPATHY: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:нам|мне) (?:очень |искренне )?жаль\b|\bсожале(?:ю|ем)\b|\bsorry (?:to hear|you feel|that you feel)\b|\bsad to hear\b",
    )
});

/// A cause, or that it is being looked for.
pub(super) static CAUSE: Pattern = LazyLock::new(|| {
    pattern(
        r"\bпотому что\b|\bиз-за\b|\bтак как\b|\bпоскольку\b|\bпричин(?:а|ой|е|у|ы)\b|\bсвязан(?:о|а|ы)? с\b|\bвызван(?:о|а|ы)? \p{L}+|\bдело в том\b|\b(?:произош|случ)\p{L}* (?:\p{L}+ )?(?:сбой|ошибка|авария|поломка)\b|\b(?:сбой|авария|поломка) (?:на|в|при|у)\b|\bпо (?:нашей |чьей-то )?(?:ошибке|вине)\b|\bоказалось\b|\bвыяснилось\b|\bошиб(?:ся|лась|лись)\b|\bне сработал\p{L}*|\bbecause\b|\bdue to\b|\bcaused by\b|\bthe (?:cause|reason)\b|\bas a result of\b|\bturned out\b|\bby mistake\b|\bit was our (?:mistake|error|fault)\b|\ban? (?:error|failure|outage|bug|fault|crash) (?:in|at|on|of|by)\b",
    )
});

/// Words that only retell how the customer feels: a cause beside them is the cause of the feeling.
pub(super) static FEELING: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:расстро|пережива|огорч|раздраж|неудобств|беспоко)\p{L}*|\b(?:upset|frustrat|annoy|inconvenien)\p{L}*",
    )
});

/// What was done already. A match that begins with "вы " tells what the customer did.
pub(super) static DONE: Pattern = LazyLock::new(|| {
    pattern(
        r"(?:\b(?:вы|you|you've) (?:\p{L}+ )?)?\b(?:вернул|исправил|отменил|разблокировал|начислил|заменил|пересчитал|восстановил|устранил|отправил|зачислил|компенсировал|подключил|отключил|убрал|удалил|перевыпустил|списал|снял|перенес|перенесл|продлил|изменил)[аи]?\b|\b(?:we|i)(?:'ve| have)? (?:now |already |just |also )?(?:refunded|fixed|cancell?ed|unblocked|credited|replaced|restored|issued|corrected|resolved|reversed|removed|switched|changed|booked|extended|waived)\b|\b(?:has|have) (?:now |already )?been (?:refunded|fixed|cancell?ed|unblocked|credited|replaced|restored|corrected|resolved|reversed|removed)\b",
    )
});

/// What will be done and settles the matter.
pub(super) static SOLVING: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:вернем|верну|исправим|исправлю|отменим|отменю|разблокируем|разблокирую|начислим|начислю|заменим|заменю|пересчитаем|восстановим|устраним|пришлем|пришлю|вышлем|вышлю|отправим|отправлю|зачислим|выплатим|переведем|компенсируем|возместим|подключим|отключим|уберем|удалим|перевыпустим|доставим|привезем|привезет|оформим|оформлю|спишем|снимем|перенесем|перенесу|продлим|починим|починят|вернут|вернутся|вернется|восстановят|заменят|устранят)\b|\b(?:we|i)(?:'ll| will)(?: now| also| then)? (?:refund|fix|cancel|unblock|credit|replace|restore|send|issue|correct|reverse|remove|switch|change|book|extend|waive|deliver|return|compensate|reimburse|repair)\b|\bwill be (?:refunded|fixed|cancell?ed|unblocked|credited|replaced|restored|corrected|returned|repaired|delivered)\b",
    )
});

/// What will be looked at, which settles nothing yet.
pub(super) static CHECKING: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:проверим|проверю|проверяем|разберемся|разберусь|разбираемся|передадим|передам|передали|рассмотрим|рассматриваем|изучим|изучаем|выясним|выясню|выясняем|уточним|уточню|прослушаем|учтем|запросим|запрошу)\b|\b(?:look|looking) into\b|\b(?:we|i)(?:'ll| will|'re| are|'m| am)(?: now| also)? (?:check|checking|pass|forward|investigate|investigating|review|reviewing|find out)\b",
    )
});

/// Choices, and what the customer can do here and now.
pub(super) static CHOICE: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:на выбор|предлагаем|предлагаю|предложить|можете выбрать|нажмите|откройте|выберите|перезагрузите|введите|включите|обновите|скачайте|попробуйте)\b|\b(?:we can offer|i can offer|we offer|you can choose)\b|(?:^|[.:;,] |\bplease |\bthen |\bcould you |\btry to )(?:tap|click|open|choose|select|restart|reinstall|reboot)\b",
    )
});

/// What somebody of ours will do next.
pub(super) static STEP: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:перезвоним|перезвоню|позвоним|позвоню|напишем|напишу|ответим|отвечу|сообщим|сообщу|свяжемся|свяжусь|подготовим|подготовлю|найдем|найду|проконтролирую|проконтролируем|организуем|согласуем|назначим|расскажем|расскажу|вернемся|вернусь)\b|\b(?:перезвонит|позвонит|напишет|ответит|свяжется|приедет|привезет|вернет|разберется|проверит|исправит|устранит|восстановит|поступят|придут|приедут|перезвонят|позвонят|свяжутся)\b|\b(?:we|i)(?:'ll| will) (?:\p{L}+ )?(?:call|write|answer|reply|get back|contact|email|tell|let you know|come back|update|follow up|arrange|find)\b|\b(?:manager|engineer|courier|specialist|colleague|technician|agent|team|money|refund|order|parcel|card|delivery)\b[^,;]{0,30}\bwill\b",
    )
});

/// A term that says nothing.
pub(super) static EMPTY_TERM: Pattern = LazyLock::new(|| {
    pattern(
        r"\bв (?:самое )?ближайшее время\b|\bв (?:самые )?кратчайшие сроки\b|\bкак можно (?:скорее|быстрее)\b|\bвскоре\b|\bскоро\b|\bв скором времени\b|\bas soon as (?:possible|we can)\b|\bshortly\b|\bsoon\b|\bin due course\b|\bin the near future\b",
    )
});

/// A customer sent elsewhere.
pub(super) static ELSEWHERE: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:позвоните|звоните|перезвоните)\b|\b(?:обратитесь|обращайтесь|обратиться|обращаться),? (?:пожалуйста,? )?(?:напрямую )?(?:в|во|на|к|ко|по)\b|\b(?:напишите|пишите|отправьте|направьте),? (?:\p{L}+,? ){0,3}(?:на почту|на электронн\p{L}+|на адрес|в поддержку|в техподдержку|в службу|на e-?mail|на \[)|\bсвяжитесь с\b|\b(?:приходите|подойдите|подъезжайте|посетите),? (?:\p{L}+,? ){0,2}(?:офис|отделени|салон|филиал)\p{L}*|\b(?:уточняйте|узнавайте|уточните|узнайте),? (?:\p{L}+,? ){0,2}(?:у партнера|у банка|на сайте|в поддержке|по телефону|на горячей линии|у оператора|в отделении|в офисе)|\b(?:заполните|подайте|оставьте) (?:\p{L}+,? ){0,4}(?:в отделении|в офисе|в салоне|на сайте партнера|у партнера)\b|\bвам (?:\p{L}+ )?(?:нужно|необходимо|следует|стоит) (?:\p{L}+ )?(?:связаться|позвонить|написать|подойти|прийти) (?:в|во|на|к|ко|по|с)\b|\bэто не к нам\b|(?:^|[.!?:;,] |\bplease |\bkindly |\byou (?:can|should|must|have to|need to|may) (?:also )?)(?:call|phone|ring|contact|e-?mail|reach out to|write to|visit|get in touch with) (?:us at|us on|us by|our|the|your|support|customer|them|partner|a branch|head office|\[)",
    )
});

/// Courtesies and retold troubles that look like sending elsewhere.
pub(super) static NOT_ELSEWHERE: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:обращайтесь|обратиться|обращаться) (?:в люб|к нам\b|к нам сюда|в этот чат|в этом чате)|\b(?:пришлось|приходилось|вынуждены?|спасибо|благодар\p{L}*|больше не (?:нужно|надо|придется)) |\bне (?:нужно|надо|придется|требуется) \p{L}+|\b(?:no need to|don't have to|do not have to|don't need to|had to)\b",
    )
});

/// Going elsewhere is one choice of several.
pub(super) static ALSO: Pattern = LazyLock::new(|| {
    pattern(
        r"\bесли (?:вам )?(?:так )?(?:удобн|быстрее|хотите|предпоч)\p{L}*|\bпри желании\b|\bтакже\b|\bлибо\b|\bif you (?:prefer|like|wish|would rather)\b|\balso\b|\balternatively\b",
    )
});

/// A request for details.
pub(super) static REQUEST: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:уточните|подскажите|опишите|расскажите|сообщите|пришлите|укажите|назовите|поделитесь|напишите)\b|\b(?:какой|какая|какие|какую|каком|когда|где|кто|что именно|что случилось|что произошло)\b[^.]*\?|\b(?:could|can|would) you (?:please |kindly )?(?:tell|share|send|describe|let|give|explain|specify|clarify|say)\b|\bplease (?:tell|share|send|describe|let us know|give|explain|specify|clarify|provide)\b|\b(?:what|which|when|where)\b[^.]*\?|\btell us (?:what|more|which|when|where)\b",
    )
});

/// Rudeness and reproach.
pub(super) static RUDE: Pattern = LazyLock::new(|| {
    pattern(
        r"\bсами (?:же )?виноват\p{L}*|\bваша (?:же )?вина\b|\b(?:надо|нужно) было (?:внимательн\p{L}+ )?(?:читать|смотреть|думать|слушать)|\bчитайте (?:внимательн\p{L}+|договор|инструкцию)|\bвнимательн(?:о|ее) читайте\b|\b(?:это )?(?:не наши|ваши) проблемы\b|\bэто не наша проблема\b|\bуспокойтесь\b|\bне (?:кричите|истерите|хамите)\b|\bвыбирайте выражения\b|\bчто вы от нас хотите\b|\bа что вы хотели\?|\bчитать (?:надо|нужно)\b|\bвам (?:же )?русским языком\b|\bя (?:вам )?(?:уже )?(?:сто|десять|сколько) раз\b|\bбред\b|\bне морочьте\b|\bbullshit\b|\bcalm down\b|\b(?:your own|your) fault\b|\bnot our (?:problem|fault)\b|\byou should have (?:read|checked|thought|listened)\b|\bwatch your language\b|\bmind your tone\b|\bread the (?:contract|manual|terms)\b|\bstop (?:complaining|shouting|whining)\b",
    )
});

/// Denial of what the customer tells.
pub(super) static DENIAL: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:этого|такого) (?:просто )?не (?:было|могло быть|может быть)\b|\b(?:у нас|с нашей стороны|на нашей стороне) (?:все (?:\p{L}+ )?(?:работает|в порядке|исправно|хорошо)|(?:никаких )?(?:проблем|сбоев|ошибок|нарушений) (?:нет|не было|не выявлено|не обнаружено|не зафиксировано))\b|\b(?:проблем|сбоев|ошибок|нарушений) с нашей стороны (?:нет|не было|не выявлено|не обнаружено)\b|\bвы (?:что-то )?(?:ошибаетесь|путаете|перепутали|выдумываете|преувеличиваете)\b|\bвы (?:что-то |все |нас )?не так поняли\b|\bthis never happened\b|\b(?:that|this|it) is (?:simply )?impossible\b|\beverything (?:is|works) (?:fine |ok )?on our side\b|\byou(?:'re| are) (?:mistaken|wrong|exaggerating|confused)\b|\bno (?:problems?|errors?|issues?|faults?) on our (?:side|end)\b",
    )
});

/// Servility.
pub(super) static SERVILE: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:нижайше|покорнейше|умоляем|умоляю|тысяч[уаи] извинений|миллион извинений|на коленях|глубочайши[ех] извинени[яй]|безмерно виноваты|нет нам прощения|драгоценн\p{L}+ клиент\p{L}*)\b|\b(?:a (?:thousand|million) apologies|beg (?:for )?your forgiveness|most humbly|deepest and most|grovel\p{L}*|terribly,? terribly)\b",
    )
});

/// A no in plain words.
pub(super) static PLAIN_NO: Pattern = LazyLock::new(|| {
    const ACT: &str = "(?:вернуть|отменить|изменить|предоставить|компенсировать|начислить|принять|удовлетворить|выполнить|продлить|снизить|оформить|подключить|согласовать|одобрить|списать|заменить|перенести|выдать|сделать)";
    const CANNOT: &str = "(?:не можем|не могу|не сможем|не смогу|нельзя|не получится|не удастся)";
    const DO: &str = "(?:refund|offer|change|cancel|waive|extend|approve|provide|return|compensate|replace|do that|do this|deliver|accept|cover|reimburse)";
    pattern(&format!(
        r"\b{CANNOT} (?:\p{{L}}+ ){{0,3}}?{ACT}\b|\b{ACT} (?:[\p{{L}}\d]+ ){{0,4}}?{CANNOT}\b|\bне (?:вернем|начислим|компенсируем|возмещаем|возместим|предоставляем|доставляем|предусмотрен[аоы]?|полагается|подлежит)\b|\bне входит в\b|\b(?:we|i) (?:can't|cannot|can not|won't|will not|are unable to|am unable to|are not able to|don't|do not) (?:\p{{L}}+ )?{DO}\b|\b(?:is|are) not (?:refundable|included|covered)\b|\bthe answer is no\b|\bnot eligible for\b"
    ))
});

/// A no in the words of an office.
pub(super) static FORMAL_NO: Pattern = LazyLock::new(|| {
    pattern(
        r"\bне представляется возможным\b|\bне находим оснований\b|\bпредставляется затруднительным\b|\bзатруднительно\b|\bnot in a position to\b|\bnot (?:be )?feasible\b|\bis regrettably not\b",
    )
});

/// A no that is not said.
pub(super) static HIDDEN_NO: Pattern = LazyLock::new(|| {
    pattern(
        r"\bрассмотрим возможность\b|\bпо возможности\b|\b(?:примем|приняли|принято|принята) к сведению\b|\bпостараемся (?:учесть|рассмотреть)\b|\btake (?:it|this|that|your \p{L}+) (?:into account|under advisement|into consideration)\b|\bwe will see what (?:we can do|can be done)\b|\bwill be taken into (?:account|consideration)\b",
    )
});

/// Stock phrases.
pub(super) static STOCK: Pattern = LazyLock::new(|| {
    pattern(
        r"\b(?:ваше|каждое) (?:мнение|обращение|замечание) (?:\p{L}+ ){0,3}важно\b|\b(?:мы )?(?:очень |искренне |высоко )?ценим (?:ваш|каж|мнен|довер|клиент)\p{L}*|\bприлож(?:им|ить) все усилия\b|\bдела(?:ем|ется) все возможное\b|\b(?:постоянно|непрерывно|ежедневно) (?:работаем|совершенствуем|улучшаем|повышаем)\b|\b(?:стремимся|стараемся) (?:\p{L}+ ){0,3}(?:лучш|каче|соверш|высок|удобн|повыс|улучш)\p{L}*|\bнадеемся на (?:\p{L}+ )?(?:понимание|сотрудничество)\b|\bдальнейше\p{L}+ сотрудничеств\p{L}+|\bдовед\p{L}+ до сведения\b|\b(?:соответствующ|профильн|ответственн)\p{L}+ (?:отдел|подразделен|служб|специалист|мер|департамент)\p{L}*|\bобращение (?:\p{L}+ )?(?:принято|зарегистрировано|передано|рассмотрено)\b|\bв установленном порядке\b|\bдействующ\p{L}+ законодательств\p{L}+|\bповышени\p{L}+ качества\b|\bстанов(?:имся|иться) лучше\b|\bwe (?:truly |really |highly )?value (?:your|our|every)\b|\byour (?:feedback|opinion|satisfaction|call) is (?:very |extremely )?important\b|\bwe (?:always |constantly |continuously )?strive\b|\bcontinuous(?:ly)? improv\p{L}*|\bhighest (?:standards?|quality|level)\b|\b(?:relevant|appropriate|responsible|concerned) (?:department|team|specialists)\b|\brest assured\b|\bdo(?:ing)? everything (?:we can|possible)\b|\bappreciate your (?:patience|understanding|feedback)\b|\bthank you for your (?:patience|understanding)\b|\bbest possible (?:service|experience)\b",
    )
});

/// Greetings, thanks and endings.
pub(super) static COURTESY: Pattern = LazyLock::new(|| {
    pattern(
        r"^(?:здравствуйте|добрый|доброе|уважаем\p{L}+|hello|hi\b|dear|good (?:morning|afternoon|evening))|\b(?:спасибо|благодарим|благодарю|с уважением|хорошего дня|всего доброго|рады помочь|thank you|thanks|kind regards|best regards|have a (?:nice|good|great) day)\b|\bобращайтесь\b",
    )
});

/// Words of others, quoted.
pub(super) static QUOTED: Pattern = LazyLock::new(|| pattern(r#"«[^»]*»|"[^"]*"|“[^”]*”"#));
