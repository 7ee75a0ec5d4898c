//! Reads the weights of an encoder of the BERT family, from GGUF or safetensors, under one set of names.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::{QStorage, QTensor, gguf_file};
use candle_core::{DType, Device, Tensor, bail};
use serde::Deserialize;

use super::{InferenceError, gguf};

/// Shape of an encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BertShape {
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub feed_forward: usize,
    /// Rows of the position table that may be used.
    pub positions: usize,
    /// First row of the position table in use (2 for RoBERTa weights in safetensors, else 0).
    pub first_position: usize,
    pub layer_norm_epsilon: f64,
}

/// Tensors by their GGUF names, in 32 bits, with the shape they go with. Those of GGUF are read one by one as they are taken.
pub(crate) struct Weights {
    pub shape: BertShape,
    store: Store,
    origin: std::path::PathBuf,
}

/// Where tensors wait to be taken.
enum Store {
    Gguf { content: gguf_file::Content, file: BufReader<File> },
    Loaded(HashMap<String, Tensor>),
}

/// Rows that are looked up one by one, as they are stored: a table of 8 or 4 bits stays one.
pub(crate) enum Table {
    Quantised(QTensor),
    Full(Tensor),
}

impl Table {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        let dims = match self {
            Self::Quantised(table) => table.shape().dims(),
            Self::Full(table) => table.dims(),
        };
        dims.first().copied().unwrap_or(0)
    }

    /// The rows with these numbers, in 32 bits.
    pub fn lookup(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        match self {
            Self::Full(table) => {
                let ids = Tensor::from_slice(ids, ids.len(), table.device())?;
                table.index_select(&ids, 0)?.to_dtype(DType::F32)
            }
            // Candle panics on rows of no bytes.
            Self::Quantised(_) if ids.is_empty() => bail!("there are no tokens to look up"),
            Self::Quantised(table) => {
                let bytes = table.data()?;
                let (rows, columns) = table.shape().dims2()?;
                let length = bytes.len() / rows.max(1);
                let mut chosen = Vec::with_capacity(ids.len() * length);
                for id in ids {
                    let start = *id as usize * length;
                    let Some(row) = bytes.get(start..start + length) else { bail!("there is no row {id} of {rows}") };
                    chosen.extend_from_slice(row);
                }
                let storage = QStorage::from_data(Cow::Owned(chosen), &Device::Cpu, table.dtype())?;
                QTensor::new(storage, (ids.len(), columns))?.dequantize(&Device::Cpu)
            }
        }
    }

    /// All of it, in 32 bits.
    pub fn whole(self) -> candle_core::Result<Tensor> {
        match self {
            Self::Quantised(table) => table.dequantize(&Device::Cpu),
            Self::Full(table) => table.to_dtype(DType::F32),
        }
    }
}

