//! A tuned encoder, and the GGUF file that takes the place of the one it came from.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::{Device, Tensor};

use crate::inference::Weights;

use super::FineTuneError;
use super::network::{JOINED, Network};
use super::options::Storage;
use super::original::{Original, stored_type};
use super::run::EpochResult;

const FILE_TYPE: &str = "general.file_type";

/// An encoder after fine-tuning.
#[derive(Debug)]
pub struct Tuned {
    pub(super) network: Network,
    source: PathBuf,
    storage: Storage,
    history: Vec<EpochResult>,
    best_epoch: Option<usize>,
}

impl Tuned {
    pub(super) fn new(
        network: Network,
        source: PathBuf,
        storage: Storage,
        history: Vec<EpochResult>,
        best_epoch: Option<usize>,
    ) -> Self {
        Self { network, source, storage, history, best_epoch }
    }

    /// Results of all epochs.
    pub fn history(&self) -> &[EpochResult] {
        &self.history
    }

    /// The epoch that the weights come from, from 1: the best on the held-out rows, or the last if there were none.
    pub fn epoch(&self) -> usize {
        self.best_epoch.unwrap_or(self.history.len())
    }

    /// Learned layers, by the names and shapes that GGUF has for them.
    fn learned(&self) -> HashMap<String, (Vec<usize>, Vec<f32>)> {
        let mut learned = HashMap::new();
        for parameter in self.network.parameters().into_iter().filter(|parameter| !parameter.is_frozen()) {
            let (rows, columns) = (parameter.value.rows(), parameter.value.columns());
            let is_matrix = parameter.name.ends_with(".weight") && !parameter.name.contains("norm");
            let shape =
                |values: &[f32]| if is_matrix { vec![values.len() / columns, columns] } else { vec![values.len()] };
            if let Some((layer, kind)) = parameter.name.split_once(JOINED) {
                let size = (rows * columns / 3).max(1);
                for (part, values) in ["attn_q", "attn_k", "attn_v"].iter().zip(parameter.values().chunks_exact(size)) {
                    learned.insert(format!("{layer}{part}{kind}"), (shape(values), values.to_vec()));
                }
            } else {
                let values = parameter.values();
                learned.insert(parameter.name.clone(), (shape(values), values.to_vec()));
            }
        }
        learned
    }

    /// Writes `model.gguf` into `folder`, and copies `tokenizer.json` and `config.json` from beside the encoder's weights, where
    /// they are there. Each file is replaced whole.
    ///
    /// # Errors
    /// [`FineTuneError::Encoder`] if the encoder's own file is gone or has changed shape, [`FineTuneError::File`],
    /// [`FineTuneError::Compute`].
    pub fn save(&self, folder: &Path) -> Result<(), FineTuneError> {
        let file = |path: &Path, source| FineTuneError::File { path: path.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(|error| file(folder, error))?;
        let content = self.content(self.storage)?;
        let path = folder.join("model.gguf");
        let mut bytes = Cursor::new(Vec::new());
        content.write(&mut bytes)?;
        replace(&path, bytes.get_ref()).map_err(|error| file(&path, error))?;
        for name in ["tokenizer.json", "config.json"] {
            let from = self.source.with_file_name(name);
            let to = folder.join(name);
            if from.exists() && from != to {
                let bytes = std::fs::read(&from).map_err(|error| file(&from, error))?;
                replace(&to, &bytes).map_err(|error| file(&to, error))?;
            }
        }
        Ok(())
    }

    fn content(&self, storage: Storage) -> Result<Content, FineTuneError> {
        let mut weights = Weights::read(&self.source)?;
        let shape = weights.shape;
        let original = Original::read(&self.source, &shape)?;
        let mut learned = self.learned();
        let mut tensors = Vec::new();
        let mut names = weights.names();
        names.sort_by_key(|name| (original.place(name), name.clone()));
        for name in names {
            let tensor = weights.take_any(&name)?;
            let own = original.tensor(&name)?;
            let own_type = own.as_ref().map(QTensor::dtype);
            let new = match name.as_str() {
                "token_embd.weight" => self.token_table(&tensor, learned.remove(&name))?,
                "position_embd.weight" => position_table(&tensor, learned.remove(&name), shape.first_position)?,
                _ => match learned.remove(&name) {
                    Some((shape, values)) => Some(Tensor::from_vec(values, shape, &Device::Cpu)?),
                    None => None,
                },
            };
            let stored = match (new, own) {
                (Some(new), _) => QTensor::quantize(&new, stored_type(storage, own_type, &new))?,
                (None, Some(own)) => own,
                (None, None) => QTensor::quantize(&tensor, stored_type(storage, None, &tensor))?,
            };
            tensors.push((name, stored));
        }
        let mut metadata = original.metadata;
        // The type that most tensors have, by the numbers of llama.cpp.
        let file_type = match storage {
            Storage::AsSource => None,
            Storage::EightBit => Some(7),
            Storage::SixteenBit => Some(1),
        };
        if let Some(number) = file_type {
            metadata.retain(|(key, _)| key != FILE_TYPE);
            metadata.push((FILE_TYPE.to_owned(), Value::U32(number)));
        }
        Ok(Content { metadata, tensors })
    }

    /// The whole table of tokens, with the rows that were learned in their places; `None` if none was.
    fn token_table(
        &self,
        table: &Tensor,
        learned: Option<(Vec<usize>, Vec<f32>)>,
    ) -> candle_core::Result<Option<Tensor>> {
        let Some((_, rows)) = learned else { return Ok(None) };
        let hidden = self.network.hidden();
        let mut values = table.flatten_all()?.to_vec1::<f32>()?;
        for (id, place) in self.network.places() {
            let start = *id as usize * hidden;
            let (into, from) = (values.get_mut(start..start + hidden), rows.get(place * hidden..(place + 1) * hidden));
            if let (Some(into), Some(from)) = (into, from) {
                into.copy_from_slice(from);
            }
        }
        Tensor::from_vec(values, table.shape(), &Device::Cpu).map(Some)
    }
}

/// The whole table of positions as GGUF has it, without the rows before the first in use.
fn position_table(
    table: &Tensor,
    learned: Option<(Vec<usize>, Vec<f32>)>,
    first: usize,
) -> candle_core::Result<Option<Tensor>> {
    let (rows, hidden) = table.dims2()?;
    if learned.is_none() && first == 0 {
        return Ok(None);
    }
    let mut values = table.narrow(0, first, rows - first)?.flatten_all()?.to_vec1::<f32>()?;
    for (value, learned) in values.iter_mut().zip(learned.map(|(_, values)| values).unwrap_or_default()) {
        *value = learned;
    }
    Tensor::from_vec(values, (rows - first, hidden), &Device::Cpu).map(Some)
}

struct Content {
    metadata: Vec<(String, Value)>,
    tensors: Vec<(String, QTensor)>,
}

impl Content {
    fn write(&self, writer: &mut Cursor<Vec<u8>>) -> candle_core::Result<()> {
        let metadata: Vec<(&str, &Value)> = self.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<(&str, &QTensor)> = self.tensors.iter().map(|(name, one)| (name.as_str(), one)).collect();
        gguf_file::write(writer, &metadata, &tensors)
    }
}

/// Writes a file beside `path`, and puts it in its place.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}
