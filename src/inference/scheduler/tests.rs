//! The pool: bounds, lanes, deadlines, callers that leave, and panics.

use std::sync::mpsc;

use super::*;

fn pool(threads: usize, queue_tokens: usize) -> ComputePool {
    ComputePool::start(PoolOptions { threads, queue_tokens, ..PoolOptions::default() }).unwrap()
}

/// Keeps the only thread busy until it is let go.
struct Blocked {
    release: mpsc::Sender<()>,
    running: tokio::task::JoinHandle<Result<bool, PoolError>>,
}

impl Blocked {
    async fn block(pool: &Arc<ComputePool>, lane: Lane, tokens: usize) -> Self {
        let (release, wait) = mpsc::channel::<()>();
        let (began, begins) = mpsc::channel::<()>();
        let busy = Arc::clone(pool);
        let work = move || began.send(()).is_ok() && wait.recv().is_ok();
        let running = tokio::spawn(async move { busy.run(lane, tokens, None, work).await });
        while begins.try_recv().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Self { release, running }
    }

    async fn release(self) {
        self.release.send(()).unwrap();
        assert_eq!(self.running.await.unwrap(), Ok(true));
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn work_runs_and_gives_its_room_back() {
    let pool = pool(2, 10);
    assert_eq!(pool.run(Lane::Interactive, 10, None, || 7).await, Ok(7));
    assert_eq!(pool.run(Lane::Bulk, 10, None, || 8).await, Ok(8));
    assert_eq!(pool.queued_tokens(), 0);
    assert_eq!(pool.run_blocking(rayon::current_num_threads), 2);
}

#[tokio::test]
async fn a_full_queue_refuses_and_an_empty_one_takes_any_size() {
    let pool = Arc::new(pool(1, 10));
    let blocked = Blocked::block(&pool, Lane::Interactive, 50).await;
    let refused = pool.run(Lane::Interactive, 1, None, || ()).await;
    assert_eq!(refused, Err(PoolError::Full { queued: 50, limit: 10 }));
    blocked.release().await;
}

#[tokio::test]
async fn late_and_abandoned_work_is_not_begun() {
    let pool = Arc::new(pool(1, 100));
    let past = Instant::now().checked_sub(Duration::from_millis(1));
    assert_eq!(pool.run(Lane::Interactive, 1, past, || ()).await, Err(PoolError::DeadlineExceeded));

    let blocked = Blocked::block(&pool, Lane::Interactive, 1).await;
    let (began, begins) = mpsc::channel::<()>();
    let leaving = Arc::clone(&pool);
    let work = move || began.send(());
    let abandoned = tokio::spawn(async move { leaving.run(Lane::Interactive, 1, None, work).await });
    until(|| pool.queued_tokens() == 2).await;
    abandoned.abort();
    assert!(abandoned.await.is_err());
    blocked.release().await;
    // A later call passes the abandoned one in the queue.
    assert_eq!(pool.run(Lane::Interactive, 1, None, || 1).await, Ok(1));
    assert!(begins.try_recv().is_err());
    assert_eq!(pool.queued_tokens(), 0);
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_pool_lives() {
    let pool = pool(1, 10);
    assert_eq!(pool.run(Lane::Interactive, 1, None, || panic!("broken")).await.map(|()| 0), Err(PoolError::Panicked));
    assert_eq!(pool.run(Lane::Bulk, 1, None, || 3).await, Ok(3));
}

#[tokio::test]
async fn what_people_wait_for_passes_bulk() {
    let pool = Arc::new(pool(1, 10_000));
    let blocked = Blocked::block(&pool, Lane::Bulk, 1).await;
    let (done, order) = mpsc::channel();
    let mut running = Vec::new();
    for (lane, name) in [(Lane::Bulk, "bulk"), (Lane::Bulk, "more bulk"), (Lane::Interactive, "person")] {
        let (pool, done, before) = (Arc::clone(&pool), done.clone(), pool.queued_tokens());
        let waiting = Arc::clone(&pool);
        running.push(tokio::spawn(async move { pool.run(lane, 100, None, move || done.send(name)).await }));
        until(|| waiting.queued_tokens() > before).await;
    }
    blocked.release().await;
    for running in running {
        running.await.unwrap().unwrap().unwrap();
    }
    assert_eq!(order.try_iter().collect::<Vec<_>>(), ["person", "bulk", "more bulk"]);
}

#[tokio::test]
async fn work_that_waits_when_the_pool_closes_is_answered() {
    let pool = Arc::new(pool(1, 100));
    let blocked = Blocked::block(&pool, Lane::Interactive, 1).await;
    let waiting = Arc::clone(&pool);
    let waiting = tokio::spawn(async move { waiting.run(Lane::Interactive, 1, None, || 1).await });
    until(|| pool.queued_tokens() == 2).await;
    pool.shared.lock().closing = true;
    blocked.release().await;
    // The thread has ended without it; dropping the last handle drops the queue, and the answer's sender with it.
    pool.shared.lock().lanes = Lanes::new(0.1);
    assert_eq!(waiting.await.unwrap(), Err(PoolError::Panicked));
}

fn encoder() -> Arc<Encoder> {
    Arc::new(crate::inference::tests::fast(crate::inference::Kernel::Auto))
}

/// The vector of a text by way of the pool.
async fn vector(pool: &ComputePool, encoder: &Arc<Encoder>, lane: Lane, text: &str) -> Vec<f32> {
    vector_for(pool, encoder, lane, text, 10).await
}

/// The same, of a text that was taken for one of so many tokens.
async fn vector_for(pool: &ComputePool, encoder: &Arc<Encoder>, lane: Lane, text: &str, tokens: usize) -> Vec<f32> {
    let begin = {
        let (encoder, text) = (Arc::clone(encoder), text.to_owned());
        move || {
            let input = crate::inference::EncodeInput::new(&text, crate::inference::Role::Query);
            let plan = Arc::new(encoder.plan(&[input], crate::inference::Depth::Top).unwrap());
            let planned = Arc::clone(&plan);
            let finish = move |output: Result<PassOutput, InferenceError>| {
                encoder.finish(&planned, vec![output.unwrap()]).remove(0).vector
            };
            Begun::Encode { plan, pass: 0, finish: Box::new(finish) }
        }
    };
    pool.encode(lane, tokens, None, encoder, begin).await.unwrap()
}

#[tokio::test]
async fn a_text_has_the_same_vector_alone_shared_and_among_others() {
    let encoder = encoder();
    let texts: Vec<String> = (1..24).map(|words| "касса не работает третий день ".repeat(words % 7 + 1)).collect();
    let alone = pool(1, 10_000);
    let mut expected = Vec::new();
    for text in &texts {
        expected.push(vector(&alone, &encoder, Lane::Interactive, text).await);
    }
    for threads in [1, 2, 3] {
        let pool = Arc::new(pool(threads, 10_000));
        // One after the other, so that other threads have nothing to do and take part.
        for (text, expected) in texts.iter().zip(&expected) {
            assert!(vector(&pool, &encoder, Lane::Interactive, text).await == *expected, "{text} on {threads}");
        }
        // All at once, in both lanes.
        let mut running = Vec::new();
        for (number, text) in texts.iter().cloned().enumerate() {
            let (pool, encoder) = (Arc::clone(&pool), Arc::clone(&encoder));
            let lane = if number % 3 == 0 { Lane::Bulk } else { Lane::Interactive };
            running.push(tokio::spawn(async move { vector(&pool, &encoder, lane, &text).await }));
        }
        for (running, expected) in running.into_iter().zip(&expected) {
            assert!(running.await.unwrap() == *expected, "on {threads} threads");
        }
    }
}

#[tokio::test]
async fn a_long_turn_in_bulk_goes_through_the_encoder_in_parts_and_each_text_gets_its_own_vector() {
    let encoder = encoder();
    let text = |number: usize| format!("{number} касса не работает третий день, чеки не печатает, очередь стоит");
    let mut expected = Vec::new();
    for number in 0..60 {
        expected.push(vector(&pool(1, 10_000), &encoder, Lane::Bulk, &text(number)).await);
    }
    let pool = Arc::new(pool(1, 10_000));
    let blocked = Blocked::block(&pool, Lane::Bulk, 1).await;
    let mut running = Vec::new();
    for number in 0..60 {
        let (pool, encoder) = (Arc::clone(&pool), Arc::clone(&encoder));
        running.push(tokio::spawn(async move { vector_for(&pool, &encoder, Lane::Bulk, &text(number), 30).await }));
    }
    // All of them wait, so that one turn takes them.
    until(|| pool.queued_tokens() == 1 + 60 * 30).await;
    blocked.release().await;
    for (running, expected) in running.into_iter().zip(&expected) {
        assert!(running.await.unwrap() == *expected);
    }
    let PoolCounts { batches, batch_tokens, .. } = pool.counts();
    // Turns that held no more than a part would leave more parts, none of them full.
    assert_eq!(batches, batch_tokens.div_ceil(TURN_TOKENS as u64), "{batch_tokens} tokens");
    assert!(batches > 1, "{batch_tokens} tokens");
}
