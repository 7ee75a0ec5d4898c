//! The writer of assist, over the prompts and a language model: what assist tells becomes the input of a prompt, and the answer, which
//! the prompt's schema held, becomes plain data again.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::assist::note::NoteOutcome;
use crate::assist::playbook::ReplyLanguage;
use crate::assist::review::{PointScore, RubricPoint};
use crate::assist::{
    BriefGesture, DraftBrief, NoteBrief, ReviewBrief, Writer, WriterError, WrittenNote, WrittenPoint, WrittenPromise,
    WrittenTask,
};
use crate::inference::{LanguageModel, LanguageModelError};
use crate::prompts::{
    AnswerContent, Prompt, PromptError, PromptLanguage, PromptLibrary, PromptLimits, PromptRunner, RenderedPrompt,
    RunError, RunOptions,
};

/// The prompt that drafts are written by.
const DRAFT: &str = "draft-reply";
/// The prompt that notes are written by.
const NOTE: &str = "summarise-dialogue";
/// The prompt that replies are judged by.
const REVIEW: &str = "review-reply";

/// Letters and digits in a row, shared with the instructions, that show that a draft repeats them.
const REPEATED_CHARS: usize = 90;

/// Writes by prompts and a model.
pub struct PromptWriter {
    prompts: Arc<PromptLibrary>,
    limits: PromptLimits,
    runner: PromptRunner,
}

impl PromptWriter {
    /// A writer with these prompts, as they are when something is to be written, and this model.
    pub fn new(prompts: Arc<PromptLibrary>, model: Arc<dyn LanguageModel>, limits: PromptLimits) -> Self {
        Self { prompts, limits, runner: PromptRunner::new(model, limits) }
    }

    /// The prompt with this input.
    async fn rendered(
        &self,
        id: &'static str,
        language: ReplyLanguage,
        input: Value,
    ) -> Result<RenderedPrompt, WriterError> {
        let (set, limits) = (self.prompts.current(), self.limits);
        let work = move || {
            let prompt: &Arc<Prompt> = set.get(id, Some(of_reply(language)))?;
            prompt.render(&input, &limits)
        };
        let rendered =
            tokio::task::spawn_blocking(work).await.map_err(|error| WriterError::Failed(error.to_string()))?;
        rendered.map_err(|error| of_prompt(id, error))
    }

    async fn answered(&self, rendered: RenderedPrompt, deadline: Instant) -> Result<AnswerContent, WriterError> {
        let options = RunOptions { deadline: Some(deadline), ..RunOptions::default() };
        Ok(self.runner.run(rendered, options, None).await.map_err(of_run)?.content)
    }

    /// The answer of a prompt that has a schema.
    async fn data<T: for<'de> Deserialize<'de>>(
        &self,
        id: &'static str,
        language: ReplyLanguage,
        input: Value,
        deadline: Instant,
    ) -> Result<T, WriterError> {
        let rendered = self.rendered(id, language, input).await?;
        match self.answered(rendered, deadline).await? {
            AnswerContent::Json(value) => serde_json::from_value(value).map_err(|error| {
                WriterError::Prompt(format!("prompt {id} asks for another answer than otklik reads: {error}"))
            }),
            AnswerContent::Text(_) => {
                Err(WriterError::Prompt(format!("prompt {id} asks for free text; it must have an output schema")))
            }
        }
    }

    /// Refuses texts that a model can't be told whole.
    fn check_length<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Result<(), WriterError> {
        let (chars, most) = (texts.map(|text| text.chars().count()).sum::<usize>(), self.limits.max_input_chars);
        if chars > most {
            let problem = format!("it has {chars} characters; at most {most} are allowed (prompts.max_input_chars)");
            return Err(WriterError::TooLong(problem));
        }
        Ok(())
    }
}

