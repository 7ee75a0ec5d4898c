//! The threads that compute, with a queue bounded in tokens in front of them.
//!
//! CPU work never runs on an async thread. Work whose caller left, or whose deadline passed, is dropped before it starts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The queue is full; the work was not taken.
    #[error("the queue holds {queued} of at most {limit} tokens")]
    Full {
        /// Tokens in the queue.
        queued: usize,
        /// The limit.
        limit: usize,
    },
    /// The deadline passed before the work began.
    #[error("the deadline passed before the work began")]
    DeadlineExceeded,
    /// The work panicked.
    #[error("the computation panicked")]
    Panicked,
}

/// A fixed number of computing threads behind a bounded queue.
pub struct ComputePool {
    threads: rayon::ThreadPool,
    queued: Arc<AtomicUsize>,
    limit: usize,
}

/// Tokens taken from the queue's room, given back when dropped.
struct Reservation {
    queued: Arc<AtomicUsize>,
    tokens: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.tokens, Ordering::AcqRel);
    }
}

impl ComputePool {
    /// Starts `threads` threads (0: one a core) behind a queue of at most `queue_tokens` tokens.
    ///
    /// # Errors
    /// What the system said when a thread could not be started.
    pub fn start(threads: usize, queue_tokens: usize) -> Result<Self, std::io::Error> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("compute-{index}"))
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self { threads, queued: Arc::new(AtomicUsize::new(0)), limit: queue_tokens })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Tokens waiting or being computed.
    pub fn queued_tokens(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    /// Runs `work`, which costs about `tokens` tokens, on the pool. An empty queue takes work of any size.
    ///
    /// Dropping the future before the work has begun drops the work.
    ///
    /// # Errors
    /// [`PoolError`]; see its variants.
    pub async fn run<T: Send + 'static>(
        &self,
        tokens: usize,
        deadline: Option<Instant>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let reservation = self.reserve(tokens)?;
        let (sender, receiver) = oneshot::channel();
        self.threads.spawn_fifo(move || {
            let reservation = reservation;
            if sender.is_closed() {
                return;
            }
            let answer = if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                Err(PoolError::DeadlineExceeded)
            } else {
                catch_unwind(AssertUnwindSafe(work)).map_err(|_| PoolError::Panicked)
            };
            // The room is free before the caller knows, so that a caller that waits for answers is never refused by its own work.
            drop(reservation);
            // A caller that left meanwhile wants no answer.
            let _ = sender.send(answer);
        });
        receiver.await.unwrap_or(Err(PoolError::Panicked))
    }

    /// Runs `work` on the pool and waits for it on this thread; for start-up, where there is no queue yet.
    pub fn run_blocking<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.threads.install(work)
    }

    fn reserve(&self, tokens: usize) -> Result<Reservation, PoolError> {
        self.queued
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |queued| {
                (queued == 0 || queued.saturating_add(tokens) <= self.limit).then(|| queued.saturating_add(tokens))
            })
            .map(|_| Reservation { queued: Arc::clone(&self.queued), tokens })
            .map_err(|queued| PoolError::Full { queued, limit: self.limit })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn work_runs_and_gives_its_room_back() {
        let pool = ComputePool::start(2, 10).unwrap();
        assert_eq!(pool.run(10, None, || 7).await, Ok(7));
        assert_eq!(pool.run(10, None, || 8).await, Ok(8));
        assert_eq!(pool.queued_tokens(), 0);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_an_empty_one_takes_any_size() {
        let pool = Arc::new(ComputePool::start(1, 10).unwrap());
        let (release, wait) = mpsc::channel::<()>();
        let busy = Arc::clone(&pool);
        let running = tokio::spawn(async move { busy.run(50, None, move || wait.recv().is_ok()).await });
        while pool.queued_tokens() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(pool.run(1, None, || ()).await, Err(PoolError::Full { queued: 50, limit: 10 }));
        release.send(()).unwrap();
        assert_eq!(running.await.unwrap(), Ok(true));
    }

    #[tokio::test]
    async fn late_and_abandoned_work_is_not_begun() {
        let pool = Arc::new(ComputePool::start(1, 100).unwrap());
        let past = Instant::now().checked_sub(Duration::from_millis(1));
        assert_eq!(pool.run(1, past, || ()).await, Err(PoolError::DeadlineExceeded));

        let (release, wait) = mpsc::channel::<()>();
        let (began, begins) = mpsc::channel::<()>();
        let busy = Arc::clone(&pool);
        let running = tokio::spawn(async move { busy.run(1, None, move || wait.recv().is_ok()).await });
        let leaving = Arc::clone(&pool);
        let abandoned = tokio::spawn(async move { leaving.run(1, None, move || began.send(())).await });
        while pool.queued_tokens() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        abandoned.abort();
        assert!(abandoned.await.is_err());
        release.send(()).unwrap();
        assert_eq!(running.await.unwrap(), Ok(true));
        // A later call passes the abandoned one in the queue.
        assert_eq!(pool.run(1, None, || 1).await, Ok(1));
        assert!(begins.try_recv().is_err());
        assert_eq!(pool.queued_tokens(), 0);
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_the_pool_lives() {
        let pool = ComputePool::start(1, 10).unwrap();
        assert_eq!(pool.run(1, None, || panic!("broken")).await.map(|()| 0), Err(PoolError::Panicked));
        assert_eq!(pool.run(1, None, || 3).await, Ok(3));
    }
}
