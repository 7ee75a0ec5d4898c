//! An encoder: texts to unit vectors, and from the same pass a vector for each span of interest in them.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::bert::Bert;
use super::team::Member;
use super::tokens::{TextTokens, Tokenised, Window};
use super::weights::Weights;
use super::{InferenceError, Kernel, Pooling};
use crate::feedback::CharSpan;

/// Tokens that neighbouring windows of a long text share.
const WINDOW_OVERLAP: usize = 64;

/// Most tokens that go through the model at once; bounds the memory of one pass, and the time that a short text waits behind a
/// long one.
const PASS_TOKENS: usize = 512;

/// Texts from which on they are split into tokens side by side.
const MANY_TEXTS: usize = 64;

/// Where an encoder's files are, and how it wants to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderSpec {
    /// `.gguf`, or `.safetensors` with its `config.json` beside it.
    pub weights: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// How token states become one vector.
    pub pooling: Pooling,
    /// Put before texts in [`Role::Query`].
    pub query_prefix: String,
    /// Put before texts in [`Role::Passage`].
    pub passage_prefix: String,
    /// Longest sequence in tokens, special tokens included; the model's own limit if that is lower.
    pub max_tokens: usize,
    /// Arithmetic and instructions.
    pub kernel: Kernel,
}

/// What a text is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Something compared with texts of its own kind (the default use).
    Query,
    /// Something to be found by a query.
    Passage,
    /// As it stands, without a prefix.
    Plain,
}

/// How much of the model's states becomes a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The last layer's, pooled: what texts are compared by.
    Top,
    /// That, and behind it unit vectors of the last layer's largest states, of its first token, and of the mean states of layers
    /// below: what a head with many rows learns more from.
    Deep,
}

/// One text to encode.
#[derive(Debug, Clone, Copy)]
pub struct EncodeInput<'a> {
    /// The text, without a prefix.
    pub text: &'a str,
    /// Which prefix it gets.
    pub role: Role,
    /// Spans of the text that want a vector of their own.
    pub spans: &'a [CharSpan],
    /// Windows of a text longer than the model reads: more of them cost more time. 1 truncates.
    pub max_windows: usize,
}

impl<'a> EncodeInput<'a> {
    /// A text on its own: one window, no spans.
    pub fn new(text: &'a str, role: Role) -> Self {
        Self { text, role, spans: &[], max_windows: 1 }
    }
}

/// What the encoder made of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoding {
    /// Unit vector of the whole text: `[hidden]`; a deep one begins with it and goes on.
    pub vector: Vec<f32>,
    /// For each span asked for its vector, made like that of the text; `None` if no token that was read lies in the span.
    pub span_vectors: Vec<Option<Vec<f32>>>,
    /// Tokens read, over all windows, special tokens and prefixes included.
    pub tokens: usize,
    /// True if the end of the text was not read.
    pub truncated: bool,
}

/// A loaded encoder. Threads share it; [`Encoder::encode`] computes on the thread that calls it and on the thread pool it runs in.
pub struct Encoder {
    pub(super) bert: Bert,
    tokens: TextTokens,
    spec: EncoderSpec,
    max_tokens: usize,
}

impl Encoder {
    /// Reads weights and tokeniser.
    ///
    /// # Errors
    /// [`InferenceError::Read`] or [`InferenceError::Format`] with the file at fault, [`InferenceError::Kernel`].
    pub fn load(spec: EncoderSpec) -> Result<Self, InferenceError> {
        let kernel = spec.kernel.resolve()?;
        let (bert, tokens) = std::thread::scope(|scope| {
            let tokens = scope.spawn(|| TextTokens::read(&spec.tokenizer));
            let weights = Weights::read(&spec.weights);
            let bert = weights.and_then(|weights| Bert::new(weights, kernel.int8(), kernel.device()?));
            (bert, tokens.join().unwrap_or(Err(InferenceError::Panicked)))
        });
        let (bert, tokens) = (bert?, tokens?);
        let (known, rows) = (tokens.known(), bert.vocabulary());
        if known > rows {
            let problem = format!("has {known} tokens, but the weights have rows for only {rows}");
            return Err(InferenceError::Format { path: spec.tokenizer, problem });
        }
        let max_tokens = spec.max_tokens.min(bert.positions());
        Ok(Self { bert, tokens, spec: EncoderSpec { kernel, ..spec }, max_tokens })
    }

    /// Length of the vectors.
    pub fn dimension(&self) -> usize {
        self.bert.hidden()
    }

    /// Longest sequence in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// What computes.
    pub fn kernel(&self) -> Kernel {
        self.spec.kernel
    }

    /// The file that the weights came from.
    pub fn weights_path(&self) -> &Path {
        &self.spec.weights
    }

