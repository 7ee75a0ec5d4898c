//! Suggestions beyond the script: tags, cover by the script, similar cases, gestures, what to avoid, a draft.
//!
//! Enters: a [`SuggestRequest`]. Leaves: one [`SlotOutcome`] a slot, as soon as it is ready; a slot that fails does not take the
//! others with it. The first draft is made from a template; a model's own, if there is a writer, comes after it in the same slot.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout_at;

use super::Assistant;
use super::draft::{self, Material};
use super::gestures::{OfferStatus, OfferedGesture, Ranking};
use super::playbook::{Avoidance, ReplyLanguage};
use super::promises::{Circumstances, GestureUse};
use super::suggestion::{
    Draft, ScriptAdvice, SimilarAdvice, Slot, SlotContent, SlotError, SlotOutcome, SuggestRequest,
};
use crate::cases::{CaseFilter, Preferences, SimilarQuery, SimilarTo, TenantId};
use crate::feedback::{Body, Feedback, Speaker};
use crate::tagging::{Party, Tagged, Urgency};
use crate::tags::{SignalId, Tags, TopicId};
use crate::text::prepare;

/// Turns of the customer, from the end, that are compared with the script.
const SCRIPT_TURNS: usize = 3;

/// Past cases of the customer that are looked through for gestures made.
const USED_CASES: usize = 200;

/// Where slots go; a receiver that is gone ends the work.
type Slots = Sender<SlotOutcome>;

/// The caller left.
pub(super) struct Gone;

impl Assistant {
    /// Makes suggestions and sends each slot as it is ready. Ends early when nobody receives any more. Dropping the future ends the work.
    pub async fn suggest(&self, request: SuggestRequest, slots: Slots) {
        tokio::select! {
            () = slots.closed() => {}
            _ = self.slots(request, &slots) => {}
        }
    }

    async fn slots(&self, request: SuggestRequest, slots: &Slots) -> Result<(), Gone> {
        let due = request.deadline;
        let party = Party::from(&request.tenant);
        let urgency = Urgency { deadline: Some(due), party, ..Urgency::default() };
        let tagged = within(due, async { Ok(self.tagger.tag(request.feedback.clone(), urgency).await?) }).await;
        let (tagged, told) = match tagged {
            Ok(tagged) => {
                let tags = Box::new(tagged.tags.clone());
                (Some(tagged), Ok(SlotContent::Tags(tags)))
            }
            Err(error) => (None, Err(error)),
        };
        send(slots, Slot::Tags, told).await?;
        let tags = tagged.as_ref().map(|tagged| Arc::new(tagged.tags.clone()));
        let language = request.language.unwrap_or_else(|| {
            let from_tags = tags.as_ref().map(|tags| tags.language);
            ReplyLanguage::answering(
                from_tags.unwrap_or_else(|| prepare(&said_by_customer(&request.feedback)).language()),
            )
        });
        let avoid = self.avoidances(&request.feedback, tags.as_deref());
        send(slots, Slot::Avoid, Ok(SlotContent::Avoid(avoid.clone()))).await?;

        let script = async {
            let found = within(due, self.script(&request.feedback, tagged.as_ref(), language)).await;
            let kept = found.as_ref().ok().filter(|advice| advice.cover.covered).map(|advice| advice.script.clone());
            send(slots, Slot::Script, found.map(SlotContent::Script)).await.map(|()| kept)
        };
        let similar = async {
            let found = match &tagged {
                Some(tagged) => within(due, self.similar(&request.tenant, tagged)).await,
                None => Err(SlotError::NoTags),
            };
            let kept = found.as_ref().cloned_or_default();
            send(slots, Slot::Similar, found.map(SlotContent::Similar)).await.map(|()| kept)
        };
        let used = within(due, self.used(&request));
        let (script, similar, used) = tokio::join!(script, similar, used);
        let (script, similar) = (script?, similar?);
        let circumstances = match used {
            Ok(used) => Arc::new(Circumstances { team: request.team.clone(), used, now: Some(Timestamp::now()) }),
            // Whether a limit is used up can't be told: nothing may be offered as if it were not.
            Err(error) => {
                let why = error.to_string();
                send(slots, Slot::Gestures, Err(error)).await?;
                return send(slots, Slot::Draft, Err(SlotError::Internal(why))).await;
            }
        };
        let offers = self.offers(&request.tenant, tags.clone(), similar.outcomes.clone(), Arc::clone(&circumstances));
        let offers = within(due, offers).await;
        let kept = offers.as_ref().cloned_or_default();
        send(slots, Slot::Gestures, offers.map(SlotContent::Gestures)).await?;

        let material = Material { tags, language, script, offers: kept, circumstances, avoid, similar };
        let first = within(due, self.template_draft(request.feedback.clone(), material.clone())).await;
        let template = first.as_ref().ok().cloned();
        send(slots, Slot::Draft, first.map(SlotContent::Draft)).await?;
        if let (Some(writer), Some(template)) = (&self.writer, template) {
            let written = draft::written(self, &**writer, &request.feedback, &material, template, due);
            send(slots, Slot::Draft, within(due, written).await.map(SlotContent::Draft)).await?;
        }
        Ok(())
    }

