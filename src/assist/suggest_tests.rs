use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::playbook::ReplyLanguage;
use super::promises::{PromiseReason, PromiseVerdict};
use super::*;
use crate::cases::{
    Amendment, Case, CaseFilter, CasePage, CaseStoreError, Erasure, MatchedBy, NewCase, Outcome, OutcomeGroup,
    OutcomeStatus, RetagOutcome, Retagging, SimilarCase, SimilarCases, SimilarQuery, TenantId, UpsertOutcome,
    VectoredCase,
};
use crate::feedback::{Body, CharSpan, FeedbackKind, Speaker, Turn};
use crate::tagging::corrections::CorrectedCase;
use crate::tagging::{Party, Tagged, TaggerCounts, TaggingError};
use crate::tags::sample::nothing_found;
use crate::tags::*;

/// Tags each text with payments and, if it says so, with a risk to lose the customer.
#[derive(Default)]
pub(super) struct StubTagger {
    pub(super) broken: AtomicBool,
}

fn tags(text: &str) -> Tags {
    let sentiment = Sentiment { label: SentimentLabel::Negative, score: -0.5, confidence: Confidence::ONE };
    let evidence = Evidence { turn: None, span: CharSpan::new(0, 60), weight: Confidence::ONE };
    let signal = SignalTag {
        signal_id: SignalId::new("churn_risk"),
        confidence: Confidence::new(0.9),
        source: TagSource::Rule,
        rule_id: None,
        detail: None,
        evidence: vec![evidence],
    };
    Tags {
        language: if text.is_ascii() { Language::English } else { Language::Russian },
        topics: vec![TopicTag {
            topic_id: TopicId::new("tariffs_fees"),
            parent_id: Some(TopicId::new("money")),
            confidence: Confidence::new(0.8),
            sentiment,
            source: TagSource::Prototype,
            rule_id: None,
            neighbour_case_ids: vec![],
            evidence: vec![evidence],
        }],
        sentiment: Some(sentiment),
        signals: if text.contains("уйду") { vec![signal] } else { vec![] },
        ..nothing_found(text)
    }
}

#[async_trait]
impl Tagger for StubTagger {
    async fn tag(&self, feedback: Feedback, _: Urgency) -> Result<Tagged, TaggingError> {
        let text = feedback.body.to_plain();
        if text.contains("wait") {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        }
        assert!(!text.contains("panic"), "panicked on purpose");
        if self.broken.load(Ordering::SeqCst) {
            return Err(TaggingError::Internal("broken on purpose".into()));
        }
        // Fees point one way, everything else another.
        let about_fees = text.to_lowercase().contains("комисси") || text.contains("fee");
        Ok(Tagged {
            tags: tags(&text),
            vector: if about_fees { vec![1.0, 0.0] } else { vec![0.0, 1.0] },
            reading: None,
        })
    }

    async fn learn(&self, _: Party, _: Vec<CorrectedCase>) -> Result<(), TaggingError> {
        Ok(())
    }

    async fn forget(&self, _: Party, _: Vec<String>) -> Result<(), TaggingError> {
        Ok(())
    }

    fn knows_topic(&self, _: &TopicId) -> bool {
        true
    }

    fn knows_team(&self, _: &TeamId) -> bool {
        true
    }

    fn provenance(&self) -> Provenance {
        tags("").provenance
    }

    fn counts(&self) -> TaggerCounts {
        TaggerCounts::default()
    }
}

/// One similar case, solved by a gesture, and the same gesture made for customer `k` before.
#[derive(Default)]
pub(super) struct StubStore {
    pub(super) broken: AtomicBool,
}

impl StubStore {
    fn answers(&self) -> Result<(), CaseStoreError> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(CaseStoreError::Unavailable("broken on purpose".into())),
            false => Ok(()),
        }
    }

    fn case() -> Case {
        let outcome = Outcome {
            status: OutcomeStatus::Solved,
            resolution: Some("Вернули комиссию".into()),
            gesture_id: Some("refund_fee".into()),
            cost: Some(300.0),
            score_after: None,
            decided_at: Some(Timestamp::now()),
            decided_by: None,
        };
        let case = Case::new(Feedback::from_text("s1", "комиссия"), tags("комиссия"), Timestamp::now());
        Case { outcome: Some(outcome), ..case }
    }
}

#[async_trait]
impl CaseStore for StubStore {
    async fn tenants(&self) -> Result<Vec<TenantId>, CaseStoreError> {
        Ok(vec![])
    }

    async fn upsert(&self, _: &TenantId, _: Vec<NewCase>) -> Result<Vec<UpsertOutcome>, CaseStoreError> {
        Ok(vec![])
    }

    async fn amend(&self, _: &TenantId, id: &str, _: Amendment) -> Result<VectoredCase, CaseStoreError> {
        Err(CaseStoreError::NotFound { id: id.to_owned() })
    }

