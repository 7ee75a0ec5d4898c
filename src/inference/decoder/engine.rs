//! A language model at work: one thread that takes calls in their order, and the threads that multiply for it.
//!
//! What a call read stays for the next one: a call that begins with the same tokens, as those with one prompt do, reads only what is
//! new in it.

mod choosing;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::cache::Cache;
use super::computing::{Computing, Place};
use super::tensors::Tensors;
use super::{ChatTemplate, Grammar, GrammarEnv, Sampler, StopWatch, Vocabulary};
use crate::inference::{
    Answer, AnswerForm, ChatMessage, FinishReason, Generation, InferenceError, LanguageModel, LanguageModelError,
    LanguageModelKernel, Listener, Usage,
};

/// Tokens that are read at a time: whether the call is still wanted is asked in between.
const READ: usize = 512;

/// A sequence that loses at most one of so many tokens that were read of it goes on where it was.
const ENDING_SHARE: usize = 4;

/// How much its threads are favoured, 0 to 100; a thread like any other has 50. While a tag is computed they give way to it.
const PRIORITY: u8 = 25;

/// How a language model is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalModelOptions {
    /// Name in the registry.
    pub id: String,
    /// Hash of the file, in hexadecimal digits.
    pub sha256: String,
    /// The GGUF file.
    pub path: PathBuf,
    /// Where and how it computes.
    pub kernel: LanguageModelKernel,
    /// Threads that multiply; 0 is one a core.
    pub threads: usize,
    /// Most tokens of messages and answer together; less if the model reads less.
    pub context: usize,
    /// Calls that may wait.
    pub queue_limit: usize,
    /// Sequences that are remembered.
    pub remembered: usize,
    /// Most memory that it may take, in bytes; `None` is what the machine has free.
    pub memory_limit: Option<usize>,
}

/// A language model that runs in this process.
pub struct LocalModel {
    id: String,
    sha256: String,
    path: PathBuf,
    context: usize,
    kernel: &'static str,
    threads: usize,
    vocabulary: Arc<Vocabulary>,
    queue_limit: usize,
    waiting: Arc<AtomicUsize>,
    /// Taken when the model is dropped, so that the thread ends.
    calls: Option<SyncSender<Call>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

type Reply<T> = oneshot::Sender<Result<T, LanguageModelError>>;

enum Call {
    Answer { generation: Generation, listener: Option<Listener>, reply: Reply<Answer> },
    Choose { messages: Vec<ChatMessage>, choices: Vec<String>, deadline: Option<Instant>, reply: Reply<Vec<f32>> },
    Measure { prompt: Vec<u32>, answer: usize, reply: Reply<Measured> },
}

/// How fast a model reads and writes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Tokens that were read.
    pub prompt_tokens: usize,
    /// Seconds until the first token of the answer was known.
    pub prefill_seconds: f64,
    /// Tokens of the answer behind the first.
    pub decoded_tokens: usize,
    /// Seconds for those.
    pub decode_seconds: f64,
}

