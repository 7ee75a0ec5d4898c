//! Verbs of the work on a case, in Russian and English: which words tell the same act, and which of them tell that it is over. Words come
//! in lower case with `е` for `ё`.

/// Letters by which two forms of a verb that is in no family are taken to be of one verb.
const COMMON_LETTERS: usize = 4;

/// Acts, each with the beginnings of the words that tell it. The first names the act. Words of speech are none: who says that something
/// was explained has explained it.
const ACTS: &[&[&str]] = &[
    &[
        "верну",
        "верне",
        "возвра",
        "возмещ",
        "возмест",
        "компенс",
        "начисл",
        "зачисл",
        "перечисл",
        "выплат",
        "выплач",
        "подар",
        "предостав",
        "поступ",
        "refund",
        "reimburs",
        "credit",
        "compensat",
        "received",
    ],
    &["провер", "посмотр", "просмотр", "check", "verif"],
    &["позвон", "перезвон", "созвон", "звон", "набер", "набра", "свяж", "связал", "call", "phone", "rang", "contact"],
    &["отправ", "высла", "высыла", "вышл", "присла", "пришлю", "пришле", "присыл", "посла", "направ", "send", "sent"],
    &["переда", "перешл", "пересла", "эскал", "forward", "pass", "escalat"],
    &["напиш", "написа", "write", "wrote", "written"],
    &["разблок", "unblock", "unlock"],
    &["заблок", "блокир", "block"],
    &["замен", "replac", "exchang"],
    &["измен", "смен", "поменя", "chang", "switch"],
    &["отмен", "аннулир", "cancel", "revers"],
    &[
        "исправ",
        "устран",
        "почин",
        "отремонт",
        "восстан",
        "наладил",
        "наладим",
        "решу",
        "решим",
        "решат",
        "решен",
        "решил",
        "решить",
        "fix",
        "repair",
        "restor",
        "resolv",
        "solv",
    ],
    &["подключ", "включ", "активир", "activat", "enabl", "connect"],
    &["отключ", "выключ", "деактив", "deactivat", "disabl", "disconnect"],
    &["достав", "привез", "приве", "приед", "приеха", "deliver", "bring", "brought", "arriv"],
    &["прид", "пришел", "пришла", "пришло", "пришли", "come", "came"],
    &["оформ", "issue"],
    &["зарегистр", "созда", "завед", "завел", "завест", "regist", "creat", "raise"],
    &["перевыпус", "перевыпущ", "reissu"],
    &["назнач", "запис", "запиш", "забронир", "заплан", "book", "schedul", "arrang"],
    &["добав", "add"],
    &["убра", "убер", "удал", "remov", "delet"],
    &["откро", "откры", "open"],
    &["закро", "закры", "clos"],
    &["продл", "extend"],
    &["перенес", "reschedul", "postpon"],
    &["настро", "постав", "выстав", "установ", "instal", "configur"],
    &["найд", "нашел", "нашл", "найти", "выясн", "узна", "разбер", "разобр", "investigat", "find", "found"],
    &["пересчит", "перерасч", "recalcul"],
    &["запрос", "запрош", "request"],
    &["согласу", "согласов", "одобр", "approv"],
    &["подготов", "prepar"],
    &["организ", "organi"],
    &["перевед", "перевел", "перевест", "transfer"],
    &["приня", "примем", "приму", "accept"],
    &["сброс", "reset"],
    &["перезапу", "перезагр", "restart", "reboot"],
    &["обнов", "updat"],
    &["списал", "списан", "спиш", "списать", "waiv"],
    &["снял", "снят", "сним"],
];

/// Verbs that leave it to a noun to tell the act: "оформили возврат", "the refund was issued".
const LIGHT: &[&str] = &[
    "оформ",
    "сдела",
    "произве",
    "выполн",
    "осуществ",
    "провел",
    "проведен",
    "прошел",
    "прошла",
    "прошло",
    "прошли",
    "made",
    "issued",
    "processed",
    "completed",
];

