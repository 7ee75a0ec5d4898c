//! Which language a text is in, as far as the models care: Russian, English, both, another, or nothing to judge by.

use std::sync::LazyLock;

use whatlang::{Detector, Lang};

use super::letters::{is_cyrillic, is_letter};
use super::words::Word;
use crate::feedback::CharSpan;
use crate::tags::Language;

/// Share of words, and number of words, from which the minor language makes a text mixed.
const MIXED_SHARE: f32 = 0.2;
const MIXED_WORDS: usize = 3;
/// Words without a single English function word that still count as English beside Russian: more than a list of brands.
const MIXED_WITHOUT_FUNCTION_WORDS: usize = 8;
/// Share of Cyrillic words with letters foreign to Russian from which the text is not Russian.
const FOREIGN_SHARE: f32 = 0.15;
/// Share of words with `ъ` for a vowel from which Cyrillic text without `ы` and `э` is Bulgarian.
const HARD_SIGN_SHARE: f32 = 0.04;
/// Share of words with foreign letters or function words from which a Latin text is not English.
const OTHER_SHARE: f32 = 0.15;
/// Words from which statistics of letters are worth asking, and how sure they must be.
const STATISTICAL_WORDS: usize = 6;
const STATISTICAL_CONFIDENCE: f64 = 0.8;
/// Characters that the statistics see.
const STATISTICAL_CHARACTERS: usize = 400;

static CYRILLIC: LazyLock<Detector> =
    LazyLock::new(|| Detector::with_allowlist(vec![Lang::Rus, Lang::Ukr, Lang::Bul, Lang::Srp, Lang::Mkd, Lang::Bel]));
static LATIN: LazyLock<Detector> = LazyLock::new(|| {
    Detector::with_allowlist(vec![
        Lang::Eng,
        Lang::Deu,
        Lang::Fra,
        Lang::Spa,
        Lang::Ita,
        Lang::Por,
        Lang::Nld,
        Lang::Pol,
        Lang::Ces,
        Lang::Tur,
        Lang::Swe,
        Lang::Fin,
        Lang::Ron,
        Lang::Hun,
        Lang::Ind,
        Lang::Vie,
    ])
});

/// Words that English sentences are held together by.
#[rustfmt::skip]
const ENGLISH: &[&str] = &[
    "a", "about", "after", "all", "am", "an", "and", "any", "are", "as", "at", "be", "because", "been", "but", "by", "can",
    "can't", "card", "could", "did", "didn't", "do", "does", "doesn't", "don't", "for", "from", "get", "good", "got", "great",
    "had", "has", "have", "he", "hello", "help", "hi", "how", "i", "i'm", "i've", "if", "in", "is", "it", "it's", "just",
    "me", "my", "need", "never", "no", "not", "of", "ok", "okay", "on", "or", "our", "out", "please", "service", "she",
    "should", "so", "some", "still", "support", "thank", "thanks", "that", "the", "their", "them", "there", "they", "this",
    "to", "up", "us", "very", "was", "we", "well", "were", "what", "when", "where", "which", "why", "will", "with", "won't",
    "work", "would", "yes", "you", "your", "can not", "isn't", "bad", "money",
];

/// Words that show another language in Latin letters, and that English lacks.
#[rustfmt::skip]
const OTHER_LATIN: &[&str] = &[
    "ich", "und", "der", "das", "nicht", "ist", "mein", "meine", "danke", "bitte", "sehr", "kein", "keine", "auf", "mit",
    "für", "wir", "sie", "ein", "eine", "guten", "schlecht", "hallo", "wie", "habe", "warum",
    "je", "vous", "nous", "est", "pas", "une", "les", "des", "mon", "ma", "merci", "bonjour", "très", "avec", "pour", "dans",
    "suis", "mais", "c'est", "j'ai", "le", "ça", "bien",
    "el", "los", "las", "una", "gracias", "hola", "muy", "pero", "por", "para", "mi", "que", "está", "tengo", "buenos",
    "malo", "dinero", "tarjeta", "la", "y", "con", "nadie", "funciona",
    "il", "che", "grazie", "ciao", "sono", "della", "molto", "non", "mia", "buongiorno", "carta", "perché",
    "obrigado", "obrigada", "não", "muito", "meu", "minha", "uma", "você",
    "nie", "jest", "dziękuję", "proszę", "bardzo", "mój", "moja", "dzień", "dobry", "się",
    "het", "een", "niet", "mijn", "dank", "zeer", "geen", "goed",
    "teşekkürler", "merhaba", "çok", "bir", "ve", "için", "değil", "kötü",
    "děkuji", "tack", "kiitos", "není", "jsem", "mulțumesc", "köszönöm", "terima", "kasih",
];

/// Words that show Bulgarian, Serbian or Ukrainian, and that Russian lacks.
#[rustfmt::skip]
const OTHER_CYRILLIC: &[&str] = &[
    "съм", "ще", "това", "няма", "нямам", "имам", "беше", "вече", "благодаря", "всичко", "моля", "трябва", "какво", "защо",
    "ми", "ги", "са", "нещо", "здравейте", "никой", "хвала", "нисам", "зашто",
    "дуже", "що", "дякую", "чому", "але", "який", "яка", "погано", "немає", "щоб",
];

