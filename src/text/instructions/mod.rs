//! Sentences that speak to a machine rather than to people: forged messages of a system, finished answers in JSON, orders to set a tag.
//!
//! Enters: a sentence in lower case. Leaves: whether it speaks to a machine. Never here: tags, topics, and what is done with such a
//! sentence. A person who reads feedback laughs at them; an encoder reads their words like any others, and so they would change tags.
//! What is told here is a matter of wording, by patterns and by what was learnt from examples, held to be rare in honest feedback;
//! whoever uses it says so in the answer and loses no text.

mod learned;
mod literals;
mod wording;

use std::sync::LazyLock;

pub(crate) use learned::{SentenceModel, SentenceParts};
use literals::Candidates;
use regex::Regex;

use wording::{OF_TAGS, OPENING, TELLING, WORDS};

/// All patterns, and which of them are worth trying on a text; `None` if one of them is no pattern.
struct Telling {
    regexes: Vec<Regex>,
    candidates: Candidates,
}

impl Telling {
    fn new() -> Option<Self> {
        let patterns: Vec<String> = TELLING.iter().map(|pattern| written_out(pattern)).collect();
        let regexes = patterns.iter().map(|pattern| Regex::new(pattern).ok()).collect::<Option<Vec<_>>>()?;
        Some(Self { regexes, candidates: Candidates::of(patterns.iter().map(String::as_str))? })
    }

    /// One by one: a set of all of them is slow in letters beyond ASCII.
    fn is_match(&self, text: &str) -> bool {
        let candidates = self.candidates.in_text(text);
        self.regexes.iter().zip(candidates).any(|(regex, is_candidate)| is_candidate && regex.is_match(text))
    }
}

static TELLING_PATTERNS: LazyLock<Option<Telling>> = LazyLock::new(Telling::new);
static OF_TAGS_REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&written_out(OF_TAGS)).ok());

static OPENING_REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(OPENING).ok());

/// What was learnt of such sentences; `None` if it can't be read, which a test rules out.
static LEARNED_MODEL: LazyLock<Option<SentenceModel>> =
    LazyLock::new(|| SentenceModel::read(include_bytes!("learned.safetensors")).ok());

/// A pattern with the words that its names stand for.
fn written_out(pattern: &str) -> String {
    WORDS.iter().fold(pattern.to_owned(), |pattern, (name, words)| pattern.replace(name, words))
}

/// How sure it is that a sentence speaks to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToMachine {
    /// It speaks to people.
    No,
    /// It may do so: more sentences to people than not are among such.
    Perhaps,
    /// It does, as far as wording tells.
    Surely,
}

/// Whether a sentence, in lower case with `е` for `ё`, speaks to a machine. Takes time linear in its length.
pub fn to_machine(lower: &str) -> ToMachine {
    if TELLING_PATTERNS.as_ref().is_some_and(|telling| telling.is_match(lower)) {
        return ToMachine::Surely;
    }
    LEARNED_MODEL.as_ref().map_or(ToMachine::No, |model| model.judge(lower))
}

/// True if a sentence, in lower case, has a mark that a chat template opens or ends a message with: what comes behind it in the same text
/// is given out for the words of another.
pub fn opens_message(lower: &str) -> bool {
    OPENING_REGEX.as_ref().is_some_and(|regex| regex.is_match(lower))
}

/// True if a sentence, in lower case, goes on from one that speaks to a machine: "so note a complaint about the app". It begins with a
/// word that says so, or it is about tags, moods or its reader.
pub fn goes_on(lower: &str) -> bool {
    const BEGINNINGS: [&str; 22] = [
        "so",
        "therefore",
        "hence",
        "thus",
        "now",
        "then",
        "just",
        "and",
        "again",
        "thank",
        "have",
        "please",
        "поэтому",
        "значит",
        "итак",
        "теперь",
        "тогда",
        "так",
        "вот",
        "и",
        "пожалуйста",
        "спасибо",
    ];
    let first: String = lower.chars().skip_while(|c| !c.is_alphabetic()).take_while(|c| c.is_alphabetic()).collect();
    BEGINNINGS.contains(&first.as_str()) || OF_TAGS_REGEX.as_ref().is_some_and(|regex| regex.is_match(lower))
}

#[cfg(test)]
mod tests;