    async fn retag(&self, _: &TenantId, _: Vec<Retagging>) -> Result<Vec<RetagOutcome>, CaseStoreError> {
        Ok(vec![])
    }

    async fn page(
        &self,
        _: &TenantId,
        filter: &CaseFilter,
        _: Option<&str>,
        _: usize,
    ) -> Result<CasePage, CaseStoreError> {
        self.answers()?;
        let known = filter.customer_id.as_deref() == Some("k") && filter.gestures.contains(&"refund_fee".to_owned());
        let cases = known.then(|| VectoredCase { case: Self::case(), vector: vec![1.0, 0.0] }).into_iter().collect();
        Ok(CasePage { cases, next: None })
    }

    async fn get(&self, _: &TenantId, id: &str) -> Result<Case, CaseStoreError> {
        Err(CaseStoreError::NotFound { id: id.to_owned() })
    }

    async fn get_many(&self, _: &TenantId, _: &[String]) -> Result<Vec<Case>, CaseStoreError> {
        Ok(vec![])
    }

    async fn find_similar(&self, _: &TenantId, query: SimilarQuery) -> Result<SimilarCases, CaseStoreError> {
        self.answers()?;
        assert!(query.preferences.solved && query.limit == 5);
        let hit = SimilarCase {
            case: Self::case(),
            score: 0.9,
            rank_score: 1.0,
            matched_by: MatchedBy::default(),
            duplicate_ids: vec![],
        };
        let group = OutcomeGroup {
            status: OutcomeStatus::Solved,
            gesture_id: Some("refund_fee".into()),
            count: 4,
            mean_cost: Some(300.0),
            case_ids: vec!["s1".into()],
        };
        Ok(SimilarCases { hits: vec![hit], outcomes: vec![group], considered: 4 })
    }

    async fn count(&self, _: &TenantId, _: &CaseFilter) -> Result<u64, CaseStoreError> {
        Ok(0)
    }

    async fn delete(&self, _: &TenantId, _: &CaseFilter) -> Result<u64, CaseStoreError> {
        Ok(0)
    }

    async fn erase(&self, tenant: &TenantId, customer_id: &str) -> Result<Erasure, CaseStoreError> {
        Ok(Erasure::new(tenant, customer_id, vec![], vec![]))
    }

    async fn probe(&self) -> Result<u64, CaseStoreError> {
        self.answers().map(|()| 1)
    }

    async fn close(&self) -> Result<(), CaseStoreError> {
        Ok(())
    }
}

/// Promises more than it may.
pub(super) struct BoldWriter;

#[async_trait]
impl Writer for BoldWriter {
    async fn draft(&self, brief: DraftBrief, _: Instant) -> Result<String, WriterError> {
        assert!(brief.gestures.iter().any(|gesture| gesture.id == "refund_fee" && gesture.limit.contains("1000 RUB")));
        let refund = brief.gestures.iter().find(|gesture| gesture.id == "refund_fee").unwrap();
        assert!(!refund.condition.is_empty() && !brief.is_public);
        let similar = &brief.similar[0];
        assert_eq!((similar.status, similar.resolution.as_deref()), (OutcomeStatus::Solved, Some("Вернули комиссию")));
        assert_eq!((brief.similar.len(), similar.masked_text.as_str()), (1, "комиссия"));
        assert!(brief.script.is_some_and(|script| script.contains("комиссию")));
        assert!(!brief.masked_text.contains("900 123"), "{}", brief.masked_text);
        Ok("Вернём вам комиссию 50 000 рублей. Позвоните нам завтра.".to_owned())
    }

    async fn note(&self, _: NoteBrief, _: Instant) -> Result<WrittenNote, WriterError> {
        Err(WriterError::Failed("no note is wanted".into()))
    }

    async fn review(&self, _: ReviewBrief, _: Instant) -> Result<Vec<WrittenPoint>, WriterError> {
        Err(WriterError::Failed("no review is wanted".into()))
    }
}

pub(super) fn parts() -> AssistParts {
    let taxonomy = Arc::new(Taxonomy::default_taxonomy().unwrap());
    AssistParts {
        playbook: Arc::new(Playbook::default_playbook(&taxonomy).unwrap()),
        taxonomy,
        tagger: Arc::new(StubTagger::default()),
        cases: Arc::new(StubStore::default()),
        writer: None,
        uses: Arc::new(SuggestionUses::in_memory(100)),
        options: AssistOptions::default(),
    }
}

pub(super) const APPEAL: &str =
    "Почему взяли комиссию за перевод, никто не предупредил. Тел. 8 900 123-45-67, уйду от вас";

