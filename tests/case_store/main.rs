//! What every case store does alike: run on the embedded store always, and on a Qdrant server where `OTKLIK_TEST_QDRANT_URL` names one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

mod behaviour;
mod carrying;
mod filters;
mod model;
mod retagging;
mod sample;
mod search;
mod stores;
