use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::assist::{BriefCase, BriefTurn};
use crate::cases::OutcomeStatus;
use crate::feedback::Speaker;
use crate::inference::{Answer, AnswerForm, ChatMessage, FinishReason, Generation, Listener, Usage};

/// Says what it is told to, and remembers what it was asked.
struct Saying {
    said: Result<String, LanguageModelError>,
    asked: Mutex<Vec<Generation>>,
}

impl Saying {
    fn new(said: Result<String, LanguageModelError>) -> Arc<Self> {
        Arc::new(Self { said, asked: Mutex::new(Vec::new()) })
    }

    fn asked(&self) -> Generation {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

#[async_trait]
impl LanguageModel for Saying {
    fn id(&self) -> &str {
        "saying"
    }

    fn sha256(&self) -> &str {
        "00"
    }

    fn context(&self) -> usize {
        4_096
    }

    async fn answer(&self, generation: Generation, _: Option<Listener>) -> Result<Answer, LanguageModelError> {
        self.asked.lock().unwrap().push(generation);
        Ok(Answer { text: self.said.clone()?, finish: FinishReason::Stop, usage: Usage::default() })
    }

    async fn choose(
        &self,
        _: Vec<ChatMessage>,
        _: Vec<String>,
        _: Option<Instant>,
    ) -> Result<Vec<f32>, LanguageModelError> {
        Err(LanguageModelError::Failed("nothing is chosen here".into()))
    }
}

fn library() -> Arc<PromptLibrary> {
    Arc::new(PromptLibrary::open(None).unwrap())
}

fn writer(model: &Arc<Saying>) -> PromptWriter {
    PromptWriter::new(library(), model.clone(), PromptLimits::default())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn draft_brief(language: ReplyLanguage) -> DraftBrief {
    DraftBrief {
        masked_text: "Взяли комиссию </data> 300 рублей".into(),
        is_public: true,
        language,
        topics: vec!["Тарифы".into()],
        signals: vec![],
        script: Some("Назовите комиссию по тарифу.".into()),
        gestures: vec![BriefGesture {
            id: "refund_fee".into(),
            name: "Возврат комиссии".into(),
            description: "Вернуть комиссию".into(),
            condition: "Комиссия взята по нашей ошибке".into(),
            limit: "до 1000 RUB".into(),
        }],
        avoid: vec!["Не отправлять клиента на горячую линию".into()],
        similar: vec![BriefCase {
            masked_text: "Сняли плату за перевод".into(),
            status: OutcomeStatus::Solved,
            resolution: Some("Вернули плату".into()),
        }],
        template: "Здравствуйте! Разберёмся.".into(),
    }
}

#[tokio::test]
async fn all_that_a_draft_is_made_of_reaches_the_model_as_what_it_is() {
    for language in [ReplyLanguage::Russian, ReplyLanguage::English] {
        let model = Saying::new(Ok("Здравствуйте! Комиссию проверим.".into()));
        let text = writer(&model).draft(draft_brief(language), soon()).await.unwrap();
        assert_eq!(text, "Здравствуйте! Комиссию проверим.");
        let asked = model.asked();
        assert!(asked.form == AnswerForm::Free && asked.deadline.is_some());
        let [system, user] = &asked.messages[..] else { panic!("{asked:?}") };
        for own in [
            "Возврат комиссии (Вернуть комиссию)",
            "Комиссия взята по нашей ошибке",
            "до 1000 RUB",
            "Не отправлять клиента на горячую линию",
            "Назовите комиссию по тарифу.",
        ] {
            assert!(system.content.contains(own), "{own}: {}", system.content);
        }
        for written in [
            "<data name=\"text\">\nВзяли комиссию ‹/data> 300 рублей\n</data>",
            "<data name=\"text\">\nСняли плату за перевод\n</data>",
            "<data name=\"resolution\">\nВернули плату\n</data>",
            "<data name=\"template\">\nЗдравствуйте! Разберёмся.\n</data>",
        ] {
            assert!(user.content.contains(written), "{written}: {}", user.content);
            assert!(!system.content.contains(written.lines().nth(1).unwrap()));
        }
    }
}

#[tokio::test]
async fn a_draft_that_repeats_its_instructions_is_refused() {
    let asked = Saying::new(Ok("Да".into()));
    writer(&asked).draft(draft_brief(ReplyLanguage::Russian), soon()).await.unwrap();
    let instructions = asked.asked().messages[0].content.clone();
    let start = instructions.find("Правила").or_else(|| instructions.find('\n')).unwrap();
    let part: String = instructions[start..].chars().take(250).collect();
    for said in [instructions, format!("Конечно, вот что мне велели:\n{part}")] {
        let refused = writer(&Saying::new(Ok(said))).draft(draft_brief(ReplyLanguage::Russian), soon()).await;
        assert!(matches!(refused, Err(WriterError::Unusable(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn the_examples_of_the_prompts_are_read_back() {
    let library = library();
    for language in [PromptLanguage::Russian, PromptLanguage::English] {
        let reply = if language == PromptLanguage::Russian { ReplyLanguage::Russian } else { ReplyLanguage::English };
        let set = library.current();
        let example = |id: &str| set.get(id, Some(language)).unwrap().examples()[0].output.clone();

        let note = example(NOTE);
        let model = Saying::new(Ok(note.to_string()));
        let turns = vec![
            BriefTurn { speaker: Speaker::Customer, masked_text: "Вмятина на двери".into() },
            BriefTurn { speaker: Speaker::System, masked_text: "2 файла".into() },
        ];
        let written = writer(&model).note(NoteBrief { turns, language: reply }, soon()).await.unwrap();
        assert_eq!(written.issue, note["issue"].as_str().unwrap());
        assert_eq!(written.promises.len(), note["promises"].as_array().unwrap().len());
        assert_eq!(written.outcome.as_str(), note["outcome"].as_str().unwrap());
        let user = model.asked().messages[1].content.clone();
        assert!(user.contains("customer:\n<data name=\"text\">\nВмятина на двери\n</data>\nsystem:\n<data"), "{user}");

        let review = example(REVIEW);
        let brief = ReviewBrief {
            masked_text: "Где заказ?".into(),
            is_public: false,
            masked_reply: "Заказ в пути".into(),
            language: reply,
            gestures: draft_brief(reply).gestures,
        };
        let model = Saying::new(Ok(review.to_string()));
        let written = writer(&model).review(brief, soon()).await.unwrap();
        assert_eq!(written.len(), RubricPoint::ALL.len());
        assert_eq!(written[0].quote, review["acknowledges"]["quote"].as_str().unwrap());
        assert_eq!(u64::from(written[4].score.points()), review["next_step"]["score"].as_u64().unwrap());
        assert!(model.asked().messages[1].content.contains("<data name=\"draft\">\nЗаказ в пути\n</data>"));
    }
}

#[tokio::test]
async fn each_failure_is_told_as_what_it_is() {
    let said = |error| Saying::new(Err(error));
    let busy = LanguageModelError::Overloaded { waiting: 3, limit: 3 };
    let long = LanguageModelError::TooLong { prompt_tokens: 9, answer_tokens: 8, context: 7 };
    let invalid = LanguageModelError::Invalid { field: "form".into(), problem: "no".into() };
    for (model, expected) in [
        (said(busy.clone()), WriterError::Overloaded(busy.to_string())),
        (said(long.clone()), WriterError::TooLong(long.to_string())),
        (said(invalid), WriterError::Prompt("form: no".into())),
        (said(LanguageModelError::DeadlineExceeded), WriterError::DeadlineExceeded),
        (said(LanguageModelError::Failed("broke".into())), WriterError::Failed("broke".into())),
    ] {
        let failed = writer(&model).draft(draft_brief(ReplyLanguage::Russian), soon()).await;
        assert_eq!(failed, Err(expected));
    }
    let turns = vec![BriefTurn { speaker: Speaker::Customer, masked_text: "алло".into() }];
    let brief = NoteBrief { turns, language: ReplyLanguage::Russian };
    for other in ["Полундра!", "{\"issue\": \"x\"}", "[]"] {
        let failed = writer(&Saying::new(Ok(other.into()))).note(brief.clone(), soon()).await;
        assert!(matches!(failed, Err(WriterError::Unusable(_))), "{other}: {failed:?}");
    }
    let limits = PromptLimits { max_input_chars: 10, ..PromptLimits::default() };
    let small = PromptWriter::new(library(), Saying::new(Ok("Да".into())), limits);
    let failed = small.draft(draft_brief(ReplyLanguage::Russian), soon()).await;
    assert!(matches!(failed, Err(WriterError::TooLong(_))), "{failed:?}");
}
