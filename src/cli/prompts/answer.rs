//! `otklik prompts run`: a rendered prompt in, what the language model answers out.
//!
//! On a terminal, free text is shown as the model says it; a pipe gets the checked answer alone.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

use anyhow::Context;
use clap::Args;
use otklik::assembly;
use otklik::config::Config;
use otklik::inference::{Listener, Sampling};
use otklik::prompts::{AnswerContent, PromptRunner, RenderedPrompt, RunOptions};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// The highest temperature.
const MAX_TEMPERATURE: f32 = 100.0;

/// How an answer is made.
#[derive(Debug, Args)]
pub struct AnswerArgs {
    /// Id of a language model that runs here [default: that of models.language_model, or the one behind endpoint.url]
    #[arg(long, value_name = "ID")]
    model: Option<String>,
    /// How freely the model chooses its words, 0 to 100: 0 takes the most probable each time
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = temperature)]
    temperature: f32,
    /// With a temperature, the same seed gives the same answer
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
}

fn temperature(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number| (0.0..=MAX_TEMPERATURE).contains(number));
    number.ok_or_else(|| format!("must be a number from 0 to {MAX_TEMPERATURE}"))
}

impl AnswerArgs {
    fn options(&self) -> RunOptions {
        let sampling = Sampling { temperature: self.temperature, seed: self.seed, ..Sampling::default() };
        RunOptions { sampling, deadline: None }
    }
}

/// Lets the model answer and gives what is left to print.
///
/// # Errors
/// If there is no model, or it gives no answer.
pub fn answer(rendered: RenderedPrompt, args: &AnswerArgs, config: &Config) -> anyhow::Result<String> {
    let mut config = config.clone();
    if args.model.is_some() {
        config.models.language_model.clone_from(&args.model);
        config.endpoint.url = None;
    }
    let model = assembly::open_language_model(&config)?;
    let runner = PromptRunner::new(model, assembly::prompt_limits(&config));
    let runtime = tokio::runtime::Runtime::new().context("the async runtime can't be started")?;
    if rendered.output_schema.is_none() && io::stdout().is_terminal() {
        return runtime.block_on(shown_as_said(&runner, rendered, args.options(), io::stdout()));
    }
    Ok(match runtime.block_on(runner.run(rendered, args.options(), None))?.content {
        AnswerContent::Json(value) => format!("{}\n", serde_json::to_string_pretty(&value)?),
        AnswerContent::Text(text) => format!("{text}\n"),
    })
}

/// Shows free text as it is said, and gives the checked text if it is another, because personal data was masked.
async fn shown_as_said(
    runner: &PromptRunner,
    rendered: RenderedPrompt,
    options: RunOptions,
    mut out: impl Write,
) -> anyhow::Result<String> {
    let (sender, mut receiver) = mpsc::channel(rendered.max_tokens.saturating_add(1));
    // A terminal that stands still has its whole answer at the end.
    let listener: Listener = Box::new(move |piece| match sender.try_send(piece.to_owned()) {
        Err(TrySendError::Closed(_)) => ControlFlow::Break(()),
        Err(TrySendError::Full(_)) | Ok(()) => ControlFlow::Continue(()),
    });
    let out = &mut out;
    let showing = async move {
        let mut shown = String::new();
        while let Some(piece) = receiver.recv().await {
            out.write_all(printable(&piece).as_bytes())?;
            out.flush()?;
            shown.push_str(&piece);
        }
        out.write_all(b"\n")?;
        io::Result::Ok(shown)
    };
    let (answered, shown) = tokio::join!(runner.run(rendered, options, Some(listener)), showing);
    let (shown, answered) = (shown?, answered?);
    Ok(match answered.content {
        AnswerContent::Text(text) if text == shown.trim() => String::new(),
        AnswerContent::Text(text) => format!("\nThe answer with personal data masked:\n{}\n", printable(&text)),
        AnswerContent::Json(value) => format!("{}\n", serde_json::to_string_pretty(&value)?),
    })
}

/// A text without the signs that a terminal takes as commands.
fn printable(text: &str) -> String {
    text.chars().filter(|sign| !sign.is_control() || matches!(sign, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use async_trait::async_trait;
    use otklik::inference::{Answer, ChatMessage, FinishReason, Generation, LanguageModel, LanguageModelError, Usage};
    use otklik::prompts::{PromptLimits, PromptSet};

    use super::*;

    struct Saying(&'static [&'static str]);

    #[async_trait]
    impl LanguageModel for Saying {
        fn id(&self) -> &str {
            "saying"
        }

        fn sha256(&self) -> &str {
            ""
        }

        fn context(&self) -> usize {
            4_096
        }

        async fn answer(&self, _: Generation, listener: Option<Listener>) -> Result<Answer, LanguageModelError> {
            if let Some(mut listener) = listener {
                assert!(self.0.iter().all(|piece| listener(piece).is_continue()));
            }
            Ok(Answer { text: self.0.concat(), finish: FinishReason::Stop, usage: Usage::default() })
        }

        async fn choose(
            &self,
            _: Vec<ChatMessage>,
            _: Vec<String>,
            _: Option<Instant>,
        ) -> Result<Vec<f32>, LanguageModelError> {
            panic!("nobody asks it to choose")
        }
    }

    fn rendered() -> RenderedPrompt {
        let set = PromptSet::built_in().unwrap();
        let prompt = set.get("draft-reply", None).unwrap();
        prompt.render(&prompt.examples()[0].input, &PromptLimits::default()).unwrap()
    }

    async fn shown(pieces: &'static [&'static str]) -> (String, anyhow::Result<String>) {
        let runner = PromptRunner::new(Arc::new(Saying(pieces)), PromptLimits::default());
        let mut out = Vec::new();
        let rest = shown_as_said(&runner, rendered(), RunOptions::default(), &mut out).await;
        (String::from_utf8(out).unwrap(), rest)
    }

    #[tokio::test]
    async fn free_text_is_shown_as_it_is_said_and_once() {
        let (out, rest) = shown(&["Добрый", " \u{1b}[2Jдень!\n"]).await;
        assert_eq!((out.as_str(), rest.unwrap().as_str()), ("Добрый [2Jдень!\n\n", ""));
    }

    #[tokio::test]
    async fn what_was_masked_is_shown_again_and_what_is_no_answer_is_an_error() {
        let (out, rest) = shown(&["Звоните: ", "+7 916 123-45-67"]).await;
        assert_eq!(out, "Звоните: +7 916 123-45-67\n");
        let rest = rest.unwrap();
        assert!(rest.contains("masked:\nЗвоните: [") && !rest.contains("916"), "{rest}");
        let (_, rest) = shown(&[" "]).await;
        assert_eq!(rest.unwrap_err().to_string(), "the answer is empty");
    }

    #[test]
    fn a_temperature_is_a_number_in_its_range() {
        assert_eq!(temperature("0.7"), Ok(0.7));
        for refused in ["-1", "101", "NaN", "warm"] {
            assert!(temperature(refused).unwrap_err().contains("from 0 to 100"), "{refused}");
        }
    }

    #[test]
    fn a_model_that_is_named_is_the_one_that_is_opened() {
        let named = AnswerArgs { model: Some("no-such-model".to_owned()), temperature: 0.0, seed: 0 };
        let told = answer(rendered(), &named, &Config::default()).unwrap_err().to_string();
        assert!(told.contains("no-such-model"), "{told}");
        let told = answer(rendered(), &AnswerArgs { model: None, ..named }, &Config::default()).unwrap_err();
        assert!(told.to_string().contains("otklik models pull"), "{told}");
    }
}
