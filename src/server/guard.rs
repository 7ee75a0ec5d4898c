//! The layer around every call: refuse what is too much, bound how long it takes, survive its panics, log how it ended.
//!
//! In this order: who is not known, or may not, is refused, so that strangers take nobody's place; a draining service refuses, a full
//! one refuses (so that callers retry elsewhere instead of waiting), then the call runs under its deadline and behind a panic guard.
//! The permit is held until the last byte of the response. What is turned away for load costs as little as may be: nothing of it is read,
//! and it is told in the log once a second for all of them together. Calls of the standard services (health, reflection) are not counted and
//! not refused for load: a prober must get its answer under it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::time::sleep_until;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::access::{self, Access};
use super::account::Account;
use super::body::GuardedBody;
use super::deadline::Deadlines;
use super::drain::Drain;
use super::places::{NoPlace, Permit, Places};
use super::{status, wire};
use crate::audit::AuditLog;
use crate::callers::{Budgets, Caller, Callers, Refusal, Role};
use crate::config::ServerConfig;
use crate::telemetry::{Metrics, Stage, TracePlace};

/// Paths of our own services begin with this.
pub(super) const OWN_SERVICES: &str = "/otklik.";

/// How often calls that are turned away are told in the log, all together.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Wraps a service in a [`Guard`].
#[derive(Clone)]
pub(super) struct GuardLayer {
    config: Arc<ServerConfig>,
    places: Arc<Places>,
    drain: Drain,
    metrics: Arc<Metrics>,
    callers: Arc<Callers>,
    budgets: Arc<Budgets>,
    audit: Option<Arc<AuditLog>>,
    /// Our RPCs by path, with the name that they are counted under. Others have none: anybody could make up as many as he likes.
    rpcs: Arc<HashMap<String, Arc<str>>>,
    turned_away: Arc<TurnedAway>,
}

impl GuardLayer {
    pub(super) fn new(
        config: ServerConfig,
        drain: Drain,
        metrics: Arc<Metrics>,
        callers: Arc<Callers>,
        budgets: Arc<Budgets>,
        max_share: f32,
        audit: Option<Arc<AuditLog>>,
    ) -> Self {
        let places = Arc::new(Places::new(config.max_concurrent_requests, max_share));
        let rpcs = wire::rpcs().into_iter().map(|rpc| (format!("/{rpc}"), rpc.into())).collect();
        Self {
            config: Arc::new(config),
            places,
            drain,
            metrics,
            callers,
            budgets,
            audit,
            rpcs: Arc::new(rpcs),
            turned_away: Arc::default(),
        }
    }

    /// Resolves when no call of our services is in work.
    pub(super) async fn idle(&self) {
        self.places.idle().await;
    }

    /// Who makes a call, if it may be made; its key is taken out of its metadata.
    fn let_in(&self, request: &mut Request<Body>) -> Result<Caller, NotLetIn> {
        let access = access::of(request.uri().path());
        let shown = access::take_credential(request.headers_mut());
        if access == Access::Open {
            return Ok(Caller::anyone());
        }
        let known = match shown {
            Ok(shown) => self.callers.authenticate(shown.as_deref()),
            Err(_) if !self.callers.are_asked() => self.callers.authenticate(None),
            Err(reason) => Err(Refusal::Invalid { reason: reason.to_owned() }),
        };
        let caller = known.map_err(NotLetIn::Unknown)?;
        match access {
            Access::Open | Access::AnyCaller => Ok(caller),
            Access::Role(role) if caller.may(role) => Ok(caller),
            Access::Role(role) => Err(NotLetIn::Role(role)),
            Access::Nobody if self.rpcs.contains_key(request.uri().path()) => Err(NotLetIn::Closed),
            // There is no such method, which the caller may know.
            Access::Nobody => Ok(caller),
        }
    }

    /// Gives a call a place, or says why not.
    fn admit(&self, caller: &Caller) -> Result<Permit, Status> {
        if !self.drain.takes_work() {
            return Err(status::shutting_down());
        }
        self.places.take(caller).map_err(|full| {
            let NoPlace { whose, limit, key } = full;
            status::overloaded(format!("{limit} calls{whose} are in work, at most {limit} may be ({key})"))
        })
    }
}

/// Why a call may not be made.
enum NotLetIn {
    Unknown(Refusal),
    Role(Role),
    Closed,
}

impl NotLetIn {
    /// What the caller is told; the log is told more.
    fn status(&self) -> Status {
        match self {
            Self::Unknown(refusal) => status::not_let_in(refusal),
            Self::Role(role) => status::role_missing(*role),
            Self::Closed => status::closed(),
        }
    }
}

/// Calls that were turned away since they were told in the log.
#[derive(Default)]
struct TurnedAway {
    calls: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl TurnedAway {
    /// Counts one, and tells them all if the last time is long enough ago. The metrics have each of them under its RPC and code.
    fn note(&self, why: &Status) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        // Whoever finds another telling has nothing to tell.
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.is_some_and(|told| told.elapsed() < TOLD_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        let calls = self.calls.swap(0, Ordering::Relaxed);
        tracing::warn!(calls, reason = why.message(), "calls are turned away");
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, layer: self.clone() }
    }
}