pub(super) fn request(text: &str) -> SuggestRequest {
    SuggestRequest {
        feedback: Feedback { kind: Some(FeedbackKind::Complaint), ..Feedback::from_text("f", text) },
        tenant: TenantId::default(),
        team: Some(TeamId::new("billing")),
        language: None,
        deadline: Instant::now() + Duration::from_secs(60),
    }
}

pub(super) async fn suggested(assistant: &Assistant, request: SuggestRequest) -> Vec<SlotOutcome> {
    let (sender, mut receiver) = mpsc::channel(2);
    let mut outcomes = Vec::new();
    let gather = async {
        while let Some(outcome) = receiver.recv().await {
            outcomes.push(outcome);
        }
    };
    tokio::join!(assistant.suggest(request, sender), gather);
    outcomes
}

fn slots(outcomes: &[SlotOutcome]) -> Vec<(Slot, bool)> {
    let mut slots: Vec<_> = outcomes.iter().map(|outcome| (outcome.slot, outcome.result.is_ok())).collect();
    slots.sort();
    slots
}

fn gestures(outcomes: &[SlotOutcome]) -> &[OfferedGesture] {
    let found = outcomes.iter().find_map(|outcome| match &outcome.result {
        Ok(SlotContent::Gestures(gestures)) => Some(gestures.as_slice()),
        _ => None,
    });
    found.expect("gestures")
}

fn drafts(outcomes: &[SlotOutcome]) -> Vec<&Draft> {
    let drafts = outcomes.iter().filter_map(|outcome| match &outcome.result {
        Ok(SlotContent::Draft(draft)) => Some(draft),
        _ => None,
    });
    drafts.collect()
}

#[tokio::test]
async fn without_a_model_every_slot_is_filled() {
    let assistant = Assistant::new(parts());
    let outcomes = suggested(&assistant, request(APPEAL)).await;
    let all: Vec<_> = Slot::ALL.iter().map(|slot| (*slot, true)).collect();
    assert_eq!(slots(&outcomes), all, "{outcomes:#?}");
    assert_eq!(outcomes[0].slot, Slot::Tags, "the tags come first");

    let script = outcomes.iter().find_map(|outcome| match &outcome.result {
        Ok(SlotContent::Script(advice)) => Some(advice),
        _ => None,
    });
    let script = script.unwrap();
    assert_eq!((script.cover.nearest_intent_id.as_str(), script.cover.covered), ("fee_question", true), "{script:?}");
    assert!(script.script.contains("комиссию") && script.cover.basis == DistanceBasis::MeaningAndWords);

    let offered = gestures(&outcomes);
    assert_eq!((offered[0].gesture.id.as_str(), offered[0].status), ("refund_fee", OfferStatus::Allowed));
    assert_eq!((offered[0].similar_cases, offered[0].similar_solved), (4, 4));
    assert!(offered.iter().all(|offer| offer.gesture.id != "loan_holiday"), "made for another topic");

    let drafts = drafts(&outcomes);
    assert_eq!((drafts.len(), drafts[0].template_id.as_str()), (1, "churn"));
    assert!(drafts[0].text.contains("возврат комиссии") && !drafts[0].text.contains("900 123"), "{}", drafts[0].text);
    assert_eq!(drafts[0].verdict, PromiseVerdict::Allowed, "{:?}", drafts[0].promises);
}

#[tokio::test]
async fn what_is_used_up_or_another_teams_is_shown_and_stands_in_no_draft() {
    let assistant = Assistant::new(parts());
    let mut again = request(APPEAL);
    again.feedback.customer_id = Some("k".into());
    let outcomes = suggested(&assistant, again).await;
    let offered = gestures(&outcomes).iter().find(|offer| offer.gesture.id == "refund_fee").unwrap();
    assert_eq!(
        (offered.status, offered.reasons.as_slice()),
        (OfferStatus::AskSupervisor, &[PromiseReason::TimesUsedUp][..])
    );
    assert!(!drafts(&outcomes)[0].text.contains("возврат комиссии"));

    let mut other = request(APPEAL);
    other.team = Some(TeamId::new("hr"));
    let outcomes = suggested(&assistant, other).await;
    let offered = gestures(&outcomes).iter().find(|offer| offer.gesture.id == "refund_fee").unwrap();
    assert_eq!(
        (offered.status, offered.reasons.as_slice()),
        (OfferStatus::AskSupervisor, &[PromiseReason::OtherTeam][..])
    );
}

#[tokio::test]
async fn a_models_draft_comes_after_the_templates_and_is_marked() {
    let assistant = Assistant::new(AssistParts { writer: Some(Arc::new(BoldWriter)), ..parts() });
    let outcomes = suggested(&assistant, request(APPEAL)).await;
    let drafts = drafts(&outcomes);
    assert_eq!([drafts[0].source, drafts[1].source], [DraftSource::Template, DraftSource::Model]);
    assert_eq!(drafts[1].verdict, PromiseVerdict::NeedsSupervisor);
    assert_eq!(drafts[1].promises[0].reasons, [PromiseReason::AmountAbove]);
    let avoided = &drafts[1].avoided;
    assert_eq!((avoided.len(), avoided[0].avoidance_id.as_str()), (1, "send_elsewhere"));
    assert_eq!(avoided[0].span.slice(&drafts[1].text), "Позвоните");
    assert_eq!(drafts[0].avoided, []);
}

