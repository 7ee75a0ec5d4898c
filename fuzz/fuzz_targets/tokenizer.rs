//! See the module of the same name in `src/`.

#![no_main]

use std::sync::Once;

use libfuzzer_sys::fuzz_target;

static HOOK: Once = Once::new();

fuzz_target!(|bytes: &[u8]| {
    // On some files the tokeniser's library panics. Whoever reads them catches that and tells; any other panic ends the run.
    HOOK.call_once(|| {
        let abort = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|place| place.file().contains("/tokenizers-")) {
                abort(panic);
            }
        }));
    });
    otklik_fuzz::tokenizer::run(bytes);
});