    pub(super) fn avoidances(&self, feedback: &Feedback, tags: Option<&Tags>) -> Vec<Avoidance> {
        let (topics, signals) = ids(tags);
        let mut avoid: Vec<Avoidance> = self
            .playbook
            .avoidances()
            .iter()
            .filter(|avoidance| avoidance.when.applies(&topics, &signals, feedback.kind))
            .cloned()
            .collect();
        avoid.sort_by_key(|avoidance| std::cmp::Reverse(avoidance.when.particularity()));
        avoid
    }

    async fn script(
        &self,
        feedback: &Feedback,
        tagged: Option<&Tagged>,
        language: ReplyLanguage,
    ) -> Result<ScriptAdvice, SlotError> {
        let index = Arc::clone(self.script_index().await?);
        let vector = tagged.map(|tagged| tagged.vector.clone());
        let signals: Vec<SignalId> = ids(tagged.map(|tagged| &tagged.tags)).1.into_iter().cloned().collect();
        let (text, playbook) = (said_by_customer(feedback), Arc::clone(&self.playbook));
        blocking(move || {
            let cover = index.cover(&text, vector.as_deref(), &signals).ok_or(SlotError::NotInPlaybook("intents"))?;
            let intent = playbook.intents().iter().find(|intent| intent.id == cover.nearest_intent_id);
            let intent = intent.ok_or(SlotError::NotInPlaybook("such intent"))?;
            let text = |wording: &super::playbook::Wording| wording.get(language).to_owned();
            Ok(ScriptAdvice { intent_name: text(&intent.name), script: text(&intent.script), cover })
        })
        .await?
    }

    async fn similar(&self, tenant: &TenantId, tagged: &Tagged) -> Result<SimilarAdvice, SlotError> {
        let to = SimilarTo::Text { vector: tagged.vector.clone(), masked_text: tagged.tags.masked_text.clone() };
        let preferences = Preferences { solved: true, half_life_days: None };
        let query = SimilarQuery { preferences, ..SimilarQuery::new(to, self.options.similar_cases) };
        let found = self.cases.find_similar(tenant, query).await?;
        Ok(SimilarAdvice { cases: found.hits, outcomes: found.outcomes })
    }

    /// Gestures made for this customer before; none for a customer who is not named.
    async fn used(&self, request: &SuggestRequest) -> Result<Vec<GestureUse>, SlotError> {
        let Some(customer_id) = request.feedback.customer_id.clone() else { return Ok(Vec::new()) };
        self.used_by(&request.tenant, customer_id).await
    }