/// Words that help a verb and tell no act.
const AUXILIARIES: &[&str] = &["will", "have", "been", "going", "буду", "будет", "будем", "будут"];

/// Words that put off the verb after them.
const PUT_OFF: &[&str] = &[
    "will",
    "shall",
    "would",
    "should",
    "can",
    "must",
    "be",
    "to",
    "being",
    "буду",
    "будет",
    "будем",
    "будут",
    "быть",
];

/// How many words before a verb may put it off.
const PUT_OFF_WITHIN: usize = 3;

/// Words after which a noun is what another thing is for, as in "заявка на возврат".
const FOR: &[&str] = &["на", "о", "об", "по", "for", "of", "about"];

/// Customers, as subjects.
const CUSTOMERS: &[&str] = &["клиент", "клиентка", "абонент", "покупатель", "пользователь", "customer", "client"];

/// Nouns that look like short participles.
const NOUNS: &[&str] = &["отмена", "отмены", "замена", "замены", "смена", "смены"];

/// Short participles of an ending that other forms have as well.
const SHORT: &[&str] =
    &["снят", "снята", "снято", "сняты", "принят", "принята", "приняты", "принято", "открыт", "закрыт"];

/// Endings of the Russian past and of short participles.
const PAST_ENDINGS: &[&str] =
    &["л", "ла", "ло", "ли", "ен", "ена", "ено", "ены", "ан", "ана", "ано", "аны", "ыта", "ыто", "ыты"];

/// Acts that are as good as done when they are told so.
const NOW: &[&str] = &[
    "оформляю",
    "отправляю",
    "передаю",
    "блокирую",
    "разблокирую",
    "отменяю",
    "начисляю",
    "подключаю",
    "отключаю",
    "возвращаю",
    "завожу",
    "создаю",
    "высылаю",
];

/// English verbs whose past has no ending of its own.
const IRREGULAR: &[&str] =
    &["sent", "rang", "wrote", "written", "brought", "came", "found", "reset", "made", "done", "began"];

/// The act that a word tells, if it is one of the known.
pub(super) fn act(word: &str) -> Option<&'static str> {
    let tells = |beginning: &&str| word.starts_with(*beginning);
    ACTS.iter().find(|words| words.iter().any(tells)).and_then(|words| words.first()).copied()
}

/// What the words of a verb are compared by: the act, or the beginning of a word that is in no family.
pub(super) fn keys(verb: &str) -> impl Iterator<Item = String> + '_ {
    let words = verb.split(|c: char| !c.is_alphabetic()).filter(|word| !AUXILIARIES.contains(word));
    words.filter_map(|word| act(word).map(str::to_owned).or_else(|| stem(word)))
}

/// The same of those words that are in no family.
pub(super) fn other_keys(verb: &str) -> impl Iterator<Item = String> + '_ {
    let words = verb.split(|c: char| !c.is_alphabetic()).filter(|word| !AUXILIARIES.contains(word));
    words.filter(|word| act(word).is_none()).filter_map(stem)
}

fn stem(word: &str) -> Option<String> {
    (word.chars().count() >= COMMON_LETTERS).then(|| word.chars().take(COMMON_LETTERS).collect())
}

/// The words of a clause, without the signs at their ends.
pub(super) fn words(clause: &str) -> Vec<&str> {
    let words = clause.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    words.filter(|word| !word.is_empty()).collect()
}

/// The acts that the words of a clause tell as over, the customer's own left out.
pub(super) fn over(words: &[&str]) -> Vec<&'static str> {
    let mut acts = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if !is_past(word) || is_put_off(words, at) {
            continue;
        }
        acts.extend(act(word).filter(|act| !is_customers(words, at, act)));
        if LIGHT.iter().any(|light| word.starts_with(light)) {
            acts.extend(nouns(words));
        }
    }
    acts
}