impl LocalModel {
    /// Reads a model and starts its threads.
    ///
    /// # Errors
    /// [`InferenceError::Read`] or [`InferenceError::Format`] with the file at fault, [`InferenceError::Memory`] if it would not fit.
    pub fn load(options: LocalModelOptions) -> Result<Self, InferenceError> {
        let path = options.path.clone();
        let bad = |problem: String| InferenceError::Format { path: path.clone(), problem };
        let context = options.context;
        let place = Place::of(options.kernel)?;
        let mut tensors = Tensors::open(&path)?;
        check_memory(&options, &tensors, &place)?;
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("language-model-{index}"))
            .start_handler(|_| give_way())
            .build()
            .map_err(|error| bad(format!("threads can't be started: {error}")))?;
        let vocabulary = Vocabulary::read(tensors.metadata()).map_err(|error| bad(error.to_string()))?;
        let vocabulary = Arc::new(vocabulary);
        let chat =
            ChatTemplate::read(tensors.metadata(), Arc::clone(&vocabulary)).map_err(|error| bad(error.to_string()))?;
        let (grammars, model) = std::thread::scope(|scope| {
            let grammars = scope.spawn(|| GrammarEnv::new(Arc::clone(&vocabulary)));
            let model = pool.install(|| Computing::load(&mut tensors, &place));
            (grammars.join(), model)
        });
        let grammars = grammars.map_err(|_| bad("its grammars could not be made".to_owned()))?;
        let (grammars, model) = (grammars.map_err(|error| bad(error.to_string()))?, model?);
        if vocabulary.len() > model.vocabulary() {
            let problem = format!("has {} tokens, but weights for only {}", vocabulary.len(), model.vocabulary());
            return Err(bad(problem));
        }
        let context = context.min(model.shape().context);
        let caches = (0..options.remembered.max(1)).map(|_| model.cache(context)).collect();
        let worker = Worker { model, vocabulary: Arc::clone(&vocabulary), chat, grammars, context, caches };
        let (sender, receiver) = sync_channel(options.queue_limit.max(1));
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name("language-model".to_owned())
            .spawn(move || {
                give_way();
                worker.work(&receiver, &counted, &pool);
            })
            .map_err(|source| InferenceError::Read { path: path.clone(), source })?;
        Ok(Self {
            id: options.id,
            sha256: options.sha256,
            path: options.path,
            context,
            kernel: place.name(),
            threads,
            vocabulary,
            queue_limit: options.queue_limit.max(1),
            waiting,
            calls: Some(sender),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Instructions or device that multiply.
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// Threads that multiply.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Tokens of a text as the model reads it.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        self.vocabulary.encode(text, false)
    }

    /// Reads these tokens and writes an answer of so many, with nothing remembered and the most probable token each time.
    ///
    /// # Errors
    /// [`LanguageModelError::TooLong`], [`LanguageModelError::Overloaded`], [`LanguageModelError::Failed`].
    pub async fn measure(&self, prompt: Vec<u32>, answer: usize) -> Result<Measured, LanguageModelError> {
        let (reply, receiver) = oneshot::channel();
        self.send(Call::Measure { prompt, answer, reply })?;
        received(receiver).await
    }

    fn send(&self, call: Call) -> Result<(), LanguageModelError> {
        let Some(calls) = &self.calls else { return Err(gone()) };
        self.waiting.fetch_add(1, Ordering::AcqRel);
        calls.try_send(call).map_err(|error| {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            match error {
                TrySendError::Full(_) => LanguageModelError::Overloaded {
                    waiting: self.waiting.load(Ordering::Acquire).max(self.queue_limit),
                    limit: self.queue_limit,
                },
                TrySendError::Disconnected(_) => gone(),
            }
        })
    }
}

/// Lets this thread run where others leave time.
fn give_way() {
    let priority =
        thread_priority::ThreadPriorityValue::try_from(PRIORITY).map(thread_priority::ThreadPriority::Crossplatform);
    let given = priority.and_then(|priority| {
        thread_priority::set_current_thread_priority(priority).map_err(|error| format!("{error:?}"))
    });
    if let Err(problem) = given {
        tracing::warn!(problem, "the threads of the language model can't give way to tagging");
    }
}

fn gone() -> LanguageModelError {
    LanguageModelError::Failed("its thread has ended".to_owned())
}

async fn received<T>(receiver: oneshot::Receiver<Result<T, LanguageModelError>>) -> Result<T, LanguageModelError> {
    receiver.await.unwrap_or_else(|_| Err(gone()))
}

impl Drop for LocalModel {
    fn drop(&mut self) {
        self.calls = None;
        let thread = self.thread.get_mut().ok().and_then(Option::take);
        if let Some(thread) = thread {
            // A panic in a call was caught there; there is nothing else to hear.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl LanguageModel for LocalModel {
    fn id(&self) -> &str {
        &self.id
    }

    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn context(&self) -> usize {
        self.context
    }

    async fn answer(&self, generation: Generation, listener: Option<Listener>) -> Result<Answer, LanguageModelError> {
        let (reply, receiver) = oneshot::channel();
        self.send(Call::Answer { generation, listener, reply })?;
        received(receiver).await
    }

    async fn choose(
        &self,
        messages: Vec<ChatMessage>,
        choices: Vec<String>,
        deadline: Option<Instant>,
    ) -> Result<Vec<f32>, LanguageModelError> {
        let (reply, receiver) = oneshot::channel();
        self.send(Call::Choose { messages, choices, deadline, reply })?;
        received(receiver).await
    }
}

/// Refuses a model that would not fit, before a byte of it is read.
fn check_memory(options: &LocalModelOptions, tensors: &Tensors, place: &Place) -> Result<(), InferenceError> {
    let needed = place.bytes_needed(tensors, options.context, options.remembered)?;
    let Some(available) = options.memory_limit.or_else(|| place.free_memory()) else { return Ok(()) };
    if needed > available {
        return Err(InferenceError::Memory {
            path: options.path.clone(),
            needed_mb: needed / 1_000_000,
            available_mb: available / 1_000_000,
            context: options.context,
        });
    }
    Ok(())
}

/// What the thread has.
struct Worker {
    model: Computing,
    vocabulary: Arc<Vocabulary>,
    chat: ChatTemplate,
    grammars: GrammarEnv,
    context: usize,
    /// The one used last stands last.
    caches: Vec<Cache>,
}

/// Whether and how long a call is wanted.
struct Wanted<'a> {
    is_wanted: &'a dyn Fn() -> bool,
    deadline: Option<Instant>,
}

impl Wanted<'_> {
    fn check(&self) -> Result<(), LanguageModelError> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(LanguageModelError::DeadlineExceeded);
        }
        if (self.is_wanted)() { Ok(()) } else { Err(LanguageModelError::Failed("nobody waits for it".to_owned())) }
    }

    fn goes_on(&self) -> bool {
        self.check().is_ok()
    }
}

