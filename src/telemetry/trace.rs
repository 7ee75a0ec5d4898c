//! Places in a trace: where a call or a stage of it is, carried from thread to thread.
//!
//! Spans are made with the interface of OpenTelemetry and not from the log's: what is logged is told to people who may read it, and
//! nothing of it gets into a span by accident. Where no trace is sent, a place is empty and everything here is one look at a flag.

use std::sync::OnceLock;

use http::HeaderMap;
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, ContextGuard, KeyValue, Value};
use opentelemetry_sdk::trace::SdkTracer;

/// What makes spans; set once, when traces are sent.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// From now on spans are made. Only the first tracer of a process counts.
pub(super) fn make_spans_with(tracer: SdkTracer) {
    // A second one changes nothing, as documented.
    let _ = TRACER.set(tracer);
}

/// The header that a span's parent is named in, by W3C Trace Context.
pub(crate) const TRACE_PARENT: &str = "traceparent";

/// The codes of gRPC that are faults of whoever serves, by the conventions of OpenTelemetry.
const FAULTS_OF_SERVER: [i32; 6] = [2, 4, 12, 13, 14, 15];

/// A place in a trace; empty where no trace is sent, or this call is not in the sample.
#[derive(Debug, Clone, Default)]
pub(crate) struct TracePlace(Option<Context>);

impl TracePlace {
    /// Begins the span of a call. `rpc` is its path as in `otklik.v1.TaggingService/Classify`. The span that the caller names in its
    /// metadata is the parent.
    pub(crate) fn of_call(rpc: &str, headers: &HeaderMap) -> Self {
        let Some(tracer) = TRACER.get() else { return Self::default() };
        let (service, method) = rpc.split_once('/').unwrap_or((rpc, ""));
        let attributes = [("rpc.system", "grpc"), ("rpc.service", service), ("rpc.method", method)];
        let attributes = attributes.map(|(key, value)| KeyValue::new(key, value.to_owned()));
        let builder = SpanBuilder::from_name(rpc.to_owned()).with_kind(SpanKind::Server).with_attributes(attributes);
        let named = headers.get(TRACE_PARENT).and_then(|header| header.to_str().ok());
        Self::begun(tracer, builder, &parent(named))
    }

    /// Begins the span of something that came through a queue; `named` is what its publisher gave as `traceparent`.
    pub(crate) fn of_message(name: &'static str, named: Option<&str>) -> Self {
        let Some(tracer) = TRACER.get() else { return Self::default() };
        let attributes = [("messaging.system", "nats"), ("messaging.operation.type", "process")];
        let attributes = attributes.map(|(key, value)| KeyValue::new(key, value));
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Consumer).with_attributes(attributes);
        Self::begun(tracer, builder, &parent(named))
    }

    /// The place that this thread is at.
    pub(crate) fn current() -> Self {
        if TRACER.get().is_none() {
            return Self::default();
        }
        let context = Context::current();
        Self(context.has_active_span().then_some(context))
    }

    /// Begins the span of something that happens at this thread's place; empty if it has none, so that what no caller asked for makes
    /// no traces.
    pub(super) fn begin(name: &'static str) -> Self {
        let Some(tracer) = TRACER.get() else { return Self::default() };
        match Self::current() {
            Self(Some(parent)) => Self::begun(tracer, SpanBuilder::from_name(name), &parent),
            empty => empty,
        }
    }

    fn begun(tracer: &SdkTracer, builder: SpanBuilder, parent: &Context) -> Self {
        let span = tracer.build_with_context(builder, parent);
        let context = parent.with_span(span);
        let is_kept = context.span().is_recording();
        Self(is_kept.then_some(context))
    }

    /// Puts this thread at the place until the guard is dropped. To be held in code that does not await.
    pub(crate) fn enter(&self) -> Option<ContextGuard> {
        self.0.clone().map(Context::attach)
    }

    /// Does work at the place.
    pub(crate) async fn hold<F: Future>(self, work: F) -> F::Output {
        match self.0 {
            Some(context) => work.with_context(context).await,
            None => work.await,
        }
    }

    /// Tells something of the span: an id, a count, a time, a name of this program.
    pub(crate) fn tell(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, value));
        }
    }

    /// The trace's id, for the log; `None` for the empty place.
    pub(crate) fn trace_id(&self) -> Option<String> {
        self.0.as_ref().map(|context| context.span().span_context().trace_id().to_string())
    }

    /// What names this place to others, as `traceparent` does; `None` for the empty place.
    pub(crate) fn trace_parent(&self) -> Option<String> {
        let context = self.0.as_ref()?.span().span_context().clone();
        let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
        Some(format!("00-{trace}-{span}-{flags:02x}"))
    }

    /// What came through the queue was done, or was not.
    pub(crate) fn message_ended(&self, outcome: &'static str, is_failure: bool) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new("outcome", outcome));
            if is_failure {
                context.span().set_status(Status::error(""));
            }
            context.span().end();
        }
    }

    /// How the call ended, as the code of its gRPC status.
    pub(crate) fn call_ended(&self, code: i32) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(code)));
            if FAULTS_OF_SERVER.contains(&code) {
                context.span().set_status(Status::error(""));
            }
            context.span().end();
        }
    }

    /// Ends the span.
    pub(super) fn end(&self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

/// Where a span begins whose parent is named so, or is not.
fn parent(named: Option<&str>) -> Context {
    match named.and_then(named_span) {
        Some(span) => Context::new().with_remote_span_context(span),
        None => Context::new(),
    }
}

/// The span that a caller names: the value of `traceparent`, version 00 or, as the recommendation says, a later one that begins alike.
/// `tracestate` is left out: it is text of others. One that can't be read counts as not given.
fn named_span(value: &str) -> Option<SpanContext> {
    let mut parts = value.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_lower_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_read = is_lower_hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && is_lower_hex(trace, 32)
        && is_lower_hex(span, 16)
        && is_lower_hex(flags, 2);
    if !is_read {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let named = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    named.is_valid().then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_span_is_read_as_the_recommendation_writes_it() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        for (header, wanted) in [
            (format!("00-{trace}-{span}-01"), Some(true)),
            (format!("00-{trace}-{span}-00"), Some(false)),
            (format!("01-{trace}-{span}-01-more"), Some(true)),
            (format!("00-{trace}-{span}-01-more"), None),
            (format!("ff-{trace}-{span}-01"), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{span}-01", trace.to_uppercase()), None),
            (format!("00-{trace}-{span}"), None),
            ("что-то".to_owned(), None),
            (String::new(), None),
        ] {
            let read = named_span(&header);
            assert_eq!(read.as_ref().map(SpanContext::is_sampled), wanted, "{header}");
            if let Some(read) = read {
                assert_eq!((read.trace_id().to_string(), read.span_id().to_string()), (trace.into(), span.into()));
                assert_eq!(read.trace_state(), &TraceState::NONE);
            }
        }
    }

    #[test]
    fn where_no_trace_is_sent_places_are_empty() {
        // No test of the library sets a tracer.
        let place = TracePlace::of_call("otklik.v1.TaggingService/Classify", &HeaderMap::new());
        assert!(place.0.is_none() && place.trace_id().is_none() && place.enter().is_none());
        assert!(TracePlace::begin("encode").0.is_none() && TracePlace::current().0.is_none());
        let place = TracePlace::of_message("feedback", Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        assert!(place.0.is_none() && place.trace_parent().is_none());
    }
}
