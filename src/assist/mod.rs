//! Help for operators beyond the script: what to say, what to offer, and what may be promised.
//!
//! Enters: feedback or a conversation, the company's [`playbook`], the tagger, the case store, and a [`Writer`] if there is a language
//! model. Leaves: suggestions slot by slot ([`Assistant::suggest`]), also while a conversation lasts ([`live`]), replies judged
//! by a rubric ([`Assistant::review`]), notes for the card ([`Assistant::summarize`]), and promises with verdicts ([`promises`]). Everything works
//! without a language model, and the first suggestion never waits for one. Never here: transport, prompts, models, storage engines other
//! than the file of [`SuggestionUses`].

mod draft;
mod gestures;
pub mod live;
mod masked;
pub mod note;
pub mod playbook;
pub mod promises;
pub(crate) mod reading;
pub mod review;
mod sameness;
mod script;
mod suggest;
#[cfg(test)]
mod suggest_tests;
mod suggestion;
mod uses;
mod writer;
#[cfg(test)]
mod writer_tests;

use std::fmt;
use std::sync::Arc;

use tokio::sync::OnceCell;

pub use gestures::{OfferStatus, OfferedGesture};
use playbook::Playbook;
pub use script::{DistanceBasis, ScriptCover, ScriptIndex};
pub use suggestion::{
    AvoidedWords, Draft, DraftSource, ScriptAdvice, SimilarAdvice, Slot, SlotContent, SlotError, SlotOutcome,
    SuggestRequest,
};
pub use uses::{SuggestionUse, SuggestionUses, UseCounts, UsesError};
pub use writer::{
    AdviceSource, BriefCase, BriefGesture, BriefTurn, DraftBrief, NoteBrief, ReviewBrief, Writer, WriterError,
    WrittenNote, WrittenPoint, WrittenPromise, WrittenTask,
};

use crate::cases::CaseStore;
use crate::feedback::Feedback;
use crate::tagging::{Tagger, Urgency};
use crate::taxonomy::Taxonomy;

/// What can be set of suggestions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssistOptions {
    /// Most similar cases of one suggestion, 1 or more.
    pub similar_cases: usize,
}

impl Default for AssistOptions {
    fn default() -> Self {
        Self { similar_cases: 5 }
    }
}

/// What an assistant is made of.
pub struct AssistParts {
    /// Names of topics and signals.
    pub taxonomy: Arc<Taxonomy>,
    /// What operators may do.
    pub playbook: Arc<Playbook>,
    /// Tags, and makes the vectors.
    pub tagger: Arc<dyn Tagger>,
    /// Finds similar cases.
    pub cases: Arc<dyn CaseStore>,
    /// Writes drafts, notes and reviews; without it there is what rules and templates make.
    pub writer: Option<Arc<dyn Writer>>,
    /// What operators did with suggestions.
    pub uses: Arc<SuggestionUses>,
    /// What can be set.
    pub options: AssistOptions,
}

/// Helps operators. Share it in an [`Arc`].
pub struct Assistant {
    taxonomy: Arc<Taxonomy>,
    playbook: Arc<Playbook>,
    tagger: Arc<dyn Tagger>,
    cases: Arc<dyn CaseStore>,
    writer: Option<Arc<dyn Writer>>,
    uses: Arc<SuggestionUses>,
    options: AssistOptions,
    script: OnceCell<Arc<ScriptIndex>>,
}

impl fmt::Debug for Assistant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assistant").field("playbook", self.playbook.version()).finish_non_exhaustive()
    }
}

impl Assistant {
    /// An assistant. The examples of the script are encoded when they are first needed, or by [`Assistant::prepare`].
    pub fn new(parts: AssistParts) -> Self {
        let AssistParts { taxonomy, playbook, tagger, cases, writer, uses, options } = parts;
        Self { taxonomy, playbook, tagger, cases, writer, uses, options, script: OnceCell::new() }
    }

    /// Its playbook.
    pub fn playbook(&self) -> &Arc<Playbook> {
        &self.playbook
    }

    /// What operators did with suggestions.
    pub fn uses(&self) -> &Arc<SuggestionUses> {
        &self.uses
    }

    /// Encodes the examples of the script, so that the first suggestion need not.
    ///
    /// # Errors
    /// [`SlotError::Tagging`] if an example can't be encoded; the next call tries again.
    pub async fn prepare(&self) -> Result<(), SlotError> {
        self.script_index().await.map(|_| ())
    }

    async fn script_index(&self) -> Result<&Arc<ScriptIndex>, SlotError> {
        let index = self.script.get_or_try_init(|| async {
            let texts = ScriptIndex::texts(&self.playbook);
            let mut vectors = Vec::with_capacity(texts.len());
            for text in texts {
                let feedback = Feedback::from_text(String::new(), text);
                vectors.push(self.tagger.tag(feedback, Urgency::default()).await?.vector);
            }
            let (playbook, taxonomy) = (Arc::clone(&self.playbook), Arc::clone(&self.taxonomy));
            suggest::blocking(move || Arc::new(ScriptIndex::new(&playbook, &taxonomy, vectors))).await
        });
        index.await
    }
}
