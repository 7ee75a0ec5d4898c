//! Vectors of example sentences, kept so that a start does not compute them again.
//!
//! A file holds them by the hash of their text for one encoder. The one beside the shipped encoder covers the default taxonomy;
//! what a company adds is computed once and kept in a folder of its own. Vectors are rounded to 16 bits before anyone sees
//! them, so that a kept vector and a fresh one are the same.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use super::TaggingError;
use super::engine::{CHARS_PER_TOKEN, FRAME_TOKENS, refusal};
use super::patience::patiently;
use crate::inference::{
    Begun, ComputePool, Depth, EncodeInput, Encoder, Encoding, InferenceError, Lane, PassOutput, Role,
};

/// Name of the header's entry with the SHA-256 of the encoder and of the content. One entry, because the order of several would
/// change from run to run.
const MADE_OF: &str = "sha256_of_encoder_and_content";

/// Texts that go through the encoder at once.
const BATCH: usize = 64;

/// Texts in work at once for each computing thread, beside a service: enough to be packed together.
const IN_WORK_A_THREAD: usize = 4;

/// First bytes of the SHA-256 of a text.
type Key = [u8; 16];

/// Why kept vectors can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ExamplesError {
    /// The file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is damaged or made for another encoder.
    #[error("{}: {problem}; delete it and it is made again", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Vectors of texts for one encoder.
#[derive(Debug, Clone)]
pub struct ExampleVectors {
    encoder_sha256: String,
    depth: Depth,
    dimension: usize,
    top: usize,
    vectors: HashMap<Key, Vec<f32>>,
}

impl ExampleVectors {
    /// None yet, for the encoder of this hash, whose vectors are `dimension` long.
    pub fn new(encoder_sha256: &str, dimension: usize) -> Self {
        Self {
            encoder_sha256: encoder_sha256.to_owned(),
            depth: Depth::Top,
            dimension,
            top: dimension,
            vectors: HashMap::new(),
        }
    }

    /// The same for deep vectors of this encoder.
    pub fn deep(encoder_sha256: &str, encoder: &Encoder) -> Self {
        let top = encoder.dimension();
        Self { depth: Depth::Deep, dimension: encoder.deep_dimension(), top, ..Self::new(encoder_sha256, top) }
    }

    /// Length of the vectors that texts are compared by: deep vectors begin with one.
    pub fn top_dimension(&self) -> usize {
        self.top
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// True if no text is known.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// The vector of a text.
    pub fn get(&self, text: &str) -> Option<&[f32]> {
        self.vectors.get(&key(text)).map(Vec::as_slice)
    }

    /// Encodes the texts that have no vector yet and says how many those were; `progress` is told after each batch how many are
    /// done, and of how many.
    ///
    /// # Errors
    /// [`InferenceError`] if a text can't be encoded; what was done before stays.
    pub fn complete<'a>(
        &mut self,
        encoder: &Encoder,
        pool: &ComputePool,
        texts: impl Iterator<Item = &'a str>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<usize, InferenceError> {
        let mut missing: Vec<&str> = texts.filter(|text| self.get(text).is_none()).collect();
        missing.sort_unstable();
        missing.dedup();
        for (done, batch) in missing.chunks(BATCH).enumerate() {
            let inputs: Vec<EncodeInput<'_>> = batch.iter().map(|text| EncodeInput::new(text, Role::Query)).collect();
            let encodings = pool.run_blocking(|| encoder.encode_to(&inputs, self.depth))?;
            for (text, encoding) in batch.iter().zip(encodings) {
                self.insert(text, &encoding.vector);
            }
            progress(done * BATCH + batch.len(), missing.len());
        }
        Ok(missing.len())
    }

