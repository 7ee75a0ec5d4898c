//! An encoder: texts to unit vectors, and from the same pass a vector for each span of interest in them.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::bert::Bert;
use super::tokens::{TextTokens, Window};
use super::weights::Weights;
use super::{InferenceError, Pooling};
use crate::feedback::CharSpan;

/// Tokens that neighbouring windows of a long text share.
const WINDOW_OVERLAP: usize = 64;

/// Most tokens that go through the model at once; bounds the memory of one pass, and the time that a short text waits behind a
/// long one.
const PASS_TOKENS: usize = 512;

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
    /// Unit vector of the whole text: `[hidden]`.
    pub vector: Vec<f32>,
    /// For each span asked for its unit vector `[hidden]`; `None` if no token that was read lies in the span.
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
    /// [`InferenceError::Read`] or [`InferenceError::Format`] with the file at fault.
    pub fn load(spec: EncoderSpec) -> Result<Self, InferenceError> {
        let bert = Bert::new(Weights::read(&spec.weights)?)?;
        let tokens = TextTokens::read(&spec.tokenizer, bert.vocabulary())?;
        let max_tokens = spec.max_tokens.min(bert.positions());
        Ok(Self { bert, tokens, spec, max_tokens })
    }

    /// Length of the vectors.
    pub fn dimension(&self) -> usize {
        self.bert.hidden()
    }

    /// Longest sequence in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
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

    /// Splits texts into tokens and lays out the passes through the model that they need. Costs little beside the passes.
    ///
    /// # Errors
    /// [`InferenceError::Tokenise`].
    pub fn plan(&self, inputs: &[EncodeInput<'_>]) -> Result<EncodePlan, InferenceError> {
        let mut windows: Vec<(usize, Window)> = Vec::with_capacity(inputs.len());
        let mut truncated = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            let prefix = self.prefix(input.role);
            let tokenised =
                self.tokens.windows(prefix, input.text, self.max_tokens, WINDOW_OVERLAP, input.max_windows)?;
            truncated.push(tokenised.left_out > 0);
            windows.extend(tokenised.windows.into_iter().map(|window| (index, window)));
        }
        // Sequences of like length go together, so that the threads of a split batch end together.
        windows.sort_by_key(|(index, window)| (window.ids.len(), *index));
        let passes = passes(&windows);
        Ok(EncodePlan { windows, passes, truncated })
    }

    /// Runs one pass of a plan: the states of its tokens, `[tokens, hidden]`.
    ///
    /// # Errors
    /// [`InferenceError::Compute`].
    pub fn run(&self, plan: &EncodePlan, pass: usize) -> Result<Vec<f32>, InferenceError> {
        let windows = plan.passes.get(pass).and_then(|pass| plan.windows.get(pass.clone())).unwrap_or_default();
        let sequences: Vec<&[u32]> = windows.iter().map(|(_, window)| window.ids.as_slice()).collect();
        Ok(self.bert.forward(&sequences)?)
    }

    /// Pools the states of all passes, in their order, to the answers for the texts that the plan was made for. They come in the
    /// order of the inputs and do not depend on what else was in the plan (to the last bits of 32-bit rounding).
    pub fn finish(&self, inputs: &[EncodeInput<'_>], plan: &EncodePlan, states: &[Vec<f32>]) -> Vec<Encoding> {
        let mut answers: Vec<Pools> = inputs
            .iter()
            .zip(&plan.truncated)
            .map(|(input, truncated)| Pools::new(self.dimension(), input.spans, *truncated))
            .collect();
        let mut rows = states.iter().flat_map(|states| states.chunks_exact(self.dimension()));
        // A text's windows are added up in the order of the text, whatever order they were computed in.
        let mut read: Vec<(usize, &Window, Vec<&[f32]>)> = plan
            .windows
            .iter()
            .map(|(index, window)| (*index, window, rows.by_ref().take(window.ids.len()).collect()))
            .collect();
        read.sort_by_key(|(index, window, _)| {
            (*index, window.spans.iter().flatten().next().map_or(0, |span| span.start))
        });
        for (index, window, rows) in read {
            if let Some(pools) = answers.get_mut(index) {
                pools.add(window, &rows, self.spec.pooling);
            }
        }
        answers.into_iter().map(Pools::finish).collect()
    }

    /// Encodes texts at once: plan, passes side by side, finish.
    ///
    /// # Errors
    /// [`InferenceError::Tokenise`], [`InferenceError::Compute`].
    pub fn encode(&self, inputs: &[EncodeInput<'_>]) -> Result<Vec<Encoding>, InferenceError> {
        let plan = self.plan(inputs)?;
        let states: Vec<Vec<f32>> =
            (0..plan.passes()).into_par_iter().map(|pass| self.run(&plan, pass)).collect::<Result<_, _>>()?;
        Ok(self.finish(inputs, &plan, &states))
    }
}

/// The passes through the model that some texts need.
pub struct EncodePlan {
    /// Index of the text, and a window of it; in the order of computing.
    windows: Vec<(usize, Window)>,
    /// Runs of `windows` that go through the model together.
    passes: Vec<Range<usize>>,
    truncated: Vec<bool>,
}

impl EncodePlan {
    /// Number of passes.
    pub fn passes(&self) -> usize {
        self.passes.len()
    }

    /// Tokens of one pass.
    pub fn tokens(&self, pass: usize) -> usize {
        let windows = self.passes.get(pass).and_then(|pass| self.windows.get(pass.clone())).unwrap_or_default();
        windows.iter().map(|(_, window)| window.ids.len()).sum()
    }
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

/// Sums of token states on their way to vectors.
struct Pools {
    whole: Mean,
    spans: Vec<(CharSpan, Mean)>,
    tokens: usize,
    truncated: bool,
}

impl Pools {
    fn new(dimension: usize, spans: &[CharSpan], truncated: bool) -> Self {
        Self {
            whole: Mean::new(dimension),
            spans: spans.iter().map(|span| (*span, Mean::new(dimension))).collect(),
            tokens: 0,
            truncated,
        }
    }

    fn add(&mut self, window: &Window, rows: &[&[f32]], pooling: Pooling) {
        self.tokens += rows.len();
        let pooled = match pooling {
            Pooling::Mean => rows.len(),
            Pooling::Cls => 1,
        };
        rows.iter().take(pooled).for_each(|row| self.whole.add(row));
        for (row, place) in rows.iter().zip(&window.spans) {
            let Some(place) = place else { continue };
            for (span, mean) in &mut self.spans {
                if span.overlaps(*place) {
                    mean.add(row);
                }
            }
        }
    }

    fn finish(self) -> Encoding {
        Encoding {
            vector: self.whole.unit().unwrap_or_default(),
            span_vectors: self.spans.into_iter().map(|(_, mean)| mean.unit()).collect(),
            tokens: self.tokens,
            truncated: self.truncated,
        }
    }
}

struct Mean {
    sum: Vec<f32>,
    count: usize,
}

impl Mean {
    fn new(dimension: usize) -> Self {
        Self { sum: vec![0.0; dimension], count: 0 }
    }

    fn add(&mut self, row: &[f32]) {
        self.sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        self.count += 1;
    }

    /// The mean at unit length; `None` if nothing was added.
    fn unit(mut self) -> Option<Vec<f32>> {
        if self.count == 0 {
            return None;
        }
        let norm = self.sum.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        self.sum.iter_mut().for_each(|value| *value /= norm);
        Some(self.sum)
    }
}