/// The guarded service.
#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    layer: GuardLayer,
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let is_ours = request.uri().path().starts_with(OWN_SERVICES);
        let mut record = CallRecord::new(is_ours);
        let rpc = self.layer.rpcs.get(request.uri().path());
        record.counted = rpc.map(|rpc| (Arc::clone(&self.layer.metrics), Arc::clone(rpc)));
        if let Some((_, rpc)) = &record.counted {
            record.trace = TracePlace::of_call(rpc, request.headers());
        }
        if let Err(refusal) = record.admitted(&self.layer, &mut request) {
            return std::future::ready(Ok(record.refuse(refusal))).boxed();
        }
        // The clone has not been polled ready; the service at hand has.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let layer = self.layer.clone();
        let deadlines = Deadlines::from_now(request.headers(), &layer.config);
        request.extensions_mut().insert(deadlines);
        request.extensions_mut().insert(record.trace.clone());

        async move {
            let work = async move { inner.call(request).await }.instrument(record.span.clone());
            let work = record.trace.clone().hold(work);
            let work = AssertUnwindSafe(work).catch_unwind();
            let answer_due = if is_ours { Some(deadlines.answer) } else { deadlines.call };
            tokio::select! {
                // The deadline first: a batch ends one way, not sometimes with the items that were in time.
                biased;
                () = passed(answer_due) => Ok(record.refuse(status::deadline_exceeded())),
                () = layer.drain.aborted() => Ok(record.refuse(status::shutting_down())),
                outcome = work => match outcome {
                    Ok(Ok(response)) => Ok(layer.guard_response(response, deadlines, record)),
                    Ok(Err(error)) => Err(error),
                    Err(_) => Ok(record.refuse_after_panic()),
                },
            }
        }
        .boxed()
    }
}

impl GuardLayer {
    fn guard_response(&self, response: Response<Body>, deadlines: Deadlines, mut record: CallRecord) -> Response<Body> {
        if let Some(told) = Status::from_header_map(response.headers()) {
            let told_code = told.code();
            let retold = status::of_reading(told, self.config.max_message_bytes);
            if retold.code() != told_code {
                return record.refuse(retold);
            }
            record.code = Some(told_code);
        }
        let interruption = interrupted(deadlines.call, self.drain.aborted());
        response.map(|body| Body::new(GuardedBody::new(body, interruption, record)))
    }
}

/// Resolves with the reason when a response has to stop before its end.
async fn interrupted(due: Option<Instant>, aborted: impl Future<Output = ()>) -> Status {
    tokio::select! {
        biased;
        () = aborted => status::shutting_down(),
        () = passed(due) => status::deadline_exceeded(),
    }
}

async fn passed(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// What is known of a call; logged when it is over. Never holds anything that a customer wrote.
pub(super) struct CallRecord {
    is_ours: bool,
    started: Instant,
    permit: Option<Permit>,
    /// Where it is counted, and under which name.
    counted: Option<(Arc<Metrics>, Arc<str>)>,
    /// How it ended; `None` until it did, and for good if its caller left.
    pub(super) code: Option<Code>,
    /// For the log. None of a call that was turned away.
    pub(super) span: Span,
    /// For a collector of traces.
    pub(super) trace: TracePlace,
}

impl CallRecord {
    fn new(is_ours: bool) -> Self {
        let (span, trace) = (Span::none(), TracePlace::default());
        Self { is_ours, started: Instant::now(), permit: None, counted: None, code: None, span, trace }
    }

    /// The call is more than turned away: what is logged of it names it.
    fn open(&mut self, method: &str) {
        self.span = tracing::error_span!("call", method, request_id = Empty, caller = Empty, trace_id = Empty);
        if let Some(trace_id) = self.trace.trace_id() {
            self.span.record("trace_id", trace_id);
        }
    }

    /// Lets a call in and gives it a place, or says why not.
    fn admitted(&mut self, layer: &GuardLayer, request: &mut Request<Body>) -> Result<(), Status> {
        let trace = self.trace.clone();
        let _here = trace.enter();
        let _stage = self.is_ours.then(|| Stage::Admission.begin());
        let caller = layer.let_in(request).map_err(|reason| {
            self.open(request.uri().path());
            self.span.in_scope(|| reason.status())
        })?;
        trace.tell("caller", caller.id.clone());
        trace.tell("tenant", caller.tenant.as_str().to_owned());
        if self.is_ours {
            let permit = layer.admit(&caller).inspect_err(|refusal| layer.turned_away.note(refusal))?;
            self.permit = Some(permit);
        }
        self.open(request.uri().path());
        self.span.record("caller", caller.id.as_str());
        let account = Account::new(caller, Arc::clone(&layer.budgets), layer.audit.clone());
        request.extensions_mut().insert(account);
        Ok(())
    }

    /// Ends the call with a status and no message.
    fn refuse(mut self, status: Status) -> Response<Body> {
        self.code = Some(status.code());
        status.into_http()
    }

    fn refuse_after_panic(self) -> Response<Body> {
        let status = self.span.in_scope(|| status::internal("the call panicked"));
        self.refuse(status)
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let code = self.code.map_or("caller left", status::name);
        if let Some((metrics, rpc)) = &self.counted {
            metrics.call_ended(rpc, code, elapsed.as_secs_f64());
        }
        // The code that a caller who left would have been given.
        self.trace.call_ended(i32::from(self.code.unwrap_or(Code::Cancelled)));
        let _entered = self.span.enter();
        if self.is_ours && !self.span.is_none() {
            tracing::info!(code, elapsed_ms, "call ended");
        } else {
            tracing::debug!(code, elapsed_ms, "call ended");
        }
    }
}