    /// The same beside a service that answers callers, whose texts go first: on the lane of work in bulk.
    ///
    /// # Errors
    /// [`TaggingError::Overloaded`] if the queue stays full for two minutes, [`TaggingError::Internal`] if a text can't be encoded.
    /// Nothing is kept of what was done before.
    pub async fn complete_beside(
        &mut self,
        encoder: &Arc<Encoder>,
        pool: &ComputePool,
        texts: Vec<String>,
    ) -> Result<usize, TaggingError> {
        let missing: BTreeSet<String> = texts.into_iter().filter(|text| self.get(text).is_none()).collect();
        let depth = self.depth;
        let encoded = missing.into_iter().map(|text| async move {
            let vector = encode_beside(&text, depth, encoder, pool).await?;
            Ok::<_, TaggingError>((text, vector))
        });
        let in_work = pool.threads() * IN_WORK_A_THREAD;
        let encoded: Vec<(String, Vec<f32>)> =
            futures_util::stream::iter(encoded).buffered(in_work).try_collect().await?;
        for (text, vector) in &encoded {
            self.insert(text, vector);
        }
        Ok(encoded.len())
    }

    /// Keeps the vector of a text, rounded to 16 bits.
    pub fn insert(&mut self, text: &str, vector: &[f32]) {
        let rounded = vector.iter().map(|value| f16::from_f32(*value).to_f32()).collect();
        self.vectors.insert(key(text), rounded);
    }

    /// Adds what a file holds.
    ///
    /// # Errors
    /// [`ExamplesError::File`] if it can't be read, [`ExamplesError::Format`] if it is damaged or made for another encoder.
    pub fn read(&mut self, path: &Path) -> Result<(), ExamplesError> {
        let bytes = std::fs::read(path).map_err(|source| ExamplesError::File { path: path.to_owned(), source })?;
        let bad = |problem: String| ExamplesError::Format { path: path.to_owned(), problem };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| bad(error.to_string()))?;
        let made_of = header.metadata().as_ref().and_then(|metadata| metadata.get(MADE_OF)?.split_once(' '));
        let Some((encoder, content)) = made_of else {
            return Err(bad(format!("has no `{MADE_OF}`, so what it was made of is not known")));
        };
        if encoder != self.encoder_sha256 {
            return Err(bad(format!("made for encoder {encoder}, this one is {}", self.encoder_sha256)));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| bad(error.to_string()))?;
        let keys = tensors.tensor("keys").map_err(|error| bad(error.to_string()))?;
        let vectors = tensors.tensor("vectors").map_err(|error| bad(error.to_string()))?;
        let rows = keys.shape().first().copied().unwrap_or(0);
        if keys.shape() != [rows, size_of::<Key>()]
            || keys.dtype() != Dtype::U8
            || vectors.shape() != [rows, self.dimension]
            || vectors.dtype() != Dtype::F16
        {
            return Err(bad(format!(
                "keys {:?} and vectors {:?} are not [n, 16] bytes and [n, {}] 16-bit numbers",
                keys.shape(),
                vectors.shape(),
                self.dimension
            )));
        }
        if content != content_hash(keys.data(), vectors.data()) {
            return Err(bad("is damaged: its content does not have the hash it says".to_owned()));
        }
        let (keys, _) = keys.data().as_chunks::<{ size_of::<Key>() }>();
        for (key, row) in keys.iter().zip(vectors.data().chunks_exact(self.dimension * size_of::<f16>())) {
            let (halves, _) = row.as_chunks::<{ size_of::<f16>() }>();
            let vector: Vec<f32> = halves.iter().map(|half| f16::from_le_bytes(*half).to_f32()).collect();
            if !vector.iter().all(|value| value.is_finite()) {
                return Err(bad("holds a vector that is not finite".to_owned()));
            }
            self.vectors.insert(*key, vector);
        }
        Ok(())
    }

    /// Writes the vectors of `texts` that are known to a file; the same texts give the same bytes, whatever their order.
    ///
    /// # Errors
    /// [`ExamplesError::File`].
    pub fn write<'a>(&self, path: &Path, texts: impl Iterator<Item = &'a str>) -> Result<(), ExamplesError> {
        self.write_rows(path, texts.map(key).filter_map(|key| self.vectors.get_key_value(&key)).collect())
    }

    /// Writes all vectors to a file.
    ///
    /// # Errors
    /// [`ExamplesError::File`].
    pub fn write_all(&self, path: &Path) -> Result<(), ExamplesError> {
        self.write_rows(path, self.vectors.iter().collect())
    }

    fn write_rows(&self, path: &Path, mut rows: Vec<(&Key, &Vec<f32>)>) -> Result<(), ExamplesError> {
        rows.sort_by_key(|(key, _)| *key);
        rows.dedup_by_key(|(key, _)| *key);
        let keys: Vec<u8> = rows.iter().flat_map(|(key, _)| **key).collect();
        let vectors: Vec<u8> = rows
            .iter()
            .flat_map(|(_, vector)| vector.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()))
            .collect();
        let failed = |source: std::io::Error| ExamplesError::File { path: path.to_owned(), source };
        let other = |error: safetensors::SafeTensorError| failed(std::io::Error::other(error));
        let views = [
            ("keys", TensorView::new(Dtype::U8, vec![rows.len(), size_of::<Key>()], &keys).map_err(other)?),
            ("vectors", TensorView::new(Dtype::F16, vec![rows.len(), self.dimension], &vectors).map_err(other)?),
        ];
        let made_of = format!("{} {}", self.encoder_sha256, content_hash(&keys, &vectors));
        let metadata = HashMap::from([(MADE_OF.to_owned(), made_of)]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(other)?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        // Another process may start at the same time: each writes a file of its own and moves it into place whole.
        let partial = path.with_extension(format!("partial-{}", std::process::id()));
        std::fs::write(&partial, bytes).map_err(failed)?;
        std::fs::rename(&partial, path).map_err(failed)
    }
}