#[async_trait]
impl Writer for PromptWriter {
    async fn draft(&self, brief: DraftBrief, deadline: Instant) -> Result<String, WriterError> {
        self.check_length(std::iter::once(brief.masked_text.as_str()))?;
        let rendered = self.rendered(DRAFT, brief.language, draft_input(&brief)).await?;
        // The same prompt with nothing in it: what it says in any case are instructions.
        let bare = self.rendered(DRAFT, brief.language, json!({"text": "-"})).await?;
        let AnswerContent::Text(text) = self.answered(rendered, deadline).await? else {
            return Err(WriterError::Prompt(format!(
                "prompt {DRAFT} has an output schema; its answer must be free text"
            )));
        };
        let instructions: String = bare.messages.iter().map(|message| message.content.as_str()).collect();
        let work = move || if repeats(&text, &instructions) { None } else { Some(text) };
        let text = tokio::task::spawn_blocking(work).await.map_err(|error| WriterError::Failed(error.to_string()))?;
        text.ok_or_else(|| WriterError::Unusable("it repeats the instructions that it was given".to_owned()))
    }

    async fn note(&self, brief: NoteBrief, deadline: Instant) -> Result<WrittenNote, WriterError> {
        self.check_length(brief.turns.iter().map(|turn| turn.masked_text.as_str()))?;
        let turns = brief.turns.iter().map(|turn| json!({"speaker": turn.speaker.as_str(), "text": turn.masked_text}));
        let input = json!({"turns": turns.collect::<Vec<_>>()});
        let told: ToldNote = self.data(NOTE, brief.language, input, deadline).await?;
        Ok(told.into())
    }

    async fn review(&self, brief: ReviewBrief, deadline: Instant) -> Result<Vec<WrittenPoint>, WriterError> {
        self.check_length([brief.masked_text.as_str(), brief.masked_reply.as_str()].into_iter())?;
        let input = json!({
            "text": brief.masked_text,
            "draft": brief.masked_reply,
            "public": brief.is_public,
            "gestures": gestures(&brief.gestures),
        });
        let told: ToldReview = self.data(REVIEW, brief.language, input, deadline).await?;
        Ok(told.into())
    }
}

fn of_reply(language: ReplyLanguage) -> PromptLanguage {
    match language {
        ReplyLanguage::Russian => PromptLanguage::Russian,
        ReplyLanguage::English => PromptLanguage::English,
    }
}

/// The input of a draft. What nobody has checked is no fact: none is told.
fn draft_input(brief: &DraftBrief) -> Value {
    let similar = brief.similar.iter().filter(|case| !case.masked_text.trim().is_empty()).map(|case| {
        let mut told = json!({"text": case.masked_text, "status": case.status.as_str()});
        add(&mut told, "resolution", case.resolution.as_deref());
        told
    });
    let mut input = json!({
        "text": brief.masked_text,
        "public": brief.is_public,
        "gestures": gestures(&brief.gestures),
        "avoid": brief.avoid,
        "similar": similar.collect::<Vec<_>>(),
    });
    add(&mut input, "script", brief.script.as_deref());
    add(&mut input, "template", Some(&brief.template));
    input
}

fn gestures(gestures: &[BriefGesture]) -> Vec<Value> {
    let told = gestures.iter().map(|gesture| {
        let name = match gesture.description.as_str() {
            "" => gesture.name.clone(),
            description => format!("{} ({description})", gesture.name),
        };
        let mut told = json!({"name": name});
        add(&mut told, "condition", Some(&gesture.condition));
        add(&mut told, "limit", Some(&gesture.limit));
        told
    });
    told.collect()
}

/// Adds a text, if there is one.
fn add(object: &mut Value, name: &str, text: Option<&str>) {
    if let (Value::Object(fields), Some(text)) = (object, text.filter(|text| !text.trim().is_empty())) {
        fields.insert(name.to_owned(), Value::from(text));
    }
}

