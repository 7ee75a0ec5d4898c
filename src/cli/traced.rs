//! Work of a process whose traces are sent, if they go anywhere.

use anyhow::Context;
use otklik::assembly;
use otklik::config::Config;

/// Does the work; sends traces of it meanwhile, and the last ones when it has ended, however it did.
///
/// # Errors
/// Those of the work, and [`TracesError`](otklik::telemetry::TracesError) before it begins.
pub async fn traced<T>(config: &Config, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let told = config.clone();
    let opened = tokio::task::spawn_blocking(move || assembly::traces(&told));
    let traces = opened.await.context("the start was interrupted")??;
    let done = work.await;
    if let Some(traces) = traces {
        tokio::task::spawn_blocking(move || traces.close()).await.context("the end was interrupted")?;
    }
    done
}
