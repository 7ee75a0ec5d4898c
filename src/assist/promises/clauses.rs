//! Clauses of a sentence: which of them promise something, and which say that something will not be.

use std::sync::LazyLock;

use regex::Regex;

use crate::assist::reading::{Reading, Sentence, pattern};
use crate::feedback::CharSpan;

/// Where one clause ends and the next begins.
static BREAK: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"[,;:—–]\s+(?:но|а|однако|зато|поэтому|и|but|however|so|and|instead)?\b|\s(?:но|однако|зато|but|however)\s|\n",
    )
});

/// Words by which somebody commits to something: ours will be done, or was.
static COMMITMENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    const STEMS: &str = "верн|возврат|возвраща|компенсиру|возмест|возмещ|возмеща|начисл|начисля|зачисл|перечисл|перевед|выплат|выплач|подар|дар|предостав|предоставля|предлож|предлага|спиш|отмен|сниз|сдела|дад|оформ|обеща|гарантиру|получ|прид|поступ|приед|привез|достав|ответ|отвеч|напиш|перезвон|позвон|сообщ|свяж|реш|провер|исправ|устран|восстанов|подготов|пришл|заработа|вернут|направ|отправ|закро|разбер|замен|пересчита|перерасчита|отключ|подключ|перевыпус|возьм|помо|сдвин|перенес|даст|даду|займу|выясн|узна|прослуша|переда|держ";
    const ENDINGS: &str = "(?:л|лю|лем|ем|им|м|у|ю|ет|ит|ут|ют|ят|ат|гу|жем|дим|шу|щу)?(?:ся|сь)?";
    pattern(&format!(
        r"\b(?:{STEMS}){ENDINGS}\b|\b(?:верну|получи|прид|поступи|предложи|сдела|начисли|оформи|компенсирова|возмести)(?:л|ли|лось|лись|ть|ться|тся|те)\b|\bбуд(?:ет|ут|ем|у)\b|\b(?:готов|готовы|можем|могу)\b|\b(?:вам|за вами)\s+(?:положен|полагает)\p{{L}}*|\b(?:we|i|you|it|they|he|she)(?:'ll| will|'ve| have| can|'re going| are going|'m going)\b|\b(?:will|shall) (?:be|call|come|write|get|receive|contact|visit)\b|\bto you\b|\b(?:we|i) (?:(?:are|am) )?(?:also |now )?(?:give|grant|giving|granting)\b|\b(?:offer|refund|credit|compensat\p{{L}}*|reimburs\p{{L}}*|guarantee|promise|let me)\b"
    ))
});

/// Words that turn a clause into its opposite.
static NEGATION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"\bне\s+\p{L}+|\bнельзя\b|\bневозможн\p{L}*|\bбез возможности\b|\bнет возможности\b|\b(?:cannot|can't|won't|unable|couldn't|don't|doesn't|not|never|no longer)\b",
    )
});

/// What looks like a negation and is none.
static NO_NEGATION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"\bне\s+(?:позднее|позже|более|менее|только|больше|меньше|раньше|ранее|нужно|надо|придется|волнуй\p{L}*|беспокой\p{L}*|пережива\p{L}*)|\bnot\s+(?:only|later|more|less)|\b(?:don't|do not)\s+(?:worry|need|have to)|\bnot (?:solved|mended|resolved)",
    )
});

/// One clause.
#[derive(Debug)]
struct Clause {
    span: CharSpan,
    committed: bool,
    negated: bool,
}

/// The clauses of one sentence.
#[derive(Debug)]
pub(in crate::assist) struct Clauses {
    clauses: Vec<Clause>,
}

impl Clauses {
    pub(in crate::assist) fn of(reading: &Reading, sentence: &Sentence) -> Self {
        let find =
            |regex: &Option<Regex>, span| regex.as_ref().map(|regex| reading.find(regex, span)).unwrap_or_default();
        let mut starts = vec![sentence.span.start];
        starts.extend(find(&BREAK, sentence.span).into_iter().map(|found| found.end));
        let ends = starts.iter().skip(1).copied().chain([sentence.span.end]).collect::<Vec<_>>();
        let clauses = starts.into_iter().zip(ends).map(|(start, end)| {
            let span = CharSpan::new(start, end);
            let harmless = find(&NO_NEGATION, span);
            let negated =
                find(&NEGATION, span).iter().any(|found| !harmless.iter().any(|other| other.overlaps(*found)));
            Clause { span, committed: !find(&COMMITMENT, span).is_empty(), negated }
        });
        let mut clauses: Vec<Clause> = clauses.collect();
        // A list carries on what its beginning commits to: "вернём деньги, 500 рублей".
        for at in 1..clauses.len() {
            let before = clauses.get(at - 1).is_some_and(|clause| clause.committed && !clause.negated);
            if let Some(clause) = clauses.get_mut(at)
                && before
                && !clause.negated
                && clause.span.len() <= CARRIED_CHARS
            {
                clause.committed = true;
            }
        }
        Self { clauses }
    }

    fn of_place(&self, span: CharSpan) -> Option<usize> {
        let at = self.clauses.partition_point(|clause| clause.span.end <= span.start);
        self.clauses.get(at).is_some_and(|clause| clause.span.start <= span.start).then_some(at)
    }

    /// The clauses in order, each with whether it says that something is not or will not be.
    pub(in crate::assist) fn iter(&self) -> impl Iterator<Item = (CharSpan, bool)> {
        self.clauses.iter().map(|clause| (clause.span, clause.negated))
    }

    /// True if both begin in the same clause.
    pub(in crate::assist) fn same(&self, one: CharSpan, other: CharSpan) -> bool {
        self.of_place(one) == self.of_place(other)
    }

    /// True if the clause commits to something.
    pub(in crate::assist) fn is_committed(&self, span: CharSpan) -> bool {
        self.of_place(span).and_then(|at| self.clauses.get(at)).is_some_and(|clause| clause.committed)
    }

    /// True if a clause commits to something and does not say that it will not be.
    pub(in crate::assist) fn commit(&self) -> bool {
        self.clauses.iter().any(|clause| clause.committed && !clause.negated)
    }

    /// True if the clause says that something is not or will not be.
    pub(in crate::assist) fn is_negated(&self, span: CharSpan) -> bool {
        self.of_place(span).and_then(|at| self.clauses.get(at)).is_some_and(|clause| clause.negated)
    }
}

/// The longest clause that takes its commitment from the one before it: hardly more than an amount.
const CARRIED_CHARS: u32 = 24;
