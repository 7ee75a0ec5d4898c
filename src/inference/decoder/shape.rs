//! What kind of decoder a GGUF file holds, read from its metadata.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use serde::{Deserialize, Serialize};

use crate::feedback::named_enum;

named_enum! {
    /// Families of decoders that can be run.
    Architecture {
        /// Qwen2 and Qwen2.5.
        Qwen2 = "qwen2",
        /// Qwen3.
        Qwen3 = "qwen3",
        /// Llama, Mistral and what is built like them.
        Llama = "llama",
        /// Gemma 3.
        Gemma3 = "gemma3",
        /// Phi 3.
        Phi3 = "phi3",
    }
}

/// Which numbers of a head are turned together by a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RotaryPairs {
    /// The first with the first of the second half, and so on.
    Halves,
    /// Neighbours.
    Neighbours,
}

/// What stands between the two products of a feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// SiLU.
    Silu,
    /// GELU by tanh.
    Gelu,
}

/// Layers that look only so far back, beside those that look at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sliding {
    /// Positions that they look at, their own included.
    pub window: usize,
    /// One layer in so many looks at all.
    pub every: usize,
    /// Base of the angles in layers that slide.
    pub rotary_base: f32,
}

/// Shape of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub architecture: Architecture,
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    /// Heads of keys and values; a divisor of `heads`.
    pub value_heads: usize,
    pub head_width: usize,
    pub feed_forward: usize,
    /// Tokens that it was made to read.
    pub context: usize,
    pub epsilon: f32,
    pub rotary_base: f32,
    /// Numbers of a head that positions turn.
    pub rotary_width: usize,
    pub rotary_pairs: RotaryPairs,
    /// What positions are divided by.
    pub rotary_factor: f32,
    pub sliding: Option<Sliding>,
    pub gate: Gate,
    /// What rows of the token table are multiplied by.
    pub embedding_scale: f32,
}

/// The metadata of a GGUF file, asked by key.
pub(super) struct Metadata<'a> {
    values: &'a HashMap<String, Value>,
    prefix: String,
}

impl<'a> Metadata<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.values.get(&format!("{}.{key}", self.prefix))
    }

    fn whole(&self, key: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = match value {
            Value::U64(number) => usize::try_from(*number).ok(),
            Value::I64(number) => usize::try_from(*number).ok(),
            other => other.to_u32().ok().map(|number| number as usize),
        };
        number.map(Some).ok_or_else(|| format!("{}.{key} is not a whole number", self.prefix))
    }

    fn count(&self, key: &str) -> Result<usize, String> {
        match self.whole(key)? {
            None => Err(format!("{}.{key} is missing", self.prefix)),
            Some(0) => Err(format!("{}.{key} is 0", self.prefix)),
            Some(count) => Ok(count),
        }
    }

    fn number(&self, key: &str) -> Result<Option<f32>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.to_f32().ok().or_else(|| value.to_f64().ok().map(|number| number as f32));
        number
            .filter(|number| number.is_finite())
            .map(Some)
            .ok_or_else(|| format!("{}.{key} is not a number", self.prefix))
    }
}

