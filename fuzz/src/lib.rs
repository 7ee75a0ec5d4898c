//! What the fuzz targets do, one module a target.
//!
//! Enters: bytes from anywhere. Leaves: nothing; what must not be ends in a panic. The targets in `fuzz_targets/` call these functions,
//! and so does `tests/fuzz_corpus.rs`, which includes this file: the two can't differ. Everything goes through the public functions
//! that the program itself calls. Never here: copies of them.

pub mod csv;
pub mod gguf;
pub mod kernels;
pub mod playbook;
pub mod prompt;
pub mod taxonomy;
pub mod tokenizer;
pub mod transcript;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A target's function: whether something could be read of the bytes.
pub type Target = fn(&[u8]) -> bool;

/// All targets by name, as `cargo fuzz list` has them.
pub const TARGETS: [(&str, Target); 8] = [
    ("csv", csv::run),
    ("gguf", gguf::run),
    ("kernels", kernels::run),
    ("playbook", playbook::run),
    ("prompt", prompt::run),
    ("taxonomy", taxonomy::run),
    ("tokenizer", tokenizer::run),
    ("transcript", transcript::run),
];

thread_local! {
    static FOLDER: TempDir = folder();
}

/// A folder of this thread's own, in memory where the system has such a place.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a folder for files that are made and read again")
}

/// A file of this name with these bytes; one of before is overwritten.
fn file_of(name: &str, bytes: &[u8]) -> PathBuf {
    let path = FOLDER.with(|folder| folder.path().join(name));
    std::fs::write(&path, bytes).expect("a file that can be written");
    path
}

/// Texts of the kinds that a tokeniser or a rule meets, among them some that no customer writes.
const TEXTS: [&str; 6] = [
    "Третий день не работает касса, банк шлёт к партнёру!!! Перевод висит, поддержка молчит.",
    "My card does not work: 100500\u{20bd} lost…",
    "",
    " \u{feff}\u{0}\t\r\n<s></s><unk>[CLS]<|im_end|> ",
    "漢字 กขค 👨\u{200d}👩\u{200d}👧 e\u{301}",
    "ааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааааа",
];
