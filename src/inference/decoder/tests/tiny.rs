//! A decoder of random weights in a file, and its forward pass as one would write it down, in 32 bits.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use crate::inference::decoder::shape::Architecture;
use crate::inference::decoder::vocabulary::tests::{MERGES, byte_pairs_metadata};

pub const HIDDEN: usize = 64;
const HEADS: usize = 4;
const VALUE_HEADS: usize = 2;
const WIDTH: usize = 16;
const FEED: usize = 96;
pub const LAYERS: usize = 3;
const EPSILON: f32 = 1e-5;
const WINDOW: usize = 5;

/// Weights in 32 bits by name, row by row.
type Weights = HashMap<String, Vec<f32>>;

pub struct Tiny {
    architecture: Architecture,
    weights: Weights,
    pub vocabulary: usize,
}

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f32 / (1u64 << 30) as f32 - 1.0
    }
}

/// Writes a decoder of random weights and keeps them.
pub fn write(architecture: Architecture, path: &Path, kind: GgmlDType, tied: bool) -> Tiny {
    let metadata = byte_pairs_metadata(&MERGES);
    let Some(Value::Array(tokens)) = metadata.get("tokenizer.ggml.tokens") else { panic!("no tokens") };
    let vocabulary = tokens.len();
    let mut numbers = Numbers(7);
    let mut weights = Weights::new();
    let mut tensors: Vec<(String, QTensor)> = Vec::new();
    let mut add = |name: String, dims: &[usize], kind: GgmlDType, middle: f32, size: f32| {
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| middle + size * numbers.next()).collect();
        let tensor = Tensor::from_vec(values, dims, &Device::Cpu).unwrap();
        let tensor = QTensor::quantize(&tensor, kind).unwrap();
        let kept = tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        weights.insert(name.clone(), kept);
        tensors.push((name, tensor));
    };
    let matrix = |outputs: usize, inputs: usize| [outputs, inputs];
    add("token_embd.weight".to_owned(), &matrix(vocabulary, HIDDEN), GgmlDType::Q8_0, 0.0, 1.0);
    if !tied {
        add("output.weight".to_owned(), &matrix(vocabulary, HIDDEN), GgmlDType::Q8_0, 0.0, 0.5);
    }
    add("output_norm.weight".to_owned(), &[HIDDEN], GgmlDType::F32, 1.0, 0.3);
    let (queries, values) = (HEADS * WIDTH, VALUE_HEADS * WIDTH);
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        add(name("attn_norm"), &[HIDDEN], GgmlDType::F32, 1.0, 0.3);
        add(name("ffn_norm"), &[HIDDEN], GgmlDType::F32, 1.0, 0.3);
        if architecture == Architecture::Phi3 {
            add(name("attn_qkv"), &matrix(queries + 2 * values, HIDDEN), kind, 0.0, 0.3);
            add(name("ffn_up"), &matrix(2 * FEED, HIDDEN), kind, 0.0, 0.3);
        } else {
            add(name("attn_q"), &matrix(queries, HIDDEN), kind, 0.0, 0.3);
            add(name("attn_k"), &matrix(values, HIDDEN), kind, 0.0, 0.3);
            add(name("attn_v"), &matrix(values, HIDDEN), kind, 0.0, 0.3);
            add(name("ffn_gate"), &matrix(FEED, HIDDEN), kind, 0.0, 0.3);
            add(name("ffn_up"), &matrix(FEED, HIDDEN), kind, 0.0, 0.3);
        }
        add(name("attn_output"), &matrix(HIDDEN, queries), kind, 0.0, 0.3);
        add(name("ffn_down"), &matrix(HIDDEN, FEED), kind, 0.0, 0.3);
        match architecture {
            Architecture::Qwen2 => {
                add(format!("blk.{layer}.attn_q.bias"), &[queries], GgmlDType::F32, 0.0, 1.0);
                add(format!("blk.{layer}.attn_k.bias"), &[values], GgmlDType::F32, 0.0, 1.0);
                add(format!("blk.{layer}.attn_v.bias"), &[values], GgmlDType::F32, 0.0, 1.0);
            }
            Architecture::Qwen3 | Architecture::Gemma3 => {
                add(name("attn_q_norm"), &[WIDTH], GgmlDType::F32, 1.0, 0.3);
                add(name("attn_k_norm"), &[WIDTH], GgmlDType::F32, 1.0, 0.3);
            }
            Architecture::Llama | Architecture::Phi3 => {}
        }
        if architecture == Architecture::Gemma3 {
            add(name("post_attention_norm"), &[HIDDEN], GgmlDType::F32, 1.0, 0.3);
            add(name("post_ffw_norm"), &[HIDDEN], GgmlDType::F32, 1.0, 0.3);
        }
    }
    let mut values: Vec<(String, Value)> = metadata.into_iter().collect();
    let mut of = |key: &str, value: Value| values.push((format!("{architecture}.{key}"), value));
    of("block_count", Value::U32(LAYERS as u32));
    of("embedding_length", Value::U32(HIDDEN as u32));
    of("feed_forward_length", Value::U32(FEED as u32));
    of("context_length", Value::U32(256));
    of("attention.head_count", Value::U32(HEADS as u32));
    of("attention.head_count_kv", Value::U32(VALUE_HEADS as u32));
    of("attention.key_length", Value::U32(WIDTH as u32));
    of("attention.layer_norm_rms_epsilon", Value::F32(EPSILON));
    of("rope.freq_base", Value::F32(1_000.0));
    if architecture == Architecture::Gemma3 {
        of("attention.sliding_window", Value::U32(WINDOW as u32));
        of("attention.sliding_window_pattern", Value::U32(2));
    }
    values.push(("general.architecture".to_owned(), Value::String(architecture.to_string())));
    let values: Vec<(&str, &Value)> = values.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut File::create(path).unwrap(), &values, &tensors).unwrap();
    Tiny { architecture, weights, vocabulary }
}

