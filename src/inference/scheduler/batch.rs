//! Texts of a turn that go through the encoder together, and their answers.

use std::sync::Arc;

use crate::inference::{EncodePlan, InferenceError, PassOutput};
use crate::telemetry::{Stage, Timed, TracePlace};

/// A pass that waits to go through the encoder with others.
pub(super) struct Waiting {
    pub plan: Arc<EncodePlan>,
    pub pass: usize,
    pub finish: Finish,
    /// The wait, then the encoder's work; `None` when that is over.
    pub stage: Option<Timed>,
    /// The call that it belongs to, in its trace.
    pub place: TracePlace,
}

impl Waiting {
    /// Tokens of its pass.
    pub fn tokens(&self) -> usize {
        self.plan.tokens(self.pass)
    }

    /// The wait is over: the encoder begins, with so many texts of so many tokens.
    pub fn encode(&mut self, texts: usize, tokens: usize) {
        let _here = self.place.enter();
        let encoding = Stage::Encode.begin();
        encoding.tell("batch_texts", texts);
        encoding.tell("batch_tokens", tokens);
        self.stage = Some(encoding);
    }

    /// The encoder's work is over.
    pub fn encoded(&mut self) {
        self.stage = None;
    }
}

/// A text, and what its pass gave.
pub(super) type Encoded = (Waiting, Result<PassOutput, InferenceError>);

/// Texts in parts that go through the encoder together, of about as many tokens each, and in the mean of no more than `most`.
pub(super) fn parts(texts: Vec<Waiting>, most: usize) -> Vec<Vec<Waiting>> {
    let tokens: usize = texts.iter().map(Waiting::tokens).sum();
    let of_part = tokens.div_ceil(tokens.div_ceil(most).max(1));
    let mut parts: Vec<Vec<Waiting>> = Vec::new();
    let mut before = 0;
    for text in texts {
        // A part begins with the first text whose middle lies behind the end of the one before.
        if before + text.tokens() / 2 >= parts.len() * of_part {
            parts.push(Vec::new());
        }
        before += text.tokens();
        if let Some(part) = parts.last_mut() {
            part.push(text);
        }
    }
    parts
}

/// Makes the answers of all texts, then hands them out.
pub(super) fn finish(encoded: Vec<Encoded>, give_way: &dyn Fn()) {
    let finished = encoded.into_iter().map(|(waiting, output)| {
        give_way();
        (waiting.finish)(output)
    });
    let deliveries: Vec<Delivery> = finished.collect();
    deliveries.into_iter().for_each(|deliver| deliver());
}

/// Makes the answer of what the pass gave.
pub(super) type Finish = Box<dyn FnOnce(Result<PassOutput, InferenceError>) -> Delivery + Send>;

/// Hands an answer to its caller. Those of a batch go out together: whoever waits for them wakes up once, not once a text, and
/// answers on one connection leave in one write.
pub(super) type Delivery = Box<dyn FnOnce() + Send>;
