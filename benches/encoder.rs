//! The encoder by length of texts and size of batches, on one thread. Items are tokens.
//!
//! `cargo bench --bench encoder`; one length of text, `cargo bench --bench encoder -- of_20_words`

#![allow(clippy::expect_used)] // a benchmark that can not run has nothing better to do than stop

mod common;

use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::ItemsCount;
use otklik::inference::{EncodeInput, Encoder, Kernel, Role};

static ENCODER: LazyLock<Encoder> = LazyLock::new(|| common::encoder(Kernel::Auto));

static THREAD: LazyLock<rayon::ThreadPool> =
    LazyLock::new(|| rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started"));

/// Texts of a batch.
const BATCHES: [usize; 4] = [1, 4, 16, 64];

/// Of so many words each; a word is one token or two.
fn encode(bencher: Bencher, words: usize, batch: usize) {
    let word = |place: usize| ["перевод", "комиссия", "карта", "банк", "поддержка"].into_iter().cycle().nth(place % 5);
    let text = |number: usize| (0..words).filter_map(|at| word(number + at)).collect::<Vec<_>>().join(" ");
    let texts: Vec<String> = (0..batch).map(text).collect();
    let inputs: Vec<EncodeInput> = texts.iter().map(|text| EncodeInput::new(text, Role::Query)).collect();
    let encode = || THREAD.install(|| ENCODER.encode(&inputs)).expect("texts can be encoded");
    let tokens: usize = encode().iter().map(|encoding| encoding.tokens).sum();
    bencher.counter(ItemsCount::new(tokens)).bench(encode);
}

#[divan::bench(args = BATCHES)]
fn of_1_word(bencher: Bencher, batch: usize) {
    encode(bencher, 1, batch);
}

#[divan::bench(args = BATCHES)]
fn of_5_words(bencher: Bencher, batch: usize) {
    encode(bencher, 5, batch);
}

#[divan::bench(args = BATCHES)]
fn of_20_words(bencher: Bencher, batch: usize) {
    encode(bencher, 20, batch);
}

#[divan::bench(args = BATCHES, max_time = 5)]
fn of_60_words(bencher: Bencher, batch: usize) {
    encode(bencher, 60, batch);
}

#[divan::bench(args = BATCHES, max_time = 5)]
fn of_160_words(bencher: Bencher, batch: usize) {
    encode(bencher, 160, batch);
}

fn main() {
    println!("kernel {}, one thread; items are tokens", ENCODER.kernel());
    divan::main();
}
