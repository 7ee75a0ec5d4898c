//! The tensors of a GGUF file, one by one as they are asked for, in the form in which they are multiplied.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Tensor};
use half::f16;

use crate::inference::kernels::{GroupedMatrix, QuarterGroup};
use crate::inference::{InferenceError, gguf};

/// Weights of a group.
const GROUP: usize = 32;

/// Weights of a block of Q4_K.
const SUPER: usize = 256;

/// Where candle's tensors are made.
#[derive(Clone)]
pub(super) struct Target {
    pub device: Device,
    /// True if weights become numbers of 32 bits; else they stay as the file has them, and what they are multiplied by is rounded.
    pub in_32_bits: bool,
}

impl Target {
    /// The processor, in 32 bits: the reference.
    pub fn reference() -> Self {
        Self { device: Device::Cpu, in_32_bits: true }
    }

    /// A GPU, with weights as the file has them.
    pub fn gpu(device: Device) -> Self {
        Self { device, in_32_bits: false }
    }
}

/// A file, open.
pub(super) struct Tensors {
    content: Content,
    file: BufReader<File>,
    origin: std::path::PathBuf,
    /// The bytes of one matrix at a time.
    buffer: Vec<u8>,
}

impl Tensors {
    pub fn open(path: &Path) -> Result<Self, InferenceError> {
        let (content, file) = gguf::open(path)?;
        Ok(Self { content, file, origin: path.to_owned(), buffer: Vec::new() })
    }

    pub fn metadata(&self) -> &HashMap<String, Value> {
        &self.content.metadata
    }