/// The forward pass as one would write it down.
impl Tiny {
    fn weight(&self, name: &str) -> &[f32] {
        &self.weights[&format!("{name}.weight")]
    }

    fn multiply(&self, name: &str, outputs: std::ops::Range<usize>, input: &[f32]) -> Vec<f32> {
        let weights = self.weight(name);
        let bias = self.weights.get(&format!("{name}.bias"));
        outputs
            .map(|output| {
                let row = &weights[output * input.len()..][..input.len()];
                let product: f32 = row.iter().zip(input).map(|(weight, input)| weight * input).sum();
                product + bias.map_or(0.0, |bias| bias[output])
            })
            .collect()
    }

    fn norm(&self, name: &str, values: &[f32]) -> Vec<f32> {
        let Some(weights) = self.weights.get(&format!("{name}.weight")) else { return values.to_vec() };
        values
            .chunks(weights.len())
            .flat_map(|values| {
                let mean = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
                let scale = 1.0 / (mean + EPSILON).sqrt();
                values.iter().zip(weights).map(move |(value, weight)| value * scale * weight).collect::<Vec<_>>()
            })
            .collect()
    }

    fn turn(&self, values: &mut [f32], position: usize, base: f32) {
        for head in values.chunks_mut(WIDTH) {
            for pair in 0..WIDTH / 2 {
                let angle = position as f32 * base.powf(-2.0 * pair as f32 / WIDTH as f32);
                let (one, other) = match self.architecture {
                    Architecture::Llama => (2 * pair, 2 * pair + 1),
                    _ => (pair, pair + WIDTH / 2),
                };
                let (a, b) = (head[one], head[other]);
                head[one] = a * angle.cos() - b * angle.sin();
                head[other] = a * angle.sin() + b * angle.cos();
            }
        }
    }

