//! [`EventStream`] and [`ReplyBody`]: the response to the client.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::SelectAll};
use http_body::{Body, Frame, SizeHint};
use mcp_session_proto::{Next, StreamKey, Text};

use crate::{
    session::{self, Session, cell::SharedWaiters},
    stateless::call::{Call, Machine},
};

/// The stream was ended by force before its reader had read all events.
///
/// The body must not end as if it were complete: on this error, an HTTP server closes the connection without the last
/// chunk, or resets the HTTP/2 stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream was cut: its client did not read it to the end in time")]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to say about it")]
pub struct StreamCut;

/// The length in bytes at which a frame of events is complete. It is what an HTTP/2 client accepts in one frame, and large
/// enough that the overhead of an HTTP/1.1 chunk does not matter.
const FRAME: usize = 16 * 1024;

/// The complete events of one stream, in order.
///
/// Dropping it means that the client has disconnected. That does not cancel a request of a session (D-12), but any other
/// (G-30, E-30).
#[derive(Debug)]
pub struct EventStream {
    source: Source,
    waiters: SharedWaiters,
    /// The rest of the last event that was taken: a long one, which is not copied to be in one piece with its id. Boxed: few have
    /// it, and every response has room for it.
    rest: Option<Box<Bytes>>,
    done: bool,
}

/// Where the events of a stream come from.
#[derive(Debug)]
enum Source {
    Session(Session, StreamKey),
    Call(Call),
}

impl EventStream {
    /// Creates the stream of a session with this key.
    pub(crate) fn new(session: Session, key: StreamKey, waiters: SharedWaiters) -> Self {
        Self { source: Source::Session(session, key), waiters, rest: None, done: false }
    }

    /// Creates the stream of the reply to a request without a session.
    pub(crate) fn of_call(call: Call, waiters: SharedWaiters) -> Self {
        Self { source: Source::Call(call), waiters, rest: None, done: false }
    }

    /// Returns `true` if the last event has been taken.
    pub fn is_done(&self) -> bool {
        self.done && self.rest.is_none()
    }

    /// Polls for the next event.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamCut>>> {
        self.poll_with(cx, session::cell::Machine::poll_event, Machine::poll_event)
    }

    /// Polls for the next event, together with those that are ready after it, until there are at least [`FRAME`] bytes. A longer
    /// event may come in two pieces.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamCut>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(*rest)));
        }
        let pieces = self.poll_with(
            cx,
            |machine, now, key| machine.poll_events(now, key, FRAME),
            |machine, now| machine.poll_events(now, FRAME),
        );
        pieces.map_ok(|[first, rest]| {
            self.rest = (!rest.is_empty()).then(|| Box::new(rest));
            first
        })
    }

    fn poll_with<E>(
        &mut self,
        cx: &mut Context<'_>,
        in_session: impl FnOnce(&mut session::cell::Machine, Instant, StreamKey) -> Next<E>,
        stateless: impl FnOnce(&mut Machine, Instant) -> Next<E>,
    ) -> Poll<Option<Result<E, StreamCut>>> {
        if self.done {
            return Poll::Ready(None);
        }
        self.waiters.reader.register(cx.waker());
        let next = match &self.source {
            Source::Session(session, key) => {
                session.with_client(|machine, now| in_session(machine, now, *key))
            }
            Source::Call(call) => call.with(stateless),
        };
        match next {
            Next::Pending => Poll::Pending,
            Next::Event(event, last) => {
                self.done = last;
                Poll::Ready(Some(Ok(event)))
            }
            Next::End => {
                self.done = true;
                Poll::Ready(None)
            }
            Next::Cut => {
                self.done = true;
                Poll::Ready(Some(Err(StreamCut)))
            }
        }
    }
}

impl Stream for EventStream {
    type Item = Result<Bytes, StreamCut>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        match &self.source {
            Source::Session(session, key) => {
                session.with(|machine, now| machine.handle_disconnect(now, *key));
            }
            Source::Call(call) => call.with(Machine::handle_disconnect),
        }
    }
}

#[derive(Debug)]
enum Kind {
    Text(Text),
    Events(EventStream),
    /// Answers that were ready at once, and the streams of the others, interleaved as they arrive.
    Batch(VecDeque<Bytes>, SelectAll<EventStream>),
}

/// The body of every response: empty, one JSON text, or the events of one stream (of several for a batch).
///
/// Except in a batch, events that are ready together share a frame, until it has 16 KiB, because servers write each frame
/// separately. A frame ends with the end of an event, or with the id of a longer event, which is the next frame.
///
/// `is_end_stream` is true as soon as the last event was taken, so that a server can write that event together with the end
/// of the body.
#[derive(Debug)]
pub struct ReplyBody(Kind);

impl ReplyBody {
    /// Creates an empty body.
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Creates a body of these bytes.
    pub fn full(bytes: Bytes) -> Self {
        Self::text(bytes.into())
    }

    /// Creates a body of one JSON text.
    pub(crate) fn text(text: Text) -> Self {
        Self(Kind::Text(text))
    }

    /// Creates a body of these events.
    pub fn events(events: EventStream) -> Self {
        Self(Kind::Events(events))
    }

    /// Creates the body of a batch: these events first, then those of all streams. It ends when all streams end.
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
            Kind::Text(text) => Poll::Ready(text.pop().map(|piece| Ok(Frame::data(piece)))),
            Kind::Events(events) => {
                events.poll_frame(cx).map(|events| events.map(|events| events.map(Frame::data)))
            }
            Kind::Batch(first, streams) => match first.pop_front() {
                Some(event) => Poll::Ready(Some(Ok(Frame::data(event)))),
                None => streams.poll_next_unpin(cx).map(|event| event.map(|event| event.map(Frame::data))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Text(text) => text.is_empty(),
            Kind::Events(events) => events.is_done(),
            Kind::Batch(first, streams) => first.is_empty() && streams.iter().all(EventStream::is_done),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Text(text) => SizeHint::with_exact(text.len() as u64),
            Kind::Events(_) | Kind::Batch(..) => SizeHint::default(),
        }
    }
}
