//! The fuzz targets in short: each on its committed inputs, and on some thousands of inputs made from them.
//!
//! What the targets do is in `fuzz/src/`; `fuzz/README.md` has how to run them for long.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const SEED: u64 = 20_261_123;

/// Longest input that is made.
const LONGEST: usize = 16 << 10;

/// The committed inputs of a target with their names, in order of name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// Makes an input of others, as a fuzzer does.
fn mutated(inputs: &[(String, Vec<u8>)], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut input = inputs.choose(random).unwrap().1.clone();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=input.len());
        let end = (at + random.random_range(1..33)).min(input.len());
        match random.random_range(0..8) {
            0 => drop(input.drain(at..end)),
            1 => {
                let part = input[at..end].to_vec();
                let place = random.random_range(0..=input.len());
                input.splice(place..place, part);
            }
            2 => {
                let other = &inputs.choose(random).unwrap().1;
                let from = random.random_range(0..=other.len());
                let part = other[from..(from + random.random_range(1..200)).min(other.len())].to_vec();
                input.splice(at..end, part);
            }
            3 => {
                let number = *[0, 1, 127, 255, 1 << 16, 1 << 32, u64::MAX >> 1, u64::MAX].choose(random).unwrap();
                let width = *[1, 2, 4, 8].choose(random).unwrap();
                input.splice(at..(at + width).min(input.len()), number.to_le_bytes()[..width].to_vec());
            }
            4 => input.insert(at, *b"\n\"'{}[]<>:;,|%#=+-\0\xff".choose(random).unwrap()),
            5 => input.truncate(at.max(input.len() / 2)),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
        }
    }
    input.truncate(LONGEST);
    input
}

/// Runs a target on its committed inputs and on so many that are made of them.
fn check(target: &str, made: usize) {
    let (_, run) = targets::TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let inputs = corpus(target);
    for (name, input) in &inputs {
        let is_read = run(input);
        // What was found by running long may be either.
        if !name.starts_with("found-") {
            assert_eq!(is_read, !name.starts_with("refused-"), "{target}/{name}");
        }
    }
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    for number in 0..made {
        let input = mutated(&inputs, &mut random);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&input))) {
            let path = std::env::temp_dir().join(format!("otklik-fuzz-{target}-{number}"));
            std::fs::write(&path, &input).unwrap();
            eprintln!("input {number} of seed {SEED}, kept in {}", path.display());
            std::panic::resume_unwind(panic);
        }
    }
}

macro_rules! targets {
    ($($name:ident: $made:literal,)+) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), $made);
        })+

        #[test]
        fn every_target_is_run_and_can_be_run_for_long() {
            let run = [$(stringify!($name)),+];
            assert_eq!(targets::TARGETS.map(|(name, _)| name), run);
            let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml");
            let manifest = std::fs::read_to_string(manifest).unwrap();
            for name in run {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is no target");
            }
        }
    };
}

targets! {
    csv: 1_000,
    gguf: 200,
    kernels: 40,
    playbook: 500,
    prompt: 200,
    taxonomy: 500,
    tokenizer: 300,
    transcript: 300,
}