    /// Token ids of a text as the model reads it, special tokens and prefix included, cut at the longest sequence.
    ///
    /// # Errors
    /// [`InferenceError::Tokenise`].
    pub fn token_ids(&self, text: &str, role: Role) -> Result<Vec<u32>, InferenceError> {
        let tokenised = self.tokens.windows(self.prefix(role), text, self.max_tokens, WINDOW_OVERLAP, 1)?;
        Ok(tokenised.windows.into_iter().next().map(|window| window.ids).unwrap_or_default())
    }

    fn prefix(&self, role: Role) -> &str {
        match role {
            Role::Query => &self.spec.query_prefix,
            Role::Passage => &self.spec.passage_prefix,
            Role::Plain => "",
        }
    }

    /// Length of deep vectors; see [`Depth::Deep`].
    pub fn deep_dimension(&self) -> usize {
        self.dimension() * (self.layers_below(Depth::Deep).len() + 3)
    }

    /// Layers whose states count beside the last one's: every second from the lower third up.
    fn layers_below(&self, depth: Depth) -> Vec<usize> {
        let layers = self.bert.layers();
        match depth {
            Depth::Top => Vec::new(),
            Depth::Deep => (layers.div_ceil(3).max(1)..layers).step_by(2).collect(),
        }
    }

    /// Splits texts into tokens and lays out the passes through the model that they need. Costs little beside the passes.
    ///
    /// # Errors
    /// [`InferenceError::Tokenise`].
    pub fn plan(&self, inputs: &[EncodeInput<'_>], depth: Depth) -> Result<EncodePlan, InferenceError> {
        let mut windows: Vec<(usize, Window)> = Vec::with_capacity(inputs.len());
        let mut texts = Vec::with_capacity(inputs.len());
        let tokenise = |input: &EncodeInput<'_>| {
            let prefix = self.prefix(input.role);
            self.tokens.windows(prefix, input.text, self.max_tokens, WINDOW_OVERLAP, input.max_windows)
        };
        // Of a few texts on the threads that are here; the pool of threads is for many.
        let tokenised: Vec<Tokenised> = if inputs.len() < MANY_TEXTS {
            inputs.iter().map(tokenise).collect::<Result<_, _>>()?
        } else {
            inputs.par_iter().map(tokenise).collect::<Result<_, _>>()?
        };
        for ((index, input), tokenised) in inputs.iter().enumerate().zip(tokenised) {
            texts.push(PlannedText { spans: input.spans.to_vec(), truncated: tokenised.left_out > 0 });
            windows.extend(tokenised.windows.into_iter().map(|window| (index, window)));
        }
        // Sequences of like length go together, so that the threads of a split batch end together.
        windows.sort_by_key(|(index, window)| (window.ids.len(), *index));
        let passes = passes(&windows);
        Ok(EncodePlan { windows, passes, texts, depth })
    }

    /// Runs one pass of a plan.
    ///
    /// # Errors
    /// [`InferenceError::Compute`].
    pub fn run(&self, plan: &EncodePlan, pass: usize) -> Result<PassOutput, InferenceError> {
        let mut outputs = self.run_together(&[(plan, pass)], &|| {})?;
        Ok(outputs.pop().unwrap_or(PassOutput(Vec::new())))
    }

    /// Runs passes of several plans as one; `between` is called before each layer of the model. What a pass gives is the same as if
    /// it had run alone: bit for bit in 8 bits, to the last bits of rounding in 32.
    ///
    /// # Errors
    /// [`InferenceError::Compute`].
    pub fn run_together(
        &self,
        passes: &[(&EncodePlan, usize)],
        between: &dyn Fn(),
    ) -> Result<Vec<PassOutput>, InferenceError> {
        self.run_as(passes, &Member::alone(), between)
    }

    /// Whether so many threads can share a batch.
    pub(super) fn can_be_shared(&self, members: usize) -> bool {
        self.bert.can_be_shared(members)
    }

    /// The same as a member of a team, whose other members do it too.
    pub(super) fn run_as(
        &self,
        passes: &[(&EncodePlan, usize)],
        member: &Member<'_>,
        between: &dyn Fn(),
    ) -> Result<Vec<PassOutput>, InferenceError> {
        let depth = match passes.iter().any(|(plan, _)| plan.depth == Depth::Deep) {
            true => Depth::Deep,
            false => Depth::Top,
        };
        let sequences: Vec<&[u32]> = passes
            .iter()
            .flat_map(|(plan, pass)| plan.of_pass(*pass))
            .map(|(_, window)| window.ids.as_slice())
            .collect();
        let below = self.layers_below(depth);
        let layers = self.bert.forward(&sequences, &below, member, between)?;
        let hidden = self.dimension();
        let mut start = 0;
        let outputs = passes.iter().map(|(plan, pass)| {
            // A plan without the layers below takes the last one's states.
            let skipped = if plan.depth == depth { 0 } else { below.len() };
            let layers = layers.get(skipped..).unwrap_or_default();
            let read = plan.of_pass(*pass).iter().map(|(index, window)| {
                let states = TokenStates { layers, hidden, start };
                start += window.ids.len();
                let spans = plan.texts.get(*index).map(|text| text.spans.as_slice()).unwrap_or_default();
                WindowPools {
                    text: *index,
                    start: window.spans.iter().flatten().next().map_or(0, |span| span.start),
                    pools: Pools::of(window, states, spans, plan.depth),
                }
            });
            PassOutput(read.collect())
        });
        Ok(outputs.collect())
    }