impl Weights {
    /// Reads GGUF by its ending `.gguf`, else safetensors with a `config.json` beside it.
    pub fn read(path: &Path) -> Result<Self, InferenceError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| InferenceError::Read { path, source }
        };
        let bad = |problem: String| InferenceError::Format { path: path.to_owned(), problem };
        let (shape, store) = if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf")) {
            let (content, file) = gguf::open(path)?;
            (shape_of_gguf(&content).map_err(bad)?, Store::Gguf { content, file })
        } else {
            let bytes = std::fs::read(path).map_err(unreadable(path))?;
            let config_path = path.with_file_name("config.json");
            let config = std::fs::read_to_string(&config_path).map_err(unreadable(&config_path))?;
            let shape =
                shape_of_config(&config).map_err(|problem| InferenceError::Format { path: config_path, problem })?;
            (shape, Store::Loaded(read_safetensors(&bytes).map_err(bad)?))
        };
        Ok(Self { shape, store, origin: path.to_owned() })
    }

    /// Takes out a tensor as it is stored; its dimensions must be `right`, or what was expected is said.
    fn take_stored(
        &mut self,
        name: &str,
        right: impl Fn(&[usize]) -> Result<(), String>,
    ) -> Result<Table, InferenceError> {
        let origin = &self.origin;
        let bad = |problem: String| InferenceError::Format { path: origin.clone(), problem };
        let missing = || bad(format!("tensor {name} is missing"));
        let check = |dims: &[usize]| {
            right(dims).map_err(|expected| bad(format!("tensor {name} has shape {dims:?}, expected {expected}")))
        };
        match &mut self.store {
            Store::Loaded(tensors) => {
                let tensor = tensors.remove(name).ok_or_else(missing)?;
                check(tensor.dims())?;
                Ok(Table::Full(tensor))
            }
            Store::Gguf { content, file } => {
                let info = content.tensor_infos.remove(name).ok_or_else(missing)?;
                check(info.shape.dims())?;
                let tensor = info.read(file, content.tensor_data_offset, &Device::Cpu);
                Ok(Table::Quantised(tensor.map_err(|error| bad(format!("tensor {name} can't be read: {error}")))?))
            }
        }
    }

    fn whole(&self, name: &str, table: Table) -> Result<Tensor, InferenceError> {
        table.whole().map_err(|error| InferenceError::Format {
            path: self.origin.clone(),
            problem: format!("tensor {name} can't be read: {error}"),
        })
    }

    /// Takes out the tensor `name`, which must have exactly this shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, InferenceError> {
        let right = |dims: &[usize]| (dims == shape).then_some(()).ok_or_else(|| format!("{shape:?}"));
        let stored = self.take_stored(name, right)?;
        self.whole(name, stored)
    }

    /// Takes out the table `name`, of any number of rows of width `columns`, as it is stored.
    pub fn take_table(&mut self, name: &str, columns: usize) -> Result<Table, InferenceError> {
        self.take_stored(name, |dims| match dims {
            [rows, width] if *rows > 0 && *width == columns => Ok(()),
            _ => Err(format!("[any, {columns}]")),
        })
    }

    /// Takes out the tensor `name`, of any shape.
    pub fn take_any(&mut self, name: &str) -> Result<Tensor, InferenceError> {
        let stored = self.take_stored(name, |_| Ok(()))?;
        self.whole(name, stored)
    }

    /// Rows of the tensor `name`; 0 if there is none.
    pub fn rows(&self, name: &str) -> usize {
        let dims = match &self.store {
            Store::Gguf { content, .. } => content.tensor_infos.get(name).map(|info| info.shape.dims()),
            Store::Loaded(tensors) => tensors.get(name).map(Tensor::dims),
        };
        dims.and_then(|dims| dims.first().copied()).unwrap_or(0)
    }

    /// Names of the tensors that are left.
    pub fn names(&self) -> Vec<String> {
        match &self.store {
            Store::Gguf { content, .. } => content.tensor_infos.keys().cloned().collect(),
            Store::Loaded(tensors) => tensors.keys().cloned().collect(),
        }
    }
}

type Named = HashMap<String, Tensor>;

fn shape_of_gguf(content: &gguf_file::Content) -> Result<BertShape, String> {
    let architecture = content
        .metadata
        .get("general.architecture")
        .and_then(|value| value.to_string().ok())
        .ok_or("general.architecture is missing")?;
    if architecture != "bert" {
        return Err(format!("architecture {architecture:?} is not an encoder of the BERT family; allowed: bert"));
    }
    let number = |key: &str| {
        content
            .metadata
            .get(key)
            .and_then(|value| value.to_u32().ok())
            .map(|value| value as usize)
            .ok_or(format!("{key} is missing or not a number"))
    };
    let epsilon = content
        .metadata
        .get("bert.attention.layer_norm_epsilon")
        .and_then(|value| value.to_f32().ok())
        .ok_or("bert.attention.layer_norm_epsilon is missing or not a number")?;
    let shape = BertShape {
        hidden: number("bert.embedding_length")?,
        layers: number("bert.block_count")?,
        heads: number("bert.attention.head_count")?,
        feed_forward: number("bert.feed_forward_length")?,
        positions: number("bert.context_length")?,
        first_position: 0,
        layer_norm_epsilon: f64::from(epsilon),
    };
    check_shape(&shape)?;
    Ok(shape)
}

/// `config.json` as Hugging Face models have it.
#[derive(Deserialize)]
struct BertConfig {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    layer_norm_eps: f64,
    #[serde(default)]
    hidden_act: Option<String>,
    #[serde(default)]
    pad_token_id: usize,
}

fn shape_of_config(source: &str) -> Result<BertShape, String> {
    let config: BertConfig = serde_json::from_str(source).map_err(|error| error.to_string())?;
    // RoBERTa counts positions from the padding id onwards.
    let first_position = match config.model_type.as_str() {
        "bert" => 0,
        "roberta" | "xlm-roberta" => config.pad_token_id.saturating_add(1),
        other => return Err(format!("model_type {other:?} is not known; allowed: bert, roberta, xlm-roberta")),
    };
    if let Some(activation) = config.hidden_act.as_deref().filter(|name| *name != "gelu") {
        return Err(format!("hidden_act {activation:?} is not known; allowed: gelu"));
    }
    let positions = config
        .max_position_embeddings
        .checked_sub(first_position)
        .ok_or("max_position_embeddings is smaller than the first position")?;
    let shape = BertShape {
        hidden: config.hidden_size,
        layers: config.num_hidden_layers,
        heads: config.num_attention_heads,
        feed_forward: config.intermediate_size,
        positions,
        first_position,
        layer_norm_epsilon: config.layer_norm_eps,
    };
    check_shape(&shape)?;
    Ok(shape)
}

