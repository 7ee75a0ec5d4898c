//! Where a decoder computes: with this processor's 8-bit instructions, or on candle's tensors.

use candle_core::Device;

use super::cache::Cache;
use super::model::Model;
use super::shape::Shape;
use super::tensor_model::TensorModel;
use super::tensors::{Target, Tensors};
use crate::inference::kernels::GroupedKernel;
use crate::inference::{InferenceError, LanguageModelError, LanguageModelKernel};

/// A decoder's weights, ready.
pub(super) enum Computing {
    Grouped(Model),
    Tensors(TensorModel),
}

/// How the weights of a decoder are held.
#[derive(Clone)]
pub(super) enum Place {
    /// In 4 and 8 bits, for these instructions.
    Grouped(GroupedKernel),
    /// As candle's tensors.
    Tensors(Target),
}

impl Place {
    /// That of a kernel.
    ///
    /// # Errors
    /// [`InferenceError::NoGpu`] with the reason.
    pub fn of(kernel: LanguageModelKernel) -> Result<Self, InferenceError> {
        let gpu = || Device::new_cuda(0).map(|device| Self::Tensors(Target::gpu(device)));
        match kernel {
            LanguageModelKernel::Auto => Ok(gpu().unwrap_or_else(|_| Self::Grouped(GroupedKernel::best()))),
            LanguageModelKernel::Cpu => Ok(Self::Grouped(GroupedKernel::best())),
            LanguageModelKernel::F32 => Ok(Self::Tensors(Target::reference())),
            LanguageModelKernel::Cuda => gpu().map_err(|error| InferenceError::NoGpu { problem: error.to_string() }),
        }
    }

    /// What reports call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Grouped(kernel) => kernel.name(),
            Self::Tensors(target) if target.device.is_cpu() => LanguageModelKernel::F32.as_str(),
            Self::Tensors(_) => LanguageModelKernel::Cuda.as_str(),
        }
    }

    /// Bytes that a model takes here, with keys and values of so many sequences of so many positions; known before it is loaded.
    pub fn bytes_needed(&self, tensors: &Tensors, positions: usize, sequences: usize) -> Result<usize, InferenceError> {
        let shape = Shape::read(tensors.metadata()).map_err(|problem| tensors.bad(problem))?;
        let weights = match self {
            Self::Grouped(_) => tensors.bytes(),
            Self::Tensors(target) if target.in_32_bits => tensors.bytes_in_32_bits(),
            Self::Tensors(_) => tensors.bytes_in_file(),
        };
        Ok(weights + sequences.max(1) * shape.cache_bytes(positions.min(shape.context)))
    }

    /// Memory that is free here, in bytes, where it can be known.
    pub fn free_memory(&self) -> Option<usize> {
        match self {
            Self::Tensors(target) if !target.device.is_cpu() => free_memory_of_gpu(),
            _ => free_memory_of_machine(),
        }
    }
}

/// Memory that the machine could give, in bytes, where it says so.
fn free_memory_of_machine() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?.trim().trim_end_matches(" kB");
    kilobytes.trim().parse::<usize>().ok().map(|kilobytes| kilobytes * 1_024)
}

/// Memory that the GPU could give; its context is this thread's.
#[cfg(feature = "cuda")]
fn free_memory_of_gpu() -> Option<usize> {
    candle_core::cuda_backend::cudarc::driver::result::mem_get_info().ok().map(|(free, _)| free)
}

/// There is none in a build without it.
#[cfg(not(feature = "cuda"))]
fn free_memory_of_gpu() -> Option<usize> {
    None
}

impl Computing {
    /// Reads the weights, on the threads at hand.
    pub fn load(tensors: &mut Tensors, place: &Place) -> Result<Self, InferenceError> {
        match place {
            Place::Grouped(kernel) => Model::load(tensors, *kernel).map(Self::Grouped),
            Place::Tensors(target) => TensorModel::load(tensors, target).map(Self::Tensors),
        }
    }

    pub fn shape(&self) -> &Shape {
        match self {
            Self::Grouped(model) => model.shape(),
            Self::Tensors(model) => model.shape(),
        }
    }

    /// Tokens that it has scores for.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Grouped(model) => model.vocabulary(),
            Self::Tensors(model) => model.vocabulary(),
        }
    }

    /// An empty cache with room for so many tokens.
    pub fn cache(&self, tokens: usize) -> Cache {
        match self {
            Self::Grouped(model) => Cache::new(model.shape(), tokens),
            Self::Tensors(model) => model.cache(),
        }
    }

    /// As [`Model::read`].
    pub fn read(
        &self,
        tokens: &[u32],
        wanted: usize,
        cache: &mut Cache,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<f32>>, LanguageModelError> {
        match self {
            Self::Grouped(model) => Ok(model.read(tokens, wanted, cache, go_on)),
            Self::Tensors(model) => model.read(tokens, wanted, cache, go_on).map_err(failed),
        }
    }

    /// As [`Model::read_branches`].
    pub fn read_branches(
        &self,
        tokens: &[u32],
        branches: &[Vec<usize>],
        cache: &mut Cache,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<f32>>, LanguageModelError> {
        match self {
            Self::Grouped(model) => Ok(model.read_branches(tokens, branches, cache, go_on)),
            Self::Tensors(model) => model.read_branches(tokens, branches, cache, go_on).map_err(failed),
        }
    }

    /// As [`Model::scores`].
    pub fn scores(&self, states: &[f32]) -> Result<Vec<f32>, LanguageModelError> {
        match self {
            Self::Grouped(model) => Ok(model.scores(states)),
            Self::Tensors(model) => model.scores(states).map_err(failed),
        }
    }
}

fn failed(error: candle_core::Error) -> LanguageModelError {
    LanguageModelError::Failed(format!("the computation failed: {error}"))
}
