//! [`EventStream`] and [`ReplyBody`]: what goes back to the client.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::SelectAll};
use http_body::{Body, Frame, SizeHint};

use crate::{
    proto::{Next, StreamKey},
    session::{Session, Signal},
};

/// The stream was ended by force while its reader had left events unread, or was not there.
///
/// The body must not end as if it were complete: an HTTP server that is given this error closes the connection
/// without the last chunk, or resets the HTTP/2 stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream was cut: its client did not read it to the end in time")]
pub struct StreamCut;

/// The events of one stream, each whole, in order.
///
/// Dropping it tells the session that the client has gone. That does not cancel the request (D-12).
#[derive(Debug)]
pub struct EventStream {
    session: Session,
    key: StreamKey,
    signal: Arc<Signal>,
    done: bool,
}

impl EventStream {
    pub(crate) fn new(session: Session, key: StreamKey, signal: Arc<Signal>) -> Self {
        Self { session, key, signal, done: false }
    }

    /// Whether the last event has been taken.
    pub fn is_done(&self) -> bool {
        self.done
    }
}

impl Stream for EventStream {
    type Item = Result<Bytes, StreamCut>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        this.signal.reader.register(cx.waker());
        match this.session.with_client(|machine, now| machine.poll_event(now, this.key)) {
            Next::Pending => Poll::Pending,
            Next::Event(event, last) => {
                this.done = last;
                Poll::Ready(Some(Ok(event)))
            }
            Next::End => {
                this.done = true;
                Poll::Ready(None)
            }
            Next::Cut => {
                this.done = true;
                Poll::Ready(Some(Err(StreamCut)))
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.session.with(|machine, now| machine.handle_disconnect(now, self.key));
    }
}

#[derive(Debug)]
enum Kind {
    Full(Bytes),
    Events(EventStream),
    /// Answers that were there at once, and the streams of the others, interleaved as they come.
    Batch(VecDeque<Bytes>, SelectAll<EventStream>),
}

/// The body of every response: nothing, one JSON text, or the events of one stream, of several for a batch.
///
/// `is_end_stream` is true as soon as the last event was taken, so that a server can write it together with the
/// end of the body.
#[derive(Debug)]
pub struct ReplyBody(Kind);

impl ReplyBody {
    /// No bytes.
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// These bytes.
    pub fn full(bytes: Bytes) -> Self {
        Self(Kind::Full(bytes))
    }

    /// These events.
    pub fn events(events: EventStream) -> Self {
        Self(Kind::Events(events))
    }

    /// These events first, then those of all streams. It ends with the last of them.
    pub(crate) fn batch(first: VecDeque<Bytes>, streams: Vec<EventStream>) -> Self {
        Self(Kind::Batch(first, futures::stream::select_all(streams)))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = StreamCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamCut>>> {
        match &mut self.0 {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Events(events) => {
                events.poll_next_unpin(cx).map(|event| event.map(|event| event.map(Frame::data)))
            }
            Kind::Batch(first, streams) => match first.pop_front() {
                Some(event) => Poll::Ready(Some(Ok(Frame::data(event)))),
                None => streams.poll_next_unpin(cx).map(|event| event.map(|event| event.map(Frame::data))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Events(events) => events.is_done(),
            Kind::Batch(first, streams) => first.is_empty() && streams.iter().all(EventStream::is_done),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Events(_) | Kind::Batch(..) => SizeHint::default(),
        }
    }
}
