//! A language model of the company's own behind an HTTP endpoint that speaks as OpenAI's does: vLLM, llama-server and their like.
//!
//! Enters: where the endpoint is, and what is asked of a language model. Leaves: answers, checked against the form that was asked for.
//! This is the only way on which text leaves the process, and only where a configuration names an address. Redirects are not followed
//! and proxies of the environment are not used: text goes to that address or nowhere. Never here: weights, and words of a message or
//! an answer in an error or a log.

mod address;
mod connection;
mod events;
mod form;
mod refusal;
mod reply;
mod request;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

use super::{
    Answer, AnswerForm, ChatMessage, Generation, LanguageModel, LanguageModelError, Listener, Sampling, Usage,
};
use address::Address;
use connection::{Body, Connector};
use events::Events;
use form::Form;
use reply::Said;

/// What stands before the model's name in its id.
pub const ID_PREFIX: &str = "endpoint:";

/// Bytes that an answer may have beside those of its tokens.
const BASE_BYTES: usize = 64 << 10;

/// Bytes of each token: a stream tells every one in an event of its own.
const TOKEN_BYTES: usize = 2 << 10;

/// Where an endpoint is, and what it may take.
#[derive(Clone)]
pub struct EndpointOptions {
    /// Where the API begins, as in `http://127.0.0.1:8000/v1`.
    pub url: String,
    /// Name of the model there.
    pub model: String,
    /// The file that holds the key that it asks for.
    pub api_key_file: Option<PathBuf>,
    /// The PEM file of certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Tokens that the model reads, the answer's included.
    pub context: usize,
    /// Most calls at once.
    pub concurrent: usize,
}

/// Why an endpoint can't be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address can't be used. It is not quoted: it may hold a password.
    #[error("endpoint.url {0}")]
    Url(&'static str),
    /// No model is named.
    #[error("endpoint.model must be set when endpoint.url is: the name of the model there")]
    NoModel,
    /// The key can't be read.
    #[error("endpoint.api_key_file: {}: can't be read: {problem}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// The file holds no key. What it holds is not quoted.
    #[error("endpoint.api_key_file: {}: must hold one key of visible ASCII characters and nothing else", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The certificates can't be used.
    #[error("endpoint.ca_file: {}: {problem}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what is allowed.
        problem: String,
    },
    /// Encrypted connections can't be made.
    #[error("endpoint.url is https, and encrypted connections can't be made: {0}")]
    Tls(String),
}

/// A language model behind an endpoint.
pub struct EndpointModel {
    id: String,
    model: String,
    connector: Connector,
    authorisation: Option<HeaderValue>,
    timeout: Duration,
    context: usize,
    concurrent: usize,
    seats: Semaphore,
}

impl fmt::Debug for EndpointModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointModel").field("id", &self.id).finish_non_exhaustive()
    }
}

impl EndpointModel {
    /// A model behind an endpoint, which is not asked anything yet. Reads the key and, for https, certificates. Blocks.
    ///
    /// # Errors
    /// [`EndpointError`]; see its variants.
    pub fn open(options: EndpointOptions) -> Result<Self, EndpointError> {
        let EndpointOptions { url, model, api_key_file, ca_file, timeout, context, concurrent } = options;
        if model.is_empty() {
            return Err(EndpointError::NoModel);
        }
        let address = Address::parse(&url)?;
        let authorisation = api_key_file.map(request::authorisation).transpose()?;
        Ok(Self {
            id: format!("{ID_PREFIX}{model}"),
            model,
            connector: Connector::new(address, ca_file.as_deref())?,
            authorisation,
            timeout,
            context,
            concurrent,
            seats: Semaphore::new(concurrent),
        })
    }

    /// Where text goes: scheme, host and port.
    pub fn origin(&self) -> String {
        self.connector.address().origin()
    }

