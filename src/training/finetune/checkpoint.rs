//! What a killed run needs to go on exactly where it was, in one file that is replaced whole.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::inference::Pooling;

use super::options::FineTuneOptions;
use super::run::EpochResult;
use super::trainer::Trainer;
use super::{Example, FineTuneError};

/// Changes with the content of the file.
const FORMAT: u32 = 1;

/// How far a run has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Steps done.
    pub step: u64,
    /// Smoothed loss.
    pub loss: f32,
    pub history: Vec<EpochResult>,
    /// Epoch with the best result so far, from 1.
    pub best_epoch: Option<usize>,
}

/// By what a run is known again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    format: u32,
    /// SHA-256 of the encoder's weights.
    encoder: String,
    pooling: Pooling,
    /// SHA-256 of all rows, their order included.
    rows: String,
    options: FineTuneOptions,
}

impl Identity {
    pub fn new(
        weights: &Path,
        pooling: Pooling,
        rows: &[Example],
        held_out: &[Example],
        options: &FineTuneOptions,
    ) -> Result<Self, FineTuneError> {
        let bytes =
            std::fs::read(weights).map_err(|source| FineTuneError::File { path: weights.to_owned(), source })?;
        Ok(Self {
            format: FORMAT,
            encoder: hexadecimal(Sha256::digest(&bytes).as_slice()),
            pooling,
            rows: digest_of_rows(rows, held_out),
            // How often a run is saved does not change what comes out.
            options: FineTuneOptions { checkpoint_seconds: 0, ..options.clone() },
        })
    }

    /// What sets the run apart from `other`, if anything does.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        [
            ("format", self.format != other.format),
            ("encoder", self.encoder != other.encoder),
            ("pooling", self.pooling != other.pooling),
            ("rows", self.rows != other.rows),
            ("options", self.options != other.options),
        ]
        .into_iter()
        .find_map(|(name, differs)| differs.then_some(name))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest_of_rows(rows: &[Example], held_out: &[Example]) -> String {
    let mut digest = Sha256::new();
    for set in [rows, held_out] {
        digest.update((set.len() as u64).to_le_bytes());
        for numbers in set.iter().flat_map(|row| [&row.tokens, &row.labels]) {
            digest.update((numbers.len() as u64).to_le_bytes());
            numbers.iter().for_each(|number| digest.update(number.to_le_bytes()));
        }
    }
    hexadecimal(digest.finalize().as_slice())
}

/// The checkpoint of a run.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    identity: Identity,
}

/// Values on their way to a file.
struct Values<'a> {
    values: &'a [f32],
    shape: [usize; 1],
}

impl<'a> Values<'a> {
    fn new(values: &'a [f32]) -> Self {
        Self { values, shape: [values.len()] }
    }
}

impl View for Values<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

const IDENTITY: &str = "identity";
const POSITION: &str = "position";

impl Checkpoint {
    pub fn new(folder: &Path, identity: Identity) -> Self {
        Self { path: folder.join("checkpoint.safetensors"), identity }
    }

    fn bad(&self, problem: impl Into<String>) -> FineTuneError {
        FineTuneError::Checkpoint { path: self.path.clone(), problem: problem.into() }
    }

    fn damaged(&self, problem: impl std::fmt::Display) -> FineTuneError {
        self.bad(format!("damaged: {problem}; delete the file to begin anew"))
    }

    /// Replaces the file in one step: a reader, or the next run, sees the old one or the new one.
    pub fn save(&self, trainer: &Trainer, position: &Position, best: Option<&[Vec<f32>]>) -> Result<(), FineTuneError> {
        let text = |value: serde_json::Result<String>| value.map_err(|error| self.bad(error.to_string()));
        let metadata = HashMap::from([
            (IDENTITY.to_owned(), text(serde_json::to_string(&self.identity))?),
            (POSITION.to_owned(), text(serde_json::to_string(position))?),
        ]);
        let parameters = trainer.parameters();
        let learned = parameters.iter().filter(|parameter| !parameter.is_frozen()).flat_map(|parameter| {
            [
                ("value", parameter.values()),
                ("first", parameter.first_moment.as_slice()),
                ("second", parameter.second_moment.as_slice()),
                ("average", parameter.average.as_slice()),
            ]
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(kind, values)| (format!("{kind}/{}", parameter.name), Values::new(values)))
        });
        let best = parameters
            .iter()
            .zip(best.unwrap_or_default())
            .filter(|(parameter, _)| !parameter.is_frozen())
            .map(|(parameter, values)| (format!("best/{}", parameter.name), Values::new(values)));
        let file = |source| FineTuneError::File { path: self.path.clone(), source };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(file)?;
        let unfinished = self.path.with_extension("unfinished");
        safetensors::serialize_to_file(learned.chain(best), Some(metadata), &unfinished)
            .map_err(|error| self.bad(error.to_string()))?;
        File::open(&unfinished).and_then(|written| written.sync_all()).map_err(file)?;
        std::fs::rename(&unfinished, &self.path).map_err(file)?;
        // The name is safe only when the folder is.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(file)
    }

    /// Brings a run to where the checkpoint left it: its position, and the parameters of its best epoch. `None` if there is no
    /// checkpoint.
    #[expect(clippy::type_complexity, reason = "a pair of what its caller stores side by side")]
    pub fn load(&self, trainer: &mut Trainer) -> Result<Option<(Position, Option<Vec<Vec<f32>>>)>, FineTuneError> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FineTuneError::File { path: self.path.clone(), source }),
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| self.damaged(error))?;
        let content = SafeTensors::deserialize(&bytes).map_err(|error| self.damaged(error))?;
        let metadata = header.metadata().as_ref().ok_or_else(|| self.damaged("no metadata"))?;
        let text = |key: &str| metadata.get(key).ok_or_else(|| self.damaged(format!("no {key}")));
        let identity: Identity = serde_json::from_str(text(IDENTITY)?).map_err(|error| self.damaged(error))?;
        if let Some(what) = self.identity.difference(&identity) {
            return Err(self.bad(format!(
                "the checkpoint belongs to a run that differs in {what}; delete the file or choose another folder"
            )));
        }
        let position: Position = serde_json::from_str(text(POSITION)?).map_err(|error| self.damaged(error))?;
        let fill = |kind: &str, name: &str, into: &mut [f32]| {
            let tensor = content.tensor(&format!("{kind}/{name}")).map_err(|error| self.damaged(error))?;
            if tensor.data().len() != size_of_val(into) {
                return Err(self.damaged(format!("{kind}/{name} has another size")));
            }
            let (numbers, _) = tensor.data().as_chunks::<4>();
            into.iter_mut().zip(numbers).for_each(|(value, bytes)| *value = f32::from_le_bytes(*bytes));
            Ok(())
        };
        let mut best = position.best_epoch.map(|_| Vec::new());
        for parameter in trainer.parameters_mut() {
            let mut best_values = parameter.values().to_vec();
            if !parameter.is_frozen() {
                fill("value", &parameter.name, parameter.value.values_mut())?;
                fill("first", &parameter.name, &mut parameter.first_moment)?;
                fill("second", &parameter.name, &mut parameter.second_moment)?;
                if !parameter.average.is_empty() {
                    fill("average", &parameter.name, &mut parameter.average)?;
                }
                parameter.refresh();
                if best.is_some() {
                    fill("best", &parameter.name, &mut best_values)?;
                }
            }
            if let Some(best) = &mut best {
                best.push(best_values);
            }
        }
        Ok(Some((position, best)))
    }
}
