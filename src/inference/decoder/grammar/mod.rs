//! Holds an answer to its form, token by token: a model can't say what the form does not allow.
//!
//! Enters: the form of an answer, and the tokens that were chosen. Leaves: the tokens that may come next, and those that must.
//! Never here: scores, the choice among what is allowed.

mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory, panic_utils};

use super::vocabulary::Vocabulary;
use crate::inference::{AnswerForm, LanguageModelError};

pub use schema::{MAX_DEPTH, MAX_SCHEMAS};

/// Answers that may be given to choose from.
pub const MAX_CHOICES: usize = 1_000;

/// Bytes of a regular expression, and of all choices together.
pub const MAX_PATTERN_BYTES: usize = 64 << 10;

/// The vocabulary as grammars see it. Made once for a model; takes seconds for a large vocabulary. Clones share it.
#[derive(Clone)]
pub struct GrammarEnv {
    factory: Arc<ParserFactory>,
}

impl GrammarEnv {
    /// Made from a vocabulary.
    ///
    /// # Errors
    /// [`LanguageModelError::Failed`] if the vocabulary can't be used.
    pub fn new(vocabulary: Arc<Vocabulary>) -> Result<Self, LanguageModelError> {
        let factory = panic_utils::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let tokens: TokEnv = Arc::new(Tokens::new(vocabulary));
            let capabilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
            let slices = llguidance::earley::SlicedBiasComputer::general_slices();
            let mut factory = ParserFactory::new(&tokens, capabilities, &slices)?;
            factory.quiet().limits_mut().verbose_errors = false;
            Ok(factory)
        }));
        let factory = factory.map_err(|error| LanguageModelError::Failed(format!("grammars: {error}")))?;
        Ok(Self { factory: Arc::new(factory) })
    }
}

/// Tokens in a tree of bytes.
struct Tokens {
    vocabulary: Arc<Vocabulary>,
    tree: TokTrie,
}

impl Tokens {
    fn new(vocabulary: Arc<Vocabulary>) -> Self {
        let count = vocabulary.len() as u32;
        let words: Vec<Vec<u8>> = (0..count).map(|id| word(&vocabulary, id)).collect();
        let ends = vocabulary.ends();
        let eos = ends.first().copied().unwrap_or_default();
        let tree = TokTrie::from(&TokRxInfo::new(count, eos), &words).with_eos_tokens(ends);
        Self { vocabulary, tree }
    }
}

/// What a token is in the tree. Only tokens that end an answer have a name there; others that are no text, or begin with a byte that
/// no text has, can't be reached.
fn word(vocabulary: &Vocabulary, id: u32) -> Vec<u8> {
    let bytes = vocabulary.bytes(id);
    let marker = TokTrie::SPECIAL_TOKEN_MARKER;
    if vocabulary.is_end(id) {
        [&[marker], format!("<end-{id}>").as_bytes()].concat()
    } else if bytes.first() == Some(&marker) {
        Vec::new()
    } else {
        bytes.to_vec()
    }
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.tree
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let mut ids = Vec::new();
        for chunk in bytes.utf8_chunks() {
            ids.extend(self.vocabulary.encode_rest(chunk.valid()));
            // A part of a character has no tokens but those of its bytes.
            ids.extend(self.tree.greedy_tokenize(chunk.invalid()));
        }
        ids
    }
}

/// Tokens that may come next.
pub struct TokenMask(SimpleVob);

impl TokenMask {
    /// Whether a token may.
    pub fn allows(&self, id: u32) -> bool {
        let word = self.words().get(id as usize / 32).copied().unwrap_or_default();
        word >> (id % 32) & 1 == 1
    }

    /// One bit for each token, the lowest first; tokens past its end may not come.
    pub fn words(&self) -> &[u32] {
        self.0.as_slice()
    }
}

/// An answer's form and how much of it has been said.
pub struct Grammar {
    /// `None` allows everything.
    matcher: Option<Box<Matcher>>,
}

