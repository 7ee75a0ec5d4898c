//! Help for operators.
pub mod playbook;
pub(crate) mod reading;
