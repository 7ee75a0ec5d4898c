//! Points that rules could not judge, judged by a language model.

use std::sync::Arc;
use std::time::Instant;

use super::remarks::Remark;
use super::rubric::{PointReview, ReplyReview, RubricPoint, Standing};
use crate::assist::draft::brief_gestures;
use crate::assist::masked::{MaskedText, masked};
use crate::assist::promises::{Circumstances, PromiseCheck};
use crate::assist::suggest::{blocking, within};
use crate::assist::writer::{AdviceSource, ReviewBrief, Writer, WrittenPoint, in_time};
use crate::assist::{Assistant, SlotError};
use crate::cases::TenantId;
use crate::feedback::{Feedback, FeedbackKind};
use crate::tags::Tags;

/// The longest advice, in characters.
const CHANGE_CHARS: usize = 300;

/// What a model is asked about.
pub(super) struct Asked {
    pub(super) feedback: Feedback,
    pub(super) reply: String,
    pub(super) tenant: TenantId,
    pub(super) tags: Arc<Tags>,
    pub(super) circumstances: Arc<Circumstances>,
}

impl Assistant {
    /// The review with the points filled that rules could not judge. If the model fails they stay as they are, with the reason in it.
    pub(super) async fn filled(
        &self,
        mut review: ReplyReview,
        writer: &dyn Writer,
        asked: Asked,
        deadline: Instant,
    ) -> Result<ReplyReview, SlotError> {
        if !review.points.iter().any(is_open) {
            return Ok(review);
        }
        let Asked { feedback, reply, tenant, tags, circumstances } = asked;
        let offers = self.offers(&tenant, Some(Arc::clone(&tags)), Vec::new(), Arc::clone(&circumstances));
        let offers = within(deadline, offers).await?;
        let (playbook, language) = (Arc::clone(&self.playbook), review.language);
        let prepared = blocking(move || {
            let reply = MaskedText::of(&reply);
            let brief = ReviewBrief {
                masked_text: tags.masked_text.clone(),
                is_public: feedback.kind == Some(FeedbackKind::Review),
                masked_reply: reply.text(),
                language,
                gestures: brief_gestures(&playbook, &offers, language),
            };
            (reply, brief)
        });
        let (reply, brief) = within(deadline, prepared).await?;
        match in_time(deadline, async |due| writer.review(brief, due).await).await {
            Ok(written) => {
                let playbook = Arc::clone(&self.playbook);
                let work = blocking(move || {
                    let check = PromiseCheck::new(&playbook, &circumstances);
                    fill(&mut review.points, &written, &reply, &check);
                    review
                });
                within(deadline, work).await
            }
            Err(error) => {
                review.model_error = Some(error);
                Ok(review)
            }
        }
    }
}

/// True for a point that words can tell and rules could not. What may be promised is the playbook's to say, never a model's.
fn is_open(review: &PointReview) -> bool {
    let is_untold = matches!(
        review.standing,
        Standing::NotEvaluated(
            Remark::CannotTell | Remark::UnclearWhetherItHappened | Remark::NoSuchSignal | Remark::OtherLanguage
        )
    );
    is_untold && review.point != RubricPoint::Promises
}

/// Takes over each open point whose quotation stands in the reply, or that needs none.
fn fill(points: &mut [PointReview], written: &[WrittenPoint], reply: &MaskedText, check: &PromiseCheck<'_>) {
    for review in points.iter_mut().filter(|review| is_open(review)) {
        let Some(told) = written.iter().find(|told| told.point == review.point) else { continue };
        let span = reply.find(&told.quote);
        if span.is_none() && !told.quote.trim().is_empty() {
            continue;
        }
        review.standing = Standing::Scored { score: told.score, spans: span.into_iter().collect(), remark: None };
        review.source = AdviceSource::Model;
        review.change = advice(&told.change, check);
    }
}

/// What to do better, unless it advises a promise that may not be made.
fn advice(change: &str, check: &PromiseCheck<'_>) -> Option<String> {
    let change = masked(change.trim());
    let is_short = (1..=CHANGE_CHARS).contains(&change.chars().count());
    (is_short && check.check(&change).iter().all(|promise| promise.reasons.is_empty())).then_some(change)
}
