//! See the module of the same name in `src/`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    otklik_fuzz::kernels::run(bytes);
});