fn check_shape(shape: &BertShape) -> Result<(), String> {
    let sizes = [
        ("hidden size", shape.hidden, 16_384),
        ("layers", shape.layers, 200),
        ("heads", shape.heads, 1_024),
        ("feed-forward size", shape.feed_forward, 65_536),
        ("positions", shape.positions, 65_536),
    ];
    for (name, value, limit) in sizes {
        if value == 0 || value > limit {
            return Err(format!("{name} is {value}, allowed: 1 to {limit}"));
        }
    }
    if !shape.hidden.is_multiple_of(shape.heads) {
        return Err(format!("hidden size {} can't be split into {} heads", shape.hidden, shape.heads));
    }
    Ok(())
}

fn read_safetensors(bytes: &[u8]) -> Result<Named, String> {
    let loaded = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)
        .map_err(|error| format!("not a readable safetensors file: {error}"))?;
    let mut tensors = HashMap::with_capacity(loaded.len());
    for (name, tensor) in loaded {
        let Some(known) = gguf_name(&name) else { continue };
        tensors.insert(known, tensor);
    }
    Ok(tensors)
}

/// The GGUF name of a tensor that Hugging Face calls `name`; `None` for what an encoder has no use for (poolers, heads).
fn gguf_name(name: &str) -> Option<String> {
    let name = ["bert.", "roberta.", "model."].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    if let Some(rest) = name.strip_prefix("embeddings.") {
        let known = match rest {
            "word_embeddings.weight" => "token_embd.weight",
            "position_embeddings.weight" => "position_embd.weight",
            "token_type_embeddings.weight" => "token_types.weight",
            "LayerNorm.weight" | "LayerNorm.gamma" => "token_embd_norm.weight",
            "LayerNorm.bias" | "LayerNorm.beta" => "token_embd_norm.bias",
            _ => return None,
        };
        return Some(known.to_owned());
    }
    let (layer, part) = name.strip_prefix("encoder.layer.")?.split_once('.')?;
    let (part, kind) = part.rsplit_once('.')?;
    let kind = match kind {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    };
    let known = match part {
        "attention.self.query" => "attn_q",
        "attention.self.key" => "attn_k",
        "attention.self.value" => "attn_v",
        "attention.output.dense" => "attn_output",
        "attention.output.LayerNorm" => "attn_output_norm",
        "intermediate.dense" => "ffn_up",
        "output.dense" => "ffn_down",
        "output.LayerNorm" => "layer_output_norm",
        _ => return None,
    };
    Some(format!("blk.{layer}.{known}.{kind}"))
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::*;

    #[test]
    fn no_tokens_are_an_error_and_no_panic() {
        let rows = Tensor::zeros((4, 32), DType::F32, &Device::Cpu).unwrap();
        let table = Table::Quantised(QTensor::quantize(&rows, GgmlDType::Q8_0).unwrap());
        assert_eq!(table.lookup(&[1, 3]).unwrap().dims(), [2, 32]);
        assert!(table.lookup(&[]).unwrap_err().to_string().contains("no tokens"));
    }

    #[test]
    fn hugging_face_names_become_gguf_names() {
        let table = [
            ("bert.embeddings.word_embeddings.weight", Some("token_embd.weight")),
            ("embeddings.LayerNorm.gamma", Some("token_embd_norm.weight")),
            ("roberta.encoder.layer.11.attention.self.key.bias", Some("blk.11.attn_k.bias")),
            ("encoder.layer.0.output.LayerNorm.beta", Some("blk.0.layer_output_norm.bias")),
            ("encoder.layer.3.output.dense.weight", Some("blk.3.ffn_down.weight")),
            ("pooler.dense.weight", None),
            ("embeddings.position_ids", None),
        ];
        for (given, expected) in table {
            assert_eq!(gguf_name(given).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn a_config_that_cannot_be_an_encoder_is_refused() {
        let config = |model: &str, hidden: usize, act: &str| {
            format!(
                r#"{{"model_type":"{model}","hidden_size":{hidden},"num_hidden_layers":2,"num_attention_heads":4,
                "intermediate_size":64,"max_position_embeddings":514,"layer_norm_eps":1e-5,"hidden_act":"{act}","pad_token_id":1}}"#
            )
        };
        assert_eq!(shape_of_config(&config("xlm-roberta", 16, "gelu")).map(|shape| shape.positions), Ok(512));
        for (source, part) in [
            (config("gpt2", 16, "gelu"), "model_type \"gpt2\""),
            (config("bert", 18, "gelu"), "can't be split into 4 heads"),
            (config("bert", 0, "gelu"), "hidden size is 0"),
            (config("bert", 16, "relu"), "hidden_act \"relu\""),
            ("{".to_owned(), "EOF"),
        ] {
            let error = shape_of_config(&source).unwrap_err();
            assert!(error.contains(part), "{error} should contain {part}");
        }
    }
}
