//! Whether words that a model wrote rest on the conversation: its numbers, its words, and promises that were really made.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;

use super::super::promises::{Promise, PromiseCheck, PromiseKind};
use super::super::reading::{Reading, pattern};
use super::acts::Acts;
use super::talk::{Said, Talk};
use super::tense::Tenses;
use crate::text::words_as_they_stand;

/// The shortest word that must rest on the conversation; shorter ones are mostly grammar.
const SHORTEST: usize = 4;
/// Letters by which two forms of a word are taken to be of one word.
const COMMON_LETTERS: usize = 4;

/// Words that a note has of its own, whatever the conversation.
static NOTE_WORDS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    const WORDS: &str = "клиент клиента клиенту клиентка оператор оператора оператору сотрудник специалист разговор разговора обращение чат чате \
        просит просил хочет хотел требует спрашивает спросил сообщил сообщила сообщает жалуется говорит согласился согласилась согласен ждет \
        подтвердил подтвердила предложил предложила пообещал обещал обещано извинился извинилась объяснил объяснила уточнил проверил попросил \
        поблагодарил доволен недоволен благодарит выбрал решено решена решен частично нужно надо который которая которые чтобы после перед \
        если также когда вместо через этого этой того было была были будет нет ответа договорились вопрос проблема проблему новый новая \
        customer operator agent client conversation chat wants want wanted asks asked asking requests demands says said told reports reported \
        complains confirmed confirms offered offers promised apologised apologized explained agreed agrees chose waits waiting thanked \
        happy unhappy solved partly resolved with that this from have been were they them their will would should after before when where \
        which while again still also into over than then first problem question matter issue";
    words_as_they_stand(WORDS).into_iter().map(|word| beginning(&word.lower)).collect()
});

/// That a customer wants something, which is no promise of ours.
static WISH: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"\b(?:прос|хоч|хот|требу|спрашив|интересу|жалу|недовол|сообща|сообщи|говор|возмущ)\p{L}*|\b(?:wants?|wanted|asks?|asked|asking|demands?|requests?|complains?|reports?|reported|says?|would like)\b",
    )
});

/// Numbers and words of a part of the conversation.
struct Vocabulary {
    numbers: HashSet<String>,
    words: HashSet<String>,
}

impl Vocabulary {
    fn of<'a>(turns: impl Iterator<Item = &'a Said>) -> Self {
        let mut known = Self { numbers: HashSet::new(), words: HashSet::new() };
        for said in turns {
            let text = said.reading.prepared().clean();
            known.numbers.extend(numbers(text));
            known.words.extend(said.reading.prepared().words().iter().map(|word| beginning(&word.lower)));
        }
        known
    }

    /// True if every number and at least half of the telling words stand here.
    fn holds(&self, text: &str) -> bool {
        self.has_numbers(text) && self.has_words(text, 0)
    }

    fn has_numbers(&self, text: &str) -> bool {
        numbers(text).all(|number| self.numbers.contains(&number))
    }

    /// True if at least half of the telling words stand here, and at least so many.
    fn has_words(&self, text: &str, least: usize) -> bool {
        let reading = Reading::new(text);
        let words = reading.prepared().words();
        let longer: Vec<&String> = words.iter().map(|word| &word.lower).filter(|word| is_longer(word)).collect();
        let telling: Vec<String> =
            longer.iter().filter(|word| !is_note_word(word)).map(|word| beginning(word)).collect();
        let known = telling.iter().filter(|word| self.words.contains(word.as_str())).count();
        !longer.is_empty() && known >= least && 2 * known >= telling.len()
    }
}

/// True for a word that is mostly more than grammar.
pub(super) fn is_longer(word: &str) -> bool {
    word.chars().filter(|letter| letter.is_alphabetic()).count() >= SHORTEST
}

/// True for a word that a note has of its own.
pub(super) fn is_note_word(word: &str) -> bool {
    NOTE_WORDS.contains(&beginning(word))
}

/// What two forms of one word have in common.
pub(super) fn beginning(word: &str) -> String {
    word.chars().map(|letter| if letter == 'ё' { 'е' } else { letter }).take(COMMON_LETTERS).collect()
}