    /// A seat among the calls at once.
    fn seat(&self) -> Result<SemaphorePermit<'_>, LanguageModelError> {
        self.seats.try_acquire().map_err(|_| self.overloaded())
    }

    /// As many calls are in work as are; the endpoint itself tells no figures.
    fn overloaded(&self) -> LanguageModelError {
        let waiting = self.concurrent.saturating_sub(self.seats.available_permits());
        LanguageModelError::Overloaded { waiting, limit: self.concurrent }
    }

    async fn ask(
        &self,
        generation: Generation,
        form: Arc<Form>,
        listener: Option<Listener>,
    ) -> Result<Answer, LanguageModelError> {
        // What is wrapped in JSON on its way is heard as a whole.
        let is_streamed = listener.is_some() && !form.is_wrapped();
        let request = request::request(self, &generation, &form, is_streamed)?;
        let mut said = Said::new(listener, is_streamed);
        let exchange = self.connector.send(request).await.map_err(|error| failed(&error.to_string()))?;
        let most = BASE_BYTES.saturating_add(TOKEN_BYTES.saturating_mul(generation.max_tokens));
        let (head, mut body) = exchange.into_parts(most);
        if head.status != StatusCode::OK {
            return Err(refusal::of(self, head.status, &mut body, &generation).await);
        }
        let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if content_type.starts_with(b"text/event-stream") {
            self.hear(&mut body, &mut said).await?;
        } else {
            said.take(&body.whole().await.map_err(|error| failed(&error.to_string()))?)?;
        }
        said.answer(form).await
    }

    /// Hears an answer event by event, until it ends or its listener wants no more.
    async fn hear(&self, body: &mut Body, said: &mut Said) -> Result<(), LanguageModelError> {
        let mut events = Events::default();
        while let Some(bytes) = body.chunk().await.map_err(|error| failed(&error.to_string()))? {
            for data in events.push(&bytes) {
                if data == b"[DONE]" {
                    return Ok(());
                }
                said.take(&data)?;
                if said.is_unwanted() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// What is told of a failure: never what a message or an answer says.
fn failed(problem: &str) -> LanguageModelError {
    LanguageModelError::Failed(format!("the endpoint {problem}"))
}

fn invalid(field: &str, problem: &str) -> LanguageModelError {
    LanguageModelError::Invalid { field: field.to_owned(), problem: problem.to_owned() }
}

#[async_trait]
impl LanguageModel for EndpointModel {
    /// `endpoint:` and the name of the model there.
    fn id(&self) -> &str {
        &self.id
    }

    /// Empty: an endpoint does not prove which weights it has, and a hash of anything else would look as if it did.
    fn sha256(&self) -> &str {
        ""
    }

    fn context(&self) -> usize {
        self.context
    }

    /// Answers. The endpoint is asked to hold the answer to its form, and what comes back is checked. A regular expression or a choice
    /// is asked for as JSON, the one form that such endpoints have in common, and unpacked.
    async fn answer(&self, generation: Generation, listener: Option<Listener>) -> Result<Answer, LanguageModelError> {
        let form = Form::new(generation.form.clone()).await?;
        let own = Instant::now() + self.timeout;
        let due = generation.deadline.map_or(own, |deadline| deadline.min(own));
        if due <= Instant::now() {
            return Err(LanguageModelError::DeadlineExceeded);
        }
        let _seat = self.seat()?;
        let asked = timeout_at(due.into(), self.ask(generation, Arc::new(form), listener)).await;
        asked.unwrap_or(Err(LanguageModelError::DeadlineExceeded))
    }

    /// The choice that the model makes has 1 and the others 0: such endpoints have no common way to weigh texts that are given. These
    /// are not probabilities to compare with a threshold.
    async fn choose(
        &self,
        messages: Vec<ChatMessage>,
        choices: Vec<String>,
        deadline: Option<Instant>,
    ) -> Result<Vec<f32>, LanguageModelError> {
        if choices.is_empty() {
            return Err(invalid("choices", "must say something"));
        }
        if let Some(empty) = choices.iter().position(String::is_empty) {
            return Err(invalid(&format!("choices[{empty}]"), "must say something"));
        }
        let max_tokens = choices.iter().map(String::len).max().unwrap_or_default();
        let generation = Generation {
            messages,
            form: AnswerForm::Choice(choices.clone()),
            sampling: Sampling::default(),
            max_tokens,
            stops: Vec::new(),
            deadline,
        };
        let chosen = self.answer(generation, None).await?;
        let place = choices.iter().position(|choice| *choice == chosen.text);
        let place = place.ok_or_else(|| failed("chose what was not among the choices"))?;
        Ok((0..choices.len()).map(|at| if at == place { 1.0 } else { 0.0 }).collect())
    }
}
