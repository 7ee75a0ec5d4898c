//! Words after which a name of a person follows.

use super::scan::Scan;

/// What words before a name promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cue {
    /// «Меня зовут», "my name is": a name follows, even in lower case if it is a known one.
    Introduction,
    /// «С уважением», "regards": a name follows and ends the line or sentence.
    Signature,
    /// "Mr", «господин»: a capitalised name follows.
    Title,
    /// «Оператор», "agent": a known name or what looks like a surname may follow.
    Role,
    /// «Здравствуйте», «спасибо», "hello": a known name may follow.
    Greeting,
}

#[rustfmt::skip]
const PHRASES: &[(&[&str], Cue)] = &[
    (&["меня", "зовут"], Cue::Introduction), (&["зовут", "меня"], Cue::Introduction), (&["его", "зовут"], Cue::Introduction),
    (&["ее", "зовут"], Cue::Introduction), (&["мое", "имя"], Cue::Introduction), (&["по", "имени"], Cue::Introduction),
    (&["представился"], Cue::Introduction), (&["представилась"], Cue::Introduction), (&["фио"], Cue::Introduction),
    (&["my", "name", "is"], Cue::Introduction), (&["my", "name's"], Cue::Introduction), (&["i", "am", "called"], Cue::Introduction),
    (&["by", "the", "name", "of"], Cue::Introduction),
    (&["с", "уважением"], Cue::Signature), (&["с", "ув"], Cue::Signature), (&["regards"], Cue::Signature),
    (&["sincerely"], Cue::Signature), (&["yours", "truly"], Cue::Signature), (&["best", "wishes"], Cue::Signature),
    (&["many", "thanks"], Cue::Signature),
    (&["добрый", "день"], Cue::Greeting), (&["добрый", "вечер"], Cue::Greeting), (&["доброе", "утро"], Cue::Greeting),
    (&["thank", "you"], Cue::Greeting),
];

const TITLES: &[&str] = &["господин", "госпожа", "господину", "госпоже", "г-н", "г-жа"];

/// Beginnings of words for the people whom customers meet.
#[rustfmt::skip]
const ROLES: &[&str] = &[
    "менеджер", "оператор", "сотрудни", "консультант", "специалист", "мастер", "курьер", "водител", "кассир", "администратор",
    "директор", "врач", "доктор", "продав", "диспетчер", "инженер", "девушк", "агент", "представител", "operator", "agent",
    "manager", "advisor", "adviser", "representative", "technician", "courier", "driver", "consultant", "specialist",
];

#[rustfmt::skip]
const GREETINGS: &[&str] = &[
    "здравствуйте", "здравствуй", "привет", "уважаемый", "уважаемая", "дорогая", "дорогой", "спасибо", "благодарю",
    "благодарность", "благодарим", "dear", "hello", "hi", "thanks", "hey",
];

/// A cue that starts at `at`, with the token after it.
pub(super) fn cue(scan: &Scan<'_>, at: usize) -> Option<(usize, Cue)> {
    let word = scan.lower(at);
    let is = |words: &[&str]| words.iter().enumerate().all(|(place, word)| scan.lower(at + place) == *word);
    if let Some((words, cue)) = PHRASES.iter().find(|(words, _)| is(words)) {
        return Some((at + words.len(), *cue));
    }
    // In lower case these are units and a verb: `5 ms`.
    let english_title = matches!(word, "mr" | "mrs" | "ms" | "dr") && scan.is_name_case(at);
    if english_title || TITLES.contains(&word) {
        return Some((at + 1, Cue::Title));
    }
    if is_role(word) {
        return Some((at + 1, Cue::Role));
    }
    GREETINGS.contains(&word).then_some((at + 1, Cue::Greeting))
}

/// True for words for the people whom customers meet.
pub(super) fn is_role(word: &str) -> bool {
    ROLES.iter().any(|role| word.starts_with(role))
}