/// Runs of digits; those of placeholders are none.
fn numbers(text: &str) -> impl Iterator<Item = String> + '_ {
    let outside = text.split('[').enumerate().map(|(at, part)| match part.split_once(']') {
        Some((inside, after)) if at > 0 && inside.chars().any(|c| c.is_ascii_uppercase()) => after,
        _ => part,
    });
    let runs = outside.flat_map(|part| part.split(|c: char| !c.is_ascii_digit()));
    runs.filter(|run| !run.is_empty()).map(str::to_owned)
}

/// What words of a model are held against.
pub(super) struct Grounds<'a> {
    all: Vocabulary,
    ours: Vocabulary,
    talk: &'a Talk,
    acts: &'a Acts,
    check: &'a PromiseCheck<'a>,
    tenses: Tenses,
}

impl<'a> Grounds<'a> {
    pub(super) fn of(talk: &'a Talk, acts: &'a Acts, check: &'a PromiseCheck<'a>) -> Self {
        let (all, ours) = (Vocabulary::of(talk.said.iter()), Vocabulary::of(talk.ours().map(|(_, said)| said)));
        Self { all, ours, talk, acts, check, tenses: Tenses::of(talk, acts) }
    }

    /// True for what the customer came with.
    pub(super) fn bear_issue(&self, text: &str) -> bool {
        let is_wish = || WISH.as_ref().is_some_and(|regex| regex.is_match(&text.to_lowercase()));
        self.all.holds(text) && (self.are_made(text) || is_wish())
    }

    /// True for how it ended.
    pub(super) fn bear_end(&self, text: &str) -> bool {
        self.all.holds(text) && self.are_made(text) && self.tenses.bear_done(text)
    }

    /// True for what was done: it was told by us, and not only as a promise.
    pub(super) fn bear_step(&self, text: &str) -> bool {
        self.bear_act(text) && self.tenses.bear_done(text)
    }

    /// True for what is left to do: it was told by us, and not as done.
    pub(super) fn bear_task(&self, text: &str) -> bool {
        self.bear_act(text) && self.tenses.bear_left(text)
    }

    /// True for what rests on what was said by us, not by the customer.
    fn bear_act(&self, text: &str) -> bool {
        self.ours.has_numbers(text) && self.ours.has_words(text, 1) && self.are_made(text)
    }

    /// True for other words about what one turn promises.
    pub(super) fn bear_retelling(&self, text: &str, said: &Said) -> bool {
        let of_turn = Vocabulary::of(std::iter::once(said));
        let is_of_turn = of_turn.has_numbers(text) && of_turn.has_words(text, 1);
        is_of_turn && self.are_made(text) && self.tenses.bear_done(text)
    }

    /// True if every promise that a text tells of was made by us in the conversation, or is of an amount that we told as given.
    fn are_made(&self, text: &str) -> bool {
        let is_given = |promise: &Promise| promise.amount.is_some() && self.tenses.tell_amounts_of(text);
        self.check.check(text).iter().all(|promise| self.is_made(promise) || is_given(promise))
    }

    fn is_made(&self, told: &Promise) -> bool {
        let made = || self.acts.promises.iter().map(|(_, made)| made);
        let same_amount = |made: &Promise| told.amount.is_none() || told.amount == made.amount;
        match told.kind {
            PromiseKind::Gesture => made().any(|made| made.gesture_id == told.gesture_id && same_amount(made)),
            PromiseKind::Money => made().any(|made| made.amount.is_some() && same_amount(made)),
            PromiseKind::Gift => made().any(|made| made.kind == PromiseKind::Gift),
            PromiseKind::Term => {
                let term = told.term.as_deref().unwrap_or_default();
                self.talk.ours().any(|(_, said)| said.masked.find(term).is_some())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_placeholders_are_none() {
        let found = |text: &str| numbers(text).collect::<Vec<_>>();
        assert_eq!(found("Карта [CARD_1], 500 рублей за 2-й месяц"), ["500", "2"]);
        assert_eq!(found("[7] и [NAME_3]"), ["7"]);
    }
}
