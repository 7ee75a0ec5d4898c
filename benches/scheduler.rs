//! The scheduler under mixed load: how long a text waits that somebody waits for, at rest and while bulk keeps all threads busy.
//!
//! `cargo bench --bench scheduler`

#![allow(clippy::expect_used, clippy::indexing_slicing)] // a benchmark that can not run has nothing better to do than stop

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use otklik::inference::{
    Begun, ComputePool, Depth, EncodeInput, Encoder, InferenceError, Kernel, Lane, PassOutput, PoolOptions, Role,
};

const SINGLES: usize = 400;

/// Texts in bulk that wait at any time.
const WAITING: usize = 256;

async fn encode(pool: &ComputePool, encoder: &Arc<Encoder>, lane: Lane, text: String) -> usize {
    let begin = {
        let encoder = Arc::clone(encoder);
        move || {
            let input = EncodeInput::new(&text, Role::Query);
            let plan = Arc::new(encoder.plan(&[input], Depth::Top).expect("a text can be split"));
            let planned = Arc::clone(&plan);
            let finish = move |output: Result<PassOutput, InferenceError>| {
                encoder.finish(&planned, vec![output.expect("a text can be encoded")]).len()
            };
            Begun::Encode { plan, pass: 0, finish: Box::new(finish) }
        }
    };
    pool.encode(lane, 20, None, encoder, begin).await.expect("the queue has room")
}

fn text(number: usize) -> String {
    format!("Перевод {number} не дошёл, комиссию сняли, поддержка не отвечает третий день")
}

async fn singles(what: &str, pool: &ComputePool, encoder: &Arc<Encoder>) -> f64 {
    let mut milliseconds = Vec::new();
    for number in 0..SINGLES {
        let began = Instant::now();
        encode(pool, encoder, Lane::Interactive, text(number)).await;
        milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    milliseconds.sort_by(f64::total_cmp);
    let at = |share: f64| milliseconds.get((share * SINGLES as f64) as usize).copied().unwrap_or(0.0);
    println!("{what:<10} p50 {:>6.2} ms   p99 {:>6.2} ms", at(0.5), at(0.99));
    at(0.99)
}

fn main() {
    let encoder = Arc::new(common::encoder(Kernel::Auto));
    let pool = Arc::new(ComputePool::start(PoolOptions::default()).expect("threads can be started"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
    runtime.block_on(async {
        let at_rest = singles("at rest", &pool, &encoder).await;
        let (ended, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let began = Instant::now();
        let bulk: Vec<_> = (0..WAITING)
            .map(|caller| {
                let (pool, encoder) = (Arc::clone(&pool), Arc::clone(&encoder));
                let (ended, done) = (Arc::clone(&ended), Arc::clone(&done));
                tokio::spawn(async move {
                    while !ended.load(Ordering::Relaxed) {
                        let number = done.fetch_add(1, Ordering::Relaxed) + caller;
                        encode(&pool, &encoder, Lane::Bulk, text(number)).await;
                    }
                })
            })
            .collect();
        let under_load = singles("under load", &pool, &encoder).await;
        ended.store(true, Ordering::Relaxed);
        println!("{:.0} texts/s in bulk beside", done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64());
        for caller in bulk {
            caller.await.expect("a caller ends");
        }
        println!("p99 under load is {:.1} times that at rest", under_load / at_rest);
    });
}
