//! The way to the compute pool: only so many calls run there at once, and only so many may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::cases::CaseStoreError;

/// Bounds the work that runs and the work that waits.
pub(in crate::cases) struct ComputeGate {
    running: Arc<Semaphore>,
    inside: AtomicUsize,
    width: usize,
    limit: usize,
}

impl ComputeGate {
    /// A gate as wide as the machine has processors, before which `limit` calls may wait.
    pub(in crate::cases) fn new(limit: usize) -> Self {
        let width = std::thread::available_parallelism().map_or(1, usize::from);
        Self { running: Arc::new(Semaphore::new(width)), inside: AtomicUsize::new(0), width, limit }
    }

    /// Runs work off the async threads. Work of a caller that left while it waited is not run.
    pub(in crate::cases) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CaseStoreError> + Send + 'static,
    ) -> Result<T, CaseStoreError> {
        let _place = self.enter()?;
        let permit = self.running.clone().acquire_owned().await;
        let permit = permit.map_err(|error| CaseStoreError::Unavailable(error.to_string()))?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.unwrap_or_else(|error| Err(CaseStoreError::Unavailable(error.to_string())))
    }

    fn enter(&self) -> Result<Place<'_>, CaseStoreError> {
        let inside = self.inside.fetch_add(1, Ordering::Relaxed) + 1;
        let place = Place(&self.inside);
        let waiting = inside.saturating_sub(self.width);
        if waiting > self.limit {
            drop(place);
            return Err(CaseStoreError::Busy { waiting: waiting - 1, limit: self.limit });
        }
        Ok(place)
    }
}

/// A call that is inside; dropping it lets it out.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn calls_past_the_limit_are_refused_and_leave_no_trace() {
        let gate = Arc::new(ComputeGate::new(1));
        let hold = Arc::new(Barrier::new(gate.width + 1));
        let held: Vec<_> = (0..gate.width)
            .map(|_| {
                let (gate, hold) = (gate.clone(), hold.clone());
                tokio::spawn(async move {
                    gate.run(move || {
                        hold.wait();
                        Ok(())
                    })
                    .await
                })
            })
            .collect();
        while gate.running.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waiting = {
            let gate = gate.clone();
            tokio::spawn(async move { gate.run(|| Ok(7)).await })
        };
        while gate.inside.load(Ordering::Relaxed) <= gate.width {
            tokio::task::yield_now().await;
        }
        let refused = gate.run(|| Ok(())).await;
        assert!(matches!(refused, Err(CaseStoreError::Busy { waiting: 1, limit: 1 })), "{refused:?}");
        tokio::task::spawn_blocking(move || hold.wait()).await.unwrap();
        for call in held {
            call.await.unwrap().unwrap();
        }
        assert_eq!(waiting.await.unwrap().unwrap(), 7);
        assert_eq!(gate.inside.load(Ordering::Relaxed), 0);
    }
}
