//! What the service tells of itself: numbers for Prometheus, and traces for a collector that speaks OTLP.
//!
//! Enters: how calls ended, how long each stage of the walk took, what was tagged, and a look at what computes. Leaves: the text of a
//! scrape in the OpenMetrics format, and spans, where a configuration names an address for them. Never here: anything that a customer
//! wrote. Labels and names of spans are names of this program and of the taxonomy, so that there are few of them; attributes of spans
//! are ids, counts and times.

mod at_scrape;
mod collector;
mod drift;
mod language_model;
mod metrics;
mod stages;
mod trace;

pub use at_scrape::Observed;
pub use collector::{TraceOptions, Traces, TracesError};
pub use drift::{REFERENCE_TEXTS, WINDOW_TEXTS};
pub use language_model::MeteredModel;
pub use metrics::{CONTENT_TYPE, Metrics};
pub use stages::{Stage, Timed};
pub(crate) use stages::{batch, queued};
pub(crate) use trace::{TRACE_PARENT, TracePlace};