    /// Pools all passes of a plan to the answers for the texts that it was made for. They come in the order of the texts and do
    /// not depend on what else was in the plan (to the last bits of 32-bit rounding).
    pub fn finish(&self, plan: &EncodePlan, passes: Vec<PassOutput>) -> Vec<Encoding> {
        let mut read: Vec<WindowPools> = passes.into_iter().flat_map(|pass| pass.0).collect();
        // A text's windows are added up in the order of the text, whatever order they were computed in.
        read.sort_by_key(|window| (window.text, window.start));
        let mut of_texts: Vec<Option<Pools>> = plan.texts.iter().map(|_| None).collect();
        for window in read {
            match of_texts.get_mut(window.text) {
                Some(Some(pools)) => pools.merge(&window.pools),
                Some(empty) => *empty = Some(window.pools),
                None => {}
            }
        }
        let finished = of_texts.into_iter().zip(&plan.texts).map(|(pools, text)| match pools {
            Some(pools) => pools.finish(text.truncated, self.spec.pooling, self.dimension(), plan.depth),
            None => Encoding {
                vector: Vec::new(),
                span_vectors: vec![None; text.spans.len()],
                tokens: 0,
                truncated: text.truncated,
            },
        });
        finished.collect()
    }

    /// Encodes texts at once, to vectors of [`Depth::Top`]: plan, passes side by side, finish.
    ///
    /// # Errors
    /// [`InferenceError::Tokenise`], [`InferenceError::Compute`].
    pub fn encode(&self, inputs: &[EncodeInput<'_>]) -> Result<Vec<Encoding>, InferenceError> {
        self.encode_to(inputs, Depth::Top)
    }

    /// The same, to vectors of this depth.
    ///
    /// # Errors
    /// [`InferenceError::Tokenise`], [`InferenceError::Compute`].
    pub fn encode_to(&self, inputs: &[EncodeInput<'_>], depth: Depth) -> Result<Vec<Encoding>, InferenceError> {
        let plan = self.plan(inputs, depth)?;
        let passes: Vec<PassOutput> =
            (0..plan.passes()).into_par_iter().map(|pass| self.run(&plan, pass)).collect::<Result<_, _>>()?;
        Ok(self.finish(&plan, passes))
    }
}

/// The passes through the model that some texts need.
pub struct EncodePlan {
    /// Index of the text, and a window of it; in the order of computing.
    windows: Vec<(usize, Window)>,
    /// Runs of `windows` that go through the model together.
    passes: Vec<Range<usize>>,
    texts: Vec<PlannedText>,
    depth: Depth,
}

struct PlannedText {
    spans: Vec<CharSpan>,
    truncated: bool,
}

impl EncodePlan {
    /// Number of passes.
    pub fn passes(&self) -> usize {
        self.passes.len()
    }

    /// Tokens of one pass.
    pub fn tokens(&self, pass: usize) -> usize {
        self.of_pass(pass).iter().map(|(_, window)| window.ids.len()).sum()
    }

    /// The windows of one pass, with the index of their text.
    fn of_pass(&self, pass: usize) -> &[(usize, Window)] {
        self.passes.get(pass).and_then(|pass| self.windows.get(pass.clone())).unwrap_or_default()
    }
}

/// What one pass gave.
pub struct PassOutput(Vec<WindowPools>);

struct WindowPools {
    /// Index of the text.
    text: usize,
    /// First character of the text that the window holds.
    start: u32,
    pools: Pools,
}

/// Splits windows into runs of at most [`PASS_TOKENS`], each at least one window.
fn passes(windows: &[(usize, Window)]) -> Vec<Range<usize>> {
    let mut passes: Vec<Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (index, (_, window)) in windows.iter().enumerate() {
        tokens += window.ids.len();
        match passes.last_mut() {
            Some(pass) if tokens <= PASS_TOKENS => pass.end = index + 1,
            _ => {
                passes.push(index..index + 1);
                tokens = window.ids.len();
            }
        }
    }
    passes
}

/// States of a window's tokens.
#[derive(Clone, Copy)]
struct TokenStates<'a> {
    /// After each layer kept, the last one's behind the others: `[tokens, hidden]`.
    layers: &'a [Vec<f32>],
    hidden: usize,
    /// Number of the window's first token.
    start: usize,
}

impl<'a> TokenStates<'a> {
    /// States of one of the window's tokens, a layer after the other.
    fn of_token(self, token: usize) -> impl DoubleEndedIterator<Item = &'a [f32]> {
        let first = (self.start + token) * self.hidden;
        self.layers.iter().map(move |layer| layer.get(first..first + self.hidden).unwrap_or_default())
    }
}