/// The acts that words of a clause tell as not over.
pub(super) fn open<'a>(words: &'a [&'a str]) -> impl Iterator<Item = &'static str> + 'a {
    let open = words.iter().enumerate().filter(|(at, word)| !is_past(word) || is_put_off(words, *at));
    open.filter_map(|(_, word)| act(word))
}

/// The acts that nouns tell, where a light verb tells that they are over.
fn nouns<'a>(words: &'a [&'a str]) -> impl Iterator<Item = &'static str> + 'a {
    let is_for =
        |at: usize| at.checked_sub(1).and_then(|before| words.get(before)).is_some_and(|one| FOR.contains(one));
    let own = words.iter().enumerate().filter(move |(at, word)| !is_past(word) && !is_for(*at));
    own.filter_map(|(_, word)| act(word))
}

fn is_past(word: &str) -> bool {
    if NOW.contains(&word) {
        return true;
    }
    if word.is_ascii() {
        return word.ends_with("ed") || IRREGULAR.contains(&word);
    }
    let word = word.strip_suffix("ся").or_else(|| word.strip_suffix("сь")).unwrap_or(word);
    SHORT.contains(&word) || (!NOUNS.contains(&word) && PAST_ENDINGS.iter().any(|ending| word.ends_with(ending)))
}

/// True if a word before it says that it is still to be, or a word after it asks whether it is.
fn is_put_off(words: &[&str], at: usize) -> bool {
    let puts_off = |word: &&str| PUT_OFF.contains(word) || word.ends_with("'ll");
    let before = words.get(at.saturating_sub(PUT_OFF_WITHIN)..at).unwrap_or_default();
    let after = words.get(at + 1).copied();
    before.iter().any(puts_off) || after.is_some_and(|after| after == "ли" || puts_off(&after) && !after.is_ascii())
}

/// True if the customer did it. In English notes "customer refunded" tells what was done for the customer.
fn is_customers(words: &[&str], at: usize, act: &str) -> bool {
    let is_given = ACTS.first().and_then(|given| given.first()).is_some_and(|given| *given == act);
    let subject =
        words.get(..at).unwrap_or_default().iter().rfind(|word| !["уже", "сам", "already", "also"].contains(word));
    subject.is_some_and(|word| CUSTOMERS.contains(word) && !(word.is_ascii() && is_given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_acts_that_are_over_or_not() {
        let wrong: Vec<_> = [
            ("вернули комиссию", "верну", ""),
            ("комиссия возвращена", "верну", ""),
            ("комиссия будет возвращена", "", "верну"),
            ("вернем комиссию", "", "верну"),
            ("вернули ли комиссию", "", "верну"),
            ("оформили возврат комиссии", "оформ верну", "верну"),
            ("оформили заявку на возврат", "оформ", "верну"),
            ("клиент отправил фото", "", ""),
            ("клиенту отправили фото", "отправ", ""),
            ("замена карты", "", "замен"),
            ("деньги пришли", "прид", ""),
            ("пришлем курьера", "", "отправ"),
            ("сняли плату", "снял", ""),
            ("the fee was refunded", "верну", ""),
            ("the fee will be refunded", "", "верну"),
            ("we'll have it fixed", "", "исправ"),
            ("customer refunded", "верну", ""),
            ("customer called", "", ""),
            ("the refund was issued", "оформ верну", "верну"),
            ("sent a courier", "отправ", ""),
        ]
        .into_iter()
        .filter_map(|(clause, wanted, left)| {
            let words = words(clause);
            let found = (over(&words).join(" "), open(&words).collect::<Vec<_>>().join(" "));
            (found != (wanted.to_owned(), left.to_owned())).then_some((clause, found))
        })
        .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_verb_in_no_family_is_known_by_its_beginning() {
        assert_eq!(keys("привяжем карту").collect::<Vec<_>>(), ["прив", "карт"]);
        assert_eq!(keys("will send").collect::<Vec<_>>(), ["отправ"]);
    }
}
