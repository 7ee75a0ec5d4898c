//! What a review says of a point: what to do better, or why it could not be evaluated.

use serde::{Deserialize, Serialize};

use crate::assist::playbook::ReplyLanguage;
use crate::feedback::named_enum;

named_enum! {
    /// A remark on one point of the rubric.
    Remark {
        /// The reply names nothing of the customer's own problem.
        NameTheProblem = "name_the_problem",
        /// The reply touches the problem by one word only.
        NameMoreOfTheProblem = "name_more_of_the_problem",
        /// Something happened and there is no apology.
        Apologise = "apologise",
        /// Nothing is shown to have happened and there is an apology.
        ApologyWithoutFact = "apology_without_fact",
        /// There is no cause.
        SayTheCause = "say_the_cause",
        /// There is no solution.
        OfferASolution = "offer_a_solution",
        /// There is only a check to come.
        MoreThanACheck = "more_than_a_check",
        /// Nothing is said of what comes next.
        SayTheNextStep = "say_the_next_step",
        /// A step has no term.
        NameATerm = "name_a_term",
        /// A step has a term that says nothing.
        NameARealTerm = "name_a_real_term",
        /// The customer is sent elsewhere.
        SettleItHere = "settle_it_here",
        /// The customer may go elsewhere as well.
        ElsewhereOnlyAsAChoice = "elsewhere_only_as_a_choice",
        /// The customer gave no details and is not asked.
        AskForDetails = "ask_for_details",
        /// A sentence is too long.
        ShortenSentences = "shorten_sentences",
        /// A paragraph is a brick.
        SplitParagraphs = "split_paragraphs",
        /// Stock phrases outweigh the rest.
        UseOwnWords = "use_own_words",
        /// Several faults of readability at once.
        Rewrite = "rewrite",
        /// The reply is rude or blames the customer.
        TakeBackRudeness = "take_back_rudeness",
        /// The reply denies what the customer tells.
        DoNotDeny = "do_not_deny",
        /// The reply is servile.
        LessServility = "less_servility",
        /// A no is hidden.
        SayNoPlainly = "say_no_plainly",
        /// A promise needs the supervisor.
        AskTheSupervisor = "ask_the_supervisor",
        /// A term belongs to no gesture of the playbook.
        MakeSureOfTheTerm = "make_sure_of_the_term",
        /// A promise is beyond the playbook.
        TakeBackThePromise = "take_back_the_promise",
        /// Rules can't tell from these words.
        CannotTell = "cannot_tell",
        /// The tags do not say whether something happened.
        UnclearWhetherItHappened = "unclear_whether_it_happened",
        /// The taxonomy has no signal for what the point depends on.
        NoSuchSignal = "no_such_signal",
        /// The reply is in neither Russian nor English.
        OtherLanguage = "other_language",
        /// It is not known what was given to the customer before.
        PastGesturesUnknown = "past_gestures_unknown",
    }
}

