//! The encoder by length of texts and size of batches: tokens a second of one thread, and milliseconds of a batch.
//!
//! `cargo bench --bench encoder`, or with one kernel: `cargo bench --bench encoder -- avx2`

#![allow(clippy::expect_used, clippy::indexing_slicing)] // a benchmark that can not run has nothing better to do than stop

mod common;

use std::time::Instant;

use otklik::inference::{EncodeInput, Kernel, Role};

/// Measurements, of which the fastest counts.
const RUNS: usize = 5;

/// Words of a text; a word is some three tokens.
const WORDS: [usize; 5] = [1, 5, 20, 60, 160];

const BATCHES: [usize; 4] = [1, 4, 16, 64];

fn main() {
    let named = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let encoder = common::encoder(named.unwrap_or(Kernel::Auto));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
    println!("kernel {}, one thread", encoder.kernel());
    println!("{:>7}{:>8}{:>12}{:>14}", "tokens", "batch", "ms", "tokens/s");
    for words in WORDS {
        for batch in BATCHES {
            let texts: Vec<String> = (0..batch)
                .map(|index| {
                    let word =
                        |place: usize| ["перевод", "комиссия", "карта", "банк", "поддержка"][(index + place) % 5];
                    (0..words).map(word).collect::<Vec<_>>().join(" ")
                })
                .collect();
            let inputs: Vec<EncodeInput> = texts.iter().map(|text| EncodeInput::new(text, Role::Query)).collect();
            let mut best = f64::INFINITY;
            let mut tokens = 0;
            for _ in 0..RUNS {
                let began = Instant::now();
                let encodings = pool.install(|| encoder.encode(&inputs)).expect("texts can be encoded");
                best = best.min(began.elapsed().as_secs_f64());
                tokens = encodings.iter().map(|encoding| encoding.tokens).sum();
            }
            println!("{:>7}{batch:>8}{:>12.2}{:>14.0}", tokens / batch, best * 1e3, tokens as f64 / best);
        }
    }
}
