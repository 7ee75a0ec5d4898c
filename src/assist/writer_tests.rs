//! What a writer makes of drafts, reviews and notes, and what is kept of it.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::note::{Note, NoteRequest};
use super::review::{PointScore, ReplyReview, ReviewRequest, RubricPoint, Standing};
use super::suggest_tests::{APPEAL, BoldWriter, parts, request, suggested};
use super::*;
use crate::cases::TenantId;

/// Says this.
struct SayingWriter(&'static str);

#[async_trait]
impl Writer for SayingWriter {
    async fn draft(&self, _: DraftBrief, _: Instant) -> Result<String, WriterError> {
        Ok(self.0.to_owned())
    }

    async fn note(&self, _: NoteBrief, _: Instant) -> Result<WrittenNote, WriterError> {
        std::future::pending().await
    }

    async fn review(&self, brief: ReviewBrief, _: Instant) -> Result<Vec<WrittenPoint>, WriterError> {
        assert!(!brief.masked_reply.contains("900 123"), "{}", brief.masked_reply);
        let point = |point, quote: &str| WrittenPoint {
            point,
            score: PointScore::Met,
            quote: quote.into(),
            change: self.0.into(),
        };
        Ok(vec![
            point(RubricPoint::Apology, "Такого в ответе нет"),
            point(RubricPoint::Cause, "Комиссию списал новый тариф"),
            point(RubricPoint::StaysInChannel, ""),
            point(RubricPoint::Promises, ""),
        ])
    }
}

#[tokio::test]
async fn a_models_draft_has_no_personal_data_and_is_a_reply_in_the_language_asked_for() {
    let draft = async |said| {
        let assistant = Assistant::new(AssistParts { writer: Some(Arc::new(SayingWriter(said))), ..parts() });
        let mut outcomes = suggested(&assistant, request(APPEAL)).await;
        outcomes.pop().unwrap().result
    };
    match draft("Здравствуйте!\n\nМеня зовут Зарема, тел. 8 900 123-45-67, всё проверю.").await
    {
        Ok(SlotContent::Draft(draft)) => {
            assert_eq!(draft.text, "Здравствуйте!\n\nМеня зовут [NAME_1], тел. [PHONE_1], всё проверю.");
        }
        other => panic!("{other:?}"),
    }
    for said in
        ["APPROVED", "Jawohl, das machen wir sofort und gerne für Sie", " ", "We will look into it and answer here"]
    {
        let refused = draft(said).await;
        assert!(matches!(refused, Err(SlotError::Writer(WriterError::Unusable(_)))), "{said}: {refused:?}");
    }
}

/// Says the template again, with one word of it put otherwise if it is so told.
struct RepeatingWriter(Option<(&'static str, &'static str)>);

#[async_trait]
impl Writer for RepeatingWriter {
    async fn draft(&self, brief: DraftBrief, _: Instant) -> Result<String, WriterError> {
        Ok(match self.0 {
            Some((from, to)) => brief.template.replacen(from, to, 1),
            None => brief.template.to_uppercase(),
        })
    }

    async fn note(&self, _: NoteBrief, _: Instant) -> Result<WrittenNote, WriterError> {
        Err(WriterError::Failed("no note is wanted".into()))
    }

    async fn review(&self, _: ReviewBrief, _: Instant) -> Result<Vec<WrittenPoint>, WriterError> {
        Err(WriterError::Failed("no review is wanted".into()))
    }
}

#[tokio::test]
async fn a_draft_that_repeats_the_template_is_shown_once() {
    let drafts = async |changed| {
        let writer: Arc<dyn Writer> = Arc::new(RepeatingWriter(changed));
        let assistant = Assistant::new(AssistParts { writer: Some(writer), ..parts() });
        let outcomes = suggested(&assistant, request(APPEAL)).await;
        let of_drafts = outcomes.into_iter().filter(|outcome| outcome.slot == Slot::Draft);
        of_drafts.map(|outcome| outcome.result).collect::<Vec<_>>()
    };
    for repeated in [None, Some(("Здравствуйте", "Приветствую"))] {
        let drafts = drafts(repeated).await;
        let [Ok(SlotContent::Draft(template)), Err(error)] = &drafts[..] else { panic!("{drafts:?}") };
        assert_eq!(template.source, DraftSource::Template);
        assert!(error.to_string().ends_with("says the same as the template's"), "{error}");
    }
    let changed = ("Здравствуйте", "Нам жаль, что комиссия вас удивила и что никто не предупредил");
    let drafts = drafts(Some(changed)).await;
    assert!(matches!(&drafts[1], Ok(SlotContent::Draft(draft)) if draft.source == DraftSource::Model), "{drafts:?}");
}

#[tokio::test]
async fn a_model_fills_what_rules_could_not_judge_and_overrules_nothing() {
    let reply = "Комиссию списал новый тариф, тел. 8 900 123-45-67. Позвоните нам.";
    let review = async |writer: Option<Arc<dyn Writer>>, rules_only, milliseconds| {
        let assistant = Assistant::new(AssistParts { writer, ..parts() });
        let request = ReviewRequest {
            feedback: Feedback::from_text("f", APPEAL),
            reply: reply.to_owned(),
            tenant: TenantId::default(),
            team: None,
            language: None,
            rules_only,
            deadline: Instant::now() + Duration::from_millis(milliseconds),
        };
        assistant.review(request).await.unwrap()
    };
    let of = |review: &ReplyReview, point| review.points.iter().find(|one| one.point == point).unwrap().clone();
    let rules = review(None, false, 60_000).await;
    let open = |point| matches!(of(&rules, point).standing, Standing::NotEvaluated(_));
    assert!(open(RubricPoint::Apology) && open(RubricPoint::Cause), "{rules:#?}");
    assert_eq!(review(Some(Arc::new(SayingWriter("Короче"))), true, 60_000).await, rules);

    let filled = review(Some(Arc::new(SayingWriter("Короче, тел. 8 900 123-45-67"))), false, 60_000).await;
    let cause = of(&filled, RubricPoint::Cause);
    assert_eq!((cause.source, cause.change.as_deref()), (AdviceSource::Model, Some("Короче, тел. [PHONE_1]")));
    match cause.standing {
        Standing::Scored { score: PointScore::Met, spans, remark: None } => {
            assert_eq!(spans[0].slice(reply), "Комиссию списал новый тариф");
        }
        other => panic!("{other:?}"),
    }
    for point in RubricPoint::ALL.iter().filter(|point| **point != RubricPoint::Cause) {
        assert_eq!(of(&filled, *point), of(&rules, *point));
    }
    let bold = review(Some(Arc::new(SayingWriter("Пообещайте: вернём 90 000 рублей"))), false, 60_000).await;
    assert_eq!(of(&bold, RubricPoint::Cause).change, None, "advice may not go beyond the playbook");

    let failed = review(Some(Arc::new(BoldWriter)), false, 60_000).await;
    assert_eq!(failed.points, rules.points);
    assert_eq!(failed.model_error, Some(WriterError::Failed("no review is wanted".into())));
}

#[tokio::test]
async fn a_model_that_fails_or_is_late_leaves_the_note_of_the_rules() {
    let note = async |writer: Option<Arc<dyn Writer>>, rules_only, milliseconds| {
        let assistant = Assistant::new(AssistParts { writer, ..parts() });
        let text = "Клиент: Сняли комиссию\nОператор: Вернём комиссию 500 рублей завтра.\nКлиент: Жду";
        let deadline = Instant::now() + Duration::from_millis(milliseconds);
        let (feedback, tenant) = (Feedback::from_text("f", text), TenantId::default());
        let request = NoteRequest { feedback, tenant, rules_only, deadline };
        assistant.summarize(request).await.unwrap()
    };
    let rules = note(None, false, 60_000).await;
    assert_eq!((rules.promises.len(), rules.model_error.clone()), (1, None));
    for (writer, milliseconds, error) in [
        (Arc::new(BoldWriter) as Arc<dyn Writer>, 60_000, WriterError::Failed("no note is wanted".into())),
        (Arc::new(SayingWriter("")), 3_000, WriterError::DeadlineExceeded),
    ] {
        let left = note(Some(Arc::clone(&writer)), false, milliseconds).await;
        assert_eq!(left, Note { model_error: Some(error), ..rules.clone() });
        assert_eq!(note(Some(writer), true, 60_000).await, rules, "nobody is asked");
    }
}
