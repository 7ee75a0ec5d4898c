//! A run of many machines: one plans and assembles, any number of workers tag chunks of rows.
//!
//! Enters: a [`RetagRun`](super::RetagRun), a [`WorkQueue`](super::queue::WorkQueue) and, on each worker, a tagger; inputs and the
//! folder of parts lie where every machine finds them under the same name. Leaves: the same outputs, to the byte, as a run of one
//! machine, and the state of the job on the queue's shelf, where all machines see it. Never here: NATS, terminals, models.

mod chunk;
mod coordinate;
mod coordinator;
mod file;
mod job;
#[cfg(test)]
mod tests;
mod worker;

pub use coordinate::MachinesOptions;
pub use job::{Job, JobState, SetAside, cancel, jobs};
pub use worker::{Worker, WorkerOptions, WorkerSummary};
