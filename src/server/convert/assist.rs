//! Suggestions on their way out, and what operators did with them on its way in.

use tonic::Status;
use tonic_types::pb;

use super::feedback::{check_id, check_text};
use super::outcomes::similar_case;
use super::{Faults, enums};
use crate::assist::playbook::{Avoidance, Playbook, ReplyLanguage, limit_in_words};
use crate::assist::promises::{Amount, Promise, Unit};
use crate::assist::review::{PointReview, Remark, ReplyReview, Standing};
use crate::assist::{AvoidedWords, Draft, OfferedGesture, ScriptAdvice, SimilarAdvice, SuggestionUse};
use crate::config::LimitsConfig;
use crate::server::wire::v1;
use crate::tags::{TeamId, TopicId};

/// What is asked of suggestions beside the feedback; `path` leads to it in the request, with a dot at its end.
pub(in crate::server) fn suggestion_bounds(
    team_id: String,
    language: i32,
    path: &str,
    limits: &LimitsConfig,
) -> Result<(Option<TeamId>, Option<ReplyLanguage>), Status> {
    let mut faults = Faults::default();
    if !team_id.is_empty() {
        check_id(&team_id, &format!("{path}team_id"), limits, &mut faults);
    }
    let language = enums::optional::<v1::ReplyLanguage>(language, &format!("{path}language"), &mut faults);
    faults.or(((!team_id.is_empty()).then(|| TeamId::new(team_id)), language))
}

/// Checks a reply that is to be judged.
///
/// # Errors
/// INVALID_ARGUMENT for one that is empty or too long.
pub(in crate::server) fn reply(text: String, limits: &LimitsConfig) -> Result<String, Status> {
    let mut faults = Faults::default();
    check_text(&text, "reply", limits, &mut faults);
    faults.or(text)
}

