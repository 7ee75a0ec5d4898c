//! The response body under guard: streams do their work while it is read, so deadlines, aborts and panics reach it too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};

use super::guard::CallRecord;
use super::status;

/// A body that ends with trailers whatever happens to the work behind it.
pub(super) struct GuardedBody {
    /// `None` once the body has ended.
    inner: Option<Body>,
    interruption: BoxFuture<'static, Status>,
    record: CallRecord,
}

impl GuardedBody {
    pub(super) fn new(
        inner: Body,
        interruption: impl Future<Output = Status> + Send + 'static,
        record: CallRecord,
    ) -> Self {
        Self { inner: Some(inner), interruption: interruption.boxed(), record }
    }

    /// Ends the body with a status, dropping the work.
    fn end<D, E>(&mut self, status: &Status) -> Poll<Option<Result<Frame<D>, E>>> {
        self.inner = None;
        self.record.code = Some(status.code());
        let mut trailers = HeaderMap::new();
        // It fails only for a message that can't be a header; the code alone always can.
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from(i32::from(status.code())));
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

impl http_body::Body for GuardedBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = &mut *self;
        let span = this.record.span.clone();
        let _entered = span.enter();
        let _here = this.record.trace.enter();
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
        if let Poll::Ready(status) = this.interruption.poll_unpin(context) {
            return this.end(&status);
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(context)));
        match polled {
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.record.code = Status::from_header_map(trailers).map(|status| status.code());
                    this.inner = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(Poll::Ready(None)) => {
                this.inner = None;
                this.record.code.get_or_insert(Code::Ok);
                Poll::Ready(None)
            }
            Ok(other) => other,
            Err(_) => this.end(&status::internal("the response panicked")),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}
