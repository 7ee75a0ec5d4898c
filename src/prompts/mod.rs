//! Ready-made prompts: files of top-level `prompts/` and of a folder of one's own, checked, rendered and answered.
//!
//! Enters: files of front matter and a template (`prompts/README.md` has their format), and an input as JSON. Leaves: messages for a
//! language model with the form of its answer ([`RenderedPrompt`]), and answers that were parsed by a schema and masked
//! ([`PromptAnswer`]). What people wrote becomes data in a delimited block, whatever a template does. Never here: which model
//! answers, how it computes, the network.

mod answer;
mod data;
mod error;
mod faults;
mod front_matter;
mod input;
mod library;
mod problems;
mod prompt;
mod reading;
mod runner;
mod schema;
mod set;
mod template;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use answer::AnswerContent;
pub use data::block as data_block;
pub use error::{AnswerError, PromptError, RunError};
pub use faults::InputFault;
pub use input::PromptLimits;
pub use library::{PromptLibrary, Reload};
pub use problems::{Problem, PromptFilesError};
pub use prompt::{MAX_FILE_BYTES, Prompt, PromptExample, PromptIdentity, PromptOrigin, RenderedPrompt};
pub use runner::{PromptAnswer, PromptRunner, RunOptions};
pub use set::PromptSet;

use crate::feedback::named_enum;

named_enum! {
    /// Language of a prompt's instructions.
    PromptLanguage {
        /// Russian.
        Russian = "ru",
        /// English.
        English = "en",
    }
}
