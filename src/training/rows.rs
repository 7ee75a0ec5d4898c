//! Texts through the encoder, for training.

use crate::inference::{ComputePool, EncodeInput, Encoder, Role};
use crate::tagging::ExampleVectors;
use crate::training::TrainingError;

/// Texts that go through the encoder at once.
const BATCH: usize = 64;

/// What became of texts that went through the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Texts whose vectors were known before.
    pub known: usize,
    /// Texts that were computed.
    pub computed: usize,
}

/// Sees to it that `vectors` has all of these texts; `progress` is told after each batch how many of how many are computed, and
/// ends the work by answering false.
///
/// # Errors
/// [`TrainingError::Inference`], [`TrainingError::Interrupted`].
pub fn encode(
    encoder: &Encoder,
    pool: &ComputePool,
    texts: &[&str],
    vectors: &mut ExampleVectors,
    mut progress: impl FnMut(usize, usize) -> bool,
) -> Result<Encoded, TrainingError> {
    let mut missing: Vec<&str> = texts.iter().copied().filter(|text| vectors.get(text).is_none()).collect();
    missing.sort_unstable();
    missing.dedup();
    // Texts of one length go side by side and the longest first, so that the time left is told too long rather than too short.
    missing.sort_by_key(|text| std::cmp::Reverse(text.len()));
    let all: usize = missing.iter().map(|text| text.len()).sum();
    let mut done = 0;
    for batch in missing.chunks(BATCH) {
        let inputs: Vec<EncodeInput<'_>> = batch.iter().map(|text| EncodeInput::new(text, Role::Query)).collect();
        let encodings = pool.run_blocking(|| encoder.encode(&inputs))?;
        for (text, encoding) in batch.iter().zip(encodings) {
            vectors.insert(text, &encoding.vector);
            done += text.len();
        }
        if !progress(done, all) {
            return Err(TrainingError::Interrupted);
        }
    }
    Ok(Encoded { known: texts.len() - missing.len().min(texts.len()), computed: missing.len() })
}
