//! Conversations with a tagger, a store and a writer that do as they are told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::assist::promises::{PromiseReason, PromiseVerdict};
use crate::assist::suggest_tests::{APPEAL, StubStore, StubTagger, parts};
use crate::assist::{
    AssistParts, DraftBrief, DraftSource, NoteBrief, ReviewBrief, Writer, WriterError, WrittenNote, WrittenPoint,
};

fn start(customer_id: Option<&str>) -> LiveStart {
    let unsaid = Feedback::new("", Body::Turns(Vec::new()));
    let feedback = Feedback { customer_id: customer_id.map(str::to_owned), ..unsaid };
    LiveStart { feedback, tenant: TenantId::default(), team: Some(TeamId::new("billing")), language: None }
}

const LIMITS: LiveLimits =
    LiveLimits { max_turns: 100, max_text_chars: 10_000, suggestion_time: Duration::from_secs(60), end: None };

fn conversation(parts: AssistParts, customer_id: Option<&str>) -> Conversation {
    Conversation::new(Arc::new(Assistant::new(parts)), start(customer_id), LIMITS)
}

fn turn(speaker: Speaker, text: &str) -> Turn {
    Turn { speaker, text: text.to_owned(), offset_ms: None }
}

fn customer(text: &str) -> Turn {
    turn(Speaker::Customer, text)
}

fn operator(text: &str) -> Turn {
    turn(Speaker::Operator, text)
}

/// Everything that is new until nothing is in work.
async fn told(conversation: &mut Conversation) -> Vec<LiveOutcome> {
    let mut told = Vec::new();
    while let Some(outcome) = conversation.next().await {
        told.push(outcome);
    }
    told
}

fn slots(told: &[LiveOutcome]) -> Vec<(Slot, u32, bool)> {
    let slots = told.iter().filter_map(|outcome| match &outcome.content {
        LiveContent::Suggestion(slot) => Some((slot.slot, outcome.revision, slot.result.is_ok())),
        LiveContent::Promises(_) => None,
    });
    let mut slots: Vec<_> = slots.collect();
    slots.sort();
    slots
}

fn promised(told: Vec<LiveOutcome>) -> Vec<(u32, Result<PromiseAdvice, SlotError>)> {
    let promised = told.into_iter().filter_map(|outcome| match outcome.content {
        LiveContent::Promises(result) => Some((outcome.revision, result)),
        LiveContent::Suggestion(_) => None,
    });
    promised.collect()
}

#[tokio::test]
async fn a_slot_is_told_when_it_changed_and_not_again() {
    let (tagger, store) = (Arc::new(StubTagger::default()), Arc::new(StubStore::default()));
    let mut conversation = conversation(AssistParts { tagger: tagger.clone(), cases: store.clone(), ..parts() }, None);
    conversation.take(turn(Speaker::System, "Разговор записывается")).unwrap();
    assert!(conversation.next().await.is_none(), "only customers ask for suggestions");
    conversation.take(customer(APPEAL)).unwrap();
    let all: Vec<_> = Slot::ALL.iter().map(|slot| (*slot, 2, true)).collect();
    assert_eq!(slots(&told(&mut conversation).await), all);

    conversation.take(customer(APPEAL)).unwrap();
    conversation.take(customer("  ")).unwrap();
    assert_eq!(slots(&told(&mut conversation).await), [], "nothing is new");
    store.broken.store(true, Ordering::SeqCst);
    for (revision, expected) in [(5, vec![(Slot::Similar, 5, false)]), (6, vec![])] {
        conversation.take(customer(APPEAL)).unwrap();
        let found = slots(&told(&mut conversation).await);
        // Without the similar case the order of gestures and what a draft is made of may differ once.
        let failed: Vec<_> = found.iter().copied().filter(|(_, _, is_filled)| !is_filled).collect();
        assert_eq!(failed, expected, "turn {revision}: {found:?}");
    }
    tagger.broken.store(true, Ordering::SeqCst);
    conversation.take(customer(APPEAL)).unwrap();
    let found = slots(&told(&mut conversation).await);
    assert!(found.contains(&(Slot::Tags, 7, false)) && found.contains(&(Slot::Similar, 7, false)), "{found:?}");
}