impl Remark {
    /// The remark in words.
    pub fn text(self, language: ReplyLanguage) -> &'static str {
        let (russian, english) = self.texts();
        match language {
            ReplyLanguage::Russian => russian,
            ReplyLanguage::English => english,
        }
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::NameTheProblem => (
                "Назовите, что именно случилось у клиента, его же словами: сумму, дату, товар, место.",
                "Name what happened to this customer in the customer's own terms: the sum, the date, the item, the place.",
            ),
            Self::NameMoreOfTheProblem => (
                "Покажите, что обращение прочитано: назовите ещё одну подробность из него.",
                "Show that you have read the message: name one more particular of it.",
            ),
            Self::Apologise => (
                "Что-то действительно случилось: извинитесь один раз и за конкретное.",
                "Something did happen: apologise once, and for that very thing.",
            ),
            Self::ApologyWithoutFact => (
                "Не извиняйтесь за то, что ещё не подтвердилось: сначала выясните, что было.",
                "Do not apologise for what has not been shown to have happened: find out first.",
            ),
            Self::SayTheCause => (
                "Скажите причину, насколько она известна, или честно скажите, что её выясняют.",
                "Say the cause as far as it is known, or say honestly that it is being looked for.",
            ),
            Self::OfferASolution => (
                "Предложите решение или несколько вариантов на выбор.",
                "Offer a solution, or several choices to pick from.",
            ),
            Self::MoreThanACheck => (
                "Проверка ещё не решение: скажите, что будет сделано по её итогам.",
                "A check is no solution yet: say what will be done after it.",
            ),
            Self::SayTheNextStep => (
                "Скажите, что будет дальше: кто, что и к какому сроку сделает.",
                "Say what comes next: who does what, and by when.",
            ),
            Self::NameATerm => ("Назовите срок, который можно выдержать.", "Name a term that can be kept."),
            Self::NameARealTerm => (
                "«В ближайшее время» не срок: назовите час или день, который можно выдержать.",
                "\"Soon\" is no term: name an hour or a day that can be kept.",
            ),
            Self::SettleItHere => (
                "Не отправляйте клиента в другое место: решите вопрос здесь или передайте его сами.",
                "Do not send the customer elsewhere: settle it here, or pass it on yourself.",
            ),
            Self::ElsewhereOnlyAsAChoice => (
                "Другой канал лучше давать только на выбор, после того как вопрос можно решить здесь.",
                "Offer another channel only as a choice, after the matter can be settled here.",
            ),
            Self::AskForDetails => (
                "В обращении нет подробностей: спросите, что, где и когда случилось.",
                "The message has no details: ask what happened, where and when.",
            ),
            Self::ShortenSentences => (
                "Разделите длинные предложения: одна мысль на предложение.",
                "Split the long sentences: one thought a sentence.",
            ),
            Self::SplitParagraphs => ("Разбейте текст на короткие абзацы.", "Break the text into short paragraphs."),
            Self::UseOwnWords => (
                "Замените общие фразы простыми словами о деле этого клиента.",
                "Put plain words on this customer's matter in place of the stock phrases.",
            ),
            Self::Rewrite => (
                "Перепишите короче: короткие предложения и абзацы, без общих фраз.",
                "Write it again and shorter: short sentences and paragraphs, no stock phrases.",
            ),
            Self::TakeBackRudeness => (
                "Уберите упрёк и грубость: говорите о деле, а не о клиенте.",
                "Take out the reproach or rudeness: speak of the matter, not of the customer.",
            ),
            Self::DoNotDeny => (
                "Не отрицайте то, что рассказал клиент: скажите, что вы видите и что проверите.",
                "Do not deny what the customer tells: say what you can see and what you will check.",
            ),
            Self::LessServility => {
                ("Извинитесь один раз и спокойно, без самоунижения.", "Apologise once and calmly, without grovelling.")
            }
            Self::SayNoPlainly => (
                "Скажите «нет» прямо и объясните почему, не прячьте отказ за общими словами.",
                "Say no plainly and say why; do not hide it behind general words.",
            ),
            Self::AskTheSupervisor => {
                ("На это обещание нужно согласие руководителя.", "This promise needs the supervisor's consent.")
            }
            Self::MakeSureOfTheTerm => (
                "Этого срока нет в правилах компании: убедитесь, что его можно выдержать.",
                "The playbook does not know this term: make sure that it can be kept.",
            ),
            Self::TakeBackThePromise => (
                "Этого обещания нет в правилах компании: уберите его.",
                "The playbook has no such promise: take it out.",
            ),
            Self::CannotTell => (
                "По словам ответа этого не определить: посмотрите сами.",
                "The words of the reply do not tell: see for yourself.",
            ),
            Self::UnclearWhetherItHappened => (
                "Из обращения не ясно, случилось ли что-то: решите сами, нужно ли извинение.",
                "The message does not tell whether something happened: judge for yourself.",
            ),
            Self::NoSuchSignal => (
                "В таксономии нет сигнала, по которому это определяется.",
                "The taxonomy has no signal that tells this.",
            ),
            Self::OtherLanguage => (
                "Ответ не на русском и не на английском: правила его не читают.",
                "The reply is in neither Russian nor English: the rules can't read it.",
            ),
            Self::PastGesturesUnknown => (
                "Неизвестно, что клиент уже получал: лимит обещания не проверен.",
                "It is not known what the customer has had before: the limit of the promise was not checked.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_remark_is_said_in_both_languages() {
        let is_cyrillic = |c: char| ('а'..='я').contains(&c.to_ascii_lowercase());
        for remark in Remark::ALL {
            assert!(remark.text(ReplyLanguage::Russian).chars().any(is_cyrillic), "{remark}");
            let english = remark.text(ReplyLanguage::English);
            assert!(english.ends_with('.') && !english.chars().any(is_cyrillic), "{remark}");
        }
    }
}