/// The language of `text`, whose words are given; `links` (sorted) are not listened to.
pub(super) fn detect(text: &str, words: &[Word], links: &[CharSpan]) -> Language {
    let mut tally = Tally::default();
    let mut links = links.iter().copied().peekable();
    for word in words {
        while links.next_if(|link| link.end <= word.span.start).is_some() {}
        if links.peek().is_none_or(|link| !link.overlaps(word.span)) {
            tally.add(word);
        }
    }
    tally.judge(text)
}

#[derive(Debug, Default)]
struct Tally {
    cyrillic: usize,
    /// Cyrillic words with letters that Russian lacks.
    foreign_cyrillic: usize,
    /// Words with `ъ` before something other than е, ё, ю, я: Bulgarian spelling.
    hard_sign_as_vowel: usize,
    /// Function words of other Cyrillic languages.
    other_cyrillic: usize,
    /// `ы`, `э`: letters that Bulgarian, Serbian and Ukrainian lack.
    russian_letters: usize,
    latin: usize,
    english: usize,
    other_latin: usize,
    /// Latin words with letters beyond a-z.
    accented: usize,
    other_script: usize,
}

impl Tally {
    fn add(&mut self, word: &Word) {
        let (mut cyrillic, mut latin, mut other) = (0_usize, 0_usize, 0_usize);
        for c in word.lower.chars().filter(|c| is_letter(*c)) {
            match c {
                _ if is_cyrillic(c) => cyrillic += 1,
                'a'..='z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => latin += 1,
                _ => other += 1,
            }
        }
        if other > cyrillic + latin {
            // Scripts without spaces make one long word of a sentence.
            self.other_script += other.div_ceil(4);
        } else if cyrillic > latin {
            self.cyrillic += 1;
            self.see_cyrillic(&word.lower);
        } else if latin > 0 {
            self.latin += 1;
            self.english += usize::from(ENGLISH.contains(&word.lower.as_str()));
            self.other_latin += usize::from(OTHER_LATIN.contains(&word.lower.as_str()));
            self.accented += usize::from(!word.lower.is_ascii());
        }
    }

    fn see_cyrillic(&mut self, lower: &str) {
        let foreign = |c: char| is_cyrillic(c) && !matches!(c, 'а'..='я');
        self.foreign_cyrillic += usize::from(lower.chars().any(foreign));
        self.other_cyrillic += usize::from(OTHER_CYRILLIC.contains(&lower));
        self.russian_letters += usize::from(lower.contains(['ы', 'э']));
        let mut after_hard_sign = lower.split('ъ').skip(1);
        self.hard_sign_as_vowel +=
            usize::from(after_hard_sign.any(|rest| !rest.is_empty() && !rest.starts_with(['е', 'ю', 'я', 'и'])));
    }

    fn judge(&self, text: &str) -> Language {
        let known_scripts = self.cyrillic + self.latin;
        if known_scripts + self.other_script == 0 {
            return Language::Unknown;
        }
        if self.other_script > known_scripts {
            return Language::Other;
        }
        let russian = self.cyrillic > 0 && !self.is_other_cyrillic(text);
        let english_words = if self.english > 0 || self.latin >= MIXED_WITHOUT_FUNCTION_WORDS { self.latin } else { 0 };
        let minor = english_words.min(self.cyrillic);
        if russian && minor >= MIXED_WORDS && share(minor, known_scripts) >= MIXED_SHARE && !self.is_other_latin(text) {
            return Language::Mixed;
        }
        // Brands in Latin letters do not make a Russian text English, however many there are.
        let mostly_latin = self.latin > self.cyrillic && (english_words > 0 || self.cyrillic == 0);
        match (mostly_latin, russian) {
            (false, true) => Language::Russian,
            (false, false) => Language::Other,
            (true, _) if self.is_other_latin(text) => Language::Other,
            (true, _) => Language::English,
        }
    }

    fn is_other_cyrillic(&self, text: &str) -> bool {
        if share(self.foreign_cyrillic, self.cyrillic) >= FOREIGN_SHARE {
            return true;
        }
        if self.russian_letters > 0 {
            return false;
        }
        if share(self.hard_sign_as_vowel, self.cyrillic) >= HARD_SIGN_SHARE {
            return true;
        }
        if share(self.other_cyrillic, self.cyrillic) >= OTHER_SHARE {
            return true;
        }
        // A name in another spelling (`Київ`) is not enough by itself; nor are statistics, which take Russian for Bulgarian.
        self.foreign_cyrillic > 0
            && self.cyrillic >= STATISTICAL_WORDS
            && statistics_deny(&CYRILLIC, text, Lang::Rus, 0.0)
    }