fn content_hash(keys: &[u8], vectors: &[u8]) -> String {
    let hash = Sha256::new_with_prefix(keys).chain_update(vectors).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The vector of a text, computed when nobody else waits.
async fn encode_beside(
    text: &str,
    depth: Depth,
    encoder: &Arc<Encoder>,
    pool: &ComputePool,
) -> Result<Vec<f32>, TaggingError> {
    let tokens = text.chars().count() / CHARS_PER_TOKEN + FRAME_TOKENS;
    let encoded = patiently(|| async {
        let (text, model) = (text.to_owned(), Arc::clone(encoder));
        pool.encode(Lane::Bulk, tokens, None, encoder, move || begin(&text, depth, model)).await.map_err(refusal)
    });
    encoded.await?.map_err(|error| TaggingError::Internal(format!("an example can't be encoded: {error}")))
}

/// A text of one pass, as examples are, is packed together with others.
fn begin(text: &str, depth: Depth, encoder: Arc<Encoder>) -> Begun<Result<Vec<f32>, InferenceError>> {
    let first = |encodings: Vec<Encoding>| encodings.into_iter().next().map(|one| one.vector).unwrap_or_default();
    let inputs = [EncodeInput::new(text, Role::Query)];
    let plan = match encoder.plan(&inputs, depth) {
        Ok(plan) => Arc::new(plan),
        Err(error) => return Begun::Done(Err(error)),
    };
    if plan.passes() != 1 {
        return Begun::Done(encoder.encode_to(&inputs, depth).map(first));
    }
    let finishing = Arc::clone(&plan);
    let finish = move |output: Result<PassOutput, InferenceError>| Ok(first(encoder.finish(&finishing, vec![output?])));
    Begun::Encode { plan, pass: 0, finish: Box::new(finish) }
}

fn key(text: &str) -> Key {
    let hash = Sha256::digest(text.as_bytes());
    let mut key = Key::default();
    key.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_other_encoders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept/examples.safetensors");
        let mut vectors = ExampleVectors::new("aa", 3);
        vectors.insert("один", &[0.1, 0.2, 0.3]);
        vectors.insert("два", &[0.4, 0.5, 0.6]);
        vectors.write(&path, ["один", "два", "неизвестный"].into_iter()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        vectors.write(&path, ["два", "один", "два"].into_iter()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);

        let mut again = ExampleVectors::new("aa", 3);
        again.read(&path).unwrap();
        assert_eq!(again.len(), 2);
        assert_eq!(again.get("два"), vectors.get("два"));
        assert_eq!(again.get("неизвестный"), None);

        for (encoder, dimension, part) in [("bb", 3, "made for encoder aa"), ("aa", 4, "are not [n, 16] bytes")] {
            let error = ExampleVectors::new(encoder, dimension).read(&path).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        std::fs::write(&path, &bytes[..bytes.len() - 2]).unwrap();
        assert!(ExampleVectors::new("aa", 3).read(&path).is_err());
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        std::fs::write(&path, changed).unwrap();
        let error = ExampleVectors::new("aa", 3).read(&path).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
}