impl Grammar {
    /// The form of an answer, of which nothing has been said.
    ///
    /// # Errors
    /// [`LanguageModelError::Invalid`] names what in the form can't be kept.
    pub fn new(env: &GrammarEnv, form: &AnswerForm) -> Result<Self, LanguageModelError> {
        let (field, grammar) = match form {
            AnswerForm::Free => return Ok(Self { matcher: None }),
            AnswerForm::Json(schema) => {
                let schema = schema::prepare(schema)
                    .map_err(|error| invalid(&format!("form.json{}", error.pointer), &error.problem))?;
                ("form.json", TopLevelGrammar::from_json_schema(schema))
            }
            AnswerForm::Regex(pattern) => {
                check_bytes("form.regex", pattern.len())?;
                ("form.regex", TopLevelGrammar::from_regex(pattern))
            }
            AnswerForm::Choice(choices) => {
                check_choices(choices)?;
                let pattern = choices.iter().map(|choice| regex::escape(choice)).collect::<Vec<_>>().join("|");
                ("form.choice", TopLevelGrammar::from_regex(&pattern))
            }
        };
        let build = || Ok(Matcher::new(env.factory.create_parser(grammar)));
        let matcher = panic_utils::catch_unwind(std::panic::AssertUnwindSafe(build));
        let matcher = matcher.map_err(|error| invalid(field, &first_line(&error.to_string())))?;
        match matcher.get_error() {
            Some(error) => Err(invalid(field, &first_line(&error))),
            None => Ok(Self { matcher: Some(Box::new(matcher)) }),
        }
    }

    /// Tokens that may come next, those that end the answer included where it may end; `None` if all may.
    ///
    /// # Errors
    /// [`LanguageModelError::Failed`] if the form is too complex to be followed further.
    pub fn mask(&mut self) -> Result<Option<TokenMask>, LanguageModelError> {
        let Some(matcher) = &mut self.matcher else { return Ok(None) };
        matcher.compute_mask_or_eos().map(|mask| Some(TokenMask(mask))).map_err(|error| failed(&error.to_string()))
    }

    /// Takes a token that was chosen.
    ///
    /// # Errors
    /// [`LanguageModelError::Failed`] if the form does not allow it here.
    pub fn commit(&mut self, token: u32) -> Result<(), LanguageModelError> {
        let Some(matcher) = &mut self.matcher else { return Ok(()) };
        matcher.consume_token(token).map_err(|error| failed(&error.to_string()))
    }

    /// Tokens that must come next, whatever the model thinks: they are taken as chosen, and the model need only read them.
    ///
    /// # Errors
    /// [`LanguageModelError::Failed`] if the form is too complex to be followed further.
    pub fn forced(&mut self) -> Result<Vec<u32>, LanguageModelError> {
        let Some(matcher) = &mut self.matcher else { return Ok(Vec::new()) };
        if matcher.is_stopped() {
            return Ok(Vec::new());
        }
        let tokens = matcher.consume_ff_tokens();
        match matcher.get_error() {
            Some(error) => Err(failed(&error)),
            None => Ok(tokens),
        }
    }

    /// Whether the form is complete: nothing but the end may follow. A free answer never is.
    pub fn is_complete(&self) -> bool {
        self.matcher.as_ref().is_some_and(|matcher| matcher.is_stopped() && matcher.stop_reason().is_ok())
    }

    /// Whether the answer may end here.
    ///
    /// # Errors
    /// [`LanguageModelError::Failed`] if the form is too complex to be followed further.
    pub fn may_end(&mut self) -> Result<bool, LanguageModelError> {
        let Some(matcher) = &mut self.matcher else { return Ok(true) };
        if matcher.is_stopped() && matcher.stop_reason().is_ok() {
            return Ok(true);
        }
        matcher.is_accepting().map_err(|error| failed(&error.to_string()))
    }
}

fn check_bytes(field: &str, bytes: usize) -> Result<(), LanguageModelError> {
    if bytes == 0 || bytes > MAX_PATTERN_BYTES {
        return Err(invalid(field, &format!("has {bytes} bytes; must have from 1 to {MAX_PATTERN_BYTES}")));
    }
    Ok(())
}

fn check_choices(choices: &[String]) -> Result<(), LanguageModelError> {
    if choices.is_empty() || choices.len() > MAX_CHOICES {
        let problem = format!("has {} answers; must have from 1 to {MAX_CHOICES}", choices.len());
        return Err(invalid("form.choice", &problem));
    }
    if let Some(empty) = choices.iter().position(String::is_empty) {
        return Err(invalid(&format!("form.choice[{empty}]"), "must not be empty"));
    }
    check_bytes("form.choice", choices.iter().map(String::len).sum())
}

fn invalid(field: &str, problem: &str) -> LanguageModelError {
    LanguageModelError::Invalid { field: field.to_owned(), problem: problem.to_owned() }
}

fn failed(problem: &str) -> LanguageModelError {
    LanguageModelError::Failed(format!("the form of the answer: {}", first_line(problem)))
}

/// What went wrong, without the listing that follows.
fn first_line(problem: &str) -> String {
    problem.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("has no reason").to_owned()
}