impl Worker {
    fn work(mut self, calls: &Receiver<Call>, waiting: &AtomicUsize, pool: &rayon::ThreadPool) {
        while let Ok(call) = calls.recv() {
            waiting.fetch_sub(1, Ordering::AcqRel);
            pool.install(|| match call {
                Call::Answer { generation, listener, reply } => {
                    self.run(reply, generation.deadline, |worker, wanted| worker.answer(&generation, listener, wanted));
                }
                Call::Choose { messages, choices, deadline, reply } => {
                    self.run(reply, deadline, |worker, wanted| worker.choose(&messages, &choices, wanted));
                }
                Call::Measure { prompt, answer, reply } => {
                    self.run(reply, None, |worker, wanted| worker.measure(&prompt, answer, wanted));
                }
            });
        }
    }

    fn run<T>(
        &mut self,
        reply: Reply<T>,
        deadline: Option<Instant>,
        work: impl FnOnce(&mut Self, &Wanted<'_>) -> Result<T, LanguageModelError>,
    ) {
        let is_wanted = || !reply.is_closed();
        let wanted = Wanted { is_wanted: &is_wanted, deadline };
        if reply.is_closed() {
            return;
        }
        let done = catch_unwind(AssertUnwindSafe(|| wanted.check().and_then(|()| work(self, &wanted))));
        let done = done.unwrap_or_else(|_| {
            // What was half read is not to be built upon.
            self.caches.iter_mut().for_each(|cache| cache.truncate(0));
            Err(LanguageModelError::Failed("the computation panicked".to_owned()))
        });
        // A caller that left meanwhile wants no answer.
        let _ = reply.send(done);
    }

    /// A cache of the first of these tokens, as many as are known; at least one token is left to be read.
    ///
    /// A sequence that goes on keeps its cache. Another takes that of a sequence least worth keeping, and copies what it shares with
    /// the one that knows most: so the beginning of a prompt outlives the texts that were asked about with it.
    fn cache_for(&mut self, tokens: &[u32]) -> Result<Cache, LanguageModelError> {
        let known = |at: usize| self.caches.get(at).map_or(0, |cache| cache.common(tokens));
        let missing = || LanguageModelError::Failed("there is no cache".to_owned());
        let best = (0..self.caches.len()).max_by_key(|at| known(*at)).ok_or_else(missing)?;
        let common = known(best).min(tokens.len().saturating_sub(1));
        let length = self.caches.get(best).map_or(0, |cache| cache.tokens().len());
        if (length - common) * ENDING_SHARE <= length {
            let mut cache = self.caches.remove(best);
            cache.truncate(common);
            return Ok(cache);
        }
        let mut cache = self.caches.remove(self.least_worth(tokens));
        // The one that knows most may be this one.
        match self.caches.iter().max_by_key(|other| other.common(tokens)) {
            Some(other) if other.common(tokens) > cache.common(tokens) => {
                cache.copy_from(other, common).map_err(|error| LanguageModelError::Failed(error.to_string()))?;
            }
            _ => cache.truncate(common.min(cache.common(tokens))),
        }
        Ok(cache)
    }

    /// Which cache is least worth keeping: the one used longest ago among those of which another sequence, or this one, has the larger
    /// part, and among all if there is none such.
    fn least_worth(&self, tokens: &[u32]) -> usize {
        let is_known_elsewhere = |(at, cache): (usize, &Cache)| {
            let others = self.caches.iter().enumerate().filter(|(other, _)| *other != at);
            let shared = others.map(|(_, other)| cache.common(other.tokens())).max().unwrap_or(0);
            shared.max(cache.common(tokens)) * 2 >= cache.tokens().len()
        };
        self.caches.iter().enumerate().position(is_known_elsewhere).unwrap_or(0)
    }

    /// Reads tokens, and gives the states of the last `last` of them.
    fn read(
        &self,
        cache: &mut Cache,
        tokens: &[u32],
        last: usize,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<f32>, LanguageModelError> {
        let mut states = Vec::new();
        let ends = tokens.len();
        for (part, start) in tokens.chunks(READ).zip((0..).step_by(READ)) {
            // Those of the last tokens may be spread over two parts.
            let of_part = (start + part.len()).saturating_sub(start.max(ends - last.min(ends)));
            let go_on = || wanted.goes_on();
            match self.model.read(part, of_part, cache, &go_on)? {
                Some(read) => states.extend(read),
                None => {
                    wanted.check()?;
                    return Err(LanguageModelError::DeadlineExceeded);
                }
            }
        }
        Ok(states)
    }

    /// Scores of tokens that the vocabulary has.
    fn scores(&self, state: &[f32]) -> Result<Vec<f32>, LanguageModelError> {
        let mut scores = self.model.scores(state)?;
        scores.truncate(self.vocabulary.len());
        Ok(scores)
    }

    fn prompt(&self, messages: &[ChatMessage], answer_tokens: usize) -> Result<Vec<u32>, LanguageModelError> {
        let prompt = self.chat.tokens(messages)?;
        let prompt_tokens = prompt.len();
        if prompt_tokens == 0 {
            let problem = "must say something".to_owned();
            return Err(LanguageModelError::Invalid { field: "messages".to_owned(), problem });
        }
        if prompt_tokens + answer_tokens > self.context {
            return Err(LanguageModelError::TooLong { prompt_tokens, answer_tokens, context: self.context });
        }
        Ok(prompt)
    }

    fn answer(
        &mut self,
        generation: &Generation,
        listener: Option<Listener>,
        wanted: &Wanted<'_>,
    ) -> Result<Answer, LanguageModelError> {
        if generation.max_tokens == 0 {
            let problem = "must be at least 1".to_owned();
            return Err(LanguageModelError::Invalid { field: "max_tokens".to_owned(), problem });
        }
        let grammar = Grammar::new(&self.grammars, &generation.form)?;
        let sampler = Sampler::new(&generation.sampling)?;
        let prompt = self.prompt(&generation.messages, generation.max_tokens)?;
        let mut cache = self.cache_for(&prompt)?;
        let answered = self.answer_with(generation, listener, wanted, grammar, sampler, &prompt, &mut cache);
        self.caches.push(cache);
        answered
    }

    #[allow(clippy::too_many_arguments)] // made just before, each used once
    fn answer_with(
        &self,
        generation: &Generation,
        listener: Option<Listener>,
        wanted: &Wanted<'_>,
        mut grammar: Grammar,
        mut sampler: Sampler,
        prompt: &[u32],
        cache: &mut Cache,
    ) -> Result<Answer, LanguageModelError> {
        let began = Instant::now();
        let mut usage = Usage { prompt_tokens: prompt.len(), cached_tokens: cache.tokens().len(), ..Usage::default() };
        let mut pending = prompt.get(cache.tokens().len()..).unwrap_or_default().to_vec();
        let mut first_at = None;
        let stops = if generation.form == AnswerForm::Free { generation.stops.as_slice() } else { &[] };
        let mut said = Said::new(&self.vocabulary, stops, listener);
        let finish = loop {
            let mut forced = grammar.forced()?;
            forced.truncate(generation.max_tokens - usage.answer_tokens);
            for token in &forced {
                sampler.commit(*token);
                said.token(*token);
            }
            usage.answer_tokens += forced.len();
            pending.extend(forced);
            if said.is_over() {
                break said.reason();
            }
            if grammar.is_complete() {
                break FinishReason::Stop;
            }
            if usage.answer_tokens >= generation.max_tokens {
                break FinishReason::Length;
            }
            let state = self.read(cache, &pending, 1, wanted)?;
            pending.clear();
            let mut scores = self.scores(&state)?;
            let mask = grammar.mask()?;
            let token = sampler.choose(&mut scores, mask.as_ref())?;
            first_at.get_or_insert_with(Instant::now);
            if self.vocabulary.is_end(token) {
                break FinishReason::Stop;
            }
            grammar.commit(token)?;
            sampler.commit(token);
            said.token(token);
            usage.answer_tokens += 1;
            pending.push(token);
        };
        let first_at = first_at.unwrap_or_else(Instant::now);
        usage.prefill_ms = (first_at - began).as_secs_f64() * 1e3;
        usage.decode_ms = first_at.elapsed().as_secs_f64() * 1e3;
        Ok(Answer { text: said.finish(), finish, usage })
    }

    fn measure(&mut self, prompt: &[u32], answer: usize, wanted: &Wanted<'_>) -> Result<Measured, LanguageModelError> {
        if prompt.is_empty() || prompt.len() + answer > self.context {
            let (prompt_tokens, context) = (prompt.len(), self.context);
            return Err(LanguageModelError::TooLong { prompt_tokens, answer_tokens: answer, context });
        }
        let mut cache = self.cache_for(&[])?;
        cache.truncate(0);
        let began = Instant::now();
        let next = |cache: &mut Cache, tokens: &[u32]| -> Result<u32, LanguageModelError> {
            let state = self.read(cache, tokens, 1, wanted)?;
            let scores = self.scores(&state)?;
            let best = (0u32..).zip(&scores).max_by(|one, other| one.1.total_cmp(other.1));
            Ok(best.map_or(0, |(token, _)| token))
        };
        let mut token = next(&mut cache, prompt)?;
        let prefill_seconds = began.elapsed().as_secs_f64();
        let began = Instant::now();
        for _ in 0..answer {
            token = next(&mut cache, &[token])?;
        }
        let decode_seconds = began.elapsed().as_secs_f64();
        self.caches.push(cache);
        Ok(Measured { prompt_tokens: prompt.len(), prefill_seconds, decoded_tokens: answer, decode_seconds })
    }
}

/// Scores to logarithms of probabilities.
fn log_probabilities(mut scores: Vec<f32>) -> Vec<f32> {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.iter().map(|score| f64::from(score - most).exp()).sum();
    let total = most + sum.ln() as f32;
    scores.iter_mut().for_each(|score| *score -= total);
    scores
}

/// What was said so far.
struct Said<'a> {
    decoder: super::Decoder<'a>,
    watch: StopWatch,
    listener: Option<Listener>,
    text: String,
    is_unwanted: bool,
}

impl<'a> Said<'a> {
    fn new(vocabulary: &'a Vocabulary, stops: &[String], listener: Option<Listener>) -> Self {
        let watch = StopWatch::new(stops);
        Self { decoder: vocabulary.decoder(), watch, listener, text: String::new(), is_unwanted: false }
    }

    fn token(&mut self, token: u32) {
        let piece = self.decoder.push(token);
        let piece = self.watch.push(&piece);
        self.say(&piece);
    }

    fn say(&mut self, piece: &str) {
        if piece.is_empty() {
            return;
        }
        self.text.push_str(piece);
        if let Some(listener) = &mut self.listener {
            self.is_unwanted |= listener(piece) == ControlFlow::Break(());
        }
    }

    fn is_over(&self) -> bool {
        self.is_unwanted || self.watch.stopped()
    }

    fn reason(&self) -> FinishReason {
        if self.is_unwanted { FinishReason::Cancelled } else { FinishReason::Stop }
    }

    fn finish(self) -> String {
        let Self { decoder, mut watch, mut listener, mut text, is_unwanted } = self;
        let mut rest = watch.push(&decoder.finish());
        rest.push_str(&watch.finish());
        if !rest.is_empty() && !is_unwanted {
            text.push_str(&rest);
            if let Some(listener) = &mut listener {
                // It was the last piece: whether more are wanted does not matter.
                let _ = listener(&rest);
            }
        }
        text
    }
}