/// Sums of token states on their way to vectors.
struct Pools {
    whole: Pool,
    /// States of the first token after the last layer.
    first: Vec<f32>,
    spans: Vec<Pool>,
    tokens: usize,
}

impl Pools {
    fn of(window: &Window, states: TokenStates<'_>, spans: &[CharSpan], depth: Depth) -> Self {
        let new = || Pool::new(states.layers.len() * states.hidden, states.hidden, depth);
        let mut pools = Self {
            whole: new(),
            first: states.of_token(0).next_back().unwrap_or_default().to_vec(),
            spans: spans.iter().map(|_| new()).collect(),
            tokens: window.ids.len(),
        };
        for (token, place) in window.spans.iter().enumerate() {
            pools.whole.add(states, token);
            let Some(place) = place else { continue };
            for (span, pool) in spans.iter().zip(&mut pools.spans) {
                if span.overlaps(*place) {
                    pool.add(states, token);
                }
            }
        }
        pools
    }

    /// Adds a window that comes later in the text.
    fn merge(&mut self, later: &Self) {
        self.whole.merge(&later.whole);
        self.spans.iter_mut().zip(&later.spans).for_each(|(span, later)| span.merge(later));
        self.tokens += later.tokens;
    }

    fn finish(self, truncated: bool, pooling: Pooling, hidden: usize, depth: Depth) -> Encoding {
        let first = self.first.as_slice();
        let whole = match (pooling, depth) {
            (Pooling::Mean, Depth::Top) => unit(self.whole.top(hidden)),
            (Pooling::Cls, Depth::Top) => unit(first),
            (Pooling::Mean, Depth::Deep) => self.whole.deep(self.whole.top(hidden), first, hidden),
            (Pooling::Cls, Depth::Deep) => self.whole.deep(first, first, hidden),
        };
        let span_vector = |pool: &Pool| {
            (pool.count > 0).then(|| match depth {
                Depth::Top => unit(pool.top(hidden)),
                Depth::Deep => pool.deep(pool.top(hidden), first, hidden),
            })
        };
        Encoding {
            vector: whole,
            span_vectors: self.spans.iter().map(span_vector).collect(),
            tokens: self.tokens,
            truncated,
        }
    }
}

/// Sums over some tokens.
struct Pool {
    /// Of the states of all layers kept, the last one's behind the others: `[width]`.
    sum: Vec<f32>,
    /// Largest states of the last layer: `[hidden]`; empty unless deep vectors are wanted.
    largest: Vec<f32>,
    count: usize,
}

impl Pool {
    fn new(width: usize, hidden: usize, depth: Depth) -> Self {
        let largest = match depth {
            Depth::Top => Vec::new(),
            Depth::Deep => vec![f32::NEG_INFINITY; hidden],
        };
        Self { sum: vec![0.0; width], largest, count: 0 }
    }

    fn add(&mut self, states: TokenStates<'_>, token: usize) {
        for (sums, row) in self.sum.chunks_exact_mut(states.hidden.max(1)).zip(states.of_token(token)) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        let top = states.of_token(token).next_back().unwrap_or_default();
        self.largest.iter_mut().zip(top).for_each(|(largest, value)| *largest = largest.max(*value));
        self.count += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.sum.iter_mut().zip(&other.sum).for_each(|(sum, value)| *sum += value);
        self.largest.iter_mut().zip(&other.largest).for_each(|(largest, value)| *largest = largest.max(*value));
        self.count += other.count;
    }

    /// The last layer's sum.
    fn top(&self, hidden: usize) -> &[f32] {
        self.sum.get(self.sum.len().saturating_sub(hidden)..).unwrap_or_default()
    }

    /// A deep vector, with `vector` in front.
    fn deep(&self, vector: &[f32], first: &[f32], hidden: usize) -> Vec<f32> {
        let below = self.sum.get(..self.sum.len().saturating_sub(hidden)).unwrap_or_default();
        let parts = [vector, &self.largest, first].into_iter().chain(below.chunks_exact(hidden.max(1)));
        parts.flat_map(unit).collect()
    }
}

/// Numbers at unit length; of nothing, nothing.
fn unit(values: &[f32]) -> Vec<f32> {
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    values.iter().map(|value| value / norm).collect()
}
