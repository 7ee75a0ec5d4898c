//! The tile unit of newer Intel processors (AMX): whether it is there, and its registers.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::OnceLock;

/// Rows of a tile.
pub(super) const SIDE: usize = 16;

/// Proof that the processor has the unit, and that the system lets this process use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiles(());

/// Numbers that some units multiply, as bits of leaf 7.
#[derive(Debug, Clone, Copy)]
enum Numbers {
    Bf16 = 1 << 22,
    Int8 = 1 << 25,
}

impl Tiles {
    /// For 16-bit numbers, with the vector instructions that make them of those of 32.
    pub fn of_halves() -> Option<Self> {
        let has_vectors = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16");
        Self::of(Numbers::Bf16).filter(|_| has_vectors)
    }

    /// For 8-bit numbers.
    pub fn of_bytes() -> Option<Self> {
        Self::of(Numbers::Int8)
    }

    fn of(numbers: Numbers) -> Option<Self> {
        const TILE: u32 = 1 << 24;
        /// Bits of leaf 7 if the unit may be used, else none. Asking takes long on a virtual machine.
        static KNOWN: OnceLock<u32> = OnceLock::new();
        let known = *KNOWN.get_or_init(|| {
            // A processor without the leaf has nothing in it.
            let known = if __cpuid(0).eax < 7 { 0 } else { __cpuid_count(7, 0).edx };
            if known & TILE != 0 && is_permitted() { known } else { 0 }
        });
        let needed = TILE | numbers as u32;
        (known & needed == needed).then_some(Self(()))
    }
}

/// Linux gives the registers to a process that asks for them; its threads to come have them too.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const REQUEST_PERMISSION: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: the call reads two numbers and changes nothing in the memory of the process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// The eight tile registers laid out on this thread, each as 16 rows of 64 bytes, until it is dropped.
pub(super) struct Registers(std::marker::PhantomData<*const ()>);

#[repr(C, align(64))]
struct Layout([u8; 64]);

impl Registers {
    #[allow(clippy::indexing_slicing)] // computed when compiling
    const LAYOUT: Layout = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut register = 0;
        while register < 8 {
            bytes[16 + 2 * register] = 64;
            bytes[48 + register] = SIDE as u8;
            register += 1;
        }
        Layout(bytes)
    };

    pub fn lay_out(_: Tiles) -> Self {
        static LAYOUT: Layout = Registers::LAYOUT;
        // SAFETY: `Tiles` proves that the instruction exists and is permitted; the layout is one that the unit takes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &LAYOUT.0, options(nostack, readonly, preserves_flags)) };
        Self(std::marker::PhantomData)
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: the registers were laid out on this thread, and the type does not leave it.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}