/// True if a text has a long run of the instructions' letters and digits.
fn repeats(text: &str, instructions: &str) -> bool {
    let folded = |text: &str| -> Vec<char> {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let instructions: String = folded(instructions).into_iter().collect();
    let text = folded(text);
    // A run of so many holds a whole step of half as many.
    let steps = text.chunks_exact(REPEATED_CHARS / 2);
    steps.map(|step| step.iter().collect::<String>()).any(|step| instructions.contains(&step))
}

fn of_prompt(id: &str, error: PromptError) -> WriterError {
    match error {
        PromptError::Unknown { .. } | PromptError::Language { .. } | PromptError::Template { .. } => {
            WriterError::Prompt(error.to_string())
        }
        PromptError::Input(_) => {
            WriterError::Prompt(format!("prompt {id} does not take what otklik tells it: {error}"))
        }
    }
}

fn of_run(error: RunError) -> WriterError {
    let model = match error {
        RunError::Model(model) => model,
        RunError::Answer(_) => return WriterError::Unusable(error.to_string()),
        RunError::Cancelled | RunError::Interrupted(_) => return WriterError::Failed(error.to_string()),
    };
    match model {
        LanguageModelError::Invalid { .. } => WriterError::Prompt(model.to_string()),
        LanguageModelError::TooLong { .. } => WriterError::TooLong(model.to_string()),
        LanguageModelError::Overloaded { .. } => WriterError::Overloaded(model.to_string()),
        LanguageModelError::DeadlineExceeded => WriterError::DeadlineExceeded,
        LanguageModelError::Failed(reason) => WriterError::Failed(reason),
    }
}

/// An answer to the prompt of notes.
#[derive(Deserialize)]
struct ToldNote {
    issue: String,
    steps: Vec<String>,
    promises: Vec<ToldPromise>,
    outcome: NoteOutcome,
    outcome_note: String,
    left_to_do: Vec<ToldTask>,
}

#[derive(Deserialize)]
struct ToldPromise {
    what: String,
    who: String,
    term: String,
    quote: String,
}

#[derive(Deserialize)]
struct ToldTask {
    what: String,
    who: String,
}

impl From<ToldNote> for WrittenNote {
    fn from(told: ToldNote) -> Self {
        let ToldNote { issue, steps, promises, outcome, outcome_note, left_to_do } = told;
        let promise = |ToldPromise { what, who, term, quote }| WrittenPromise { what, who, term, quote };
        let task = |ToldTask { what, who }| WrittenTask { what, who };
        Self {
            issue,
            steps,
            promises: promises.into_iter().map(promise).collect(),
            outcome,
            outcome_note,
            left_to_do: left_to_do.into_iter().map(task).collect(),
        }
    }
}

/// An answer to the prompt of reviews.
#[derive(Deserialize)]
struct ToldReview {
    acknowledges: ToldPoint,
    apology: ToldPoint,
    cause: ToldPoint,
    solution: ToldPoint,
    next_step: ToldPoint,
    channel: ToldPoint,
    details: ToldPoint,
    readable: ToldPoint,
    polite: ToldPoint,
    plain_no: ToldPoint,
    promises: ToldPoint,
}

#[derive(Deserialize)]
struct ToldPoint {
    quote: String,
    score: u8,
    change: String,
}

impl From<ToldReview> for Vec<WrittenPoint> {
    fn from(told: ToldReview) -> Self {
        let told = [
            (RubricPoint::Acknowledgement, told.acknowledges),
            (RubricPoint::Apology, told.apology),
            (RubricPoint::Cause, told.cause),
            (RubricPoint::Solution, told.solution),
            (RubricPoint::NextStep, told.next_step),
            (RubricPoint::StaysInChannel, told.channel),
            (RubricPoint::AsksForDetails, told.details),
            (RubricPoint::Readability, told.readable),
            (RubricPoint::Politeness, told.polite),
            (RubricPoint::PlainNo, told.plain_no),
            (RubricPoint::Promises, told.promises),
        ];
        let point = |(point, ToldPoint { quote, score, change })| {
            let score = PointScore::ALL.iter().copied().find(|known| known.points() == score)?;
            Some(WrittenPoint { point, score, quote, change })
        };
        told.into_iter().filter_map(point).collect()
    }
}

#[cfg(test)]
mod tests;