#[tokio::test]
async fn a_slot_that_fails_does_not_take_the_others_with_it() {
    let tagger = Arc::new(StubTagger::default());
    let store = Arc::new(StubStore::default());
    let assistant = Assistant::new(AssistParts { tagger: tagger.clone(), cases: store.clone(), ..parts() });
    assistant.prepare().await.unwrap();
    tagger.broken.store(true, Ordering::SeqCst);
    let outcomes = suggested(&assistant, request(APPEAL)).await;
    let failed: Vec<Slot> = slots(&outcomes).into_iter().filter(|(_, filled)| !filled).map(|(slot, _)| slot).collect();
    assert_eq!(failed, [Slot::Tags, Slot::Similar]);
    assert!(drafts(&outcomes)[0].text.starts_with("Здравствуйте"), "the language is the text's own");

    tagger.broken.store(false, Ordering::SeqCst);
    store.broken.store(true, Ordering::SeqCst);
    let outcomes = suggested(&assistant, request(APPEAL)).await;
    let failed = slots(&outcomes).into_iter().filter(|(_, filled)| !filled).map(|(slot, _)| slot);
    assert_eq!(failed.collect::<Vec<_>>(), [Slot::Similar], "nobody is named, so nothing was used before");
    let mut named = request(APPEAL);
    named.feedback.customer_id = Some("k".into());
    let outcomes = suggested(&assistant, named).await;
    let failed = slots(&outcomes).into_iter().filter(|(_, filled)| !filled).map(|(slot, _)| slot);
    assert_eq!(failed.collect::<Vec<_>>(), [Slot::Similar, Slot::Gestures, Slot::Draft], "limits can't be checked");
}

#[tokio::test]
async fn a_deadline_ends_slots_and_a_caller_who_left_ends_the_work() {
    let assistant = Assistant::new(parts());
    let mut late = request("wait комиссия");
    late.deadline = Instant::now() + Duration::from_millis(20);
    let outcomes = suggested(&assistant, late).await;
    assert!(matches!(outcomes[0].result, Err(SlotError::DeadlineExceeded)), "{outcomes:?}");

    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let mut endless = request("wait комиссия");
    endless.deadline = Instant::now() + Duration::from_secs(3_600);
    assistant.suggest(endless, sender).await;
}

#[tokio::test]
async fn a_conversation_is_read_by_its_customer_and_english_is_answered_in_english() {
    let assistant = Assistant::new(parts());
    let turn = |speaker, text: &str| Turn { speaker, text: text.into(), offset_ms: None };
    let turns = vec![
        turn(Speaker::Operator, "hello, how can I help"),
        turn(Speaker::Customer, "what is the fee for a transfer to another bank"),
    ];
    let mut call = request("");
    call.feedback.body = Body::Turns(turns);
    let outcomes = suggested(&assistant, call).await;
    let nearest = outcomes.iter().find_map(|outcome| match &outcome.result {
        Ok(SlotContent::Script(advice)) => Some(advice.cover.nearest_intent_id.clone()),
        _ => None,
    });
    assert_eq!(nearest.as_deref(), Some("fee_question"));
    assert_eq!(drafts(&outcomes)[0].language, ReplyLanguage::English);
    assert!(drafts(&outcomes)[0].text.starts_with("Hello"));
}

#[tokio::test]
async fn what_operators_took_before_comes_first() {
    let assistant = Assistant::new(parts());
    let topics = [TopicId::new("tariffs_fees")];
    let tenant = TenantId::default();
    for _ in 0..20 {
        assistant.uses().record(&tenant, "refund_fee", &topics, SuggestionUse::Rejected).unwrap();
        assistant.uses().record(&tenant, "manager_call", &topics, SuggestionUse::Accepted).unwrap();
    }
    let outcomes = suggested(&assistant, request(APPEAL)).await;
    let place = |id: &str| gestures(&outcomes).iter().position(|offer| offer.gesture.id == id).unwrap();
    let rates = |id: &str| gestures(&outcomes)[place(id)].uses.rate();
    assert!(rates("manager_call") > 0.9 && rates("refund_fee") < 0.1);
    let score = |id: &str| gestures(&outcomes)[place(id)].score / gestures(&outcomes)[place(id)].fit;
    assert!(score("goodwill_bonus") > score("refund_fee") / 2.0 && score("manager_call") > score("goodwill_bonus"));
}
