//! Replies judged by the rubric of a good reply, before they are sent.
//!
//! Enters: feedback, the reply that an operator wants to send, and who the operator is. Leaves: a [`ReplyReview`], each point of the
//! rubric with its score, the words that earned or lost it and what to do better. Rules decide, and rather say that a point was not
//! evaluated than call it missed; a [`Writer`](super::Writer) may fill such points and changes no other. Never here: prompts, models,
//! or a decision to send or to hold a reply back.

mod by_model;
mod facts;
mod patterns;
mod points;
mod readability;
mod remarks;
mod rubric;
mod situation;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::draft::avoided;
use super::playbook::{Avoidance, Playbook, ReplyLanguage};
use super::promises::{Circumstances, PromiseCheck, PromiseKind, summary};
use super::reading::Reading;
use super::suggest::{blocking, said_by_customer, within};
use super::{AdviceSource, Assistant, SlotError};
use crate::cases::TenantId;
use crate::feedback::Feedback;
use crate::tagging::{Party, Urgency};
use crate::tags::{Language, TeamId};
use facts::Facts;
use points::Points;
pub use remarks::Remark;
pub use rubric::{PointReview, PointScore, ReplyReview, RubricPoint, Standing};
use situation::Situation;

/// Most places that one point names.
const MOST_SPANS: usize = 20;

/// A reply to judge.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewRequest {
    /// What the reply answers.
    pub feedback: Feedback,
    /// The reply.
    pub reply: String,
    /// Whose cases tell what the customer was given before.
    pub tenant: TenantId,
    /// The operator's team; without it, gestures of every team count as the operator's own.
    pub team: Option<TeamId>,
    /// The language of the remarks; without it, that of the reply.
    pub language: Option<ReplyLanguage>,
    /// True if no language model is to be asked.
    pub rules_only: bool,
    /// After it, nothing is computed.
    pub deadline: Instant,
}

/// What a reply is judged by.
struct Grounds<'a> {
    playbook: &'a Playbook,
    situation: &'a Situation,
    circumstances: &'a Circumstances,
    /// False if it could not be learnt which gestures the customer has had.
    is_past_known: bool,
    /// What to avoid here.
    avoid: &'a [Avoidance],
}

impl Assistant {
    /// Judges a reply by the rubric. If the case store does not answer, a promise whose limit depends on it is not evaluated.
    ///
    /// # Errors
    /// [`SlotError::Tagging`] if the feedback can't be tagged, [`SlotError::DeadlineExceeded`], [`SlotError::Internal`].
    pub async fn review(&self, request: ReviewRequest) -> Result<ReplyReview, SlotError> {
        let ReviewRequest { feedback, reply, tenant, team, language, rules_only, deadline } = request;
        let party = Party::from(&tenant);
        let urgency = Urgency { deadline: Some(deadline), party, ..Urgency::default() };
        let tagged = within(deadline, async { Ok(self.tagger.tag(feedback.clone(), urgency).await?) });
        let used = async {
            match &feedback.customer_id {
                Some(customer_id) => within(deadline, self.used_by(&tenant, customer_id.clone())).await,
                None => Ok(Vec::new()),
            }
        };
        let (tagged, used) = tokio::join!(tagged, used);
        let tags = tagged?.tags;
        let (used, is_past_known) = match used {
            Ok(used) => (used, true),
            Err(SlotError::DeadlineExceeded) => return Err(SlotError::DeadlineExceeded),
            Err(error) => {
                tracing::warn!(reason = %error, "a reply is reviewed without knowing what the customer was given before");
                (Vec::new(), false)
            }
        };
        let circumstances = Arc::new(Circumstances { team, used, now: Some(Timestamp::now()) });
        let tags = Arc::new(tags);
        let avoid = self.avoidances(&feedback, Some(&tags));
        let (playbook, taxonomy) = (Arc::clone(&self.playbook), Arc::clone(&self.taxonomy));
        let to_model = by_model::Asked {
            feedback: feedback.clone(),
            reply: reply.clone(),
            tenant,
            tags: Arc::clone(&tags),
            circumstances: Arc::clone(&circumstances),
        };
        let judged = blocking(move || {
            let situation = Situation::of(&feedback, &tags, &taxonomy, &said_by_customer(&feedback));
            let grounds = Grounds {
                playbook: &playbook,
                situation: &situation,
                circumstances: &circumstances,
                is_past_known,
                avoid: &avoid,
            };
            judge(&grounds, &reply, language)
        });
        let review = within(deadline, judged).await?;
        match &self.writer {
            Some(writer) if !rules_only => self.filled(review, &**writer, to_model, deadline).await,
            _ => Ok(review),
        }
    }
}

fn judge(grounds: &Grounds<'_>, reply: &str, language: Option<ReplyLanguage>) -> ReplyReview {
    let reading = Reading::new(reply);
    let facts = Facts::of(&reading);
    let promises = PromiseCheck::new(grounds.playbook, grounds.circumstances).check_reading(&reading, &[]);
    let verdict = summary(&promises);
    let gestures: Vec<_> =
        promises.iter().filter(|promise| promise.kind == PromiseKind::Gesture).map(|promise| promise.span).collect();
    let is_read = reading.language() != Language::Other;
    let points = Points { situation: grounds.situation, facts: &facts, reading: &reading };
    let standing = |point: RubricPoint| match point {
        RubricPoint::Readability => readability::standing(reply, &reading, &facts),
        _ if !is_read => Standing::NotEvaluated(Remark::OtherLanguage),
        RubricPoint::Acknowledgement => points.acknowledgement(),
        RubricPoint::Apology => points.apology(),
        RubricPoint::Cause => points.cause(),
        RubricPoint::Solution => points.solution(&gestures),
        RubricPoint::NextStep => points.next_step(),
        RubricPoint::StaysInChannel => points.stays_in_channel(),
        RubricPoint::AsksForDetails => points.asks_for_details(),
        RubricPoint::Politeness => points.politeness(),
        RubricPoint::PlainNo => points.plain_no(),
        RubricPoint::Promises => points::promises(&promises, verdict, grounds.is_past_known),
    };
    let review = |point: &RubricPoint| {
        let mut standing = standing(*point);
        if let Standing::Scored { spans, .. } = &mut standing {
            spans.truncate(MOST_SPANS);
        }
        PointReview { point: *point, standing, source: AdviceSource::Rules, change: None }
    };
    ReplyReview {
        language: language.unwrap_or(ReplyLanguage::answering(reading.language())),
        points: RubricPoint::ALL.iter().map(review).collect(),
        avoided: avoided(grounds.playbook, grounds.avoid, &reading),
        promises,
        verdict,
        model_error: None,
    }
}
