//! Why a prompt can't be had, rendered or answered.

use super::PromptLanguage;
use super::faults::InputFault;
use crate::inference::LanguageModelError;

/// Why a prompt can't be rendered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PromptError {
    /// There is no such prompt.
    #[error("no prompt {id:?}{hint}")]
    Unknown {
        /// The id that was asked for.
        id: String,
        /// What is near it, or nothing.
        hint: String,
    },
    /// There is such a prompt in other languages.
    #[error("prompt {id:?} is not there in {asked:?}; it is in: {}", .languages.join(", "))]
    Language {
        /// The prompt.
        id: String,
        /// The language that was asked for.
        asked: PromptLanguage,
        /// Those that it is there in.
        languages: Vec<&'static str>,
    },
    /// The input is at fault.
    #[error("{}", lines(.0))]
    Input(Vec<InputFault>),
    /// The template can't be rendered with this input: its file is at fault.
    #[error("prompt {prompt}{}: {problem}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Template {
        /// Id and language of the prompt.
        prompt: String,
        /// Line of its file, from 1, if known.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
}

/// Why what a model said is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AnswerError {
    /// JSON that ends before its end.
    #[error(
        "the answer was cut at {max_tokens} tokens, before it was whole; a higher max_tokens in the prompt's file lets it end"
    )]
    CutShort {
        /// Most tokens of the answer.
        max_tokens: usize,
    },
    /// Not JSON.
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
    /// JSON that the schema does not allow.
    #[error("the answer is not what the schema allows: {}", lines(.0))]
    NotAllowed(Vec<InputFault>),
    /// Nothing but white space.
    #[error("the answer is empty")]
    Empty,
    /// Free text that is longer than allowed.
    #[error("the answer has {chars} characters; at most {most} are allowed (prompts.max_answer_chars)")]
    TooLong {
        /// Its characters.
        chars: usize,
        /// Most that are allowed.
        most: usize,
    },
}

/// Why there is no answer to a prompt.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// The model gave none.
    #[error(transparent)]
    Model(#[from] LanguageModelError),
    /// What it gave is none.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Whoever listened wanted no more.
    #[error("the answer was cancelled before it was whole")]
    Cancelled,
    /// The thread that reads answers failed.
    #[error("the answer can't be read: {0}")]
    Interrupted(String),
}

fn lines(faults: &[InputFault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
