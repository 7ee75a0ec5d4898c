//! What the arguments say about feedback that does not say it itself.

use otklik::feedback::{Body, Feedback, FeedbackKind, Turn};

use super::args::ClassifyArgs;

/// Splits a conversation in lines of `Speaker: words` into turns; `None` if the text is none.
pub type SplitTurns = fn(&str) -> Option<Vec<Turn>>;

/// What is done to feedback before it is tagged.
#[derive(Debug, Clone)]
pub struct Preparation {
    kind: Option<FeedbackKind>,
    channel: Option<String>,
    product: Option<String>,
    partner: Option<String>,
    transcript: bool,
    split_turns: SplitTurns,
}

impl Preparation {
    /// What `args` ask for.
    pub fn new(args: &ClassifyArgs, split_turns: SplitTurns) -> Self {
        Self {
            kind: args.kind.or(args.transcript.then_some(FeedbackKind::Transcript)),
            channel: args.channel.clone(),
            product: args.product.clone(),
            partner: args.partner.clone(),
            transcript: args.transcript,
            split_turns,
        }
    }

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

#[cfg(test)]
mod tests {
    use otklik::feedback::Speaker;

    use super::super::tests::parse;
    use super::*;

    fn one_turn(text: &str) -> Option<Vec<Turn>> {
        let text = text.strip_prefix("Клиент: ")?.to_owned();
        Some(vec![Turn { speaker: Speaker::Customer, text, offset_ms: None }])
    }

    #[test]
    fn arguments_fill_in_only_what_the_table_does_not_say() {
        let args = parse(&["x", "--kind", "review", "--channel", "call", "--product", "card", "--partner", "p"]);
        let mut feedback = Feedback::from_text("1", "Клиент: да");
        feedback.channel = Some("chat".to_owned());
        Preparation::new(&args, one_turn).apply(&mut feedback).unwrap();
        assert_eq!(feedback.kind, Some(FeedbackKind::Review));
        assert_eq!(feedback.channel.as_deref(), Some("chat"));
        assert_eq!((feedback.product.as_deref(), feedback.partner.as_deref()), (Some("card"), Some("p")));
        assert_eq!(feedback.body, Body::Text("Клиент: да".to_owned()), "a review is no conversation");
    }

    #[test]
    fn conversations_are_split_into_turns() {
        let applied = |arguments: &[&str], text: &str| {
            let mut feedback = Feedback::from_text("1", text);
            Preparation::new(&parse(arguments), one_turn).apply(&mut feedback).map(|()| feedback.body)
        };
        let turns = Body::Turns(one_turn("Клиент: да").unwrap());
        assert_eq!(applied(&["x"], "Клиент: да"), Ok(turns.clone()));
        assert_eq!(applied(&["x", "--transcript", "--kind", "review"], "Клиент: да"), Ok(turns));
        assert_eq!(applied(&["x"], "да"), Ok(Body::Text("да".to_owned())));
        let message = "no lines of a conversation, such as \"Клиент: ...\" or \"Operator: ...\"";
        assert_eq!(applied(&["x", "--transcript"], "да"), Err(message.to_owned()));
    }
}