    pub(super) async fn used_by(&self, tenant: &TenantId, customer_id: String) -> Result<Vec<GestureUse>, SlotError> {
        let gestures = self.playbook.gestures().iter().map(|gesture| gesture.id.clone()).collect();
        let filter = CaseFilter { customer_id: Some(customer_id), gestures, ..CaseFilter::default() };
        let page = self.cases.page(tenant, &filter, None, USED_CASES).await?;
        let of_case = |case: crate::cases::Case| {
            let outcome = case.outcome?;
            let at = outcome.decided_at.or(case.occurred_at);
            Some(GestureUse { gesture_id: outcome.gesture_id?, at })
        };
        Ok(page.cases.into_iter().filter_map(|stored| of_case(stored.case)).collect())
    }

    pub(super) async fn offers(
        &self,
        tenant: &TenantId,
        tags: Option<Arc<Tags>>,
        outcomes: Vec<crate::cases::OutcomeGroup>,
        circumstances: Arc<Circumstances>,
    ) -> Result<Vec<OfferedGesture>, SlotError> {
        let (playbook, uses, tenant) = (Arc::clone(&self.playbook), Arc::clone(&self.uses), tenant.clone());
        blocking(move || {
            Ranking {
                playbook: &playbook,
                tenant: &tenant,
                tags: tags.as_deref(),
                outcomes: &outcomes,
                circumstances: &circumstances,
                uses: &uses,
            }
            .offers()
        })
        .await
    }

    async fn template_draft(&self, feedback: Feedback, material: Material) -> Result<Draft, SlotError> {
        let (playbook, taxonomy) = (Arc::clone(&self.playbook), Arc::clone(&self.taxonomy));
        blocking(move || draft::from_template(&playbook, &taxonomy, &feedback, &material)).await?
    }
}

/// Ids of topics, groups among them, and of signals.
pub(super) fn ids(tags: Option<&Tags>) -> (Vec<&TopicId>, Vec<&SignalId>) {
    let topics = tags.iter().flat_map(|tags| &tags.topics);
    let topics = topics.flat_map(|topic| std::iter::once(&topic.topic_id).chain(topic.parent_id.as_ref())).collect();
    let signals = tags.iter().flat_map(|tags| &tags.signals).map(|signal| &signal.signal_id).collect();
    (topics, signals)
}

/// What the customer said: the text, or the last turns of the customer.
pub(super) fn said_by_customer(feedback: &Feedback) -> String {
    match &feedback.body {
        Body::Text(text) => text.clone(),
        Body::Turns(turns) => {
            let of_customer = turns.iter().rev().filter(|turn| turn.speaker == Speaker::Customer).take(SCRIPT_TURNS);
            let mut said: Vec<&str> = of_customer.map(|turn| turn.text.as_str()).collect();
            said.reverse();
            said.join("\n")
        }
    }
}

async fn send(slots: &Slots, slot: Slot, result: Result<SlotContent, SlotError>) -> Result<(), Gone> {
    slots.send(SlotOutcome { slot, result }).await.map_err(|_| Gone)
}

/// The work, if it is done in time.
pub(super) async fn within<T>(due: Instant, work: impl Future<Output = Result<T, SlotError>>) -> Result<T, SlotError> {
    timeout_at(due.into(), work).await.unwrap_or(Err(SlotError::DeadlineExceeded))
}

/// Runs work of the processor beside the async threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SlotError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SlotError::Internal(error.to_string()))
}

/// What is known of a slot that may have failed.
trait ClonedOrDefault<T> {
    fn cloned_or_default(self) -> T;
}

impl<T: Clone + Default, E> ClonedOrDefault<T> for Result<&T, E> {
    fn cloned_or_default(self) -> T {
        self.cloned().unwrap_or_default()
    }
}

/// The gestures that may be offered without asking.
pub(super) fn allowed(offers: &[OfferedGesture]) -> impl Iterator<Item = &OfferedGesture> {
    offers.iter().filter(|offer| offer.status == OfferStatus::Allowed)
}
