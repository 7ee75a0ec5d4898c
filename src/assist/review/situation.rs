//! What is known of the feedback that a reply answers, as far as the rubric depends on it.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::assist::reading::Reading;
use crate::feedback::{Feedback, FeedbackKind};
use crate::tags::{Language, SentimentLabel, SignalId, Tags};
use crate::taxonomy::Taxonomy;
use crate::text::words_as_they_stand;

/// Signals that say that something happened to the customer.
const EVENT_SIGNALS: &[&str] = &["complaint", "outage", "handoff_loop", "repeat_contact"];
/// The signal of a complaint without facts.
const VAGUE: &str = "vague";
/// The signal of thanks.
const GRATITUDE: &str = "gratitude";
/// The signal of an idea.
const IDEA: &str = "idea";

/// The shortest stem that is particular; shorter words are mostly grammar.
const SHORTEST_STEM: usize = 4;
/// The shortest number that is particular.
const SHORTEST_NUMBER: usize = 2;

/// Stems that say nothing particular, whoever writes them.
static GENERAL: LazyLock<HashSet<String>> = LazyLock::new(|| {
    const WORDS: &str = "здравствуйте добрый день вечер утро спасибо благодарим благодарю пожалуйста обращение обращения обратились \
        обращайтесь вопрос вопросы проблема проблемы проблему ситуация ситуации ситуацию клиент клиента клиенты компания компании \
        сервис извините извинения извиняемся простите неудобства доставленные нужно можно можете можем может очень просто только \
        также чтобы когда который которая которые если потому тоже опять снова всегда почему этого этот эта этой этому этих такой \
        такая такое какой какая через после перед сейчас сегодня завтра вчера время раньше уже еще была было были будет будем быть \
        есть нашей наши нашего вашей ваши вашего вашу свой свои себя меня мною вами нами него неё них тебя чего кого всех всего \
        решить решение решения помочь помощь помогите сделать делать сказать сказали говорят хочу хотим хотел просим прошу \
        работа работы работу работает рубль рублей сотрудник сотрудники специалист специалисты поддержка поддержки понимаем человек люди хорошо плохо \
        hello thank thanks please dear sorry apologise apologize inconvenience question problem issue situation customer client \
        company service support team with that this they them there their have been were from your yours ours about would could \
        should will what when where which while because very just also even then than only again still never ever after before \
        want need help make made does done said tell told know understand people person good time today tomorrow yesterday";
    words_as_they_stand(WORDS).into_iter().map(|word| word.stem).collect()
});

/// Whether something happened to the customer that an apology is due for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    Yes,
    No,
    Unclear,
}

/// The feedback as the rubric sees it.
#[derive(Debug, Clone)]
pub(super) struct Situation {
    pub(super) happened: Happened,
    /// Whether the customer gave no details; `None` if the taxonomy has no signal that tells.
    pub(super) vague: Option<bool>,
    /// True for thanks and praise.
    pub(super) praise: bool,
    /// Stems of what the customer says in particular.
    pub(super) particulars: HashSet<String>,
    pub(super) language: Language,
}

impl Situation {
    /// The situation of tagged feedback; `said` are the words of the customer.
    pub(super) fn of(feedback: &Feedback, tags: &Tags, taxonomy: &Taxonomy, said: &str) -> Self {
        let has = |wanted: &str| tags.signals.iter().any(|signal| signal.signal_id.as_str() == wanted);
        let vague = taxonomy.signal(&SignalId::new(VAGUE)).map(|_| has(VAGUE));
        let positive = tags.sentiment.is_some_and(|sentiment| sentiment.label == SentimentLabel::Positive);
        let praise = (has(GRATITUDE) || positive) && !EVENT_SIGNALS.iter().any(|signal| has(signal));
        let happened = if vague == Some(true) && !has("outage") {
            Happened::No
        } else if EVENT_SIGNALS.iter().any(|signal| has(signal)) {
            Happened::Yes
        } else if praise || has(IDEA) || feedback.kind == Some(FeedbackKind::Question) {
            Happened::No
        } else {
            Happened::Unclear
        };
        Self { happened, vague, praise, particulars: particulars(&Reading::new(said)), language: tags.language }
    }
}

/// Stems of the particular words of a text.
pub(super) fn particulars(reading: &Reading) -> HashSet<String> {
    let words = reading.sentences().iter().flat_map(|sentence| reading.words_of(sentence));
    words.filter(|word| is_particular(&word.stem)).map(|word| word.stem.clone()).collect()
}

/// True for a stem that says something of this matter rather than of any.
pub(super) fn is_particular(stem: &str) -> bool {
    let length = stem.chars().count();
    let is_number = stem.chars().all(|c| c.is_ascii_digit());
    let shortest = if is_number { SHORTEST_NUMBER } else { SHORTEST_STEM };
    length >= shortest && stem.chars().any(|c| c != '0') && !GENERAL.contains(stem)
}