#[tokio::test]
async fn a_panic_is_told_in_the_slots_that_it_kept_and_the_conversation_goes_on() {
    let mut conversation = conversation(parts(), None);
    conversation.take(customer("panic")).unwrap();
    let failed: Vec<_> = Slot::ALL.iter().map(|slot| (*slot, 1, false)).collect();
    assert_eq!(slots(&told(&mut conversation).await), failed);
    conversation.take(operator("Минутку")).unwrap();
    assert_eq!(told(&mut conversation).await.len(), 1);
}

#[tokio::test]
async fn every_turn_of_the_operator_is_checked_and_each_promise_told() {
    let mut conversation = conversation(parts(), None);
    conversation.take(operator("Здравствуйте, чем помочь?")).unwrap();
    let nothing = promised(told(&mut conversation).await);
    let [(1, Ok(advice))] = nothing.as_slice() else { panic!("{nothing:?}") };
    assert_eq!((advice.promises.len(), advice.verdict), (0, PromiseVerdict::Allowed));

    for text in ["Так", "Вернём вам комиссию 50 000 рублей", "Смотрю", "Вернём вам комиссию 300 рублей"]
    {
        conversation.take(operator(text)).unwrap();
    }
    let found = promised(told(&mut conversation).await);
    let found: Vec<_> = found.iter().map(|(revision, advice)| (*revision, advice.as_ref().unwrap())).collect();
    let turns: Vec<_> = found.iter().map(|(revision, advice)| (*revision, advice.turn, advice.verdict)).collect();
    let (over, within) = (PromiseVerdict::NeedsSupervisor, PromiseVerdict::Allowed);
    assert_eq!(
        turns,
        [(3, 2, over), (4, 3, within), (5, 4, within)],
        "a turn without promises is no news after another"
    );
    assert_eq!(found[0].1.promises[0].reasons, [PromiseReason::AmountAbove]);
    assert_eq!(found[2].1.promises[0].gesture_id.as_deref(), Some("refund_fee"));
}

#[tokio::test]
async fn a_promise_that_depends_on_the_past_is_not_called_allowed_while_the_past_is_unknown() {
    let store = Arc::new(StubStore::default());
    let known = |customer_id| conversation(AssistParts { cases: store.clone(), ..parts() }, customer_id);
    let check = async |customer_id, text: &str| {
        let mut conversation = known(customer_id);
        conversation.take(operator(text)).unwrap();
        promised(told(&mut conversation).await).remove(0).1
    };
    let within = "Вернём вам комиссию 300 рублей";
    assert_eq!(check(None, within).await.unwrap().verdict, PromiseVerdict::Allowed);
    let again = check(Some("k"), within).await.unwrap();
    assert_eq!(again.promises[0].reasons, [PromiseReason::TimesUsedUp]);
    store.broken.store(true, Ordering::SeqCst);
    assert!(matches!(check(Some("k"), within).await, Err(SlotError::Cases(_))));
    let over = check(Some("k"), "Вернём вам комиссию 50 000 рублей").await.unwrap();
    assert_eq!(over.promises[0].reasons, [PromiseReason::AmountAbove], "that is known all the same");
    assert_eq!(check(Some("k"), "Смотрю").await.unwrap().promises, []);
}

#[tokio::test]
async fn turns_over_a_limit_are_refused_and_the_rest_stays() {
    let limits = LiveLimits { max_turns: 2, max_text_chars: 10, ..LIMITS };
    let mut conversation = Conversation::new(Arc::new(Assistant::new(parts())), start(None), limits);
    assert_eq!(conversation.take(customer("одиннадцать")), Err(TurnRefused::TooLong { most: 10 }));
    conversation.take(customer("комиссия")).unwrap();
    assert_eq!(conversation.take(operator("три")), Err(TurnRefused::TooLong { most: 10 }));
    conversation.take(operator("да")).unwrap();
    assert_eq!(conversation.take(customer("")), Err(TurnRefused::TooMany { most: 2 }));
    let found = told(&mut conversation).await;
    assert_eq!((slots(&found).len(), slots(&found)[0].1), (Slot::ALL.len(), 2));
}