    fn is_other_latin(&self, text: &str) -> bool {
        if self.english >= self.other_latin.max(1) && share(self.english, self.latin) >= OTHER_SHARE {
            return false;
        }
        let marked = self.other_latin + self.accented;
        let outnumbers = marked >= 2 && marked > 3 * self.english;
        if outnumbers || (marked > self.english && share(marked, self.latin) >= OTHER_SHARE) {
            return true;
        }
        self.latin >= STATISTICAL_WORDS
            && self.english * 10 < self.latin
            && statistics_deny(&LATIN, text, Lang::Eng, STATISTICAL_CONFIDENCE)
    }
}

/// True if the statistics of letters are at least so `sure` that `text` is not in `expected`.
fn statistics_deny(detector: &Detector, text: &str, expected: Lang, sure: f64) -> bool {
    let end = text.char_indices().nth(STATISTICAL_CHARACTERS).map_or(text.len(), |(byte, _)| byte);
    detector
        .detect(text.get(..end).unwrap_or_default())
        .is_some_and(|info| info.lang() != expected && info.confidence() >= sure)
}

#[expect(clippy::cast_precision_loss, reason = "counts of words are small")]
fn share(part: usize, whole: usize) -> f32 {
    if whole == 0 { 0.0 } else { part as f32 / whole as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::links::links;
    use crate::text::words::words;

    fn language_of(text: &str) -> Language {
        let characters: Vec<char> = text.chars().collect();
        detect(text, &words(text, &[]), &links(&characters))
    }

    #[test]
    fn languages_of_real_kinds_of_text() {
        use Language::{English, Mixed, Other, Russian, Unknown};
        let table = [
            // Russian, short and long, with brands, slang, numbers.
            ("спасибо", Russian),
            ("норм", Russian),
            ("Ок", Russian),
            ("да", Russian),
            ("ну такое", Russian),
            ("все понравилось", Russian),
            ("Деньги не пришли, хотя прошла неделя", Russian),
            ("Не работает iPhone", Russian),
            ("Купил iPhone 15 Pro Max и MacBook Air, оба сломаны", Russian),
            ("Apple Pay Google Pay Samsung Pay не работают", Russian),
            ("wi-fi не ловит", Russian),
            ("Wi-Fi Keenetic лагает", Russian),
            ("Приложение вылетает с ошибкой connection timeout", Russian),
            ("Ваш cashback это scam", Russian),
            ("зашёл на https://example.com/the/is/my/and/not и ничего", Russian),
            ("письмо на my.name.is.not@example.com ушло", Russian),
            ("Карту заблокировали в Київ, вернуть деньги не могут", Russian),
            ("дайте QRкод", Russian),
            ("Читал о банке в газете «Вестникъ»", Russian),
            ("объявили, что объект закрыт, подъезд грязный", Russian),
            ("В банке отказали, карту не вернули, денег нет", Russian),
            ("Плохо", Russian),
            ("хорошая работа мастера", Russian),
            ("Надо убрать снег около магазина, на лестнице гололед", Russian),
            ("@mts_help @beeline_ru @the_best ну как так", Russian),
            ("ужас 😡", Russian),
            ("5 звёзд", Russian),
            // English.
            ("ok", English),
            ("Great", English),
            ("My card has not arrived yet", English),
            ("refund", English),
            ("app crashes on login", English),
            ("I paid at a café and the payment failed twice", English),
            ("Unable to log in to VPN", English),
            ("password reset required", English),
            ("The site www.пример.рф is down again, please fix it", English),
            ("Could not find Волга branch on the map", English),
            // Both.
            ("Карта не работает в поездке. My card does not work abroad, please help", Mixed),
            ("Hello, I can't log in. Здравствуйте, не могу войти в приложение", Mixed),
            ("please call me back, я жду уже три дня", Mixed),
            // Others.
            ("Дякую, все дуже добре, але доставка була пізно", Other),
            ("Чому не працює мобільний застосунок?", Other),
            ("Картата ми не работи, а парите ги няма вече трети ден в сметката", Other),
            ("Благодаря, всичко беше много бързо и точно", Other),
            ("Прыватная карта не працуе ўжо тыдзень", Other),
            ("Менің картам жұмыс істемейді", Other),
            ("Meine Karte funktioniert nicht", Other),
            ("Danke", Other),
            ("Merci beaucoup, service très rapide", Other),
            ("La tarjeta no funciona y nadie responde", Other),
            ("Karta nie działa, proszę o pomoc", Other),
            ("Kartım çalışmıyor, kimse cevap vermiyor", Other),
            ("Η κάρτα μου δεν λειτουργεί", Other),
            ("بطاقتي لا تعمل", Other),
            ("我的卡不能用了", Other),
            ("カードが使えません", Other),
            // Nothing to judge by.
            ("", Unknown),
            ("5", Unknown),
            ("+", Unknown),
            ("👍👍👍", Unknown),
            ("!!! :)", Unknown),
            ("10/10", Unknown),
        ];
        let wrong: Vec<_> = table
            .into_iter()
            .map(|(text, expected)| (text, language_of(text), expected))
            .filter(|(_, found, expected)| found != expected)
            .collect();
        assert!(wrong.is_empty(), "text, found, expected: {wrong:#?}");
    }
}
