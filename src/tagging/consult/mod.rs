//! A language model beside the models of tagging: asked which topic a text has, under the enumeration of all topics.
//!
//! Enters: [`Feedback`], the tags that the other models gave it, and a language model. Leaves: the same
//! tags, with a topic more if the model was sure enough of one, and what was asked in their provenance. The model never writes: it
//! says how probable each of the given names is, so nothing in a text can make it answer anything else. Never here: which model it is,
//! how it computes, transport.
//!
//! Of its files, `menu` lists what can be chosen, `chooser` asks, `calibration` makes probabilities of what a model says, `making`
//! finds out how by asking about texts whose topics are known, `asking` holds them together and heeds deadlines, and `tagger` joins what
//! comes of it to the other tags.

mod asking;
mod calibration;
mod chooser;
mod making;
mod menu;
mod tagger;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

pub use calibration::{Calibration, CalibrationError};
pub use chooser::{Chooser, Chosen};
pub use making::{CONTENT_FREE, LabelledText, Making, labelled_texts};
pub use menu::{Entry, Menu, MenuTopic, Menus};
pub use tagger::ConsultingTagger;

use super::{Consult, Tagger, TaggingError, Urgency};
use crate::feedback::Feedback;
use crate::tags::{TopicId, TopicTag};

/// How much longer a question may take that nobody waits for, or that is the first of a list: all of the list is read with it.
pub const FIRST_PATIENCE: u32 = 10;

/// How a language model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsultOptions {
    /// When it is asked for work in bulk that does not say.
    pub in_bulk: Consult,
    /// Most time that one text may take, whoever waits for it.
    pub patience: Duration,
    /// Characters of a text that the model reads; of a longer one, its beginning.
    pub max_text_chars: usize,
    /// Texts of the taxonomy's own examples that probabilities are fitted to; 0 fits none.
    pub calibration_rows: usize,
    /// Draws those texts.
    pub seed: u64,
    /// Folder where the calibration is kept.
    pub folder: PathBuf,
    /// A topic is given from this confidence on, 0 to 1.
    pub topic_threshold: f32,
    /// At most this many topics are given.
    pub max_topics: usize,
}

/// A tagger that can also say what the tag of a topic would be that it did not give.
#[async_trait]
pub trait Candidates: Tagger {
    /// The tag that a text would have for a topic, with its evidence and sentiment, however improbable it is. `None` if it can't be
    /// given: the taxonomy does not have it, or only with another sentiment.
    ///
    /// # Errors
    /// [`TaggingError`]; see its variants.
    async fn candidate(
        &self,
        feedback: Feedback,
        topic: &TopicId,
        urgency: Urgency,
    ) -> Result<Option<TopicTag>, TaggingError>;
}