    /// Scores behind each token.
    pub fn scores(&self, tokens: &[u32]) -> Vec<Vec<f32>> {
        let is_gemma = self.architecture == Architecture::Gemma3;
        let is_phi = self.architecture == Architecture::Phi3;
        let scale = if is_gemma { (HIDDEN as f32).sqrt() } else { 1.0 };
        let mut states: Vec<Vec<f32>> = tokens
            .iter()
            .map(|token| {
                let row = &self.weight("token_embd")[*token as usize * HIDDEN..][..HIDDEN];
                row.iter().map(|value| value * scale).collect()
            })
            .collect();
        let (queries, values) = (HEADS * WIDTH, VALUE_HEADS * WIDTH);
        for layer in 0..LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}");
            let slides = is_gemma && (layer + 1) % 2 != 0;
            let base = if slides { 10_000.0 } else { 1_000.0 };
            let (mut keys, mut seen) = (Vec::new(), Vec::new());
            for (position, state) in states.iter_mut().enumerate() {
                let normed = self.norm(&name("attn_norm"), state);
                let [query, key, value] = if is_phi {
                    let joined = self.multiply(&name("attn_qkv"), 0..queries + 2 * values, &normed);
                    [&joined[..queries], &joined[queries..queries + values], &joined[queries + values..]]
                        .map(<[f32]>::to_vec)
                } else {
                    [("attn_q", queries), ("attn_k", values), ("attn_v", values)]
                        .map(|(part, outputs)| self.multiply(&name(part), 0..outputs, &normed))
                };
                let mut query = self.norm(&name("attn_q_norm"), &query);
                let mut key = self.norm(&name("attn_k_norm"), &key);
                self.turn(&mut query, position, base);
                self.turn(&mut key, position, base);
                keys.push(key);
                seen.push(value);
                let mut attended = Vec::new();
                for head in 0..HEADS {
                    let of_head = |values: &[f32]| {
                        let start = head / (HEADS / VALUE_HEADS) * WIDTH;
                        values[start..start + WIDTH].to_vec()
                    };
                    let from = if slides { (position + 1).saturating_sub(WINDOW) } else { 0 };
                    let query = &query[head * WIDTH..][..WIDTH];
                    let weights: Vec<f32> = (from..=position)
                        .map(|at| {
                            let product: f32 =
                                of_head(&keys[at]).iter().zip(query).map(|(key, query)| key * query).sum();
                            (product / (WIDTH as f32).sqrt()).exp()
                        })
                        .collect();
                    let sum: f32 = weights.iter().sum();
                    let mut found = vec![0.0; WIDTH];
                    for (at, weight) in (from..=position).zip(&weights) {
                        found
                            .iter_mut()
                            .zip(of_head(&seen[at]))
                            .for_each(|(found, value)| *found += weight / sum * value);
                    }
                    attended.extend(found);
                }
                let branch = self.multiply(&name("attn_output"), 0..HIDDEN, &attended);
                let branch = self.norm(&name("post_attention_norm"), &branch);
                state.iter_mut().zip(branch).for_each(|(state, branch)| *state += branch);
                let normed = self.norm(&name("ffn_norm"), state);
                let (gate, up) = if is_phi {
                    let both = self.multiply(&name("ffn_up"), 0..2 * FEED, &normed);
                    (both[..FEED].to_vec(), both[FEED..].to_vec())
                } else {
                    let of = |part: &str| self.multiply(&name(part), 0..FEED, &normed);
                    (of("ffn_gate"), of("ffn_up"))
                };
                let activated = |gate: f32| match is_gemma {
                    true => 0.5 * gate * (1.0 + (0.797_884_6 * (gate + 0.044_715 * gate.powi(3))).tanh()),
                    false => gate / (1.0 + (-gate).exp()),
                };
                let middle: Vec<f32> = gate.iter().zip(up).map(|(gate, up)| activated(*gate) * up).collect();
                let branch = self.multiply(&name("ffn_down"), 0..HIDDEN, &middle);
                let branch = self.norm(&name("post_ffw_norm"), &branch);
                state.iter_mut().zip(branch).for_each(|(state, branch)| *state += branch);
            }
        }
        let output = if self.weights.contains_key("output.weight") { "output" } else { "token_embd" };
        states.iter().map(|state| self.multiply(output, 0..self.vocabulary, &self.norm("output_norm", state))).collect()
    }
}

pub fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}

pub fn tokens(count: usize) -> Vec<u32> {
    (0..count).map(|at| (at * 37 % 251) as u32).collect()
}
