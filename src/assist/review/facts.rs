//! What a reply says and does, found once for all points of the rubric. Places are characters of the reading's clean form.

use super::patterns::{self, Pattern};
use super::situation::is_particular;
use crate::assist::promises::clauses::Clauses;
use crate::assist::reading::{Reading, Sentence};
use crate::feedback::CharSpan;
use crate::tagging::terms;

/// The fewest words of a sentence that says something of the matter.
const TELLING_WORDS: usize = 3;

/// A customer sent elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elsewhere {
    pub(super) span: CharSpan,
    /// True if it is offered as one choice of several.
    pub(super) is_choice: bool,
}

/// What was found in a reply.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) apologies: Vec<CharSpan>,
    pub(super) sympathies: Vec<CharSpan>,
    pub(super) causes: Vec<CharSpan>,
    pub(super) done: Vec<CharSpan>,
    pub(super) solving: Vec<CharSpan>,
    pub(super) checking: Vec<CharSpan>,
    pub(super) choices: Vec<CharSpan>,
    /// Everything that somebody of ours will do.
    pub(super) steps: Vec<CharSpan>,
    /// Terms beside a step, which may be kept or not but say something.
    pub(super) terms: Vec<CharSpan>,
    pub(super) empty_terms: Vec<CharSpan>,
    pub(super) elsewhere: Vec<Elsewhere>,
    pub(super) requests: Vec<CharSpan>,
    pub(super) rude: Vec<CharSpan>,
    pub(super) denials: Vec<CharSpan>,
    pub(super) servile: Vec<CharSpan>,
    pub(super) plain_no: Vec<CharSpan>,
    pub(super) formal_no: Vec<CharSpan>,
    pub(super) hidden_no: Vec<CharSpan>,
    /// Sentences of stock phrases.
    pub(super) stock: Vec<CharSpan>,
    /// Words of those sentences.
    pub(super) stock_words: usize,
    /// All words.
    pub(super) words: usize,
    /// Particular words, each with its stem.
    pub(super) particulars: Vec<(CharSpan, String)>,
    /// True if a sentence says something of the matter: no courtesy, stock phrase, apology, question or check to come.
    pub(super) is_telling: bool,
    /// True if a clause commits to something, in whatever words.
    pub(super) is_committed: bool,
}

/// One sentence while it is looked through.
struct Look<'r> {
    reading: &'r Reading,
    span: CharSpan,
    clauses: Clauses,
}

impl Look<'_> {
    fn all(&self, pattern: &Pattern) -> Vec<CharSpan> {
        pattern.as_ref().map(|regex| self.reading.find(regex, self.span)).unwrap_or_default()
    }

    /// Matches in clauses that are not turned into their opposite.
    fn asserted(&self, pattern: &Pattern) -> Vec<CharSpan> {
        let mut found = self.all(pattern);
        found.retain(|span| !self.clauses.is_negated(*span));
        found
    }
}

impl Facts {
    pub(super) fn of(reading: &Reading) -> Self {
        let mut facts = Self::default();
        let mut was_step = false;
        for sentence in reading.sentences() {
            was_step = facts.add(reading, sentence, was_step);
        }
        facts
    }

    /// Adds what one sentence has; `after_step` if the sentence before it has a step. Returns whether this one has.
    fn add(&mut self, reading: &Reading, sentence: &Sentence, after_step: bool) -> bool {
        let look = Look { reading, span: sentence.span, clauses: Clauses::of(reading, sentence) };
        let text = reading.lower(sentence.span);
        let words = reading.words_of(sentence);
        self.words += words.len();

        let sympathies = look.all(&patterns::SYMPATHY);
        let apologies = without(look.asserted(&patterns::APOLOGY), &sympathies);
        let feelings = look.all(&patterns::FEELING);
        let mut causes = look.all(&patterns::CAUSE);
        causes.retain(|cause| !feelings.iter().any(|feeling| look.clauses.same(*feeling, *cause)));
        let mut done = look.asserted(&patterns::DONE);
        done.retain(|span| !["вы ", "you"].iter().any(|customer| reading.lower(*span).starts_with(customer)));
        let solving = look.asserted(&patterns::SOLVING);
        let checking = look.asserted(&patterns::CHECKING);
        let elsewhere = self.elsewhere(&look);
        let requests = look.asserted(&patterns::REQUEST);

        let mut steps = look.asserted(&patterns::STEP);
        steps.extend(solving.iter().chain(&checking));
        let has_step = !steps.is_empty();
        if has_step || after_step {
            let offset = reading.byte_of(sentence.span.start);
            let terms = terms::terms(text).into_iter();
            self.terms.extend(terms.map(|term| reading.span_of(term.start + offset..term.end + offset)));
            self.empty_terms.extend(look.all(&patterns::EMPTY_TERM));
        }
        self.is_committed |= look.clauses.commit();

        let is_stock = !look.all(&patterns::STOCK).is_empty();
        if is_stock {
            self.stock.push(sentence.span);
            self.stock_words += words.len();
        } else {
            let particular = words.iter().filter(|word| is_particular(&word.stem));
            self.particulars.extend(particular.map(|word| (word.span, word.stem.clone())));
        }
        let is_other = is_stock
            || !look.all(&patterns::COURTESY).is_empty()
            || !apologies.is_empty()
            || !sympathies.is_empty()
            || !checking.is_empty()
            || !elsewhere.is_empty()
            || text.ends_with('?');
        self.is_telling |= !is_other && words.len() >= TELLING_WORDS;

        let quoted = look.all(&patterns::QUOTED);
        self.rude.extend(without(look.all(&patterns::RUDE), &quoted));
        self.denials.extend(without(look.all(&patterns::DENIAL), &quoted));
        self.servile.extend(look.all(&patterns::SERVILE));
        self.plain_no.extend(look.all(&patterns::PLAIN_NO));
        self.formal_no.extend(look.all(&patterns::FORMAL_NO));
        self.hidden_no.extend(look.all(&patterns::HIDDEN_NO));
        if elsewhere.is_empty() {
            self.choices.extend(look.asserted(&patterns::CHOICE));
        }
        self.apologies.extend(apologies);
        self.sympathies.extend(sympathies);
        self.causes.extend(causes);
        self.done.extend(done);
        self.solving.extend(solving);
        self.checking.extend(checking);
        self.elsewhere.extend(elsewhere);
        self.requests.extend(requests);
        self.steps.extend(steps);
        has_step
    }

    fn elsewhere(&self, look: &Look<'_>) -> Vec<Elsewhere> {
        let harmless = look.all(&patterns::NOT_ELSEWHERE);
        let is_choice = !look.all(&patterns::ALSO).is_empty();
        let mut found = look.asserted(&patterns::ELSEWHERE);
        found.retain(|span| !harmless.iter().any(|other| other.overlaps(*span) || look.clauses.same(*other, *span)));
        found.into_iter().map(|span| Elsewhere { span, is_choice }).collect()
    }
}

fn without(mut found: Vec<CharSpan>, others: &[CharSpan]) -> Vec<CharSpan> {
    found.retain(|span| !others.iter().any(|other| other.overlaps(*span)));
    found
}
