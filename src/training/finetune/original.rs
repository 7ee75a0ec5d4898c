//! The file that an encoder came from: what its tensors are stored as, and what else it says.

use std::io::Cursor;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use crate::inference::BertShape;

use super::FineTuneError;
use super::options::Storage;

/// Bits of a type, as far as types of weights go.
fn bits(dtype: GgmlDType) -> usize {
    dtype.type_size() * 8 / dtype.block_size().max(1)
}

pub(super) fn stored_type(storage: Storage, own: Option<GgmlDType>, tensor: &Tensor) -> GgmlDType {
    let wanted = match storage {
        Storage::AsSource => own.unwrap_or(GgmlDType::F16),
        Storage::EightBit => GgmlDType::Q8_0,
        Storage::SixteenBit => GgmlDType::F16,
    };
    let wanted = match own {
        Some(own) if bits(own) > bits(wanted) => own,
        _ => wanted,
    };
    // Vectors are never rounded; rows that can't be cut into blocks are stored in 16 bits.
    match tensor.dims() {
        [_, columns] if columns.is_multiple_of(wanted.block_size()) => wanted,
        [_, _] => GgmlDType::F16,
        _ => GgmlDType::F32,
    }
}

/// Names, types and metadata of the encoder's own file.
pub(super) struct Original {
    pub metadata: Vec<(String, Value)>,
    file: Option<(gguf_file::Content, Vec<u8>)>,
}

impl Original {
    pub fn read(path: &Path, shape: &BertShape) -> Result<Self, FineTuneError> {
        if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("gguf")) {
            return Ok(Self { metadata: metadata_of(shape), file: None });
        }
        let bytes = std::fs::read(path).map_err(|source| FineTuneError::File { path: path.to_owned(), source })?;
        let content = gguf_file::Content::read(&mut Cursor::new(&bytes))?;
        let mut metadata: Vec<(String, Value)> =
            content.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        metadata.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(Self { metadata, file: Some((content, bytes)) })
    }

    /// Where a tensor lies in the file.
    pub fn place(&self, name: &str) -> Option<u64> {
        self.file.as_ref().and_then(|(content, _)| content.tensor_infos.get(name)).map(|info| info.offset)
    }

    /// Whether a tensor is stored in blocks of 4 bits that share a scale (Q4_0).
    pub fn is_short(&self, name: &str) -> bool {
        let info = self.file.as_ref().and_then(|(content, _)| content.tensor_infos.get(name));
        info.is_some_and(|info| info.ggml_dtype == GgmlDType::Q4_0)
    }

    pub fn tensor(&self, name: &str) -> candle_core::Result<Option<QTensor>> {
        self.file
            .as_ref()
            .map(|(content, bytes)| content.tensor(&mut Cursor::new(bytes), name, &Device::Cpu))
            .transpose()
    }
}

/// What a GGUF file says of an encoder.
fn metadata_of(shape: &BertShape) -> Vec<(String, Value)> {
    let number = |key: &str, value: usize| (format!("bert.{key}"), Value::U32(value as u32));
    vec![
        ("general.architecture".to_owned(), Value::String("bert".to_owned())),
        number("block_count", shape.layers),
        number("context_length", shape.positions),
        number("embedding_length", shape.hidden),
        number("feed_forward_length", shape.feed_forward),
        number("attention.head_count", shape.heads),
        ("bert.attention.layer_norm_epsilon".to_owned(), Value::F32(shape.layer_norm_epsilon as f32)),
    ]
}
