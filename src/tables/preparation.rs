//! What is known about all rows of a table where a row does not say it itself.

use crate::feedback::{Body, Feedback, FeedbackKind, Turn};

/// Splits a conversation in lines of `Speaker: words` into turns; `None` if the text is none.
pub type SplitTurns = fn(&str) -> Option<Vec<Turn>>;

/// What is done to feedback before it is tagged.
#[derive(Debug, Clone)]
pub struct Preparation {
    /// Kind of feedback, where it does not say.
    pub kind: Option<FeedbackKind>,
    /// Channel, where it does not say.
    pub channel: Option<String>,
    /// Product, where it does not say.
    pub product: Option<String>,
    /// Partner, where it does not say.
    pub partner: Option<String>,
    /// True if every text must be a conversation.
    pub transcript: bool,
    /// How a conversation is split into turns.
    pub split_turns: SplitTurns,
}

impl Preparation {
    /// Fills in what the feedback does not say, and splits a conversation into turns.
    ///
    /// # Errors
    /// A message if the text should be a conversation and is none.
    pub fn apply(&self, feedback: &mut Feedback) -> Result<(), String> {
        feedback.kind = feedback.kind.or(self.kind);
        let fill = |field: &mut Option<String>, value: &Option<String>| {
            if field.is_none() {
                field.clone_from(value);
            }
        };
        fill(&mut feedback.channel, &self.channel);
        fill(&mut feedback.product, &self.product);
        fill(&mut feedback.partner, &self.partner);
        let Body::Text(text) = &feedback.body else { return Ok(()) };
        if !self.transcript && !matches!(feedback.kind, None | Some(FeedbackKind::Transcript)) {
            return Ok(());
        }
        match (self.split_turns)(text) {
            Some(turns) => feedback.body = Body::Turns(turns),
            None if self.transcript => {
                return Err("no lines of a conversation, such as \"Клиент: ...\" or \"Operator: ...\"".to_owned());
            }
            None => {}
        }
        Ok(())
    }
}
