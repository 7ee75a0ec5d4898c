//! `otklik.v1.PromptService`.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, stream};
use serde_json::Value;
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

use super::account::Account;
use super::call::Call;
use super::convert::{self, WantedPrompt};
use super::status;
use super::wire::v1::{self, run_prompt_response};
use crate::config::Config;
use crate::inference::{LanguageModel, Listener};
use crate::prompts::{
    Prompt, PromptAnswer, PromptIdentity, PromptLibrary, PromptLimits, PromptRunner, RenderedPrompt, RunError,
    RunOptions,
};

/// Ready-made prompts.
pub(super) struct PromptService {
    pub(super) config: Arc<Config>,
    pub(super) library: Arc<PromptLibrary>,
    pub(super) limits: PromptLimits,
    /// Present if one is configured.
    pub(super) model: Option<Arc<dyn LanguageModel>>,
}

type Parts = Pin<Box<dyn Stream<Item = Result<v1::RunPromptResponse, Status>> + Send>>;

#[tonic::async_trait]
impl v1::prompt_service_server::PromptService for PromptService {
    async fn list_prompts(
        &self,
        request: Request<v1::ListPromptsRequest>,
    ) -> Result<Response<v1::ListPromptsResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        call.close(self.list(&message))
    }

    async fn get_prompt(
        &self,
        request: Request<v1::GetPromptRequest>,
    ) -> Result<Response<v1::GetPromptResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let found = convert::wanted_prompt(message.prompt_id, message.language, &self.config.limits);
        let found = found.and_then(|wanted| self.find(&wanted));
        call.close(found.map(|prompt| v1::GetPromptResponse { prompt: Some((&*prompt).into()) }))
    }

    async fn render_prompt(
        &self,
        request: Request<v1::RenderPromptRequest>,
    ) -> Result<Response<v1::RenderPromptResponse>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let wanted = convert::wanted_prompt(message.prompt_id, message.language, &self.config.limits);
        let rendered = self.render(wanted, convert::prompt_input(message.input)).await;
        call.close(rendered.map(Into::into))
    }

    type RunPromptStream = Parts;

    async fn run_prompt(
        &self,
        request: Request<v1::RunPromptRequest>,
    ) -> Result<Response<Self::RunPromptStream>, Status> {
        let (call, message) = Call::open(request, |message| &message.request_id, &self.config)?;
        let options = convert::sampling(message.temperature, message.seed)
            .map(|sampling| RunOptions { sampling, deadline: Some(call.due()) });
        let answering = self.start(message, &call.account, options).await;
        call.close(answering)
    }
}

impl PromptService {
    fn list(&self, message: &v1::ListPromptsRequest) -> Result<v1::ListPromptsResponse, Status> {
        let language = convert::listed_language(message.language)?;
        let set = self.library.current();
        let listed = set.prompts().filter(|prompt| language.is_none_or(|asked| prompt.identity().language == asked));
        Ok(v1::ListPromptsResponse { prompts: listed.map(|prompt| (&**prompt).into()).collect() })
    }

    fn find(&self, wanted: &WantedPrompt) -> Result<Arc<Prompt>, Status> {
        let set = self.library.current();
        set.get(&wanted.id, wanted.language).cloned().map_err(status::of_prompt)
    }

    async fn render(
        &self,
        wanted: Result<WantedPrompt, Status>,
        input: Result<Value, Status>,
    ) -> Result<RenderedPrompt, Status> {
        let (prompt, input, limits) = (self.find(&wanted?)?, input?, self.limits);
        let rendered = tokio::task::spawn_blocking(move || prompt.render(&input, &limits)).await;
        rendered.map_err(|error| status::internal(&error.to_string()))?.map_err(status::of_prompt)
    }

    async fn start(
        &self,
        message: v1::RunPromptRequest,
        account: &Account,
        options: Result<RunOptions, Status>,
    ) -> Result<Parts, Status> {
        let wanted = convert::wanted_prompt(message.prompt_id, message.language, &self.config.limits);
        let (input, options) = (convert::prompt_input(message.input), options?);
        let rendered = self.render(wanted, input).await?;
        // Faults of the request come first: they stay when there is a model.
        let model = self.model.clone().ok_or_else(status::no_language_model)?;
        account.spend(rendered.messages.iter().map(|message| message.content.chars().count()).sum())?.stands();
        let runner = PromptRunner::new(model, self.limits);
        let prompt = rendered.identity().clone();
        let pieces = Arc::new(Pieces::default());
        let listener = message.stream_pieces.then(|| listener(Arc::clone(&pieces)));
        let work = async move { runner.run(rendered, options, listener).await };
        let answering = Answering { work: Some(work.boxed()), outcome: None, pieces, prompt };
        Ok(Box::pin(stream::unfold(answering, Answering::next)))
    }
}

/// What the model has said and the caller has not taken: at most one answer's text.
#[derive(Default)]
struct Pieces {
    text: Mutex<String>,
    more: Notify,
}

impl Pieces {
    fn take(&self) -> Option<String> {
        let text = std::mem::take(&mut *self.text.lock().unwrap_or_else(PoisonError::into_inner));
        (!text.is_empty()).then_some(text)
    }
}

/// Hears the model. A caller that reads slowly gets longer pieces and never makes the model wait.
fn listener(pieces: Arc<Pieces>) -> Listener {
    Box::new(move |piece| {
        pieces.text.lock().unwrap_or_else(PoisonError::into_inner).push_str(piece);
        pieces.more.notify_one();
        ControlFlow::Continue(())
    })
}

/// An answer in work. The work is done while the stream is read, and dropped with it.
struct Answering {
    work: Option<BoxFuture<'static, Result<PromptAnswer, RunError>>>,
    outcome: Option<Result<PromptAnswer, RunError>>,
    pieces: Arc<Pieces>,
    prompt: PromptIdentity,
}

impl Answering {
    /// The pieces, then the answer or why there is none.
    async fn next(mut self) -> Option<(Result<v1::RunPromptResponse, Status>, Self)> {
        loop {
            if let Some(piece) = self.pieces.take() {
                return Some((Ok(part(run_prompt_response::Part::Piece(piece))), self));
            }
            if let Some(outcome) = self.outcome.take() {
                let response = outcome.map(|answer| part(run_prompt_response::Part::Answer(answer.into())));
                let response = response.map_err(|error| status::of_run(error, &self.prompt));
                return Some((response, self));
            }
            let work = self.work.as_mut()?;
            tokio::select! {
                outcome = work => (self.work, self.outcome) = (None, Some(outcome)),
                () = self.pieces.more.notified() => {}
            }
        }
    }
}

fn part(part: run_prompt_response::Part) -> v1::RunPromptResponse {
    v1::RunPromptResponse { part: Some(part) }
}