    /// An error about this file.
    pub fn bad(&self, problem: impl Into<String>) -> InferenceError {
        InferenceError::Format { path: self.origin.clone(), problem: problem.into() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// Bytes that all matrices take when they are ready to be multiplied.
    pub fn bytes(&self) -> usize {
        self.content.tensor_infos.values().map(bytes_of).sum()
    }

    /// Bytes of all tensors with numbers in 32 bits, and of the table of tokens as the file has it.
    pub fn bytes_in_32_bits(&self) -> usize {
        let table = self.content.tensor_infos.get("token_embd.weight").map_or(0, bytes_of_file);
        let numbers = self.content.tensor_infos.values().map(|info| info.shape.elem_count() * size_of::<f32>());
        table + numbers.sum::<usize>()
    }

    /// Bytes of all tensors as the file has them; numbers that are not grouped take 32 bits each.
    pub fn bytes_in_file(&self) -> usize {
        let infos = self.content.tensor_infos.values();
        infos
            .map(|info| match info.ggml_dtype {
                GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16 => info.shape.elem_count() * size_of::<f32>(),
                _ => bytes_of_file(info),
            })
            .sum()
    }

    /// Rows of a matrix.
    pub fn rows(&self, name: &str) -> Option<usize> {
        self.content.tensor_infos.get(name)?.shape.dims().first().copied()
    }

    fn info(&self, name: &str, expected: &[usize]) -> Result<&TensorInfo, InferenceError> {
        let Some(info) = self.content.tensor_infos.get(name) else {
            return Err(self.bad(format!("tensor {name} is missing")));
        };
        let dims = info.shape.dims();
        if dims != expected {
            return Err(self.bad(format!("tensor {name} has shape {dims:?}, expected {expected:?}")));
        }
        Ok(info)
    }

    fn read(&mut self, name: &str, expected: &[usize], device: &Device) -> Result<QTensor, InferenceError> {
        self.info(name, expected)?;
        let Self { content, file, .. } = self;
        let info = content.tensor_infos.get(name).map(|info| info.read(file, content.tensor_data_offset, device));
        match info {
            Some(Ok(tensor)) => Ok(tensor),
            Some(Err(error)) => Err(self.bad(format!("tensor {name} can't be read: {error}"))),
            None => Err(self.bad(format!("tensor {name} is missing"))),
        }
    }

    /// Reads the bytes of a tensor into the buffer; the kind of their numbers.
    fn fill_buffer(&mut self, name: &str, expected: &[usize]) -> Result<GgmlDType, InferenceError> {
        let info = self.info(name, expected)?;
        let (kind, weights) = (info.ggml_dtype, info.shape.elem_count());
        let start = self.content.tensor_data_offset.saturating_add(info.offset);
        if !weights.is_multiple_of(kind.block_size()) {
            let problem = format!("tensor {name} has {weights} numbers, not a multiple of {}", kind.block_size());
            return Err(self.bad(problem));
        }
        let bytes = weights / kind.block_size() * kind.type_size();
        let file = self.file.get_mut();
        let read = file.seek(SeekFrom::End(0)).and_then(|length| {
            // A file that was cut short must not make a buffer of what it only says it has.
            if start.saturating_add(bytes as u64) > length {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.resize(bytes, 0);
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut self.buffer)
        });
        read.map_err(|error| self.bad(format!("tensor {name} can't be read: {error}")))?;
        Ok(kind)
    }

    /// Numbers in 32 bits.
    pub fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, InferenceError> {
        let tensor = self.read(name, &[length], &Device::Cpu)?;
        let values = tensor.dequantize(&Device::Cpu).and_then(|tensor| tensor.to_vec1());
        values.map_err(|error| self.bad(format!("tensor {name} can't be read: {error}")))
    }

    /// The same, if it is there.
    pub fn vector_if_any(&mut self, name: &str, length: usize) -> Result<Option<Vec<f32>>, InferenceError> {
        if self.has(name) { self.vector(name, length).map(Some) } else { Ok(None) }
    }

    /// The same as a tensor on a device.
    pub fn tensor(&mut self, name: &str, length: usize, device: &Device) -> Result<Tensor, InferenceError> {
        let numbers = self.vector(name, length)?;
        Ok(Tensor::from_vec(numbers, length, device)?)
    }

    /// The same, if it is there.
    pub fn tensor_if_any(
        &mut self,
        name: &str,
        length: usize,
        device: &Device,
    ) -> Result<Option<Tensor>, InferenceError> {
        if self.has(name) { self.tensor(name, length, device).map(Some) } else { Ok(None) }
    }

    /// A matrix that candle multiplies, `[outputs, inputs]`.
    pub fn product(&mut self, name: &str, expected: &[usize], target: &Target) -> Result<QMatMul, InferenceError> {
        let weights = self.read(name, expected, &target.device)?;
        Ok(match target.in_32_bits {
            true => QMatMul::Tensor(weights.dequantize(&target.device)?),
            false => QMatMul::from_qtensor(weights)?,
        })
    }

    /// A table of rows that are asked for one by one.
    pub fn token_table(&mut self, name: &str, width: usize, rows: usize) -> Result<TokenTable, InferenceError> {
        let kind = self.fill_buffer(name, &[rows, width])?;
        Ok(TokenTable { kind, bytes: std::mem::take(&mut self.buffer), width, rows })
    }

    /// Some outputs of a matrix; `all` is how many it has.
    pub fn matrix(
        &mut self,
        name: &str,
        inputs: usize,
        all: usize,
        outputs: std::ops::Range<usize>,
    ) -> Result<GroupedMatrix, InferenceError> {
        let kind = self.fill_buffer(name, &[all, inputs])?;
        let made = grouped(kind, &self.buffer, inputs, all, outputs);
        made.map_err(|error| self.bad(format!("tensor {name} can't be read: {error}")))
    }
}

/// A row for each token, as the file has them.
pub(super) struct TokenTable {
    kind: GgmlDType,
    bytes: Vec<u8>,
    width: usize,
    rows: usize,
}

impl TokenTable {
    /// Tokens.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Rows of tokens, one behind the other.
    pub fn rows(&self, tokens: &[u32]) -> candle_core::Result<Vec<f32>> {
        let stride = self.bytes.len() / self.rows.max(1);
        let mut numbers = Vec::with_capacity(tokens.len() * self.width);
        for token in tokens {
            let start = (*token as usize).saturating_mul(stride);
            let Some(row) = self.bytes.get(start..start.saturating_add(stride)) else {
                candle_core::bail!("token {token} is not among the {} of the model", self.rows)
            };
            numbers.extend(dequantised(self.kind, row, self.width)?);
        }
        Ok(numbers)
    }
}

/// The numbers of a row.
fn dequantised(kind: GgmlDType, row: &[u8], width: usize) -> candle_core::Result<Vec<f32>> {
    let storage = QStorage::from_data(Cow::Borrowed(row), &Device::Cpu, kind)?;
    QTensor::new(storage, (1, width))?.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()
}

/// Bytes of a tensor in the file.
fn bytes_of_file(info: &TensorInfo) -> usize {
    info.shape.elem_count() / info.ggml_dtype.block_size().max(1) * info.ggml_dtype.type_size()
}

/// Bytes of a tensor when it is ready: in 4 bits with scale and low, in 8 with a scale, or as it is.
fn bytes_of(info: &TensorInfo) -> usize {
    let weights = info.shape.elem_count();
    match info.shape.dims() {
        [_, _] if is_of_quarters(info.ggml_dtype) => weights / 2 + weights / GROUP * 4,
        [_, _] => weights + weights / GROUP * 2,
        _ => weights * size_of::<f32>(),
    }
}

fn is_of_quarters(kind: GgmlDType) -> bool {
    matches!(kind, GgmlDType::Q4_0 | GgmlDType::Q4K)
}

fn grouped(
    kind: GgmlDType,
    bytes: &[u8],
    inputs: usize,
    all: usize,
    outputs: std::ops::Range<usize>,
) -> candle_core::Result<GroupedMatrix> {
    let stride = bytes.len() / all.max(1);
    let first = outputs.start;
    let row = |output: usize| {
        let start = (first + output) * stride;
        bytes.get(start..start + stride).ok_or_else(|| candle_core::Error::Msg("it ends early".to_owned()))
    };
    match kind {
        GgmlDType::Q4_0 => GroupedMatrix::of_quarters(inputs, outputs.len(), |output| {
            Ok(row(output)?.chunks_exact(2 + GROUP / 2).map(group_of_q4_0))
        }),
        GgmlDType::Q4K => GroupedMatrix::of_quarters(inputs, outputs.len(), |output| {
            Ok(row(output)?.chunks_exact(SUPER / 2 + 16).flat_map(groups_of_q4_k))
        }),
        kind => GroupedMatrix::of_floats(inputs, outputs.len(), |output, weights| {
            weights.copy_from_slice(&dequantised(kind, row(output)?, inputs)?);
            Ok(())
        }),
    }
}

/// A 16-bit number at a place.
fn half_at(bytes: &[u8], at: usize) -> f32 {
    let bits = bytes.get(at..at + 2).and_then(|two| two.try_into().ok()).unwrap_or_default();
    f16::from_le_bytes(bits).to_f32()
}

/// Scale, then the first half of the group in the low halves of bytes and the second in the high ones.
fn group_of_q4_0(block: &[u8]) -> QuarterGroup {
    let scale = half_at(block, 0);
    let halves = block.get(2..).unwrap_or_default();
    let mut numbers = [0; GROUP];
    for (number, byte) in
        numbers.iter_mut().zip(halves.iter().map(|byte| byte & 15).chain(halves.iter().map(|b| b >> 4)))
    {
        *number = byte;
    }
    QuarterGroup { numbers, scale, low: 8.0 * scale }
}

/// Two 16-bit scales, twelve bytes of scales and lows in 6 bits, then for each 64 weights 32 bytes: the first group in the low halves,
/// the second in the high ones.
fn groups_of_q4_k(block: &[u8]) -> impl Iterator<Item = QuarterGroup> {
    let (scale, low) = (half_at(block, 0), half_at(block, 2));
    let (packed, halves) = block.get(4..).unwrap_or_default().split_at(12.min(block.len().saturating_sub(4)));
    let at = |index: usize| packed.get(index).copied().unwrap_or(0);
    let six_bits = |group: usize| match group {
        0..4 => (at(group) & 63, at(group + 4) & 63),
        _ => {
            let both = at(group + 4);
            ((both & 15) | (at(group - 4) >> 6) << 4, (both >> 4) | (at(group) >> 6) << 4)
        }
    };
    let groups: [QuarterGroup; SUPER / GROUP] = std::array::from_fn(|group| {
        let bytes = halves.get(group / 2 * GROUP..).unwrap_or_default();
        let mut numbers = [0; GROUP];
        for (number, byte) in numbers.iter_mut().zip(bytes) {
            *number = if group % 2 == 0 { byte & 15 } else { byte >> 4 };
        }
        let (of_scale, of_low) = six_bits(group);
        QuarterGroup { numbers, scale: scale * f32::from(of_scale), low: low * f32::from(of_low) }
    });
    groups.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What candle makes of the same bytes.
    fn check(kind: GgmlDType, tolerance: f32) {
        let (outputs, inputs) = (20, 512);
        let values: Vec<f32> = (0..outputs * inputs).map(|at| ((at * 37 % 101) as f32 / 50.0 - 1.0).powi(3)).collect();
        let tensor = candle_core::Tensor::from_vec(values, (outputs, inputs), &Device::Cpu).unwrap();
        let tensor = QTensor::quantize(&tensor, kind).unwrap();
        let expected: Vec<Vec<f32>> = tensor.dequantize(&Device::Cpu).unwrap().to_vec2().unwrap();
        let matrix = grouped(kind, &tensor.data().unwrap(), inputs, outputs, 3..outputs).unwrap();
        let mut given = vec![0.0; inputs];
        for (output, expected) in expected.iter().skip(3).enumerate() {
            matrix.output(output, &mut given);
            for (given, expected) in given.iter().zip(expected) {
                assert!((given - expected).abs() <= tolerance, "{kind:?}: {given} and {expected}");
            }
        }
    }

    #[test]
    fn weights_of_every_kind_are_read_as_candle_reads_them() {
        check(GgmlDType::Q4_0, 1e-3);
        check(GgmlDType::Q4K, 2e-3);
        for kind in [GgmlDType::Q5_0, GgmlDType::Q5K, GgmlDType::Q6K, GgmlDType::Q8_0, GgmlDType::F16, GgmlDType::F32] {
            check(kind, 1.1 / 254.0);
        }
    }
}
