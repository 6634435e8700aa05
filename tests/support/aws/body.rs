//! Bodies that are counted as they pass.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::call::Call;
use super::ledger::Ledger;

/// Which way a body goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    In,
    Out,
}

/// A body that goes through as it is.
#[derive(Debug)]
pub(super) struct Counted {
    inner: Incoming,
    way: Way,
    call: Arc<Call>,
    ledger: Arc<Ledger>,
}

impl Counted {
    pub(super) fn new(inner: Incoming, way: Way, call: &Arc<Call>, ledger: &Arc<Ledger>) -> Self {
        Self {
            inner,
            way,
            call: Arc::clone(call),
            ledger: Arc::clone(ledger),
        }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let n = data.len() as u64;
            let way = self.way;
            self.ledger.add(&self.call, |tally| match way {
                Way::In => tally.bytes_in += n,
                Way::Out => tally.bytes_out += n,
            });
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
