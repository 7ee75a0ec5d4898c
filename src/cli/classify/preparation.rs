//! What the arguments say about feedback that does not say it itself.

use otklik::feedback::FeedbackKind;
use otklik::tables::{Preparation, SplitTurns};

use super::args::ClassifyArgs;

/// What `args` ask to be done to feedback before it is tagged.
pub fn preparation(args: &ClassifyArgs, split_turns: SplitTurns) -> Preparation {
    Preparation {
        kind: args.kind.or(args.transcript.then_some(FeedbackKind::Transcript)),
        channel: args.channel.clone(),
        product: args.product.clone(),
        partner: args.partner.clone(),
        transcript: args.transcript,
        split_turns,
    }
}

#[cfg(test)]
mod tests {
    use otklik::feedback::{Body, Feedback, Speaker, Turn};

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
        preparation(&args, one_turn).apply(&mut feedback).unwrap();
        assert_eq!(feedback.kind, Some(FeedbackKind::Review));
        assert_eq!(feedback.channel.as_deref(), Some("chat"));
        assert_eq!((feedback.product.as_deref(), feedback.partner.as_deref()), (Some("card"), Some("p")));
        assert_eq!(feedback.body, Body::Text("Клиент: да".to_owned()), "a review is no conversation");
    }

    #[test]
    fn conversations_are_split_into_turns() {
        let applied = |arguments: &[&str], text: &str| {
            let mut feedback = Feedback::from_text("1", text);
            preparation(&parse(arguments), one_turn).apply(&mut feedback).map(|()| feedback.body)
        };
        let turns = Body::Turns(one_turn("Клиент: да").unwrap());
        assert_eq!(applied(&["x"], "Клиент: да"), Ok(turns.clone()));
        assert_eq!(applied(&["x", "--transcript", "--kind", "review"], "Клиент: да"), Ok(turns));
        assert_eq!(applied(&["x"], "да"), Ok(Body::Text("да".to_owned())));
        let message = "no lines of a conversation, such as \"Клиент: ...\" or \"Operator: ...\"";
        assert_eq!(applied(&["x", "--transcript"], "да"), Err(message.to_owned()));
    }
}
