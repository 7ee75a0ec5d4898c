//! The wording of orders to a machine: words that go by one name, and the patterns that are made of them.
//!
//! Patterns are read in lower case with `е` for `ё`. `@name` stands for the words of that name in [`WORDS`]. Each group says what its
//! sentences share; a pattern belongs to the group, not to the sentence that showed it was missing.

/// Words that stand for one another, by the name that patterns call them.
pub(super) const WORDS: [(&str, &str); 11] = [
    // Those who work with records rather than with customers.
    (
        "@sorting",
        r"(?:(?:sort|scor|fil(?:es|ing)|tag(?:s|g)|label|grad|classif|writes? this|is listening|метки став|это потом будет)\p{L}*|(?:раскладыва|размеча|сортиру|классифициру|записыва|помеча)(?:ет|ют|л|ла|ли)\b|оценива(?:ет|ют) (?:@record|это|эти))",
    ),
    // What a customer's words are called by those who keep them.
    (
        "@record",
        r"(?:messages?|letters?|tickets?|feedback|reviews?|conversations?|calls?|complaints?|cases?|records?|recordings?|texts?|отзыв\p{L}*|обращени\p{L}+|письм\p{L}+|сообщени\p{L}+|текст\p{L}*|звон(?:ок|ка|ку|ки)|разговор\p{L}*|запис(?:ь|и|ью)|жалоб\p{L}*|тикет\p{L}*|дело)",
    ),
    // The fields of a record.
    (
        "@field",
        r"(?:topics?|categor(?:y|ies)|tags?|labels?|sentiment|mood|owner|team|тем[уыеа]|категори\p{L}+|рубрик\p{L}*|теги?|метк\p{L}+|тональност\p{L}+|настроени\p{L}+|команд\p{L}{1,2}|владельцем)",
    ),
    // Moods as a machine calls them.
    (
        "@mood",
        r"(?:positive|negative|neutral|позитив\p{L}*|негатив\p{L}*|нейтральн\p{L}+|положительн\p{L}+|отрицательн\p{L}+)",
    ),
    // Moods as people call them.
    (
        "@feeling",
        r"(?:happy|delighted|cheerful|calm|pleased|glad|content|furious|angry|довол\p{L}+|рад[аы]?|счастлив\p{L}*|спокой\p{L}*|злой|злая|гневн\p{L}+|восторж\p{L}+)",
    ),
    ("@praise", r"(?:praise|compliments?|gratitude|thank-?you|thanks|благодарност\p{L}+|похвал\p{L}*)"),
    // Ids, as the machine has them.
    ("@id", r"[a-z]{3,}(?:_[a-z]{2,})+"),
    // Names of a machine that nobody gives to a person.
    (
        "@machine",
        r"(?:model|ai|gpt|assistant|machine|(?:chat)?bot|robot|classifier|algorithm|computer|tagger|artificial intelligence|speech analytics|нейросет\p{L}*|искусственн\p{L}+ интеллект\p{L}*|ассистент\p{L}*|робот\p{L}{0,2}|бот|классификатор\p{L}*|алгоритм\p{L}*|автомат|компьютер\p{L}{0,2}|программ[ауые])",
    ),
    // Orders to write something into a record, to the one who writes.
    (
        "@order",
        r"(?:mark|record|set|log|note|tag|label|classify|categori[sz]e|file|register|put down|write down|запиши|запишите|отметь|отметьте|пометь|пометьте|поставь|поставьте|ставь|ставьте|отнеси|отнесите|относи|относите|присвой|присвойте|назначь|назначьте|выставь|выставьте|укажи|укажите|внеси|внесите|проставь|проставьте|определи|определите|определяй|считай|считайте)",
    ),
    // That something is always written so.
    (
        "@rule",
        r"(?:регламент|правил|политик|распоряжени|приказ|закон|policy|policies|rules?|guidelines?|regulations?|by law)",
    ),
    ("@quoted", r#"(?:«[^»]{2,40}»|"[^"]{2,40}"|'[^']{2,40}'|“[^”]{2,40}”|‘[^’]{2,40}’)"#),
];

/// Any one of these is enough.
pub(super) const TELLING: &[&str] = &[
    // Marks of chat templates, of prompts and of files.
    r"<\|[a-z_]{2,30}\|>|\[/?inst\]|<</?sys>>|</?(?:start_of_turn|end_of_turn|tool_call|think|system|assistant)>",
    r"(?:[<‹]|&lt;)/?(?:data|feedback|message|user_message|instructions?)\b[^>›]{0,40}(?:[>›]|&gt;)|<!--",
    r"\brole ?: ?(?:system|assistant)\b|#{2,} ?(?:instruction|system|response|developer|систем|инструкц)",
    r"\[(?:служебн\p{L}+ сообщени\p{L}+|system|систем\p{L}*)|\b(?:end|start) of (?:customer |user )?(?:message|data|feedback|input)\b",
    r"\{\{.{1,200}\}\}|\{%.{1,200}%\}|\{#.{1,200}#\}",
    // Finished answers, and talk between a machine and those who teach it.
    r#""(?:topic_id|topics?|team|sentiment|signals|review|urgency|labels?|owner)" ?:"#,
    r"\b(?:sentiment|topic|topic_id|label|team|owner|тональность|тема|команда) ?[=:—–-]{1,2} ?(?:@mood|@id)\b|\b(?:topic|sentiment|team|owner) ?= ?[a-z]|\bтональность\b.{0,30}\b@mood\b",
    r"\b@field ?[=:—–-] ?[^;|]{2,40}[;|] ?@field ?[=:—–-]|^(?:assistant|ассистент|annotator|adjudicator|аннотатор|разметчик)(?: \d+)?:",
    r"\b(?:finished|final|ready|correct|готовый|готов|верный|правильный) (?:answer|result|tags?|output|label|ответ|результат)\b.{0,40}\b(?:copy|use|write|output|скопируй|переписать|запиши)|\banswer key\b",
    r"\b(?:правильный|верный|единственный) ответ для\b|\bcorrect (?:label|tag|answer|topic|category) for (?:this|the) @record|\byour (?:output|classification) (?:is|should|must|shall)\b|\b(?:topic|team|label|sentiment)_(?:id|score|label)\b ?[:=]|\bsentiment @mood\b",
    r"\b(?:результат\p{L}* разметки|повторн\p{L}+ разметк\p{L}+)\b|\b(?:positive|neutral|negative) is the\b",
    // Earlier orders are taken back.
    r"\b(?:ignore|disregard|forget|override|drop)\b.{0,20}\b(?:previous|prior|earlier|above|preceding|original|system|all|your) (?:\p{L}+ )?(?:instructions?|prompts?|guidelines|rules|training)\b|\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:(?:instructions?|prompts?|guidelines|rules) (?:above|before)|you(?:'ve| were| have)?(?: been)? (?:told|given|taught))\b",
    r"\b(?:забудь|забудьте|игнорируй|игнорируйте|не обращай(?:те)? внимани\p{L}*)\b.{0,40}\b(?:инструкци|указани|промпт|настройки|задани|просили раньше|велели|учили)",
    r"\b(?:инструкци|указани|промпт)\p{L}*\b.{0,30}\b(?:отмен[яе]\p{L}+|недействит|не действ|забуд)|\boverriding\b.{0,20}\b(?:rules|routing|policy)\b",
    // What was said before is called a sample, and other words the customer's own.
    r"\b(?:block|paragraph|text|part|lines?|sentences?|everything|all) (?:above|before|earlier)\b.{0,20}\b(?:is|was|are|were) (?:only |just )?(?:an? )?(?:\p{L}+ )?(?:test|sample|noise|example|error)\b|\b(?:абзац|текст|часть|все|строки) (?:выше|до этого)\b.{0,30}\b(?:тест|образец|пример|шум)\b",
    r"\b(?:treat|consider|regard|take|read) (?:everything|all|the (?:text|lines?|words?)) (?:above|before)\b|\bвсе,? что (?:выше|было выше)\b.{0,20}\b(?:тест|пример|шум|шутка|сарказм)",
    r"\b(?:real|actual|true|настоящ\p{L}+|подлинн\p{L}+) (?:сообщение )?(?:customer|client|feedback|review|клиент\p{L}*|отзыв\p{L}*|обращени\p{L}+)\b.{0,10}(?::|\b(?:wrote|said|says|is|написал\p{L}*|сказал\p{L}*)\b)|\b(?:real|actual) message ?:",
    // The machine's own words and parts.
    r"\b(?:your|her|his|its) system (?:prompt|instructions?)\b|\bsystem (?:prompt|instructions?|block)\W{0,3}[:=\]>]|\bsystem (?:prompt|instructions?) (?:updates?|overrides?|updated|overridden|is now|has been|says?)\b|\b(?:new|ignore|reveal|forget|override|update|print|repeat|show|reset) (?:\p{L}+ ){0,2}system (?:prompt|instructions?|block)\b|\bсистемн\p{L}+ (?:промпт|инструкци|подсказ)|\bсвой промпт\b",
    r"\b(?:note|message|instructions?|reminder|p\.? ?s\.?|(?:this|that) (?:bit|part|one|line)(?:'s| is)?) (?:to|for) (?:the |your |an? )?(?:@machine|checker|system)\b",
    r"\b(?:для|вашему|вашей|вашего|ваш) (?:нейросет|модел|классификатор|алгоритм|компьютер|программ|машин)\p{L}*.{0,20}:",
    r"\b(?:have|let|make|tell|ask) (?:the|your) (?:machine|model|assistant|system|computer|program|bot|ai|algorithm)\b.{0,30}\b(?:write|say|put|note|record|mark|tag|choose|show|read|offer|give)",
    r"\bпусть\b.{0,20}\b(?:программ|систем|робот|машин|компьютер|нейросет|алгоритм)\p{L}*.{0,40}\b(?:не слуша|слуша|запиш|постав|отмет|выбер|прочита|выполн|напиш)",
    r"\b(?:классификатор|classifier|разметк|tagger|autotag|auto-tag)\p{L}*.{0,60}\b(?:обновл|updated|допустим|только|only|must|должн|тема|topic|пол[яе])|\b(?:taxonomy release|feedback pipeline)\b",
    // A machine is spoken to by its name.
    r"\b(?:dear|hey,?|okay,?|hello,?|listen,?) (?:\p{L}+ )?@machine\b|\b(?:уважаем\p{L}+|дорог\p{L}+|мил\p{L}+|эй,?|слушай,?) @machine",
    r"^[^\p{L}]*(?:(?:так|ну|а|и|слушай|пожалуйста|well|so|now|and|please|right),? )?@machine(?: ?!|,.{0,40}\b(?:ставь|поставь|запиши|пиши|напиши|прочитай|прочти|забудь|определи|выбери|реши|учти|ты|you|set|mark|put|write|note|read|label|tag|send|choose|forget)\b)",
    r"\b@machine,.{0,40}\b(?:ты|тебе|тебя|твой|твоя|твое|твои)\b|\bты\b.{0,30}\b(?:нейросеть|модель|классификатор|алгоритм|оценщик)\b|\bтво[йяеи] (?:ответ|оценка|вывод|задача|задание)\b.{0,30}\b@record\b",
    r"^(?:классификатор|нейросет|модел|алгоритм)\p{L}* ?:",
    r"\b@machine.{0,60}\b(?:запиши|поставь|отметь|реши|выбери|считай|определи|напиши|назови|пиши)\b|\b@machine\b.{0,30}\b(?:should|must|shall|needs to|has to|is to)\b.{0,20}\b(?:mark|tag|label|classify|treat|rate|score|count)\b",
    r"\bif you(?:'re| are) (?:an? |the |some )?@machine\b|\b@machine,? (?:who |that |which |что |который |которая )?(?:is |are )?(?:reading|processing|sorting|listening|summari[sz]ing|tagging|читаешь|читает это|обрабатывает|сортирует|слушает это)\b|\b(?:читает|обрабатывает|сортирует) (?:машина|робот|программа|нейросеть|бот)\b|\bif (?:an?|the|any|some) @machine (?:reads|processes|is reading)\b",
    r"\b(?:assistant|program|robot|helper|bot) on your (?:screen|side|computer)\b|\b(?:подскажи|шепни|прикажи)(?:те)?\b.{0,15}\bсво(?:ему|ей) @machine|\b(?:i'm|i am|я) (?:\p{L}+ )?(?:your|ваш)(?: own| же)? (?:developer|engineer|administrator|разработчик|администратор|программист)\b",
    r"\byou(?:'re| are)\b.{0,50}\b(?:classifier|model|tagger|\p{L}*gpt)\b|\b(?:model|ai|classifier), you\b",
    // Whoever or whatever sorts letters is spoken to, or of.
    r"\b(?:whoever|whichever|whatever)(?:'s| is| ai| one| machine)? @sorting\b|\b(?:кто|что|которая|который)\b(?: бы| ни| это| потом| там| все| эти| мои)* @sorting\b",
    r"\b(?:you|вы|ты),? (?:the quiet one|over there|there|там)\b.{0,40}\b(?:notes|listening|слуша|запис|пиш)|\b(?:if|когда|если) (?:the )?(?:reader|читатель) (?:sees|увидит)\b",
    // An order to set a field, or a rule that a field is set.
    r"\b@order\b.{0,60}?\b(?:topics?|sentiment|тем[уыеа]|категори\p{L}+|рубрик\p{L}*|теги?|метк\p{L}+|тональност\p{L}+|владельцем)\b|\b(?:запиши|запишите|поставь|поставьте|ставь|ставьте|укажи|укажите|выставь|выставьте|определи|определите|определяй)\b.{0,60}?\b(?:настроени\p{L}+|команду)\b|\b(?:count|treat|rate|score|assign|route)\b.{0,60}?\b(?:sentiment|mood of|topic)\b",
    r"\b@order\b.{0,60}?\b(?:mood|owner|team|category|tags?|labels?) (?:as|to|for|is|with|under)\b|\b(?:записать|отнести|относить|присвоить|поставить|пометить|определять)\b.{0,40}?\b(?:тем[уые]|рубрик\p{L}*|теги?|метку|тональност\p{L}+)\b",
    r"\b(?:change|switch|correct|update|move|смени|измени|поменяй|исправь)(?:те)? (?:the |its |my )?(?:topic|sentiment|тональность) (?:to|from|of|на)\b|\b(?:пол[еяю]|графа|графу|field|column|slot) (?:topic|sentiment|team|тем[аыу]|тональност\p{L}+|команд\p{L})\b|\b(?:topic|sentiment|team) (?:field|column|slot)\b",
    r"\bsentiment (?:here |now )?(?:is|should be|must be|has to be)\b|\btopic (?:should|must|has to|shall|ought to) be\b|\b(?:тема|тему|тональность|настроение) (?:этого|данного|моего|всего) @record",
    r"^[^\p{L}]*(?:topic|subject|category|tag|label|sentiment|mood|тема|категория|рубрика|тональность|настроение)(?: \p{L}+)? ?[:=—–-] ?(?:@mood|praise|compliments?|похвал\p{L}*)\b",
    r"\b(?:отдел|@field) (?:\p{L}+ )?(?:ставь|ставьте|поставь|поставьте|присваива\p{L}+|выставля\p{L}+|switches)\b|\b(?:ставит|ставят|выставляет|присваивает) (?:тему|метку|тег|тональность|команду)\b",
    r"\b(?:использу|возьм|примен)\p{L}* .{0,20}\b(?:как|в качестве) (?:тему|темы|настроени)|\bпусть будет (?:тема|команда|метка|тональность)\b",
    r"\b(?:topic|sentiment|тем[аыу]|тональност\p{L}+)\b.{0,60}?\b@id\b|\b(?:labels?|став(?:ь|ьте)|верни|return|choose|pick|emit) (?:@id|@mood)\b|\bкоманд\p{L}{1,2}:? [a-z]{2,}\b|\bemit @quoted",
    r"\b(?:допустима|единственн\p{L}+|only) (?:только |allowed |valid )?(?:тема|тему|topic)\b|\bonly (?:allowed|valid) (?:output|answer)\b",
    r"\b(?:choose|pick|select|выбери|выберите|поставь|ставь)\b.{0,15}@quoted.{0,10}\b(?:for me|мне)\b|\bchoose (?:my|its|their) own (?:label|tag|topic|category)\b",
    // An order to write a record down as something that it is not.
    r"(?:^|\b(?:please|just|and|now|should|must|to|then) )(?:classify|categori[sz]e|label|tag) (?:it|this|that|me|mine|my \p{L}+)\b(?: \p{L}+)?,? (?:as|with|under)\b",
    r"\b(?:put|count|counted|note|mark|file|log|store|stored|record|register)\b.{0,30}\b(?:as|among|under) (?:an? |the |my |our )?(?:@mood|@praise|(?:happy|cheerful|calm|angry|furious|delighted) (?:one|letter|review|call|note|message|feedback|customer)s?)\b|\b(?:put|file|place)\b.{0,20}\bwith (?:the |your )@praise|\b(?:put|set) (?:it|this|me) down as @mood",
    r"\b(?:put|write) (?:me |it )?down (?:that i|as (?:happy|cheerful|calm|neutral|angry))\b|\bgo down as\b|\b(?:treat|take|read|count) (?:this|it|that) as (?:an? )?(?:note|letter|message|question) about\b",
    r"\b(?:запишите|запиши|пишите|пиши|отметьте|отметь|поставьте|поставь)(?:,? (?:там|себе|так|пожалуйста))*,? что (?:я|клиент\p{L}*|отзыв|покупател\p{L}*|абонент\p{L}*|человек)\b.{0,40}\b@feeling",
    r"\b(?:запиши|запишите|пиши|пишите|отметь|отметьте|пометь|пометьте)\b.{0,30}\b(?:тоном|мол|будто|словно)\b|\b(?:поставь|поставьте|запиши|запишите|учти|учтите|отнеси|отнесите|определи|определите)\b.{0,20}\b@record\b.{0,20}\b(?:как|к|среди) (?:\p{L}+ )?(?:@record|@praise|@mood)",
    r"\b(?:запиши|запишите|пометь|пометьте|отметь|отметьте|учти|учтите) (?:меня|нас|это|его|ее|мо[еюй] \p{L}+) (?:(?:как|среди) (?:\p{L}+ )?(?:@record|@mood|@praise|@feeling)|@feeling)|\b(?:отнеси|отнесите|отнести|относите)\b.{0,40}\bк (?:раздел|категори|рубрик)",
    r"\b(?:log|record|mark|note|tag|label|register)\b.{0,5}\b(?:the caller|the customer|me|us|this caller)\b(?: down)? as @feeling|\bre-?(?:classify|categori[sz]e|label|tag) (?:this|it|the|my)\b.{0,20}\b(?:as|to|under)\b|\b(?:set|switched|changed)\b.{0,20}@record to @mood",
    r"\b(?:запиши|запишите|поставь|поставьте|отметь|отметьте|укажи|укажите|пометь|пометьте|выставь|выставьте|пусть будет)\b.{0,40}\b@mood|\b(?:mark|rate|score|label|log|record|set|tag|count)\b.{0,8}\b(?:it|this|me|that|mine|my \p{L}+|the @record)\b.{0,15}\b@mood(?:$|[^\p{L} ]| and\b| please\b)",
    r"\b(?:do not|don't|never|не) (?:mark|tag|label|record|count|write|пиши|записывай|отмечай|помечай|ставь)(?:те)?\b.{0,30}\b(?:@mood|complaint\b|жалоб)",
    r"\b@record\b.{0,20}\b(?:should|must|has to|have to|needs? to|is to|are to|следует|надо|нужно|необходимо)\b.{0,40}\b(?:as|как|к|under|среди|with) (?:\p{L}+ )?(?:@mood|@praise)",
    r"\bне став(?:ь|ьте) (?:мне )?(?:плох|низк)\p{L}+|\bgive me (?:an? )?(?:\p{L}+ )?(?:happy|positive|good|nice) (?:mark|tag|label|score)\b",
    r"\bв (?:журнале|бумагах|карточке|протоколе|записях) (?:пусть|поставь|поставьте|запиши|запишите|пиши|пишите)\b|\b(?:ends up|goes down) on paper\b",
    r"\b(?:повторяй|повторяйте|repeat|say it) (?:за мной|after me)\b|\b(?:так и|тоже|так его и|так ее и) (?:отметь|отметьте|запиши|запишите|пиши|пишите|пометь|назови|назовите)",
    // What the record is, or is about, is laid down against its own words.
    r"\b(?:topic|mood|sentiment) (?:of|for) (?:the|this|all|every|such)\b.{0,40}\b(?:is|are|to)\b|\b(?:owner|team) (?:of|for) (?:the|this|all|every|such) @record\b.{0,40}\b(?:is|are|to)\b|\bthis (?:conversation|ticket|case|message|complaint) belongs to\b",
    r"\b(?:команда|тема|владелец|настроение) (?:для|у) (?:всех|эт|так)\p{L}*.{0,30}[:—]|\bответственная команда\b.{0,5}[:—]|\bowning team\b|\bresponsible team ?[:=—]",
    r"\b(?:this|it|letter|message) has nothing to do with\b.{2,40}\b(?:it is|it's|this is) about\b|\b(?:вопрос|дело|это|обращение)\b.{0,40}\bотносится к (?:служб|отдел|команд|тем)",
    r"\b(?:это|тут|здесь) (?:\p{L}+ ){0,2}не жалоба\b.{0,60}\b(?:отмет|помет|тема|настроен|отзыв|похвал|благодарност|комплимент)|\b(?:not|isn't) a complaint\b.{0,30}\b(?:it's|it is|this is|but|rather) (?:an? )?(?:\p{L}+ )?(?:compliment|praise|thank)",
    r"\bthis is a test (?:call|message|record|ticket|review)\b|\bэто тестов\p{L}+ @record|\bтак надо для теста\b|\bтест\p{L}* (?:маршрутизаци|разметк)|\bмаршрутизаци\p{L}+ (?:обращени|отзыв|писем)|\bменяю (?:тему|тональность)\b|\bthis is (?:really |actually |just |all |only )?(?:positive|negative|neutral) (?:feedback|review|message)\b|\b(?:is|was) (?:really|actually|in fact|all) (?:praise|a compliment)\b|^(?:это|this is) (?:похвала|praise)\b",
    r"\b(?:про|об?) \p{L}+ вы не слышали\b|\byou never heard (?:about|anything)\b|\byou heard (?:a|an|some|me)\b|\bтеперь мы (?:с вами )?говорим о",
    // All records of a kind are laid down.
    r"\b@rule\p{L}* (?:\p{L}+ )?(?:разметк|разбор|классификаци|маршрутизаци)|\b(?:labell?ing|tagging|routing|annotation|classification) (?:@rule|override|release)\b|\b@rule\b.{0,40}\b(?:counted|filed|tagged|labell?ed|stored) (?:as|under)\b",
    r"\b(?:такие|такое|подобные|все|любые|за таким) (?:письм|обращени|отзыв|жалоб|звонк)\p{L}*\b.{0,30}\b(?:идут|учитыва\p{L}+|относ\p{L}+|команд\p{L}+|вед[уе]т|закрепл\p{L}+)\b|\b(?:обращени|отзыв|письм|жалоб)\p{L}+ (?:со словом|с упоминанием|на \p{L}+)\b.{0,40}\b(?:ведет|идет|идут|учитываются|относятся|передаются|закреплены)\b",
    r"\b(?:letters|messages|calls|reviews|complaints|tickets|records|anything|(?:every|any) @record) (?:like (?:mine|this|these)|that mentions?|with the word|with @quoted|received on).{0,40}\b(?:filed|counted|tagged|labell?ed|routed|belongs?)\b",
    // A word that is to set something off.
    r"\b(?:code|unlock|trigger) phrase\b|\bкодовая фраза\b|\b(?:после|услышав|увидев|встретив)\b.{0,40}\b(?:программа|система|разговор|звонок|отзыв|обращение)\b.{0,15}\b(?:обязан|выставля|став|числ|счита)",
    r"\b(?:code ?word|password) (?:for|is|means)\b.{0,60}\b(?:write|note|mark|record|tag|put)|\bcode ?word for\b|\b(?:sees?|reads?|hears?) the words? @quoted.{0,20}\bmust\b",
    // Words that are to mean something else.
    r"\bна нашем (?:жаргоне|языке)\b.{0,60}(?:переводит|означа|значит)|\bopposite day\b|\b(?:понима\p{L}+|чита\p{L}+) наоборот\b|\bкак (?:это )?правильно (?:понимать|читать)\b|\bto be read as follows\b",
    r"\b(?:word|phrase|слово|фраза|слова|слову) @quoted,? (?:here|in this|for us|between us|у нас|тут|здесь|в (?:этом|моем|нашем)).{0,25}\b(?:means|stands for|counts as|is short for|означа|обознача|знач|читай)|\bin (?:this|my) (?:letter|message|text|review) @quoted (?:means|stands for)\b|\bmeans \p{L}+, \p{L}+ means \p{L}+|\b(?:word|phrase|слово|фраза) @quoted .{0,25}\b(?:means|counts as|означает|значит) (?:@mood|@praise|@feeling)\b",
    r"@quoted.{0,35}\b(?:читать|понимать|читай\p{L}*|понимай\p{L}*) как @quoted|\b(?:read|render|understand) @quoted as @quoted|@quoted is (?:slang|short|code) for @quoted",
    // Examples, as a machine is taught with.
    r#"(?:->|→|ответ:|answer:|output:)\s*"?(?:@id|@mood|10/10)\b|\b(?:input|отзыв|review|example|пример|text|текст)(?: \d+)? ?:[^>→]{0,80}(?:->|→)"#,
    r"@quoted ?[=:—–-] ?@mood\b|\b(?:example|sample|пример|образец) (?:\d|[a-z])[:.)]|\bfew-?shot\b|\bfor calibration:|\b(?:keep|continue) the pattern\b|\bдальше по аналогии\b|\bобразцы для\b",
    // Parts to be played.
    r"^pretend\b.{0,20}\b(?:you are|you're|to be|you work|you have|you and me)\b|\b(?:and|now|please|just) pretend (?:that )?(?:you are|you're|to be|you work)\b|\bimagine (?:that )?you(?:'re| are) an? (?:\p{L}+ ){1,3}(?:who|that|which)\b|^(?:\p{L}+,? )?you are now (?:an? |the |\p{L}*(?:bot|gpt)\b)|\blet's (?:act out|play|pretend|do a scene)\b|\b(?:stay|remain|reply|answer|file|letter) in character\b",
    r"\b(?:представь|вообрази|допустим), что ты\b|\b(?:ты теперь|теперь ты) (?:не \p{L}+, а|—|@machine)|\b(?:давай(?:те)? поиграем|сыграем в игру|поиграем в игру)\b|\bв роли до\b|\bиграешь роль\b|\bот (?:ее|его|их) лица\b.{0,10}\b(?:оцени|ответь|отвечай|напиши)",
    r"\b(?:debug|developer|test|god) mode\b.{0,40}\b(?:route|tag|mark|set|answer)|\bрежим (?:отладки|разработчика|учителя)\b",
    // Hidden writing, and other tongues.
    r"\btranslate\b.{0,40}\b(?:output|format|answer)\b|\bпереведи\b.{0,40}\b(?:ответ|жаргон|вывод)|\b(?:base64|rot13)\b|\bdecode\b.{0,20}\b(?:obey|copy|follow)\b|\b(?:раскодируй|расшифруй)\b.{0,40}\b(?:выполни|сделай|запиши)",
    r"\b(?:прочитай|прочти)\p{L}* (?:это )?(?:наоборот|задом наперед|справа налево|без дефис)",
    // An answer's form.
    r"(?:^|\b(?:and|now|please|just|on) )(?:output|answer|reply|respond)\b.{0,30}\b(?:nothing else|single word|only (?:with|the)|no other|word for word)\b|\buse nothing else\b|\bwrite that and stop\b|\bassign to: ",
];

/// Marks that chat templates open and end messages with.
pub(super) const OPENING: &str =
    r"<\|[a-z_]{2,30}\|>|\[/?inst\]|<</?sys>>|<(?:start_of_turn|end_of_turn|think|system|assistant)>";

/// What a sentence says of tags, moods or its reader: enough beside one that speaks to a machine, never by itself.
pub(super) const OF_TAGS: &str = r"\b(?:@field|@mood|@praise|@feeling|ты|тебе|тебя|you heard|you must|means|значит|pretend|grateful|обещаю|спасибо)\b";