/// Checks what an operator did with a gesture.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn suggestion_use(
    message: v1::RecordSuggestionUseRequest,
    playbook: &Playbook,
    knows_topic: impl Fn(&TopicId) -> bool,
    limits: &LimitsConfig,
) -> Result<(String, Vec<TopicId>, SuggestionUse), Status> {
    let mut faults = Faults::default();
    let v1::RecordSuggestionUseRequest { gesture_id, topic_ids, r#use, request_id: _ } = message;
    if playbook.gesture(&gesture_id).is_none() {
        faults.add("gesture_id", "must be a gesture of the playbook");
    }
    if topic_ids.len() > limits.max_filter_values {
        let most = limits.max_filter_values;
        let problem = format!("must be at most {most} ids (limits.max_filter_values), not {}", topic_ids.len());
        return Err(Faults::one("topic_ids", problem));
    }
    let topics: Vec<TopicId> = topic_ids.into_iter().map(TopicId::new).collect();
    for (index, topic) in topics.iter().enumerate() {
        if !knows_topic(topic) {
            faults.add(format!("topic_ids[{index}]"), "must be a topic of the taxonomy");
        }
    }
    match enums::required::<v1::SuggestionUse>(r#use, "use", &mut faults) {
        Some(done) => faults.or((gesture_id, topics, done)),
        None => Err(faults.or(()).err().unwrap_or_else(|| Faults::one("use", "must be given"))),
    }
}

impl From<ScriptAdvice> for v1::ScriptAdvice {
    fn from(advice: ScriptAdvice) -> Self {
        let ScriptAdvice { cover, intent_name, script } = advice;
        Self {
            covered: cover.covered,
            nearest_intent_id: cover.nearest_intent_id,
            nearest_intent_name: intent_name,
            nearest_example: cover.nearest_example,
            distance: cover.distance,
            threshold: cover.threshold,
            script,
            basis: v1::DistanceBasis::from(cover.basis).into(),
            nearer_for_signal_ids: cover.nearer_for.into_iter().map(|signal| signal.to_string()).collect(),
        }
    }
}

/// Similar cases; `topics` are those of what was said.
pub(in crate::server) fn similar_advice(advice: SimilarAdvice, topics: &[TopicId]) -> v1::SimilarAdvice {
    v1::SimilarAdvice {
        cases: advice.cases.into_iter().map(|hit| similar_case(hit, topics)).collect(),
        outcomes: advice.outcomes.into_iter().map(Into::into).collect(),
    }
}

/// Gestures, in one language.
pub(in crate::server) fn gesture_advice(
    offers: Vec<OfferedGesture>,
    playbook: &Playbook,
    language: ReplyLanguage,
) -> v1::GestureAdvice {
    let offer = |offer: OfferedGesture| v1::GestureOffer {
        name: offer.gesture.name.get(language).to_owned(),
        description: offer.gesture.description.get(language).to_owned(),
        condition: offer.gesture.condition.get(language).to_owned(),
        limit: limit_in_words(&offer.gesture, playbook.currency(), language),
        cost: offer.gesture.cost,
        status: v1::OfferStatus::from(offer.status).into(),
        reasons: offer.reasons.iter().map(|reason| v1::PromiseReason::from(*reason).into()).collect(),
        score: offer.score,
        topic_ids: offer.topics.iter().map(ToString::to_string).collect(),
        signal_ids: offer.signals.iter().map(ToString::to_string).collect(),
        similar_case_count: offer.similar_cases,
        similar_solved_count: offer.similar_solved,
        acceptance_rate: offer.uses.rate() as f32,
        gesture_id: offer.gesture.id,
    };
    let playbook_version = playbook.version().to_string();
    v1::GestureAdvice { offers: offers.into_iter().map(offer).collect(), playbook_version }
}

/// What to avoid, in one language.
pub(in crate::server) fn avoid_advice(avoidances: Vec<Avoidance>, language: ReplyLanguage) -> v1::AvoidAdvice {
    let avoidance = |avoidance: Avoidance| v1::Avoidance {
        text: avoidance.text.get(language).to_owned(),
        why: avoidance.why.get(language).to_owned(),
        id: avoidance.id,
    };
    v1::AvoidAdvice { avoidances: avoidances.into_iter().map(avoidance).collect() }
}

impl From<Draft> for v1::ReplyDraft {
    fn from(draft: Draft) -> Self {
        Self {
            text: draft.text,
            language: v1::ReplyLanguage::from(draft.language).into(),
            source: v1::DraftSource::from(draft.source).into(),
            template_id: draft.template_id,
            promises: draft.promises.into_iter().map(Into::into).collect(),
            verdict: v1::PromiseVerdict::from(draft.verdict).into(),
            avoided: draft.avoided.into_iter().map(avoided_words).collect(),
        }
    }
}

/// A judged reply; `model_error` is its error as a status.
pub(in crate::server) fn reply_review(
    review: ReplyReview,
    playbook: &Playbook,
    model_error: Option<pb::Status>,
) -> v1::ReviewReplyResponse {
    let score = review.share();
    let language = review.language;
    v1::ReviewReplyResponse {
        points: review.points.into_iter().map(|point| point_review(point, language)).collect(),
        score,
        promises: review.promises.into_iter().map(Into::into).collect(),
        verdict: v1::PromiseVerdict::from(review.verdict).into(),
        avoided: review.avoided.into_iter().map(avoided_words).collect(),
        playbook_version: playbook.version().to_string(),
        model_error,
    }
}

fn point_review(review: PointReview, language: ReplyLanguage) -> v1::PointReview {
    let (state, score, spans, remark) = match review.standing {
        Standing::Scored { score, spans, remark } => (v1::PointState::Scored, Some(score), spans, remark),
        Standing::DoesNotApply => (v1::PointState::DoesNotApply, None, Vec::new(), None),
        Standing::NotEvaluated(remark) => (v1::PointState::NotEvaluated, None, Vec::new(), Some(remark)),
    };
    v1::PointReview {
        point: v1::RubricPoint::from(review.point).into(),
        state: state.into(),
        score: score.map(|score| score.points().into()),
        spans: spans.into_iter().map(Into::into).collect(),
        remark_id: remark.map(Remark::as_str).unwrap_or_default().to_owned(),
        remark: review.change.or(remark.map(|remark| remark.text(language).to_owned())).unwrap_or_default(),
        source: v1::AdviceSource::from(review.source).into(),
    }
}

fn avoided_words(words: AvoidedWords) -> v1::AvoidedWords {
    v1::AvoidedWords { avoidance_id: words.avoidance_id, span: Some(words.span.into()) }
}

impl From<Promise> for v1::Promise {
    fn from(promise: Promise) -> Self {
        let unit = |amount: &Amount| match &amount.unit {
            Unit::Money(code) => code.clone(),
            Unit::BareMoney => String::new(),
            Unit::Points => "points".to_owned(),
            Unit::Percent => "percent".to_owned(),
        };
        Self {
            kind: v1::PromiseKind::from(promise.kind).into(),
            span: Some(promise.span.into()),
            gesture_id: promise.gesture_id.unwrap_or_default(),
            unit: promise.amount.as_ref().map(unit).unwrap_or_default(),
            amount: promise.amount.map(|amount| amount.value),
            term: promise.term.unwrap_or_default(),
            verdict: v1::PromiseVerdict::from(promise.verdict).into(),
            reasons: promise.reasons.into_iter().map(|reason| v1::PromiseReason::from(reason).into()).collect(),
        }
    }
}
