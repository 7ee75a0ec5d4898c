//! otklik tags customer feedback by topic, sentiment and owning team, with transformer models run on this machine.
//!
//! Data walks through the rooms in this order: [`feedback`] comes in, [`text`] normalises and masks it, [`inference`] turns it
//! into vectors, [`tagging`] makes [`tags`] of them under a [`taxonomy`], [`cases`] keeps what was said, and `server` or the command
//! line carries it in and out.

pub mod assembly;
pub mod assist;
pub mod audit;
pub mod callers;
pub mod cases;
pub mod config;
mod database;
pub mod feedback;
pub mod inference;
pub mod models;
pub mod prompts;
pub mod requests;
pub mod retag;
pub mod server;
pub mod serving;
pub mod tables;
pub mod tagging;
pub mod tags;
pub mod taxonomy;
pub mod telemetry;
pub mod text;
pub mod training;
