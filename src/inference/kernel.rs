//! The choice of the arithmetic and the instructions that an encoder runs on.

use candle_core::Device;

use super::kernels::Int8Kernel;
use crate::feedback::named_enum;
use serde::{Deserialize, Serialize};

named_enum! {
    /// How an encoder computes.
    Kernel {
        /// The fastest that this machine has: on a GPU if it may be used, else in 8 bits.
        Auto = "auto",
        /// In 32 bits, on candle: the reference that all others are compared with.
        F32 = "f32",
        /// In 32 bits, on candle, on the first NVIDIA GPU; in builds with the feature `cuda`.
        Cuda = "cuda",
        /// In 8 bits, with the tiles of newer Intel processors (AMX).
        AmxInt8 = "amx-int8",
        /// In 8 bits, with AVX-512 and VNNI.
        Avx512Vnni = "avx512-vnni",
        /// In 8 bits, with AVX2 and VNNI.
        AvxVnni = "avx-vnni",
        /// In 8 bits, with AVX2.
        Avx2 = "avx2",
        /// In 8 bits, with NEON and its dot product.
        NeonDotprod = "neon-dotprod",
        /// In 8 bits, with no instructions in particular: the reference of the other kernels in 8 bits.
        Plain = "plain",
    }
}

named_enum! {
    /// Where and how a language model computes.
    LanguageModelKernel {
        /// On a GPU in builds with the feature `cuda` where there is one, else with this processor's 8-bit instructions.
        Auto = "auto",
        /// With this processor's 8-bit instructions, on weights in 4 and 8 bits.
        Cpu = "cpu",
        /// In 32 bits, on candle: the reference that the others are compared with. Slow, and takes 4 bytes a weight.
        F32 = "f32",
        /// On candle, on the first NVIDIA GPU, weights as the file has them; in builds with the feature `cuda`.
        Cuda = "cuda",
    }
}

/// This machine lacks a kernel's instructions or device, or this build the feature for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this machine, or this build, lacks what kernel {wanted} needs; it has: {}",
    available.iter().map(|kernel| kernel.as_str()).collect::<Vec<_>>().join(", ")
)]
pub struct KernelMissing {
    /// The kernel that was wanted.
    pub wanted: Kernel,
    /// Those that would do, the fastest first.
    pub available: Vec<Kernel>,
}

impl Kernel {
    /// Those that this machine can run, the fastest first.
    pub fn available() -> Vec<Self> {
        let int8 = Int8Kernel::available().into_iter().filter_map(|kernel| kernel.name().parse().ok());
        let gpu = Device::new_cuda(0).is_ok().then_some(Self::Cuda);
        gpu.into_iter().chain(int8).chain([Self::F32]).collect()
    }

    /// The one that runs: [`Kernel::Auto`] becomes the fastest.
    ///
    /// # Errors
    /// [`KernelMissing`] if this processor lacks its instructions.
    pub fn resolve(self) -> Result<Self, KernelMissing> {
        let available = Self::available();
        match self {
            Self::Auto => Ok(available.first().copied().unwrap_or(Self::Plain)),
            wanted if available.contains(&wanted) => Ok(wanted),
            wanted => Err(KernelMissing { wanted, available }),
        }
    }

    /// Where its tensors are.
    pub(super) fn device(self) -> candle_core::Result<Device> {
        if self == Self::Cuda { Device::new_cuda(0) } else { Ok(Device::Cpu) }
    }

    /// The 8-bit kernel; `None` for 32 bits.
    pub(super) fn int8(self) -> Option<Int8Kernel> {
        Int8Kernel::available().into_iter().find(|kernel| kernel.name() == self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_is_chosen_and_what_is_missing_is_named() {
        let available = Kernel::available();
        assert_eq!(Kernel::Auto.resolve().unwrap(), available[0]);
        assert!(available.ends_with(&[Kernel::Plain, Kernel::F32]), "{available:?}");
        for kernel in Kernel::ALL.iter().filter(|kernel| **kernel != Kernel::Auto) {
            match kernel.resolve() {
                Ok(resolved) => assert_eq!(
                    (resolved, resolved.int8().is_none()),
                    (*kernel, [Kernel::F32, Kernel::Cuda].contains(kernel))
                ),
                Err(error) => assert!(error.to_string().contains(kernel.as_str()), "{error}"),
            }
        }
    }
}