#[tokio::test]
async fn a_deadline_of_the_whole_bounds_each_suggestion() {
    let limits = LiveLimits { end: Some(Instant::now()), ..LIMITS };
    let mut conversation = Conversation::new(Arc::new(Assistant::new(parts())), start(None), limits);
    conversation.take(customer("wait")).unwrap();
    let found = slots(&told(&mut conversation).await);
    assert!(found.contains(&(Slot::Tags, 1, false)), "{found:?}");
}

/// Writes once it may.
struct HeldWriter {
    begun: AtomicUsize,
    dropped: Arc<AtomicUsize>,
    may: Semaphore,
    panics: AtomicBool,
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Writer for HeldWriter {
    async fn draft(&self, _: DraftBrief, _: Instant) -> Result<String, WriterError> {
        let _counted = Counted(self.dropped.clone());
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.may.acquire().await.unwrap().forget();
        assert!(!self.panics.load(Ordering::SeqCst), "panicked on purpose");
        Ok(format!("Здравствуйте! Это черновик ответа номер {}", self.begun.load(Ordering::SeqCst)))
    }

    async fn note(&self, _: NoteBrief, _: Instant) -> Result<WrittenNote, WriterError> {
        Err(WriterError::Failed("no note is wanted".into()))
    }

    async fn review(&self, _: ReviewBrief, _: Instant) -> Result<Vec<WrittenPoint>, WriterError> {
        Err(WriterError::Failed("no review is wanted".into()))
    }
}

fn held_writer() -> Arc<HeldWriter> {
    Arc::new(HeldWriter {
        begun: AtomicUsize::new(0),
        dropped: Arc::default(),
        may: Semaphore::new(0),
        panics: AtomicBool::new(false),
    })
}

/// What is told until the writer has begun so often.
async fn told_until_begun(conversation: &mut Conversation, writer: &HeldWriter, times: usize) -> Vec<LiveOutcome> {
    let mut told = Vec::new();
    while writer.begun.load(Ordering::SeqCst) < times {
        if let Ok(outcome) = tokio::time::timeout(Duration::from_millis(5), conversation.next()).await {
            told.extend(outcome);
        }
    }
    told
}

fn written(told: &[LiveOutcome]) -> Vec<(u32, DraftSource)> {
    let drafts = told.iter().filter_map(|outcome| match &outcome.content {
        LiveContent::Suggestion(SlotOutcome { result: Ok(SlotContent::Draft(draft)), .. }) => {
            Some((outcome.revision, draft.source))
        }
        _ => None,
    });
    drafts.collect()
}

#[tokio::test]
async fn nothing_waits_for_the_language_model_and_what_it_writes_too_late_is_dropped() {
    let writer = held_writer();
    let mut conversation = conversation(AssistParts { writer: Some(writer.clone()), ..parts() }, None);
    conversation.take(customer(APPEAL)).unwrap();
    let first = told_until_begun(&mut conversation, &writer, 1).await;
    assert_eq!(slots(&first).len(), Slot::ALL.len(), "all slots came while the model writes");
    assert_eq!(written(&first), [(1, DraftSource::Template)]);

    conversation.take(operator("Минутку")).unwrap();
    assert_eq!(writer.dropped.load(Ordering::SeqCst), 0, "an operator who gains time still wants the draft");
    conversation.take(customer("И верните за прошлый месяц")).unwrap();
    assert_eq!(writer.dropped.load(Ordering::SeqCst), 1, "the draft does not answer the last words");
    writer.may.add_permits(10);
    let then = told(&mut conversation).await;
    let drafts = written(&then);
    assert_eq!(drafts.last(), Some(&(3, DraftSource::Model)), "{drafts:?}");
    assert!(drafts.iter().all(|(revision, _)| *revision == 3), "{drafts:?}");

    writer.panics.store(true, Ordering::SeqCst);
    conversation.take(customer("Алло")).unwrap();
    let last = told(&mut conversation).await;
    assert!(slots(&last).contains(&(Slot::Draft, 4, false)), "{last:?}");
}
