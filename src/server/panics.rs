//! What a panic leaves in the log.

use std::panic;

/// Replaces the panic hook of the process: the place of a panic is logged, its message is not, because messages of the standard
/// library quote the text they failed on, and that text may be a customer's.
pub fn log_panics_without_message() {
    panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, thread = thread.name().unwrap_or_default(), "panicked");
    }));
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_leaves_its_place_and_not_its_message() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let previous = panic::take_hook();
        log_panics_without_message();
        let outcome =
            tracing::subscriber::with_default(subscriber, || panic::catch_unwind(|| panic!("what a customer said")));
        panic::set_hook(previous);
        assert!(outcome.is_err());
        let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(logged.contains("panicked") && logged.contains("panics.rs:"), "{logged}");
        assert!(!logged.contains("customer"), "{logged}");
    }
}