impl Shape {
    /// Reads it.
    ///
    /// # Errors
    /// What is missing or can't be, by its key.
    pub fn read(values: &HashMap<String, Value>) -> Result<Self, String> {
        let name = values.get("general.architecture").and_then(|value| value.to_string().ok());
        let name = name.ok_or("general.architecture is missing")?;
        let allowed = Architecture::ALL.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ");
        let architecture = Architecture::ALL.iter().copied().find(|one| one.as_str() == name).ok_or_else(|| {
            format!("architecture {name:?} is not a language model that can be run; allowed: {allowed}")
        })?;
        let of = Metadata { values, prefix: name.clone() };
        let (hidden, heads) = (of.count("embedding_length")?, of.count("attention.head_count")?);
        let value_heads = of.whole("attention.head_count_kv")?.unwrap_or(heads);
        if value_heads == 0 || !heads.is_multiple_of(value_heads) {
            return Err(format!("{name}.attention.head_count_kv is {value_heads}, no divisor of {heads} heads"));
        }
        let head_width = match of.whole("attention.key_length")? {
            Some(width) => width,
            None => hidden / heads,
        };
        if of.whole("attention.value_length")?.is_some_and(|width| width != head_width) {
            return Err(format!("{name}.attention.value_length differs from the length of keys"));
        }
        let rotary_width = of.whole("rope.dimension_count")?.unwrap_or(head_width);
        if head_width == 0 || !rotary_width.is_multiple_of(2) || rotary_width > head_width {
            return Err(format!("{name}.rope.dimension_count is {rotary_width}, but heads are {head_width} wide"));
        }
        let is_gemma = architecture == Architecture::Gemma3;
        let rotary_base = of.number("rope.freq_base")?.unwrap_or(if is_gemma { 1e6 } else { 1e4 });
        let scaling = of.get("rope.scaling.type").and_then(|kind| kind.to_string().ok());
        let rotary_factor = match scaling.map(String::as_str) {
            None | Some("none") => 1.0,
            Some("linear") => of.number("rope.scaling.factor")?.unwrap_or(1.0),
            // Those of Phi 3 stand in tensors; without going beyond the first length they do not scale otherwise.
            Some("longrope") if architecture == Architecture::Phi3 => 1.0,
            Some(other) => {
                return Err(format!("{name}.rope.scaling.type {other:?} is not known; allowed: none, linear"));
            }
        };
        // Beyond the length that it learnt first, Phi 3 turns by other angles.
        let learnt = of.whole("rope.scaling.original_context_length")?.filter(|_| architecture == Architecture::Phi3);
        let sliding = match (is_gemma, of.whole("attention.sliding_window")?) {
            (true, Some(window)) if window > 0 => Some(Sliding {
                window,
                every: of.whole("attention.sliding_window_pattern")?.filter(|every| *every > 0).unwrap_or(6),
                rotary_base: of.number("rope.local.freq_base")?.unwrap_or(1e4),
            }),
            // The others that name a window were made to look at all, or at more than anybody asks.
            _ => None,
        };
        let epsilon = of.number("attention.layer_norm_rms_epsilon")?;
        let shape = Self {
            architecture,
            layers: of.count("block_count")?,
            hidden,
            heads,
            value_heads,
            head_width,
            feed_forward: of.count("feed_forward_length")?,
            context: learnt.unwrap_or(of.count("context_length")?),
            epsilon: epsilon.ok_or_else(|| format!("{name}.attention.layer_norm_rms_epsilon is missing"))?,
            rotary_base,
            rotary_width,
            rotary_pairs: match architecture {
                // Its files have the rows of queries and keys in the order of neighbours.
                Architecture::Llama => RotaryPairs::Neighbours,
                _ => RotaryPairs::Halves,
            },
            rotary_factor: if rotary_factor > 0.0 { rotary_factor } else { 1.0 },
            sliding,
            gate: if is_gemma { Gate::Gelu } else { Gate::Silu },
            embedding_scale: if is_gemma { (hidden as f32).sqrt() } else { 1.0 },
        };
        shape.check_sizes()?;
        Ok(shape)
    }

    /// No size is beyond what models have: products of them stay numbers, and what a file only says is not made.
    fn check_sizes(&self) -> Result<(), String> {
        let sizes = [
            ("embedding_length", self.hidden, 65_536),
            ("block_count", self.layers, 1_000),
            ("attention.head_count", self.heads, 1_024),
            ("attention.key_length", self.head_width, 4_096),
            ("feed_forward_length", self.feed_forward, 1 << 20),
            ("context_length", self.context, 1 << 26),
        ];
        match sizes.into_iter().find(|(_, size, most)| size > most) {
            Some((key, size, most)) => Err(format!("{}.{key} is {size}, allowed: 1 to {most}", self.architecture)),
            None => Ok(()),
        }
    }

    /// The tensor of what angles are divided by, where a file has it.
    pub fn rotary_factors(&self) -> &'static str {
        match self.architecture {
            Architecture::Phi3 => "rope_factors_short.weight",
            _ => "rope_freqs.weight",
        }
    }

    /// Positions that a layer looks back at, its own included; `None` is all.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.sliding.filter(|sliding| !(layer + 1).is_multiple_of(sliding.every)).map(|sliding| sliding.window)
    }

    /// Numbers of the keys (or of the values) of one position in one layer.
    pub fn value_width(&self) -> usize {
        self.value_heads * self.head_width
    }

    /// Bytes of keys and values of so many positions.
    pub fn cache_bytes(&self, positions: usize) -> usize {
        2 * self.layers * self.value_width() * positions * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_those_of_models_are_refused_by_name() {
        let read = |changed: &str, size: u64| {
            let sizes = [
                ("embedding_length", 64),
                ("block_count", 2),
                ("attention.head_count", 4),
                ("attention.key_length", 16),
                ("rope.dimension_count", 16),
                ("feed_forward_length", 96),
                ("context_length", 256),
            ];
            let of_key = |(key, usual): (&str, u64)| {
                (format!("llama.{key}"), Value::U64(if key == changed { size } else { usual }))
            };
            let mut values: HashMap<String, Value> = sizes.into_iter().map(of_key).collect();
            values.insert("general.architecture".to_owned(), Value::String("llama".to_owned()));
            values.insert("llama.attention.layer_norm_rms_epsilon".to_owned(), Value::F32(1e-5));
            Shape::read(&values)
        };
        assert_eq!(read("block_count", 1_000).map(|shape| shape.layers), Ok(1_000));
        for (key, most) in [
            ("embedding_length", 65_536),
            ("block_count", 1_000),
            ("attention.head_count", 1_024),
            ("attention.key_length", 4_096),
            ("feed_forward_length", 1 << 20),
            ("context_length", 1 << 26),
        ] {
            for size in [most + 1, u64::MAX >> 1] {
                let problem = read(key, size).unwrap_err();
                assert_eq!(problem, format!("llama.{key} is {size}, allowed: 1 to {most}"));
            }
        }
    }
}
