//! Who did what to which case: a record a call, appended to files, each record bound to the one before by its hash.
//!
//! Enters: what a call did. Leaves: a line of JSON that survives a crash once it is acknowledged, and, for whoever checks the files, the
//! first place where they are not what was written. Never here: what customers said, and keys or tokens.
//!
//! The hash of a record is over the hash of the one before and all else that stands in its own line, so that a record that was changed,
//! taken out or put in is told. Records cut off from the end are not, unless somebody kept the last hash elsewhere: `otklik audit verify`
//! prints it, and takes it again with `--expect`.

mod chain;
mod files;
mod log;
#[cfg(test)]
mod tests;

pub use chain::{AuditRecord, Event};
pub use files::{Break, Verified, verify};
pub use log::{AuditError, AuditLog};
